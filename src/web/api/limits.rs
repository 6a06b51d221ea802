//! What a client may take: so much of a body, so long for it, so many streams.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::Method,
    middleware::Next,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use bytes::BytesMut;
use futures_util::{
    StreamExt,
    stream::{Stream, unfold},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    access::AuthGeneration,
    problem::{Problem, ProblemCode},
    request::Shared,
};

/// A file of a hundred models is a tenth of it.
pub const MAX_BODY: usize = 1 << 20;
/// A megabyte over a slow line.
const BODY_DEADLINE: Duration = Duration::from_secs(20);

/// Proxies end what is silent for a minute.
const ALIVE: Duration = Duration::from_secs(5);

/// What all bodies that are here, or on their way, take together: one that does not fit is refused.
const ALL_BODIES: usize = 32 << 20;
/// Taken at once, so that not every piece asks.
const STEP: usize = 64 << 10;

/// Room for bodies, in bytes.
#[derive(Clone)]
pub struct BodyBudget(Arc<Semaphore>);

impl Default for BodyBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ALL_BODIES)))
    }
}

impl BodyBudget {
    /// Keeps so much of the room for one body.
    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let bytes = u32::try_from(bytes).map_err(|_| too_large())?;
        self.0.clone().try_acquire_many_owned(bytes).map_err(|_| {
            let detail = format!(
                "bodies of {} MiB are on their way already; send it again in a moment",
                ALL_BODIES >> 20
            );
            Problem::new(ProblemCode::TooBusy, detail)
        })
    }
}

/// Who may send a body has been let in before this. The whole body is here before anything is done with it, or nothing is done.
pub async fn whole_body(State(room): State<BodyBudget>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(BODY_DEADLINE, read(body, &room)).await {
        Ok(Ok((body, _permit))) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Ok(Err(problem)) => problem.into_response(),
        Err(_) => {
            let detail = format!("the body did not come within {} s", BODY_DEADLINE.as_secs());
            Problem::new(ProblemCode::TooSlow, detail).into_response()
        }
    }
}

/// All of it, with the room that it takes.
async fn read(body: Body, room: &BodyBudget) -> Result<(Bytes, OwnedSemaphorePermit), Problem> {
    let mut held = room.take(0)?;
    let mut whole = BytesMut::new();
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| too_large())?;
        if whole.len() + piece.len() > MAX_BODY {
            return Err(too_large());
        }
        let missing = (whole.len() + piece.len()).saturating_sub(held.num_permits());
        if missing > 0 {
            held.merge(room.take(missing.next_multiple_of(STEP))?);
        }
        whole.extend_from_slice(&piece);
    }
    Ok((whole.freeze(), held))
}

/// That the body is larger than any may be, or broke off.
fn too_large() -> Problem {
    let detail = format!("a body is up to {} KiB, and whole", MAX_BODY / 1024);
    Problem::new(ProblemCode::TooLarge, detail)
}

/// What somebody follows over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    Events,
    /// Each asks a Spark every other second.
    Log,
}

impl StreamKind {
    /// At once: more pages than there are people to look at them.
    pub const fn most(self) -> usize {
        match self {
            Self::Events => 2048,
            Self::Log => 64,
        }
    }
}

/// What all clients together may take of this process, on the network and on the control socket.
#[derive(Clone)]
pub struct ApiLimits {
    pub bodies: BodyBudget,
    events: Arc<Semaphore>,
    logs: Arc<Semaphore>,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            bodies: BodyBudget::default(),
            events: Arc::new(Semaphore::new(StreamKind::Events.most())),
            logs: Arc::new(Semaphore::new(StreamKind::Log.most())),
        }
    }
}

impl ApiLimits {
    /// Places for those who follow this.
    pub fn streams(&self, what: StreamKind) -> &Arc<Semaphore> {
        match what {
            StreamKind::Events => &self.events,
            StreamKind::Log => &self.logs,
        }
    }
}

/// A place for one stream, for as long as it lives.
pub struct StreamPermit {
    pub controller: Shared,
    /// When it was let in.
    turn: u64,
    _permit: OwnedSemaphorePermit,
}

impl StreamPermit {
    /// # Errors
    /// There are too many.
    pub fn take(
        controller: Shared,
        limits: &ApiLimits,
        what: StreamKind,
        AuthGeneration(turn): AuthGeneration,
    ) -> Result<Self, Problem> {
        let permit = limits.streams(what).clone().try_acquire_owned().map_err(|_| {
            let detail = format!("{} such streams are open, and no more are kept", what.most());
            Problem::new(ProblemCode::TooManyStreams, detail)
        })?;
        Ok(Self { controller, turn, _permit: permit })
    }

    /// Who may not read any more comes back, and is told so.
    pub fn is_over(&self) -> bool {
        self.controller.auth_generation() != self.turn
    }
}

/// What `next` makes of a state, as it makes it; with a `beat` in between: a proxy keeps the connection, and a page that hears nothing
/// for three of them knows that it is not connected any more.
pub fn stream<S: Send + 'static, F>(
    state: S,
    next: impl FnMut(S) -> F + Send + 'static,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>>
where
    F: Future<Output = Option<(Result<Event, Infallible>, S)>> + Send + 'static,
{
    let beat = Event::default().event("beat").data("{}");
    Sse::new(unfold(state, next)).keep_alive(KeepAlive::new().interval(ALIVE).event(beat))
}
