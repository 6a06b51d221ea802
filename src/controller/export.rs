//! What the controller knew at one moment, as a value that a file can hold: enough to make its decision again elsewhere.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Controller;
use crate::{
    core::{
        decide::{planner, view::View},
        model::{
            desired::{Desired, EnvValue},
            ledger::Ledger,
            memory_samples::MemorySamples,
            name::SparkName,
            observed::Observed,
            plan::Plan,
            redact,
        },
    },
    manifest,
    store::{Event, StoreError},
};

/// Shorter ones are words that stand elsewhere too, and no secrets.
const SHORTEST_SECRET: usize = 8;
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
    pub samples: BTreeMap<SparkName, MemorySamples>,
    pub plan: Plan,
    pub events: Vec<Arc<Event>>,
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
        let Some(current) = &state.current else { return Ok(None) };
        let file = redacted(&current.text, &current.desired);
        let events = state.store.events(EVENTS)?;
        let (ledger, samples) = (state.ledger.clone(), state.ledger.samples.clone());
        let program = env!("CARGO_PKG_VERSION").to_owned();
        let (at, revision) = (plan.at, plan.revision);
        Ok(Some(Export { program, at, revision, file, observed, ledger, samples, plan, events }))
    }
}

/// The file without what is a secret in it, though it should not be there: addresses of hooks, which have their key in them, and
/// plain values of variables that are named like one. Anything else stays, letter for letter.
fn redacted(text: &str, desired: &Desired) -> String {
    let hooks = desired.notify.values().map(|target| &target.url);
    let slots = desired.slots.values().map(|slot| &slot.env);
    let variables = slots.chain(desired.models.values().map(|model| &model.env)).flatten();
    let variables = variables.filter(|(name, _)| redact::is_secret(name.as_str())).map(|(_, value)| value);
    let mut text = text.to_owned();
    for value in hooks {
        if let EnvValue::Plain(url) = value {
            let mut parts = url.splitn(4, '/');
            let scheme = parts.next().unwrap_or_default();
            let host = parts.nth(1).and_then(|host| host.rsplit('@').next()).unwrap_or_default();
            let host = host.split(['?', '#']).next().unwrap_or_default();
            text = text.replace(url, &format!("{scheme}//{host}/hidden"));
        }
    }
    for value in variables {
        if let EnvValue::Plain(value) = value
            && value.len() >= SHORTEST_SECRET
        {
            text = text.replace(value, "hidden");
        }
    }
    text
}

impl Export {
    /// What its file says.
    ///
    /// # Errors
    /// When it is not valid for this program.
    pub fn desired(&self) -> Result<Desired, String> {
        let loaded = manifest::load::load(&self.file);
        loaded
            .map(|loaded| loaded.desired)
            .map_err(|problems| manifest::render(&problems, "the exported file", &self.file))
    }

    /// The decision, made again from what was known then.
    ///
    /// # Errors
    /// When its file is not valid for this program.
    pub fn replay(&self) -> Result<Plan, String> {
        let desired = self.desired()?;
        let ledger = Ledger { samples: self.samples.clone(), ..self.ledger.clone() };
        Ok(planner::plan(
            View { desired: &desired, observed: &self.observed, ledger: &ledger, now: self.at },
            self.revision,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, a field report would carry the key of somebody's hook, or not say what was in the file.
    #[test]
    fn a_report_has_no_keys_of_hooks_and_no_plain_tokens() {
        let text = "version: 1
sparks: { a: { address: 192.0.2.1, user: alice } }
vllm: { env: { HF_TOKEN: hf_hunter2sesame, LEVEL: debug } }
notify: { ops: { url: \"https://bot:hunter2@hook.test/services/T0/hunter2\" } } # mine
";
        let loaded = manifest::load::load(text).unwrap();
        let shown = redacted(text, &loaded.desired);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(
            shown.contains("https://hook.test/hidden")
                && shown.contains("LEVEL: debug")
                && shown.contains("# mine")
        );
        assert!(manifest::load::load(&shown).is_ok());
    }
}
