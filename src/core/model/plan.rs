//! Every step to get from what is to what should be, as a value. `planner` makes it, `render` shows it, `apply` performs
//! its steps.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    id::{BootId, ContainerId, EngineVersion, ImageId, PlanId, SeenContainerName, StepKey},
    memory_table,
    name::{ContainerName, ImageRef, SparkName},
    object::Object,
    observed::{Container, Observed, SparkFacts},
    reason::{Concern, Reason},
    spec_hash::{SpecHash, hex},
    step::Step,
};

/// How long a plan, and a person's yes to it, are good for.
pub const LASTS: SignedDuration = SignedDuration::from_hours(24);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Of the steps and of what they rely on; not of readings or the time.
    pub id: PlanId,
    pub revision: u64,
    pub at: Timestamp,
    /// One entry per object that has something to do or to say.
    pub work: Vec<Work>,
    /// Sparks that did not answer: what is there is not part of this plan.
    #[serde(default)]
    pub unseen: Vec<SparkName>,
}

/// What is to be done about one object, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Work {
    pub object: Object,
    /// In a few words: `start qwen`, `swap a for b`.
    pub goal: String,
    /// What the file wants in the slot, as far as this work is about a model: another wish is another plan.
    pub wanted: Option<SpecHash>,
    /// What came of a failure in a swap that was agreed to: tearing it down, its second load, one fallback.
    pub contingency: bool,
    pub items: Vec<WorkItem>,
    pub verdict: Verdict,
    pub relies_on: Vec<Predicate>,
    pub memory: Vec<memory_table::MemoryRow>,
    /// Whether the engine takes the model's arguments, as far as this work starts one.
    #[serde(default)]
    pub arguments: Option<ArgumentsCheck>,
    /// Everything that is in the way of a start, the first of which is the verdict's reason.
    #[serde(default)]
    pub objections: Vec<Objection>,
    /// What it costs while nothing serves, when something that serves is stopped.
    pub outage: Option<Outage>,
    /// What of the machines is worth mending before, each with how.
    #[serde(default)]
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkItem {
    /// Performed together.
    Steps(Vec<PlannedStep>),
    /// A condition on what a later probe sees.
    Gate(Gate),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    pub key: StepKey,
    pub step: Step,
    /// Why a person must agree first; `None` when nobody must, or somebody did.
    pub consent: Option<ConsentReason>,
}

impl Verdict {
    /// What is in the way; `None`: nothing.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Open => None,
            Self::Waiting { reason, .. } | Self::Blocked { reason, .. } => Some(*reason),
        }
    }
}

impl PlanId {
    /// The first 12 hex digits of SHA-256 over the keys of the steps and the texts of what they rely on, one a line.
    pub fn of(work: &[Work]) -> Self {
        let facts: Vec<String> = work
            .iter()
            .flat_map(|entry| {
                let keys = entry.steps().map(|step| step.key.to_string());
                keys.chain(entry.relies_on.iter().map(Predicate::identity))
            })
            .collect();
        hex(&Sha256::digest(facts.join("\n").as_bytes())[..6]).into()
    }
}

impl Plan {
    /// The same steps on the same facts, and the same in their way: also where another version made it, whose ids are of another
    /// form.
    pub fn decides_like(&self, other: &Self) -> bool {
        PlanId::of(&self.work) == PlanId::of(&other.work) && self.reasons().eq(other.reasons())
    }

    /// Why each object waits or is blocked; nothing beside one that goes ahead.
    fn reasons(&self) -> impl Iterator<Item = (&Object, Option<Reason>)> {
        self.work.iter().map(|work| (&work.object, work.verdict.reason()))
    }
}

