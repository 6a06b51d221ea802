//! A line of the history.

/// A line of the history.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Event {
    pub number: i64,
    pub at: String,
    pub kind: String,
    pub object: String,
    pub message: String,
}
