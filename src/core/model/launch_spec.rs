//! A model as it is started: the ranks that belong together, and what they must show to be ready.
//!
//! Kept with each launch, because the file may be edited while the model loads: what loads is judged by what it was
//! started as.

use serde::{Deserialize, Serialize};

use super::{
    id::ModelRoot,
    name::{ContainerName, ModelName, PlainPath, ServedName, SparkName},
    observed::{Container, is_ray},
    spec_hash::SpecHash,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchSpec {
    pub model: ModelName,
    pub spec: SpecHash,
    /// Head first; never empty.
    pub sparks: Vec<SparkName>,
    pub container: ContainerName,
    /// Where the head answers.
    pub port: u16,
    /// What `/v1/models` must name as loaded; `None` when only the launcher knows.
    pub root: Option<ModelRoot>,
    /// Canonical name first; never empty.
    pub served_as: Vec<ServedName>,
    #[serde(default)]
    pub sign: Liveness,
    /// The owner's own program that stops it, on the head.
    #[serde(default)]
    pub stop: Option<OwnStop>,
    /// Its containers have names of the launcher's own: they are known by our labels.
    #[serde(default)]
    pub is_labelled: bool,
    /// Where the engine's words are in the container, when not in its output.
    #[serde(default)]
    pub log: Option<PlainPath>,
    /// Something of the owner's runs in its containers before the engine does.
    #[serde(default)]
    pub prepares: bool,
}

/// What shows that a rank lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// An engine process in each container.
    #[default]
    Engine,
    /// An engine process on the head, Ray on the others.
    Ray,
    /// The container runs: what the owner's program starts in it is not ours to know.
    Container,
}

/// A program in a directory below the home directory, or an absolute one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnStop {
    pub dir: PlainPath,
    pub program: PlainPath,
}

impl LaunchSpec {
    /// The rank in `container` on `spark` lives: `None` when that could not be seen.
    pub fn is_alive(&self, spark: &SparkName, container: &Container) -> Option<bool> {
        match self.sign {
            Liveness::Container => Some(container.running),
            Liveness::Ray if spark != self.head() => container.runs(is_ray),
            Liveness::Engine | Liveness::Ray => container.engine_alive(),
        }
    }

    pub fn head(&self) -> &SparkName {
        &self.sparks[0]
    }
}
