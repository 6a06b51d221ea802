//! `trust`: show a Spark's host key, and pin it when a person or a script says which one to expect.

use std::{fs, io::Write, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use serde_json::json;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use super::{Exit, arguments::Format, print, print_told, say};
use crate::{
    core::desired::{Reach, Spark},
    host::address::ipv4,
};

const DEADLINE: Duration = Duration::from_secs(10);

/// # Errors
/// When the Spark does not show a key, or shows another than the expected one.
pub async fn trust(
    spark: &Spark,
    name: &str,
    fingerprint: Option<&str>,
    data: &Path,
    output: Format,
) -> anyhow::Result<Exit> {
    let Reach::Ssh { port, .. } = &spark.reach else {
        bail!("`{name}` is local; there is no host key to trust");
    };
    let address = ipv4(spark.address.as_str()).await?;
    let scanning = Command::new("ssh-keyscan")
        .args(["-T", "5", "-t", "ed25519", "-p", &port.to_string(), &address.to_string()])
        .stdin(Stdio::null())
        .output();
    let scanned =
        timeout(DEADLINE, scanning).await.context("ssh-keyscan did not end")?.context("ssh-keyscan")?;
    let keys = String::from_utf8_lossy(&scanned.stdout).into_owned();
    let Some(key) = keys.lines().find(|line| !line.starts_with('#') && !line.trim().is_empty()) else {
        bail!("`{name}` ({address}, port {port}) showed no ED25519 host key; is its SSH server running?");
    };
    let shown = fingerprint_of(key).await?;
    let told = |pinned: bool| json!({ "spark": name, "address": address, "shows": shown, "pinned": pinned });
    if output == Format::Json && fingerprint.is_none_or(|expected| expected != shown) {
        print(&format!("{:#}\n", told(false)))?;
    }
    match fingerprint {
        None if output == Format::Json => Ok(Exit::Changes),
        None => {
            print_told(&format!(
                "{name} ({address}) shows the ED25519 key {shown}\nCompare it with what this prints on the Spark:\n  \
                 ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\nand pin it:\n  \
                 spark-control trust {name} --fingerprint {shown}\n"
            ))?;
            Ok(Exit::Changes)
        }
        Some(expected) if expected == shown => {
            pin(data, key)?;
            say(output, &told(true), &format!("pinned {shown} for {name}"))
        }
        Some(expected) => {
            talk!("`{name}` shows {shown}, not {expected}; nothing was pinned");
            Ok(Exit::Stale)
        }
    }
}

async fn fingerprint_of(key: &str) -> anyhow::Result<String> {
    let mut child = Command::new("ssh-keygen")
        .args(["-lf", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("ssh-keygen")?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(format!("{key}\n").as_bytes()).await?;
    drop(stdin);
    let output = timeout(DEADLINE, child.wait_with_output()).await.context("ssh-keygen did not end")??;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace()
        .find(|word| word.starts_with("SHA256:"))
        .map(str::to_owned)
        .context("ssh-keygen printed no fingerprint")
}

/// Replace what was pinned for this address.
fn pin(data: &Path, key: &str) -> anyhow::Result<()> {
    let path = data.join("known_hosts");
    let host = key.split_whitespace().next().unwrap_or_default();
    let old = match fs::read(&path) {
        Ok(old) => old,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    // Lines that are no text are kept as they are.
    let mut text: Vec<u8> = Vec::new();
    for line in old.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if line.split(|byte| *byte == b' ').next() != Some(host.as_bytes()) {
            text.extend(line);
            text.push(b'\n');
        }
    }
    text.extend(format!("{key}\n").as_bytes());
    fs::create_dir_all(data)?;
    let new = data.join("known_hosts.new");
    let mut file = fs::File::create(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, &path).with_context(|| format!("writing {}", path.display()))
}
