//! The files of the original system, read into a draft: `services-overrides.yaml`, model overrides, and environment
//! variables. Nobody wrote down what those files may hold, so fields are known by their names, and whatever is not known
//! is told, never dropped in silence.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, bail};
use serde_json::{Map, Value as Json, json};

use crate::{
    core::decide::recognise,
    manifest::{self, compose::Draft},
};

const SERVICES: &str = "services-overrides.yaml";
const MODELS: [&str; 3] = ["model-overrides.yaml", "models-overrides.yaml", "models.yaml"];
const ENVIRONMENT: &str = ".env";

/// What was found there.
#[derive(Debug, Default)]
pub struct Imported {
    pub draft: Draft,
    /// What was not taken over, and why.
    pub left: Vec<String>,
}

/// Read a directory. The environment of this process wins over the directory's `.env`; the Sparks that `draft` has are
/// there before those of either.
///
/// # Errors
/// When a file there cannot be read, or there is none.
pub fn import(
    dir: &Path,
    draft: Draft,
    process: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Imported> {
    let mut imported = Imported { draft, left: Vec::new() };
    let file = dir.join(ENVIRONMENT);
    let written =
        if file.exists() { environment(&text(&file)?, &mut imported.left) } else { BTreeMap::new() };
    let variable =
        |name: &str| process(name).or_else(|| written.get(name).cloned()).filter(|v| !v.trim().is_empty());
    let mut known = sparks(&mut imported, &variable);
    slot(&mut imported, &variable, &mut known);
    for name in written.keys().filter(|name| !known.contains(name)) {
        imported.left.push(format!("{ENVIRONMENT}: `{name}` is not known"));
    }
    let services = dir.join(SERVICES);
    if services.exists() {
        for (name, value) in entries(&services, "services")? {
            service(&mut imported, &name, &value);
        }
    }
    let models = MODELS.iter().map(|name| dir.join(name)).find(|path| path.exists());
    if let Some(models) = &models {
        for (name, value) in entries(models, "models")? {
            model(&mut imported, &name, &value);
        }
    }
    let misfits = imported.draft.keep_what_fits();
    imported.left.extend(misfits.iter().map(ToString::to_string));
    if !file.exists() && !services.exists() && models.is_none() && imported.draft.sparks.is_empty() {
        bail!("{} has none of {ENVIRONMENT}, {SERVICES}, {}", dir.display(), MODELS.join(", "));
    }
    Ok(imported)
}

fn text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// `KEY=value` lines, with or without `export` and quotes.
fn environment(text: &str, left: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut written = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.strip_prefix("export ").unwrap_or(line).split_once('=') {
            Some((key, value)) => {
                let value = value.trim();
                // Outside of quotes a comment ends it.
                let value = if value.starts_with(['"', '\'']) {
                    value
                } else {
                    value.split(" #").next().unwrap_or(value)
                };
                let value = value.trim().trim_matches('"').trim_matches('\'');
                written.insert(key.trim().to_owned(), value.to_owned());
            }
            // Not what it says: it may be a secret.
            None => left.push(format!("{ENVIRONMENT}: line {} is no `KEY=value`", at + 1)),
        }
    }
    written
}

/// A map of entries, at the top or below `section`.
fn entries(path: &Path, section: &str) -> anyhow::Result<Map<String, Json>> {
    let text = text(path)?;
    let value = manifest::edit::value(&text).map_err(|problem| {
        anyhow::anyhow!("{}", manifest::render(&[problem], &path.display().to_string(), &text))
    })?;
    let inner = value.get(section).unwrap_or(&value);
    match inner {
        Json::Object(entries) => Ok(entries.clone()),
        Json::Null => Ok(Map::new()),
        _ => bail!("{}: a map of {section} was expected", path.display()),
    }
}

