//! Who must agree before a step is taken, and when nobody must.

use jiff::Timestamp;

use super::slot_containers::SlotContainer;
use crate::core::model::{
    desired::{Desired, Hold, OnDrift, OnEdit},
    launch_spec::LaunchSpec,
    ledger::Ledger,
    name::HoldName,
    object::Object,
    observed::{CheckResult, EndpointAnswer, Observed},
    plan::{ConsentReason, Verdict},
    reason::Reason,
    spec_hash::SpecHash,
};

/// Why something is to be done: the policy differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeCause {
    /// The file asks for something else than it did.
    Edit,
    /// The Sparks are not any more as the file says.
    Drift,
    /// A load of this swap failed: what was agreed to covers tearing it down, its second load and one fallback.
    Contingency,
}

/// Why a person must agree before this container of a slot is stopped. `group` is the spec that is to be up: ranks that are left
/// of it may be stopped without asking, because a part of its ranks serves no one.
pub fn to_stop(
    entry: &SlotContainer<'_>,
    object: &Object,
    cause: ChangeCause,
    group: Option<&SpecHash>,
    desired: &Desired,
    observed: &Observed,
) -> Option<ConsentReason> {
    if !entry.is_ours() {
        return Some(ConsentReason::NotOurs);
    }
    match (cause, desired.policy.on_drift) {
        (ChangeCause::Contingency, _) => None,
        (ChangeCause::Edit, _) => on_edit(desired),
        (ChangeCause::Drift, OnDrift::Approve) => Some(ConsentReason::OnDrift),
        (ChangeCause::Drift, OnDrift::Repair) if entry.spec.as_ref() == group => None,
        (ChangeCause::Drift, OnDrift::Repair) => {
            answers(object, observed).then_some(ConsentReason::StopsWhatAnswers)
        }
        (ChangeCause::Drift, OnDrift::Apply | OnDrift::Report) => None,
    }
}

/// Before a model or a service is started.
///
/// # Errors
/// The verdict when the policy is only to report.
pub fn to_start(cause: ChangeCause, desired: &Desired) -> Result<Option<ConsentReason>, Verdict> {
    match (cause, desired.policy.on_drift) {
        (ChangeCause::Contingency, _) => Ok(None),
        (ChangeCause::Edit, _) => Ok(on_edit(desired)),
        (ChangeCause::Drift, OnDrift::Repair | OnDrift::Apply) => Ok(None),
        (ChangeCause::Drift, OnDrift::Approve) => Ok(Some(ConsentReason::OnDrift)),
        (ChangeCause::Drift, OnDrift::Report) => Err(Verdict::Blocked {
            reason: Reason::ReportOnly,
            message: "`reconcile.on_drift` is `report`".into(),
        }),
    }
}

/// Before a service is stopped. `kept`: it was once seen in the state that the file asked for, which is its adoption.
/// One that runs counts as one that answers: it may have been started a moment ago.
///
/// # Errors
/// The verdict when the policy is only to report.
pub fn to_stop_service(
    cause: ChangeCause,
    kept: bool,
    desired: &Desired,
) -> Result<Option<ConsentReason>, Verdict> {
    match (cause, desired.policy.on_drift) {
        _ if !kept => Ok(Some(ConsentReason::NotOurs)),
        (ChangeCause::Drift, OnDrift::Repair) => Ok(Some(ConsentReason::StopsWhatAnswers)),
        _ => to_start(cause, desired),
    }
}

/// The hold on this object that is in force.
pub fn hold<'a>(object: &Object, desired: &'a Desired, now: Timestamp) -> Option<(&'a HoldName, &'a Hold)> {
    desired
        .holds
        .iter()
        .find(|(_, hold)| hold.object == *object && hold.until.is_none_or(|until| until > now))
}

/// An edit or drift, as far as this slot is concerned.
pub fn cause(object: &Object, wanted: &LaunchSpec, target: &LaunchSpec, ledger: &Ledger) -> ChangeCause {
    // Only what failed is taken over for.
    let takes_over = ledger.is_past_stop(object) && wanted.spec != target.spec;
    if ledger.failed_in_load(object, &wanted.spec) || takes_over {
        return ChangeCause::Contingency;
    }
    match ledger.launch(object) {
        Some(launch) if launch.group.spec == target.spec => ChangeCause::Drift,
        _ => ChangeCause::Edit,
    }
}

/// What an edit asks a person.
pub fn on_edit(desired: &Desired) -> Option<ConsentReason> {
    (desired.policy.on_edit == OnEdit::Approve).then_some(ConsentReason::OnEdit)
}

fn answers(object: &Object, observed: &Observed) -> bool {
    match observed.endpoints.get(object).map(|endpoint| &endpoint.answer) {
        Some(EndpointAnswer::Up(_)) => true,
        Some(EndpointAnswer::Engine(engine)) => matches!(engine.completion, CheckResult::Proven { .. }),
        _ => false,
    }
}
