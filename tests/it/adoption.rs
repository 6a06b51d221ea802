//! What already runs is taken over when it is what the file says, and not when one thing differs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use spark_control::{
    core::{
        decide::{adopt::adoption, slot_containers::slot_containers, view::View},
        model::{
            launch::{Launch, LaunchState},
            ledger::Ledger,
            name::{ModelName, SparkName},
            object::Object,
            observed::{
                Container, Endpoint, EndpointAnswer, EngineAnswer, Labels, Observed, Process, RecipeSeen,
                ServedModel, SparkFacts, SparkView,
            },
            plan::{Predicate, WorkItem},
            slot_record::AdoptedContainer,
            spec_hash::SpecHash,
            step::Step,
        },
    },
    manifest::load::load,
};

use crate::look::token;

const SPARKS: &str = "version: 1
sparks:
  spark1: { address: 192.0.2.1, user: alice, fabric: { ip: 192.0.2.1, eth_if: eth0 } }
  spark2: { address: 192.0.2.2, user: alice, fabric: { ip: 192.0.2.2, eth_if: eth0 } }
model: own
";
const WHAT: &str = "models: { own: { repo: lab/own, sparks: [spark1, spark2], args: { max-model-len: 4096, tensor-parallel-size: 2 } } }\n";
const ENGINE: &str = "/usr/bin/python3 /usr/bin/vllm serve lab/own --max-model-len 4096 -tp 2 --host 0.0.0.0 \
                      --port 8888 --served-model-name own";

/// Two Sparks with an engine in `vllm_node` that nobody labelled.
struct Stage {
    file: String,
    sparks: BTreeMap<SparkName, SparkFacts>,
    models: Vec<ServedModel>,
    ledger: Ledger,
    listens: bool,
}

fn spark(name: &str) -> SparkName {
    SparkName::new(name).unwrap()
}

fn stage(launcher: &str, models: &str) -> Stage {
    let facts = |spark: &str| SparkFacts {
        boot_id: format!("boot-of-{spark}").into(),
        images: [("vllm-node".to_owned(), Some("sha256:aa".into()))].into(),
        containers: vec![Container {
            id: format!("id-on-{spark}").into(),
            name: "vllm_node".into(),
            image: "vllm-node".into(),
            image_id: "sha256:aa".into(),
            running: true,
            processes: Some(vec![Process { pid: 7, resident_bytes: 0, command: ENGINE.into() }]),
            ..Container::default()
        }],
        ..SparkFacts::default()
    };
    Stage {
        file: format!("{SPARKS}{launcher}{models}"),
        sparks: [(spark("spark1"), facts("spark1")), (spark("spark2"), facts("spark2"))].into(),
        models: vec![ServedModel { id: "own".into(), root: Some("lab/own".into()) }],
        ledger: Ledger::default(),
        listens: true,
    }
}

impl Stage {
    fn on(mut self, name: &str, change: impl FnOnce(&mut SparkFacts)) -> Self {
        change(self.sparks.get_mut(name).unwrap());
        self
    }

    /// Its container runs this there instead.
    fn runs(self, name: &str, command: &str) -> Self {
        self.on(name, |facts| {
            facts.containers[0].processes =
                Some(vec![Process { pid: 7, resident_bytes: 0, command: command.into() }]);
        })
    }

    /// The ledger knows of a launch of the slot.
    fn launch(&mut self) {
        let desired = load(&self.file).unwrap().desired;
        let slot = &desired.slots[&Object::main()];
        let group = desired.resolved_model(slot, &ModelName::new("own").unwrap()).unwrap().launch_spec();
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let launch = Launch::new(group, token(1), now, LaunchState::Serving { since: now });
        self.ledger.slot_mut(&Object::main()).launch = Some(launch);
    }

    fn run_both(self, command: &str) -> Self {
        self.runs("spark1", command).runs("spark2", command)
    }

    fn serves(mut self, id: &str, root: &str) -> Self {
        self.models = vec![ServedModel { id: id.into(), root: Some(root.into()) }];
        self
    }

