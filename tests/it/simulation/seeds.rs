//! Random files, edits, faults, kills and second controllers, by seed. What must hold always is checked after every step; what
//! must hold in the end, once the faults stop.
//!
//! `SPARK_CONTROL_SEEDS` is how many, `SPARK_CONTROL_SEED_FROM` the first. `SPARK_CONTROL_TRACE=1` tells the story of a seed;
//! it is told of one that fails in any case.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use jiff::SignedDuration;
use spark_control::{
    controller::{Controller, Snapshot, round::RoundMode},
    core::{
        model::{
            desired::ServiceKind,
            name::SparkName,
            plan::{Plan, Verdict},
        },
        tell::render::render,
    },
    host::SharedTransport,
    sim::{Fault, SimulatedService, machine::NextLaunch, transport::SimulatedTransport, world::EngineStart},
};

use crate::cluster::{Cluster, SPARKS, paused};

const HOUR: Duration = Duration::from_secs(3600);
/// A silent Spark is waited for.
const LONGEST_LOOK: SignedDuration = SignedDuration::from_secs(60);
/// Between rounds at the end: what a gate watches for it sees all the same.
const PAUSE: Duration = Duration::from_secs(9);
/// In `.ci/run`; what a seed finds late is found by `just soak`.
const SEEDS: u64 = 2000;
const WISHES: [&str; 4] = ["alpha", "beta", "wide", "none"];
const SPARK_NAMES: [&str; 2] = ["spark1", "spark2"];
/// In a file that every controller can read, and nowhere else.
const SECRET: &str = "hunter2-sesame";
/// A container of somebody else's.
const STRANGER: &str = "alices-node";
const KOKORO: &str = "kokoro-tts";
const KOKORO_IS: [Option<bool>; 4] = [Some(true), Some(true), Some(false), None];
/// How much of a Spark's memory an engine takes, in the file.
const SHARES: [&str; 3] = ["0.7", "0.7", "0.6"];
const TTS: SimulatedService = SimulatedService { kind: ServiceKind::Tts, port: 8880 };
/// What is drawn.
const FAULTS: [Fault; 18] = [
    Fault::Silent,
    Fault::Slow,
    Fault::Garbage,
    Fault::EngineHangs,
    Fault::EngineDies,
    Fault::TokensFreeze,
    Fault::TopFails,
    Fault::ContainersVanish,
    Fault::Reboot,
    Fault::LauncherLies,
    Fault::LoadFails,
    Fault::RunsOut,
    Fault::MemorySticks,
    Fault::MemoryShrinks,
    Fault::DiskFull,
    Fault::Forgets,
    Fault::RefusesLaunch,
    Fault::LosesLaunch,
];

/// What the file asks for.
#[derive(Clone, Copy)]
struct Wish {
    model: &'static str,
    /// A further slot on the first Spark holds a small model.
    second: bool,
    /// The files of a model are brought.
    files: bool,
    /// Whether a service is to run; nobody says so.
    kokoro: Option<bool>,
    /// Where `alpha` is to be, and what it may take.
    alpha: (&'static str, &'static str),
    /// A model that is not in the catalog any more; not the one that is wanted.
    without: Option<&'static str>,
}

impl Wish {
    fn draw(random: &mut fastrand::Rng) -> Self {
        let model = WISHES[random.usize(..4)];
        let without = WISHES[random.usize(..4)];
        Self {
            model,
            second: random.u8(..4) == 0,
            files: random.u8(..4) == 0,
            kokoro: KOKORO_IS[random.usize(..KOKORO_IS.len())],
            alpha: (SPARK_NAMES[usize::from(random.u8(..4) == 0)], SHARES[random.usize(..SHARES.len())]),
            without: (random.u8(..4) == 0 && without != model).then_some(without),
        }
    }

