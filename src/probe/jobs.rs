//! Jobs on a Spark: what became of those of bots' users, and what any of them says.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use jiff::Timestamp;

use super::machine;
use crate::{
    core::model::{id::JobId, object::Object, observed::BotSeen},
    host::{Program, SharedTransport, Transport, Unreachable},
};

const DEADLINE: Duration = Duration::from_secs(10);

const BODY: &str = concat!(
    include_str!("../host/place.sh"),
    include_str!("../host/alive.sh"),
    include_str!("../host/jobs.sh"),
    include_str!("jobs.sh")
);

/// Look into each of these sessions.
pub async fn observe(
    cluster: &str,
    sessions: &BTreeMap<Object, SharedTransport>,
    now: impl Fn() -> Timestamp + Sync,
) -> BTreeMap<Object, BotSeen> {
    let looking = sessions.iter().map(|(object, way)| {
        let now = &now;
        async move {
            let program = program(cluster, "");
            let at = now();
            let seen = match way.run(&program, DEADLINE).await {
                Ok(output) => match machine::jobs(&output.stdout) {
                    Some(jobs) => BotSeen::Reached { at, jobs },
                    None => BotSeen::Silent { why: "its answer was cut short".into() },
                },
                Err(why) => BotSeen::Silent { why: why.to_string() },
            };
            (object.clone(), seen)
        }
    });
    join_all(looking).await.into_iter().collect()
}

/// The last lines of the log of a job of the user that `way` reaches.
///
/// # Errors
/// When it could not be read.
pub async fn log(
    way: &dyn Transport,
    cluster: &str,
    job: &JobId,
    lines: u32,
    deadline: Duration,
) -> Result<String, Unreachable> {
    let output = way.run(&program(cluster, job.as_str()).with("lines", lines.to_string()), deadline).await?;
    let text = output.stdout.strip_suffix("end\n").map(str::to_owned);
    text.ok_or_else(|| Unreachable::Connection("the answer was cut short".into()))
}

fn program(cluster: &str, job: &str) -> Program {
    Program::new("jobs", BODY).with("cluster", cluster).with("job", job).with("lines", "0")
}
