//! What looks at a launch mean for it: owners' own servers and scripts take their time, and say less.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use spark_control::{
    core::{
        decide::{
            readiness::{Readiness, readiness},
            view::View,
        },
        model::{
            desired::Desired,
            launch::{Launch, LaunchState},
            ledger::Ledger,
            name::{ModelName, SparkName},
            object::Object,
            observed::{
                CheckResult, Container, Endpoint, EndpointAnswer, EngineAnswer, FencingToken, Job, JobState,
                Labels, Observed, Process, ServedModel, SparkFacts, SparkView,
            },
            slot_record::AdoptedContainer,
        },
    },
    manifest::load::load,
};

const COMMAND: &str = "version: 1
sparks: { spark1: { address: 192.0.2.1, user: alice } }
model: own
vllm: { launcher: { kind: command, dir: own, start: up.sh, image: own } }
models: { own: { repo: lab/own, sparks: [spark1] } }
";

const SCRIPT: &str = "version: 1
sparks: { spark1: { address: 192.0.2.1, user: alice } }
model: own
vllm: { launcher: { kind: launch-cluster, dir: d, script: own.sh } }
models: { own: { repo: lab/own, sparks: [spark1] } }
";

fn at(secs: i64) -> Timestamp {
    let start: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    start.checked_add(SignedDuration::from_secs(secs)).unwrap()
}

struct Stage {
    desired: Desired,
    ledger: Ledger,
    facts: SparkFacts,
}

impl Stage {
    /// A launch at second 0, and its container with these processes.
    fn new(file: &str, processes: &[&str], state: LaunchState) -> Self {
        let desired = load(file).unwrap().desired;
        let slot = &desired.slots[&Object::main()];
        let group = desired.resolved_model(slot, &ModelName::new("own").unwrap()).unwrap().launch_spec();
        let token = FencingToken { epoch: 1, sequence: 1, controller: "a".into() };
        let container = Container {
            id: "c1".into(),
            name: "vllm_node".into(),
            image: "own".into(),
            image_id: "sha256:x".into(),
            running: true,
            labels: Some(Labels {
                cluster: "default".into(),
                object: Object::main(),
                spec: group.spec.clone(),
                token: Some(token.clone()),
            }),
            processes: Some(
                processes
                    .iter()
                    .map(|command| Process { pid: 7, resident_bytes: 0, command: (*command).into() })
                    .collect(),
            ),
            ..Container::default()
        };
        let job = Job {
            id: "1.1".into(),
            object: Object::main(),
            spec: group.spec.clone(),
            token: token.clone(),
            started_at: at(0),
            state: JobState::Running,
            said: Vec::new(),
        };
        let facts = SparkFacts {
            boot_id: "b".into(),
            memory_total_bytes: 120 << 30,
            containers: vec![container],
            jobs: vec![job],
            ..SparkFacts::default()
        };
        let spark = SparkName::new("spark1").unwrap();
        let adopted = AdoptedContainer { object: Object::main(), spark, spec: group.spec.clone() };
        let mut ledger = Ledger::default();
        ledger.slot_mut(&Object::main()).launch = Some(Launch::new(group, token, at(0), state));
        ledger.adopted.insert("c1".into(), adopted);
        Self { desired, ledger, facts }
    }

    fn observed(&self, secs: i64, answer: EndpointAnswer, since: i64) -> Observed {
        let facts = SparkFacts { at: at(secs), ..self.facts.clone() };
        let spark = SparkName::new("spark1").unwrap();
        Observed {
            at: at(secs),
            sparks: [(spark, SparkView::Reachable(Box::new(facts)))].into(),
            endpoints: [(Object::main(), Endpoint { at: at(secs), since: at(since), answer })].into(),
            loads: BTreeMap::new(),
            bots: std::collections::BTreeMap::new(),
            front_doors: BTreeMap::new(),
            ended: BTreeMap::new(),
            unreadable_secrets: BTreeMap::new(),
        }
    }

    fn readiness(&self, secs: i64, answer: EndpointAnswer, since: i64) -> Readiness {
        let group = &self.ledger.launch(&Object::main()).unwrap().group;
        let observed = self.observed(secs, answer, since);
        readiness(
            &Object::main(),
            group,
            View { desired: &self.desired, observed: &observed, ledger: &self.ledger, now: observed.at },
        )
    }

    /// A look at this second; the state after it.
    fn look(&mut self, secs: i64) -> LaunchState {
        let observed = self.observed(secs, EndpointAnswer::Refused, 0);
        self.ledger.record_observed(&self.desired, &observed, &BTreeSet::new(), at(secs));
        self.ledger.launch(&Object::main()).unwrap().state.clone()
    }
}

fn unwell() -> EndpointAnswer {
    EndpointAnswer::Engine(EngineAnswer {
        healthy: false,
        models: vec![ServedModel { id: "own".into(), root: None }],
        completion: CheckResult::NotTried,
        ..EngineAnswer::default()
    })
}

/// If this failed, an owner's server that says 503 while it loads would be killed for it.
#[test]
fn an_owners_server_may_say_that_it_is_not_well_while_it_loads() {
    let stage = Stage::new(COMMAND, &["own-server"], LaunchState::Loading);
    for (secs, since) in [(5, 5), (500, 5)] {
        assert!(matches!(stage.readiness(secs, unwell(), since), Readiness::NotYet { .. }), "{secs} s");
        let refused = stage.readiness(secs, EndpointAnswer::Refused, since);
        assert!(matches!(refused, Readiness::NotYet { .. }), "{secs} s");
    }
}

