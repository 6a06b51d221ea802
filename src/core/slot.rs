//! What to do about a model slot.
//!
//! Top to bottom: which model it should hold, what stands there, and then one of: nothing, adopt, wait, or clear
//! what is in the way and launch.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    adopt::adoption,
    consent::{self, Cause},
    desired::{Desired, Effective, Object, OnFailure, Slot, Source, SpecHash, Wanted},
    group::{Group, OwnStop},
    launch::{LaunchState, MAX_LOADS},
    launcher::How,
    ledger::{Checked, Ledger, checked_key},
    memory::{self, Released},
    name::{ModelName, SparkName},
    observed::{Container, Job, Observed, RecipeSeen, SparkView},
    plan::{Consent, Gate, Item, Outage, PlannedStep, Predicate, Reason, Verdict, Work},
    preflight::preflight,
    ready::{self, Readiness},
    schedule,
    standing::{Standing, relied_on, standing, stood},
    step::{self, Step},
};

/// What a decision about one slot is made from.
#[derive(Clone, Copy)]
struct Case<'a> {
    object: &'a Object,
    slot: &'a Slot,
    desired: &'a Desired,
    observed: &'a Observed,
    ledger: &'a Ledger,
    now: Timestamp,
}

/// The work for one slot; `None` when it is as it should be.
pub fn plan(
    object: &Object,
    slot: &Slot,
    desired: &Desired,
    observed: &Observed,
    ledger: &Ledger,
    now: Timestamp,
) -> Option<Work> {
    let case = Case { object, slot, desired, observed, ledger, now };
    // A swap that has stopped what served is finished: suspended, it would leave nothing serving.
    if slot.suspend && !ledger.is_past_stop(object) {
        return Some(Work::blocked(object, "look only", Reason::Suspended, "`suspend` is on"));
    }
    let wanted = schedule::wanted(object, slot, desired, now);
    // What a hold protects is started again when it is dead, whatever else is wanted by now.
    if let Some(held) = held_model(case).filter(|held| Wanted::Model(held.name.clone()) != wanted)
        && let Some(work) = serve(case, &held)
    {
        return Some(Work { wanted: Some(held.spec_hash()), ..work });
    }
    match wanted {
        Wanted::Watch => None,
        Wanted::Nothing => empty(case),
        Wanted::Model(name) => {
            let wanted =
                desired.effective(slot, &name).expect("resolved: every wanted model is in the catalog");
            serve(case, &wanted).map(|work| Work { wanted: Some(wanted.spec_hash()), ..work })
        }
    }
}

