//! Over the system's OpenSSH: one multiplexed connection per Spark, made again when it is gone.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt;
use openssh::{ControlPersist, ForwardType, KnownHosts, Session, SessionBuilder, Socket, Stdio};
use tokio::{
    io::AsyncWriteExt,
    sync::{Mutex, Semaphore},
    time::timeout,
};
use tokio_util::io::ReaderStream;

use super::{
    Answering, DockerResponse, EventStream, Frame, Program, ProgramOutput, Transport, Unreachable,
    address::ipv4,
    bounded::{MAX_STDOUT, read_complaint, read_whole},
    engine::EngineClient,
    private_key,
};

/// sshd refuses the eleventh session on one connection (`MaxSessions 10`): one is for the stream that goes on, one is left.
const SESSIONS: usize = 8;
/// A silent peer is given up after this; a Spark under load answers within a second.
const CONNECT: Duration = Duration::from_secs(5);
/// A dead connection is noticed within about three of these.
const ALIVE: Duration = Duration::from_secs(3);

/// A connection without anything on it. While the loop runs, the stream of events is on it.
const PERSIST_SECS: usize = 30;

/// Whom to reach, and with what.
#[derive(Debug, Clone)]
pub struct SshTarget {
    /// For messages: the Spark's name.
    pub name: String,
    pub address: String,
    pub user: String,
    pub port: u16,
    pub key: PathBuf,
    pub known_hosts: PathBuf,
    pub docker_socket: PathBuf,
    /// For control sockets and forwarded sockets: short, ours, 0700.
    pub directory: PathBuf,
}

pub struct SshTransport {
    target: SshTarget,
    connection: Mutex<Option<Arc<Connection>>>,
    sessions: Semaphore,
    engine: EngineClient,
}

struct Connection {
    session: Arc<Session>,
    /// Our end of the forwarded Engine socket.
    docker: PathBuf,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.docker);
    }
}

impl SshTransport {
    pub fn new(target: SshTarget) -> Self {
        Self {
            target,
            connection: Mutex::new(None),
            sessions: Semaphore::new(SESSIONS),
            engine: EngineClient::default(),
        }
    }

    async fn connection(&self) -> Result<Arc<Connection>, Unreachable> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = held.as_ref() {
            return Ok(connection.clone());
        }
        let connection = Arc::new(self.connect().await?);
        *held = Some(connection.clone());
        Ok(connection)
    }

    /// The next call makes a new connection; calls in flight keep the old one until they end.
    async fn forget(&self, broken: &Arc<Connection>) {
        let mut held = self.connection.lock().await;
        if held.as_ref().is_some_and(|current| Arc::ptr_eq(current, broken)) {
            *held = None;
        }
    }

    async fn connect(&self) -> Result<Connection, Unreachable> {
        if !self.target.key.exists() {
            let key = self.target.key.display();
            let why = format!("there is no key {key}; `spark-control init` makes one, `key:` names another");
            return Err(Unreachable::Connection(why));
        }
        let address = ipv4(&self.target.address).await?;
        let failed = |error: openssh::Error| explain(&error, &self.target.name);
        let mut builder = SessionBuilder::default();
        builder
            .user(self.target.user.clone())
            .port(self.target.port)
            .keyfile(&self.target.key)
            .known_hosts_check(KnownHosts::Strict)
            .user_known_hosts_file(&self.target.known_hosts)
            .connect_timeout(CONNECT)
            .server_alive_interval(ALIVE)
            .control_directory(&self.target.directory)
            // The master of a killed controller ends by itself.
            .control_persist(ControlPersist::IdleFor(PERSIST_SECS.try_into().expect("not zero")))
            // Neither the owner's ssh settings nor the system's must change what this does.
            .config_file(self.target.directory.join(SETTINGS));
        let connecting = builder.connect_mux(address.to_string());
        let limit = CONNECT + Duration::from_secs(2);
        let session =
            timeout(limit, connecting).await.map_err(|_| Unreachable::Deadline(limit))?.map_err(failed);
        let session = match session {
            Err(Unreachable::Denied(_)) => return Err(self.denied().await),
            session => session?,
        };
        let unique = format!("{}-{}.sock", std::process::id(), next_number());
        let docker = self.target.directory.join(unique);
        let forward = session.request_port_forward(
            ForwardType::Local,
            Socket::UnixSocket { path: (&docker).into() },
            Socket::UnixSocket { path: (&self.target.docker_socket).into() },
        );
        timeout(CONNECT, forward).await.map_err(|_| Unreachable::Deadline(CONNECT))?.map_err(failed)?;
        Ok(Connection { session: Arc::new(session), docker })
    }

    /// A server says only that it does not take what it was shown.
    async fn denied(&self) -> Unreachable {
        match private_key::fault(&self.target.key).await {
            Some(fault) => Unreachable::Connection(fault),
            None => Unreachable::Denied(self.target.user.clone()),
        }
    }

    async fn run_once(
        &self,
        connection: &Connection,
        program: &Program,
    ) -> Result<ProgramOutput, Unreachable> {
        let failed = |error: openssh::Error| explain(&error, &self.target.name);
        let mut child = connection
            .session
            .command("sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .await
            .map_err(failed)?;
        let mut stdin = child.stdin().take().expect("stdin is piped");
        let stdout = child.stdout().take().expect("stdout is piped");
        let stderr = child.stderr().take().expect("stderr is piped");
        let frame = Frame::new();
        let text = program.text(&frame);
        let telling = async move {
            // A program that ends early closes its end; its exit code tells.
            let _ = stdin.write_all(text.as_bytes()).await;
            drop(stdin);
            Ok(())
        };
        let ((), out, err) =
            tokio::try_join!(telling, read_whole(stdout, MAX_STDOUT, lost), read_complaint(stderr, lost))?;
        let status = child.wait().await.map_err(failed)?;
        Ok(ProgramOutput::of(&frame, status.code(), &out, &err))
    }
}

