//! What was: the history, when each endpoint was up, figures.

use std::sync::Arc;

use axum::{Extension, Json, extract::State, response::Response};

use super::{
    problem::Problem,
    request::{QueryParams, Shared},
    response_cache::ResponseCache,
};
use crate::{
    core::decide::connectivity::{EndpointLink, UptimeInterval, outages},
    wire::v1::history::{Connected, Connectivity, Figures, History, HistoryQuery, Sample},
};

const LINES: u32 = 100;
const MOST_LINES: u32 = 1000;

/// The history that was told last, by its last line and how many it has.
pub type HistoryCache = Arc<ResponseCache<(i64, u32)>>;

/// What happened last, oldest first.
pub async fn history(
    State(controller): State<Shared>,
    Extension(kept): Extension<HistoryCache>,
    QueryParams(asked): QueryParams<HistoryQuery>,
) -> Result<Response, Problem> {
    let last = asked.last.unwrap_or(LINES).min(MOST_LINES);
    kept.answer((controller.last_event(), last), || Ok(History { events: controller.events(last)? }))
}

/// When each endpoint was up.
pub async fn connectivity(State(controller): State<Shared>) -> Json<Connectivity> {
    let endpoints = controller.connectivity().into_iter().map(|(object, spells)| {
        let up = secs(&spells, EndpointLink::Up);
        let down = secs(&spells, EndpointLink::Down) + secs(&spells, EndpointLink::Silent);
        let outages = outages(&spells);
        let up_percent = (up + down > 0).then(|| percent(up, up + down));
        Connected { object, outages, down_secs: down, up_percent, spells }
    });
    Json(Connectivity { endpoints: endpoints.collect() })
}

/// How long the link was so in all.
fn secs(spells: &[UptimeInterval], link: EndpointLink) -> u64 {
    spells.iter().filter(|spell| spell.link == link).map(UptimeInterval::secs).sum()
}

/// To a hundredth.
fn percent(part: u64, whole: u64) -> f64 {
    let hundredths = u32::try_from(part.saturating_mul(10_000) / whole.max(1)).unwrap_or(u32::MAX);
    f64::from(hundredths) / 100.0
}

/// Free memory of the last hours, and how long loads took.
pub async fn figures(State(controller): State<Shared>) -> Json<Figures> {
    let seen = controller.snapshot();
    let memory = controller.memory().into_iter().map(|(spark, points)| {
        let samples = points.into_iter().map(|point| Sample {
            at: point.at,
            total_bytes: point.total_bytes,
            available_bytes: point.available_bytes,
        });
        (spark.to_string(), samples.collect())
    });
    let loads = seen.load_secs.iter().map(|(model, secs)| (model.to_string(), secs.clone()));
    Json(Figures { memory: memory.collect(), loads: loads.collect() })
}
