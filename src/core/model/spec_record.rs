//! What loads of one spec have shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{checked_arguments::CheckedArguments, files::FilesSeen, id::ImageId, name::SparkName};

/// What loads of one spec have shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpecRecord {
    /// It became ready, be it in a time that nobody knows.
    pub became_ready: bool,
    /// Seconds that loads took, newest last.
    pub load_secs: Vec<u64>,
    /// What the last load that became ready had of its files, on each of its Sparks where that was seen.
    pub loaded_from: BTreeMap<SparkName, FilesSeen>,
    /// Bytes of memory that loads took on each Spark, newest last.
    pub peaks: BTreeMap<SparkName, Vec<u64>>,
    /// What the engine of each image said of its arguments: another image is another engine.
    pub checked: BTreeMap<ImageId, CheckedArguments>,
}

impl SpecRecord {
    /// Nothing was learned of it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
