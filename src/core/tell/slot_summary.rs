//! What stands behind a slot's line of the status: why this model is wanted, what keeps it, how far its load is, what comes
//! next. For people; nothing is decided by it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::{
    decide::{
        consent,
        readiness::{self, Readiness},
        schedule::{self, ModelChange},
        view::View,
    },
    model::{
        desired::{Slot, WantedModel},
        launch::LaunchState,
        ledger::Ledger,
        name::{HoldName, ModelName, SparkName, WindowName},
        object::Object,
        observed::Observed,
        progress::LoadPhase,
        resolved_model::ResolvedModel,
    },
};

/// As far ahead as a change of the model is told of.
const DAYS: i64 = 7;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SlotSummary {
    pub object: Object,
    pub wish: WantedBecause,
    /// The hold that is in force.
    pub hold: Option<HoldInForce>,
    /// Of the wanted model: it was tried and failed, and why.
    pub failure: Option<FailureSummary>,
    /// What serves or loads in its place.
    pub fallback: Option<ModelName>,
    pub load: Option<LoadSummary>,
    /// The next change by the schedule.
    pub next: Option<NextChange>,
}

/// Why this model, or none, is wanted now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum WantedBecause {
    /// The file's own `model`.
    File,
    /// A window of the schedule that is open.
    Window { window: WindowName, until: Timestamp },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HoldInForce {
    pub name: HoldName,
    pub owner: String,
    pub reason: String,
    pub until: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureSummary {
    pub at: Timestamp,
    pub what: String,
    /// How many loads of it failed in a row.
    pub loads: u32,
    /// How often its engine died within an hour, after it had served.
    pub deaths: u32,
    /// It is not tried again before; a person may ask for it.
    pub not_before: Timestamp,
    /// It is not tried again by itself.
    pub spent: bool,
}

/// A model on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadSummary {
    pub model: ModelName,
    pub since: Timestamp,
    pub deadline: Timestamp,
    /// Median of its loads before; `null` when there was none.
    pub expected_secs: Option<u64>,
    /// By Spark, head first.
    pub ranks: Vec<RankSummary>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RankSummary {
    pub spark: SparkName,
    /// `null` before its container says anything.
    pub phase: Option<LoadPhase>,
    /// Of its weights: loaded, in all.
    pub shards: Option<(u32, u32)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NextChange {
    pub at: Timestamp,
    /// `null`: nothing is to serve then.
    pub model: Option<ModelName>,
    /// The window that opens; `null` when the file's own `model` applies again.
    pub window: Option<WindowName>,
    /// The hold that will keep what serves then.
    pub held_by: Option<HoldName>,
}

/// One for each slot.
pub fn slot_summaries(view: View<'_>) -> Vec<SlotSummary> {
    let View { desired, now, .. } = view;
    let turns = schedule::model_changes(desired, now, DAYS);
    let next = turns.into_iter().next().map(NextChange::from);
    let slots = desired.slots.iter();
    slots.map(|(object, slot)| slot_summary(object, slot, next.as_ref(), view)).collect()
}

/// The summary of one slot; `next` is what changes next in the main one.
fn slot_summary(object: &Object, slot: &Slot, next: Option<&NextChange>, view: View<'_>) -> SlotSummary {
    let View { desired, observed, ledger, now } = view;
    let wanted = schedule::wanted(object, slot, desired, now);
    let wish = match schedule::open(object, desired, now) {
        Some((window, _, until)) => WantedBecause::Window { window: window.clone(), until },
        None => WantedBecause::File,
    };
    let hold = consent::hold(object, desired, now).map(|(name, hold)| HoldInForce {
        name: name.clone(),
        owner: hold.owner.clone(),
        reason: hold.reason.clone(),
        until: hold.until,
    });
    let effective = model_of(&wanted).and_then(|name| desired.resolved_model(slot, &name));
    let spec = effective.as_ref().map(ResolvedModel::spec_hash);
    // What serves has failed no more, however often it was tried.
    let serves = effective.is_some_and(|effective| {
        readiness::readiness(object, &effective.launch_spec(), view) == Readiness::Ready
    });
    let attempts = spec.as_ref().filter(|_| !serves).and_then(|spec| ledger.attempts(object, spec));
    let failure = attempts.map(|attempts| FailureSummary {
        at: attempts.last.at,
        what: attempts.last.what.clone(),
        loads: attempts.failed_loads,
        deaths: u32::try_from(attempts.deaths.len()).unwrap_or(u32::MAX),
        not_before: attempts.not_before,
        spent: attempts.is_spent(),
    });
    let launched =
        ledger.launched(object).filter(|group| failure.is_some() && Some(&group.spec) != spec.as_ref());
    SlotSummary {
        object: object.clone(),
        wish,
        hold,
        failure,
        fallback: launched.map(|group| group.model.clone()),
        load: load(object, slot, observed, ledger),
        next: next.filter(|_| *object == Object::main()).cloned(),
    }
}

impl From<ModelChange> for NextChange {
    fn from(turn: ModelChange) -> Self {
        Self { at: turn.at, model: model_of(&turn.wanted), window: turn.window, held_by: turn.held_by }
    }
}

fn model_of(wanted: &WantedModel) -> Option<ModelName> {
    match wanted {
        WantedModel::Model(name) => Some(name.clone()),
        WantedModel::Nothing | WantedModel::Watch => None,
    }
}

fn load(object: &Object, slot: &Slot, observed: &Observed, ledger: &Ledger) -> Option<LoadSummary> {
    let launch = ledger.launch(object).filter(|launch| launch.state == LaunchState::Loading)?;
    let spec = &launch.group.spec;
    let nothing = BTreeMap::new();
    let seen = observed.loads.get(object).unwrap_or(&nothing);
    let ranks = launch.group.sparks.iter().map(|spark| RankSummary {
        spark: spark.clone(),
        phase: seen.get(spark).map(|seen| seen.progress.phase),
        shards: seen.get(spark).and_then(|seen| seen.progress.shards),
    });
    Some(LoadSummary {
        model: launch.group.model.clone(),
        since: launch.at,
        deadline: launch.at.saturating_add(ledger.load_deadline(slot, spec)).unwrap_or(Timestamp::MAX),
        expected_secs: ledger.expected_load_secs(spec).map(|(secs, _)| secs),
        ranks: ranks.collect(),
    })
}
