//! What is: status, differences, Sparks, models, services, endpoints.

use std::sync::Arc;

use axum::{Extension, Json, extract::State, response::Response};

use super::{
    problem::{Problem, ProblemCode},
    request::{PathParam, Shared},
    response_cache::ResponseCache,
};
use crate::{
    core::{
        decide::{
            serving::{BackendState, backends},
            view::View,
        },
        model::{ledger::Ledger, observed::Observed},
    },
    wire::v1::{
        catalog::{EndpointStatus, Endpoints, Models, Services},
        status::{DriftReport, Key, SparkStatus, Status},
    },
};

/// The status that was told last, by its round.
pub type StatusCache = Arc<ResponseCache<u64>>;

pub async fn status(
    State(controller): State<Shared>,
    Extension(kept): Extension<StatusCache>,
) -> Result<Response, Problem> {
    let seen = controller.snapshot();
    kept.answer(seen.round, || Ok(Status::from(seen.as_ref())))
}

pub async fn drift(State(controller): State<Shared>) -> Json<DriftReport> {
    let seen = controller.snapshot();
    Json(DriftReport { at: seen.at, drift: seen.drift.clone() })
}

pub async fn spark(
    State(controller): State<Shared>,
    PathParam(name): PathParam<String>,
) -> Result<Json<SparkStatus>, Problem> {
    let seen = controller.snapshot();
    let mut views = seen.observed.iter().flat_map(|observed| &observed.sparks);
    match (views.find(|(known, _)| known.as_str() == name), &seen.desired) {
        (Some((known, view)), Some(desired)) => Ok(Json(SparkStatus::new(known, view, desired))),
        _ => Err(Problem::new(ProblemCode::NoSuchSpark, format!("no Spark is named `{name}`"))),
    }
}

/// The public half of the controller's SSH key: what a Spark must have in `authorized_keys`.
pub async fn key(State(controller): State<Shared>) -> Json<Key> {
    let path = controller.places.data.join("id_ed25519.pub");
    let text = tokio::fs::read_to_string(path).await.ok();
    Json(Key { public_key: text.map(|text| text.trim().to_owned()) })
}

pub async fn models(State(controller): State<Shared>) -> Result<Json<Models>, Problem> {
    Ok(Json(Models::of(in_force(&controller)?.as_ref(), controller.now())))
}

pub async fn services(State(controller): State<Shared>) -> Result<Json<Services>, Problem> {
    Ok(Json(Services::of(in_force(&controller)?.as_ref())))
}

/// # Errors
/// No file is in force.
pub(super) fn in_force(
    controller: &Shared,
) -> Result<std::sync::Arc<crate::core::model::desired::Desired>, Problem> {
    controller.in_force().ok_or_else(|| {
        let error = controller.snapshot().file_error.clone();
        Problem::new(ProblemCode::NotReady, error.unwrap_or_else(|| "no file is in force yet".into()))
    })
}

/// Everything that answers, where, and how it is.
pub async fn endpoints(State(controller): State<Shared>) -> Result<Json<Endpoints>, Problem> {
    let desired = in_force(&controller)?;
    let seen = controller.snapshot();
    let is_seen = seen.desired.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &desired));
    let backends = if is_seen {
        seen.backends.clone()
    } else {
        // What was not looked at yet is where the file has it.
        let of_file = backends(
            View {
                desired: &desired,
                observed: &Observed::default(),
                ledger: &Ledger::default(),
                now: controller.now(),
            },
            None,
        );
        let seen = of_file.into_iter().map(|backend| {
            let known = seen.backends.iter().find(|known| known.object == backend.object);
            known.cloned().unwrap_or(backend)
        });
        seen.collect()
    };
    let endpoints = backends.into_iter().map(|backend| {
        let line = seen.status.iter().find(|line| line.object == backend.object);
        EndpointStatus {
            object: backend.object.clone(),
            kind: backend.kind,
            address: backend.base_url(),
            health: line.map(|line| line.health),
            disabled: backend.state == BackendState::Disabled,
        }
    });
    Ok(Json(Endpoints { endpoints: endpoints.collect() }))
}
