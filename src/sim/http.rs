//! What simulated engines and services answer over HTTP: in memory for tests, and the same answers through real
//! servers for the demo.

use serde_json::json;

use super::world::Sim;
use crate::probe::endpoint::{Http, NoAnswer, Reply, Request};

/// HTTP without a network.
pub struct InMemory {
    pub sim: Sim,
}

impl Http for InMemory {
    fn send(&self, request: Request) -> Reply<'_> {
        Box::pin(async move {
            let rest = request.url.strip_prefix("http://").unwrap_or(&request.url);
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let (address, port) = authority.split_once(':').unwrap_or((authority, "80"));
            let port = port.parse().unwrap_or(80);
            match answer(&self.sim, address, port, &format!("/{path}"), request.body.is_some()) {
                Some(Served::Answer(status, body)) => Ok((status, body)),
                Some(Served::Silent) => {
                    tokio::time::sleep(request.deadline).await;
                    Err(NoAnswer::Silent(format!("no answer within {} s", request.deadline.as_secs())))
                }
                None => Err(NoAnswer::Refused),
            }
        })
    }
}

/// What comes back.
pub enum Served {
    Answer(u16, String),
    /// The machine is gone from the network.
    Silent,
}

/// The answer of whatever listens at `address:port`; `None` when nothing does.
pub fn answer(sim: &Sim, address: &str, port: u16, path: &str, post: bool) -> Option<Served> {
    let now = sim.now();
    let mut world = sim.world();
    let machine = world.sparks.values_mut().find(|machine| machine.address == address)?;
    if machine.silent(now) {
        return Some(Served::Silent);
    }
    let engine = machine
        .containers
        .iter_mut()
        .filter(|container| container.running)
        .filter_map(|container| container.engine.as_mut())
        .find(|engine| engine.port == port && engine.is_ready(now))?;
    let body = match (path, post) {
        ("/health", false) => String::new(),
        ("/v1/models", false) => {
            let cards: Vec<_> = engine
                .served
                .iter()
                .map(|id| json!({ "id": id, "object": "model", "owned_by": "vllm", "root": engine.root }))
                .collect();
            json!({ "object": "list", "data": cards }).to_string()
        }
        ("/metrics", false) => format!(
            "vllm:num_requests_running{{engine=\"0\"}} {}\nvllm:num_requests_waiting{{engine=\"0\"}} 0\n\
             vllm:generation_tokens_total{{engine=\"0\"}} {}\n",
            engine.running, engine.tokens
        ),
        ("/v1/chat/completions", true) => {
            engine.tokens += 1;
            json!({
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "model": engine.served.first(),
                "choices": [{
                    "index": 0,
                    "message": { "role": "assistant", "content": format!("I am {}.", engine.root) },
                    "finish_reason": "stop",
                }],
                "usage": { "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2 },
            })
            .to_string()
        }
        _ => return Some(Served::Answer(404, json!({ "error": { "message": "Not Found" } }).to_string())),
    };
    Some(Served::Answer(200, body))
}
