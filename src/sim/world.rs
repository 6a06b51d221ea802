//! The simulated machines: memory, containers, engines, jobs, and what may go wrong with them.
//!
//! Everything happens as a function of time: `settle(now)` brings the world to `now`, and nothing else moves it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, broadcast};

use crate::core::{
    desired::{ServiceKind, hex},
    observed::{JobState, Token},
};

/// What an engine process needs while it serves, unless its arguments say more.
const MEMORY_TOTAL: u64 = 124_546 << 20;
/// The system itself.
const MEMORY_SYSTEM: u64 = 5 << 30;

/// A handle to the world; clones share it.
#[derive(Clone)]
pub struct Sim {
    /// Signals that `crash_at` was reached.
    pub crashed: Arc<Notify>,
    inner: Arc<Mutex<World>>,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// From `vllm serve` to its first answer.
    pub load: Duration,
    /// From a stop to the memory being back.
    pub release: Duration,
    /// From the launcher's start to its containers.
    pub launcher: Duration,
    /// `docker stop` of a process that ignores SIGTERM.
    pub stop: Duration,
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The machine answers nothing.
    Silent,
    /// The Engine answers nothing; the rest does.
    EngineHangs,
    /// Engines on it die, their containers stay.
    EngineDies,
    /// Containers vanish, as by `docker stop` behind the program's back.
    ContainersVanish,
    /// The machine restarts: containers of launchers, jobs and memory are gone.
    Reboot,
    /// The next launcher says that all is well and starts nothing.
    LauncherLies,
    /// The next engine dies while it loads.
    LoadFails,
    /// Memory of what is stopped does not come back.
    MemorySticks,
}

impl Fault {
    pub const ALL: [(&'static str, Self); 8] = [
        ("silent", Self::Silent),
        ("engine-hangs", Self::EngineHangs),
        ("engine-dies", Self::EngineDies),
        ("containers-vanish", Self::ContainersVanish),
        ("reboot", Self::Reboot),
        ("launcher-lies", Self::LauncherLies),
        ("load-fails", Self::LoadFails),
        ("memory-sticks", Self::MemorySticks),
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, fault)| *fault)
    }
}

pub struct World {
    pub sparks: BTreeMap<String, Machine>,
    pub times: Times,
    next_id: u64,
    /// Every engine process that began, for tests.
    pub starts: Vec<Start>,
    /// How many acts came through the fence, of whatever outcome.
    pub acts: u64,
    /// After that many acts the caller hears nothing any more: it was killed.
    pub crash_at: Option<u64>,
}

/// One engine process that began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub spark: String,
    pub root: String,
    pub at: Timestamp,
    /// Engines of other groups that were alive on this Spark at that moment.
    pub beside: usize,
    /// What it takes.
    pub memory: u64,
    /// What was free on this Spark at that moment.
    pub available: u64,
}

pub struct Machine {
    pub address: String,
    pub boot: u64,
    pub booted_at: Timestamp,
    pub containers: Vec<Container>,
    pub images: BTreeMap<String, String>,
    pub jobs: Vec<Work>,
    pub token: Option<Token>,
    /// Memory on its way back: until when, how much.
    pub returning: Vec<(Timestamp, u64)>,
    pub silent_until: Option<Timestamp>,
    pub engine_hangs_until: Option<Timestamp>,
    pub launcher_lies: bool,
    /// That many engines will die while they load.
    pub load_fails: u32,
    pub memory_sticks: bool,
    pub events: broadcast::Sender<String>,
}

/// A container.
#[derive(Debug, Clone)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub image: String,
    pub image_id: String,
    pub labels: BTreeMap<String, String>,
    pub running: bool,
    /// Vanishes when it stops.
    pub auto_remove: bool,
    pub started_at: Timestamp,
    pub engine: Option<Engine>,
    /// What answers while the container runs, when it is not an engine.
    pub service: Option<Service>,
    pub log: Vec<String>,
}

/// A service of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    pub kind: ServiceKind,
    pub port: u16,
}

/// An engine process in a container.
#[derive(Debug, Clone)]
pub struct Engine {
    pub pid: u32,
    pub words: Vec<String>,
    pub root: String,
    pub served: Vec<String>,
    pub port: u16,
    pub headless: bool,
    pub began: Timestamp,
    pub ready_at: Timestamp,
    pub dies_at: Option<Timestamp>,
    pub memory: u64,
    pub tokens: u64,
    pub running: u64,
    logged: usize,
}

