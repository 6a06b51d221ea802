//! HTTP: the API, the page that shows what it tells, what monitors ask, and the control socket for this machine's command line.

pub mod api;
pub mod control;
pub mod guard;
pub mod listen;
pub mod monitors;
pub mod ui;

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;

use self::{
    api::problem::{Code, Problem},
    guard::{Hosts, guard},
};
use crate::controller::Controller;

/// Everything that answers on the network, for hosts beside addresses and `localhost`.
pub fn router(controller: Arc<Controller>, hosts: Hosts) -> Router {
    monitors::router(controller.clone())
        .merge(api::router(controller))
        .merge(ui::router())
        .layer(middleware::from_fn_with_state(hosts, guard))
        .layer(middleware::from_fn(survive))
}

/// A mistake in the answer to one request is the end of that request alone.
async fn survive(request: Request, next: Next) -> Response {
    let answering = AssertUnwindSafe(next.run(request)).catch_unwind();
    answering.await.unwrap_or_else(|_| {
        Problem::new(Code::Internal, "a mistake of this program; its log has the place").into_response()
    })
}
