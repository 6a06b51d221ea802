//! Desired state and edits of it.

use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::PlanDocument;
use crate::controller::edit;

/// What the file says.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DesiredState {
    /// `null`: what the file holds is not in force.
    pub revision: Option<u64>,
    pub value: Arc<Value>,
}

/// One revision of the file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Revision {
    pub revision: u64,
    /// When it came into force.
    pub at: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Revisions {
    /// Newest first.
    pub revisions: Vec<Revision>,
}

/// What came of an edit, or would come of it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Edited")]
pub struct EditOutcome {
    /// In force now.
    pub revision: Option<u64>,
    pub written: bool,
    /// What to approve for it to come into force: it takes much out. As `pending_approval` of the status.
    pub pending_approval: Option<String>,
    /// That in words.
    pub pending_reason: Option<String>,
    /// Of the file, unified.
    pub diff: String,
    pub warnings: Vec<String>,
    /// `null` before anything was looked at.
    pub plan: Option<PlanDocument>,
}

impl From<edit::Edited> for EditOutcome {
    fn from(edited: edit::Edited) -> Self {
        Self {
            revision: edited.revision,
            written: edited.written,
            pending_approval: edited.pending_approval.map(Into::into),
            pending_reason: edited.pending_reason,
            diff: edited.diff,
            warnings: edited.warnings,
            plan: edited.plan.as_ref().map(PlanDocument::from),
        }
    }
}

/// The model to swap to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Swap {
    pub model: String,
}

/// A hold, by its name in the address.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Hold")]
pub struct HoldRequest {
    /// Whose it is.
    pub owner: String,
    pub reason: String,
    /// Absent: until it is released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The slot, service or `weights/MODEL` that is held; absent: the main slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DryRunQuery {
    /// Tell what would happen, and write nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Whose holds may be changed and released by it; absent: the token's name.
    #[serde(default)]
    pub owner: Option<String>,
}