/// A launcher job on a machine.
#[derive(Debug, Clone)]
pub struct Work {
    pub id: String,
    pub object: String,
    pub spec: String,
    pub token: Token,
    pub started_at: Timestamp,
    pub acts_at: Timestamp,
    pub launch: Option<super::launcher::Launch>,
    pub state: JobState,
}

impl Sim {
    pub fn new(times: Times, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let world =
            World { sparks: BTreeMap::new(), times, next_id: 1, starts: Vec::new(), acts: 0, crash_at: None };
        Self { crashed: Arc::default(), inner: Arc::new(Mutex::new(world)), now: Arc::new(now) }
    }

    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// The world as it is now.
    pub fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.inner.lock().expect("a panic in the simulated world ends the test");
        world.settle((self.now)());
        world
    }

    /// Add a machine with these images.
    pub fn add(&self, name: &str, address: &str, images: &[(&str, &str)]) {
        let now = self.now();
        let machine = Machine {
            address: address.to_owned(),
            boot: 1,
            booted_at: now,
            containers: Vec::new(),
            images: images.iter().map(|(name, id)| ((*name).to_owned(), (*id).to_owned())).collect(),
            jobs: Vec::new(),
            token: None,
            returning: Vec::new(),
            silent_until: None,
            engine_hangs_until: None,
            launcher_lies: false,
            load_fails: 0,
            memory_sticks: false,
            events: broadcast::channel(64).0,
        };
        self.world().sparks.insert(name.to_owned(), machine);
    }

    /// Add a running service to a machine.
    pub fn add_service(&self, spark: &str, container: &str, service: Service) {
        let now = self.now();
        let mut world = self.world();
        let id = world.id();
        let Some(machine) = world.sparks.get_mut(spark) else { return };
        machine.containers.push(Container {
            id,
            name: container.to_owned(),
            image: container.to_owned(),
            image_id: format!("sha256:{container}"),
            labels: BTreeMap::new(),
            running: true,
            auto_remove: false,
            started_at: now,
            engine: None,
            service: Some(service),
            log: Vec::new(),
        });
    }

    /// A person starts an engine, as this program never saw: a container without labels, serving at once.
    pub fn start_by_hand(&self, spark: &str, container: &str, image: &str, command: &[&str]) {
        let now = self.now();
        let mut world = self.world();
        let launch = super::launcher::Launch {
            name: container.to_owned(),
            image: image.to_owned(),
            nodes: Vec::new(),
            labels: BTreeMap::new(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
        };
        super::launcher::start(&mut world, spark, &launch, now);
        let Some(machine) = world.sparks.get_mut(spark) else { return };
        let engines = machine.containers.iter_mut().filter(|known| known.name == container);
        for engine in engines.filter_map(|container| container.engine.as_mut()) {
            engine.ready_at = now;
        }
    }

    /// Every address and port where something listens now.
    pub fn listening(&self) -> Vec<(String, u16)> {
        let now = self.now();
        let world = self.world();
        let mut listening = Vec::new();
        for machine in world.sparks.values() {
            for container in machine.containers.iter().filter(|container| container.running) {
                let engine =
                    container.engine.as_ref().filter(|engine| engine.is_ready(now)).map(|engine| engine.port);
                let port = engine.or(container.service.map(|service| service.port));
                listening.extend(port.map(|port| (machine.address.clone(), port)));
            }
        }
        listening
    }

    /// Let something go wrong on a machine; for `length` where it lasts.
    pub fn fault(&self, spark: &str, fault: Fault, length: Duration) -> Result<(), String> {
        let now = self.now();
        let until = later(now, length);
        let mut world = self.world();
        let release = world.times.release;
        let Some(machine) = world.sparks.get_mut(spark) else {
            return Err(format!("no simulated Spark is named `{spark}`"));
        };
        match fault {
            Fault::Silent => machine.silent_until = Some(until),
            Fault::EngineHangs => machine.engine_hangs_until = Some(until),
            Fault::EngineDies => {
                for container in &mut machine.containers {
                    if let Some(engine) = &mut container.engine {
                        engine.dies_at = Some(now);
                    }
                }
            }
            Fault::ContainersVanish => {
                let ids: Vec<String> =
                    machine.containers.iter().map(|container| container.id.clone()).collect();
                for id in ids {
                    machine.stop(&id, true, now, release);
                }
            }
            Fault::Reboot => machine.reboot(now),
            Fault::LauncherLies => machine.launcher_lies = true,
            Fault::LoadFails => machine.load_fails += 1,
            Fault::MemorySticks => machine.memory_sticks = true,
        }
        world.settle(now);
        Ok(())
    }
}

