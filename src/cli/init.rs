//! `init`: from Sparks that nobody described to a `cluster.yaml` that describes them as they are. What serves goes on
//! serving: the first plan is empty.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::IsTerminal,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use anyhow::{Context, bail};
use serde_json::{Map, Value as Json, json};

use super::{
    Exit,
    arguments::{Format, InitArguments},
    import, reach, say, trust,
};
use crate::{
    controller::{self, Controller, Places, round::Mode},
    core::{
        desired::{Desired, ServiceKind},
        name::{ModelName, RepoId, SparkName},
        plan::Plan,
        recognise::{self, Command, Origin},
        step::Step,
    },
    host::Unreachable,
    manifest::{
        self,
        compose::{self, Draft},
    },
    probe::survey::{Survey, survey},
};

/// From this speed on a network is the one between Sparks.
const FABRIC_MBPS: u32 = 100_000;

/// # Errors
/// When there is a file already, or it cannot be written.
pub async fn init(places: &Places, arguments: InitArguments, output: Format) -> anyhow::Result<Exit> {
    if places.file.exists() {
        bail!("{} is there already; name another with --file, or edit that one", places.file.display());
    }
    let Some(lock) = reach::lock(&places.data)? else {
        bail!("a controller already runs with {}; `init` is for the beginning", places.data.display());
    };
    let imported = match &arguments.from_spark_control {
        Some(dir) => import::import(dir, |name| std::env::var(name).ok())?,
        None => import::Imported::default(),
    };
    for left in &imported.left {
        talk!("not taken over: {left}");
    }
    let mut draft = imported.draft;
    add_sparks(&mut draft, &arguments)?;
    let public = key(&places.data, arguments.key.as_deref()).await?;
    let described = described(&draft)?;
    if !arguments.offline {
        let Some(surveys) = look(places, &described, &public, &arguments).await? else {
            return Ok(Exit::Blocked);
        };
        take_in(&mut draft, &surveys);
    }
    let mut adopts = write(places, &draft)?;
    if adopts && !adopt(places).await? {
        // What serves is not what the file would start: it is watched until its owner decides.
        let model = draft.model.take().unwrap_or_default();
        draft.notes.push(format!(
            "`{model}` serves, and would be started in another way: set `model: {model}` to swap it in."
        ));
        fs::remove_file(&places.file)?;
        write(places, &draft)?;
        adopts = false;
    }
    drop(lock);
    let told = json!({
        "file": places.file,
        "public_key": public,
        "adopted": draft.model.as_ref().filter(|_| adopts),
        "services": draft.services.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "not_taken_over": imported.left,
    });
    let model = draft.model.as_ref().filter(|_| adopts);
    let serving =
        model.map_or(String::new(), |model| format!("; `{model}` serves and was taken over as it is"));
    let talk = format!("wrote {}{serving}\nnext: spark-control plan", places.file.display());
    say(output, &told, &talk)
}

fn add_sparks(draft: &mut Draft, arguments: &InitArguments) -> anyhow::Result<()> {
    for written in &arguments.sparks {
        let (name, place) = match written.split_once('=') {
            Some((name, place)) => (name.to_owned(), place),
            None => (format!("spark{}", draft.sparks.len() + 1), written.as_str()),
        };
        let entry = if place == "local" {
            json!({ "address": "127.0.0.1", "transport": "local" })
        } else {
            let (user, host) = place.split_once('@').with_context(|| {
                format!("`{written}` is not of the form NAME=USER@ADDRESS, or NAME=local")
            })?;
            let (address, port) =
                host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port)));
            let mut entry = json!({ "address": address, "user": user });
            if let Some(port) = port {
                entry["ssh_port"] =
                    port.parse::<u16>().with_context(|| format!("`{port}` is no port"))?.into();
            }
            entry
        };
        draft.sparks.push((name, entry));
    }
    for (_, spark) in &mut draft.sparks {
        if let Some(socket) = &arguments.docker_socket {
            spark["docker_socket"] = socket.as_str().into();
        }
        if let Some(key) = arguments.key.as_ref().filter(|_| spark["transport"] != "local") {
            spark["key"] = key.display().to_string().into();
        }
    }
    if draft.sparks.is_empty() {
        bail!("no Spark is named; say where they are, such as --spark spark1=alice@192.0.2.1");
    }
    Ok(())
}

