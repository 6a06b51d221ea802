//! A launch from its message to its end: loading, serving, failed; and what that means for the next attempt.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    desired::{Desired, Object, Slot, SpecHash},
    group::Group,
    ledger::{Ledger, Noticed, Proven, attempt_key},
    observed::{JobState, Observed, Token},
    ready::{self, Readiness},
};

/// A load that ends without a named cause is tried this often, then it is for a person.
pub const MAX_LOADS: u32 = 2;
/// Before the second load; the machine settles, logs are flushed.
const RETRY_AFTER: SignedDuration = SignedDuration::from_secs(20);
/// Until loads of a model are known. Two-Spark loads of 15 to 25 minutes are common.
const LOAD_DEADLINE: SignedDuration = SignedDuration::from_mins(40);
/// However quick the loads were: a cold page cache makes the next one several times slower.
const SHORTEST_DEADLINE: SignedDuration = SignedDuration::from_mins(20);
/// A launcher dispatches in seconds; it also checks images and copies mods first.
pub const LAUNCH_DEADLINE: SignedDuration = SignedDuration::from_mins(10);
/// After the launcher ended, until an engine process must be seen.
const ENGINE_GRACE: SignedDuration = SignedDuration::from_secs(20);
/// A model that has served this long starts with a clean slate.
const CLEAN_AFTER: SignedDuration = SignedDuration::from_hours(1);
const KEPT_LOAD_TIMES: usize = 5;

/// What was last started in a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    pub group: Group,
    pub token: Token,
    pub at: Timestamp,
    pub state: LaunchState,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum LaunchState {
    Loading,
    Serving {
        since: Timestamp,
    },
    Failed {
        at: Timestamp,
        /// It never served: what is done about it is part of the swap that started it.
        in_load: bool,
    },
    /// We stopped it, or began to.
    Stopped {
        at: Timestamp,
    },
}

/// Failed loads of one spec in one slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempts {
    pub failed_loads: u32,
    pub last: Failure,
    pub not_before: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub at: Timestamp,
    pub what: String,
}

impl Ledger {
    pub fn is_loading(&self, object: &Object) -> bool {
        self.launches.get(object).is_some_and(|launch| matches!(launch.state, LaunchState::Loading))
    }

    /// What this slot was last started with, while it loads or serves.
    pub fn launched(&self, object: &Object) -> Option<&Group> {
        let launch = self.launches.get(object)?;
        match launch.state {
            LaunchState::Loading | LaunchState::Serving { .. } => Some(&launch.group),
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

    /// Take in how the launch of `object` goes.
    pub(super) fn notice_launch(
        &mut self,
        object: &Object,
        desired: &Desired,
        observed: &Observed,
        now: Timestamp,
        noticed: &mut Vec<Noticed>,
    ) {
        let Some(launch) = self.launches.get(object).cloned() else { return };
        let Some(slot) = desired.slots.get(object) else { return };
        let group = &launch.group;
        let loading = matches!(launch.state, LaunchState::Loading);
        let readiness = ready::readiness(object, group, desired, observed, self);
        let next = match (&launch.state, readiness) {
            (LaunchState::Loading, Readiness::Ready) => {
                let took = now.duration_since(launch.at).as_secs().unsigned_abs();
                self.proved(object, group, took, now);
                let message = format!("`{}` is ready after {took} s", group.model);
                noticed.push(Noticed { object: object.clone(), kind: "ready", message });
                LaunchState::Serving { since: now }
            }
            (LaunchState::Serving { since }, Readiness::Ready) => {
                if now.duration_since(*since) >= CLEAN_AFTER {
                    self.attempts.remove(&attempt_key(object, &group.spec));
                }
                return;
            }
            (LaunchState::Loading, Readiness::NotYet { .. }) => {
                let deadline = self.load_deadline(slot, &group.spec);
                if now.duration_since(launch.at) <= deadline {
                    return;
                }
                let what = format!("it was not ready within {} min", deadline.as_mins());
                self.failed(object, group, what, now, noticed)
            }
            (LaunchState::Loading | LaunchState::Serving { .. }, Readiness::Dead { why }) => {
                let head = observed.facts(group.head());
                let job = head.and_then(|facts| facts.jobs.iter().find(|job| job.token == launch.token));
                if loading && job.is_none() && head.is_some_and(|facts| facts.at > launch.at) {
                    // The message never arrived; a later one, with a higher token, makes it worthless.
                    self.launches.remove(object);
                    let message = format!("the launch of `{}` never began", group.model);
                    noticed.push(Noticed { object: object.clone(), kind: "lost", message });
                    return;
                }
                let age = now.duration_since(launch.at);
                let launching = job.is_some_and(|job| job.state == JobState::Running) || age < ENGINE_GRACE;
                if loading && launching && age <= LAUNCH_DEADLINE {
                    return;
                }
                let what = if loading && launching {
                    format!("the launcher had started no engine after {} min", LAUNCH_DEADLINE.as_mins())
                } else {
                    why
                };
                self.failed(object, group, what, now, noticed)
            }
            _ => return,
        };
        if let Some(launch) = self.launches.get_mut(object) {
            launch.state = next;
        }
    }

    /// It serves: what was asked for is done, and it may be gone back to.
    fn proved(&mut self, object: &Object, group: &Group, took_secs: u64, now: Timestamp) {
        let times = self.load_secs.entry(group.spec.as_str().to_owned()).or_default();
        times.push(took_secs);
        let surplus = times.len().saturating_sub(KEPT_LOAD_TIMES);
        times.drain(..surplus);
        let proven = Proven { model: group.model.clone(), spec: group.spec.clone(), at: now };
        self.proven.insert(object.clone(), proven);
        self.releases.remove(object);
        self.consume_approvals(object);
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
        let not_before = now.saturating_add(RETRY_AFTER).expect("a duration, not a calendar span");
        let failed_loads = self.attempts(object, &group.spec).map_or(0, |before| before.failed_loads) + 1;
        let attempts = Attempts { failed_loads, last: Failure { at: now, what }, not_before };
        self.attempts.insert(attempt_key(object, &group.spec), attempts);
        LaunchState::Failed { at: now, in_load: self.is_loading(object) }
    }
}
