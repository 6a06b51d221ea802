//! What will be.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::core::{decide::schedule, model::desired::Desired, tell::slot_summary::NextChange};

/// Two weeks: as far as anybody plans ahead.
pub const DAYS: i64 = 14;

#[derive(Debug, Serialize, JsonSchema)]
pub struct Schedule {
    pub windows: Vec<ScheduleWindow>,
    /// How the main slot's model changes, in the next fortnight.
    pub turns: Vec<NextChange>,
    /// When each window is open in that time.
    pub openings: Vec<Opening>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Window")]
pub struct ScheduleWindow {
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

impl Schedule {
    /// From `now` on.
    pub fn new(desired: &Desired, now: Timestamp) -> Self {
        let turns = schedule::model_changes(desired, now, DAYS).into_iter().map(NextChange::from).collect();
        let windows = desired.schedule.iter().map(|(name, window)| ScheduleWindow {
            name: name.to_string(),
            model: window.model.to_string(),
            from: window.from.to_string(),
            to: window.to.to_string(),
            days: window.days.iter().copied().collect(),
            timezone: window.zone.iana_name().map(str::to_owned),
        });
        let openings = desired.schedule.iter().flat_map(|(name, window)| {
            schedule::openings(window, now, DAYS).into_iter().map(|(from, to)| Opening {
                window: name.to_string(),
                model: window.model.to_string(),
                from,
                to,
            })
        });
        let mut openings: Vec<Opening> = openings.collect();
        openings.sort_by_key(|opening| opening.from);
        Self { windows: windows.collect(), turns, openings }
    }
}
