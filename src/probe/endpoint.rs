//! One HTTP endpoint: does something answer, is it what it should be, and does it do what it is for?

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    engine::{self, EngineToAsk},
    functional_checks::{CheckRequest, FunctionalCheck},
    http::{HttpRequest, NoAnswer, RequestBody},
    pending_checks::{self, EndpointProbe},
};
use crate::core::model::{
    desired::{Secret, ServiceKind},
    id::ContainerId,
    observed::{CheckResult, Endpoint, EndpointAnswer, ServiceAnswer},
};

const SHALLOW: Duration = Duration::from_secs(5);
/// A service is asked for what it is for this often; another container, or one that was away, at once.
const PROOF_EVERY: SignedDuration = SignedDuration::from_mins(10);
/// Something that worked is taken for gone after this many looks in a row without an answer: busy machines miss some.
const MAX_MISSED: u32 = 3;

#[derive(Debug, Clone)]
pub struct EndpointTarget {
    /// `http://ADDRESS:PORT`
    pub url: String,
    pub ask: ProbeKind,
}

#[derive(Debug, Clone)]
pub enum ProbeKind {
    /// An OpenAI-compatible engine.
    Engine(EngineToAsk),
    Service(ServiceToAsk),
}

/// Another service than an engine.
#[derive(Debug, Clone)]
pub struct ServiceToAsk {
    pub container: Option<ContainerId>,
    pub api_key: Option<Secret>,
    /// 2xx at the first of these that it has.
    pub paths: Vec<String>,
    /// What it is for; `None` when nothing can be asked of its kind.
    pub deed: Option<FunctionalCheck>,
}

impl ProbeKind {
    /// The questions that show that a service of this kind is up. A `path` of the owner's is all that is asked.
    pub fn of(kind: ServiceKind, path: Option<&str>, engine: EngineToAsk) -> Self {
        let EngineToAsk { container, api_key, .. } = &engine;
        let service = |paths: &[&str], deed| {
            let paths = paths.iter().map(|path| (*path).to_owned()).collect();
            Self::Service(ServiceToAsk {
                container: container.clone(),
                api_key: api_key.clone(),
                paths,
                deed,
            })
        };
        if let Some(path) = path {
            return service(&[path], None);
        }
        // Servers of one kind differ in their routes.
        match kind {
            ServiceKind::Vllm => Self::Engine(engine),
            ServiceKind::Asr => service(&["/health", "/v1/models", "/"], Some(FunctionalCheck::Transcribe)),
            ServiceKind::Embeddings => {
                service(&["/health", "/v1/models", "/models"], Some(FunctionalCheck::Embed))
            }
            ServiceKind::Rerank => {
                service(&["/health", "/v1/models", "/models"], Some(FunctionalCheck::Rerank))
            }
            ServiceKind::Tts => service(&["/health", "/v1/models", "/"], Some(FunctionalCheck::Speak)),
            ServiceKind::RedactionNer => service(&["/health", "/"], Some(FunctionalCheck::Recognise)),
            ServiceKind::Diarization => {
                service(&["/health", "/v1/models", "/"], Some(FunctionalCheck::Diarize))
            }
            // It answers this only when every shard is loaded.
            ServiceKind::Qdrant => service(&["/readyz"], None),
            ServiceKind::Bot | ServiceKind::Http => service(&["/"], None),
        }
    }

    fn container(&self) -> Option<&ContainerId> {
        match self {
            Self::Engine(engine) => engine.container.as_ref(),
            Self::Service(service) => service.container.as_ref(),
        }
    }
}

