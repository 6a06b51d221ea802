//! The files of a model: brought to its Sparks before any outage, or taken away from them.
//!
//! One Spark downloads, the others get a copy over the fabric. Each is a job, so it outlives connections and controllers; what
//! was brought before an interruption is not brought again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{consent, view::View};
use crate::core::model::{
    desired::{Desired, Model, Weights},
    event_kind::EventKind,
    files::FilesSeen,
    launch::{FailedAttempts, FailureKind, LaunchFailure},
    ledger::{Ledger, LedgerEvent, StepResult},
    model_source::ModelSource,
    name::{ModelName, RepoId, SparkName},
    object::Object,
    observed::{Endpoint, EndpointAnswer, Job, JobState, Observed, SparkFacts},
    plan::{ConsentReason, Gate, PlannedStep, Predicate, Work, WorkItem},
    reason::Reason,
    spec_hash::SpecHash,
    step::Step,
    transfer::{ModelFiles, Transfer},
};

/// Networks come back: a transfer that fails is tried more often than a load.
const MAX_TRIES: u32 = 5;
/// Before the second; twice as long before each further one.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_mins(1);
/// What a transfer takes of a Spark's memory while it runs: a downloader with its buffers.
pub const TRANSFER_BYTES: u64 = 2 << 30;

/// Where the files are, as far as it is known.
struct FilesBySpark<'a> {
    present: Vec<&'a SparkName>,
    /// Not there, or not all of them.
    missing: Vec<&'a SparkName>,
    /// Of those that are not there at all, or of which nothing was looked for.
    absent: Vec<&'a SparkName>,
    silent: Option<&'a SparkName>,
}

fn places<'a>(model: &'a Model, observed: &Observed) -> FilesBySpark<'a> {
    let mut places =
        FilesBySpark { present: Vec::new(), missing: Vec::new(), absent: Vec::new(), silent: None };
    let key = model.source.files_key().unwrap_or_default();
    for spark in &model.sparks {
        let Some(facts) = observed.facts(spark) else {
            places.silent = places.silent.or(Some(spark));
            continue;
        };
        match facts.files.get(&key) {
            Some(FilesSeen::Whole { .. } | FilesSeen::Lacking { .. }) => places.present.push(spark),
            Some(FilesSeen::Partial { .. }) => places.missing.push(spark),
            Some(FilesSeen::Unanswered) => places.silent = places.silent.or(Some(spark)),
            Some(FilesSeen::Absent) | None => {
                places.missing.push(spark);
                places.absent.push(spark);
            }
        }
    }
    places
}

/// In a few words, for the status.
pub fn seen(model: &Model, observed: &Observed) -> String {
    let places = places(model, observed);
    format!("there on {} of {}", places.present.len(), model.sparks.len())
}

/// Every difference: the Spark, and what is there.
pub fn differences<'a>(model: &'a Model, observed: &Observed) -> Vec<(&'a SparkName, &'static str)> {
    let places = places(model, observed);
    match model.weights {
        None => Vec::new(),
        Some(Weights::Present) => places.missing.into_iter().map(|spark| (spark, "not all there")).collect(),
        Some(Weights::Absent) => {
            let there = places.present.iter().chain(&places.missing).copied();
            there.filter(|spark| !places.absent.contains(spark)).map(|spark| (spark, "there")).collect()
        }
    }
}

/// The work for one model's files; `None` when they are where they should be.
pub fn plan(name: &ModelName, model: &Model, view: View<'_>) -> Option<Work> {
    let files = ModelFiles::of(model)?;
    let object = Object::weights(name);
    let work = match model.weights? {
        Weights::Present => stage(&object, &files, model, view),
        Weights::Absent => delete(&object, &files, model, view),
    }?;
    if model.suspend && work.steps().next().is_some() {
        return Some(Work::blocked(&object, work.goal, Reason::Suspended, "`suspend` is on"));
    }
    Some(work)
}

