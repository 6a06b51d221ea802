//! One HTTP endpoint: does something answer, and is it what it should be?

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{
    completion::{Completions, Question},
    http::{Http, NoAnswer, Request},
};
use crate::core::{
    desired::{Object, Secret, ServiceKind},
    observed::{Completion, Endpoint, EndpointAnswer, EngineAnswer, EngineLoad, ServedModel},
};

/// Static answers come in milliseconds; a busy machine may need a second.
const SHALLOW: Duration = Duration::from_secs(5);
/// An idle engine is asked for a token this often; a container is asked at once.
const COMPLETION_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// A busy engine misses one now and then: what was proven is doubted after this many in a row.
const MAX_FAILURES: u32 = 3;

#[derive(Debug, Clone)]
pub struct Target {
    pub address: String,
    pub port: u16,
    pub https: bool,
    pub ask: Ask,
}

#[derive(Debug, Clone)]
pub enum Ask {
    /// An OpenAI-compatible engine.
    Engine(Engine),
    /// 2xx at this path.
    Path(String),
}

/// An engine, and what is known of it.
#[derive(Debug, Clone, Default)]
pub struct Engine {
    /// The name to ask a completion of; the first that it lists when absent.
    pub served: Option<String>,
    pub container: Option<String>,
    pub api_key: Option<Secret>,
}

