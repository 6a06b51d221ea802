//! `/api/v1`: desired state is edited here and plans are agreed to; nothing is started or stopped.

pub mod desired;
pub mod events;
pub mod plans;
pub mod problem;
pub mod seen;
pub mod v1;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRequest, FromRequestParts},
    http::HeaderMap,
    middleware,
    routing::{get, post, put},
};

use self::problem::{Code, Problem};
use super::guard::{Hosts, guard};
use crate::controller::Controller;

/// A file of a hundred models is a tenth of it.
const MAX_BODY: usize = 1 << 20;

/// The controller that every handler asks.
pub type Shared = Arc<Controller>;

/// JSON in, with our errors.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
pub struct Body<T>(pub T);

/// Parts of the address, with our errors.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Part<T>(pub T);

/// What follows the question mark, with our errors.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub struct Query<T>(pub T);

/// The routes, for hosts beside addresses and `localhost`.
pub fn router(controller: Shared, hosts: Hosts) -> Router {
    let v1 = Router::new()
        .route("/desired", get(desired::get).patch(desired::patch).put(desired::put))
        .route("/desired/history", get(desired::history))
        .route("/desired/{revision}", get(desired::revision))
        .route("/desired/revert/{revision}", post(desired::revert))
        .route("/holds/{name}", put(desired::hold).delete(desired::release))
        .route("/status", get(seen::status))
        .route("/drift", get(seen::drift))
        .route("/sparks/{name}", get(seen::spark))
        .route("/models", get(seen::models))
        .route("/services", get(seen::services))
        .route("/schedule", get(seen::schedule))
        .route("/history", get(seen::history))
        .route("/events", get(events::events))
        .route("/plans", post(plans::make))
        .route("/plans/{id}", get(plans::get))
        .route("/plans/{id}/approve", post(plans::approve))
        .route("/reconcile", post(plans::reconcile))
        .fallback(no_such_address);
    Router::new()
        .nest("/api/v1", v1)
        .route("/api/swap", post(desired::swap))
        .route("/api/endpoints", get(seen::endpoints))
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(hosts, guard))
        .with_state(controller)
}

async fn no_such_address() -> Problem {
    Problem::new(Code::NotFound, "nothing is at this address")
}

async fn no_such_method() -> Problem {
    Problem::new(Code::MethodNotAllowed, "this address does not do that")
}

/// Who asks, for the history: nobody is authenticated by it.
fn who(headers: &HeaderMap) -> String {
    let named = headers.get("x-spark-control-user").and_then(|name| name.to_str().ok());
    let plain = named.filter(|name| name.len() <= 64 && name.chars().all(|letter| !letter.is_control()));
    format!("{} over HTTP", plain.unwrap_or("somebody"))
}
