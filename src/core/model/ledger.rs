//! What this controller did and was told. A value: the store keeps it, the controller passes it in.
//!
//! A lost ledger may cost time and approvals, never a second start: what prevents that is on the Sparks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    bot_update::{BotUpdate, UpdateState},
    desired::{ServiceState, Slot},
    event_kind::EventKind,
    files::FilesSeen,
    id::{BootId, ContainerId, ImageId, PlanId, StepKey},
    launch::{
        FailedAttempts, FailureKind, KEPT_LOAD_TIMES, LOAD_DEADLINE, Launch, LaunchFailure, LaunchState,
        RETRY_AFTER, SHORTEST_DEADLINE,
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
#[serde(from = "StoredLedger")]
pub struct Ledger {
    /// Of each slot. None of them is empty after a look.
    pub slots: BTreeMap<Object, SlotRecord>,
    /// Of each service. None of them is empty after a look.
    pub services: BTreeMap<Object, ServiceRecord>,
    /// What failed with each spec of each object.
    pub attempts: BTreeMap<Object, BTreeMap<SpecHash, FailedAttempts>>,
    /// Containers that ran before us and match, by id.
    pub adopted: BTreeMap<ContainerId, AdoptedContainer>,
    /// What was learned of each spec.
    pub specs: BTreeMap<SpecHash, SpecRecord>,
    /// Free memory as seen, newest last. Not kept: a restart watches anew.
    #[serde(skip)]
    pub samples: BTreeMap<SparkName, MemorySamples>,
    /// Free memory as watched all the time. Not kept either.
    #[serde(skip)]
    pub floors: BTreeMap<SparkName, MemoryWatchdog>,
    /// Transfers of files that were started.
    pub transfers: BTreeMap<Object, Transfer>,
    pub approvals: Vec<Approval>,
    /// Hashes of revisions whose removals a person agreed to.
    pub accepted_removals: BTreeSet<String>,
    /// Since when something differs, by what stays the same while it does.
    pub differing: BTreeMap<String, Timestamp>,
    /// Conditions as people were told of them last.
    pub told: NotifiedConditions,
    /// Why this controller stopped acting.
    pub fenced: Option<String>,
}

/// What is remembered of a slot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlotRecord {
    /// What was last started in it.
    pub launch: Option<Launch>,
    /// The last model that served in it.
    pub proven: Option<ProvenModel>,
    /// Since when the requests of what is to be stopped have been waited for.
    pub draining_since: Option<Timestamp>,
    /// What was stopped to make room, until the next launch.
    pub release: Option<MemoryRelease>,
}

impl SlotRecord {
    const EMPTY: Self = Self { launch: None, proven: None, draining_since: None, release: None };
}

/// What is remembered of a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceRecord {
    /// As it was when it was once as the file says: what differs later is drift, not an edit.
    pub converged: Option<ConvergedService>,
    /// It was started, and has not lasted yet.
    pub restarts: Option<ServiceRestarts>,
    /// The restart that was asked for and done: for which time.
    pub restarted: Option<Timestamp>,
    /// The last update of a bot.
    pub update: Option<BotUpdate>,
}

impl ServiceRecord {
    const EMPTY: Self = Self { converged: None, restarts: None, restarted: None, update: None };
}

/// What loads of one spec have shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpecRecord {
    /// It became ready, be it in a time that nobody knows.
    pub became_ready: bool,
    /// Seconds that loads took, newest last.
    pub load_secs: Vec<u64>,
    /// What the last load that became ready had of its files, on each of its Sparks where that was seen.
    pub loaded_from: BTreeMap<SparkName, FilesSeen>,
    /// Bytes of memory that loads took on each Spark, newest last.
    pub peaks: BTreeMap<SparkName, Vec<u64>>,
    /// What the engine of each image said of its arguments: another image is another engine.
    pub checked: BTreeMap<ImageId, CheckedArguments>,
}

