//! What was seen, when, and what could not be seen. A Spark that did not answer is `Unreachable`, never empty.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    command_line::is_engine,
    container_end::ContainerEnd,
    files::FilesSeen,
    id::{
        BootId, ContainerId, ControllerId, DriverVersion, Generation, GitCommit, ImageId, JobId, LabelName,
        LauncherOptionName, ModelRoot, RecipeVariable, RestartPolicyName, SeenClusterName, SeenContainerName,
        SeenImageRef, SeenServedName,
    },
    image::ImageSeen,
    name::SparkName,
    object::Object,
    platform::Platform,
    progress::LoadProgress,
    spec_hash::SpecHash,
};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    pub at: Timestamp,
    pub sparks: BTreeMap<SparkName, SparkView>,
    /// Slots (at their head) and services that have a port.
    pub endpoints: BTreeMap<Object, Endpoint>,
    /// What the ranks of models that load say, by Spark.
    #[serde(default)]
    pub loads: BTreeMap<Object, BTreeMap<SparkName, LoadSeen>>,
    /// How ranks ended that ran at the look before and do not any more.
    #[serde(default)]
    pub ended: BTreeMap<Object, BTreeMap<SparkName, ContainerEnd>>,
    /// What the sessions of bots' users tell of their updates.
    #[serde(default)]
    pub bots: BTreeMap<Object, BotSeen>,
    /// What stands in front of slots and services says of the requests that it lets through.
    #[serde(default)]
    pub front_doors: BTreeMap<Object, FrontDoor>,
    /// Secrets of the file that this controller cannot read, and why; by what they are for.
    pub unreadable_secrets: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reach")]
pub enum SparkView {
    Reachable(Box<SparkFacts>),
    Unreachable { since: Timestamp, why: String, last: Option<Box<SparkFacts>> },
}

fn nothing() -> Arc<str> {
    "".into()
}

/// One rank of a load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadSeen {
    pub container: ContainerId,
    pub progress: LoadProgress,
    /// Its last words, for when it is gone with its log.
    #[serde(skip, default = "nothing")]
    pub log: Arc<str>,
}

impl SparkView {
    /// What is known now; nothing when it did not answer.
    pub fn facts(&self) -> Option<&SparkFacts> {
        match self {
            Self::Reachable(facts) => Some(facts),
            Self::Unreachable { .. } => None,
        }
    }

    /// What was known last, be it from before it fell silent.
    pub fn last_known(&self) -> Option<&SparkFacts> {
        match self {
            Self::Reachable(facts) => Some(facts),
            Self::Unreachable { last, .. } => last.as_deref(),
        }
    }
}

impl Observed {
    pub fn facts(&self, spark: &SparkName) -> Option<&SparkFacts> {
        self.sparks.get(spark).and_then(SparkView::facts)
    }
}

/// One Spark, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SparkFacts {
    pub at: Timestamp,
    pub boot_id: BootId,
    pub uptime_secs: u64,
    pub memory_total_bytes: u64,
    pub memory_available_bytes: u64,
    pub platform: Platform,
    #[serde(deserialize_with = "gpu_or_what_was_before")]
    pub gpu: GpuSeen,
    /// Every container, running or not.
    pub containers: Vec<Container>,
    /// Image references of the file, and the image that each names there.
    pub images: BTreeMap<String, Option<ImageSeen>>,
    /// Paths of models of the file, and repositories that are wanted here as the Hugging Face cache has them; by
    /// [`ModelSource::files_key`].
    ///
    /// [`ModelSource::files_key`]: super::model_source::ModelSource::files_key
    pub files: BTreeMap<String, FilesSeen>,
    /// Launchers of the file, by [`Start::place`], and what each knows. `sparkrun` is asked only where a model waits for it.
    ///
    /// [`Start::place`]: super::launcher::Start::place
    pub launchers: BTreeMap<String, LauncherSeen>,
    /// Programs that launchers of the file need, and whether each can be run.
    pub programs: BTreeMap<String, bool>,
    /// Scripts, mods and sources of volumes that are wanted here, and whether each is there; by what the file calls them.
    pub entries: BTreeMap<String, bool>,
    /// Recipes that are wanted here, by directory and name.
    pub recipes: BTreeMap<String, RecipeSeen>,
    pub jobs: Vec<Job>,
    /// The last token that acted there.
    pub token: Option<FencingToken>,
}

