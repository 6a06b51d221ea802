//! What to do about a model slot.
//!
//! Top to bottom: which model it should hold, what stands there, and then one of: nothing, adopt, wait, or clear
//! what is in the way and launch.

use std::collections::BTreeSet;

use super::{
    adopt::adoption,
    consent::{self, ChangeCause},
    drain,
    fallback::fallback,
    memory::RELEASE_DEADLINE,
    need,
    readiness::{self, Readiness},
    schedule,
    slot_containers::{SlotContainer, last_seen_slot_containers, predicates_about, slot_containers},
    slot_view::SlotView,
    swap,
    view::View,
};
use crate::core::model::{
    desired::{Slot, WantedModel},
    launch::{FailureKind, LaunchFailure, LaunchState},
    launch_spec::{LaunchSpec, OwnStop},
    memory_table::gib,
    name::{PlainPath, SparkName},
    object::Object,
    observed::{Container, SparkView},
    plan::{ArgumentsCheck, ConsentReason, Gate, Outage, PlannedStep, Verdict, Work, WorkItem, push},
    reason::Reason,
    resolved_model::ResolvedModel,
    step::{self, Step},
};

/// The work for one slot; `None` when it is as it should be.
pub fn plan(object: &Object, slot: &Slot, view: View<'_>) -> Option<Work> {
    let View { desired, ledger, now, .. } = view;
    let case = SlotView { object, slot, view };
    // A swap that has stopped what served is finished: suspended, it would leave nothing serving.
    if slot.suspend && !ledger.is_past_stop(object) {
        return Some(Work::blocked(object, "look only", Reason::Suspended, "`suspend` is on"));
    }
    if let Some(work) = below_floor(case) {
        return Some(work);
    }
    let wanted = schedule::wanted(object, slot, desired, now);
    // What a hold protects is started again when it is dead, whatever else is wanted by now.
    if let Some(held) = case.held_model().filter(|held| WantedModel::Model(held.name.clone()) != wanted)
        && let Some(work) = serve(case, &held)
    {
        return Some(Work { wanted: Some(held.spec_hash()), ..work });
    }
    match wanted {
        WantedModel::Watch => None,
        WantedModel::Nothing => empty(case),
        WantedModel::Model(name) => {
            let wanted =
                desired.resolved_model(slot, &name).expect("resolved: every wanted model is in the catalog");
            serve(case, &wanted).map(|work| Work { wanted: Some(wanted.spec_hash()), ..work })
        }
    }
}

/// What the watch of the floor gave up is stopped first, whatever is wanted by now and whoever holds it.
fn below_floor(case: SlotView<'_>) -> Option<Work> {
    let SlotView { object, slot, view } = case;
    let View { observed, ledger, .. } = view;
    let launch = ledger.launch(object).filter(|_| ledger.is_below_floor(object))?;
    let standing = slot_containers(object, slot, view);
    let left: Vec<&SlotContainer<'_>> =
        standing.iter().filter(|entry| entry.spec.as_ref() == Some(&launch.group.spec)).collect();
    let mut items = Vec::new();
    push(&mut items, case.running_jobs(None));
    push(&mut items, case.stops(left.iter().copied(), |_| None));
    (!items.is_empty()).then(|| Work {
        contingency: true,
        outage: Some(Outage::new(None, "until a person says so").of(object, slot, observed, ledger)),
        relies_on: left.iter().flat_map(|entry| predicates_about(entry, observed)).collect(),
        ..Work::new(
            object,
            format!("stop `{}`, for which there is too little memory", launch.group.model),
            items,
        )
    })
}

/// Stop everything of the slot, at once: a load that nobody wants is not waited for.
fn empty(case: SlotView<'_>) -> Option<Work> {
    let SlotView { object, slot, view } = case;
    let View { desired, observed, ledger, .. } = view;
    let goal = "keep the slot empty";
    let standing = slot_containers(object, slot, view);
    let mut items = Vec::new();
    push(&mut items, case.running_jobs(consent::on_edit(desired)));
    push(&mut items, case.stops(standing.iter(), |entry| case.consent_to_clear(entry)));
    if items.is_empty() {
        return case.stop_owed(goal, &BTreeSet::new()).or_else(|| case.not_seen(goal));
    }
    let work = Work {
        relies_on: standing.iter().flat_map(|entry| predicates_about(entry, observed)).collect(),
        outage: Some(Outage::new(None, "until another model is chosen").of(object, slot, observed, ledger)),
        ..Work::new(object, goal, items)
    };
    Some(drain::with_drain_gate(work, slot, observed, ledger, case.now))
}

