//! `status --watch` and `logs --follow`: what is known, again and again, until the person has seen enough.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, stdout},
    time::Duration,
};

use super::{
    Exit,
    arguments::Format,
    logs::current_logs,
    look,
    reach::{self, ReachedController},
    talk::{print_while_read, told, versioned, write_while_read},
};
use crate::controller::{ControllerPaths, logs::new_lines};

const EVERY: Duration = Duration::from_secs(2);
const LOG_EVERY: Duration = Duration::from_secs(1);
/// To the top left, and away with what is below.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Show the status whenever it changed: in place on a terminal, one after the other otherwise, a line each as JSON.
///
/// # Errors
/// When the controller goes away, or stdout cannot be written.
pub async fn status(places: &ControllerPaths, output: Format) -> anyhow::Result<Exit> {
    let in_place = output == Format::Text && stdout().is_terminal();
    let mut shown = String::new();
    loop {
        // Anew each time: who only watches must not keep a controller from starting.
        let reached = reach::reach(places).await?;
        let seen = match &reached {
            // The controller looks by itself; to look for it would make it look all the time.
            ReachedController::Running(_) => reached.snapshot().await?,
            ReachedController::Own(..) => reached.look().await?,
        };
        let plan = look::plan_of(&seen)?;
        let text = match output {
            Format::Text => look::status_text(&seen, plan),
            Format::Json => format!("{}\n", versioned(&look::status(&reached).await?)?),
        };
        // That time passed is no news.
        let news = match output {
            Format::Text => text.split_once('\n').map_or(text.as_str(), |(_, rest)| rest).to_owned(),
            Format::Json => format!("{:?}", (&seen.status, &seen.file_error, plan.revision)),
        };
        if news != shown {
            let clear = if in_place { CLEAR } else { "" };
            if !write_while_read(&format!("{clear}{}", told(&text)))? {
                return Ok(Exit::Done);
            }
            shown = news;
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// What containers say, as they say it.
///
/// # Errors
/// When the controller goes away, or stdout cannot be written.
pub async fn logs(places: &ControllerPaths, object: &str) -> anyhow::Result<Exit> {
    let mut said: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut told = false;
    loop {
        let logs = current_logs(&reach::reach(places).await?, object).await?;
        if logs.is_empty() && !told {
            talk!("nothing of `{object}` runs; what it says is shown when it does");
        }
        told = logs.is_empty();
        let several = logs.len() > 1;
        for log in logs {
            let key = (log.spark.clone(), log.container.clone());
            let Some(text) = log.text else { continue };
            let known = said.get(&key);
            if known.is_none() {
                talk!("==> {} on {}", log.container, log.spark);
            }
            for line in new_lines(known.map(String::as_str), &text) {
                let place = if several { format!("{} | ", log.spark) } else { String::new() };
                if !print_while_read(&format!("{place}{line}\n"))? {
                    return Ok(Exit::Done);
                }
            }
            said.insert(key, text);
        }
        tokio::time::sleep(LOG_EVERY).await;
    }
}
