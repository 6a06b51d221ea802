//! What serves where: one value for the look, the API, the drain, and whoever stands in front of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    health::{self, EngineJudgement},
    readiness, schedule,
    view::View,
};
use crate::core::model::{
    desired::{Desired, Place, Secret, Service, ServiceKind, Slot, WantedModel},
    id::{ContainerId, Generation, ModelRoot},
    launch_spec::LaunchSpec,
    ledger::Ledger,
    name::{Address, ServedName, SparkName},
    object::Object,
    observed::{CheckResult, Container, EndpointAnswer, EngineAnswer, Observed},
    plan::{Plan, Verdict},
    reason::Reason,
    resolved_model::ResolvedModel,
    spec_hash::hex,
};

/// Something that answers over HTTP, or is to: the engine of a slot, or a service with a port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    pub object: Object,
    pub kind: ServiceKind,
    /// The Spark that it is on, of a slot its head; `None`: it is elsewhere.
    pub spark: Option<SparkName>,
    pub address: Address,
    pub port: u16,
    pub https: bool,
    /// Where the key is that it wants to see. Nobody outside this process asks with it.
    #[serde(skip)]
    pub api_key: Option<Secret>,
    /// The names that its model is served as, the canonical one first; empty where only what answers knows.
    pub served_as: Vec<ServedName>,
    /// What `/v1/models` names as loaded; `None` where only the launcher or what answers knows.
    pub root: Option<ModelRoot>,
    /// The container that answers there, as far as it was seen.
    pub container: Option<ContainerId>,
    /// Which start of it this is; `None` while nothing was seen to be started.
    pub generation: Option<Generation>,
    pub state: BackendState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendState {
    /// Nothing is wanted there, and nothing was seen to stand there: nobody asks.
    Empty,
    /// It is in `disabled_services`: nobody asks.
    Disabled,
    /// It was not asked yet, or did not answer.
    Unknown,
    /// It was started, and did not do yet what it is for.
    Loading,
    /// It did what it is for.
    Serving,
    /// It serves, and is about to be stopped: what runs may end, and nothing new is sent to it.
    Draining,
    /// It answers that it does not serve, or nothing listens.
    Down,
}

impl BackendState {
    /// It is worth asking.
    pub fn is_asked(self) -> bool {
        !matches!(self, Self::Empty | Self::Disabled)
    }
}

impl Backend {
    /// `http://ADDRESS:PORT`
    pub fn base_url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.address, self.port)
    }
}

/// All of them, slots first; those of Sparks that were taken out of the file have no address any more, and are left out.
///
/// `plan` says what is about to be stopped; without one nothing is.
pub fn backends(view: View<'_>, plan: Option<&Plan>) -> Vec<Backend> {
    let View { desired, observed, now, .. } = view;
    let slots = desired.slots.iter().filter_map(|(object, slot)| of_slot(object, slot, view, plan));
    let services = desired.services.iter().filter_map(|(name, service)| {
        let object = Object::service(name);
        let is_disabled = desired.disabled.contains(name);
        of_service(object, service, is_disabled, desired, observed, plan, now)
    });
    slots.chain(services).collect()
}

fn of_slot(object: &Object, slot: &Slot, view: View<'_>, plan: Option<&Plan>) -> Option<Backend> {
    let View { desired, observed, ledger, now } = view;
    let group = launch_spec(object, slot, view);
    let rank = group.as_ref().and_then(|group| readiness::rank(object, group, group.head(), view));
    let standing = slot
        .sparks
        .iter()
        .find(|spark| container_of(slot, spark, observed).is_some_and(|container| container.running));
    let expected = schedule::sparks(object, slot, desired, now);
    let head = group.as_ref().map(LaunchSpec::head).or(standing).or(expected.first())?;
    let (spark, place) = desired.sparks.get_key_value(head)?;
    let container =
        rank.or_else(|| container_of(slot, spark, observed)).map(|container| container.id.clone());
    let is_empty = group.is_none() && standing.is_none();
    let state = if is_empty { BackendState::Empty } else { state(object, observed, plan, now) };
    let is_loading = ledger.is_loading(object) && matches!(state, BackendState::Down | BackendState::Unknown);
    Some(Backend {
        object: object.clone(),
        kind: ServiceKind::Vllm,
        spark: Some(spark.clone()),
        address: place.address.clone(),
        port: group.as_ref().map_or(slot.port, |group| group.port),
        https: false,
        api_key: slot.api_key.clone(),
        served_as: group.as_ref().map_or_else(Vec::new, |group| group.served_as.clone()),
        root: group.as_ref().and_then(|group| group.root.clone()),
        generation: generation(object, container.as_ref(), ledger),
        container,
        state: if is_loading { BackendState::Loading } else { state },
    })
}

/// The container on this Spark that has the slot's name.
fn container_of<'a>(slot: &Slot, spark: &SparkName, observed: &'a Observed) -> Option<&'a Container> {
    observed.facts(spark)?.container(slot.container.as_str())
}

