//! Options of `docker run` and of a checkout's own launcher, as the file says them, each a value that is right or is not made.

use super::name::PlainPath;

/// What `docker run` is told beside what every launch tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DockerOptions {
    pub volumes: Vec<Volume>,
    /// Ports of the Spark and of the container; with one the container has a network of its own.
    pub ports: Vec<Publish>,
    /// In bytes, of `/dev/shm`.
    pub shm_bytes: Option<u64>,
    /// `name=soft` or `name=soft:hard`.
    pub ulimits: Vec<Ulimit>,
    /// Instead of all of them.
    pub gpus: Option<Gpus>,
}

impl DockerOptions {
    /// One word each, without what names files of the Spark. None of them has white space or a shell character.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for port in &self.ports {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        words.extend(self.shm_bytes.map(|bytes| format!("--shm-size={bytes}")));
        words.extend(self.ulimits.iter().map(|limit| format!("--ulimit={limit}")));
        words.extend(self.gpus.as_ref().map(|gpus| format!("--gpus={gpus}")));
        words
    }

    /// The port inside, of what is reached at this port of the Spark.
    pub fn inside(&self, port: u16) -> u16 {
        self.ports.iter().find(|publish| publish.host == port).map_or(port, |publish| publish.container)
    }
}

/// `HOST:CONTAINER`, both ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Publish {
    pub host: u16,
    pub container: u16,
}

impl std::str::FromStr for Publish {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let ports = text
            .split_once(':')
            .and_then(|(host, container)| Some(Self { host: port(host)?, container: port(container)? }));
        ports.ok_or_else(|| {
            format!("`{text}` is not two ports such as `8888:8000`: of the Spark and of the container")
        })
    }
}

/// A port that something can listen on.
fn port(text: &str) -> Option<u16> {
    text.parse::<u16>().ok().filter(|port| *port > 0)
}

impl std::fmt::Display for Publish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.container)
    }
}

/// A limit of the processes in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit(String);

impl std::str::FromStr for Ulimit {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fits = text.split_once('=').is_some_and(|(name, limits)| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_lowercase())
                && limits.split(':').count() <= 2
                && limits.split(':').all(is_limit)
        });
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is not a limit such as `memlock=-1` or `nofile=1024:4096`"))
        }
    }
}

/// A figure, or -1 for no limit.
fn is_limit(text: &str) -> bool {
    text == "-1" || (!text.is_empty() && text.chars().all(|c| c.is_ascii_digit()))
}

impl std::fmt::Display for Ulimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// `all`, a number of them, or `device=` and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpus(String);

impl std::str::FromStr for Gpus {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let devices = text.strip_prefix("device=").unwrap_or("");
        let named =
            !devices.is_empty() && devices.chars().all(|c| c.is_ascii_alphanumeric() || "-,".contains(c));
        if text == "all" || named || text.parse::<u8>().is_ok() {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is not `all`, a number, or `device=0`"))
        }
    }
}

impl std::fmt::Display for Gpus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Options of `launch-cluster.sh` itself, each of which came with some version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LauncherOptions {
    pub earlyoom: bool,
    pub non_privileged: bool,
    pub keep_entrypoint: bool,
    pub nccl_debug: Option<NcclDebug>,
    /// Numbers of pull requests of vLLM that are applied before it starts.
    pub vllm_prs: Vec<u32>,
    pub b12x: bool,
    /// A checkout of vLLM that is run instead of the image's.
    pub vllm_source_dir: Option<PlainPath>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NcclDebug {
    Version,
    Warn,
    Info,
    Trace,
}

impl NcclDebug {
    pub fn name(self) -> &'static str {
        match self {
            Self::Version => "VERSION",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Trace => "TRACE",
        }
    }
}

/// One of them, as the launcher takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LauncherOption {
    pub words: Vec<String>,
    /// When its checkout got it, where that is known.
    pub since: Option<&'static str>,
}

impl LauncherOption {
    /// Copies its words.
    fn new(words: &[&str], since: Option<&'static str>) -> Self {
        Self { words: words.iter().map(|word| (*word).to_owned()).collect(), since }
    }
}

impl LauncherOptions {
    /// Those that are asked for. Dates are of the launcher's own history.
    pub fn all(&self) -> Vec<LauncherOption> {
        let mut all = Vec::new();
        all.extend(self.earlyoom.then(|| LauncherOption::new(&["--earlyoom"], Some("2026-07-10"))));
        all.extend(
            self.non_privileged.then(|| LauncherOption::new(&["--non-privileged"], Some("2026-02-17"))),
        );
        all.extend(
            self.keep_entrypoint.then(|| LauncherOption::new(&["--keep-entrypoint"], Some("2026-05-14"))),
        );
        all.extend(self.nccl_debug.map(|debug| LauncherOption::new(&["--nccl-debug", debug.name()], None)));
        for pr in &self.vllm_prs {
            all.push(LauncherOption::new(&["--apply-vllm-pr", &pr.to_string()], Some("2026-08-19")));
        }
        all.extend(self.b12x.then(|| LauncherOption::new(&["--exp-b12x"], None)));
        all.extend(
            self.vllm_source_dir
                .as_ref()
                .map(|dir| LauncherOption::new(&["--vllm-source-dir", dir.as_str()], None)),
        );
        all
    }
}

/// A directory or file of every Spark of the model, and where containers see it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Volume {
    pub from: PlainPath,
    pub to: PlainPath,
    pub read_only: bool,
}

impl std::str::FromStr for Volume {
    type Err = String;
    /// `/from:/to`, `/from:/to:ro` or `/from:/to:rw`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let volume = match parts[..] {
            [from, to] | [from, to, "rw"] => volume(from, to, false),
            [from, to, "ro"] => volume(from, to, true),
            _ => None,
        };
        volume.ok_or_else(|| {
            format!("`{text}` is not a volume such as `/srv/cache:/cache` or `/srv/data:/data:ro`")
        })
    }
}

/// A volume of two absolute paths; `None` when one of them is none.
fn volume(from: &str, to: &str, read_only: bool) -> Option<Volume> {
    Some(Volume { from: absolute_path(from)?, to: absolute_path(to)?, read_only })
}

/// The path, when it begins at the root.
fn absolute_path(text: &str) -> Option<PlainPath> {
    PlainPath::new(text).ok().filter(|path| path.as_str().starts_with('/'))
}

impl std::fmt::Display for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}{}", self.from, self.to, if self.read_only { ":ro" } else { "" })
    }
}
