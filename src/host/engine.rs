//! HTTP GET over a Docker Engine's Unix socket.
//!
//! The paths carry the API version that the Engine itself named: unversioned paths are deprecated, and a fixed
//! version is refused by Engines that are much newer or older.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, BodyStream, Empty, LengthLimitError, Limited};
use hyper::{Request, body::Incoming, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use parking_lot::{Mutex, MutexGuard};
use tokio::{net::UnixStream, time::timeout};

use super::{DockerResponse, EventStream, Unreachable};
use crate::core::model::visible;

/// No answer that is read whole is larger: the list of 1,000 containers is 2 MB.
const MAX_ANSWER: usize = 8 << 20;

/// One sentence: read, and told.
const MAX_REFUSAL: usize = 64 << 10;
const MAX_TOLD: usize = 500;

/// The Engine behind one socket.
#[derive(Debug, Default)]
pub struct EngineClient {
    version: Mutex<Option<String>>,
}

impl EngineClient {
    /// # Errors
    /// [`Unreachable::Engine`] when the socket cannot be reached or the answer is not HTTP.
    pub async fn get(
        &self,
        socket: &Path,
        path: &str,
        deadline: Duration,
    ) -> Result<DockerResponse, Unreachable> {
        let asking = async {
            let answer = self.get_once(socket, path).await?;
            // A version that it spoke before and does not any more: another Engine is behind the socket.
            if answer.status == 400 && self.version().take().is_some() {
                return self.get_once(socket, path).await;
            }
            Ok(answer)
        };
        timeout(deadline, asking).await.map_err(|_| Unreachable::Deadline(deadline))?
    }

    /// # Errors
    /// As [`EngineClient::get`]; also when the answer is not 200.
    pub async fn stream(
        &self,
        socket: &Path,
        path: &str,
        deadline: Duration,
    ) -> Result<EventStream, Unreachable> {
        let asking = async {
            let path = self.versioned(socket, path).await?;
            send(socket, &path).await
        };
        let response = timeout(deadline, asking).await.map_err(|_| Unreachable::Deadline(deadline))??;
        if !response.status().is_success() {
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MAX_REFUSAL).collect().await.map_err(engine)?;
            return Err(Unreachable::Engine(refusal(path, status, &body.to_bytes())));
        }
        let frames = BodyStream::new(response.into_body()).filter_map(|frame| async {
            match frame {
                Ok(frame) => frame.into_data().ok().map(Ok),
                Err(error) => Some(Err(engine(error))),
            }
        });
        Ok(Box::pin(frames))
    }

    async fn get_once(&self, socket: &Path, path: &str) -> Result<DockerResponse, Unreachable> {
        let path = self.versioned(socket, path).await?;
        let response = send(socket, &path).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { Unreachable::TooMuch(MAX_ANSWER) } else { engine(error) }
        })?;
        Ok(DockerResponse { status, body: body.to_bytes() })
    }

    fn version(&self) -> MutexGuard<'_, Option<String>> {
        self.version.lock()
    }

    async fn versioned(&self, socket: &Path, path: &str) -> Result<String, Unreachable> {
        if let Some(version) = self.version().as_ref() {
            return Ok(format!("/v{version}{path}"));
        }
        let response = send(socket, "/_ping").await?;
        let version = response.headers().get("api-version").and_then(|value| value.to_str().ok());
        let version =
            version.filter(|text| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.'));
        let version = version.ok_or_else(|| {
            Unreachable::Engine("it did not name its API version; is this a Docker Engine?".into())
        })?;
        *self.version() = Some(version.to_owned());
        Ok(format!("/v{version}{path}"))
    }
}

/// What an answer that is not 200 says, in the Engine's own words.
pub fn refusal(path: &str, status: u16, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct DockerErrorBody {
        message: String,
    }
    let message =
        serde_json::from_slice::<DockerErrorBody>(body).map(|refusal| refusal.message).unwrap_or_default();
    format!("{path} answered {status} {}", visible::short(&message, MAX_TOLD)).trim_end().to_owned()
}

fn engine(error: impl std::fmt::Display) -> Unreachable {
    Unreachable::Engine(error.to_string())
}

async fn send(socket: &Path, path: &str) -> Result<hyper::Response<Incoming>, Unreachable> {
    let stream = UnixStream::connect(socket).await.map_err(engine)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(engine)?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(HOST, "docker")
        .body(Empty::<Bytes>::new())
        // Part of the path may be what an Engine called its own containers.
        .map_err(|error| Unreachable::Engine(format!("{path} is no address: {error}")))?;
    sender.send_request(request).await.map_err(engine)
}
