//! What was, and what will be: history, logs, when each endpoint was up, figures, the schedule.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response, sse::Event},
};
use serde_json::json;

use super::{
    Part, Query, Shared, accepts,
    bounded::{Place, stream},
    operation::{EVENTS, TEXT},
    problem::{Code, Problem},
    seen::in_force,
    v1::past::{
        Connected, Connectivity, Figures, History, Last, Log, Logs, Opening, Sample, Schedule, WhichLogs,
        Window,
    },
};
use crate::{
    controller::logs::{self, new_lines},
    core::{
        connectivity::{Link, Spell, outages},
        outlook::Next,
        schedule,
    },
};

/// As far as anybody plans ahead.
const DAYS: i64 = 14;
const LINES: u32 = 100;
const MOST_LINES: u32 = 1000;
/// Who follows reads no faster.
const LOG_EVERY: Duration = Duration::from_secs(2);
/// A page that is left open over night begins anew.
const LONGEST_LOG: Duration = Duration::from_secs(4 * 3600);

/// What happened last, oldest first.
pub async fn history(
    State(controller): State<Shared>,
    Query(asked): Query<Last>,
) -> Result<Json<History>, Problem> {
    let events = controller.events(asked.last.unwrap_or(LINES).min(MOST_LINES))?;
    Ok(Json(History { events }))
}

/// Which model is wanted when.
pub async fn schedule(State(controller): State<Shared>) -> Result<Json<Schedule>, Problem> {
    let desired = in_force(&controller)?;
    let now = controller.now();
    let turns = schedule::turns(&desired, now, DAYS).into_iter().map(Next::from).collect();
    let windows = desired.schedule.iter().map(|(name, window)| Window {
        name: name.to_string(),
        model: window.model.to_string(),
        from: window.from.to_string(),
        to: window.to.to_string(),
        days: window.days.iter().copied().collect(),
        timezone: window.zone.iana_name().map(str::to_owned),
    });
    let openings = desired.schedule.iter().flat_map(|(name, window)| {
        schedule::openings(window, now, DAYS).into_iter().map(|(from, to)| Opening {
            window: name.to_string(),
            model: window.model.to_string(),
            from,
            to,
        })
    });
    let mut openings: Vec<Opening> = openings.collect();
    openings.sort_by_key(|opening| opening.from);
    Ok(Json(Schedule { windows: windows.collect(), turns, openings }))
}

/// When each endpoint was up.
pub async fn connectivity(State(controller): State<Shared>) -> Json<Connectivity> {
    let endpoints = controller.connectivity().into_iter().map(|(object, spells)| {
        let of = |link: Link| spells.iter().filter(move |spell| spell.link == link);
        let secs = |link: Link| of(link).map(Spell::secs).sum::<u64>();
        let (up, down) = (secs(Link::Up), secs(Link::Down) + secs(Link::Silent));
        let outages = outages(&spells);
        let up_percent = (up + down > 0).then(|| percent(up, up + down));
        Connected { object, outages, down_secs: down, up_percent, spells }
    });
    Json(Connectivity { endpoints: endpoints.collect() })
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

/// What the containers of a slot or service say: all at once, or as they say it.
pub async fn logs(
    State(controller): State<Shared>,
    Part(object): Part<String>,
    Query(which): Query<WhichLogs>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if accepts(&headers, EVENTS) {
        // Before it begins, so that a wrong name is told.
        controller.logs(&object).await?;
        let until = tokio::time::Instant::now() + LONGEST_LOG;
        let following =
            Following { place: Place::take(controller)?, object, said: BTreeMap::new(), waits: false, until };
        return Ok(stream(following, next_lines).into_response());
    }
    let logs =
        if which.saved { saved(&controller, &object).await? } else { said(&controller, &object).await? };
    if accepts(&headers, TEXT) {
        let several = logs.len() > 1;
        let text = logs.into_iter().map(|log| {
            let head =
                if several { format!("==> {} on {}\n", log.container, log.spark) } else { String::new() };
            format!("{head}{}", log.text.or(log.error).unwrap_or_default())
        });
        return Ok(
            ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text.collect::<String>()).into_response()
        );
    }
    Ok(Json(Logs { logs }).into_response())
}

async fn said(controller: &Shared, object: &str) -> Result<Vec<Log>, Problem> {
    let logs = controller.logs(object).await?;
    let log = |log: logs::Log| {
        let (text, error) = match log.text {
            Ok(text) => (Some(text), None),
            Err(error) => (None, Some(error)),
        };
        Log { spark: log.spark.to_string(), container: log.container, text, error }
    };
    Ok(logs.into_iter().map(log).collect())
}

async fn saved(controller: &Shared, object: &str) -> Result<Vec<Log>, Problem> {
    controller.knows(object)?;
    let (data, object) = (controller.places.data.clone(), object.to_owned());
    let read = tokio::task::spawn_blocking(move || logs::saved(&data, &object)).await;
    let found = read
        .map_err(|error| Problem::new(Code::Io, error.to_string()))?
        .map_err(|error| Problem::new(Code::Io, format!("reading saved logs: {error}")))?;
    let log = |(path, text): (std::path::PathBuf, String)| Log {
        spark: String::new(),
        container: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        text: Some(text),
        error: None,
    };
    Ok(found.into_iter().map(log).collect())
}

/// What is known of a log that is followed.
struct Following {
    place: Place,
    object: String,
    /// By Spark and container, what was read last.
    said: BTreeMap<(String, String), String>,
    waits: bool,
    until: tokio::time::Instant,
}

/// Lines that were not told yet, together; a slow client is read for no faster than it takes them.
async fn next_lines(mut following: Following) -> Option<(Result<Event, Infallible>, Following)> {
    loop {
        if tokio::time::Instant::now() > following.until || following.place.is_over() {
            return None;
        }
        if following.waits {
            tokio::time::sleep(LOG_EVERY).await;
        }
        following.waits = true;
        let logs = said(&following.place.controller, &following.object).await.ok()?;
        let mut lines = Vec::new();
        let mut known = BTreeMap::new();
        for log in logs {
            let key = (log.spark, log.container);
            let before = following.said.get(&key).map(String::as_str);
            let Some(text) = log.text else {
                // What could not be read this once goes on where it was.
                known.extend(before.map(|before| (key.clone(), before.to_owned())));
                continue;
            };
            let (spark, container) = &key;
            lines.extend(
                new_lines(before, &text)
                    .into_iter()
                    .map(|line| json!({ "spark": spark, "container": container, "line": line })),
            );
            known.insert(key, text);
        }
        following.said = known;
        if !lines.is_empty() {
            let event = Event::default().event("lines").json_data(json!({ "lines": lines })).ok()?;
            return Some((Ok(event), following));
        }
    }
}