    /// The containers that would be taken over, and what that relies on.
    fn taken(self) -> Option<(Vec<String>, Vec<Predicate>)> {
        let desired = load(&self.file).unwrap().desired;
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let object = Object::main();
        let engine = EngineAnswer { models: self.models, healthy: true, ..EngineAnswer::default() };
        let answer = if self.listens { EndpointAnswer::Engine(engine) } else { EndpointAnswer::Refused };
        let endpoint = Endpoint { at: now, since: now, answer };
        let views = self.sparks.into_iter();
        let observed = Observed {
            at: now,
            sparks: views.map(|(name, facts)| (name, SparkView::Reachable(Box::new(facts)))).collect(),
            endpoints: [(object.clone(), endpoint)].into(),
            loads: BTreeMap::new(),
            bots: std::collections::BTreeMap::new(),
            front_doors: BTreeMap::new(),
            ended: BTreeMap::new(),
            unreadable_secrets: BTreeMap::new(),
        };
        let slot = &desired.slots[&object];
        let target = desired.resolved_model(slot, &ModelName::new("own").unwrap()).unwrap();
        let standing = slot_containers(
            &object,
            slot,
            View { desired: &desired, observed: &observed, ledger: &self.ledger, now },
        );
        let work = adoption(
            &object,
            &target,
            &standing,
            View { desired: &desired, observed: &observed, ledger: &self.ledger, now },
        )?;
        let [WorkItem::Steps(steps)] = &work.items[..] else { panic!("{:?}", work.items) };
        let Step::Adopt { containers, .. } = &steps[0].step else { panic!("{:?}", steps[0]) };
        Some((containers.iter().map(ToString::to_string).collect(), work.relies_on))
    }

    fn matches(self) -> bool {
        self.taken().is_some()
    }
}

fn engines() -> Stage {
    stage("", WHAT)
}

/// If this failed, a restart would be the price of beginning to use this program; or something else than the file says would
/// pass for it.
#[test]
fn an_engine_is_taken_over_when_its_image_words_and_names_are_those_of_the_file() {
    let (containers, relies_on) = engines().taken().unwrap();
    assert_eq!(containers, ["id-on-spark1", "id-on-spark2"]);
    let boot = |name: &str| Predicate::Boot { spark: spark(name), boot_id: format!("boot-of-{name}").into() };
    assert!(relies_on.contains(&boot("spark1")) && relies_on.contains(&boot("spark2")), "{relies_on:?}");

    let other = |word: &str, instead: &str| ENGINE.replace(word, instead);
    for (command, is_same) in [
        // As another would write it.
        (other("--max-model-len 4096", "--max_model_len=4096"), true),
        (other("--host 0.0.0.0", ""), true),
        (other("serve lab/own", "serve --model lab/own"), true),
        (other("own --host", "own --nnodes 2 --node-rank 0 --master-port 29501 --headless --host"), true),
        // Each is another engine.
        (other("lab/own", "lab/other"), false),
        (other("4096", "8192"), false),
        (other("--max-model-len 4096", ""), false),
        (other("4096", "4096 --enforce-eager"), false),
        (other("8888", "8889"), false),
        (other("name own", "name other"), false),
        (other("name own", "name own more"), false),
        (other("4096", "4096 -xy"), false),
        (other("4096", "4096 --revision main"), false),
        (other("4096", "4096 --chat-template /x.jinja"), false),
        ("sleep infinity".into(), false),
    ] {
        assert_eq!(engines().run_both(&command).matches(), is_same, "{command}");
        assert_eq!(engines().runs("spark2", &command).matches(), is_same, "one rank: {command}");
    }
    // Nobody gave it a name: it serves by what it loaded.
    let by_root = WHAT.replace("repo: lab/own,", "repo: lab/own, served_as: [lab/own],");
    let bare = ENGINE.replace(" --served-model-name own", "");
    assert!(stage("", &by_root).run_both(&bare).serves("lab/own", "lab/own").matches());
    assert!(!engines().run_both(&bare).matches());
}

/// If this failed, beginning to use this program would stop a load that is under way, for one of the same words.
#[test]
fn what_still_loads_is_taken_over_and_waited_for() {
    let mut loading = engines();
    loading.listens = false;
    assert!(loading.matches());
    let mut other = engines().run_both("vllm serve lab/other --port 8888");
    other.listens = false;
    assert!(!other.matches());
}

