//! `/api/v1`: desired state is edited here and plans are agreed to; nothing is started or stopped.
//!
//! Begin with `operations`: every address, in one list.

pub mod access;
pub mod desired;
pub mod events;
pub mod history;
pub mod idempotency;
pub mod limits;
pub mod logs;
pub mod openapi;
pub mod operation;
pub mod plans;
pub mod problem;
pub mod request;
pub mod response_cache;
pub mod schedule;
pub mod status;

use std::sync::LazyLock;

use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::Response,
};

pub use self::request::{JsonBody, PathParam, QueryParams, RequestCaller, Shared};
use self::{
    access::{RequiredRole, door},
    idempotency::{KeysUnderWay, once},
    limits::ApiLimits,
    operation::{EVENTS, Header, Operation, TEXT, YAML},
    problem::{Problem, ProblemCode},
};
use crate::core::model::access::Role;

/// The description of all of it.
async fn describe() -> ([(HeaderName, &'static str); 1], &'static str) {
    static TEXT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", openapi::document(&operations())));
    ([(header::CONTENT_TYPE, operation::JSON)], TEXT.as_str())
}

/// Every operation.
pub fn operations() -> Vec<Operation> {
    use crate::wire::v1::{
        access::{Session, SignIn},
        catalog::{Endpoints, Models, Services},
        desired::{DesiredState, DryRunQuery, EditOutcome, HoldRequest, Revisions, Swap},
        history::{Connectivity, Figures, History, HistoryQuery},
        logs::{Logs, WhichLogs},
        plan::{PlanDocument, RoundNumber, ShownPlan},
        schedule::Schedule,
        status::{DriftReport, Key, SparkStatus, Status},
    };
    const OK: StatusCode = StatusCode::OK;
    let if_match = || Header {
        name: "If-Match",
        says: "The revision that the edit was made from, in quotes as the ETag has it; `*` for whatever is there.",
        is_required: true,
        pattern: "^((W/)?\"[0-9]{1,19}(-[0-9a-f]{1,64})?\"|\\*)$",
    };
    let last_event = Header {
        name: "Last-Event-ID",
        says: "Go on after that one.",
        is_required: false,
        pattern: "^[0-9]{1,18}$",
    };
    // What may come of an edit.
    let edit: &[ProblemCode] = &[
        ProblemCode::FileInvalid,
        ProblemCode::FileReadOnly,
        ProblemCode::Conflict,
        ProblemCode::ConcurrentEdit,
        ProblemCode::NotAPatch,
        ProblemCode::DoesNotFit,
        ProblemCode::EditTouchesOtherText,
        ProblemCode::Invalid,
        ProblemCode::Io,
    ];
    let based = |operation: Operation| {
        operation
            .query::<DryRunQuery>()
            .header(if_match())
            .answers::<EditOutcome>(OK, "What came of it, or would come of it.")
            .tagged()
            .problems(edit)
            .problems(&[ProblemCode::PreconditionRequired])
    };
    let unlooked: &[ProblemCode] = &[ProblemCode::NotReady];
    vec![
        Operation::get("/api/v1/desired", desired::get, "What the file says.")
            .answers::<DesiredState>(OK, "Its value, or its text.")
            .or_text(&[YAML])
            .tagged()
            .problems(&[ProblemCode::FileInvalid, ProblemCode::Io]),
        based(
            Operation::patch("/api/v1/desired", desired::patch, "Change fields of the file; comments stay.")
                .takes_patches(),
        ),
        based(Operation::put("/api/v1/desired", desired::put, "Replace the whole file.").takes_text(YAML)),
        Operation::get("/api/v1/desired/history", desired::history, "The revisions that are kept.")
            .answers::<Revisions>(OK, "Newest first."),
        Operation::get("/api/v1/desired/{revision}", desired::revision, "The file as it was.")
            .answers_text(YAML, "Its text.")
            .problems(&[ProblemCode::NoSuchRevision]),
        based(Operation::post(
            "/api/v1/desired/revert/{revision}",
            desired::revert,
            "Make the file what it was: a new revision, not a step back.",
        ))
        .problems(&[ProblemCode::NoSuchRevision]),
        Operation::put("/api/v1/holds/{name}", desired::hold, "Keep what serves.")
            .query::<DryRunQuery>()
            .takes::<HoldRequest>()
            .answers::<EditOutcome>(OK, "It is in the file.")
            .tagged()
            .problems(edit)
            .problems(&[ProblemCode::Held]),
        Operation::delete("/api/v1/holds/{name}", desired::release, "The end of a hold.")
            .query::<DryRunQuery>()
            .answers::<EditOutcome>(OK, "It is not in the file any more.")
            .tagged()
            .problems(edit)
            .problems(&[ProblemCode::NoSuchHold, ProblemCode::Held]),
        Operation::get("/api/v1/status", status::status, "What is, at one moment.")
            .answers::<Status>(OK, "As the last look saw it."),
        Operation::get("/api/v1/drift", status::drift, "What differs between the file and the Sparks.")
            .answers::<DriftReport>(OK, "With what is done about it."),
        Operation::get("/api/v1/sparks/{name}", status::spark, "One Spark.")
            .answers::<SparkStatus>(OK, "As the last look saw it.")
            .problems(&[ProblemCode::NoSuchSpark]),
        Operation::get("/api/v1/key", status::key, "The public half of the controller's SSH key.")
            .answers::<Key>(OK, "As `authorized_keys` has it."),
        Operation::get("/api/v1/models", status::models, "The catalog.")
            .answers::<Models>(OK, "Every model of the file.")
            .problems(unlooked),
        Operation::get("/api/v1/services", status::services, "The services of the file.")
            .answers::<Services>(OK, "Every service of the file.")
            .problems(unlooked),
        Operation::get(
            "/api/v1/schedule",
            schedule::get,
            "Which model is wanted when, in the next fortnight.",
        )
        .answers::<Schedule>(OK, "Windows, and the changes that come of them.")
        .problems(unlooked),
        Operation::get("/api/v1/history", history::history, "What happened last.")
            .query::<HistoryQuery>()
            .answers::<History>(OK, "Oldest first."),
        Operation::get("/api/v1/connectivity", history::connectivity, "When each endpoint was up.")
            .answers::<Connectivity>(OK, "From a look every few seconds."),
        Operation::get(
            "/api/v1/figures",
            history::figures,
            "Free memory of the last hours, and how long loads took.",
        )
        .answers::<Figures>(OK, "For charts."),
        Operation::get(
            "/api/v1/logs/{object}",
            logs::of_object,
            "What the containers of a slot or service say.",
        )
        .query::<WhichLogs>()
        .answers::<Logs>(OK, "The last lines; as a stream, what is said from then on: `lines` events.")
        .or_text(&[TEXT, EVENTS])
        .problems(&[ProblemCode::NoSuchObject, ProblemCode::Io, ProblemCode::TooManyStreams]),
        Operation::get(
            "/api/v1/sparks/{name}/containers/{container}/logs",
            logs::of_container,
            "What one container says, also one that the file does not name.",
        )
        .answers::<Logs>(OK, "As those of a slot.")
        .or_text(&[TEXT, EVENTS])
        .problems(&[
            ProblemCode::NoSuchSpark,
            ProblemCode::NoSuchContainer,
            ProblemCode::TooManyStreams,
        ]),
        Operation::get("/api/v1/events", events::events, "What happens, as it happens.")
            .header(last_event)
            .answers_text(
                EVENTS,
                "`history`: a line of the history. `seen`: a new status is there to be read.",
            )
            .problems(&[ProblemCode::TooManyStreams]),
        Operation::post("/api/v1/plans", plans::make, "Look now, and tell what would be done.")
            .answers::<PlanDocument>(OK, "The plan of this moment.")
            .problems(unlooked),
        Operation::get("/api/v1/plans/{id}", plans::get, "A plan that was shown before.")
            .answers::<ShownPlan>(OK, "Also when it is stale: then with what has changed.")
            .problems(&[ProblemCode::NoSuchPlan]),
        Operation::post("/api/v1/plans/{id}/approve", plans::approve, "Agree to its steps.")
            .may(Role::Approve)
            .answers_nothing("They are taken in the next round.")
            .problems(&[ProblemCode::NoSuchPlan, ProblemCode::Stale]),
        Operation::post(
            "/api/v1/retry/{object}",
            plans::retry,
            "Forget what failed, so that it is tried again.",
        )
        .query::<DryRunQuery>()
        .answers::<PlanDocument>(OK, "What the next round does, or would do.")
        .problems(&[ProblemCode::NoSuchObject, ProblemCode::NotReady]),
        Operation::post("/api/v1/reconcile", plans::reconcile, "Look again as soon as can be.")
            .answers::<RoundNumber>(StatusCode::ACCEPTED, "The round to wait for."),
        Operation::get("/api/v1/session", access::session, "Who asks.")
            .answers::<Session>(OK, "And what they may."),
        Operation::post(
            "/api/v1/session",
            access::sign_in,
            "Sign in: a browser gets a cookie for its token.",
        )
        .may(Role::Nobody)
        .takes::<SignIn>()
        .answers::<Session>(OK, "With a cookie that no script can read."),
        Operation::delete("/api/v1/session", access::sign_out, "Sign out.")
            .may(Role::Nobody)
            .answers_nothing("The cookie is worth nothing any more."),
        Operation::post("/api/swap", desired::swap, "What callers of the original know: another model.")
            .takes::<Swap>()
            .answers::<EditOutcome>(StatusCode::ACCEPTED, "It is in the file.")
            .tagged()
            .problems(edit)
            .problems(&[ProblemCode::Held, ProblemCode::ApprovalNeeded]),
        Operation::get("/api/v1/openapi.json", describe, "This description.")
            .may(Role::Nobody)
            .answers::<serde_json::Value>(OK, "OpenAPI 3.1."),
        Operation::get("/api/endpoints", status::endpoints, "Everything that answers, where, and how it is.")
            .answers::<Endpoints>(OK, "Disabled services, too.")
            .problems(unlooked),
    ]
}

/// The routes.
pub fn router(controller: Shared, limits: ApiLimits) -> Router {
    let under_way = KeysUnderWay::default();
    let mut router = Router::new();
    for operation in operations() {
        let door_of = RequiredRole { controller: controller.clone(), role: operation.role };
        let mut handler = operation.handler;
        // A sign-in is answered with a secret, which is not kept.
        if operation.method == axum::http::Method::POST && operation.role > Role::Nobody {
            let known = (controller.clone(), under_way.clone());
            handler = handler.layer(middleware::from_fn_with_state(known, once));
        }
        // From the inside out: nobody's body is read before it is known that they may send one.
        let whole = middleware::from_fn_with_state(limits.bodies.clone(), limits::whole_body);
        let entered = handler.layer(whole).layer(middleware::from_fn_with_state(door_of, door));
        router = router.route(operation.path, entered);
    }
    router
        .route("/api/{*other}", axum::routing::any(no_such_address))
        .method_not_allowed_fallback(no_such_method)
        .layer(Extension(limits))
        .layer(Extension(history::HistoryCache::default()))
        .layer(Extension(status::StatusCache::default()))
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn(headers))
        .with_state(controller)
}

/// Nobody keeps what the API says, and no browser takes it for something else than it is.
async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
    {
        // nginx keeps an answer until it has a few kilobytes of it.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    }
    response
}

pub(super) async fn no_such_address() -> Problem {
    Problem::new(ProblemCode::NotFound, "nothing is at this address")
}

async fn no_such_method() -> Problem {
    Problem::new(ProblemCode::MethodNotAllowed, "this address does not do that")
}
