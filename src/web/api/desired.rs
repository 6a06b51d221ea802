//! Desired state: read, changed, put back. An edit names the revision that it was made from.

use std::time::Duration;

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    operation::{JSON_PATCH, MERGE_PATCH, YAML},
    problem::{Problem, ProblemCode},
    request::{JsonBody, PathParam, QueryParams, RequestCaller, Shared, accepts},
};
use crate::{
    controller::{
        edit::{EditRequest, HoldAccess, NotEdited, RequestedChange},
        tag::{EditBase, FileTag},
    },
    core::model::{
        object::Object,
        plan::{Verdict, Work},
        reason::Reason,
    },
    manifest::patch::{self, NotRead},
    wire::v1::desired::{DesiredState, DryRunQuery, EditOutcome, HoldRequest, Revision, Revisions, Swap},
};

/// Ours, and what others send.
const YAMLS: [&str; 3] = [YAML, "application/x-yaml", "text/yaml"];
/// More than a person scrolls through.
const MOST_REVISIONS: usize = 500;

/// An edit takes milliseconds, unless the disk of the file hangs.
const EDIT_DEADLINE: Duration = Duration::from_secs(30);

/// What the file holds: the text for who accepts YAML, its value for everybody else.
pub async fn get(State(controller): State<Shared>, headers: HeaderMap) -> Result<Response, Problem> {
    let current = controller.desired_now()?;
    let mut response = if YAMLS.iter().any(|kind| accepts(&headers, kind)) {
        // Also one that cannot be in force: it is to be seen, and replaced.
        ([(header::CONTENT_TYPE, YAML)], current.text.to_string()).into_response()
    } else {
        Json(DesiredState { revision: current.revision, value: current.value()?.clone() }).into_response()
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(tagged(response, &current.tag))
}

/// RFC 7396 or RFC 6902, by the type of the body.
pub async fn patch(
    State(controller): State<Shared>,
    QueryParams(how): QueryParams<DryRunQuery>,
    who: RequestCaller,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, Problem> {
    let body = body?;
    let kind = content_type(&headers);
    let parse = || {
        patch::read(&body).map_err(|why| {
            let code = match why {
                NotRead::NotJson(_) => ProblemCode::InvalidRequest,
                NotRead::TooLarge => ProblemCode::TooLarge,
            };
            Problem::new(code, why.to_string())
        })
    };
    let change = match kind.as_str() {
        MERGE_PATCH => RequestedChange::Merge(parse()?),
        JSON_PATCH => RequestedChange::Patch(parse()?),
        _ => {
            let detail = format!("a patch is `{MERGE_PATCH}` or `{JSON_PATCH}`");
            return Err(Problem::new(ProblemCode::UnsupportedType, detail));
        }
    };
    let base = base(&headers)?;
    edit(&controller, base, change, how.dry_run, who.of(how.owner)).await
}

/// The whole text.
pub async fn put(
    State(controller): State<Shared>,
    QueryParams(how): QueryParams<DryRunQuery>,
    who: RequestCaller,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, Problem> {
    let body = body?;
    if !YAMLS.contains(&content_type(&headers).as_str()) {
        return Err(Problem::new(ProblemCode::UnsupportedType, "the whole file is `application/yaml`"));
    }
    let text = String::from_utf8(body.to_vec())
        .map_err(|_| Problem::new(ProblemCode::InvalidRequest, "the body is not UTF-8"))?;
    let base = base(&headers)?;
    edit(&controller, base, RequestedChange::Whole(text), how.dry_run, who.of(how.owner)).await
}

/// Which revisions are kept.
pub async fn history(State(controller): State<Shared>) -> Json<Revisions> {
    let known = controller.revisions(MOST_REVISIONS).into_iter();
    Json(Revisions { revisions: known.map(|(revision, at)| Revision { revision, at }).collect() })
}

/// The text of one.
pub async fn revision(
    State(controller): State<Shared>,
    PathParam(revision): PathParam<u64>,
) -> Result<Response, Problem> {
    let text = text_of(&controller, revision)?;
    Ok(([(header::CONTENT_TYPE, YAML)], text).into_response())
}

/// An edit that makes the file what it was: a new revision, not a step back.
pub async fn revert(
    State(controller): State<Shared>,
    PathParam(revision): PathParam<u64>,
    QueryParams(how): QueryParams<DryRunQuery>,
    who: RequestCaller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let text = text_of(&controller, revision)?;
    let base = base(&headers)?;
    edit(&controller, base, RequestedChange::Whole(text), how.dry_run, who.of(how.owner)).await
}

fn text_of(controller: &Shared, revision: u64) -> Result<String, Problem> {
    let kept = controller.revision_text(revision)?;
    kept.ok_or_else(|| Problem::new(ProblemCode::NoSuchRevision, format!("revision {revision} is not kept")))
}

/// A hold of this name: made, or changed to this.
pub async fn hold(
    State(controller): State<Shared>,
    PathParam(name): PathParam<String>,
    QueryParams(how): QueryParams<DryRunQuery>,
    who: RequestCaller,
    JsonBody(hold): JsonBody<HoldRequest>,
) -> Result<Response, Problem> {
    mine(&controller, &name, &hold.owner)?;
    let who = who.of(Some(hold.owner.clone()));
    // A merge patch keeps what it does not name.
    let value =
        json!({ "owner": hold.owner, "reason": hold.reason, "until": hold.until, "object": hold.object });
    let change = RequestedChange::Merge(json!({ "holds": { name: value } }));
    edit(&controller, None, change, how.dry_run, who).await
}

/// The hold is over.
pub async fn release(
    State(controller): State<Shared>,
    PathParam(name): PathParam<String>,
    QueryParams(how): QueryParams<DryRunQuery>,
    who: RequestCaller,
) -> Result<Response, Problem> {
    let owner = how
        .owner
        .clone()
        .or_else(|| who.owner.clone())
        .ok_or_else(|| Problem::new(ProblemCode::InvalidRequest, "name whose hold it is: `?owner=…`"))?;
    if !mine(&controller, &name, &owner)? {
        return Err(Problem::new(ProblemCode::NoSuchHold, format!("no hold is named `{name}`")));
    }
    let current = controller.desired_now()?;
    let who = who.of(Some(owner));
    let change = RequestedChange::Merge(json!({ "holds": { name: Value::Null } }));
    edit(&controller, Some(EditBase::Tags(vec![current.tag])), change, how.dry_run, who).await
}

/// Is there a hold of this name?
///
/// # Errors
/// [`ProblemCode::Held`] when it is in force and somebody else's.
fn mine(controller: &Shared, name: &str, owner: &str) -> Result<bool, Problem> {
    match controller.desired_now()?.hold(name, owner, controller.now())? {
        HoldAccess::Absent => Ok(false),
        HoldAccess::Free => Ok(true),
        HoldAccess::Of(holder) => {
            let detail = format!("`{name}` is held by {holder}; it is theirs to release");
            Err(Problem::new(ProblemCode::Held, detail).with("hold", name).with("owner", holder))
        }
    }
}

/// What callers of the original know: another model in the main slot.
pub async fn swap(
    State(controller): State<Shared>,
    who: RequestCaller,
    JsonBody(wish): JsonBody<Swap>,
) -> Result<Response, Problem> {
    let change = || RequestedChange::Merge(json!({ "model": wish.model }));
    let preview = edited(&controller, request(None, change(), true, &who)).await?;
    if let Some((Reason::Held, message)) = blocked_in_main(&preview) {
        return Err(Problem::new(ProblemCode::Held, message));
    }
    // What was looked at is what is written: a hold that came in between is a conflict.
    let base = Some(EditBase::Tags(vec![preview.tag]));
    let edited = edited(&controller, request(base, change(), false, &who)).await;
    let edited = edited.map_err(|error| clash(&controller, error))?;
    let waits = blocked_in_main(&edited).filter(|(reason, _)| *reason == Reason::ApprovalNeeded);
    let tag = edited.tag.clone();
    let answer = EditOutcome::from(edited);
    if let Some((_, message)) = waits {
        let problem = Problem::new(ProblemCode::ApprovalNeeded, message);
        let id = answer.plan.as_ref().map(|plan| plan.id.clone());
        return Err(problem.with("plan", id).with("revision", answer.revision));
    }
    Ok(tagged((StatusCode::ACCEPTED, Json(answer)).into_response(), &tag))
}

/// Why nothing is done in the main slot.
fn blocked_in_main(edited: &crate::controller::edit::Edited) -> Option<(Reason, String)> {
    edited.plan.as_ref()?.of(&Object::main()).and_then(blocked)
}

fn blocked(work: &Work) -> Option<(Reason, String)> {
    match &work.verdict {
        Verdict::Blocked { reason, message } => Some((*reason, message.clone())),
        Verdict::Open | Verdict::Waiting { .. } => None,
    }
}

fn request(
    base: Option<EditBase>,
    change: RequestedChange,
    dry_run: bool,
    who: &RequestCaller,
) -> EditRequest {
    let owner = who.owner.clone();
    EditRequest { dry_run, role: who.role, owner, ..EditRequest::local(base, change, who.by.clone()) }
}

async fn edit(
    controller: &Shared,
    base: Option<EditBase>,
    change: RequestedChange,
    dry_run: bool,
    who: RequestCaller,
) -> Result<Response, Problem> {
    let request = request(base, change, dry_run, &who);
    let edited = edited(controller, request).await.map_err(|error| clash(controller, error))?;
    let tag = edited.tag.clone();
    Ok(tagged(Json(EditOutcome::from(edited)).into_response(), &tag))
}

/// Files and locks are waited for where nobody else waits behind them.
pub async fn edited(
    controller: &Shared,
    request: EditRequest,
) -> Result<crate::controller::edit::Edited, NotEdited> {
    edited_within(EDIT_DEADLINE, controller, request).await
}

/// The same, for so long.
///
/// # Errors
/// [`NotEdited::Late`] when it did not end: it goes on, and nobody waits for it.
pub async fn edited_within(
    limit: Duration,
    controller: &Shared,
    request: EditRequest,
) -> Result<crate::controller::edit::Edited, NotEdited> {
    let controller = controller.clone();
    let editing = tokio::task::spawn_blocking(move || controller.edit(&request));
    let ended = tokio::time::timeout(limit, editing).await.map_err(|_| NotEdited::Late(limit.as_secs()))?;
    ended.map_err(|error| NotEdited::Io(std::io::Error::other(error)))?
}

/// Who meets somebody else's edit is told what the file holds now.
fn clash(controller: &Shared, error: NotEdited) -> Problem {
    let is_clash = matches!(error, NotEdited::Conflict { .. } | NotEdited::ConcurrentEdit { .. });
    let problem = Problem::from(error);
    match controller.desired_now() {
        Ok(current) if is_clash => {
            let value = current.value.as_deref().cloned().unwrap_or_default();
            let problem =
                problem.with("revision", current.revision).with("tag", format!("\"{}\"", current.tag));
            problem.with("current", value)
        }
        Ok(_) | Err(_) => problem,
    }
}

/// `If-Match`: tags as the ETag of `GET desired` has them, or `*` for whatever is there. A proxy that packs answers makes a weak one
/// of it, or puts a word behind it: it names the same text.
fn base(headers: &HeaderMap) -> Result<Option<EditBase>, Problem> {
    let mut written =
        headers.get_all(header::IF_MATCH).iter().map(|value| value.to_str().unwrap_or_default()).peekable();
    if written.peek().is_none() {
        let detail = "name what the edit was made from in `If-Match`: the ETag of `GET desired`";
        return Err(Problem::new(ProblemCode::PreconditionRequired, detail));
    }
    let mut tags = Vec::new();
    for entry in written.flat_map(|written| written.split(',')).map(str::trim) {
        if entry == "*" {
            return Ok(None);
        }
        let quoted = entry.strip_prefix("W/").unwrap_or(entry);
        let inside = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let tag = inside.and_then(|inside| inside.parse::<FileTag>().ok()).ok_or_else(|| {
            Problem::new(
                ProblemCode::InvalidRequest,
                "`If-Match` is the ETag of `GET desired` in its quotes, or *",
            )
        })?;
        tags.push(tag);
    }
    Ok(Some(EditBase::Tags(tags)))
}

/// The type of the body, in small letters.
fn content_type(headers: &HeaderMap) -> String {
    let written = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    written.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn tagged(mut response: Response, tag: &FileTag) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