fn serve(case: SlotView<'_>, wanted: &ResolvedModel<'_>) -> Option<Work> {
    let SlotView { object, slot, view } = case;
    let View { observed, ledger, .. } = view;
    if let Some(launch) = ledger.launch(object).filter(|_| ledger.is_loading(object)) {
        let back = case.take_back(&launch.group);
        return Some(back.unwrap_or_else(|| case.load(&launch.group, wanted)));
    }
    let exhausted = ledger.attempts(object, &wanted.spec_hash()).filter(|attempts| attempts.is_spent());
    let standing = slot_containers(object, slot, view);
    let is_ready = case.readiness_of(&wanted.launch_spec()) == Readiness::Ready;
    if is_ready && case.restart_due() {
        return Some(swap::replace(case, wanted, wanted, &standing, None));
    }
    if is_ready {
        return leftovers(case, wanted, &standing);
    }
    // Where memory is short nothing else is loaded either.
    let fallback = exhausted
        .filter(|attempts| attempts.last.kind != FailureKind::BelowFloor)
        .map(|_| fallback(case, wanted));
    let why_not = fallback.as_ref().and_then(|fallback| fallback.as_ref().err()).cloned();
    let fallback = fallback.and_then(Result::ok);
    let target = fallback.as_ref().unwrap_or(wanted);
    let group = target.launch_spec();
    let goal = format!("serve `{}`", target.name);
    match (case.readiness_of(&group), exhausted) {
        (Readiness::Ready, failed) => {
            let last = failed.map_or("", |attempts| attempts.last.what.as_str());
            let message = format!(
                "`{}` failed ({last}), so `{}` serves; edit the model or run `spark-control retry {object}`",
                wanted.name, target.name
            );
            let goal = format!("serve `{}`", wanted.name);
            return Some(Work::blocked(object, goal, Reason::Stalled, message));
        }
        (Readiness::Unknown { why }, _) => {
            let silent = group.sparks.iter().any(|spark| observed.facts(spark).is_none());
            let reason = if silent { Reason::Unreachable } else { Reason::Unknown };
            // SSH, Docker and HTTP fail apart.
            let answers = readiness::answering(object, &group, observed).is_some();
            let meanwhile =
                if answers { format!("{why}; `{}` answers completions meanwhile", group.model) } else { why };
            return Some(Work::blocked(object, goal, reason, meanwhile));
        }
        // Its containers and engines run, it is ours, and it does not answer any more. Only a person knows whether
        // it is worth waiting.
        (Readiness::NotYet { why }, _) => {
            return Some(Work::blocked(object, goal, Reason::EngineStalled, why));
        }
        (Readiness::Dead { .. }, _) => {}
    }
    if let Some(silent) = group.sparks.iter().find(|spark| observed.facts(spark).is_none()) {
        let message = format!("`{silent}` is not reachable; nothing is stopped until it is");
        return Some(Work::blocked(object, goal, Reason::Unreachable, message));
    }
    if let Some(adoption) = adoption(object, target, &standing, view) {
        return Some(adoption);
    }
    let jobs = group.sparks.iter().filter_map(|spark| observed.facts(spark)).flat_map(|facts| &facts.jobs);
    let job = jobs.into_iter().find(|job| job.runs_for(object) && job.spec == group.spec);
    if let Some(job) = job {
        let message = format!("the launcher job {} is running", job.id);
        return Some(Work::waiting(object, goal, Reason::LaunchInProgress, message));
    }
    match exhausted {
        Some(attempts) if fallback.is_none() => {
            Some(stalled(case, &group, &attempts.last, why_not.as_deref(), &standing))
        }
        _ => {
            let failed = exhausted.filter(|_| fallback.is_some()).map(|attempts| attempts.last.what.as_str());
            let work = swap::replace(case, wanted, target, &standing, failed);
            let takes_over = fallback.is_none().then(|| case.takes_over(&work, wanted, &standing)).flatten();
            Some(takes_over.unwrap_or(work))
        }
    }
}

