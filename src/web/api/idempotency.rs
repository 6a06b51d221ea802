//! `Idempotency-Key`: a request that comes twice, since its answer was lost on the way, is done once.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::{
    limits::MAX_BODY,
    problem::{Problem, ProblemCode},
    request::Shared,
};
use crate::{controller::authenticator::Caller, core::model::spec_hash::hex, store::answers::StoredResponse};

const LONGEST_KEY: usize = 255;
/// A plan of a hundred models is a tenth of it; what is longer is not kept, and done again.
const LONGEST_ANSWER: usize = 1 << 20;

/// Keys whose first request is under way.
#[derive(Clone, Default)]
pub struct KeysUnderWay(Arc<Mutex<BTreeSet<String>>>);

struct KeyGuard {
    key: String,
    all: KeysUnderWay,
}

impl KeysUnderWay {
    fn take(&self, key: &str) -> Option<KeyGuard> {
        let is_new = self.0.lock().insert(key.to_owned());
        is_new.then(|| KeyGuard { key: key.to_owned(), all: self.clone() })
    }
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.key);
    }
}

pub async fn once(
    State((controller, under_way)): State<(Shared, KeysUnderWay)>,
    request: Request,
    next: Next,
) -> Response {
    match request.headers().get("idempotency-key").cloned() {
        None => next.run(request).await,
        Some(key) => keyed(&controller, &under_way, &key, request, next)
            .await
            .unwrap_or_else(IntoResponse::into_response),
    }
}

async fn keyed(
    controller: &Shared,
    under_way: &KeysUnderWay,
    key: &HeaderValue,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let key = key.to_str().ok().filter(|key| {
        !key.is_empty() && key.len() <= LONGEST_KEY && key.bytes().all(|byte| byte.is_ascii_graphic())
    });
    let key = key.ok_or_else(|| {
        let detail = format!("`Idempotency-Key` is up to {LONGEST_KEY} printable letters");
        Problem::new(ProblemCode::InvalidRequest, detail)
    })?;
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY).await.map_err(|_| {
        Problem::new(ProblemCode::TooLarge, "the body is too large, or did not come to its end")
    })?;
    // Nobody gets the answer that somebody else got.
    let who = parts.extensions.get::<Caller>().and_then(|asker| asker.name.clone()).unwrap_or_default();
    let key = format!("{who} {key}");
    let mut asked = Sha256::new();
    asked.update(format!("{} {}\n", parts.method, parts.uri));
    for name in [header::IF_MATCH, header::CONTENT_TYPE, header::ACCEPT] {
        asked.update(parts.headers.get(name).map_or(&[][..], HeaderValue::as_bytes));
        asked.update(b"\n");
    }
    asked.update(&body);
    let asked = hex(&asked.finalize());
    let Some(_taken) = under_way.take(&key) else {
        return Err(Problem::new(ProblemCode::KeyInUse, "a request with this key is under way"));
    };
    if let Some(known) = controller.answer(&key)? {
        if known.request != asked {
            return Err(Problem::new(ProblemCode::KeyReused, "this key was sent with another request"));
        }
        return Ok(again(known));
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    // What failed here may do better the next time, and does nothing twice.
    if response.status().is_server_error() {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let body = to_bytes(body, LONGEST_ANSWER)
        .await
        .map_err(|_| Problem::new(ProblemCode::ResponseNotStored, "it is done; ask what is there now"))?;
    // What may do better a moment later is tried again then.
    let problem: Option<serde_json::Value> =
        head.status.is_client_error().then(|| serde_json::from_slice(&body).ok()).flatten();
    if problem.is_some_and(|problem| problem["retryable"] == true) {
        return Ok(Response::from_parts(head, Body::from(body)));
    }
    let answer = StoredResponse {
        request: asked,
        status: head.status.as_u16(),
        kind: text_of(&head.headers, header::CONTENT_TYPE).unwrap_or_default(),
        tag: text_of(&head.headers, header::ETAG),
        body: body.to_vec(),
    };
    // It is done: whoever asked is told so, and a second request is done again.
    if let Err(error) = controller.keep_answer(&key, &answer) {
        tracing::error!("keeping what a request was answered: {error}");
    }
    Ok(Response::from_parts(head, Body::from(body)))
}

/// What a header says.
fn text_of(headers: &header::HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn again(known: StoredResponse) -> Response {
    let status = StatusCode::from_u16(known.status).unwrap_or(StatusCode::OK);
    let mut response = (status, known.body).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    for (name, value) in [(header::CONTENT_TYPE, Some(known.kind)), (header::ETAG, known.tag)] {
        let value = value.filter(|value| !value.is_empty());
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(name, value);
        }
    }
    headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    response
}
