//! How a model is started: the launcher as the file says it, and a launcher with what it starts, of which only those that fit
//! can be made. `launcher/` makes the words for a Spark of it. A new kind of launcher has its facts here.

use serde::{Deserialize, Serialize};

use super::{
    launch_spec::{Liveness, OwnStop},
    launcher_options::{DockerOptions, LauncherOptions, Volume},
    model_source::ModelSource,
    name::{ImageRef, PlainPath, RecipeRef},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    pub image: ImageRef,
    pub how: LaunchMethod,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchMethod {
    /// `launch-cluster.sh` in `dir`, on the head.
    LaunchCluster {
        dir: PlainPath,
        ranks: DistributedExecutor,
        /// A launch script of the checkout; it has the engine's command line.
        script: Option<PlainPath>,
        docker: DockerOptions,
        own: LauncherOptions,
    },
    /// `run-recipe.sh` in `dir`, on the head.
    Recipe { dir: PlainPath, ranks: DistributedExecutor, own: LauncherOptions },
    /// `docker run` on one Spark.
    Docker {
        docker: DockerOptions,
        /// What runs in the container instead of `vllm`, with the words that it would get.
        entrypoint: Option<PlainPath>,
    },
    /// `sparkrun run` of a recipe, on the head.
    Sparkrun { program: PlainPath, ranks: DistributedExecutor },
    /// The owner's own programs in `dir`, on the head.
    Command { dir: PlainPath, start: PlainPath, stop: Option<PlainPath> },
}

/// How the ranks of a model on several Sparks find each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DistributedExecutor {
    /// An engine process on each.
    #[default]
    Processes,
    /// Ray carries them: the head alone runs the engine's own process.
    Ray,
}

/// Something of the owner's that a launch needs, in the first of these places that has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaunchFile {
    /// As the file calls it.
    pub name: String,
    /// Below the home directory, or absolute.
    pub at: Vec<String>,
    /// The head alone needs it.
    pub on_head: bool,
}

/// A launcher with what it starts. `launch-cluster` is two of them: with the engine's words from the file, or from a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start<'a> {
    LaunchCluster {
        root: &'a str,
        dir: &'a PlainPath,
        ranks: DistributedExecutor,
        docker: &'a DockerOptions,
        own: &'a LauncherOptions,
    },
    LaunchScript {
        script: &'a PlainPath,
        dir: &'a PlainPath,
        ranks: DistributedExecutor,
        docker: &'a DockerOptions,
        own: &'a LauncherOptions,
    },
    Recipe {
        recipe: &'a RecipeRef,
        dir: &'a PlainPath,
        ranks: DistributedExecutor,
        own: &'a LauncherOptions,
    },
    Docker {
        root: &'a str,
        docker: &'a DockerOptions,
        entrypoint: Option<&'a PlainPath>,
    },
    Sparkrun {
        recipe: &'a RecipeRef,
        program: &'a PlainPath,
        ranks: DistributedExecutor,
    },
    Command {
        root: &'a str,
        dir: &'a PlainPath,
        program: &'a PlainPath,
        stop: Option<&'a PlainPath>,
    },
}

/// Why a launcher cannot start what a model names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartMismatch {
    /// It starts recipes, and the model is none.
    StartsRecipes,
    /// The model is a recipe, and it starts none.
    StartsNoRecipes,
    /// The recipe is in a registry or at an address, and it reads those of its checkout.
    StartsOwnRecipes,
}

/// `launch-cluster.sh` and what belongs to it, in a directory of the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkout<'a> {
    pub dir: &'a PlainPath,
    pub ranks: DistributedExecutor,
    /// Options of its launcher that the file asks for.
    pub own: &'a LauncherOptions,
}

/// Of sparkrun 0.2 to 0.4.
const SPARKRUN_LOG: &str = "/tmp/sparkrun_serve.log";

