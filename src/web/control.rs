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

use crate::controller::{
    Controller, Refusal,
    edit::{NotEdited, Request},
};

/// Why a request was refused; its `code` decides the exit code.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    pub code: String,
    pub message: String,
}

/// Who asks.
#[derive(Debug, Serialize, Deserialize)]
pub struct By {
    pub by: String,
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
        .route("/retry/{object}", post(retry))
        .route("/logs/{object}", get(logs))
        .route("/events", get(events))
        .route("/sparks/{spark}/audit", get(audit))
        .route("/export", get(export))
        .route("/desired", get(desired).post(edit))
        .with_state(controller)
}

/// How much of the history.
#[derive(Deserialize)]
struct Last {
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
        Ok(None) => refusal(&Refusal::NoSuchPlan(id)),
        Err(error) => refusal(&Refusal::Store(error)),
    }
}

async fn shown(State(controller): State<Arc<Controller>>, UrlPath(id): UrlPath<String>) -> Response {
    match controller.shown(&id) {
        Ok(shown) => Json(shown).into_response(),
        Err(error) => refusal(&error),
    }
}

async fn approve(
    State(controller): State<Arc<Controller>>,
    UrlPath(id): UrlPath<String>,
    Json(by): Json<By>,
) -> Response {
    match controller.approve(&id, &by.by) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refusal(&error),
    }
}

async fn retry(State(controller): State<Arc<Controller>>, UrlPath(object): UrlPath<String>) -> Response {
    match controller.retry(&object) {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refusal(&error),
    }
}

async fn desired(State(controller): State<Arc<Controller>>) -> Response {
    match controller.desired_now() {
        Ok(current) => Json(current).into_response(),
        Err(error) => not_edited(&error),
    }
}

async fn edit(State(controller): State<Arc<Controller>>, Json(request): Json<Request>) -> Response {
    match controller.edit(&request) {
        Ok(edited) => Json(edited).into_response(),
        Err(error) => not_edited(&error),
    }
}

fn not_edited(error: &NotEdited) -> Response {
    let status = match error {
        NotEdited::Conflict { .. } | NotEdited::Overtaken { .. } => StatusCode::PRECONDITION_FAILED,
        NotEdited::FileInvalid(_) | NotEdited::FileReadOnly(_) => StatusCode::CONFLICT,
        NotEdited::NotAPatch(_) | NotEdited::Refused(_) | NotEdited::Invalid(_) => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        NotEdited::Io(_) | NotEdited::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    failure(status, error.code(), &error.to_string())
}

async fn logs(State(controller): State<Arc<Controller>>, UrlPath(object): UrlPath<String>) -> Response {
    match controller.logs(&object).await {
        Ok(logs) => Json(logs).into_response(),
        Err(error) => refusal(&error),
    }
}

async fn export(State(controller): State<Arc<Controller>>) -> Response {
    match controller.export() {
        Ok(export) => Json(export).into_response(),
        Err(error) => refusal(&Refusal::Store(error)),
    }
}

async fn events(State(controller): State<Arc<Controller>>, Query(asked): Query<Last>) -> Response {
    match controller.events(asked.last) {
        Ok(events) => Json(events).into_response(),
        Err(error) => refusal(&Refusal::Store(error)),
    }
}

async fn audit(
    State(controller): State<Arc<Controller>>,
    UrlPath(spark): UrlPath<String>,
    Query(asked): Query<Last>,
) -> Response {
    match controller.audit(&spark, asked.last).await {
        Ok(acts) => Json(acts).into_response(),
        Err(error) => refusal(&error),
    }
}

fn refusal(error: &Refusal) -> Response {
    let (status, code) = match error {
        Refusal::NoSuchPlan(_) => (StatusCode::NOT_FOUND, "no_such_plan"),
        Refusal::NoSuchObject(..) => (StatusCode::NOT_FOUND, "no_such_object"),
        Refusal::NoSuchSpark(..) => (StatusCode::NOT_FOUND, "no_such_spark"),
        Refusal::Unreachable(..) => (StatusCode::SERVICE_UNAVAILABLE, "unreachable"),
        Refusal::Stale(_) => (StatusCode::CONFLICT, "stale"),
        Refusal::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "store"),
    };
    failure(status, code, &error.to_string())
}

fn failure(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(Failure { code: code.into(), message: message.into() })).into_response()
}
