//! Launchers that slots and models name: what each kind needs, and what it cannot have.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::{DEFAULT_PORT, Resolver, v1};
use crate::core::model::{
    launcher::{DistributedExecutor, LaunchMethod, Launcher, Start, StartMismatch},
    launcher_options::{DockerOptions, LauncherOptions, NcclDebug},
    model_source::ModelSource,
    name::{Flag, ImageRef, PlainPath, Variable},
};

/// Variables that `launch-cluster.sh` gives every container with `-e`, since its first version.
const SET_BY_THE_CHECKOUT: [&str; 2] = ["NCCL_IGNORE_CPU_AFFINITY", "PYTORCH_CUDA_ALLOC_CONF"];

fn default_dir() -> PlainPath {
    PlainPath::new("spark-vllm-docker").expect("a plain path")
}

/// Where `uv tool install` puts it.
fn default_sparkrun() -> PlainPath {
    PlainPath::new(".local/bin/sparkrun").expect("a plain path")
}

fn default_image() -> ImageRef {
    ImageRef::new("vllm-node").expect("an image")
}

/// Of a slot that names none.
fn common() -> Launcher {
    let how = LaunchMethod::LaunchCluster {
        dir: default_dir(),
        ranks: DistributedExecutor::Processes,
        script: None,
        docker: DockerOptions::default(),
        own: LauncherOptions::default(),
    };
    Launcher { image: default_image(), how }
}

impl Resolver {
    pub(super) fn launcher(&mut self, path: &str, written: Option<&v1::WrittenLauncher>) -> Option<Launcher> {
        let Some(written) = written else { return Some(common()) };
        let before = self.problems.len();
        self.only_what_belongs(path, written);
        let kind = kind_name(written.kind);
        let dir = written.dir.clone();
        let ranks = ranks(Some(written));
        let docker = self.docker_options(path, written);
        let own = own_options(written);
        let how = match written.kind {
            v1::LauncherKind::LaunchCluster => LaunchMethod::LaunchCluster {
                dir: dir.unwrap_or_else(default_dir),
                ranks,
                script: written.script.clone(),
                docker,
                own,
            },
            v1::LauncherKind::Recipe => {
                LaunchMethod::Recipe { dir: dir.unwrap_or_else(default_dir), ranks, own }
            }
            v1::LauncherKind::Docker => {
                self.needs(path, kind, "image", written.image.is_some());
                LaunchMethod::Docker { docker, entrypoint: written.entrypoint.clone() }
            }
            v1::LauncherKind::Command => {
                self.needs(path, kind, "image", written.image.is_some());
                self.needs(path, kind, "dir", dir.is_some());
                self.needs(path, kind, "start", written.start.is_some());
                let start = written.start.clone();
                let (Some(dir), Some(start)) = (dir, start) else { return None };
                LaunchMethod::Command { dir, start, stop: written.stop.clone() }
            }
            v1::LauncherKind::Sparkrun => {
                self.needs(path, kind, "image", written.image.is_some());
                LaunchMethod::Sparkrun {
                    program: written.program.clone().unwrap_or_else(default_sparkrun),
                    ranks,
                }
            }
        };
        let image = written.image.clone().unwrap_or_else(default_image);
        (self.problems.len() == before).then_some(Launcher { image, how })
    }

    /// Says that a launcher of this kind needs the field, unless it is there.
    fn needs(&mut self, path: &str, kind: &str, field: &str, is_there: bool) {
        if !is_there {
            self.problem(path, format!("a launcher of kind `{kind}` needs `{field}`"), None);
        }
    }

    fn docker_options(&mut self, path: &str, written: &v1::WrittenLauncher) -> DockerOptions {
        let shm_bytes = written.shm_gib.and_then(|gib| self.gib(&format!("{path}/shm_gib"), gib));
        DockerOptions {
            volumes: written.volumes.iter().map(|volume| volume.0.clone()).collect(),
            ports: written.ports.iter().map(|port| port.0).collect(),
            shm_bytes,
            ulimits: written.ulimits.iter().map(|limit| limit.0.clone()).collect(),
            gpus: written.gpus.as_ref().map(|gpus| gpus.0.clone()),
        }
    }