/// Hosts and users: `SPARK1_HOST`, `SPARK1_USER` and so on, or `SPARK_HOSTS` with commas and one `SPARK_USER`.
fn sparks(imported: &mut Imported, variable: &impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut known: Vec<String> = Vec::new();
    let mut ask = |name: String| {
        let value = variable(&name);
        known.push(name);
        value
    };
    let common = ask("SPARK_USER".into()).or_else(|| ask("SSH_USER".into()));
    let listed = ask("SPARK_HOSTS".into()).unwrap_or_default();
    let mut hosts: Vec<(String, Option<String>)> = listed
        .split(',')
        .map(str::trim)
        .filter(|host| !host.is_empty())
        .map(|host| match host.split_once('@') {
            Some((user, host)) => (host.to_owned(), Some(user.to_owned())),
            None => (host.to_owned(), None),
        })
        .collect();
    for number in 1..=8 {
        let mut of = |what: &str| {
            ask(format!("SPARK{number}_{what}")).or_else(|| ask(format!("SPARK_{number}_{what}")))
        };
        let (host, user) = (of("HOST").or_else(|| of("IP")), of("USER"));
        hosts.extend(host.map(|host| (host, user)));
    }
    for (at, (address, user)) in hosts.into_iter().enumerate() {
        let mut names = (at + 1..).map(|number| format!("spark{number}"));
        let sparks = &imported.draft.sparks;
        if sparks.iter().any(|(_, spark)| spark["address"] == address.as_str()) {
            continue;
        }
        let name = names.find(|name| sparks.iter().all(|(known, _)| known != name)).unwrap_or_default();
        let Some(user) = user.or_else(|| common.clone()) else {
            imported.left.push(format!("`{name}` ({address}) has no user: set SPARK_USER"));
            continue;
        };
        imported.draft.sparks.push((name, json!({ "address": address, "user": user })));
    }
    known
}

fn slot(imported: &mut Imported, variable: &impl Fn(&str) -> Option<String>, known: &mut Vec<String>) {
    known.extend(["VLLM_PORT", "VLLM_CONTAINER", "DISABLED_SERVICES"].map(str::to_owned));
    if let Some(port) = variable("VLLM_PORT") {
        match port.trim().parse::<u16>() {
            Ok(port) => {
                imported.draft.vllm.insert("port".into(), port.into());
            }
            Err(_) => imported.left.push(format!("VLLM_PORT is `{port}`, not a port")),
        }
    }
    if let Some(container) = variable("VLLM_CONTAINER") {
        imported.draft.vllm.insert("container".into(), container.trim().into());
    }
    let disabled = variable("DISABLED_SERVICES").unwrap_or_default();
    let names = disabled.split([',', ' ']).map(str::trim).filter(|name| !name.is_empty());
    imported.draft.disabled.extend(names.map(str::to_owned));
}

/// A field under any of its names.
fn take(fields: &mut Map<String, Json>, names: &[&str]) -> Option<Json> {
    names.iter().find_map(|name| fields.remove(*name)).filter(|value| !value.is_null())
}

fn service(imported: &mut Imported, name: &str, value: &Json) {
    let Some(mut fields) = value.as_object().cloned() else {
        imported.left.push(format!("{SERVICES}: `{name}` is no map"));
        return;
    };
    let container = take(&mut fields, &["container", "container_name"]);
    let spark = take(&mut fields, &["spark", "node", "host"]);
    let port = take(&mut fields, &["port"]);
    // Files of that kind often have figures in quotes.
    let port = port
        .map(|port| port.as_str().and_then(|text| text.parse::<u16>().ok()).map_or(port.clone(), Json::from));
    let written = take(&mut fields, &["kind", "type"]);
    let enabled = take(&mut fields, &["enabled"]);
    let disabled = take(&mut fields, &["disabled"]);
    let off = [(&enabled, false), (&disabled, true)].into_iter().any(|(written, means)| {
        let Some(value) = written else { return false };
        let read = switch(value);
        if read.is_none() {
            imported.left.push(format!("{SERVICES}: whether `{name}` is on is told by `{value}`"));
        }
        read == Some(means)
    });
    if off && !imported.draft.disabled.iter().any(|known| known == name) {
        imported.draft.disabled.push(name.to_owned());
    }
    for field in fields.keys() {
        imported.left.push(format!("{SERVICES}: `{field}` of `{name}` is not known"));
    }
    let image = container.as_ref().and_then(Json::as_str).unwrap_or_default();
    let known = recognise::service(name, image);
    let kind = written.and_then(|kind| kind.as_str().map(str::to_owned));
    let kind = kind.or_else(|| known.map(|(kind, _)| super::describe::kind_name(kind).to_owned()));
    let port = port.or_else(|| known.map(|(_, port)| port.into()));
    let (Some(kind), Some(port)) = (kind, port) else {
        imported
            .left
            .push(format!("{SERVICES}: what `{name}` is cannot be told; it needs a kind and a port"));
        return;
    };
    let place = spark.map(|spark| match spark {
        Json::String(place) => place,
        Json::Number(number) => format!("spark{number}"),
        other => other.to_string(),
    });
    let sparks = &imported.draft.sparks;
    let spark = match &place {
        Some(place) => {
            sparks.iter().find(|(known, spark)| known == place || spark["address"] == place.as_str())
        }
        None => sparks.last(),
    };
    let spark = spark.map(|(name, _)| name.clone());
    let Some(spark) = spark else {
        imported.left.push(format!("{SERVICES}: where `{name}` runs cannot be told"));
        return;
    };
    let mut entry = json!({ "kind": kind, "spark": spark, "port": port });
    if let Some(container) = container {
        entry["container"] = container;
    }
    imported.draft.services.push((name.to_owned(), entry));
}

