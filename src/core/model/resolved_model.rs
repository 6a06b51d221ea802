//! A model in a slot: what of both holds for its start, its command line, and the hash of everything that its containers receive.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::{
    command_line,
    desired::{Desired, EnvValue, Fabric, Model, Secret, Slot},
    id::ModelRoot,
    launch_spec::LaunchSpec,
    launcher::{LaunchFile, Launcher, Start},
    model_source::ModelSource,
    name::{ImageRef, ModelName, Variable},
    observed::{Observed, RecipeSeen},
    spec_hash::{SpecHash, hex},
};

/// A model in a slot, as it will be started: everything that the container receives.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedModel<'a> {
    pub name: &'a ModelName,
    pub model: &'a Model,
    pub slot: &'a Slot,
    pub start: Start<'a>,
    pub image: &'a ImageRef,
    pub port: u16,
    pub env: BTreeMap<&'a Variable, &'a EnvValue>,
}

impl ResolvedModel<'_> {
    /// Words for the engine after `vllm serve MODEL`, one per argv entry, ours last. None for a launch script, which has
    /// its own.
    pub fn arguments(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.start.script().is_some() {
            return words;
        }
        for (flag, value) in &self.model.args {
            words.extend(command_line::words(flag, value));
        }
        if let ModelSource::Repo { revision: Some(revision), .. } = &self.model.source {
            words.extend(["--revision".into(), revision.to_string()]);
        }
        if let Some(template) = &self.model.chat_template {
            words.extend(["--chat-template".into(), template.to_string()]);
        }
        let port = self.start.docker().map_or(self.port, |docker| docker.inside(self.port));
        words.extend(["--host".into(), "0.0.0.0".into(), "--port".into(), port.to_string()]);
        words.push("--served-model-name".into());
        words.extend(self.model.served_as.iter().map(ToString::to_string));
        words
    }

    /// Of what the file says of it and of its machines that no container receives, and that decides whether and how it is
    /// started: who edits one of these wants it tried again.
    pub fn settings_hash(&self, desired: &Desired) -> String {
        let sparks: Vec<Json> = self
            .model
            .sparks
            .iter()
            .filter_map(|name| desired.sparks.get(name))
            .map(|spark| {
                let hf_home = spark.hf_home.as_ref().map(ToString::to_string);
                let fabric = spark.fabric.as_ref().map_or_else(|| "None".to_owned(), Fabric::hashed);
                serde_json::json!([spark.floor_bytes, spark.drop_caches, hf_home, fabric])
            })
            .collect();
        let deadline = self.slot.load_deadline.map(|deadline| deadline.as_secs());
        let settings = serde_json::json!([self.model.memory_bytes, deadline, self.start.dir(), sparks]);
        hex(&Sha256::digest(settings.to_string().as_bytes())[..8])
    }

    /// Identity of everything the container receives, with the version of the rule that made it.
    ///
    /// `v1` is SHA-256 over the fields below in this order, as JSON, first 16 hex digits. A change of the rule is a
    /// new version beside this one, never an edit: labels of running containers carry the old one. What a new kind of
    /// launcher adds stands at the end, and only for that kind.
    pub fn spec_hash(&self) -> SpecHash {
        let env: BTreeMap<&str, Json> = self
            .env
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    EnvValue::Plain(text) => Json::from(text.as_str()),
                    EnvValue::Secret(Secret::Env(name)) => serde_json::json!({ "env": name }),
                    EnvValue::Secret(Secret::File(path)) => serde_json::json!({ "file": path }),
                };
                (name.as_str(), value)
            })
            .collect();
        let mut received = vec![
            Json::from(self.model.source.name()),
            serde_json::json!(self.image),
            serde_json::json!(self.slot.container),
            self.slot.master_port.into(),
            serde_json::json!(self.model.sparks),
            self.arguments().into(),
            serde_json::json!(env),
            serde_json::json!(self.model.mods),
            self.slot.api_key.is_some().into(),
        ];
        received.extend(self.start.received());
        let digest = Sha256::digest(Json::Array(received).to_string().as_bytes());
        SpecHash::of_label(&format!("v1-{}", hex(&digest[..8])))
    }
}

