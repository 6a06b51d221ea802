//! Defaults and cross-references: `v1::Cluster` to `Desired`.
//!
//! Defaults reproduce the common setup: container `vllm_node`, port 8888, launcher `spark-vllm-docker` with image
//! `vllm-node`. They stand in this folder and nowhere else. `model` and `service` read one entry each, `claims` finds
//! two things in one place.

mod claims;
mod launcher;
mod memory;
mod model;
mod service;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    ops::Range,
    time::Duration,
};

use super::{
    Severity,
    entries::{FileEntries, Loaded, Quarantined},
    problem::FileProblem,
    v1,
};
use crate::core::{
    decide::schedule,
    model::{
        desired::{
            Desired, EnvValue, Fabric, Hold, Model, NotificationTopic, OnDrift, OnEdit, OnFailure, Policy,
            ReachMethod, Secret, Service, Slot, Spark, WantedModel, WebhookTarget, Window,
        },
        name::{
            ClusterName, ContainerName, FILES_OF, HeldName, ModelName, PlainPath, ServiceName, SparkName,
            Variable, nearest,
        },
        object::Object,
        visible,
    },
};

/// Of what an owner says in a word or two.
const MAX_WORDS: usize = 200;

const GIB: f64 = 1_073_741_824.0;
/// The system, its page tables and sshd stay alive with this much on a machine of 121 GiB.
const DEFAULT_FLOOR_GIB: f64 = 6.0;
const DEFAULT_PORT: u16 = 8888;
/// The launcher's own default.
const DEFAULT_MASTER_PORT: u16 = 29501;
/// Longer ones are refused by servers.
const MAX_URL: usize = 2000;
/// Each is compared with each other.
const MAX_WINDOWS: usize = 100;
const DEFAULT_DRAIN: Duration = Duration::from_secs(30);
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);

/// # Errors
/// Everything that keeps the file from being used.
pub fn resolve(
    entries: FileEntries,
    problems: Vec<FileProblem>,
    unread: Vec<Quarantined>,
) -> Result<Loaded, Vec<FileProblem>> {
    let FileEntries { cluster, places } = entries;
    let referred = referred(&cluster);
    let mut out = Resolver { places, problems, warnings: Vec::new(), set_aside: Vec::new(), referred };
    for entry in unread {
        out.set_aside(entry);
    }
    let sparks: BTreeMap<_, _> = cluster
        .sparks
        .iter()
        .filter_map(|(name, spark)| Some((name.clone(), out.spark(name, spark)?)))
        .collect();
    let vllm = cluster.vllm.clone().unwrap_or_default();
    let launcher = out.launcher("vllm/launcher", vllm.launcher.as_ref());
    let kind = vllm.launcher.as_ref().map_or(v1::LauncherKind::LaunchCluster, |launcher| launcher.kind);
    out.secrets_that_lose("vllm/env", &vllm.env, kind);
    let mut models = BTreeMap::new();
    for (name, written) in &cluster.models {
        let model =
            out.entry("models", name.as_str(), |out| out.model(name, written, &cluster, launcher.as_ref()));
        models.extend(model.map(|model| (name.clone(), model)));
    }
    let wanted = out.wanted("model", cluster.model.as_deref(), &models);
    let env = out.env("vllm/env", &vllm.env);
    let mut slots = BTreeMap::new();
    if let Some(launcher) = &launcher {
        let slot = Slot {
            wanted,
            container: vllm.container.clone().unwrap_or_else(default_container),
            port: vllm.port.map_or(DEFAULT_PORT, |port| port.0),
            master_port: vllm.master_port.map_or(DEFAULT_MASTER_PORT, |port| port.0),
            launcher: launcher.clone(),
            env,
            api_key: vllm.api_key.as_ref().map(secret),
            on_failure: on_failure(vllm.on_failure),
            drain: vllm.drain.map_or(DEFAULT_DRAIN, |span| span.0),
            load_deadline: vllm.load_deadline.map(|span| span.0),
            restart_after: vllm.restart_after.map(|time| time.0),
            suspend: vllm.suspend.unwrap_or(false),
            sparks: sparks.keys().cloned().collect(),
        };
        slots.insert(Object::main(), slot);
    }
    let mut services = BTreeMap::new();
    for (name, written) in &cluster.services {
        let service = out.entry("services", name.as_str(), |out| {
            out.service(name, written, &cluster, &models, launcher.as_ref())
        });
        match service {
            Some(ResolvedService::Service(service)) => {
                services.insert(name.clone(), service);
            }
            // Neither looked at nor touched: it is no slot.
            Some(ResolvedService::Slot(_)) if cluster.disabled_services.contains(name) => {}
            Some(ResolvedService::Slot(slot)) => {
                slots.insert(Object::service(name), slot);
            }
            Some(ResolvedService::Absent) | None => {}
        }
    }
    let mut holds = BTreeMap::new();
    for (name, hold) in &cluster.holds {
        holds.extend(out.hold(name.as_str(), hold).map(|hold| (name.clone(), hold)));
    }
    let mut schedule = BTreeMap::new();
    for (name, window) in &cluster.schedule {
        let window = out.window(name.as_str(), window, &models);
        schedule.extend(window.map(|window| (name.clone(), window)));
    }
    for name in &cluster.disabled_services {
        if out.has("services", name.as_str()) {
            continue;
        }
        let near = nearest(name.as_str(), cluster.services.keys().map(ServiceName::as_str));
        let message = format!("`{name}` is disabled, but no service has that name");
        let hint = near.map(|near| format!("did you mean `{near}`?"));
        out.warning(&format!("disabled_services/{name}"), message, hint);
    }
    let mut notify = BTreeMap::new();
    for (name, target) in &cluster.notify {
        notify.extend(out.notify(name.as_str(), target).map(|target| (name.clone(), target)));
    }
    let desired = Desired {
        cluster: cluster.name.unwrap_or_else(|| ClusterName::new("default").expect("a fitting name")),
        sparks,
        slots,
        models,
        services,
        disabled: cluster.disabled_services.into_iter().collect(),
        policy: policy(&cluster.reconcile.unwrap_or_default()),
        holds,
        schedule,
        notify,
    };
    out.claims(&desired);
    out.memory(&desired);
    out.addresses(&desired);
    out.files(&desired);
    out.windows(&desired);
    if out.problems.is_empty() {
        return Ok(Loaded { desired, warnings: out.warnings, set_aside: out.set_aside });
    }
    out.problems.extend(out.warnings);
    out.problems.sort_by_key(|problem| problem.span.start);
    Err(out.problems)
}

