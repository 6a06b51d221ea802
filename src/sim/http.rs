//! What simulated engines and services answer over HTTP, in memory. `listeners` gives the same answers through real
//! sockets.

use serde_json::{Value, json};

use super::{
    machine::SimulatedEngine,
    world::{Sim, SimulatedTimes},
};
use crate::{
    core::model::desired::ServiceKind,
    probe::http::{Http, HttpReply, HttpRequest, NoAnswer, RequestBody},
};

/// Dimensions of bge-m3's dense vectors.
const DIMENSIONS: u16 = 1024;
const SAMPLES_PER_SECOND: u32 = 24_000;

/// HTTP without a network.
pub struct InMemory {
    pub sim: Sim,
}

impl Http for InMemory {
    fn send(&self, request: HttpRequest) -> HttpReply<'_> {
        Box::pin(async move {
            let SimulatedTimes { latency, patience, .. } = self.sim.world().times;
            if !latency.is_zero() {
                tokio::time::sleep(2 * latency).await;
            }
            let rest = request.url.strip_prefix("http://").unwrap_or(&request.url);
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let (address, port) = authority.split_once(':').unwrap_or((authority, "80"));
            let port = port.parse().unwrap_or(80);
            // What is no JSON is taken for a form, which nothing here looks into.
            let form = Value::Null;
            let body = match &request.body {
                RequestBody::None => None,
                RequestBody::Json(body) => Some(body),
                RequestBody::Bytes { .. } => Some(&form),
            };
            match answer(&self.sim, address, port, &format!("/{path}"), body) {
                Some(SimulatedReply::Answer(answer)) => Ok((answer.status, answer.body)),
                Some(SimulatedReply::Silent) => {
                    tokio::time::sleep(request.deadline.min(patience)).await;
                    Err(NoAnswer::Silent(format!("no answer within {} s", request.deadline.as_secs())))
                }
                None => Err(NoAnswer::Refused),
            }
        })
    }
}

/// What comes back.
pub enum SimulatedReply {
    Answer(SimulatedAnswer),
    /// The machine is gone from the network.
    Silent,
}

pub struct SimulatedAnswer {
    pub status: u16,
    pub kind: &'static str,
    pub body: Vec<u8>,
}

impl SimulatedAnswer {
    fn json(value: &Value) -> Self {
        Self { status: 200, kind: "application/json", body: value.to_string().into_bytes() }
    }
    fn text(text: impl Into<String>) -> Self {
        Self { status: 200, kind: "text/plain; charset=utf-8", body: text.into().into_bytes() }
    }
    fn not_found() -> Self {
        let body = json!({ "error": { "message": "Not Found", "type": "NotFoundError", "code": 404 } });
        Self { status: 404, ..Self::json(&body) }
    }
}

/// The answer of whatever listens at `address:port`; `None` when nothing does. A body makes it a POST.
pub fn answer(
    sim: &Sim,
    address: &str,
    port: u16,
    path: &str,
    body: Option<&Value>,
) -> Option<SimulatedReply> {
    let now = sim.now();
    let mut world = sim.world();
    let alive: Vec<(String, usize)> = world
        .sparks
        .values()
        .flat_map(|machine| machine.engines().map(|engine| (engine.root.clone(), engine.ranks())))
        .collect();
    let machine = world.sparks.values_mut().find(|machine| machine.address == address)?;
    if machine.silent(now) {
        return Some(SimulatedReply::Silent);
    }
    if machine.is_garbled(now) {
        return Some(SimulatedReply::Answer(SimulatedAnswer::text("<html><body>Welcome")));
    }
    let is_frozen = machine.is_frozen(now);
    let running = machine.containers.iter_mut().filter(|container| container.running);
    for container in running {
        if let Some(engine) =
            container.engine.as_mut().filter(|engine| engine.port == port && engine.is_ready(now))
        {
            // Ranks wait for each other: without all of them nothing is computed.
            let present = alive.iter().filter(|(root, _)| *root == engine.root).count();
            if body.is_some() && (is_frozen || present < engine.ranks()) {
                return Some(SimulatedReply::Silent);
            }
            if is_frozen {
                // A request that somebody sent before hangs in it.
                engine.running = engine.running.max(1);
            }
            return Some(SimulatedReply::Answer(of_engine(engine, path, body, is_frozen)));
        }
        if let Some(service) = container.service.filter(|service| service.port == port) {
            return Some(SimulatedReply::Answer(of_service(service.kind, path, body)));
        }
    }
    None
}

fn of_engine(
    engine: &mut SimulatedEngine,
    path: &str,
    body: Option<&Value>,
    is_frozen: bool,
) -> SimulatedAnswer {
    match (path, body) {
        ("/health", None) => SimulatedAnswer::text(""),
        ("/version", None) => SimulatedAnswer::json(&json!({ "version": "0.33.0" })),
        ("/v1/models", None) => {
            let cards: Vec<_> = engine
                .served
                .iter()
                .map(|id| json!({ "id": id, "object": "model", "owned_by": "vllm", "root": engine.root }))
                .collect();
            SimulatedAnswer::json(&json!({ "object": "list", "data": cards }))
        }
        ("/metrics", None) => {
            // Somebody reads at the speed of the looks.
            engine.tokens += if is_frozen { 0 } else { engine.running };
            SimulatedAnswer::text(format!(
                "vllm:num_requests_running{{engine=\"0\"}} {}\nvllm:num_requests_waiting{{engine=\"0\"}} 0\n\
             vllm:generation_tokens_total{{engine=\"0\"}} {}\n",
                engine.running, engine.tokens
            ))
        }
        ("/v1/chat/completions", Some(body)) => chat(engine, body),
        _ => SimulatedAnswer::not_found(),
    }
}

