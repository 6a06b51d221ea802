//! How a model is started, as the file says. `launcher` makes the words for a Spark of it; this only holds it.

use serde::{Deserialize, Serialize};

use super::{
    desired::Effective,
    name::{ImageRef, PlainPath},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    pub image: ImageRef,
    pub how: How,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// `launch-cluster.sh` in `dir`, on the head.
    LaunchCluster {
        dir: PlainPath,
        ranks: Ranks,
        /// A launch script of the checkout; it has the engine's command line.
        script: Option<PlainPath>,
        volumes: Vec<Volume>,
    },
    /// `run-recipe.sh` in `dir`, on the head.
    Recipe { dir: PlainPath, ranks: Ranks },
    /// `docker run` on one Spark.
    Docker { volumes: Vec<Volume> },
    /// `sparkrun run` of a recipe, on the head.
    Sparkrun { program: PlainPath, ranks: Ranks },
    /// The owner's own programs in `dir`, on the head.
    Command { dir: PlainPath, start: PlainPath, stop: Option<PlainPath> },
}

/// How the ranks of a model on several Sparks find each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ranks {
    /// An engine process on each.
    #[default]
    Processes,
    /// Ray carries them: the head alone runs the engine's own process.
    Ray,
}

/// A directory or file of every Spark of the model, and where containers see it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Volume {
    pub from: PlainPath,
    pub to: PlainPath,
    pub read_only: bool,
}

impl std::str::FromStr for Volume {
    type Err = String;
    /// `/from:/to`, `/from:/to:ro` or `/from:/to:rw`.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("`{text}` is not a volume such as `/srv/cache:/cache` or `/srv/data:/data:ro`");
        let parts: Vec<&str> = text.split(':').collect();
        let (from, to, read_only) = match parts[..] {
            [from, to] | [from, to, "rw"] => (from, to, false),
            [from, to, "ro"] => (from, to, true),
            _ => return Err(expected()),
        };
        let path = |text: &str| PlainPath::new(text).ok().filter(|path| path.as_str().starts_with('/'));
        match (path(from), path(to)) {
            (Some(from), Some(to)) => Ok(Self { from, to, read_only }),
            _ => Err(expected()),
        }
    }
}

impl std::fmt::Display for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}{}", self.from, self.to, if self.read_only { ":ro" } else { "" })
    }
}

/// Something of the owner's that a launch needs, in the first of these places that has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Needed {
    /// As the file calls it.
    pub name: String,
    /// Below the home directory, or absolute.
    pub at: Vec<String>,
    /// The head alone needs it.
    pub on_head: bool,
}

impl Effective<'_> {
    /// The launch script, the mods and the sources of volumes.
    pub fn needed(&self) -> Vec<Needed> {
        let how = &self.launcher.how;
        let mut needed = Vec::new();
        let below = |path: &str| match (path.starts_with('/'), how.dir()) {
            (false, Some(dir)) => format!("{dir}/{path}"),
            _ => path.to_owned(),
        };
        if let How::LaunchCluster { script: Some(script), .. } = how {
            let at = ["", "examples/"]
                .into_iter()
                .flat_map(|folder| ["", ".sh"].map(|ending| below(&format!("{folder}{script}{ending}"))));
            needed.push(Needed { name: script.to_string(), at: at.collect(), on_head: true });
        }
        for path in &self.model.mods {
            let at = if path.as_str().ends_with(".zip") {
                below(path.as_str())
            } else {
                below(&format!("{path}/run.sh"))
            };
            needed.push(Needed { name: path.to_string(), at: vec![at], on_head: true });
        }
        for volume in how.volumes() {
            let from = volume.from.to_string();
            needed.push(Needed { name: from.clone(), at: vec![from], on_head: false });
        }
        needed
    }
}

impl How {
    /// As the file names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LaunchCluster { .. } => "launch-cluster",
            Self::Recipe { .. } => "recipe",
            Self::Docker { .. } => "docker",
            Self::Sparkrun { .. } => "sparkrun",
            Self::Command { .. } => "command",
        }
    }

    /// The directory on the head that its programs are in.
    pub fn dir(&self) -> Option<&PlainPath> {
        match self {
            Self::LaunchCluster { dir, .. } | Self::Recipe { dir, .. } | Self::Command { dir, .. } => {
                Some(dir)
            }
            Self::Docker { .. } | Self::Sparkrun { .. } => None,
        }
    }

    /// What must be there to start a model, below the home directory or absolute.
    pub fn programs(&self) -> Vec<String> {
        match self {
            // Its folder is looked into by itself.
            Self::LaunchCluster { .. } | Self::Docker { .. } => Vec::new(),
            Self::Recipe { dir, .. } => vec![format!("{dir}/run-recipe.sh")],
            Self::Sparkrun { program, .. } => vec![program.to_string()],
            Self::Command { dir, start, stop } => {
                [start].into_iter().chain(stop).map(|program| format!("{dir}/{program}")).collect()
            }
        }
    }

    pub fn volumes(&self) -> &[Volume] {
        match self {
            Self::LaunchCluster { volumes, .. } | Self::Docker { volumes } => volumes,
            Self::Recipe { .. } | Self::Sparkrun { .. } | Self::Command { .. } => &[],
        }
    }

    /// Containers have names that the launcher makes.
    pub fn names_containers(&self) -> bool {
        matches!(self, Self::Sparkrun { .. })
    }

    /// The engine gets the words of `args`, and no other options but ours.
    pub fn words_are_all(&self) -> bool {
        matches!(self, Self::LaunchCluster { script: None, .. } | Self::Docker { .. })
    }

    /// What a container receives beside what every kind gives it; `None` for what was there before there were other kinds.
    /// Part of the spec hash.
    pub(super) fn received(&self) -> Option<serde_json::Value> {
        let texts = |volumes: &[Volume]| volumes.iter().map(ToString::to_string).collect::<Vec<_>>();
        match self {
            Self::LaunchCluster { ranks: Ranks::Processes, script: None, volumes, .. }
                if volumes.is_empty() =>
            {
                None
            }
            Self::LaunchCluster { ranks, script, volumes, .. } => {
                Some(serde_json::json!([self.kind(), ranks, script, texts(volumes)]))
            }
            Self::Recipe { ranks, .. } | Self::Sparkrun { ranks, .. } => {
                Some(serde_json::json!([self.kind(), ranks]))
            }
            Self::Docker { volumes } => Some(serde_json::json!([self.kind(), texts(volumes)])),
            Self::Command { start, .. } => Some(serde_json::json!([self.kind(), start])),
        }
    }
}
