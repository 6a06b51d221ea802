//! What differs between the file and the Sparks, each with a class and what is done about it.
//!
//! `diff` compares; it does not decide. What will be done, or why nothing will, is the plan's.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    platform_difference,
    readiness::{self, Readiness},
    schedule,
    slot_containers::{SlotContainer, docker_starts_it_too, slot_containers},
    slot_view::SlotView,
    view::View,
    weights,
};
use crate::core::model::{
    desired::{Desired, Place, ServiceState, WantedModel, Weights},
    ledger::Ledger,
    memory_table::gib,
    name::SparkName,
    object::Object,
    observed::{Container, Observed, SparkView},
    plan::{Plan, Verdict, Work},
};

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum DriftClass {
    /// Another model than the wanted one.
    Model,
    /// The wanted model, started with other arguments.
    Config,
    /// The image that the reference names now is not the one that runs.
    Image,
    /// Nothing is there.
    Missing,
    /// It is there and does not run, or its engine is dead.
    Stopped,
    /// It runs and should not.
    ShouldBeStopped,
    /// It is neither ours nor in the file.
    Unmanaged,
    /// Some ranks are up and others are not.
    HalfUp,
    /// Less memory is free than is to stay free.
    Memory,
    /// The Sparks differ from each other.
    Platform,
    /// Files of a model that are not where they should be.
    Weights,
    /// It could not be seen.
    Unknown,
}

