//! What would make a launch fail, seen before anything is stopped.

use std::{collections::BTreeSet, net::Ipv4Addr};

use jiff::Timestamp;

use super::{
    desired::{Desired, Effective, Object, Source, Wanted},
    group::Group,
    launcher::{How, Ranks},
    ledger::Ledger,
    memory::{self, Holder, HolderOf},
    name::{PlainPath, SparkName},
    observed::{Facts, LauncherSeen, Observed, RecipeSeen},
    plan::Reason,
    platform::CacheSeen,
    schedule,
    standing::Standing,
    weights,
};

type InTheWay = (Reason, String);

/// Options without which a checkout cannot be driven: `--launch-script` came three weeks before `-d` began to work with
/// `exec`, in February 2026.
const NEEDED: [&str; 2] = ["--solo", "--launch-script"];

/// What there is before the launch.
#[derive(Clone, Copy)]
pub struct Before<'a> {
    /// What stands in the slot's place.
    pub standing: &'a [Standing<'a>],
    /// Ids of containers that are stopped first.
    pub going: &'a BTreeSet<&'a str>,
}

/// # Errors
/// The first thing that is in the way. Every Spark of the model must be reachable.
pub fn preflight(
    object: &Object,
    target: &Effective<'_>,
    before: Before<'_>,
    desired: &Desired,
    observed: &Observed,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<(), InTheWay> {
    images_and_files(target, observed, ledger)?;
    for spark in &target.model.sparks {
        memory_of(object, target, spark, before.going, desired, observed, ledger, now)?;
    }
    launcher(target, desired, observed)?;
    entries(target, observed)?;
    look_alikes(target, before.standing, observed)?;
    ports(object, target, before.standing, observed, ledger)?;
    secrets(target, observed)
}

fn images_and_files(target: &Effective<'_>, observed: &Observed, ledger: &Ledger) -> Result<(), InTheWay> {
    let image = target.image;
    let head = &target.model.sparks[0];
    let mut first: Option<&String> = None;
    for spark in &target.model.sparks {
        let Some(facts) = observed.facts(spark) else {
            return Err((Reason::Unreachable, format!("`{spark}` is not reachable")));
        };
        let id = match facts.images.get(image.as_str()) {
            Some(Some(id)) => id,
            Some(None) => return Err((Reason::ImageMissing, format!("`{spark}` has no image `{image}`"))),
            None => return Err((Reason::Unknown, format!("the images of `{spark}` could not be read"))),
        };
        if *first.get_or_insert(id) != id {
            let message = format!("`{image}` on `{spark}` is not the image that `{head}` has");
            return Err((Reason::ImageDiffers, message));
        }
        let loaded = ledger.load_secs.contains_key(target.spec_hash().as_str());
        if let Some(key) = target.model.source.cache_key().filter(|_| looks_into_the_cache(target)) {
            let what = match facts.caches.get(&key) {
                Some(CacheSeen::Present) => None,
                // It was enough once.
                Some(CacheSeen::Partial { .. }) if loaded => None,
                Some(CacheSeen::Partial { missing }) => Some(format!("only a part of `{key}` ({missing})")),
                Some(CacheSeen::Absent) => Some(format!("no files of `{key}`")),
                // A model that takes over for another is not asked for at every look.
                None => None,
            };
            if let Some(what) = what {
                let message =
                    format!("`{spark}` has {what} in its Hugging Face cache; download it there first");
                return Err((Reason::FilesMissing, message));
            }
        }
        if let Source::LocalPath(path) = &target.model.source
            && facts.paths.get(path.as_str()) != Some(&true)
        {
            return Err((Reason::FilesMissing, format!("`{path}` is not there on `{spark}`")));
        }
    }
    Ok(())
}

/// The engine takes its files from the Spark's cache: not from a place that its environment or its arguments name, and not
/// from wherever an owner's own program or script has them.
fn looks_into_the_cache(target: &Effective<'_>) -> bool {
    let moved = target.env.keys().any(|name| ["HF_HOME", "HF_HUB_CACHE"].contains(&name.as_str()));
    let moved = moved || target.model.args.keys().any(|flag| flag.as_str() == "download-dir");
    !moved && target.launcher.how.words_are_all()
}

/// The model, what other slots are to hold on the same Spark, what is on the GPU and stays there, and the floor.
#[allow(clippy::too_many_arguments)] // all that the arithmetic is about
fn memory_of(
    object: &Object,
    target: &Effective<'_>,
    spark: &SparkName,
    going: &BTreeSet<&str>,
    desired: &Desired,
    observed: &Observed,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<(), InTheWay> {
    let Some(facts) = observed.facts(spark) else { return Ok(()) };
    let total = facts.memory_total_bytes;
    let (needed, basis) = memory::need_on(target, spark, facts, ledger);
    let floor = desired.sparks[spark].floor_bytes;
    let mut sum = needed.saturating_add(floor);
    let mut others = String::new();
    for (other, slot) in desired.slots.iter().filter(|(other, _)| *other != object) {
        let Wanted::Model(name) = schedule::wanted(other, slot, desired, now) else { continue };
        let Some(held) = desired.effective(slot, &name).filter(|held| held.model.sparks.contains(spark))
        else {
            continue;
        };
        let (needed, _) = memory::need_on(&held, spark, facts, ledger);
        sum = sum.saturating_add(needed);
        others += &format!("{} for `{name}` in `{other}`, ", memory::gib(needed));
    }
    let transfers = weights::transfer_bytes(facts);
    if transfers > 0 {
        sum = sum.saturating_add(transfers);
        others += &format!("{} for files that are on their way, ", memory::gib(transfers));
    }
    // What a slot holds is counted by what it needs.
    let is_beside = |holder: &&Holder| !holder.goes && !matches!(holder.of, HolderOf::Slot(_));
    for holder in memory::holders(spark, facts, desired, going).iter().filter(is_beside) {
        let Some(bytes) = holder.bytes else { continue };
        sum = sum.saturating_add(bytes);
        others += &format!("{} held by {}, ", memory::gib(bytes), holder.who());
    }
    if sum <= total {
        return match memory::free_at_most(facts, going).filter(|free| *free < needed.saturating_add(floor)) {
            None => Ok(()),
            Some(free) => {
                let message = format!(
                    "{} needed ({basis}) and {} kept free, but when what serves is gone at most {} are free on `{spark}`",
                    memory::gib(needed),
                    memory::gib(floor),
                    memory::gib(free)
                );
                Err((Reason::CannotFit, message))
            }
        };
    }
    let message = format!(
        "{} needed ({basis}), {others}and {} kept free, but `{spark}` has {}",
        memory::gib(needed),
        memory::gib(floor),
        memory::gib(total)
    );
    Err((Reason::CannotFit, message))
}

/// What it needs is there.
fn launcher(target: &Effective<'_>, desired: &Desired, observed: &Observed) -> Result<(), InTheWay> {
    let head = &target.model.sparks[0];
    let Some(facts) = observed.facts(head) else { return Ok(()) };
    let missing = |what: String| Err((Reason::LauncherMissing, what));
    for program in target.launcher.how.programs() {
        if facts.programs.get(&program) != Some(&true) {
            return missing(format!("`{program}` is not there on `{head}`, or cannot be run"));
        }
    }
    if let (How::Recipe { dir, .. }, Source::Recipe(recipe)) = (&target.launcher.how, &target.model.source) {
        match facts.recipes.get(&format!("{dir}/{recipe}")) {
            Some(RecipeSeen::Readable { .. }) => {}
            Some(RecipeSeen::Unreadable { why }) => {
                return missing(format!("the recipe `{recipe}` cannot be used on `{head}`: {why}"));
            }
            // A model that takes over for another is not asked for at every look.
            None => {}
        }
    }
    match &target.launcher.how {
        How::LaunchCluster { dir, ranks, .. } | How::Recipe { dir, ranks } => {
            checkout(target, dir, *ranks, desired, facts, observed)
        }
        How::Docker { .. } | How::Sparkrun { .. } | How::Command { .. } => Ok(()),
    }
}

/// The checkout is there and not too old, and it will not have to ask anybody which Sparks to use.
fn checkout(
    target: &Effective<'_>,
    dir: &PlainPath,
    ranks: Ranks,
    desired: &Desired,
    facts: &Facts,
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
    // Before that option Ray was all there was.
    if sparks.len() > 1 && ranks == Ranks::Processes && !seen.knows("--no-ray") {
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
fn entries(target: &Effective<'_>, observed: &Observed) -> Result<(), InTheWay> {
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
    target: &Effective<'_>,
    standing: &[Standing<'_>],
    observed: &Observed,
) -> Result<(), InTheWay> {
    match &target.launcher.how {
        How::LaunchCluster { .. } | How::Recipe { .. } => {}
        How::Docker { .. } | How::Sparkrun { .. } | How::Command { .. } => return Ok(()),
    }
    let name = target.slot.container.as_str();
    let goes = |id: &str| standing.iter().any(|entry| entry.container.id == id);
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
    target: &Effective<'_>,
    standing: &[Standing<'_>],
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
        let is_own =
            |group: &Group| group.port == port || (group.sparks.len() > 1 && port == target.slot.master_port);
        let goes = stands && own.is_none_or(is_own);
        if listening.contains(&port) && !goes {
            let message = format!("something else listens on port {port} of `{}`", sparks[0]);
            return Err((Reason::PortTaken, message));
        }
    }
    Ok(())
}

fn secrets(target: &Effective<'_>, observed: &Observed) -> Result<(), InTheWay> {
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
