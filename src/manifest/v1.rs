//! `cluster.yaml`, version 1, as people write it. Shapes only: defaults and cross-references are `resolve`'s.
//!
//! The JSON schema is generated from these types; their comments are what an editor shows.

use std::{collections::BTreeMap, net::Ipv4Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value as Json;

use crate::core::model::{
    launcher_options,
    name::{
        Address, ClusterName, ContainerName, Flag, HeldName, HoldName, ImageRef, Interface, InvalidName,
        ModelName, NotifyName, PlainPath, RecipeRef, RepoId, ServedName, ServiceName, SparkName, UserName,
        Variable, WindowName,
    },
};

/// Where a secret is: `{ env: NAME }` or `{ file: PATH }`, never its value.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[schemars(rename = "Secret")]
pub enum WrittenSecret {
    /// The environment variable of the controller that holds it.
    Env(Variable),
    /// The file on the controller that holds it.
    File(PlainPath),
}

/// Part of every message about something written where a secret's place belongs: it may be the secret itself, so
/// neither the message nor the report shows it.
pub const SECRET_PLACE: &str = "a secret's place";

impl<'de> Deserialize<'de> for WrittenSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected =
            || D::Error::custom(format!("expected {SECRET_PLACE}: `{{ env: NAME }}` or `{{ file: PATH }}`"));
        let written = Json::deserialize(deserializer).map_err(|_| expected())?;
        let place = written.as_object().filter(|entries| entries.len() == 1).and_then(|entries| {
            let (key, value) = entries.iter().next()?;
            match (key.as_str(), value.as_str()?) {
                ("env", name) => Variable::new(name).ok().map(Self::Env),
                ("file", path) => PlainPath::new(path).ok().map(Self::File),
                _ => None,
            }
        });
        place.ok_or_else(expected)
    }
}

/// A value for a container's environment: plain text, which is visible in plans, or a secret's place.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
#[schemars(rename = "EnvValue")]
pub enum WrittenEnvValue {
    Plain(String),
    Secret(WrittenSecret),
}

impl<'de> Deserialize<'de> for WrittenEnvValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::String(text) => Ok(Self::Plain(text)),
            Json::Number(_) | Json::Bool(_) => Err(D::Error::custom("put it in quotes to make it text")),
            other => WrittenSecret::deserialize(other).map(Self::Secret).map_err(D::Error::custom),
        }
    }
}

/// A port of a machine, 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "u16")]
#[schemars(with = "u16", extend("minimum" = 1))]
pub struct Port(pub u16);

