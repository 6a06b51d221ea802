//! The ways in which upstreams lie about their health, told by real HTTP servers to the real client.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router, body::Bytes, extract::State, http::Method, http::StatusCode, http::Uri, response::IntoResponse,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use spark_control::{
    core::{
        decide::health::{EngineJudgement, judge_engine},
        model::{
            desired::ServiceKind,
            object::Object,
            observed::{CheckResult, Endpoint, EndpointAnswer},
        },
    },
    probe::{
        endpoint::{EndpointTarget, ProbeKind, probe},
        engine::EngineToAsk,
        http::{Http, HttpClient},
        pending_checks::{EndpointProbe, PendingChecks},
    },
};

/// What a server answers to a path: status and body, `None` for never.
type Answers = Arc<Mutex<Box<dyn FnMut(&str) -> Option<(u16, Vec<u8>)> + Send>>>;

struct Upstream {
    port: u16,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
    http: Arc<dyn Http>,
    proofs: PendingChecks,
}

impl Upstream {
    async fn new(answers: impl FnMut(&str) -> Option<(u16, Vec<u8>)> + Send + 'static) -> Self {
        let answers: Answers = Arc::new(Mutex::new(Box::new(answers)));
        let router = Router::new().fallback(handle).with_state(answers);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(axum::serve(listener, router).into_future());
        let http = Arc::new(HttpClient::new(|_| Err("there is no secret here".into())));
        Self { port, server, http, proofs: PendingChecks::default() }
    }

    async fn ask(&self, ask: ProbeKind, last: Option<&Endpoint>, at: Timestamp) -> Endpoint {
        let target = EndpointTarget { url: format!("http://127.0.0.1:{}", self.port), ask };
        let object = Object::main();
        let asker = EndpointProbe { object: &object, http: &self.http, proofs: &self.proofs };
        probe(asker, &target, last, at).await
    }

