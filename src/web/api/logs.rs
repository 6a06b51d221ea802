//! What containers say: all at once, or as they say it.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response, sse::Event},
};
use serde_json::json;

use super::{
    access::AuthGeneration,
    limits::{ApiLimits, StreamKind, StreamPermit, stream},
    operation::{EVENTS, TEXT},
    problem::{Problem, ProblemCode},
    request::{PathParam, QueryParams, Shared, accepts},
};
use crate::{
    controller::logs::{self, new_lines, whole_lines},
    wire::v1::logs::{ContainerLog, Logs, WhichLogs},
};

/// Who follows reads no faster.
const LOG_EVERY: Duration = Duration::from_secs(2);
/// A page that is left open over night begins anew.
const LONGEST_LOG: Duration = Duration::from_secs(4 * 3600);

/// What the containers of a slot or service say.
pub async fn of_object(
    State(controller): State<Shared>,
    PathParam(object): PathParam<String>,
    QueryParams(which): QueryParams<WhichLogs>,
    Extension(turn): Extension<AuthGeneration>,
    Extension(limits): Extension<ApiLimits>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if which.saved {
        return Ok(told(saved(&controller, &object).await?, &headers));
    }
    answer(controller, LogSubject::Object(object), turn, &limits, &headers).await
}

/// The same of one container, also one that nobody's file names.
pub async fn of_container(
    State(controller): State<Shared>,
    PathParam((spark, container)): PathParam<(String, String)>,
    Extension(turn): Extension<AuthGeneration>,
    Extension(limits): Extension<ApiLimits>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer(controller, LogSubject::Container { spark, container }, turn, &limits, &headers).await
}

/// Whose words are asked for.
enum LogSubject {
    Object(String),
    Container { spark: String, container: String },
}

async fn answer(
    controller: Shared,
    whose: LogSubject,
    turn: AuthGeneration,
    limits: &ApiLimits,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    // Before a stream begins, so that a wrong name is told.
    let logs = said(&controller, &whose).await?;
    if !accepts(headers, EVENTS) {
        return Ok(told(logs, headers));
    }
    let following = LogFollower {
        place: StreamPermit::take(controller, limits, StreamKind::Log, turn)?,
        whose,
        said: BTreeMap::new(),
        errors: Vec::new(),
        read: Some(logs),
        until: tokio::time::Instant::now() + LONGEST_LOG,
    };
    Ok(stream(following, next_lines).into_response())
}

fn told(logs: Vec<ContainerLog>, headers: &HeaderMap) -> Response {
    if accepts(headers, TEXT) {
        let several = logs.len() > 1;
        let text = logs.into_iter().map(|log| {
            let head =
                if several { format!("==> {} on {}\n", log.container, log.spark) } else { String::new() };
            format!("{head}{}", log.text.or(log.error).unwrap_or_default())
        });
        let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        return (kind, text.collect::<String>()).into_response();
    }
    Json(Logs { logs }).into_response()
}

async fn said(controller: &Shared, whose: &LogSubject) -> Result<Vec<ContainerLog>, Problem> {
    let logs = match whose {
        LogSubject::Object(object) => controller.logs(object).await?,
        LogSubject::Container { spark, container } => vec![controller.log_of(spark, container).await?],
    };
    let logs = logs.into_iter().map(|log| {
        let (text, error) = match log.text {
            Ok(text) => (Some(text), None),
            Err(error) => (None, Some(error)),
        };
        ContainerLog { spark: log.spark.to_string(), container: log.container, text, error }
    });
    Ok(logs.collect())
}

async fn saved(controller: &Shared, object: &str) -> Result<Vec<ContainerLog>, Problem> {
    controller.knows(object)?;
    let (data, object) = (controller.places.data.clone(), object.to_owned());
    let read = tokio::task::spawn_blocking(move || logs::saved(&data, &object)).await;
    let found = read
        .map_err(|error| Problem::new(ProblemCode::Io, error.to_string()))?
        .map_err(|error| Problem::new(ProblemCode::Io, format!("reading saved logs: {error}")))?;
    let logs = found.into_iter().map(|(path, text)| ContainerLog {
        spark: String::new(),
        container: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        text: Some(text),
        error: None,
    });
    Ok(logs.collect())
}

/// What is known of a log that is followed.
struct LogFollower {
    place: StreamPermit,
    whose: LogSubject,
    /// By Spark and container, the lines that were read last.
    said: BTreeMap<(String, String), String>,
    /// What could not be read at the last look.
    errors: Vec<serde_json::Value>,
    /// Read, and not told yet.
    read: Option<Vec<ContainerLog>>,
    until: tokio::time::Instant,
}

/// Lines that were not told yet, together; a slow client is read for no faster than it takes them.
async fn next_lines(mut following: LogFollower) -> Option<(Result<Event, Infallible>, LogFollower)> {
    loop {
        if tokio::time::Instant::now() > following.until || following.place.is_over() {
            return None;
        }
        let logs = match following.read.take() {
            Some(logs) => logs,
            None => {
                tokio::time::sleep(LOG_EVERY).await;
                said(&following.place.controller, &following.whose).await.ok()?
            }
        };
        let mut lines = Vec::new();
        let (mut known, mut errors) = (BTreeMap::new(), Vec::new());
        for ContainerLog { spark, container, text, error } in logs {
            let before = following.said.remove(&(spark.clone(), container.clone()));
            let now = match &text {
                Some(text) => {
                    let now = whole_lines(text);
                    for line in new_lines(before.as_deref(), now) {
                        lines.push(json!({ "spark": &spark, "container": &container, "line": line }));
                    }
                    Some(now.to_owned())
                }
                // What was said before goes on where it was.
                None => {
                    errors.push(json!({ "spark": &spark, "container": &container, "error": error }));
                    before
                }
            };
            known.extend(now.map(|now| ((spark, container), now)));
        }
        following.said = known;
        // What could not be read this once is told with the lines of the others, or by itself when it is new.
        let is_new = errors != following.errors;
        following.errors = errors;
        if !lines.is_empty() || is_new {
            let told = json!({ "lines": lines, "errors": following.errors });
            let event = Event::default().event("lines").json_data(told).ok()?;
            return Some((Ok(event), following));
        }
    }
}
