//! One model for another, or for nothing: the question to the engine, the stops, the gates and the launch, in their order.

use std::collections::BTreeSet;

use super::{
    consent::{self, ChangeCause},
    drain, fallback, fitness,
    memory::{self, ReleaseProgress},
    need::{self, MemoryNeed},
    preflight::{PreLaunchState, preflight},
    schedule,
    slot_containers::{SlotContainer, predicates_about},
    slot_view::SlotView,
    view::View,
};
use crate::core::model::{
    checked_arguments::CheckedArguments,
    desired::Weights,
    id::{ContainerId, SeenContainerName},
    launch::LOAD_DEADLINE,
    launch_spec::LaunchSpec,
    model_source::ModelSource,
    name::{ModelName, SparkName},
    object::Object,
    plan::{ArgumentsCheck, Gate, Objection, Outage, PlannedStep, Predicate, Verdict, Work, WorkItem, push},
    reason::Reason,
    resolved_model::{ResolvedModel, recipe_model_id},
    spec_hash::SpecHash,
    step::{self, FallbackFor, Step},
};

/// Seconds of an outage besides the load: the grace that a container gets to end, and the window of the memory-release gate.
const BESIDE_THE_LOAD_SECS: u64 = step::GRACE_SECS as u64 + memory::CLEAR_OVER.as_secs().unsigned_abs();

