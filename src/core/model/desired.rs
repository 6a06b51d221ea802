//! What should be: `cluster.yaml`, complete and defaulted. Nothing is decided later.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{
    id::GitBranch,
    launcher::Launcher,
    model_source::ModelSource,
    name::{
        Address, ClusterName, ContainerName, Flag, HoldName, ImageRef, Interface, ModelName, NotifyName,
        PlainPath, ServedName, ServiceName, SparkName, UserName, Variable, WindowName,
    },
    object::Object,
};

#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    pub cluster: ClusterName,
    pub sparks: BTreeMap<SparkName, Spark>,
    /// The main slot, and one for each service of kind `vllm` that has a model.
    pub slots: BTreeMap<Object, Slot>,
    pub models: BTreeMap<ModelName, Model>,
    pub services: BTreeMap<ServiceName, Service>,
    pub disabled: BTreeSet<ServiceName>,
    pub policy: Policy,
    pub holds: BTreeMap<HoldName, Hold>,
    pub schedule: BTreeMap<WindowName, Window>,
    pub notify: BTreeMap<NotifyName, WebhookTarget>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Spark {
    pub address: Address,
    pub reach: ReachMethod,
    pub docker_socket: PlainPath,
    pub hf_home: Option<PlainPath>,
    /// Memory that stays free whatever runs.
    pub floor_bytes: u64,
    /// Before a model is loaded, the kernel's cache of files is dropped.
    pub drop_caches: bool,
    pub fabric: Option<Fabric>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReachMethod {
    Ssh { user: UserName, port: u16, key: Option<PlainPath> },
    Local,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fabric {
    pub ip: Ipv4Addr,
    pub eth_if: Interface,
    pub ib_if: Option<Interface>,
}

impl Fabric {
    /// As it goes into [`ResolvedModel::settings_hash`]: written out, because what was hashed before was the text of a derived
    /// `Debug`, which is nobody's to change.
    pub(crate) fn hashed(&self) -> String {
        let ib_if = self
            .ib_if
            .as_ref()
            .map_or_else(|| "None".to_owned(), |name| format!("Some(Interface({:?}))", name.as_str()));
        let eth_if = format!("Interface({:?})", self.eth_if.as_str());
        format!("Some(Fabric {{ ip: {}, eth_if: {eth_if}, ib_if: {ib_if} }})", self.ip)
    }
}

/// A place where one model at a time serves.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    pub wanted: WantedModel,
    pub container: ContainerName,
    pub port: u16,
    pub master_port: u16,
    pub launcher: Launcher,
    pub env: BTreeMap<Variable, EnvValue>,
    pub api_key: Option<Secret>,
    pub on_failure: OnFailure,
    pub drain: Duration,
    pub load_deadline: Option<Duration>,
    /// What serves is loaded anew once, when it was started before this time.
    pub restart_after: Option<Timestamp>,
    pub suspend: bool,
    /// Sparks where this slot's container may be found: all, or the one of a further slot.
    pub sparks: BTreeSet<SparkName>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedModel {
    /// Look, touch nothing.
    Watch,
    /// Keep the slot empty.
    Nothing,
    Model(ModelName),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    Fallback,
    Stall,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    Env(Variable),
    File(PlainPath),
}

/// Its place, as the file names it.
impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env: {name}"),
            Self::File(path) => write!(f, "file: {path}"),
        }
    }
}

impl Desired {
    /// Is this slot, or everything, only looked at?
    pub fn is_suspended(&self, slot: &Object) -> bool {
        self.policy.suspend || self.slots.get(slot).is_some_and(|slot| slot.suspend)
    }

    /// Every secret that a container or a probe needs.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let slots = self.slots.values();
        let in_slots =
            slots.flat_map(|slot| slot.env.values().filter_map(EnvValue::secret).chain(&slot.api_key));
        let in_models =
            self.models.values().flat_map(|model| model.env.values().filter_map(EnvValue::secret));
        in_slots.chain(in_models).chain(self.services.values().filter_map(|service| service.api_key.as_ref()))
    }
}

