//! What is, at one moment.

use std::collections::BTreeSet;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::plan::WorkSummary;
use crate::{
    controller::Snapshot,
    core::{
        decide::{drift, memory, schedule},
        model::{
            desired::{Desired, Place, ServiceKind},
            memory_table,
            name::SparkName,
            object::Object,
            observed::{SparkFacts, SparkView},
            reason::{Concern, Reason},
            status_line,
        },
        tell::{concern::Headline, slot_summary::SlotSummary},
    },
};

#[derive(Debug, Serialize, JsonSchema)]
pub struct Status {
    /// The round that saw this; `POST reconcile` answers with the one to wait for.
    pub round: u64,
    /// When; `null` before the first look.
    pub at: Option<Timestamp>,
    /// The revision in force.
    pub revision: Option<u64>,
    /// What the cluster is called.
    pub cluster: Option<String>,
    /// Where the file is.
    pub file: String,
    /// Why the file is not in force.
    pub file_error: Option<String>,
    /// What to approve for the file to come into force.
    pub pending_approval: Option<String>,
    /// Another controller acts.
    pub fenced: Option<String>,
    /// `reconcile.suspend`: nothing is done about anything.
    pub suspended: bool,
    pub warnings: Vec<String>,
    /// What to approve for steps that wait for a person.
    pub plan: Option<String>,
    /// Whom all of it concerns.
    pub headline: Headline,
    pub objects: Vec<ObjectStatus>,
    pub sparks: Vec<SparkStatus>,
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ObjectType {
    /// A place where one model at a time serves.
    Slot,
    Service,
    /// A model's files.
    Weights,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ObjectStatus {
    pub object: Object,
    #[serde(rename = "type")]
    pub object_type: ObjectType,
    pub kind: Option<ServiceKind>,
    pub sparks: Vec<SparkName>,
    pub sync: status_line::Sync,
    pub health: status_line::Health,
    pub desired: String,
    pub observed: String,
    /// Why nothing is done, of the closed list.
    pub reason: Option<Reason>,
    pub message: String,
    /// Whom that concerns.
    pub concern: Concern,
    /// `suspend` is on.
    pub suspended: bool,
    /// Of a slot.
    pub outlook: Option<SlotSummary>,
    /// What is to be done; `null` when nothing is, or in the way.
    pub work: Option<WorkSummary>,
}

/// One machine.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Spark")]
pub struct SparkStatus {
    pub name: String,
    pub reachable: bool,
    /// Why it does not answer, and since when.
    pub why: Option<String>,
    pub since: Option<Timestamp>,
    /// When what follows was seen; it is from then where it does not answer.
    pub seen_at: Option<Timestamp>,
    pub uptime_secs: Option<u64>,
    pub memory_total_bytes: Option<u64>,
    pub memory_available_bytes: Option<u64>,
    /// That stay free, whatever runs.
    pub memory_floor_bytes: Option<u64>,
    /// Who is on its GPU, the largest first.
    pub holders: Vec<memory_table::GpuOccupant>,
    pub gpu: Option<GpuStatus>,
    /// Why no model can be started on its GPU.
    pub gpu_trouble: Option<String>,
    pub disks: Vec<DiskStatus>,
    /// Its address in a WireGuard network.
    pub vpn: Option<String>,
    pub containers: Vec<ContainerStatus>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Gpu")]
pub struct GpuStatus {
    pub name: String,
    pub driver: String,
    pub temperature_c: Option<f64>,
    pub power_w: Option<f64>,
    pub utilization_percent: Option<f64>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Disk")]
pub struct DiskStatus {
    pub path: String,
    pub total_bytes: u64,
    pub free_bytes: u64,
}

/// What Docker does with a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    Running,
    /// It ended, and is started again by itself.
    Restarting,
    Ended,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Container")]
pub struct ContainerStatus {
    pub name: String,
    pub image: String,
    pub state: ContainerState,
    pub exit_code: Option<i64>,
    pub started_at: Option<Timestamp>,
    /// How often Docker has started it again by itself.
    pub restart_count: u32,
    /// Whose of the file it is.
    pub of: Option<Object>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Key {
    /// As a line of `authorized_keys`; `null` when the controller has no key of its own.
    pub public_key: Option<String>,
}

/// What differs between the file and the Sparks.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Drift")]
pub struct DriftReport {
    pub at: Option<Timestamp>,
    pub drift: Vec<drift::Drift>,
}

impl SparkStatus {
    pub fn new(name: &SparkName, view: &SparkView, desired: &Desired) -> Self {
        let (facts, silence) = match view {
            SparkView::Reachable(facts) => (Some(facts.as_ref()), None),
            SparkView::Unreachable { since, why, last } => (last.as_deref(), Some((since, why))),
        };
        Self {
            name: name.to_string(),
            reachable: silence.is_none(),
            why: silence.map(|(_, why)| why.clone()),
            since: silence.map(|(since, _)| *since),
            seen_at: facts.map(|facts| facts.at),
            uptime_secs: facts.map(|facts| facts.uptime_secs),
            memory_total_bytes: facts.map(|facts| facts.memory_total_bytes),
            memory_available_bytes: facts.map(|facts| facts.memory_available_bytes),
            memory_floor_bytes: desired.sparks.get(name).map(|spark| spark.floor_bytes),
            holders: facts
                .map_or_else(Vec::new, |facts| memory::holders(name, facts, desired, &BTreeSet::new())),
            gpu: facts.and_then(SparkFacts::gpu).map(|gpu| GpuStatus {
                name: gpu.name.clone(),
                driver: gpu.driver.to_string(),
                temperature_c: gpu.temperature_c,
                power_w: gpu.power_w,
                utilization_percent: gpu.utilization_percent,
            }),
            gpu_trouble: facts.and_then(|facts| facts.gpu.trouble()),
            disks: facts.map_or_else(Vec::new, disks),
            vpn: facts.and_then(|facts| facts.platform.wireguard()).map(|address| address.to_string()),
            containers: facts.map_or_else(Vec::new, |facts| containers(name, facts, desired)),
        }
    }
}

fn disks(facts: &SparkFacts) -> Vec<DiskStatus> {
    let disks = facts.platform.disks.iter().map(|(path, disk)| DiskStatus {
        path: path.clone(),
        total_bytes: disk.total_bytes,
        free_bytes: disk.free_bytes,
    });
    disks.collect()
}

fn containers(spark: &SparkName, facts: &SparkFacts, desired: &Desired) -> Vec<ContainerStatus> {
    let containers = facts.containers.iter().map(|seen| ContainerStatus {
        name: seen.name.to_string(),
        image: seen.image.to_string(),
        state: match (seen.running, seen.restarting) {
            (true, _) => ContainerState::Running,
            (false, true) => ContainerState::Restarting,
            (false, false) => ContainerState::Ended,
        },
        exit_code: seen.exit_code,
        started_at: seen.started_at,
        restart_count: seen.restart_count,
        of: match memory::owner(spark, seen, desired) {
            memory_table::GpuOccupantOwner::Slot(object)
            | memory_table::GpuOccupantOwner::Service(object) => Some(object),
            memory_table::GpuOccupantOwner::Desktop | memory_table::GpuOccupantOwner::Unmanaged => None,
        },
    });
    containers.collect()
}

impl From<&Snapshot> for Status {
    fn from(seen: &Snapshot) -> Self {
        let desired = seen.desired.as_deref();
        let planned = seen.plan.as_ref().map(crate::core::model::plan::Plan::by_object).unwrap_or_default();
        let objects = seen.status.iter().map(|line| {
            let now = seen.at.unwrap_or(Timestamp::MIN);
            let about = desired.map(|desired| about(&line.object, desired, now));
            let (object_type, kind, sparks, suspended) =
                about.unwrap_or((ObjectType::Service, None, Vec::new(), false));
            ObjectStatus {
                object: line.object.clone(),
                object_type,
                kind,
                sparks,
                sync: line.sync,
                health: line.health,
                desired: line.desired.clone(),
                observed: line.observed.clone(),
                reason: line.reason,
                message: line.message.clone(),
                concern: line.concern,
                suspended,
                outlook: seen.outlook.iter().find(|outlook| outlook.object == line.object).cloned(),
                work: planned.get(&line.object).map(|work| WorkSummary::from(*work)),
            }
        });
        let sparks = seen.observed.iter().flat_map(|observed| &observed.sparks);
        Self {
            round: seen.round,
            at: seen.at,
            revision: seen.revision,
            cluster: desired.map(|desired| desired.cluster.to_string()),
            file: seen.file.display().to_string(),
            file_error: seen.file_error.clone(),
            pending_approval: seen.pending_approval.as_ref().map(ToString::to_string),
            fenced: seen.fenced.clone(),
            suspended: desired.is_some_and(|desired| desired.policy.suspend),
            warnings: seen.warnings.clone(),
            plan: seen.plan.as_ref().filter(|plan| plan.has_steps()).map(|plan| plan.id.to_string()),
            headline: seen.headline.clone(),
            objects: objects.collect(),
            sparks: desired.map_or_else(Vec::new, |desired| {
                sparks.map(|(name, view)| SparkStatus::new(name, view, desired)).collect()
            }),
        }
    }
}

/// What it is, where, and whether it is suspended.
fn about(
    object: &Object,
    desired: &Desired,
    now: Timestamp,
) -> (ObjectType, Option<ServiceKind>, Vec<SparkName>, bool) {
    if let Some(slot) = desired.slots.get(object) {
        let sparks = schedule::sparks(object, slot, desired, now);
        return (ObjectType::Slot, Some(ServiceKind::Vllm), sparks, slot.suspend);
    }
    if let Some((_, service)) = desired.services.iter().find(|(name, _)| name.as_str() == object.as_str()) {
        let sparks = match &service.place {
            Place::Spark(spark) => vec![spark.clone()],
            Place::Elsewhere(_) => Vec::new(),
        };
        return (ObjectType::Service, Some(service.kind), sparks, service.suspend);
    }
    let model = desired.models.iter().find(|(name, _)| Object::weights(name) == *object);
    let (sparks, suspended) =
        model.map_or((Vec::new(), false), |(_, model)| (model.sparks.clone(), model.suspend));
    (ObjectType::Weights, None, sparks, suspended)
}
