//! The key that the controller shows to Sparks: its public half, and why it may be of no use.

use std::{fs, io::Read, os::unix::fs::PermissionsExt, path::Path, process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

const DEADLINE: Duration = Duration::from_secs(10);

/// What is wrong with the key file itself, with what to do. `None`: a server that refuses it does not know it.
pub async fn fault(key: &Path) -> Option<String> {
    let shown = key.display();
    let mut begins = [0_u8; 40];
    let read = fs::File::open(key).and_then(|mut file| file.read(&mut begins));
    let begins = match read {
        Ok(read) => &begins[..read],
        Err(error) => return Some(format!("the key {shown} cannot be read: {error}")),
    };
    if ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| begins.starts_with(kind.as_bytes())) {
        let private = key.with_extension("");
        return Some(format!(
            "{shown} is the public half of a key; name the private half, {}",
            private.display()
        ));
    }
    let mode = fs::metadata(key).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        return Some(format!(
            "ssh does not use the key {shown}, because others can read it; run: chmod 600 {shown}"
        ));
    }
    let error = public(key).await.err()?;
    if error.contains("passphrase") {
        return Some(format!(
            "the key {shown} has a passphrase, which nobody can type for the controller; name one without, or leave out `key` for \
             one of its own"
        ));
    }
    Some(format!("the key {shown} is none that ssh can use: {error}"))
}

/// The public half, derived from the private one.
///
/// # Errors
/// What `ssh-keygen` says.
pub async fn public(key: &Path) -> Result<String, String> {
    let deriving = Command::new("ssh-keygen")
        .args(["-y", "-P", "", "-f"])
        .arg(key)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let derived = timeout(DEADLINE, deriving).await.map_err(|_| "ssh-keygen did not end".to_owned())?;
    let derived = derived.map_err(|error| format!("ssh-keygen, which is part of OpenSSH: {error}"))?;
    let text = String::from_utf8_lossy(&derived.stdout).trim().to_owned();
    if derived.status.success() && !text.is_empty() {
        return Ok(text);
    }
    let said = String::from_utf8_lossy(&derived.stderr).into_owned();
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing");
    Err(line.to_owned())
}
