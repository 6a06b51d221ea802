//! The controller that a command works with: the one that runs, else one of its own. Never two actors.

use std::{fs::File, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::{
    controller::{self, Controller, Places, Snapshot},
    web::control::Failure,
};

/// A round with a silent Spark in it, with room.
const DEADLINE: Duration = Duration::from_secs(90);
const MAX_ANSWER: usize = 64 << 20;

/// The lock on a data directory. Held for as long as the value lives; the kernel frees it when its owner dies.
pub struct Lock {
    _file: File,
}

/// Take the lock, or `None` when somebody holds it.
pub fn lock(data: &Path) -> anyhow::Result<Option<Lock>> {
    std::fs::create_dir_all(data).with_context(|| format!("making {}", data.display()))?;
    let path = data.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("locking {}", path.display()))
        }
    }
}

/// Where to send what a person asks.
pub enum Reached {
    /// Another process runs the loop; this is its socket.
    Running(Remote),
    /// Nobody does, so this process may act.
    Own(Arc<Controller>, Lock),
}

/// # Errors
/// When neither is possible.
pub fn reach(places: &Places) -> anyhow::Result<Reached> {
    match lock(&places.data)? {
        Some(lock) => {
            let world = controller::real_world(&places.data)?;
            Ok(Reached::Own(Arc::new(Controller::new(places.clone(), world)?), lock))
        }
        None => Ok(Reached::Running(Remote { socket: places.data.join("control.sock") })),
    }
}

pub struct Remote {
    socket: std::path::PathBuf,
}

/// The controller said no.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Refused(pub Failure);

/// Its message, when the controller refused with one of these codes.
pub fn refused(error: &anyhow::Error, codes: &[&str]) -> Option<String> {
    let Refused(failure) = error.downcast_ref::<Refused>()?;
    codes.contains(&failure.code.as_str()).then(|| failure.message.clone())
}

impl Remote {
    /// Let it look, and answer with what it saw.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn look(&self) -> anyhow::Result<Snapshot> {
        Ok(serde_json::from_slice(&self.post("/look", &serde_json::json!({})).await?)?)
    }

    /// # Errors
    /// When it does not answer.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let body = self.send(Method::GET, path, "").await?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// # Errors
    /// [`Refused`], or when it does not answer.
    pub async fn post(&self, path: &str, body: &impl serde::Serialize) -> anyhow::Result<Bytes> {
        self.send(Method::POST, path, &serde_json::to_string(body)?).await
    }

    async fn send(&self, method: Method, path: &str, body: &str) -> anyhow::Result<Bytes> {
        let asking = async {
            let stream = UnixStream::connect(&self.socket).await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("host", "localhost")
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(body.to_owned())))?;
            let response = sender.send_request(request).await?;
            let status = response.status();
            let collected = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let Ok(collected) = collected else { bail!("its answer broke off") };
            let bytes = collected.to_bytes();
            if status.is_success() {
                return Ok(bytes);
            }
            match serde_json::from_slice::<Failure>(&bytes) {
                Ok(failure) => Err(Refused(failure).into()),
                Err(_) => bail!("it answered {status}"),
            }
        };
        let socket = self.socket.display();
        match tokio::time::timeout(DEADLINE, asking).await {
            Ok(result) => result.with_context(|| format!("asking the running controller at {socket}")),
            Err(_) => {
                bail!("the running controller at {socket} did not answer within {} s", DEADLINE.as_secs())
            }
        }
    }
}
