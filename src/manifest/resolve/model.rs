//! Entries of `models`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::{Resolver, v1};
use crate::core::{
    decide::need::{figure, size},
    model::{
        command_line,
        desired::{Model, Weights},
        launcher::Launcher,
        model_source::ModelSource,
        name::{Flag, ModelName, ServedName, SparkName, nearest},
    },
};

/// Arguments that we set ourselves, or that the launcher adds.
const OURS: [&str; 12] = [
    "model",
    "host",
    "port",
    "served-model-name",
    "api-key",
    "distributed-executor-backend",
    "nnodes",
    "node-rank",
    "master-addr",
    "master-port",
    "headless",
    "chat-template",
];

/// Options with which an engine listens in another way than over HTTP on its port.
const NOT_ASKED_SO: [&str; 6] =
    ["ssl-keyfile", "ssl-certfile", "ssl-ca-certs", "ssl-cert-reqs", "uds", "grpc"];

/// How an engine is told to use several GPUs; a Spark has one.
const SIZES: [&str; 3] = ["tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size"];

/// A model on several Sparks is split over all of them, unless its owner says otherwise.
fn split(written: &v1::WrittenModel, args: &BTreeMap<Flag, Json>) -> Option<(Flag, Json)> {
    let is_told = SIZES.iter().any(|size| args.keys().any(|flag| flag.as_str() == *size));
    let flag = Flag::new("tensor-parallel-size").expect("a flag's name");
    (written.sparks.len() > 1 && !is_told).then(|| (flag, written.sparks.len().into()))
}

/// How to write what is short for another name: `cc`, `cc.mode`, `O3`.
fn short_for(flag: &str) -> Option<String> {
    let (name, field) = flag.split_at(flag.find('.').unwrap_or(flag.len()));
    if let Some((_, long)) = command_line::SHORT.iter().find(|(short, _)| *short == name) {
        return Some(format!("write `{long}{field}`"));
    }
    let level = name.strip_prefix('O').filter(|level| field.is_empty() && level.parse::<u8>().is_ok())?;
    Some(format!("write `optimization-level: {level}`"))
}

impl Resolver {
    /// The model, when nothing is wrong with it; otherwise `problems` has grown, unless what is wrong is a Spark that has
    /// been told of already.
    pub(super) fn model(
        &mut self,
        name: &ModelName,
        written: &v1::WrittenModel,
        cluster: &v1::Cluster,
        slot_launcher: Option<&Launcher>,
    ) -> Option<Model> {
        let path = format!("models/{name}");
        if name.as_str() == "none" {
            self.problem(&path, "`none` keeps a slot empty, so no model can have that name", None);
        }
        let source = self.source(name, written);
        if written.sparks.is_empty() {
            self.problem(&format!("{path}/sparks"), format!("`{name}` names no Spark to run on"), None);
        }
        let mut known = true;
        for spark in &written.sparks {
            known &= self.known_spark(&format!("{path}/sparks/{spark}"), spark, cluster);
        }
        if written.sparks.iter().collect::<BTreeSet<_>>().len() < written.sparks.len() {
            self.problem(&format!("{path}/sparks"), format!("`{name}` names a Spark twice"), None);
        }
        let mut args = self.args(&path, &written.args);
        let launcher = self.launcher_of_model(&path, written, source.as_ref(), cluster, slot_launcher);
        let all_known = controls_full_command_line(written, cluster);
        if all_known {
            args.extend(split(written, &args));
        }
        self.ranks(name, written, &args, all_known);
        self.template(&path, written);
        let memory_bytes = written.memory_gib.and_then(|gib| self.gib(&format!("{path}/memory_gib"), gib));
        if memory_bytes == Some(0) {
            self.problem(&format!("{path}/memory_gib"), "a model needs more than no memory", None);
        }
        let env = self.env(&format!("{path}/env"), &written.env);
        match (written.weights, &written.local_path) {
            (Some(v1::WrittenWeights::Absent), Some(_)) => {
                let message = "the files of a `local_path` are the owner's: they are never deleted";
                self.problem(&format!("{path}/weights"), message, None);
            }
            (Some(v1::WrittenWeights::Present), Some(_)) => {
                let message = "the files of a `local_path` are the owner's to bring";
                self.problem(&format!("{path}/weights"), message, None);
            }
            (Some(_), None) if written.repo.as_ref().is_some_and(|repo| repo.0.on_hub().is_none()) => {
                let message = "the engine streams these files from where they are: none are kept on a Spark";
                self.problem(&format!("{path}/weights"), message, None);
            }
            (Some(_), None) if written.recipe.is_some() => {
                let message = "which files a recipe needs is not known here";
                self.problem(&format!("{path}/weights"), message, None);
            }
            (Some(_), None) => {}
            (None, _) if written.suspend == Some(true) => {
                let message = "`suspend` of a model is for its files, and it has no `weights`";
                self.problem(&format!("{path}/suspend"), message, None);
            }
            (None, _) => {}
        }
        let served = ServedName::new(name.as_str()).expect("a model's name is a served name");
        let model = Model {
            source: source?,
            sparks: written.sparks.clone(),
            served_as: if written.served_as.is_empty() { vec![served] } else { written.served_as.clone() },
            args,
            env,
            port: written.port.map(|port| port.0),
            launcher,
            image: written.image.clone(),
            weights: written.weights.map(|weights| match weights {
                v1::WrittenWeights::Present => Weights::Present,
                v1::WrittenWeights::Absent => Weights::Absent,
            }),
            suspend: written.suspend.unwrap_or(false),
            chat_template: written.chat_template.clone(),
            mods: written.mods.clone(),
            memory_bytes,
        };
        known.then_some(model)
    }

