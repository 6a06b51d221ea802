//! Questions that take long: the only ones that something which hangs does not answer. At most one is under way for an
//! object, and a look does not wait for a slow one: what came of it is there at a later look.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{task::JoinHandle, time::timeout};

use super::{
    deep::{self, Question},
    http::Http,
};
use crate::core::{desired::Object, observed::Proof};

/// A look waits this long for it; what is healthy needs a fraction of it.
const PATIENCE: Duration = Duration::from_secs(2);
/// Something busy misses one now and then: what was proven is doubted after this many in a row.
const MAX_FAILURES: u32 = 3;

/// The questions that are under way.
#[derive(Default)]
pub struct Proofs {
    running: Mutex<BTreeMap<Object, (Question, JoinHandle<Proof>)>>,
}

impl Proofs {
    /// Ask, or look whether what was asked before is answered. `None`: not yet.
    ///
    /// # Panics
    /// When a question panicked: that is a defect of this program.
    pub async fn ask(
        &self,
        object: &Object,
        question: Question,
        http: &Arc<dyn Http>,
        now: Timestamp,
    ) -> Option<Proof> {
        let ask = || tokio::spawn(deep::ask(http.clone(), question.clone(), now));
        let before = self.running().remove(object);
        let mut task = match before {
            Some((asked, task)) if asked == question => task,
            Some((_, task)) => {
                task.abort();
                ask()
            }
            None => ask(),
        };
        if let Ok(answer) = timeout(PATIENCE, &mut task).await {
            return Some(answer.expect("a question does not panic, and nobody else ends it"));
        }
        self.running().insert(object.clone(), (question, task));
        None
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<Object, (Question, JoinHandle<Proof>)>> {
        self.running.lock().expect("nothing panics while it holds this")
    }
}

/// What a new answer, or none yet, means after what was known of the same container.
pub fn judged(before: Option<(&Proof, u32)>, answer: Option<Proof>) -> (Proof, u32) {
    let failures = before.map_or(0, |(_, failures)| failures);
    let proven = before.map(|(proof, _)| proof).filter(|old| matches!(old, Proof::Proven { .. }));
    match (answer, proven) {
        (Some(Proof::Failed { .. }), Some(proven)) if failures + 1 < MAX_FAILURES => {
            (proven.clone(), failures + 1)
        }
        (Some(failed @ Proof::Failed { .. }), _) => (failed, failures + 1),
        (Some(answer), _) => (answer, 0),
        (None, Some(proven)) => (proven.clone(), failures),
        (None, None) => (Proof::Asked, failures),
    }
}
