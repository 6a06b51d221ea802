//! Free memory of a Spark as it was seen, for gates.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::BootId;

/// Enough for the release gate's window at one sample a second, with room.
pub const KEPT_SAMPLES: usize = 32;

/// What was seen without a break since this boot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MemorySamples {
    pub boot_id: BootId,
    pub seen: VecDeque<MemorySample>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MemorySample {
    pub at: Timestamp,
    pub available_bytes: u64,
}
