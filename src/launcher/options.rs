//! Options for `docker run` that every container of a model gets: labels, mounts, its environment.
//!
//! They are words without white space or shell characters, because launchers take them as one text that they split.

use super::Order;
use crate::core::{
    desired::{Effective, Source},
    label::{CLUSTER, OBJECT, SPEC, TOKEN},
};

/// One word each.
pub fn options(order: Order<'_>) -> Vec<String> {
    let Order { object, effective, desired, token, .. } = order;
    let mut words = Vec::new();
    let labels = [
        (CLUSTER, desired.cluster.to_string()),
        (OBJECT, object.to_string()),
        (SPEC, effective.spec_hash().to_string()),
        (TOKEN, token.to_string()),
    ];
    for (key, value) in labels {
        words.extend(["--label".to_owned(), format!("{key}={value}")]);
    }
    words.extend(mounts(effective));
    if let Some(file) = order.environment_file {
        words.extend(["--env-file".to_owned(), file.to_owned()]);
    }
    words
}

/// What the container sees of its Spark.
pub fn mounts(effective: &Effective<'_>) -> Vec<String> {
    let mut words = Vec::new();
    if let Source::LocalPath(path) = &effective.model.source {
        words.extend(["-v".to_owned(), format!("{path}:{path}:ro")]);
    }
    for volume in effective.launcher.how.volumes() {
        words.extend(["-v".to_owned(), volume.to_string()]);
    }
    words
}
