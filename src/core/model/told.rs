//! What people were told last.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One condition as it was told last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notified {
    /// Its state in one word: another one is news.
    pub is: String,
    pub since: Timestamp,
    /// It was told, rather than only seen.
    pub told: bool,
}

/// By `topic about`.
pub type NotifiedConditions = BTreeMap<String, Notified>;
