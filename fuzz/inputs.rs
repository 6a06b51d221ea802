//! What is done with bytes that nobody wrote as they should be, for the fuzzer (`targets/`) and for the replay of its seeds
//! (`tests/it/corpus.rs`). Each must come to an end without a panic, and hold what it asserts.

use std::collections::BTreeMap;

use spark_control::{
    core::{
        decide::{cause, planner, view::View},
        model::{ledger::Ledger, observed::Observed, progress, redact},
    },
    docker::wire,
    manifest::{
        edit::{self, TextChange},
        load::load,
        read, render, report,
    },
    probe::{engine, floor, launchers, machine},
};

/// What is done with one input.
pub type Input = fn(&[u8]);

/// By the folder of their seeds.
pub const INPUTS: [(&str, Input); 8] = [
    ("manifest", manifest),
    ("edit", an_edit),
    ("log", log),
    ("metrics", metrics),
    ("meminfo", meminfo),
    ("machine", a_machine),
    ("launcher", launcher),
    ("frames", frames),
];

/// Whatever is in the file: it is read or refused, the refusal can be told, and what is in force can be planned for.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = read::text(bytes.to_vec()) else { return };
    match load(&text) {
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(!render(&problems, "cluster.yaml", &text).is_empty());
        }
        Ok(loaded) => {
            let _ = report::messages(&loaded.warnings, &text);
            let now = "2026-11-24T12:00:00Z".parse().expect("a time");
            let nothing = Observed {
                at: now,
                sparks: BTreeMap::new(),
                endpoints: BTreeMap::new(),
                ended: BTreeMap::new(),
                loads: BTreeMap::new(),
                bots: BTreeMap::new(),
                front_doors: BTreeMap::new(),
                unreadable_secrets: BTreeMap::new(),
            };
            let plan = planner::plan(
                View { desired: &loaded.desired, observed: &nothing, ledger: &Ledger::default(), now },
                1,
            );
            assert!(!plan.has_steps(), "nothing was seen, so nothing is done");
        }
    }
}

/// A merge patch on the first line, and the file that it is for: the edit is refused, or the file holds just what the patch makes
/// of it.
pub fn an_edit(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some((patch, file)) = text.split_once('\n') else { return };
    let Ok(patch) = serde_json::from_str::<serde_json::Value>(patch) else { return };
    // What is no map replaces all, and a file is a map.
    if !patch.is_object() || load(file).is_err() {
        return;
    }
    let Ok(mut wanted) = edit::value(file) else { return };
    let Ok(edited) = edit::edited(file, &TextChange::Merge(patch.clone())) else { return };
    json_patch::merge(&mut wanted, &patch);
    let Ok(found) = edit::value(&edited) else { panic!("the edited file cannot be read:\n{edited}") };
    assert_eq!(found, wanted, "{edited}");
}

/// What an engine says while it loads.
pub fn log(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let read = progress::read(&text);
    assert!(!read.to_string().is_empty());
    if let Some(told) = cause::of(&text) {
        assert!(told.chars().count() <= 300 && !told.chars().any(char::is_control), "{told:?}");
        let _ = (cause::is_named(&told), cause::is_aftermath(&told));
    }
    let _ = redact::without_secrets(&text);
}

/// Prometheus text of an engine.
pub fn metrics(bytes: &[u8]) {
    if let Some(load) = engine::load(&String::from_utf8_lossy(bytes)) {
        assert!(load.running.is_finite() && load.waiting.is_finite() && load.progress.is_finite());
    }
}

/// Figures of the watch of the floor.
pub fn meminfo(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        let _ = floor::figure(line);
    }
}

/// What the probe of a machine prints: `/proc/meminfo`, lines of `nvidia-smi`, links, jobs.
pub fn a_machine(bytes: &[u8]) {
    if let Some(machine) = machine::parse(&String::from_utf8_lossy(bytes)) {
        assert!(!machine.boot_id.as_str().is_empty() || machine.jobs.len() < bytes.len());
    }
}

/// What a dry run of a recipe prints.
pub fn launcher(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for is in ["yes", "no"] {
        let _ = launchers::read(is, &text);
    }
}

/// A container's log as Docker frames it.
pub fn frames(bytes: &[u8]) {
    assert!(wire::demultiplex(bytes).len() <= bytes.len() * 3, "each byte is at most one letter");
}
