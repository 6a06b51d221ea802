//! `sparkrun run` of a recipe. It names its containers itself; ours are known by the labels that it passes on. What it says
//! of itself, and that it ends, proves nothing.

use std::fmt::Write;

use serde_json::Value as Json;

use super::{launch_cluster::assignments, options::labels, order::LaunchOrder};
use crate::{
    core::model::{
        launcher::DistributedExecutor,
        name::{PlainPath, RecipeRef},
    },
    host::quote,
};

/// Engine arguments that it has options of its own for.
const OWN: [(&str, &str); 4] = [
    ("tensor-parallel-size", "--tp"),
    ("pipeline-parallel-size", "--pp"),
    ("gpu-memory-utilization", "--gpu-mem"),
    ("max-model-len", "--max-model-len"),
];

pub fn script(
    order: LaunchOrder<'_>,
    recipe: &RecipeRef,
    program: &PlainPath,
    ranks: DistributedExecutor,
) -> String {
    let LaunchOrder { effective, desired, checkout, .. } = order;
    let hosts: Vec<String> =
        effective.model.sparks.iter().map(|spark| desired.sparks[spark].address.to_string()).collect();
    // An answer of its own to a question that it asks would not be the owner's: it has no terminal, and does not follow.
    let mut words = vec!["run".to_owned(), recipe.to_string(), "--ensure".into(), "--no-follow".into()];
    // Since 0.4 it waits for the model's first word even so; whether that comes is seen at the engine. What it asks the Hub for an
    // estimate of memory is not used, and takes half a minute where there is no way to it.
    words.extend(
        ["--no-ready-wait", "--no-auto-detect"]
            .iter()
            .filter(|one| checkout.knows(one))
            .map(ToString::to_string),
    );
    words.extend(["--hosts".into(), hosts.join(",")]);
    words.extend([
        "--image".into(),
        effective.image.to_string(),
        "--port".into(),
        effective.port.to_string(),
    ]);
    words.extend(["--served-model-name".into(), effective.model.served_as[0].to_string()]);
    words.extend(["--restart".into(), "no".into()]);
    words.extend(["--init-port".into(), effective.slot.master_port.to_string()]);
    for label in labels(order) {
        words.extend(["--label".into(), label]);
    }
    if let Some(file) = order.environment_file {
        words.push(format!("--executor-args=--env-file {file}"));
    }
    // Over what the recipe sets, which `--env-file` is not. Before 0.3.4 there was only the option that reads a number or a truth value
    // out of the text.
    for assignment in assignments(effective) {
        words.extend(if checkout.knows("--env") {
            ["--env".to_owned(), assignment]
        } else {
            ["-o".to_owned(), format!("env.{assignment}")]
        });
    }
    if ranks == DistributedExecutor::Ray {
        words.extend(["-o".into(), "distributed_executor_backend=ray".into()]);
    }
    for (flag, value) in &effective.model.args {
        let text = match value {
            Json::Null => continue,
            Json::String(text) => text.clone(),
            other => other.to_string(),
        };
        match OWN.iter().find(|(name, _)| *name == flag.as_str()) {
            Some((_, option)) => words.extend([(*option).to_owned(), text]),
            None => words.extend(["-o".into(), format!("{}={text}", flag.as_str().replace('-', "_"))]),
        }
    }
    let mut text = format!("cd\n{}", quote(&format!("./{program}")));
    if program.as_str().starts_with('/') {
        text = format!("cd\n{}", quote(program.as_str()));
    }
    for word in &words {
        let _ = write!(text, " {}", quote(word));
    }
    text.push('\n');
    text
}