impl SpecRecord {
    /// Nothing was learned of it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A ledger as stores and reports have it: those of November 2026 and before have a map for each fact of a slot, a service and a
/// spec, and name the failed attempts by `OBJECT SPEC`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredLedger {
    slots: BTreeMap<Object, SlotRecord>,
    services: BTreeMap<Object, ServiceRecord>,
    launches: BTreeMap<Object, Launch>,
    attempts: StoredAttempts,
    adopted: BTreeMap<ContainerId, AdoptedContainer>,
    proven: BTreeMap<Object, ProvenModel>,
    specs: BTreeMap<SpecHash, SpecRecord>,
    load_secs: BTreeMap<SpecHash, Vec<u64>>,
    loaded_from: BTreeMap<SpecHash, BTreeMap<SparkName, FilesSeen>>,
    /// By `SPEC SPARK`.
    peaks: BTreeMap<String, Vec<u64>>,
    /// By `SPEC IMAGE`.
    checked: BTreeMap<String, CheckedArguments>,
    draining: BTreeMap<Object, Timestamp>,
    releases: BTreeMap<Object, MemoryRelease>,
    transfers: BTreeMap<Object, Transfer>,
    updates: BTreeMap<Object, BotUpdate>,
    restarted: BTreeMap<Object, Timestamp>,
    approvals: Vec<Approval>,
    kept: BTreeMap<Object, ConvergedService>,
    restarts: BTreeMap<Object, ServiceRestarts>,
    accepted_removals: BTreeSet<String>,
    differing: BTreeMap<String, Timestamp>,
    told: NotifiedConditions,
    fenced: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum StoredAttempts {
    ByObject(BTreeMap<Object, BTreeMap<SpecHash, FailedAttempts>>),
    /// No object has a name with a space.
    ByText(BTreeMap<String, FailedAttempts>),
}

impl Default for StoredAttempts {
    fn default() -> Self {
        Self::ByObject(BTreeMap::new())
    }
}

impl From<StoredAttempts> for BTreeMap<Object, BTreeMap<SpecHash, FailedAttempts>> {
    fn from(stored: StoredAttempts) -> Self {
        let by_text = match stored {
            StoredAttempts::ByObject(attempts) => return attempts,
            StoredAttempts::ByText(attempts) => attempts,
        };
        let mut by_object = Self::new();
        for (key, attempts) in by_text {
            let Some((object, spec)) = key.split_once(' ') else { continue };
            let Ok(object) = object.parse() else { continue };
            by_object.entry(object).or_default().insert(SpecHash::of_label(spec), attempts);
        }
        by_object
    }
}

impl From<StoredLedger> for Ledger {
    fn from(stored: StoredLedger) -> Self {
        let mut specs = stored.specs;
        for (spec, load_secs) in stored.load_secs {
            let record = specs.entry(spec).or_default();
            (record.became_ready, record.load_secs) = (true, load_secs);
        }
        for (spec, loaded_from) in stored.loaded_from {
            specs.entry(spec).or_default().loaded_from = loaded_from;
        }
        for (key, peaks) in stored.peaks {
            let Some((spec, spark)) = key.split_once(' ') else { continue };
            let Ok(spark) = SparkName::new(spark) else { continue };
            specs.entry(SpecHash::of_label(spec)).or_default().peaks.insert(spark, peaks);
        }
        for (key, checked) in stored.checked {
            let Some((spec, image)) = key.split_once(' ') else { continue };
            specs.entry(SpecHash::of_label(spec)).or_default().checked.insert(image.into(), checked);
        }
        let (mut slots, mut services) = (stored.slots, stored.services);
        for (object, launch) in stored.launches {
            slots.entry(object).or_default().launch = Some(launch);
        }
        for (object, proven) in stored.proven {
            slots.entry(object).or_default().proven = Some(proven);
        }
        for (object, since) in stored.draining {
            slots.entry(object).or_default().draining_since = Some(since);
        }
        for (object, release) in stored.releases {
            slots.entry(object).or_default().release = Some(release);
        }
        for (object, converged) in stored.kept {
            services.entry(object).or_default().converged = Some(converged);
        }
        for (object, restarts) in stored.restarts {
            services.entry(object).or_default().restarts = Some(restarts);
        }
        for (object, asked) in stored.restarted {
            services.entry(object).or_default().restarted = Some(asked);
        }
        for (object, update) in stored.updates {
            services.entry(object).or_default().update = Some(update);
        }
        Self {
            slots,
            services,
            attempts: stored.attempts.into(),
            adopted: stored.adopted,
            specs,
            samples: BTreeMap::new(),
            floors: BTreeMap::new(),
            transfers: stored.transfers,
            approvals: stored.approvals,
            accepted_removals: stored.accepted_removals,
            differing: stored.differing,
            told: stored.told,
            fenced: stored.fenced,
        }
    }
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

/// Something that the ledger noticed, for the log and the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerEvent {
    pub object: Object,
    pub kind: EventKind,
    pub message: String,
}

impl Ledger {
    /// What is remembered of a slot; nothing, of one that is not known.
    pub fn slot(&self, object: &Object) -> &SlotRecord {
        static NOTHING: SlotRecord = SlotRecord::EMPTY;
        self.slots.get(object).unwrap_or(&NOTHING)
    }

