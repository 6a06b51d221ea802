//! Looking: all Sparks and endpoints at once, a deadline each. Decides nothing and changes nothing.

pub mod audit;
pub mod bots;
pub mod deep;
pub mod endpoint;
pub mod engine;
pub mod floor;
pub mod http;
pub mod machine;
pub mod proof;
pub mod recipes;
pub mod survey;
pub mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use jiff::Timestamp;

use crate::{
    core::{
        desired::{Desired, Effective, Object, Place, Source, Wanted},
        group::Group,
        label,
        launcher::{How, Launcher},
        ledger::Ledger,
        name::{ContainerName, SparkName},
        observed::{Endpoint, Facts, LoadSeen, Observed, SparkView},
        progress, ready, schedule,
    },
    docker,
    host::{SharedTransport, Transport, Unreachable},
    launcher::recipe,
};

/// For one Spark, everything included. A starved host may take seconds for a process start.
const SPARK_DEADLINE: Duration = Duration::from_secs(15);

/// The engine's wrapper traceback alone has 40; every rank has its own.
const LOAD_LINES: u32 = 400;
const LOG_DEADLINE: Duration = Duration::from_secs(5);

/// What is looked with.
#[derive(Clone, Copy)]
pub struct Eyes<'a> {
    pub transports: &'a BTreeMap<SparkName, SharedTransport>,
    /// The sessions of bots' users that are to be looked into.
    pub sessions: &'a BTreeMap<Object, SharedTransport>,
    pub http: &'a Arc<dyn http::Http>,
    pub proofs: &'a proof::Proofs,
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
    let Eyes { transports, sessions, .. } = eyes;
    let names = container_names(desired);
    let images = images(desired);
    let looking = desired.sparks.keys().map(|name| {
        let (names, images, now) = (&names, &images, &now);
        async move {
            let result = match transports.get(name) {
                Some(transport) => {
                    let asking = facts(transport.as_ref(), desired, ledger, name, names, images, now());
                    let late = Err(Unreachable::Deadline(SPARK_DEADLINE));
                    tokio::time::timeout(SPARK_DEADLINE, asking).await.unwrap_or(late)
                }
                None => Err(Unreachable::Connection("there is no way to it yet".into())),
            };
            (name.clone(), view(name, result, previous, now()))
        }
    });
    let sparks: BTreeMap<SparkName, SparkView> = join_all(looking).await.into_iter().collect();
    let mut observed = Observed {
        at: now(),
        sparks,
        endpoints: BTreeMap::new(),
        loads: BTreeMap::new(),
        bots: BTreeMap::new(),
        unreadable_secrets: BTreeMap::new(),
    };
    let (endpoints, loads, bots) = tokio::join!(
        endpoints(desired, ledger, &observed, eyes, previous, &now),
        loads(desired, ledger, &observed, transports),
        bots::observe(desired.cluster.as_str(), sessions, &now)
    );
    observed.bots = bots;
    observed.endpoints = endpoints;
    observed.loads = loads;
    observed
}

/// What the ranks of models that load say by now.
async fn loads(
    desired: &Desired,
    ledger: &Ledger,
    observed: &Observed,
    transports: &BTreeMap<SparkName, SharedTransport>,
) -> BTreeMap<Object, BTreeMap<SparkName, LoadSeen>> {
    let loading = ledger.launches.iter().filter(|(object, _)| ledger.is_loading(object));
    let ranks = loading.flat_map(|(object, launch)| {
        launch.group.sparks.iter().filter_map(move |spark| {
            let group = &launch.group;
            // What the owner's own program starts need not be known as ours yet.
            let named = || observed.facts(spark)?.container(group.container.as_str());
            let container = ready::rank(object, group, spark, desired, observed, ledger).or_else(named)?;
            Some((object, spark, container.id.clone(), transports.get(spark)?, group.log.as_ref()))
        })
    });
    let reading = ranks.map(|(object, spark, container, way, file)| async move {
        let way = way.as_ref();
        let log = words::last(way, desired, spark, &container, file, LOAD_LINES, LOG_DEADLINE).await.ok()?;
        let progress = progress::read(&log);
        Some((object.clone(), spark.clone(), LoadSeen { container, progress, log: log.into() }))
    });
    let mut loads: BTreeMap<Object, BTreeMap<SparkName, LoadSeen>> = BTreeMap::new();
    for (object, spark, seen) in join_all(reading).await.into_iter().flatten() {
        loads.entry(object).or_default().insert(spark, seen);
    }
    loads
}

/// Ask the endpoints alone. `observed` says which containers are there.
pub async fn endpoints(
    desired: &Desired,
    ledger: &Ledger,
    observed: &Observed,
    eyes: Eyes<'_>,
    previous: Option<&Observed>,
    now: &(impl Fn() -> Timestamp + Sync),
) -> BTreeMap<Object, Endpoint> {
    let Eyes { http, proofs, .. } = eyes;
    let targets = targets(desired, ledger, observed, now());
    let probing = targets.into_iter().map(|(object, target)| async move {
        let last = previous.and_then(|previous| previous.endpoints.get(&object)).cloned();
        let asker = endpoint::Asker { object: &object, http, proofs };
        let endpoint = endpoint::probe(asker, &target, last.as_ref(), now()).await;
        (object, endpoint)
    });
    join_all(probing).await.into_iter().collect()
}

fn container_names(desired: &Desired) -> BTreeSet<String> {
    let slots = desired.slots.values().map(|slot| slot.container.to_string());
    let services = desired.services.iter().filter(|(name, _)| !desired.disabled.contains(*name));
    slots
        .chain(services.filter_map(|(_, service)| service.container.as_ref().map(ToString::to_string)))
        .collect()
}

