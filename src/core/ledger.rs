//! What this controller did and was told. A value: the store keeps it, the controller passes it in.
//!
//! A lost ledger may cost time and approvals, never a second start: what prevents that is on the Sparks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    desired::{Desired, Object, ServiceState, Slot, SpecHash, Wanted},
    launch::{Attempts, Launch, LaunchState},
    memory,
    name::{ModelName, SparkName},
    observed::{Container, Observed, Token},
    ready::{self, Readiness},
    schedule, service,
    step::{self, Step},
};

/// More than a person agrees to before one of them is carried out.
const KEPT_APPROVALS: usize = 20;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// What was last started in each slot.
    pub launches: BTreeMap<Object, Launch>,
    /// By object and spec: `vllm v1-…`.
    pub attempts: BTreeMap<String, Attempts>,
    /// Containers that ran before us and match: id to spec.
    pub adopted: BTreeMap<String, SpecHash>,
    /// The last model that served in each slot.
    pub proven: BTreeMap<Object, Proven>,
    /// Seconds that loads took, newest last, by spec.
    pub load_secs: BTreeMap<String, Vec<u64>>,
    /// Free memory as seen, newest last.
    pub samples: BTreeMap<SparkName, VecDeque<Sample>>,
    /// What was stopped to make room, until the next launch.
    pub releases: BTreeMap<Object, Release>,
    pub approvals: Vec<Approval>,
    /// Managed services that were once as the file says: what differs later is drift, not an edit.
    pub kept: BTreeMap<Object, ServiceState>,
    /// Hashes of revisions whose removals a person agreed to.
    pub accepted_removals: BTreeSet<String>,
    /// Why this controller stopped acting.
    pub fenced: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proven {
    pub model: ModelName,
    pub spec: SpecHash,
    pub at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub at: Timestamp,
    pub available_bytes: u64,
}

/// What must be gone before the next launch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Release {
    pub since: Timestamp,
    pub containers: BTreeSet<String>,
    /// Host process ids of what ran in them, by Spark.
    pub pids: BTreeMap<SparkName, BTreeSet<u32>>,
}

/// A person's yes to the steps of one plan, by their keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    pub plan: String,
    pub steps: BTreeSet<String>,
    pub at: Timestamp,
    pub by: String,
}

/// Something that the ledger noticed, for the log and the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Noticed {
    pub object: Object,
    pub kind: &'static str,
    pub message: String,
}

/// The key of [`Ledger::attempts`].
pub fn attempt_key(object: &Object, spec: &SpecHash) -> String {
    format!("{object} {spec}")
}

impl Ledger {
    pub fn attempts(&self, object: &Object, spec: &SpecHash) -> Option<&Attempts> {
        self.attempts.get(&attempt_key(object, spec))
    }

    /// Has a person agreed to this step?
    pub fn approved(&self, step_key: &str) -> bool {
        self.approvals.iter().any(|approval| approval.steps.contains(step_key))
    }

    pub fn approve(&mut self, approval: Approval) {
        self.approvals.push(approval);
        let surplus = self.approvals.len().saturating_sub(KEPT_APPROVALS);
        self.approvals.drain(..surplus);
    }

    /// A lost ledger finds what it started: a group with our labels that is ready.
    fn find_again(
        &mut self,
        object: &Object,
        slot: &Slot,
        desired: &Desired,
        observed: &Observed,
        now: Timestamp,
    ) {
        if self.launches.contains_key(object) {
            return;
        }
        let Wanted::Model(name) = schedule::wanted(object, slot, desired, now) else { return };
        let Some(group) = desired.effective(slot, &name).map(|effective| effective.group()) else { return };
        if ready::readiness(object, &group, desired, observed, self) != Readiness::Ready {
            return;
        }
        let head = ready::rank(object, &group, group.head(), desired, observed, self);
        let Some(token) = head.and_then(|container| container.labels.as_ref()?.token.clone()) else { return };
        let proven = Proven { model: group.model.clone(), spec: group.spec.clone(), at: now };
        self.proven.insert(object.clone(), proven);
        let state = LaunchState::Serving { since: now };
        self.launches.insert(object.clone(), Launch { group, token, at: now, state });
    }

    /// What a person agreed to for this object has been carried out; the next time they are asked again.
    pub(super) fn consume_approvals(&mut self, object: &Object) {
        for approval in &mut self.approvals {
            approval.steps.retain(|key| !step::is_about(key, object));
        }
        self.approvals.retain(|approval| !approval.steps.is_empty());
    }

    fn consume_approval(&mut self, step_key: &str) {
        for approval in &mut self.approvals {
            approval.steps.remove(step_key);
        }
        self.approvals.retain(|approval| !approval.steps.is_empty());
    }

