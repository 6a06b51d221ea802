//! An OpenAI-compatible engine: what it lists, what it says of itself, how its tokens move, and one of them on request.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{
    functional_checks::{CheckRequest, FunctionalCheck},
    http::{HttpRequest, NoAnswer, RequestBody},
    pending_checks::{self, EndpointProbe},
};
use crate::core::model::{
    desired::Secret,
    id::ContainerId,
    observed::{CheckResult, EndpointAnswer, EngineAnswer, EngineLoad, ServedModel},
    visible,
};

/// Static answers come in milliseconds; a busy machine may need a second.
const SHALLOW: Duration = Duration::from_secs(5);
/// Looks in a row whose metrics may be missing.
const MAX_UNREAD: u32 = 3;
/// An idle engine is asked for a token this often; a container is asked at once.
const COMPLETION_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// An engine, and what is known of it.
#[derive(Debug, Clone, Default)]
pub struct EngineToAsk {
    /// The name to ask a completion of; the first that it lists when absent.
    pub served: Option<String>,
    pub container: Option<ContainerId>,
    pub api_key: Option<Secret>,
}

#[derive(Deserialize)]
struct ModelList {
    data: Vec<ModelCard>,
}

#[derive(Deserialize)]
struct ModelCard {
    id: String,
    root: Option<String>,
}

/// A name that is asked for is 200 bytes at most; LoRA adapters are models of their own.
const MAX_MODELS: usize = 256;
const MAX_ID: usize = 256;
const MAX_ROOT: usize = 1024;

impl From<ModelCard> for ServedModel {
    fn from(card: ModelCard) -> Self {
        Self {
            id: visible::short(&card.id, MAX_ID).into(),
            root: card.root.map(|root| visible::short(&root, MAX_ROOT).into()),
        }
    }
}

/// Ask. `before` is the last answer of this object, of whatever container.
pub async fn probe(
    asker: EndpointProbe<'_>,
    base: &str,
    asked: &EngineToAsk,
    before: Option<&EngineAnswer>,
    now: Timestamp,
) -> EndpointAnswer {
    let http = asker.http;
    let (models, health, metrics) = tokio::join!(
        http.send(get(base, "/v1/models", asked)),
        http.send(get(base, "/health", asked)),
        http.send(get(base, "/metrics", asked)),
    );
    let models = match models {
        Ok((200, body)) => match serde_json::from_slice::<ModelList>(&body) {
            Ok(models) => models.data,
            Err(_) => return EndpointAnswer::Wrong { why: "/v1/models is not a list of models".into() },
        },
        Ok((401 | 403, _)) => {
            let why = match &asked.api_key {
                Some(_) => "it refuses the API key of the file",
                None => "it wants an API key; set `api_key`",
            };
            return EndpointAnswer::Wrong { why: why.into() };
        }
        Ok((status, _)) => return EndpointAnswer::Wrong { why: format!("/v1/models answered {status}") },
        Err(NoAnswer::Refused) => return EndpointAnswer::Refused,
        Err(NoAnswer::Silent(why)) => return EndpointAnswer::Silent { why },
    };
    let models: Vec<ServedModel> = models.into_iter().take(MAX_MODELS).map(ServedModel::from).collect();
    let load = match metrics {
        Ok((200, body)) => load(&String::from_utf8_lossy(&body)),
        Ok(_) | Err(_) => None,
    };
    let before = before.filter(|old| old.models == models && old.container == asked.container);
    // A busy engine misses some: what is known of its tokens is not forgotten with one of them.
    let (load, unread) = match (load, before) {
        (None, Some(old)) if old.unread < MAX_UNREAD => (old.load.clone(), old.unread + 1),
        (load, _) => (load, 0),
    };
    let mut answer = EngineAnswer {
        container: asked.container.clone(),
        healthy: !matches!(health, Ok((503, _))),
        still_since: load.as_ref().and_then(|load| still_since(load, before, now)),
        moved_at: load.as_ref().and_then(|load| moved_at(load, before, now)),
        unread,
        models,
        load,
        ..EngineAnswer::default()
    };
    let mut models = answer.models.iter();
    let wanted = models.find(|model| asked.served.as_ref().is_none_or(|served| model.id == served.as_str()));
    if let Some(model) = wanted {
        let question = CheckRequest {
            base: base.to_owned(),
            container: asked.container.clone(),
            api_key: asked.api_key.clone(),
            deed: FunctionalCheck::Complete { model: model.id.to_string() },
        };
        (answer.completion, answer.failures) = match before.filter(|old| is_kept(old, &answer, now)) {
            Some(old) => (old.completion.clone(), 0),
            None => {
                let known = before.map(|old| (&old.completion, old.failures));
                pending_checks::judged(known, asker.proofs.ask(asker.object, question, asker.http, now).await)
            }
        };
    }
    EndpointAnswer::Engine(answer)
}

