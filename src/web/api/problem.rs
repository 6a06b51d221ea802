//! Errors as RFC 9457 problem details, each with a stable code.

use axum::{
    Json,
    extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value};

use crate::{
    controller::{RequestRefusal, authenticator::NoToken, edit::NotEdited},
    manifest::refused::Refused,
    store::StoreError,
    wire::v1::problem::ProblemDetails,
};

/// What can go wrong. Codes are for programs and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemCode {
    InvalidRequest,
    Unauthorized,
    UntrustedHost,
    CrossOrigin,
    Forbidden,
    NotFound,
    NoSuchPlan,
    NoSuchObject,
    NoSuchSpark,
    NoSuchContainer,
    NoSuchRevision,
    NoSuchHold,
    MethodNotAllowed,
    TooSlow,
    Conflict,
    ConcurrentEdit,
    FileInvalid,
    FileReadOnly,
    Stale,
    ApprovalNeeded,
    KeyInUse,
    TooLarge,
    UnsupportedType,
    NotAPatch,
    DoesNotFit,
    EditTouchesOtherText,
    Invalid,
    KeyReused,
    Held,
    PreconditionRequired,
    Store,
    Io,
    ResponseNotStored,
    Internal,
    NotReady,
    Unreachable,
    TooManyStreams,
    TooManyConnections,
    TooBusy,
    EditLate,
}

impl ProblemCode {
    pub fn row(self) -> &'static ProblemRow {
        TABLE.iter().find(|row| row.code == self).expect("every code has a row")
    }
}

/// One row of the table of errors.
pub struct ProblemRow {
    pub code: ProblemCode,
    pub name: &'static str,
    pub status: StatusCode,
    /// The same request may do better a moment later.
    pub retryable: bool,
    /// Something was written or begun all the same.
    pub happened: bool,
    pub title: &'static str,
}

impl ProblemRow {
    const fn happened(mut self) -> Self {
        self.happened = true;
        self
    }
}

const fn row(
    code: ProblemCode,
    name: &'static str,
    status: StatusCode,
    retryable: bool,
    title: &'static str,
) -> ProblemRow {
    ProblemRow { code, name, status, retryable, happened: false, title }
}

