//! One round of the loop, phase after phase: read the file, look, take in what was seen, plan, publish, and choose what is done now.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use jiff::SignedDuration;
use tracing::info;

use super::{Controller, act::RoundActs, busy::BusyGuard, figures, publish::Decided, state::FileInForce};
use crate::{
    apply,
    core::{
        decide::{bot, planner, reachability, view::View},
        model::{
            desired::Desired,
            event_kind::EventKind,
            object::Object,
            observed::Observed,
            plan::{self, Plan, Work},
            reason::Reason,
        },
    },
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

/// A look that was taken before it was known whether the file says what it was taken for.
struct EarlyLook {
    desired: Desired,
    observed: Observed,
    looked_ms: u64,
}

/// One round, from the file to what it decides.
struct Round<'a> {
    number: u64,
    mode: RoundMode<'a>,
    /// What is seen of these may be from before an act that ends meanwhile.
    busy: BTreeSet<Object>,
    revision: u64,
    desired: Arc<Desired>,
    /// What the round before saw.
    previous: Option<Observed>,
    observed: Arc<Observed>,
    looked_ms: u64,
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
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let busy = self.busy.acted_on();
        // While a file that was just written is waited for, the Sparks are asked for what it says so far.
        let ((), early) = tokio::join!(self.file_is_quiet(), self.early_look());
        // What cannot be read is told in the snapshot.
        let _ = self.read_file(mode != RoundMode::Preview)?;
        let Some(file) = self.state().current.clone() else {
            self.publish(None, &busy, number, 0);
            return Ok((RoundOutcome::default(), None));
        };
        let mut round = self.look_for(number, mode, busy, file, early).await;
        self.record_observed(&mut round)?;
        let plan = self.plan(&round)?;
        self.publish_round(&round, &plan)?;
        self.choose(round, &plan)
    }

    /// Look at what the file in force names, unless the early look was for just that.
    async fn look_for<'a>(
        &self,
        number: u64,
        mode: RoundMode<'a>,
        busy: BTreeSet<Object>,
        file: FileInForce,
        early: Option<EarlyLook>,
    ) -> Round<'a> {
        let FileInForce { revision, desired, .. } = file;
        let previous = self.state().observed.clone();
        let (mut observed, looked_ms) = match early.filter(|early| early.desired == *desired) {
            Some(early) => (early.observed, early.looked_ms),
            None => self.look(&desired).await,
        };
        observed.unreadable_secrets = desired
            .secrets()
            .filter_map(|secret| Some((secret.to_string(), apply::secret(secret).err()?)))
            .collect();
        observed.front_doors = self.front_doors();
        Round { number, mode, busy, revision, desired, previous, observed: Arc::new(observed), looked_ms }
    }

    /// Let the ledger notice what was seen, and write down what that means.
    fn record_observed(&self, round: &mut Round<'_>) -> Result<(), StoreError> {
        let now = (self.world.now)();
        let Round { busy, desired, previous, observed, .. } = round;
        let mut state = self.state();
        let state = &mut *state;
        state.observed = Some((**observed).clone());
        state.looks += 1;
        self.check_fence(state, observed);
        self.keep_connectivity(state, &observed.endpoints)?;
        figures::keep(&mut state.trails, observed);
        let mut ledger = state.ledger.clone();
        busy.extend(self.busy.acted_on());
        let noticed = ledger.record_observed(desired, observed, busy, now);
        for change in previous.iter().flat_map(|previous| reachability::changes(previous, observed)) {
            info!(spark = %change.spark, kind = change.kind.name(), "{}", change.message);
            state.store.add_event(change.kind, change.spark.as_str(), &change.message, now)?;
        }
        for noticed in &noticed {
            info!(object = %noticed.object, kind = noticed.kind.name(), "{}", noticed.message);
            state.store.add_event(noticed.kind, noticed.object.as_str(), &noticed.message, now)?;
            if matches!(noticed.kind, EventKind::Failed | EventKind::Died) {
                self.save_lost_logs(state, &noticed.object, previous.as_ref(), observed)?;
            }
        }
        if ledger != state.ledger {
            state.store.set_ledger(&ledger)?;
            state.ledger = ledger;
        }
        Ok(())
    }

    /// The plan of this round, kept so that it can be agreed to.
    fn plan(&self, round: &Round<'_>) -> Result<Plan, StoreError> {
        let mut state = self.state();
        let state = &mut *state;
        let Round { revision, desired, observed, .. } = round;
        let plan = planner::plan(
            View { desired, observed, ledger: &state.ledger, now: (self.world.now)() },
            *revision,
        );
        // A plan that is shown again is the same plan.
        let is_kept = state
            .kept_plan
            .as_ref()
            .is_some_and(|(id, at)| *id == plan.id && plan.at.duration_since(*at) < SHOWN_AGAIN_AFTER);
        if plan.has_steps() && !is_kept {
            state.store.keep_plan(&plan)?;
            state.kept_plan = Some((plan.id.clone(), plan.at));
        }
        Ok(plan)
    }

    /// Tell everybody who follows, and those who are told of changes, unless nothing comes of it.
    fn publish_round(&self, round: &Round<'_>, plan: &Plan) -> Result<(), StoreError> {
        let Round { number, mode, busy, revision, desired, observed, looked_ms, .. } = round;
        let acts = *mode != RoundMode::Preview;
        self.publish(Some(Decided { plan, observed, desired, acts }), busy, *number, *looked_ms);
        if acts {
            let mut state = self.state();
            state.ledger.take_drains(plan, (self.world.now)());
            self.say_why(&mut state, plan, busy)?;
            drop(state);
            let seen = self.snapshot();
            self.take_news(desired, *revision, plan, &seen, busy)?;
        }
        Ok(())
    }

    /// Which open steps are taken now.
    fn choose(&self, round: Round<'_>, plan: &Plan) -> Result<(RoundOutcome, Option<RoundActs>), StoreError> {
        let Round { mode, busy, revision, desired, observed, .. } = round;
        let open: Vec<Work> = plan.work.iter().filter(|work| !work.open().is_empty()).cloned().collect();
        let (works, others): (Vec<Work>, Vec<Work>) = open.into_iter().partition(|work| match mode {
            RoundMode::Preview => false,
            RoundMode::Act => true,
            RoundMode::Only(approved) => approved.covers(work),
        });
        let turn = RoundOutcome {
            waiting: plan.is_waiting(),
            at_gate: plan.work.iter().any(is_at_gate),
            not_covered: !others.is_empty(),
            ..RoundOutcome::default()
        };
        let is_fenced = self.state().ledger.fenced.is_some();
        if is_fenced || works.is_empty() {
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
        let (transports, sessions) = (self.transports(&desired), self.sessions(&desired));
        let acts = RoundActs { works, unclaimed, revision, desired, observed, transports, sessions };
        Ok((RoundOutcome { acted: true, waiting: true, ..turn }, Some(acts)))
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
    async fn early_look(&self) -> Option<EarlyLook> {
        let desired = self.desired_so_far()?;
        let (observed, looked_ms) = self.look(&desired).await;
        Some(EarlyLook { desired, observed, looked_ms })
    }
}

fn is_at_gate(work: &Work) -> bool {
    matches!(
        &work.verdict,
        plan::Verdict::Waiting { reason: Reason::MemorySettling | Reason::MemoryNotReleased, .. }
    )
}
