//! The far side of `apply/bots.sh`: reads a job's script, and does to the container what it would do.

use jiff::Timestamp;

use super::{
    machine::{Machine, SimulatedUpdate},
    script::value_of,
};
use crate::core::model::observed::JobState;

/// While it is under way; the real one has as many phases.
pub const PHASE: &str = "building at 1c0ffee";

/// Read a script of `apply::bots`; `None` when it is another job's.
pub fn read(script: &str) -> Option<SimulatedUpdate> {
    Some(SimulatedUpdate { branch: value_of(script, "branch")?, container: value_of(script, "container")? })
}

/// It is due: its end, and its last words.
pub fn end(machine: &mut Machine, update: &SimulatedUpdate, now: Timestamp) -> (JobState, String) {
    let SimulatedUpdate { branch, container } = update;
    if machine.transfers_fail > 0 {
        machine.transfers_fail -= 1;
        let said = "git fetch: Permission denied (publickey).".to_owned();
        return (JobState::Exited(1), said);
    }
    let Some(found) = machine.containers.iter_mut().find(|known| known.name == *container) else {
        return (JobState::Exited(1), format!("no container {container} runs after it"));
    };
    found.started_at = now;
    found.running = true;
    (JobState::Exited(0), format!("{branch} is at 1c0ffee, and {container} runs it"))
}