    /// The container is ours: it carries our label, or it was adopted.
    pub fn owns(&self, cluster: &str, object: &Object, container: &Container) -> bool {
        self.spec_of(cluster, object, container).is_some()
    }

    /// The spec that the container was started from, when it is ours.
    pub fn spec_of(&self, cluster: &str, object: &Object, container: &Container) -> Option<SpecHash> {
        match &container.labels {
            Some(labels) if labels.cluster == cluster && labels.object == object.as_str() => {
                Some(labels.spec.clone())
            }
            _ => self.adopted.get(&container.id).cloned(),
        }
    }

    /// Take in what was seen: memory samples, launches that became ready or failed.
    pub fn notice(&mut self, desired: &Desired, observed: &Observed, now: Timestamp) -> Vec<Noticed> {
        for (name, view) in &observed.sparks {
            if let Some(facts) = view.facts() {
                let samples = self.samples.entry(name.clone()).or_default();
                samples.push_back(Sample { at: facts.at, available_bytes: facts.memory_available_bytes });
                while samples.len() > memory::KEPT_SAMPLES {
                    samples.pop_front();
                }
            }
        }
        let mut noticed = Vec::new();
        for (name, service) in &desired.services {
            if let (Some(state), true) = (service.state, service::is_as_desired(service, observed)) {
                self.kept.insert(Object::service(name), state);
            }
        }
        for (object, slot) in &desired.slots {
            self.find_again(object, slot, desired, observed, now);
        }
        let objects: Vec<Object> = self.launches.keys().cloned().collect();
        for object in objects {
            self.notice_launch(&object, desired, observed, now, &mut noticed);
        }
        self.attempts.retain(|key, _| {
            let still = desired.slots.iter().any(|(object, slot)| {
                desired.models.keys().any(|model| {
                    desired
                        .effective(slot, model)
                        .is_some_and(|effective| attempt_key(object, &effective.spec_hash()) == *key)
                })
            });
            still
                || desired.services.keys().any(|name| key.starts_with(&format!("{} ", Object::service(name))))
        });
        noticed
    }
}

/// What came of a step, as far as the ledger cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// Done, or so already.
    Done,
    /// Nothing was done.
    NotDone,
    /// It was tried and failed, for a reason that stays.
    Failed,
    /// Not known. The next look decides.
    Unknown,
}

impl Ledger {
    /// Before a step: what must be known should this controller die now.
    pub fn intend(&mut self, step: &Step, token: &Token, now: Timestamp) {
        match step {
            Step::Stop { object, spark, container, pids, .. } => {
                let release = self.releases.entry(object.clone()).or_insert_with(|| Release {
                    since: now,
                    containers: BTreeSet::new(),
                    pids: BTreeMap::new(),
                });
                release.since = now;
                release.containers.insert(container.clone());
                release.pids.entry(spark.clone()).or_default().extend(pids);
                // A failed load stays known as one: what is done about it belongs to that swap.
                if let Some(launch) = self.launches.get_mut(object)
                    && !matches!(launch.state, LaunchState::Failed { .. })
                {
                    launch.state = LaunchState::Stopped { at: now };
                }
            }
            Step::Launch { object, group } => {
                let (group, token) = (group.clone(), token.clone());
                self.launches
                    .insert(object.clone(), Launch { group, token, at: now, state: LaunchState::Loading });
            }
            Step::Adopt { .. } | Step::Start { .. } | Step::EndJob { .. } | Step::Advance { .. } => {}
        }
    }

    /// After it.
    pub fn conclude(
        &mut self,
        step: &Step,
        token: &Token,
        came: Came,
        what: &str,
        now: Timestamp,
    ) -> Vec<Noticed> {
        let mut noticed = Vec::new();
        match (step, came) {
            (Step::Adopt { object, group, containers }, Came::Done) => {
                self.adopted
                    .extend(containers.iter().map(|container| (container.clone(), group.spec.clone())));
                let proven = Proven { model: group.model.clone(), spec: group.spec.clone(), at: now };
                self.proven.insert(object.clone(), proven);
                let (group, token, state) =
                    (group.clone(), token.clone(), LaunchState::Serving { since: now });
                self.launches.insert(object.clone(), Launch { group, token, at: now, state });
            }
            (Step::Stop { container, .. }, Came::Done) => {
                self.adopted.remove(container);
                self.consume_approval(&step.key());
            }
            (Step::Start { .. }, Came::Done) => self.consume_approval(&step.key()),
            (Step::Launch { object, .. }, Came::NotDone) => {
                self.launches.remove(object);
            }
            (Step::Launch { object, .. }, Came::Failed) => {
                if let Some(launch) = self.launches.get(object).cloned() {
                    let state = self.failed(object, &launch.group, what.to_owned(), now, &mut noticed);
                    self.launches.insert(object.clone(), Launch { state, ..launch });
                }
            }
            _ => {}
        }
        noticed
    }
}