#[test]
fn what_is_somebody_elses_half_there_or_serves_something_else_is_not_taken_over() {
    let labels = |cluster: &str| Labels {
        cluster: cluster.into(),
        object: Object::main(),
        spec: SpecHash::of_label("v1-0123456789abcdef"),
        token: None,
    };
    assert!(!engines().on("spark2", |facts| facts.containers[0].image_id = "sha256:bb".into()).matches());
    assert!(!engines().on("spark2", |facts| facts.images.clear()).matches());
    assert!(!engines().on("spark2", |facts| facts.containers[0].running = false).matches());
    assert!(!engines().on("spark2", |facts| facts.containers[0].processes = None).matches());
    assert!(!engines().on("spark2", |facts| facts.containers.clear()).matches());
    assert!(!engines().on("spark2", |facts| facts.containers[0].name = "other".into()).matches());
    let labelled =
        |cluster: &str| engines().on("spark2", |facts| facts.containers[0].labels = Some(labels(cluster)));
    assert!(!labelled("other").matches());
    // Ours, from before a ledger was lost; one that knows of the slot knows what it was started from.
    assert!(labelled("default").matches());
    let mut known = labelled("default");
    known.launch();
    assert!(!known.matches());
    assert!(!engines().serves("own", "lab/other").matches());
    assert!(!engines().serves("other", "lab/own").matches());
    let mut once = engines();
    let adopted = AdoptedContainer {
        object: Object::main(),
        spark: spark("spark2"),
        spec: SpecHash::of_label("v1-0123456789abcdef"),
    };
    once.ledger.adopted.insert("id-on-spark2".into(), adopted);
    assert!(!once.matches(), "it was taken over as something else");
}

/// With Ray the engine's words are on the head alone.
#[test]
fn a_ray_node_is_a_rank_without_words() {
    let launcher = "vllm: { launcher: { kind: launch-cluster, ray: true } }\n";
    let ray = ENGINE.replace("4096", "4096 --distributed-executor-backend ray");
    let node = "/usr/lib/ray/core/src/ray/raylet/raylet --raylet_socket_name=/tmp/ray";
    let on_ray = || stage(launcher, WHAT).runs("spark1", &ray).runs("spark2", node);
    assert!(on_ray().matches());
    assert!(!on_ray().runs("spark1", node).matches());
    assert!(!on_ray().runs("spark2", "sleep infinity").matches());
    assert!(!on_ray().runs("spark2", ENGINE).matches(), "an engine of its own is no node of that Ray");
    assert!(!on_ray().runs("spark1", &ray.replace("4096", "8192")).matches());
}

/// A recipe or a script has words of its own: those of the file must be among them.
#[test]
fn what_a_recipe_or_a_script_adds_is_taken_as_it_is() {
    let more = ENGINE.replace("4096", "4096 --enforce-eager");
    let recipe = WHAT.replace("repo: lab/own", "recipe: own");
    let by_recipe = || stage("vllm: { launcher: { kind: recipe } }\n", &recipe).run_both(&more);
    assert!(by_recipe().matches(), "nobody could read the recipe");
    let read = |root: &str| {
        let seen =
            RecipeSeen::Readable { root: root.into(), args: Default::default(), sets: Default::default() };
        by_recipe().on("spark1", |facts| facts.recipes = [("spark-vllm-docker/own".to_owned(), seen)].into())
    };
    assert!(read("lab/own").matches());
    assert!(!read("lab/other").matches());
    assert!(!by_recipe().run_both(&more.replace("4096", "8192")).matches());
    assert!(!by_recipe().run_both(&more.replace("8888", "8889")).matches());

    let scripted =
        WHAT.replace(", args: { max-model-len: 4096, tensor-parallel-size: 2 }", ", memory_gib: 50");
    let launcher = "vllm: { launcher: { kind: launch-cluster, script: own.sh } }\n";
    let by_script = || stage(launcher, &scripted);
    assert!(by_script().run_both(&more).matches());
    assert!(!by_script().run_both(&more.replace("lab/own", "lab/other")).matches());
}
