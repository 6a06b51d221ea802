//! Free memory that falls below the floor, sample by sample.

use jiff::SignedDuration;
use jiff::Timestamp;
/// One sample every two seconds (`probe/floor.sh`): a dip of one allocation is no shortage.
const SAMPLES: u32 = 3;

/// Memory of what was stopped comes back within half a minute; no second model goes for the same shortage.
pub(crate) const SETTLE: SignedDuration = SignedDuration::from_mins(1);

/// What was seen of one Spark's free memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MemoryWatchdog {
    /// Samples in a row that were below the floor.
    pub(crate) below: u32,
    /// The least of them.
    pub(crate) least_bytes: u64,
    /// After something was given up, until its memory can be back.
    pub(crate) not_before: Option<Timestamp>,
}

impl MemoryWatchdog {
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
