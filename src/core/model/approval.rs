//! A person's yes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    id::{PlanId, StepKey},
    plan::{Plan, Predicate},
};

/// A person's yes to the steps of one plan, by their keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    pub plan: PlanId,
    pub steps: BTreeSet<StepKey>,
    /// What was seen then: a reference that names another image by now is not what was agreed to.
    #[serde(default)]
    pub relied_on: Vec<Predicate>,
    pub at: Timestamp,
    pub by: String,
}

impl Approval {
    /// Of the whole plan.
    pub fn of(plan: &Plan, by: &str, now: Timestamp) -> Self {
        let relied_on = plan.work.iter().flat_map(|work| &work.relies_on).cloned().collect();
        Self { plan: plan.id.clone(), steps: plan.step_keys(), relied_on, at: now, by: by.to_owned() }
    }
}