    fn file(self, folder: &std::path::Path, rest: &str) -> String {
        let second = if self.second {
            "  second: { kind: vllm, spark: spark1, port: 8889, container: second, model: small }\n"
        } else {
            ""
        };
        let kokoro = match self.kokoro {
            Some(true) => ", state: running",
            Some(false) => ", state: stopped",
            None => "",
        };
        let weights = if self.files { "weights: present, " } else { "" };
        let (spark, share) = self.alpha;
        let folder = folder.display();
        let models = [
            format!("  alpha: {{ repo: lab/alpha, sparks: [{spark}], args: {{ gpu-memory-utilization: {share} }}, env: {{ TOKEN: {{ file: {folder}/secret }} }} }}\n"),
            format!("  beta:  {{ repo: lab/beta, sparks: [spark2], {weights}args: {{ gpu-memory-utilization: 0.7 }} }}\n"),
            "  wide:  { repo: lab/wide, sparks: [spark1, spark2], args: { gpu-memory-utilization: 0.75, tensor-parallel-size: 2 } }\n".into(),
        ];
        let is_there =
            |line: &&String| self.without.is_none_or(|name| !line.starts_with(&format!("  {name}:")));
        let models: String = models.iter().filter(is_there).map(String::as_str).collect();
        format!(
            "{SPARKS}model: {}\nmodels:
{models}  small: {{ repo: lab/small, sparks: [spark1], args: {{ gpu-memory-utilization: 0.1 }} }}
services:
  kokoro: {{ kind: tts, spark: spark2, port: 8880, container: kokoro-tts{kokoro} }}
{second}{rest}",
            self.model
        )
    }

    /// Who serves what then.
    fn expected(self) -> BTreeSet<(&'static str, &'static str)> {
        let main = match self.model {
            "alpha" => vec![(self.alpha.0, "lab/alpha")],
            "beta" => vec![("spark2", "lab/beta")],
            "wide" => vec![("spark1", "lab/wide"), ("spark2", "lab/wide")],
            _ => vec![],
        };
        main.into_iter().chain(self.second.then_some(("spark1", "lab/small"))).collect()
    }
}

/// Policy, holds and windows, which change what may be done and never what is wanted in the end.
fn policy(random: &mut fastrand::Rng) -> &'static str {
    match random.u8(..15) {
        0 => "reconcile: { on_edit: approve }\n",
        1 => "reconcile: { on_drift: apply }\n",
        2 => "reconcile: { on_drift: approve }\n",
        3 => "reconcile: { on_drift: report }\n",
        4 => "reconcile: { suspend: true }\n",
        5 => "vllm: { on_failure: stall, drain: 10s }\n",
        6 => "holds: { talk: { until: 2026-11-24T12:40:00Z, owner: alice, reason: a talk } }\n",
        9 => {
            "holds: { talk: { object: kokoro, until: 2026-11-24T12:40:00Z, owner: alice, reason: a talk } }\n"
        }
        7 => "schedule: { noon: { from: \"12:10\", to: \"12:50\", model: beta } }\n",
        8 => "notify: { ops: { url: \"https://hook.test/\" } }\n",
        _ => "",
    }
}

/// What a seed did, for comparing two runs of it.
#[derive(Default)]
struct Told {
    story: String,
    starts: Vec<EngineStart>,
}

struct Play {
    cluster: Cluster,
    random: fastrand::Rng,
    story: Arc<Mutex<String>>,
    /// Events that were told, by the folder of the controller's memory.
    events: BTreeMap<PathBuf, i64>,
    stranger: Vec<String>,
}

impl Play {
    fn new(seed: u64, story: Arc<Mutex<String>>) -> Self {
        let cluster = Cluster::new();
        std::fs::write(cluster.folder().join("secret"), SECRET).unwrap();
        cluster.sim.add_service("spark2", KOKORO, TTS);
        for spark in SPARK_NAMES {
            cluster.sim.add_service(
                spark,
                STRANGER,
                SimulatedService { kind: ServiceKind::Qdrant, port: 6333 },
            );
        }
        let world = cluster.sim.world();
        let strangers = world.sparks.values().flat_map(|machine| &machine.containers);
        let stranger = strangers
            .filter(|container| container.name == STRANGER)
            .map(|container| container.id.clone())
            .collect();
        drop(world);
        Self { cluster, random: fastrand::Rng::with_seed(seed), story, events: BTreeMap::new(), stranger }
    }

    fn tell(&self, line: &str) {
        let at = self.cluster.sim.now();
        let _ = writeln!(self.story.lock().unwrap(), "{at:.0}  {line}");
    }

