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
    api::{
        limits::ApiLimits,
        problem::{Problem, ProblemCode},
    },
    guard::{Hosts, guard},
};
use crate::controller::Controller;

/// Everything that answers on the network, for hosts beside addresses and `localhost`.
pub fn router(controller: Arc<Controller>, hosts: Hosts, limits: ApiLimits) -> Router {
    monitors::router(controller.clone())
        .merge(api::router(controller, limits))
        .merge(ui::router())
        .layer(middleware::from_fn_with_state(hosts, guard))
        .layer(middleware::from_fn(survive))
}

/// A mistake in the answer to one request is the end of that request alone.
async fn survive(request: Request, next: Next) -> Response {
    let answering = AssertUnwindSafe(next.run(request)).catch_unwind();
    answering.await.unwrap_or_else(|_| {
        Problem::new(ProblemCode::Internal, "a mistake of this program; its log has the place")
            .into_response()
    })
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    /// If this failed, one request could end the process, and with it what is under way.
    #[tokio::test]
    async fn a_request_that_panics_ends_alone() {
        let fails = || async {
            if std::hint::black_box(true) {
                panic!("a mistake");
            }
        };
        let router = Router::new().route("/fails", get(fails)).route("/well", get(|| async { "well" }));
        let router = router.layer(middleware::from_fn(survive));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, router).await });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for (path, status) in [("fails", 500), ("well", 200), ("fails", 500), ("well", 200)] {
            let answer = client.get(format!("http://{address}/{path}")).send().await.unwrap();
            assert_eq!(answer.status(), status, "{path}");
        }
    }
}
