//! What of a machine's set-up a load does not survive, or does badly, and how its owner mends it. Each comes from a public report
//! of somebody who lost an evening to it.

use super::{platform_difference, slot_containers::docker_starts_it_too};
use crate::core::model::{
    desired::{Desired, ReachMethod},
    model_source::ModelSource,
    name::SparkName,
    observed::{Observed, RecipeSeen, SparkFacts},
    resolved_model::ResolvedModel,
};

/// Kernels on which RoCE between Sparks hangs under load (spark-vllm-docker#392).
const KERNELS_WITHOUT_ROCE: [&str; 1] = ["7.0.0-1019-nvidia"];

/// What keeps a model from being started here.
///
/// # Errors
/// The first of them: what is so, and the mend.
pub fn of_a_start(target: &ResolvedModel<'_>, desired: &Desired, observed: &Observed) -> Result<(), String> {
    if target.model.sparks.len() < 2 {
        return Ok(());
    }
    for spark in &target.model.sparks {
        let Some(facts) = observed.facts(spark) else { continue };
        if let Some(why) = loses_shared_memory(target, spark, facts, desired) {
            return Err(why);
        }
        let fabric = desired.sparks.get(spark).and_then(|spark| spark.fabric.as_ref());
        let kernel = facts.platform.kernel.as_str();
        if fabric.is_some_and(|fabric| fabric.ib_if.is_some()) && KERNELS_WITHOUT_ROCE.contains(&kernel) {
            return Err(format!(
                "models on several Sparks hang on kernel {kernel} of `{spark}`, whose RoCE fails under load; boot the kernel \
                 before it, or a later one"
            ));
        }
    }
    Ok(())
}

/// What to know before a model is started here. None of it keeps it from being started.
pub fn notes(target: &ResolvedModel<'_>, desired: &Desired, observed: &Observed) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(set_by_the_recipe(target, observed));
    for spark in &target.model.sparks {
        let Some(facts) = observed.facts(spark) else { continue };
        if target.model.sparks.len() < 2 {
            notes.extend(loses_shared_memory(target, spark, facts, desired));
        }
        if !facts.platform.earlyoom {
            notes.push(format!(
                "no earlyoom runs on `{spark}`: a load that takes too much freezes the machine instead of ending; \
                 `sudo apt install earlyoom`"
            ));
        }
        let container = target.slot.container.as_str();
        if let Some(policy) = facts.container(container).and_then(|container| container.restarts.as_ref()) {
            notes.push(format!("on `{spark}` {}", docker_starts_it_too(container, policy)));
        }
        if let Some(file) = swaps_to_the_models(target, facts) {
            notes.push(format!(
                "`{spark}` swaps to `{file}`, on the disk that models are read from: a load that runs short of memory \
                 makes it crawl; `sudo swapoff {file}`, or move it to another disk"
            ));
        }
    }
    if target.model.sparks.len() > 1 {
        let differences = platform_difference::differences(desired, observed).into_iter();
        let differences = differences.filter(|one| target.model.sparks.contains(&one.spark));
        notes.extend(differences.map(|one| {
            format!(
                "`{}` has {}, not {}: a model on both may hang; make them alike",
                one.spark, one.found, one.expected
            )
        }));
    }
    notes
}

/// A recipe sets these itself, over what the file says: what it sets is taken from the file where it can be written there
/// (`launcher/recipe.rs`).
fn set_by_the_recipe(target: &ResolvedModel<'_>, observed: &Observed) -> Option<String> {
    let (ModelSource::Recipe(recipe), RecipeSeen::Readable { sets, .. }) =
        (&target.model.source, observed.recipe(target)?)
    else {
        return None;
    };
    let lost: Vec<String> = target
        .env
        .iter()
        .filter(|(name, value)| sets.contains(name.as_str()) && value.in_recipe().is_none())
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    (!lost.is_empty()).then(|| {
        format!(
            "the recipe `{recipe}` sets {} itself, so what the file says of it does not reach the engine; take it out of one \
             of the two",
            lost.join(" and ")
        )
    })
}

/// When the user's last session ends, logind takes away the shared memory that engines of that user talk through: the head then
/// hangs at 96 % (spark-vllm-docker#352). What runs as root keeps it.
fn loses_shared_memory(
    target: &ResolvedModel<'_>,
    spark: &SparkName,
    facts: &SparkFacts,
    desired: &Desired,
) -> Option<String> {
    let platform = &facts.platform;
    if platform.removes_ipc != Some(true) || platform.lingers != Some(false) {
        return None;
    }
    let image_is_root = facts.image(target.image.as_str()).is_none_or(|image| image.runs_as_root());
    if image_is_root && !target.start.is_unprivileged() {
        return None;
    }
    let user = match desired.sparks.get(spark).map(|spark| &spark.reach) {
        Some(ReachMethod::Ssh { user, .. }) => user.to_string(),
        Some(ReachMethod::Local) | None => "$USER".to_owned(),
    };
    Some(format!(
        "the engine on `{spark}` does not run as root, and logind takes its shared memory away when the last session of \
         `{user}` ends; `sudo loginctl enable-linger {user}` there"
    ))
}

/// The swap file that is on the disk of this model's files.
fn swaps_to_the_models<'a>(target: &ResolvedModel<'_>, facts: &'a SparkFacts) -> Option<&'a str> {
    let platform = &facts.platform;
    let own = target.model.source.files_key();
    // Its own path, or else the cache, which is all that is looked at beside the paths of models.
    let disk = own.and_then(|key| platform.disks.get(&key)).or_else(|| platform.disks.values().next())?;
    let on_it = platform.swap_files.iter().find(|(_, device)| **device == disk.device);
    on_it.map(|(file, _)| file.as_str())
}
