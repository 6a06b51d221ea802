//! Questions that take long: the only ones that something which hangs does not answer. At most one is under way for an
//! object, and a look does not wait for a slow one: what came of it is there at a later look.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt, Shared};
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use tokio::{task::AbortHandle, time::timeout};

use super::{
    functional_checks::{self, CheckRequest},
    http::Http,
};
use crate::core::model::{object::Object, observed::CheckResult};

/// A look waits this long for it; what is healthy needs a fraction of it.
const PATIENCE: Duration = Duration::from_secs(2);
/// Something busy misses one now and then: what was proven is doubted after this many in a row.
const MAX_FAILURES: u32 = 3;

/// The questions that are under way.
#[derive(Default)]
pub struct PendingChecks {
    running: Mutex<BTreeMap<Object, RunningCheck>>,
}

/// A question that is under way. Whoever waits for it may be gone before it is answered: the next one waits for the same.
struct RunningCheck {
    question: CheckRequest,
    answer: Shared<BoxFuture<'static, CheckResult>>,
    task: AbortHandle,
}

impl Drop for RunningCheck {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl PendingChecks {
    /// Ask, or look whether what was asked before is answered. `None`: not yet.
    ///
    /// # Panics
    /// When a question panicked: that is a defect of this program.
    pub async fn ask(
        &self,
        object: &Object,
        question: CheckRequest,
        http: &Arc<dyn Http>,
        now: Timestamp,
    ) -> Option<CheckResult> {
        let answer = {
            let mut running = self.running();
            let known = running.get(object).filter(|known| known.question == question);
            match known.map(|known| known.answer.clone()) {
                Some(answer) => answer,
                None => {
                    let asking = tokio::spawn(functional_checks::ask(http.clone(), question.clone(), now));
                    let task = asking.abort_handle();
                    let answer =
                        asking.map(|answer| answer.expect("a question does not panic")).boxed().shared();
                    running.insert(
                        object.clone(),
                        RunningCheck { question: question.clone(), answer: answer.clone(), task },
                    );
                    answer
                }
            }
        };
        let answer = timeout(PATIENCE, answer).await.ok()?;
        let mut running = self.running();
        if running.get(object).is_some_and(|known| known.question == question) {
            running.remove(object);
        }
        Some(answer)
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Object, RunningCheck>> {
        self.running.lock()
    }
}

/// What a new answer, or none yet, means after what was known of the same container.
pub fn judged(before: Option<(&CheckResult, u32)>, answer: Option<CheckResult>) -> (CheckResult, u32) {
    let failures = before.map_or(0, |(_, failures)| failures);
    let proven = before.map(|(proof, _)| proof).filter(|old| matches!(old, CheckResult::Proven { .. }));
    match (answer, proven) {
        (Some(CheckResult::Failed { .. }), Some(proven)) if failures + 1 < MAX_FAILURES => {
            (proven.clone(), failures + 1)
        }
        (Some(failed @ CheckResult::Failed { .. }), _) => (failed, failures + 1),
        (Some(answer), _) => (answer, 0),
        (None, Some(proven)) => (proven.clone(), failures),
        // What failed is not better because it is asked again.
        (None, None) => match before {
            Some((failed @ CheckResult::Failed { .. }, _)) => (failed.clone(), failures),
            _ => (CheckResult::Asked, failures),
        },
    }
}

/// Who asks, and for what.
#[derive(Clone, Copy)]
pub struct EndpointProbe<'a> {
    pub object: &'a Object,
    pub http: &'a Arc<dyn Http>,
    pub proofs: &'a PendingChecks,
}
