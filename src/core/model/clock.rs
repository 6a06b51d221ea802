//! A clock that was set back: what was written down lies in the future, and would be waited for until the clock is there again.
//! It counts as of now.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    launch::{LaunchState, RETRY_AFTER},
    ledger::Ledger,
};

impl Ledger {
    /// No time that is kept lies after `now`, and none that is waited for further away than it may be.
    pub(crate) fn set_clock(&mut self, now: Timestamp) {
        for launch in self.slots.values_mut().filter_map(|slot| slot.launch.as_mut()) {
            launch.clock_was_set |= launch.at > now;
            launch.at = launch.at.min(now);
            launch.launcher_ended = launch.launcher_ended.map(|at| at.min(now));
            match &mut launch.state {
                LaunchState::Loading => {}
                LaunchState::Serving { since: at }
                | LaunchState::Failed { at, .. }
                | LaunchState::Stopped { at }
                | LaunchState::Unseen { at } => *at = (*at).min(now),
            }
        }
        for slot in self.slots.values_mut() {
            if let Some(release) = &mut slot.release {
                release.since = release.since.min(now);
            }
            slot.draining_since = slot.draining_since.map(|since| since.min(now));
        }
        for attempts in self
            .attempts
            .values_mut()
            .flat_map(BTreeMap::values_mut)
            .filter(|attempts| attempts.last.at > now)
        {
            attempts.last.at = now;
            attempts.deaths.iter_mut().for_each(|at| *at = (*at).min(now));
            attempts.not_before = now.saturating_add(RETRY_AFTER).expect("a duration, not a calendar span");
        }
        for transfer in self.transfers.values_mut() {
            transfer.at = transfer.at.min(now);
        }
        for service in self.services.values_mut() {
            if let Some(update) = &mut service.update {
                update.at = update.at.min(now);
            }
            if let Some(restarts) = &mut service.restarts {
                restarts.last = restarts.last.min(now);
            }
        }
        for approval in &mut self.approvals {
            approval.at = approval.at.min(now);
        }
        for watch in self.floors.values_mut() {
            watch.set_clock(now);
        }
        for told in self.told.values_mut() {
            told.since = told.since.min(now);
        }
        // What was sampled later than now was sampled before something that nobody knows the length of.
        self.samples.retain(|_, samples| samples.seen.back().is_none_or(|sample| sample.at <= now));
    }
}
