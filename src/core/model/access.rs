//! Who may do what over HTTP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Each may what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sign in.
    Nobody,
    /// See everything.
    Read,
    /// Edit desired state.
    Edit,
    /// Agree to plans, too.
    Approve,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Read => "read",
            Self::Edit => "edit",
            Self::Approve => "approve",
        }
    }
}