/// `at` and `length` after it.
pub fn later(at: Timestamp, length: Duration) -> Timestamp {
    let length = SignedDuration::try_from(length).unwrap_or(SignedDuration::from_hours(1));
    at.checked_add(length).expect("the simulated time stays in range")
}

impl World {
    pub fn id(&mut self) -> String {
        let id = hex(&Sha256::digest(self.next_id.to_be_bytes()));
        self.next_id += 1;
        id
    }

    /// Bring everything to `now`: launchers act, engines load and die, memory comes back.
    pub fn settle(&mut self, now: Timestamp) {
        let names: Vec<String> = self.sparks.keys().cloned().collect();
        for name in &names {
            let machine = self.sparks.get_mut(name).expect("a name of the map");
            machine.returning.retain(|(until, _)| *until > now);
            let due: Vec<usize> = (0..machine.jobs.len())
                .filter(|index| {
                    let job = &machine.jobs[*index];
                    job.state == JobState::Running && job.acts_at <= now
                })
                .collect();
            for index in due {
                let (launch, lies) = {
                    let machine = self.sparks.get_mut(name).expect("a name of the map");
                    let job = &mut machine.jobs[index];
                    job.state = JobState::Exited(0);
                    (job.launch.take(), std::mem::take(&mut machine.launcher_lies))
                };
                if let (Some(launch), false) = (launch, lies) {
                    super::launcher::start(self, name, &launch, now);
                }
            }
        }
        for machine in self.sparks.values_mut() {
            let mut freed = 0;
            for container in &mut machine.containers {
                freed += container.settle(now);
            }
            if freed > 0 {
                let until =
                    if machine.memory_sticks { Timestamp::MAX } else { later(now, self.times.release) };
                machine.returning.push((until, freed));
            }
        }
    }
}

impl Container {
    /// Log what the engine says by now; a death frees its memory.
    fn settle(&mut self, now: Timestamp) -> u64 {
        let Some(engine) = &mut self.engine else { return 0 };
        let lines = engine.lines();
        let span = (engine.ready_at.duration_since(engine.began)).as_millis().max(1);
        let passed = now.min(engine.ready_at).duration_since(engine.began).as_millis().max(0);
        let due = usize::try_from(passed * i128::try_from(lines.len()).unwrap_or(1) / span).unwrap_or(0);
        for line in lines.iter().take(due).skip(engine.logged) {
            self.log.push(line.clone());
        }
        engine.logged = engine.logged.max(due);
        if engine.dies_at.is_some_and(|at| at <= now) {
            self.log.push("ERROR torch.OutOfMemoryError: CUDA out of memory.".into());
            self.log
                .push("ERROR RuntimeError: Engine core initialization failed. See root cause above.".into());
            let memory = engine.memory;
            self.engine = None;
            return memory;
        }
        0
    }
}

