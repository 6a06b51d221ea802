//! Performing one step: fill in the fence program, run it, say what came of it. No policy.

pub mod fence;

use crate::{
    core::{
        desired::{Desired, Secret},
        observed::{Observed, Token},
        step::Step,
    },
    docker,
    host::{Program, SharedTransport, Transport},
    launcher::launch_cluster,
};

use fence::Verdict;

/// What is kept of a container's output before it is stopped.
const LOG_LINES: u32 = 2000;
const LOG_DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: Verdict,
    /// The container's last words, when it was stopped.
    pub log: Option<String>,
}

/// Perform `step` on its Spark with `token`. A step that acts on no Spark is done by being recorded.
pub async fn perform(
    step: &Step,
    token: &Token,
    desired: &Desired,
    observed: &Observed,
    transport: Option<&SharedTransport>,
) -> Outcome {
    let plain = |verdict| Outcome { verdict, log: None };
    let (Some(spark), Some(transport)) = (step.spark(), transport) else {
        return plain(Verdict::Done);
    };
    let Some(facts) = observed.facts(spark) else {
        return plain(Verdict::Refused(format!("`{spark}` was not reachable when this was decided")));
    };
    let act = |name| fence::program(name, desired, spark, token, &facts.boot_id);
    match step {
        Step::Adopt { .. } => plain(Verdict::Done),
        Step::Advance { .. } => plain(fence::perform(transport.as_ref(), &act("advance")).await),
        Step::Stop { container, remove, grace_secs, .. } => {
            // Containers of the launchers vanish with their logs.
            let log = docker::logs(transport.as_ref(), container, LOG_LINES, LOG_DEADLINE).await.ok();
            let program = act("stop")
                .with("container", container.clone())
                .with("remove", if *remove { "yes" } else { "no" })
                .with("grace", grace_secs.to_string());
            Outcome { verdict: fence::perform(transport.as_ref(), &program).await, log }
        }
        Step::Start { container, .. } => plain(
            fence::perform(transport.as_ref(), &act("start").with("container", container.clone())).await,
        ),
        Step::EndJob { job, .. } => {
            plain(fence::perform(transport.as_ref(), &act("end-job").with("job", job.clone())).await)
        }
        Step::Launch { .. } => plain(launch(step, token, desired, transport.as_ref(), act("launch")).await),
    }
}

async fn launch(
    step: &Step,
    token: &Token,
    desired: &Desired,
    transport: &dyn Transport,
    act: Program,
) -> Verdict {
    let Step::Launch { object, group } = step else { unreachable!("only called for a launch") };
    let effective = desired
        .slots
        .get(object)
        .and_then(|slot| desired.effective(slot, &group.model))
        .filter(|effective| effective.spec_hash() == group.spec);
    let Some(effective) = effective else {
        return Verdict::Refused(format!("`{}` has been edited since", group.model));
    };
    let script = match launch_cluster::script(object, &effective, desired, token, secret) {
        Ok(script) => script,
        Err(error) => return Verdict::Refused(error.to_string()),
    };
    let program = act
        .with("object", object.as_str())
        .with("name", group.container.to_string())
        .with("spec", group.spec.as_str())
        .with("job", format!("{}.{}", token.epoch, token.sequence))
        .with("limit", crate::core::launch::LAUNCH_DEADLINE.as_secs().to_string())
        .with("script", script.text)
        .with("secrets", script.secrets);
    fence::perform(transport, &program).await
}

/// A secret's value.
///
/// # Errors
/// Why it cannot be read, without its value.
pub fn secret(place: &Secret) -> Result<String, String> {
    let value = match place {
        Secret::Env(name) => std::env::var(name.as_str())
            .map_err(|_| format!("the environment variable `{name}` is not set"))?,
        Secret::File(path) => {
            std::fs::read_to_string(path.as_str()).map_err(|error| format!("reading `{path}`: {error}"))?
        }
    };
    let value = value.trim_end_matches(['\n', '\r']);
    if value.contains(['\n', '\r', '\0']) {
        return Err("it has more than one line".into());
    }
    Ok(value.to_owned())
}
