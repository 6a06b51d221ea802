//! `export` and `replay`: a report from the field, and its decision made again.

use std::{io::Read, path::Path};

use anyhow::{Context, bail};
use serde_json::json;

use super::{
    Exit,
    arguments::Format,
    look, print, print_json, print_told,
    reach::{self, Reached},
};
use crate::{
    controller::{Places, export::Export},
    core::render::render,
};

/// A cluster of a hundred Sparks is a tenth of it.
const MAX_EXPORT: u64 = 256 << 20;

/// # Errors
/// When nothing could be looked at, or stdout cannot be written.
pub async fn export(places: &Places) -> anyhow::Result<Exit> {
    let seen = look::look(places).await?;
    look::plan_of(&seen)?;
    let export: Option<Export> = match reach::reach(places).await? {
        Reached::Running(remote) => remote.get("/export").await?,
        Reached::Own(controller, _lock) => {
            controller.round(crate::controller::round::Mode::Preview).await?;
            controller.export()?
        }
    };
    let Some(export) = export else { bail!("nothing has been looked at yet") };
    print_json(&export)?;
    Ok(Exit::Done)
}

/// # Errors
/// When the file is no export.
pub fn replay(file: &Path, output: Format) -> anyhow::Result<Exit> {
    let shown = file.display();
    let mut text = String::new();
    let reading: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).with_context(|| format!("reading {shown}"))?)
    };
    reading.take(MAX_EXPORT).read_to_string(&mut text).with_context(|| format!("reading {shown}"))?;
    let export: Export =
        serde_json::from_str(&text).with_context(|| format!("{shown} is not what `export` writes"))?;
    let plan = export.replay().map_err(anyhow::Error::msg)?;
    let same = plan.id == export.plan.id;
    match output {
        Format::Json => print_json(&json!({ "same": same, "plan": plan, "exported": export.plan.id }))?,
        Format::Text => print_told(&render(&plan))?,
    }
    if same {
        return Ok(Exit::Done);
    }
    talk!("version {} decided otherwise then ({}):", export.program, export.plan.id);
    if output == Format::Text {
        print(&render(&export.plan))?;
    }
    Ok(Exit::Stale)
}
