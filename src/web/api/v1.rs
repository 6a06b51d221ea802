//! What version 1 of the API answers with. Names here are for programs: they are added to, and never change.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    controller::{Snapshot, edit},
    core::{
        desired::{Desired, Object, Place, ServiceKind, ServiceState, Source, Weights},
        drift, memory,
        observed::SparkView,
        plan::{self, Gate, Item, Verdict},
        render::render,
        status,
    },
};

/// What the file says.
#[derive(Debug, Serialize)]
pub struct DesiredState {
    /// `null`: what the file holds is not in force.
    pub revision: Option<u64>,
    pub value: Value,
}

/// One revision of the file.
#[derive(Debug, Serialize)]
pub struct Revision {
    pub revision: u64,
    pub at: String,
}

#[derive(Debug, Serialize)]
pub struct Revisions {
    /// Newest first.
    pub revisions: Vec<Revision>,
}

/// What came of an edit, or would come of it.
#[derive(Debug, Serialize)]
pub struct Edited {
    pub revision: Option<u64>,
    pub written: bool,
    /// Why it is written and not in force: it takes much out.
    pub waits: Option<String>,
    /// Unified.
    pub diff: String,
    pub warnings: Vec<String>,
    /// `null` before anything was looked at.
    pub plan: Option<Plan>,
}

impl From<edit::Edited> for Edited {
    fn from(edited: edit::Edited) -> Self {
        Self {
            revision: edited.revision,
            written: edited.written,
            waits: edited.waits,
            diff: edited.diff,
            warnings: edited.warnings,
            plan: edited.plan.as_ref().map(Plan::from),
        }
    }
}

/// The model to swap to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Swap {
    pub model: String,
}

/// A hold, by its name in the address.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    pub owner: String,
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Plan {
    pub id: String,
    pub revision: u64,
    pub at: String,
    pub work: Vec<Work>,
    /// The whole as the command line prints it.
    pub text: String,
}

/// What is to be done about one object.
#[derive(Debug, Serialize)]
pub struct Work {
    pub object: String,
    pub goal: String,
    /// `open`, `waiting` or `blocked`.
    pub verdict: &'static str,
    /// Of the closed list; `null` when it is open.
    pub reason: Option<String>,
    pub message: Option<String>,
    pub items: Vec<PlanItem>,
    pub memory: Vec<memory::Row>,
    pub outage: Option<plan::Outage>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PlanItem {
    Step {
        key: String,
        text: String,
        spark: Option<String>,
        /// Why a person must agree first.
        consent: Option<plan::Consent>,
    },
    Gate(Gate),
}

impl From<&plan::Plan> for Plan {
    fn from(plan: &plan::Plan) -> Self {
        Self {
            id: plan.id.clone(),
            revision: plan.revision,
            at: plan.at.to_string(),
            work: plan.work.iter().map(Work::from).collect(),
            text: render(plan),
        }
    }
}

impl From<&plan::Work> for Work {
    fn from(work: &plan::Work) -> Self {
        let (verdict, why) = match &work.verdict {
            Verdict::Open => ("open", None),
            Verdict::Waiting { reason, message } => ("waiting", Some((reason, message))),
            Verdict::Blocked { reason, message } => ("blocked", Some((reason, message))),
        };
        let items = work.items.iter().flat_map(|item| match item {
            Item::Gate(gate) => vec![PlanItem::Gate(gate.clone())],
            Item::Steps(steps) => steps
                .iter()
                .map(|planned| PlanItem::Step {
                    key: planned.key.clone(),
                    text: planned.step.to_string(),
                    spark: planned.step.spark().map(ToString::to_string),
                    consent: planned.consent,
                })
                .collect(),
        });
        Self {
            object: work.object.to_string(),
            goal: work.goal.clone(),
            verdict,
            reason: why.map(|(reason, _)| format!("{reason:?}")),
            message: why.map(|(_, message)| message.clone()),
            items: items.collect(),
            memory: work.memory.clone(),
            outage: work.outage.clone(),
        }
    }
}

/// A plan of before, and whether it could still be agreed to.
#[derive(Debug, Serialize)]
pub struct ShownPlan {
    pub plan: Plan,
    /// What it relied on and is not so any more; empty while it could still be agreed to.
    pub changed: Vec<String>,
}

/// What is, at one moment.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The round that saw this; `POST reconcile` answers with the one to wait for.
    pub round: u64,
    /// When.
    pub at: Option<String>,
    pub revision: Option<u64>,
    /// Why the file is not in force.
    pub file_error: Option<String>,
    /// What to approve for the file to come into force.
    pub waits: Option<String>,
    pub fenced: Option<String>,
    pub warnings: Vec<String>,
    pub objects: Vec<status::Line>,
    pub sparks: Vec<Spark>,
}

