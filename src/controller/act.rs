//! Taking the steps that a round decided on: one message at a time to a Spark, each in the journal before and after.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::{FutureExt, future::join_all};
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::{Controller, busy::BusyGuard, logs};
use crate::{
    apply::{self, StepOutcome, fence::FenceVerdict},
    core::{
        decide::drain,
        model::{
            checked_arguments::CheckedArguments,
            desired::Desired,
            event_kind::EventKind,
            ledger::StepResult,
            name::SparkName,
            object::Object,
            observed::{FencingToken, Observed},
            plan::{PlannedStep, Work},
            step::Step,
        },
    },
    host::SharedTransport,
    probe,
    store::StoreError,
};

/// What the steps of a round are performed on.
#[derive(Clone, Copy)]
struct ActContext<'a> {
    revision: u64,
    desired: &'a Desired,
    observed: &'a Observed,
    transports: &'a BTreeMap<SparkName, SharedTransport>,
    sessions: &'a BTreeMap<Object, SharedTransport>,
}

/// What one turn decided to do, with all that it was decided on.
pub struct RoundActs {
    pub(super) works: Vec<(Work, BusyGuard)>,
    /// Sparks that do not know of our epoch yet.
    pub(super) unclaimed: BTreeSet<SparkName>,
    pub(super) revision: u64,
    pub(super) desired: Arc<Desired>,
    pub(super) observed: Arc<Observed>,
    pub(super) transports: BTreeMap<SparkName, SharedTransport>,
    pub(super) sessions: BTreeMap<Object, SharedTransport>,
}

impl Controller {
    /// Perform what a turn decided. Tells whether all of it was done.
    ///
    /// # Errors
    /// When the store cannot be used: what was done is found by the next look.
    pub async fn perform_all(&self, acts: RoundActs) -> Result<bool, StoreError> {
        let RoundActs { works, unclaimed, revision, desired, observed, transports, sessions } = acts;
        let (desired, observed) = (&*desired, &*observed);
        let at = ActContext { revision, desired, observed, transports: &transports, sessions: &sessions };
        let claims: BTreeMap<&SparkName, _> =
            unclaimed.iter().map(|spark| (spark, self.claim(spark, at).boxed().shared())).collect();
        let taking = works.into_iter().map(|(work, busy)| {
            // Its own Sparks first; one that hangs holds up no other.
            let sparks: BTreeSet<&SparkName> =
                work.steps().filter_map(|planned| planned.step.spark()).collect();
            let claimed: Vec<_> = sparks.iter().filter_map(|spark| claims.get(*spark).cloned()).collect();
            async move {
                join_all(claimed).await;
                let done = self.take(&work, at).await;
                drop(busy);
                done
            }
        });
        let (_, all_done) = tokio::join!(join_all(claims.values().cloned()), join_all(taking));
        let mut all = true;
        for done in all_done {
            all &= done?;
        }
        Ok(all)
    }

    /// Claim the epoch on one Spark.
    async fn claim(&self, name: &SparkName, at: ActContext<'_>) {
        let (Some(facts), Some(way)) = (at.observed.facts(name), at.transports.get(name)) else { return };
        let turn = self.spark_lock(name);
        let _turn = turn.lock().await;
        let token = {
            let mut state = self.state();
            if state.ledger.fenced.is_some() || state.epoch.is_none() {
                return;
            }
            self.token(&mut state)
        };
        let program = apply::fence::program("advance", at.desired, name, &token, facts);
        if let FenceVerdict::Fenced(by) = apply::fence::perform(way.as_ref(), &program).await {
            self.met(&mut self.state(), &format!("`{name}`"), &by);
        }
    }

