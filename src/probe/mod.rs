//! Looking: all Sparks and endpoints at once, a deadline each. Decides nothing and changes nothing.

pub mod audit;
pub mod container_log;
pub mod endpoint;
pub mod engine;
pub mod floor;
pub mod functional_checks;
pub mod http;
pub mod jobs;
pub mod launchers;
pub mod machine;
pub mod pending_checks;
pub mod socket;
pub mod survey;

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures_util::future::{FutureExt, join_all};
use jiff::Timestamp;

use crate::{
    core::{
        decide::{
            readiness, schedule,
            serving::{self, Backend},
            view::View,
        },
        model::{
            container_end::ContainerEnd,
            desired::{Desired, WantedModel},
            label,
            launch::LaunchState,
            launch_spec::LaunchSpec,
            launcher::Start,
            ledger::Ledger,
            model_source::ModelSource,
            name::{PlainPath, SparkName},
            object::Object,
            observed::{Endpoint, EndpointAnswer, LoadSeen, Observed, SparkFacts, SparkView},
            progress,
            resolved_model::ResolvedModel,
        },
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
/// Below that of the Spark: that only its Engine hangs can be told then.
const ENGINE_DEADLINE: Duration = Duration::from_secs(9);

/// What is looked with.
#[derive(Clone, Copy)]
pub struct ProbeContext<'a> {
    pub transports: &'a BTreeMap<SparkName, SharedTransport>,
    /// The sessions of bots' users that are to be looked into.
    pub sessions: &'a BTreeMap<Object, SharedTransport>,
    pub http: &'a Arc<dyn http::Http>,
    pub proofs: &'a pending_checks::PendingChecks,
}

/// Look at everything that `desired` names. `previous` supplies last known facts and recent completions; `ledger` which
/// model a slot was last started with, because that one answers there until it is stopped.
pub async fn observe(
    desired: &Desired,
    ledger: &Ledger,
    eyes: ProbeContext<'_>,
    previous: Option<&Observed>,
    now: impl Fn() -> Timestamp + Sync,
) -> Observed {
    let ProbeContext { transports, sessions, .. } = eyes;
    let names = container_names(desired);
    let images = images(desired);
    let looking = desired.sparks.iter().map(|(name, spark)| {
        let (names, images, now) = (&names, &images, &now);
        async move {
            let result = match transports.get(name) {
                Some(transport) => {
                    let way = transport.as_ref();
                    let asking = facts(way, desired, ledger, name, names, images, now());
                    // What one Spark says must not end the look at the others.
                    let asking = AssertUnwindSafe(asking).catch_unwind();
                    let seen = match tokio::time::timeout(SPARK_DEADLINE, asking).await {
                        Ok(Ok(seen)) => seen,
                        Ok(Err(_)) => Err(Unreachable::Bug),
                        Err(_) => Err(Unreachable::Deadline(SPARK_DEADLINE)),
                    };
                    match seen {
                        Err(why) => Err(socket::told(way, spark.docker_socket.as_str(), why).await),
                        seen => seen,
                    }
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
        ended: BTreeMap::new(),
        bots: BTreeMap::new(),
        front_doors: BTreeMap::new(),
        unreadable_secrets: BTreeMap::new(),
    };
    let (endpoints, loads, ended, bots) = tokio::join!(
        endpoints(desired, ledger, &observed, eyes, previous, &now),
        loads(desired, ledger, &observed, transports),
        ended(desired, ledger, &observed, previous, transports),
        jobs::observe(desired.cluster.as_str(), sessions, &now)
    );
    observed.bots = bots;
    observed.endpoints = endpoints;
    observed.loads = loads;
    observed.ended = ended;
    observed
}

/// What the ranks of models that load say by now, and those of models that served and do not any more.
async fn loads(
    desired: &Desired,
    ledger: &Ledger,
    observed: &Observed,
    transports: &BTreeMap<SparkName, SharedTransport>,
) -> BTreeMap<Object, BTreeMap<SparkName, LoadSeen>> {
    let view = View { desired, observed, ledger, now: observed.at };
    let heard = ledger.launches().filter(|(object, launch)| {
        ledger.is_loading(object)
            || matches!(launch.state, LaunchState::Serving { .. }) && has_ended(object, &launch.group, view)
    });
    let ranks = heard.flat_map(|(object, launch)| {
        launch.group.sparks.iter().filter_map(move |spark| {
            let group = &launch.group;
            // What the owner's own program starts need not be known as ours yet.
            let container = readiness::rank(object, group, spark, view)
                .or_else(|| observed.facts(spark)?.container(group.container.as_str()))?;
            Some((object, spark, container.id.clone(), transports.get(spark)?, group.log.as_ref()))
        })
    });
    let reading = ranks.map(|(object, spark, container, way, file)| async move {
        let way = way.as_ref();
        let log = container_log::last(way, desired, spark, &container, file, LOAD_LINES, LOG_DEADLINE)
            .await
            .ok()?;
        let progress = progress::read(&log);
        Some((object.clone(), spark.clone(), LoadSeen { container, progress, log: log.into() }))
    });
    let mut loads: BTreeMap<Object, BTreeMap<SparkName, LoadSeen>> = BTreeMap::new();
    for (object, spark, seen) in join_all(reading).await.into_iter().flatten() {
        loads.entry(object).or_default().insert(spark, seen);
    }
    loads
}

/// The engine of a rank is seen not to run any more.
fn has_ended(object: &Object, group: &LaunchSpec, view: View<'_>) -> bool {
    group.sparks.iter().any(|spark| {
        let rank = readiness::rank(object, group, spark, view);
        rank.is_some_and(|rank| group.is_alive(spark, rank) == Some(false))
    })
}

/// How ranks ended that ran at the look before. A launcher that starts with `--rm`, and a person who removes a container, leave nothing
/// else that tells; and what is being removed is seen for a moment without its log.
async fn ended(
    desired: &Desired,
    ledger: &Ledger,
    observed: &Observed,
    previous: Option<&Observed>,
    transports: &BTreeMap<SparkName, SharedTransport>,
) -> BTreeMap<Object, BTreeMap<SparkName, ContainerEnd>> {
    let running = ledger
        .launches()
        .filter(|(_, launch)| matches!(launch.state, LaunchState::Loading | LaunchState::Serving { .. }));
    let gone = running.flat_map(|(object, launch)| {
        launch.group.sparks.iter().filter_map(move |spark| {
            let facts = observed.facts(spark)?;
            let stood = readiness::rank(
                object,
                &launch.group,
                spark,
                View { desired, observed: previous?, ledger, now: observed.at },
            )?;
            let still_runs =
                facts.containers.iter().any(|container| container.id == stood.id && container.running);
            (stood.running && !still_runs).then_some((
                object,
                spark,
                stood.id.clone(),
                transports.get(spark)?,
            ))
        })
    });
    let asking = gone.map(|(object, spark, container, way)| async move {
        let end = docker::end_of(way.as_ref(), &container, LOG_DEADLINE).await.ok()??;
        Some((object.clone(), spark.clone(), end))
    });
    let mut ended: BTreeMap<Object, BTreeMap<SparkName, ContainerEnd>> = BTreeMap::new();
    for (object, spark, end) in join_all(asking).await.into_iter().flatten() {
        ended.entry(object).or_default().insert(spark, end);
    }
    ended
}

/// Ask the endpoints alone. `observed` says which containers are there.
pub async fn endpoints(
    desired: &Desired,
    ledger: &Ledger,
    observed: &Observed,
    eyes: ProbeContext<'_>,
    previous: Option<&Observed>,
    now: &(impl Fn() -> Timestamp + Sync),
) -> BTreeMap<Object, Endpoint> {
    let targets = targets(desired, ledger, observed, now());
    let probing = targets.into_iter().map(|(object, target)| async move {
        let endpoint = ask(&object, &target, eyes, previous, now).await;
        (object, endpoint)
    });
    join_all(probing).await.into_iter().collect()
}

/// Ask one of them.
pub async fn endpoint_of(
    object: &Object,
    desired: &Desired,
    ledger: &Ledger,
    observed: &Observed,
    eyes: ProbeContext<'_>,
    previous: Option<&Observed>,
    now: &(impl Fn() -> Timestamp + Sync),
) -> Option<Endpoint> {
    let targets = targets(desired, ledger, observed, now());
    let (object, target) = targets.into_iter().find(|(known, _)| known == object)?;
    Some(ask(&object, &target, eyes, previous, now).await)
}

async fn ask(
    object: &Object,
    target: &endpoint::EndpointTarget,
    eyes: ProbeContext<'_>,
    previous: Option<&Observed>,
    now: &(impl Fn() -> Timestamp + Sync),
) -> Endpoint {
    let last = previous.and_then(|previous| previous.endpoints.get(object)).cloned();
    let asker = pending_checks::EndpointProbe { object, http: eyes.http, proofs: eyes.proofs };
    let at = now();
    let asking = AssertUnwindSafe(endpoint::probe(asker, target, last.as_ref(), at)).catch_unwind();
    asking.await.unwrap_or_else(|_| {
        let answer = EndpointAnswer::Silent { why: Unreachable::Bug.to_string() };
        Endpoint { at, since: at, answer }
    })
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
) -> (machine::ProbeRequest, launchers::LauncherQuestions) {
    let starts = desired.starts();
    let checkouts = starts.iter().filter_map(|start| Some(start.checkout()?.dir.to_string()));
    let programs = starts.iter().flat_map(Start::programs);
    let wanted = desired.slots.iter().filter_map(|(object, slot)| {
        let WantedModel::Model(name) = schedule::wanted(object, slot, desired, now) else { return None };
        Some((object, desired.resolved_model(slot, &name)?))
    });
    let wanted: Vec<(&Object, ResolvedModel<'_>)> = wanted.collect();
    // What is under way or serves has been looked at. Of what loads a recipe still says how much memory it needs.
    let to_be_read = wanted
        .iter()
        .filter(|(object, effective)| is_waited_for(object, effective, ledger) || ledger.is_loading(object));
    let recipes = to_be_read.filter_map(|(_, effective)| {
        let (recipe, dir) = effective.start.recipe_of_checkout()?;
        (effective.model.sparks[0] == *spark).then(|| launchers::RecipeDryRun {
            key: format!("{dir}/{recipe}"),
            dir: dir.to_string(),
            names_nodes: recipe::names_nodes(effective, desired),
            words: recipe::dry_run(recipe, effective, desired),
        })
    });
    let waited_for = wanted
        .iter()
        .filter(|(object, effective)| is_waited_for(object, effective, ledger))
        .map(|(_, effective)| effective);
    let on_this_head = waited_for.clone().filter(|effective| effective.model.sparks[0] == *spark);
    let sparkruns = on_this_head.filter_map(|effective| effective.start.sparkrun().map(ToString::to_string));
    let sparkruns: BTreeSet<String> = sparkruns.collect();
    let here = waited_for.clone().filter(|effective| effective.model.sparks.contains(spark));
    let entries = here.flat_map(|effective| {
        let is_head = effective.model.sparks[0] == *spark;
        effective.needed().into_iter().filter(move |needed| is_head || !needed.on_head)
    });
    let entries: BTreeSet<machine::PathToFind> =
        entries.map(|needed| machine::PathToFind { key: needed.name, at: needed.at }).collect();
    let waited_for = waited_for.map(|effective| effective.model);
    let kept = desired.models.values().filter(|model| model.weights.is_some());
    let own = desired.models.values().filter(|model| matches!(model.source, ModelSource::LocalPath(_)));
    let here = waited_for.chain(kept).chain(own).filter(|model| model.sparks.contains(spark));
    let files = here.filter_map(|model| {
        let at = match &model.source {
            ModelSource::Repo { repo, revision } => {
                machine::FilesAt::Cache { repo: repo.on_hub()?.to_owned(), revision: revision.clone() }
            }
            ModelSource::LocalPath(path) => machine::FilesAt::Path(path.to_string()),
            ModelSource::Recipe(_) => return None,
        };
        let tokenizer = ["tokenizer", "skip-tokenizer-init", "tokenizer-mode"];
        let tokenizer_elsewhere = model.args.keys().any(|flag| tokenizer.contains(&flag.as_str()));
        Some(machine::FilesToFind { key: model.source.files_key()?, at, tokenizer_elsewhere })
    });
    let asked = machine::ProbeRequest {
        hf_home: desired.sparks.get(spark).and_then(|spark| spark.hf_home.as_ref()).map(ToString::to_string),
        files: files.collect::<BTreeSet<_>>().into_iter().collect(),
        launchers: checkouts.collect::<BTreeSet<_>>().into_iter().collect(),
        programs: programs.collect::<BTreeSet<_>>().into_iter().collect(),
        entries: entries.into_iter().collect(),
    };
    (asked, launchers::LauncherQuestions { recipes: recipes.collect(), sparkruns })
}

/// The model is yet to be started, as far as is known.
fn is_waited_for(object: &Object, effective: &ResolvedModel<'_>, ledger: &Ledger) -> bool {
    ledger.launched(object).is_none_or(|group| group.spec != effective.spec_hash())
}

fn images(desired: &Desired) -> BTreeSet<String> {
    let mut images = BTreeSet::new();
    for slot in desired.slots.values() {
        for model in desired.models.keys() {
            images.extend(desired.resolved_model(slot, model).map(|effective| effective.image.to_string()));
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
) -> Result<SparkFacts, Unreachable> {
    let (asked, questions) = asked(desired, ledger, name, at);
    // Those of the file, ours under whatever name, and what runs from an engine's image.
    let inside = |listed: &docker::wire::ContainerSummary| {
        names.contains(&listed.name())
            || listed.labels.get(label::CLUSTER).is_some_and(|cluster| cluster == desired.cluster.as_str())
            || images.contains(&listed.image)
            || listed.image.strip_suffix(":latest").is_some_and(|image| images.contains(image))
    };
    let images = join_all(images.iter().map(|image| async move {
        let seen = docker::image(transport, image, ENGINE_DEADLINE).await?;
        Ok::<_, Unreachable>((image.clone(), seen))
    }));
    let (machine, answers, containers, images) = tokio::join!(
        machine::probe(transport, desired.cluster.as_str(), &asked, SPARK_DEADLINE),
        launchers::probe(transport, &questions),
        docker::containers(transport, &inside, ENGINE_DEADLINE),
        images,
    );
    let machine = machine?;
    Ok(SparkFacts {
        at,
        boot_id: machine.boot_id,
        uptime_secs: machine.uptime_secs,
        memory_total_bytes: machine.memory_total_bytes,
        memory_available_bytes: machine.memory_available_bytes,
        platform: machine.platform,
        gpu: machine.gpu,
        containers: containers.map_err(of_engine)?,
        images: images.into_iter().collect::<Result<_, _>>().map_err(of_engine)?,
        files: machine.files,
        launchers: machine.launchers.into_iter().chain(answers.sparkruns).collect(),
        programs: machine.programs,
        entries: machine.entries,
        recipes: answers.recipes,
        jobs: machine.jobs,
        token: machine.token,
    })
}

/// The Spark itself has answered.
fn of_engine(why: Unreachable) -> Unreachable {
    match why {
        Unreachable::Deadline(limit) => {
            Unreachable::Engine(format!("no answer within {} s", limit.as_secs()))
        }
        why => why,
    }
}

fn view(
    name: &SparkName,
    result: Result<SparkFacts, Unreachable>,
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

/// What to ask over HTTP. Endpoints of Sparks that did not answer are asked too: the two can fail apart.
fn targets(
    desired: &Desired,
    ledger: &Ledger,
    observed: &Observed,
    now: Timestamp,
) -> Vec<(Object, endpoint::EndpointTarget)> {
    let backends = serving::backends(View { desired, observed, ledger, now }, None).into_iter();
    backends.filter(|backend| backend.state.is_asked()).map(|backend| target(backend, desired)).collect()
}

fn target(backend: Backend, desired: &Desired) -> (Object, endpoint::EndpointTarget) {
    let url = backend.base_url();
    let Backend { object, kind, served_as, container, api_key, .. } = backend;
    let served = served_as.first().map(ToString::to_string);
    let service = object.as_service().filter(|_| !desired.slots.contains_key(&object));
    let path = service.and_then(|name| desired.services.get(name)?.path.as_ref());
    let engine = engine::EngineToAsk { served, container, api_key };
    let ask = endpoint::ProbeKind::of(kind, path.map(PlainPath::as_str), engine);
    (object, endpoint::EndpointTarget { url, ask })
}
