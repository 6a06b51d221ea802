//! What a model is loaded from.

use super::{
    id::RepoRevision,
    name::{PlainPath, RecipeRef, RepoId},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    Repo {
        repo: RepoId,
        revision: Option<RepoRevision>,
    },
    LocalPath(PlainPath),
    /// A recipe, which says what is loaded.
    Recipe(RecipeRef),
}

impl ModelSource {
    /// What the engine is told to load, and what its `root` must say; a recipe keeps that to itself.
    pub fn root(&self) -> Option<&str> {
        match self {
            Self::Repo { repo, .. } => Some(repo.as_str()),
            Self::LocalPath(path) => Some(path.as_str()),
            Self::Recipe(_) => None,
        }
    }

    /// Repository and revision, or the path, where there are files to look at.
    pub fn files_key(&self) -> Option<String> {
        match self {
            // What is streamed from elsewhere is nowhere here.
            Self::Repo { repo, .. } if repo.on_hub().is_none() => None,
            Self::Repo { repo, revision: None } => Some(repo.to_string()),
            Self::Repo { repo, revision: Some(revision) } => Some(format!("{repo}@{revision}")),
            Self::LocalPath(path) => Some(path.to_string()),
            Self::Recipe(_) => None,
        }
    }

    /// As the file names it.
    pub fn name(&self) -> &str {
        match self {
            Self::Repo { repo, .. } => repo.as_str(),
            Self::LocalPath(path) => path.as_str(),
            Self::Recipe(recipe) => recipe.as_str(),
        }
    }
}