    fn spark(&mut self) -> &'static str {
        SPARK_NAMES[self.random.usize(..2)]
    }

    /// Somebody or something changes the world.
    async fn something_happens(&mut self, controllers: &mut Vec<Controller>) {
        match self.random.u8(..22) {
            0..=3 => self.edit(),
            4..=8 => {
                let (spark, fault) = (self.spark(), FAULTS[self.random.usize(..FAULTS.len())]);
                let length = Duration::from_secs(self.random.u64(1..300));
                self.tell(&format!("{spark}: {fault:?} for {} s", length.as_secs()));
                self.cluster.sim.fault(spark, fault, length).unwrap();
            }
            9 => {
                self.tell("the controller is killed and started again");
                controllers.iter().for_each(|killed| killed.flush().unwrap());
                *controllers = vec![self.cluster.controller("a")];
            }
            10 if controllers.len() == 1 => {
                self.tell("somebody starts a second controller, with a memory of its own");
                controllers.push(self.cluster.controller("b"));
            }
            11 => {
                let plan = controllers[0].snapshot().plan.as_ref().map(|plan| plan.id.clone());
                let approved = plan.map(|id| controllers[0].approve(id.as_str(), "alice").is_ok());
                self.tell(&format!("alice approves the plan: {approved:?}"));
            }
            12 => {
                self.tell("alice asks for a retry");
                let _ = controllers[0].retry("vllm", "alice");
            }
            13 => {
                let minutes = [-30, -2, 2, 30][self.random.usize(..4)];
                self.tell(&format!("the controller's clock is set by {minutes} min"));
                self.cluster.jump(minutes * 60);
            }
            14 => {
                let spark = self.spark();
                self.tell(&format!("free memory of {spark} is watched for 10 s"));
                let way: SharedTransport =
                    Arc::new(SimulatedTransport { sim: self.cluster.sim.clone(), spark: spark.to_owned() });
                let name = SparkName::new(spark).unwrap();
                let watching = controllers[0].watch_floor(&name, &way);
                let _ = tokio::time::timeout(Duration::from_secs(10), watching).await;
            }
            15 => {
                self.tell("the files of beta are not on spark2 any more");
                let mut world = self.cluster.sim.world();
                let machine = world.sparks.get_mut("spark2").unwrap();
                machine.lacks.insert("models--lab--beta".into());
                machine.transfers_fail = u32::from(self.random.bool());
            }
            _ => {}
        }
    }

    /// A new file; now and then half of one, or none.
    fn edit(&mut self) {
        let wish = Wish::draw(&mut self.random);
        let rest = policy(&mut self.random);
        let mut text = wish.file(self.cluster.folder(), rest);
        let mut how = "edit";
        if self.random.u8(..8) == 0 {
            text.truncate(self.random.usize(..text.len()));
            how = "half an edit";
        }
        let second = if wish.second { " and a second slot" } else { "" };
        let files = if wish.files { " and the files of beta" } else { "" };
        let without = wish.without.map(|name| format!(", no {name}")).unwrap_or_default();
        let (spark, share) = wish.alpha;
        let kokoro = match wish.kokoro {
            Some(true) => "",
            Some(false) => ", kokoro stopped",
            None => ", kokoro as it is",
        };
        self.tell(&format!(
            "{how}: {}{second}{files} (alpha on {spark}, {share}{without}{kokoro})  {}",
            wish.model,
            rest.trim_end()
        ));
        self.cluster.edit(&text);
    }

    /// Take a turn, with a look before it.
    async fn turn(&mut self, controller: &Controller) {
        if self.random.u8(..3) == 0 {
            let acts = self.cluster.sim.world().acts;
            controller.round(RoundMode::Preview).await.unwrap();
            assert_eq!(self.cluster.sim.world().acts, acts, "a look changes nothing");
        }
        let (_, acts) = controller.decide(RoundMode::Act).await.unwrap();
        if let Some(acts) = acts {
            // What is done goes on while the next turns look.
            let turns = self.random.u8(..4);
            let pauses: Vec<u64> = (0..turns).map(|_| self.random.u64(1..6)).collect();
            let meanwhile = async {
                for pause in pauses {
                    tokio::time::sleep(Duration::from_secs(pause)).await;
                    controller.round(RoundMode::Act).await.unwrap();
                }
            };
            let (done, ()) = tokio::join!(controller.perform_all(acts), meanwhile);
            done.unwrap();
        }
        let snapshot = controller.snapshot();
        self.tell_events(controller);
        self.check(&snapshot);
    }

    fn tell_events(&mut self, controller: &Controller) {
        let events = controller.events(50).unwrap();
        let told = self.events.get(&controller.places.data).copied().unwrap_or(0);
        for event in events.iter().filter(|event| event.number > told) {
            assert!(!event.message.contains(SECRET), "a secret in the history: {}", event.message);
            let folder = format!("{}/", self.cluster.folder().display());
            // A plan's name comes from all that is in the file, the folder too.
            let message = if event.kind == "approved" { "" } else { &event.message };
            let message = message.replace(&folder, "");
            self.tell(&format!("    {} {}: {message}", event.kind, event.object));
        }
        let last = events.last().map_or(told, |event| event.number);
        self.events.insert(controller.places.data.clone(), last);
    }

    /// What must hold in every state.
    fn check(&self, snapshot: &Snapshot) {
        let world = self.cluster.sim.world();
        for start in &world.starts {
            assert_eq!(start.beside, 0, "two engines in one container: {start:?}");
            assert!(start.available >= start.memory, "memory was promised twice: {start:?}");
        }
        for (name, machine) in &world.sparks {
            for line in &machine.audit {
                assert!(
                    !self.stranger.iter().any(|id| line.contains(id)),
                    "{name} was told to touch a stranger: {line}"
                );
            }
        }
        for work in snapshot.plan.iter().flat_map(|plan| &plan.work) {
            let drifts = snapshot.drift.iter().any(|drift| drift.object.as_ref() == Some(&work.object));
            assert!(work.steps().next().is_none() || drifts, "{} without a difference", work.goal);
            if let Verdict::Waiting { message, .. } | Verdict::Blocked { message, .. } = &work.verdict {
                assert!(!message.is_empty(), "no reason for not doing: {}", work.goal);
            }
        }
        let shown = format!("{:?}{:?}{:?}", snapshot.plan, snapshot.drift, snapshot.status);
        assert!(!shown.contains(SECRET), "a secret is shown");
        // What counts as seen was seen in this round, and says when.
        let at = snapshot.at.expect("a look has a time");
        for (name, view) in snapshot.observed.iter().flat_map(|observed| &observed.sparks) {
            let Some(facts) = view.facts() else { continue };
            let age = at.duration_since(facts.at);
            assert!((SignedDuration::ZERO..LONGEST_LOOK).contains(&age), "{name} was seen {age:#} ago");
        }
    }
}

