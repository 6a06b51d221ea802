//! How a model is started: an [`ResolvedModel`] to a script for the head Spark, one file for each kind of launcher.
//!
//! A launcher's exit code proves nothing, so nothing here looks at it; probes do. Everything that varies is quoted for the
//! shell where it is written, once.

pub mod command;
pub mod docker;
pub mod environment;
pub mod launch_cluster;
pub mod options;
pub mod order;
pub mod recipe;
pub mod sparkrun;

use crate::core::model::launcher::Start;

pub use order::LaunchOrder;

/// What the job on the head runs, below the home directory.
pub fn script(order: LaunchOrder<'_>) -> String {
    let mut text = match &order.effective.start {
        Start::LaunchCluster { root, dir, ranks, .. } => launch_cluster::script(order, dir, *ranks, root),
        Start::LaunchScript { script, dir, ranks, .. } => {
            launch_cluster::script_of_the_owner(order, dir, *ranks, script)
        }
        Start::Recipe { recipe, dir, ranks, .. } => recipe::script(order, recipe, dir, *ranks),
        Start::Docker { root, docker, entrypoint } => docker::script(order, root, docker, *entrypoint),
        Start::Sparkrun { recipe, program, ranks } => sparkrun::script(order, recipe, program, *ranks),
        Start::Command { root, dir, program, .. } => command::script(order, root, dir, program),
    };
    text.push_str("code=$?\n");
    if let Some(file) = order.environment_file {
        text.push_str(&format!("rm -f {}\n", crate::host::quote(file)));
    }
    text.push_str("exit $code\n");
    text
}
