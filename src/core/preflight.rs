//! What would make a launch fail, seen before anything is stopped.

use std::{collections::BTreeSet, net::Ipv4Addr};

use jiff::Timestamp;

use super::{
    desired::{Desired, ModelSource, ResolvedModel},
    files::FilesSeen,
    fitness,
    id::ContainerId,
    launch_spec::LaunchSpec,
    launcher::{DistributedExecutor, LaunchMethod, LauncherOption, LauncherOptions},
    ledger::Ledger,
    memory::{self, MemoryFit},
    name::{PlainPath, SparkName},
    object::Object,
    observed::{LauncherSeen, Observed, RecipeSeen, SparkFacts},
    plan::Reason,
    slot_containers::SlotContainer,
};

type InTheWay = (Reason, String);

/// Options without which a checkout cannot be driven: `--launch-script` came three weeks before `-d` began to work with
/// `exec`, in February 2026.
const NEEDED: [&str; 2] = ["--solo", "--launch-script"];

/// What there is before the launch.
#[derive(Clone, Copy)]
pub struct PreLaunchState<'a> {
    /// What stands in the slot's place.
    pub standing: &'a [SlotContainer<'a>],
    /// Ids of containers that are stopped first.
    pub going: &'a BTreeSet<&'a ContainerId>,
    /// Something that serves is among them.
    pub stops: bool,
}