/// What a switch means, as YAML 1.1 writes them or as a figure; `None` when it is none.
fn switch(value: &Json) -> Option<bool> {
    match value {
        Json::Bool(value) => Some(*value),
        Json::Number(value) => value.as_u64().map(|value| value != 0),
        Json::String(word) => match word.to_lowercase().as_str() {
            "yes" | "on" | "true" | "y" | "1" => Some(true),
            "no" | "off" | "false" | "n" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn model(imported: &mut Imported, name: &str, value: &Json) {
    let Some(mut fields) = value.as_object().cloned() else {
        imported.left.push(format!("the model `{name}` is no map"));
        return;
    };
    let mut entry = Map::new();
    let source = take(&mut fields, &["repo", "model", "hf_repo", "model_id"]);
    let path = take(&mut fields, &["local_path", "path", "model_path"]);
    match (path, source) {
        (Some(path), _) => entry.insert("local_path".into(), path),
        (None, Some(source)) if source.as_str().is_some_and(|source| source.starts_with('/')) => {
            entry.insert("local_path".into(), source)
        }
        (None, Some(source)) => entry.insert("repo".into(), source),
        (None, None) => {
            imported.left.push(format!("the model `{name}` names neither a repository nor a path"));
            return;
        }
    };
    let all: Vec<String> = imported.draft.sparks.iter().map(|(name, _)| name.clone()).collect();
    let mut args = match take(&mut fields, &["args", "vllm_args"]) {
        Some(Json::Object(args)) => args,
        Some(_) => {
            imported.left.push(format!("the `args` of the model `{name}` are no map"));
            Map::new()
        }
        None => Map::new(),
    };
    for (names, flag) in [
        (&["tensor_parallel_size", "tensor_parallel", "tp"][..], "tensor-parallel-size"),
        (&["max_model_len"], "max-model-len"),
        (&["gpu_memory_utilization", "gpu_memory"], "gpu-memory-utilization"),
    ] {
        if let Some(value) = take(&mut fields, names) {
            args.insert(flag.into(), value);
        }
    }
    // Files of that kind often have figures in quotes.
    let size = args.get("tensor-parallel-size");
    let size = size.and_then(|size| size.as_u64().or_else(|| size.as_str()?.parse().ok())).unwrap_or(1);
    let size = usize::try_from(size).unwrap_or(1).clamp(1, all.len().max(1));
    let sparks =
        take(&mut fields, &["sparks"]).unwrap_or_else(|| json!(all.iter().take(size).collect::<Vec<_>>()));
    entry.insert("sparks".into(), sparks);
    if let Some(served) = take(&mut fields, &["served_as", "served_model_name", "aliases"]) {
        entry.insert("served_as".into(), if served.is_string() { json!([served]) } else { served });
    }
    if !args.is_empty() {
        entry.insert("args".into(), args.into());
    }
    for field in fields.keys() {
        imported.left.push(format!("`{field}` of the model `{name}` is not known"));
    }
    imported.draft.models.push((name.to_owned(), entry.into()));
}
