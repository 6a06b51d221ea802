//! Defaults and cross-references: `v1::Cluster` to `Desired`.
//!
//! Defaults reproduce the common setup: container `vllm_node`, port 8888, launcher `spark-vllm-docker` with image
//! `vllm-node`. They stand here and nowhere else.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use super::{
    Problem,
    entries::{Entries, Loaded, Quarantined},
    v1,
};
use crate::core::{
    desired::{
        Desired, EnvValue, Fabric, Hold, Launcher, Model, Object, OnDrift, OnEdit, OnFailure, Place, Policy,
        Reach, Secret, Service, ServiceKind, ServiceState, Slot, Source, Spark, Wanted, Window,
    },
    name::{ClusterName, ContainerName, ImageRef, ModelName, PlainPath, ServiceName, SparkName, nearest},
};

const GIB: f64 = 1_073_741_824.0;
/// The system, its page tables and sshd stay alive with this much on a machine of 121 GiB.
const DEFAULT_FLOOR_GIB: f64 = 6.0;
const DEFAULT_PORT: u16 = 8888;
/// The launcher's own default.
const DEFAULT_MASTER_PORT: u16 = 29501;
const DEFAULT_DRAIN: Duration = Duration::from_secs(30);
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);

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

/// # Errors
/// Everything that keeps the file from being used.
pub fn resolve(
    entries: Entries,
    problems: Vec<Problem>,
    quarantine: Vec<Quarantined>,
) -> Result<Loaded, Vec<Problem>> {
    let Entries { cluster, places } = entries;
    let mut out = Resolver { places, problems, warnings: Vec::new() };
    let sparks: BTreeMap<_, _> = cluster
        .sparks
        .iter()
        .filter_map(|(name, spark)| Some((name.clone(), out.spark(name, spark)?)))
        .collect();
    let mut models = BTreeMap::new();
    for (name, model) in &cluster.models {
        if let Some(model) = out.model(name, model, &cluster) {
            models.insert(name.clone(), model);
        }
    }
    let vllm = cluster.vllm.clone().unwrap_or_default();
    let wanted = out.wanted("model", cluster.model.as_deref(), &models, &quarantine);
    let launcher = out.launcher("vllm/launcher", vllm.launcher.as_ref());
    let mut slots = BTreeMap::new();
    if let Some(launcher) = &launcher {
        let slot = Slot {
            wanted,
            container: vllm.container.clone().unwrap_or_else(default_container),
            port: vllm.port.unwrap_or(DEFAULT_PORT),
            master_port: vllm.master_port.unwrap_or(DEFAULT_MASTER_PORT),
            launcher: launcher.clone(),
            env: out.env("vllm/env", &vllm.env),
            api_key: vllm.api_key.as_ref().map(secret),
            on_failure: on_failure(vllm.on_failure),
            drain: vllm.drain.map_or(DEFAULT_DRAIN, |span| span.0),
            load_deadline: vllm.load_deadline.map(|span| span.0),
            suspend: vllm.suspend.unwrap_or(false),
            sparks: sparks.keys().cloned().collect(),
        };
        slots.insert(Object::main(), slot);
    }
    let mut services = BTreeMap::new();
    for (name, service) in &cluster.services {
        out.service(
            name,
            service,
            &cluster,
            &models,
            &quarantine,
            launcher.as_ref(),
            &mut slots,
            &mut services,
        );
    }
    let holds = cluster
        .holds
        .iter()
        .map(|(name, hold)| {
            let object = hold.object.as_ref().map_or_else(Object::main, Object::service);
            let until = hold.until.map(|until| until.0);
            (name.clone(), Hold { object, until, owner: hold.owner.clone(), reason: hold.reason.clone() })
        })
        .collect();
    let mut schedule = BTreeMap::new();
    for (name, window) in &cluster.schedule {
        if let Some(window) = out.window(name.as_str(), window, &models) {
            schedule.insert(name.clone(), window);
        }
    }
    for name in &cluster.disabled_services {
        let known = cluster.services.contains_key(name)
            || quarantine.iter().any(|entry| entry.section == "services" && entry.name == name.as_str());
        if !known {
            let near = nearest(name.as_str(), cluster.services.keys().map(ServiceName::as_str));
            let span = out.place(&format!("disabled_services/{name}"));
            let problem = Problem::at(span, format!("`{name}` is disabled, but no service has that name"));
            out.warnings.push(problem.hint(near.map(|near| format!("did you mean `{near}`?"))));
        }
    }
    let reconcile = cluster.reconcile.clone().unwrap_or_default();
    let policy = Policy {
        on_edit: match reconcile.on_edit {
            Some(v1::OnEdit::Approve) => OnEdit::Approve,
            Some(v1::OnEdit::Apply) | None => OnEdit::Apply,
        },
        on_drift: match reconcile.on_drift {
            Some(v1::OnDrift::Repair) | None => OnDrift::Repair,
            Some(v1::OnDrift::Apply) => OnDrift::Apply,
            Some(v1::OnDrift::Approve) => OnDrift::Approve,
            Some(v1::OnDrift::Report) => OnDrift::Report,
        },
        interval: reconcile.interval.map_or(DEFAULT_INTERVAL, |span| span.0),
        suspend: reconcile.suspend.unwrap_or(false),
    };
    out.ports(&cluster, &slots, &models);
    for entry in quarantine {
        // Whatever refers to the entry has already been refused by name; here it only says why.
        for mut problem in entry.problems {
            problem.message = format!("{}.{} is set aside: {}", entry.section, entry.name, problem.message);
            out.warnings.push(problem);
        }
    }
    if !out.problems.is_empty() {
        out.problems.extend(out.warnings);
        out.problems.sort_by_key(|problem| problem.span.start);
        return Err(out.problems);
    }
    let desired = Desired {
        cluster: cluster.name.unwrap_or_else(|| ClusterName::new("default").expect("a fitting name")),
        sparks,
        slots,
        models,
        services,
        disabled: cluster.disabled_services.into_iter().collect(),
        policy,
        holds,
        schedule,
    };
    Ok(Loaded { desired, warnings: out.warnings })
}

