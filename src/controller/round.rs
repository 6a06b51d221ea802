//! One turn of the loop.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use futures_util::{FutureExt, future::join_all};
use jiff::SignedDuration;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::{Controller, ControllerState, FileInForce, Snapshot, figures, logs};
use crate::{
    apply::{self, StepOutcome, fence::Verdict},
    core::{
        decide::{bot, drain, drift, planner, reachability, serving},
        model::{
            checked_arguments::CheckedArguments,
            desired::Desired,
            event_kind::EventKind,
            id::ContainerId,
            ledger::StepResult,
            name::SparkName,
            object::Object,
            observed::{FencingToken, Observed, SparkView},
            plan::{self, Plan, PlannedStep, Work},
            reason::Reason,
            step::Step,
        },
        tell::{
            concern::{FileState, Headline},
            slot_summary, status,
        },
    },
    host::SharedTransport,
    probe,
    store::StoreError,
};

/// A plan that stays the same is as young as the last time that it was seen, but not every look is written down.
const SHOWN_AGAIN_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// How a round ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoundOutcome {
    /// Something was done, so there is something new to see.
    pub acted: bool,
    /// A gate or a load is being waited for.
    pub waiting: bool,
    /// Memory is being waited for, while nothing serves.
    pub at_gate: bool,
    /// Something is open that the mode does not allow.
    pub not_covered: bool,
    /// A step was not done: trying again at once would be no better.
    pub failed: bool,
}

/// What a round may do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RoundMode<'a> {
    /// Look and plan.
    Preview,
    /// Take every open step.
    Act,
    /// Take open steps that this plan holds, and its contingency.
    Only(&'a Plan),
}

/// What the steps of a round are performed on.
#[derive(Clone, Copy)]
struct ActContext<'a> {
    revision: u64,
    desired: &'a Desired,
    observed: &'a Observed,
    transports: &'a BTreeMap<SparkName, SharedTransport>,
    sessions: &'a BTreeMap<Object, SharedTransport>,
}

/// What a round saw and decided, to be published.
#[derive(Clone, Copy)]
struct Decided<'a> {
    plan: &'a Plan,
    observed: &'a Observed,
    desired: &'a Arc<Desired>,
    /// The open steps of the plan will be taken.
    acts: bool,
}

/// What one turn decided to do, with all that it was decided on.
pub struct RoundActs {
    works: Vec<(Work, BusyGuard)>,
    /// Sparks that do not know of our epoch yet.
    unclaimed: BTreeSet<SparkName>,
    revision: u64,
    desired: Arc<Desired>,
    observed: Arc<Observed>,
    transports: BTreeMap<SparkName, SharedTransport>,
    sessions: BTreeMap<Object, SharedTransport>,
}

/// Objects for which something is being done.
#[derive(Clone, Default)]
pub(super) struct BusyObjects(Arc<parking_lot::Mutex<BTreeSet<(Object, BusyWith)>>>);

/// What is being done for an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum BusyWith {
    /// A question to an engine, which takes minutes on a machine that serves meanwhile and changes nothing.
    Asks,
    Acts,
}

/// Something is being done for this object, for as long as this lives.
struct BusyGuard {
    what: (Object, BusyWith),
    all: BusyObjects,
}

impl BusyObjects {
    /// `None`: it is busy already. Nobody who acts waits for a question: memory that runs out does not wait.
    fn with(&self, work: &Work) -> Option<BusyGuard> {
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
    fn acted_on(&self) -> BTreeSet<Object> {
        let all = self.0.lock();
        all.iter().filter(|(_, doing)| *doing == BusyWith::Acts).map(|(object, _)| object.clone()).collect()
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.what);
    }
}

impl Controller {
    /// Take one turn, to the end of what it does.
    ///
    /// # Errors
    /// When the store cannot be used: nothing is done that could not be remembered.
    pub async fn round(&self, mode: RoundMode<'_>) -> Result<RoundOutcome, StoreError> {
        let (turn, acts) = self.decide(mode).await?;
        let failed = match acts {
            Some(acts) => !self.perform_all(acts).await?,
            None => false,
        };
        Ok(RoundOutcome { failed, ..turn })
    }