/// The draft's Sparks, checked as a file is.
fn described(draft: &Draft) -> anyhow::Result<Desired> {
    let text = compose::text(&Draft { sparks: draft.sparks.clone(), ..Draft::default() });
    let loaded = manifest::load::load(&text);
    Ok(loaded
        .map_err(|problems| anyhow::anyhow!("{}", manifest::render(&problems, "--spark", &text)))?
        .desired)
}

/// The public key, made when there is none.
async fn key(data: &Path, own: Option<&Path>) -> anyhow::Result<String> {
    let private = own.map_or_else(|| data.join("id_ed25519"), Path::to_path_buf);
    if !private.exists() {
        if own.is_some() {
            bail!("there is no key {}", private.display());
        }
        let made = tokio::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "spark-control", "-f"])
            .arg(&private)
            .stdin(Stdio::null())
            .output()
            .await
            .context("ssh-keygen, which is part of OpenSSH")?;
        if !made.status.success() {
            bail!("ssh-keygen: {}", String::from_utf8_lossy(&made.stderr).trim());
        }
        talk!("made the key {}", private.display());
    }
    let mut public = private.clone().into_os_string();
    public.push(".pub");
    let text = fs::read_to_string(PathBuf::from(public)).unwrap_or_default();
    Ok(text.trim().to_owned())
}

/// Every Spark as it is; `None` when one of them cannot be asked yet, and the person was told what to do.
async fn look(
    places: &Places,
    desired: &Desired,
    public: &str,
    arguments: &InitArguments,
) -> anyhow::Result<Option<BTreeMap<SparkName, Survey>>> {
    for (name, spark) in &desired.sparks {
        let expected = arguments.fingerprints.iter().find_map(|written| match written.split_once('=') {
            Some((of, fingerprint)) if of == name.as_str() => Some(fingerprint),
            _ => None,
        });
        trust::ensure(spark, name.as_str(), expected, &places.data).await?;
    }
    let world = controller::real_world(&places.data)?;
    let cluster = desired.cluster.as_str();
    let asking = desired.sparks.iter().map(|(name, spark)| {
        let way = (world.connect)(name, spark);
        async move { (name.clone(), survey(way.as_ref(), cluster).await) }
    });
    let mut surveys = BTreeMap::new();
    let mut failed = false;
    for (name, came) in futures_util::future::join_all(asking).await {
        match came {
            Ok(survey) => {
                surveys.insert(name, survey);
            }
            Err(error) => {
                failed = true;
                talk!("`{name}`: {error}");
                if error == Unreachable::Denied {
                    talk!(
                        "run this on {name}, as the user that was named:\n  mkdir -p ~/.ssh && chmod 700 ~/.ssh && echo \
                         '{public}' >> ~/.ssh/authorized_keys"
                    );
                }
            }
        }
    }
    if failed {
        talk!("nothing was written; run `init` again then, or with --offline to write what is known now");
    }
    Ok((!failed).then_some(surveys))
}

/// What was seen, into the draft.
fn take_in(draft: &mut Draft, surveys: &BTreeMap<SparkName, Survey>) {
    fabric(draft, surveys);
    let mut engines = engines(surveys);
    // The one with the most ranks; of those with one, the first.
    engines.sort_by_key(|engine| (std::cmp::Reverse(engine.sparks.len()), engine.sparks[0].clone()));
    let mut taken: BTreeSet<(SparkName, String)> = BTreeSet::new();
    let mut main = None;
    for engine in &engines {
        taken.extend(engine.sparks.iter().map(|spark| (spark.clone(), engine.container.clone())));
        let ours = matches!(engine.origin, Origin::LaunchCluster | Origin::Docker);
        if main.is_none() && ours && take_model(draft, engine, surveys) {
            main = Some(engine.container.clone());
        } else {
            watch_engine(draft, engine, ours);
        }
    }
    for (spark, survey) in surveys {
        for container in survey.containers.iter().filter(|container| container.running) {
            if taken.contains(&(spark.clone(), container.name.clone())) {
                continue;
            }
            let Some((kind, usual)) = recognise::service(&container.name, &container.image) else { continue };
            // The published one, or the usual one of those on which something listens.
            let listens =
                survey.machine.platform.listening.as_ref().is_none_or(|ports| ports.contains(&usual));
            let port = container.published.first().copied().unwrap_or(usual);
            if container.published.is_empty() && !listens {
                draft.notes.push(format!(
                    "`{}` on {spark} seems to be of kind {}; its port is not known.",
                    container.name,
                    kind_name(kind)
                ));
                continue;
            }
            let known = draft
                .services
                .iter()
                .any(|(_, entry)| entry["spark"] == spark.as_str() && entry["port"] == port);
            if !known {
                let entry = json!({
                    "kind": kind_name(kind), "spark": spark, "port": port, "container": container.name,
                });
                add(draft, &container.name, entry);
            }
        }
    }
}