    /// The open steps of one object: group after group, each group together. Ends at the first that is not done, and
    /// tells whether all were.
    async fn take(&self, work: &Work, at: ActContext<'_>) -> Result<bool, StoreError> {
        // The steps of one launch know each other by it.
        let batch = self.state().sequence + 1;
        for group in work.open() {
            let reading = group.iter().map(|PlannedStep { step, .. }| {
                apply::log_before_stop(
                    step,
                    at.desired,
                    step.spark().and_then(|spark| at.transports.get(spark)),
                )
            });
            let logs = join_all(reading).await;
            // It took a while, and a request may have come meanwhile: it gets its time, too.
            if logs.iter().any(Option::is_some) && self.is_busy_again(work, at).await {
                return Ok(true);
            }
            let performing = group
                .iter()
                .zip(logs)
                .map(|(PlannedStep { step, .. }, log)| self.perform(step, batch, at, log));
            for done in join_all(performing).await {
                if !done? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Requests run, at the last moment, at what this work is about to stop, and they are to be waited for. Asked only where the look
    /// that decided it saw an engine without any: those that it saw have had their time.
    async fn is_busy_again(&self, work: &Work, at: ActContext<'_>) -> bool {
        let Some(slot) = at.desired.slots.get(&work.object) else { return false };
        if work.outage.is_none() || slot.drain.is_zero() {
            return false;
        }
        let ledger = self.state().ledger.clone();
        if drain::requests(&work.object, at.observed, &ledger) != Some(0) {
            return false;
        }
        let now = &self.world.now;
        let eyes = probe::ProbeContext {
            transports: at.transports,
            sessions: at.sessions,
            http: &self.world.http,
            proofs: &self.proofs,
        };
        let asked =
            probe::endpoint_of(&work.object, at.desired, &ledger, at.observed, eyes, Some(at.observed), now)
                .await;
        let Some(endpoint) = asked else { return false };
        let mut observed = at.observed.clone();
        observed.endpoints.insert(work.object.clone(), endpoint);
        observed.front_doors = self.front_doors();
        let mut state = self.state();
        let waits = drain::waits_for(&work.object, slot, &observed, &state.ledger, now());
        let Some(wait) = waits else { return false };
        state.ledger.slot_mut(&work.object).draining_since.get_or_insert_with(now);
        info!(object = %work.object, "requests came before the stop: {wait}");
        drop(state);
        self.wake.notify_one();
        true
    }

    /// One step: journal, act, outcome. One at a time on a Spark, so that its messages arrive in the order of their
    /// tokens.
    async fn perform(
        &self,
        step: &Step,
        batch: u64,
        at: ActContext<'_>,
        log: Option<Result<String, String>>,
    ) -> Result<bool, StoreError> {
        let turn = step.spark().map(|spark| self.spark_lock(spark));
        let turn = match &turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let (token, written) = {
            let mut state = self.state();
            let state = &mut *state;
            // Another act may have met a fence meanwhile, and the file may want something else by now.
            let is_current = state.current.as_ref().is_some_and(|current| current.revision == at.revision);
            if state.ledger.fenced.is_some() || state.epoch.is_none() || !is_current {
                return Ok(false);
            }
            let token = self.token(state);
            let now = (self.world.now)();
            state.ledger.intend(step, &token, now);
            let json = serde_json::to_string(step)?;
            let written = state.store.intend(&token.to_string(), &json, &state.ledger, now)?;
            (token, written)
        };
        // Nobody who asks for the state stands behind the disk.
        written.wait()?;
        info!(object = %step.object(), step = %step.key(), "{step}");
        // A question that comes after a later message is refused there, and asked again: nobody waits for its answer.
        let turn = turn.filter(|_| !step.is_question());
        let transport = match step {
            Step::Update { object, .. } => at.sessions.get(object),
            _ => step.spark().and_then(|spark| at.transports.get(spark)),
        };
        let outcome = apply::perform(step, &token, batch, at.desired, at.observed, transport, log).await;
        drop(turn);
        self.conclude(step, &token, &outcome)
    }

    /// Whose message to that Spark is next.
    fn spark_lock(&self, spark: &SparkName) -> Arc<Mutex<()>> {
        let mut turns = self.spark_locks.lock();
        turns.entry(spark.clone()).or_default().clone()
    }

    fn conclude(&self, step: &Step, token: &FencingToken, outcome: &StepOutcome) -> Result<bool, StoreError> {
        let now = (self.world.now)();
        let (came, kind, detail) = match &outcome.verdict {
            FenceVerdict::Done => (StepResult::Done, EventKind::Done, String::new()),
            FenceVerdict::Already => (StepResult::Done, EventKind::Done, "it was so already".into()),
            FenceVerdict::Said(what) => (StepResult::Done, EventKind::Done, what.clone()),
            FenceVerdict::Refused(why) => (StepResult::NotDone, EventKind::Refused, why.clone()),
            FenceVerdict::Fenced(by) => {
                (StepResult::NotDone, EventKind::Fenced, format!("{by} acts there now"))
            }
            FenceVerdict::Failed(why) => (StepResult::Failed, EventKind::Failed, why.clone()),
            FenceVerdict::Unknown(why) => (StepResult::Unknown, EventKind::Unknown, why.clone()),
        };
        // A container that was not stopped says more later.
        let log = outcome.log.as_ref().filter(|_| came == StepResult::Done);
        let saved = log.map(|log| self.save_log(step, log.as_deref()));
        let mut state = self.state();
        let state = &mut *state;
        if let FenceVerdict::Fenced(by) = &outcome.verdict {
            self.met(state, "a Spark", by);
        }
        let mut message = step.to_string();
        let told = match step {
            Step::Check { .. } if came == StepResult::Done => CheckedArguments::of(&detail, now).to_string(),
            _ => detail.clone(),
        };
        for part in [told.as_str(), saved.as_deref().unwrap_or("")] {
            if !part.is_empty() {
                message = format!("{message}: {part}");
            }
        }
        if came == StepResult::Done {
            info!(object = %step.object(), step = %step.key(), outcome = kind.name(), "{message}");
        } else {
            warn!(object = %step.object(), step = %step.key(), outcome = kind.name(), "{message}");
        }
        for noticed in state.ledger.conclude(step, token, came, &detail, now) {
            state.store.add_event(noticed.kind, noticed.object.as_str(), &noticed.message, now)?;
        }
        state.store.conclude(&token.to_string(), kind.name(), now)?;
        state.store.add_event(kind, step.object().as_str(), &message, now)?;
        state.keep_ledger()?;
        Ok(came == StepResult::Done)
    }

    /// Keep a container's last words, and say where.
    fn save_log(&self, step: &Step, log: Result<&str, &String>) -> String {
        let spark = step.spark().map_or("", SparkName::as_str);
        let saved = match log {
            Ok(log) => logs::save(&self.places.data, step.object(), spark, log, (self.world.now)()),
            Err(why) => return format!("its log could not be read: {why}"),
        };
        match saved {
            Ok(path) => format!("its log is in {}", path.display()),
            Err(error) => format!("its log could not be saved: {error}"),
        }
    }
}
