//! `/healthz`, `/readyz` and `/metrics`, for monitors.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, middleware, response::IntoResponse, routing::get};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use super::api::access::{RequiredRole, door};
use crate::{
    controller::{Controller, Snapshot},
    core::model::access::Role,
};

/// What is answered also when every place is taken.
pub const HEALTH: [&str; 2] = ["/healthz", "/readyz"];

/// The routes.
pub fn router(controller: Arc<Controller>) -> Router {
    // What tells of models and machines asks for what reading asks for.
    let reads = RequiredRole { controller: controller.clone(), role: Role::Read };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics).layer(middleware::from_fn_with_state(reads, door)))
        .with_state(controller)
}

/// Ready: a file is in force and a round has looked at the Sparks.
async fn readyz(State(controller): State<Arc<Controller>>) -> impl IntoResponse {
    let snapshot = controller.snapshot();
    match (&snapshot.revision, &snapshot.plan, &snapshot.file_error) {
        (Some(_), Some(_), _) => (StatusCode::OK, "ready\n".to_owned()),
        // Lines of the file are for who may read it.
        (None, _, Some(_)) => {
            let told =
                "no usable file: `spark-control check` and `GET /api/v1/status` tell what is wrong with it\n";
            (StatusCode::SERVICE_UNAVAILABLE, told.to_owned())
        }
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the first round has not ended\n".to_owned()),
    }
}

async fn metrics(State(controller): State<Arc<Controller>>) -> impl IntoResponse {
    let mut registry = Registry::with_prefix("spark_control");
    registry.register_collector(Box::new(Seen(controller.snapshot())));
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => (
            StatusCode::OK,
            [("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The current snapshot as metrics: a Spark that leaves the file leaves them too.
#[derive(Debug)]
struct Seen(Arc<Snapshot>);

impl Collector for Seen {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let rounds = ConstCounter::new(self.0.round);
        rounds.encode(encoder.encode_descriptor(
            "rounds",
            "Rounds since the start.",
            None,
            rounds.metric_type(),
        )?)?;
        let value = ConstGauge::new(i64::try_from(self.0.looked_ms).unwrap_or(i64::MAX));
        value.encode(encoder.encode_descriptor(
            "look_milliseconds",
            "How long the last look at the Sparks and endpoints took.",
            None,
            value.metric_type(),
        )?)?;
        let value = ConstGauge::new(i64::from(self.0.file_error.is_none()));
        value.encode(encoder.encode_descriptor(
            "file_valid",
            "1: the file is in force.",
            None,
            value.metric_type(),
        )?)?;
        let value = ConstGauge::new(i64::from(self.0.fenced.is_some()));
        value.encode(encoder.encode_descriptor(
            "fenced",
            "1: another controller acts.",
            None,
            value.metric_type(),
        )?)?;
        if let Some(observed) = &self.0.observed {
            let first = ConstGauge::new(0_i64);
            let kind = first.metric_type();
            let mut family = encoder.encode_descriptor(
                "spark_reachable",
                "1: the Spark answered the last probe.",
                None,
                kind,
            )?;
            for (name, view) in &observed.sparks {
                let value = ConstGauge::new(i64::from(view.facts().is_some()));
                value.encode(family.encode_family(&[("spark", name.as_str())])?)?;
            }
            let mut family = encoder.encode_descriptor(
                "memory_available_bytes",
                "MemAvailable of the Spark.",
                None,
                kind,
            )?;
            for (name, view) in &observed.sparks {
                let Some(facts) = view.facts() else { continue };
                let bytes = i64::try_from(facts.memory_available_bytes).unwrap_or(i64::MAX);
                ConstGauge::new(bytes).encode(family.encode_family(&[("spark", name.as_str())])?)?;
            }
        }
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut family =
            encoder.encode_descriptor("in_sync", "1: the object is as the file says.", None, kind)?;
        for line in &self.0.status {
            let in_sync = line.sync == crate::core::model::status_line::Sync::InSync;
            ConstGauge::new(i64::from(in_sync))
                .encode(family.encode_family(&[("object", line.object.as_str())])?)?;
        }
        let mut family = encoder.encode_descriptor(
            "not_acting",
            "1: nothing is done about the object, for this reason of the closed list.",
            None,
            kind,
        )?;
        for line in &self.0.status {
            let Some(reason) = line.reason else { continue };
            let labels = [("object", line.object.to_string()), ("reason", format!("{reason}"))];
            ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