impl PlannedStep {
    pub fn new(step: Step, consent: Option<ConsentReason>) -> Self {
        Self { key: step.key(), step, consent }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsentReason {
    /// This cluster neither started nor adopted the container.
    NotOurs,
    /// `reconcile.on_edit: approve`.
    OnEdit,
    /// `reconcile.on_drift: approve`.
    OnDrift,
    /// `reconcile.on_drift: repair` never stops what answers.
    StopsWhatAnswers,
    /// What is deleted does not come back by itself.
    Deletes,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "gate")]
pub enum Gate {
    /// The engine takes the arguments, or cannot be asked.
    Checked { model: String },
    /// Requests at what is to be stopped have ended, or were given that long.
    Drained { at_most_secs: u64 },
    /// Files are there, and are what they should be.
    Staged { sparks: Vec<SparkName> },
    /// What was stopped is gone and its memory is back, on each of these.
    Released { sparks: Vec<SparkName> },
    /// Containers on exactly these Sparks, engines alive, names and `root` right, a completion.
    Ready { model: String, deadline_secs: i64 },
}

/// Whether the open steps may be taken now. The closed list of reasons for not acting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    Open,
    /// It goes on by itself.
    Waiting {
        reason: Reason,
        message: String,
    },
    /// It needs a person, an edit, or a Spark that comes back.
    Blocked {
        reason: Reason,
        message: String,
    },
}

/// One thing that is in the way of a start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Objection {
    pub reason: Reason,
    /// What, where, and what mends it.
    pub message: String,
}

impl Objection {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What is known of the words for the engine before anything is stopped for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum ArgumentsCheck {
    /// The engine took them.
    Accepted {
        /// Its version, where it tells one.
        engine: Option<EngineVersion>,
    },
    /// It loaded with them before.
    Proven,
    /// It is asked first.
    ToAsk,
    /// Nobody asked, or there was no answer. That holds nothing up.
    NotChecked { why: String },
}

impl std::fmt::Display for ArgumentsCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Accepted { engine: Some(engine) } => write!(f, "accepted by vLLM {engine}"),
            Self::Accepted { engine: None } => f.write_str("accepted by the engine"),
            Self::Proven => f.write_str("loaded with them before"),
            Self::ToAsk => f.write_str("the engine is asked first"),
            Self::NotChecked { why } => write!(f, "not checked, because {why}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Outage {
    pub expected_secs: Option<u64>,
    pub basis: String,
    /// That run or wait at what is stopped; `None` when it does not tell.
    #[serde(default)]
    pub requests: Option<u64>,
    /// What they get to end by themselves.
    #[serde(default)]
    pub drain_secs: u64,
}

/// A fact that a plan relies on. If it changed, the plan is stale, and this says which.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "fact")]
pub enum Predicate {
    /// This Spark answers, and has not been restarted.
    Boot { spark: SparkName, boot_id: BootId },
    /// A container of this name has this id.
    Container { spark: SparkName, name: SeenContainerName, id: ContainerId, running: bool },
    /// No container has this name.
    NameFree { spark: SparkName, name: ContainerName },
    /// The reference names this image there.
    Image { spark: SparkName, image: ImageRef, id: ImageId },
}

impl Predicate {
    pub fn boot(spark: &SparkName, facts: &SparkFacts) -> Self {
        Self::Boot { spark: spark.clone(), boot_id: facts.boot_id.clone() }
    }

    pub fn container(spark: &SparkName, seen: &Container) -> Self {
        let (name, id) = (seen.name.clone(), seen.id.clone());
        Self::Container { spark: spark.clone(), name, id, running: seen.running }
    }

    /// As it goes into the hash that a plan's id is: names of fields and types are not part of it.
    pub fn identity(&self) -> String {
        match self {
            Self::Boot { spark, boot_id } => format!("boot {spark} {boot_id}"),
            Self::Container { spark, name, id, running } => {
                format!("container {spark} {name} {id} running={running}")
            }
            Self::NameFree { spark, name } => format!("name-free {spark} {name}"),
            Self::Image { spark, image, id } => format!("image {spark} {image} {id}"),
        }
    }

    /// Doing that step is what makes it untrue.
    fn is_changed_by(&self, step: &Step) -> bool {
        match (self, step) {
            (Self::Container { id, .. }, Step::Stop { container, .. } | Step::Start { container, .. }) => {
                id == container
            }
            (Self::NameFree { spark, name }, Step::Launch { group, .. }) => {
                group.sparks.contains(spark) && group.container == *name
            }
            _ => false,
        }
    }