impl DriftClass {
    /// As the design and the JSON name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Config => "config",
            Self::Image => "image",
            Self::Missing => "missing",
            Self::Stopped => "stopped",
            Self::ShouldBeStopped => "should-be-stopped",
            Self::Unmanaged => "unmanaged",
            Self::HalfUp => "half-up",
            Self::Memory => "memory",
            Self::Platform => "platform",
            Self::Weights => "weights",
            Self::Unknown => "unknown",
        }
    }

    /// Nothing is ever done about it; it is worth knowing.
    pub fn is_report_only(self) -> bool {
        matches!(self, Self::Image | Self::Unmanaged | Self::Memory | Self::Platform)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Drift {
    pub class: DriftClass,
    /// The slot or service; `None` when it is about a Spark as a whole.
    pub object: Option<Object>,
    pub spark: Option<SparkName>,
    pub desired: String,
    pub observed: String,
    /// What will be done, or why nothing will.
    pub response: String,
    /// When it was first seen, without a look in between that did not see it.
    pub since: Timestamp,
}

impl Drift {
    /// What stays the same while it lasts.
    pub(super) fn key(&self) -> String {
        let object = self.object.as_ref().map_or("", Object::as_str);
        let spark = self.spark.as_ref().map_or("", SparkName::as_str);
        format!("{} {object} {spark}", self.class.name())
    }
}

/// Every difference, with the plan's answer to it.
pub fn diff(view: View<'_>, plan: &Plan) -> Vec<Drift> {
    let View { desired, observed, ledger, now } = view;
    let mut found = Vec::new();
    for object in desired.slots.keys() {
        slot(object, view, &mut found);
    }
    services(desired, observed, &mut found);
    for (name, model) in &desired.models {
        for (spark, seen) in weights::differences(model, observed) {
            let wished = if model.weights == Some(Weights::Present) { "there" } else { "deleted" };
            let object = Some(Object::weights(name));
            found.push(Drift { object, ..about(DriftClass::Weights, spark, wished.into(), seen.into()) });
        }
    }
    let claimed = claimed(desired);
    unmanaged(desired, observed, &claimed, &mut found);
    strangers_on_the_gpu(observed, &claimed, &mut found);
    second_authority(view, &mut found);
    platform(desired, observed, &mut found);
    let work = plan.by_object();
    for drift in &mut found {
        drift.response = response(drift, &work);
        drift.since = ledger.differing.get(&drift.key()).copied().unwrap_or(now);
    }
    found
}

impl Ledger {
    /// Since when each of these differences is there; those that are gone are forgotten.
    pub fn date(&mut self, found: &[Drift]) {
        self.differing = found.iter().map(|drift| (drift.key(), drift.since)).collect();
    }
}

fn response(drift: &Drift, planned: &BTreeMap<&Object, &Work>) -> String {
    if drift.class.is_report_only() {
        return "only reported".into();
    }
    let Some(object) = &drift.object else { return "it is looked at again every round".into() };
    match planned.get(object) {
        None => "nothing: it is only watched".into(),
        Some(work) => match &work.verdict {
            Verdict::Open => work.goal.clone(),
            Verdict::Waiting { reason, message } | Verdict::Blocked { reason, message } => {
                format!("{}; {reason}: {message}", work.goal)
            }
        },
    }
}

fn slot(object: &Object, view: View<'_>, found: &mut Vec<Drift>) {
    let View { desired, observed, ledger, now } = view;
    let slot = &desired.slots[object];
    let standing = slot_containers(object, slot, view);
    let case = SlotView { object, slot, view };
    if ledger.is_below_floor(object) {
        for entry in standing.iter().filter(|entry| entry.is_ours()) {
            let wished = "stopped, because too little memory is free";
            found.push(should_be_stopped(object, entry.spark, wished, named(entry.container)));
        }
    }
    if let Some(held) = case.held_model()
        && let Readiness::Dead { why } | Readiness::NotYet { why } =
            readiness::readiness(object, &held.launch_spec(), view)
    {
        let wished = format!("`{}`, which a hold keeps", held.name);
        found.push(of_slot(object, DriftClass::Missing, wished, why));
    }
    let wanted = match schedule::wanted(object, slot, desired, now) {
        WantedModel::Watch => return,
        WantedModel::Nothing => {
            for entry in standing {
                found.push(should_be_stopped(object, entry.spark, "nothing", named(entry.container)));
            }
            for (spark, view) in &observed.sparks {
                let jobs = view.facts().map(|facts| facts.jobs.as_slice()).unwrap_or_default();
                for job in jobs.iter().filter(|job| job.runs_for(object)) {
                    let seen = format!("launcher job {}", job.id);
                    found.push(should_be_stopped(object, spark, "nothing", seen));
                }
            }
            return;
        }
        WantedModel::Model(name) => desired.resolved_model(slot, &name).expect("resolved: in the catalog"),
    };
    let group = wanted.launch_spec();
    for entry in &standing {
        let image = observed.facts(entry.spark).and_then(|facts| facts.image(wanted.image.as_str()));
        if let Some(image) = image
            && entry.spec.as_ref() == Some(&group.spec)
            && entry.container.image_id != image.id
        {
            let running = entry.container.image_id.to_string();
            let wished = format!("{} ({})", wanted.image, image.id);
            let drift = of_slot(object, DriftClass::Image, wished, running);
            found.push(Drift { spark: Some(entry.spark.clone()), ..drift });
        }
    }
    for entry in standing.iter().filter(|entry| entry.is_ours() && !group.sparks.contains(entry.spark)) {
        found.push(should_be_stopped(object, entry.spark, "nothing", named(entry.container)));
    }
    let why = match readiness::readiness(object, &group, view) {
        Readiness::Ready => return,
        Readiness::Unknown { why } => {
            found.push(of_slot(object, DriftClass::Unknown, group.model.to_string(), why));
            return;
        }
        Readiness::NotYet { why } | Readiness::Dead { why } => why,
    };
    let there: Vec<&SlotContainer<'_>> =
        standing.iter().filter(|entry| group.sparks.contains(entry.spark)).collect();
    let ranks: Vec<&&SlotContainer<'_>> =
        there.iter().filter(|entry| entry.spec.as_ref() == Some(&group.spec)).collect();
    let alive = ranks.iter().filter(|entry| group.is_alive(entry.spark, entry.container) == Some(true));
    let launched = ledger.launch(object).map(|launch| &launch.group);
    let (class, seen) = match (launched, there.first()) {
        (_, None) => (DriftClass::Missing, why),
        (_, Some(_)) if !ranks.is_empty() => {
            let half = (1..group.sparks.len()).contains(&alive.count());
            (if half { DriftClass::HalfUp } else { DriftClass::Stopped }, why)
        }
        (Some(launched), Some(entry)) if entry.is_ours() && launched.model == group.model => {
            (DriftClass::Config, format!("`{}` as it was before the edit", launched.model))
        }
        (Some(launched), Some(entry)) if entry.is_ours() => {
            (DriftClass::Model, format!("`{}`", launched.model))
        }
        (_, Some(entry)) => (DriftClass::Model, named(entry.container)),
    };
    found.push(of_slot(object, class, format!("`{}`", group.model), seen));
}

/// What differs in a slot, on no Spark in particular.
fn of_slot(object: &Object, class: DriftClass, desired: String, observed: String) -> Drift {
    Drift {
        class,
        object: Some(object.clone()),
        spark: None,
        desired,
        observed,
        response: String::new(),
        since: Timestamp::UNIX_EPOCH,
    }
}

/// What runs for a slot on a Spark where it should not.
fn should_be_stopped(object: &Object, spark: &SparkName, desired: &str, observed: String) -> Drift {
    let drift = of_slot(object, DriftClass::ShouldBeStopped, desired.to_owned(), observed);
    Drift { spark: Some(spark.clone()), ..drift }
}

fn named(container: &Container) -> String {
    let state = if container.running { "running" } else { "stopped" };
    format!("`{}` ({}), {state}", container.name, container.id.short())
}

fn services(desired: &Desired, observed: &Observed, found: &mut Vec<Drift>) {
    for (name, service) in &desired.services {
        let (Some(state), Place::Spark(spark), Some(container)) =
            (service.state, &service.place, &service.container)
        else {
            continue;
        };
        if desired.disabled.contains(name) {
            continue;
        }
        let there = observed.facts(spark).map(|facts| facts.container(container.as_str()));
        let (class, seen) = match (state, there) {
            (_, None) => (DriftClass::Unknown, format!("`{spark}` is not reachable")),
            (ServiceState::Running, Some(None)) => (DriftClass::Missing, "nothing".to_owned()),
            (ServiceState::Running, Some(Some(there))) if !there.running => {
                (DriftClass::Stopped, named(there))
            }
            (ServiceState::Stopped, Some(Some(there))) if there.running => {
                (DriftClass::ShouldBeStopped, named(there))
            }
            (ServiceState::Running | ServiceState::Stopped, Some(_)) => continue,
        };
        let wanted = match state {
            ServiceState::Running => "running",
            ServiceState::Stopped => "stopped",
        };
        found.push(Drift {
            class,
            object: Some(Object::service(name)),
            spark: Some(spark.clone()),
            desired: wanted.into(),
            observed: seen,
            response: String::new(),
            since: Timestamp::UNIX_EPOCH,
        });
    }
}

/// Running containers with an engine in them, or a label of ours, that no slot and no service of the file claims.
fn unmanaged(desired: &Desired, observed: &Observed, claims: &Claims<'_>, found: &mut Vec<Drift>) {
    for (spark, view) in &observed.sparks {
        let Some(facts) = view.facts() else { continue };
        for container in facts.containers.iter().filter(|container| container.running) {
            let labels = container.labels.as_ref();
            let cluster = labels.map(|labels| labels.cluster.as_str());
            // Under whatever name.
            let is_of_slot = labels.is_some_and(|labels| {
                let mut slots = desired.slots.keys();
                slots.any(|object| *object == labels.object)
            });
            let others = cluster.is_some_and(|id| id != desired.cluster.as_str());
            if is_claimed(container, spark, claims) || is_of_slot || others {
                continue;
            }
            if cluster.is_some() || container.engine_alive() == Some(true) {
                found.push(about(DriftClass::Unmanaged, spark, "not in the file".into(), named(container)));
            }
        }
    }
}

fn platform(desired: &Desired, observed: &Observed, found: &mut Vec<Drift>) {
    for (name, view) in &observed.sparks {
        let facts = match view {
            SparkView::Reachable(facts) => facts,
            SparkView::Unreachable { why, .. } => {
                found.push(about(DriftClass::Unknown, name, "reachable".into(), why.clone()));
                continue;
            }
        };
        let floor = desired.sparks.get(name).map_or(0, |spark| spark.floor_bytes);
        if facts.memory_available_bytes < floor {
            let seen = format!("{} free", gib(facts.memory_available_bytes));
            found.push(about(DriftClass::Memory, name, format!("{} kept free", gib(floor)), seen));
        }
    }
    let differences = platform_difference::differences(desired, observed).into_iter();
    found.extend(differences.map(|one| about(DriftClass::Platform, &one.spark, one.expected, one.found)));
}

/// Docker starts some of what is ours to start: two authorities over one container.
fn second_authority(view: View<'_>, found: &mut Vec<Drift>) {
    let View { desired, observed, .. } = view;
    let slots = desired.slots.iter().filter(|(_, slot)| slot.wanted != WantedModel::Watch);
    let slots = slots.flat_map(|(object, slot)| {
        let standing = slot_containers(object, slot, view).into_iter();
        standing.map(move |entry| (object.clone(), entry.spark, entry.container.name.as_str()))
    });
    let services = desired.services.iter().filter_map(|(name, service)| {
        let is_kept = service.state.is_some() && !desired.disabled.contains(name);
        match (&service.place, &service.container) {
            (Place::Spark(spark), Some(container)) if is_kept => {
                Some((Object::service(name), spark, container.as_str()))
            }
            _ => None,
        }
    });
    for (object, spark, name) in slots.chain(services) {
        let container = observed.facts(spark).and_then(|facts| facts.container(name));
        let Some(policy) = container.and_then(|container| container.restarts.as_ref()) else { continue };
        found.push(Drift {
            class: DriftClass::Platform,
            object: Some(object),
            spark: Some(spark.clone()),
            desired: "started and stopped by this controller alone".into(),
            observed: docker_starts_it_too(name, policy),
            response: String::new(),
            since: Timestamp::UNIX_EPOCH,
        });
    }
}

/// Processes on the GPU that belong to nothing in the file.
fn strangers_on_the_gpu(observed: &Observed, claims: &Claims<'_>, found: &mut Vec<Drift>) {
    for (spark, view) in &observed.sparks {
        let Some(facts) = view.facts() else { continue };
        for process in facts.gpu_processes() {
            let id = process.container.as_ref();
            let container = id.and_then(|id| facts.containers.iter().find(|container| container.id == *id));
            // An engine that is a stranger has been told of.
            let is_known = container.is_some_and(|container| {
                is_claimed(container, spark, claims)
                    || container.labels.is_some()
                    || container.engine_alive() == Some(true)
            });
            if is_known {
                continue;
            }
            let of = container.map_or(String::new(), |container| format!(" in `{}`", container.name));
            let held = process.memory_bytes.map_or(String::new(), |bytes| format!(", {}", gib(bytes)));
            let seen = format!("`{}` ({}){of} on the GPU{held}", process.name, process.pid);
            found.push(about(DriftClass::Unmanaged, spark, "not in the file".into(), seen));
        }
    }
}

/// Container names of the file, by Spark.
type Claims<'a> = BTreeMap<&'a SparkName, BTreeSet<&'a str>>;

fn claimed(desired: &Desired) -> Claims<'_> {
    let mut claimed: Claims<'_> = BTreeMap::new();
    for slot in desired.slots.values() {
        for spark in &slot.sparks {
            claimed.entry(spark).or_default().insert(slot.container.as_str());
        }
    }
    for service in desired.services.values() {
        if let (Place::Spark(spark), Some(container)) = (&service.place, &service.container) {
            claimed.entry(spark).or_default().insert(container.as_str());
        }
    }
    claimed
}

/// A slot or a service of the file has a container of this name on this Spark.
fn is_claimed(container: &Container, spark: &SparkName, claims: &Claims<'_>) -> bool {
    claims.get(spark).is_some_and(|names| names.contains(container.name.as_str()))
}

fn about(class: DriftClass, spark: &SparkName, desired: String, observed: String) -> Drift {
    Drift {
        class,
        object: None,
        spark: Some(spark.clone()),
        desired,
        observed,
        response: String::new(),
        since: Timestamp::UNIX_EPOCH,
    }
}