/// Entries that something else in the file needs: `section/name`.
fn referred(cluster: &v1::Cluster) -> BTreeSet<String> {
    let wanted = cluster.model.iter().cloned();
    let windows = cluster.schedule.values().map(|window| window.model.to_string());
    let further = cluster.services.values().filter_map(|service| service.model.clone());
    let models = wanted.chain(windows).chain(further).map(|name| format!("models/{name}"));
    let held = cluster.holds.values().filter_map(|hold| hold.object.as_ref());
    let held = held.map(|name| match name.files_of() {
        Some(model) => format!("models/{model}"),
        None => format!("services/{name}"),
    });
    models.chain(held).collect()
}

fn policy(written: &v1::Reconcile) -> Policy {
    Policy {
        on_edit: match written.on_edit {
            Some(v1::WrittenOnEdit::Approve) => OnEdit::Approve,
            Some(v1::WrittenOnEdit::Apply) | None => OnEdit::Apply,
        },
        on_drift: match written.on_drift {
            Some(v1::WrittenOnDrift::Repair) | None => OnDrift::Repair,
            Some(v1::WrittenOnDrift::Apply) => OnDrift::Apply,
            Some(v1::WrittenOnDrift::Approve) => OnDrift::Approve,
            Some(v1::WrittenOnDrift::Report) => OnDrift::Report,
        },
        interval: written.interval.map_or(DEFAULT_INTERVAL, |span| span.0),
        suspend: written.suspend.unwrap_or(false),
    }
}

fn default_container() -> ContainerName {
    ContainerName::new("vllm_node").expect("a fitting name")
}

fn on_failure(written: Option<v1::WrittenOnFailure>) -> OnFailure {
    match written {
        Some(v1::WrittenOnFailure::Fallback) | None => OnFailure::Fallback,
        Some(v1::WrittenOnFailure::Stall) => OnFailure::Stall,
    }
}

