//! One look at two Sparks, made by hand: what is decided from it, without a controller and without a simulator.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use spark_control::{
    core::{
        decide::{
            drift::{Drift, diff},
            planner,
            view::View,
        },
        model::{
            desired::Desired,
            files::FilesSeen,
            launch::{FailedAttempts, FailureKind, Launch, LaunchFailure, LaunchState},
            launch_spec::LaunchSpec,
            ledger::{Ledger, LedgerEvent},
            name::{ModelName, SparkName},
            object::Object,
            observed::{
                CheckResult, Container, Endpoint, EndpointAnswer, EngineAnswer, FencingToken, Labels,
                LauncherCheckout, LauncherSeen, LoadSeen, Observed, Process, ServedModel, SparkFacts,
                SparkView,
            },
            plan::{Plan, Work},
            slot_record::{MemoryRelease, ProvenModel},
            spec_hash::SpecHash,
        },
        tell::{notify::news, status::status},
    },
    manifest::load::load,
};

use crate::cluster::{MODELS, SPARKS};

pub const ENGINE: &str = "vllm serve x --port 8888";

/// Seconds after noon.
pub fn at(secs: i64) -> Timestamp {
    let noon: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    noon.checked_add(SignedDuration::from_secs(secs)).unwrap()
}

pub fn spark(name: &str) -> SparkName {
    SparkName::new(name).unwrap()
}

/// The sequence-th message of the first controller.
pub fn token(sequence: u64) -> FencingToken {
    FencingToken { epoch: 1, sequence, controller: "a".into() }
}

pub struct Look {
    pub desired: Desired,
    pub sparks: BTreeMap<SparkName, SparkFacts>,
    /// These do not answer; what `sparks` has of them is what was seen last.
    pub silent: BTreeSet<SparkName>,
    pub endpoints: BTreeMap<Object, Endpoint>,
    pub loads: BTreeMap<Object, BTreeMap<SparkName, LoadSeen>>,
    pub ledger: Ledger,
    pub now: Timestamp,
}

impl Look {
    /// Two Sparks that have all that is needed and run nothing, and this in the file.
    pub fn new(more: &str) -> Self {
        let models = if more.contains("models:") { "" } else { MODELS };
        let desired = load(&format!("{SPARKS}{more}\n{models}")).unwrap().desired;
        let facts = |spark: &str| {
            let mut facts = SparkFacts {
                at: at(0),
                boot_id: format!("boot-of-{spark}").into(),
                uptime_secs: 86_400,
                memory_total_bytes: 120 << 30,
                memory_available_bytes: 110 << 30,
                images: [("vllm-node".to_owned(), Some("sha256:aa".into()))].into(),
                launchers: [(
                    "spark-vllm-docker".to_owned(),
                    LauncherSeen::Present(LauncherCheckout {
                        options: ["--solo", "--launch-script", "--no-ray"].map(Into::into).into(),
                        ..LauncherCheckout::default()
                    }),
                )]
                .into(),
                ..SparkFacts::default()
            };
            for repo in ["alpha", "beta", "wide"] {
                facts.files.insert(format!("lab/{repo}"), FilesSeen::Whole { weights_bytes: None });
            }
            facts.platform.listening = Some([22].into());
            facts.platform.earlyoom = true;
            facts
        };
        Self {
            desired,
            sparks: ["spark1", "spark2"].map(|name| (spark(name), facts(name))).into(),
            silent: BTreeSet::new(),
            endpoints: BTreeMap::new(),
            loads: BTreeMap::new(),
            ledger: Ledger::default(),
            now: at(0),
        }
    }

    pub fn facts(&mut self, name: &str) -> &mut SparkFacts {
        self.sparks.get_mut(name).unwrap()
    }

    /// The file is edited.
    pub fn edit(&mut self, more: &str) {
        self.desired = Self::new(more).desired;
    }

    /// The model as the main slot would start it now.
    pub fn group(&self, model: &str) -> LaunchSpec {
        let slot = &self.desired.slots[&Object::main()];
        self.desired.resolved_model(slot, &ModelName::new(model).unwrap()).unwrap().launch_spec()
    }

    /// A running container with an engine in it.
    pub fn stands(&mut self, on: &str, name: &str) -> &mut Container {
        let facts = self.facts(on);
        facts.containers.push(Container {
            id: format!("id-of-{name}-on-{on}").into(),
            name: name.into(),
            image: "vllm-node".into(),
            image_id: "sha256:aa".into(),
            running: true,
            processes: Some(vec![Process { pid: 70, resident_bytes: 0, command: ENGINE.into() }]),
            ..Container::default()
        });
        facts.containers.last_mut().unwrap()
    }

    /// The same with our label.
    pub fn ours(&mut self, on: &str, name: &str, spec: &SpecHash) -> &mut Container {
        let labels = Labels {
            cluster: self.desired.cluster.as_str().into(),
            object: Object::main(),
            spec: spec.clone(),
            token: Some(token(1)),
        };
        let container = self.stands(on, name);
        container.labels = Some(labels);
        container
    }

    /// The main slot was started with this, by the first message, and its containers run.
    pub fn launched(&mut self, model: &str, state: LaunchState) {
        let group = self.group(model);
        for on in group.sparks.clone() {
            self.ours(on.as_str(), "vllm_node", &group.spec);
        }
        let launch = Launch::new(group, token(1), self.now, state);
        self.ledger.slot_mut(&Object::main()).launch = Some(launch);
    }

