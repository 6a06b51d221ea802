//! What this controller did and was told. A value: the store keeps it, the controller passes it in.
//!
//! A lost ledger may cost time and approvals, never a second start: what prevents that is on the Sparks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    bot::{Update, UpdateState},
    desired::{Object, ServiceState, Slot, SpecHash},
    floor::Watch,
    group::Group,
    launch::{
        Attempts, Failure, FailureKind, LOAD_DEADLINE, LONGEST_RETRY, Launch, LaunchState, RETRY_AFTER,
        SHORTEST_DEADLINE,
    },
    name::{ContainerName, ModelName, SparkName},
    notify::ToldAll,
    observed::{Container, Token},
    plan::{self, Plan, Predicate},
    progress,
    restart::Restarts,
    step::{self, Instead, Step},
    weights::Transfer,
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
    pub attempts: BTreeMap<String, Attempts>,
    /// Containers that ran before us and match, by id.
    pub adopted: BTreeMap<String, Adopted>,
    /// The last model that served in each slot.
    pub proven: BTreeMap<Object, Proven>,
    /// Seconds that loads took, newest last, by spec.
    pub load_secs: BTreeMap<String, Vec<u64>>,
    /// Bytes of memory that loads took, newest last, by [`peak_key`].
    pub peaks: BTreeMap<String, Vec<u64>>,
    /// Free memory as seen, newest last. Not kept: a restart watches anew.
    #[serde(skip)]
    pub samples: BTreeMap<SparkName, Samples>,
    /// Free memory as watched all the time. Not kept either.
    #[serde(skip)]
    pub floors: BTreeMap<SparkName, Watch>,
    /// Since when the requests of what is to be stopped have been waited for.
    pub draining: BTreeMap<Object, Timestamp>,
    /// What was stopped to make room, until the next launch.
    pub releases: BTreeMap<Object, Release>,
    /// Transfers of files that were started.
    pub transfers: BTreeMap<Object, Transfer>,
    /// Updates of bots, the last of each.
    pub updates: BTreeMap<Object, Update>,
    /// Restarts that were asked for and done: for which time.
    pub restarted: BTreeMap<Object, Timestamp>,
    /// What engines said of arguments, by [`checked_key`].
    pub checked: BTreeMap<String, Checked>,
    pub approvals: Vec<Approval>,
    /// Managed services that were once as the file says: what differs later is drift, not an edit.
    pub kept: BTreeMap<Object, Kept>,
    /// Services that were started and have not lasted yet.
    pub restarts: BTreeMap<Object, Restarts>,
    /// Hashes of revisions whose removals a person agreed to.
    pub accepted_removals: BTreeSet<String>,
    /// Since when something differs, by what stays the same while it does.
    pub differing: BTreeMap<String, Timestamp>,
    /// Conditions as people were told of them last.
    pub told: ToldAll,
    /// Why this controller stopped acting.
    pub fenced: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proven {
    pub model: ModelName,
    pub spec: SpecHash,
    pub at: Timestamp,
    /// The image that its head ran: another one is another engine.
    #[serde(default)]
    pub image_id: Option<String>,
}

/// A container that was taken over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adopted {
    pub object: Object,
    pub spark: SparkName,
    pub spec: SpecHash,
}

/// A service as it was last seen to be as the file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub state: ServiceState,
    pub spark: SparkName,
    pub container: ContainerName,
}

/// What was seen without a break since this boot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    pub boot_id: String,
    pub seen: VecDeque<Sample>,
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
    /// What the slot's launch was before the first of these stops.
    #[serde(default)]
    pub before: Option<LaunchState>,
}

/// A person's yes to the steps of one plan, by their keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    pub plan: String,
    pub steps: BTreeSet<String>,
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