/// The model that a hold in force keeps in the slot: the one that served last.
fn held_model(case: Case<'_>) -> Option<Effective<'_>> {
    consent::hold(case.object, case.desired, case.now)?;
    let launch = case.ledger.launches.get(case.object)?;
    let served = matches!(
        launch.state,
        LaunchState::Serving { .. } | LaunchState::Unseen { .. } | LaunchState::Failed { in_load: false, .. }
    );
    let held = case.desired.effective(case.slot, &launch.group.model).filter(|_| served)?;
    (held.spec_hash() == launch.group.spec).then_some(held)
}

/// Stop everything of the slot, at once: a load that nobody wants is not waited for.
fn empty(case: Case<'_>) -> Option<Work> {
    let Case { object, slot, desired, observed, ledger, .. } = case;
    let goal = "keep the slot empty";
    let standing = standing(object, slot, desired, observed, ledger);
    let mut items = Vec::new();
    push(&mut items, case.running_jobs(consent::on_edit(desired)));
    let consent =
        |entry: &Standing<'_>| consent::to_stop(entry, object, Cause::Edit, None, desired, observed);
    push(&mut items, case.stops(standing.iter(), consent));
    if items.is_empty() {
        return case.stop_owed(goal, &BTreeSet::new()).or_else(|| case.not_seen(goal));
    }
    Some(Work {
        relies_on: standing.iter().flat_map(|entry| relied_on(entry, observed)).collect(),
        outage: Some(Outage { expected_secs: None, basis: "until another model is chosen".into() }),
        ..Work::new(object, goal, items)
    })
}

fn serve(case: Case<'_>, wanted: &Effective<'_>) -> Option<Work> {
    let Case { object, slot, desired, observed, ledger, .. } = case;
    if let Some(launch) = ledger.launches.get(object).filter(|_| ledger.is_loading(object)) {
        return Some(case.load(&launch.group, wanted));
    }
    // A load that was given up is over, though its ranks may still run: what there is of it is torn down.
    let readiness = |group: &Group| match ready::readiness(object, group, desired, observed, ledger) {
        Readiness::NotYet { why } if ledger.failed_in_load(object, &group.spec) => Readiness::Dead { why },
        other => other,
    };
    let exhausted =
        ledger.attempts(object, &wanted.spec_hash()).filter(|attempts| attempts.failed_loads >= MAX_LOADS);
    let standing = standing(object, slot, desired, observed, ledger);
    if readiness(&wanted.group()) == Readiness::Ready {
        return leftovers(case, wanted, &standing);
    }
    let fallback = exhausted.and_then(|_| fallback(case, wanted));
    let target = fallback.as_ref().unwrap_or(wanted);
    let group = target.group();
    let goal = format!("serve `{}`", target.name);
    match (readiness(&group), exhausted) {
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
            return Some(Work::blocked(object, goal, reason, why));
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
    if let Some(adoption) = adoption(object, target, &standing, observed) {
        return Some(adoption);
    }
    let jobs = group.sparks.iter().filter_map(|spark| observed.facts(spark)).flat_map(|facts| &facts.jobs);
    let job = jobs.into_iter().find(|job| job.runs_for(object) && job.spec == group.spec);
    if let Some(job) = job {
        let message = format!("the launcher job {} is running", job.id);
        return Some(Work::waiting(object, goal, Reason::LaunchInProgress, message));
    }
    match exhausted {
        Some(attempts) if fallback.is_none() => Some(stalled(case, &group, &attempts.last.what, &standing)),
        _ => Some(replace(case, wanted, target, &standing)),
    }
}

/// It is not loaded again, and nothing takes over. What is left of the failed load is cleared; what else stands there,
/// serving or not, is left alone.
fn stalled(case: Case<'_>, group: &Group, what: &str, standing: &[Standing<'_>]) -> Work {
    let Case { object, observed, .. } = case;
    let goal = format!("start `{}`", group.model);
    // Of the wanted model, and of the one that was to take over, when that failed too.
    let failed =
        case.ledger.launches.get(object).filter(|launch| matches!(launch.state, LaunchState::Failed { .. }));
    let failed = failed.map(|launch| &launch.group.spec);
    let is_left = |entry: &&Standing<'_>| {
        entry.spec.as_ref().is_some_and(|spec| *spec == group.spec || Some(spec) == failed)
    };
    let left: Vec<&Standing<'_>> = standing.iter().filter(is_left).collect();
    if left.is_empty() {
        let message = format!("{what}; edit the model or run `spark-control retry {object}`");
        return Work::blocked(object, goal, Reason::Stalled, message);
    }
    let items = vec![Item::Steps(case.stops(left.iter().copied(), |_| None))];
    Work {
        contingency: true,
        relies_on: left.iter().flat_map(|entry| relied_on(entry, observed)).collect(),
        ..Work::new(object, format!("clear what is left of `{}`, which failed", group.model), items)
    }
}

