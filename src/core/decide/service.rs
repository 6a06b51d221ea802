//! What to do about a service: keep it running, keep it stopped, or leave it alone.

use jiff::Timestamp;

use super::consent::{self, ChangeCause};
use super::view::View;
use crate::core::model::{
    desired::{Place, Service, ServiceState},
    ledger::Ledger,
    name::{ServiceName, SparkName},
    object::Object,
    observed::{Container, Observed},
    plan::{Outage, PlannedStep, Predicate, Verdict, Work, WorkItem},
    reason::Reason,
    restart::MAX_STARTS,
    step::{GRACE_SECS, Step},
};

/// The work for one service; `None` when it is as it should be, or not ours to keep.
pub fn plan(name: &ServiceName, service: &Service, view: View<'_>) -> Option<Work> {
    let View { desired, observed, ledger, now } = view;
    let (Place::Spark(spark), Some(container)) = (&service.place, &service.container) else { return None };
    let object = Object::service(name);
    let asked = restart_due(&object, service, observed, ledger, now);
    let state = match (service.state, asked) {
        (None, None) => return None,
        (Some(state), _) => state,
        // Whoever asks for a restart wants it to run.
        (None, Some(_)) => ServiceState::Running,
    };
    let goal = match state {
        ServiceState::Running if asked.is_some() => "restart it once",
        ServiceState::Running => "keep it running",
        ServiceState::Stopped => "keep it stopped",
    };
    let Some(facts) = observed.facts(spark) else {
        let message = format!("`{spark}` is not reachable");
        return Some(Work::blocked(&object, goal, Reason::Unreachable, message));
    };
    let found = facts.container(container.as_str());
    let (found, act) = match (state, found) {
        (ServiceState::Running, None) => {
            let message = format!("there is no container `{container}` on `{spark}` to start");
            return Some(Work::blocked(&object, goal, Reason::NoContainer, message));
        }
        (ServiceState::Running, Some(found)) if !found.running => (found, ServiceAction::Start),
        (ServiceState::Running, Some(found)) if asked.is_some() => (found, ServiceAction::Restart),
        (ServiceState::Stopped, Some(found)) if found.running => (found, ServiceAction::Stop),
        (ServiceState::Running | ServiceState::Stopped, _) => return None,
    };
    if service.suspend {
        return Some(Work::blocked(&object, goal, Reason::Suspended, "`suspend` is on"));
    }
    let kept = ledger
        .service(&object)
        .converged
        .as_ref()
        .filter(|kept| kept.spark == *spark && kept.container == *container);
    let cause =
        if kept.is_some_and(|kept| kept.state == state) { ChangeCause::Drift } else { ChangeCause::Edit };
    let consent = match act {
        ServiceAction::Stop => consent::to_stop_service(cause, kept.is_some(), desired),
        ServiceAction::Start => consent::to_start(cause, desired),
        // Who asks for this by its name agrees to its stop.
        ServiceAction::Restart => Ok(consent::on_edit(desired)),
    };
    let (consent, verdict) = match consent {
        Ok(consent) if act == ServiceAction::Start && asked.is_none() => {
            (consent, too_early(&object, found, ledger, now))
        }
        Ok(consent) => (consent, None),
        Err(verdict) => (None, Some(verdict)),
    };
    let (stop, start) = steps(&object, spark, found, asked);
    let steps = match act {
        ServiceAction::Stop => vec![stop],
        ServiceAction::Start => vec![start],
        ServiceAction::Restart => vec![stop, start],
    };
    let items = steps.into_iter().map(|step| WorkItem::Steps(vec![PlannedStep::new(step, consent)]));
    let mut work = Work::new(&object, goal, items.collect());
    work.verdict = verdict.unwrap_or(work.verdict);
    work.outage = match act {
        ServiceAction::Stop => Some(Outage::new(None, "until it is started again")),
        ServiceAction::Restart => Some(Outage::new(None, "while it stops and starts")),
        ServiceAction::Start => None,
    };
    work.relies_on = vec![Predicate::boot(spark, facts), Predicate::container(spark, found)];
    Some(work)
}

/// What is to be done with its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServiceAction {
    Start,
    Stop,
    /// It runs since before the time that it was asked for.
    Restart,
}

/// To stop this container, and to start it.
fn steps(object: &Object, spark: &SparkName, found: &Container, asked: Option<Timestamp>) -> (Step, Step) {
    let (object, spark) = (object.clone(), spark.clone());
    let (container, name) = (found.id.clone(), found.name.clone());
    let stop = Step::Stop {
        object: object.clone(),
        spark: spark.clone(),
        container: container.clone(),
        name: name.clone(),
        remove: false,
        grace_secs: GRACE_SECS,
        pids: Vec::new(),
        own: None,
        log: None,
    };
    (stop, Step::Start { object, spark, container, name, asked })
}

/// The restart that is asked for and was not done yet. The Spark's clock may differ from ours: what was done is remembered, too.
fn restart_due(
    object: &Object,
    service: &Service,
    observed: &Observed,
    ledger: &Ledger,
    now: Timestamp,
) -> Option<Timestamp> {
    let asked = service.restart_after.filter(|asked| *asked <= now)?;
    if restarted(service, observed, now).is_some() {
        return None;
    }
    let is_wanted = service.state != Some(ServiceState::Stopped);
    (is_wanted && ledger.service(object).restarted.as_ref().is_none_or(|done| *done < asked)).then_some(asked)
}

/// It was started before and did not last.
fn too_early(object: &Object, found: &Container, ledger: &Ledger, now: Timestamp) -> Option<Verdict> {
    let restarts =
        ledger.service(object).restarts.as_ref().filter(|restarts| restarts.container == found.id)?;
    let exit = found.exit_code.map_or(String::new(), |code| format!(" with code {code}"));
    let times = if restarts.count == 1 { "once".to_owned() } else { format!("{} times", restarts.count) };
    let ended = format!("`{}` was started {times} and ended again{exit}", found.name);
    if restarts.count >= MAX_STARTS {
        let message = format!("{ended}; look at its logs, then `spark-control retry {object}`");
        return Some(Verdict::Blocked { reason: Reason::Stalled, message });
    }
    let next = restarts.not_before();
    let message = format!("{ended}; again at {next:.0}");
    (next > now).then_some(Verdict::Waiting { reason: Reason::Backoff, message })
}

/// The time of a restart that was asked for and that somebody did: it was started after that.
pub fn restarted(service: &Service, observed: &Observed, now: Timestamp) -> Option<Timestamp> {
    let asked = service.restart_after.filter(|asked| *asked <= now)?;
    let (Place::Spark(spark), Some(container)) = (&service.place, &service.container) else { return None };
    let found = observed.facts(spark)?.container(container.as_str())?;
    (found.started_at >= Some(asked)).then_some(asked)
}

/// A managed service is seen to be in its desired state.
pub fn is_as_desired(service: &Service, observed: &Observed) -> bool {
    let (Place::Spark(spark), Some(container)) = (&service.place, &service.container) else { return false };
    let Some(facts) = observed.facts(spark) else { return false };
    let running = facts.container(container.as_str()).is_some_and(|container| container.running);
    match service.state {
        Some(ServiceState::Running) => running,
        Some(ServiceState::Stopped) => !running,
        None => false,
    }
}