/// The request for a path of the engine that is answered at once, if at all.
fn get(base: &str, path: &str, asked: &EngineToAsk) -> HttpRequest {
    HttpRequest {
        url: format!("{base}{path}"),
        body: RequestBody::None,
        api_key: asked.api_key.clone(),
        headers: Vec::new(),
        deadline: SHALLOW,
    }
}

/// A completion stands for a while, and for as long as the engine has requests: then its tokens tell, and one more request
/// would only wait behind them.
fn is_kept(before: &EngineAnswer, answer: &EngineAnswer, now: Timestamp) -> bool {
    let CheckResult::Proven { at } = before.completion else { return false };
    let busy = answer.load.as_ref().is_some_and(is_busy);
    // One from the future is from before the clock was set.
    (SignedDuration::ZERO..COMPLETION_EVERY).contains(&now.duration_since(at)) || busy
}

fn is_busy(load: &EngineLoad) -> bool {
    load.running > 0.0 || load.waiting > 0.0
}

/// Since when there are requests and no tokens. A counter that fell was set back by a restart, which is a movement too.
#[allow(clippy::float_cmp)] // the very same counter
fn still_since(load: &EngineLoad, before: Option<&EngineAnswer>, now: Timestamp) -> Option<Timestamp> {
    if !is_busy(load) {
        return None;
    }
    let moved = progress(before).is_none_or(|old| old != load.progress);
    let since = before.and_then(|old| old.still_since).filter(|_| !moved);
    Some(since.unwrap_or(now))
}

/// When a token was last seen to move.
#[allow(clippy::float_cmp)] // the very same counter
fn moved_at(load: &EngineLoad, before: Option<&EngineAnswer>, now: Timestamp) -> Option<Timestamp> {
    let moved = progress(before).is_some_and(|old| old != load.progress);
    if moved { Some(now) } else { before.and_then(|old| old.moved_at) }
}

fn progress(before: Option<&EngineAnswer>) -> Option<f64> {
    Some(before?.load.as_ref()?.progress)
}

/// Requests and progress out of Prometheus text. Families come with and without `_total`; labels are summed over.
pub fn load(text: &str) -> Option<EngineLoad> {
    let running = sum(text, &["vllm:num_requests_running"])?;
    let waiting = sum(text, &["vllm:num_requests_waiting"]).unwrap_or(0.0);
    let progress = sum(text, &["vllm:generation_tokens_total", "vllm:generation_tokens"]).unwrap_or(0.0)
        + sum(text, &["vllm:prompt_tokens_total", "vllm:prompt_tokens"]).unwrap_or(0.0)
        + sum(text, &["vllm:iteration_tokens_total_count"]).unwrap_or(0.0);
    Some(EngineLoad { running, waiting, progress })
}

/// The sum of all lines of these names; `None` when there is none.
fn sum(text: &str, names: &[&str]) -> Option<f64> {
    let mut found = None;
    for line in text.lines() {
        let name = line.split(['{', ' ']).next().unwrap_or("");
        if !names.contains(&name) {
            continue;
        }
        let value: f64 = line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or(f64::NAN);
        // What is no count would make the sum none.
        if (0.0..1e15).contains(&value) {
            *found.get_or_insert(0.0) += value;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::load;

    #[test]
    fn old_and_new_metric_names_are_read_and_nan_is_no_number() {
        let new = "vllm:num_requests_running{engine=\"0\"} 1.0\nvllm:num_requests_running{engine=\"1\"} 2.0\n\
                   vllm:generation_tokens_total{a=\"b c\"} 10\nvllm:num_requests_waiting NaN\n";
        let read = load(new).unwrap();
        assert_eq!((read.running, read.waiting, read.progress), (3.0, 0.0, 10.0));
        let old = "vllm:num_requests_running 0\nvllm:generation_tokens 5\n";
        assert_eq!(load(old).unwrap().progress, 5.0);
        assert_eq!(load("other 1\n"), None);
    }
}
