//! What a client may take: so much of a body, so long for it, so many streams.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::Method,
    middleware::Next,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream::{Stream, unfold};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Shared,
    access::Turn,
    problem::{Code, Problem},
};
use crate::controller::Follows;

/// A file of a hundred models is a tenth of it.
pub const MAX_BODY: usize = 1 << 20;
/// A megabyte over a slow line.
const BODY_DEADLINE: Duration = Duration::from_secs(20);

/// Proxies end what is silent for a minute.
const ALIVE: Duration = Duration::from_secs(15);

/// The whole body is here before anything is done with it, or nothing is done.
pub async fn whole_body(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(BODY_DEADLINE, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(body)) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Ok(Err(_)) => {
            let detail = format!("a body is up to {} KiB, and whole", MAX_BODY / 1024);
            Problem::new(Code::TooLarge, detail).into_response()
        }
        Err(_) => {
            let detail = format!("the body did not come within {} s", BODY_DEADLINE.as_secs());
            Problem::new(Code::TooSlow, detail).into_response()
        }
    }
}

/// A place for one stream, for as long as it lives.
pub struct Place {
    pub controller: Shared,
    /// When it was let in.
    turn: u64,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// # Errors
    /// There are too many.
    pub fn take(controller: Shared, what: Follows, Turn(turn): Turn) -> Result<Self, Problem> {
        let permit = controller.followers(what).clone().try_acquire_owned().map_err(|_| {
            let detail = format!("{} such streams are open, and no more are kept", what.most());
            Problem::new(Code::TooManyStreams, detail)
        })?;
        Ok(Self { controller, turn, _permit: permit })
    }

    /// Who may not read any more comes back, and is told so.
    pub fn is_over(&self) -> bool {
        self.controller.gate_turn() != self.turn
    }
}

/// What `next` makes of a state, as it makes it; with a word in between for proxies.
pub fn stream<S: Send + 'static, F>(
    state: S,
    next: impl FnMut(S) -> F + Send + 'static,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>>
where
    F: Future<Output = Option<(Result<Event, Infallible>, S)>> + Send + 'static,
{
    Sse::new(unfold(state, next)).keep_alive(KeepAlive::new().interval(ALIVE))
}