/// What the file makes worth looking for on this Spark: in its file system, and in recipes.
fn asked(
    desired: &Desired,
    ledger: &Ledger,
    spark: &SparkName,
    now: Timestamp,
) -> (machine::Asked, Vec<recipes::DryRun>) {
    let models = desired.models.values();
    let launchers: Vec<&Launcher> = desired
        .slots
        .values()
        .map(|slot| &slot.launcher)
        .chain(models.clone().filter_map(|model| model.launcher.as_ref()))
        .collect();
    let checkouts = launchers.iter().filter_map(|launcher| match &launcher.how {
        How::LaunchCluster { dir, .. } | How::Recipe { dir, .. } => Some(dir.to_string()),
        How::Docker { .. } | How::Sparkrun { .. } | How::Command { .. } => None,
    });
    let programs = launchers.iter().flat_map(|launcher| launcher.how.programs());
    let here = models.filter(|model| model.sparks.contains(spark));
    let paths = here.filter_map(|model| match &model.source {
        Source::LocalPath(path) => Some(path.to_string()),
        Source::Repo { .. } | Source::Recipe(_) => None,
    });
    // What is under way or serves has been looked at.
    let waited_for: Vec<Effective<'_>> = desired
        .slots
        .iter()
        .filter_map(|(object, slot)| {
            let Wanted::Model(name) = schedule::wanted(object, slot, desired, now) else { return None };
            let effective = desired.effective(slot, &name)?;
            let is_started = ledger.launched(object).is_some_and(|group| group.spec == effective.spec_hash());
            (!is_started).then_some(effective)
        })
        .collect();
    let recipes = waited_for.iter().filter_map(|effective| {
        let (How::Recipe { dir, .. }, Source::Recipe(recipe)) =
            (&effective.launcher.how, &effective.model.source)
        else {
            return None;
        };
        (effective.model.sparks[0] == *spark).then(|| recipes::DryRun {
            key: format!("{dir}/{recipe}"),
            dir: dir.to_string(),
            names_nodes: recipe::names_nodes(effective, desired),
            words: recipe::dry_run(effective, desired),
        })
    });
    let here = waited_for.iter().filter(|effective| effective.model.sparks.contains(spark));
    let entries = here.flat_map(|effective| {
        let is_head = effective.model.sparks[0] == *spark;
        effective.needed().into_iter().filter(move |needed| is_head || !needed.on_head)
    });
    let entries: BTreeSet<machine::Entry> =
        entries.map(|needed| machine::Entry { key: needed.name, at: needed.at }).collect();
    let waited_for = waited_for.iter().map(|effective| effective.model);
    let kept = desired.models.values().filter(|model| model.weights.is_some());
    let caches = waited_for.chain(kept).filter(|model| model.sparks.contains(spark));
    let caches = caches.filter_map(|model| match &model.source {
        Source::Repo { repo, revision } => Some(machine::Cached {
            key: model.source.cache_key()?,
            repo: repo.to_string(),
            revision: revision.clone(),
        }),
        Source::LocalPath(_) | Source::Recipe(_) => None,
    });
    let asked = machine::Asked {
        hf_home: desired.sparks.get(spark).and_then(|spark| spark.hf_home.as_ref()).map(ToString::to_string),
        caches: caches.collect::<BTreeSet<_>>().into_iter().collect(),
        paths: paths.collect::<BTreeSet<_>>().into_iter().collect(),
        launchers: checkouts.collect::<BTreeSet<_>>().into_iter().collect(),
        programs: programs.collect::<BTreeSet<_>>().into_iter().collect(),
        entries: entries.into_iter().collect(),
    };
    (asked, recipes.collect())
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
    ledger: &Ledger,
    name: &SparkName,
    names: &BTreeSet<String>,
    images: &BTreeSet<String>,
    at: Timestamp,
) -> Result<Facts, Unreachable> {
    let (asked, recipes) = asked(desired, ledger, name, at);
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
    let (machine, recipes, containers, image_ids) = tokio::join!(
        machine::probe(transport, desired.cluster.as_str(), &asked, SPARK_DEADLINE),
        recipes::probe(transport, &recipes),
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
        platform: machine.platform,
        gpu: machine.gpu,
        containers: containers?,
        images: image_ids.into_iter().collect::<Result<_, _>>()?,
        paths: machine.paths,
        caches: machine.caches,
        launchers: machine.launchers,
        programs: machine.programs,
        entries: machine.entries,
        recipes,
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
        let rank = group
            .as_ref()
            .filter(|group| group.is_labelled)
            .and_then(|group| ready::rank(object, group, group.head(), desired, observed, ledger));
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
        let named = || container_id(observed, spark, Some(&slot.container));
        targets.push((
            object.clone(),
            endpoint::Target {
                address: place.address.to_string(),
                port: group.as_ref().map_or(slot.port, |group| group.port),
                https: false,
                ask: endpoint::Ask::Engine(engine::Engine {
                    served: group.as_ref().map(|group| group.served_as[0].to_string()),
                    container: rank.map(|container| container.id.clone()).or_else(named),
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
        let engine = engine::Engine { served: None, container, api_key: service.api_key.clone() };
        let path = service.path.as_ref().map(|path| path.as_str());
        let ask = endpoint::Ask::of(service.kind, path, engine);
        targets.push((Object::service(name), endpoint::Target { address, port, https: service.https, ask }));
    }
    targets
}