/// Clear what is in the way, wait for the memory, launch, wait until it is ready. `failed` says why another model than the
/// wanted one is the target.
pub(super) fn replace(
    case: SlotView<'_>,
    wanted: &ResolvedModel<'_>,
    target: &ResolvedModel<'_>,
    standing: &[SlotContainer<'_>],
    failed: Option<&str>,
) -> Work {
    let SlotView { object, view, .. } = case;
    let View { desired, observed, ledger, .. } = view;
    let group = target.launch_spec();
    // Who asks for a restart edits the file.
    let cause = match consent::cause(object, &wanted.launch_spec(), &group, ledger) {
        ChangeCause::Drift if case.restart_due() => ChangeCause::Edit,
        cause => cause,
    };
    // Elsewhere, a container of that name is touched only when it is ours.
    let in_the_way: Vec<&SlotContainer<'_>> =
        standing.iter().filter(|entry| group.sparks.contains(entry.spark) || entry.is_ours()).collect();
    let mut items = Vec::new();
    let to_end = if cause == ChangeCause::Edit { consent::on_edit(desired) } else { None };
    push(&mut items, case.running_jobs(to_end));
    let stops = case.stops(in_the_way.iter().copied(), |entry| {
        consent::to_stop(entry, object, cause, Some(&group.spec), desired, observed)
    });
    push(&mut items, stops);
    let clearing = !items.is_empty();
    let going: BTreeSet<&ContainerId> = in_the_way.iter().map(|entry| &entry.container.id).collect();
    let serving = case.serving(&in_the_way);
    let outage = serving.is_some().then(|| case.outage(&group.spec).of(object, case.slot, observed, ledger));
    let mut work = Work {
        relies_on: case.replace_relies_on(target, &in_the_way),
        contingency: cause == ChangeCause::Contingency,
        memory: memory::table(object, target, &going, view),
        outage,
        notes: fitness::notes(target, desired, observed),
        ..Work::new(object, goal_of(wanted, target, serving), items)
    };

    // Everything that can be known before the outage is asked before the outage.
    let before_it = PreLaunchState { standing, going: &going, stops: work.outage.is_some() };
    let mut objections = preflight(object, target, before_it, view);
    if !objections.is_empty() {
        work.items.clear();
        // Files that are brought are not in the way for long, and mended by nobody.
        let are_brought = matches!(target.model.source, ModelSource::Repo { .. })
            && target.model.weights == Some(Weights::Present);
        objections.retain(|objection| !(are_brought && objection.reason == Reason::FilesMissing));
        work.verdict = match objections.first().cloned() {
            Some(Objection { reason, message }) => Verdict::Blocked { reason, message },
            None => Verdict::Waiting {
                reason: Reason::Staging,
                message: format!("its files are brought first; see `{}`", Object::weights(target.name)),
            },
        };
        work.objections = objections;
        return work;
    }
    // They are being verified, and what is damaged is taken away.
    let of_files = Object::weights(target.name);
    if work.outage.is_some() && ledger.transfers.contains_key(&of_files) {
        let message = format!("its files are being verified; see `{of_files}`");
        work.items.clear();
        work.verdict = Verdict::Waiting { reason: Reason::Staging, message };
        return work;
    }
    let mut asks = false;
    match case.arguments(target, work.outage.is_some()) {
        ArgumentsFinding::Known(known) => work.arguments = Some(known),
        ArgumentsFinding::Refused(why) => {
            let message = format!("the engine refuses the arguments of `{}`: {why}", target.name);
            work.items.clear();
            work.verdict = Verdict::Blocked { reason: Reason::ArgumentsInvalid, message };
            return work;
        }
        ArgumentsFinding::ToAsk(step) => {
            asks = true;
            work.arguments = Some(ArgumentsCheck::ToAsk);
            let gate = WorkItem::Gate(Gate::Checked { model: target.name.to_string() });
            work.items.splice(0..0, [WorkItem::Steps(vec![PlannedStep::new(*step, None)]), gate]);
        }
    }
    if let Some(verdict) = case.window_closes(&work) {
        work.verdict = verdict;
        return work;
    }
    let gate = if clearing {
        Some(Verdict::Open)
    } else {
        case.release_gate(wanted, target).or_else(|| case.busy(&group))
    };
    if let Some(verdict) = gate {
        work.items.push(WorkItem::Gate(Gate::Released { sparks: group.sparks.clone() }));
        work.verdict = verdict;
    }
    let consent = consent::to_start(cause, desired).unwrap_or_else(|verdict| {
        work.verdict = verdict;
        None
    });
    if group.sparks.len() > 1 {
        let reservations = group.sparks.iter().map(|spark| {
            let (object, spark, group) = (object.clone(), spark.clone(), group.clone());
            let needs_bytes = case.needs_bytes(target, &spark);
            PlannedStep::new(Step::ReserveSpark { object, spark, group, needs_bytes }, None)
        });
        work.items.push(WorkItem::Steps(reservations.collect()));
    }
    let ready = Gate::Ready {
        model: group.model.to_string(),
        deadline_secs: ledger.load_deadline(target.slot, &group.spec).as_secs(),
    };
    if cause == ChangeCause::Edit && !asks {
        work = drain::with_drain_gate(work, case.slot, observed, ledger, case.now);
    }
    let mut group = group;
    group.root = group.root.or_else(|| recipe_model_id(target, observed));
    let instead_of = failed.map(|why| FallbackFor { spec: wanted.spec_hash(), why: why.to_owned() });
    let needs_bytes = case.needs_bytes(target, group.head());
    let launch = Step::Launch { object: object.clone(), group, instead_of, needs_bytes };
    work.items.push(WorkItem::Steps(vec![PlannedStep::new(launch, consent)]));
    work.items.push(WorkItem::Gate(ready));
    work
}

/// What is known of a model's arguments.
enum ArgumentsFinding {
    /// Nothing speaks against them.
    Known(ArgumentsCheck),
    Refused(String),
    ToAsk(Box<Step>),
}

/// What goes away.
enum DisplacedEngine {
    Model(ModelName),
    Stranger(SeenContainerName),
}

fn goal_of(
    wanted: &ResolvedModel<'_>,
    target: &ResolvedModel<'_>,
    serving: Option<DisplacedEngine>,
) -> String {
    match serving {
        _ if wanted.name != target.name => {
            format!("go back to `{}`, because `{}` failed", target.name, wanted.name)
        }
        Some(DisplacedEngine::Model(old)) if old != *target.name => {
            format!("swap `{old}` for `{}`", target.name)
        }
        Some(DisplacedEngine::Stranger(container)) => {
            format!("swap what runs as `{container}` for `{}`", target.name)
        }
        _ => format!("start `{}`", target.name),
    }
}

/// The arguments are taken unasked, and why.
fn unchecked(why: &str) -> ArgumentsFinding {
    ArgumentsFinding::Known(ArgumentsCheck::NotChecked { why: why.to_owned() })
}

impl SlotView<'_> {
    /// Whether to ask the engine about the arguments first: before something that serves is stopped for a model that has not
    /// been loaded with them yet. A recipe's and a script's own words are not known here.
    fn arguments(self, target: &ResolvedModel<'_>, outage: bool) -> ArgumentsFinding {
        let group = target.launch_spec();
        let head = self.observed.facts(group.head());
        let Some(image) = head.and_then(|facts| facts.image(target.image.as_str())) else {
            return unchecked("the images of its Spark could not be read");
        };
        let checked = self.ledger.checked(&group.spec, &image.id);
        match checked.filter(|checked| !checked.is_worth_asking_again(self.now)) {
            Some(CheckedArguments::Valid { engine }) => {
                return ArgumentsFinding::Known(ArgumentsCheck::Accepted { engine: engine.clone() });
            }
            Some(CheckedArguments::Unknown { why, .. }) => return unchecked(why),
            Some(CheckedArguments::Invalid { why, .. }) => return ArgumentsFinding::Refused(why.clone()),
            None => {}
        }
        if self.ledger.became_ready(&group.spec) {
            return ArgumentsFinding::Known(ArgumentsCheck::Proven);
        }
        if !target.start.controls_full_command_line() {
            return unchecked("its launcher adds words of its own");
        }
        if !target.model.mods.is_empty() {
            return unchecked("a mod may teach the engine words that its image does not know");
        }
        if !outage {
            return unchecked("nothing serves that would be stopped for it");
        }
        let (object, image_id) = (self.object.clone(), image.id.clone());
        ArgumentsFinding::ToAsk(Box::new(Step::Check { object, group, image_id }))
    }

    /// The window that wants this model closes before it could have been loaded: the outage would be for nothing.
    fn window_closes(self, work: &Work) -> Option<Verdict> {
        let expected = work.outage.as_ref()?.expected_secs?;
        let (name, _, closes) = schedule::open(self.object, self.desired, self.now)?;
        let left = closes.duration_since(self.now).as_secs().unsigned_abs();
        let message =
            format!("`{name}` closes in {left} s, and this takes about {expected} s; it is not begun");
        (left <= expected).then_some(Verdict::Waiting { reason: Reason::WindowCloses, message })
    }

    /// Another model loads on one of these Sparks: what it will take is not seen yet in what is free.
    fn busy(self, group: &LaunchSpec) -> Option<Verdict> {
        let (other, spark) = self.ledger.launches().find_map(|(other, launch)| {
            // Of a slot that was taken out of the file nobody looks any more how it goes.
            let looked_at =
                self.desired.slots.contains_key(other) || self.now.duration_since(launch.at) <= LOAD_DEADLINE;
            let loads = other != self.object && self.ledger.is_loading(other) && looked_at;
            let shared = launch.group.sparks.iter().find(|spark| group.sparks.contains(spark));
            shared.filter(|_| loads).map(|spark| (other, spark))
        })?;
        let message = format!("`{other}` loads a model on `{spark}`; one at a time");
        Some(Verdict::Waiting { reason: Reason::SparkBusy, message })
    }

    /// What goes away when these containers do.
    fn serving(self, in_the_way: &[&SlotContainer<'_>]) -> Option<DisplacedEngine> {
        let launched = self.ledger.launch(self.object);
        let alive = in_the_way.iter().find(|entry| self.may_be_alive(entry))?;
        let launched = launched.filter(|_| alive.is_ours());
        Some(match launched {
            Some(launch) => DisplacedEngine::Model(launch.group.model.clone()),
            None => DisplacedEngine::Stranger(alive.container.name.clone()),
        })
    }

    /// Whether an engine runs in this container, as far as can be told; when it cannot, one does.
    fn may_be_alive(self, entry: &SlotContainer<'_>) -> bool {
        let group = self.ledger.launch(self.object).map(|launch| &launch.group);
        let ours = group.filter(|group| entry.spec.as_ref() == Some(&group.spec));
        let alive = ours.map_or_else(
            || entry.container.engine_alive(),
            |group| group.is_alive(entry.spark, entry.container),
        );
        alive != Some(false)
    }

    /// What the model needs of this Spark, as far as is known; nothing of one that cannot be seen.
    fn needs_bytes(self, target: &ResolvedModel<'_>, spark: &SparkName) -> u64 {
        let View { observed, ledger, .. } = self.view;
        let need = observed.facts(spark).map(|facts| need::need_on(target, spark, facts, observed, ledger));
        need.map_or(0, |need| need.at_least_bytes())
    }

    fn outage(self, spec: &SpecHash) -> Outage {
        match self.ledger.expected_load_secs(spec) {
            Some((median, count)) => {
                let basis = format!(
                    "median of {count} loads here, and {BESIDE_THE_LOAD_SECS} s to stop and see the memory"
                );
                Outage::new(Some(median + BESIDE_THE_LOAD_SECS), basis)
            }
            None => Outage::new(None, "for as long as it loads; it has not been loaded here yet"),
        }
    }

    fn replace_relies_on(
        self,
        target: &ResolvedModel<'_>,
        in_the_way: &[&SlotContainer<'_>],
    ) -> Vec<Predicate> {
        let mut relies_on: BTreeSet<Predicate> =
            in_the_way.iter().flat_map(|entry| predicates_about(entry, self.observed)).collect();
        for spark in &target.model.sparks {
            let Some(facts) = self.observed.facts(spark) else { continue };
            relies_on.insert(Predicate::boot(spark, facts));
            let name = &self.slot.container;
            if facts.container(name.as_str()).is_none() {
                relies_on.insert(Predicate::NameFree { spark: spark.clone(), name: name.clone() });
            }
            if let Some(seen) = facts.image(target.image.as_str()) {
                let image = target.image.clone();
                relies_on.insert(Predicate::Image { spark: spark.clone(), image, id: seen.id.clone() });
            }
        }
        relies_on.into_iter().collect()
    }

    /// Nothing is in the way any more: is the memory back, and is it time? `None` when the launch may begin.
    fn release_gate(self, wanted: &ResolvedModel<'_>, target: &ResolvedModel<'_>) -> Option<Verdict> {
        for spark in &target.model.sparks {
            let Some(facts) = self.observed.facts(spark) else { continue };
            // What is not known was blocked before anything was stopped.
            let needed = need::need_on(target, spark, facts, self.observed, self.ledger);
            let MemoryNeed::Known(needed) = needed else { continue };
            let floor = self.desired.sparks[spark].floor_bytes;
            let release = self.ledger.slot(self.object).release.as_ref();
            match memory::released(spark, facts, &needed, floor, release, self.ledger, self.now) {
                ReleaseProgress::Yes => {}
                ReleaseProgress::Settling(message) => {
                    return Some(Verdict::Waiting { reason: Reason::MemorySettling, message });
                }
                ReleaseProgress::Freeing(message) => {
                    let message = format!("{message}{}", self.after_giving_up(wanted, target));
                    return Some(Verdict::Waiting { reason: Reason::MemoryNotReleased, message });
                }
                ReleaseProgress::Stuck(message) => {
                    let message = format!("{message}; it may need a reboot of `{spark}`");
                    return Some(Verdict::Blocked { reason: Reason::MemoryStuck, message });
                }
            }
        }
        let attempts = self.ledger.attempts(self.object, &target.spec_hash());
        let early = attempts.filter(|attempts| attempts.not_before > self.now)?;
        let message = format!("{}; again at {:.0}", early.last.what, early.not_before);
        Some(Verdict::Waiting { reason: Reason::Backoff, message })
    }

    /// What comes when memory does not come back: `takes_over` has to find that it can.
    fn after_giving_up(self, wanted: &ResolvedModel<'_>, target: &ResolvedModel<'_>) -> String {
        let is_wanted = wanted.spec_hash() == target.spec_hash();
        match fallback::fallback(self, wanted) {
            Ok(before) if is_wanted => format!(", then goes back to `{}` if that fits", before.name),
            Ok(_) | Err(_) => String::new(),
        }
    }
}
