//! `key`: the public half of the key that the Sparks must know. The private half is never shown.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, bail};
use serde_json::json;

use super::{Exit, arguments::Format, print, print_json, reach};
use crate::{controller::ControllerPaths, host::private_key};

/// # Errors
/// When it can neither be read nor made.
pub async fn key(places: &ControllerPaths, output: Format) -> anyhow::Result<Exit> {
    reach::private_folder(&places.data)?;
    let public = public(&places.data, None).await?;
    match output {
        Format::Json => print_json(&json!({ "public_key": public }))?,
        Format::Text => print(&format!("{public}\n"))?,
    }
    Ok(Exit::Done)
}

/// The public key, made when there is none.
///
/// # Errors
/// When it can neither be read nor made.
pub async fn public(data: &Path, own: Option<&Path>) -> anyhow::Result<String> {
    let private = own.map_or_else(|| data.join("id_ed25519"), Path::to_path_buf);
    if !private.exists() {
        if own.is_some() {
            bail!("there is no key {}", private.display());
        }
        let made = tokio::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "spark-control", "-f"])
            .arg(&private)
            .stdin(Stdio::null())
            .output()
            .await
            .context("ssh-keygen, which is part of OpenSSH")?;
        if !made.status.success() {
            bail!("ssh-keygen: {}", String::from_utf8_lossy(&made.stderr).trim());
        }
        talk!("made the key {}", private.display());
    }
    let mut public = private.clone().into_os_string();
    public.push(".pub");
    if let Ok(text) = fs::read_to_string(PathBuf::from(public)) {
        return Ok(text.trim().to_owned());
    }
    match private_key::public(&private).await {
        Ok(public) => Ok(public),
        Err(said) => bail!("{}", private_key::fault(&private).await.unwrap_or(said)),
    }
}
