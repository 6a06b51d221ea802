//! Which model is gone back to when the wanted one cannot be loaded.

use super::slot_view::SlotView;
use crate::core::model::{
    desired::OnFailure, launch::FailedAttempts, resolved_model::ResolvedModel, slot_record::ProvenModel,
};

/// The last other model that served, when it may take over for one that failed. It is started again like any other when it
/// dies later, but not when it failed to load.
///
/// # Errors
/// Why nothing takes over.
pub(super) fn fallback<'a>(
    case: SlotView<'a>,
    wanted: &ResolvedModel<'a>,
) -> Result<ResolvedModel<'a>, String> {
    if case.slot.on_failure != OnFailure::Fallback {
        return Err("`on_failure` is `stall`".into());
    }
    let wanted_spec = wanted.spec_hash();
    let served = case.ledger.slot(case.object).proven.as_ref().into_iter().flat_map(ProvenModel::all);
    let Some(proven) = served.into_iter().find(|proven| proven.spec != wanted_spec) else {
        return Err("no other model has served here".into());
    };
    let name = &proven.model;
    let Some(effective) = case.desired.resolved_model(wanted.slot, name) else {
        return Err(format!("`{name}`, which served before, is not in the file any more"));
    };
    let spec = effective.spec_hash();
    let attempts = case.ledger.attempts(case.object, &spec);
    let head = case.observed.facts(&effective.model.sparks[0]);
    let image = head.and_then(|facts| facts.image(effective.image.as_str()));
    // What the reference names now may be another engine.
    let same_image = match (&proven.image_id, image) {
        (Some(proven), Some(now)) => *proven == now.id,
        (None, _) | (_, None) => true,
    };
    if spec != proven.spec {
        return Err(format!("`{name}`, which served before, was changed in the file since"));
    }
    if !same_image {
        return Err(format!("the image of `{name}`, which served before, is another one now"));
    }
    if case.ledger.failed_in_load(case.object, &spec) || attempts.is_some_and(FailedAttempts::is_spent) {
        let what = attempts.map_or(String::new(), |attempts| format!(" ({})", attempts.last.what));
        return Err(format!("`{name}`, which served before, failed, too{what}"));
    }
    Ok(effective)
}
