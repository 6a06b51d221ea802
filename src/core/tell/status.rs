//! What is, in the two words that everything has: sync and health.

use std::collections::BTreeSet;

use super::concern::concern;
use crate::core::{
    decide::{
        health::{self, EngineJudgement},
        readiness::{self, Readiness},
        schedule,
        serving::served_model,
        view::View,
        weights,
    },
    model::{
        desired::{Place, Service, ServiceState, WantedModel, Weights},
        object::Object,
        observed::{CheckResult, EndpointAnswer, Observed},
        plan::{Plan, Verdict, Work},
        reason::{Concern, Reason},
        status_line::{Health, StatusLine, Sync},
    },
};
use jiff::Timestamp;

/// One line per slot and enabled service.
pub fn status(view: View<'_>, plan: &Plan) -> Vec<StatusLine> {
    let View { desired, observed, now, .. } = view;
    let planned = plan.by_object();
    let mut lines = Vec::new();
    for (object, slot) in &desired.slots {
        let work = planned.get(object).copied();
        let (reason, message) = told(work);
        let wanted = schedule::wanted(object, slot, desired, now);
        let serving = served_model(object, observed).map(str::to_owned);
        let (sync, health) = match &wanted {
            WantedModel::Watch => {
                let answer = observed.endpoints.get(object).map(|endpoint| &endpoint.answer);
                let silent = slot.sparks.iter().any(|spark| observed.facts(spark).is_none());
                match answer {
                    None if silent => (Sync::Unknown, Health::Unknown),
                    None => (Sync::InSync, Health::Missing),
                    Some(answer) => (Sync::InSync, seen(answer, now).0),
                }
            }
            WantedModel::Nothing if work.is_none() => (Sync::InSync, Health::Healthy),
            WantedModel::Nothing if reason == Some(Reason::Unreachable) => (Sync::Unknown, Health::Unknown),
            WantedModel::Nothing => (Sync::Drifted, Health::Progressing),
            WantedModel::Model(name) => {
                let effective = desired
                    .resolved_model(slot, name)
                    .expect("resolved: every wanted model is in the catalog");
                match readiness::readiness(object, &effective.launch_spec(), view) {
                    Readiness::Ready => {
                        (if work.is_none() { Sync::InSync } else { Sync::Drifted }, Health::Healthy)
                    }
                    Readiness::Unknown { .. } => (Sync::Unknown, Health::Unknown),
                    _ if reason == Some(Reason::Suspended) => (Sync::Drifted, Health::Suspended),
                    _ => (
                        Sync::Drifted,
                        slot_health(work, serving.is_some(), serves_well(object, observed, now)),
                    ),
                }
            }
        };
        let concern = concern(reason, sync, health, wanted == WantedModel::Watch);
        let is_silent = slot.sparks.iter().any(|spark| observed.facts(spark).is_none());
        lines.push(StatusLine {
            object: object.clone(),
            sync,
            health,
            desired: match wanted {
                WantedModel::Watch => "watched".into(),
                WantedModel::Nothing => "none".into(),
                WantedModel::Model(name) => name.to_string(),
            },
            // Nothing that was seen is not nothing.
            observed: serving.unwrap_or_else(|| if is_silent { "not known" } else { "nothing" }.into()),
            reason,
            message,
            concern,
        });
    }
    for (name, service) in &desired.services {
        if desired.disabled.contains(name) {
            continue;
        }
        let object = Object::service(name);
        let work = planned.get(&object).copied();
        let (reason, message) = told(work);
        let away = match &service.place {
            Place::Spark(spark) => observed.facts(spark).is_none(),
            Place::Elsewhere(_) => false,
        };
        let answer = observed.endpoints.get(&object).map(|endpoint| &endpoint.answer);
        let (health, seen) = match answer {
            _ if service.state == Some(ServiceState::Stopped) && work.is_none() => {
                (Health::Healthy, "stopped".into())
            }
            Some(answer) => seen(answer, now),
            None => without_endpoint(service, observed),
        };
        let sync = match (away, work) {
            (true, _) => Sync::Unknown,
            (false, None) => Sync::InSync,
            (false, Some(_)) => Sync::Drifted,
        };
        let desired = match service.state {
            Some(ServiceState::Running) => "running",
            Some(ServiceState::Stopped) => "stopped",
            None => "watched",
        };
        let concern = concern(reason, sync, health, false);
        let (desired, observed) = (desired.into(), seen);
        lines.push(StatusLine { object, sync, health, desired, observed, reason, message, concern });
    }
    for (name, model) in &desired.models {
        let Some(wish) = model.weights else { continue };
        let object = Object::weights(name);
        let work = planned.get(&object).copied();
        let (reason, message) = told(work);
        let unknown = reason == Some(Reason::Unreachable);
        let (sync, health) = match work.map(|work| &work.verdict) {
            None => (Sync::InSync, Health::Healthy),
            Some(_) if unknown => (Sync::Unknown, Health::Unknown),
            Some(_) if reason == Some(Reason::Suspended) => (Sync::Drifted, Health::Suspended),
            Some(Verdict::Open | Verdict::Waiting { .. }) => (Sync::Drifted, Health::Progressing),
            Some(Verdict::Blocked { .. }) => (Sync::Drifted, Health::Degraded),
        };
        let desired = match wish {
            Weights::Present => "present",
            Weights::Absent => "absent",
        };
        let observed = weights::seen(model, observed);
        let concern = concern(reason, sync, health, false);
        let desired = desired.into();
        lines.push(StatusLine { object, sync, health, desired, observed, reason, message, concern });
    }
    lines
}

