//! Requests that run when something is to be stopped get a while to end. Clients talk to the engine themselves, so new ones
//! may come meanwhile: the while has an end.

use jiff::{SignedDuration, Timestamp};

use super::{
    desired::{Object, Slot},
    health::{self, Judgement},
    ledger::Ledger,
    observed::{EndpointAnswer, EngineAnswer, Observed},
    plan::{Gate, Item, Plan, Reason, Verdict, Work},
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

/// Before work that stops what serves: wait until its requests have ended, or for as long as they get. An engine that hangs
/// ends none.
pub(super) fn before_the_stop(
    mut work: Work,
    slot: &Slot,
    observed: &Observed,
    ledger: &Ledger,
    now: Timestamp,
) -> Work {
    let Some(outage) = &work.outage else { return work };
    let (Some(running), Some(engine)) = (outage.requests, engine(&work.object, observed)) else {
        return work;
    };
    if health::judge(engine, None, now) != Judgement::Busy || work.verdict != Verdict::Open {
        return work;
    }
    let waited =
        ledger.draining.get(&work.object).map_or(SignedDuration::ZERO, |since| now.duration_since(*since));
    let left = i64::try_from(slot.drain.as_secs()).unwrap_or(i64::MAX).saturating_sub(waited.as_secs());
    if left <= 0 {
        return work;
    }
    let message = format!("{running} requests run; they get {left} s more to end");
    work.items.insert(0, Item::Gate(Gate::Drained { at_most_secs: slot.drain.as_secs() }));
    work.verdict = Verdict::Waiting { reason: Reason::Draining, message };
    work
}

impl Ledger {
    /// Remember since when requests have been waited for.
    pub fn take_drains(&mut self, plan: &Plan, now: Timestamp) {
        let is_draining =
            |work: &&Work| matches!(&work.verdict, Verdict::Waiting { reason: Reason::Draining, .. });
        let draining = plan.work.iter().filter(is_draining).map(|work| {
            let since = self.draining.get(&work.object).copied().unwrap_or(now);
            (work.object.clone(), since)
        });
        self.draining = draining.collect();
    }
}
