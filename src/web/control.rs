//! The control socket: how commands reach the controller. 0600, in the data directory. It has the API, for whom nobody asks for a
//! token here, and below it what commands need of the core itself and no other program does. A command that works with a controller
//! of its own asks the same routes, without a socket.

use std::{path::Path, sync::Arc};

use axum::{
    Json, Router,
    extract::{FromRef, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

use super::api::{
    self, JsonBody, PathParam, QueryParams, RequestCaller, Shared, desired::edited, limits::ApiLimits,
    problem::Problem,
};
use crate::{
    controller::{
        Controller, RequestRefusal,
        authenticator::TokenSummary,
        edit::{EditRequest, Edited, FileContent},
        export::Export,
        round::RoundMode,
    },
    core::model::{access::Role, plan::Plan},
    probe::audit::AuditEntry,
    store::Event,
};

/// A token to make.
#[derive(Debug, Serialize, Deserialize)]
pub struct NewToken {
    pub name: String,
    pub role: Role,
}

/// A token in the place of another.
#[derive(Debug, Serialize, Deserialize)]
pub struct RenewedToken {
    /// `None`: what the one before may.
    pub role: Option<Role>,
}

/// It is told this once.
#[derive(Serialize, Deserialize)]
pub struct CreatedToken {
    pub token: String,
}

/// Bind the socket. A stale one of a killed controller is replaced: the data directory's lock is held.
///
/// # Errors
/// When it cannot be bound.
pub fn bind(path: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Who lets the Sparks be looked at when somebody asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookedBy {
    /// The loop, in its next round.
    Loop,
    /// A round of its own, which takes no step.
    Command,
}

#[derive(Clone)]
struct ControlState {
    controller: Arc<Controller>,
    looked_by: LookedBy,
}

impl FromRef<ControlState> for Arc<Controller> {
    fn from_ref(served: &ControlState) -> Self {
        served.controller.clone()
    }
}

/// The routes.
pub fn router(controller: Arc<Controller>, looked_by: LookedBy, limits: ApiLimits) -> Router {
    let api = api::router(controller.clone(), limits).layer(middleware::from_fn(here));
    Router::new()
        .route("/snapshot", get(snapshot))
        .route("/look", post(look))
        .route("/plans/{id}", get(plan))
        .route("/retry/{object}", post(retry))
        .route("/events", get(events))
        .route("/sparks/{spark}/audit", get(audit))
        .route("/export", get(export))
        .route("/tokens", get(tokens).post(make_token))
        .route("/tokens/{name}/renew", post(renew_token))
        .route("/tokens/{name}/revoke", post(revoke_token))
        .route("/desired", get(desired).post(edit))
        .route("/desired/{revision}", get(revision))
        .with_state(ControlState { controller, looked_by })
        .merge(api)
        .fallback(api::no_such_address)
}

/// Whoever can open the socket has the machine.
async fn here(mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(api::request::OnThisMachine);
    next.run(request).await
}

/// How much of the history.
#[derive(Deserialize)]
struct HistoryLimit {
    last: u32,
}

async fn snapshot(State(controller): State<Shared>) -> Response {
    Json(controller.snapshot().as_ref()).into_response()
}

/// Look now, and answer with what was seen.
async fn look(State(served): State<ControlState>) -> Result<Response, Problem> {
    let seen = match served.looked_by {
        LookedBy::Loop => served.controller.look_now().await,
        LookedBy::Command => {
            served.controller.round(RoundMode::Preview).await?;
            served.controller.snapshot()
        }
    };
    Ok(Json(seen.as_ref()).into_response())
}

async fn plan(
    State(controller): State<Shared>,
    PathParam(id): PathParam<String>,
) -> Result<Json<Plan>, Problem> {
    let kept = controller.stored_plan(&id)?;
    Ok(Json(kept.ok_or(RequestRefusal::NoSuchPlan(id))?))
}

/// As the API's, and whether something had failed.
async fn retry(
    State(controller): State<Shared>,
    PathParam(object): PathParam<String>,
    RequestCaller { by, .. }: RequestCaller,
) -> Result<Json<bool>, Problem> {
    Ok(Json(controller.retry(&object, &by)?))
}

async fn tokens(State(controller): State<Shared>) -> Json<Vec<TokenSummary>> {
    Json(controller.tokens())
}

async fn make_token(
    State(controller): State<Shared>,
    JsonBody(wish): JsonBody<NewToken>,
) -> Result<Json<CreatedToken>, Problem> {
    let token = controller.make_token(&wish.name, wish.role)?;
    Ok(Json(CreatedToken { token }))
}

async fn renew_token(
    State(controller): State<Shared>,
    PathParam(name): PathParam<String>,
    JsonBody(wish): JsonBody<RenewedToken>,
) -> Result<Json<CreatedToken>, Problem> {
    let token = controller.renew_token(&name, wish.role)?;
    Ok(Json(CreatedToken { token }))
}

async fn revoke_token(
    State(controller): State<Shared>,
    PathParam(name): PathParam<String>,
) -> Result<StatusCode, Problem> {
    controller.revoke_token(&name)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn desired(State(controller): State<Shared>) -> Result<Json<FileContent>, Problem> {
    Ok(Json(controller.desired_now()?))
}

/// The text of one, `null` when it is not kept.
async fn revision(
    State(controller): State<Shared>,
    PathParam(revision): PathParam<u64>,
) -> Result<Json<Option<String>>, Problem> {
    Ok(Json(controller.revision_text(revision)?))
}

async fn edit(
    State(controller): State<Shared>,
    JsonBody(request): JsonBody<EditRequest>,
) -> Result<Json<Edited>, Problem> {
    Ok(Json(edited(&controller, request).await?))
}

async fn export(State(controller): State<Shared>) -> Result<Json<Option<Export>>, Problem> {
    Ok(Json(controller.export()?))
}

async fn events(
    State(controller): State<Shared>,
    QueryParams(asked): QueryParams<HistoryLimit>,
) -> Result<Json<Vec<Arc<Event>>>, Problem> {
    Ok(Json(controller.events(asked.last)?))
}

async fn audit(
    State(controller): State<Shared>,
    PathParam(spark): PathParam<String>,
    QueryParams(asked): QueryParams<HistoryLimit>,
) -> Result<Json<Vec<AuditEntry>>, Problem> {
    Ok(Json(controller.audit(&spark, asked.last).await?))
}
