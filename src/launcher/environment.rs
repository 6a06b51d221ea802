//! What a container gets in its environment, plain and secret, as lines for `docker run --env-file`. A file and not
//! options, because launchers paste their options into a shell line of each worker, and because argv is for everybody to
//! read.

use std::fmt::Write;

use crate::core::model::{
    desired::{EnvValue, Secret},
    resolved_model::ResolvedModel,
};

/// A secret of the model cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the secret `{name}` cannot be read: {cause}")]
pub struct NoSecret {
    name: String,
    cause: String,
}

/// The lines.
///
/// # Errors
/// [`NoSecret`], without the value.
pub fn environment(
    effective: &ResolvedModel<'_>,
    secret: impl Fn(&Secret) -> Result<String, String>,
) -> Result<String, NoSecret> {
    let value =
        |name: &str, place: &Secret| secret(place).map_err(|cause| NoSecret { name: name.to_owned(), cause });
    let mut lines = String::new();
    for (name, written) in &effective.env {
        let text = match written {
            EnvValue::Plain(text) => text.clone(),
            EnvValue::Secret(place) => value(name.as_str(), place)?,
        };
        let _ = writeln!(lines, "{name}={text}");
    }
    if let Some(place) = &effective.slot.api_key {
        let _ = writeln!(lines, "VLLM_API_KEY={}", value("api_key", place)?);
    }
    Ok(lines)
}
