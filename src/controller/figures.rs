//! Figures over the last hours, for charts. Not kept: a restart begins anew.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{
    Controller,
    state::{MemoryHistory, MemoryReading},
};
use crate::core::model::{
    desired::Desired,
    ledger::Ledger,
    name::{ModelName, SparkName},
    observed::Observed,
};

/// One point a minute for eight hours: 480 of 24 bytes for each Spark.
const EVERY: SignedDuration = SignedDuration::from_mins(1);
const KEPT: usize = 480;

pub(super) fn keep(trails: &mut BTreeMap<SparkName, MemoryHistory>, observed: &Observed) {
    trails.retain(|spark, _| observed.sparks.contains_key(spark));
    for (spark, view) in &observed.sparks {
        let Some(facts) = view.facts() else { continue };
        let trail = trails.entry(spark.clone()).or_default();
        let point = MemoryReading {
            at: facts.at,
            total_bytes: facts.memory_total_bytes,
            available_bytes: facts.memory_available_bytes,
        };
        // The last point moves with every look until the next one is due.
        let before = trail.len().checked_sub(2).map(|last| trail[last].at);
        if before.is_some_and(|before| point.at.duration_since(before) < EVERY) {
            trail.pop_back();
        }
        trail.push_back(point);
        if trail.len() > KEPT {
            trail.pop_front();
        }
    }
}

/// How long loads of each model took.
pub(super) fn loads(desired: &Desired, ledger: &Ledger) -> BTreeMap<ModelName, Vec<u64>> {
    let mut loads = BTreeMap::new();
    for slot in desired.slots.values() {
        for name in desired.models.keys() {
            let Some(effective) = desired.resolved_model(slot, name) else { continue };
            if let Some(record) =
                ledger.specs.get(&effective.spec_hash()).filter(|record| record.became_ready)
            {
                loads.insert(name.clone(), record.load_secs.clone());
            }
        }
    }
    loads
}

impl Controller {
    /// Free memory of each Spark, oldest first.
    pub fn memory(&self) -> BTreeMap<SparkName, Vec<MemoryReading>> {
        let state = self.state();
        let trails = state.trails.iter();
        trails.map(|(spark, trail)| (spark.clone(), trail.iter().copied().collect())).collect()
    }
}
