//! `trust`: show a Spark's host key, and pin it when a person or a script says which one to expect.

use std::{fs, io::Write, net::Ipv4Addr, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use serde_json::json;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use super::{Exit, arguments::Format, print_json, print_told, say};
use crate::{
    core::desired::{Reach, Spark},
    host::address::ipv4,
};

const DEADLINE: Duration = Duration::from_secs(10);

/// The key that a Spark shows.
struct Shown {
    address: Ipv4Addr,
    /// As `known_hosts` has it.
    line: String,
    fingerprint: String,
}

async fn shown(spark: &Spark, name: &str) -> anyhow::Result<Shown> {
    let Reach::Ssh { port, .. } = &spark.reach else {
        bail!("`{name}` is local; there is no host key to trust");
    };
    let address = ipv4(spark.address.as_str()).await?;
    let scanning = Command::new("ssh-keyscan")
        .args(["-T", "5", "-t", "ed25519", "-p", &port.to_string(), &address.to_string()])
        .stdin(Stdio::null())
        .output();
    let scanned = timeout(DEADLINE, scanning)
        .await
        .context("ssh-keyscan did not end")?
        .context("ssh-keyscan, which is part of OpenSSH")?;
    let keys = String::from_utf8_lossy(&scanned.stdout).into_owned();
    let Some(line) = keys.lines().find(|line| !line.starts_with('#') && !line.trim().is_empty()) else {
        bail!("`{name}` ({address}, port {port}) showed no ED25519 host key; is its SSH server running?");
    };
    Ok(Shown { address, fingerprint: fingerprint_of(line).await?, line: line.to_owned() })
}

/// What was pinned before for the address of a Spark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Known {
    Nothing,
    /// The key that it shows.
    Same,
    /// Another one: it was set up anew, or somebody stands in between.
    Other,
}

impl Known {
    fn of(shown: &Shown, data: &Path) -> Self {
        let pinned = pinned(data, shown.line.split(' ').next().unwrap_or_default());
        if pinned.is_empty() {
            Self::Nothing
        } else if pinned.iter().any(|line| line.trim() == shown.line.trim()) {
            Self::Same
        } else {
            Self::Other
        }
    }
}

const COMPARE: &str = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub";

/// # Errors
/// When the Spark does not show a key, or shows another than the expected one.
pub async fn trust(
    spark: &Spark,
    name: &str,
    fingerprint: Option<&str>,
    data: &Path,
    output: Format,
) -> anyhow::Result<Exit> {
    let shown = shown(spark, name).await?;
    let known = Known::of(&shown, data);
    let told = |pinned: bool| json!({ "spark": name, "address": shown.address, "shows": shown.fingerprint, "known": known, "pinned": pinned });
    let expected = match fingerprint {
        Some(expected) if expected != shown.fingerprint => {
            if output == Format::Json {
                print_json(&told(false))?;
            }
            talk!("`{name}` shows {}, not {expected}; nothing was pinned", shown.fingerprint);
            return Ok(Exit::Stale);
        }
        Some(_) => true,
        None => output == Format::Text && ask(name, &shown)?,
    };
    if expected {
        pin(data, &shown.line)?;
        return say(output, &told(true), &format!("pinned {} for {name}", shown.fingerprint));
    }
    if output == Format::Json {
        print_json(&told(false))?;
    } else {
        print_told(&format!(
            "{name} ({}) shows the ED25519 key {fingerprint}\nCompare it with what this prints on the Spark:\n  \
             {COMPARE}\nand pin it:\n  spark-control trust {name} --fingerprint {fingerprint}\n",
            shown.address,
            fingerprint = shown.fingerprint,
        ))?;
    }
    Ok(Exit::Changes)
}

/// A person who can compare the key says that it is right. Without one, nobody does.
fn ask(name: &str, shown: &Shown) -> anyhow::Result<bool> {
    if !super::init::is_interactive() {
        return Ok(false);
    }
    talk_on!(
        "{name} ({}) shows the ED25519 key {}\nCompare it with what this prints on the Spark:\n  {COMPARE}\nIs it the \
         same? [y/N] ",
        shown.address,
        shown.fingerprint
    );
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Pin the key of a Spark that has none pinned, when a script or a person says which one to expect.
///
/// # Errors
/// When it shows another, or nobody said anything.
pub async fn ensure(spark: &Spark, name: &str, expected: Option<&str>, data: &Path) -> anyhow::Result<()> {
    let Reach::Ssh { port, .. } = &spark.reach else { return Ok(()) };
    let address = ipv4(spark.address.as_str()).await?;
    let host = if *port == 22 { address.to_string() } else { format!("[{address}]:{port}") };
    if expected.is_none() && !pinned(data, &host).is_empty() {
        return Ok(());
    }
    let shown = shown(spark, name).await?;
    match expected {
        Some(expected) if expected == shown.fingerprint => {}
        Some(expected) => bail!("`{name}` shows {}, not {expected}; nothing was pinned", shown.fingerprint),
        None if ask(name, &shown)? => {}
        None => bail!(
            "the host key of `{name}` is not pinned; it shows {fingerprint}. Compare that with what `{COMPARE}` prints there, \
             then add --fingerprint {name}={fingerprint}",
            fingerprint = shown.fingerprint
        ),
    }
    pin(data, &shown.line)
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

/// The lines of `known_hosts` for this address.
fn pinned(data: &Path, host: &str) -> Vec<String> {
    let known = fs::read_to_string(data.join("known_hosts")).unwrap_or_default();
    known.lines().filter(|line| line.split(' ').next() == Some(host)).map(str::to_owned).collect()
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
