//! What this controller did and was told. A value: the store keeps it, the controller passes it in.
//!
//! A lost ledger may cost time and approvals, never a second start: what prevents that is on the Sparks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    bot_update::{BotUpdate, UpdateState},
    desired::{ServiceState, Slot},
    files::FilesSeen,
    id::{BootId, ContainerId, ImageId, PlanId, StepKey},
    launch::{
        FailedAttempts, FailureKind, LOAD_DEADLINE, Launch, LaunchFailure, LaunchState, RETRY_AFTER,
        SHORTEST_DEADLINE,
    },
    launch_spec::LaunchSpec,
    memory_dip::MemoryWatchdog,
    name::{ContainerName, ModelName, SparkName},
    object::Object,
    observed::Container,
    plan::{self, Plan, Predicate},
    restart::ServiceRestarts,
    spec_hash::SpecHash,
    step,
    told::NotifiedConditions,
    transfer::Transfer,
};

/// Enough for the release gate's window at one sample a second, with room.
pub const KEPT_SAMPLES: usize = 32;
/// More than a person agrees to before one of them is carried out.
const KEPT_APPROVALS: usize = 20;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// What was last started in each slot.
    pub launches: BTreeMap<Object, Launch>,
    /// By object and spec: `vllm v1-…`.
    pub attempts: BTreeMap<String, FailedAttempts>,
    /// Containers that ran before us and match, by id.
    pub adopted: BTreeMap<ContainerId, AdoptedContainer>,
    /// The last model that served in each slot.
    pub proven: BTreeMap<Object, ProvenModel>,
    /// Seconds that loads took, newest last, by spec.
    pub load_secs: BTreeMap<String, Vec<u64>>,
    /// What the last load of a spec that became ready had of its files, on each of its Sparks where that was seen.
    pub loaded_from: BTreeMap<String, BTreeMap<SparkName, FilesSeen>>,
    /// Bytes of memory that loads took, newest last, by [`peak_key`].
    pub peaks: BTreeMap<String, Vec<u64>>,
    /// Free memory as seen, newest last. Not kept: a restart watches anew.
    #[serde(skip)]
    pub samples: BTreeMap<SparkName, MemorySamples>,
    /// Free memory as watched all the time. Not kept either.
    #[serde(skip)]
    pub floors: BTreeMap<SparkName, MemoryWatchdog>,
    /// Since when the requests of what is to be stopped have been waited for.
    pub draining: BTreeMap<Object, Timestamp>,
    /// What was stopped to make room, until the next launch.
    pub releases: BTreeMap<Object, MemoryRelease>,
    /// Transfers of files that were started.
    pub transfers: BTreeMap<Object, Transfer>,
    /// Updates of bots, the last of each.
    pub updates: BTreeMap<Object, BotUpdate>,
    /// Restarts that were asked for and done: for which time.
    pub restarted: BTreeMap<Object, Timestamp>,
    /// What engines said of arguments, by [`checked_key`].
    pub checked: BTreeMap<String, CheckedArguments>,
    pub approvals: Vec<Approval>,
    /// Managed services that were once as the file says: what differs later is drift, not an edit.
    pub kept: BTreeMap<Object, ConvergedService>,
    /// Services that were started and have not lasted yet.
    pub restarts: BTreeMap<Object, ServiceRestarts>,
    /// Hashes of revisions whose removals a person agreed to.
    pub accepted_removals: BTreeSet<String>,
    /// Since when something differs, by what stays the same while it does.
    pub differing: BTreeMap<String, Timestamp>,
    /// Conditions as people were told of them last.
    pub told: NotifiedConditions,
    /// Why this controller stopped acting.
    pub fenced: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProvenModel {
    pub model: ModelName,
    pub spec: SpecHash,
    pub at: Timestamp,
    /// The image that its head ran: another one is another engine.
    #[serde(default)]
    pub image_id: Option<ImageId>,
    /// What served before it, of another spec.
    #[serde(default)]
    pub before: Option<Box<ProvenModel>>,
}

