//! `run-recipe.sh` of a spark-vllm-docker checkout. The recipe has the engine's command line; ours comes after it, where
//! the engine lets the last word win. What it sets in the environment is set in the engine's own script, over everything else: where
//! the file sets something, a copy of the recipe with that in it is run.

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
    let _ = writeln!(text, "recipe={}", quote(recipe.as_str()));
    write_recipe(&mut text, effective);
    text.push_str("./run-recipe.sh \"$recipe\"");
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

/// A copy of the recipe with the file's environment in it, in `$recipe`. Found where `run-recipe.sh` finds it, and read by what that
/// reads it with; JSON is YAML. Where there is no such recipe, it says so itself. Rejected: lines in front of the script that it makes,
/// which nobody gets hold of.
fn write_recipe(text: &mut String, effective: &ResolvedModel<'_>) {
    let set = effective.env.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.in_recipe()?)));
    let set: Vec<String> = set.map(|one| quote(&one)).collect();
    if set.is_empty() {
        return;
    }
    text.push_str("name=${recipe##*/}\n");
    text.push_str("for at in \"$recipe\" \"$recipe.yaml\" \"$recipe.yml\" \"recipes/$name\" \"recipes/$name.yaml\" \"recipes/$name.yml\"; do\n");
    text.push_str("    [ -f \"$at\" ] || continue\n");
    let _ = writeln!(
        text,
        "    python3 -c {} \"$at\" {} >\"$job/recipe.yaml\" || exit 1",
        quote(WITH_ENVIRONMENT),
        set.join(" ")
    );
    text.push_str("    recipe=$job/recipe.yaml\n    break\ndone\n");
}

/// The recipe at its first word with the assignments of the others.
const WITH_ENVIRONMENT: &str = "import json, sys, yaml
with open(sys.argv[1], encoding=\"utf-8\") as file:
    recipe = yaml.safe_load(file)
recipe[\"env\"] = {**(recipe.get(\"env\") or {}), **dict(word.split(\"=\", 1) for word in sys.argv[2:])}
sys.stdout.reconfigure(encoding=\"utf-8\")
json.dump(recipe, sys.stdout, ensure_ascii=False, default=str)
";

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