impl<'a> Start<'a> {
    /// # Errors
    /// When a launcher of that kind cannot start such a source.
    pub fn new(source: &'a ModelSource, method: &'a LaunchMethod) -> Result<Self, StartMismatch> {
        Ok(match method {
            LaunchMethod::LaunchCluster { dir, ranks, script: Some(script), docker, own } => {
                root_of(source)?;
                Self::LaunchScript { script, dir, ranks: *ranks, docker, own }
            }
            LaunchMethod::LaunchCluster { dir, ranks, script: None, docker, own } => {
                Self::LaunchCluster { root: root_of(source)?, dir, ranks: *ranks, docker, own }
            }
            LaunchMethod::Recipe { dir, ranks, own } => {
                let recipe = recipe_of(source)?;
                if recipe.is_address() {
                    return Err(StartMismatch::StartsOwnRecipes);
                }
                Self::Recipe { recipe, dir, ranks: *ranks, own }
            }
            LaunchMethod::Docker { docker, entrypoint } => {
                Self::Docker { root: root_of(source)?, docker, entrypoint: entrypoint.as_ref() }
            }
            LaunchMethod::Sparkrun { program, ranks } => {
                Self::Sparkrun { recipe: recipe_of(source)?, program, ranks: *ranks }
            }
            LaunchMethod::Command { dir, start, stop } => {
                Self::Command { root: root_of(source)?, dir, program: start, stop: stop.as_ref() }
            }
        })
    }