impl ProvenModel {
    /// This one and the one before it, the newest first.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.before.as_deref())
    }
}

/// A container that was taken over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdoptedContainer {
    pub object: Object,
    pub spark: SparkName,
    pub spec: SpecHash,
}

/// A service as it was last seen to be as the file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConvergedService {
    pub state: ServiceState,
    pub spark: SparkName,
    pub container: ContainerName,
}

/// What was seen without a break since this boot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MemorySamples {
    pub boot_id: BootId,
    pub seen: VecDeque<MemorySample>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MemorySample {
    pub at: Timestamp,
    pub available_bytes: u64,
}

/// What must be gone before the next launch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryRelease {
    pub since: Timestamp,
    pub containers: BTreeSet<ContainerId>,
    /// Host process ids of what ran in them, by Spark.
    pub pids: BTreeMap<SparkName, BTreeSet<u32>>,
    /// What the slot's launch was before the first of these stops.
    #[serde(default)]
    pub before: Option<LaunchState>,
}

/// A person's yes to the steps of one plan, by their keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    pub plan: PlanId,
    pub steps: BTreeSet<StepKey>,
    /// What was seen then: a reference that names another image by now is not what was agreed to.
    #[serde(default)]
    pub relied_on: Vec<Predicate>,
    pub at: Timestamp,
    pub by: String,
}

impl Approval {
    /// Of the whole plan.
    pub fn of(plan: &Plan, by: &str, now: Timestamp) -> Self {
        let relied_on = plan.work.iter().flat_map(|work| &work.relies_on).cloned().collect();
        Self { plan: plan.id.clone(), steps: plan.step_keys(), relied_on, at: now, by: by.to_owned() }
    }
}

/// What the engine says of a model's arguments, and its version where it tells one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum CheckedArguments {
    Valid {
        #[serde(default)]
        engine: Option<String>,
    },
    Invalid {
        why: String,
        #[serde(default)]
        engine: Option<String>,
    },
    /// It could not be asked, or did not end: not a reason to hold anything up. What was in the way may pass.
    Unknown {
        why: String,
        #[serde(default)]
        at: Timestamp,
    },
}

/// After this long, what could not be asked is asked again, when it is still to be known.
const ASK_AGAIN: SignedDuration = SignedDuration::from_mins(10);

impl CheckedArguments {
    /// It is not known, and enough time has passed to ask once more.
    pub fn is_worth_asking_again(&self, now: Timestamp) -> bool {
        matches!(self, Self::Unknown { at, .. } if now.duration_since(*at) >= ASK_AGAIN)
    }

    /// The line of `apply/arguments.py`, or `unknown WHY` from whoever ran it.
    pub fn of(said: &str, at: Timestamp) -> Self {
        #[derive(Deserialize)]
        struct ArgumentsAnswer {
            is: String,
            engine: Option<String>,
            why: String,
        }
        match serde_json::from_str::<ArgumentsAnswer>(said) {
            Ok(ArgumentsAnswer { is, engine, .. }) if is == "valid" => Self::Valid { engine },
            Ok(ArgumentsAnswer { is, engine, why }) if is == "invalid" => Self::Invalid { why, engine },
            Ok(ArgumentsAnswer { why, .. }) => Self::Unknown { why, at },
            Err(_) => Self::Unknown { why: said.strip_prefix("unknown ").unwrap_or(said).to_owned(), at },
        }
    }
}

impl std::fmt::Display for CheckedArguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = |engine: &Option<String>| match engine {
            Some(engine) => format!("vLLM {engine}"),
            None => "the engine".to_owned(),
        };
        match self {
            Self::Valid { engine } => write!(f, "accepted by {}", by(engine)),
            Self::Invalid { why, engine } => write!(f, "refused by {}: {why}", by(engine)),
            Self::Unknown { why, .. } => write!(f, "not checked, because {why}"),
        }
    }
}

/// The key of [`Ledger::checked`]: another image is another engine.
pub fn checked_key(spec: &SpecHash, image_id: &ImageId) -> String {
    format!("{spec} {image_id}")
}

