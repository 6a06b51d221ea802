//! Looking: all Sparks and endpoints at once, a deadline each. Decides nothing and changes nothing.

pub mod completion;
pub mod endpoint;
pub mod http;
pub mod machine;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use jiff::Timestamp;

use crate::{
    core::{
        desired::{Desired, Object, Place, Source, Wanted},
        group::Group,
        label,
        ledger::Ledger,
        name::{ContainerName, PlainPath, SparkName},
        observed::{Endpoint, Facts, Observed, SparkView},
        schedule,
    },
    docker,
    host::{SharedTransport, Transport, Unreachable},
};

/// For one Spark, everything included. A starved host may take seconds for a process start.
const SPARK_DEADLINE: Duration = Duration::from_secs(15);

/// What is looked with.
#[derive(Clone, Copy)]
pub struct Eyes<'a> {
    pub transports: &'a BTreeMap<SparkName, SharedTransport>,
    pub http: &'a Arc<dyn http::Http>,
    pub completions: &'a completion::Completions,
}

/// Look at everything that `desired` names. `previous` supplies last known facts and recent completions; `ledger` which
/// model a slot was last started with, because that one answers there until it is stopped.
pub async fn observe(
    desired: &Desired,
    ledger: &Ledger,
    eyes: Eyes<'_>,
    previous: Option<&Observed>,
    now: impl Fn() -> Timestamp + Sync,
) -> Observed {
    let Eyes { transports, http, completions } = eyes;
    let names = container_names(desired);
    let images = images(desired);
    let looking = desired.sparks.keys().map(|name| {
        let (names, images, now) = (&names, &images, &now);
        async move {
            let result = match transports.get(name) {
                Some(transport) => {
                    let asking = facts(transport.as_ref(), desired, name, names, images, now());
                    let late = Err(Unreachable::Deadline(SPARK_DEADLINE));
                    tokio::time::timeout(SPARK_DEADLINE, asking).await.unwrap_or(late)
                }
                None => Err(Unreachable::Connection("there is no way to it yet".into())),
            };
            (name.clone(), view(name, result, previous, now()))
        }
    });
    let sparks: BTreeMap<SparkName, SparkView> = join_all(looking).await.into_iter().collect();
    let mut observed =
        Observed { at: now(), sparks, endpoints: BTreeMap::new(), unreadable_secrets: BTreeMap::new() };
    let targets = targets(desired, ledger, &observed, now());
    let probing = targets.into_iter().map(|(object, target)| {
        let last = previous.and_then(|previous| previous.endpoints.get(&object)).cloned();
        let now = &now;
        async move {
            let at = now();
            let asker = endpoint::Asker { object: &object, http, completions };
            let answer = endpoint::probe(asker, &target, last.as_ref(), at).await;
            (object, Endpoint { at, answer })
        }
    });
    observed.endpoints = join_all(probing).await.into_iter().collect();
    observed
}

fn container_names(desired: &Desired) -> BTreeSet<String> {
    let slots = desired.slots.values().map(|slot| slot.container.to_string());
    let services = desired.services.iter().filter(|(name, _)| !desired.disabled.contains(*name));
    slots
        .chain(services.filter_map(|(_, service)| service.container.as_ref().map(ToString::to_string)))
        .collect()
}

fn launchers(desired: &Desired) -> BTreeSet<&PlainPath> {
    let of_models = desired.models.values().filter_map(|model| model.launcher.as_ref());
    desired.slots.values().map(|slot| &slot.launcher).chain(of_models).map(|launcher| &launcher.dir).collect()
}

fn images(desired: &Desired) -> BTreeSet<String> {
    let mut images = BTreeSet::new();
    for slot in desired.slots.values() {
        for model in desired.models.keys() {
            images.extend(desired.effective(slot, model).map(|effective| effective.image.to_string()));
        }
    }
    images
}

