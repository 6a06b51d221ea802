//! Is a model serving? Judged by what cannot lie together: containers, engine processes, served names, `root`, and
//! a completion.

use jiff::Timestamp;

use super::{
    desired::{Desired, Effective, Object},
    ledger::Ledger,
    name::SparkName,
    observed::{Completion, Container, EndpointAnswer, Observed},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// Everything that must run runs; it does not answer as it should yet.
    Loading {
        why: String,
    },
    /// Something that must run does not, and that is certain.
    Dead {
        why: String,
    },
    /// Not everything could be seen.
    Unknown {
        why: String,
    },
}

/// The container of the slot on `spark`, when it is ours and of this spec.
pub fn rank<'a>(
    object: &Object,
    effective: &Effective<'_>,
    spark: &SparkName,
    desired: &Desired,
    observed: &'a Observed,
    ledger: &Ledger,
) -> Option<&'a Container> {
    let container = observed.facts(spark)?.container(effective.slot.container.as_str())?;
    let spec = ledger.spec_of(desired.cluster.as_str(), object, container)?;
    (spec == effective.spec_hash()).then_some(container)
}

/// Is `effective` serving in `object`?
pub fn readiness(
    object: &Object,
    effective: &Effective<'_>,
    desired: &Desired,
    observed: &Observed,
    ledger: &Ledger,
    _now: Timestamp,
) -> Readiness {
    let mut unknown = None;
    for spark in &effective.model.sparks {
        if observed.facts(spark).is_none() {
            unknown = Some(format!("`{spark}` is not reachable"));
            continue;
        }
        let name = &effective.slot.container;
        let Some(container) = rank(object, effective, spark, desired, observed, ledger) else {
            return Readiness::Dead { why: format!("`{name}` is not running on `{spark}`") };
        };
        match container.engine_alive() {
            Some(true) => {}
            Some(false) if !container.running => {
                return Readiness::Dead { why: format!("`{name}` has stopped on `{spark}`") };
            }
            Some(false) => {
                return Readiness::Dead { why: format!("no engine runs in `{name}` on `{spark}`") };
            }
            None => unknown = Some(format!("the processes of `{name}` on `{spark}` could not be read")),
        }
    }
    if let Some(why) = unknown {
        return Readiness::Unknown { why };
    }
    let Some(endpoint) = observed.endpoints.get(object) else {
        return Readiness::Unknown { why: "the endpoint has not been looked at".into() };
    };
    match &endpoint.answer {
        EndpointAnswer::Refused => Readiness::Loading { why: "the engine does not listen yet".into() },
        EndpointAnswer::Silent { why } => Readiness::Unknown { why: why.clone() },
        EndpointAnswer::Wrong { why } => Readiness::Loading { why: why.clone() },
        EndpointAnswer::Up => Readiness::Loading { why: "it does not answer like an engine".into() },
        EndpointAnswer::Engine(engine) => {
            if !engine.healthy {
                return Readiness::Dead { why: "the engine reports that it is dead".into() };
            }
            for name in &effective.model.served_as {
                let root = effective.model.source.root();
                match engine.models.iter().find(|model| model.id == name.as_str()) {
                    None => return Readiness::Loading { why: format!("`{name}` is not served") },
                    Some(model) if model.root != root => {
                        return Readiness::Loading {
                            why: format!("`{name}` is `{}`, not `{root}`", model.root),
                        };
                    }
                    Some(_) => {}
                }
            }
            match &engine.completion {
                Completion::Proven { .. } => Readiness::Ready,
                Completion::NotTried => Readiness::Loading { why: "no completion has been tried yet".into() },
                Completion::Failed { why, .. } => {
                    Readiness::Loading { why: format!("a completion failed: {why}") }
                }
            }
        }
    }
}
