//! Surveys of Sparks into a draft of their file: the fast network, the model that serves, what runs beside it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use crate::{
    core::{
        decide::recognise::{self, EngineOrigin},
        model::{
            command_line::EngineCommand,
            desired::ServiceKind,
            id::{ModelRoot, SeenClusterName, SeenContainerName, SeenImageRef},
            name::{ModelName, SparkName},
            observed::{LauncherSeen, is_ray},
        },
    },
    manifest::compose::Draft,
    probe::survey::SparkSurvey,
};

/// From this speed on a network is the one between Sparks.
const FABRIC_MBPS: u32 = 100_000;

/// What was seen, into the draft.
pub(super) fn take_in(draft: &mut Draft, surveys: &BTreeMap<SparkName, SparkSurvey>) {
    draft.cluster = cluster_of(surveys);
    fabric(draft, surveys);
    let mut engines = engines(surveys);
    // The one with the most ranks; of those with one, the first.
    engines.sort_by_key(|engine| (std::cmp::Reverse(engine.sparks.len()), engine.sparks[0].clone()));
    let mut taken: BTreeSet<(SparkName, SeenContainerName)> = BTreeSet::new();
    let mut main = None;
    for engine in &engines {
        taken.extend(engine.sparks.iter().map(|spark| (spark.clone(), engine.container.clone())));
        let ours = matches!(engine.origin, EngineOrigin::LaunchCluster | EngineOrigin::Docker);
        if main.is_none() && ours && take_model(draft, engine, surveys) {
            main = Some(engine.container.clone());
        } else {
            watch_engine(draft, engine, ours);
        }
    }
    for (spark, survey) in surveys {
        for container in survey.containers.iter().filter(|container| container.running) {
            if taken.contains(&(spark.clone(), container.name.clone())) {
                continue;
            }
            let Some((kind, usual)) = recognise::service(container.name.as_str(), container.image.as_str())
            else {
                continue;
            };
            // The published one, or the usual one of those on which something listens.
            let listens =
                survey.machine.platform.listening.as_ref().is_none_or(|ports| ports.contains(&usual));
            let port = container.published.first().copied().unwrap_or(usual);
            if container.published.is_empty() && !listens {
                draft.notes.push(format!(
                    "`{}` on {spark} seems to be of kind {}; its port is not known.",
                    container.name,
                    kind_name(kind)
                ));
                continue;
            }
            let known = draft.services.iter().any(|(_, entry)| {
                entry["spark"] == spark.as_str()
                    && (entry["port"] == port || entry["container"] == container.name.as_str())
            });
            if !known {
                let entry = json!({
                    "kind": kind_name(kind), "spark": spark, "port": port, "container": container.name,
                });
                add(draft, container.name.as_str(), entry);
            }
        }
    }
}

/// The cluster whose labels are on what runs there: of a controller whose file and store were lost. Of several, nobody knows which.
fn cluster_of(surveys: &BTreeMap<SparkName, SparkSurvey>) -> Option<String> {
    let containers = surveys.values().flat_map(|survey| &survey.containers);
    let labelled: BTreeSet<&SeenClusterName> =
        containers.filter_map(|container| Some(&container.labels.as_ref()?.cluster)).collect();
    match labelled.into_iter().collect::<Vec<_>>()[..] {
        [cluster] => Some(cluster.to_string()),
        _ => None,
    }
}

/// The fast network, when each Spark has exactly one with an address.
fn fabric(draft: &mut Draft, surveys: &BTreeMap<SparkName, SparkSurvey>) {
    if surveys.len() < 2 {
        return;
    }
    let mut found: BTreeMap<String, Json> = BTreeMap::new();
    for (name, survey) in surveys {
        let fast: Vec<_> = survey
            .machine
            .platform
            .interfaces
            .iter()
            .filter(|(_, interface)| {
                interface.is_up && interface.speed_mbps.is_some_and(|speed| speed >= FABRIC_MBPS)
            })
            .filter_map(|(name, interface)| Some((name, interface.addresses.first()?)))
            .collect();
        if let [(interface, ip)] = fast[..] {
            found.insert(name.to_string(), json!({ "ip": ip, "eth_if": interface }));
        }
    }
    if found.len() < surveys.len() {
        draft.notes.push(
            "Models on several Sparks need `fabric` for each Spark; which network it is could not be told."
                .into(),
        );
        return;
    }
    for (name, spark) in &mut draft.sparks {
        if let Some(fabric) = found.remove(name) {
            spark["fabric"] = fabric;
        }
    }
}

/// A model that serves, with all its ranks.
struct FoundEngine {
    container: SeenContainerName,
    image: SeenImageRef,
    origin: EngineOrigin,
    command: EngineCommand,
    /// Head first.
    sparks: Vec<SparkName>,
}

