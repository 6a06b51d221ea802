//! Free memory that falls below the floor, sample by sample.

use jiff::{SignedDuration, Timestamp};

/// One sample every two seconds (`probe/floor.sh`): a dip of one allocation is no shortage.
const SAMPLES: u32 = 3;

/// Memory of what was stopped comes back within half a minute; no second model goes for the same shortage.
const SETTLE: SignedDuration = SignedDuration::from_mins(1);

/// What was seen of one Spark's free memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MemoryWatchdog {
    /// Samples in a row that were below the floor.
    below: u32,
    /// The least of them.
    least_bytes: u64,
    /// After something was given up, until its memory can be back.
    not_before: Option<Timestamp>,
}

impl MemoryWatchdog {
    /// Something was given up at that time: nothing else is, until its memory can be back.
    pub(crate) fn settling(now: Timestamp) -> Self {
        let until = now.saturating_add(SETTLE).expect("a duration, not a calendar span");
        Self { not_before: Some(until), ..Self::default() }
    }

    /// Memory that is on its way back is back a minute from now at the latest.
    pub(crate) fn set_clock(&mut self, now: Timestamp) {
        let latest = now.saturating_add(SETTLE).expect("a duration, not a calendar span");
        self.not_before = self.not_before.map(|until| until.min(latest));
    }

    /// Tells the least that was free once it has been too little for long enough.
    pub(crate) fn take(&mut self, available_bytes: u64, floor_bytes: u64, now: Timestamp) -> Option<u64> {
        if available_bytes >= floor_bytes || self.not_before.is_some_and(|until| now < until) {
            self.below = 0;
            return None;
        }
        self.least_bytes =
            if self.below == 0 { available_bytes } else { self.least_bytes.min(available_bytes) };
        self.below += 1;
        (self.below >= SAMPLES).then_some(self.least_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, one allocation would cost a model, or a shortage would never be seen.
    #[test]
    fn three_samples_in_a_row_are_a_shortage_and_a_dip_is_none() {
        let start: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let at = |seconds: i64| start.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        let mut watch = MemoryWatchdog::default();
        for (seconds, available, expected) in [
            (0, 5, None),
            (2, 4, None),
            (4, 7, None),
            (6, 5, None),
            (8, 3, None),
            (10, 5, Some(3)),
            (12, 6, None),
        ] {
            assert_eq!(watch.take(available, 6, at(seconds)), expected, "{seconds}");
        }
        watch.not_before = Some(at(100));
        for seconds in [20, 22, 24, 26] {
            assert_eq!(watch.take(1, 6, at(seconds)), None, "its memory is on its way back");
        }
        assert_eq!([100, 102, 104].map(|seconds| watch.take(1, 6, at(seconds))), [None, None, Some(1)]);
    }
}
