//! `run-recipe.sh` of a spark-vllm-docker checkout. The recipe has the engine's command line; ours comes after it, where
//! the engine lets the last word win.

use std::fmt::Write;

use super::{launch_cluster, order::LaunchOrder};
use crate::{
    core::model::{
        desired::Desired,
        launcher::DistributedExecutor,
        name::{PlainPath, RecipeRef},
        resolved_model::ResolvedModel,
    },
    host::quote,
};

pub fn script(
    order: LaunchOrder<'_>,
    recipe: &RecipeRef,
    dir: &PlainPath,
    ranks: DistributedExecutor,
) -> String {
    let effective = order.effective;
    let mut text = launch_cluster::prepare(order, dir);
    let _ = write!(text, "./run-recipe.sh {}", quote(recipe.as_str()));
    if order.checkout.knows("--config") {
        text.push_str(" --config \"$job/config\"");
    }
    let mut words = launch_cluster::common_words(order, ranks);
    words.extend(["-d".into(), "--port".into(), effective.port.to_string(), "--".into()]);
    words.extend(effective.arguments());
    for word in &words {
        let _ = write!(text, " {}", quote(word));
    }
    text.push('\n');
    text
}

fn fabric_ips(effective: &ResolvedModel<'_>, desired: &Desired) -> Vec<String> {
    let fabrics = effective.model.sparks.iter().filter_map(|spark| desired.sparks[spark].fabric.as_ref());
    fabrics.map(|fabric| fabric.ip.to_string()).collect()
}

/// The words of [`dry_run`] say on which Sparks. Without that it would go and look for them.
pub fn names_nodes(effective: &ResolvedModel<'_>, desired: &Desired) -> bool {
    effective.model.sparks.len() == 1 || !fabric_ips(effective, desired).is_empty()
}

/// Words for `run-recipe.sh` that print what it would do.
pub fn dry_run(recipe: &RecipeRef, effective: &ResolvedModel<'_>, desired: &Desired) -> Vec<String> {
    let mut words = vec![recipe.to_string(), "--dry-run".into()];
    let ips = fabric_ips(effective, desired);
    if effective.model.sparks.len() == 1 {
        words.push("--solo".into());
    } else if !ips.is_empty() {
        words.extend(["-n".into(), ips.join(",")]);
    }
    words.extend(["-t".into(), effective.image.to_string()]);
    words
}
