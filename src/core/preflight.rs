//! What would make a launch fail, seen before anything is stopped.

use super::{
    desired::{Desired, Effective, Source},
    memory,
    observed::Observed,
    plan::Reason,
};

/// # Errors
/// The first thing that is in the way. Every Spark of the model must be reachable.
pub fn preflight(
    target: &Effective<'_>,
    desired: &Desired,
    observed: &Observed,
) -> Result<(), (Reason, String)> {
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
        let (needed, basis) = memory::need(target, facts.memory_total_bytes);
        let floor = desired.sparks[spark].floor_bytes;
        if needed.saturating_add(floor) > facts.memory_total_bytes {
            let message = format!(
                "{} needed ({basis}) and {} kept free, but `{spark}` has {}",
                memory::gib(needed),
                memory::gib(floor),
                memory::gib(facts.memory_total_bytes)
            );
            return Err((Reason::CannotFit, message));
        }
    }
    // None at all is fine: then the launcher's own configuration has them.
    let without: Vec<_> =
        target.model.sparks.iter().filter(|spark| desired.sparks[*spark].fabric.is_none()).collect();
    match without.first() {
        Some(spark) if without.len() < target.model.sparks.len() => {
            Err((Reason::FabricMissing, format!("`{spark}` has no `fabric`, but others of this model have")))
        }
        _ => Ok(()),
    }
}
