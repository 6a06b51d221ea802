//! Requests that run when something is to be stopped get a while to end. Clients talk to the engine themselves, so new ones
//! may come meanwhile: the while has an end.

use jiff::{SignedDuration, Timestamp};

use super::{
    desired::{Object, Slot},
    health::{self, EngineJudgement},
    ledger::Ledger,
    observed::{EndpointAnswer, EngineAnswer, Observed},
    plan::{Gate, Plan, Reason, Verdict, Work, WorkItem},
};

/// Requests that run or wait at the engine of this slot; `None` when it does not tell.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count of requests
pub fn requests(object: &Object, observed: &Observed) -> Option<u64> {
    let load = engine(object, observed)?.load.as_ref()?;
    Some((load.running + load.waiting) as u64)
}

fn engine<'a>(object: &Object, observed: &'a Observed) -> Option<&'a EngineAnswer> {
    match &observed.endpoints.get(object)?.answer {
        EndpointAnswer::Engine(engine) => Some(engine),
        _ => None,
    }
}

/// The requests that a stop would cut now, and for how many seconds more it waits for them. `None`: it waits for none.
pub fn waits_for(
    object: &Object,
    slot: &Slot,
    observed: &Observed,
    ledger: &Ledger,
    now: Timestamp,
) -> Option<(u64, i64)> {
    let running = requests(object, observed)?;
    if health::judge_engine(engine(object, observed)?, None, now) != EngineJudgement::Busy {
        return None;
    }
    let waited = ledger.draining.get(object).map_or(SignedDuration::ZERO, |since| now.duration_since(*since));
    let left = i64::try_from(slot.drain.as_secs()).unwrap_or(i64::MAX).saturating_sub(waited.as_secs());
    (left > 0).then_some((running, left))
}

/// Before work that stops what serves: wait until its requests have ended, or for as long as they get. An engine that hangs
/// ends none.
pub(super) fn with_drain_gate(
    mut work: Work,
    slot: &Slot,
    observed: &Observed,
    ledger: &Ledger,
    now: Timestamp,
) -> Work {
    if work.outage.is_none() || work.verdict != Verdict::Open {
        return work;
    }
    let Some((running, left)) = waits_for(&work.object, slot, observed, ledger, now) else { return work };
    let message = format!("{running} requests run; they get {left} s more to end");
    work.items.insert(0, WorkItem::Gate(Gate::Drained { at_most_secs: slot.drain.as_secs() }));
    work.verdict = Verdict::Waiting { reason: Reason::Draining, message };
    work
}

impl Ledger {
    /// Remember since when requests have been waited for: as long as what serves them is to be stopped, so that those whose time is
    /// over are not given it once more while the stop runs.
    pub fn take_drains(&mut self, plan: &Plan, now: Timestamp) {
        let draining = plan.work.iter().filter_map(|work| {
            let known = self.draining.get(&work.object).copied();
            let since = match &work.verdict {
                Verdict::Waiting { reason: Reason::Draining, .. } => known.unwrap_or(now),
                Verdict::Open if work.outage.is_some() => known?,
                _ => return None,
            };
            Some((work.object.clone(), since))
        });
        self.draining = draining.collect();
    }
}
