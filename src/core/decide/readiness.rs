//! Is a model serving? Judged by what cannot lie together: containers, engine processes, served names, `root`, and
//! a completion.

use jiff::SignedDuration;

use super::health::{self, EngineJudgement};
use super::view::View;
use crate::core::model::{
    launch_spec::{LaunchSpec, Liveness},
    name::SparkName,
    object::Object,
    observed::{CheckResult, Container, EndpointAnswer, EngineAnswer, Observed, SparkFacts},
};

/// A server of the owner's that has been down this long does not come back by itself.
const DOWN_FOR_GOOD: SignedDuration = SignedDuration::from_secs(120);

/// As every engine does until its model is loaded.
pub const NOT_LISTENING: &str = "the engine does not listen yet";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// Everything that must run runs; it does not answer as it should.
    NotYet {
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

/// The container of `group` on `spark`, when it is ours, of this spec, and not left from an earlier start: a rank of a
/// launch that was given up may still appear, and belongs to nothing.
pub fn rank<'a>(
    object: &Object,
    group: &LaunchSpec,
    spark: &SparkName,
    view: View<'a>,
) -> Option<&'a Container> {
    let facts = view.observed.facts(spark)?;
    if group.is_labelled {
        return facts.containers.iter().find(|container| is_rank(container, object, group, view));
    }
    facts.container(group.container.as_str()).filter(|container| is_rank(container, object, group, view))
}

/// The container is ours, of this spec, and not left from an earlier start.
fn is_rank(container: &Container, object: &Object, group: &LaunchSpec, view: View<'_>) -> bool {
    let View { desired, ledger, .. } = view;
    let launch = ledger.launch(object).filter(|launch| launch.group.spec == group.spec);
    let spec = ledger.spec_of(desired.cluster.as_str(), object, container);
    let token = container.labels.as_ref().and_then(|labels| labels.token.as_ref());
    let left_over = match (launch, token) {
        (Some(launch), Some(token)) => *token < launch.token,
        _ => false,
    };
    spec.as_ref() == Some(&group.spec) && !left_over
}

/// The engine of this endpoint, when it answered a completion for the names that `group` is to serve.
pub fn answering<'a>(
    object: &Object,
    group: &LaunchSpec,
    observed: &'a Observed,
) -> Option<&'a EngineAnswer> {
    let EndpointAnswer::Engine(engine) = &observed.endpoints.get(object)?.answer else { return None };
    let answers =
        engine.healthy && engine.missed == 0 && matches!(engine.completion, CheckResult::Proven { .. });
    Some(engine).filter(|engine| answers && serves(group, engine).is_ok())
}

/// The head of `group` answered so, and nobody else did in its place.
fn proves(object: &Object, group: &LaunchSpec, view: View<'_>) -> bool {
    let View { observed, .. } = view;
    let head = rank(object, group, group.head(), view);
    let engine = answering(object, group, observed);
    head.zip(engine).is_some_and(|(head, engine)| engine.container.as_ref() == Some(&head.id))
}

/// Is `group` serving in `object`?
pub fn readiness(object: &Object, group: &LaunchSpec, view: View<'_>) -> Readiness {
    let View { observed, ledger, .. } = view;
    let mut unknown = None;
    // What answers a completion for the wanted names is an engine, however its process is spelled.
    let proves = proves(object, group, view);
    for spark in &group.sparks {
        if observed.facts(spark).is_none() {
            unknown = Some(format!("`{spark}` is not reachable"));
            continue;
        }
        let name = &group.container;
        let Some(container) = rank(object, group, spark, view) else {
            return Readiness::Dead { why: format!("`{name}` is not running on `{spark}`") };
        };
        match group.is_alive(spark, container) {
            Some(true) => {}
            // A rank without a process that does anything is lost, whatever the head still answers.
            Some(false)
                if proves && container.running && (spark == group.head() || container.is_at_work()) => {}
            Some(false) if !container.running => {
                return Readiness::Dead { why: format!("`{name}` has stopped on `{spark}`") };
            }
            Some(false) => {
                return Readiness::Dead { why: format!("no engine runs in `{name}` on `{spark}`") };
            }
            None if proves => {}
            None => unknown = Some(format!("the processes of `{name}` on `{spark}` could not be read")),
        }
    }
    if let Some(why) = unknown {
        return Readiness::Unknown { why };
    }
    let Some(endpoint) = observed.endpoints.get(object) else {
        return Readiness::Unknown { why: "the endpoint has not been looked at".into() };
    };
    // A server of the owner's may say 503 while it loads, and its container may outlive it: what counts is how long.
    if group.sign == Liveness::Container && !ledger.is_loading(object) {
        let down = match &endpoint.answer {
            EndpointAnswer::Refused => Some("nothing listens"),
            EndpointAnswer::Engine(engine) if !engine.healthy => {
                Some("the engine reports that it is not well")
            }
            _ => None,
        };
        let so_long = endpoint.at.duration_since(endpoint.since);
        if let Some(what) = down.filter(|_| so_long >= DOWN_FOR_GOOD) {
            return Readiness::Dead { why: format!("{what} for {} s", so_long.as_secs()) };
        }
    }
    match &endpoint.answer {
        EndpointAnswer::Refused => Readiness::NotYet { why: NOT_LISTENING.into() },
        EndpointAnswer::Silent { why } => Readiness::Unknown { why: why.clone() },
        EndpointAnswer::Wrong { why } => Readiness::NotYet { why: why.clone() },
        EndpointAnswer::Up(_) => Readiness::NotYet { why: "it does not answer like an engine".into() },
        EndpointAnswer::Engine(engine) => {
            if let Err(why) = serves(group, engine)
                && engine.healthy
            {
                return Readiness::NotYet { why };
            }
            let gpu = observed.facts(group.head()).and_then(SparkFacts::gpu);
            match health::judge_engine(engine, gpu.and_then(|gpu| gpu.power_w), endpoint.at) {
                EngineJudgement::Dead if group.sign == Liveness::Container => {
                    Readiness::NotYet { why: "the engine reports that it is not well".into() }
                }
                EngineJudgement::Dead => Readiness::Dead { why: "the engine reports that it is dead".into() },
                EngineJudgement::Ready | EngineJudgement::Busy => Readiness::Ready,
                EngineJudgement::Unproven { why } => Readiness::NotYet { why: why.into() },
                EngineJudgement::Stalled { why } | EngineJudgement::Degraded { why } => {
                    Readiness::NotYet { why }
                }
            }
        }
    }
}

/// The engine says of what it serves for `group` which files it loaded. Where it does not, that it is the right one rests on its
/// names and on the words that it was started with.
pub fn tells_root(group: &LaunchSpec, engine: &EngineAnswer) -> bool {
    group.root.is_none()
        || engine.models.iter().all(|model| {
            model.root.is_some() || !group.served_as.iter().any(|name| model.id == name.as_str())
        })
}

/// Every name of `group` is served, and is what was to be loaded, as far as either is known.
///
/// # Errors
/// What is served instead.
pub fn serves(group: &LaunchSpec, engine: &EngineAnswer) -> Result<(), String> {
    for name in &group.served_as {
        let Some(model) = engine.models.iter().find(|model| model.id == name.as_str()) else {
            return Err(format!("`{name}` is not served"));
        };
        match (&model.root, &group.root) {
            (Some(found), Some(wanted)) if found != wanted => {
                return Err(format!("`{name}` is `{found}`, not `{wanted}`"));
            }
            // What an engine does not tell is taken to be so: its name is served, and its words say what it was told to load.
            _ => {}
        }
    }
    Ok(())
}