/// A launcher on a Spark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum LauncherSeen {
    Missing,
    Present(LauncherCheckout),
    /// It was asked which options it takes, and did not tell.
    Silent {
        why: String,
    },
}

/// What its text or its help, and its configuration tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LauncherCheckout {
    /// What its own configuration names as the nodes of a cluster; empty when it names fewer than two.
    pub nodes: Vec<Ipv4Addr>,
    /// Options that its own parser knows.
    pub options: BTreeSet<LauncherOptionName>,
    /// The same of `run-recipe.sh`, which hands them on; empty when it is not there or tells none.
    #[serde(default)]
    pub recipe_options: BTreeSet<LauncherOptionName>,
    /// What is checked out; `None` when git does not tell.
    #[serde(default)]
    pub commit: Option<GitCommit>,
}

impl LauncherCheckout {
    pub fn knows(&self, option: &str) -> bool {
        self.options.contains(option)
    }

    pub fn hands_on(&self, option: &str) -> bool {
        self.recipe_options.is_empty() || self.recipe_options.contains(option)
    }
}

/// A recipe as the launcher's dry run shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum RecipeSeen {
    /// What `vllm serve` is told to load, and what it is told of memory.
    Readable {
        root: ModelRoot,
        #[serde(default)]
        args: BTreeMap<String, serde_json::Value>,
        /// What the recipe sets in the engine's environment, over everything else.
        #[serde(default)]
        sets: BTreeSet<RecipeVariable>,
    },
    /// It failed, or shows no `vllm serve`.
    Unreadable { why: String },
}

impl SparkFacts {
    /// The GPU, when it answers.
    pub fn gpu(&self) -> Option<&Gpu> {
        match &self.gpu {
            GpuSeen::Answers(gpu) => Some(gpu),
            GpuSeen::NotAsked | GpuSeen::Missing | GpuSeen::Refuses { .. } | GpuSeen::Hangs => None,
        }
    }

    /// What is on the GPU; nothing when that is not known.
    pub fn gpu_processes(&self) -> &[GpuProcess] {
        self.gpu().map(|gpu| gpu.processes.as_slice()).unwrap_or_default()
    }

    /// The image that a reference names here, when it is there.
    pub fn image(&self, reference: &str) -> Option<&ImageSeen> {
        self.images.get(reference)?.as_ref()
    }

    /// The container with exactly this name.
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name == name)
    }
}

/// Reports of before 0.2 have the GPU itself, or `null`.
fn gpu_or_what_was_before<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<GpuSeen, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum StoredGpu {
        Now(GpuSeen),
        Before(Option<Gpu>),
    }
    Ok(match StoredGpu::deserialize(deserializer)? {
        StoredGpu::Now(seen) => seen,
        StoredGpu::Before(Some(gpu)) => GpuSeen::Answers(gpu),
        StoredGpu::Before(None) => GpuSeen::NotAsked,
    })
}

/// The GPU, as `nvidia-smi` tells of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum GpuSeen {
    #[default]
    NotAsked,
    /// There is no `nvidia-smi`.
    Missing,
    Answers(Gpu),
    /// It says why not: of a driver that was updated under a running kernel, of a GPU that fell off its bus.
    Refuses {
        code: i32,
        said: String,
    },
    /// It did not end in time, and may never.
    Hangs,
}