/// Something that the ledger noticed, for the log and the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerEvent {
    pub object: Object,
    pub kind: &'static str,
    pub message: String,
}

/// The key of [`Ledger::peaks`].
pub fn peak_key(spec: &SpecHash, spark: &SparkName) -> String {
    format!("{spec} {spark}")
}

/// The key of [`Ledger::attempts`].
pub fn attempt_key(object: &Object, spec: &SpecHash) -> String {
    format!("{object} {spec}")
}

impl Ledger {
    pub fn attempts(&self, object: &Object, spec: &SpecHash) -> Option<&FailedAttempts> {
        self.attempts.get(&attempt_key(object, spec))
    }

    /// Has a person agreed to this step, on what it relies on?
    pub fn approved(&self, step_key: &StepKey, relies_on: &[Predicate], now: Timestamp) -> bool {
        self.approvals.iter().any(|approval| {
            now.duration_since(approval.at) <= plan::LASTS
                && approval.steps.contains(step_key)
                && !plan::is_another_image(&approval.relied_on, relies_on)
        })
    }

    pub fn approve(&mut self, approval: Approval) {
        self.approvals.push(approval);
        let surplus = self.approvals.len().saturating_sub(KEPT_APPROVALS);
        self.approvals.drain(..surplus);
    }

    /// What a person agreed to for this object has been carried out; the next time they are asked again.
    pub(crate) fn consume_approvals(&mut self, object: &Object) {
        for approval in &mut self.approvals {
            approval.steps.retain(|key| !step::is_about(key, object));
        }
        self.approvals.retain(|approval| !approval.steps.is_empty());
    }

    pub(crate) fn consume_approval(&mut self, step_key: &StepKey) {
        for approval in &mut self.approvals {
            approval.steps.remove(step_key);
        }
        self.approvals.retain(|approval| !approval.steps.is_empty());
    }

    /// The spec that the container is, when it is ours: it was adopted as that, or carries our label.
    pub fn spec_of(&self, cluster: &str, object: &Object, container: &Container) -> Option<SpecHash> {
        let adopted = self.adopted.get(&container.id).filter(|adopted| adopted.object == *object);
        let labels = container.labels.as_ref();
        let labels = labels.filter(|labels| labels.cluster == cluster && labels.object == *object);
        adopted.map(|adopted| adopted.spec.clone()).or_else(|| Some(labels?.spec.clone()))
    }

    /// A swap of this slot has stopped what served, and nothing serves again yet.
    pub fn is_past_stop(&self, object: &Object) -> bool {
        let state = self.launches.get(object).map(|launch| &launch.state);
        let between =
            matches!(state, Some(LaunchState::Stopped { .. } | LaunchState::Failed { in_load: true, .. }));
        between && self.releases.contains_key(object)
    }

