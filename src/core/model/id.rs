//! Names that others gave: Docker, the kernel, a controller. Each is a type of its own, so that none is taken for another; what is
//! in them is nobody's business here.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
        )]
        #[serde(transparent)]
        #[schemars(inline)]
        pub struct $name(String);

        impl $name {
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }
    };
}

id!(
    /// A container's id, as its Docker Engine made it.
    ContainerId
);
id!(
    /// An image's id in a Docker Engine: the digest of its configuration.
    ImageId
);
id!(
    /// The kernel's own name of one run of a machine: another one means that it was restarted.
    BootId
);
id!(
    /// A job on a Spark, `EPOCH.SEQUENCE` of the token that started it.
    JobId
);
id!(
    /// A controller, as it calls itself in tokens.
    ControllerId
);
id!(
    /// A plan: a hash of its steps and of what they rely on.
    PlanId
);
id!(
    /// One start of what serves: another word is another start. It says nothing else.
    Generation
);
id!(
    /// What a step does to what: the same step has the same key in every plan.
    StepKey
);
id!(
    /// A text of the file that takes much out: a hash of its bytes, with which a person agrees to that.
    RemovalId
);
id!(
    /// A container's name, as its Docker Engine tells it: whoever made the container chose it.
    SeenContainerName
);
id!(
    /// The image that a container was made from, as its Docker Engine tells it: a name, or an id where the name went to another.
    SeenImageRef
);
id!(
    /// The cluster that a container's label names: not always ours.
    SeenClusterName
);
id!(
    /// What an engine is told to load, and names as loaded: a repository or a path, as the file, a recipe or the engine has it.
    ModelRoot
);
id!(
    /// A name that an engine serves its model as, as the engine or its command line has it.
    SeenServedName
);
id!(
    /// `sha256:…` of a manifest that an image was pulled by, as a Docker Engine tells it.
    ImageDigest
);
id!(
    /// `sha256:…` of what one layer of an image holds, as a Docker Engine tells it.
    LayerDigest
);
id!(
    /// Whom the processes of an image run as, `user` or `user:group`, as its configuration has it.
    ContainerUser
);
id!(
    /// When Docker starts a container again by itself, as its Engine tells it.
    RestartPolicyName
);
id!(
    /// The name of a label of a container, as its Docker Engine tells it.
    LabelName
);
id!(
    /// An option of a launcher, with its dashes, as its own parser names it.
    LauncherOptionName
);
id!(
    /// A variable that a recipe sets, as the recipe names it.
    RecipeVariable
);
id!(
    /// What is checked out in a repository, as git tells it.
    GitCommit
);
id!(
    /// A branch of a repository, as the file names it.
    GitBranch
);
id!(
    /// A revision of a repository on the Hugging Face hub: a branch, a tag or a commit, as the file or a command line names it.
    RepoRevision
);
id!(
    /// An engine's version, as the engine tells it.
    EngineVersion
);
id!(
    /// The version of a GPU's driver, as `nvidia-smi` tells it.
    DriverVersion
);
id!(
    /// A kernel's release, as the kernel tells it.
    KernelRelease
);

impl ContainerId {
    /// As people know it.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}
