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

use crate::core::model::launcher::LaunchMethod;

pub use order::LaunchOrder;

/// What the job on the head runs, below the home directory.
pub fn script(order: LaunchOrder<'_>) -> String {
    let mut text = match &order.effective.launcher.how {
        LaunchMethod::LaunchCluster { dir, ranks, script, .. } => {
            launch_cluster::script(order, dir, *ranks, script.as_ref())
        }
        LaunchMethod::Recipe { dir, ranks, .. } => recipe::script(order, dir, *ranks),
        LaunchMethod::Docker { docker, entrypoint } => docker::script(order, docker, entrypoint.as_ref()),
        LaunchMethod::Sparkrun { program, ranks } => sparkrun::script(order, program, *ranks),
        LaunchMethod::Command { dir, start, .. } => command::script(order, dir, start),
    };
    text.push_str("code=$?\n");
    if let Some(file) = order.environment_file {
        text.push_str(&format!("rm -f {}\n", crate::host::quote(file)));
    }
    text.push_str("exit $code\n");
    text
}
