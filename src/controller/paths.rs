//! Where the file and the data are.

use std::path::PathBuf;

use crate::core::model::desired::Secret;

/// Where things are.
#[derive(Debug, Clone)]
pub struct ControllerPaths {
    pub file: PathBuf,
    /// Somebody named it, rather than its being the default.
    pub is_file_told: bool,
    /// Store, key, known hosts, saved logs.
    pub data: PathBuf,
    /// Places of secrets that whoever may edit may name, beside the data directory's `secrets`. A folder stands for its files.
    pub allowed_secrets: Vec<Secret>,
}

impl ControllerPaths {
    /// May somebody who may only edit name this place?
    pub fn allows(&self, secret: &Secret) -> bool {
        match secret {
            Secret::Env(_) => self.allowed_secrets.contains(secret),
            Secret::File(path) => {
                let path = std::path::Path::new(path.as_str());
                let own =
                    std::path::absolute(&self.data).unwrap_or_else(|_| self.data.clone()).join("secrets");
                let told = self.allowed_secrets.iter().filter_map(|allowed| match allowed {
                    Secret::File(folder) => Some(PathBuf::from(folder.as_str())),
                    Secret::Env(_) => None,
                });
                told.chain([own]).any(|folder| is_in(path, folder.as_path()))
            }
        }
    }
}

/// The path is below the folder, and does not lead out of it again.
fn is_in(path: &std::path::Path, folder: &std::path::Path) -> bool {
    let leads_up = path.components().any(|part| matches!(part, std::path::Component::ParentDir));
    path.starts_with(folder) && !leads_up
}