    pub fn serves(&mut self, model: &str) {
        self.launched(model, LaunchState::Serving { since: self.now });
        self.answers(&engine(model));
    }

    /// It was the last that served in the main slot.
    pub fn proven(&mut self, model: &str) {
        let LaunchSpec { model, spec, .. } = self.group(model);
        let proven = ProvenModel { model, spec, at: at(-600), image_id: None, before: None };
        self.ledger.slot_mut(&Object::main()).proven = Some(proven);
    }

    /// Loads of it failed in the main slot.
    pub fn failed(&mut self, model: &str, attempts: FailedAttempts) {
        let spec = self.group(model).spec;
        self.ledger.set_attempts(&Object::main(), &spec, attempts);
    }

    pub fn answers(&mut self, answer: &EndpointAnswer) {
        let endpoint = Endpoint { at: self.now, since: self.now, answer: answer.clone() };
        self.endpoints.insert(Object::main(), endpoint);
    }

    pub fn observed(&self) -> Observed {
        let view = |(name, facts): (&SparkName, &SparkFacts)| {
            let facts = Box::new(facts.clone());
            let view = if self.silent.contains(name) {
                SparkView::Unreachable { since: self.now, why: "no answer".into(), last: Some(facts) }
            } else {
                SparkView::Reachable(facts)
            };
            (name.clone(), view)
        };
        Observed {
            at: self.now,
            sparks: self.sparks.iter().map(view).collect(),
            endpoints: self.endpoints.clone(),
            loads: self.loads.clone(),
            bots: std::collections::BTreeMap::new(),
            front_doors: BTreeMap::new(),
            ended: BTreeMap::new(),
            unreadable_secrets: BTreeMap::new(),
        }
    }

    /// Time passes, and the Sparks and endpoints are seen as they were.
    pub fn later(&mut self, secs: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(secs)).unwrap();
        for facts in self.sparks.values_mut() {
            facts.at = self.now;
        }
        for endpoint in self.endpoints.values_mut() {
            endpoint.at = self.now;
        }
    }

    pub fn notice(&mut self) -> Vec<LedgerEvent> {
        let observed = self.observed();
        self.ledger.record_observed(&self.desired, &observed, &BTreeSet::new(), self.now)
    }

    pub fn state(&self) -> LaunchState {
        self.ledger.launch(&Object::main()).unwrap().state.clone()
    }

    pub fn plan(&self) -> Plan {
        planner::plan(
            View { desired: &self.desired, observed: &self.observed(), ledger: &self.ledger, now: self.now },
            1,
        )
    }

    pub fn work(&self, object: &str) -> Option<Work> {
        self.plan().work.into_iter().find(|work| work.object.as_str() == object)
    }

    /// `Sync Health: what is observed`, for this object.
    pub fn status(&self, object: &str) -> String {
        let lines = status(
            View { desired: &self.desired, observed: &self.observed(), ledger: &self.ledger, now: self.now },
            &self.plan(),
        );
        let line = lines.iter().find(|line| line.object.as_str() == object).unwrap();
        format!("{:?} {:?}: {}", line.sync, line.health, line.observed)
    }

    /// What people are told of this look; it is told once.
    pub fn news(&mut self, busy: &[Object]) -> Vec<String> {
        let (drift, busy) = (self.drift(), busy.iter().cloned().collect());
        let plan = self.plan();
        let lines = status(
            View { desired: &self.desired, observed: &self.observed(), ledger: &self.ledger, now: self.now },
            &plan,
        );
        let (news, told) = news(&self.desired, &self.ledger, &plan, &lines, &drift, &busy, self.now);
        self.ledger.told = told;
        news.into_iter().map(|one| format!("{} {}: {}", one.event.name(), one.about, one.message)).collect()
    }

    pub fn drift(&self) -> Vec<Drift> {
        diff(
            View { desired: &self.desired, observed: &self.observed(), ledger: &self.ledger, now: self.now },
            &self.plan(),
        )
    }

    /// `Class Spark: desired; observed`, one for each difference.
    pub fn differences(&self) -> Vec<String> {
        let told = |drift: &Drift| {
            let spark = drift.spark.as_ref().map_or("-", SparkName::as_str);
            format!("{:?} {spark}: {}; {}", drift.class, drift.desired, drift.observed)
        };
        self.drift().iter().map(told).collect()
    }
}

/// So many loads failed at second 0, for such a cause; not again before that second.
pub fn attempts(failed_loads: u32, kind: FailureKind, not_before: i64) -> FailedAttempts {
    let last = LaunchFailure { at: at(0), what: "no such option".into(), kind };
    FailedAttempts::new(failed_loads, last, at(not_before))
}

/// These containers were stopped then.
pub fn release(since: i64, containers: &[&str]) -> MemoryRelease {
    let containers = containers.iter().map(|id| (*id).into()).collect();
    MemoryRelease { since: at(since), containers, pids: BTreeMap::new(), before: None }
}

/// An engine that has proven to serve this model.
pub fn engine(model: &str) -> EndpointAnswer {
    EndpointAnswer::Engine(EngineAnswer {
        models: vec![ServedModel { id: model.into(), root: Some(format!("lab/{model}").into()) }],
        healthy: true,
        completion: CheckResult::Proven { at: at(0) },
        ..EngineAnswer::default()
    })
}
