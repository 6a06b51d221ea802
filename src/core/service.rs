//! What to do about a service: keep it running, keep it stopped, or leave it alone.

use super::{
    desired::{Desired, Object, OnDrift, Place, Service, ServiceState},
    ledger::Ledger,
    name::ServiceName,
    observed::Observed,
    plan::{Consent, Item, PlannedStep, Predicate, Reason, Verdict, Work},
    step::Step,
};

/// The work for one service; `None` when it is as it should be, or not ours to keep.
pub fn plan(
    name: &ServiceName,
    service: &Service,
    desired: &Desired,
    observed: &Observed,
    ledger: &Ledger,
) -> Option<Work> {
    let state = service.state?;
    let (Place::Spark(spark), Some(container)) = (&service.place, &service.container) else { return None };
    let object = Object::service(name);
    let goal = match state {
        ServiceState::Running => "keep it running",
        ServiceState::Stopped => "keep it stopped",
    };
    let mut work = Work {
        object: object.clone(),
        goal: goal.into(),
        items: Vec::new(),
        verdict: Verdict::Open,
        relies_on: Vec::new(),
        memory: Vec::new(),
        outage: None,
    };
    let block = |mut work: Work, reason, message: String| {
        work.verdict = Verdict::Blocked { reason, message };
        Some(work)
    };
    let Some(facts) = observed.facts(spark) else {
        return block(work, Reason::Unreachable, format!("`{spark}` is not reachable"));
    };
    let found = facts.container(container.as_str());
    let step = match (state, found) {
        (ServiceState::Running, Some(found)) if found.running => return None,
        (ServiceState::Stopped, None) => return None,
        (ServiceState::Stopped, Some(found)) if !found.running => return None,
        (ServiceState::Running, None) => {
            let message = format!("there is no container `{container}` on `{spark}` to start");
            return block(work, Reason::NoContainer, message);
        }
        (ServiceState::Running, Some(found)) => Step::Start {
            object,
            spark: spark.clone(),
            container: found.id.clone(),
            name: container.to_string(),
        },
        (ServiceState::Stopped, Some(found)) => Step::Stop {
            object,
            spark: spark.clone(),
            container: found.id.clone(),
            name: container.to_string(),
            remove: false,
            pids: Vec::new(),
        },
    };
    if service.suspend {
        return block(work, Reason::Suspended, "`suspend` is on".into());
    }
    if desired.policy.on_drift == OnDrift::Report {
        return block(work, Reason::ReportOnly, "`reconcile.on_drift` is `report`".into());
    }
    let found = found.expect("a step needs a container");
    work.relies_on = vec![
        Predicate::Boot { spark: spark.clone(), boot_id: facts.boot_id.clone() },
        Predicate::Container {
            spark: spark.clone(),
            name: found.name.clone(),
            id: found.id.clone(),
            running: found.running,
        },
    ];
    // The owner named this very container and its state: that is its adoption.
    let consent = (desired.policy.on_drift == OnDrift::Approve).then_some(Consent::OnDrift);
    let _ = ledger;
    work.items = vec![Item::Steps(vec![PlannedStep { key: step.key(), step, consent }])];
    Some(work)
}
