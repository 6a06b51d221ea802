//! Who may ask.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::model::access::Role;

/// What a browser signs in with.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// As `spark-control token` printed it.
    pub token: String,
}

/// Who asks.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Session {
    /// Tokens are on: without one, nothing is answered.
    pub needs_token: bool,
    /// Of the token.
    pub name: Option<String>,
    pub role: Role,
    /// Of a browser that has signed in.
    pub until: Option<Timestamp>,
}
