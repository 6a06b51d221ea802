//! Objects for which something is being done, so that no look decides on what is under way.

use std::{collections::BTreeSet, sync::Arc};

use crate::core::model::{object::Object, plan::Work};

/// Objects for which something is being done.
#[derive(Clone, Default)]
pub struct BusyObjects(Arc<parking_lot::Mutex<BTreeSet<(Object, BusyWith)>>>);

/// What is being done for an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum BusyWith {
    /// A question to an engine, which takes minutes on a machine that serves meanwhile and changes nothing.
    Asks,
    Acts,
}

/// Something is being done for this object, for as long as this lives.
pub struct BusyGuard {
    what: (Object, BusyWith),
    all: BusyObjects,
}

impl BusyObjects {
    /// `None`: it is busy already. Nobody who acts waits for a question: memory that runs out does not wait.
    pub fn with(&self, work: &Work) -> Option<BusyGuard> {
        let asks = work.open().into_iter().flatten().all(|planned| planned.step.is_question());
        let what = (work.object.clone(), if asks { BusyWith::Asks } else { BusyWith::Acts });
        let mut all = self.0.lock();
        if asks && all.contains(&(work.object.clone(), BusyWith::Acts)) {
            return None;
        }
        let is_new = all.insert(what.clone());
        is_new.then(|| BusyGuard { what, all: self.clone() })
    }

    /// At which something is being done: what is seen of them may be from before.
    pub fn acted_on(&self) -> BTreeSet<Object> {
        let all = self.0.lock();
        all.iter().filter(|(_, doing)| *doing == BusyWith::Acts).map(|(object, _)| object.clone()).collect()
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.what);
    }
}
