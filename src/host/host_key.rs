//! The host keys that an SSH server offers, and why it offers none.

use std::{net::Ipv4Addr, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time::timeout,
};

/// A starved Spark takes its time for a banner; an owner waits for one Spark at most so long.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);
/// From most to least wanted: what a Spark offers of them is shown in this order.
const KINDS: [&str; 3] = ["ED25519", "ECDSA", "RSA"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    /// `ED25519`, `ECDSA`, `RSA`.
    pub kind: String,
    /// `SHA256:…`
    pub fingerprint: String,
    /// As `known_hosts` has it.
    pub line: String,
}

impl HostKey {
    /// What prints the fingerprint on the Spark itself.
    pub fn compare(&self) -> String {
        format!("ssh-keygen -lf /etc/ssh/ssh_host_{}_key.pub", self.kind.to_lowercase())
    }
}

/// Why there is none to see. What is told begins in the middle of a sentence, after whose it is.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoHostKey {
    #[error(
        "nothing listens on port {0} of {1}; is its SSH server running (`sudo systemctl enable --now ssh`)?"
    )]
    Refused(u16, Ipv4Addr),
    #[error("{0} does not answer; is it on, and is that its address?")]
    Silent(Ipv4Addr),
    #[error("there is no way to {0} from here: {1}")]
    Unroutable(Ipv4Addr, String),
    #[error("port {0} of {1} is open and says nothing for {secs} s; it is busy, or no SSH server", secs = PATIENCE.as_secs())]
    Wordless(u16, Ipv4Addr),
    #[error("what listens on port {0} of {1} is no SSH server")]
    NoServer(u16, Ipv4Addr),
    #[error("its SSH server at {0} offers no host key of a kind that is known here")]
    UnknownKind(Ipv4Addr),
    #[error("{0}, which is part of OpenSSH, failed here: {1}")]
    Tool(&'static str, String),
}

/// Every key that the server offers, the most wanted first; at least one.
///
/// # Errors
/// When there is none to see.
pub async fn offered(address: Ipv4Addr, port: u16) -> Result<Vec<HostKey>, NoHostKey> {
    greeted(address, port).await?;
    let limit = PATIENCE.as_secs().to_string();
    let scan = run("ssh-keyscan", &["-T", &limit, "-p", &port.to_string(), &address.to_string()], "").await?;
    let lines: Vec<&str> =
        scan.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).collect();
    if lines.is_empty() {
        return Err(NoHostKey::UnknownKind(address));
    }
    let listed = run("ssh-keygen", &["-lf", "-"], &(lines.join("\n") + "\n")).await?;
    let mut keys: Vec<HostKey> =
        lines.into_iter().zip(listed.lines()).filter_map(|(line, about)| host_key(line, about)).collect();
    keys.sort_by_key(|key| KINDS.iter().position(|kind| *kind == key.kind).unwrap_or(KINDS.len()));
    if keys.is_empty() { Err(NoHostKey::UnknownKind(address)) } else { Ok(keys) }
}

/// `256 SHA256:… host (ED25519)`
fn host_key(line: &str, about: &str) -> Option<HostKey> {
    let fingerprint = about.split_whitespace().find(|word| word.starts_with("SHA256:"))?;
    let kind = about.trim_end().strip_suffix(')')?.rsplit('(').next()?;
    Some(HostKey { kind: kind.to_owned(), fingerprint: fingerprint.to_owned(), line: line.to_owned() })
}

/// An SSH server says what it is before anything else. The tool that reads keys says nothing of why there are none.
async fn greeted(address: Ipv4Addr, port: u16) -> Result<(), NoHostKey> {
    use std::io::ErrorKind;
    let connecting = timeout(CONNECT, TcpStream::connect((address, port))).await;
    let mut stream = match connecting {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            return Err(NoHostKey::Refused(port, address));
        }
        Ok(Err(error)) if error.kind() == ErrorKind::TimedOut => return Err(NoHostKey::Silent(address)),
        Ok(Err(error)) if error.kind() == ErrorKind::HostUnreachable => {
            return Err(NoHostKey::Silent(address));
        }
        Ok(Err(error)) => return Err(NoHostKey::Unroutable(address, error.to_string())),
        Err(_) => return Err(NoHostKey::Silent(address)),
    };
    let mut banner = [0_u8; 4];
    match timeout(PATIENCE, stream.read_exact(&mut banner)).await {
        Ok(Ok(_)) if &banner == b"SSH-" => Ok(()),
        Ok(_) => Err(NoHostKey::NoServer(port, address)),
        Err(_) => Err(NoHostKey::Wordless(port, address)),
    }
}

async fn run(program: &'static str, words: &[&str], input: &str) -> Result<String, NoHostKey> {
    let failed = |error: std::io::Error| NoHostKey::Tool(program, error.to_string());
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_owned();
    let telling = async move {
        let _ = stdin.write_all(input.as_bytes()).await;
    };
    let ended = timeout(3 * PATIENCE, async { tokio::join!(telling, child.wait_with_output()).1 }).await;
    let output = ended.map_err(|_| NoHostKey::Tool(program, "it did not end".into()))?.map_err(failed)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
