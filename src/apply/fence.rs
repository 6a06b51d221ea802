//! The remote program through which everything that changes a Spark goes (promise 5).
//!
//! The text is `fence.sh`; this file fills its parameters and reads its last line.

use std::time::Duration;

use crate::{
    core::model::{
        desired::Desired,
        launch::LAUNCH_DEADLINE,
        name::SparkName,
        observed::{FencingToken, SparkFacts},
    },
    host::{Program, ProgramOutput, Transport, Unreachable},
};

/// Longer than the longest acts. A stop: the lock, an owner's program of 60 s, a stop and a removal of 65 s each, and four answers
/// of the Engine that each come at the last moment. A check: the lock, 305 s for the engine's answer, and three of those.
const DEADLINE: Duration = Duration::from_secs(420);

/// What the Spark said about one act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FenceVerdict {
    Done,
    /// It was so already.
    Already,
    /// Done, with something to say of it.
    Said(String),
    /// A precondition is not met; nothing was done.
    Refused(String),
    /// A newer controller acts there.
    Fenced(String),
    /// It was tried.
    Failed(String),
    /// Not known: the connection ended before the answer.
    Unknown(String),
}

/// A message that is older than this when it gets its turn was decided on what may not be so any more.
const LATEST_SECS: u64 = 180;

/// Those that not every act has.
const PARAMETERS: [&str; 22] = [
    "container",
    "drop_caches",
    "environment",
    "environment_file",
    "expect_free",
    "expect_image",
    "expect_image_id",
    "expect_memory_kib",
    "folder",
    "grace",
    "hf_home",
    "job",
    "limit",
    "memory_kib",
    "name",
    "object",
    "own_dir",
    "own_program",
    "remove",
    "script",
    "spec",
    "words",
];

/// An act on `spark` with its token. The rest of its parameters is the caller's. `seen` is what it was decided on.
pub fn program(
    act: &str,
    desired: &Desired,
    spark: &SparkName,
    token: &FencingToken,
    seen: &SparkFacts,
) -> Program {
    let socket = desired.sparks.get(spark).map_or("", |spark| spark.docker_socket.as_str());
    let body =
        concat!(include_str!("../host/place.sh"), include_str!("../host/alive.sh"), include_str!("fence.sh"));
    // `fence.sh` takes no parameter for empty that was not set: one of the login's own environment would count.
    let unset = PARAMETERS.iter().fold(Program::new("fence", body), |program, name| program.with(name, ""));
    unset
        .with("claims", "yes")
        .with("cluster", desired.cluster.as_str())
        .with("socket", socket)
        .with("epoch", token.epoch.to_string())
        .with("sequence", token.sequence.to_string())
        .with("controller", token.controller.as_str())
        .with("act", act)
        .with("expect_boot", seen.boot_id.as_str())
        .with("expect_before", (seen.uptime_secs + LATEST_SECS).to_string())
        .with("forget", LAUNCH_DEADLINE.as_secs().to_string())
}

/// Perform it.
pub async fn perform(transport: &dyn Transport, program: &Program) -> FenceVerdict {
    verdict(transport.run(program, DEADLINE).await)
}

fn verdict(answer: Result<ProgramOutput, Unreachable>) -> FenceVerdict {
    let output = match answer {
        Ok(output) => output,
        Err(error) => return FenceVerdict::Unknown(error.to_string()),
    };
    let Some(line) = output.stdout.lines().rev().find_map(|line| line.strip_prefix("outcome ")) else {
        return FenceVerdict::Unknown(format!("the program ended without an outcome: {}", output.why_cut()));
    };
    let (word, detail) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "done" => FenceVerdict::Done,
        "already" => FenceVerdict::Already,
        "said" => FenceVerdict::Said(detail.into()),
        "refused" => FenceVerdict::Refused(detail.into()),
        "fenced" => FenceVerdict::Fenced(detail.into()),
        "unknown" => FenceVerdict::Unknown(detail.into()),
        _ => FenceVerdict::Failed(detail.into()),
    }
}
