//! What is: status, differences, Sparks, models, services, endpoints, schedule, history.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::{
    Part, Query, Shared,
    problem::{Code, Problem},
    v1::{Drift, Endpoint, Endpoints, Last, Models, Services, Spark, Status},
};
use crate::core::{
    desired::{Object, Place, ServiceKind, Wanted},
    schedule::turns,
};

/// As far as anybody plans ahead.
const DAYS: i64 = 14;
const LINES: u32 = 100;
const MOST_LINES: u32 = 1000;

pub async fn status(State(controller): State<Shared>) -> Json<Status> {
    Json(Status::from(controller.snapshot().as_ref()))
}

pub async fn drift(State(controller): State<Shared>) -> Json<Drift> {
    let seen = controller.snapshot();
    Json(Drift { at: seen.at.map(|at| at.to_string()), drift: seen.drift.clone() })
}

pub async fn spark(
    State(controller): State<Shared>,
    Part(name): Part<String>,
) -> Result<Json<Spark>, Problem> {
    let seen = controller.snapshot();
    let mut views = seen.observed.iter().flat_map(|observed| &observed.sparks);
    match views.find(|(known, _)| known.as_str() == name) {
        Some((known, view)) => Ok(Json(Spark::new(known.as_str(), view))),
        None => Err(Problem::new(Code::NoSuchSpark, format!("no Spark is named `{name}`"))),
    }
}

pub async fn models(State(controller): State<Shared>) -> Result<Json<Models>, Problem> {
    Ok(Json(Models::of(in_force(&controller)?.as_ref())))
}

pub async fn services(State(controller): State<Shared>) -> Result<Json<Services>, Problem> {
    Ok(Json(Services::of(in_force(&controller)?.as_ref())))
}

fn in_force(controller: &Shared) -> Result<std::sync::Arc<crate::core::desired::Desired>, Problem> {
    let why = || {
        let error = controller.snapshot().file_error.clone();
        Problem::new(Code::NotLooked, error.unwrap_or_else(|| "no file is in force yet".into()))
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
        let head = match &slot.wanted {
            Wanted::Model(model) => desired.models[model].sparks.first(),
            Wanted::Watch | Wanted::Nothing => slot.sparks.first(),
        };
        let Some(spark) = head.and_then(|head| desired.sparks.get(head)) else { continue };
        let address = format!("http://{}:{}", spark.address, slot.port);
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

/// Which model is wanted when in the next fortnight.
pub async fn schedule(State(controller): State<Shared>) -> Result<Json<Value>, Problem> {
    let desired = in_force(&controller)?;
    let turns = turns(&desired, controller.now(), DAYS).into_iter().map(|turn| {
        let model = match &turn.wanted {
            Wanted::Model(model) => Some(model.to_string()),
            Wanted::Nothing | Wanted::Watch => None,
        };
        json!({ "at": turn.at, "model": model, "window": turn.window, "held_by": turn.held_by })
    });
    let windows = desired.schedule.iter().map(|(name, window)| {
        json!({
            "name": name, "model": window.model, "from": window.from.to_string(), "to": window.to.to_string(),
            "days": window.days, "timezone": window.zone.iana_name(),
        })
    });
    Ok(Json(json!({ "windows": windows.collect::<Vec<_>>(), "turns": turns.collect::<Vec<_>>() })))
}

/// What happened last, oldest first.
pub async fn history(
    State(controller): State<Shared>,
    Query(asked): Query<Last>,
) -> Result<Json<Value>, Problem> {
    let events = controller.events(asked.last.unwrap_or(LINES).min(MOST_LINES))?;
    Ok(Json(json!({ "events": events })))
}
