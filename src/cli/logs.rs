//! `logs`: what containers say, and what they said before they were stopped.

use anyhow::bail;
use serde_json::json;

use super::{
    Exit,
    arguments::Format,
    print, print_json,
    reach::{self, ReachedController, segment},
};
use crate::{
    controller::{self, ControllerPaths},
    wire::v1::logs::{ContainerLog, Logs},
};

/// What its containers say now; what it said before it was stopped when asked, or when nothing is there.
/// # Errors
/// When nothing of it runs and nothing was saved, or it cannot be asked.
pub async fn logs(
    places: &ControllerPaths,
    object: &str,
    saved: bool,
    output: Format,
) -> anyhow::Result<Exit> {
    let current = if saved { Vec::new() } else { current_logs(&reach::reach(places).await?, object).await? };
    if output == Format::Json && !current.is_empty() {
        print_json(&Logs { logs: current })?;
        return Ok(Exit::Done);
    }
    for log in &current {
        talk!("==> {} on {}", log.container, log.spark);
        match (&log.text, &log.error) {
            (Some(text), _) => print(text)?,
            (None, why) => talk!("{}", why.as_deref().unwrap_or("it could not be read")),
        }
    }
    if !current.is_empty() {
        return Ok(Exit::Done);
    }
    let kept = controller::logs::saved(&places.data, object)?;
    if kept.is_empty() {
        let data = places.data.display();
        let runs = if saved { String::new() } else { format!("nothing of `{object}` runs, and ") };
        bail!("{runs}no log of `{object}` has been saved in {data}");
    }
    match output {
        Format::Json => {
            let saved: Vec<_> =
                kept.iter().map(|(path, text)| json!({ "file": path, "text": text })).collect();
            print_json(&json!({ "saved": saved }))?;
        }
        Format::Text => {
            for (path, text) in &kept {
                talk!("==> {}", path.display());
                print(text)?;
            }
        }
    }
    Ok(Exit::Done)
}

/// What the containers of an object say now.
pub async fn current_logs(reached: &ReachedController, object: &str) -> anyhow::Result<Vec<ContainerLog>> {
    reached.look_unless_running().await?;
    Ok(reached.get::<Logs>(&format!("/api/v1/logs/{}", segment(object))).await?.logs)
}