/// Every code, in the order of their status.
pub const TABLE: [ProblemRow; 40] = [
    row(
        ProblemCode::InvalidRequest,
        "invalid_request",
        StatusCode::BAD_REQUEST,
        false,
        "the request cannot be read",
    ),
    row(ProblemCode::Unauthorized, "unauthorized", StatusCode::UNAUTHORIZED, false, "this asks for a token"),
    row(
        ProblemCode::UntrustedHost,
        "untrusted_host",
        StatusCode::FORBIDDEN,
        false,
        "the request names a host that is not this one",
    ),
    row(
        ProblemCode::CrossOrigin,
        "cross_origin",
        StatusCode::FORBIDDEN,
        false,
        "the request comes from another site",
    ),
    row(ProblemCode::Forbidden, "forbidden", StatusCode::FORBIDDEN, false, "the token may not do this"),
    row(ProblemCode::NotFound, "not_found", StatusCode::NOT_FOUND, false, "there is no such address"),
    row(ProblemCode::NoSuchPlan, "no_such_plan", StatusCode::NOT_FOUND, false, "no such plan was shown"),
    row(
        ProblemCode::NoSuchObject,
        "no_such_object",
        StatusCode::NOT_FOUND,
        false,
        "no slot, service or files have that name",
    ),
    row(ProblemCode::NoSuchSpark, "no_such_spark", StatusCode::NOT_FOUND, false, "no Spark has that name"),
    row(
        ProblemCode::NoSuchContainer,
        "no_such_container",
        StatusCode::NOT_FOUND,
        false,
        "no container there has that name",
    ),
    row(
        ProblemCode::NoSuchRevision,
        "no_such_revision",
        StatusCode::NOT_FOUND,
        false,
        "that revision is not kept",
    ),
    row(ProblemCode::NoSuchHold, "no_such_hold", StatusCode::NOT_FOUND, false, "no hold has that name"),
    row(
        ProblemCode::MethodNotAllowed,
        "method_not_allowed",
        StatusCode::METHOD_NOT_ALLOWED,
        false,
        "this address does not do that",
    ),
    row(ProblemCode::TooSlow, "too_slow", StatusCode::REQUEST_TIMEOUT, true, "the body did not come in time"),
    row(
        ProblemCode::FileInvalid,
        "file_invalid",
        StatusCode::CONFLICT,
        false,
        "the file is not valid now: it is replaced as a whole",
    ),
    row(
        ProblemCode::FileReadOnly,
        "file_read_only",
        StatusCode::CONFLICT,
        false,
        "the file cannot be written",
    ),
    row(ProblemCode::Stale, "stale", StatusCode::CONFLICT, false, "what the plan relied on has changed"),
    row(
        ProblemCode::ApprovalNeeded,
        "approval_needed",
        StatusCode::CONFLICT,
        false,
        "it is written, and its plan waits for approval",
    )
    .happened(),
    row(
        ProblemCode::KeyInUse,
        "key_in_use",
        StatusCode::CONFLICT,
        true,
        "a request with this key is under way",
    ),
    row(
        ProblemCode::Conflict,
        "conflict",
        StatusCode::PRECONDITION_FAILED,
        false,
        "the file was changed since that revision",
    ),
    row(
        ProblemCode::ConcurrentEdit,
        "concurrent_edit",
        StatusCode::PRECONDITION_FAILED,
        true,
        "the file was changed at the same moment",
    ),
    row(ProblemCode::TooLarge, "too_large", StatusCode::PAYLOAD_TOO_LARGE, false, "the body is too large"),
    row(
        ProblemCode::UnsupportedType,
        "unsupported_type",
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        false,
        "the body is of another type",
    ),
    row(
        ProblemCode::NotAPatch,
        "not_a_patch",
        StatusCode::UNPROCESSABLE_ENTITY,
        false,
        "the body is no JSON patch",
    ),
    row(
        ProblemCode::DoesNotFit,
        "does_not_fit",
        StatusCode::UNPROCESSABLE_ENTITY,
        false,
        "the patch does not fit the file",
    ),
    row(
        ProblemCode::EditTouchesOtherText,
        "edit_touches_other_text",
        StatusCode::UNPROCESSABLE_ENTITY,
        false,
        "this cannot be changed without touching the rest of the file",
    ),
    row(
        ProblemCode::Invalid,
        "invalid",
        StatusCode::UNPROCESSABLE_ENTITY,
        false,
        "the file would not be valid",
    ),
    row(
        ProblemCode::KeyReused,
        "key_reused",
        StatusCode::UNPROCESSABLE_ENTITY,
        false,
        "this key was sent with another request",
    ),
    row(ProblemCode::Held, "held", StatusCode::LOCKED, false, "a hold keeps what serves"),
    row(
        ProblemCode::PreconditionRequired,
        "precondition_required",
        StatusCode::PRECONDITION_REQUIRED,
        false,
        "an edit names the revision that it was made from",
    ),
    row(ProblemCode::Store, "store", StatusCode::INTERNAL_SERVER_ERROR, false, "the store cannot be used"),
    row(
        ProblemCode::Io,
        "io",
        StatusCode::INTERNAL_SERVER_ERROR,
        false,
        "the file cannot be read or written",
    ),
    row(
        ProblemCode::ResponseNotStored,
        "response_not_stored",
        StatusCode::INTERNAL_SERVER_ERROR,
        false,
        "it is done, and its answer is too long to be kept for its key",
    )
    .happened(),
    row(
        ProblemCode::Internal,
        "internal",
        StatusCode::INTERNAL_SERVER_ERROR,
        false,
        "a mistake of this program",
    ),
    row(
        ProblemCode::NotReady,
        "not_ready",
        StatusCode::SERVICE_UNAVAILABLE,
        true,
        "nothing has been looked at yet",
    ),
    row(
        ProblemCode::Unreachable,
        "unreachable",
        StatusCode::SERVICE_UNAVAILABLE,
        true,
        "a Spark did not answer",
    ),
    row(
        ProblemCode::TooManyStreams,
        "too_many_streams",
        StatusCode::SERVICE_UNAVAILABLE,
        true,
        "too many streams are open",
    ),
    row(
        ProblemCode::TooManyConnections,
        "too_many_connections",
        StatusCode::SERVICE_UNAVAILABLE,
        true,
        "every place for a connection is taken",
    ),
    row(
        ProblemCode::TooBusy,
        "too_busy",
        StatusCode::SERVICE_UNAVAILABLE,
        true,
        "too much is being sent at the same time",
    ),
    row(
        ProblemCode::EditLate,
        "edit_late",
        StatusCode::GATEWAY_TIMEOUT,
        false,
        "the edit did not end in time, and may yet be written: read the file again",
    ),
];

/// An answer that is an error.
#[derive(Debug)]
pub struct Problem {
    pub code: ProblemCode,
    pub detail: String,
    /// What this code has beside: fields that clash, facts that changed.
    pub more: Map<String, Value>,
}

