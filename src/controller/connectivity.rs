//! When each endpoint was up: every look at the endpoints, a round's and the pulse's, goes into the store as spells.

use std::collections::{BTreeMap, btree_map::Entry};

use jiff::SignedDuration;

use super::{
    Controller,
    state::{ControllerState, EndpointUptime},
};
use crate::{
    core::{
        decide::connectivity::{EndpointLink, UptimeChange, UptimeInterval, look},
        model::{object::Object, observed::Endpoint},
    },
    store::StoreError,
};

/// A spell that goes on is written down this often: a disk need not be woken every few seconds.
const WRITTEN_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// Of one endpoint; what fails once an hour fills it in ten days.
const MOST: u32 = 500;

impl Controller {
    pub(super) fn keep_connectivity(
        &self,
        state: &mut ControllerState,
        endpoints: &BTreeMap<Object, Endpoint>,
    ) -> Result<(), StoreError> {
        let now = (self.world.now)();
        let ControllerState { store, spells, .. } = state;
        spells.retain(|object, _| endpoints.contains_key(object));
        for (object, endpoint) in endpoints {
            let spells = match spells.entry(object.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let kept = store.spells(object, MOST)?;
                    let number = kept.back().map_or(0, |(number, _)| *number);
                    let known = kept.into_iter().map(|(_, spell)| spell).collect();
                    new.insert(EndpointUptime { known, number, written: now })
                }
            };
            let last = spells.known.back_mut();
            let begins = match (look(last.as_deref().copied(), EndpointLink::of(&endpoint.answer), now), last)
            {
                (UptimeChange::GoesOn(spell), Some(last)) => {
                    *last = spell;
                    if now.duration_since(spells.written) >= WRITTEN_EVERY {
                        store.extend_spell(spells.number, spell.until)?;
                        spells.written = now;
                    }
                    continue;
                }
                (UptimeChange::Turns { ended, begins }, Some(last)) => {
                    *last = ended;
                    store.extend_spell(spells.number, ended.until)?;
                    begins
                }
                // It ended with the last look at it.
                (UptimeChange::Begins(begins), Some(last)) => {
                    store.extend_spell(spells.number, last.until)?;
                    begins
                }
                (
                    UptimeChange::Begins(begins)
                    | UptimeChange::GoesOn(begins)
                    | UptimeChange::Turns { begins, .. },
                    None,
                ) => begins,
            };
            spells.number = store.begin_spell(object, begins)?;
            spells.written = now;
            spells.known.push_back(begins);
            if spells.known.len() > MOST as usize {
                spells.known.pop_front();
            }
        }
        Ok(())
    }

    /// The last spells of everything that has an endpoint now, oldest first, up to the last look.
    pub fn connectivity(&self) -> BTreeMap<Object, Vec<UptimeInterval>> {
        let state = self.state();
        let spells = state.spells.iter();
        spells.map(|(object, spells)| (object.clone(), spells.known.iter().copied().collect())).collect()
    }
}
