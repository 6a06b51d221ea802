//! What is remembered of a slot.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    id::{ContainerId, ImageId},
    launch::{Launch, LaunchState},
    name::{ModelName, SparkName},
    object::Object,
    spec_hash::SpecHash,
};

/// What is remembered of a slot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlotRecord {
    /// What was last started in it.
    pub launch: Option<Launch>,
    /// The last model that served in it.
    pub proven: Option<ProvenModel>,
    /// Since when the requests of what is to be stopped have been waited for.
    pub draining_since: Option<Timestamp>,
    /// What was stopped to make room, until the next launch.
    pub release: Option<MemoryRelease>,
}

impl SlotRecord {
    pub(super) const EMPTY: Self = Self { launch: None, proven: None, draining_since: None, release: None };
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProvenModel {
    pub model: ModelName,
    pub spec: SpecHash,
    pub at: Timestamp,
    /// The image that its head ran: another one is another engine.
    #[serde(default)]
    pub image_id: Option<ImageId>,
    /// What served before it, of another spec.
    #[serde(default)]
    pub before: Option<Box<ProvenModel>>,
}

impl ProvenModel {
    /// This one and the one before it, the newest first.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.before.as_deref())
    }
}

/// A container that was taken over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdoptedContainer {
    pub object: Object,
    pub spark: SparkName,
    pub spec: SpecHash,
}

/// What must be gone before the next launch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryRelease {
    pub since: Timestamp,
    pub containers: BTreeSet<ContainerId>,
    /// Host process ids of what ran in them, by Spark.
    pub pids: BTreeMap<SparkName, BTreeSet<u32>>,
    /// What the slot's launch was before the first of these stops.
    #[serde(default)]
    pub before: Option<LaunchState>,
}