/// The fast network, when each Spark has exactly one with an address.
fn fabric(draft: &mut Draft, surveys: &BTreeMap<SparkName, Survey>) {
    if surveys.len() < 2 {
        return;
    }
    let mut found: BTreeMap<String, Json> = BTreeMap::new();
    for (name, survey) in surveys {
        let fast: Vec<_> = survey
            .machine
            .platform
            .interfaces
            .iter()
            .filter(|(_, interface)| {
                interface.is_up && interface.speed_mbps.is_some_and(|speed| speed >= FABRIC_MBPS)
            })
            .filter_map(|(name, interface)| Some((name, interface.addresses.first()?)))
            .collect();
        if let [(interface, ip)] = fast[..] {
            found.insert(name.to_string(), json!({ "ip": ip, "eth_if": interface }));
        }
    }
    if found.len() < surveys.len() {
        draft.notes.push(
            "Models on several Sparks need `fabric` for each Spark; which network it is could not be told."
                .into(),
        );
        return;
    }
    for (name, spark) in &mut draft.sparks {
        if let Some(fabric) = found.remove(name) {
            spark["fabric"] = fabric;
        }
    }
}

/// A model that serves, with all its ranks.
struct Engine {
    container: String,
    image: String,
    origin: Origin,
    command: Command,
    /// Head first.
    sparks: Vec<SparkName>,
}

fn engines(surveys: &BTreeMap<SparkName, Survey>) -> Vec<Engine> {
    let mut engines: Vec<Engine> = Vec::new();
    let mut others: Vec<(&SparkName, String, u32, String)> = Vec::new();
    for (spark, survey) in surveys {
        for container in &survey.containers {
            let Some(command) = survey.engines.get(&container.id) else { continue };
            if let Some(rank) = command.rank.filter(|rank| *rank > 0) {
                others.push((spark, container.name.clone(), rank, command.root.clone()));
                continue;
            }
            let first = container.processes.iter().flatten().min_by_key(|process| process.pid);
            let first = first.map_or("", |process| process.command.as_str());
            engines.push(Engine {
                container: container.name.clone(),
                image: container.image.clone(),
                origin: Origin::of(&container.name, &container.label_names, first),
                command: command.clone(),
                sparks: vec![spark.clone()],
            });
        }
    }
    others.sort_by_key(|(_, _, rank, _)| *rank);
    for (spark, container, _, root) in others {
        let of = |engine: &&mut Engine| engine.container == container && engine.command.root == root;
        if let Some(engine) = engines.iter_mut().find(of) {
            engine.sparks.push(spark.clone());
        }
    }
    // Under Ray the other ranks have no engine process: a container of the same name and image that runs Ray.
    for engine in engines.iter_mut().filter(|engine| engine.command.ray) {
        let head = engine.sparks[0].clone();
        for (spark, survey) in surveys.iter().filter(|(spark, _)| **spark != head) {
            let rank = survey.containers.iter().any(|container| {
                container.name == engine.container
                    && container.image == engine.image
                    && container.runs(crate::core::observed::is_ray) == Some(true)
            });
            if rank {
                engine.sparks.push(spark.clone());
            }
        }
    }
    engines
}