fn of_service(
    object: Object,
    service: &Service,
    is_disabled: bool,
    desired: &Desired,
    observed: &Observed,
    plan: Option<&Plan>,
    now: Timestamp,
) -> Option<Backend> {
    let port = service.port?;
    let (spark, address, container) = match &service.place {
        Place::Spark(spark) => {
            let name = service.container.as_ref();
            let container = name.and_then(|name| observed.facts(spark)?.container(name.as_str()));
            let address = desired.sparks[spark].address.clone();
            (Some(spark.clone()), address, container.map(|container| container.id.clone()))
        }
        Place::Elsewhere(address) => (None, address.clone(), None),
    };
    let state = if is_disabled { BackendState::Disabled } else { state(&object, observed, plan, now) };
    Some(Backend {
        object,
        kind: service.kind,
        spark,
        address,
        port,
        https: service.https,
        api_key: service.api_key.clone(),
        served_as: Vec::new(),
        root: None,
        generation: container.as_ref().map(|container| Generation::hashed(container.as_str())),
        container,
        state,
    })
}

/// What was launched, unless what is wanted stands already: another controller may have started that while this one was away, and
/// then what was launched here is what is left over.
fn launch_spec(object: &Object, slot: &Slot, view: View<'_>) -> Option<LaunchSpec> {
    let View { desired, ledger, now, .. } = view;
    let wanted = wanted(object, slot, desired, now).map(|model| model.launch_spec());
    let stands = wanted.as_ref().filter(|group| {
        let head = readiness::rank(object, group, group.head(), view);
        !ledger.is_loading(object) && head.is_some_and(|container| container.running)
    });
    stands.or(ledger.launched(object)).or(wanted.as_ref()).cloned()
}

fn wanted<'a>(
    object: &Object,
    slot: &'a Slot,
    desired: &'a Desired,
    now: Timestamp,
) -> Option<ResolvedModel<'a>> {
    match schedule::wanted(object, slot, desired, now) {
        WantedModel::Model(name) => desired.resolved_model(slot, &name),
        WantedModel::Watch | WantedModel::Nothing => None,
    }
}

/// By what its endpoint showed, and nothing else: a Spark that fell silent, a file that is broken or a controller that may not act
/// says nothing of an engine that answers.
fn state(object: &Object, observed: &Observed, plan: Option<&Plan>, now: Timestamp) -> BackendState {
    let Some(endpoint) = observed.endpoints.get(object) else { return BackendState::Unknown };
    let shown = match &endpoint.answer {
        EndpointAnswer::Silent { .. } => BackendState::Unknown,
        EndpointAnswer::Refused | EndpointAnswer::Wrong { .. } => BackendState::Down,
        EndpointAnswer::Up(service) => match service.proof {
            CheckResult::Proven { .. } => BackendState::Serving,
            CheckResult::Failed { .. } => BackendState::Down,
            CheckResult::NotTried | CheckResult::Asked => BackendState::Loading,
        },
        EndpointAnswer::Engine(engine) => match health::judge_engine(engine, None, now) {
            EngineJudgement::Ready | EngineJudgement::Busy => BackendState::Serving,
            EngineJudgement::Unproven { .. } => BackendState::Loading,
            EngineJudgement::Dead | EngineJudgement::Stalled { .. } | EngineJudgement::Degraded { .. } => {
                BackendState::Down
            }
        },
    };
    if shown == BackendState::Serving && plan.is_some_and(|plan| is_about_to_stop(object, plan)) {
        return BackendState::Draining;
    }
    shown
}

/// The open steps of the plan, or those after its drain, stop it.
fn is_about_to_stop(object: &Object, plan: &Plan) -> bool {
    plan.of(object).filter(|work| work.outage.is_some()).is_some_and(|work| match &work.verdict {
        Verdict::Open => true,
        Verdict::Waiting { reason, .. } => *reason == Reason::Draining,
        Verdict::Blocked { .. } => false,
    })
}

/// Which start of a slot this is: that of its launch, or the container of what was taken over, which is the same after this
/// controller lost what it knew.
pub fn generation(object: &Object, container: Option<&ContainerId>, ledger: &Ledger) -> Option<Generation> {
    let adopted = container.filter(|id| ledger.adopted.contains_key(*id)).map(ContainerId::to_string);
    let launched = ledger.launched(object).and(ledger.launch(object));
    let text = adopted
        .or_else(|| launched.map(|launch| launch.token.to_string()))
        .or_else(|| container.map(ContainerId::to_string));
    text.map(|text| Generation::hashed(&text))
}

impl Generation {
    /// 12 hex digits: a word that says nothing of what it was made of.
    pub fn hashed(text: &str) -> Self {
        hex(&Sha256::digest(text.as_bytes())[..6]).into()
    }
}

/// What the engine of this object answered last.
pub fn engine<'a>(object: &Object, observed: &'a Observed) -> Option<&'a EngineAnswer> {
    match &observed.endpoints.get(object)?.answer {
        EndpointAnswer::Engine(engine) => Some(engine),
        _ => None,
    }
}

/// The model that the engine of this object names first.
pub fn served_model<'a>(object: &Object, observed: &'a Observed) -> Option<&'a str> {
    engine(object, observed)?.models.first().map(|model| model.id.as_str())
}
