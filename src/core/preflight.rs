//! What would make a launch fail, seen before anything is stopped.

use jiff::Timestamp;

use super::{
    desired::{Desired, Effective, Object, Source, Wanted},
    memory,
    name::SparkName,
    observed::{LauncherSeen, Observed},
    plan::Reason,
    schedule,
};

type InTheWay = (Reason, String);

/// # Errors
/// The first thing that is in the way. Every Spark of the model must be reachable.
pub fn preflight(
    object: &Object,
    target: &Effective<'_>,
    desired: &Desired,
    observed: &Observed,
    now: Timestamp,
) -> Result<(), InTheWay> {
    images_and_files(target, observed)?;
    for spark in &target.model.sparks {
        memory_of(object, target, spark, desired, observed, now)?;
    }
    launcher(target, desired, observed)?;
    secrets(target, observed)
}

fn images_and_files(target: &Effective<'_>, observed: &Observed) -> Result<(), InTheWay> {
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
        if let Source::LocalPath(path) = &target.model.source
            && facts.paths.get(path.as_str()) != Some(&true)
        {
            return Err((Reason::FilesMissing, format!("`{path}` is not there on `{spark}`")));
        }
    }
    Ok(())
}

/// The model, what other slots are to hold on the same Spark, and the floor.
fn memory_of(
    object: &Object,
    target: &Effective<'_>,
    spark: &SparkName,
    desired: &Desired,
    observed: &Observed,
    now: Timestamp,
) -> Result<(), InTheWay> {
    let Some(facts) = observed.facts(spark) else { return Ok(()) };
    let total = facts.memory_total_bytes;
    let (needed, basis) = memory::need(target, total);
    let floor = desired.sparks[spark].floor_bytes;
    let mut sum = needed.saturating_add(floor);
    let mut others = String::new();
    for (other, slot) in desired.slots.iter().filter(|(other, _)| *other != object) {
        let Wanted::Model(name) = schedule::wanted(other, slot, desired, now) else { continue };
        let Some(held) = desired.effective(slot, &name).filter(|held| held.model.sparks.contains(spark))
        else {
            continue;
        };
        let (needed, _) = memory::need(&held, total);
        sum = sum.saturating_add(needed);
        others += &format!("{} for `{name}` in `{other}`, ", memory::gib(needed));
    }
    if sum <= total {
        return Ok(());
    }
    let message = format!(
        "{} needed ({basis}), {others}and {} kept free, but `{spark}` has {}",
        memory::gib(needed),
        memory::gib(floor),
        memory::gib(total)
    );
    Err((Reason::CannotFit, message))
}

/// It is there, and it will not have to ask anybody which Sparks to use.
fn launcher(target: &Effective<'_>, desired: &Desired, observed: &Observed) -> Result<(), InTheWay> {
    let head = &target.model.sparks[0];
    let dir = &target.launcher.dir;
    let seen = observed.facts(head).and_then(|facts| facts.launchers.get(dir.as_str()));
    if seen.is_none_or(|seen| *seen == LauncherSeen::Missing) {
        let message = format!("there is no `launch-cluster.sh` in `{dir}` on `{head}`");
        return Err((Reason::LauncherMissing, message));
    }
    let sparks = &target.model.sparks;
    let without = sparks.iter().find(|spark| desired.sparks[*spark].fabric.is_none());
    match without {
        _ if sparks.len() == 1 => Ok(()),
        None => Ok(()),
        // None at all is fine when the launcher's own configuration names them.
        Some(_)
            if seen == Some(&LauncherSeen::WithNodes)
                && sparks.iter().all(|spark| desired.sparks[spark].fabric.is_none()) =>
        {
            Ok(())
        }
        Some(spark) => {
            let message = format!(
                "`{spark}` has no `fabric`, which a model on several Sparks needs, and the launcher's own `.env` does \
                 not name them all"
            );
            Err((Reason::FabricMissing, message))
        }
    }
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