impl EnvValue {
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Secret(secret) => Some(secret),
            Self::Plain(_) => None,
        }
    }

    /// The text that a recipe can set: it is no secret, and the script that `run-recipe.sh` makes has it between double quotes as it is,
    /// where a shell would read some letters in another way.
    pub fn in_recipe(&self) -> Option<&str> {
        match self {
            Self::Plain(text) => Some(text.as_str()).filter(|text| !text.contains(['"', '$', '`', '\\'])),
            Self::Secret(_) => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue {
    Plain(String),
    Secret(Secret),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub source: ModelSource,
    /// Head first; never empty.
    pub sparks: Vec<SparkName>,
    /// Canonical name first; never empty.
    pub served_as: Vec<ServedName>,
    pub args: BTreeMap<Flag, Json>,
    pub env: BTreeMap<Variable, EnvValue>,
    pub port: Option<u16>,
    pub launcher: Option<Launcher>,
    pub image: Option<ImageRef>,
    pub chat_template: Option<PlainPath>,
    pub mods: Vec<PlainPath>,
    pub memory_bytes: Option<u64>,
    /// Its files are brought to its Sparks, or taken away from them; `None` leaves them alone.
    pub weights: Option<Weights>,
    /// They are neither brought nor taken away for now.
    pub suspend: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    Present,
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceKind {
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

#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    pub kind: ServiceKind,
    pub place: Place,
    pub port: Option<u16>,
    pub https: bool,
    pub path: Option<PlainPath>,
    pub container: Option<ContainerName>,
    /// What an engine that is watched wants to see.
    pub api_key: Option<Secret>,
    pub state: Option<ServiceState>,
    pub suspend: bool,
    /// It is restarted once, when it was started before this time.
    pub restart_after: Option<Timestamp>,
    /// Of kind `bot`.
    pub bot: Option<Bot>,
}

/// A bot's checkout, in the home of its own user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bot {
    pub user: UserName,
    pub dir: Option<PlainPath>,
    pub branch: Option<GitBranch>,
    /// It is brought to its branch once, when that was not done for this time.
    pub update_after: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Spark(SparkName),
    Elsewhere(Address),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    Running,
    Stopped,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub on_edit: OnEdit,
    pub on_drift: OnDrift,
    pub interval: Duration,
    pub suspend: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnEdit {
    Apply,
    Approve,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDrift {
    Repair,
    Apply,
    Approve,
    Report,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Hold {
    pub object: Object,
    pub until: Option<Timestamp>,
    pub owner: String,
    pub reason: String,
}

/// Where news goes.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookTarget {
    /// Many hooks have their key in it.
    pub url: EnvValue,
    pub topics: BTreeSet<NotificationTopic>,
    /// Signs the message.
    pub secret: Option<Secret>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// 1 = Monday … 7 = Sunday; the day on which it starts.
    pub days: BTreeSet<i8>,
    pub from: jiff::civil::Time,
    pub to: jiff::civil::Time,
    pub zone: jiff::tz::TimeZone,
    pub model: ModelName,
}

/// What a target is interested in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationTopic {
    Swap,
    Stalled,
    Drift,
    Hold,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, every model that failed to load would be tried once more after an update of this program.
    #[test]
    fn a_fabric_is_hashed_as_it_always_was() {
        let fabric = |ib_if: Option<&str>| Fabric {
            ip: Ipv4Addr::new(192, 0, 2, 1),
            eth_if: Interface::new("enp1s0f0np0").unwrap(),
            ib_if: ib_if.map(|name| Interface::new(name).unwrap()),
        };
        let begins = r#"Some(Fabric { ip: 192.0.2.1, eth_if: Interface("enp1s0f0np0"), ib_if: "#;
        assert_eq!(fabric(None).hashed(), format!("{begins}None }})"));
        assert_eq!(
            fabric(Some("rocep1s0f0,roceP2p1s0f0")).hashed(),
            format!(r#"{begins}Some(Interface("rocep1s0f0,roceP2p1s0f0")) }})"#)
        );
    }
}