/// Ready; but another Spark may still hold a rank of ours from before.
fn leftovers(case: Case<'_>, target: &Effective<'_>, standing: &[Standing<'_>]) -> Option<Work> {
    let Case { object, desired, observed, .. } = case;
    let goal = "clear what is left of an earlier model";
    let old: Vec<&Standing<'_>> = standing
        .iter()
        .filter(|entry| entry.is_ours() && !target.model.sparks.contains(entry.spark))
        .collect();
    if old.is_empty() {
        return case.stop_owed(goal, &target.model.sparks.iter().collect());
    }
    let consent =
        |entry: &Standing<'_>| consent::to_stop(entry, object, Cause::Edit, None, desired, observed);
    let items = vec![Item::Steps(case.stops(old.iter().copied(), consent))];
    let relies_on = old.iter().flat_map(|entry| relied_on(entry, observed)).collect();
    Some(Work { relies_on, ..Work::new(object, goal, items) })
}

/// The last model that served, when it may take over for one that failed. It is started again like any other when it
/// dies later, but not when it failed to load.
fn fallback<'a>(case: Case<'a>, wanted: &Effective<'a>) -> Option<Effective<'a>> {
    if case.slot.on_failure != OnFailure::Fallback {
        return None;
    }
    let proven = case.ledger.proven.get(case.object)?;
    let effective = case.desired.effective(wanted.slot, &proven.model)?;
    let spec = effective.spec_hash();
    let attempts = case.ledger.attempts(case.object, &spec);
    let fits = spec == proven.spec
        && spec != wanted.spec_hash()
        && !case.ledger.failed_in_load(case.object, &spec)
        && attempts.is_none_or(|attempts| attempts.failed_loads < MAX_LOADS);
    fits.then_some(effective)
}

/// Clear what is in the way, wait for the memory, launch, wait until it is ready.
fn replace(
    case: Case<'_>,
    wanted: &Effective<'_>,
    target: &Effective<'_>,
    standing: &[Standing<'_>],
) -> Work {
    let Case { object, desired, observed, ledger, .. } = case;
    let group = target.group();
    let cause = consent::cause(object, &wanted.group(), &group, ledger);
    // Elsewhere, a container of that name is touched only when it is ours.
    let in_the_way: Vec<&Standing<'_>> =
        standing.iter().filter(|entry| group.sparks.contains(entry.spark) || entry.is_ours()).collect();
    let consent =
        |entry: &Standing<'_>| consent::to_stop(entry, object, cause, Some(&group.spec), desired, observed);
    let mut items = Vec::new();
    let to_end = if cause == Cause::Edit { consent::on_edit(desired) } else { None };
    push(&mut items, case.running_jobs(to_end));
    push(&mut items, case.stops(in_the_way.iter().copied(), consent));
    let clearing = !items.is_empty();
    let serving = case.serving(&in_the_way);
    let outage = serving.is_some().then(|| case.outage(&group.spec));
    let mut work = Work {
        relies_on: case.replace_relies_on(target, &in_the_way),
        contingency: cause == Cause::Contingency,
        memory: memory::table(target, desired, observed),
        outage,
        ..Work::new(object, goal_of(wanted, target, serving), items)
    };

    // Everything that can be known before the outage is asked before the outage.
    if let Err((reason, message)) = preflight(object, target, standing, desired, observed, ledger, case.now) {
        work.items.clear();
        work.verdict = Verdict::Blocked { reason, message };
        return work;
    }
    match case.arguments(target, work.outage.is_some()) {
        Arguments::Known => {}
        Arguments::Refused(why) => {
            let message = format!("the engine refuses the arguments of `{}`: {why}", target.name);
            work.items.clear();
            work.verdict = Verdict::Blocked { reason: Reason::ArgumentsInvalid, message };
            return work;
        }
        Arguments::ToAsk(step) => {
            let gate = Item::Gate(Gate::Checked { model: target.name.to_string() });
            work.items.splice(0..0, [Item::Steps(vec![PlannedStep::new(*step, None)]), gate]);
        }
    }
    let gate =
        if clearing { Some(Verdict::Open) } else { case.release_gate(target).or_else(|| case.busy(&group)) };
    if let Some(verdict) = gate {
        work.items.push(Item::Gate(Gate::Released { sparks: group.sparks.clone() }));
        work.verdict = verdict;
    }
    let consent = consent::to_start(cause, desired).unwrap_or_else(|verdict| {
        work.verdict = verdict;
        None
    });
    if group.sparks.len() > 1 {
        let advance = |spark: &SparkName| {
            let step = Step::Advance { object: object.clone(), spark: spark.clone(), group: group.clone() };
            PlannedStep::new(step, None)
        };
        work.items.push(Item::Steps(group.sparks.iter().map(advance).collect()));
    }
    let ready = Gate::Ready {
        model: group.model.to_string(),
        deadline_secs: ledger.load_deadline(target.slot, &group.spec).as_secs(),
    };
    let mut group = group;
    group.root = group.root.or_else(|| recipe_root(target, observed));
    let launch = Step::Launch { object: object.clone(), group };
    work.items.push(Item::Steps(vec![PlannedStep::new(launch, consent)]));
    work.items.push(Item::Gate(ready));
    work
}

/// What is known of a model's arguments.
enum Arguments {
    /// The engine took them, or nobody can tell.
    Known,
    Refused(String),
    ToAsk(Box<Step>),
}

/// What the recipe loads, as the launcher's dry run shows it.
fn recipe_root(target: &Effective<'_>, observed: &Observed) -> Option<String> {
    let (How::Recipe { dir, .. }, Source::Recipe(recipe)) = (&target.launcher.how, &target.model.source)
    else {
        return None;
    };
    let seen = observed.facts(&target.model.sparks[0])?.recipes.get(&format!("{dir}/{recipe}"))?;
    match seen {
        RecipeSeen::Readable { root } => Some(root.clone()),
        RecipeSeen::Unreadable { .. } => None,
    }
}

/// What goes away.
enum Serving {
    Model(ModelName),
    Stranger(String),
}

fn goal_of(wanted: &Effective<'_>, target: &Effective<'_>, serving: Option<Serving>) -> String {
    match serving {
        _ if wanted.name != target.name => {
            format!("go back to `{}`, because `{}` failed", target.name, wanted.name)
        }
        Some(Serving::Model(old)) if old != *target.name => format!("swap `{old}` for `{}`", target.name),
        Some(Serving::Stranger(container)) => {
            format!("swap what runs as `{container}` for `{}`", target.name)
        }
        _ => format!("start `{}`", target.name),
    }
}

/// Before a kill. The launchers' containers have a first process that ignores SIGTERM and does not pass it on, so waiting
/// for it would only lengthen the outage.
fn grace_secs(container: &Container) -> u32 {
    let idle = container.processes.iter().flatten().any(|process| process.command == "sleep infinity");
    if idle { 1 } else { step::GRACE_SECS }
}

fn push(items: &mut Vec<Item>, steps: Vec<PlannedStep>) {
    if !steps.is_empty() {
        items.push(Item::Steps(steps));
    }
}

impl Case<'_> {
    /// What loads is left to end: it becomes ready, or it fails.
    fn load(self, group: &Group, wanted: &Effective<'_>) -> Work {
        let readiness = ready::readiness(self.object, group, self.desired, self.observed, self.ledger);
        let mut message = match readiness {
            Readiness::Ready => "it has just become ready".into(),
            Readiness::Unknown { why } => why,
            Readiness::NotYet { why } | Readiness::Dead { why } => self.how_far(group).unwrap_or(why),
        };
        if group.spec != wanted.spec_hash() {
            message = format!("{message}; `{}` as the file has it comes after", wanted.name);
        }
        let gate = Gate::Ready {
            model: group.model.to_string(),
            deadline_secs: self.ledger.load_deadline(self.slot, &group.spec).as_secs(),
        };
        let goal = format!("start `{}`", group.model);
        let work = Work::waiting(self.object, goal, Reason::LoadInProgress, message);
        Work { items: vec![Item::Gate(gate)], ..work }
    }

    /// How far the load is, and how long it takes.
    fn how_far(self, group: &Group) -> Option<String> {
        let launch = self.ledger.launches.get(self.object)?;
        let elapsed = self.now.duration_since(launch.at).as_secs();
        let expected = self.ledger.expected_load_secs(&group.spec);
        let expected = expected.map_or(String::new(), |(secs, _)| format!(" of about {secs}"));
        Some(format!("{}; {elapsed} s{expected}", launch.progress.as_ref()?))
    }

    /// A silent Spark was last seen with a container of ours that should not be there: it is stopped when the Spark
    /// is back. `wanted` are the Sparks where it should be.
    fn stop_owed(self, goal: &str, wanted: &BTreeSet<&SparkName>) -> Option<Work> {
        let silent = self.observed.sparks.iter().filter(|(spark, _)| !wanted.contains(spark));
        let owed = silent.into_iter().find_map(|(spark, view)| {
            let SparkView::Unreachable { last: Some(facts), .. } = view else { return None };
            let stood = stood(self.object, self.slot, self.desired, self.ledger, spark, facts);
            stood.iter().any(|entry| entry.container.running && entry.is_ours()).then_some(spark)
        })?;
        let message = format!("`{}` on `{owed}` is stopped when `{owed}` is back", self.slot.container);
        Some(Work::waiting(self.object, goal, Reason::StopOwed, message))
    }

    fn stops<'a, 'b: 'a>(
        self,
        entries: impl Iterator<Item = &'a Standing<'b>>,
        consent: impl Fn(&Standing<'_>) -> Option<Consent>,
    ) -> Vec<PlannedStep> {
        let stop = |entry: &Standing<'_>| Step::Stop {
            object: self.object.clone(),
            spark: entry.spark.clone(),
            container: entry.container.id.clone(),
            name: entry.container.name.clone(),
            remove: true,
            grace_secs: grace_secs(entry.container),
            pids: entry.container.processes.iter().flatten().map(|process| process.pid).collect(),
            own: self.own_stop(entry),
        };
        entries.map(|entry| PlannedStep::new(stop(entry), consent(entry))).collect()
    }

    /// Whether to ask the engine about the arguments first: before something that serves is stopped for a model that has not
    /// been loaded with them yet. A recipe's and a script's own words are not known here.
    fn arguments(self, target: &Effective<'_>, outage: bool) -> Arguments {
        let group = target.group();
        let head = self.observed.facts(group.head());
        let Some(Some(image_id)) = head.and_then(|facts| facts.images.get(target.image.as_str())) else {
            return Arguments::Known;
        };
        match self.ledger.checked.get(&checked_key(&group.spec, image_id)) {
            Some(Checked::Valid | Checked::Unknown { .. }) => Arguments::Known,
            Some(Checked::Invalid { why }) => Arguments::Refused(why.clone()),
            None => {
                let proven = self.ledger.load_secs.contains_key(group.spec.as_str());
                if proven || !outage || !target.launcher.how.words_are_all() {
                    return Arguments::Known;
                }
                let (object, image_id) = (self.object.clone(), image_id.clone());
                Arguments::ToAsk(Box::new(Step::Check { object, group, image_id }))
            }
        }
    }

    /// The owner's own program stops what the owner's own program started, while it is known that it did.
    fn own_stop(self, entry: &Standing<'_>) -> Option<OwnStop> {
        let group = &self.ledger.launches.get(self.object)?.group;
        let started = entry.spec.as_ref() == Some(&group.spec) && entry.spark == group.head();
        group.stop.clone().filter(|_| started && entry.container.running)
    }

    /// Nothing of this slot was seen; but not everywhere could be looked.
    fn not_seen(self, goal: &str) -> Option<Work> {
        let silent = self.slot.sparks.iter().find(|spark| self.observed.facts(spark).is_none())?;
        let message = format!("`{silent}` is not reachable, so what runs there is not known");
        Some(Work::blocked(self.object, goal, Reason::Unreachable, message))
    }

    /// Another model loads on one of these Sparks: what it will take is not seen yet in what is free.
    fn busy(self, group: &Group) -> Option<Verdict> {
        let (other, spark) = self.ledger.launches.iter().find_map(|(other, launch)| {
            let loads = other != self.object && self.ledger.is_loading(other);
            let shared = launch.group.sparks.iter().find(|spark| group.sparks.contains(spark));
            shared.filter(|_| loads).map(|spark| (other, spark))
        })?;
        let message = format!("`{other}` loads a model on `{spark}`; one at a time");
        Some(Verdict::Waiting { reason: Reason::SparkBusy, message })
    }

    /// Jobs of this slot that still run are ended before anything else.
    fn running_jobs(self, consent: Option<Consent>) -> Vec<PlannedStep> {
        let running = |spark| {
            let jobs = self.observed.facts(spark).map(|facts| facts.jobs.as_slice()).unwrap_or_default();
            jobs.iter().filter(|job| job.runs_for(self.object)).map(move |job| (spark, job))
        };
        let end = |(spark, job): (&SparkName, &Job)| {
            let step =
                Step::EndJob { object: self.object.clone(), spark: spark.clone(), job: job.id.clone() };
            PlannedStep::new(step, consent)
        };
        self.desired.sparks.keys().flat_map(running).map(end).collect()
    }

    /// What goes away when these containers do.
    fn serving(self, in_the_way: &[&Standing<'_>]) -> Option<Serving> {
        let launched = self.ledger.launches.get(self.object);
        let is_alive = |entry: &&&Standing<'_>| {
            let group = launched.map(|launch| &launch.group);
            let ours = group.filter(|group| entry.spec.as_ref() == Some(&group.spec));
            let alive = ours.map_or_else(
                || entry.container.engine_alive(),
                |group| group.is_alive(entry.spark, entry.container),
            );
            alive != Some(false)
        };
        let alive = in_the_way.iter().find(is_alive)?;
        let launched = launched.filter(|_| alive.is_ours());
        Some(match launched {
            Some(launch) => Serving::Model(launch.group.model.clone()),
            None => Serving::Stranger(alive.container.name.clone()),
        })
    }

    fn outage(self, spec: &SpecHash) -> Outage {
        match self.ledger.expected_load_secs(spec) {
            Some((median, count)) => {
                Outage { expected_secs: Some(median), basis: format!("median of {count} loads here") }
            }
            None => Outage { expected_secs: None, basis: "unknown; it has not been loaded here yet".into() },
        }
    }

    fn replace_relies_on(self, target: &Effective<'_>, in_the_way: &[&Standing<'_>]) -> Vec<Predicate> {
        let mut relies_on: BTreeSet<Predicate> =
            in_the_way.iter().flat_map(|entry| relied_on(entry, self.observed)).collect();
        for spark in &target.model.sparks {
            let Some(facts) = self.observed.facts(spark) else { continue };
            relies_on.insert(Predicate::Boot { spark: spark.clone(), boot_id: facts.boot_id.clone() });
            let name = self.slot.container.as_str();
            if facts.container(name).is_none() {
                relies_on.insert(Predicate::NameFree { spark: spark.clone(), name: name.to_owned() });
            }
            if let Some(Some(id)) = facts.images.get(target.image.as_str()) {
                let image = target.image.to_string();
                relies_on.insert(Predicate::Image { spark: spark.clone(), image, id: id.clone() });
            }
        }
        relies_on.into_iter().collect()
    }

    /// Nothing is in the way any more: is the memory back, and is it time? `None` when the launch may begin.
    fn release_gate(self, target: &Effective<'_>) -> Option<Verdict> {
        for spark in &target.model.sparks {
            let Some(facts) = self.observed.facts(spark) else { continue };
            let (needed, _) = memory::need(target, facts.memory_total_bytes);
            let floor = self.desired.sparks[spark].floor_bytes;
            let release = self.ledger.releases.get(self.object);
            let blocked = |reason, message| Some(Verdict::Blocked { reason, message });
            match memory::released(spark, facts, needed, floor, release, self.ledger, self.now) {
                Released::Yes => {}
                Released::NotYet(message) => {
                    return Some(Verdict::Waiting { reason: Reason::MemoryNotReleased, message });
                }
                Released::Never(message) => {
                    let message = format!("{message}; it may need a reboot of `{spark}`");
                    return blocked(Reason::MemoryNotReleased, message);
                }
                Released::CannotFit(message) => return blocked(Reason::CannotFit, message),
            }
        }
        let attempts = self.ledger.attempts(self.object, &target.spec_hash());
        let early = attempts.filter(|attempts| attempts.not_before > self.now)?;
        let message = format!("after `{}`, again at {:.0}", early.last.what, early.not_before);
        Some(Verdict::Waiting { reason: Reason::Backoff, message })
    }
}
