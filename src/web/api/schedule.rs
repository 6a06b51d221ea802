//! What will be: windows, and the changes that come of them.

use axum::{Json, extract::State};

use super::{problem::Problem, request::Shared, status::in_force};
use crate::wire::v1::schedule::Schedule;

/// Which model is wanted when.
pub async fn get(State(controller): State<Shared>) -> Result<Json<Schedule>, Problem> {
    let desired = in_force(&controller)?;
    Ok(Json(Schedule::new(&desired, controller.now())))
}
