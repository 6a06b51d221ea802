//! Desired state: read, changed, put back. An edit names the revision that it was made from.

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    Body, Part, Query, Shared, Who, accepts,
    operation::{JSON_PATCH, MERGE_PATCH, YAML},
    problem::{Code, Problem},
    v1::desired::{DesiredState, DryRun, Edited, Hold, Revision, Revisions, Swap},
};
use crate::{
    controller::edit::{Asked, NotEdited, Request},
    core::{
        desired::Object,
        plan::{Reason, Verdict, Work},
    },
};

/// Ours, and what others send.
const YAMLS: [&str; 3] = [YAML, "application/x-yaml", "text/yaml"];
/// More than a person scrolls through.
const MOST_REVISIONS: usize = 500;

/// What the file holds: the text for who accepts YAML, its value for everybody else.
pub async fn get(State(controller): State<Shared>, headers: HeaderMap) -> Result<Response, Problem> {
    let current = controller.desired_now()?;
    let mut response = if YAMLS.iter().any(|kind| accepts(&headers, kind)) {
        ([(header::CONTENT_TYPE, YAML)], current.text.to_string()).into_response()
    } else {
        Json(DesiredState { revision: current.revision, value: current.value }).into_response()
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(tagged(response, current.revision))
}

/// RFC 7396 or RFC 6902, by the type of the body.
pub async fn patch(
    State(controller): State<Shared>,
    Query(how): Query<DryRun>,
    Who(by): Who,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, Problem> {
    let body = body?;
    let kind = content_type(&headers);
    let parse = || {
        let value: Result<Value, _> = serde_json::from_slice(&body);
        value.map_err(|_| Problem::new(Code::InvalidRequest, "the body is not JSON"))
    };
    let change = match kind {
        MERGE_PATCH => Asked::Merge(parse()?),
        JSON_PATCH => Asked::Patch(parse()?),
        _ => {
            let detail = format!("a patch is `{MERGE_PATCH}` or `{JSON_PATCH}`");
            return Err(Problem::new(Code::UnsupportedType, detail));
        }
    };
    let base = base(&headers)?;
    edit(&controller, base, change, how.dry_run, by).await
}

/// The whole text.
pub async fn put(
    State(controller): State<Shared>,
    Query(how): Query<DryRun>,
    Who(by): Who,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, Problem> {
    let body = body?;
    if !YAMLS.contains(&content_type(&headers)) {
        return Err(Problem::new(Code::UnsupportedType, "the whole file is `application/yaml`"));
    }
    let text = String::from_utf8(body.to_vec())
        .map_err(|_| Problem::new(Code::InvalidRequest, "the body is not UTF-8"))?;
    let base = base(&headers)?;
    edit(&controller, base, Asked::Whole(text), how.dry_run, by).await
}

/// Which revisions are kept.
pub async fn history(State(controller): State<Shared>) -> Json<Revisions> {
    let known = controller.revisions(MOST_REVISIONS).into_iter();
    Json(Revisions { revisions: known.map(|(revision, at)| Revision { revision, at }).collect() })
}

/// The text of one.
pub async fn revision(
    State(controller): State<Shared>,
    Part(revision): Part<u64>,
) -> Result<Response, Problem> {
    let text = text_of(&controller, revision)?;
    Ok(([(header::CONTENT_TYPE, YAML)], text).into_response())
}

/// An edit that makes the file what it was: a new revision, not a step back.
pub async fn revert(
    State(controller): State<Shared>,
    Part(revision): Part<u64>,
    Query(how): Query<DryRun>,
    Who(by): Who,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let text = text_of(&controller, revision)?;
    let base = base(&headers)?;
    edit(&controller, base, Asked::Whole(text), how.dry_run, by).await
}

fn text_of(controller: &Shared, revision: u64) -> Result<String, Problem> {
    let kept = controller.revision_text(revision)?;
    kept.ok_or_else(|| Problem::new(Code::NoSuchRevision, format!("revision {revision} is not kept")))
}

/// A hold of this name: made, or changed to this.
pub async fn hold(
    State(controller): State<Shared>,
    Part(name): Part<String>,
    Query(how): Query<DryRun>,
    Who(by): Who,
    Body(hold): Body<Hold>,
) -> Result<Response, Problem> {
    // A merge patch keeps what it does not name.
    let value =
        json!({ "owner": hold.owner, "reason": hold.reason, "until": hold.until, "object": hold.object });
    let change = Asked::Merge(json!({ "holds": { name: value } }));
    edit(&controller, None, change, how.dry_run, by).await
}

/// The hold is over.
pub async fn release(
    State(controller): State<Shared>,
    Part(name): Part<String>,
    Query(how): Query<DryRun>,
    Who(by): Who,
) -> Result<Response, Problem> {
    let current = controller.desired_now()?;
    if current.value["holds"].get(&name).is_none() {
        return Err(Problem::new(Code::NoSuchHold, format!("no hold is named `{name}`")));
    }
    let change = Asked::Merge(json!({ "holds": { name: Value::Null } }));
    edit(&controller, current.revision, change, how.dry_run, by).await
}

/// What callers of the original know: another model in the main slot.
pub async fn swap(
    State(controller): State<Shared>,
    Who(by): Who,
    Body(wish): Body<Swap>,
) -> Result<Response, Problem> {
    let change = || Asked::Merge(json!({ "model": wish.model }));
    let of_main = |edited: &crate::controller::edit::Edited| {
        let work = edited.plan.as_ref().and_then(|plan| plan.of(&Object::main()));
        work.and_then(blocked)
    };
    let request = |base, dry_run| Request { base, change: change(), dry_run, create: false, by: by.clone() };
    let preview = edited(&controller, request(None, true)).await?;
    if let Some((Reason::Held, message)) = of_main(&preview) {
        return Err(Problem::new(Code::Held, message));
    }
    // What was looked at is what is written: a hold that came in between is a conflict.
    let edited = edited(&controller, request(preview.revision, false)).await;
    let edited = edited.map_err(|error| clash(&controller, error))?;
    let waits = of_main(&edited).filter(|(reason, _)| *reason == Reason::ApprovalNeeded);
    let answer = Edited::from(edited);
    if let Some((_, message)) = waits {
        let problem = Problem::new(Code::ApprovalNeeded, message);
        let id = answer.plan.as_ref().map(|plan| plan.id.clone());
        return Err(problem.with("plan", id).with("revision", answer.revision));
    }
    let revision = answer.revision;
    Ok(tagged((StatusCode::ACCEPTED, Json(answer)).into_response(), revision))
}

fn blocked(work: &Work) -> Option<(Reason, String)> {
    match &work.verdict {
        Verdict::Blocked { reason, message } => Some((*reason, message.clone())),
        Verdict::Open | Verdict::Waiting { .. } => None,
    }
}

async fn edit(
    controller: &Shared,
    base: Option<u64>,
    change: Asked,
    dry_run: bool,
    by: String,
) -> Result<Response, Problem> {
    let request = Request { base, change, dry_run, create: false, by };
    let edited = edited(controller, request).await.map_err(|error| clash(controller, error))?;
    let answer = Edited::from(edited);
    let revision = answer.revision;
    Ok(tagged(Json(answer).into_response(), revision))
}

/// Files and locks are waited for where nobody else waits behind them.
pub async fn edited(
    controller: &Shared,
    request: Request,
) -> Result<crate::controller::edit::Edited, NotEdited> {
    let controller = controller.clone();
    let editing = tokio::task::spawn_blocking(move || controller.edit(&request));
    editing.await.map_err(|error| NotEdited::Io(std::io::Error::other(error)))?
}

/// Who meets somebody else's edit is told what the file holds now.
fn clash(controller: &Shared, error: NotEdited) -> Problem {
    let is_clash = matches!(error, NotEdited::Conflict { .. } | NotEdited::Overtaken { .. });
    let problem = Problem::from(error);
    match controller.desired_now() {
        Ok(current) if is_clash => {
            problem.with("revision", current.revision).with("current", (*current.value).clone())
        }
        Ok(_) | Err(_) => problem,
    }
}

/// `If-Match`: the revision in quotes, or `*` for whatever is there.
fn base(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(written) = headers.get(header::IF_MATCH) else {
        let detail = "name the revision that the edit was made from in `If-Match`: the ETag of `GET desired`";
        return Err(Problem::new(Code::PreconditionRequired, detail));
    };
    let written = written.to_str().unwrap_or_default().trim();
    if written == "*" {
        return Ok(None);
    }
    let inside = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inside.and_then(|number| number.parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => {
            Err(Problem::new(Code::InvalidRequest, "`If-Match` is a revision in quotes, such as \"7\", or *"))
        }
    }
}

fn content_type(headers: &HeaderMap) -> &str {
    let written = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    written.split(';').next().unwrap_or_default().trim()
}

fn tagged(mut response: Response, revision: Option<u64>) -> Response {
    if let Some(tag) = revision.and_then(|revision| HeaderValue::from_str(&format!("\"{revision}\"")).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
