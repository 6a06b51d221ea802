//! What happens, as it happens: lines of the history with their numbers, and that a new look is there to be read.
//!
//! A client that comes back names the last number that it has (`Last-Event-ID`) and gets what came after it, as far as it is
//! kept. Nothing is buffered for a slow client: it is told of the next thing when it has taken the last.

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use axum::{
    Extension,
    extract::State,
    http::HeaderMap,
    response::sse::{Event, Sse},
};
use futures_util::Stream;
use serde_json::json;
use tokio::sync::watch;

use super::{
    access::AuthGeneration,
    limits::{ApiLimits, StreamKind, StreamPermit, stream},
    problem::{Problem, ProblemCode},
    request::Shared,
};
use crate::{controller::Snapshot, store};

/// Read from the store at a time.
const BATCH: u32 = 100;

struct EventFollower {
    place: StreamPermit,
    looks: watch::Receiver<Arc<Snapshot>>,
    /// The line that was told last.
    last: i64,
    lines: VecDeque<Arc<store::Event>>,
    /// A look that was not told yet.
    look: bool,
}

pub async fn events(
    State(controller): State<Shared>,
    Extension(turn): Extension<AuthGeneration>,
    Extension(limits): Extension<ApiLimits>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let newest = controller.last_event();
    let last = match headers.get("last-event-id") {
        Some(number) => {
            let number = number.to_str().ok().and_then(|number| number.parse::<i64>().ok());
            let number = number.ok_or_else(|| {
                Problem::new(ProblemCode::InvalidRequest, "`Last-Event-ID` is the number of an event")
            })?;
            // Of a store that is not there any more.
            number.min(newest)
        }
        None => newest,
    };
    let place = StreamPermit::take(controller.clone(), &limits, StreamKind::Events, turn)?;
    let looks = controller.follow();
    let lines = controller.events_after(last, BATCH)?.into();
    let following = EventFollower { place, looks, last, lines, look: true };
    Ok(stream(following, next))
}

/// The stream ends with the controller, or when its store cannot be read.
async fn next(mut following: EventFollower) -> Option<(Result<Event, Infallible>, EventFollower)> {
    loop {
        if following.place.is_over() {
            return None;
        }
        if let Some(line) = following.lines.pop_front() {
            following.last = line.number;
            let event = Event::default().event("history").id(line.number.to_string());
            return Some((Ok(event.json_data(&line).ok()?), following));
        }
        following.lines = following.place.controller.events_after(following.last, BATCH).ok()?.into();
        if !following.lines.is_empty() {
            continue;
        }
        if following.look {
            following.look = false;
            let seen = following.looks.borrow_and_update().clone();
            let told = json!({ "round": seen.round, "at": seen.at, "revision": seen.revision });
            return Some((Ok(Event::default().event("seen").json_data(told).ok()?), following));
        }
        following.looks.changed().await.ok()?;
        following.look = true;
    }
}
