//! Who acts: the epoch that this controller claims, and giving way to one that has a higher one.

use std::collections::BTreeSet;

use tracing::warn;

use super::{Controller, state::ControllerState};
use crate::{
    core::model::{
        event_kind::EventKind,
        name::SparkName,
        observed::{FencingToken, Observed},
    },
    store::StoreError,
};

impl Controller {
    /// Someone with a newer epoch acts on a Spark of ours: we do not act any more, anywhere.
    pub(super) fn check_fence(&self, state: &mut ControllerState, observed: &Observed) {
        let Some(epoch) = state.epoch else { return };
        for (name, view) in &observed.sparks {
            let Some(token) = view.facts().and_then(|facts| facts.token.as_ref()) else { continue };
            if self.gives_way_to_us(state, token) {
                state.epoch = None;
                return;
            }
            if token.epoch > epoch || (token.epoch == epoch && token.controller != self.id) {
                let why = format!(
                    "controller {} acts on `{name}` with epoch {}, ours is {epoch}; restart this one to take over",
                    token.controller, token.epoch
                );
                self.fence(state, why);
                return;
            }
        }
    }

    /// It claimed the same epoch at the same moment as we did, on another Spark: the one whose name comes first gives way,
    /// and the other goes on with a higher one.
    fn gives_way_to_us(&self, state: &ControllerState, token: &FencingToken) -> bool {
        state.epoch == Some(token.epoch) && token.controller < self.id
    }

    /// An act was fenced off by that token.
    pub(super) fn met(&self, state: &mut ControllerState, place: &str, by: &str) {
        if by.parse().is_ok_and(|token| self.gives_way_to_us(state, &token)) {
            state.epoch = None;
        } else {
            self.fence(state, format!("{place} is fenced by {by}; restart this controller to take over"));
        }
    }

    fn fence(&self, state: &mut ControllerState, why: String) {
        if state.ledger.fenced.is_none() {
            warn!("{why}");
            let _ = state.store.add_event(EventKind::Fenced, "", &why, (self.world.now)());
            state.ledger.fenced = Some(why);
        }
    }

    /// Before acting at all: an epoch above every one seen. Names the Sparks that answered and do not know of it yet.
    pub(super) fn choose_epoch(&self, observed: &Observed) -> Result<BTreeSet<SparkName>, StoreError> {
        let mut state = self.state();
        let seen =
            observed.sparks.values().filter_map(|view| Some(view.facts()?.token.as_ref()?.epoch)).max();
        if state.epoch.is_none() {
            let stored: u64 = state.store.value("epoch")?.and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
            let epoch = seen.unwrap_or(0).max(stored) + 1;
            state.store.set_value("epoch", &epoch.to_string())?;
            state.epoch = Some(epoch);
        }
        let epoch = state.epoch.expect("set above");
        let behind = observed.sparks.iter().filter(|(_, view)| {
            view.facts().is_some_and(|facts| facts.token.as_ref().is_none_or(|token| token.epoch < epoch))
        });
        Ok(behind.map(|(name, _)| name.clone()).collect())
    }

    pub(super) fn token(&self, state: &mut ControllerState) -> FencingToken {
        state.sequence += 1;
        let epoch = state.epoch.expect("an epoch is claimed before any act");
        FencingToken { epoch, sequence: state.sequence, controller: self.id.clone() }
    }

    /// For tests: what it is to have claimed an epoch.
    pub fn assume_epoch(&self, epoch: u64) {
        self.state().epoch = Some(epoch);
    }
}
