//! Requests that run when something is to be stopped get a while to end. A gateway in front of it turns new ones away first;
//! clients that talk to the engine themselves may send more meanwhile, so the while has an end.

use jiff::{SignedDuration, Timestamp};

use super::{
    health::{self, EngineJudgement},
    serving,
};
use crate::core::model::{
    desired::Slot,
    ledger::Ledger,
    object::Object,
    observed::{FrontDoor, Observed},
    plan::{Gate, Outage, Plan, Verdict, Work, WorkItem},
    reason::Reason,
};

/// Requests that run or wait at this slot, by what its engine tells, and by what the door in front of it let through; `None` when
/// neither tells.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count of requests
pub fn requests(object: &Object, observed: &Observed, ledger: &Ledger) -> Option<u64> {
    let load = serving::engine(object, observed).and_then(|engine| engine.load.as_ref());
    let at_engine = load.map(|load| (load.running + load.waiting) as u64);
    // What the door let through is at the engine, too: it counts once.
    let through_door = front_door(object, observed, ledger).map(|door| door.in_flight);
    at_engine.max(through_door)
}

/// What the door in front of this slot says of what serves there now.
fn front_door<'a>(object: &Object, observed: &'a Observed, ledger: &Ledger) -> Option<&'a FrontDoor> {
    let door = observed.front_doors.get(object)?;
    let container = serving::engine(object, observed).and_then(|engine| engine.container.as_ref());
    (door.generation == serving::generation(object, container, ledger)).then_some(door)
}

/// What a stop waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainWait {
    /// That it would cut now.
    pub requests: u64,
    /// The door in front still lets requests through: it closes when it sees the plan that says this.
    pub is_door_open: bool,
    /// It waits for so many seconds more.
    pub left_secs: i64,
}

impl std::fmt::Display for DrainWait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self { requests: 0, is_door_open: true, .. } => f.write_str("new requests are turned away first"),
            Self { requests, left_secs, .. } => {
                write!(f, "{requests} requests run; they get {left_secs} s more to end")
            }
        }
    }
}

/// What a stop of this slot waits for now; `None`: nothing. An engine that hangs or is dead ends no request, so none is waited for.
pub fn waits_for(
    object: &Object,
    slot: &Slot,
    observed: &Observed,
    ledger: &Ledger,
    now: Timestamp,
) -> Option<DrainWait> {
    let door = front_door(object, observed, ledger);
    let is_door_open = door.is_some_and(|door| door.closed_since.is_none());
    let engine = serving::engine(object, observed).map(|engine| health::judge_engine(engine, None, now));
    let runs = match engine {
        Some(EngineJudgement::Busy) => true,
        Some(EngineJudgement::Dead | EngineJudgement::Stalled { .. }) => return None,
        Some(
            EngineJudgement::Ready | EngineJudgement::Unproven { .. } | EngineJudgement::Degraded { .. },
        )
        | None => door.is_some_and(|door| door.in_flight > 0),
    };
    if !runs && !is_door_open {
        return None;
    }
    let waited =
        ledger.slot(object).draining_since.map_or(SignedDuration::ZERO, |since| now.duration_since(since));
    let left_secs = i64::try_from(slot.drain.as_secs()).unwrap_or(i64::MAX).saturating_sub(waited.as_secs());
    let requests = requests(object, observed, ledger).unwrap_or(0);
    (left_secs > 0).then_some(DrainWait { requests, is_door_open, left_secs })
}

/// Before work that stops what serves: wait until its requests have ended, or for as long as they get.
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
    let Some(wait) = waits_for(&work.object, slot, observed, ledger, now) else { return work };
    work.items.insert(0, WorkItem::Gate(Gate::Drained { at_most_secs: slot.drain.as_secs() }));
    work.verdict = Verdict::Waiting { reason: Reason::Draining, message: wait.to_string() };
    work
}

impl Ledger {
    /// Remember since when requests have been waited for: as long as what serves them is to be stopped, so that those whose time is
    /// over are not given it once more while the stop runs.
    pub fn take_drains(&mut self, plan: &Plan, now: Timestamp) {
        let mut draining: Vec<(Object, Timestamp)> = Vec::new();
        for work in &plan.work {
            let known = self.slot(&work.object).draining_since;
            let since = match &work.verdict {
                Verdict::Waiting { reason: Reason::Draining, .. } => Some(known.unwrap_or(now)),
                Verdict::Open if work.outage.is_some() => known,
                _ => None,
            };
            draining.extend(since.map(|since| (work.object.clone(), since)));
        }
        self.slots.values_mut().for_each(|slot| slot.draining_since = None);
        for (object, since) in draining {
            self.slot_mut(&object).draining_since = Some(since);
        }
        self.drop_empty_records();
    }
}

impl Outage {
    /// With those that run now, and what they get.
    #[must_use]
    pub fn of(self, object: &Object, slot: &Slot, observed: &Observed, ledger: &Ledger) -> Self {
        Self { requests: requests(object, observed, ledger), drain_secs: slot.drain.as_secs(), ..self }
    }
}