/// Ask. `last` is the previous answer of the same object; what it proved is kept while it is young, and all of it while
/// only a look or two were missed.
pub async fn probe(
    asker: EndpointProbe<'_>,
    target: &EndpointTarget,
    last: Option<&Endpoint>,
    now: Timestamp,
) -> Endpoint {
    let base = &target.url;
    let known = last.map(|last| &last.answer);
    let answer = match &target.ask {
        ProbeKind::Engine(asked) => {
            let before = match known {
                Some(EndpointAnswer::Engine(before)) => Some(before),
                _ => None,
            };
            engine::probe(asker, base, asked, before, now).await
        }
        ProbeKind::Service(asked) => {
            let before = match known {
                Some(EndpointAnswer::Up(before)) => Some(before),
                _ => None,
            };
            service(asker, base, asked, before, now).await
        }
    };
    let missed = matches!(
        answer,
        EndpointAnswer::Silent { .. } | EndpointAnswer::Refused | EndpointAnswer::Wrong { .. }
    );
    match last.filter(|_| missed).and_then(|last| excused(last, target.ask.container())) {
        Some(kept) => kept,
        None => {
            let same = last.filter(|last| last.answer.is_like(&answer));
            Endpoint { at: now, since: same.map_or(now, |last| last.since), answer }
        }
    }
}

/// The last good answer of this container, as old as it is, when few were missed since.
fn excused(last: &Endpoint, container: Option<&ContainerId>) -> Option<Endpoint> {
    let mut kept = last.clone();
    let (of, missed, proof) = match &mut kept.answer {
        EndpointAnswer::Engine(engine) => (&engine.container, &mut engine.missed, &engine.completion),
        EndpointAnswer::Up(service) => (&service.container, &mut service.missed, &service.proof),
        EndpointAnswer::Refused | EndpointAnswer::Silent { .. } | EndpointAnswer::Wrong { .. } => {
            return None;
        }
    };
    *missed += 1;
    let excused =
        *missed < MAX_MISSED && of.as_ref() == container && matches!(proof, CheckResult::Proven { .. });
    excused.then_some(kept)
}

async fn service(
    asker: EndpointProbe<'_>,
    base: &str,
    asked: &ServiceToAsk,
    before: Option<&ServiceAnswer>,
    now: Timestamp,
) -> EndpointAnswer {
    let mut wrong = None;
    for path in &asked.paths {
        let request = HttpRequest {
            url: format!("{base}{path}"),
            body: RequestBody::None,
            api_key: asked.api_key.clone(),
            headers: Vec::new(),
            deadline: SHALLOW,
        };
        match asker.http.send(request).await {
            Ok((200..=299, _)) => {
                wrong = None;
                break;
            }
            Ok((status @ (404 | 405), _)) => wrong = wrong.or(Some((path, status))),
            Ok((status, _)) => {
                wrong = Some((path, status));
                break;
            }
            Err(NoAnswer::Refused) => return EndpointAnswer::Refused,
            Err(NoAnswer::Silent(why)) => return EndpointAnswer::Silent { why },
        }
    }
    if let Some((path, status)) = wrong {
        return EndpointAnswer::Wrong { why: format!("{path} answered {status}") };
    }
    let mut answer = ServiceAnswer { container: asked.container.clone(), ..ServiceAnswer::default() };
    let before = before.filter(|old| old.container == asked.container);
    (answer.proof, answer.failures) = match (&asked.deed, before.filter(|old| is_kept(old, now))) {
        (None, _) => (CheckResult::Proven { at: now }, 0),
        (Some(_), Some(old)) => (old.proof.clone(), 0),
        (Some(deed), None) => {
            let question = CheckRequest {
                base: base.to_owned(),
                container: asked.container.clone(),
                api_key: asked.api_key.clone(),
                deed: deed.clone(),
            };
            let known = before.map(|old| (&old.proof, old.failures));
            pending_checks::judged(known, asker.proofs.ask(asker.object, question, asker.http, now).await)
        }
    };
    EndpointAnswer::Up(answer)
}

/// What was proven of the service a moment ago still counts.
fn is_kept(old: &ServiceAnswer, now: Timestamp) -> bool {
    match old.proof {
        CheckResult::Proven { at } => {
            (SignedDuration::ZERO..PROOF_EVERY).contains(&now.duration_since(at)) && old.failures == 0
        }
        CheckResult::NotTried | CheckResult::Asked | CheckResult::Failed { .. } => false,
    }
}
