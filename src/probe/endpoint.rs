//! One HTTP endpoint: does something answer, and is it what it should be?

use std::{pin::Pin, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;

use crate::core::{
    desired::{Secret, ServiceKind},
    observed::{Completion, Endpoint, EndpointAnswer, EngineAnswer, EngineLoad, ServedModel},
};

/// Static answers come in milliseconds; a busy machine may need a second.
const SHALLOW: Duration = Duration::from_secs(5);
/// One token, on an engine that may have to compile a kernel for it first.
const DEEP: Duration = Duration::from_secs(30);
/// An idle engine is asked for a token this often; a container is asked at once.
const COMPLETION_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// A request to an endpoint.
pub struct Request {
    pub url: String,
    /// A JSON body makes it a POST.
    pub body: Option<serde_json::Value>,
    pub api_key: Option<Secret>,
    pub deadline: Duration,
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// The machine said that nothing listens there.
    Refused,
    /// Anything else: not known.
    Silent(String),
}

pub type Reply<'a> = Pin<Box<dyn Future<Output = Result<(u16, String), NoAnswer>> + Send + 'a>>;

/// How endpoints are reached: `reqwest` for real, the simulated world in tests.
pub trait Http: Send + Sync {
    fn send(&self, request: Request) -> Reply<'_>;
}

#[derive(Debug, Clone)]
pub struct Target {
    pub address: String,
    pub port: u16,
    pub https: bool,
    pub ask: Ask,
}

#[derive(Debug, Clone)]
pub enum Ask {
    /// An OpenAI-compatible engine. `served` is the name to ask a completion of.
    Engine { served: Option<String>, container: Option<String>, api_key: Option<Secret> },
    /// 2xx at this path.
    Path(String),
}

impl Ask {
    /// The question that shows that a service of this kind is up.
    pub fn of(kind: ServiceKind, path: Option<&str>) -> Self {
        if let Some(path) = path {
            return Self::Path(path.to_owned());
        }
        match kind {
            ServiceKind::Vllm => Self::Engine { served: None, container: None, api_key: None },
            ServiceKind::Asr | ServiceKind::Embeddings | ServiceKind::Rerank => {
                Self::Path("/v1/models".into())
            }
            ServiceKind::Qdrant => Self::Path("/readyz".into()),
            ServiceKind::Diarization | ServiceKind::Tts | ServiceKind::RedactionNer => {
                Self::Path("/health".into())
            }
            ServiceKind::Bot | ServiceKind::Http => Self::Path("/".into()),
        }
    }
}

/// Ask. `last` is the previous answer of the same object; its completion is kept while it is young.
pub async fn probe(
    http: &dyn Http,
    target: &Target,
    last: Option<&Endpoint>,
    now: Timestamp,
) -> EndpointAnswer {
    let scheme = if target.https { "https" } else { "http" };
    let base = format!("{scheme}://{}:{}", target.address, target.port);
    match &target.ask {
        Ask::Path(path) => {
            let request =
                Request { url: format!("{base}{path}"), body: None, api_key: None, deadline: SHALLOW };
            match http.send(request).await {
                Ok((200..=299, _)) => EndpointAnswer::Up,
                Ok((status, _)) => EndpointAnswer::Wrong { why: format!("{path} answered {status}") },
                Err(NoAnswer::Refused) => EndpointAnswer::Refused,
                Err(NoAnswer::Silent(why)) => EndpointAnswer::Silent { why },
            }
        }
        Ask::Engine { served, container, api_key } => {
            engine(http, &base, served.as_deref(), container.as_deref(), api_key.as_ref(), last, now).await
        }
    }
}

#[derive(Deserialize)]
struct Models {
    data: Vec<Card>,
}

#[derive(Deserialize)]
struct Card {
    id: String,
    root: Option<String>,
}

async fn engine(
    http: &dyn Http,
    base: &str,
    served: Option<&str>,
    container: Option<&str>,
    api_key: Option<&Secret>,
    last: Option<&Endpoint>,
    now: Timestamp,
) -> EndpointAnswer {
    let get = |path: &str| Request {
        url: format!("{base}{path}"),
        body: None,
        api_key: api_key.cloned(),
        deadline: SHALLOW,
    };
    let (models, health, metrics) =
        tokio::join!(http.send(get("/v1/models")), http.send(get("/health")), http.send(get("/metrics")));
    let models = match models {
        Ok((200, body)) => match serde_json::from_str::<Models>(&body) {
            Ok(models) => models.data,
            Err(_) => return EndpointAnswer::Wrong { why: "/v1/models is not a list of models".into() },
        },
        Ok((401 | 403, _)) => {
            return EndpointAnswer::Wrong { why: "it wants an API key; set `api_key`".into() };
        }
        Ok((status, _)) => return EndpointAnswer::Wrong { why: format!("/v1/models answered {status}") },
        Err(NoAnswer::Refused) => return EndpointAnswer::Refused,
        Err(NoAnswer::Silent(why)) => return EndpointAnswer::Silent { why },
    };
    let models: Vec<ServedModel> = models
        .into_iter()
        .map(|card| ServedModel { root: card.root.unwrap_or_else(|| card.id.clone()), id: card.id })
        .collect();
    let healthy = !matches!(health, Ok((503, _)));
    let load = match metrics {
        Ok((200, body)) => load(&body),
        _ => None,
    };
    let before = match last.map(|last| &last.answer) {
        Some(EndpointAnswer::Engine(engine)) => Some(engine),
        _ => None,
    };
    let completion = match served.filter(|served| models.iter().any(|model| model.id == *served)) {
        Some(served) if container.is_some() => {
            completion(http, base, served, api_key, &models, load.as_ref(), before, now).await
        }
        _ => Completion::NotTried,
    };
    EndpointAnswer::Engine(EngineAnswer { models, healthy, load, completion })
}

#[allow(clippy::too_many_arguments)] // one question with all that decides whether to ask it
async fn completion(
    http: &dyn Http,
    base: &str,
    served: &str,
    api_key: Option<&Secret>,
    models: &[ServedModel],
    load: Option<&EngineLoad>,
    before: Option<&EngineAnswer>,
    now: Timestamp,
) -> Completion {
    // An answer of the same models stands for a while; a change, a failure or its age asks again.
    if let Some(before) = before.filter(|before| before.models == models)
        && let Completion::Proven { at } = before.completion
    {
        let young = now.duration_since(at) < COMPLETION_EVERY;
        let busy = load.is_some_and(|load| load.running > 0.0);
        let progressed = match (load, &before.load) {
            (Some(load), Some(before)) => load.progress > before.progress,
            _ => false,
        };
        if young || (busy && progressed) {
            return before.completion.clone();
        }
    }
    let request = Request {
        url: format!("{base}/v1/chat/completions"),
        body: Some(json!({
            "model": served,
            "messages": [{ "role": "user", "content": "ping" }],
            "max_tokens": 1,
            "temperature": 0,
            "stream": false,
        })),
        api_key: api_key.cloned(),
        deadline: DEEP,
    };
    match http.send(request).await {
        Ok((200, body)) if has_token(&body) => Completion::Proven { at: now },
        Ok((200, _)) => Completion::Failed { at: now, why: "it held no token".into() },
        Ok((status, _)) => Completion::Failed { at: now, why: format!("it answered {status}") },
        Err(NoAnswer::Refused) => Completion::Failed { at: now, why: "the connection was refused".into() },
        Err(NoAnswer::Silent(why)) => Completion::Failed { at: now, why },
    }
}

/// `usage.completion_tokens >= 1`, or a finish reason. Empty text is fine: some models only reason.
fn has_token(body: &str) -> bool {
    let Ok(answer) = serde_json::from_str::<serde_json::Value>(body) else { return false };
    let tokens = answer.pointer("/usage/completion_tokens").and_then(serde_json::Value::as_u64).unwrap_or(0);
    let finish = answer.pointer("/choices/0/finish_reason").and_then(serde_json::Value::as_str);
    tokens >= 1 || matches!(finish, Some("stop" | "length"))
}

/// Requests and progress out of Prometheus text. Families come with and without `_total`; labels are summed over.
fn load(text: &str) -> Option<EngineLoad> {
    let sum = |names: &[&str]| {
        let mut found = None;
        for line in text.lines() {
            let name = line.split(['{', ' ']).next().unwrap_or("");
            if !names.contains(&name) {
                continue;
            }
            let value: f64 = line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or(f64::NAN);
            if value.is_finite() {
                *found.get_or_insert(0.0) += value;
            }
        }
        found
    };
    let running = sum(&["vllm:num_requests_running"])?;
    let waiting = sum(&["vllm:num_requests_waiting"]).unwrap_or(0.0);
    let progress = sum(&["vllm:generation_tokens_total", "vllm:generation_tokens"]).unwrap_or(0.0)
        + sum(&["vllm:prompt_tokens_total", "vllm:prompt_tokens"]).unwrap_or(0.0)
        + sum(&["vllm:iteration_tokens_total_count"]).unwrap_or(0.0);
    Some(EngineLoad { running, waiting, progress })
}

/// Over the network.
pub struct Network {
    client: reqwest::Client,
    secret: fn(&Secret) -> Result<String, String>,
}

impl Network {
    /// # Panics
    /// When the TLS library cannot be set up: a build without it.
    pub fn new(secret: fn(&Secret) -> Result<String, String>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .local_address(std::net::IpAddr::from([0, 0, 0, 0]))
            .connect_timeout(Duration::from_secs(3))
            // The engine's server closes idle connections after 5 s; a younger one is never stale.
            .pool_idle_timeout(Duration::from_secs(3))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("the options are valid");
        Self { client, secret }
    }
}

/// More of an answer than this is not looked at.
const MAX_BODY: usize = 4 << 20;

impl Http for Network {
    fn send(&self, request: Request) -> Reply<'_> {
        Box::pin(async move {
            let mut builder = match &request.body {
                Some(body) => self.client.post(&request.url).json(body),
                None => self.client.get(&request.url),
            };
            if let Some(place) = &request.api_key {
                let key = (self.secret)(place).map_err(NoAnswer::Silent)?;
                builder = builder.bearer_auth(key);
            }
            let sending = async {
                let mut response = builder.send().await?;
                let status = response.status().as_u16();
                let mut body = Vec::new();
                while let Some(chunk) = response.chunk().await? {
                    body.extend_from_slice(&chunk);
                    if body.len() > MAX_BODY {
                        break;
                    }
                }
                Ok::<_, reqwest::Error>((status, String::from_utf8_lossy(&body).into_owned()))
            };
            match tokio::time::timeout(request.deadline, sending).await {
                Err(_) => Err(NoAnswer::Silent(format!("no answer within {} s", request.deadline.as_secs()))),
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => Err(no_answer(&error)),
            }
        })
    }
}

fn no_answer(error: &reqwest::Error) -> NoAnswer {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut last = String::new();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return NoAnswer::Refused;
        }
        last = cause.to_string();
        source = cause.source();
    }
    NoAnswer::Silent(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_metric_names_are_read_and_nan_is_no_number() {
        let new = "vllm:num_requests_running{engine=\"0\"} 1.0\nvllm:num_requests_running{engine=\"1\"} 2.0\n\
                   vllm:generation_tokens_total{a=\"b c\"} 10\nvllm:num_requests_waiting NaN\n";
        let load = super::load(new).unwrap();
        assert_eq!((load.running, load.waiting, load.progress), (3.0, 0.0, 10.0));
        let old = "vllm:num_requests_running 0\nvllm:generation_tokens 5\n";
        assert_eq!(super::load(old).unwrap().progress, 5.0);
        assert_eq!(super::load("other 1\n"), None);
    }

    #[test]
    fn a_reasoning_answer_without_text_counts_as_a_token() {
        assert!(has_token(r#"{"choices":[{"finish_reason":"length","message":{"content":null}}]}"#));
        assert!(!has_token(r#"{"choices":[],"usage":{"completion_tokens":0}}"#));
        assert!(!has_token("<html>"));
    }
}
