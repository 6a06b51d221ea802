//! News as a hook receives it: a real listener, a controller on simulated Sparks.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use spark_control::{
    controller::round::RoundMode,
    core::model::spec_hash::hex,
    probe::http::{Http, HttpClient, HttpReply, HttpRequest},
};

use crate::cluster::{Cluster, MODELS, SPARKS};

/// What arrived: body and signature. It is well as long as `well` says so.
#[derive(Clone, Default)]
struct Hook {
    arrived: Arc<Mutex<Vec<(Bytes, String)>>>,
    refuses: Arc<Mutex<u32>>,
}

async fn receive(State(hook): State<Hook>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut refuses = hook.refuses.lock().unwrap();
    if *refuses > 0 {
        *refuses -= 1;
        return StatusCode::BAD_GATEWAY;
    }
    assert!(headers["user-agent"].to_str().unwrap().starts_with("spark-control/"));
    let signature = headers.get("x-spark-control-signature").map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(headers["content-type"], "application/json");
    hook.arrived.lock().unwrap().push((body, signature.unwrap_or_default()));
    StatusCode::OK
}

impl Hook {
    async fn listen(&self) -> (u16, tokio::task::JoinHandle<std::io::Result<()>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().route("/hook", post(receive)).with_state(self.clone());
        (port, tokio::spawn(axum::serve(listener, router).into_future()))
    }

    fn events(&self) -> Vec<String> {
        let arrived = self.arrived.lock().unwrap();
        let event = |body: &Bytes| -> Value { serde_json::from_slice(body).unwrap() };
        arrived.iter().map(|(body, _)| event(body)["event"].as_str().unwrap().to_owned()).collect()
    }
}

/// Hooks over the network, Sparks in memory.
struct Both {
    network: HttpClient,
    sparks: Arc<dyn Http>,
}

impl Http for Both {
    fn send(&self, request: HttpRequest) -> HttpReply<'_> {
        if request.url.contains("/hook") { self.network.send(request) } else { self.sparks.send(request) }
    }
}

/// If this failed, a message would be lost with a hook that is away or a controller that is killed, be told twice, or could
/// be made up by anybody.
#[tokio::test]
async fn news_arrives_once_in_order_and_signed_whatever_happens_on_the_way() {
    let hook = Hook::default();
    let (port, server) = hook.listen().await;
    let mut cluster = Cluster::new();
    cluster.http =
        Arc::new(Both { network: HttpClient::new(spark_control::apply::secret), sparks: cluster.http });
    let secret = cluster.folder().join("secret");
    std::fs::write(&secret, "Jefe\n").unwrap();
    let notify = format!(
        "notify: {{ ops: {{ url: \"http://127.0.0.1:{port}/hook\", secret: {{ file: {} }} }}, gone: {{ url: \"http://127.0.0.1:1/hook\" }} }}\n",
        secret.display()
    );
    cluster.edit(&format!("{SPARKS}model: alpha\n{MODELS}{notify}"));
    *hook.refuses.lock().unwrap() = 1;
    let controller = cluster.controller("a");
    for _ in 0..60 {
        controller.round(RoundMode::Act).await.unwrap();
        cluster.skip(Duration::from_secs(3));
    }
    controller.deliver_due().await.unwrap();
    assert!(hook.events().is_empty(), "it was away");
    let waiting = controller.letters().unwrap();
    assert!(waiting.iter().all(|letter| letter.tries <= 1), "{waiting:?}");
    // Killed; its successor has it all.
    drop(controller);
    let controller = cluster.controller("a");
    controller.round(RoundMode::Act).await.unwrap();
    controller.deliver_due().await.unwrap();
    assert!(hook.events().is_empty(), "not before its time");
    cluster.skip(Duration::from_secs(6));
    controller.deliver_due().await.unwrap();
    controller.round(RoundMode::Act).await.unwrap();
    controller.deliver_due().await.unwrap();
    assert_eq!(hook.events(), ["swap_started", "swap_finished"]);
    let left = controller.letters().unwrap();
    assert!(!left.is_empty() && left.iter().all(|letter| letter.target == "gone"), "{left:?}");
    for (body, signature) in hook.arrived.lock().unwrap().iter() {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        mac.update(body);
        assert_eq!(*signature, format!("sha256={}", hex(&mac.finalize().into_bytes())));
        let body: Value = serde_json::from_slice(body).unwrap();
        assert!(body["id"].as_str().is_some_and(|id| id.len() == 16), "{body}");
        assert_eq!((body["cluster"].as_str(), body["object"].as_str()), (Some("test"), Some("vllm")));
    }
    // Whom nobody wants to tell any more is forgotten.
    cluster.edit(&format!("{SPARKS}model: alpha\n{MODELS}"));
    controller.round(RoundMode::Act).await.unwrap();
    cluster.skip(Duration::from_secs(60));
    controller.deliver_due().await.unwrap();
    assert!(controller.letters().unwrap().is_empty());
    server.abort();
}