impl GpuSeen {
    /// Why no model can be started on it; `None`: it answers, or nobody can tell.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::NotAsked | Self::Missing | Self::Answers(_) => None,
            Self::Refuses { said, .. } => Some(format!("nvidia-smi says `{said}`")),
            Self::Hangs => Some("nvidia-smi does not answer".into()),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    pub name: String,
    pub driver: DriverVersion,
    /// `None` is `[N/A]`, which is normal on this hardware for several readings.
    pub temperature_c: Option<f64>,
    pub power_w: Option<f64>,
    pub utilization_percent: Option<f64>,
    pub clock_mhz: Option<f64>,
    pub processes: Vec<GpuProcess>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuProcess {
    pub pid: u32,
    pub name: String,
    pub memory_bytes: Option<u64>,
    /// The container that it runs in; `None` outside of any.
    #[serde(default)]
    pub container: Option<ContainerId>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub id: ContainerId,
    pub name: SeenContainerName,
    pub image: SeenImageRef,
    pub image_id: ImageId,
    pub running: bool,
    /// It ended, and Docker waits before it starts it again.
    #[serde(default)]
    pub restarting: bool,
    pub exit_code: Option<i64>,
    pub started_at: Option<Timestamp>,
    /// Docker starts it again by itself: `always`, `unless-stopped` or `on-failure`.
    #[serde(default)]
    pub restarts: Option<RestartPolicyName>,
    /// How often Docker has.
    #[serde(default)]
    pub restart_count: u32,
    /// Ports of the machine that Docker forwards to it; none for one in the machine's own network.
    #[serde(default)]
    pub published: BTreeSet<u16>,
    /// Names of its labels, ours and others'.
    #[serde(default)]
    pub label_names: BTreeSet<LabelName>,
    pub labels: Option<Labels>,
    /// Command lines inside; `None` when they could not be read. Read for containers that the file names.
    pub processes: Option<Vec<Process>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// As the Spark numbers it.
    pub pid: u32,
    /// Of its memory that is not the GPU's, with what it shares.
    #[serde(default)]
    pub resident_bytes: u64,
    pub command: String,
}

/// What we wrote on a container that we started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    pub cluster: SeenClusterName,
    pub object: Object,
    pub spec: SpecHash,
    pub token: Option<FencingToken>,
}

impl Container {
    /// The engine inside is alive: `None` when that could not be seen.
    pub fn engine_alive(&self) -> Option<bool> {
        self.runs(is_engine)
    }

    /// One of the command lines inside is such: `None` when they could not be seen.
    pub fn runs(&self, is: fn(&str) -> bool) -> Option<bool> {
        if !self.running {
            return Some(false);
        }
        let processes = self.processes.as_ref()?;
        Some(processes.iter().any(|process| is(&process.command)))
    }

    /// Something runs inside beside what only keeps it up.
    pub fn is_at_work(&self) -> bool {
        self.running && self.processes.iter().flatten().any(|process| !keeps_up(&process.command))
    }

    pub fn engine_command(&self) -> Option<&str> {
        self.processes
            .as_ref()?
            .iter()
            .find(|process| is_engine(&process.command))
            .map(|p| p.command.as_str())
    }
}

/// The command only keeps the container up.
fn keeps_up(command: &str) -> bool {
    let program = command.split_whitespace().next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default();
    command == "sleep infinity" || ["earlyoom", "tini", "docker-init"].contains(&program)
}

/// Ray's process on every node of its cluster.
pub fn is_ray(command: &str) -> bool {
    let program = command.split_whitespace().next().unwrap_or_default();
    program.rsplit('/').next() == Some("raylet")
}

/// Long work on a Spark, as its state directory tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub id: JobId,
    pub object: Object,
    pub spec: SpecHash,
    pub token: FencingToken,
    pub started_at: Timestamp,
    pub state: JobState,
    /// The last lines of its log when it has ended, of what it tells of its progress while it runs.
    #[serde(default)]
    pub said: Vec<String>,
}

impl Job {
    /// The last of what it said.
    pub fn last_log_line(&self) -> Option<&str> {
        self.said.last().map(String::as_str)
    }

    pub fn runs_for(&self, object: &Object) -> bool {
        self.object == *object && self.state == JobState::Running
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Running,
    /// It ended and said so. What it said proves nothing.
    Exited(i32),
    /// Its process is gone without a word: killed, or the Spark rebooted.
    Lost,
}

/// Who may act: (epoch, sequence), compared in that order. An epoch belongs to one controller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FencingToken {
    pub epoch: u64,
    pub sequence: u64,
    pub controller: ControllerId,
}

impl FencingToken {
    /// The job that a launch with this token is.
    pub fn job(&self) -> JobId {
        JobId::new(format!("{}.{}", self.epoch, self.sequence))
    }
}

impl std::fmt::Display for FencingToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.epoch, self.sequence, self.controller)
    }
}

impl std::str::FromStr for FencingToken {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '.');
        let (Some(epoch), Some(sequence), Some(controller)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        Ok(Self {
            epoch: epoch.parse().map_err(|_| ())?,
            sequence: sequence.parse().map_err(|_| ())?,
            controller: controller.into(),
        })
    }
}

