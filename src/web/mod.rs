//! HTTP: the API, the page that shows what it tells, what monitors ask, and the control socket for this machine's command line.

pub mod api;
pub mod control;
pub mod guard;
pub mod listen;
pub mod monitors;
pub mod ui;

use std::sync::Arc;

use axum::{Router, middleware};

use self::guard::{Hosts, guard};
use crate::controller::Controller;

/// Everything that answers on the network, for hosts beside addresses and `localhost`.
pub fn router(controller: Arc<Controller>, hosts: Hosts) -> Router {
    monitors::router(controller.clone())
        .merge(api::router(controller))
        .merge(ui::router())
        .layer(middleware::from_fn_with_state(hosts, guard))
}