    /// What `suspend` does not end in this slot, in words: a swap is finished once it has stopped what served.
    pub fn goes_on_suspended(&self, object: &Object) -> Option<&'static str> {
        if self.is_past_stop(object) {
            return Some(
                "`suspend` is on; the swap that has begun is finished first, because nothing serves until then",
            );
        }
        let loads = self.launches.get(object).is_some_and(|launch| launch.state == LaunchState::Loading);
        loads.then_some("`suspend` is on; what loads already goes on to load, and nothing is begun after it")
    }

    /// Whatever failed with this object is forgotten. Tells whether anything was.
    pub fn forget_failures(&mut self, object: &str) -> bool {
        let before = (self.attempts.len(), self.restarts.len(), self.updates.len());
        self.attempts.retain(|key, _| key.split(' ').next() != Some(object));
        self.restarts.retain(|known, _| known.as_str() != object);
        self.updates.retain(|known, update| {
            known.as_str() != object || !matches!(update.state, UpdateState::Failed { .. })
        });
        let refused = self.checked.values().any(|checked| !matches!(checked, CheckedArguments::Valid { .. }));
        self.checked.clear();
        refused || before != (self.attempts.len(), self.restarts.len(), self.updates.len())
    }

    /// Why nobody knows whether the engine takes the words of this spec, when it was asked and gave no answer.
    pub(crate) fn unanswered(&self, spec: &SpecHash) -> Option<&str> {
        self.checked.iter().find_map(|(key, checked)| match checked {
            CheckedArguments::Unknown { why, .. } if key.split(' ').next() == Some(spec.as_str()) => {
                Some(why.as_str())
            }
            _ => None,
        })
    }

    pub fn is_loading(&self, object: &Object) -> bool {
        self.launches.get(object).is_some_and(|launch| matches!(launch.state, LaunchState::Loading))
    }

    /// What this slot was last started with, while it loads or serves.
    pub fn launched(&self, object: &Object) -> Option<&LaunchSpec> {
        let launch = self.launches.get(object)?;
        match launch.state {
            LaunchState::Loading | LaunchState::Serving { .. } | LaunchState::Unseen { .. } => {
                Some(&launch.group)
            }
            LaunchState::Failed { .. } | LaunchState::Stopped { .. } => None,
        }
    }

    /// The load of `spec` in this slot failed, and nothing else was started there since.
    pub fn failed_in_load(&self, object: &Object, spec: &SpecHash) -> bool {
        self.launches.get(object).is_some_and(|launch| {
            launch.group.spec == *spec && matches!(launch.state, LaunchState::Failed { in_load: true, .. })
        })
    }

    /// Median seconds of the last loads of this spec, and of how many.
    pub fn expected_load_secs(&self, spec: &SpecHash) -> Option<(u64, usize)> {
        let mut seconds = self.load_secs.get(spec.as_str())?.clone();
        seconds.sort_unstable();
        Some((*seconds.get(seconds.len() / 2)?, seconds.len()))
    }

    /// How long a load may take: as written, else three times the median of this spec's loads but at least 20 min,
    /// else 40 min.
    pub fn load_deadline(&self, slot: &Slot, spec: &SpecHash) -> SignedDuration {
        if let Some(written) = slot.load_deadline {
            return SignedDuration::try_from(written).unwrap_or(LOAD_DEADLINE);
        }
        match self.expected_load_secs(spec) {
            Some((median, _)) => SignedDuration::from_secs(i64::try_from(median * 3).unwrap_or(i64::MAX))
                .max(SHORTEST_DEADLINE),
            None => LOAD_DEADLINE,
        }
    }

    /// The last launch of this slot never began: what is known of the slot is what was known before it.
    pub(crate) fn never_began(&mut self, object: &Object) {
        if let Some(before) = self.launches.remove(object).and_then(|launch| launch.before) {
            self.launches.insert(object.clone(), *before);
        }
    }

    pub(crate) fn attempted(
        &mut self,
        object: &Object,
        spec: &SpecHash,
        failed_loads: u32,
        last: LaunchFailure,
    ) {
        let not_before = last.at.saturating_add(RETRY_AFTER).expect("a duration, not a calendar span");
        let attempts = FailedAttempts::new(failed_loads, last, not_before);
        let key = attempt_key(object, spec);
        let before = self.attempts.remove(&key);
        let (deaths, settings) = before.map(|before| (before.deaths, before.settings)).unwrap_or_default();
        self.attempts.insert(key, FailedAttempts { deaths, settings, ..attempts });
    }

    /// It is not started again until a person says so.
    pub(crate) fn give_up(
        &mut self,
        object: &Object,
        spec: &SpecHash,
        what: String,
        kind: FailureKind,
        now: Timestamp,
    ) {
        let failed_loads = self.attempts(object, spec).map_or(0, |before| before.failed_loads);
        self.attempted(object, spec, failed_loads, LaunchFailure { at: now, what, kind });
    }

    /// It became ready when its files there were as they are seen now. A load whose files nobody saw counts for any.
    pub(crate) fn loaded_from(&self, spec: &SpecHash, spark: &SparkName, seen: &FilesSeen) -> bool {
        let was = self.loaded_from.get(spec.as_str()).and_then(|sparks| sparks.get(spark));
        was.map_or_else(|| self.load_secs.contains_key(spec.as_str()), |was| was == seen)
    }

    /// It serves, and may be gone back to.
    pub(crate) fn remember_proven(&mut self, object: &Object, group: &LaunchSpec, now: Timestamp) {
        let (model, spec) = (group.model.clone(), group.spec.clone());
        let last = self.proven.remove(object);
        let before = match last {
            Some(last) if last.spec == spec => last.before,
            Some(last) => Some(Box::new(ProvenModel { before: None, ..last })),
            None => None,
        };
        self.proven.insert(object.clone(), ProvenModel { model, spec, at: now, image_id: None, before });
    }

    /// What the last loads of this spec took on this Spark.
    pub fn peaks(&self, spec: &SpecHash, spark: &SparkName) -> &[u64] {
        self.peaks.get(&peak_key(spec, spark)).map_or(&[], Vec::as_slice)
    }
}

