//! `apply`: perform a plan and follow it to its end. With a running controller the loop does the work and this follows
//! it; without one this process does it.

use std::{io::IsTerminal, sync::Arc, time::Duration};

use anyhow::bail;

use super::{
    Exit,
    arguments::Format,
    look, print_told,
    reach::{self, ControllerSocket, DataDirectoryLock, ReachedController, segment},
};
use crate::{
    controller::{Controller, ControllerPaths, RequestRefusal, Snapshot, round::RoundMode},
    core::{
        model::{
            plan::{Plan, Verdict, Work},
            reason::Concern,
        },
        tell::render,
    },
    web::control::By,
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
    let actor = match reach::reach(places).await? {
        ReachedController::Running(remote) => Actor::Loop(remote),
        ReachedController::Own(controller, lock) => Actor::This(controller, lock),
    };
    let approved = match actor.plan(id).await? {
        Ok(plan) => plan,
        Err(refused) => {
            talk!("{refused}");
            return Ok(Exit::Stale);
        }
    };
    // The same steps may wait for something else by now.
    let seen = actor.look().await?;
    let shown = seen.plan.as_ref().filter(|plan| plan.id == approved.id).unwrap_or(&approved);
    if output == Format::Text {
        print_told(&render::render(shown))?;
    }
    let mut failed = 0;
    let mut waits = Waits::default();
    loop {
        let (seen, turn_failed) = actor.turn(&approved).await?;
        let plan = look::plan_of(&seen)?;
        failed = if turn_failed { failed + 1 } else { 0 };
        if failed >= MAX_FAILED {
            bail!("a step was not done {MAX_FAILED} times; `spark-control history` tells why");
        }
        let progress = progress(&approved, plan, &actor);
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
        if let Actor::This(controller, _) = &actor {
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
struct Waits {
    told: String,
    in_place: bool,
}

impl Waits {
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
        let news = |text: &str| text.split("; ").next().unwrap_or_default().to_owned();
        if self.in_place {
            talk_on!("\r\x1b[K{now}");
        } else if news(&now) != news(&self.told) {
            talk!("{}", news(&now));
        }
        self.told = now;
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.in_place) {
            talk!("");
        }
    }
}

/// Who takes the steps.
enum Actor {
    Loop(ControllerSocket),
    This(Arc<Controller>, #[expect(dead_code, reason = "held until the end")] DataDirectoryLock),
}

impl Actor {
    /// The plan to perform, agreed to: the one of that id, or the one of this moment. The inner error is why it cannot be
    /// any more.
    async fn plan(&self, id: Option<&str>) -> anyhow::Result<Result<Plan, String>> {
        match (self, id) {
            (Self::Loop(remote), Some(id)) => {
                let by = By { by: super::user() };
                match remote.post(&format!("/plans/{}/approve", segment(id)), &by).await {
                    Ok(_) => Ok(Ok(remote.get(&format!("/plans/{}", segment(id))).await?)),
                    Err(error) => match reach::refused(&error, &["stale", "no_such_plan"]) {
                        Some(message) => Ok(Err(message)),
                        None => Err(error),
                    },
                }
            }
            (Self::Loop(remote), None) => Ok(Ok(look::plan_of(&remote.look().await?)?.clone())),
            (Self::This(controller, _), id) => {
                controller.round(RoundMode::Preview).await?;
                let seen = controller.snapshot();
                let current = look::plan_of(&seen)?;
                let Some(id) = id else { return Ok(Ok(current.clone())) };
                match controller.approve(id, &super::user()) {
                    Ok(()) => {}
                    Err(error @ (RequestRefusal::Stale(_) | RequestRefusal::NoSuchPlan(_))) => {
                        return Ok(Err(error.to_string()));
                    }
                    Err(error) => return Err(error.into()),
                }
                match controller.stored_plan(id)? {
                    Some(plan) => Ok(Ok(plan)),
                    None => {
                        Ok(Err(format!("{id} is a file that takes much out, not a plan; it is approved now")))
                    }
                }
            }
        }
    }

    /// What is there now.
    async fn look(&self) -> anyhow::Result<Snapshot> {
        match self {
            Self::Loop(remote) => remote.look().await,
            Self::This(controller, _) => Ok(controller.snapshot().as_ref().clone()),
        }
    }

    /// Let a round pass. Tells what was seen, and whether a step of it was not done.
    async fn turn(&self, approved: &Plan) -> anyhow::Result<(Snapshot, bool)> {
        match self {
            Self::Loop(remote) => Ok((remote.look().await?, false)),
            Self::This(controller, _) => {
                let turn = controller.round(RoundMode::Only(approved)).await?;
                Ok((controller.snapshot().as_ref().clone(), turn.failed))
            }
        }
    }
}

enum ApplyProgress {
    Done,
    UnderWay,
    /// Nothing of it goes on by itself.
    Stuck,
}

/// How far the objects of the approved plan are; what is in the way of others does not matter.
fn progress(approved: &Plan, plan: &Plan, actor: &Actor) -> ApplyProgress {
    let mut mine = plan.work.iter().filter(|work| approved.of(&work.object).is_some()).peekable();
    if mine.peek().is_none() {
        return ApplyProgress::Done;
    }
    let is_stuck = |work: &Work| match work.verdict {
        // A Spark that is away may stay away.
        Verdict::Blocked { .. } => true,
        Verdict::Waiting { .. } => work.concern() == Concern::OutOfSight,
        Verdict::Open => matches!(actor, Actor::This(..)) && !approved.covers(work),
    };
    if mine.all(is_stuck) { ApplyProgress::Stuck } else { ApplyProgress::UnderWay }
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
