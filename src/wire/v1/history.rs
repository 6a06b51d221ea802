//! What was: the history, when each endpoint was up, figures.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    core::{decide::connectivity::UptimeInterval, model::object::Object},
    store::Event,
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// How many lines at most; 100 when absent, and never more than 1000.
    pub last: Option<u32>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct History {
    /// Oldest first.
    pub events: Vec<Arc<Event>>,
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
    pub spells: Vec<UptimeInterval>,
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