/// # Errors
/// The first thing that is in the way. Every Spark of the model must be reachable.
pub fn preflight(
    object: &Object,
    target: &ResolvedModel<'_>,
    before: PreLaunchState<'_>,
    desired: &Desired,
    observed: &Observed,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<(), InTheWay> {
    for spark in &target.model.sparks {
        let Some(facts) = observed.facts(spark) else {
            return Err((Reason::Unreachable, format!("`{spark}` is not reachable")));
        };
        gpu(spark, facts)?;
        if target.launcher.how.starts_the_image() {
            image(target, spark, facts, observed)?;
        }
        files(target, spark, facts, ledger)?;
    }
    fitness::of_a_start(target, desired, observed).map_err(|why| (Reason::SparkUnfit, why))?;
    for spark in &target.model.sparks {
        memory_of(object, target, spark, before, desired, observed, ledger, now)?;
    }
    launcher(target, desired, observed)?;
    entries(target, observed)?;
    look_alikes(target, before.standing, observed)?;
    ports(object, target, before.standing, observed, ledger)?;
    secrets(target, observed)
}

/// A container that asks for a GPU does not start where the driver cannot be asked; what serves has it since before.
fn gpu(spark: &SparkName, facts: &SparkFacts) -> Result<(), InTheWay> {
    match facts.gpu.trouble() {
        None => Ok(()),
        Some(why) => {
            let message = format!("the GPU of `{spark}` cannot be used: {why}; reboot `{spark}`");
            Err((Reason::GpuUnusable, message))
        }
    }
}

fn image(
    target: &ResolvedModel<'_>,
    spark: &SparkName,
    facts: &SparkFacts,
    observed: &Observed,
) -> Result<(), InTheWay> {
    let image = target.image;
    let head = &target.model.sparks[0];
    let seen = match facts.images.get(image.as_str()) {
        Some(Some(seen)) => seen,
        Some(None) => return Err((Reason::ImageMissing, format!("`{spark}` has no image `{image}`"))),
        None => return Err((Reason::Unknown, format!("the images of `{spark}` could not be read"))),
    };
    let first = observed.facts(head).and_then(|facts| facts.image(image.as_str()));
    let compares_ids = target.launcher.how.own().is_some();
    if compares_ids && first.is_some_and(|first| first.is_like(seen) && first.id != seen.id) {
        let message = format!(
            "`{image}` is the same image on `{spark}` and `{head}`, but their Docker Engines keep images in stores of two kinds \
             and name it differently, which the launcher takes for two images; set both to one kind (`containerd-snapshotter`)"
        );
        return Err((Reason::ImageDiffers, message));
    }
    if first.is_some_and(|first| !first.is_like(seen)) {
        let message = format!(
            "`{image}` on `{spark}` is not the image that `{head}` has: neither its digest nor its layers"
        );
        return Err((Reason::ImageDiffers, message));
    }
    Ok(())
}

/// What a loader needs is there, and whole.
fn files(
    target: &ResolvedModel<'_>,
    spark: &SparkName,
    facts: &SparkFacts,
    ledger: &Ledger,
) -> Result<(), InTheWay> {
    let Some(key) = target.model.source.files_key().filter(|_| looks_for_files(target)) else {
        return Ok(());
    };
    let is_own = matches!(target.model.source, ModelSource::LocalPath(_));
    let place = if is_own { "" } else { " in its Hugging Face cache" };
    let mend = if is_own { "copy it there" } else { "download it there first" };
    let missing = |message: String| Err((Reason::FilesMissing, message));
    let seen = facts.files.get(&key);
    let is_odd = matches!(seen, Some(FilesSeen::Partial { .. } | FilesSeen::Lacking { .. }));
    // What it lacks it did without once; what went since is missed.
    if is_odd && seen.is_some_and(|seen| ledger.loaded_from(&target.spec_hash(), spark, seen)) {
        return Ok(());
    }
    match seen {
        Some(FilesSeen::Whole { .. }) => Ok(()),
        Some(FilesSeen::Partial { missing: what }) => {
            missing(format!("`{spark}` has only a part of `{key}` ({what}){place}; {mend}"))
        }
        Some(FilesSeen::Lacking { what }) => {
            let mend =
                if what.contains("tokenizer") { ", or name one with `tokenizer` in `args`" } else { "" };
            missing(format!("`{key}` on `{spark}` has not what a loader needs: {what}; copy it there{mend}"))
        }
        Some(FilesSeen::Absent) if is_own => missing(format!("`{key}` is not there on `{spark}`")),
        Some(FilesSeen::Absent) => missing(format!("`{spark}` has no files of `{key}`{place}; {mend}")),
        Some(FilesSeen::Unanswered) => Err((
            Reason::Unknown,
            format!(
                "the disk of `{spark}` that has `{key}` does not answer; whether it is whole is not known"
            ),
        )),
        // A model that takes over for another is not asked for at every look.
        None => Ok(()),
    }
}

/// The engine takes its files from the Spark's cache or from a path there: not from a place that its environment or its
/// arguments name, and not from wherever an owner's own program or script has them.
fn looks_for_files(target: &ResolvedModel<'_>) -> bool {
    if matches!(target.model.source, ModelSource::LocalPath(_)) {
        return true;
    }
    let moved = target.env.keys().any(|name| ["HF_HOME", "HF_HUB_CACHE"].contains(&name.as_str()));
    let moved = moved || target.model.args.keys().any(|flag| flag.as_str() == "download-dir");
    !moved && target.launcher.how.controls_full_command_line()
}

/// The model, what other slots are to hold on the same Spark, what is on the GPU and stays there, and the floor.
#[allow(clippy::too_many_arguments)] // all that the arithmetic is about
fn memory_of(
    object: &Object,
    target: &ResolvedModel<'_>,
    spark: &SparkName,
    before: PreLaunchState<'_>,
    desired: &Desired,
    observed: &Observed,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<(), InTheWay> {
    let Some(facts) = observed.facts(spark) else { return Ok(()) };
    let mut place =
        memory::Place { object, target, spark, going: before.going, observed, by_what_is_free: false };
    place.by_what_is_free = memory::counts_what_is_free(&place, facts, before.stops, ledger, now);
    match memory::fit(place, facts, desired, ledger, now) {
        MemoryFit::Fits { .. } => Ok(()),
        MemoryFit::Unknown { why } => Err((Reason::MemoryUnknown, why)),
        fit @ MemoryFit::TooLarge { .. } => {
            Err((Reason::CannotFit, format!("`{}` does not fit on `{spark}`: it {fit}", target.name)))
        }
    }
}

/// What it needs is there.
fn launcher(target: &ResolvedModel<'_>, desired: &Desired, observed: &Observed) -> Result<(), InTheWay> {
    let head = &target.model.sparks[0];
    let Some(facts) = observed.facts(head) else { return Ok(()) };
    let missing = |what: String| Err((Reason::LauncherMissing, what));
    for program in target.launcher.how.programs() {
        match facts.programs.get(&program) {
            Some(true) => {}
            Some(false) => return missing(format!("`{program}` is not there on `{head}`, or cannot be run")),
            None => {
                let message = format!(
                    "whether `{program}` is there on `{head}` is not known: its disk does not answer"
                );
                return Err((Reason::Unknown, message));
            }
        }
    }
    // A model that takes over for another is not asked for at every look.
    if let (ModelSource::Recipe(recipe), Some(RecipeSeen::Unreadable { why })) =
        (&target.model.source, observed.recipe(target))
    {
        return missing(format!("the recipe `{recipe}` cannot be used on `{head}`: {why}"));
    }
    match &target.launcher.how {
        LaunchMethod::LaunchCluster { dir, ranks, .. } | LaunchMethod::Recipe { dir, ranks, .. } => {
            checkout(target, dir, *ranks, desired, facts, observed)
        }
        LaunchMethod::Docker { .. } | LaunchMethod::Sparkrun { .. } | LaunchMethod::Command { .. } => Ok(()),
    }
}

/// The checkout is there and not too old, and it will not have to ask anybody which Sparks to use.
fn checkout(
    target: &ResolvedModel<'_>,
    dir: &PlainPath,
    ranks: DistributedExecutor,
    desired: &Desired,
    facts: &SparkFacts,
    observed: &Observed,
) -> Result<(), InTheWay> {
    let sparks = &target.model.sparks;
    let head = &sparks[0];
    let Some(LauncherSeen::Present(seen)) = facts.launchers.get(dir.as_str()) else {
        let message = format!("there is no `launch-cluster.sh` in `{dir}` on `{head}`");
        return Err((Reason::LauncherMissing, message));
    };
    if let Some(option) = NEEDED.iter().find(|option| !seen.knows(option)) {
        let message =
            format!("`launch-cluster.sh` in `{dir}` on `{head}` is too old: it has no `{option}`; update it");
        return Err((Reason::LauncherMissing, message));
    }
    let mut asked = target.launcher.how.own().into_iter().flat_map(LauncherOptions::all).collect::<Vec<_>>();
    if target.launcher.how.docker().is_some_and(|docker| !docker.ports.is_empty()) {
        asked.push(LauncherOption { words: vec!["--publish".into()], since: Some("2026-06-03") });
    }
    if let Some(option) = asked.iter().find(|option| !seen.knows(&option.words[0])) {
        let since = option.since.map_or(String::new(), |since| format!(", which came on {since}"));
        let message = format!(
            "`launch-cluster.sh` in `{dir}` on `{head}` has no `{}`{since}; update it, or take it out of the file",
            option.words[0]
        );
        return Err((Reason::LauncherMissing, message));
    }
    let is_recipe = matches!(target.launcher.how, LaunchMethod::Recipe { .. });
    if let Some(option) = asked.iter().find(|option| is_recipe && !seen.hands_on(&option.words[0])) {
        let message = format!(
            "`run-recipe.sh` in `{dir}` on `{head}` does not hand `{}` on to `launch-cluster.sh`; update it, or take it out of \
             the file",
            option.words[0]
        );
        return Err((Reason::LauncherMissing, message));
    }
    // Before that option Ray was all there was.
    if sparks.len() > 1 && ranks == DistributedExecutor::Processes && !seen.knows("--no-ray") {
        let message = format!(
            "`launch-cluster.sh` in `{dir}` on `{head}` knows only Ray for models on several Sparks; update it, or set \
             `ray: true`"
        );
        return Err((Reason::LauncherMissing, message));
    }
    let without = sparks.iter().find(|spark| desired.sparks[*spark].fabric.is_none());
    let Some(without) = without.filter(|_| sparks.len() > 1) else { return Ok(()) };
    // None at all is fine when the launcher's own configuration names just these.
    let none = sparks.iter().all(|spark| desired.sparks[spark].fabric.is_none());
    if none && names_just(sparks, &seen.nodes, observed) {
        return Ok(());
    }
    let message = format!(
        "`{without}` has no `fabric`, which a model on several Sparks needs, and `{dir}/.env` does not name just the \
         Sparks of `{}`",
        target.name
    );
    Err((Reason::FabricMissing, message))
}

/// One node for each of these Sparks, as far as their addresses are known.
fn names_just(sparks: &[SparkName], nodes: &[Ipv4Addr], observed: &Observed) -> bool {
    let is_named = |spark: &SparkName| {
        let Some(facts) = observed.facts(spark) else { return false };
        let mut addresses =
            facts.platform.interfaces.values().flat_map(|interface| &interface.addresses).peekable();
        addresses.peek().is_none() || addresses.any(|address| nodes.contains(address))
    };
    nodes.len() == sparks.len() && sparks.iter().all(is_named)
}

/// What the owner has to have put there.
fn entries(target: &ResolvedModel<'_>, observed: &Observed) -> Result<(), InTheWay> {
    let sparks = &target.model.sparks;
    for needed in target.needed() {
        let on = if needed.on_head { &sparks[..1] } else { &sparks[..] };
        // A model that takes over for another is not asked for at every look.
        let lacks = |spark: &&SparkName| {
            observed.facts(spark).is_some_and(|facts| facts.entries.get(&needed.name) == Some(&false))
        };
        if let Some(spark) = on.iter().find(lacks) {
            return Err((Reason::FilesMissing, format!("`{}` is not there on `{spark}`", needed.name)));
        }
    }
    Ok(())
}

/// The launcher finds its containers by a part of a line of `docker ps`: it would go into another one whose name or image
/// has the slot's name in it.
fn look_alikes(
    target: &ResolvedModel<'_>,
    standing: &[SlotContainer<'_>],
    observed: &Observed,
) -> Result<(), InTheWay> {
    match &target.launcher.how {
        LaunchMethod::LaunchCluster { .. } | LaunchMethod::Recipe { .. } => {}
        LaunchMethod::Docker { .. } | LaunchMethod::Sparkrun { .. } | LaunchMethod::Command { .. } => {
            return Ok(());
        }
    }
    let name = target.slot.container.as_str();
    let goes = |id: &ContainerId| standing.iter().any(|entry| entry.container.id == *id);
    for spark in &target.model.sparks {
        let containers = observed.facts(spark).map(|facts| facts.containers.as_slice()).unwrap_or_default();
        let taken = containers.iter().find(|container| {
            let alike = container.name.contains(name) || container.image.contains(name);
            container.running && alike && !goes(&container.id)
        });
        if let Some(container) = taken {
            let message = format!(
                "the launcher would take `{}` ({}) on `{spark}` for `{name}`; give the slot another `container`",
                container.name, container.image
            );
            return Err((Reason::NameTaken, message));
        }
    }
    Ok(())
}

/// Nobody else listens where the head will. What stands in the slot's own place goes before, and its ports with it.
fn ports(
    object: &Object,
    target: &ResolvedModel<'_>,
    standing: &[SlotContainer<'_>],
    observed: &Observed,
    ledger: &Ledger,
) -> Result<(), InTheWay> {
    let sparks = &target.model.sparks;
    let Some(facts) = observed.facts(&sparks[0]) else { return Ok(()) };
    let Some(listening) = &facts.platform.listening else { return Ok(()) };
    let own = ledger.launched(object).filter(|group| *group.head() == sparks[0]);
    let stands = standing.iter().any(|entry| *entry.spark == sparks[0] && entry.container.running);
    let mut needed = vec![target.port];
    if sparks.len() > 1 {
        needed.push(target.slot.master_port);
    }
    for port in needed {
        // A model on one Spark has no use for the other port.
        let is_own = |group: &LaunchSpec| {
            group.port == port || (group.sparks.len() > 1 && port == target.slot.master_port)
        };
        let goes = stands && own.is_none_or(is_own);
        if listening.contains(&port) && !goes {
            let message = format!("something else listens on port {port} of `{}`", sparks[0]);
            return Err((Reason::PortTaken, message));
        }
    }
    Ok(())
}

fn secrets(target: &ResolvedModel<'_>, observed: &Observed) -> Result<(), InTheWay> {
    for secret in target.env.values().filter_map(|value| value.secret()).chain(&target.slot.api_key) {
        if let Some(why) = observed.unreadable_secrets.get(&secret.to_string()) {
            return Err((
                Reason::SecretMissing,
                format!("a secret of `{}` cannot be read: {why}", target.name),
            ));
        }
    }
    Ok(())
}
