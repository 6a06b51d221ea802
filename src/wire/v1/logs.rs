//! What containers say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhichLogs {
    /// What was saved before the last one was stopped, instead of what is said now.
    #[serde(default)]
    pub saved: bool,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Logs {
    pub logs: Vec<ContainerLog>,
}

/// One container's last words.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Log")]
pub struct ContainerLog {
    pub spark: String,
    pub container: String,
    /// `null` when it could not be read.
    pub text: Option<String>,
    /// Why it could not.
    pub error: Option<String>,
}