    /// Engine arguments under their one name; ours are refused, and figures that memory is reckoned from are figures.
    fn args(&mut self, path: &str, written: &BTreeMap<Flag, Json>) -> BTreeMap<Flag, Json> {
        const FIGURES: [&str; 2] = ["gpu-memory-utilization", "gpu-memory-utilization-gb"];
        const SIZE: &str = "kv-cache-memory-bytes";
        let mut args = BTreeMap::new();
        for (flag, value) in written {
            let path = format!("{path}/args/{flag}");
            let canonical = flag.canonical();
            if let Some(hint) = short_for(canonical.as_str()) {
                self.problem(
                    &path,
                    format!("`{flag}` is short for another name, and is one only behind a single dash"),
                    Some(hint),
                );
            }
            if OURS.contains(&canonical.as_str()) {
                let message = format!("`{flag}` is set by Spark Control or by the launcher");
                self.problem(&path, message, Some("take it out of `args`".into()));
            }
            if canonical.as_str() == "enable-sleep-mode" && *value != Json::Bool(false) {
                let message = "waking an engine from sleep can take the whole Spark down";
                let hint = "take it out; a swap stops the container instead".to_owned();
                self.problem(&path, message, Some(hint));
            }
            if NOT_ASKED_SO.contains(&canonical.as_str()) && *value != Json::Bool(false) {
                let message = format!(
                    "with `{flag}` the engine does not answer plain HTTP on its port, where it is asked"
                );
                let hint = "take it out; a proxy in front of the engine can speak TLS".to_owned();
                self.problem(&path, message, Some(hint));
            }
            if FIGURES.contains(&canonical.as_str()) && figure(value).is_none_or(|figure| figure <= 0.0) {
                self.problem(&path, format!("`{flag}` is not a positive number"), None);
            }
            if canonical.as_str() == SIZE && size(value).is_none_or(|size| size == 0) {
                let hint = "write bytes, or a size such as `25G` (1024) or `25g` (1000)".to_owned();
                self.problem(&path, format!("`{flag}` is not a size"), Some(hint));
            }
            if let Json::String(text) = value
                && text.contains('.')
                && text.ends_with(['K', 'M', 'G', 'T'])
                && size(value).is_some()
            {
                let hint = format!("`{}` is what it takes", text.to_lowercase());
                self.warning(&path, format!("the engine takes no fractions of 1024: `{text}`"), Some(hint));
            }
            if let Json::String(word) = value
                && ["yes", "no", "on", "off"].contains(&word.to_lowercase().as_str())
            {
                let hint = "write `true` or `false` for a switch, or quotes around a word".to_owned();
                self.warning(&path, format!("`{word}` is a word here, not a switch"), Some(hint));
            }
            if value.to_string().contains("\\u0000") {
                self.problem(&path, format!("`{flag}` holds a NUL, which no program can be given"), None);
            }
            if args.insert(canonical.clone(), value.clone()).is_some() {
                self.problem(&path, format!("`{canonical}` is written twice, with `_` and with `-`"), None);
            }
        }
        args
    }

