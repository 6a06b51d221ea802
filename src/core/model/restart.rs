//! A service that does not stay up: how often it was started, and when it may be started again.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::id::ContainerId;

/// A container that ended this often after a start is for a person to look at.
pub const MAX_STARTS: u32 = 5;
/// From one start to the next; each time twice as long as before.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(20);
/// A container that ran for this long starts with a clean slate.
const CLEAN_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// Starts of one container, none of which has lasted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceRestarts {
    /// Another one counts anew.
    pub container: ContainerId,
    pub count: u32,
    pub last: Timestamp,
}

impl ServiceRestarts {
    /// One start more.
    #[must_use]
    pub fn after(before: Option<&Self>, container: &ContainerId, now: Timestamp) -> Self {
        let count = before.filter(|before| before.container == *container).map_or(0, |before| before.count);
        Self { container: container.clone(), count: count + 1, last: now }
    }

    /// The next start waits until then: 20 s after the first, then 40 s, 80 s and so on.
    pub fn not_before(&self) -> Timestamp {
        let doubled = 1_i32 << self.count.saturating_sub(1).min(MAX_STARTS);
        self.last.saturating_add(FIRST_PAUSE * doubled).expect("a duration, not a calendar span")
    }

    /// It is seen running: has it lasted?
    pub fn is_over(&self, now: Timestamp) -> bool {
        now.duration_since(self.last) >= CLEAN_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_waits_twice_as_long_as_the_one_before_until_one_has_lasted() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let after = |secs| now.checked_add(SignedDuration::from_secs(secs)).unwrap();
        let mut restarts = None;
        for secs in [20, 40, 80, 160, 320] {
            let next = ServiceRestarts::after(restarts.as_ref(), &"c1".into(), now);
            assert_eq!(next.not_before(), after(secs));
            restarts = Some(next);
        }
        let fifth = restarts.unwrap();
        assert_eq!(fifth.count, MAX_STARTS);
        assert_eq!(ServiceRestarts::after(Some(&fifth), &"c2".into(), now).count, 1, "another container");
        assert!(!fifth.is_over(after(599)) && fifth.is_over(after(600)));
    }
}