impl Ask {
    /// The question that shows that a service of this kind is up; `engine` is for services that are engines.
    pub fn of(kind: ServiceKind, path: Option<&str>, engine: Engine) -> Self {
        if let Some(path) = path {
            return Self::Path(path.to_owned());
        }
        match kind {
            ServiceKind::Vllm => Self::Engine(engine),
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

/// Who asks, and for what.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    pub object: &'a Object,
    pub http: &'a Arc<dyn Http>,
    pub completions: &'a Completions,
}

/// Ask. `last` is the previous answer of the same object; its completion is kept while it is young.
pub async fn probe(
    asker: Asker<'_>,
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
            match asker.http.send(request).await {
                Ok((200..=299, _)) => EndpointAnswer::Up,
                Ok((status, _)) => EndpointAnswer::Wrong { why: format!("{path} answered {status}") },
                Err(NoAnswer::Refused) => EndpointAnswer::Refused,
                Err(NoAnswer::Silent(why)) => EndpointAnswer::Silent { why },
            }
        }
        Ask::Engine(asked) => engine(asker, &base, asked, last, now).await,
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
    asker: Asker<'_>,
    base: &str,
    asked: &Engine,
    last: Option<&Endpoint>,
    now: Timestamp,
) -> EndpointAnswer {
    let get = |path: &str| Request {
        url: format!("{base}{path}"),
        body: None,
        api_key: asked.api_key.clone(),
        deadline: SHALLOW,
    };
    let http = asker.http;
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
    let models: Vec<ServedModel> =
        models.into_iter().map(|card| ServedModel { root: card.root, id: card.id }).collect();
    let healthy = !matches!(health, Ok((503, _)));
    let load = match metrics {
        Ok((200, body)) => load(&body),
        _ => None,
    };
    let container = asked.container.clone();
    let completion = Completion::NotTried;
    let mut answer = EngineAnswer { container, models, healthy, load, completion, failures: 0 };
    let wanted = |model: &&ServedModel| asked.served.as_ref().is_none_or(|served| *served == model.id);
    if let Some(model) = answer.models.iter().find(wanted) {
        let question = Question {
            base: base.to_owned(),
            container: asked.container.clone(),
            model: model.id.clone(),
            api_key: asked.api_key.clone(),
        };
        let before = match last.map(|last| &last.answer) {
            Some(EndpointAnswer::Engine(before)) => Some(before),
            _ => None,
        };
        let before = before.filter(|old| old.models == answer.models && old.container == answer.container);
        let kept = before.and_then(|before| kept_completion(before, &answer, now));
        (answer.completion, answer.failures) = match kept {
            Some(kept) => (kept, 0),
            None => judged(before, asker.completions.ask(asker.object, question, asker.http, now).await),
        };
    }
    EndpointAnswer::Engine(answer)
}

/// What a new answer, or none yet, means after what was known of the same container and models.
fn judged(before: Option<&EngineAnswer>, answer: Option<Completion>) -> (Completion, u32) {
    let failures = before.map_or(0, |before| before.failures);
    let proven =
        before.map(|before| &before.completion).filter(|old| matches!(old, Completion::Proven { .. }));
    match (answer, proven) {
        (Some(Completion::Failed { .. }), Some(proven)) if failures + 1 < MAX_FAILURES => {
            (proven.clone(), failures + 1)
        }
        (Some(failed @ Completion::Failed { .. }), _) => (failed, failures + 1),
        (Some(answer), _) => (answer, 0),
        (None, Some(proven)) => (proven.clone(), failures),
        (None, None) => (Completion::Asked, failures),
    }
}

/// A completion stands for a while, and longer while the engine is seen to work.
fn kept_completion(before: &EngineAnswer, answer: &EngineAnswer, now: Timestamp) -> Option<Completion> {
    let Completion::Proven { at } = before.completion else { return None };
    let young = now.duration_since(at) < COMPLETION_EVERY;
    let works = match (&answer.load, &before.load) {
        (Some(load), Some(before)) => load.running > 0.0 && load.progress > before.progress,
        _ => false,
    };
    (young || works).then(|| before.completion.clone())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::http::Reply;

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

    /// An engine that serves `a` and counts what it is asked.
    #[derive(Default)]
    struct Fake {
        asked: std::sync::Mutex<Vec<(String, bool)>>,
        broken: bool,
    }

    impl Http for Fake {
        fn send(&self, request: Request) -> Reply<'_> {
            let path = request.url.rsplit_once(":1").unwrap().1.to_owned();
            self.asked.lock().unwrap().push((path.clone(), request.api_key.is_some()));
            let answer = match path.as_str() {
                "/v1/models" => (200, r#"{"data":[{"id":"a","root":"lab/a"}]}"#.to_owned()),
                "/v1/chat/completions" if self.broken => (500, String::new()),
                "/v1/chat/completions" => {
                    assert_eq!(request.body.unwrap()["model"], "a");
                    (200, r#"{"usage":{"completion_tokens":1}}"#.to_owned())
                }
                _ => (200, String::new()),
            };
            Box::pin(std::future::ready(Ok(answer)))
        }
    }

    fn ask(http: &Arc<Fake>, engine: Engine, last: Option<&EndpointAnswer>, at: &str) -> EndpointAnswer {
        let target = Target { address: "192.0.2.1".into(), port: 1, https: false, ask: Ask::Engine(engine) };
        let now = at.parse().unwrap();
        let last = last.map(|answer| Endpoint { at: now, answer: answer.clone() });
        let http: Arc<dyn Http> = http.clone();
        let (object, completions) = (Object::main(), Completions::default());
        let asker = Asker { object: &object, http: &http, completions: &completions };
        let asking = probe(asker, &target, last.as_ref(), now);
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(asking)
    }

    fn completions(http: &Fake) -> usize {
        http.asked.lock().unwrap().iter().filter(|(path, _)| path == "/v1/chat/completions").count()
    }

    fn in_container(id: &str) -> Engine {
        Engine { container: Some(id.into()), ..Engine::default() }
    }

    /// If this failed, what the last container answered would make its successor ready.
    #[test]
    fn a_completion_counts_for_its_container_and_for_a_while() {
        let http = Arc::new(Fake::default());
        let first = ask(&http, in_container("c1"), None, "2026-11-24T12:00:00Z");
        let EndpointAnswer::Engine(engine) = &first else { panic!("{first:?}") };
        assert!(matches!(engine.completion, Completion::Proven { .. }));
        ask(&http, in_container("c1"), Some(&first), "2026-11-24T12:00:59Z");
        assert_eq!(completions(&http), 1, "a young one stands");
        ask(&http, in_container("c1"), Some(&first), "2026-11-24T12:01:01Z");
        assert_eq!(completions(&http), 2, "an old one is asked again");
        ask(&http, in_container("c2"), Some(&first), "2026-11-24T12:00:01Z");
        assert_eq!(completions(&http), 3, "another container is asked at once");
    }

    /// If this failed, an engine that is only watched would look healthy because it lists its models.
    #[test]
    fn a_watched_engine_is_asked_for_a_token_too_with_its_key() {
        let http = Arc::new(Fake { broken: true, ..Fake::default() });
        let api_key = Some(Secret::Env(crate::core::name::Variable::new("KEY").unwrap()));
        let answer = ask(&http, Engine { api_key, ..Engine::default() }, None, "2026-11-24T12:00:00Z");
        let EndpointAnswer::Engine(engine) = &answer else { panic!("{answer:?}") };
        assert!(matches!(&engine.completion, Completion::Failed { why, .. } if why.contains("500")));
        assert!(http.asked.lock().unwrap().iter().all(|(_, with_key)| *with_key));
    }

    /// If this failed, one engine that hangs would hold up the look at everything else; or a busy one that misses a
    /// completion would be taken for dead.
    #[tokio::test(start_paused = true)]
    async fn an_engine_that_hangs_is_not_waited_for_and_doubted_after_three() {
        struct Hangs;
        impl Http for Hangs {
            fn send(&self, request: Request) -> Reply<'_> {
                Box::pin(async move {
                    if request.body.is_some() {
                        tokio::time::sleep(request.deadline).await;
                        return Err(NoAnswer::Silent("no answer".into()));
                    }
                    Ok((200, r#"{"data":[{"id":"a","root":"lab/a"}]}"#.to_owned()))
                })
            }
        }
        let http: Arc<dyn Http> = Arc::new(Hangs);
        let (object, completions) = (Object::main(), Completions::default());
        let asker = Asker { object: &object, http: &http, completions: &completions };
        let ask = Ask::Engine(in_container("c1"));
        let target = Target { address: "192.0.2.1".into(), port: 1, https: false, ask };
        let start: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let models = vec![ServedModel { id: "a".into(), root: Some("lab/a".into()) }];
        let completion = Completion::Proven { at: start };
        let container = Some("c1".to_owned());
        let engine = EngineAnswer { container, models, healthy: true, load: None, completion, failures: 0 };
        let mut last = Endpoint { at: start, answer: EndpointAnswer::Engine(engine) };
        let began = tokio::time::Instant::now();
        let mut doubted = None;
        for look in 1..200 {
            let asked = tokio::time::Instant::now();
            let now = start.checked_add(SignedDuration::from_secs(61)).unwrap();
            let answer = probe(asker, &target, Some(&last), now).await;
            assert!(asked.elapsed() <= Duration::from_secs(3), "look {look} took {:?}", asked.elapsed());
            let EndpointAnswer::Engine(engine) = &answer else { panic!("{answer:?}") };
            if matches!(engine.completion, Completion::Failed { .. }) {
                doubted = Some(began.elapsed());
                break;
            }
            last = Endpoint { at: now, answer };
        }
        assert_eq!(doubted.map(|time| time.as_secs()), Some(90), "three times its deadline");
    }
}
