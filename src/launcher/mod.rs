//! How a model is started: an [`Effective`] to a script for the head Spark, one file for each kind of launcher.
//!
//! A launcher's exit code proves nothing, so nothing here looks at it; probes do. Everything that varies is quoted for the
//! shell where it is written, once.

pub mod command;
pub mod docker;
pub mod environment;
pub mod launch_cluster;
pub mod options;
pub mod recipe;
pub mod sparkrun;

use crate::core::{
    desired::{Desired, Effective, Object},
    launcher::How,
    observed::{Checkout, Token},
};

/// What a launch is made from.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    pub object: &'a Object,
    pub effective: &'a Effective<'a>,
    pub desired: &'a Desired,
    pub token: &'a Token,
    /// What the container gets in its environment, at that path on every Spark of the model.
    pub environment_file: Option<&'a str>,
    /// The checkout on the head, for launchers that are in one.
    pub checkout: &'a Checkout,
}

/// What the job on the head runs, below the home directory.
pub fn script(order: Order<'_>) -> String {
    let mut text = match &order.effective.launcher.how {
        How::LaunchCluster { dir, ranks, script, .. } => {
            launch_cluster::script(order, dir, *ranks, script.as_ref())
        }
        How::Recipe { dir, ranks, .. } => recipe::script(order, dir, *ranks),
        How::Docker { docker, entrypoint } => docker::script(order, docker, entrypoint.as_ref()),
        How::Sparkrun { program, ranks } => sparkrun::script(order, program, *ranks),
        How::Command { dir, start, .. } => command::script(order, dir, start),
    };
    text.push_str("code=$?\n");
    if let Some(file) = order.environment_file {
        text.push_str(&format!("rm -f {}\n", crate::host::quote(file)));
    }
    text.push_str("exit $code\n");
    text
}
