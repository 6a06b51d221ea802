//! What will be: windows, and the changes that come of them.

use axum::{Json, extract::State};

use super::{
    problem::Problem,
    request::Shared,
    status::in_force,
    v1::schedule::{Opening, Schedule, Window},
};
use crate::core::{decide::schedule, tell::slot_summary::NextChange};

/// As far as anybody plans ahead.
const DAYS: i64 = 14;

/// Which model is wanted when.
pub async fn get(State(controller): State<Shared>) -> Result<Json<Schedule>, Problem> {
    let desired = in_force(&controller)?;
    let now = controller.now();
    let turns = schedule::model_changes(&desired, now, DAYS).into_iter().map(NextChange::from).collect();
    let windows = desired.schedule.iter().map(|(name, window)| Window {
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
    Ok(Json(Schedule { windows: windows.collect(), turns, openings }))
}
