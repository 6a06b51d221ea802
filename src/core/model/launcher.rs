//! How a model is started, as the file says. `launcher` makes the words for a Spark of it; this only holds it.

use serde::{Deserialize, Serialize};

use super::name::{ImageRef, PlainPath};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    pub image: ImageRef,
    pub how: LaunchMethod,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchMethod {
    /// `launch-cluster.sh` in `dir`, on the head.
    LaunchCluster {
        dir: PlainPath,
        ranks: DistributedExecutor,
        /// A launch script of the checkout; it has the engine's command line.
        script: Option<PlainPath>,
        docker: DockerOptions,
        own: LauncherOptions,
    },
    /// `run-recipe.sh` in `dir`, on the head.
    Recipe { dir: PlainPath, ranks: DistributedExecutor, own: LauncherOptions },
    /// `docker run` on one Spark.
    Docker {
        docker: DockerOptions,
        /// What runs in the container instead of `vllm`, with the words that it would get.
        entrypoint: Option<PlainPath>,
    },
    /// `sparkrun run` of a recipe, on the head.
    Sparkrun { program: PlainPath, ranks: DistributedExecutor },
    /// The owner's own programs in `dir`, on the head.
    Command { dir: PlainPath, start: PlainPath, stop: Option<PlainPath> },
}

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
        let ports = text.split_once(':').and_then(|(host, container)| {
            let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
            Some(Self { host: port(host)?, container: port(container)? })
        });
        ports.ok_or_else(|| {
            format!("`{text}` is not two ports such as `8888:8000`: of the Spark and of the container")
        })
    }
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
        let figure =
            |text: &str| text == "-1" || (!text.is_empty() && text.chars().all(|c| c.is_ascii_digit()));
        let fits = text.split_once('=').is_some_and(|(name, limits)| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_lowercase())
                && limits.split(':').count() <= 2
                && limits.split(':').all(figure)
        });
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is not a limit such as `memlock=-1` or `nofile=1024:4096`"))
        }
    }
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

impl LauncherOptions {
    /// Those that are asked for. Dates are of the launcher's own history.
    pub fn all(&self) -> Vec<LauncherOption> {
        let option = |words: &[&str], since| LauncherOption {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            since,
        };
        let mut all = Vec::new();
        all.extend(self.earlyoom.then(|| option(&["--earlyoom"], Some("2026-07-10"))));
        all.extend(self.non_privileged.then(|| option(&["--non-privileged"], Some("2026-02-17"))));
        all.extend(self.keep_entrypoint.then(|| option(&["--keep-entrypoint"], Some("2026-05-14"))));
        all.extend(self.nccl_debug.map(|debug| option(&["--nccl-debug", debug.name()], None)));
        for pr in &self.vllm_prs {
            all.push(option(&["--apply-vllm-pr", &pr.to_string()], Some("2026-08-19")));
        }
        all.extend(self.b12x.then(|| option(&["--exp-b12x"], None)));
        all.extend(
            self.vllm_source_dir.as_ref().map(|dir| option(&["--vllm-source-dir", dir.as_str()], None)),
        );
        all
    }
}

/// How the ranks of a model on several Sparks find each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DistributedExecutor {
    /// An engine process on each.
    #[default]
    Processes,
    /// Ray carries them: the head alone runs the engine's own process.
    Ray,
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
        let expected =
            || format!("`{text}` is not a volume such as `/srv/cache:/cache` or `/srv/data:/data:ro`");
        let parts: Vec<&str> = text.split(':').collect();
        let (from, to, read_only) = match parts[..] {
            [from, to] | [from, to, "rw"] => (from, to, false),
            [from, to, "ro"] => (from, to, true),
            _ => return Err(expected()),
        };
        let path = |text: &str| PlainPath::new(text).ok().filter(|path| path.as_str().starts_with('/'));
        match (path(from), path(to)) {
            (Some(from), Some(to)) => Ok(Self { from, to, read_only }),
            _ => Err(expected()),
        }
    }
}

impl std::fmt::Display for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}{}", self.from, self.to, if self.read_only { ":ro" } else { "" })
    }
}

/// Something of the owner's that a launch needs, in the first of these places that has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaunchFile {
    /// As the file calls it.
    pub name: String,
    /// Below the home directory, or absolute.
    pub at: Vec<String>,
    /// The head alone needs it.
    pub on_head: bool,
}

