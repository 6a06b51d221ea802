//! Plans: made, shown again, agreed to.

use axum::{Json, extract::State, http::StatusCode};

use super::{
    problem::{Problem, ProblemCode},
    request::{PathParam, QueryParams, RequestCaller, Shared},
};
use crate::wire::v1::{
    desired::DryRunQuery,
    plan::{PlanDocument, RoundNumber, ShownPlan},
};

/// Look now, and answer with what would be done.
pub async fn make(State(controller): State<Shared>) -> Result<Json<PlanDocument>, Problem> {
    let seen = controller.look_now().await;
    match &seen.plan {
        Some(plan) => {
            // Also one that is empty can be asked for again.
            controller.keep_plan(plan)?;
            Ok(Json(PlanDocument::from(plan)))
        }
        None => Err(Problem::new(ProblemCode::NotReady, seen.file_error.clone().unwrap_or_else(nothing))),
    }
}

fn nothing() -> String {
    "nothing has been looked at yet".into()
}

/// A plan of before, also when it is stale: then with what has changed.
pub async fn get(
    State(controller): State<Shared>,
    PathParam(id): PathParam<String>,
) -> Result<Json<ShownPlan>, Problem> {
    let shown = controller.shown(&id)?;
    Ok(Json(ShownPlan { plan: PlanDocument::from(&shown.plan), changed: shown.changed }))
}

/// Agree to its steps. They are taken in the next round.
pub async fn approve(
    State(controller): State<Shared>,
    PathParam(id): PathParam<String>,
    RequestCaller { by, .. }: RequestCaller,
) -> Result<StatusCode, Problem> {
    controller.looked_once().await;
    controller.approve(&id, &by)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Look again as soon as can be. The status whose `round` is at least this one has seen what is now.
pub async fn reconcile(State(controller): State<Shared>) -> (StatusCode, Json<RoundNumber>) {
    let round = controller.rounds_begun() + 1;
    controller.wake.notify_one();
    (StatusCode::ACCEPTED, Json(RoundNumber { round }))
}

/// What failed with this object is forgotten, so that it is tried again; or what that would mean.
pub async fn retry(
    State(controller): State<Shared>,
    PathParam(object): PathParam<String>,
    QueryParams(how): QueryParams<DryRunQuery>,
    RequestCaller { by, .. }: RequestCaller,
) -> Result<Json<PlanDocument>, Problem> {
    let plan = controller.plan_of_retry(&object)?;
    let plan = plan.ok_or_else(|| Problem::new(ProblemCode::NotReady, nothing()))?;
    if !how.dry_run {
        controller.retry(&object, &by)?;
    }
    Ok(Json(PlanDocument::from(&plan)))
}