impl TryFrom<u16> for Port {
    type Error = &'static str;
    fn try_from(number: u16) -> Result<Self, &'static str> {
        if number == 0 { Err("0 is no port") } else { Ok(Self(number)) }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Transport")]
pub enum WrittenTransport {
    /// Over OpenSSH.
    #[default]
    Ssh,
    /// The controller runs on this Spark.
    Local,
}

/// One machine.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Spark")]
pub struct WrittenSpark {
    /// IPv4 address, or a name that resolves to one.
    pub address: Address,
    /// Login name. Needed unless `transport: local`.
    pub user: Option<UserName>,
    /// Port of its SSH server; 22 when absent.
    pub ssh_port: Option<Port>,
    /// Private key file; the controller's own when absent.
    pub key: Option<PlainPath>,
    #[serde(default)]
    pub transport: WrittenTransport,
    /// The Docker Engine's socket there; `/var/run/docker.sock` when absent.
    pub docker_socket: Option<PlainPath>,
    /// The Hugging Face cache there; `~/.cache/huggingface` when absent.
    pub hf_home: Option<PlainPath>,
    /// Memory that stays free whatever runs, in GiB; 6 when absent.
    pub floor_gib: Option<f64>,
    /// Drop the kernel's cache of files before a model is loaded. Needs one line in sudoers there; see docs/operating.md.
    #[serde(default)]
    pub drop_caches: bool,
    /// The fast network between Sparks.
    pub fabric: Option<WrittenFabric>,
}

/// How a Spark is reached by the other Sparks.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Fabric")]
pub struct WrittenFabric {
    pub ip: Ipv4Addr,
    pub eth_if: Interface,
    pub ib_if: Option<Interface>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LauncherKind {
    /// `launch-cluster.sh` of a spark-vllm-docker checkout.
    LaunchCluster,
    /// `run-recipe.sh` of the same checkout, for models with a `recipe`.
    Recipe,
    /// `docker run` on one Spark, of an image that has `vllm`.
    Docker,
    /// `sparkrun run` of a recipe that it knows, for models with a `recipe`.
    Sparkrun,
    /// The owner's own start and stop scripts.
    Command,
}

/// How a model is started.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Launcher")]
pub struct WrittenLauncher {
    pub kind: LauncherKind,
    /// The launcher's directory on the head Spark, absolute or below the home directory.
    pub dir: Option<PlainPath>,
    /// The container image. Needed for `docker`, `sparkrun` and `command`; `vllm-node` when absent otherwise.
    pub image: Option<ImageRef>,
    /// For `sparkrun`: the program on the head, absolute or below the home directory; `.local/bin/sparkrun` when absent.
    pub program: Option<PlainPath>,
    /// For `launch-cluster`, `recipe` and `sparkrun`: let Ray carry models on several Sparks, instead of an engine process on each.
    pub ray: Option<bool>,
    /// For `launch-cluster`: a launch script of the checkout, which has the engine's whole command line.
    pub script: Option<PlainPath>,
    /// For `launch-cluster` and `docker`: what containers see of every Spark of the model, such as `/srv/cache:/cache`.
    #[serde(default)]
    pub volumes: Vec<WrittenVolume>,
    /// For `launch-cluster` and `docker`, and models on one Spark: ports of the Spark and of the container, such as `8888:8000`. The
    /// container then has a network of its own.
    #[serde(default)]
    pub ports: Vec<WrittenPublish>,
    /// For `launch-cluster` and `docker`: GiB of the container's shared memory; the machine's own when absent.
    pub shm_gib: Option<f64>,
    /// For `launch-cluster` and `docker`: limits of the processes in the container, such as `memlock=-1`.
    #[serde(default)]
    pub ulimits: Vec<WrittenUlimit>,
    /// For `launch-cluster` and `docker`: `all` (when absent), a number, or `device=0`.
    pub gpus: Option<WrittenGpus>,
    /// For `docker`: the program in the image that is run instead of `vllm`, with the words that it would get.
    pub entrypoint: Option<PlainPath>,
    /// For `launch-cluster` and `recipe`: earlyoom ends the engine before the Spark freezes.
    pub earlyoom: Option<bool>,
    /// For `launch-cluster` and `recipe`: containers without the rights of the machine.
    pub non_privileged: Option<bool>,
    /// For `launch-cluster` and `recipe`: what the image runs first is run first.
    pub keep_entrypoint: Option<bool>,
    /// For `launch-cluster` and `recipe`: what NCCL says of itself.
    pub nccl_debug: Option<WrittenNcclDebug>,
    /// For `launch-cluster` and `recipe`: pull requests of vLLM, by number, that are applied before it starts.
    #[serde(default)]
    pub vllm_prs: Vec<u32>,
    /// For `launch-cluster` and `recipe`: the launcher's experimental profile of that name.
    pub b12x: Option<bool>,
    /// For `launch-cluster` and `recipe`: a checkout of vLLM that is run instead of the image's.
    pub vllm_source_dir: Option<PlainPath>,
    /// For `command`: the program that starts the model, below `dir`.
    pub start: Option<PlainPath>,
    /// For `command`: the program that stops it, below `dir`.
    pub stop: Option<PlainPath>,
}

/// A directory or file of a Spark and where a container sees it: `/from:/to`, with `:ro` when it may only be read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = r"^/[A-Za-z0-9/_.+@=%-]*:/[A-Za-z0-9/_.+@=%-]*(:ro|:rw)?$"))]
#[schemars(rename = "Volume")]
pub struct WrittenVolume(pub launcher_options::Volume);

impl TryFrom<String> for WrittenVolume {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

/// What NCCL says of itself, in its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schemars(rename = "NcclDebug")]
pub enum WrittenNcclDebug {
    Version,
    Warn,
    Info,
    Trace,
}

/// Two ports: of the Spark, and of the container.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = r"^[0-9]{1,5}:[0-9]{1,5}$"))]
#[schemars(rename = "Publish")]
pub struct WrittenPublish(pub launcher_options::Publish);

impl TryFrom<String> for WrittenPublish {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

/// A limit as `docker run --ulimit` takes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = r"^[a-z]+=(-1|[0-9]+)(:(-1|[0-9]+))?$"))]
#[schemars(rename = "Ulimit")]
pub struct WrittenUlimit(pub launcher_options::Ulimit);

impl TryFrom<String> for WrittenUlimit {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

/// Which GPUs, as `docker run --gpus` takes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = r"^(all|[0-9]{1,3}|device=[A-Za-z0-9,-]+)$"))]
#[schemars(rename = "Gpus")]
pub struct WrittenGpus(pub launcher_options::Gpus);

impl TryFrom<String> for WrittenGpus {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

/// A repository, as an owner writes it: by its id, or by the address of its page.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Repo(pub RepoId);

impl TryFrom<String> for Repo {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        RepoId::of_page(&text).map_or_else(|| RepoId::new(text), Ok).map(Self)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "OnFailure")]
pub enum WrittenOnFailure {
    /// Go back once to the last proven model.
    Fallback,
    /// Leave the slot empty and say why.
    Stall,
}

/// What a model slot is, for the main slot and for services of kind `vllm` that have a model.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vllm {
    /// Container name; `vllm_node` when absent.
    pub container: Option<ContainerName>,
    /// HTTP port; 8888 when absent.
    pub port: Option<Port>,
    /// Port on which the ranks find each other; 29501 when absent.
    pub master_port: Option<Port>,
    pub launcher: Option<WrittenLauncher>,
    /// Environment of every model in this slot.
    #[serde(default)]
    pub env: BTreeMap<Variable, WrittenEnvValue>,
    /// The key that clients of the engine send.
    pub api_key: Option<WrittenSecret>,
    pub on_failure: Option<WrittenOnFailure>,
    /// How long requests may finish before a stop, such as `30s`; 30 s when absent.
    pub drain: Option<Span>,
    /// How long a load may take, such as `45m`; learned when absent.
    pub load_deadline: Option<Span>,
    /// The model is loaded anew once, when it was started before this time.
    pub restart_after: Option<Time>,
    /// Look, but do nothing.
    pub suspend: Option<bool>,
}

/// A length of time such as `90s`, `20m` or `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String", extend("pattern" = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"))]
pub struct Span(pub std::time::Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::String(text) => Self::try_from(text).map_err(D::Error::custom),
            Json::Number(number) => Err(D::Error::custom(format!(
                "a length of time needs its unit: write `{number}s`, `m` or `h`"
            ))),
            _ => Err(D::Error::custom("expected a length of time such as `90s`, `20m` or `1h30m`")),
        }
    }
}

impl TryFrom<String> for Span {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not a length of time such as `90s`, `20m` or `1h30m`, up to 168h");
        let mut seconds: u64 = 0;
        let mut rest = text.as_str();
        for (unit, length) in [('h', 3600), ('m', 60), ('s', 1)] {
            let Some((number, after)) = rest.split_once(unit) else { continue };
            let plain = !number.is_empty() && number.chars().all(|letter| letter.is_ascii_digit());
            let number: u64 = number.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
            seconds = number.checked_mul(length).and_then(|n| seconds.checked_add(n)).ok_or_else(wrong)?;
            rest = after;
        }
        if !rest.is_empty() || seconds == 0 || seconds > 7 * 24 * 3600 {
            return Err(wrong());
        }
        Ok(Self(std::time::Duration::from_secs(seconds)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Weights")]
pub enum WrittenWeights {
    Present,
    Absent,
}

/// One model of the catalog. Exactly one of `repo`, `local_path` and `recipe`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Model")]
pub struct WrittenModel {
    /// Hugging Face repository, such as `owner/name`, `owner/name:QUANT` for one of several GGUF files, or the address of its page;
    /// or a place that the engine streams from, such as `s3://bucket/model`.
    pub repo: Option<Repo>,
    /// Revision of `repo`.
    pub revision: Option<Flagless>,
    /// Directory that holds the model, at the same absolute path on every Spark of the model.
    pub local_path: Option<PlainPath>,
    /// A recipe of the launcher's checkout; for `sparkrun` also `@registry/name` or an `https://` address.
    pub recipe: Option<RecipeRef>,
    /// Where it runs; the head first. A model on several is split over all of them (`tensor-parallel-size`), unless `args` say otherwise.
    pub sparks: Vec<SparkName>,
    /// Names that clients may send; the first is canonical. The model's own name when absent.
    #[serde(default)]
    pub served_as: Vec<ServedName>,
    /// Engine arguments: `true` is `--k`, `false` is `--no-k`, a list is `--k a b`, a map is `--k` with JSON.
    #[serde(default)]
    pub args: BTreeMap<Flag, Json>,
    #[serde(default)]
    pub env: BTreeMap<Variable, WrittenEnvValue>,
    /// HTTP port, where it is not the slot's.
    pub port: Option<Port>,
    /// Image, where it is not the launcher's.
    pub image: Option<ImageRef>,
    pub launcher: Option<WrittenLauncher>,
    /// Chat template file, inside `local_path`.
    pub chat_template: Option<PlainPath>,
    /// Launcher mods to apply.
    #[serde(default)]
    pub mods: Vec<PlainPath>,
    /// Memory per Spark in GiB; learned when absent.
    pub memory_gib: Option<f64>,
    /// Keep the files on the model's Sparks, or delete them.
    pub weights: Option<WrittenWeights>,
    /// Neither bring nor delete them for now.
    pub suspend: Option<bool>,
}

/// A short word that is not an option.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Flagless(pub String);

impl TryFrom<String> for Flagless {
    type Error = crate::core::model::name::InvalidName;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        ServiceName::new(text).map(|name| Self(name.into()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "ServiceKind")]
pub enum WrittenServiceKind {
    Vllm,
    Asr,
    Diarization,
    Tts,
    Embeddings,
    Rerank,
    Qdrant,
    RedactionNer,
    Bot,
    Http,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ServiceState")]
pub enum WrittenServiceState {
    /// Kept running.
    Running,
    /// Kept stopped.
    Stopped,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    #[default]
    Http,
    Https,
}

/// Something that runs beside the main slot.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Service")]
pub struct WrittenService {
    pub kind: WrittenServiceKind,
    /// The Spark it runs on. Either this or `address`.
    pub spark: Option<SparkName>,
    /// Where it is reached when it runs elsewhere.
    pub address: Option<Address>,
    pub port: Option<Port>,
    #[serde(default)]
    pub scheme: Scheme,
    /// Path of the request that shows it is up; the kind's own when absent.
    pub path: Option<PlainPath>,
    pub container: Option<ContainerName>,
    /// For bots: its own user on the Spark, never the Spark's. Blank: it is neither shown nor looked at.
    pub user: Option<String>,
    /// `running` or `stopped` is kept so. Absent: watched, never touched.
    pub state: Option<WrittenServiceState>,
    pub suspend: Option<bool>,
    /// Restart it once, when it was started before this time.
    pub restart_after: Option<Time>,
    /// For bots: the checkout's directory, below the home directory of its user or absolute.
    pub dir: Option<PlainPath>,
    /// For bots: the branch that it is brought to.
    pub branch: Option<Flagless>,
    /// For bots: bring it to its branch once, for this time: fetch, build, recreate, as its own user.
    pub update_after: Option<Time>,
    /// For kind `vllm`: the model of this further slot. Absent: watched, not managed.
    pub model: Option<String>,
    pub master_port: Option<Port>,
    pub launcher: Option<WrittenLauncher>,
    #[serde(default)]
    pub env: BTreeMap<Variable, WrittenEnvValue>,
    pub api_key: Option<WrittenSecret>,
    pub on_failure: Option<WrittenOnFailure>,
    pub drain: Option<Span>,
    pub load_deadline: Option<Span>,
}

/// A point in time such as `2026-12-01T06:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(with = "String", extend("format" = "date-time"))]
pub struct Time(pub jiff::Timestamp);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "OnEdit")]
pub enum WrittenOnEdit {
    Apply,
    Approve,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "OnDrift")]
pub enum WrittenOnDrift {
    /// Start what is missing or dead; never stop what answers.
    Repair,
    Apply,
    Approve,
    Report,
}

#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reconcile {
    pub on_edit: Option<WrittenOnEdit>,
    pub on_drift: Option<WrittenOnDrift>,
    /// How often everything is looked at without a reason; 30 s when absent.
    pub interval: Option<Span>,
    /// Look, but do nothing, anywhere.
    pub suspend: Option<bool>,
}

/// "Do not swap."
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Hold")]
pub struct WrittenHold {
    pub until: Option<Time>,
    pub owner: String,
    pub reason: String,
    /// The service or slot that is held, or `weights/` and a model whose files are; the main slot when absent.
    pub object: Option<HeldName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A time of day, `HH:MM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
pub struct Clock(pub jiff::civil::Time);

impl TryFrom<String> for Clock {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let expected = || format!("`{text}` is not a time of day such as \"01:30\"");
        let (hours, minutes) = text.split_once(':').ok_or_else(expected)?;
        if !is_two_figures(hours) || !is_two_figures(minutes) {
            return Err(expected());
        }
        if hours == "24" {
            return Err(format!("`{text}` is not a time of day; midnight is \"00:00\""));
        }
        let (Ok(hours), Ok(minutes)) = (hours.parse(), minutes.parse()) else { return Err(expected()) };
        jiff::civil::Time::new(hours, minutes, 0, 0).map(Self).map_err(|_| expected())
    }
}

/// Exactly two figures.
fn is_two_figures(part: &str) -> bool {
    part.len() == 2 && part.chars().all(|letter| letter.is_ascii_digit())
}

/// Which model serves at which times.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Window")]
pub struct WrittenWindow {
    /// Days on which the window starts; every day when absent.
    pub days: Option<Vec<Day>>,
    pub from: Clock,
    /// At or before `from`: the window ends on the next day.
    pub to: Clock,
    /// IANA name; `Etc/UTC` when absent.
    pub timezone: Option<String>,
    pub model: ModelName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotifyEvent {
    /// A swap started, finished, failed, or fell back.
    Swap,
    /// Something waits for a person, or does not any more.
    Stalled,
    /// Something is for two minutes not as the file says, or is again.
    Drift,
    /// A hold expired.
    Hold,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// Each message is POSTed there as JSON. A secret's place, where the address itself is one.
    pub url: WrittenEnvValue,
    /// All of them when absent.
    pub events: Option<Vec<NotifyEvent>>,
    /// Signs each message: HMAC-SHA256 of the body, in `X-Spark-Control-Signature`.
    pub secret: Option<WrittenSecret>,
}

// Read entry by entry (see `load`), so that one bad entry does not hide the rest; this type is what the schema is made of.
/// What a cluster of Sparks should be.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Spark Control cluster.yaml", extend("patternProperties" = { "^x-": {} }))]
pub struct Cluster {
    /// Always 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// The cluster's id; `default` when absent.
    pub name: Option<ClusterName>,
    /// The machines.
    pub sparks: BTreeMap<SparkName, WrittenSpark>,
    /// What should be serving. `none` keeps the slot empty; absent or blank watches without managing.
    pub model: Option<String>,
    pub vllm: Option<Vllm>,
    #[serde(default)]
    pub models: BTreeMap<ModelName, WrittenModel>,
    #[serde(default)]
    pub services: BTreeMap<ServiceName, WrittenService>,
    /// Services that are neither probed, shown nor touched.
    #[serde(default)]
    pub disabled_services: Vec<ServiceName>,
    pub reconcile: Option<Reconcile>,
    #[serde(default)]
    pub holds: BTreeMap<HoldName, WrittenHold>,
    #[serde(default)]
    pub schedule: BTreeMap<WindowName, WrittenWindow>,
    #[serde(default)]
    pub notify: BTreeMap<NotifyName, Notify>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, half a second would be read as eight hours.
    #[test]
    fn lengths_of_time_are_read_as_they_are_meant_or_not_at_all() {
        let seconds = |text: &str| Span::try_from(text.to_owned()).ok().map(|span| span.0.as_secs());
        assert_eq!(["90s", "20m", "1h30m", "1h0m5s"].map(seconds), [90, 1200, 5400, 3605].map(Some));
        for wrong in ["", "500ms", "h5s", "5mm", "1s1m1h", "5", "-5s", "+5s", "1.5h", "0s", "169h", "5 s"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