    /// # Errors
    /// What is true instead, in words.
    pub fn check(&self, observed: &Observed) -> Result<(), String> {
        match self {
            Self::Boot { spark, boot_id } => {
                if facts_of(spark, observed)?.boot_id == *boot_id {
                    return Ok(());
                }
                Err(format!("`{spark}` has been restarted since"))
            }
            Self::Container { spark, name, id, running } => {
                match facts_of(spark, observed)?.container(name.as_str()) {
                    None => Err(format!("`{name}` is gone from `{spark}`")),
                    Some(now) if now.id != *id => {
                        Err(format!("`{name}` on `{spark}` is another container now"))
                    }
                    Some(now) if now.running != *running => {
                        let state = if now.running { "running" } else { "stopped" };
                        Err(format!("`{name}` on `{spark}` is {state} now"))
                    }
                    Some(_) => Ok(()),
                }
            }
            Self::NameFree { spark, name } => match facts_of(spark, observed)?.container(name.as_str()) {
                None => Ok(()),
                Some(_) => Err(format!("there is a container `{name}` on `{spark}` now")),
            },
            Self::Image { spark, image, id } => match facts_of(spark, observed)?.image(image.as_str()) {
                Some(now) if now.id == *id => Ok(()),
                _ => Err(format!("`{image}` on `{spark}` is another image now")),
            },
        }
    }
}

/// What is seen of a Spark.
///
/// # Errors
/// That it cannot be reached, in words.
fn facts_of<'a>(spark: &SparkName, observed: &'a Observed) -> Result<&'a SparkFacts, String> {
    observed.facts(spark).ok_or_else(|| format!("`{spark}` cannot be reached, so nothing is known of it"))
}

/// A reference that both rely on names another image than it did.
pub(crate) fn is_another_image(before: &[Predicate], now: &[Predicate]) -> bool {
    before.iter().any(|one| now.iter().any(|other| images_differ(one, other)))
}

/// Both rely on one reference of one Spark, and on another image each.
fn images_differ(one: &Predicate, other: &Predicate) -> bool {
    match (one, other) {
        (Predicate::Image { spark, image, id }, Predicate::Image { spark: on, image: of, id: now }) => {
            spark == on && image == of && id != now
        }
        _ => false,
    }
}

impl Outage {
    /// Without its requests; see [`Outage::of`].
    pub fn new(expected_secs: Option<u64>, basis: impl Into<String>) -> Self {
        Self { expected_secs, basis: basis.into(), requests: None, drain_secs: 0 }
    }
}

impl Work {
    /// Something to do, in this order.
    pub fn new(object: &Object, goal: impl Into<String>, items: Vec<WorkItem>) -> Self {
        Self {
            object: object.clone(),
            goal: goal.into(),
            wanted: None,
            contingency: false,
            items,
            verdict: Verdict::Open,
            relies_on: Vec::new(),
            memory: Vec::new(),
            arguments: None,
            objections: Vec::new(),
            outage: None,
            notes: Vec::new(),
        }
    }

    /// Something to say: it goes on by itself.
    pub fn waiting(
        object: &Object,
        goal: impl Into<String>,
        reason: Reason,
        message: impl Into<String>,
    ) -> Self {
        let verdict = Verdict::Waiting { reason, message: message.into() };
        Self { verdict, ..Self::new(object, goal, Vec::new()) }
    }

    /// Something to say: it does not go on by itself.
    pub fn blocked(
        object: &Object,
        goal: impl Into<String>,
        reason: Reason,
        message: impl Into<String>,
    ) -> Self {
        let verdict = Verdict::Blocked { reason, message: message.into() };
        Self { verdict, ..Self::new(object, goal, Vec::new()) }
    }

    pub fn steps(&self) -> impl Iterator<Item = &PlannedStep> {
        self.items.iter().flat_map(|item| match item {
            WorkItem::Steps(steps) => steps.as_slice(),
            WorkItem::Gate(_) => &[],
        })
    }

    /// The steps that may be taken now, group by group: those before the first gate.
    pub fn open(&self) -> Vec<&[PlannedStep]> {
        if self.verdict != Verdict::Open {
            return Vec::new();
        }
        self.items
            .iter()
            .map_while(|item| match item {
                WorkItem::Steps(steps) => Some(steps.as_slice()),
                WorkItem::Gate(_) => None,
            })
            .collect()
    }
}

