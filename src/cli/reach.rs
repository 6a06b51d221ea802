//! The controller that a command works with: the one that runs, else one of its own. Never two actors.

use std::{
    fs::{DirBuilder, File},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, client::conn::http1, service::Service};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::{
    controller::{self, Controller, ControllerPaths, Snapshot},
    web::{
        api::limits::ApiLimits,
        control::{self, LookedBy},
    },
    wire::v1::problem::ProblemDetails,
};

/// A round with a silent Spark in it, with room.
const DEADLINE: Duration = Duration::from_secs(90);
/// A command that looks for itself takes a quarter of it.
const LOCK_DEADLINE: Duration = Duration::from_secs(60);
/// A wait that is worth telling of.
const QUIET: Duration = Duration::from_secs(2);
const MAX_ANSWER: usize = 64 << 20;
/// Where the demo keeps its memory, beside its file.
pub const DEMO_DATA: &str = ".spark-control-demo";

/// The lock on a data directory. Held for as long as the value lives; the kernel frees it when its owner dies.
pub struct DataDirectoryLock {
    _file: File,
}

/// The data directory, for its owner and nobody else: it holds the key, and what the file says.
///
/// # Errors
/// When it cannot be made.
pub fn private_folder(data: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.with_context(|| format!("making {}", data.display()))?;
    let known = std::fs::metadata(data).with_context(|| format!("reading {}", data.display()))?;
    if known.permissions().mode() & 0o077 != 0 && known.uid() == rustix::process::geteuid().as_raw() {
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(data, private)
            .with_context(|| format!("keeping {} from others", data.display()))?;
    }
    Ok(())
}

/// Take the lock, or `None` when somebody holds it.
pub fn lock(data: &Path) -> anyhow::Result<Option<DataDirectoryLock>> {
    private_folder(data)?;
    let path = data.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(DataDirectoryLock { _file: file })),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("locking {}", path.display()))
        }
    }
}

/// Where to send what a person asks.
pub enum ReachedController {
    /// Another process runs the loop; this is its socket.
    Running(ControllerSocket),
    /// Nobody does, so this process may act.
    Own(Arc<Controller>, DataDirectoryLock),
}

/// Who stands beside a demo's file and does not say which memory is meant would look for simulated Sparks on the network.
async fn tell_of_a_demo(places: &ControllerPaths) {
    let beside = places.file.parent().unwrap_or(Path::new("")).join(DEMO_DATA);
    if beside != places.data && UnixStream::connect(beside.join("control.sock")).await.is_ok() {
        talk!(
            "a demo runs with this file, and this command asks another controller; `--data {}` asks the demo's",
            beside.display()
        );
    }
}

/// # Errors
/// When neither is possible.
pub async fn reach(places: &ControllerPaths) -> anyhow::Result<ReachedController> {
    let socket = places.data.join("control.sock");
    let began = Instant::now();
    let mut told = false;
    loop {
        if let Some(lock) = lock(&places.data)? {
            tell_of_a_demo(places).await;
            let world = controller::real_world(&places.data)?;
            let controller = Controller::new(places.clone(), world)
                .with_context(|| format!("opening the store in {}", places.data.display()))?;
            return Ok(ReachedController::Own(Arc::new(controller), lock));
        }
        if UnixStream::connect(&socket).await.is_ok() {
            let running = ReachedController::Running(ControllerSocket { socket });
            if places.is_file_told {
                is_about(&running, &places.file).await?;
            }
            return Ok(running);
        }
        if began.elapsed() > LOCK_DEADLINE {
            bail!("another command has worked with {} for a minute; end it first", places.data.display());
        }
        // One that has just started binds its socket in a moment.
        if !told && began.elapsed() > QUIET {
            talk!("another command is at work; waiting for it");
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What somebody typed, as one piece of a path.
pub fn segment(text: &str) -> String {
    text.bytes().fold(String::new(), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path += &format!("%{byte:02X}");
        }
        path
    })
}

impl ReachedController {
    /// Let the Sparks be looked at, by whoever may.
    ///
    /// # Errors
    /// When the controller that runs does not answer, or the store fails.
    pub async fn look(&self) -> anyhow::Result<Snapshot> {
        Ok(serde_json::from_slice(&self.post("/look", &serde_json::json!({})).await?)?)
    }

    /// A controller of a command's own has seen nothing before it is told to look.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn look_unless_running(&self) -> anyhow::Result<()> {
        if let Self::Own(..) = self {
            self.look().await?;
        }
        Ok(())
    }

    /// What was seen last, as far as anything was.
    ///
    /// # Errors
    /// When the controller that runs does not answer.
    pub async fn snapshot(&self) -> anyhow::Result<Snapshot> {
        self.get("/snapshot").await
    }

    /// # Errors
    /// [`RefusedByController`], or when it does not answer.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let body = self.send(Method::GET, path, "").await?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// # Errors
    /// [`RefusedByController`], or when it does not answer.
    pub async fn post(&self, path: &str, body: &impl serde::Serialize) -> anyhow::Result<Bytes> {
        self.send(Method::POST, path, &serde_json::to_string(body)?).await
    }

    /// Over the socket of the controller that runs, or to the same routes in this process.
    async fn send(&self, method: Method, path: &str, body: &str) -> anyhow::Result<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("x-spark-control-user", super::user())
            .body(Full::new(Bytes::from(body.to_owned())))?;
        match self {
            Self::Running(remote) => remote.answer(request).await,
            Self::Own(controller, _lock) => {
                let routes = control::router(controller.clone(), LookedBy::Command, ApiLimits::default());
                let Ok(response) = TowerToHyperService::new(routes).call(request).await;
                let (head, body) = response.into_parts();
                let body = body.collect().await.context("reading the answer")?.to_bytes();
                judged(head.status, body)
            }
        }
    }
}

/// Reached over its socket.
pub struct ControllerSocket {
    socket: std::path::PathBuf,
}

/// The controller said no.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.detail)]
pub struct RefusedByController(pub ProblemDetails);

/// Its message, when the controller refused with one of these codes.
pub fn refused(error: &anyhow::Error, codes: &[&str]) -> Option<String> {
    let RefusedByController(problem) = error.downcast_ref::<RefusedByController>()?;
    codes.contains(&problem.code.as_str()).then(|| problem.detail.clone())
}

fn judged(status: StatusCode, body: Bytes) -> anyhow::Result<Bytes> {
    if status.is_success() {
        return Ok(body);
    }
    match serde_json::from_slice::<ProblemDetails>(&body) {
        Ok(problem) => Err(RefusedByController(problem).into()),
        Err(_) => bail!("it answered {status}"),
    }
}

impl ControllerSocket {
    async fn answer(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Bytes> {
        let asking = async {
            let stream = UnixStream::connect(&self.socket).await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let response = sender.send_request(request).await?;
            let status = response.status();
            let collected = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let Ok(collected) = collected else { bail!("its answer broke off") };
            judged(status, collected.to_bytes())
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

/// Fails when the controller keeps another file than the one that was named.
async fn is_about(reached: &ReachedController, file: &Path) -> anyhow::Result<()> {
    let seen = reached.snapshot().await?;
    // Before its first round it has not said which.
    if !seen.file.as_os_str().is_empty() && !is_same(file, &seen.file) {
        bail!(
            "the controller that runs keeps {}, not {}; use `check` for a draft, or another --data",
            seen.file.display(),
            file.display()
        );
    }
    Ok(())
}

/// Both paths lead to one file; of what is not there, both are one path.
fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => std::path::absolute(one).is_ok_and(|one| one == other),
    }
}
