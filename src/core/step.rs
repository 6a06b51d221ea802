//! One thing to do on one Spark, as data: made in `slot` and `service`, printed here, performed in `apply`.

use serde::{Deserialize, Serialize};

use super::{
    desired::{Object, SpecHash},
    name::{ModelName, SparkName},
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum Step {
    /// Take what already runs and matches as ours. Changes nothing on the Sparks.
    Adopt { object: Object, model: ModelName, spec: SpecHash, ranks: Vec<Rank> },
    /// Save the logs, stop a container and, when `remove`, free its name.
    Stop { object: Object, spark: SparkName, container: String, name: String, remove: bool, pids: Vec<u32> },
    /// Start a container that is there but not running.
    Start { object: Object, spark: SparkName, container: String, name: String },
    /// End a job and everything it started that is still in its process group.
    EndJob { object: Object, spark: SparkName, job: String },
    /// Make every older message for this Spark worthless.
    Advance { object: Object, spark: SparkName },
    /// Start the launcher as a job on the head.
    Launch { object: Object, model: ModelName, spec: SpecHash, sparks: Vec<SparkName>, name: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rank {
    pub spark: SparkName,
    pub container: String,
}

impl Step {
    pub fn object(&self) -> &Object {
        match self {
            Self::Adopt { object, .. }
            | Self::Stop { object, .. }
            | Self::Start { object, .. }
            | Self::EndJob { object, .. }
            | Self::Advance { object, .. }
            | Self::Launch { object, .. } => object,
        }
    }

    /// The Spark on which it acts; `None` when it acts on none.
    pub fn spark(&self) -> Option<&SparkName> {
        match self {
            Self::Adopt { .. } => None,
            Self::Stop { spark, .. }
            | Self::Start { spark, .. }
            | Self::EndJob { spark, .. }
            | Self::Advance { spark, .. } => Some(spark),
            Self::Launch { sparks, .. } => sparks.first(),
        }
    }

    /// The same step in two plans has the same key: approvals are kept by it.
    pub fn key(&self) -> String {
        match self {
            Self::Adopt { object, spec, ranks, .. } => {
                let ids: Vec<_> = ranks.iter().map(|rank| short(&rank.container)).collect();
                format!("adopt {object} {spec} {}", ids.join(","))
            }
            Self::Stop { object, spark, container, .. } => {
                format!("stop {object} {spark} {}", short(container))
            }
            Self::Start { object, spark, container, .. } => {
                format!("start {object} {spark} {}", short(container))
            }
            Self::EndJob { object, spark, job } => format!("end-job {object} {spark} {job}"),
            Self::Advance { object, spark } => format!("advance {object} {spark}"),
            Self::Launch { object, spec, sparks, .. } => {
                let sparks: Vec<_> = sparks.iter().map(SparkName::as_str).collect();
                format!("launch {object} {spec} {}", sparks.join(","))
            }
        }
    }
}

/// A container id as people know it.
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Adopt { model, ranks, .. } => {
                let places: Vec<_> = ranks
                    .iter()
                    .map(|rank| format!("{} on {}", short(&rank.container), rank.spark))
                    .collect();
                write!(f, "adopt {} as `{model}`: it runs and matches", places.join(" and "))
            }
            Self::Stop { spark, container, name, remove, .. } => {
                let what = if *remove { "stop and remove" } else { "stop" };
                write!(f, "{what} `{name}` ({}) on {spark}, its logs saved first", short(container))
            }
            Self::Start { spark, container, name, .. } => {
                write!(f, "start `{name}` ({}) on {spark}", short(container))
            }
            Self::EndJob { spark, job, .. } => write!(f, "end the launcher job {job} on {spark}"),
            Self::Advance { spark, .. } => write!(f, "fence off older messages on {spark}"),
            Self::Launch { model, sparks, name, .. } => {
                let sparks: Vec<_> = sparks.iter().map(SparkName::as_str).collect();
                write!(f, "launch `{model}` as `{name}` on {}", sparks.join(" and "))
            }
        }
    }
}
