//! `export`: a report from the field.

use anyhow::bail;

use super::{
    Exit, look, print_json,
    reach::{self, ReachedController},
};
use crate::controller::{ControllerPaths, export::Export};

/// # Errors
/// When nothing could be looked at, or stdout cannot be written.
pub async fn export(places: &ControllerPaths) -> anyhow::Result<Exit> {
    let seen = look::look(places).await?;
    look::plan_of(&seen)?;
    let export: Option<Export> = match reach::reach(places).await? {
        ReachedController::Running(remote) => remote.get("/export").await?,
        ReachedController::Own(controller, _lock) => {
            controller.round(crate::controller::round::RoundMode::Preview).await?;
            controller.export()?
        }
    };
    let Some(export) = export else { bail!("nothing has been looked at yet") };
    print_json(&export)?;
    Ok(Exit::Done)
}