    /// The launcher's kind, as the file names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LaunchCluster { .. } | Self::LaunchScript { .. } => "launch-cluster",
            Self::Recipe { .. } => "recipe",
            Self::Docker { .. } => "docker",
            Self::Sparkrun { .. } => "sparkrun",
            Self::Command { .. } => "command",
        }
    }

    /// Where it is done by the launcher of a checkout. That finds its containers by a part of a line of `docker ps`, and compares
    /// images by their ids.
    pub fn checkout(&self) -> Option<Checkout<'a>> {
        match *self {
            Self::LaunchCluster { dir, ranks, own, .. }
            | Self::LaunchScript { dir, ranks, own, .. }
            | Self::Recipe { dir, ranks, own, .. } => Some(Checkout { dir, ranks, own }),
            Self::Docker { .. } | Self::Sparkrun { .. } | Self::Command { .. } => None,
        }
    }

    /// The directory on the head that its programs are in.
    pub fn dir(&self) -> Option<&'a PlainPath> {
        match *self {
            Self::Command { dir, .. } => Some(dir),
            Self::LaunchCluster { .. }
            | Self::LaunchScript { .. }
            | Self::Recipe { .. }
            | Self::Docker { .. }
            | Self::Sparkrun { .. } => self.checkout().map(|checkout| checkout.dir),
        }
    }

    /// Where it is on the head: the directory of its programs, or the program. What is seen of it has this as its key.
    pub fn place(&self) -> Option<&'a PlainPath> {
        self.dir().or_else(|| self.sparkrun())
    }

    /// What must be there to start a model, below the home directory or absolute.
    pub fn programs(&self) -> Vec<String> {
        match self {
            // Its folder is looked into by itself.
            Self::LaunchCluster { .. } | Self::LaunchScript { .. } | Self::Docker { .. } => Vec::new(),
            Self::Recipe { dir, .. } => vec![format!("{dir}/run-recipe.sh")],
            Self::Sparkrun { program, .. } => vec![program.to_string()],
            Self::Command { dir, program, stop, .. } => {
                [program].into_iter().chain(stop).map(|program| format!("{dir}/{program}")).collect()
            }
        }
    }

    /// The recipe of a checkout, and where that is: its dry run says what it loads and sets.
    pub fn recipe_of_checkout(&self) -> Option<(&'a RecipeRef, &'a PlainPath)> {
        match *self {
            Self::Recipe { recipe, dir, .. } => Some((recipe, dir)),
            Self::LaunchCluster { .. }
            | Self::LaunchScript { .. }
            | Self::Docker { .. }
            | Self::Sparkrun { .. }
            | Self::Command { .. } => None,
        }
    }

    /// `sparkrun`, whose help says which options it takes.
    pub fn sparkrun(&self) -> Option<&'a PlainPath> {
        match *self {
            Self::Sparkrun { program, .. } => Some(program),
            Self::LaunchCluster { .. }
            | Self::LaunchScript { .. }
            | Self::Recipe { .. }
            | Self::Docker { .. }
            | Self::Command { .. } => None,
        }
    }

    /// The owner's launch script, which has the engine's command line.
    pub fn script(&self) -> Option<&'a PlainPath> {
        match *self {
            Self::LaunchScript { script, .. } => Some(script),
            Self::LaunchCluster { .. }
            | Self::Recipe { .. }
            | Self::Docker { .. }
            | Self::Sparkrun { .. }
            | Self::Command { .. } => None,
        }
    }

    /// What `docker run` is told besides.
    pub fn docker(&self) -> Option<&'a DockerOptions> {
        match *self {
            Self::LaunchCluster { docker, .. }
            | Self::LaunchScript { docker, .. }
            | Self::Docker { docker, .. } => Some(docker),
            Self::Recipe { .. } | Self::Sparkrun { .. } | Self::Command { .. } => None,
        }
    }

    pub fn volumes(&self) -> &'a [Volume] {
        self.docker().map(|docker| docker.volumes.as_slice()).unwrap_or_default()
    }

    /// Containers have names that the launcher makes.
    pub fn names_containers(&self) -> bool {
        matches!(self, Self::Sparkrun { .. })
    }

    /// Containers of the file's `image` are started; the owner's own program starts what it likes.
    pub fn starts_the_image(&self) -> bool {
        !matches!(self, Self::Command { .. })
    }

    /// Its containers do not run as root, whatever the image says.
    pub fn is_unprivileged(&self) -> bool {
        self.checkout().is_some_and(|checkout| checkout.own.non_privileged)
    }

    /// The engine gets the words of `args`, and no other options but ours.
    pub fn controls_full_command_line(&self) -> bool {
        matches!(self, Self::LaunchCluster { .. } | Self::Docker { .. })
    }

    /// How it is seen that what it started is alive.
    pub fn liveness(&self) -> Liveness {
        match self {
            Self::LaunchCluster { ranks, .. }
            | Self::LaunchScript { ranks, .. }
            | Self::Recipe { ranks, .. }
            | Self::Sparkrun { ranks, .. } => match ranks {
                DistributedExecutor::Ray => Liveness::Ray,
                DistributedExecutor::Processes => Liveness::Engine,
            },
            Self::Docker { .. } => Liveness::Engine,
            Self::Command { .. } => Liveness::Container,
        }
    }

    /// The file in the container that the engine writes to, where that is not the container's own output.
    pub fn log(&self) -> Option<PlainPath> {
        matches!(self, Self::Sparkrun { .. }).then(|| PlainPath::new(SPARKRUN_LOG).expect("a plain path"))
    }

    /// The owner's own program that ends it.
    pub fn stop(&self) -> Option<OwnStop> {
        match *self {
            Self::Command { dir, stop: Some(stop), .. } => {
                Some(OwnStop { dir: dir.clone(), program: stop.clone() })
            }
            Self::Command { stop: None, .. }
            | Self::LaunchCluster { .. }
            | Self::LaunchScript { .. }
            | Self::Recipe { .. }
            | Self::Sparkrun { .. }
            | Self::Docker { .. } => None,
        }
    }

    /// What a container receives beside what every kind gives it; `None` for what was there before there were other kinds.
    /// Part of the spec hash.
    pub(crate) fn received(&self) -> Vec<serde_json::Value> {
        let volumes: Vec<String> = self.volumes().iter().map(ToString::to_string).collect();
        let no_script: Option<&PlainPath> = None;
        let kind = match self {
            Self::LaunchCluster { ranks: DistributedExecutor::Processes, docker, .. }
                if docker.volumes.is_empty() =>
            {
                None
            }
            Self::LaunchCluster { ranks, .. } => {
                Some(serde_json::json!([self.kind(), ranks, no_script, volumes]))
            }
            Self::LaunchScript { ranks, script, .. } => {
                Some(serde_json::json!([self.kind(), ranks, script, volumes]))
            }
            Self::Recipe { ranks, .. } | Self::Sparkrun { ranks, .. } => {
                Some(serde_json::json!([self.kind(), ranks]))
            }
            Self::Docker { .. } => Some(serde_json::json!([self.kind(), volumes])),
            Self::Command { program, .. } => Some(serde_json::json!([self.kind(), program])),
        };
        // What came later stands behind, and only where it is said.
        let mut more = self.docker().map(DockerOptions::words).unwrap_or_default();
        let own = self.checkout().map(|checkout| checkout.own);
        more.extend(own.into_iter().flat_map(LauncherOptions::all).flat_map(|option| option.words));
        if let Self::Docker { entrypoint: Some(entrypoint), .. } = self {
            more.push(format!("--entrypoint={entrypoint}"));
        }
        let more = (!more.is_empty()).then(|| serde_json::json!({ "options": more }));
        kind.into_iter().chain(more).collect()
    }
}

/// The model's files, for a launcher that starts no recipes.
fn root_of(source: &ModelSource) -> Result<&str, StartMismatch> {
    source.root().ok_or(StartMismatch::StartsNoRecipes)
}

/// The recipe, for a launcher that starts nothing else.
fn recipe_of(source: &ModelSource) -> Result<&RecipeRef, StartMismatch> {
    match source {
        ModelSource::Recipe(recipe) => Ok(recipe),
        ModelSource::Repo { .. } | ModelSource::LocalPath(_) => Err(StartMismatch::StartsRecipes),
    }
}
