//! `apply`: perform a plan and follow it to its end. With a running controller the loop does the work and this follows
//! it; without one this process does it.

use std::{io::IsTerminal, time::Duration};

use anyhow::bail;
use serde_json::json;

use super::{
    Exit,
    arguments::Format,
    look, print_told,
    reach::{self, ReachedController, segment},
};
use crate::{
    controller::{ControllerPaths, Snapshot, round::RoundMode},
    core::{
        model::{
            plan::{Plan, Verdict},
            reason::Concern,
        },
        tell::render,
    },
};

/// Between looks.
const FOLLOW: Duration = Duration::from_secs(2);
/// A step that was not done this often in a row is for a person.
const MAX_FAILED: u32 = 3;

/// # Errors
/// When the controller cannot be reached, the store fails, or a step is not done again and again.
pub async fn apply(
    places: &ControllerPaths,
    id: Option<&str>,
    no_wait: bool,
    output: Format,
) -> anyhow::Result<Exit> {
    let reached = reach::reach(places).await?;
    let approved = match plan_to_apply(&reached, id).await? {
        Ok(plan) => plan,
        Err(refused) => {
            talk!("{refused}");
            return Ok(Exit::Stale);
        }
    };
    // The same steps may wait for something else by now.
    let seen = match &reached {
        ReachedController::Running(_) => reached.look().await?,
        ReachedController::Own(..) => reached.snapshot().await?,
    };
    let shown = seen.plan.as_ref().filter(|plan| plan.id == approved.id).unwrap_or(&approved);
    if output == Format::Text {
        print_told(&render::render(shown))?;
    }
    let mut failed = 0;
    let mut waits = WaitReporter::default();
    loop {
        let (seen, turn_failed) = pass_round(&reached, &approved).await?;
        let plan = look::plan_of(&seen)?;
        failed = if turn_failed { failed + 1 } else { 0 };
        if failed >= MAX_FAILED {
            bail!("a step was not done {MAX_FAILED} times; `spark-control history` tells why");
        }
        let progress = progress(&approved, plan, &reached);
        if !matches!(progress, ApplyProgress::UnderWay) {
            waits.end();
        }
        let exit = match progress {
            ApplyProgress::Done => {
                talk!("done");
                Exit::Done
            }
            ApplyProgress::Stuck => {
                talk_on!("{}", stuck(plan, &approved));
                Exit::Blocked
            }
            ApplyProgress::UnderWay if no_wait => Exit::Done,
            ApplyProgress::UnderWay => {
                waits.tell(plan);
                tokio::time::sleep(FOLLOW).await;
                continue;
            }
        };
        if let ReachedController::Own(controller, _) = &reached {
            controller.deliver_due().await?;
        }
        if output == Format::Json {
            look::show_plan(&seen, output)?;
        }
        // A file that is not in force was not applied.
        if let Some(error) = &seen.file_error {
            talk!("the file is not in force; the last good one stays\n{error}");
            return Ok(look::exit_of_file(&seen));
        }
        return Ok(exit);
    }
}

/// What is waited for, as it changes: one line that is written over on a terminal, a line for each new thing otherwise.
#[derive(Default)]
struct WaitReporter {
    told: String,
    in_place: bool,
}

impl WaitReporter {
    fn tell(&mut self, plan: &Plan) {
        let messages = plan.work.iter().filter_map(|work| match &work.verdict {
            Verdict::Waiting { message, .. } => Some(format!("{}: {message}", work.object)),
            Verdict::Open | Verdict::Blocked { .. } => None,
        });
        let now = messages.collect::<Vec<_>>().join("; ");
        if now.is_empty() || now == self.told {
            return;
        }
        self.in_place = std::io::stderr().is_terminal();
        // Seconds that pass are no news to a log.
        if self.in_place {
            talk_on!("\r\x1b[K{now}");
        } else if first_of(&now) != first_of(&self.told) {
            talk!("{}", first_of(&now));
        }
        self.told = now;
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.in_place) {
            talk!("");
        }
    }
}

/// Agree to the steps of a plan, or to a file that takes much out. The inner error is why that cannot be done any more.
pub async fn agree(reached: &ReachedController, id: &str) -> anyhow::Result<Result<(), String>> {
    reached.look_unless_running().await?;
    let path = format!("/api/v1/plans/{}/approve", segment(id));
    match reached.post(&path, &json!({})).await {
        Ok(_) => Ok(Ok(())),
        Err(error) => match reach::refused(&error, &["stale", "no_such_plan"]) {
            Some(message) => Ok(Err(message)),
            None => Err(error),
        },
    }
}

/// The plan to perform, agreed to: the one of that id, or the one of this moment. The inner error is why it cannot be any more.
async fn plan_to_apply(
    reached: &ReachedController,
    id: Option<&str>,
) -> anyhow::Result<Result<Plan, String>> {
    let Some(id) = id else { return Ok(Ok(look::plan_of(&reached.look().await?)?.clone())) };
    if let Err(why) = agree(reached, id).await? {
        return Ok(Err(why));
    }
    match reached.get(&format!("/plans/{}", segment(id))).await {
        Ok(plan) => Ok(Ok(plan)),
        Err(error) if reach::refused(&error, &["no_such_plan"]).is_some() => {
            Ok(Err(format!("{id} is a file that takes much out, not a plan; it is approved now")))
        }
        Err(error) => Err(error),
    }
}

/// Let a round pass, in which this process takes the steps unless a loop does. Tells what was seen, and whether a step of it was
/// not done.
async fn pass_round(reached: &ReachedController, approved: &Plan) -> anyhow::Result<(Snapshot, bool)> {
    match reached {
        ReachedController::Running(_) => Ok((reached.look().await?, false)),
        ReachedController::Own(controller, _) => {
            let turn = controller.round(RoundMode::Only(approved)).await?;
            Ok((controller.snapshot().as_ref().clone(), turn.failed))
        }
    }
}

enum ApplyProgress {
    Done,
    UnderWay,
    /// Nothing of it goes on by itself.
    Stuck,
}

/// The first of several messages.
fn first_of(messages: &str) -> &str {
    messages.split("; ").next().unwrap_or_default()
}

/// How far the objects of the approved plan are; what is in the way of others does not matter.
fn progress(approved: &Plan, plan: &Plan, reached: &ReachedController) -> ApplyProgress {
    let mut mine = plan.work.iter().filter(|work| approved.of(&work.object).is_some()).peekable();
    if mine.peek().is_none() {
        return ApplyProgress::Done;
    }
    let is_stuck = mine.all(|work| match work.verdict {
        // A Spark that is away may stay away.
        Verdict::Blocked { .. } => true,
        Verdict::Waiting { .. } => work.concern() == Concern::OutOfSight,
        Verdict::Open => matches!(reached, ReachedController::Own(..)) && !approved.covers(work),
    });
    if is_stuck { ApplyProgress::Stuck } else { ApplyProgress::UnderWay }
}

fn stuck(plan: &Plan, approved: &Plan) -> String {
    let covered = plan.work.iter().all(|work| work.verdict != Verdict::Open || approved.covers(work));
    let now = render::render(plan);
    if covered {
        if now == render::render(approved) { String::new() } else { now }
    } else {
        format!("what is to be done now is not part of the plan that was applied\n{now}")
    }
}