/// Make it the main slot's model. False when the file has no words for it.
fn take_model(draft: &mut Draft, engine: &Engine, surveys: &BTreeMap<SparkName, Survey>) -> bool {
    let command = &engine.command;
    let mut entry = Map::new();
    if command.root.starts_with('/') {
        entry.insert("local_path".into(), command.root.as_str().into());
    } else if RepoId::new(command.root.as_str()).is_ok() {
        entry.insert("repo".into(), command.root.as_str().into());
    } else {
        return false;
    }
    let served =
        if command.served_as.is_empty() { vec![command.root.clone()] } else { command.served_as.clone() };
    let short = served[0].rsplit('/').next().unwrap_or_default();
    let Ok(name) = ModelName::new(short).or_else(|_| ModelName::new("model")) else { return false };
    entry.extend(command.revision.as_ref().map(|revision| ("revision".into(), revision.as_str().into())));
    entry.insert("sparks".into(), json!(engine.sparks));
    entry.insert("served_as".into(), json!(served));
    if !command.args.is_empty() {
        entry.insert("args".into(), json!(command.args));
    }
    entry.extend(command.chat_template.as_ref().map(|path| ("chat_template".into(), path.as_str().into())));
    let checkout = surveys[&engine.sparks[0]].machine.launchers.get("spark-vllm-docker");
    let launcher = match engine.origin {
        Origin::Docker => json!({ "kind": "docker", "image": engine.image }),
        Origin::LaunchCluster | Origin::Sparkrun | Origin::Playbook => {
            if !matches!(checkout, Some(crate::core::observed::LauncherSeen::Present(_))) {
                draft.notes.push(format!(
                    "No `launch-cluster.sh` was found in ~/spark-vllm-docker of {}: set `vllm.launcher.dir`.",
                    engine.sparks[0]
                ));
            }
            let mut launcher =
                json!({ "kind": "launch-cluster", "dir": "spark-vllm-docker", "image": engine.image });
            if command.ray && engine.sparks.len() > 1 {
                launcher["ray"] = true.into();
            }
            launcher
        }
    };
    draft.vllm.insert("container".into(), engine.container.as_str().into());
    draft.vllm.insert("port".into(), command.port.into());
    draft.vllm.insert("launcher".into(), launcher);
    draft.models.retain(|(known, _)| known != name.as_str());
    draft.models.push((name.to_string(), entry.into()));
    draft.model = Some(name.to_string());
    true
}

/// Only watch it: another tool's, or a second one.
fn watch_engine(draft: &mut Draft, engine: &Engine, ours: bool) {
    let spark = &engine.sparks[0];
    if !ours {
        draft.notes.push(format!(
            "`{}` on {spark} was started by {}: it is watched and never touched.",
            engine.container,
            engine.origin.name()
        ));
    }
    let entry = json!({
        "kind": "vllm", "spark": spark, "port": engine.command.port, "container": engine.container,
    });
    add(draft, &engine.container, entry);
}

/// A service under a name that is free, and not the main slot's.
fn add(draft: &mut Draft, container: &str, entry: Json) {
    let taken = |name: &str| name == "vllm" || draft.services.iter().any(|(known, _)| known == name);
    let mut name = container.to_owned();
    let mut number = 2;
    while taken(&name) {
        name = format!("{container}-{number}");
        number += 1;
    }
    draft.services.push((name, entry));
}

/// As the file names it.
pub(super) fn kind_name(kind: ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Vllm => "vllm",
        ServiceKind::Asr => "asr",
        ServiceKind::Diarization => "diarization",
        ServiceKind::Tts => "tts",
        ServiceKind::Embeddings => "embeddings",
        ServiceKind::Rerank => "rerank",
        ServiceKind::Qdrant => "qdrant",
        ServiceKind::RedactionNer => "redaction-ner",
        ServiceKind::Bot => "bot",
        ServiceKind::Http => "http",
    }
}

/// Write the file, when it is one that can be in force. Tells whether it wants a model.
fn write(places: &Places, draft: &Draft) -> anyhow::Result<bool> {
    let text = compose::text(draft);
    let path = places.file.display().to_string();
    let loaded = manifest::load::load(&text).map_err(|problems| {
        anyhow::anyhow!(
            "what was found does not make a valid file:\n{}",
            manifest::render(&problems, &path, &text)
        )
    })?;
    for warning in manifest::report::messages(&loaded.warnings, &text) {
        talk!("warning: {warning}");
    }
    if let Some(folder) = places.file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let mut options = fs::File::options();
    let file = options.write(true).create_new(true).open(&places.file);
    std::io::Write::write_all(&mut file.with_context(|| format!("writing {path}"))?, text.as_bytes())?;
    Ok(draft.model.is_some())
}

/// Take over what serves. False, and nothing done, when the first plan holds anything but that.
async fn adopt(places: &Places) -> anyhow::Result<bool> {
    let world = controller::real_world(&places.data)?;
    let controller = Arc::new(Controller::new(places.clone(), world)?);
    controller.round(Mode::Preview).await?;
    let seen = controller.snapshot();
    let Some(plan) = &seen.plan else { return Ok(false) };
    let takes_over = |plan: &Plan| {
        plan.work
            .iter()
            .flat_map(|work| work.steps())
            .all(|planned| matches!(planned.step, Step::Adopt { .. }))
    };
    if !plan.has_steps() || !takes_over(plan) {
        return Ok(false);
    }
    controller.round(Mode::Only(plan)).await?;
    controller.round(Mode::Preview).await?;
    Ok(controller.snapshot().plan.as_ref().is_some_and(|plan| !plan.has_steps()))
}

/// Somebody can be asked.
pub(super) fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}