fn stage(object: &Object, files: &ModelFiles, model: &Model, view: View<'_>) -> Option<Work> {
    let View { desired, observed, ledger, now } = view;
    let goal = format!("bring the files of `{files}`");
    let places = places(model, observed);
    if let Some((spark, job)) = running(object, desired, observed) {
        let said = job.last_log_line().unwrap_or("it has just begun");
        return Some(Work::waiting(
            object,
            goal,
            Reason::Staging,
            format!("job {} on `{spark}`: {said}", job.id),
        ));
    }
    if let Some(transfer) = ledger.transfers.get(object).filter(|transfer| transfer.files == *files) {
        let message = format!("job {} on `{}` has just been started", transfer.job, transfer.spark);
        return Some(Work::waiting(object, goal, Reason::Staging, message));
    }
    if places.missing.is_empty() {
        let silent = places.silent?;
        let message = format!("`{silent}` does not answer; whether they are there is not known");
        return Some(Work::blocked(object, goal, Reason::Unreachable, message));
    }
    if let Some(attempts) = ledger.attempts(object, &files.spec()) {
        if attempts.failed_loads >= MAX_TRIES {
            let message = format!("{}; run `spark-control retry {object}`", attempts.last.what);
            return Some(Work::blocked(object, goal, Reason::Stalled, message));
        }
        if attempts.not_before > now {
            let message = format!("{}; again at {:.0}", attempts.last.what, attempts.not_before);
            return Some(Work::waiting(object, goal, Reason::Backoff, message));
        }
    }
    let consent = consent::on_edit(desired);
    let source = places.present.first().copied().unwrap_or(places.missing[0]);
    let to: Vec<SparkName> =
        places.missing.iter().filter(|spark| **spark != source).map(|spark| (*spark).clone()).collect();
    let mut items = Vec::new();
    if places.present.is_empty() {
        let fetch = Step::Fetch { object: object.clone(), spark: source.clone(), files: files.clone() };
        items.push(WorkItem::Steps(vec![PlannedStep::new(fetch, consent)]));
        items.push(WorkItem::Gate(Gate::Staged { sparks: vec![source.clone()] }));
    }
    if !to.is_empty() {
        let copy = Step::Copy {
            object: object.clone(),
            spark: source.clone(),
            to: to.clone(),
            files: files.clone(),
        };
        items.push(WorkItem::Steps(vec![PlannedStep::new(copy, consent)]));
        items.push(WorkItem::Gate(Gate::Staged { sparks: to }));
    }
    let relies_on =
        places.missing.iter().chain([&source]).filter_map(|spark| boot(spark, observed)).collect();
    Some(Work { relies_on, ..Work::new(object, goal, items) })
}

fn delete(object: &Object, files: &ModelFiles, model: &Model, view: View<'_>) -> Option<Work> {
    let View { desired, observed, .. } = view;
    let goal = format!("delete the files of `{files}`");
    if let Some((spark, job)) = running(object, desired, observed) {
        let end = Step::EndJob { object: object.clone(), spark: spark.clone(), job: job.id.clone() };
        let items = vec![WorkItem::Steps(vec![PlannedStep::new(end, None)])];
        return Some(Work::new(object, format!("end the transfer of `{files}`"), items));
    }
    let there: Vec<&SparkName> = differences(model, observed).into_iter().map(|(spark, _)| spark).collect();
    if there.is_empty() {
        let silent = places(model, observed).silent?;
        let message = format!("`{silent}` does not answer; whether they are there is not known");
        return Some(Work::blocked(object, goal, Reason::Unreachable, message));
    }
    if let Some(user) = user_of(&files.repo, view) {
        return Some(Work::blocked(object, goal, Reason::FilesInUse, user));
    }
    let steps = there.iter().map(|spark| {
        let delete = Step::Delete { object: object.clone(), spark: (*spark).clone(), files: files.clone() };
        PlannedStep::new(delete, Some(ConsentReason::Deletes))
    });
    let items = vec![WorkItem::Steps(steps.collect())];
    let relies_on = there.iter().filter_map(|spark| boot(spark, observed)).collect();
    Some(Work { relies_on, ..Work::new(object, goal, items) })
}

fn boot(spark: &SparkName, observed: &Observed) -> Option<Predicate> {
    Some(Predicate::boot(spark, observed.facts(spark)?))
}

/// The transfer that is under way.
fn running<'a>(
    object: &Object,
    desired: &'a Desired,
    observed: &'a Observed,
) -> Option<(&'a SparkName, &'a Job)> {
    desired.sparks.keys().find_map(|spark| {
        let job = observed.facts(spark)?.jobs.iter().find(|job| job.runs_for(object))?;
        Some((spark, job))
    })
}

/// Who loads these files, now or when another model fails, or is to.
fn user_of(repo: &RepoId, view: View<'_>) -> Option<String> {
    let View { desired, observed, ledger, .. } = view;
    for (object, launch) in ledger.launches() {
        // Its entry may have been renamed since.
        let is_loaded = launch.group.root.as_ref().is_some_and(|root| root == repo.as_str())
            || is_loaded_from(&launch.group.model, repo, desired);
        if ledger.launched(object).is_some() && is_loaded {
            return Some(format!("`{}` in `{object}` was loaded from them", launch.group.model));
        }
    }
    if let Some((object, _)) = observed.endpoints.iter().find(|(_, endpoint)| shows(endpoint, repo)) {
        return Some(format!("what answers as `{object}` was loaded from them"));
    }
    // What served before that may be gone back to, too; but not when somebody says that its files are to go.
    if let Some((object, proven)) = ledger
        .slots
        .iter()
        .filter_map(|(object, slot)| Some((object, slot.proven.as_ref()?)))
        .find(|(_, proven)| is_loaded_from(&proven.model, repo, desired))
    {
        return Some(format!("`{}` is what `{object}` goes back to when another model fails", proven.model));
    }
    let wanted = desired.slots.iter().find_map(|(object, slot)| match &slot.wanted {
        crate::core::model::desired::WantedModel::Model(model) if is_loaded_from(model, repo, desired) => {
            Some(format!("`{object}` wants `{model}`"))
        }
        _ => None,
    });
    wanted.or_else(|| {
        let mut windows = desired.schedule.iter();
        let (name, window) = windows.find(|(_, window)| is_loaded_from(&window.model, repo, desired))?;
        Some(format!("the window `{name}` wants `{}`", window.model))
    })
}

