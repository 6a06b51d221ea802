//! What is known after a round: what every face shows.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::core::{
    decide::{drift::Drift, serving::Backend},
    model::{
        desired::Desired, id::RemovalId, name::ModelName, observed::Observed, plan::Plan,
        status_line::StatusLine,
    },
    tell::{concern::Headline, slot_summary::SlotSummary},
};

/// What is known after a round; what every face shows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// The number of the round that saw this, since the start.
    pub round: u64,
    pub at: Option<Timestamp>,
    /// How long the look at the Sparks and endpoints took.
    pub looked_ms: u64,
    /// The revision in force.
    pub revision: Option<u64>,
    /// Why the file is not the revision in force.
    pub file_error: Option<String>,
    /// What to approve for the file to come into force, when that is all that is missing.
    pub pending_approval: Option<RemovalId>,
    /// Where it is.
    pub file: PathBuf,
    pub warnings: Vec<String>,
    pub fenced: Option<String>,
    pub plan: Option<Plan>,
    pub observed: Option<Observed>,
    pub status: Vec<StatusLine>,
    pub drift: Vec<Drift>,
    /// Whom all of that concerns.
    #[serde(default)]
    pub headline: Headline,
    /// What answers over HTTP, where, and whether it is to be sent anything.
    #[serde(default)]
    pub backends: Vec<Backend>,
    #[serde(default)]
    pub outlook: Vec<SlotSummary>,
    /// Seconds that loads of each model took, newest last; not told to commands.
    #[serde(skip)]
    pub load_secs: BTreeMap<ModelName, Vec<u64>>,
    /// What all of this is measured against; not told to commands.
    #[serde(skip)]
    pub desired: Option<Arc<Desired>>,
}

/// A plan of before, as it is now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecalledPlan {
    pub plan: Plan,
    /// Empty while it could still be agreed to.
    pub changed: Vec<String>,
}
