//! The one place where it is decided what will be done. Called to preview and to act, and the value is the same.
//! Same inputs, same bytes. What is decided for one object is in `slot` and `service`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{bot, consent, service, slot, view::View, weights};
use crate::core::model::{
    desired::{Desired, Service},
    id::PlanId,
    ledger::Ledger,
    name::{ServiceName, SparkName},
    object::Object,
    plan::{ConsentReason, Plan, PlannedStep, Verdict, Work, WorkItem},
    reason::Reason,
    step::Step,
};

/// Make the plan.
pub fn plan(view: View<'_>, revision: u64) -> Plan {
    let View { desired, observed, ledger, now } = view;
    let mut work = Vec::new();
    for (object, slot) in &desired.slots {
        work.extend(slot::plan(object, slot, view));
    }
    for (name, service) in &desired.services {
        if !desired.disabled.contains(name) {
            work.extend(service_or_bot(name, service, view));
        }
    }
    for (name, model) in &desired.models {
        work.extend(weights::plan(name, model, view));
    }
    for entry in &mut work {
        settle(entry, desired, ledger, now);
    }
    one_launch_per_spark(&mut work);
    let id = PlanId::of(&work);
    let unseen = desired.sparks.keys().filter(|spark| observed.facts(spark).is_none()).cloned().collect();
    Plan { id, revision, at: now, work, unseen }
}

/// While a bot is updated nothing else is done with it; an update that cannot be done keeps nothing else from being done.
fn service_or_bot(name: &ServiceName, service: &Service, view: View<'_>) -> Option<Work> {
    let update = bot::plan(name, service, view);
    let (blocked, goes_on) = match update {
        Some(update) if matches!(update.verdict, Verdict::Blocked { .. }) => (Some(update), None),
        other => (None, other),
    };
    goes_on.or_else(|| service::plan(name, service, view)).or(blocked)
}

/// Two models that are started at once on one Spark would each see memory that the other is about to take.
fn one_launch_per_spark(work: &mut [Work]) {
    let mut taken: BTreeMap<SparkName, Object> = BTreeMap::new();
    for entry in work {
        let launching =
            entry.open().iter().flat_map(|steps| steps.iter()).find_map(|planned| match &planned.step {
                Step::Launch { group, .. } => Some(group.sparks.clone()),
                _ => None,
            });
        for spark in launching.iter().flatten() {
            if let Some(other) = taken.get(spark) {
                let message = format!("`{other}` is to start a model on `{spark}` first; one at a time");
                entry.verdict = Verdict::Waiting { reason: Reason::SparkBusy, message };
                break;
            }
        }
        if entry.verdict == Verdict::Open {
            taken.extend(launching.into_iter().flatten().map(|spark| (spark, entry.object.clone())));
        }
    }
}

/// What holds for every object: consent, holds, suspension, the fence.
fn settle(work: &mut Work, desired: &Desired, ledger: &Ledger, now: Timestamp) {
    if desired.is_suspended(&work.object) {
        work.notes.extend(ledger.goes_on_suspended(&work.object).map(str::to_owned));
    }
    for item in &mut work.items {
        if let WorkItem::Steps(steps) = item {
            for step in steps {
                if ledger.approved(&step.key, &work.relies_on, now) {
                    step.consent = None;
                }
            }
        }
    }
    if work.steps().next().is_none() || !matches!(work.verdict, Verdict::Open | Verdict::Waiting { .. }) {
        return;
    }
    let needs: Vec<&PlannedStep> = work.steps().filter(|step| step.consent.is_some()).collect();
    let stops = work.steps().any(|step| matches!(step.step, Step::Stop { .. }));
    let updates = work.steps().any(|step| matches!(step.step, Step::Update { .. }));
    let hold = consent::hold(&work.object, desired, now);
    // A hold blocks only work that stops or replaces something that serves. A model that the memory watchdog gives up is stopped
    // even under a hold, before its Spark goes silent. A service has nothing but its container, so that any stop takes it away;
    // files are neither deleted nor fetched under a hold.
    let serves = work.outage.is_some() && !ledger.is_below_floor(&work.object);
    let takes_away = matches!(work.object, Object::Weights(_))
        || updates
        || (stops && (serves || !desired.slots.contains_key(&work.object)));
    if let Some(why) = &ledger.fenced {
        work.verdict = blocked(Reason::Fenced, why.clone());
    } else if desired.policy.suspend && !ledger.is_past_stop(&work.object) {
        work.verdict = blocked(Reason::Suspended, "`reconcile.suspend` is on".into());
    } else if let (Some((name, hold)), true) = (hold, takes_away) {
        let until = hold.until.map_or("it is taken out of the file".into(), |until| format!("{until:.0}"));
        let message = format!("the hold `{name}` of {} ({}) until {until}", hold.owner, hold.reason);
        work.verdict = blocked(Reason::Held, message);
    } else if let Some(first) = needs.first() {
        let why = match first.consent.expect("filtered for it") {
            ConsentReason::NotOurs => {
                "it would stop or remove a container that this cluster neither started nor adopted"
            }
            ConsentReason::Deletes => "it would delete files, which do not come back by themselves",
            ConsentReason::OnEdit => "`reconcile.on_edit` is `approve`",
            ConsentReason::OnDrift => "`reconcile.on_drift` is `approve`",
            ConsentReason::StopsWhatAnswers => {
                "`reconcile.on_drift` is `repair`, which never stops what answers"
            }
        };
        work.verdict = blocked(Reason::ApprovalNeeded, why.into());
    }
}

/// Nothing is done, for this reason.
fn blocked(reason: Reason, message: String) -> Verdict {
    Verdict::Blocked { reason, message }
}
