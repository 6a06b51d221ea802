//! The engine's words, to the file, to the engine's words: published command lines say the same afterwards.

use std::{fs, process::Stdio};

use serde_json::{Map, Value as Json, json};
use spark_control::{
    core::model::{command_line, name::ModelName, object::Object},
    manifest::{
        compose::{Draft, text},
        load::load,
    },
};
use tempfile::TempDir;

use crate::{environment::command, golden::here};

/// A line that somebody published, and its words.
pub struct Published {
    pub source: String,
    pub words: Vec<String>,
}

/// Split as a shell splits them, by Python's `shlex`.
pub fn published() -> Vec<Published> {
    let file = fs::read_to_string(here("tests/it/engine/published.txt")).unwrap();
    let entries: Vec<(&str, &str)> =
        file.split("\n\n").skip(1).filter_map(|entry| entry.split_once('\n')).collect();
    let home = TempDir::new().unwrap();
    let script =
        "import json, shlex, sys\nprint(json.dumps([shlex.split(line) for line in json.load(sys.stdin)]))";
    let mut child = command("python3", home.path())
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: Vec<&str> = entries.iter().map(|(_, line)| *line).collect();
    serde_json::to_writer(child.stdin.take().unwrap(), &lines).unwrap();
    let output = child.wait_with_output().unwrap();
    let words: Vec<Vec<String>> = serde_json::from_slice(&output.stdout).unwrap();
    let source = |source: &str| source.trim_start_matches("# ").to_owned();
    entries.iter().zip(words).map(|((from, _), words)| Published { source: source(from), words }).collect()
}

/// The words that the file gives the engine for a model that was written down from `words`; why not, when it was not.
pub fn through_the_file(words: &[String]) -> Result<Vec<String>, String> {
    let read = command_line::command(words).ok_or("it is no engine's command line")?;
    let mut entry: Map<String, Json> = read.entry()?;
    // As many Sparks as it has ranks.
    let size = |flag: &str| read.args.get(flag).map_or(1, |size| size.as_u64().unwrap_or(1));
    let ranks = size("tensor-parallel-size") * size("pipeline-parallel-size") * size("data-parallel-size");
    let names: Vec<String> = (1..=ranks).map(|rank| format!("s{rank}")).collect();
    entry.insert("sparks".into(), json!(names));
    let spark = |name: &String| {
        let address = name.replacen('s', "192.0.2.", 1);
        (name.clone(), json!({ "address": address, "user": "alice" }))
    };
    let draft = Draft {
        sparks: names.iter().map(spark).collect(),
        model: Some("m".into()),
        models: vec![("m".into(), entry.into())],
        vllm: [("port".to_owned(), json!(read.port))].into_iter().collect(),
        ..Draft::default()
    };
    let text = text(&draft);
    let loaded = load(&text).map_err(|problems| problems[0].message.clone())?;
    let slot = &loaded.desired.slots[&Object::main()];
    let effective = loaded.desired.resolved_model(slot, &ModelName::new("m").unwrap()).unwrap();
    let root = effective.model.source.root().unwrap().to_owned();
    Ok(["vllm".to_owned(), "serve".into(), root].into_iter().chain(effective.arguments()).collect())
}

/// If this failed, a model that was taken over would be started in another way the next time.
#[test]
fn published_command_lines_come_out_as_they_went_in() {
    let mut same = 0;
    let mut refused = Vec::new();
    for Published { source, words } in published() {
        match through_the_file(&words) {
            Ok(back) => {
                let (before, after) =
                    (command_line::command(&words).unwrap(), command_line::command(&back).unwrap());
                assert_eq!(before.args, after.args, "{source}: {words:?}");
                assert_eq!(
                    (&before.root, &before.revision, before.served(), before.port, &before.chat_template),
                    (&after.root, &after.revision, after.served(), after.port, &after.chat_template),
                    "{source}"
                );
                same += 1;
            }
            Err(why) => refused.push(format!("{source}: {why}")),
        }
    }
    assert!(same >= 60, "{same} came through; refused: {refused:#?}");
    crate::golden::assert_golden("tests/it/engine/refused.txt", &format!("{}\n", refused.join("\n")));
}