    /// A field of another kind would silently do nothing.
    fn only_what_belongs(&mut self, path: &str, written: &v1::WrittenLauncher) {
        use v1::LauncherKind::{Command, Docker, LaunchCluster, Recipe, Sparkrun};
        let fields: [(&str, bool, &[v1::LauncherKind]); 19] = [
            ("program", written.program.is_some(), &[Sparkrun]),
            ("dir", written.dir.is_some(), &[LaunchCluster, Recipe, Command]),
            ("ray", written.ray.is_some(), &[LaunchCluster, Recipe, Sparkrun]),
            ("script", written.script.is_some(), &[LaunchCluster]),
            ("volumes", !written.volumes.is_empty(), &[LaunchCluster, Docker]),
            ("ports", !written.ports.is_empty(), &[LaunchCluster, Docker]),
            ("shm_gib", written.shm_gib.is_some(), &[LaunchCluster, Docker]),
            ("ulimits", !written.ulimits.is_empty(), &[LaunchCluster, Docker]),
            ("gpus", written.gpus.is_some(), &[LaunchCluster, Docker]),
            ("entrypoint", written.entrypoint.is_some(), &[Docker]),
            ("earlyoom", written.earlyoom.is_some(), &[LaunchCluster, Recipe]),
            ("non_privileged", written.non_privileged.is_some(), &[LaunchCluster, Recipe]),
            ("keep_entrypoint", written.keep_entrypoint.is_some(), &[LaunchCluster, Recipe]),
            ("nccl_debug", written.nccl_debug.is_some(), &[LaunchCluster, Recipe]),
            ("vllm_prs", !written.vllm_prs.is_empty(), &[LaunchCluster, Recipe]),
            ("b12x", written.b12x.is_some(), &[LaunchCluster, Recipe]),
            ("vllm_source_dir", written.vllm_source_dir.is_some(), &[LaunchCluster, Recipe]),
            ("start", written.start.is_some(), &[Command]),
            ("stop", written.stop.is_some(), &[Command]),
        ];
        for (field, is_written, kinds) in fields {
            if is_written && !kinds.contains(&written.kind) {
                let kinds: Vec<&str> = kinds.iter().map(|kind| kind_name(*kind)).collect();
                let message = format!("`{field}` belongs to launchers of kind `{}`", kinds.join("` or `"));
                self.problem(&format!("{path}/{field}"), message, None);
            }
        }
        let targets: BTreeSet<&PlainPath> = written.volumes.iter().map(|volume| &volume.0.to).collect();
        if targets.len() < written.volumes.len() {
            self.problem(&format!("{path}/volumes"), "two volumes have one place in the container", None);
        }
        let inside = [("script", &written.script), ("start", &written.start), ("stop", &written.stop)];
        for (field, program) in inside {
            if program.as_ref().is_some_and(|program| program.as_str().starts_with('/')) {
                self.problem(&format!("{path}/{field}"), "it is a path below `dir`", None);
            }
        }
    }

    /// A secret goes into the container by a file, over which Docker lets the launcher's own `-e` win. A value that is no secret reaches
    /// the engine by another way.
    pub(super) fn secrets_that_lose(
        &mut self,
        path: &str,
        env: &BTreeMap<Variable, v1::WrittenEnvValue>,
        kind: v1::LauncherKind,
    ) {
        if !matches!(kind, v1::LauncherKind::LaunchCluster | v1::LauncherKind::Recipe) {
            return;
        }
        for (name, value) in env {
            let is_secret = matches!(value, v1::WrittenEnvValue::Secret(_));
            if is_secret && SET_BY_THE_CHECKOUT.contains(&name.as_str()) {
                // Quotes are hidden where values may be secrets.
                let message = "the launcher sets this variable itself, and wins over a secret; write the value as it is";
                self.problem(&format!("{path}/{name}"), message, None);
            }
        }
    }

    /// What a launcher of that kind cannot start is told at the model.
    fn pair(&mut self, path: &str, source: &ModelSource, launcher: &Launcher, kind: v1::LauncherKind) {
        let Err(mismatch) = Start::new(source, &launcher.how) else { return };
        let kind = kind_name(kind);
        let (field, message) = match mismatch {
            StartMismatch::StartsRecipes => {
                ("launcher", format!("a launcher of kind `{kind}` starts models that have a `recipe`"))
            }
            StartMismatch::StartsNoRecipes => (
                "launcher",
                format!("a `recipe` is started by a launcher of kind `recipe` or `sparkrun`, not `{kind}`"),
            ),
            StartMismatch::StartsOwnRecipes => (
                "recipe",
                "a recipe of a registry or at an address is for a launcher of kind `sparkrun`".to_owned(),
            ),
        };
        self.problem(&format!("{path}/{field}"), message, None);
    }