/// If this failed, an owner's server that died in a container that stays would never be started again.
#[test]
fn an_owners_server_that_stays_down_after_it_served_is_dead() {
    let stage = Stage::new(COMMAND, &["sleep infinity"], LaunchState::Serving { since: at(0) });
    for answer in [EndpointAnswer::Refused, unwell()] {
        assert!(
            matches!(stage.readiness(719, answer.clone(), 600), Readiness::NotYet { .. }),
            "it may come back"
        );
        assert!(matches!(stage.readiness(720, answer, 600), Readiness::Dead { .. }));
    }
}

/// A script that installs something before the engine is left to it; one that is done without an engine is not.
#[test]
fn a_launch_script_gets_time_to_prepare() {
    let mut stage = Stage::new(SCRIPT, &["sleep infinity", "pip install something"], LaunchState::Loading);
    stage.facts.jobs[0].state = JobState::Exited(0);
    for secs in [5, 60, 590] {
        assert_eq!(stage.look(secs), LaunchState::Loading, "after {secs} s");
    }
    assert!(matches!(stage.look(606), LaunchState::Failed { in_load: true, .. }));

    // What only keeps the container up prepares nothing.
    let mut idle = Stage::new(SCRIPT, &["sleep infinity", "/usr/bin/tini -- x"], LaunchState::Loading);
    idle.facts.jobs[0].state = JobState::Exited(0);
    assert_eq!(idle.look(5), LaunchState::Loading);
    assert!(matches!(idle.look(26), LaunchState::Failed { .. }));

    let mut plain =
        Stage::new(&SCRIPT.replace(", script: own.sh", ""), &["sleep infinity"], LaunchState::Loading);
    plain.facts.jobs[0].state = JobState::Exited(0);
    assert_eq!(plain.look(5), LaunchState::Loading);
    assert!(matches!(plain.look(26), LaunchState::Failed { .. }), "the engine is its first word");
}

/// If this failed, a job that was seen in the instant before its process was known would have ended for good.
#[test]
fn a_job_that_is_seen_to_run_again_has_not_ended() {
    let plain = SCRIPT.replace(", script: own.sh", "");
    let mut stage = Stage::new(&plain, &["sleep infinity"], LaunchState::Loading);
    stage.facts.jobs[0].state = JobState::Lost;
    stage.look(1);
    stage.facts.jobs[0].state = JobState::Running;
    for secs in [3, 30, 120] {
        assert_eq!(stage.look(secs), LaunchState::Loading, "after {secs} s");
    }
}

#[test]
fn an_owners_server_that_answers_is_ready_however_long_it_has() {
    let stage = Stage::new(COMMAND, &["own-server"], LaunchState::Serving { since: at(0) });
    let served = |root: Option<&str>| {
        EndpointAnswer::Engine(EngineAnswer {
            healthy: true,
            models: vec![ServedModel { id: "own".into(), root: root.map(Into::into) }],
            completion: CheckResult::Proven { at: at(0) },
            ..EngineAnswer::default()
        })
    };
    assert_eq!(stage.readiness(720, served(Some("lab/own")), 0), Readiness::Ready);
    assert_eq!(stage.readiness(720, served(None), 0), Readiness::Ready, "it need not tell what it loaded");
    assert!(matches!(stage.readiness(720, served(Some("lab/other")), 0), Readiness::NotYet { .. }));

    // An engine tells, and when it says that it is dead it is.
    let plain = SCRIPT.replace(", script: own.sh", "");
    let engine = Stage::new(&plain, &["vllm serve lab/own"], LaunchState::Serving { since: at(0) });
    assert_eq!(engine.readiness(720, served(Some("lab/own")), 0), Readiness::Ready);
    assert_eq!(
        engine.readiness(720, served(None), 0),
        Readiness::Ready,
        "some frontends do not tell what they loaded"
    );
    assert!(matches!(engine.readiness(720, served(Some("lab/other")), 0), Readiness::NotYet { .. }));
    let why = "the engine reports that it is dead".to_owned();
    assert_eq!(engine.readiness(720, unwell(), 0), Readiness::Dead { why });
}

/// If this failed, what an owner's program starts would belong to nobody, and never be ready or stopped.
#[test]
fn what_an_owners_program_starts_is_taken_for_ours_while_it_loads() {
    let taken = |file: &str, change: fn(&mut Stage)| {
        let mut stage = Stage::new(file, &["own-server"], LaunchState::Loading);
        stage.ledger.adopted.clear();
        stage.facts.containers[0].labels = None;
        change(&mut stage);
        stage.look(5);
        stage.ledger.adopted.contains_key("c1")
    };
    assert!(taken(COMMAND, |_| {}));
    assert!(!taken(COMMAND, |stage| stage.facts.jobs.clear()), "its message has not arrived");
    assert!(!taken(COMMAND, |stage| stage.facts.containers[0].name = "other".into()));
    let served: fn(&mut Stage) = |stage| {
        let launch = stage.ledger.launch_mut(&Object::main()).unwrap();
        launch.state = LaunchState::Serving { since: at(0) };
    };
    assert!(!taken(COMMAND, served));
    assert!(!taken(&SCRIPT.replace(", script: own.sh", ""), |_| {}), "a launcher labels what it starts");
}
