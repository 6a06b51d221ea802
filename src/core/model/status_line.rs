//! What is, in the two words that everything has: sync and health.

use serde::{Deserialize, Serialize};

use super::{
    object::Object,
    reason::{Concern, Reason},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Sync {
    InSync,
    Drifted,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Health {
    Healthy,
    Progressing,
    Degraded,
    Missing,
    Suspended,
    Unknown,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusLine {
    pub object: Object,
    pub sync: Sync,
    pub health: Health,
    pub desired: String,
    pub observed: String,
    pub reason: Option<Reason>,
    pub message: String,
    /// Whom it concerns.
    #[serde(default)]
    pub concern: Concern,
}
