//! Real HTTP servers for the simulated machines, on loopback addresses: they listen when the simulated thing would,
//! and refuse when it would not.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{Method, StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use tokio::{net::TcpListener, task::JoinHandle};
use tracing::error;

use super::{
    http::{SimulatedReply, answer},
    world::Sim,
};

/// How late a server may open or close.
const STEP: Duration = Duration::from_millis(100);
/// Between two words of a streamed answer.
const WORD: Duration = Duration::from_millis(60);
/// No client of the demo waits longer for a machine that is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// Serve until dropped.
pub async fn serve(sim: Sim) {
    let mut open: BTreeMap<(String, u16), JoinHandle<()>> = BTreeMap::new();
    loop {
        let listening = sim.listening();
        open.retain(|place, server| {
            let keep = listening.contains(place);
            if !keep {
                server.abort();
            }
            keep
        });
        for place in listening {
            if open.contains_key(&place) {
                continue;
            }
            match TcpListener::bind((place.0.as_str(), place.1)).await {
                Ok(listener) => {
                    let router = Router::new().fallback(handle).with_state((sim.clone(), place.clone()));
                    let server = tokio::spawn(async move {
                        let _ = axum::serve(listener, router).await;
                    });
                    open.insert(place, server);
                }
                Err(error) => {
                    error!("the demo cannot listen on {}:{}: {error}", place.0, place.1);
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
            }
        }
        tokio::time::sleep(STEP).await;
    }
}

async fn handle(
    State((sim, (address, port))): State<(Sim, (String, u16))>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    let posted = (method == Method::POST).then(|| serde_json::from_slice(&body).unwrap_or_default());
    match answer(&sim, &address, port, uri.path(), posted.as_ref()) {
        Some(SimulatedReply::Answer(answer)) => {
            let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let headers = [(CONTENT_TYPE, answer.kind)];
            if answer.kind != "text/event-stream" {
                return (status, headers, answer.body).into_response();
            }
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let events: Vec<String> = text.split_inclusive("\n\n").map(str::to_owned).collect();
            let paced = stream::iter(events).then(|event| async {
                tokio::time::sleep(WORD).await;
                Ok::<_, std::convert::Infallible>(event)
            });
            (status, headers, Body::from_stream(paced)).into_response()
        }
        Some(SimulatedReply::Silent) => {
            tokio::time::sleep(SILENCE).await;
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        // It stopped between the connection and the request.
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
