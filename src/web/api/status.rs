//! What is: status, differences, Sparks, models, services, endpoints.

use std::sync::Arc;

use axum::{Extension, Json, extract::State, response::Response};

use super::{
    PathParam, Shared,
    problem::{Problem, ProblemCode},
    response_cache::ResponseCache,
    v1::{
        catalog::{Endpoint, Endpoints, Models, Services},
        status::{Drift, Key, Spark, Status},
    },
};
use crate::core::{
    desired::{Object, Place, ServiceKind},
    schedule,
    serving::port_of_file,
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

pub async fn drift(State(controller): State<Shared>) -> Json<Drift> {
    let seen = controller.snapshot();
    Json(Drift { at: seen.at, drift: seen.drift.clone() })
}

pub async fn spark(
    State(controller): State<Shared>,
    PathParam(name): PathParam<String>,
) -> Result<Json<Spark>, Problem> {
    let seen = controller.snapshot();
    let mut views = seen.observed.iter().flat_map(|observed| &observed.sparks);
    match (views.find(|(known, _)| known.as_str() == name), &seen.desired) {
        (Some((known, view)), Some(desired)) => Ok(Json(Spark::new(known, view, desired))),
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
) -> Result<std::sync::Arc<crate::core::desired::Desired>, Problem> {
    let why = || {
        let error = controller.snapshot().file_error.clone();
        Problem::new(ProblemCode::NotReady, error.unwrap_or_else(|| "no file is in force yet".into()))
    };
    controller.in_force().ok_or_else(why)
}

/// Everything that answers, where, and how it is.
pub async fn endpoints(State(controller): State<Shared>) -> Result<Json<Endpoints>, Problem> {
    let desired = in_force(&controller)?;
    let seen = controller.snapshot();
    let health =
        |object: &Object| seen.status.iter().find(|line| line.object == *object).map(|line| line.health);
    let mut endpoints = Vec::new();
    for (object, slot) in &desired.slots {
        // Before the first look: where the file has it.
        let of_file = || {
            let sparks = schedule::sparks(object, slot, &desired, controller.now());
            Some((sparks.first()?.clone(), port_of_file(object, slot, &desired, controller.now())))
        };
        let Some((spark, port)) = seen.serving.get(object).cloned().or_else(of_file) else { continue };
        let Some(spark) = desired.sparks.get(&spark) else { continue };
        let address = format!("http://{}:{port}", spark.address);
        let (object, health) = (object.clone(), health(object));
        endpoints.push(Endpoint { object, kind: ServiceKind::Vllm, address, health, disabled: false });
    }
    for (name, service) in &desired.services {
        let Some(port) = service.port else { continue };
        let host = match &service.place {
            Place::Spark(spark) => desired.sparks[spark].address.to_string(),
            Place::Elsewhere(address) => address.to_string(),
        };
        let scheme = if service.https { "https" } else { "http" };
        let object = Object::service(name);
        let health = health(&object);
        endpoints.push(Endpoint {
            kind: service.kind,
            address: format!("{scheme}://{host}:{port}"),
            health,
            disabled: desired.disabled.contains(name),
            object,
        });
    }
    Ok(Json(Endpoints { endpoints }))
}