fn secret(written: &v1::WrittenSecret) -> Secret {
    match written {
        v1::WrittenSecret::Env(name) => Secret::Env(name.clone()),
        v1::WrittenSecret::File(path) => Secret::File(path.clone()),
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked to be positive and small
fn bytes(gib: f64) -> u64 {
    (gib * GIB) as u64
}

struct Resolver {
    places: BTreeMap<String, Range<usize>>,
    problems: Vec<FileProblem>,
    warnings: Vec<FileProblem>,
    set_aside: Vec<String>,
    /// See [`referred`].
    referred: BTreeSet<String>,
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

    /// The file has such an entry, whether it can be read or not.
    fn has(&self, section: &str, name: &str) -> bool {
        self.places.contains_key(&format!("{section}/{name}"))
    }

    /// The names of a section's entries, whether they can be read or not.
    fn names(&self, section: &str) -> impl Iterator<Item = &str> {
        let inside = self.places.keys().filter_map(move |place| place.strip_prefix(section));
        inside.filter(|rest| !rest.contains('/'))
    }

    fn problem(&mut self, path: &str, message: impl Into<String>, hint: Option<String>) {
        let span = self.place(path);
        self.problems.push(FileProblem::at(span, message.into()).hint(hint));
    }

    fn warning(&mut self, path: &str, message: impl Into<String>, hint: Option<String>) {
        let span = self.place(path);
        let problem = FileProblem::at(span, message.into()).hint(hint);
        self.warnings.push(FileProblem { severity: Severity::Warning, ..problem });
    }

    /// A field of the format that this version reads and does not act on.
    fn not_yet(&mut self, path: &str, field: &str) {
        self.warning(path, format!("`{field}` is read, but this version does not act on it yet"), None);
    }

    /// Read one entry of `models` or `services`; one with errors of its own is set aside.
    fn entry<T>(
        &mut self,
        section: &'static str,
        name: &str,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        let before = self.problems.len();
        let entry = read(self);
        let problems = self.problems.split_off(before);
        if problems.is_empty() {
            return entry;
        }
        self.set_aside(Quarantined { section, name: name.to_owned(), problems });
        None
    }

    /// An entry that nothing refers to does not keep the rest of the file from being used; one that is needed does.
    fn set_aside(&mut self, entry: Quarantined) {
        let Quarantined { section, name, problems } = entry;
        if self.referred.contains(&format!("{section}/{name}")) {
            self.problems.extend(problems);
            return;
        }
        self.set_aside.push(format!("{section}/{name}"));
        self.warnings.extend(problems.into_iter().map(|problem| FileProblem {
            severity: Severity::Warning,
            message: format!("{section}.{name} is set aside: {}", problem.message),
            ..problem
        }));
    }

    fn gib(&mut self, path: &str, value: f64) -> Option<u64> {
        if value.is_finite() && (0.0..=4096.0).contains(&value) {
            return Some(bytes(value));
        }
        self.problem(path, format!("{value} is not a number of GiB between 0 and 4096"), None);
        None
    }

    fn spark(&mut self, name: &SparkName, written: &v1::WrittenSpark) -> Option<Spark> {
        let path = format!("sparks/{name}");
        let reach = match (written.transport, &written.user) {
            (v1::WrittenTransport::Local, _) => ReachMethod::Local,
            (v1::WrittenTransport::Ssh, Some(user)) => ReachMethod::Ssh {
                user: user.clone(),
                port: written.ssh_port.map_or(22, |port| port.0),
                key: written.key.clone(),
            },
            (v1::WrittenTransport::Ssh, None) => {
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
            drop_caches: written.drop_caches,
            fabric: written.fabric.as_ref().map(|fabric| Fabric {
                ip: fabric.ip,
                eth_if: fabric.eth_if.clone(),
                ib_if: fabric.ib_if.clone(),
            }),
        })
    }

    /// The year over which windows of different zones are compared: any will do, for zones whose rules stay.
    fn year() -> jiff::Timestamp {
        jiff::Timestamp::from_second(1_767_225_600).expect("the beginning of 2026")
    }

    /// Two windows that are open at one moment would each have their model.
    fn windows(&mut self, desired: &Desired) {
        let windows: Vec<_> = desired.schedule.iter().collect();
        if windows.len() > MAX_WINDOWS {
            let message =
                format!("{} windows are more than anybody can follow; {MAX_WINDOWS} at most", windows.len());
            self.problem("schedule", message, None);
            return;
        }
        for (at, (name, window)) in windows.iter().enumerate() {
            let other =
                windows[..at].iter().find(|(_, other)| schedule::overlap(window, other, Self::year()));
            if let Some((other, _)) = other {
                let message = format!("`{name}` and `{other}` are open at the same time");
                self.problem(&format!("schedule/{name}/from"), message, None);
            }
        }
    }

    /// Two models of one repository would each be told what becomes of its files.
    fn files(&mut self, desired: &Desired) {
        let mut seen: BTreeMap<String, &ModelName> = BTreeMap::new();
        for (name, model) in desired.models.iter().filter(|(_, model)| model.weights.is_some()) {
            if let Some(other) = seen.insert(model.source.name().to_owned(), name) {
                let message =
                    format!("`{name}` and `{other}` have the same files; say `weights` at one of them");
                self.problem(&format!("models/{name}/weights"), message, None);
            }
        }
    }

    /// Two names for one machine would each be told to hold what only one can.
    fn addresses(&mut self, desired: &Desired) {
        let mut seen: BTreeMap<String, &SparkName> = BTreeMap::new();
        for (name, spark) in &desired.sparks {
            let place = match &spark.reach {
                ReachMethod::Local => "this machine".to_owned(),
                ReachMethod::Ssh { port, .. } => format!("{}, port {port}", spark.address),
            };
            if let Some(other) = seen.get(&place) {
                let message = format!("`{name}` and `{other}` are the same machine ({place})");
                self.problem(&format!("sparks/{name}/address"), message, None);
            }
            seen.insert(place, name);
        }
        let mut ips: BTreeMap<Ipv4Addr, &SparkName> = BTreeMap::new();
        for (name, spark) in &desired.sparks {
            let Some(fabric) = &spark.fabric else { continue };
            if let Some(other) = ips.insert(fabric.ip, name) {
                let message =
                    format!("`{name}` and `{other}` have one address in their fabric ({})", fabric.ip);
                self.problem(&format!("sparks/{name}/fabric/ip"), message, None);
            }
        }
    }

    fn env(
        &mut self,
        path: &str,
        written: &BTreeMap<Variable, v1::WrittenEnvValue>,
    ) -> BTreeMap<Variable, EnvValue> {
        let mut env = BTreeMap::new();
        for (name, value) in written {
            match value {
                v1::WrittenEnvValue::Plain(text) if text.contains(['\n', '\r', '\0']) => {
                    let message = format!("`{name}` holds a line break; an environment file cannot");
                    self.problem(&format!("{path}/{name}"), message, None);
                }
                v1::WrittenEnvValue::Plain(text) => {
                    env.insert(name.clone(), EnvValue::Plain(text.clone()));
                }
                v1::WrittenEnvValue::Secret(place) => {
                    env.insert(name.clone(), EnvValue::Secret(secret(place)));
                }
            }
        }
        env
    }

    /// What a slot is told to hold.
    fn wanted(
        &mut self,
        path: &str,
        written: Option<&str>,
        models: &BTreeMap<ModelName, Model>,
    ) -> WantedModel {
        let Some(written) = written.filter(|text| !text.is_empty()) else { return WantedModel::Watch };
        if written == "none" {
            return WantedModel::Nothing;
        }
        if let Some((name, _)) = models.get_key_value(written) {
            return WantedModel::Model(name.clone());
        }
        self.no_such_model(path, written);
        WantedModel::Watch
    }

    /// A model that is there and cannot be read has been told of already.
    fn no_such_model(&mut self, path: &str, name: &str) {
        if self.has("models", name) {
            return;
        }
        let near = nearest(name, self.names("models/").chain(["none"]));
        let hint = near.map(|near| format!("did you mean `{near}`?"));
        self.problem(path, format!("no model is named `{name}`"), hint);
    }

    /// What a hold is on; what is wrong, and what may have been meant.
    fn held(&self, object: &HeldName) -> Result<Object, (String, Option<String>)> {
        if let Some(model) = object.files_of() {
            if self.has("models", model.as_str()) {
                return Ok(Object::weights(&model));
            }
            let near = nearest(model.as_str(), self.names("models/")).map(|near| format!("{FILES_OF}{near}"));
            return Err((format!("no model is named `{model}`"), near));
        }
        match ServiceName::new(object.as_str()) {
            Ok(name) if name.as_str() == Object::main().as_str() || self.has("services", name.as_str()) => {
                Ok(Object::service(&name))
            }
            Ok(_) | Err(_) => {
                let near = nearest(object.as_str(), self.names("services/").chain(["vllm"]));
                Err((format!("no slot or service is named `{object}`"), near.map(str::to_owned)))
            }
        }
    }

    fn hold(&mut self, name: &str, written: &v1::WrittenHold) -> Option<Hold> {
        let object = match &written.object {
            None => Object::main(),
            Some(object) => match self.held(object) {
                Ok(object) => object,
                Err((message, near)) => {
                    let hint = near.map(|near| format!("did you mean `{near}`?"));
                    self.problem(&format!("holds/{name}/object"), message, hint);
                    return None;
                }
            },
        };
        for (field, text) in [("owner", &written.owner), ("reason", &written.reason)] {
            if visible::visible_line(text) != text.as_str() || text.chars().count() > MAX_WORDS {
                let message = format!("this is not a line of at most {MAX_WORDS} letters that show");
                self.problem(&format!("holds/{name}/{field}"), message, None);
                return None;
            }
        }
        let until = written.until.map(|until| until.0);
        Some(Hold { object, until, owner: written.owner.clone(), reason: written.reason.clone() })
    }

    fn notify(&mut self, name: &str, written: &v1::Notify) -> Option<WebhookTarget> {
        let url = match &written.url {
            v1::WrittenEnvValue::Secret(place) => EnvValue::Secret(secret(place)),
            v1::WrittenEnvValue::Plain(url) if is_web_address(url) => EnvValue::Plain(url.clone()),
            v1::WrittenEnvValue::Plain(_) => {
                let message = format!("this is no http or https address, and not {}", v1::SECRET_PLACE);
                let hint = "such as `https://<your-hook>`".to_owned();
                self.problem(&format!("notify/{name}/url"), message, Some(hint));
                return None;
            }
        };
        if written.events.as_ref().is_some_and(Vec::is_empty) {
            let hint = "leave `events` out for all of them".to_owned();
            self.problem(&format!("notify/{name}/events"), "it would be told of nothing", Some(hint));
        }
        let mut topics: BTreeSet<NotificationTopic> = written.events.iter().flatten().map(topic).collect();
        if topics.is_empty() {
            topics = [
                NotificationTopic::Swap,
                NotificationTopic::Stalled,
                NotificationTopic::Drift,
                NotificationTopic::Hold,
            ]
            .into();
        }
        Some(WebhookTarget { url, topics, secret: written.secret.as_ref().map(secret) })
    }

    fn window(
        &mut self,
        name: &str,
        written: &v1::WrittenWindow,
        models: &BTreeMap<ModelName, Model>,
    ) -> Option<Window> {
        let path = format!("schedule/{name}");
        if written.model.as_str() == "none" {
            self.problem(&format!("{path}/model"), "a window needs a model; it cannot be `none`", None);
        } else if !models.contains_key(&written.model) {
            self.no_such_model(&format!("{path}/model"), written.model.as_str());
        }
        let zone = written.timezone.as_deref().unwrap_or("Etc/UTC");
        let Ok(zone) = jiff::tz::TimeZone::get(zone) else {
            let hint = "an IANA name such as `Etc/UTC`".to_owned();
            self.problem(&format!("{path}/timezone"), format!("no time zone is named `{zone}`"), Some(hint));
            return None;
        };
        if written.days.as_ref().is_some_and(Vec::is_empty) {
            let hint = "leave `days` out for every day".to_owned();
            self.problem(&format!("{path}/days"), "a window without a day is never open", Some(hint));
        }
        let days = written.days.iter().flatten().map(|day| *day as i8 + 1).collect::<BTreeSet<_>>();
        Some(Window {
            days: if days.is_empty() { (1..=7).collect() } else { days },
            from: written.from.0,
            to: written.to.0,
            zone,
            model: written.model.clone(),
        })
    }
}

/// Something to POST to, as far as that can be told without trying.
fn is_web_address(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest.filter(|_| url.len() <= MAX_URL) else { return false };
    let plain = !url.chars().any(|letter| letter.is_whitespace() || letter.is_control());
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_and_port = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = host_and_port.rsplit_once(':').unwrap_or((host_and_port, "443"));
    let port_is_one = port.parse::<u16>().is_ok_and(|port| port > 0);
    plain && port_is_one && !host.is_empty() && crate::core::model::name::Address::new(host).is_ok()
}

/// What an entry is.
pub(super) enum ResolvedService {
    Service(Service),
    Slot(Slot),
    /// A bot without a user.
    Absent,
}

/// The topic that the file calls so.
fn topic(event: &v1::NotifyEvent) -> NotificationTopic {
    match event {
        v1::NotifyEvent::Swap => NotificationTopic::Swap,
        v1::NotifyEvent::Stalled => NotificationTopic::Stalled,
        v1::NotifyEvent::Drift => NotificationTopic::Drift,
        v1::NotifyEvent::Hold => NotificationTopic::Hold,
    }
}