impl LaunchMethod {
    /// As the file names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LaunchCluster { .. } => "launch-cluster",
            Self::Recipe { .. } => "recipe",
            Self::Docker { .. } => "docker",
            Self::Sparkrun { .. } => "sparkrun",
            Self::Command { .. } => "command",
        }
    }

    /// The directory on the head that its programs are in.
    pub fn dir(&self) -> Option<&PlainPath> {
        match self {
            Self::LaunchCluster { dir, .. } | Self::Recipe { dir, .. } | Self::Command { dir, .. } => {
                Some(dir)
            }
            Self::Docker { .. } | Self::Sparkrun { .. } => None,
        }
    }

    /// What must be there to start a model, below the home directory or absolute.
    pub fn programs(&self) -> Vec<String> {
        match self {
            // Its folder is looked into by itself.
            Self::LaunchCluster { .. } | Self::Docker { .. } => Vec::new(),
            Self::Recipe { dir, .. } => vec![format!("{dir}/run-recipe.sh")],
            Self::Sparkrun { program, .. } => vec![program.to_string()],
            Self::Command { dir, start, stop } => {
                [start].into_iter().chain(stop).map(|program| format!("{dir}/{program}")).collect()
            }
        }
    }

    /// What `docker run` is told besides.
    pub fn docker(&self) -> Option<&DockerOptions> {
        match self {
            Self::LaunchCluster { docker, .. } | Self::Docker { docker, .. } => Some(docker),
            Self::Recipe { .. } | Self::Sparkrun { .. } | Self::Command { .. } => None,
        }
    }

    /// What the launcher of a checkout is told besides.
    pub fn own(&self) -> Option<&LauncherOptions> {
        match self {
            Self::LaunchCluster { own, .. } | Self::Recipe { own, .. } => Some(own),
            Self::Docker { .. } | Self::Sparkrun { .. } | Self::Command { .. } => None,
        }
    }

    pub fn volumes(&self) -> &[Volume] {
        self.docker().map(|docker| docker.volumes.as_slice()).unwrap_or_default()
    }

    /// Containers have names that the launcher makes.
    pub fn names_containers(&self) -> bool {
        matches!(self, Self::Sparkrun { .. })
    }

    /// Containers of the file's `image` are started; the owner's own program starts what it likes.
    pub fn starts_the_image(&self) -> bool {
        !matches!(self, Self::Command { .. })
    }

    /// Its containers do not run as root, whatever the image says.
    pub fn is_unprivileged(&self) -> bool {
        self.own().is_some_and(|own| own.non_privileged)
    }

    /// The engine gets the words of `args`, and no other options but ours.
    pub fn controls_full_command_line(&self) -> bool {
        matches!(self, Self::LaunchCluster { script: None, .. } | Self::Docker { .. })
    }

    /// What a container receives beside what every kind gives it; `None` for what was there before there were other kinds.
    /// Part of the spec hash.
    pub(crate) fn received(&self) -> Vec<serde_json::Value> {
        let volumes = || self.volumes().iter().map(ToString::to_string).collect::<Vec<_>>();
        let kind =
            match self {
                Self::LaunchCluster {
                    ranks: DistributedExecutor::Processes, script: None, docker, ..
                } if docker.volumes.is_empty() => None,
                Self::LaunchCluster { ranks, script, .. } => {
                    Some(serde_json::json!([self.kind(), ranks, script, volumes()]))
                }
                Self::Recipe { ranks, .. } | Self::Sparkrun { ranks, .. } => {
                    Some(serde_json::json!([self.kind(), ranks]))
                }
                Self::Docker { .. } => Some(serde_json::json!([self.kind(), volumes()])),
                Self::Command { start, .. } => Some(serde_json::json!([self.kind(), start])),
            };
        // What came later stands behind, and only where it is said.
        let mut more = self.docker().map(DockerOptions::words).unwrap_or_default();
        more.extend(self.own().into_iter().flat_map(LauncherOptions::all).flat_map(|option| option.words));
        if let Self::Docker { entrypoint: Some(entrypoint), .. } = self {
            more.push(format!("--entrypoint={entrypoint}"));
        }
        let more = (!more.is_empty()).then(|| serde_json::json!({ "options": more }));
        kind.into_iter().chain(more).collect()
    }
}