    pub fn slot_mut(&mut self, object: &Object) -> &mut SlotRecord {
        self.slots.entry(object.clone()).or_default()
    }

    /// What was last started in this slot.
    pub fn launch(&self, object: &Object) -> Option<&Launch> {
        self.slots.get(object)?.launch.as_ref()
    }

    pub fn launch_mut(&mut self, object: &Object) -> Option<&mut Launch> {
        self.slots.get_mut(object)?.launch.as_mut()
    }

    /// What was last started in each slot.
    pub fn launches(&self) -> impl Iterator<Item = (&Object, &Launch)> {
        self.slots.iter().filter_map(|(object, slot)| Some((object, slot.launch.as_ref()?)))
    }

    /// What is remembered of a service; nothing, of one that is not known.
    pub fn service(&self, object: &Object) -> &ServiceRecord {
        static NOTHING: ServiceRecord = ServiceRecord::EMPTY;
        self.services.get(object).unwrap_or(&NOTHING)
    }

    pub fn service_mut(&mut self, object: &Object) -> &mut ServiceRecord {
        self.services.entry(object.clone()).or_default()
    }

    /// Records that say nothing are not kept.
    pub(crate) fn drop_empty_records(&mut self) {
        self.slots.retain(|_, slot| *slot != SlotRecord::EMPTY);
        self.services.retain(|_, service| *service != ServiceRecord::EMPTY);
    }

    pub fn attempts(&self, object: &Object, spec: &SpecHash) -> Option<&FailedAttempts> {
        self.attempts.get(object)?.get(spec)
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
        let state = self.launch(object).map(|launch| &launch.state);
        let between =
            matches!(state, Some(LaunchState::Stopped { .. } | LaunchState::Failed { in_load: true, .. }));
        between && self.slot(object).release.is_some()
    }

    /// What `suspend` does not end in this slot, in words: a swap is finished once it has stopped what served.
    pub fn goes_on_suspended(&self, object: &Object) -> Option<&'static str> {
        if self.is_past_stop(object) {
            return Some(
                "`suspend` is on; the swap that has begun is finished first, because nothing serves until then",
            );
        }
        let loads = self.launch(object).is_some_and(|launch| launch.state == LaunchState::Loading);
        loads.then_some("`suspend` is on; what loads already goes on to load, and nothing is begun after it")
    }

    /// The same, to be changed.
    pub fn attempts_mut(&mut self, object: &Object, spec: &SpecHash) -> Option<&mut FailedAttempts> {
        self.attempts.get_mut(object)?.get_mut(spec)
    }

    /// What failed with this spec is this from now on.
    pub fn set_attempts(&mut self, object: &Object, spec: &SpecHash, attempts: FailedAttempts) {
        self.attempts.entry(object.clone()).or_default().insert(spec.clone(), attempts);
    }

    /// Tells what there was.
    pub(crate) fn take_attempts(&mut self, object: &Object, spec: &SpecHash) -> Option<FailedAttempts> {
        let of_object = self.attempts.get_mut(object)?;
        let taken = of_object.remove(spec);
        if of_object.is_empty() {
            self.attempts.remove(object);
        }
        taken
    }

