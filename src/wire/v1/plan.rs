//! Plans, for people and programs.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::{
    model::{
        memory_table,
        name::SparkName,
        object::Object,
        plan::{self, Gate, Verdict, WorkItem},
        reason::Reason,
    },
    tell::render::render,
};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Plan")]
pub struct PlanDocument {
    /// Of the steps and of what they rely on; not of readings or the time.
    pub id: String,
    pub revision: u64,
    pub at: Timestamp,
    /// One for each object that has something to do or to say.
    pub work: Vec<WorkSummary>,
    /// The whole as the command line prints it.
    pub text: String,
}

/// What is to be done about one object.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Work")]
pub struct WorkSummary {
    pub object: Object,
    /// In a few words: `start qwen`, `swap a for b`.
    pub goal: String,
    pub verdict: VerdictKind,
    /// Of the closed list; `null` when it is open.
    pub reason: Option<Reason>,
    pub message: Option<String>,
    pub items: Vec<PlanItem>,
    /// What is needed and there, for each Spark.
    pub memory: Vec<memory_table::MemoryRow>,
    /// Whether the engine takes the model's arguments; `null` when no model is started.
    pub arguments: Option<plan::ArgumentsCheck>,
    /// Everything that is in the way of a start, of which `reason` and `message` are the first.
    pub objections: Vec<plan::Objection>,
    /// What it costs while nothing serves; `null` when nothing that serves is stopped.
    pub outage: Option<plan::Outage>,
    /// What of the machines is worth mending before, each with how.
    pub notes: Vec<String>,
}

/// Whether the open steps may be taken now.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    Open,
    /// It goes on by itself.
    Waiting,
    /// It needs a person, an edit, or a Spark that comes back.
    Blocked,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PlanItem {
    Step {
        /// The same step in two plans has the same key.
        key: String,
        text: String,
        /// `null` when it acts on none.
        spark: Option<SparkName>,
        /// Why a person must agree first.
        consent: Option<plan::ConsentReason>,
    },
    /// A condition on what a later look sees.
    Gate(Gate),
}

impl From<&plan::Plan> for PlanDocument {
    fn from(plan: &plan::Plan) -> Self {
        Self {
            id: plan.id.to_string(),
            revision: plan.revision,
            at: plan.at,
            work: plan.work.iter().map(WorkSummary::from).collect(),
            text: render(plan),
        }
    }
}

impl PlanDocument {
    /// Is something that serves as this object stopped by it?
    pub fn interrupts(&self, object: &str) -> bool {
        self.work.iter().any(|work| work.object.as_str() == object && work.outage.is_some())
    }
}

impl From<&plan::Work> for WorkSummary {
    fn from(work: &plan::Work) -> Self {
        let (verdict, why) = match &work.verdict {
            Verdict::Open => (VerdictKind::Open, None),
            Verdict::Waiting { reason, message } => (VerdictKind::Waiting, Some((reason, message))),
            Verdict::Blocked { reason, message } => (VerdictKind::Blocked, Some((reason, message))),
        };
        let items = work.items.iter().flat_map(|item| match item {
            WorkItem::Gate(gate) => vec![PlanItem::Gate(gate.clone())],
            WorkItem::Steps(steps) => steps
                .iter()
                .map(|planned| PlanItem::Step {
                    key: planned.key.to_string(),
                    text: planned.step.to_string(),
                    spark: planned.step.spark().cloned(),
                    consent: planned.consent,
                })
                .collect(),
        });
        Self {
            object: work.object.clone(),
            goal: work.goal.clone(),
            verdict,
            reason: why.map(|(reason, _)| *reason),
            message: why.map(|(_, message)| message.clone()),
            items: items.collect(),
            memory: work.memory.clone(),
            arguments: work.arguments.clone(),
            objections: work.objections.clone(),
            outage: work.outage.clone(),
            notes: work.notes.clone(),
        }
    }
}

/// A plan of before, and whether it could still be agreed to.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ShownPlan {
    pub plan: PlanDocument,
    /// What it relied on and is not so any more; empty while it could still be agreed to.
    pub changed: Vec<String>,
}

/// What was asked for comes with this round.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Round")]
pub struct RoundNumber {
    /// The status whose `round` is at least this has seen what is now.
    pub round: u64,
}