impl Transport for SshTransport {
    fn run<'a>(&'a self, program: &'a Program, deadline: Duration) -> Answering<'a, ProgramOutput> {
        Box::pin(async move {
            let working = async {
                let _permit = self.sessions.acquire().await.expect("the semaphore is never closed");
                let connection = self.connection().await?;
                let result = self.run_once(&connection, program).await;
                if result.is_err() {
                    self.forget(&connection).await;
                }
                result
            };
            match timeout(deadline, working).await {
                Ok(result) => result,
                Err(_) => {
                    // Whether the peer is gone or only slow cannot be told from here; a new connection can.
                    *self.connection.lock().await = None;
                    Err(Unreachable::Deadline(deadline))
                }
            }
        })
    }

    fn run_stream<'a>(&'a self, program: &'a Program, deadline: Duration) -> Answering<'a, EventStream> {
        Box::pin(async move {
            let beginning = async {
                let connection = self.connection().await?;
                let begun = begin(connection.clone(), program, &self.target.name).await;
                if begun.is_err() {
                    self.forget(&connection).await;
                }
                begun
            };
            timeout(deadline, beginning).await.map_err(|_| Unreachable::Deadline(deadline))?
        })
    }

    fn engine<'a>(&'a self, path: &'a str, deadline: Duration) -> Answering<'a, DockerResponse> {
        Box::pin(async move {
            let working = async {
                let connection = self.connection().await?;
                let answer = self.engine.get(&connection.docker, path, deadline).await;
                // Whom its user may ask, and where, is settled when a connection is made.
                if matches!(answer, Err(Unreachable::Engine(_))) {
                    self.forget(&connection).await;
                }
                answer
            };
            timeout(deadline, working).await.map_err(|_| Unreachable::Deadline(deadline))?
        })
    }

    fn engine_stream<'a>(&'a self, path: &'a str, deadline: Duration) -> Answering<'a, EventStream> {
        Box::pin(async move {
            let connection = self.connection().await?;
            self.engine.stream(&connection.docker, path, deadline).await
        })
    }
}

/// Start a program whose words are read as they come. The connection, and the program, live as long as they are read.
async fn begin(
    connection: Arc<Connection>,
    program: &Program,
    name: &str,
) -> Result<EventStream, Unreachable> {
    let failed = |error: openssh::Error| explain(&error, name);
    let mut child = connection
        .session
        .clone()
        .arc_command("sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .await
        .map_err(failed)?;
    let mut stdin = child.stdin().take().expect("stdin is piped");
    let stdout = child.stdout().take().expect("stdout is piped");
    let frame = Frame::new();
    stdin.write_all(program.text(&frame).as_bytes()).await.map_err(lost)?;
    drop(stdin);
    let stream = ReaderStream::new(stdout).map(move |piece| {
        let _alive = (&child, &connection);
        piece.map_err(lost)
    });
    Ok(frame.skip(Box::pin(stream)))
}

/// That the connection broke, and how.
fn lost(error: std::io::Error) -> Unreachable {
    Unreachable::Connection(format!("the connection broke: {error}"))
}

fn next_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn explain(error: &openssh::Error, name: &str) -> Unreachable {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    if text.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        return Unreachable::HostKey(name.to_owned());
    }
    if text.contains("Host key verification failed") || text.contains(" host key is known for ") {
        return Unreachable::Untrusted(name.to_owned());
    }
    if text.contains("Permission denied") {
        return Unreachable::Denied(String::new());
    }
    if text.contains("could not connect") && text.contains("No such file or directory") {
        return Unreachable::Connection("there is no `ssh` here; install the OpenSSH client".into());
    }
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("the connection failed");
    Unreachable::Connection(line.to_owned())
}

/// All that ssh is to know beside its options: pinned keys count and no others, and only the key that was named.
const SETTINGS: &str = "ssh_config";
const SETTINGS_TEXT: &str = "GlobalKnownHostsFile /dev/null\nIdentitiesOnly yes\nIdentityAgent none\n";

/// Make `directory` for control sockets and ssh's settings: 0700, and short enough for a Unix socket's 108 bytes.
///
/// # Errors
/// When it cannot be made.
pub fn prepare(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(std::io::Error::other(format!("making {}: {error}", directory.display())));
        }
        _ => {}
    }
    // What somebody else put there is not used.
    if !is_of_this_user(directory) {
        let why = format!("{} is not a folder of this user alone; remove it", directory.display());
        return Err(std::io::Error::other(why));
    }
    std::fs::write(directory.join(SETTINGS), SETTINGS_TEXT)?;
    clear_stale(directory);
    Ok(())
}

/// A folder that nobody else may read or write in.
pub fn is_of_this_user(directory: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(directory).is_ok_and(|metadata| {
        metadata.is_dir()
            && metadata.uid() == rustix::process::geteuid().as_raw()
            && metadata.mode() & 0o077 == 0
    })
}

/// Remove sockets behind which nobody is any more. What was killed could not: and in a container every controller has the
/// same process id, so their names come again.
fn clear_stale(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_folder = path.is_dir();
        let socket = if is_folder { path.join("master") } else { path.clone() };
        let is_socket = std::fs::symlink_metadata(&socket)
            .is_ok_and(|metadata| std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type()));
        if is_socket && refuses(&socket) {
            let _ = if is_folder { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        }
    }
}

/// Nobody listens at the socket.
fn refuses(socket: &Path) -> bool {
    let tried = std::os::unix::net::UnixStream::connect(socket);
    tried.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}