async fn one_seed(seed: u64, story: Arc<Mutex<String>>) -> Vec<EngineStart> {
    let mut play = Play::new(seed, story);
    play.edit();
    let mut controllers = vec![play.cluster.controller("a")];
    for _ in 0..play.random.usize(5..40) {
        play.something_happens(&mut controllers).await;
        let actor = play.random.usize(..controllers.len());
        play.turn(&controllers[actor]).await;
        let pause = Duration::from_secs(play.random.u64(1..60));
        tokio::time::sleep(pause).await;
    }
    controllers.iter().for_each(|ended| ended.flush().unwrap());
    play.settles().await;
    play.cluster.sim.world().starts.clone()
}

impl Play {
    /// Faults stop; whoever was started last goes on; a person mends what only a person can; the last wish comes true.
    async fn settles(&mut self) {
        self.tell("the faults stop");
        tokio::time::sleep(Duration::from_secs(900)).await;
        let now = self.cluster.sim.now();
        for machine in self.cluster.sim.world().sparks.values_mut() {
            (machine.load_fails, machine.launcher_lies, machine.runs_out) = (0, false, false);
            machine.next_launch = NextLaunch::Arrives;
            (machine.transfers_fail, machine.lacks) = (0, BTreeSet::new());
            if machine.memory_sticks_until.is_some() {
                machine.reboot(now);
            }
        }
        let is_gone =
            !self.cluster.sim.world().sparks["spark2"].containers.iter().any(|one| one.name == KOKORO);
        if is_gone {
            self.cluster.sim.add_service("spark2", KOKORO, TTS);
        }
        let wish = Wish::draw(&mut self.random);
        self.tell(&format!("the last wish: {}, second slot: {}", wish.model, wish.second));
        self.cluster.edit(&wish.file(self.cluster.folder(), ""));
        let controller = self.cluster.controller("a");
        controller.round(RoundMode::Act).await.unwrap();
        self.agree(&controller).await;
        self.cluster.settle_every(PAUSE, &controller, HOUR).await;
        let _ = controller.retry("vllm", "alice");
        let _ = controller.retry("second", "alice");
        let _ = controller.retry("kokoro", "alice");
        let _ = controller.retry("weights/beta", "alice");
        // What cannot be known to be ours is for a person.
        self.agree(&controller).await;
        let plan = self.cluster.settle_every(PAUSE, &controller, HOUR).await;
        self.tell_events(&controller);
        self.check(&controller.snapshot());
        assert!(plan.is_empty(), "it did not settle: {}", render(&plan));
        let serving = self.cluster.serving();
        let serving: BTreeSet<_> =
            serving.iter().map(|(spark, root)| (spark.as_str(), root.as_str())).collect();
        let expected = wish.expected();
        // What is taken out of the file is not stopped.
        let more: BTreeSet<_> = serving.difference(&expected).collect();
        assert!(expected.is_subset(&serving), "{serving:?}, not {expected:?}");
        assert!(more.iter().all(|(_, root)| *root == "lab/small"), "{serving:?}, not {expected:?}");
        let world = self.cluster.sim.world();
        let runs = world.sparks["spark2"].containers.iter().any(|one| one.name == KOKORO && one.running);
        assert!(
            wish.kokoro.is_none_or(|wanted| wanted == runs),
            "{KOKORO} runs: {runs}, not {:?}",
            wish.kokoro
        );
    }

