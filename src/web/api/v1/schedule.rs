//! What will be.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::core::tell::slot_summary::NextChange;

#[derive(Debug, Serialize, JsonSchema)]
pub struct Schedule {
    pub windows: Vec<Window>,
    /// How the main slot's model changes, in the next fortnight.
    pub turns: Vec<NextChange>,
    /// When each window is open in that time.
    pub openings: Vec<Opening>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Window {
    pub name: String,
    pub model: String,
    /// On the clock of its zone.
    pub from: String,
    /// At or before `from`: on the next day.
    pub to: String,
    /// On which it starts; 1 is Monday.
    pub days: Vec<i8>,
    pub timezone: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Opening {
    pub window: String,
    pub model: String,
    pub from: Timestamp,
    pub to: Timestamp,
}
