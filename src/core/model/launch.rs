//! A launch from its message to its end: loading, serving, failed; and what that means for the next attempt.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{launch_spec::LaunchSpec, name::SparkName, observed::FencingToken, progress::LoadProgress};

/// A load that ends without a named cause is tried this often, then it is for a person.
pub const MAX_LOADS: u32 = 2;
/// An engine that dies after it served is started again, so often within [`DEATHS_WITHIN`]; then it is for a person.
pub const MAX_DEATHS: usize = 5;
pub const DEATHS_WITHIN: SignedDuration = SignedDuration::from_hours(1);
/// Before the restart after the second death in that time, and twice as long before each further one. The first restarts at once.
const FIRST_RESTART: SignedDuration = SignedDuration::from_secs(10);
/// Before the second load; the machine settles, logs are flushed.
pub const RETRY_AFTER: SignedDuration = SignedDuration::from_secs(20);
/// Between launches that are refused: twice as long each time, and never longer than this.
pub const LONGEST_RETRY: SignedDuration = SignedDuration::from_mins(10);
/// A load fails after this, until loads of the model are known. Two-Spark loads of 15 to 25 minutes are common (eugr/spark-vllm-docker,
/// NVIDIA's playbooks).
pub const LOAD_DEADLINE: SignedDuration = SignedDuration::from_mins(40);
/// No deadline that is learned is shorter, however quick the loads were: a cold page cache makes the next one several times slower.
pub const SHORTEST_DEADLINE: SignedDuration = SignedDuration::from_mins(20);
/// A launcher that is at work for longer counts as failed. It dispatches in seconds, but checks images and copies mods first.
pub const LAUNCH_DEADLINE: SignedDuration = SignedDuration::from_mins(10);
/// A load whose launcher has ended fails when no engine process is seen for this long. Shorter was rejected: a launcher returns before
/// its container's first process has become the engine.
pub const ENGINE_GRACE: SignedDuration = SignedDuration::from_secs(20);
/// The same where the owner's own script or recipe goes before the engine: it may install something first.
pub const PREPARATION: SignedDuration = SignedDuration::from_mins(10);
/// A model that has served this long starts with a clean slate.
pub const CLEAN_AFTER: SignedDuration = SignedDuration::from_hours(1);
pub const KEPT_LOAD_TIMES: usize = 5;

/// What was last started in a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    pub group: LaunchSpec,
    pub token: FencingToken,
    pub at: Timestamp,
    /// The furthest that its ranks were seen to be, the slowest of them.
    #[serde(default)]
    pub progress: Option<LoadProgress>,
    /// The most that it was seen to hold on each of its Sparks, as far as the driver tells.
    #[serde(default)]
    pub memory: BTreeMap<SparkName, MemorySeen>,
    /// When its launcher was first seen to have ended.
    #[serde(default)]
    pub launcher_ended: Option<Timestamp>,
    pub state: LaunchState,
    /// The clock was set back since: how long it takes is not known.
    #[serde(default)]
    pub clock_was_set: bool,
    /// The launch before this one. It is restored if this launch is found never to have begun, and cleared once its job is seen.
    #[serde(default)]
    pub before: Option<Box<Launch>>,
}

impl Launch {
    pub fn new(group: LaunchSpec, token: FencingToken, at: Timestamp, state: LaunchState) -> Self {
        let memory = BTreeMap::new();
        let (progress, launcher_ended, before) = (None, None, None);
        Self { group, token, at, progress, memory, launcher_ended, state, clock_was_set: false, before }
    }
}

/// What a rank holds while it loads: on the GPU, and beside it. Not what is free on its Spark, which others take of too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemorySeen {
    #[serde(default)]
    pub held_bytes: u64,
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
    /// It was given time, and nobody could see what came of it. Not a failure: it is left alone until it is seen, or
    /// something else is wanted.
    Unseen {
        at: Timestamp,
    },
}

/// What went wrong with one spec in one slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailedAttempts {
    /// In a row; one that serves begins anew.
    pub failed_loads: u32,
    /// When its engine died after it had served, the oldest first; those of the last hour.
    #[serde(default)]
    pub deaths: Vec<Timestamp>,
    /// Launches in a row that were refused before anything was tried.
    #[serde(default)]
    pub refused: u32,
    pub last: LaunchFailure,
    pub not_before: Timestamp,
    /// What the file said of it beside what its container receives: another saying is an edit of it, and it is tried again.
    #[serde(default)]
    pub settings: Option<String>,
}

impl FailedAttempts {
    pub fn new(failed_loads: u32, last: LaunchFailure, not_before: Timestamp) -> Self {
        Self { failed_loads, deaths: Vec::new(), refused: 0, last, not_before, settings: None }
    }

    /// No further load: it was tried often enough, or trying again would be no better.
    pub fn is_spent(&self) -> bool {
        self.failed_loads >= MAX_LOADS
            || self.deaths.len() >= MAX_DEATHS
            || self.last.kind != FailureKind::Unnamed
    }

    /// Its engine died after it had served.
    pub(crate) fn died(&mut self, now: Timestamp) {
        self.deaths.retain(|at| now.duration_since(*at) < DEATHS_WITHIN);
        self.deaths.push(now);
        let pause = match self.deaths.len() {
            0 | 1 => SignedDuration::ZERO,
            count => FIRST_RESTART * (1 << (count - 2).min(8)),
        };
        self.not_before = now.saturating_add(pause).expect("a duration, not a calendar span");
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaunchFailure {
    pub at: Timestamp,
    pub what: String,
    #[serde(default)]
    pub kind: FailureKind,
}

/// What is known of a cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// It may pass.
    #[default]
    Unnamed,
    /// The engine names it: arguments, missing files, too little memory.
    Named,
    /// It was stopped, because too little memory was free on one of its Sparks.
    BelowFloor,
    /// When what served was gone it could not be started after all: memory that did not come back, an image that changed.
    NotStarted,
}