fn engines(surveys: &BTreeMap<SparkName, SparkSurvey>) -> Vec<FoundEngine> {
    let mut engines: Vec<FoundEngine> = Vec::new();
    let mut others: Vec<(&SparkName, SeenContainerName, u32, ModelRoot)> = Vec::new();
    for (spark, survey) in surveys {
        for container in &survey.containers {
            let Some(command) = survey.engines.get(&container.id) else { continue };
            if let Some(rank) = command.rank.filter(|rank| *rank > 0) {
                others.push((spark, container.name.clone(), rank, command.root.clone()));
                continue;
            }
            let first = container.processes.iter().flatten().min_by_key(|process| process.pid);
            let first = first.map_or("", |process| process.command.as_str());
            engines.push(FoundEngine {
                container: container.name.clone(),
                image: container.image.clone(),
                origin: EngineOrigin::of(container.name.as_str(), &container.label_names, first),
                command: command.clone(),
                sparks: vec![spark.clone()],
            });
        }
    }
    others.sort_by_key(|(_, _, rank, _)| *rank);
    for (spark, container, _, root) in others {
        let mut engines = engines.iter_mut();
        if let Some(engine) =
            engines.find(|engine| engine.container == container && engine.command.root == root)
        {
            engine.sparks.push(spark.clone());
        }
    }
    // Under Ray the other ranks have no engine process: a container of the same name and image that runs Ray.
    for engine in engines.iter_mut().filter(|engine| engine.command.ray) {
        let head = engine.sparks[0].clone();
        for (spark, survey) in surveys.iter().filter(|(spark, _)| **spark != head) {
            let rank = survey.containers.iter().any(|container| {
                container.name == engine.container
                    && container.image == engine.image
                    && container.runs(is_ray) == Some(true)
            });
            if rank {
                engine.sparks.push(spark.clone());
            }
        }
    }
    engines
}

/// Make it the main slot's model. False when the file has no words for it.
fn take_model(draft: &mut Draft, engine: &FoundEngine, surveys: &BTreeMap<SparkName, SparkSurvey>) -> bool {
    let command = &engine.command;
    let mut entry = match command.entry() {
        Ok(entry) => entry,
        Err(why) => {
            draft.notes.push(format!("`{}` is not written down as a model: {why}.", engine.container));
            return false;
        }
    };
    let served = command.served();
    let short = served[0].as_str().rsplit('/').next().unwrap_or_default();
    let short: String =
        short.chars().map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' }).collect();
    let Ok(name) = ModelName::new(short.trim_matches('-')).or_else(|_| ModelName::new("model")) else {
        return false;
    };
    entry.insert("sparks".into(), json!(engine.sparks));
    let checkout = surveys[&engine.sparks[0]].machine.launchers.get("spark-vllm-docker");
    let launcher = match engine.origin {
        EngineOrigin::Docker => json!({ "kind": "docker", "image": engine.image }),
        EngineOrigin::LaunchCluster | EngineOrigin::Sparkrun | EngineOrigin::Playbook => {
            if !matches!(checkout, Some(LauncherSeen::Present(_))) {
                draft.notes.push(format!(
                    "No `launch-cluster.sh` was found in ~/spark-vllm-docker of {}: set `vllm.launcher.dir`.",
                    engine.sparks[0]
                ));
            }
            let mut launcher =
                json!({ "kind": "launch-cluster", "dir": "spark-vllm-docker", "image": engine.image });
            if command.ray && engine.sparks.len() > 1 {
                launcher["ray"] = true.into();
            }
            launcher
        }
    };
    draft.vllm.insert("container".into(), engine.container.as_str().into());
    draft.vllm.insert("port".into(), command.port.into());
    draft.vllm.insert("launcher".into(), launcher);
    draft.models.retain(|(known, _)| known != name.as_str());
    draft.models.push((name.to_string(), entry.into()));
    draft.model = Some(name.to_string());
    draft.watched_instead = Some(watched(engine));
    true
}

/// The model that serves is only watched after all.
pub(super) fn watch_instead(draft: &mut Draft) {
    let Some(entry) = draft.watched_instead.take() else { return };
    for key in ["container", "port", "launcher"] {
        draft.vllm.remove(key);
    }
    let container = entry["container"].as_str().unwrap_or("engine").to_owned();
    draft
        .notes
        .push(format!("`{container}` serves in a way that this file has no words for: it is only watched."));
    add(draft, &container, entry);
}

fn watched(engine: &FoundEngine) -> Json {
    json!({
        "kind": "vllm", "spark": engine.sparks[0], "port": engine.command.port, "container": engine.container,
    })
}

/// Only watch it: another tool's, or a second one.
fn watch_engine(draft: &mut Draft, engine: &FoundEngine, ours: bool) {
    let spark = &engine.sparks[0];
    if !ours {
        draft.notes.push(format!(
            "`{}` on {spark} was started by {}: it is watched and never touched.",
            engine.container,
            engine.origin.name()
        ));
    }
    add(draft, engine.container.as_str(), watched(engine));
}

/// A service under a name that is free, and not the main slot's.
fn add(draft: &mut Draft, container: &str, entry: Json) {
    let mut name = container.to_owned();
    let mut number = 2;
    while name == "vllm" || draft.services.iter().any(|(known, _)| *known == name) {
        name = format!("{container}-{number}");
        number += 1;
    }
    draft.services.push((name, entry));
}

/// As the file names it.
pub(super) fn kind_name(kind: ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Vllm => "vllm",
        ServiceKind::Asr => "asr",
        ServiceKind::Diarization => "diarization",
        ServiceKind::Tts => "tts",
        ServiceKind::Embeddings => "embeddings",
        ServiceKind::Rerank => "rerank",
        ServiceKind::Qdrant => "qdrant",
        ServiceKind::RedactionNer => "redaction-ner",
        ServiceKind::Bot => "bot",
        ServiceKind::Http => "http",
    }
}