    /// Look, notice and plan; with what is to be done now. An act that hangs on one Spark holds up no look and no other object.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn decide(&self, mode: RoundMode<'_>) -> Result<(RoundOutcome, Option<RoundActs>), StoreError> {
        let _turn = self.round_lock.lock().await;
        let round = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        // What is seen of these may be from before an act that ends meanwhile.
        let mut busy = self.busy.acted_on();
        // While a file that was just written is waited for, the Sparks are asked for what it says so far.
        let ((), early) = tokio::join!(self.file_is_quiet(), self.early_look());
        // What cannot be read is told in the snapshot.
        let _ = self.read_file(mode != RoundMode::Preview)?;
        let Some(FileInForce { revision, desired, .. }) = self.state().current.clone() else {
            self.publish(None, &busy, round, 0);
            return Ok((RoundOutcome::default(), None));
        };
        let transports = self.transports(&desired);
        let previous = self.state().observed.clone();
        let now = &self.world.now;
        let (mut observed, looked_ms) = match early {
            Some((for_whom, seen, looked_ms)) if for_whom == *desired => (seen, looked_ms),
            Some(_) | None => self.look(&desired).await,
        };
        observed.unreadable_secrets = desired
            .secrets()
            .filter_map(|secret| Some((secret.to_string(), apply::secret(secret).err()?)))
            .collect();
        observed.front_doors = self.front_doors();
        let observed = Arc::new(observed);
        let plan = {
            let mut state = self.state();
            let state = &mut *state;
            state.observed = Some((*observed).clone());
            state.looks += 1;
            self.check_fence(state, &observed);
            self.keep_connectivity(state, &observed.endpoints)?;
            figures::keep(&mut state.trails, &observed);
            let mut ledger = state.ledger.clone();
            busy.extend(self.busy.acted_on());
            let noticed = ledger.record_observed(&desired, &observed, &busy, now());
            for change in previous.iter().flat_map(|previous| reachability::changes(previous, &observed)) {
                info!(spark = %change.spark, kind = %change.kind, "{}", change.message);
                state.store.add_event(change.kind, change.spark.as_str(), &change.message, now())?;
            }
            for noticed in &noticed {
                info!(object = %noticed.object, kind = %noticed.kind, "{}", noticed.message);
                state.store.add_event(noticed.kind, noticed.object.as_str(), &noticed.message, now())?;
                if matches!(noticed.kind, EventKind::Failed | EventKind::Died) {
                    self.save_lost_logs(state, &noticed.object, previous.as_ref(), &observed)?;
                }
            }
            if ledger != state.ledger {
                state.store.set_ledger(&ledger)?;
                state.ledger = ledger;
            }
            let plan = planner::plan(&desired, revision, &observed, &state.ledger, now());
            // A plan that is shown again is the same plan.
            let is_kept = state
                .kept_plan
                .as_ref()
                .is_some_and(|(id, at)| *id == plan.id && plan.at.duration_since(*at) < SHOWN_AGAIN_AFTER);
            if plan.has_steps() && !is_kept {
                state.store.keep_plan(&plan)?;
                state.kept_plan = Some((plan.id.clone(), plan.at));
            }
            plan
        };
        let decided =
            Decided { plan: &plan, observed: &observed, desired: &desired, acts: mode != RoundMode::Preview };
        self.publish(Some(decided), &busy, round, looked_ms);
        if mode != RoundMode::Preview {
            let mut state = self.state();
            state.ledger.take_drains(&plan, now());
            self.say_why(&mut state, &plan, &busy)?;
            drop(state);
            let seen = self.snapshot();
            self.take_news(&desired, revision, &plan, &seen, &busy)?;
        }
        let waiting = plan.is_waiting();
        let fenced = self.state().ledger.fenced.is_some();
        let open: Vec<Work> = plan.work.iter().filter(|work| !work.open().is_empty()).cloned().collect();
        let (works, others): (Vec<Work>, Vec<Work>) = open.into_iter().partition(|work| match mode {
            RoundMode::Preview => false,
            RoundMode::Act => true,
            RoundMode::Only(approved) => approved.covers(work),
        });
        let is_at_gate = |work: &Work| {
            let waits = |reason| matches!(reason, Reason::MemorySettling | Reason::MemoryNotReleased);
            matches!(&work.verdict, plan::Verdict::Waiting { reason, .. } if waits(*reason))
        };
        let at_gate = plan.work.iter().any(is_at_gate);
        let turn =
            RoundOutcome { waiting, at_gate, not_covered: !others.is_empty(), ..RoundOutcome::default() };
        if fenced || works.is_empty() {
            return Ok((turn, None));
        }
        // What is being done for an object is done before more is. That it ended meanwhile changes nothing: what was seen may be from
        // before its end, and would be done a second time.
        let works: Vec<(Work, BusyGuard)> = works
            .into_iter()
            .filter(|work| !busy.contains(&work.object))
            .filter_map(|work| self.busy.with(&work).map(|busy| (work, busy)))
            .collect();
        if works.is_empty() {
            return Ok((RoundOutcome { waiting: true, ..turn }, None));
        }
        let unclaimed = self.choose_epoch(&observed)?;
        let sessions = self.sessions(&desired);
        let acts = RoundActs { works, unclaimed, revision, desired, observed, transports, sessions };
        Ok((RoundOutcome { acted: true, waiting: true, ..turn }, Some(acts)))
    }

    /// Why nothing is done, once for each change of the reason: what goes on by itself in the log, what does not in the history
    /// too.
    ///
    /// Of what something is being done about, it is not said: a container that is being stopped cannot be looked into, for one.
    fn say_why(
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

    /// Look at everything that `desired` names; with how long that took, in milliseconds.
    async fn look(&self, desired: &Desired) -> (Observed, u64) {
        let transports = self.transports(desired);
        let (previous, ledger) = {
            let state = self.state();
            (state.observed.clone(), state.ledger.clone())
        };
        let now = &self.world.now;
        let began = now();
        let mut sessions = self.sessions(desired);
        let of_interest = bot::of_interest(desired, &ledger, now());
        sessions.retain(|object, _| of_interest.contains(object));
        let eyes = probe::ProbeContext {
            transports: &transports,
            sessions: &sessions,
            http: &self.world.http,
            proofs: &self.proofs,
        };
        let observed = probe::observe(desired, &ledger, eyes, previous.as_ref(), now).await;
        let looked_ms = u64::try_from(now().duration_since(began).as_millis()).unwrap_or(0);
        (observed, looked_ms)
    }

    /// The same for a file that is not what it was and may still be being written: what is seen counts when the file turns
    /// out to be that.
    async fn early_look(&self) -> Option<(Desired, Observed, u64)> {
        let desired = self.desired_so_far()?;
        let (observed, looked_ms) = self.look(&desired).await;
        Some((desired, observed, looked_ms))
    }

    /// Someone with a newer epoch acts on a Spark of ours: we do not act any more, anywhere.
    fn check_fence(&self, state: &mut ControllerState, observed: &Observed) {
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
    fn met(&self, state: &mut ControllerState, place: &str, by: &str) {
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
    fn choose_epoch(&self, observed: &Observed) -> Result<BTreeSet<SparkName>, StoreError> {
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
        let behind = |view: &SparkView| {
            view.facts().is_some_and(|facts| facts.token.as_ref().is_none_or(|token| token.epoch < epoch))
        };
        Ok(observed.sparks.iter().filter(|(_, view)| behind(view)).map(|(name, _)| name.clone()).collect())
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
        if let Verdict::Fenced(by) = apply::fence::perform(way.as_ref(), &program).await {
            self.met(&mut self.state(), &format!("`{name}`"), &by);
        }
    }

    fn token(&self, state: &mut ControllerState) -> FencingToken {
        state.sequence += 1;
        let epoch = state.epoch.expect("an epoch is claimed before any act");
        FencingToken { epoch, sequence: state.sequence, controller: self.id.clone() }
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
        let token = {
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
            state.store.intend(&token.to_string(), &json, &state.ledger, now)?;
            token
        };
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
            Verdict::Done => (StepResult::Done, EventKind::Done, String::new()),
            Verdict::Already => (StepResult::Done, EventKind::Done, "it was so already".into()),
            Verdict::Said(what) => (StepResult::Done, EventKind::Done, what.clone()),
            Verdict::Refused(why) => (StepResult::NotDone, EventKind::Refused, why.clone()),
            Verdict::Fenced(by) => (StepResult::NotDone, EventKind::Fenced, format!("{by} acts there now")),
            Verdict::Failed(why) => (StepResult::Failed, EventKind::Failed, why.clone()),
            Verdict::Unknown(why) => (StepResult::Unknown, EventKind::Unknown, why.clone()),
        };
        // A container that was not stopped says more later.
        let log = outcome.log.as_ref().filter(|_| came == StepResult::Done);
        let saved = log.map(|log| self.save_log(step, log.as_deref()));
        let mut state = self.state();
        let state = &mut *state;
        if let Verdict::Fenced(by) = &outcome.verdict {
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
            info!(object = %step.object(), step = %step.key(), outcome = %kind, "{message}");
        } else {
            warn!(object = %step.object(), step = %step.key(), outcome = %kind, "{message}");
        }
        for noticed in state.ledger.conclude(step, token, came, &detail, now) {
            state.store.add_event(noticed.kind, noticed.object.as_str(), &noticed.message, now)?;
        }
        state.store.conclude(&token.to_string(), kind.name(), now)?;
        state.store.add_event(kind, step.object().as_str(), &message, now)?;
        state.keep_ledger()?;
        Ok(came == StepResult::Done)
    }

    /// A container that ended with `--rm` took its log with it: what was read of it last is kept.
    fn save_lost_logs(
        &self,
        state: &ControllerState,
        object: &Object,
        previous: Option<&Observed>,
        observed: &Observed,
    ) -> Result<(), StoreError> {
        let Some(ranks) = previous.and_then(|previous| previous.loads.get(object)) else { return Ok(()) };
        for (spark, seen) in ranks {
            let there = |id: &ContainerId| {
                let containers = observed.facts(spark).map(|facts| facts.containers.as_slice());
                containers.unwrap_or_default().iter().any(|container| container.id == *id)
            };
            if seen.log.is_empty() || observed.facts(spark).is_none() || there(&seen.container) {
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

    fn publish(&self, seen: Option<Decided<'_>>, busy: &BTreeSet<Object>, round: u64, looked_ms: u64) {
        let before = self.snapshot();
        let mut state = self.state();
        let now = (self.world.now)();
        let (mut status, drift, outlook) = match seen {
            Some(Decided { plan, observed, desired, .. }) => (
                status::status(desired, observed, &state.ledger, plan, now),
                drift::diff(desired, observed, &state.ledger, plan, now),
                slot_summary::slot_summaries(desired, observed, &state.ledger, now),
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
            serving::backends(seen.desired, seen.observed, &state.ledger, plan, now)
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

    /// For tests: what it is to have claimed an epoch.
    pub fn assume_epoch(&self, epoch: u64) {
        self.state().epoch = Some(epoch);
    }
}