/// What a gateway in front of a backend says of it: it is the one who admits requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontDoor {
    /// The start that it speaks of; what it says of another one is of no account.
    pub generation: Option<Generation>,
    /// Since when it lets nothing new through; `None`: it is open.
    pub closed_since: Option<Timestamp>,
    /// Requests that it let through and that have not ended.
    pub in_flight: u64,
}

/// What an HTTP endpoint showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    pub at: Timestamp,
    /// It has answered like this, without another answer between, since then.
    #[serde(default)]
    pub since: Timestamp,
    pub answer: EndpointAnswer,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum EndpointAnswer {
    /// Nothing listens: the machine answered that.
    Refused,
    /// Not known: no answer, or not in time.
    Silent {
        why: String,
    },
    /// It answered with something else than it should.
    Wrong {
        why: String,
    },
    /// A service of another kind than an engine is up.
    Up(ServiceAnswer),
    Engine(EngineAnswer),
}

impl EndpointAnswer {
    /// It says the same of itself, whatever its figures.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Engine(one), Self::Engine(other)) => one.healthy == other.healthy,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineAnswer {
    /// The container that was asked, where it is known: what another one answered proves nothing of this one.
    pub container: Option<ContainerId>,
    pub models: Vec<ServedModel>,
    /// `/health`: false is 503, which is an engine that knows it is dead.
    pub healthy: bool,
    pub load: Option<EngineLoad>,
    /// Requests run or wait, and since then no token was seen to move.
    #[serde(default)]
    pub still_since: Option<Timestamp>,
    /// A token was last seen to move.
    #[serde(default)]
    pub moved_at: Option<Timestamp>,
    /// Looks in a row that its metrics could not be read: `load` is from before them.
    #[serde(default)]
    pub unread: u32,
    pub completion: CheckResult,
    /// Completions that failed since the last that did not.
    pub failures: u32,
    /// Looks in a row that it did not answer: this is from before them.
    #[serde(default)]
    pub missed: u32,
}

/// What a service that is not an engine showed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceAnswer {
    pub container: Option<ContainerId>,
    /// It did what it is for: spoke, embedded, transcribed. For kinds of which nothing can be asked, that it answers.
    pub proof: CheckResult,
    pub failures: u32,
    pub missed: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServedModel {
    pub id: SeenServedName,
    /// What was loaded: a repository or a path; `None` when the server does not tell.
    pub root: Option<ModelRoot>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineLoad {
    pub running: f64,
    pub waiting: f64,
    /// Counters that rise while the engine works.
    pub progress: f64,
}

/// The last time that it was asked for what it is for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "proof")]
pub enum CheckResult {
    #[default]
    NotTried,
    /// It was asked, and there is no answer yet.
    Asked,
    Proven {
        at: Timestamp,
    },
    Failed {
        at: Timestamp,
        why: String,
    },
}

/// The jobs of a bot's user, as far as its session could be looked into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reach")]
pub enum BotSeen {
    Reached { at: Timestamp, jobs: Vec<Job> },
    Silent { why: String },
}

#[cfg(test)]
mod tests {
    use super::{EndpointAnswer, EngineAnswer, is_ray};

    /// If this failed, an engine that has been down for minutes would count as down since the last look.
    #[test]
    fn an_answer_is_like_another_when_it_says_the_same_of_itself() {
        let engine = |healthy, failures| {
            EndpointAnswer::Engine(EngineAnswer { healthy, failures, ..EngineAnswer::default() })
        };
        let silent = |why: &str| EndpointAnswer::Silent { why: why.into() };
        assert!(EndpointAnswer::Refused.is_like(&EndpointAnswer::Refused));
        assert!(silent("one").is_like(&silent("other")));
        assert!(engine(true, 0).is_like(&engine(true, 3)));
        assert!(!engine(true, 0).is_like(&engine(false, 0)));
        assert!(!engine(true, 0).is_like(&EndpointAnswer::Refused));
        assert!(!EndpointAnswer::Refused.is_like(&silent("one")));
    }

    #[test]
    fn ray_is_known_by_its_program_alone() {
        assert!(is_ray("/usr/lib/ray/core/src/ray/raylet/raylet --raylet_socket_name=/tmp/x"));
        assert!(is_ray("raylet"));
        for other in ["", "ray start --head", "bash -c raylet", "/opt/raylet/x", "sleep infinity"] {
            assert!(!is_ray(other), "{other}");
        }
    }
}