    /// What was learned of this spec; to be added to.
    pub fn spec_mut(&mut self, spec: &SpecHash) -> &mut SpecRecord {
        self.specs.entry(spec.clone()).or_default()
    }

    /// A load of it took so long.
    pub fn learn_load(&mut self, spec: &SpecHash, took_secs: Option<u64>) {
        let record = self.spec_mut(spec);
        record.became_ready = true;
        record.load_secs.extend(took_secs);
        let surplus = record.load_secs.len().saturating_sub(KEPT_LOAD_TIMES);
        record.load_secs.drain(..surplus);
    }

    /// It became ready before.
    pub fn became_ready(&self, spec: &SpecHash) -> bool {
        self.specs.get(spec).is_some_and(|record| record.became_ready)
    }

    /// What the engine of this image said of the words of this spec.
    pub(crate) fn checked(&self, spec: &SpecHash, image_id: &ImageId) -> Option<&CheckedArguments> {
        self.specs.get(spec)?.checked.get(image_id)
    }

    /// Whatever failed with this object is forgotten. Tells whether anything was.
    pub fn forget_failures(&mut self, object: &str) -> bool {
        let before = self.attempts.len();
        self.attempts.retain(|known, _| known.as_str() != object);
        let mut had_failed = before != self.attempts.len();
        for (_, service) in self.services.iter_mut().filter(|(known, _)| known.as_str() == object) {
            let has_failed = |update: &mut BotUpdate| matches!(update.state, UpdateState::Failed { .. });
            had_failed |= service.restarts.take().is_some();
            had_failed |= service.update.take_if(has_failed).is_some();
        }
        self.drop_empty_records();
        for record in self.specs.values_mut() {
            let mut checked = record.checked.values();
            had_failed |= checked.any(|checked| !matches!(checked, CheckedArguments::Valid { .. }));
            record.checked.clear();
        }
        self.specs.retain(|_, record| !record.is_empty());
        had_failed
    }

    /// Why nobody knows whether the engine takes the words of this spec, when it was asked and gave no answer.
    pub(crate) fn unanswered(&self, spec: &SpecHash) -> Option<&str> {
        self.specs.get(spec)?.checked.values().find_map(|checked| match checked {
            CheckedArguments::Unknown { why, .. } => Some(why.as_str()),
            CheckedArguments::Valid { .. } | CheckedArguments::Invalid { .. } => None,
        })
    }

    pub fn is_loading(&self, object: &Object) -> bool {
        self.launch(object).is_some_and(|launch| matches!(launch.state, LaunchState::Loading))
    }

    /// What this slot was last started with, while it loads or serves.
    pub fn launched(&self, object: &Object) -> Option<&LaunchSpec> {
        let launch = self.launch(object)?;
        match launch.state {
            LaunchState::Loading | LaunchState::Serving { .. } | LaunchState::Unseen { .. } => {
                Some(&launch.group)
            }
            LaunchState::Failed { .. } | LaunchState::Stopped { .. } => None,
        }
    }

    /// The load of `spec` in this slot failed, and nothing else was started there since.
    pub fn failed_in_load(&self, object: &Object, spec: &SpecHash) -> bool {
        self.launch(object).is_some_and(|launch| {
            launch.group.spec == *spec && matches!(launch.state, LaunchState::Failed { in_load: true, .. })
        })
    }