/// What is being changed cannot always be read, such as a container that ends: until the act is over, an object that it is done at
/// is as it was `before`.
pub fn keep_while_busy(lines: &mut [StatusLine], before: &[StatusLine], busy: &BTreeSet<Object>) {
    let unread = lines.iter_mut().filter(|line| line.reason == Some(Reason::Unknown));
    for line in unread.filter(|line| busy.contains(&line.object)) {
        if let Some(known) = before.iter().find(|known| known.object == line.object) {
            *line = known.clone();
        }
    }
}

/// Why nothing is done now, or what is.
fn told(work: Option<&Work>) -> (Option<Reason>, String) {
    let Some(work) = work else { return (None, String::new()) };
    match &work.verdict {
        Verdict::Waiting { reason, message } | Verdict::Blocked { reason, message } => {
            (Some(*reason), message.clone())
        }
        Verdict::Open => (None, work.goal.clone()),
    }
}

/// A service without a port, such as a bot: its container is all there is to see.
fn without_endpoint(service: &Service, observed: &Observed) -> (Health, String) {
    let (Place::Spark(spark), Some(name)) = (&service.place, &service.container) else {
        return (Health::Unknown, "nothing of it can be seen".into());
    };
    let Some(facts) = observed.facts(spark) else {
        return (Health::Unknown, format!("`{spark}` is not reachable"));
    };
    match facts.container(name.as_str()) {
        Some(container) if container.running => (Health::Healthy, "running".into()),
        Some(container) => {
            let code = container.exit_code.map_or(String::new(), |code| format!(" with code {code}"));
            if container.restarting {
                (Health::Degraded, format!("restarting: it ended{code}"))
            } else {
                (Health::Missing, format!("ended{code}"))
            }
        }
        None => (Health::Missing, "no container".into()),
    }
}

/// What an endpoint showed, by itself.
fn seen(answer: &EndpointAnswer, now: Timestamp) -> (Health, String) {
    match answer {
        EndpointAnswer::Up(service) => match &service.proof {
            CheckResult::Proven { .. } => (Health::Healthy, "up".into()),
            CheckResult::Failed { why, .. } => (Health::Degraded, format!("it answers, but {why}")),
            CheckResult::Asked | CheckResult::NotTried => (Health::Progressing, "up, not proven yet".into()),
        },
        EndpointAnswer::Refused => (Health::Missing, "down".into()),
        EndpointAnswer::Silent { why } => (Health::Unknown, why.clone()),
        EndpointAnswer::Wrong { why } => (Health::Degraded, why.clone()),
        EndpointAnswer::Engine(engine) => {
            let model = engine.models.first().map_or("no model", |model| model.id.as_str());
            match health::judge_engine(engine, None, now) {
                EngineJudgement::Dead => (Health::Degraded, "the engine reports that it is dead".into()),
                EngineJudgement::Ready | EngineJudgement::Busy => (Health::Healthy, model.to_owned()),
                EngineJudgement::Stalled { why } | EngineJudgement::Degraded { why } => {
                    (Health::Degraded, format!("{model}, but {why}"))
                }
                EngineJudgement::Unproven { .. } => (Health::Progressing, model.to_owned()),
            }
        }
    }
}

/// What serves is well, be it what is wanted or not.
fn serves_well(object: &Object, observed: &Observed, now: Timestamp) -> bool {
    let answer = observed.endpoints.get(object).map(|endpoint| &endpoint.answer);
    answer.is_some_and(|answer| seen(answer, now).0 == Health::Healthy)
}

fn slot_health(work: Option<&Work>, serving: bool, is_well: bool) -> Health {
    match work.map(|work| &work.verdict) {
        Some(Verdict::Open | Verdict::Waiting { .. }) => Health::Progressing,
        // What somebody keeps, or has not agreed to yet, is not sick for that.
        Some(Verdict::Blocked { reason, .. })
            if is_well && matches!(reason.concern(), Concern::AsWished | Concern::AsksForApproval) =>
        {
            Health::Healthy
        }
        Some(Verdict::Blocked { .. }) if serving => Health::Degraded,
        Some(Verdict::Blocked { .. }) | None => Health::Missing,
    }
}
