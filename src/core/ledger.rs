//! What this controller did and was told. A value: the store keeps it, the controller passes it in.
//!
//! A lost ledger may cost time and approvals, never a second start: what prevents that is on the Sparks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    desired::{Desired, Effective, Object, Slot, SpecHash},
    memory,
    name::{ModelName, SparkName},
    observed::{Container, JobState, Observed, Token},
    ready::{self, Readiness},
    step::Step,
};

/// A load that ends without a named cause is tried this often, then it is for a person.
pub const MAX_LOADS: u32 = 2;
/// Before the second load; the machine settles, logs are flushed.
const RETRY_AFTER: SignedDuration = SignedDuration::from_secs(20);
/// Until loads of a model are known. Two-Spark loads of 15 to 25 minutes are common.
pub const LOAD_DEADLINE: SignedDuration = SignedDuration::from_mins(40);
/// A launcher dispatches in seconds; it also checks images and copies mods first.
pub const LAUNCH_DEADLINE: SignedDuration = SignedDuration::from_mins(10);
/// After the launcher ended, until an engine process must be seen.
const ENGINE_GRACE: SignedDuration = SignedDuration::from_secs(20);
/// A model that has served this long starts with a clean slate.
const CLEAN_AFTER: SignedDuration = SignedDuration::from_hours(1);
const KEPT_LOAD_TIMES: usize = 5;
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
    /// Why this controller stopped acting.
    pub fenced: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    pub model: ModelName,
    pub spec: SpecHash,
    pub token: Token,
    pub at: Timestamp,
    pub sparks: Vec<SparkName>,
    pub state: LaunchState,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum LaunchState {
    Loading,
    Serving {
        since: Timestamp,
    },
    Failed {
        at: Timestamp,
    },
    /// We stopped it, or began to.
    Stopped {
        at: Timestamp,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempts {
    pub failed_loads: u32,
    pub last: Failure,
    pub not_before: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub at: Timestamp,
    pub what: String,
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

    /// What this slot was last started with, while it loads or serves and is still in the catalog unchanged.
    pub fn launched<'a>(
        &self,
        object: &Object,
        slot: &'a Slot,
        desired: &'a Desired,
    ) -> Option<Effective<'a>> {
        let launch = self.launches.get(object)?;
        match launch.state {
            LaunchState::Loading | LaunchState::Serving { .. } => {}
            LaunchState::Failed { .. } | LaunchState::Stopped { .. } => return None,
        }
        desired.effective(slot, &launch.model).filter(|effective| effective.spec_hash() == launch.spec)
    }

    /// Median seconds of the last loads of this spec.
    pub fn expected_load_secs(&self, spec: &SpecHash) -> Option<(u64, usize)> {
        let mut seconds = self.load_secs.get(spec.as_str())?.clone();
        seconds.sort_unstable();
        Some((*seconds.get(seconds.len() / 2)?, seconds.len()))
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

    fn notice_launch(
        &mut self,
        object: &Object,
        desired: &Desired,
        observed: &Observed,
        now: Timestamp,
        noticed: &mut Vec<Noticed>,
    ) {
        let Some(launch) = self.launches.get(object).cloned() else { return };
        let Some(slot) = desired.slots.get(object) else { return };
        let effective =
            desired.effective(slot, &launch.model).filter(|effective| effective.spec_hash() == launch.spec);
        let Some(effective) = effective else {
            // Its model was edited or taken out of the catalog: whatever still loads is not wanted any more.
            if matches!(launch.state, LaunchState::Loading)
                && let Some(launch) = self.launches.get_mut(object)
            {
                launch.state = LaunchState::Failed { at: now };
            }
            return;
        };
        let readiness = ready::readiness(object, &effective, desired, observed, self, now);
        let next = match (&launch.state, readiness) {
            (LaunchState::Loading, Readiness::Ready) => {
                let took = now.duration_since(launch.at).as_secs().unsigned_abs();
                let times = self.load_secs.entry(launch.spec.as_str().to_owned()).or_default();
                times.push(took);
                let surplus = times.len().saturating_sub(KEPT_LOAD_TIMES);
                times.drain(..surplus);
                self.proven.insert(
                    object.clone(),
                    Proven { model: launch.model.clone(), spec: launch.spec.clone(), at: now },
                );
                self.releases.remove(object);
                noticed.push(Noticed {
                    object: object.clone(),
                    kind: "ready",
                    message: format!("`{}` is ready after {took} s", launch.model),
                });
                LaunchState::Serving { since: now }
            }
            (LaunchState::Serving { since }, Readiness::Ready) => {
                if now.duration_since(*since) >= CLEAN_AFTER {
                    self.attempts.remove(&attempt_key(object, &launch.spec));
                }
                return;
            }
            (LaunchState::Loading, Readiness::Loading { .. }) => {
                match overdue(&effective, &launch, self, now) {
                    None => return,
                    Some(what) => self.failed(object, &launch, what, now, noticed),
                }
            }
            (LaunchState::Loading | LaunchState::Serving { .. }, Readiness::Dead { why }) => {
                let head = observed.facts(&launch.sparks[0]);
                let job = head.and_then(|facts| facts.jobs.iter().find(|job| job.token == launch.token));
                if matches!(launch.state, LaunchState::Loading)
                    && job.is_none()
                    && head.is_some_and(|facts| facts.at > launch.at)
                {
                    // The message never arrived; a later one, with a higher token, makes it worthless.
                    self.launches.remove(object);
                    let message = format!("the launch of `{}` never began", launch.model);
                    noticed.push(Noticed { object: object.clone(), kind: "lost", message });
                    return;
                }
                let settling = job.is_some_and(|job| job.state == JobState::Running);
                let young = now.duration_since(launch.at) < ENGINE_GRACE;
                if matches!(launch.state, LaunchState::Loading) && (settling || young) {
                    match overdue_launcher(&launch, now) {
                        None => return,
                        Some(what) => self.failed(object, &launch, what, now, noticed),
                    }
                } else {
                    self.failed(object, &launch, why, now, noticed)
                }
            }
            _ => return,
        };
        if let Some(launch) = self.launches.get_mut(object) {
            launch.state = next;
        }
    }

    fn failed(
        &mut self,
        object: &Object,
        launch: &Launch,
        what: String,
        now: Timestamp,
        noticed: &mut Vec<Noticed>,
    ) -> LaunchState {
        let failure = Failure { at: now, what: what.clone() };
        let attempts = self.attempts.entry(attempt_key(object, &launch.spec)).or_insert_with(|| Attempts {
            failed_loads: 0,
            last: failure.clone(),
            not_before: now,
        });
        attempts.failed_loads += 1;
        attempts.last = failure;
        attempts.not_before = now.saturating_add(RETRY_AFTER).expect("a duration, not a calendar span");
        noticed.push(Noticed {
            object: object.clone(),
            kind: "failed",
            message: format!("`{}` failed: {what}", launch.model),
        });
        LaunchState::Failed { at: now }
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
                if let Some(launch) = self.launches.get_mut(object) {
                    launch.state = LaunchState::Stopped { at: now };
                }
            }
            Step::Launch { object, model, spec, sparks, .. } => {
                let launch = Launch {
                    model: model.clone(),
                    spec: spec.clone(),
                    token: token.clone(),
                    at: now,
                    sparks: sparks.clone(),
                    state: LaunchState::Loading,
                };
                self.launches.insert(object.clone(), launch);
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
            (Step::Adopt { object, model, spec, ranks }, Came::Done) => {
                self.adopted.extend(ranks.iter().map(|rank| (rank.container.clone(), spec.clone())));
                let launch = Launch {
                    model: model.clone(),
                    spec: spec.clone(),
                    token: token.clone(),
                    at: now,
                    sparks: ranks.iter().map(|rank| rank.spark.clone()).collect(),
                    state: LaunchState::Serving { since: now },
                };
                self.launches.insert(object.clone(), launch);
                let proven = Proven { model: model.clone(), spec: spec.clone(), at: now };
                self.proven.insert(object.clone(), proven);
            }
            (Step::Stop { container, .. }, Came::Done) => {
                self.adopted.remove(container);
            }
            (Step::Launch { object, .. }, Came::NotDone) => {
                self.launches.remove(object);
            }
            (Step::Launch { object, .. }, Came::Failed) => {
                if let Some(launch) = self.launches.get(object).cloned() {
                    let state = self.failed(object, &launch, what.to_owned(), now, &mut noticed);
                    self.launches.insert(object.clone(), Launch { state, ..launch });
                }
            }
            _ => {}
        }
        noticed
    }
}

