//! `export`: a report from the field.

use anyhow::bail;

use super::{Exit, look, print_json, reach};
use crate::controller::{ControllerPaths, export::Export};

/// # Errors
/// When nothing could be looked at, or stdout cannot be written.
pub async fn export(places: &ControllerPaths) -> anyhow::Result<Exit> {
    let reached = reach::reach(places).await?;
    look::plan_of(&reached.look().await?)?;
    let export: Option<Export> = reached.get("/export").await?;
    let Some(export) = export else { bail!("nothing has been looked at yet") };
    print_json(&export)?;
    Ok(Exit::Done)
}