    /// A Spark has one GPU, so the ranks that the engine is told of and the Sparks must be as many: the launcher leaves out
    /// Sparks that it has no rank for, and gives up when there are too few. What a recipe or a script says of it is not known
    /// here.
    fn ranks(
        &mut self,
        name: &ModelName,
        written: &v1::WrittenModel,
        args: &BTreeMap<Flag, Json>,
        all_known: bool,
    ) {
        let product = SIZES.iter().try_fold(1_u64, |product, flag| {
            let size = args.get(*flag).map_or(Some(1), whole_figure)?;
            product.checked_mul(size)
        });
        let sparks = written.sparks.len();
        let told = SIZES.iter().any(|flag| args.contains_key(*flag));
        if sparks == 0 || product == u64::try_from(sparks).ok() || !(all_known || told) {
            return;
        }
        let ranks = product.map_or("no number of ranks".to_owned(), |ranks| format!("{ranks} of them"));
        let message = format!("`{name}` runs on {sparks} Sparks, but its parallel sizes use {ranks}");
        let hint = format!("`tensor-parallel-size: {sparks}` uses all");
        let at = SIZES.iter().find(|flag| args.contains_key(**flag));
        let path = at.map_or(format!("models/{name}/sparks"), |flag| format!("models/{name}/args/{flag}"));
        self.problem(&path, message, Some(hint));
    }

    /// The container sees a model's directory and nothing else of the Spark.
    fn template(&mut self, path: &str, written: &v1::WrittenModel) {
        let Some(template) = &written.chat_template else { return };
        let inside = written.local_path.as_ref().is_some_and(|local| {
            template.as_str().strip_prefix(local.as_str()).is_some_and(|rest| rest.starts_with('/'))
        });
        let volumes = written.launcher.iter().flat_map(|launcher| &launcher.volumes);
        let mut places = volumes.map(|volume| volume.0.to.as_str());
        let mounted = places.any(|to| {
            template.as_str().strip_prefix(to).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        // A mod may write it where only the container is.
        if !inside && !mounted && written.mods.is_empty() {
            let message = format!(
                "`{template}` is not inside `local_path` or a volume of the model's launcher, so the container does not \
                 see it"
            );
            self.problem(&format!("{path}/chat_template"), message, None);
        }
    }

    fn source(&mut self, name: &ModelName, written: &v1::WrittenModel) -> Option<ModelSource> {
        let path = format!("models/{name}");
        match (&written.repo, &written.local_path, &written.recipe) {
            (Some(repo), None, None) => Some(ModelSource::Repo {
                repo: repo.0.clone(),
                revision: written.revision.clone().map(|r| r.0.into()),
            }),
            (None, Some(local), None) if local.as_str().starts_with('/') => {
                Some(ModelSource::LocalPath(local.clone()))
            }
            (None, Some(_), None) => {
                self.problem(&format!("{path}/local_path"), "`local_path` must be absolute", None);
                None
            }
            (None, None, Some(recipe)) => Some(ModelSource::Recipe(recipe.clone())),
            _ => {
                let message = format!("`{name}` needs exactly one of `repo`, `local_path` and `recipe`");
                self.problem(&path, message, None);
                None
            }
        }
    }

    /// Whether the file has that Spark. One whose entry cannot be read has been told of already.
    pub(super) fn known_spark(&mut self, path: &str, name: &SparkName, cluster: &v1::Cluster) -> bool {
        if cluster.sparks.contains_key(name) {
            return true;
        }
        if !self.places.contains_key(&format!("sparks/{name}")) {
            let near = nearest(name.as_str(), cluster.sparks.keys().map(SparkName::as_str));
            let hint = near.map(|near| format!("did you mean `{near}`?"));
            self.problem(path, format!("no Spark is named `{name}`"), hint);
        }
        false
    }
}

/// `args` are all that the engine is told beside what we tell it.
fn controls_full_command_line(model: &v1::WrittenModel, cluster: &v1::Cluster) -> bool {
    let slot = cluster.vllm.as_ref().and_then(|vllm| vllm.launcher.as_ref());
    model.recipe.is_none()
        && model.launcher.as_ref().or(slot).is_none_or(|launcher| {
            launcher.script.is_none()
                && matches!(launcher.kind, v1::LauncherKind::LaunchCluster | v1::LauncherKind::Docker)
        })
}

/// A whole number, be it in quotes: one in quotes is a figure to the engine.
fn whole_figure(value: &Json) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
