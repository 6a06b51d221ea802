//! The control socket: how commands reach a controller that is already running. 0600, in the data directory.

use std::{path::Path, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path as UrlPath, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

use super::api::{desired::edited, problem::Problem};
use crate::{
    controller::{Controller, RequestRefusal, access::NoToken, edit::EditRequest},
    core::model::access::Role,
};

/// Why a request was refused; its `code` decides the exit code.
#[derive(Debug, Serialize, Deserialize)]
pub struct ControlFailure {
    pub code: String,
    pub message: String,
}

/// Who asks.
#[derive(Debug, Serialize, Deserialize)]
pub struct By {
    pub by: String,
}

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
pub struct Made {
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

/// The routes.
pub fn router(controller: Arc<Controller>) -> Router {
    Router::new()
        .route("/snapshot", get(snapshot))
        .route("/look", post(look))
        .route("/plans/{id}", get(plan))
        .route("/plans/{id}/shown", get(shown))
        .route("/plans/{id}/approve", post(approve))
        .route("/retry/{object}", get(plan_of_retry).post(retry))
        .route("/logs/{object}", get(logs))
        .route("/events", get(events))
        .route("/sparks/{spark}/audit", get(audit))
        .route("/export", get(export))
        .route("/tokens", get(tokens).post(make_token))
        .route("/tokens/{name}/renew", post(renew_token))
        .route("/tokens/{name}/revoke", post(revoke_token))
        .route("/desired", get(desired).post(edit))
        .route("/desired/{revision}", get(revision))
        .with_state(controller)
}

/// How much of the history.
#[derive(Deserialize)]
struct HistoryLimit {
    last: u32,
}

async fn snapshot(State(controller): State<Arc<Controller>>) -> Response {
    Json(controller.snapshot().as_ref()).into_response()
}

/// Look now, and answer with what was seen.
async fn look(State(controller): State<Arc<Controller>>) -> Response {
    Json(controller.look_now().await.as_ref()).into_response()
}

async fn plan(State(controller): State<Arc<Controller>>, UrlPath(id): UrlPath<String>) -> Response {
    match controller.stored_plan(&id) {
        Ok(Some(plan)) => Json(plan).into_response(),
        Ok(None) => refused(RequestRefusal::NoSuchPlan(id)),
        Err(error) => refused(error),
    }
}

async fn shown(State(controller): State<Arc<Controller>>, UrlPath(id): UrlPath<String>) -> Response {
    match controller.shown(&id) {
        Ok(shown) => Json(shown).into_response(),
        Err(error) => refused(error),
    }
}

async fn approve(
    State(controller): State<Arc<Controller>>,
    UrlPath(id): UrlPath<String>,
    Json(by): Json<By>,
) -> Response {
    controller.looked_once().await;
    match controller.approve(&id, &by.by) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refused(error),
    }
}

async fn retry(
    State(controller): State<Arc<Controller>>,
    UrlPath(object): UrlPath<String>,
    Json(by): Json<By>,
) -> Response {
    match controller.retry(&object, &by.by) {
        Ok(had_failed) => Json(had_failed).into_response(),
        Err(error) => refused(error),
    }
}

/// What a retry would do; `null` before anything was looked at.
async fn plan_of_retry(
    State(controller): State<Arc<Controller>>,
    UrlPath(object): UrlPath<String>,
) -> Response {
    match controller.plan_of_retry(&object) {
        Ok(plan) => Json(plan).into_response(),
        Err(error) => refused(error),
    }
}

async fn tokens(State(controller): State<Arc<Controller>>) -> Response {
    Json(controller.tokens()).into_response()
}

async fn make_token(State(controller): State<Arc<Controller>>, Json(wish): Json<NewToken>) -> Response {
    match controller.make_token(&wish.name, wish.role) {
        Ok(token) => Json(Made { token }).into_response(),
        Err(error) => no_token(&error),
    }
}

async fn renew_token(
    State(controller): State<Arc<Controller>>,
    UrlPath(name): UrlPath<String>,
    Json(wish): Json<RenewedToken>,
) -> Response {
    match controller.renew_token(&name, wish.role) {
        Ok(token) => Json(Made { token }).into_response(),
        Err(error) => no_token(&error),
    }
}

async fn revoke_token(State(controller): State<Arc<Controller>>, UrlPath(name): UrlPath<String>) -> Response {
    match controller.revoke_token(&name) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => no_token(&error),
    }
}

fn no_token(error: &NoToken) -> Response {
    let failure = ControlFailure { code: error.code().into(), message: error.to_string() };
    (StatusCode::UNPROCESSABLE_ENTITY, Json(failure)).into_response()
}

async fn desired(State(controller): State<Arc<Controller>>) -> Response {
    match controller.desired_now() {
        Ok(current) => Json(current).into_response(),
        Err(error) => refused(error),
    }
}

/// The text of one, `null` when it is not kept.
async fn revision(State(controller): State<Arc<Controller>>, UrlPath(revision): UrlPath<u64>) -> Response {
    match controller.revision_text(revision) {
        Ok(text) => Json(text).into_response(),
        Err(error) => refused(error),
    }
}

async fn edit(State(controller): State<Arc<Controller>>, Json(request): Json<EditRequest>) -> Response {
    match edited(&controller, request).await {
        Ok(edited) => Json(edited).into_response(),
        Err(error) => refused(error),
    }
}

async fn logs(State(controller): State<Arc<Controller>>, UrlPath(object): UrlPath<String>) -> Response {
    match controller.logs(&object).await {
        Ok(logs) => Json(logs).into_response(),
        Err(error) => refused(error),
    }
}

async fn export(State(controller): State<Arc<Controller>>) -> Response {
    match controller.export() {
        Ok(export) => Json(export).into_response(),
        Err(error) => refused(error),
    }
}

async fn events(State(controller): State<Arc<Controller>>, Query(asked): Query<HistoryLimit>) -> Response {
    match controller.events(asked.last) {
        Ok(events) => Json(events).into_response(),
        Err(error) => refused(error),
    }
}

async fn audit(
    State(controller): State<Arc<Controller>>,
    UrlPath(spark): UrlPath<String>,
    Query(asked): Query<HistoryLimit>,
) -> Response {
    match controller.audit(&spark, asked.last).await {
        Ok(acts) => Json(acts).into_response(),
        Err(error) => refused(error),
    }
}

/// With the status and the code that the API has for it.
fn refused(error: impl Into<Problem>) -> Response {
    let problem = error.into();
    let row = problem.code.row();
    let failure = ControlFailure { code: row.name.into(), message: problem.detail };
    (row.status, Json(failure)).into_response()
}