impl Problem {
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), more: Map::new() }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.into(), value.into());
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let row = self.code.row();
        // What the file holds now, for who comes again with it.
        let tag =
            self.more.get("tag").and_then(Value::as_str).and_then(|tag| HeaderValue::from_str(tag).ok());
        let body = ProblemDetails {
            problem_type: format!("urn:spark-control:{}", row.name),
            title: row.title.to_owned(),
            status: row.status.as_u16(),
            detail: self.detail,
            code: row.name.to_owned(),
            retryable: row.retryable,
            happened: row.happened,
            more: self.more,
        };
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (row.status, kind, Json(body).into_response().into_body()).into_response();
        if let Some(tag) = tag {
            response.headers_mut().insert(header::ETAG, tag);
        }
        if self.code == ProblemCode::Unauthorized {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<NotEdited> for Problem {
    fn from(error: NotEdited) -> Self {
        let detail = error.to_string();
        let code = match &error {
            NotEdited::Conflict { .. } => ProblemCode::Conflict,
            NotEdited::ConcurrentEdit { .. } => ProblemCode::ConcurrentEdit,
            NotEdited::FileInvalid(_) | NotEdited::NoFile(_) => ProblemCode::FileInvalid,
            NotEdited::FileReadOnly(_) => ProblemCode::FileReadOnly,
            NotEdited::NotAPatch(_) => ProblemCode::NotAPatch,
            NotEdited::Refused(Refused::DoesNotFit(_)) => ProblemCode::DoesNotFit,
            NotEdited::Refused(Refused::TooLarge(_)) => ProblemCode::TooLarge,
            NotEdited::Refused(Refused::Unreadable(_)) => ProblemCode::FileInvalid,
            NotEdited::Refused(Refused::TouchesOtherText { .. }) => ProblemCode::EditTouchesOtherText,
            NotEdited::Loosens(_) => ProblemCode::Forbidden,
            NotEdited::Invalid { .. } => ProblemCode::Invalid,
            NotEdited::Io(_) => ProblemCode::Io,
            NotEdited::Busy => ProblemCode::TooBusy,
            NotEdited::Late(_) => ProblemCode::EditLate,
            NotEdited::Store(_) => ProblemCode::Store,
        };
        let problem = Self::new(code, detail);
        match error {
            NotEdited::Conflict { fields, clashing, .. } => {
                problem.with("fields", fields).with("clashing", clashing)
            }
            NotEdited::ConcurrentEdit { fields } => problem.with("fields", fields),
            NotEdited::Loosens(what) => problem.with("loosens", what),
            NotEdited::Invalid { problems, .. } => problem.with("problems", serde_json::json!(problems)),
            _ => problem,
        }
    }
}

impl From<RequestRefusal> for Problem {
    fn from(error: RequestRefusal) -> Self {
        let detail = error.to_string();
        match error {
            RequestRefusal::NoSuchPlan(_) => Self::new(ProblemCode::NoSuchPlan, detail),
            RequestRefusal::NoSuchObject(..) => Self::new(ProblemCode::NoSuchObject, detail),
            RequestRefusal::NoSuchSpark(..) => Self::new(ProblemCode::NoSuchSpark, detail),
            RequestRefusal::NoSuchContainer(..) => Self::new(ProblemCode::NoSuchContainer, detail),
            RequestRefusal::Unreachable(..) => Self::new(ProblemCode::Unreachable, detail),
            RequestRefusal::Stale(changed) => Self::new(ProblemCode::Stale, detail).with("changed", changed),
            RequestRefusal::Store(_) => Self::new(ProblemCode::Store, detail),
        }
    }
}

impl From<NoToken> for Problem {
    fn from(error: NoToken) -> Self {
        let code = match &error {
            NoToken::Name(_) | NoToken::Taken(_) | NoToken::TooMany => ProblemCode::InvalidRequest,
            NoToken::Unknown(_) => ProblemCode::NotFound,
            NoToken::Store(_) => ProblemCode::Store,
        };
        Self::new(code, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::new(ProblemCode::Store, error.to_string())
    }
}

impl From<PathRejection> for Problem {
    fn from(error: PathRejection) -> Self {
        Self::new(ProblemCode::InvalidRequest, error.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(error: QueryRejection) -> Self {
        Self::new(ProblemCode::InvalidRequest, error.body_text())
    }
}

impl From<BytesRejection> for Problem {
    fn from(error: BytesRejection) -> Self {
        let code = if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            ProblemCode::TooLarge
        } else {
            ProblemCode::InvalidRequest
        };
        Self::new(code, error.body_text())
    }
}

impl From<JsonRejection> for Problem {
    fn from(error: JsonRejection) -> Self {
        let code = match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ProblemCode::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ProblemCode::UnsupportedType,
            _ => ProblemCode::InvalidRequest,
        };
        // What was sent may hold a secret.
        Self::new(code, "the body is not the JSON that this address takes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_row_and_one_name() {
        for (index, row) in TABLE.iter().enumerate() {
            let same = TABLE.iter().filter(|other| other.code == row.code || other.name == row.name).count();
            assert_eq!(same, 1, "{}", row.name);
            assert!(index == 0 || TABLE[index - 1].status <= row.status, "{} is out of order", row.name);
        }
        let response = Problem::new(ProblemCode::Held, "a talk").with("hold", "talk").into_response();
        assert_eq!(response.status(), StatusCode::LOCKED);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
}