    /// The launcher of a model's own; a recipe without one is of the slot's checkout. Also finds what does not go together.
    /// `slot`: the slot's, when nothing is wrong with it.
    pub(super) fn launcher_of_model(
        &mut self,
        path: &str,
        model: &v1::WrittenModel,
        source: Option<&ModelSource>,
        cluster: &v1::Cluster,
        slot: Option<&Launcher>,
    ) -> Option<Launcher> {
        let written_slot = cluster.vllm.as_ref().and_then(|vllm| vllm.launcher.as_ref());
        let slot_kind = written_slot.map_or(v1::LauncherKind::LaunchCluster, |slot| slot.kind);
        let is_of_checkout = model.recipe.is_some() && slot_kind != v1::LauncherKind::Sparkrun;
        let (kind, own) = match &model.launcher {
            Some(written) => (written.kind, Some(self.launcher(&format!("{path}/launcher"), Some(written))?)),
            None if is_of_checkout => (v1::LauncherKind::Recipe, Some(recipes_of(written_slot))),
            None => (slot_kind, None),
        };
        let written = model.launcher.as_ref().or(written_slot);
        if let (Some(source), Some(launcher)) = (source, own.as_ref().or(slot)) {
            self.pair(path, source, launcher, kind);
        }
        self.secrets_that_lose(&format!("{path}/env"), &model.env, kind);
        if kind == v1::LauncherKind::Docker && model.sparks.len() > 1 {
            let message = "a launcher of kind `docker` starts a model on one Spark";
            self.problem(&format!("{path}/sparks"), message, None);
        }
        let ports = written.map(|written| written.ports.as_slice()).unwrap_or_default();
        if !ports.is_empty() && model.recipe.is_none() {
            let slot = cluster.vllm.as_ref().and_then(|vllm| vllm.port.as_ref());
            let port = model.port.as_ref().or(slot).map_or(DEFAULT_PORT, |port| port.0);
            if model.sparks.len() > 1 {
                let message = "`ports` give the container a network of its own, which models on several Sparks cannot have";
                self.problem(&format!("{path}/sparks"), message, None);
            } else if !ports.iter().any(|publish| publish.0.host == port) {
                let message = format!(
                    "`ports` of its launcher do not publish port {port}, on which the model is reached"
                );
                self.problem(&format!("{path}/launcher"), message, Some(format!("add `{port}:8000`")));
            }
        }
        let has_mods = matches!(kind, v1::LauncherKind::LaunchCluster | v1::LauncherKind::Recipe);
        if !model.mods.is_empty() && !has_mods {
            let message = format!("a launcher of kind `{}` has no mods", kind_name(kind));
            self.problem(&format!("{path}/mods"), message, None);
        }
        if kind == v1::LauncherKind::Sparkrun && model.served_as.len() > 1 {
            let message = "sparkrun serves a model by one name";
            self.problem(&format!("{path}/served_as"), message, None);
        }
        if kind == v1::LauncherKind::Sparkrun {
            self.read_by_a_shell(&format!("{path}/args"), &model.args);
        }
        let has_script = written.is_some_and(|written| written.script.is_some()) && model.recipe.is_none();
        if has_script && !model.args.is_empty() {
            let message = "the launch script has the engine's whole command line, so `args` would do nothing";
            self.problem(&format!("{path}/args"), message, Some("put them into the script".into()));
        }
        own
    }

    /// sparkrun puts a text into a recipe's command, which a shell reads, as it is (0.2 to 0.4; lists and maps get quotes since 0.4).
    fn read_by_a_shell(&mut self, path: &str, args: &BTreeMap<Flag, Json>) {
        for (flag, value) in args {
            if let Json::String(text) = value
                && !is_plain_word(text)
            {
                let message = "sparkrun writes this into a shell's line as it is, and the engine would get something else";
                self.problem(&format!("{path}/{flag}"), message, Some("put it into the recipe".into()));
            }
        }
    }
}

/// A shell takes it as it is, without quotes around it.
fn is_plain_word(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-./:,=@%+".contains(letter))
}

/// Of a slot whose launcher starts no recipes: the programs of the same checkout do.
fn recipes_of(slot: Option<&v1::WrittenLauncher>) -> Launcher {
    let method = LaunchMethod::Recipe {
        dir: slot.and_then(|slot| slot.dir.clone()).unwrap_or_else(default_dir),
        ranks: ranks(slot),
        own: slot.map(own_options).unwrap_or_default(),
    };
    Launcher { image: slot.and_then(|slot| slot.image.clone()).unwrap_or_else(default_image), how: method }
}

fn ranks(written: Option<&v1::WrittenLauncher>) -> DistributedExecutor {
    match written.and_then(|written| written.ray) {
        Some(true) => DistributedExecutor::Ray,
        Some(false) | None => DistributedExecutor::Processes,
    }
}

fn own_options(written: &v1::WrittenLauncher) -> LauncherOptions {
    LauncherOptions {
        earlyoom: written.earlyoom == Some(true),
        non_privileged: written.non_privileged == Some(true),
        keep_entrypoint: written.keep_entrypoint == Some(true),
        nccl_debug: written.nccl_debug.map(|debug| match debug {
            v1::WrittenNcclDebug::Version => NcclDebug::Version,
            v1::WrittenNcclDebug::Warn => NcclDebug::Warn,
            v1::WrittenNcclDebug::Info => NcclDebug::Info,
            v1::WrittenNcclDebug::Trace => NcclDebug::Trace,
        }),
        vllm_prs: written.vllm_prs.clone(),
        b12x: written.b12x == Some(true),
        vllm_source_dir: written.vllm_source_dir.clone(),
    }
}

fn kind_name(kind: v1::LauncherKind) -> &'static str {
    match kind {
        v1::LauncherKind::LaunchCluster => "launch-cluster",
        v1::LauncherKind::Recipe => "recipe",
        v1::LauncherKind::Docker => "docker",
        v1::LauncherKind::Sparkrun => "sparkrun",
        v1::LauncherKind::Command => "command",
    }
}