    async fn ask_engine(&self, last: Option<&Endpoint>, at: Timestamp) -> Endpoint {
        self.ask(engine_in("c1"), last, at).await
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn handle(State(answers): State<Answers>, _: Method, uri: Uri, _: Bytes) -> impl IntoResponse {
    let answer = (answers.lock().unwrap())(uri.path());
    match answer {
        Some((status, body)) => (StatusCode::from_u16(status).unwrap(), body),
        None => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            (StatusCode::GATEWAY_TIMEOUT, Vec::new())
        }
    }
}

fn engine_in(container: &str) -> ProbeKind {
    ProbeKind::Engine(EngineToAsk { container: Some(container.into()), ..EngineToAsk::default() })
}

fn at(secs: i64) -> Timestamp {
    let start: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    start.checked_add(SignedDuration::from_secs(secs)).unwrap()
}

fn text(text: impl Into<String>) -> Option<(u16, Vec<u8>)> {
    Some((200, text.into().into_bytes()))
}

fn models() -> Option<(u16, Vec<u8>)> {
    text(r#"{"data":[{"id":"a","root":"lab/a"}]}"#)
}

fn token() -> Option<(u16, Vec<u8>)> {
    text(r#"{"usage":{"completion_tokens":1}}"#)
}

fn judged(endpoint: &Endpoint) -> EngineJudgement {
    let EndpointAnswer::Engine(engine) = &endpoint.answer else { panic!("{endpoint:?}") };
    judge_engine(engine, None, endpoint.at)
}

/// An engine whose metrics are these, with what else one needs.
fn engine(path: &str, metrics: &str) -> Option<(u16, Vec<u8>)> {
    match path {
        "/v1/models" => models(),
        "/metrics" => text(metrics),
        "/v1/chat/completions" => token(),
        _ => text(""),
    }
}

/// `/health` and the models answer for hours while the engine hangs: with a request in it, tokens tell.
#[tokio::test]
async fn green_everywhere_and_frozen_tokens_is_a_stall() {
    let upstream =
        Upstream::new(|path| engine(path, "vllm:num_requests_running 1\nvllm:generation_tokens_total 500\n"))
            .await;
    let mut last = upstream.ask_engine(None, at(0)).await;
    for secs in [5, 60, 115] {
        last = upstream.ask_engine(Some(&last), at(secs)).await;
        assert_eq!(judged(&last), EngineJudgement::Busy, "at {secs} s it may be a prefill");
    }
    last = upstream.ask_engine(Some(&last), at(121)).await;
    assert!(matches!(judged(&last), EngineJudgement::Stalled { .. }), "{last:?}");
}

/// A busy engine is not asked for another completion, whose answer would only wait behind the others.
#[tokio::test]
async fn tokens_that_move_are_proof_enough_and_a_reset_counter_moved() {
    let state = Arc::new(Mutex::new((0_u64, 0_usize)));
    let for_server = state.clone();
    let upstream = Upstream::new(move |path| {
        let mut state = for_server.lock().unwrap();
        if path == "/v1/chat/completions" {
            state.1 += 1;
        }
        engine(path, &format!("vllm:num_requests_running 4\nvllm:generation_tokens {}\n", state.0))
    })
    .await;
    let mut last = upstream.ask_engine(None, at(0)).await;
    for (secs, tokens) in [(100, 50), (200, 90), (300, 3), (400, 60)] {
        state.lock().unwrap().0 = tokens;
        last = upstream.ask_engine(Some(&last), at(secs)).await;
        assert_eq!(judged(&last), EngineJudgement::Busy, "at {secs} s");
    }
    assert_eq!(state.lock().unwrap().1, 1, "one to begin with");
}

#[tokio::test]
async fn requests_that_wait_while_none_runs_are_a_stall() {
    let upstream = Upstream::new(|path| {
        engine(
            path,
            "vllm:num_requests_running 0\nvllm:num_requests_waiting 2\nvllm:generation_tokens_total 5\n",
        )
    })
    .await;
    let first = upstream.ask_engine(None, at(0)).await;
    let later = upstream.ask_engine(Some(&first), at(35)).await;
    assert!(matches!(judged(&later), EngineJudgement::Stalled { why } if why.contains("none runs")));
}

/// An engine that knows that it is dead says 503 while everything else still answers.
#[tokio::test]
async fn a_health_of_503_is_death() {
    let upstream = Upstream::new(|path| match path {
        "/health" => Some((503, Vec::new())),
        path => engine(path, ""),
    })
    .await;
    assert_eq!(judged(&upstream.ask_engine(None, at(0)).await), EngineJudgement::Dead);
}

/// Without metrics, or with families of another name, an idle engine still proves itself by a token.
#[tokio::test]
async fn without_metrics_a_completion_tells() {
    for metrics in [None, text("something_else 1\n"), Some((404, Vec::new()))] {
        let upstream = Upstream::new(move |path| match path {
            "/metrics" => metrics.clone(),
            path => engine(path, ""),
        });
        let upstream = upstream.await;
        let asking = tokio::time::timeout(Duration::from_secs(9), upstream.ask_engine(None, at(0)));
        assert_eq!(judged(&asking.await.unwrap()), EngineJudgement::Ready);
    }
}

/// The errors that come as 200: a stream that breaks off with an error, a body that is none.
#[tokio::test]
async fn an_error_with_status_200_is_no_token() {
    for body in
        ["data: {\"error\":{\"message\":\"x\"}}\n\ndata: [DONE]\n\n", r#"{"error":"Unauthorized"}"#, ""]
    {
        let upstream = Upstream::new(move |path| match path {
            "/v1/chat/completions" => text(body),
            path => engine(path, ""),
        })
        .await;
        let answer = upstream.ask_engine(None, at(0)).await;
        assert!(matches!(judged(&answer), EngineJudgement::Degraded { .. }), "{body}: {answer:?}");
    }
}

#[tokio::test]
async fn an_overloaded_engine_is_doubted_after_three_refusals_and_one_success_is_enough() {
    let refuses = Arc::new(Mutex::new(false));
    let for_server = refuses.clone();
    let upstream = Upstream::new(move |path| match path {
        "/v1/chat/completions" if *for_server.lock().unwrap() => Some((503, Vec::new())),
        path => engine(path, ""),
    })
    .await;
    let mut last = upstream.ask_engine(None, at(0)).await;
    *refuses.lock().unwrap() = true;
    for (look, expected) in [(1, true), (2, true), (3, false)] {
        last = upstream.ask_engine(Some(&last), at(61 + look)).await;
        assert_eq!(judged(&last) == EngineJudgement::Ready, expected, "after {look} refusals");
    }
    *refuses.lock().unwrap() = false;
    last = upstream.ask_engine(Some(&last), at(70)).await;
    assert_eq!(judged(&last), EngineJudgement::Ready);
}

/// Another model's answer on that port, and a proof of an earlier container, prove nothing of this one.
#[tokio::test]
async fn a_late_answer_of_another_container_counts_for_nothing() {
    let asked = Arc::new(Mutex::new(0));
    let for_server = asked.clone();
    let upstream = Upstream::new(move |path| match path {
        "/v1/chat/completions" => {
            *for_server.lock().unwrap() += 1;
            Some((500, Vec::new()))
        }
        path => engine(path, ""),
    })
    .await;
    let proven = Endpoint {
        at: at(0),
        since: at(0),
        answer: EndpointAnswer::Engine(spark_control::core::model::observed::EngineAnswer {
            container: Some("c0".into()),
            healthy: true,
            completion: CheckResult::Proven { at: at(0) },
            ..Default::default()
        }),
    };
    let answer = upstream.ask(engine_in("c1"), Some(&proven), at(1)).await;
    assert!(matches!(judged(&answer), EngineJudgement::Degraded { .. }), "{answer:?}");
    assert_eq!(*asked.lock().unwrap(), 1);
}

/// A port that is open says nothing: a proxy may hold it. Silence is not known, refusal is.
#[tokio::test]
async fn silence_and_refusal_are_told_apart_and_excused_twice() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // It accepts and closes at once, as docker-proxy does while nothing listens behind it.
    let server = tokio::spawn(async move {
        loop {
            let _ = listener.accept().await;
        }
    });
    let mut upstream = Upstream::new(|path| engine(path, "")).await;
    let good = upstream.ask_engine(None, at(0)).await;
    let good_port = upstream.port;
    upstream.port = port;
    let reset = upstream.ask_engine(None, at(1)).await;
    assert!(matches!(reset.answer, EndpointAnswer::Silent { .. }), "{reset:?}");
    server.abort();
    let mut last = good.clone();
    for (look, excused) in [(1, true), (2, true), (3, false)] {
        last = upstream.ask_engine(Some(&last), at(look)).await;
        assert_eq!(matches!(last.answer, EndpointAnswer::Engine(_)), excused, "after {look}");
        assert!(!excused || last.at == good.at, "it is as old as it is");
    }
    let other = upstream.ask(engine_in("c2"), Some(&good), at(4)).await;
    assert!(!matches!(other.answer, EndpointAnswer::Engine(_)), "another container has no excuse");
    upstream.port = good_port;
    assert_eq!(judged(&upstream.ask_engine(Some(&last), at(5)).await), EngineJudgement::Ready);
}

async fn service(
    kind: ServiceKind,
    answers: impl FnMut(&str) -> Option<(u16, Vec<u8>)> + Send + 'static,
) -> EndpointAnswer {
    let upstream = Upstream::new(answers).await;
    upstream.ask(ProbeKind::of(kind, None, EngineToAsk::default()), None, at(0)).await.answer
}

fn proof(answer: &EndpointAnswer) -> &CheckResult {
    let EndpointAnswer::Up(service) = answer else { panic!("{answer:?}") };
    &service.proof
}

fn failure(answer: &EndpointAnswer) -> String {
    let CheckResult::Failed { why, .. } = proof(answer) else { panic!("{answer:?}") };
    why.clone()
}

/// Kokoro's `/health` is a constant.
#[tokio::test]
async fn a_speech_server_speaks() {
    let tone: Vec<u8> = (0..6000_i16).flat_map(|n| (n % 100 * 50).to_le_bytes()).collect();
    let says = |body: Vec<u8>| {
        move |path: &str| match path {
            "/health" => text(r#"{"status":"healthy"}"#),
            "/v1/audio/speech" => Some((200, body.clone())),
            _ => Some((404, Vec::new())),
        }
    };
    assert!(matches!(proof(&service(ServiceKind::Tts, says(tone)).await), CheckResult::Proven { .. }));
    assert!(failure(&service(ServiceKind::Tts, says(vec![0; 20_000])).await).contains("silence"));
    assert!(failure(&service(ServiceKind::Tts, says(Vec::new())).await).contains("0 bytes"));
}

#[tokio::test]
async fn an_embedder_embeds_and_a_reranker_scores_in_either_dialect() {
    let vector = |length: usize| vec![1.0 / f64::from(u32::try_from(length).unwrap()).sqrt(); length];
    let embeds = |numbers: Vec<f64>| {
        move |path: &str| match path {
            "/v1/models" => text(r#"{"data":[{"id":"BAAI/bge-m3"}]}"#),
            "/v1/embeddings" => text(json!({ "data": [{ "embedding": numbers }] }).to_string()),
            _ => Some((404, Vec::new())),
        }
    };
    let answer = service(ServiceKind::Embeddings, embeds(vector(1024))).await;
    assert!(matches!(proof(&answer), CheckResult::Proven { .. }), "{answer:?}");
    assert!(failure(&service(ServiceKind::Embeddings, embeds(vector(512))).await).contains("512 numbers"));
    for dialect in ["/v1/rerank", "/rerank"] {
        let answer = service(ServiceKind::Rerank, move |path| match path {
            "/health" => text(""),
            path if path == dialect && path == "/rerank" => text(r#"[{"index":0,"score":0.9}]"#),
            path if path == dialect => text(r#"{"results":[{"index":0,"relevance_score":0.9}]}"#),
            _ => Some((404, Vec::new())),
        });
        let answer = answer.await;
        assert!(matches!(proof(&answer), CheckResult::Proven { .. }), "{dialect}: {answer:?}");
    }
}

#[tokio::test]
async fn a_recogniser_listens_and_qdrant_is_ready_only_with_all_shards() {
    let heard = |body: Value| {
        move |path: &str| match path {
            "/v1/models" => text(r#"{"data":[{"id":"parakeet"}]}"#),
            "/v1/audio/transcriptions" => text(body.to_string()),
            _ => Some((404, Vec::new())),
        }
    };
    assert!(matches!(
        proof(&service(ServiceKind::Asr, heard(json!({ "text": "" }))).await),
        CheckResult::Proven { .. }
    ));
    assert!(failure(&service(ServiceKind::Asr, heard(json!({ "detail": "x" }))).await).contains("no text"));
    let shards = |status| {
        move |path: &str| match path {
            "/healthz" | "/livez" => text("healthz check passed"),
            "/readyz" => Some((status, Vec::new())),
            _ => Some((404, Vec::new())),
        }
    };
    assert!(matches!(proof(&service(ServiceKind::Qdrant, shards(200)).await), CheckResult::Proven { .. }));
    assert!(matches!(service(ServiceKind::Qdrant, shards(503)).await, EndpointAnswer::Wrong { .. }));
}

/// Deep questions are asked rarely, and at once of another container.
#[tokio::test]
async fn a_proven_service_is_left_alone_for_ten_minutes() {
    let asked = Arc::new(Mutex::new(0));
    let for_server = asked.clone();
    let upstream = Upstream::new(move |path| match path {
        "/health" => text(""),
        "/v1/rerank" => {
            *for_server.lock().unwrap() += 1;
            text(r#"{"results":[{"relevance_score":0.9}]}"#)
        }
        _ => Some((404, Vec::new())),
    })
    .await;
    let ask = |container: &str| {
        ProbeKind::of(
            ServiceKind::Rerank,
            None,
            EngineToAsk { container: Some(container.into()), ..EngineToAsk::default() },
        )
    };
    let first = upstream.ask(ask("c1"), None, at(0)).await;
    let later = upstream.ask(ask("c1"), Some(&first), at(599)).await;
    assert_eq!(*asked.lock().unwrap(), 1);
    upstream.ask(ask("c1"), Some(&later), at(601)).await;
    assert_eq!(*asked.lock().unwrap(), 2);
    upstream.ask(ask("c2"), Some(&first), at(1)).await;
    assert_eq!(*asked.lock().unwrap(), 3);
}

/// If this failed, one answer that an overloaded engine missed would set the clock of a stall back.
#[tokio::test]
async fn metrics_that_are_missed_do_not_set_the_stall_clock_back() {
    let missing = Arc::new(Mutex::new(false));
    let for_server = missing.clone();
    let upstream = Upstream::new(move |path| match path {
        "/metrics" if *for_server.lock().unwrap() => Some((503, Vec::new())),
        path => engine(path, "vllm:num_requests_running 1\nvllm:generation_tokens_total 500\n"),
    })
    .await;
    let mut last = upstream.ask_engine(None, at(0)).await;
    for (secs, misses) in [(30, false), (60, true), (90, true), (119, false)] {
        *missing.lock().unwrap() = misses;
        last = upstream.ask_engine(Some(&last), at(secs)).await;
        assert_eq!(judged(&last), EngineJudgement::Busy, "at {secs} s");
    }
    *missing.lock().unwrap() = true;
    last = upstream.ask_engine(Some(&last), at(121)).await;
    assert!(matches!(judged(&last), EngineJudgement::Stalled { .. }), "{last:?}");
    for secs in [126, 131, 136, 141] {
        last = upstream.ask_engine(Some(&last), at(secs)).await;
    }
    assert_eq!(
        judged(&last),
        EngineJudgement::Ready,
        "what nobody could read for long is not known any more"
    );
}

/// An engine that only embeds, scores, continues or listens has no chat; it is asked for what it does.
#[tokio::test]
async fn a_model_without_a_chat_route_is_asked_for_what_it_does() {
    let answers = [
        ("/v1/completions", r#"{"usage":{"completion_tokens":1}}"#),
        ("/v1/embeddings", r#"{"data":[{"embedding":[0.5,0.25]}]}"#),
        ("/v1/rerank", r#"{"results":[{"relevance_score":0.5}]}"#),
        ("/v1/audio/transcriptions", r#"{"text":""}"#),
    ];
    for (route, body) in answers {
        for status in [400, 404, 405] {
            let asked = move |answer: &'static str| {
                Upstream::new(move |path| match path {
                    "/v1/models" => models(),
                    "/health" | "/metrics" => text(""),
                    path if path == route => text(answer),
                    _ => Some((status, Vec::new())),
                })
            };
            let good = asked(body).await.ask_engine(None, at(0)).await;
            assert_eq!(judged(&good), EngineJudgement::Ready, "{route} after {status}");
            let bad = asked("{}").await.ask_engine(None, at(0)).await;
            assert!(matches!(judged(&bad), EngineJudgement::Degraded { .. }), "{route} after {status}");
        }
    }
    let overloaded = Upstream::new(|path| match path {
        "/v1/chat/completions" => Some((503, Vec::new())),
        "/v1/completions" => token(),
        path => engine(path, ""),
    })
    .await;
    assert!(matches!(judged(&overloaded.ask_engine(None, at(0)).await), EngineJudgement::Degraded { .. }));
}

#[tokio::test]
async fn a_diarizer_tells_turns() {
    let of = |route: &'static str, body: &'static str| {
        service(ServiceKind::Diarization, move |path| match path {
            "/health" => text(""),
            path if path == route => text(body),
            _ => Some((404, Vec::new())),
        })
    };
    for route in ["/v1/audio/diarization", "/diarize", "/nothing/that/is/known"] {
        let answer = of(route, r#"{"segments":[]}"#).await;
        assert!(matches!(proof(&answer), CheckResult::Proven { .. }), "{route}: {answer:?}");
    }
    assert!(failure(&of("/diarize", r#"{"detail":"x"}"#).await).contains("who speaks"));
}

/// If this failed, an engine that answers slowly would be asked again and again, and one that fails be well in between.
#[tokio::test]
async fn a_question_outlives_the_look_that_asked_it() {
    let asked = Arc::new(Mutex::new(0));
    let for_server = asked.clone();
    let upstream = Upstream::new(move |path| match path {
        "/v1/chat/completions" => {
            *for_server.lock().unwrap() += 1;
            None
        }
        path => engine(path, ""),
    })
    .await;
    for _ in 0..3 {
        // A look that is given up, as one of the pulse's is.
        let look = upstream.ask_engine(None, at(0));
        assert!(tokio::time::timeout(Duration::from_millis(500), look).await.is_err());
    }
    assert_eq!(*asked.lock().unwrap(), 1);
    let failed = CheckResult::Failed { at: at(0), why: "no token".into() };
    let before = Endpoint {
        at: at(0),
        since: at(0),
        answer: EndpointAnswer::Engine(spark_control::core::model::observed::EngineAnswer {
            container: Some("c1".into()),
            models: vec![spark_control::core::model::observed::ServedModel {
                id: "a".into(),
                root: Some("lab/a".into()),
            }],
            healthy: true,
            completion: failed.clone(),
            failures: 3,
            ..Default::default()
        }),
    };
    let EndpointAnswer::Engine(seen) = upstream.ask_engine(Some(&before), at(100)).await.answer else {
        panic!()
    };
    assert_eq!(seen.completion, failed, "while it is asked again");
}
