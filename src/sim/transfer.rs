//! The far side of `apply/weights`: reads a job's script, and does to the caches what it would do.

use std::collections::BTreeMap;

use super::{
    machine::{Machine, SimulatedTransfer},
    script::value_of,
};
use crate::core::model::observed::JobState;

/// Read a script of `apply::weights`.
pub fn read(script: &str) -> Option<SimulatedTransfer> {
    let to = script.lines().filter_map(|line| {
        // Quoted once more, because it is a parameter.
        let line = line.replace(r"'\''", "'");
        let words: Vec<&str> = line.split('\'').collect();
        let is_call = words[0].ends_with("to ") || words.get(1).is_some_and(|word| *word == "to ");
        let at = if words[0].ends_with("to ") { 3 } else { 4 };
        is_call.then(|| words.get(at).map(|word| (*word).to_owned())).flatten()
    });
    Some(SimulatedTransfer { folder: value_of(script, "folder")?, to: to.collect() })
}

/// It is due: its end, and its last words.
pub fn end(
    sparks: &mut BTreeMap<String, Machine>,
    spark: &str,
    transfer: &SimulatedTransfer,
) -> (JobState, String) {
    let Some(machine) = sparks.get_mut(spark) else { return (JobState::Lost, String::new()) };
    if machine.transfers_fail > 0 {
        machine.transfers_fail -= 1;
        return (JobState::Exited(1), "the download ended with 1: the network is unreachable".into());
    }
    if transfer.to.is_empty() {
        machine.lacks.remove(&transfer.folder);
        return (JobState::Exited(0), String::new());
    }
    for machine in sparks.values_mut().filter(|machine| transfer.to.contains(&machine.address)) {
        machine.lacks.remove(&transfer.folder);
    }
    (JobState::Exited(0), String::new())
}
