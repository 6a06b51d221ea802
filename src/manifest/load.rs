//! From text to `Desired`, or to every problem with its place.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::{
    decode::decode,
    entries::{FileEntries, Loaded, Quarantined},
    problem::FileProblem,
    resolve,
    tree::{self, MapKey, Node, Value},
    v1,
};
use crate::core::model::name::nearest;

/// Of one section. Nobody has a tenth of it; what has more is no cluster, and would take memory and time all the same.
const MOST_ENTRIES: usize = 2000;

const SECTIONS: [&str; 12] = [
    "version",
    "name",
    "sparks",
    "model",
    "vllm",
    "models",
    "services",
    "disabled_services",
    "reconcile",
    "holds",
    "schedule",
    "notify",
];

/// Read, decode and resolve.
///
/// # Errors
/// All independent problems; the file cannot be used.
pub fn load(text: &str) -> Result<Loaded, Vec<FileProblem>> {
    let text_only = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text_only.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        let problem = FileProblem::at(0..0, "the file is empty".into());
        return Err(vec![problem.hint(Some("at least `version: 1` and `sparks:` are needed".into()))]);
    }
    let root = tree::parse(text).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let mut quarantine = Vec::new();
    let Some(entries) = read(&root, &mut problems, &mut quarantine) else { return Err(problems) };
    resolve::resolve(entries, problems, quarantine)
}

fn read(
    root: &Node,
    problems: &mut Vec<FileProblem>,
    quarantine: &mut Vec<Quarantined>,
) -> Option<FileEntries> {
    let Value::Map(fields) = &root.value else {
        problems.push(FileProblem::at(
            root.span.clone(),
            "expected a map with `version`, `sparks` and so on".into(),
        ));
        return None;
    };
    for (key, _) in fields {
        if !SECTIONS.contains(&key.text.as_str()) && !key.text.starts_with("x-") {
            let near = nearest(&key.text, SECTIONS);
            let hint = near.map_or_else(
                || format!("expected one of: {}", SECTIONS.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            let message = format!("unknown field `{}`", key.text);
            problems.push(FileProblem::at(key.span.clone(), message).hint(Some(hint)));
        }
    }
    let field = |name: &str| {
        fields
            .iter()
            .find(|(key, value)| key.text == name && value.value != Value::Null)
            .map(|(key, value)| (key, value))
    };
    let end = root.span.start..root.span.start;
    for needed in ["version", "sparks"] {
        if field(needed).is_none() {
            let blank = fields.iter().find(|(key, _)| key.text == needed).map(|(key, _)| key.span.clone());
            let is = if blank.is_some() { "blank" } else { "missing" };
            problems.push(FileProblem::at(blank.unwrap_or(end.clone()), format!("`{needed}` is {is}")));
        }
    }
    let mut places = BTreeMap::new();
    let version = one::<u32>(field("version"), problems, &mut places);
    if let (Some(found), Some((_, node))) = (version, field("version"))
        && found != 1
    {
        let message = format!("version {found} is not known to this program");
        problems.push(FileProblem::at(node.span.clone(), message).hint(Some("version 1 is".into())));
    }
    let cluster = v1::Cluster {
        version: version.unwrap_or(1),
        name: one(field("name"), problems, &mut places),
        sparks: many(field("sparks"), problems, &mut places, None),
        model: one(field("model"), problems, &mut places),
        vllm: one(field("vllm"), problems, &mut places),
        models: many(field("models"), problems, &mut places, Some(("models", quarantine))),
        services: many(field("services"), problems, &mut places, Some(("services", quarantine))),
        disabled_services: list(field("disabled_services"), problems, &mut places),
        reconcile: one(field("reconcile"), problems, &mut places),
        holds: many(field("holds"), problems, &mut places, None),
        schedule: many(field("schedule"), problems, &mut places, None),
        notify: many(field("notify"), problems, &mut places, None),
    };
    Some(FileEntries { cluster, places })
}

type EntrySpans = BTreeMap<String, std::ops::Range<usize>>;

/// Note where everything below `path` is written: values by their key, items of a list by their text.
fn inside(path: &str, node: &Node, places: &mut EntrySpans) {
    match &node.value {
        Value::Map(fields) => {
            for (key, value) in fields {
                let path = format!("{path}/{}", key.text);
                inside(&path, value, places);
                places.insert(path, value.span.clone());
            }
        }
        Value::List(items) => {
            for item in items {
                if let Value::Text(text) = &item.value {
                    places.insert(format!("{path}/{text}"), item.span.clone());
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
    }
}

fn one<T: DeserializeOwned>(
    field: Option<(&MapKey, &Node)>,
    problems: &mut Vec<FileProblem>,
    places: &mut EntrySpans,
) -> Option<T> {
    let (key, node) = field?;
    places.insert(key.text.clone(), node.span.clone());
    inside(&key.text, node, places);
    decode(node, problems)
}

fn list<T: DeserializeOwned>(
    field: Option<(&MapKey, &Node)>,
    problems: &mut Vec<FileProblem>,
    places: &mut EntrySpans,
) -> Vec<T> {
    let Some((key, node)) = field else { return Vec::new() };
    let Value::List(items) = &node.value else {
        problems.push(FileProblem::at(node.span.clone(), format!("expected a list of {}", key.text)));
        return Vec::new();
    };
    items
        .iter()
        .filter_map(|item| {
            if let Value::Text(text) = &item.value {
                places.insert(format!("{}/{text}", key.text), item.span.clone());
            }
            decode(item, problems)
        })
        .collect()
}

/// Entry by entry, so that one bad entry does not hide the rest.
fn many<K: DeserializeOwned + Ord, T: DeserializeOwned>(
    field: Option<(&MapKey, &Node)>,
    problems: &mut Vec<FileProblem>,
    places: &mut EntrySpans,
    mut quarantine: Option<(&'static str, &mut Vec<Quarantined>)>,
) -> BTreeMap<K, T> {
    let Some((section, node)) = field else { return BTreeMap::new() };
    let Value::Map(entries) = &node.value else {
        problems.push(FileProblem::at(
            node.span.clone(),
            format!("expected a map from names to {}", section.text),
        ));
        return BTreeMap::new();
    };
    if entries.len() > MOST_ENTRIES {
        let message =
            format!("`{}` has {} entries; at most {MOST_ENTRIES} are used", section.text, entries.len());
        problems.push(FileProblem::at(section.span.clone(), message));
        return BTreeMap::new();
    }
    let mut read = BTreeMap::new();
    for (key, value) in entries {
        if key.text.starts_with("x-") {
            continue;
        }
        places.insert(format!("{}/{}", section.text, key.text), key.span.clone());
        inside(&format!("{}/{}", section.text, key.text), value, places);
        let mut found = Vec::new();
        let name = decode(&Node { value: Value::Text(key.text.clone()), span: key.span.clone() }, &mut found);
        let entry = decode(value, &mut found);
        match (name, entry) {
            (Some(name), Some(entry)) => {
                read.insert(name, entry);
            }
            _ => match &mut quarantine {
                Some((section, quarantined)) => {
                    quarantined.push(Quarantined { section, name: key.text.clone(), problems: found });
                }
                None => problems.extend(found),
            },
        }
    }
    read
}
