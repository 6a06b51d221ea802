//! An image as one Engine has it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::id::{ContainerUser, ImageDigest, ImageId, LayerDigest};

/// What its name means on one Spark.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredImage")]
pub struct ImageSeen {
    /// How this Engine's store calls it: one of another kind calls the same image otherwise.
    pub id: ImageId,
    /// `sha256:…` of the manifests that it was pulled by, in whichever registry.
    pub digests: BTreeSet<ImageDigest>,
    /// `sha256:…` of what its layers hold, the lowest first.
    pub layers: Vec<LayerDigest>,
    /// Whom its processes run as; empty is root.
    pub user: ContainerUser,
}

/// As reports have it: those of before 0.2 name an image by its id alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredImage {
    Id(ImageId),
    Whole {
        id: ImageId,
        #[serde(default)]
        digests: BTreeSet<ImageDigest>,
        #[serde(default)]
        layers: Vec<LayerDigest>,
        #[serde(default)]
        user: ContainerUser,
    },
}

impl From<StoredImage> for ImageSeen {
    fn from(written: StoredImage) -> Self {
        match written {
            StoredImage::Id(id) => Self { id, ..Self::default() },
            StoredImage::Whole { id, digests, layers, user } => Self { id, digests, layers, user },
        }
    }
}

/// One of which only the id is known.
impl From<&str> for ImageSeen {
    fn from(id: &str) -> Self {
        Self { id: id.into(), ..Self::default() }
    }
}

impl ImageSeen {
    /// The same content. Two stores (overlay2 and containerd) give one pull two ids; the manifest's digest is the same, and so
    /// are the layers.
    pub fn is_like(&self, other: &Self) -> bool {
        self.id == other.id
            || self.digests.intersection(&other.digests).next().is_some()
            || (!self.layers.is_empty() && self.layers == other.layers)
    }

    /// `user` or `user:group`, by name or number.
    pub fn runs_as_root(&self) -> bool {
        matches!(self.user.as_str().split(':').next(), Some("" | "root" | "0"))
    }
}