#[derive(Debug, Serialize)]
pub struct Spark {
    pub name: String,
    pub reachable: bool,
    /// Why it does not answer, and since when.
    pub why: Option<String>,
    pub since: Option<String>,
    /// When what follows was seen.
    pub seen_at: Option<String>,
    pub uptime_secs: Option<u64>,
    pub memory_total_bytes: Option<u64>,
    pub memory_available_bytes: Option<u64>,
    pub gpu: Option<Gpu>,
    /// Its address in a WireGuard network.
    pub vpn: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Gpu {
    pub name: String,
    pub driver: String,
    pub temperature_c: Option<f64>,
    pub power_w: Option<f64>,
    pub utilization_percent: Option<f64>,
}

impl Spark {
    pub fn new(name: &str, view: &SparkView) -> Self {
        let (facts, silence) = match view {
            SparkView::Reachable(facts) => (Some(facts), None),
            SparkView::Unreachable { since, why, last } => (last.as_ref(), Some((since, why))),
        };
        Self {
            name: name.to_owned(),
            reachable: silence.is_none(),
            why: silence.map(|(_, why)| why.clone()),
            since: silence.map(|(since, _)| since.to_string()),
            seen_at: facts.map(|facts| facts.at.to_string()),
            uptime_secs: facts.map(|facts| facts.uptime_secs),
            memory_total_bytes: facts.map(|facts| facts.memory_total_bytes),
            memory_available_bytes: facts.map(|facts| facts.memory_available_bytes),
            gpu: facts.and_then(|facts| facts.gpu.as_ref()).map(|gpu| Gpu {
                name: gpu.name.clone(),
                driver: gpu.driver.clone(),
                temperature_c: gpu.temperature_c,
                power_w: gpu.power_w,
                utilization_percent: gpu.utilization_percent,
            }),
            vpn: facts.and_then(|facts| facts.platform.wireguard()).map(|address| address.to_string()),
        }
    }
}

impl From<&Snapshot> for Status {
    fn from(seen: &Snapshot) -> Self {
        let sparks = seen.observed.iter().flat_map(|observed| &observed.sparks);
        Self {
            round: seen.round,
            at: seen.at.map(|at| at.to_string()),
            revision: seen.revision,
            file_error: seen.file_error.clone(),
            waits: seen.waits.clone(),
            fenced: seen.fenced.clone(),
            warnings: seen.warnings.clone(),
            objects: seen.status.clone(),
            sparks: sparks.map(|(name, view)| Spark::new(name.as_str(), view)).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
pub struct Drift {
    pub at: Option<String>,
    pub drift: Vec<drift::Drift>,
}

/// One model of the catalog.
#[derive(Debug, Serialize)]
pub struct Model {
    pub name: String,
    /// A repository, a path or a recipe.
    pub source: String,
    /// It is a path on the Sparks.
    pub local: bool,
    /// Head first.
    pub sparks: Vec<String>,
    pub served_as: Vec<String>,
    /// `present` or `absent`.
    pub weights: Option<&'static str>,
    /// The slots that want it now.
    pub wanted_in: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Models {
    pub models: Vec<Model>,
}

impl Models {
    pub fn of(desired: &Desired) -> Self {
        let model = |(name, model): (&crate::core::name::ModelName, &crate::core::desired::Model)| {
            let (source, local) = match &model.source {
                Source::Repo { repo, revision: None } => (repo.to_string(), false),
                Source::Repo { repo, revision: Some(revision) } => (format!("{repo}@{revision}"), false),
                Source::LocalPath(path) => (path.to_string(), true),
                Source::Recipe(recipe) => (recipe.to_string(), false),
            };
            let wanted = crate::core::desired::Wanted::Model(name.clone());
            let wanted_in = desired.slots.iter().filter(|(_, slot)| slot.wanted == wanted);
            Model {
                name: name.to_string(),
                source,
                local,
                sparks: model.sparks.iter().map(ToString::to_string).collect(),
                served_as: model.served_as.iter().map(ToString::to_string).collect(),
                weights: model.weights.map(|weights| match weights {
                    Weights::Present => "present",
                    Weights::Absent => "absent",
                }),
                wanted_in: wanted_in.map(|(object, _)| object.to_string()).collect(),
            }
        };
        Self { models: desired.models.iter().map(model).collect() }
    }
}

#[derive(Debug, Serialize)]
pub struct Service {
    pub name: String,
    pub kind: ServiceKind,
    /// `null` when it is elsewhere.
    pub spark: Option<String>,
    pub container: Option<String>,
    pub port: Option<u16>,
    /// `running` or `stopped`; `null` when it is only watched.
    pub state: Option<&'static str>,
    pub disabled: bool,
}

#[derive(Debug, Serialize)]
pub struct Services {
    pub services: Vec<Service>,
}

impl Services {
    pub fn of(desired: &Desired) -> Self {
        let service =
            |(name, service): (&crate::core::name::ServiceName, &crate::core::desired::Service)| Service {
                name: name.to_string(),
                kind: service.kind,
                spark: match &service.place {
                    Place::Spark(spark) => Some(spark.to_string()),
                    Place::Elsewhere(_) => None,
                },
                container: service.container.as_ref().map(ToString::to_string),
                port: service.port,
                state: service.state.map(|state| match state {
                    ServiceState::Running => "running",
                    ServiceState::Stopped => "stopped",
                }),
                disabled: desired.disabled.contains(name),
            };
        Self { services: desired.services.iter().map(service).collect() }
    }
}

/// Where something answers.
#[derive(Debug, Serialize)]
pub struct Endpoint {
    pub object: Object,
    pub kind: ServiceKind,
    pub address: String,
    pub health: Option<status::Health>,
    pub disabled: bool,
}

#[derive(Debug, Serialize)]
pub struct Endpoints {
    pub endpoints: Vec<Endpoint>,
}

/// How many lines.
#[derive(Debug, Deserialize)]
pub struct Last {
    pub last: Option<u32>,
}

/// Tell what would happen, and write nothing.
#[derive(Debug, Deserialize)]
pub struct DryRun {
    #[serde(default)]
    pub dry_run: bool,
}