impl Engine {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            "INFO vLLM server version 0.33.0".to_owned(),
            "INFO Initializing a V1 LLM engine (v0.33.0)".into(),
            format!("INFO Starting to load model {}...", self.root),
        ];
        lines.extend((1..=10).map(|shard| {
            format!("Loading safetensors checkpoint shards: {}% Completed | {shard}/10", shard * 10)
        }));
        lines.push("INFO Model loading took 40.0 GiB memory and 9.0 seconds".into());
        lines.push("INFO Graph capturing finished in 1 secs, took 0.4 GiB".into());
        lines.push(format!("INFO Starting vLLM server on http://0.0.0.0:{}", self.port));
        lines
    }

    /// How many ranks its group has.
    pub fn ranks(&self) -> usize {
        let after = self.words.iter().skip_while(|word| *word != "--nnodes").nth(1);
        after.and_then(|count| count.parse().ok()).unwrap_or(1)
    }

    pub fn is_ready(&self, now: Timestamp) -> bool {
        !self.headless && self.ready_at <= now && self.dies_at.is_none_or(|at| at > now)
    }

    /// Memory held now: it grows while loading.
    fn held(&self, now: Timestamp) -> u64 {
        let span = self.ready_at.duration_since(self.began).as_millis().max(1);
        let passed = now.min(self.ready_at).duration_since(self.began).as_millis().max(0);
        u64::try_from(i128::from(self.memory) * passed / span).unwrap_or(self.memory)
    }

    pub(super) fn fresh(pid: u32, words: Vec<String>, began: Timestamp, ready_at: Timestamp) -> Self {
        let mut engine = Self {
            pid,
            root: words.get(2).cloned().unwrap_or_default(),
            served: Vec::new(),
            port: 8000,
            headless: words.iter().any(|word| word == "--headless"),
            began,
            ready_at,
            dies_at: None,
            memory: 0,
            tokens: 0,
            running: 0,
            logged: 0,
            words,
        };
        let mut share = 0.92;
        let mut rest = engine.words.iter().skip(3).peekable();
        while let Some(word) = rest.next() {
            match word.as_str() {
                "--port" => engine.port = rest.next().and_then(|port| port.parse().ok()).unwrap_or(8000),
                "--gpu-memory-utilization" => {
                    share = rest.next().and_then(|share| share.parse().ok()).unwrap_or(share);
                }
                "--served-model-name" => {
                    while rest.peek().is_some_and(|next| !next.starts_with("--")) {
                        engine.served.extend(rest.next().cloned());
                    }
                }
                _ => {}
            }
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let memory = (share * MEMORY_TOTAL as f64) as u64;
        engine.memory = memory;
        engine
    }
}

impl Machine {
    pub fn silent(&self, now: Timestamp) -> bool {
        self.silent_until.is_some_and(|until| until > now)
    }

    pub fn engine_hangs(&self, now: Timestamp) -> bool {
        self.engine_hangs_until.is_some_and(|until| until > now)
    }

    pub fn memory_total(&self) -> u64 {
        MEMORY_TOTAL
    }

    pub fn memory_available(&self, now: Timestamp) -> u64 {
        let held: u64 = self.engines().map(|engine| engine.held(now)).sum();
        let returning: u64 = self.returning.iter().map(|(_, bytes)| bytes).sum();
        MEMORY_TOTAL.saturating_sub(MEMORY_SYSTEM + held + returning)
    }

    pub fn engines(&self) -> impl Iterator<Item = &Engine> {
        self.containers
            .iter()
            .filter(|container| container.running)
            .filter_map(|container| container.engine.as_ref())
    }

    pub fn container(&mut self, id: &str) -> Option<&mut Container> {
        self.containers.iter_mut().find(|container| container.id == id)
    }

    /// Stop a container, and remove it when it is made so or asked.
    pub fn stop(&mut self, id: &str, remove: bool, now: Timestamp, release: Duration) {
        let sticks = self.memory_sticks;
        let Some(container) = self.container(id) else { return };
        container.running = false;
        let freed = container.engine.take().map_or(0, |engine| engine.held(now));
        let gone = remove || container.auto_remove;
        if gone {
            self.containers.retain(|container| container.id != id);
        }
        if freed > 0 {
            self.returning.push((if sticks { Timestamp::MAX } else { later(now, release) }, freed));
        }
        self.tell("die", id);
    }

    fn reboot(&mut self, now: Timestamp) {
        self.boot += 1;
        self.booted_at = now;
        self.returning.clear();
        self.memory_sticks = false;
        self.containers.retain(|container| !container.auto_remove);
        for container in &mut self.containers {
            container.running = false;
            container.engine = None;
        }
        for job in &mut self.jobs {
            if job.state == JobState::Running {
                job.state = JobState::Lost;
            }
        }
    }

    pub fn tell(&self, action: &str, id: &str) {
        let _ =
            self.events.send(format!("{{\"Type\":\"container\",\"Action\":\"{action}\",\"id\":\"{id}\"}}\n"));
    }
}