/// It is not loaded again, and nothing takes over. What is left of the failed load is cleared; what else stands there,
/// serving or not, is left alone.
fn stalled(
    case: SlotView<'_>,
    group: &LaunchSpec,
    last: &LaunchFailure,
    no_fallback: Option<&str>,
    standing: &[SlotContainer<'_>],
) -> Work {
    let SlotView { object, view, .. } = case;
    let View { observed, .. } = view;
    let goal = format!("start `{}`", group.model);
    // Of the wanted model, and of the one that was to take over, when that failed too.
    let failed =
        case.ledger.launch(object).filter(|launch| matches!(launch.state, LaunchState::Failed { .. }));
    let failed = failed.map(|launch| &launch.group.spec);
    let left: Vec<&SlotContainer<'_>> = standing
        .iter()
        .filter(|entry| entry.spec.as_ref().is_some_and(|spec| *spec == group.spec || Some(spec) == failed))
        .collect();
    if left.is_empty() {
        let (reason, what) = match last.kind {
            FailureKind::BelowFloor => (Reason::MemoryFloor, format!("it was stopped: {}", last.what)),
            FailureKind::Unnamed | FailureKind::Named | FailureKind::NotStarted => {
                (Reason::Stalled, last.what.clone())
            }
        };
        let no_fallback = no_fallback.map_or(String::new(), |why| format!("; nothing takes over: {why}"));
        let message = format!("{what}{no_fallback}; edit the model or run `spark-control retry {object}`");
        return Work::blocked(object, goal, reason, message);
    }
    let items = vec![WorkItem::Steps(case.stops(left.iter().copied(), |_| None))];
    Work {
        contingency: true,
        relies_on: left.iter().flat_map(|entry| predicates_about(entry, observed)).collect(),
        ..Work::new(object, format!("clear what is left of `{}`, which failed", group.model), items)
    }
}

/// Ready; but another Spark may still hold a rank of ours from before.
fn leftovers(case: SlotView<'_>, target: &ResolvedModel<'_>, standing: &[SlotContainer<'_>]) -> Option<Work> {
    let SlotView { object, view, .. } = case;
    let View { observed, .. } = view;
    let goal = "clear what is left of an earlier model";
    let old: Vec<&SlotContainer<'_>> = standing
        .iter()
        .filter(|entry| entry.is_ours() && !target.model.sparks.contains(entry.spark))
        .collect();
    if old.is_empty() {
        return case.stop_owed(goal, &target.model.sparks.iter().collect());
    }
    let items = vec![WorkItem::Steps(case.stops(old.iter().copied(), |entry| case.consent_to_clear(entry)))];
    let relies_on = old.iter().flat_map(|entry| predicates_about(entry, observed)).collect();
    Some(Work { relies_on, ..Work::new(object, goal, items) })
}

/// Before a kill. The launchers' containers have a first process that ignores SIGTERM and does not pass it on, so waiting
/// for it would only lengthen the outage.
fn grace_secs(container: &Container) -> u32 {
    let idle = container.processes.iter().flatten().any(|process| process.command == "sleep infinity");
    if idle { 1 } else { step::GRACE_SECS }
}

impl<'a> SlotView<'a> {
    /// Somebody asked for what serves to be loaded anew, and it was not since.
    pub(super) fn restart_due(self) -> bool {
        let asked = self.slot.restart_after.filter(|asked| *asked <= self.now);
        let launch = self.ledger.launch(self.object);
        asked.zip(launch).is_some_and(|(asked, launch)| launch.at < asked)
    }

    /// The model that a hold in force keeps in the slot: the one that served last.
    pub(super) fn held_model(self) -> Option<ResolvedModel<'a>> {
        consent::hold(self.object, self.desired, self.now)?;
        let launch = self.ledger.launch(self.object)?;
        let served = matches!(
            launch.state,
            LaunchState::Serving { .. }
                | LaunchState::Unseen { .. }
                | LaunchState::Failed { in_load: false, .. }
        );
        let held = self.desired.resolved_model(self.slot, &launch.group.model).filter(|_| served)?;
        (held.spec_hash() == launch.group.spec).then_some(held)
    }
}

impl SlotView<'_> {
    /// How the group stands. A load that was given up is over, though its ranks may still run: what there is of it is torn down.
    fn readiness_of(self, group: &LaunchSpec) -> Readiness {
        match readiness::readiness(self.object, group, self.view) {
            Readiness::NotYet { why } if self.ledger.failed_in_load(self.object, &group.spec) => {
                Readiness::Dead { why }
            }
            other => other,
        }
    }

    /// What a person has to agree to before this container is stopped for good.
    fn consent_to_clear(self, entry: &SlotContainer<'_>) -> Option<ConsentReason> {
        consent::to_stop(entry, self.object, ChangeCause::Edit, None, self.desired, self.observed)
    }

    /// What served is gone, and the wanted model cannot be started for as long as memory may take to come back: that memory
    /// stays away, or something that was looked for before the stop is not so any more. The one before it can.
    fn takes_over(
        self,
        work: &Work,
        wanted: &ResolvedModel<'_>,
        standing: &[SlotContainer<'_>],
    ) -> Option<Work> {
        let Verdict::Blocked { reason, message } = &work.verdict else { return None };
        // What these wait for is a person, a Spark, or the end of a wish.
        let stays = !matches!(
            reason,
            Reason::ApprovalNeeded
                | Reason::ReportOnly
                | Reason::Held
                | Reason::Suspended
                | Reason::Unreachable
        );
        let release = self.ledger.slot(self.object).release.as_ref()?;
        let late = self.now.duration_since(release.since) > RELEASE_DEADLINE;
        let before =
            fallback(self, wanted).ok().filter(|_| stays && late && self.ledger.is_past_stop(self.object))?;
        let reachable = before.model.sparks.iter().all(|spark| self.observed.facts(spark).is_some());
        let other = reachable.then(|| swap::replace(self, wanted, &before, standing, Some(message)))?;
        (other.verdict == Verdict::Open).then_some(other)
    }

    /// What loads is left to end: it becomes ready, or it fails.
    fn load(self, group: &LaunchSpec, wanted: &ResolvedModel<'_>) -> Work {
        let readiness = readiness::readiness(self.object, group, self.view);
        let mut message = match readiness {
            Readiness::Ready => "it has just become ready".into(),
            Readiness::Unknown { why } => why,
            Readiness::NotYet { why } => match self.how_far(group) {
                Some(far) if why == readiness::NOT_LISTENING => far,
                Some(far) => format!("{far}; {why}"),
                None => why,
            },
            Readiness::Dead { why } => {
                let launch = self.ledger.launch(self.object);
                let at_work = launch.is_some_and(|launch| launch.launcher_ended.is_none());
                let otherwise = if at_work { "its launcher is at work".to_owned() } else { why };
                self.how_far(group).unwrap_or(otherwise)
            }
        };
        let failed =
            self.ledger.attempts(self.object, &wanted.spec_hash()).filter(|attempts| attempts.is_spent());
        match failed {
            Some(failed) if group.spec != wanted.spec_hash() => {
                message = format!(
                    "{message}; it takes over, because `{}` failed: {}",
                    wanted.name, failed.last.what
                );
            }
            None if group.spec != wanted.spec_hash() => {
                message = format!("{message}; `{}` as the file has it comes after", wanted.name);
            }
            Some(_) | None => {}
        }
        let arguments =
            self.ledger.unanswered(&group.spec).map(|why| ArgumentsCheck::NotChecked { why: why.to_owned() });
        if let Some(arguments) = &arguments {
            message = format!("{message}; its arguments were {arguments}");
        }
        let gate = Gate::Ready {
            model: group.model.to_string(),
            deadline_secs: self.ledger.load_deadline(self.slot, &group.spec).as_secs(),
        };
        let goal = format!("start `{}`", group.model);
        let work = Work::waiting(self.object, goal, Reason::LoadInProgress, message);
        Work { items: vec![WorkItem::Gate(gate)], arguments, ..work }
    }

    /// The launcher is still at work, and a Spark where no engine of it has begun has not the memory any more: it would begin
    /// into memory that is not there. `None` when all is as it was.
    fn take_back(self, group: &LaunchSpec) -> Option<Work> {
        let Self { object, view, .. } = self;
        let View { desired, observed, ledger, .. } = view;
        let effective = desired.resolved_model(self.slot, &group.model)?;
        let effective = Some(effective).filter(|effective| effective.spec_hash() == group.spec)?;
        let (spark, free, needed) = group.sparks.iter().find_map(|spark| {
            let facts = observed.facts(spark)?;
            let rank = readiness::rank(object, group, spark, view);
            let begun = rank.is_some_and(|rank| group.is_alive(spark, rank) != Some(false));
            let needed = need::need_on(&effective, spark, facts, observed, ledger).at_least_bytes();
            let free = facts.memory_available_bytes;
            (!begun && free < needed).then_some((spark, free, needed))
        })?;
        let jobs = self.running_jobs(None);
        if jobs.is_empty() {
            return None;
        }
        let goal = format!(
            "take back the start of `{}`: {} are free on `{spark}` now, and {} are needed",
            group.model,
            gib(free),
            gib(needed)
        );
        Some(Work::new(object, goal, vec![WorkItem::Steps(jobs)]))
    }

    /// How far the load is, and how long it takes.
    fn how_far(self, group: &LaunchSpec) -> Option<String> {
        let launch = self.ledger.launch(self.object)?;
        let elapsed = self.now.duration_since(launch.at).as_secs();
        let expected = self.ledger.expected_load_secs(&group.spec);
        let expected = expected.map_or(String::new(), |(secs, _)| match u64::try_from(elapsed) {
            Ok(elapsed) if elapsed > secs => format!(", longer than the usual {secs} s"),
            _ => format!(" of about {secs}"),
        });
        Some(format!("{}; {elapsed} s{expected}", launch.progress.as_ref()?))
    }

    /// A silent Spark was last seen with a container of ours that should not be there: it is stopped when the Spark
    /// is back. `wanted` are the Sparks where it should be.
    fn stop_owed(self, goal: &str, wanted: &BTreeSet<&SparkName>) -> Option<Work> {
        let silent = self.observed.sparks.iter().filter(|(spark, _)| !wanted.contains(spark));
        let owed = silent.into_iter().find_map(|(spark, view)| {
            let SparkView::Unreachable { last: Some(facts), .. } = view else { return None };
            let stood =
                last_seen_slot_containers(self.object, self.slot, self.desired, self.ledger, spark, facts);
            stood.iter().any(|entry| entry.container.running && entry.is_ours()).then_some(spark)
        })?;
        let message = format!("`{}` on `{owed}` is stopped when `{owed}` is back", self.slot.container);
        Some(Work::waiting(self.object, goal, Reason::StopOwed, message))
    }

    pub(super) fn stops<'a, 'b: 'a>(
        self,
        entries: impl Iterator<Item = &'a SlotContainer<'b>>,
        consent: impl Fn(&SlotContainer<'_>) -> Option<ConsentReason>,
    ) -> Vec<PlannedStep> {
        entries.map(|entry| PlannedStep::new(self.stop(entry), consent(entry))).collect()
    }

    /// Stops this container and removes it.
    fn stop(self, entry: &SlotContainer<'_>) -> Step {
        Step::Stop {
            object: self.object.clone(),
            spark: entry.spark.clone(),
            container: entry.container.id.clone(),
            name: entry.container.name.clone(),
            remove: true,
            grace_secs: grace_secs(entry.container),
            pids: entry.container.processes.iter().flatten().map(|process| process.pid).collect(),
            own: self.own_stop(entry),
            log: self.log_of(entry),
        }
    }

    /// Where what it says is, while it is known what started it.
    fn log_of(self, entry: &SlotContainer<'_>) -> Option<PlainPath> {
        let group = &self.ledger.launch(self.object)?.group;
        group.log.clone().filter(|_| entry.spec.as_ref() == Some(&group.spec))
    }

    /// The owner's own program stops what the owner's own program started, while it is known that it did.
    fn own_stop(self, entry: &SlotContainer<'_>) -> Option<OwnStop> {
        let group = &self.ledger.launch(self.object)?.group;
        let started = entry.spec.as_ref() == Some(&group.spec) && entry.spark == group.head();
        group.stop.clone().filter(|_| started && entry.container.running)
    }

    /// Nothing of this slot was seen; but not everywhere could be looked.
    fn not_seen(self, goal: &str) -> Option<Work> {
        let silent = self.slot.sparks.iter().find(|spark| self.observed.facts(spark).is_none())?;
        let message = format!("`{silent}` is not reachable, so what runs there is not known");
        Some(Work::blocked(self.object, goal, Reason::Unreachable, message))
    }

    /// Jobs of this slot that still run are ended before anything else.
    pub(super) fn running_jobs(self, consent: Option<ConsentReason>) -> Vec<PlannedStep> {
        let mut steps = Vec::new();
        for spark in self.desired.sparks.keys() {
            let jobs = self.observed.facts(spark).map(|facts| facts.jobs.as_slice()).unwrap_or_default();
            for job in jobs.iter().filter(|job| job.runs_for(self.object)) {
                let step =
                    Step::EndJob { object: self.object.clone(), spark: spark.clone(), job: job.id.clone() };
                steps.push(PlannedStep::new(step, consent));
            }
        }
        steps
    }
}