async fn facts(
    transport: &dyn Transport,
    desired: &Desired,
    name: &SparkName,
    names: &BTreeSet<String>,
    images: &BTreeSet<String>,
    at: Timestamp,
) -> Result<Facts, Unreachable> {
    let paths: Vec<&str> = desired
        .models
        .values()
        .filter(|model| model.sparks.contains(name))
        .filter_map(|model| match &model.source {
            Source::LocalPath(path) => Some(path.as_str()),
            Source::Repo { .. } => None,
        })
        .collect();
    let launchers: Vec<&str> = launchers(desired).into_iter().map(PlainPath::as_str).collect();
    // Those of the file, ours under whatever name, and what runs from an engine's image.
    let inside = |listed: &docker::wire::Listed| {
        names.contains(&listed.name())
            || listed.labels.get(label::CLUSTER).is_some_and(|cluster| cluster == desired.cluster.as_str())
            || images.contains(&listed.image)
            || listed.image.strip_suffix(":latest").is_some_and(|image| images.contains(image))
    };
    let image_ids = join_all(images.iter().map(|image| async move {
        let id = docker::image_id(transport, image, SPARK_DEADLINE).await?;
        Ok::<_, Unreachable>((image.clone(), id))
    }));
    let (machine, containers, image_ids) = tokio::join!(
        machine::probe(transport, desired.cluster.as_str(), &paths, &launchers, SPARK_DEADLINE),
        docker::containers(transport, &inside, SPARK_DEADLINE),
        image_ids,
    );
    let machine = machine?;
    Ok(Facts {
        at,
        boot_id: machine.boot_id,
        uptime_secs: machine.uptime_secs,
        memory_total_bytes: machine.memory_total_bytes,
        memory_available_bytes: machine.memory_available_bytes,
        gpu: machine.gpu,
        containers: containers?,
        images: image_ids.into_iter().collect::<Result<_, _>>()?,
        paths: machine.paths,
        launchers: machine.launchers,
        jobs: machine.jobs,
        token: machine.token,
    })
}

fn view(
    name: &SparkName,
    result: Result<Facts, Unreachable>,
    previous: Option<&Observed>,
    now: Timestamp,
) -> SparkView {
    match (result, previous.and_then(|previous| previous.sparks.get(name))) {
        (Ok(facts), _) => SparkView::Reachable(Box::new(facts)),
        (Err(why), Some(SparkView::Unreachable { since, last, .. })) => {
            SparkView::Unreachable { since: *since, why: why.to_string(), last: last.clone() }
        }
        (Err(why), Some(SparkView::Reachable(facts))) => {
            SparkView::Unreachable { since: now, why: why.to_string(), last: Some(facts.clone()) }
        }
        (Err(why), None) => SparkView::Unreachable { since: now, why: why.to_string(), last: None },
    }
}

fn container_id(observed: &Observed, spark: &SparkName, name: Option<&ContainerName>) -> Option<String> {
    let container = observed.facts(spark)?.container(name?.as_str())?;
    Some(container.id.clone())
}

/// What to ask over HTTP. Endpoints of Sparks that did not answer are asked too: the two can fail apart.
fn targets(
    desired: &Desired,
    ledger: &Ledger,
    observed: &Observed,
    now: Timestamp,
) -> Vec<(Object, endpoint::Target)> {
    let mut targets = Vec::new();
    for (object, slot) in &desired.slots {
        let launched = ledger.launched(object).cloned();
        let group = launched.or_else(|| match schedule::wanted(object, slot, desired, now) {
            Wanted::Model(name) => desired.effective(slot, &name).map(|effective| effective.group()),
            Wanted::Watch | Wanted::Nothing => None,
        });
        let standing = slot.sparks.iter().find(|spark| {
            observed
                .facts(spark)
                .and_then(|facts| facts.container(slot.container.as_str()))
                .is_some_and(|c| c.running)
        });
        let spark = group.as_ref().map(Group::head).or(standing);
        // A Spark that was taken out of the file has no address any more.
        let Some((spark, place)) = spark.and_then(|spark| desired.sparks.get_key_value(spark)) else {
            continue;
        };
        targets.push((
            object.clone(),
            endpoint::Target {
                address: place.address.to_string(),
                port: group.as_ref().map_or(slot.port, |group| group.port),
                https: false,
                ask: endpoint::Ask::Engine(endpoint::Engine {
                    served: group.as_ref().map(|group| group.served_as[0].to_string()),
                    container: container_id(observed, spark, Some(&slot.container)),
                    api_key: slot.api_key.clone(),
                }),
            },
        ));
    }
    for (name, service) in &desired.services {
        let Some(port) = service.port else { continue };
        if desired.disabled.contains(name) {
            continue;
        }
        let (address, container) = match &service.place {
            Place::Spark(spark) => {
                let container = container_id(observed, spark, service.container.as_ref());
                (desired.sparks[spark].address.to_string(), container)
            }
            Place::Elsewhere(address) => (address.to_string(), None),
        };
        let engine = endpoint::Engine { served: None, container, api_key: service.api_key.clone() };
        let path = service.path.as_ref().map(|path| path.as_str());
        let ask = endpoint::Ask::of(service.kind, path, engine);
        targets.push((Object::service(name), endpoint::Target { address, port, https: service.https, ask }));
    }
    targets
}