/// The file's entry of this model takes its files from the repository.
fn is_loaded_from(model: &ModelName, repo: &RepoId, desired: &Desired) -> bool {
    let source = desired.models.get(model).map(|model| &model.source);
    match source {
        Some(ModelSource::Repo { repo: of, .. }) => of == repo,
        // A snapshot of the cache, named by its path.
        Some(ModelSource::LocalPath(path)) => {
            let folder = ModelFiles { repo: repo.clone(), revision: None }.folder();
            path.as_str().split('/').any(|part| part == folder)
        }
        Some(ModelSource::Recipe(_)) | None => false,
    }
}

/// The engine that answers tells that its files are of this repository.
fn shows(endpoint: &Endpoint, repo: &RepoId) -> bool {
    match &endpoint.answer {
        EndpointAnswer::Engine(engine) => {
            engine.models.iter().any(|model| model.root.as_ref().is_some_and(|root| root == repo.as_str()))
        }
        _ => false,
    }
}

/// What the transfers that run on a Spark take of its memory.
pub fn transfer_bytes(facts: &SparkFacts) -> u64 {
    let running = facts
        .jobs
        .iter()
        .filter(|job| job.state == JobState::Running && matches!(job.object, Object::Weights(_)));
    running.map(|_| TRANSFER_BYTES).sum()
}

impl Ledger {
    /// A transfer is about to be started.
    pub(super) fn begin_transfer(&mut self, object: &Object, transfer: Transfer) {
        self.transfers.insert(object.clone(), transfer);
    }

    /// What came of starting it.
    pub(super) fn began_transfer(&mut self, object: &Object, came: StepResult, what: &str, now: Timestamp) {
        // A look from before this moment need not show its job.
        if let Some(transfer) = self.transfers.get_mut(object) {
            transfer.at = now;
        }
        if matches!(came, StepResult::NotDone | StepResult::Failed)
            && let Some(transfer) = self.transfers.remove(object)
        {
            self.transfer_failed(object, &transfer.files, format!("it was not started: {what}"), now);
        }
    }

    fn transfer_failed(&mut self, object: &Object, files: &ModelFiles, what: String, now: Timestamp) {
        let spec = files.spec();
        let failed_loads = self.attempts(object, &spec).map_or(0, |before| before.failed_loads) + 1;
        let pause = FIRST_PAUSE.checked_mul(1 << (failed_loads - 1).min(8)).unwrap_or(FIRST_PAUSE);
        let not_before = now.saturating_add(pause).expect("a duration, not a calendar span");
        let last = LaunchFailure { at: now, what, kind: FailureKind::Unnamed };
        self.set_attempts(object, &spec, FailedAttempts::new(failed_loads, last, not_before));
    }

    /// Take in what became of transfers.
    pub(super) fn notice_transfers(
        &mut self,
        observed: &Observed,
        busy: &BTreeSet<Object>,
        now: Timestamp,
        noticed: &mut Vec<LedgerEvent>,
    ) {
        let ended: BTreeMap<Object, Option<Job>> = self
            .transfers
            .iter()
            .filter(|(object, _)| !busy.contains(*object))
            .filter_map(|(object, transfer)| {
                let facts = observed.facts(&transfer.spark)?;
                let job = facts.jobs.iter().find(|job| job.id == transfer.job);
                match job {
                    Some(job) if job.state == JobState::Running => None,
                    Some(job) => Some((object.clone(), Some(job.clone()))),
                    // The message never arrived, or the machine does not know of it any more.
                    None => (facts.at > transfer.at).then(|| (object.clone(), None)),
                }
            })
            .collect();
        for (object, job) in ended {
            let Some(transfer) = self.transfers.remove(&object) else { continue };
            let Some(job) = job else { continue };
            let (kind, message) = match job.state {
                JobState::Exited(0) => {
                    self.take_attempts(&object, &transfer.files.spec());
                    (
                        EventKind::Staged,
                        format!(
                            "job {} on `{}` brought and verified `{}`",
                            job.id, transfer.spark, transfer.files
                        ),
                    )
                }
                JobState::Exited(_) | JobState::Lost | JobState::Running => {
                    let said = job.last_log_line().unwrap_or("it ended without a word").to_owned();
                    let what = format!("job {} on `{}`: {said}", job.id, transfer.spark);
                    self.transfer_failed(&object, &transfer.files, what.clone(), now);
                    (EventKind::Failed, what)
                }
            };
            noticed.push(LedgerEvent { object, kind, message });
        }
    }

    /// The objects and specs that transfers of the file have.
    pub(super) fn transfer_specs(desired: &Desired) -> impl Iterator<Item = (Object, SpecHash)> {
        desired.models.iter().filter_map(|(name, model)| {
            let files = ModelFiles::of(model).filter(|_| model.weights.is_some())?;
            Some((Object::weights(name), files.spec()))
        })
    }
}
