//! When each endpoint was up: every look at the endpoints, a round's and the pulse's, goes into the store as spells.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Controller, State};
use crate::{
    core::{
        connectivity::{Link, Look, Spell, look},
        desired::Object,
        observed::Endpoint,
    },
    store::StoreError,
};

/// A spell that goes on is written down this often: a disk need not be woken every few seconds.
const WRITTEN_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// The spell that goes on.
pub(super) struct Kept {
    /// In the store.
    number: i64,
    spell: Spell,
    written: Timestamp,
}

impl Controller {
    pub(super) fn keep_connectivity(
        &self,
        state: &mut State,
        endpoints: &BTreeMap<Object, Endpoint>,
    ) -> Result<(), StoreError> {
        let now = (self.world.now)();
        let State { store, spells, .. } = state;
        spells.retain(|object, _| endpoints.contains_key(object));
        for (object, endpoint) in endpoints {
            let kept = spells.get_mut(object);
            let seen = look(kept.as_ref().map(|kept| kept.spell), Link::of(&endpoint.answer), now);
            let begins = match (seen, kept) {
                (Look::GoesOn(spell), Some(kept)) => {
                    kept.spell = spell;
                    if now.duration_since(kept.written) >= WRITTEN_EVERY {
                        store.extend_spell(kept.number, spell.until)?;
                        kept.written = now;
                    }
                    continue;
                }
                (Look::Turns { ended, begins }, Some(kept)) => {
                    store.extend_spell(kept.number, ended.until)?;
                    begins
                }
                // It ended with the last look at it.
                (Look::Begins(begins), Some(kept)) => {
                    store.extend_spell(kept.number, kept.spell.until)?;
                    begins
                }
                (Look::Begins(begins) | Look::GoesOn(begins) | Look::Turns { begins, .. }, None) => begins,
            };
            let number = store.begin_spell(object, begins)?;
            spells.insert(object.clone(), Kept { number, spell: begins, written: now });
        }
        Ok(())
    }

    /// The spells of everything that has an endpoint now, oldest first, up to the last look.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn connectivity(&self) -> Result<BTreeMap<Object, Vec<Spell>>, StoreError> {
        let state = self.state();
        let mut by_name: BTreeMap<String, Vec<Spell>> = BTreeMap::new();
        for (object, spell) in state.store.spells()? {
            by_name.entry(object).or_default().push(spell);
        }
        let with_last = state.spells.iter().map(|(object, kept)| {
            let mut spells = by_name.remove(object.as_str()).unwrap_or_default();
            if let Some(last) = spells.last_mut() {
                *last = kept.spell;
            }
            (object.clone(), spells)
        });
        Ok(with_last.collect())
    }
}