/// What came of a step, as far as the ledger cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepResult {
    /// Done, or so already.
    Done,
    /// Nothing was done.
    NotDone,
    /// It was tried and failed, for a reason that stays.
    Failed,
    /// Not known. The next look decides.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_says_of_arguments_is_valid_invalid_or_not_known() {
        let at: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let unknown = |why: &str| CheckedArguments::Unknown { why: why.into(), at };
        let engine = Some("0.32.0".to_owned());
        for (said, checked) in [
            (
                r#"{"is": "valid", "engine": "0.32.0", "why": ""}"#,
                CheckedArguments::Valid { engine: engine.clone() },
            ),
            (r#"{"is": "valid", "engine": null, "why": ""}"#, CheckedArguments::Valid { engine: None }),
            (
                r#"{"is": "invalid", "engine": "0.32.0", "why": "no such option"}"#,
                CheckedArguments::Invalid { why: "no such option".into(), engine },
            ),
            (r#"{"is": "unknown", "engine": null, "why": "Elsewhere: x"}"#, unknown("Elsewhere: x")),
            (r#"{"is": "perhaps", "engine": null, "why": "y"}"#, unknown("y")),
            ("unknown Docker is busy", unknown("Docker is busy")),
            ("valid", unknown("valid")),
            ("", unknown("")),
        ] {
            assert_eq!(CheckedArguments::of(said, at), checked, "{said}");
        }
        let later = |minutes| at.checked_add(SignedDuration::from_mins(minutes)).unwrap();
        assert!(!unknown("x").is_worth_asking_again(later(9)));
        assert!(unknown("x").is_worth_asking_again(later(10)));
        assert!(!CheckedArguments::Valid { engine: None }.is_worth_asking_again(later(10)));
        // As it was kept before versions were told.
        let kept: CheckedArguments = serde_json::from_str(r#"{"is":"valid"}"#).unwrap();
        assert_eq!(kept, CheckedArguments::Valid { engine: None });
    }

    #[test]
    fn what_failed_is_forgotten_for_one_object() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let mut ledger = Ledger::default();
        assert!(!ledger.forget_failures("vllm"));
        let kokoro: Object = "kokoro".parse().unwrap();
        for object in [Object::main(), kokoro.clone(), "vllm-2".parse().unwrap()] {
            ledger.give_up(&object, &SpecHash::of_label("v1-0"), "x".into(), FailureKind::Named, now);
        }
        ledger.restarts.insert(kokoro.clone(), ServiceRestarts::after(None, &"c1".into(), now));
        ledger.checked.insert("x".into(), CheckedArguments::Valid { engine: None });
        assert!(ledger.forget_failures("vllm"));
        assert!(ledger.checked.is_empty(), "the engine is asked again");
        let left: Vec<&str> = ledger.attempts.keys().map(String::as_str).collect();
        assert_eq!(left, ["kokoro v1-0", "vllm-2 v1-0"]);
        assert_eq!(ledger.restarts.len(), 1);
        assert!(ledger.forget_failures("kokoro") && ledger.restarts.is_empty());
        assert!(!ledger.forget_failures("kokoro"));
    }
}
