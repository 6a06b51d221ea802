//! Options for `docker run` that every container of a model gets: labels, mounts, its environment.
//!
//! They are words without white space or shell characters, because launchers take them as one text that they split.

use super::order::LaunchOrder;
use crate::core::model::{
    label::{CLUSTER, OBJECT, SPEC, TOKEN},
    launcher::Start,
    launcher_options::DockerOptions,
    model_source::ModelSource,
    resolved_model::ResolvedModel,
};

/// One word each.
pub fn options(order: LaunchOrder<'_>) -> Vec<String> {
    let mut words = Vec::new();
    for label in labels(order) {
        words.extend(["--label".to_owned(), label]);
    }
    words.extend(mounts(order.effective));
    // Published ports are an option of the launcher of a checkout, which changes the network for them.
    let start = &order.effective.start;
    let docker = start.docker().cloned().unwrap_or_default();
    let is_run_here = matches!(start, Start::Docker { .. });
    let docker = if is_run_here {
        DockerOptions { gpus: None, ..docker }
    } else {
        DockerOptions { ports: Vec::new(), ..docker }
    };
    words.extend(docker.words());
    if let Some(file) = order.environment_file {
        words.extend(["--env-file".to_owned(), file.to_owned()]);
    }
    words
}

/// What makes a container ours.
pub fn labels(order: LaunchOrder<'_>) -> [String; 4] {
    let LaunchOrder { object, effective, desired, token, .. } = order;
    [
        format!("{CLUSTER}={}", desired.cluster),
        format!("{OBJECT}={object}"),
        format!("{SPEC}={}", effective.spec_hash()),
        format!("{TOKEN}={token}"),
    ]
}

/// What the container sees of its Spark.
pub fn mounts(effective: &ResolvedModel<'_>) -> Vec<String> {
    let mut words = Vec::new();
    if let ModelSource::LocalPath(path) = &effective.model.source {
        words.extend(["-v".to_owned(), format!("{path}:{path}:ro")]);
    }
    for volume in effective.start.volumes() {
        words.extend(["-v".to_owned(), volume.to_string()]);
    }
    words
}