/// What the engine says of a model's arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Checked {
    Valid,
    Invalid {
        why: String,
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

impl Checked {
    /// It is not known, and enough time has passed to ask once more.
    pub fn is_worth_asking_again(&self, now: Timestamp) -> bool {
        matches!(self, Self::Unknown { at, .. } if now.duration_since(*at) >= ASK_AGAIN)
    }

    /// `valid`, `invalid WHY` or anything else.
    fn of(said: &str, at: Timestamp) -> Self {
        match said.split_once(' ') {
            _ if said == "valid" => Self::Valid,
            Some(("invalid", why)) => Self::Invalid { why: why.to_owned() },
            Some(("unknown", why)) => Self::Unknown { why: why.to_owned(), at },
            _ => Self::Unknown { why: said.to_owned(), at },
        }
    }
}

/// The key of [`Ledger::checked`]: another image is another engine.
pub fn checked_key(spec: &SpecHash, image_id: &str) -> String {
    format!("{spec} {image_id}")
}

/// Something that the ledger noticed, for the log and the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Noticed {
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
    pub fn attempts(&self, object: &Object, spec: &SpecHash) -> Option<&Attempts> {
        self.attempts.get(&attempt_key(object, spec))
    }

    /// Has a person agreed to this step, on what it relies on?
    pub fn approved(&self, step_key: &str, relies_on: &[Predicate], now: Timestamp) -> bool {
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

    /// The spec that the container was started from, when it is ours: it carries our label, or it was adopted.
    pub fn spec_of(&self, cluster: &str, object: &Object, container: &Container) -> Option<SpecHash> {
        match &container.labels {
            Some(labels) if labels.cluster == cluster && labels.object == object.as_str() => {
                Some(labels.spec.clone())
            }
            _ => {
                let adopted = self.adopted.get(&container.id).filter(|adopted| adopted.object == *object)?;
                Some(adopted.spec.clone())
            }
        }
    }

    /// A swap of this slot has stopped what served, and nothing serves again yet.
    pub fn is_past_stop(&self, object: &Object) -> bool {
        let state = self.launches.get(object).map(|launch| &launch.state);
        let between =
            matches!(state, Some(LaunchState::Stopped { .. } | LaunchState::Failed { in_load: true, .. }));
        between && self.releases.contains_key(object)
    }

    /// Whatever failed with this object is forgotten. Tells whether anything was.
    pub fn forget_failures(&mut self, object: &str) -> bool {
        let before = (self.attempts.len(), self.restarts.len(), self.updates.len());
        self.attempts.retain(|key, _| key.split(' ').next() != Some(object));
        self.restarts.retain(|known, _| known.as_str() != object);
        self.updates.retain(|known, update| {
            known.as_str() != object || !matches!(update.state, UpdateState::Failed { .. })
        });
        self.checked.clear();
        before != (self.attempts.len(), self.restarts.len(), self.updates.len())
    }

    pub fn is_loading(&self, object: &Object) -> bool {
        self.launches.get(object).is_some_and(|launch| matches!(launch.state, LaunchState::Loading))
    }

    /// What this slot was last started with, while it loads or serves.
    pub fn launched(&self, object: &Object) -> Option<&Group> {
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

    /// A stop was refused: when none of a slot was done, it is as it was before them.
    fn not_stopped(&mut self, object: &Object, container: &str) {
        let Some(release) = self.releases.get_mut(object) else { return };
        release.containers.remove(container);
        if !release.containers.is_empty() {
            return;
        }
        let before = self.releases.remove(object).and_then(|release| release.before);
        if let (Some(launch), Some(before)) = (self.launches.get_mut(object), before)
            && matches!(launch.state, LaunchState::Stopped { .. })
        {
            launch.state = before;
        }
    }

    /// The last launch of this slot never began: what is known of the slot is what was known before it.
    pub(super) fn never_began(&mut self, object: &Object) {
        if let Some(before) = self.launches.remove(object).and_then(|launch| launch.before) {
            self.launches.insert(object.clone(), *before);
        }
    }

    /// A launch was refused before anything was tried: no load failed, and the next try waits a little.
    fn refused(&mut self, object: &Object, group: &Group, what: &str, now: Timestamp) {
        let before = self.attempts(object, &group.spec);
        let (failed_loads, refused) = before.map_or((0, 0), |before| (before.failed_loads, before.refused));
        let last = Failure { at: now, what: format!("it was refused: {what}"), kind: FailureKind::Unnamed };
        self.attempted(object, &group.spec, failed_loads, last);
        let pause = RETRY_AFTER.checked_mul(1 << refused.min(10)).unwrap_or(LONGEST_RETRY).min(LONGEST_RETRY);
        if let Some(attempts) = self.attempts.get_mut(&attempt_key(object, &group.spec)) {
            attempts.refused = refused + 1;
            attempts.not_before = now.saturating_add(pause).expect("a duration, not a calendar span");
        }
    }

    fn attempted(&mut self, object: &Object, spec: &SpecHash, failed_loads: u32, last: Failure) {
        let not_before = last.at.saturating_add(RETRY_AFTER).expect("a duration, not a calendar span");
        self.attempts
            .insert(attempt_key(object, spec), Attempts { failed_loads, refused: 0, last, not_before });
    }

    /// Another model takes over for it: it is not tried again until a person says so.
    fn gave_way(&mut self, object: &Object, failed: &Instead, now: Timestamp) {
        if !self.attempts(object, &failed.spec).is_some_and(Attempts::is_spent) {
            self.give_up(object, &failed.spec, failed.why.clone(), FailureKind::NotStarted, now);
        }
    }

    /// It is not started again until a person says so.
    pub(super) fn give_up(
        &mut self,
        object: &Object,
        spec: &SpecHash,
        what: String,
        kind: FailureKind,
        now: Timestamp,
    ) {
        let failed_loads = self.attempts(object, spec).map_or(0, |before| before.failed_loads);
        self.attempted(object, spec, failed_loads, Failure { at: now, what, kind });
    }

    /// It serves, and may be gone back to.
    pub(super) fn remember_proven(&mut self, object: &Object, group: &Group, now: Timestamp) {
        let (model, spec) = (group.model.clone(), group.spec.clone());
        self.proven.insert(object.clone(), Proven { model, spec, at: now, image_id: None });
    }

    /// What the last loads of this spec took on this Spark.
    pub fn peaks(&self, spec: &SpecHash, spark: &SparkName) -> &[u64] {
        self.peaks.get(&peak_key(spec, spark)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn failed(
        &mut self,
        object: &Object,
        group: &Group,
        what: String,
        now: Timestamp,
        noticed: &mut Vec<Noticed>,
    ) -> LaunchState {
        let message = format!("`{}` failed: {what}", group.model);
        noticed.push(Noticed { object: object.clone(), kind: "failed", message });
        let failed_loads = self.attempts(object, &group.spec).map_or(0, |before| before.failed_loads) + 1;
        let in_load = self.is_loading(object);
        let kind =
            if in_load && progress::is_named(&what) { FailureKind::Named } else { FailureKind::Unnamed };
        self.attempted(object, &group.spec, failed_loads, Failure { at: now, what, kind });
        LaunchState::Failed { at: now, in_load }
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
                    before: None,
                });
                release.since = now;
                release.containers.insert(container.clone());
                release.pids.entry(spark.clone()).or_default().extend(pids);
                // A rank of something else, on another Spark, is not the end of what serves. A failed load stays known as
                // one: what is done about it belongs to that swap.
                if let Some(launch) = self.launches.get_mut(object)
                    && launch.group.sparks.contains(spark)
                    && !matches!(launch.state, LaunchState::Failed { .. })
                {
                    if !matches!(launch.state, LaunchState::Stopped { .. }) {
                        release.before = Some(launch.state.clone());
                    }
                    launch.state = LaunchState::Stopped { at: now };
                }
            }
            Step::EndJob { object, job, .. } => {
                // Nobody wants it any more: it did not fail.
                if let Some(launch) = self.launches.get_mut(object)
                    && launch.token.job() == *job
                {
                    launch.state = LaunchState::Stopped { at: now };
                }
            }
            Step::Launch { object, group, instead_of } => {
                if let Some(failed) = instead_of {
                    self.gave_way(object, failed, now);
                }
                let before = self.launches.remove(object).map(|launch| Launch { before: None, ..launch });
                let launch = Launch::new(group.clone(), token.clone(), now, LaunchState::Loading);
                let launch = Launch { before: before.map(Box::new), ..launch };
                self.launches.insert(object.clone(), launch);
            }
            Step::Fetch { object, spark, files } | Step::Copy { object, spark, files, .. } => {
                let transfer =
                    Transfer { spark: spark.clone(), job: token.job(), files: files.clone(), at: now };
                self.begin_transfer(object, transfer);
            }
            Step::Update { object, asked, .. } => {
                let (job, state) = (token.job(), UpdateState::Running);
                self.updates.insert(object.clone(), Update { asked: *asked, job, at: now, state });
            }
            Step::Adopt { .. }
            | Step::Check { .. }
            | Step::Start { .. }
            | Step::Delete { .. }
            | Step::Advance { .. } => {}
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
                let adopted = containers.iter().zip(&group.sparks).map(|(container, spark)| {
                    let (object, spec) = (object.clone(), group.spec.clone());
                    (container.clone(), Adopted { object, spark: spark.clone(), spec })
                });
                self.adopted.extend(adopted);
                self.remember_proven(object, group, now);
                let (group, token, state) =
                    (group.clone(), token.clone(), LaunchState::Serving { since: now });
                self.launches.insert(object.clone(), Launch::new(group, token, now, state));
            }
            (Step::Check { group, image_id, .. }, came) => {
                let checked = match came {
                    Came::Done => Checked::of(what, now),
                    Came::NotDone | Came::Failed | Came::Unknown => {
                        Checked::Unknown { why: what.to_owned(), at: now }
                    }
                };
                self.checked.insert(checked_key(&group.spec, image_id), checked);
            }
            (Step::Stop { container, .. }, Came::Done) => {
                self.adopted.remove(container);
                self.consume_approval(&step.key());
            }
            (Step::Start { object, asked: Some(asked), .. }, Came::Done) => {
                self.restarted.insert(object.clone(), *asked);
                self.consume_approval(&step.key());
            }
            (Step::Update { object, spark, .. }, came) => {
                noticed.extend(self.began_update(object, spark, came, what, now));
                if came == Came::Done {
                    self.consume_approval(&step.key());
                }
            }
            (Step::Start { object, container, .. }, Came::Done | Came::Failed) => {
                let restarts = Restarts::after(self.restarts.get(object), container, now);
                self.restarts.insert(object.clone(), restarts);
                if came == Came::Done {
                    self.consume_approval(&step.key());
                }
            }
            (Step::EndJob { .. } | Step::Delete { .. }, Came::Done) => self.consume_approval(&step.key()),
            (Step::Fetch { object, .. } | Step::Copy { object, .. }, came) => {
                self.began_transfer(object, came, what, now);
                if came == Came::Done {
                    self.consume_approval(&step.key());
                }
            }
            (Step::Stop { object, container, .. }, Came::NotDone) => self.not_stopped(object, container),
            // Unless it was given up meanwhile.
            (Step::Launch { object, group, .. }, Came::NotDone) if self.is_loading(object) => {
                self.never_began(object);
                self.refused(object, group, what, now);
            }
            (Step::Advance { object, group, .. }, Came::NotDone | Came::Failed) => {
                self.refused(object, group, what, now);
            }
            // A look from before this moment need not show its job.
            (Step::Launch { object, .. }, Came::Done | Came::Unknown) => {
                if let Some(launch) = self.launches.get_mut(object).filter(|launch| launch.token == *token) {
                    launch.at = now;
                }
            }
            (Step::Launch { object, .. }, Came::Failed) => {
                if let Some(launch) = self.launches.get(object).cloned() {
                    let state = self.failed(object, &launch.group, what.to_owned(), now, &mut noticed);
                    self.launches.insert(object.clone(), Launch { state, before: None, ..launch });
                }
            }
            _ => {}
        }
        noticed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{group::Sign, name::ServedName, weights::Files};

    fn group(spec: &str) -> Group {
        Group {
            model: ModelName::new("m").unwrap(),
            spec: SpecHash::of_label(spec),
            sparks: vec![SparkName::new("spark1").unwrap()],
            container: ContainerName::new("vllm_node").unwrap(),
            port: 8888,
            root: Some("lab/m".into()),
            served_as: vec![ServedName::new("m").unwrap()],
            sign: Sign::Engine,
            stop: None,
            is_labelled: false,
            log: None,
            prepares: false,
        }
    }

    fn token(sequence: u64) -> Token {
        Token { epoch: 1, sequence, controller: "a".into() }
    }

    fn stop(spark: &str, container: &str) -> Step {
        Step::Stop {
            object: Object::main(),
            spark: SparkName::new(spark).unwrap(),
            container: container.into(),
            name: "vllm_node".into(),
            remove: true,
            grace_secs: 1,
            pids: Vec::new(),
            own: None,
            log: None,
        }
    }

    /// If this failed, clearing a rank that was left on another Spark would count as the end of what serves.
    #[test]
    fn a_stop_on_another_spark_is_not_the_end_of_what_serves() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let token = token(1);
        let group = group("v1-0");
        let serving = LaunchState::Serving { since: now };
        let mut ledger = Ledger::default();
        ledger.launches.insert(Object::main(), Launch::new(group, token.clone(), now, serving.clone()));
        ledger.intend(&stop("spark2", "c1"), &token, now);
        assert_eq!(ledger.launches[&Object::main()].state, serving);
        ledger.intend(&stop("spark1", "c1"), &token, now);
        assert_eq!(ledger.launches[&Object::main()].state, LaunchState::Stopped { at: now });
    }

    #[test]
    fn what_an_engine_says_of_arguments_is_valid_invalid_or_not_known() {
        let at: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let unknown = |why: &str| Checked::Unknown { why: why.into(), at };
        for (said, checked) in [
            ("valid", Checked::Valid),
            ("invalid no such option", Checked::Invalid { why: "no such option".into() }),
            ("unknown Docker is busy", unknown("Docker is busy")),
            ("valid and more", unknown("valid and more")),
            ("", unknown("")),
        ] {
            assert_eq!(Checked::of(said, at), checked, "{said}");
        }
        let later = |minutes| at.checked_add(SignedDuration::from_mins(minutes)).unwrap();
        assert!(!unknown("x").is_worth_asking_again(later(9)));
        assert!(unknown("x").is_worth_asking_again(later(10)));
        assert!(!Checked::Valid.is_worth_asking_again(later(10)));
    }

    #[test]
    fn ending_a_job_is_the_end_of_its_own_launch_alone() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let token = token(2);
        let mut ledger = Ledger::default();
        let loading = Launch::new(group("v1-0"), token.clone(), now, LaunchState::Loading);
        ledger.launches.insert(Object::main(), loading);
        let spark = SparkName::new("spark1").unwrap();
        let end = |job: &str| Step::EndJob { object: Object::main(), spark: spark.clone(), job: job.into() };
        ledger.intend(&end("1.1"), &token, now);
        assert!(ledger.is_loading(&Object::main()), "that was an earlier one's");
        ledger.intend(&end("1.2"), &token, now);
        assert_eq!(ledger.launches[&Object::main()].state, LaunchState::Stopped { at: now });
    }

    /// If this failed, what cannot be told to a Spark would be tried without a pause, or count as a load that failed.
    #[test]
    fn what_is_refused_waits_longer_each_time_and_a_launch_that_fails_is_a_failed_load() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let token = token(1);
        let (object, spark) = (Object::main(), SparkName::new("spark1").unwrap());
        let group = group("v1-0");
        let mut ledger = Ledger::default();
        let advance = Step::Advance { object: object.clone(), spark, group: group.clone() };
        for (came, refused, secs) in [(Came::NotDone, 1, 20), (Came::Failed, 2, 40), (Came::NotDone, 3, 80)] {
            ledger.conclude(&advance, &token, came, "it is busy", now);
            let attempts = ledger.attempts(&object, &group.spec).unwrap();
            assert_eq!((attempts.refused, attempts.failed_loads), (refused, 0));
            assert_eq!(attempts.not_before.duration_since(now).as_secs(), secs);
        }
        for _ in 0..9 {
            ledger.conclude(&advance, &token, Came::Failed, "it is busy", now);
        }
        let attempts = ledger.attempts(&object, &group.spec).unwrap();
        assert_eq!(attempts.not_before.duration_since(now), LONGEST_RETRY);

        let before = Launch::new(group.clone(), token.clone(), now, LaunchState::Stopped { at: now });
        ledger.launches.insert(object.clone(), before);
        let launch = Step::Launch { object: object.clone(), group: group.clone(), instead_of: None };
        ledger.intend(&launch, &token, now);
        let noticed = ledger.conclude(&launch, &token, Came::Failed, "no such program", now);
        assert_eq!(noticed.len(), 1);
        let failed = &ledger.launches[&object];
        assert_eq!((&failed.state, &failed.before), (&LaunchState::Failed { at: now, in_load: true }, &None));
        let attempts = ledger.attempts(&object, &group.spec).unwrap();
        assert_eq!((attempts.refused, attempts.failed_loads), (0, 1));
    }

    /// If this failed, what a person agreed to once would be done again without asking.
    #[test]
    fn what_was_agreed_to_is_done_once() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let (object, spark) = (Object::main(), SparkName::new("spark1").unwrap());
        let files = Files { repo: crate::core::name::RepoId::new("lab/m").unwrap(), revision: None };
        let (container, name) = ("c1".to_owned(), "kokoro".to_owned());
        for (came, step) in [
            (Came::Done, stop("spark1", "c1")),
            (Came::Done, Step::EndJob { object: object.clone(), spark: spark.clone(), job: "1.1".into() }),
            (Came::Done, Step::Delete { object: object.clone(), spark: spark.clone(), files: files.clone() }),
            (Came::Done, Step::Fetch { object: object.clone(), spark: spark.clone(), files: files.clone() }),
            (Came::Failed, Step::Fetch { object: object.clone(), spark: spark.clone(), files }),
            (
                Came::Done,
                Step::Start {
                    object: object.clone(),
                    spark: spark.clone(),
                    container: container.clone(),
                    name: name.clone(),
                    asked: None,
                },
            ),
            (Came::Failed, Step::Start { object: object.clone(), spark, container, name, asked: None }),
            (Came::NotDone, stop("spark1", "c1")),
        ] {
            let mut ledger = Ledger::default();
            let steps = BTreeSet::from([step.key(), "launch kokoro x".to_owned()]);
            ledger.approve(Approval {
                plan: "p".into(),
                steps,
                relied_on: Vec::new(),
                at: now,
                by: "alice".into(),
            });
            ledger.intend(&step, &token(1), now);
            assert!(ledger.approved(&step.key(), &[], now), "{step}");
            ledger.conclude(&step, &token(1), came, "x", now);
            assert_eq!(ledger.approved(&step.key(), &[], now), came != Came::Done, "{step} {came:?}");
            assert!(ledger.approved("launch kokoro x", &[], now), "{step}");
            ledger.conclude(&step, &token(1), Came::Done, "x", now);
            ledger.consume_approvals(&Object::named("kokoro".into()));
            assert!(ledger.approvals.is_empty(), "{step}: nothing is left of it");
        }
        let mut ledger = Ledger::default();
        let steps =
            ["launch vllm x", "stop vllm spark1 c1", "stop vllm-2 spark1 c2"].map(str::to_owned).into();
        ledger.approve(Approval {
            plan: "p".into(),
            steps,
            relied_on: Vec::new(),
            at: now,
            by: "alice".into(),
        });
        ledger.consume_approvals(&object);
        let left: Vec<bool> = ["launch vllm x", "stop vllm spark1 c1", "stop vllm-2 spark1 c2"]
            .map(|key| ledger.approved(key, &[], now))
            .into();
        assert_eq!(left, [false, false, true]);
        let at_the_end = now.saturating_add(plan::LASTS).unwrap();
        assert!(ledger.approved("stop vllm-2 spark1 c2", &[], at_the_end));
        let after = at_the_end.saturating_add(SignedDuration::from_secs(1)).unwrap();
        assert!(!ledger.approved("stop vllm-2 spark1 c2", &[], after));
    }

    /// If this failed, a stop that Docker refused would pass for the end of what serves.
    #[test]
    fn stops_that_were_not_done_leave_the_slot_as_it_was() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let serving = LaunchState::Serving { since: now };
        let stopping = || {
            let mut ledger = Ledger::default();
            let sparks = ["spark1", "spark2"].map(|name| SparkName::new(name).unwrap()).into();
            let group = Group { sparks, ..group("v1-0") };
            ledger.launches.insert(Object::main(), Launch::new(group, token(1), now, serving.clone()));
            for (spark, container) in [("spark1", "c1"), ("spark2", "c2")] {
                ledger.intend(&stop(spark, container), &token(2), now);
            }
            assert!(ledger.is_past_stop(&Object::main()));
            ledger
        };
        let conclude = |ledger: &mut Ledger, spark: &str, container: &str, came: Came| {
            ledger.conclude(&stop(spark, container), &token(2), came, "Docker is busy", now);
        };
        let stopped = LaunchState::Stopped { at: now };
        let mut neither = stopping();
        conclude(&mut neither, "spark1", "c1", Came::NotDone);
        assert_eq!(neither.launches[&Object::main()].state, stopped, "one of two may still be done");
        conclude(&mut neither, "spark2", "c2", Came::NotDone);
        assert_eq!(neither.launches[&Object::main()].state, serving);
        assert!(neither.releases.is_empty() && !neither.is_past_stop(&Object::main()));

        let mut one = stopping();
        conclude(&mut one, "spark1", "c1", Came::Done);
        conclude(&mut one, "spark2", "c2", Came::NotDone);
        assert_eq!(one.launches[&Object::main()].state, stopped);
        assert!(one.is_past_stop(&Object::main()));
        one.launches.get_mut(&Object::main()).unwrap().state = serving;
        assert!(!one.is_past_stop(&Object::main()), "it serves again");
        one.launches.get_mut(&Object::main()).unwrap().state = stopped;
        one.releases.clear();
        assert!(!one.is_past_stop(&Object::main()), "it was stopped by hand");
    }

    #[test]
    fn a_launch_counts_from_when_it_was_told_and_only_its_own_outcome_counts() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let later = now.saturating_add(SignedDuration::from_secs(30)).unwrap();
        let launch = Step::Launch { object: Object::main(), group: group("v1-0"), instead_of: None };
        for (sequence, came, at) in [(1, Came::Done, later), (1, Came::Unknown, later), (2, Came::Done, now)]
        {
            let mut ledger = Ledger::default();
            ledger.intend(&launch, &token(1), now);
            ledger.conclude(&launch, &token(sequence), came, "", later);
            assert_eq!(ledger.launches[&Object::main()].at, at, "{sequence} {came:?}");
            assert!(ledger.is_loading(&Object::main()));
        }
        let mut given_up = Ledger::default();
        given_up.intend(&launch, &token(1), now);
        given_up.launches.get_mut(&Object::main()).unwrap().state = LaunchState::Stopped { at: now };
        let before = given_up.clone();
        given_up.conclude(&launch, &token(1), Came::NotDone, "too late", later);
        assert_eq!(given_up, before);
    }

    #[test]
    fn what_failed_is_forgotten_for_one_object() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let mut ledger = Ledger::default();
        assert!(!ledger.forget_failures("vllm"));
        let kokoro = Object::named("kokoro".into());
        for object in [Object::main(), kokoro.clone(), Object::named("vllm-2".into())] {
            ledger.give_up(&object, &SpecHash::of_label("v1-0"), "x".into(), FailureKind::Named, now);
        }
        ledger.restarts.insert(kokoro.clone(), Restarts::after(None, "c1", now));
        ledger.checked.insert("x".into(), Checked::Valid);
        assert!(ledger.forget_failures("vllm"));
        assert!(ledger.checked.is_empty(), "the engine is asked again");
        let left: Vec<&str> = ledger.attempts.keys().map(String::as_str).collect();
        assert_eq!(left, ["kokoro v1-0", "vllm-2 v1-0"]);
        assert_eq!(ledger.restarts.len(), 1);
        assert!(ledger.forget_failures("kokoro") && ledger.restarts.is_empty());
        assert!(!ledger.forget_failures("kokoro"));
    }

    /// If this failed, a launch that was refused would make the next try look like an edit: with `on_edit: approve` nothing
    /// would serve until a person comes.
    #[test]
    fn a_launch_that_never_began_changes_nothing() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let mut ledger = Ledger::default();
        let stopped = Launch::new(group("v1-0"), token(1), now, LaunchState::Stopped { at: now });
        ledger.launches.insert(Object::main(), stopped.clone());
        for sequence in [2, 3] {
            let launch = Step::Launch { object: Object::main(), group: group("v1-1"), instead_of: None };
            ledger.intend(&launch, &token(sequence), now);
            assert!(ledger.is_loading(&Object::main()));
            ledger.conclude(&launch, &token(sequence), Came::NotDone, "Docker did not answer", now);
            assert_eq!(ledger.launches[&Object::main()], stopped);
        }
        // One of before is kept, not all of them.
        for sequence in [4, 5, 6] {
            let launch = Step::Launch { object: Object::main(), group: group("v1-1"), instead_of: None };
            ledger.intend(&launch, &token(sequence), now);
            let before = ledger.launches[&Object::main()].before.as_ref().unwrap();
            assert_eq!((before.token.sequence == 1, &before.before), (sequence == 4, &None));
        }
    }
}