    /// Median seconds of the last loads of this spec, and of how many.
    pub fn expected_load_secs(&self, spec: &SpecHash) -> Option<(u64, usize)> {
        let mut seconds = self.specs.get(spec)?.load_secs.clone();
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
        if let Some(before) = self.slot_mut(object).launch.take().and_then(|launch| launch.before) {
            self.slot_mut(object).launch = Some(*before);
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
        let before = self.take_attempts(object, spec);
        let (deaths, settings) = before.map(|before| (before.deaths, before.settings)).unwrap_or_default();
        self.set_attempts(object, spec, FailedAttempts { deaths, settings, ..attempts });
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
        let was = self.specs.get(spec).and_then(|record| record.loaded_from.get(spark));
        was.map_or_else(|| self.became_ready(spec), |was| was == seen)
    }

    /// It serves, and may be gone back to.
    pub(crate) fn remember_proven(&mut self, object: &Object, group: &LaunchSpec, now: Timestamp) {
        let (model, spec) = (group.model.clone(), group.spec.clone());
        let last = self.slot_mut(object).proven.take();
        let before = match last {
            Some(last) if last.spec == spec => last.before,
            Some(last) => Some(Box::new(ProvenModel { before: None, ..last })),
            None => None,
        };
        self.slot_mut(object).proven = Some(ProvenModel { model, spec, at: now, image_id: None, before });
    }

    /// What the last loads of this spec took on this Spark.
    pub fn peaks(&self, spec: &SpecHash, spark: &SparkName) -> &[u64] {
        self.specs.get(spec).and_then(|record| record.peaks.get(spark)).map_or(&[], Vec::as_slice)
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
        ledger.service_mut(&kokoro).restarts = Some(ServiceRestarts::after(None, &"c1".into(), now));
        let spec = SpecHash::of_label("v1-0");
        ledger.spec_mut(&spec).checked.insert("x".into(), CheckedArguments::Valid { engine: None });
        assert!(ledger.forget_failures("vllm"));
        assert!(ledger.specs.is_empty(), "the engine is asked again");
        let left: Vec<&str> = ledger.attempts.keys().map(Object::as_str).collect();
        assert_eq!(left, ["kokoro", "vllm-2"]);
        assert_eq!(ledger.services.len(), 1);
        assert!(ledger.forget_failures("kokoro") && ledger.services.is_empty());
        assert!(!ledger.forget_failures("kokoro"));
    }

    /// If this failed, an update of this program would forget how long loads take, what they need, what failed and what was refused.
    #[test]
    fn a_ledger_of_before_is_read_into_its_owners() {
        let failed = serde_json::json!({
            "failed_loads": 1, "last": { "at": "2026-11-24T12:00:00Z", "what": "x" }, "not_before": "2026-11-24T12:00:20Z",
        });
        let before = serde_json::json!({
            "attempts": { "vllm v1-0": failed, "weights/alpha files-1": failed },
            "load_secs": { "v1-0": [60, 70], "v1-2": [] },
            "loaded_from": { "v1-0": { "spark1": { "is": "absent" } } },
            "peaks": { "v1-0 spark1": [1], "v1-0 spark2": [2], "v1-3 spark1": [3] },
            "checked": { "v1-0 sha256:aa": { "is": "valid" } },
            "fenced": "by another",
        });
        let ledger: Ledger = serde_json::from_value(before).unwrap();
        let spec = |text: &str| SpecHash::of_label(text);
        let spark = |name: &str| SparkName::new(name).unwrap();
        assert_eq!(ledger.attempts(&Object::main(), &spec("v1-0")).unwrap().failed_loads, 1);
        assert!(ledger.attempts(&"weights/alpha".parse().unwrap(), &spec("files-1")).is_some());
        assert_eq!(ledger.specs[&spec("v1-0")].load_secs, [60, 70]);
        assert!(ledger.became_ready(&spec("v1-2")), "in a time that nobody knew");
        assert!(!ledger.became_ready(&spec("v1-3")), "only its memory was seen");
        assert_eq!(ledger.peaks(&spec("v1-0"), &spark("spark2")), [2]);
        assert!(ledger.loaded_from(&spec("v1-0"), &spark("spark1"), &FilesSeen::Absent));
        let checked = ledger.checked(&spec("v1-0"), &"sha256:aa".into());
        assert_eq!(checked, Some(&CheckedArguments::Valid { engine: None }));
        assert_eq!(ledger.fenced.as_deref(), Some("by another"));
        // And what is written from then on is read as it is.
        let again: Ledger = serde_json::from_value(serde_json::to_value(&ledger).unwrap()).unwrap();
        assert_eq!(again, ledger);
    }
}