impl Work {
    pub fn concern(&self) -> Concern {
        self.verdict.reason().map_or(Concern::Passing, Reason::concern)
    }
}

impl Plan {
    /// Nothing to do and nothing in the way.
    pub fn is_empty(&self) -> bool {
        self.work.is_empty()
    }

    /// For whoever asks about many.
    pub fn by_object(&self) -> BTreeMap<&Object, &Work> {
        self.work.iter().map(|work| (&work.object, work)).collect()
    }

    pub fn of(&self, object: &Object) -> Option<&Work> {
        self.work.iter().find(|work| work.object == *object)
    }

    pub fn has_steps(&self) -> bool {
        self.work.iter().any(|work| work.steps().next().is_some())
    }

    /// The most pressing of whom any of it concerns.
    pub fn concern(&self) -> Concern {
        let unseen = if self.unseen.is_empty() { Concern::Fine } else { Concern::OutOfSight };
        self.work.iter().map(Work::concern).chain([unseen]).max().unwrap_or(Concern::Fine)
    }

    /// Something waits for a person or a Spark.
    pub fn is_blocked(&self) -> bool {
        self.work.iter().any(|work| matches!(work.verdict, Verdict::Blocked { .. }))
    }

    pub fn is_waiting(&self) -> bool {
        self.work.iter().any(|work| matches!(work.verdict, Verdict::Waiting { .. }))
    }

    /// What a person agreed to with this plan covers all of this work: it is for the same wish, and what remains of its
    /// own steps, or its contingency.
    pub fn covers(&self, work: &Work) -> bool {
        let Some(agreed) = self.of(&work.object).filter(|agreed| agreed.wanted == work.wanted) else {
            return false;
        };
        let keys: BTreeSet<&StepKey> = agreed.steps().map(|step| &step.key).collect();
        let is_same = work.steps().all(|step| keys.contains(&step.key));
        work.contingency || (is_same && !is_another_image(&agreed.relies_on, &work.relies_on))
    }

    /// What is to be done now makes this plan one of before: nothing of it is left to do, or something else is wanted.
    pub fn overtaken_by(&self, current: &Self) -> Option<String> {
        let others = self.work.iter().find(|work| {
            let now = current.of(&work.object).and_then(|now| now.wanted.as_ref());
            work.wanted.is_some() && now.is_some() && now != work.wanted.as_ref()
        });
        if let Some(work) = others {
            return Some(format!("`{}` is to hold something else by now", work.object));
        }
        let left = current.step_keys();
        let is_over = !self.step_keys().iter().any(|key| left.contains(key));
        is_over.then(|| "nothing of it is left to be done".to_owned())
    }

    /// Every step's key.
    pub fn step_keys(&self) -> BTreeSet<StepKey> {
        self.work.iter().flat_map(Work::steps).map(|step| step.key.clone()).collect()
    }

    /// `now`: a plan that nobody has seen for a day is not what anybody has in mind. `done`: what was done since the plan was made. Its own steps do not make it stale.
    ///
    /// # Errors
    /// Each fact that the plan relies on and that is no longer so.
    pub fn still_holds(&self, observed: &Observed, done: &[Step], now: Timestamp) -> Result<(), Vec<String>> {
        let keys = self.step_keys();
        let own: Vec<&Step> = done.iter().filter(|step| keys.contains(&step.key())).collect();
        let mut changed: Vec<String> = self
            .work
            .iter()
            .flat_map(|work| &work.relies_on)
            .filter(|predicate| !own.iter().any(|step| predicate.is_changed_by(step)))
            .filter_map(|predicate| predicate.check(observed).err())
            .collect();
        let age = now.duration_since(self.at);
        if age > LASTS {
            changed.push(format!(
                "it was shown {} hours ago, and a plan lasts {} hours",
                age.as_hours(),
                LASTS.as_hours()
            ));
        }
        if changed.is_empty() { Ok(()) } else { Err(changed) }
    }
}

pub(crate) fn push(items: &mut Vec<WorkItem>, steps: Vec<PlannedStep>) {
    if !steps.is_empty() {
        items.push(WorkItem::Steps(steps));
    }
}
