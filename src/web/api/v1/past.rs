//! What was, and what will be: history, logs, when each endpoint was up, figures, the schedule.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    core::{connectivity::Spell, desired::Object, outlook::Next},
    store::Event,
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Last {
    /// How many lines at most; 100 when absent, and never more than 1000.
    pub last: Option<u32>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct History {
    /// Oldest first.
    pub events: Vec<Arc<Event>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Schedule {
    pub windows: Vec<Window>,
    /// How the main slot's model changes, in the next fortnight.
    pub turns: Vec<Next>,
    /// When each window is open in that time.
    pub openings: Vec<Opening>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Window {
    pub name: String,
    pub model: String,
    /// On the clock of its zone.
    pub from: String,
    /// At or before `from`: on the next day.
    pub to: String,
    /// On which it starts; 1 is Monday.
    pub days: Vec<i8>,
    pub timezone: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Opening {
    pub window: String,
    pub model: String,
    pub from: Timestamp,
    pub to: Timestamp,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhichLogs {
    /// What was saved before the last one was stopped, instead of what is said now.
    #[serde(default)]
    pub saved: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Logs {
    pub logs: Vec<Log>,
}

/// One container's last words.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Log {
    pub spark: String,
    pub container: String,
    /// `null` when it could not be read.
    pub text: Option<String>,
    /// Why it could not.
    pub error: Option<String>,
}

/// When each endpoint was up.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Connectivity {
    pub endpoints: Vec<Connected>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Connected {
    pub object: Object,
    /// Oldest first. Between two of them nobody looked.
    pub spells: Vec<Spell>,
    /// How many of them are outages, and for how long it was down in all.
    pub outages: usize,
    pub down_secs: u64,
    /// Of the time in which somebody looked; `null` when nobody did.
    pub up_percent: Option<f64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Figures {
    /// By Spark.
    pub memory: BTreeMap<String, Vec<Sample>>,
    /// Seconds that loads of each model took, newest last.
    pub loads: BTreeMap<String, Vec<u64>>,
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Sample {
    pub at: Timestamp,
    pub total_bytes: u64,
    pub available_bytes: u64,
}
