//! What this controller did and was told. A value: the store keeps it, the controller passes it in.
//!
//! A lost ledger may cost time and approvals, never a second start: what prevents that is on the Sparks.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    approval::Approval,
    bot_update::{BotUpdate, UpdateState},
    checked_arguments::CheckedArguments,
    desired::Slot,
    event_kind::EventKind,
    files::FilesSeen,
    id::{ContainerId, ImageId, RemovalId, StepKey},
    launch::{
        FailedAttempts, FailureKind, KEPT_LOAD_TIMES, LOAD_DEADLINE, Launch, LaunchFailure, LaunchState,
        RETRY_AFTER, SHORTEST_DEADLINE,
    },
    launch_spec::LaunchSpec,
    memory_dip::MemoryWatchdog,
    memory_samples::MemorySamples,
    name::SparkName,
    object::Object,
    observed::Container,
    plan::{self, Predicate},
    restart::ServiceRestarts,
    service_record::{ConvergedService, ServiceRecord},
    slot_record::{AdoptedContainer, MemoryRelease, ProvenModel, SlotRecord},
    spec_hash::SpecHash,
    spec_record::SpecRecord,
    step,
    told::NotifiedConditions,
    transfer::Transfer,
};

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
    pub accepted_removals: BTreeSet<RemovalId>,
    /// Since when something differs, by what stays the same while it does.
    pub differing: BTreeMap<String, Timestamp>,
    /// Conditions as people were told of them last.
    pub told: NotifiedConditions,
    /// Why this controller stopped acting.
    pub fenced: Option<String>,
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
    accepted_removals: BTreeSet<RemovalId>,
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
            had_failed |= service.restarts.take().is_some();
            let failed = service.update.take_if(|update| matches!(update.state, UpdateState::Failed { .. }));
            had_failed |= failed.is_some();
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

    /// If this failed, a controller that is updated would forget what it started, or start it twice.
    #[test]
    fn a_ledger_with_a_map_for_each_fact_is_read_into_records() {
        let flat = r#"{
            "draining": { "vllm": "2026-11-24T12:00:00Z" },
            "releases": { "vllm": { "since": "2026-11-24T12:00:01Z", "containers": ["a"], "pids": {} } },
            "proven": { "second": { "model": "alpha", "spec": "v1-00", "at": "2026-11-24T12:00:02Z" } },
            "restarted": { "kokoro": "2026-11-24T12:00:03Z" },
            "kept": { "kokoro": { "state": "running", "spark": "spark1", "container": "kokoro" } },
            "restarts": { "other": { "container": "c", "count": 2, "last": "2026-11-24T12:00:04Z" } },
            "updates": { "bot": { "asked": "2026-11-24T12:00:05Z", "job": "1.2", "at": "2026-11-24T12:00:06Z", "state": { "state": "running" } } }
        }"#;
        let ledger: Ledger = serde_json::from_str(flat).unwrap();
        let at = |secs: u32| Some(format!("2026-11-24T12:00:{secs:02}Z").parse::<Timestamp>().unwrap());
        let object = |name: &str| name.parse::<Object>().unwrap();
        let main = ledger.slot(&Object::main());
        assert_eq!((main.draining_since, main.release.as_ref().map(|release| release.since)), (at(0), at(1)));
        assert_eq!(ledger.slot(&object("second")).proven.as_ref().map(|proven| proven.at), at(2));
        let kokoro = ledger.service(&object("kokoro"));
        assert_eq!((kokoro.restarted, kokoro.converged.is_some()), (at(3), true));
        let restarts = ledger.service(&object("other")).restarts.as_ref();
        assert_eq!(restarts.map(|restarts| (restarts.count, restarts.last)), at(4).map(|last| (2, last)));
        assert_eq!(ledger.service(&object("bot")).update.as_ref().map(|update| update.at), at(6));
        assert_eq!((ledger.slots.len(), ledger.services.len()), (2, 3));
        // What is written now is read as it is.
        let again: Ledger = serde_json::from_str(&serde_json::to_string(&ledger).unwrap()).unwrap();
        assert_eq!(again, ledger);
        assert!(!serde_json::to_string(&ledger).unwrap().contains("\"draining\""));
    }
}