fn overdue(effective: &Effective<'_>, launch: &Launch, ledger: &Ledger, now: Timestamp) -> Option<String> {
    let deadline = load_deadline(effective, &launch.spec, ledger);
    (now.duration_since(launch.at) > deadline)
        .then(|| format!("it was not ready within {} min", deadline.as_mins()))
}

fn overdue_launcher(launch: &Launch, now: Timestamp) -> Option<String> {
    (now.duration_since(launch.at) > LAUNCH_DEADLINE)
        .then(|| format!("the launcher had started no engine after {} min", LAUNCH_DEADLINE.as_mins()))
}

/// How long a load may take: as written, else three times the median of this spec's loads but at least 20 min, else
/// [`LOAD_DEADLINE`].
pub fn load_deadline(effective: &Effective<'_>, spec: &SpecHash, ledger: &Ledger) -> SignedDuration {
    if let Some(written) = effective.slot.load_deadline {
        return SignedDuration::try_from(written).unwrap_or(LOAD_DEADLINE);
    }
    match ledger.expected_load_secs(spec) {
        Some((median, _)) => SignedDuration::from_secs(i64::try_from(median * 3).unwrap_or(i64::MAX))
            .max(SignedDuration::from_mins(20)),
        None => LOAD_DEADLINE,
    }
}
