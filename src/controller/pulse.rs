//! Between rounds: the endpoints alone, every few seconds. A change of health is a reason for a round; nothing is decided
//! here, and no Spark is asked for more.

use std::time::Duration;

use tracing::error;

use super::Controller;
use crate::{
    core::{
        decide::health::{self, EngineJudgement},
        model::observed::{CheckResult, Endpoint, EndpointAnswer},
    },
    probe,
};

const EVERY: Duration = Duration::from_secs(5);

impl Controller {
    /// Ask for ever, also while a round waits for a Spark that does not answer.
    pub(super) async fn keep_asking(&self) {
        loop {
            tokio::time::sleep(EVERY).await;
            if self.pulse().await {
                self.wake.notify_one();
            }
        }
    }

    /// Ask once; tells whether any endpoint changed. What a round saw meanwhile is newer, and stays.
    pub async fn pulse(&self) -> bool {
        let (desired, mut observed, ledger, looks) = {
            let state = self.state();
            let (Some(current), Some(observed)) = (&state.current, &state.observed) else { return false };
            (current.desired.clone(), observed.clone(), state.ledger.clone(), state.looks)
        };
        let transports = std::collections::BTreeMap::new();
        let sessions = std::collections::BTreeMap::new();
        let eyes = probe::ProbeContext {
            transports: &transports,
            sessions: &sessions,
            http: &self.world.http,
            proofs: &self.proofs,
        };
        let now = &self.world.now;
        let endpoints = probe::endpoints(&desired, &ledger, &observed, eyes, Some(&observed), now).await;
        let changed = endpoints
            .iter()
            .any(|(object, new)| observed.endpoints.get(object).is_none_or(|old| word(old) != word(new)));
        observed.endpoints = endpoints;
        let mut state = self.state();
        if state.looks != looks {
            return changed;
        }
        if let Err(error) = self.keep_connectivity(&mut state, &observed.endpoints) {
            error!("remembering which endpoints are up: {error}");
        }
        state.observed = Some(observed);
        changed
    }
}

/// What an endpoint shows, without its figures.
fn word(endpoint: &Endpoint) -> &'static str {
    match &endpoint.answer {
        EndpointAnswer::Refused => "refused",
        EndpointAnswer::Silent { .. } => "silent",
        EndpointAnswer::Wrong { .. } => "wrong",
        EndpointAnswer::Up(service) => match service.proof {
            CheckResult::Proven { .. } => "proven",
            CheckResult::Failed { .. } => "failed",
            CheckResult::NotTried | CheckResult::Asked => "up",
        },
        EndpointAnswer::Engine(engine) => match health::judge_engine(engine, None, endpoint.at) {
            EngineJudgement::Dead => "dead",
            EngineJudgement::Stalled { .. } => "stalled",
            EngineJudgement::Busy | EngineJudgement::Ready => "ready",
            EngineJudgement::Degraded { .. } => "degraded",
            EngineJudgement::Unproven { .. } => "unproven",
        },
    }
}