fn chat(engine: &mut SimulatedEngine, body: &Value) -> SimulatedAnswer {
    let text = format!("I am {}, and nobody trained me.", engine.root);
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    let model = engine.served.first().cloned().unwrap_or_default();
    engine.tokens += words.len() as u64;
    if body["stream"].as_bool() != Some(true) {
        return SimulatedAnswer::json(&json!({
            "id": "chatcmpl-demo",
            "object": "chat.completion",
            "model": model,
            "choices": [{
                "index": 0,
                "message": { "role": "assistant", "content": text },
                "finish_reason": "stop",
            }],
            "usage": { "prompt_tokens": 1, "completion_tokens": words.len(), "total_tokens": words.len() + 1 },
        }));
    }
    let chunk = |delta: Value, finish: Value| {
        let value = json!({
            "id": "chatcmpl-demo",
            "object": "chat.completion.chunk",
            "model": model,
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }],
        });
        format!("data: {value}\n\n")
    };
    let mut stream: String =
        words.iter().map(|word| chunk(json!({ "content": word }), Value::Null)).collect();
    stream += &chunk(json!({}), "stop".into());
    stream += "data: [DONE]\n\n";
    SimulatedAnswer { status: 200, kind: "text/event-stream", body: stream.into_bytes() }
}

fn of_service(kind: ServiceKind, path: &str, body: Option<&Value>) -> SimulatedAnswer {
    match (kind, path, body) {
        (ServiceKind::Asr, "/v1/models", None) => list_of("parakeet"),
        (ServiceKind::Asr, "/v1/audio/transcriptions", Some(_)) => {
            SimulatedAnswer::json(&json!({ "text": "ok" }))
        }
        (ServiceKind::Tts, "/health", None) => SimulatedAnswer::json(&json!({ "status": "healthy" })),
        (ServiceKind::Tts, "/v1/audio/speech", Some(_)) => {
            SimulatedAnswer { status: 200, kind: "audio/wav", body: tone() }
        }
        (ServiceKind::Embeddings, "/v1/models", None) => list_of("bge-m3"),
        (ServiceKind::Embeddings, "/v1/embeddings", Some(body)) => embeddings(body),
        (ServiceKind::Qdrant, "/healthz" | "/livez", None) => SimulatedAnswer::text("healthz check passed"),
        (ServiceKind::Qdrant, "/readyz", None) => SimulatedAnswer::text("all shards are ready"),
        (ServiceKind::Qdrant, "/collections", None) => {
            SimulatedAnswer::json(&json!({ "result": { "collections": [] }, "status": "ok", "time": 0.0 }))
        }
        _ => SimulatedAnswer::not_found(),
    }
}

/// A list of one model, as servers like OpenAI's answer.
fn list_of(id: &str) -> SimulatedAnswer {
    SimulatedAnswer::json(&json!({ "object": "list", "data": [{ "id": id, "object": "model" }] }))
}

/// One vector of length 1 for each input, in their order.
fn embeddings(body: &Value) -> SimulatedAnswer {
    let count = match &body["input"] {
        Value::Array(inputs) => inputs.len(),
        _ => 1,
    };
    let each = 1.0 / f64::from(DIMENSIONS).sqrt();
    let vector = vec![each; usize::from(DIMENSIONS)];
    let data: Vec<_> = (0..count)
        .map(|index| json!({ "object": "embedding", "index": index, "embedding": vector }))
        .collect();
    let usage = json!({ "prompt_tokens": count, "total_tokens": count });
    SimulatedAnswer::json(&json!({ "object": "list", "data": data, "model": "bge-m3", "usage": usage }))
}

/// A quarter of a second of 440 Hz as WAV: 16 bit, one channel.
#[allow(clippy::cast_possible_truncation)]
fn tone() -> Vec<u8> {
    let samples: Vec<u8> = (0..SAMPLES_PER_SECOND / 4)
        .flat_map(|n| {
            let phase = f64::from(n) * 440.0 * std::f64::consts::TAU / f64::from(SAMPLES_PER_SECOND);
            ((phase.sin() * 8000.0) as i16).to_le_bytes()
        })
        .collect();
    let length = u32::try_from(samples.len()).expect("a quarter of a second");
    let mut wav = Vec::with_capacity(samples.len() + 44);
    wav.extend(b"RIFF");
    wav.extend((36 + length).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    wav.extend([1, 0, 1, 0]);
    wav.extend(SAMPLES_PER_SECOND.to_le_bytes());
    wav.extend((SAMPLES_PER_SECOND * 2).to_le_bytes());
    wav.extend([2, 0, 16, 0]);
    wav.extend(b"data");
    wav.extend(length.to_le_bytes());
    wav.extend(samples);
    wav
}
