//! Files of a model on their way to a Spark.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    desired::Model,
    id::{JobId, RepoRevision},
    model_source::ModelSource,
    name::{RepoId, SparkName},
    spec_hash::{SpecHash, hex},
};

/// What is transferred.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFiles {
    pub repo: RepoId,
    pub revision: Option<RepoRevision>,
}

impl ModelFiles {
    pub(crate) fn of(model: &Model) -> Option<Self> {
        match &model.source {
            ModelSource::Repo { repo, revision } => {
                // All quantizations of a repository are one folder of the cache.
                let repo = RepoId::new(repo.on_hub()?).ok()?;
                Some(Self { repo, revision: revision.clone() })
            }
            ModelSource::LocalPath(_) | ModelSource::Recipe(_) => None,
        }
    }

    /// Attempts are counted for it.
    pub fn spec(&self) -> SpecHash {
        let text =
            format!("{}@{}", self.repo, self.revision.as_ref().map(RepoRevision::as_str).unwrap_or_default());
        SpecHash::of_label(&format!("files-{}", hex(&Sha256::digest(text.as_bytes())[..8])))
    }

    /// As the cache names its folder.
    pub fn folder(&self) -> String {
        format!("models--{}", self.repo.as_str().replace('/', "--"))
    }
}

impl std::fmt::Display for ModelFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.revision {
            Some(revision) => write!(f, "{}@{revision}", self.repo),
            None => write!(f, "{}", self.repo),
        }
    }
}

/// A transfer that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    pub spark: SparkName,
    pub job: JobId,
    pub files: ModelFiles,
    pub at: Timestamp,
}