    /// Say yes to whatever waits for it: a file that takes much out, or a plan.
    async fn agree(&self, controller: &Controller) {
        let snapshot = controller.snapshot();
        let ids = snapshot
            .pending_approval
            .iter()
            .map(ToString::to_string)
            .chain(snapshot.plan.iter().map(|plan: &Plan| plan.id.to_string()));
        for id in ids.collect::<Vec<_>>() {
            let _ = controller.approve(&id, "alice");
        }
        controller.round(RoundMode::Act).await.unwrap();
    }
}

/// One seed; its story is told when it fails.
fn play(seed: u64) -> Told {
    let story = Arc::new(Mutex::new(String::new()));
    let played = catch_unwind(AssertUnwindSafe(|| paused(one_seed(seed, story.clone()))));
    let told = story.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    match played {
        Ok(starts) => {
            if std::env::var_os("SPARK_CONTROL_TRACE").is_some() {
                println!("seed {seed}\n{told}");
            }
            Told { story: told, starts }
        }
        Err(panic) => {
            println!(
                "seed {seed} failed; its story:\n{told}\nagain: SPARK_CONTROL_SEED_FROM={seed} SPARK_CONTROL_SEEDS=1"
            );
            resume_unwind(panic)
        }
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// If this failed, some order of edits, faults, kills and second controllers would do harm or never settle.
#[test]
fn any_seed_settles_and_does_no_harm() {
    let (from, count) = (number("SPARK_CONTROL_SEED_FROM", 0), number("SPARK_CONTROL_SEEDS", SEEDS));
    let next = AtomicU64::new(from);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from.saturating_add(count) {
                        return;
                    }
                    play(seed);
                }
            });
        }
    });
    println!("{count} seeds from {from}");
}

/// If this failed, a failing seed could not be looked at again.
#[test]
fn the_same_seed_does_the_same() {
    for seed in 0..5 {
        let (first, second) = (play(seed), play(seed));
        assert_eq!(first.story, second.story, "seed {seed}: another story");
        assert_eq!(first.starts, second.starts, "seed {seed}");
    }
}
