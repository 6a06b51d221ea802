//! A model as it is started: the ranks that belong together, and what they must show to be ready.
//!
//! Kept with each launch, because the file may be edited while the model loads: what loads is judged by what it was
//! started as.

use serde::{Deserialize, Serialize};

use super::{
    desired::{Effective, SpecHash},
    name::{ContainerName, ModelName, ServedName, SparkName},
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub model: ModelName,
    pub spec: SpecHash,
    /// Head first; never empty.
    pub sparks: Vec<SparkName>,
    pub container: ContainerName,
    /// Where the head answers.
    pub port: u16,
    /// What `/v1/models` must name as loaded.
    pub root: String,
    /// Canonical name first; never empty.
    pub served_as: Vec<ServedName>,
}

impl Group {
    pub fn head(&self) -> &SparkName {
        &self.sparks[0]
    }
}

impl Effective<'_> {
    pub fn group(&self) -> Group {
        Group {
            model: self.name.clone(),
            spec: self.spec_hash(),
            sparks: self.model.sparks.clone(),
            container: self.slot.container.clone(),
            port: self.port,
            root: self.model.source.root().to_owned(),
            served_as: self.model.served_as.clone(),
        }
    }
}