impl ResolvedModel<'_> {
    /// The launch script, the mods and the sources of volumes.
    pub fn needed(&self) -> Vec<LaunchFile> {
        let mut needed = Vec::new();
        if let Some(script) = self.start.script() {
            let at = ["", "examples/"].into_iter().flat_map(|folder| {
                ["", ".sh"].map(|ending| self.below_dir(&format!("{folder}{script}{ending}")))
            });
            needed.push(LaunchFile { name: script.to_string(), at: at.collect(), on_head: true });
        }
        for path in &self.model.mods {
            let at = if path.as_str().ends_with(".zip") {
                self.below_dir(path.as_str())
            } else {
                self.below_dir(&format!("{path}/run.sh"))
            };
            needed.push(LaunchFile { name: path.to_string(), at: vec![at], on_head: true });
        }
        for volume in self.start.volumes() {
            let from = volume.from.to_string();
            needed.push(LaunchFile { name: from.clone(), at: vec![from], on_head: false });
        }
        needed
    }

    /// Where a path of the file leads: below the launcher's directory, when it begins nowhere else.
    fn below_dir(&self, path: &str) -> String {
        match (path.starts_with('/'), self.start.dir()) {
            (false, Some(dir)) => format!("{dir}/{path}"),
            _ => path.to_owned(),
        }
    }
}

impl ResolvedModel<'_> {
    pub fn launch_spec(&self) -> LaunchSpec {
        LaunchSpec {
            model: self.name.clone(),
            spec: self.spec_hash(),
            sparks: self.model.sparks.clone(),
            container: self.slot.container.clone(),
            port: self.port,
            root: self.model.source.root().map(ModelRoot::from),
            served_as: self.model.served_as.clone(),
            sign: self.start.liveness(),
            is_labelled: self.start.names_containers(),
            log: self.start.log(),
            prepares: !self.start.controls_full_command_line(),
            stop: self.start.stop(),
        }
    }
}

/// Its own, else the slot's.
fn launcher_of<'a>(model: &'a Model, slot: &'a Slot) -> &'a Launcher {
    model.launcher.as_ref().unwrap_or(&slot.launcher)
}

impl Desired {
    /// The model `name` as it would run in `slot`; `None` where there is none that the slot's launcher can start.
    pub fn resolved_model<'a>(&'a self, slot: &'a Slot, name: &ModelName) -> Option<ResolvedModel<'a>> {
        let (name, model) = self.models.get_key_value(name)?;
        let launcher = launcher_of(model, slot);
        let start = Start::new(&model.source, &launcher.how).ok()?;
        Some(ResolvedModel {
            name,
            model,
            slot,
            start,
            image: model.image.as_ref().unwrap_or(&launcher.image),
            port: model.port.unwrap_or(slot.port),
            env: slot.env.iter().chain(&model.env).collect(),
        })
    }
}

impl Desired {
    /// Every pair of a model and a launcher that may be started, in whatever slot.
    pub fn starts(&self) -> Vec<Start<'_>> {
        let mut starts = Vec::new();
        for slot in self.slots.values() {
            for model in self.models.values() {
                starts.extend(Start::new(&model.source, &launcher_of(model, slot).how));
            }
        }
        starts
    }
}

impl Observed {
    /// The recipe of a model, as its head's launcher reads it: what it says holds on every Spark of the model.
    pub fn recipe(&self, model: &ResolvedModel<'_>) -> Option<&RecipeSeen> {
        let (recipe, dir) = model.start.recipe_of_checkout()?;
        self.facts(&model.model.sparks[0])?.recipes.get(&format!("{dir}/{recipe}"))
    }
}

/// What the recipe loads, as the launcher's dry run shows it.
pub(crate) fn recipe_model_id(target: &ResolvedModel<'_>, observed: &Observed) -> Option<ModelRoot> {
    match observed.recipe(target)? {
        RecipeSeen::Readable { root, .. } => Some(root.clone()),
        RecipeSeen::Unreadable { .. } => None,
    }
}
