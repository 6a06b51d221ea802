//! What a round tells: the snapshot that every face shows, and why nothing is done.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tracing::info;

use super::{Controller, figures, logs, snapshot::Snapshot, state::ControllerState};
use crate::{
    core::{
        decide::{drift, serving, view::View},
        model::{
            desired::Desired,
            event_kind::EventKind,
            object::Object,
            observed::Observed,
            plan::{self, Plan},
        },
        tell::{
            concern::{FileState, Headline},
            slot_summary, status,
        },
    },
    store::StoreError,
};

/// What a round saw and decided, to be published.
#[derive(Clone, Copy)]
pub(super) struct Decided<'a> {
    pub plan: &'a Plan,
    pub observed: &'a Observed,
    pub desired: &'a Arc<Desired>,
    /// The open steps of the plan will be taken.
    pub acts: bool,
}

impl Controller {
    pub(super) fn publish(
        &self,
        seen: Option<Decided<'_>>,
        busy: &BTreeSet<Object>,
        round: u64,
        looked_ms: u64,
    ) {
        let before = self.snapshot();
        let mut state = self.state();
        let now = (self.world.now)();
        let (mut status, drift, outlook) = match seen {
            Some(Decided { plan, observed, desired, .. }) => (
                status::status(View { desired, observed, ledger: &state.ledger, now }, plan),
                drift::diff(View { desired, observed, ledger: &state.ledger, now }, plan),
                slot_summary::slot_summaries(View { desired, observed, ledger: &state.ledger, now }),
            ),
            None => (Vec::new(), Vec::new(), Vec::new()),
        };
        status::keep_while_busy(&mut status, &before.status, busy);
        state.ledger.date(&drift);
        let file = match (&state.pending, &state.file_error) {
            (Some(_), _) => FileState::Asks,
            (None, Some(_)) => FileState::Invalid,
            (None, None) => FileState::InForce,
        };
        let is_fenced = state.ledger.fenced.is_some();
        let headline = match seen {
            Some(seen) => Headline::of(&status, Some(seen.observed), file, is_fenced),
            None if file == FileState::InForce => Headline::default(),
            None => Headline::of(&status, None, file, is_fenced),
        };
        // A look that is to decide nothing stops nothing.
        let backends = seen.map_or_else(Vec::new, |seen| {
            let plan = Some(seen.plan).filter(|_| seen.acts);
            serving::backends(
                View { desired: seen.desired, observed: seen.observed, ledger: &state.ledger, now },
                plan,
            )
        });
        let snapshot = Snapshot {
            round,
            at: Some(now),
            looked_ms,
            revision: state.current.as_ref().map(|current| current.revision),
            file_error: state.file_error.clone(),
            pending_approval: state.pending.as_ref().map(|pending| pending.id.clone()),
            file: std::path::absolute(&self.places.file).unwrap_or_else(|_| self.places.file.clone()),
            warnings: state.warnings.clone(),
            fenced: state.ledger.fenced.clone(),
            plan: seen.map(|seen| seen.plan.clone()),
            observed: seen.map(|seen| seen.observed.clone()),
            status,
            drift,
            headline,
            backends,
            outlook,
            load_secs: seen.map_or_else(BTreeMap::new, |seen| figures::loads(seen.desired, &state.ledger)),
            desired: seen.map(|seen| seen.desired.clone()),
        };
        self.published.send_replace(Arc::new(snapshot));
    }

    /// Why nothing is done, once for each change of the reason: what goes on by itself in the log, what does not in the history
    /// too.
    ///
    /// Of what something is being done about, it is not said: a container that is being stopped cannot be looked into, for one.
    pub(super) fn say_why(
        &self,
        state: &mut ControllerState,
        plan: &Plan,
        busy: &BTreeSet<Object>,
    ) -> Result<(), StoreError> {
        let mut said = state.said.clone();
        said.retain(|object, _| busy.contains(object));
        for work in plan.work.iter().filter(|work| !busy.contains(&work.object)) {
            let (reason, message, lasts) = match &work.verdict {
                plan::Verdict::Open => continue,
                plan::Verdict::Waiting { reason, message } => (*reason, message, false),
                plan::Verdict::Blocked { reason, message } => (*reason, message, true),
            };
            said.insert(work.object.clone(), reason);
            if state.said.get(&work.object) == Some(&reason) {
                continue;
            }
            info!(object = %work.object, reason = %reason, "{}: {message}", work.goal);
            if lasts {
                let message = format!("{}: {reason}: {message}", work.goal);
                state.store.add_event(
                    EventKind::Blocked,
                    work.object.as_str(),
                    &message,
                    (self.world.now)(),
                )?;
            }
        }
        state.said = said;
        Ok(())
    }

    /// A container that ended with `--rm` took its log with it: what was read of it last is kept.
    pub(super) fn save_lost_logs(
        &self,
        state: &ControllerState,
        object: &Object,
        previous: Option<&Observed>,
        observed: &Observed,
    ) -> Result<(), StoreError> {
        let Some(ranks) = previous.and_then(|previous| previous.loads.get(object)) else { return Ok(()) };
        for (spark, seen) in ranks {
            let Some(facts) = observed.facts(spark) else { continue };
            let is_there = facts.containers.iter().any(|container| container.id == seen.container);
            if seen.log.is_empty() || is_there {
                continue;
            }
            let now = (self.world.now)();
            let message = match logs::save(&self.places.data, object, spark.as_str(), &seen.log, now) {
                Ok(path) => format!("its last words on `{spark}` are in {}", path.display()),
                Err(error) => format!("its last words on `{spark}` could not be saved: {error}"),
            };
            state.store.add_event(EventKind::Log, object.as_str(), &message, now)?;
        }
        Ok(())
    }
}