fn default_container() -> ContainerName {
    ContainerName::new("vllm_node").expect("a fitting name")
}

fn on_failure(written: Option<v1::OnFailure>) -> OnFailure {
    match written {
        Some(v1::OnFailure::Fallback) | None => OnFailure::Fallback,
        Some(v1::OnFailure::Stall) => OnFailure::Stall,
    }
}

fn secret(written: &v1::Secret) -> Secret {
    match written {
        v1::Secret::Env(name) => Secret::Env(name.clone()),
        v1::Secret::File(path) => Secret::File(path.clone()),
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked to be positive and small
fn bytes(gib: f64) -> u64 {
    (gib * GIB) as u64
}

struct Resolver {
    places: BTreeMap<String, Range<usize>>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Resolver {
    /// The nearest written place of `path`, going up.
    fn place(&self, path: &str) -> Range<usize> {
        let mut path = path;
        loop {
            if let Some(span) = self.places.get(path) {
                return span.clone();
            }
            match path.rsplit_once('/') {
                Some((parent, _)) => path = parent,
                None => return 0..0,
            }
        }
    }

    fn problem(&mut self, path: &str, message: impl Into<String>, hint: Option<String>) {
        let span = self.place(path);
        self.problems.push(Problem { span, message: message.into(), hint });
    }

    fn gib(&mut self, path: &str, value: f64) -> Option<u64> {
        if value.is_finite() && (0.0..=4096.0).contains(&value) {
            return Some(bytes(value));
        }
        self.problem(path, format!("{value} is not a number of GiB between 0 and 4096"), None);
        None
    }

    fn spark(&mut self, name: &SparkName, written: &v1::Spark) -> Option<Spark> {
        let path = format!("sparks/{name}");
        let reach = match (written.transport, &written.user) {
            (v1::Transport::Local, _) => Reach::Local,
            (v1::Transport::Ssh, Some(user)) => Reach::Ssh {
                user: user.clone(),
                port: written.ssh_port.unwrap_or(22),
                key: written.key.clone(),
            },
            (v1::Transport::Ssh, None) => {
                let hint = "add `user:`, or `transport: local` when the controller runs there".to_owned();
                self.problem(&path, format!("`{name}` has no `user`"), Some(hint));
                return None;
            }
        };
        let floor = written.floor_gib.unwrap_or(DEFAULT_FLOOR_GIB);
        Some(Spark {
            address: written.address.clone(),
            reach,
            docker_socket: written
                .docker_socket
                .clone()
                .unwrap_or_else(|| PlainPath::new("/var/run/docker.sock").expect("a plain path")),
            hf_home: written.hf_home.clone(),
            floor_bytes: self.gib(&format!("{path}/floor_gib"), floor)?,
            fabric: written.fabric.as_ref().map(|fabric| Fabric {
                ip: fabric.ip,
                eth_if: fabric.eth_if.clone(),
                ib_if: fabric.ib_if.clone(),
            }),
        })
    }

    fn known_spark(&mut self, path: &str, name: &SparkName, cluster: &v1::Cluster) -> bool {
        if cluster.sparks.contains_key(name) {
            return true;
        }
        // An entry that is there and cannot be read has been told of already.
        if !self.places.contains_key(&format!("sparks/{name}")) {
            let near = nearest(name.as_str(), cluster.sparks.keys().map(SparkName::as_str));
            let hint = near.map(|near| format!("did you mean `{near}`?"));
            self.problem(path, format!("no Spark is named `{name}`"), hint);
        }
        false
    }

    fn model(&mut self, name: &ModelName, written: &v1::Model, cluster: &v1::Cluster) -> Option<Model> {
        let path = format!("models/{name}");
        let mut fits = true;
        let source = match (&written.repo, &written.local_path, &written.recipe) {
            (Some(repo), None, None) => {
                Some(Source::Repo { repo: repo.clone(), revision: written.revision.clone().map(|r| r.0) })
            }
            (None, Some(local), None) if local.as_str().starts_with('/') => {
                Some(Source::LocalPath(local.clone()))
            }
            (None, Some(_), None) => {
                self.problem(&format!("{path}/local_path"), "`local_path` must be absolute", None);
                None
            }
            (None, None, Some(_)) => {
                let hint = "use `repo` or `local_path` with the `launch-cluster` launcher".to_owned();
                self.problem(&format!("{path}/recipe"), "recipes are not supported yet", Some(hint));
                None
            }
            _ => {
                let message = format!("`{name}` needs exactly one of `repo`, `local_path` and `recipe`");
                self.problem(&path, message, None);
                None
            }
        };
        if written.sparks.is_empty() {
            self.problem(&format!("{path}/sparks"), format!("`{name}` names no Spark to run on"), None);
            fits = false;
        }
        for spark in &written.sparks {
            fits &= self.known_spark(&format!("{path}/sparks"), spark, cluster);
        }
        if written.sparks.iter().collect::<BTreeSet<_>>().len() < written.sparks.len() {
            self.problem(&format!("{path}/sparks"), format!("`{name}` names a Spark twice"), None);
            fits = false;
        }
        for flag in written.args.keys() {
            if OURS.contains(&flag.as_str()) {
                let message = format!("`{flag}` is set by Spark Control or by the launcher");
                self.problem(&format!("{path}/args"), message, Some("take it out of `args`".into()));
                fits = false;
            }
        }
        for mounted in written.mods.iter().chain(&written.chat_template) {
            if mounted.as_str().starts_with('-') {
                self.problem(&path, format!("`{mounted}` looks like an option"), None);
                fits = false;
            }
        }
        let memory_bytes = match written.memory_gib {
            None => None,
            Some(gib) => Some(self.gib(&format!("{path}/memory_gib"), gib)?),
        };
        let launcher = match &written.launcher {
            None => None,
            Some(launcher) => Some(self.launcher(&format!("{path}/launcher"), Some(launcher))?),
        };
        let served =
            crate::core::name::ServedName::new(name.as_str()).expect("a model's name is a served name");
        let env = self.env(&format!("{path}/env"), &written.env);
        let model = Model {
            source: source?,
            sparks: written.sparks.clone(),
            served_as: if written.served_as.is_empty() { vec![served] } else { written.served_as.clone() },
            args: written.args.clone(),
            env,
            port: written.port,
            launcher,
            image: written.image.clone(),
            chat_template: written.chat_template.clone(),
            mods: written.mods.clone(),
            memory_bytes,
        };
        fits.then_some(model)
    }

    fn env(
        &mut self,
        path: &str,
        written: &BTreeMap<crate::core::name::Variable, v1::EnvValue>,
    ) -> BTreeMap<crate::core::name::Variable, EnvValue> {
        let mut env = BTreeMap::new();
        for (name, value) in written {
            match value {
                v1::EnvValue::Plain(text) if text.contains(['\n', '\r', '\0']) => {
                    let message = format!("`{name}` holds a line break; an environment file cannot");
                    self.problem(path, message, None);
                }
                v1::EnvValue::Plain(text) => {
                    env.insert(name.clone(), EnvValue::Plain(text.clone()));
                }
                v1::EnvValue::Secret(place) => {
                    env.insert(name.clone(), EnvValue::Secret(secret(place)));
                }
            }
        }
        env
    }

    fn launcher(&mut self, path: &str, written: Option<&v1::Launcher>) -> Option<Launcher> {
        let default_dir = || PlainPath::new("spark-vllm-docker").expect("a plain path");
        let default_image = || ImageRef::new("vllm-node").expect("an image");
        let Some(written) = written else {
            return Some(Launcher { dir: default_dir(), image: default_image() });
        };
        match written.kind {
            v1::LauncherKind::LaunchCluster => Some(Launcher {
                dir: written.dir.clone().unwrap_or_else(default_dir),
                image: written.image.clone().unwrap_or_else(default_image),
            }),
            v1::LauncherKind::Recipe
            | v1::LauncherKind::Docker
            | v1::LauncherKind::Sparkrun
            | v1::LauncherKind::Command => {
                let message = "this launcher kind is not supported yet";
                self.problem(path, message, Some("`kind: launch-cluster` is".into()));
                None
            }
        }
    }

    fn wanted(
        &mut self,
        path: &str,
        written: Option<&str>,
        models: &BTreeMap<ModelName, Model>,
        quarantine: &[Quarantined],
    ) -> Wanted {
        let Some(written) = written.filter(|text| !text.is_empty()) else { return Wanted::Watch };
        if written == "none" {
            return Wanted::Nothing;
        }
        if let Some((name, _)) = models.get_key_value(written) {
            return Wanted::Model(name.clone());
        }
        let set_aside = quarantine.iter().any(|entry| entry.section == "models" && entry.name == written);
        if !set_aside && self.places.contains_key(&format!("models/{written}")) {
            return Wanted::Watch;
        }
        let message = if set_aside {
            format!("the model `{written}` is set aside, because it has errors of its own")
        } else {
            format!("no model is named `{written}`")
        };
        let near = if set_aside {
            None
        } else {
            nearest(written, models.keys().map(ModelName::as_str).chain(["none"]))
        };
        self.problem(path, message, near.map(|near| format!("did you mean `{near}`?")));
        Wanted::Watch
    }

    #[allow(clippy::too_many_arguments)] // one entry of the file against everything it may refer to
    fn service(
        &mut self,
        name: &ServiceName,
        written: &v1::Service,
        cluster: &v1::Cluster,
        models: &BTreeMap<ModelName, Model>,
        quarantine: &[Quarantined],
        launcher: Option<&Launcher>,
        slots: &mut BTreeMap<Object, Slot>,
        services: &mut BTreeMap<ServiceName, Service>,
    ) {
        let path = format!("services/{name}");
        let place = match (&written.spark, &written.address) {
            (Some(spark), None) => {
                if !self.known_spark(&format!("{path}/spark"), spark, cluster) {
                    return;
                }
                Place::Spark(spark.clone())
            }
            (None, Some(address)) => Place::Elsewhere(address.clone()),
            _ => {
                self.problem(&path, format!("`{name}` needs exactly one of `spark` and `address`"), None);
                return;
            }
        };
        if written.kind != v1::ServiceKind::Bot && written.port.is_none() {
            self.problem(&path, format!("`{name}` has no `port`"), None);
            return;
        }
        if written.state.is_some() && (written.container.is_none() || matches!(place, Place::Elsewhere(_))) {
            let message = format!("`{name}` has a `state`, but no `container` on a Spark to keep in it");
            self.problem(&path, message, None);
            return;
        }
        if let (v1::ServiceKind::Vllm, Some(model)) = (written.kind, &written.model) {
            let Place::Spark(spark) = &place else {
                self.problem(&path, format!("`{name}` has a `model`, but no `spark`"), None);
                return;
            };
            let wanted = self.wanted(&format!("{path}/model"), Some(model), models, quarantine);
            let launcher = match &written.launcher {
                None => launcher.cloned(),
                written => self.launcher(&format!("{path}/launcher"), written.as_ref()),
            };
            let Some(launcher) = launcher else { return };
            let container = written.container.clone().unwrap_or_else(|| {
                ContainerName::new(name.as_str()).expect("a service's name is a container name")
            });
            let slot = Slot {
                wanted,
                container,
                port: written.port.expect("checked above"),
                master_port: written.master_port.unwrap_or(DEFAULT_MASTER_PORT),
                launcher,
                env: self.env(&format!("{path}/env"), &written.env),
                api_key: written.api_key.as_ref().map(secret),
                on_failure: on_failure(written.on_failure),
                drain: written.drain.map_or(DEFAULT_DRAIN, |span| span.0),
                load_deadline: written.load_deadline.map(|span| span.0),
                suspend: written.suspend.unwrap_or(false),
                sparks: [spark.clone()].into(),
            };
            slots.insert(Object::service(name), slot);
            return;
        }
        let kind = match written.kind {
            v1::ServiceKind::Vllm => ServiceKind::Vllm,
            v1::ServiceKind::Asr => ServiceKind::Asr,
            v1::ServiceKind::Diarization => ServiceKind::Diarization,
            v1::ServiceKind::Tts => ServiceKind::Tts,
            v1::ServiceKind::Embeddings => ServiceKind::Embeddings,
            v1::ServiceKind::Rerank => ServiceKind::Rerank,
            v1::ServiceKind::Qdrant => ServiceKind::Qdrant,
            v1::ServiceKind::RedactionNer => ServiceKind::RedactionNer,
            v1::ServiceKind::Bot => ServiceKind::Bot,
            v1::ServiceKind::Http => ServiceKind::Http,
        };
        let service = Service {
            kind,
            place,
            port: written.port,
            https: written.scheme == v1::Scheme::Https,
            path: written.path.clone(),
            container: written.container.clone(),
            state: written.state.map(|state| match state {
                v1::ServiceState::Running => ServiceState::Running,
                v1::ServiceState::Stopped => ServiceState::Stopped,
            }),
            suspend: written.suspend.unwrap_or(false),
        };
        services.insert(name.clone(), service);
    }

    fn window(
        &mut self,
        name: &str,
        written: &v1::Window,
        models: &BTreeMap<ModelName, Model>,
    ) -> Option<Window> {
        let path = format!("schedule/{name}");
        if !models.contains_key(&written.model)
            && !self.places.contains_key(&format!("models/{}", written.model))
        {
            let near = nearest(written.model.as_str(), models.keys().map(ModelName::as_str));
            let hint = near.map(|near| format!("did you mean `{near}`?"));
            self.problem(&format!("{path}/model"), format!("no model is named `{}`", written.model), hint);
        }
        let zone = written.timezone.as_deref().unwrap_or("Etc/UTC");
        let zone = match jiff::tz::TimeZone::get(zone) {
            Ok(zone) => zone,
            Err(_) => {
                let hint = "an IANA name such as `Etc/UTC`".to_owned();
                self.problem(
                    &format!("{path}/timezone"),
                    format!("no time zone is named `{zone}`"),
                    Some(hint),
                );
                return None;
            }
        };
        let days = written.days.iter().map(|day| *day as i8 + 1).collect::<BTreeSet<_>>();
        Some(Window {
            days: if days.is_empty() { (1..=7).collect() } else { days },
            from: written.from.0,
            to: written.to.0,
            zone,
            model: written.model.clone(),
        })
    }

    /// Two things on one port of one Spark.
    fn ports(
        &mut self,
        cluster: &v1::Cluster,
        slots: &BTreeMap<Object, Slot>,
        models: &BTreeMap<ModelName, Model>,
    ) {
        let mut taken: BTreeMap<(SparkName, u16), String> = BTreeMap::new();
        // The head of each model that the main slot is told to hold; a model of the catalog that nobody asks for
        // claims nothing.
        let main = slots.get(&Object::main());
        let wanted = main.and_then(|slot| match &slot.wanted {
            Wanted::Model(name) => Some(name),
            Wanted::Nothing | Wanted::Watch => None,
        });
        for name in wanted.into_iter().chain(cluster.schedule.values().map(|window| &window.model)) {
            if let (Some(model), Some(slot)) = (models.get(name), main) {
                let place = (model.sparks[0].clone(), model.port.unwrap_or(slot.port));
                taken.insert(place, format!("the model `{name}`"));
            }
        }
        for (name, service) in &cluster.services {
            let (Some(spark), Some(port)) = (&service.spark, service.port) else { continue };
            if cluster.disabled_services.contains(name) {
                continue;
            }
            if let Some(other) = taken.insert((spark.clone(), port), format!("`{name}`")) {
                let message = format!("`{name}` and {other} both claim port {port} of `{spark}`");
                let hint = "change one port, or name one of them in `disabled_services`".to_owned();
                self.problem(&format!("services/{name}/port"), message, Some(hint));
            }
        }
    }
}
