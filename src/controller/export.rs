//! What the controller knew at one moment, as a value that a file can hold: enough to make its decision again elsewhere.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Controller;
use crate::{
    core::{
        ledger::{Ledger, Samples},
        name::SparkName,
        observed::Observed,
        plan::Plan,
        planner,
    },
    manifest,
    store::{Event, StoreError},
};

/// As many as a person would read.
const EVENTS: u32 = 500;

/// Secrets are in it as their places, as they are everywhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Export {
    /// Of the program that wrote it.
    pub program: String,
    pub at: Timestamp,
    pub revision: u64,
    /// The text of that revision.
    pub file: String,
    pub observed: Observed,
    pub ledger: Ledger,
    /// Free memory as seen, which a ledger that is kept does not have.
    pub samples: BTreeMap<SparkName, Samples>,
    pub plan: Plan,
    pub events: Vec<Event>,
}

impl Controller {
    /// What is known now. `None` before anything was looked at.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn export(&self) -> Result<Option<Export>, StoreError> {
        let snapshot = self.snapshot();
        let (Some(plan), Some(observed)) = (snapshot.plan.clone(), snapshot.observed.clone()) else {
            return Ok(None);
        };
        let state = self.state();
        let Some(file) = state.current.as_ref().map(|current| current.text.to_string()) else {
            return Ok(None);
        };
        let events = state.store.events(EVENTS)?;
        let (ledger, samples) = (state.ledger.clone(), state.ledger.samples.clone());
        let program = env!("CARGO_PKG_VERSION").to_owned();
        let (at, revision) = (plan.at, plan.revision);
        Ok(Some(Export { program, at, revision, file, observed, ledger, samples, plan, events }))
    }
}

impl Export {
    /// The decision, made again from what was known then.
    ///
    /// # Errors
    /// When its file is not valid for this program.
    pub fn replay(&self) -> Result<Plan, String> {
        let loaded = manifest::load::load(&self.file)
            .map_err(|problems| manifest::render(&problems, "the exported file", &self.file))?;
        let ledger = Ledger { samples: self.samples.clone(), ..self.ledger.clone() };
        Ok(planner::plan(&loaded.desired, self.revision, &self.observed, &ledger, self.at))
    }
}
