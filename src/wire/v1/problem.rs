//! Why something was not done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What every error looks like (RFC 9457).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ProblemDocument")]
pub struct ProblemDetails {
    /// `urn:spark-control:CODE`
    #[serde(rename = "type")]
    pub problem_type: String,
    pub title: String,
    pub status: u16,
    /// In words for a person.
    pub detail: String,
    /// For programs; never changes its meaning.
    pub code: String,
    /// The same request may do better a moment later.
    pub retryable: bool,
    /// Something was written or begun all the same.
    pub happened: bool,
    /// What this code has beside: fields that clash, facts that changed.
    #[serde(flatten)]
    #[schemars(skip)]
    pub more: Map<String, Value>,
}
