//! `trust`: show a Spark's host key, and pin it when a person or a script says which one to expect.

use std::{fs, io::Write, net::Ipv4Addr, path::Path};

use anyhow::{Context, bail};
use serde_json::json;

use super::{Exit, arguments::Format, print_json, print_told, say};
use crate::{
    core::model::desired::{ReachMethod, Spark},
    host::{
        address::ipv4,
        host_key::{self, HostKey},
    },
};

/// The keys that a Spark shows, the most wanted first.
struct OfferedKeys {
    address: Ipv4Addr,
    keys: Vec<HostKey>,
}

impl OfferedKeys {
    /// The one that a person compares.
    fn key(&self) -> &HostKey {
        &self.keys[0]
    }

    fn of(&self, fingerprint: &str) -> Option<&HostKey> {
        self.keys.iter().find(|key| key.fingerprint == fingerprint)
    }
}

async fn shown(spark: &Spark, name: &str) -> anyhow::Result<OfferedKeys> {
    let ReachMethod::Ssh { port, .. } = &spark.reach else {
        bail!("`{name}` is local; there is no host key to trust");
    };
    let address = ipv4(spark.address.as_str()).await?;
    let keys = host_key::offered(address, *port).await.map_err(|why| anyhow::anyhow!("`{name}`: {why}"))?;
    Ok(OfferedKeys { address, keys })
}

/// What was pinned before for the address of a Spark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum PinnedBefore {
    Nothing,
    /// The key that it shows.
    Same,
    /// Another one: it was set up anew, or somebody stands in between.
    Other,
}

impl PinnedBefore {
    fn of(shown: &OfferedKeys, data: &Path) -> Self {
        let pinned = pinned(data, shown.key().line.split(' ').next().unwrap_or_default());
        let is_shown = pinned.iter().any(|line| shown.keys.iter().any(|key| key.line.trim() == line.trim()));
        if pinned.is_empty() {
            Self::Nothing
        } else if is_shown {
            Self::Same
        } else {
            Self::Other
        }
    }
}

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
    let known = PinnedBefore::of(&shown, data);
    let first = &shown.key().fingerprint;
    let told = |pinned: bool| json!({ "spark": name, "address": shown.address, "shows": first, "known": known, "pinned": pinned });
    let agreed = match fingerprint {
        Some(expected) => match shown.of(expected) {
            Some(key) => Some(key),
            None => {
                if output == Format::Json {
                    print_json(&told(false))?;
                }
                talk!("`{name}` shows {first}, not {expected}; nothing was pinned");
                return Ok(Exit::Stale);
            }
        },
        None if output == Format::Text && ask(name, &shown)? => Some(shown.key()),
        None => None,
    };
    if let Some(key) = agreed {
        pin(data, &key.line)?;
        return say(output, &told(true), &format!("pinned {} for {name}", key.fingerprint));
    }
    if output == Format::Json {
        print_json(&told(false))?;
    } else {
        print_told(&format!(
            "{}Compare it with what this prints on the Spark:\n  {}\nand pin it:\n  spark-control trust {name} --fingerprint {first}\n",
            showing(name, &shown),
            shown.key().compare(),
        ))?;
    }
    Ok(Exit::Changes)
}

fn showing(name: &str, shown: &OfferedKeys) -> String {
    let HostKey { kind, fingerprint, .. } = shown.key();
    format!("{name} ({}) shows the {kind} key {fingerprint}\n", shown.address)
}

/// A person who can compare the key says that it is right. Without one, nobody does.
fn ask(name: &str, shown: &OfferedKeys) -> anyhow::Result<bool> {
    if !super::talk::is_interactive() {
        return Ok(false);
    }
    talk!(
        "{}Compare it with what this prints on the Spark:\n  {}",
        showing(name, shown),
        shown.key().compare()
    );
    super::talk::asked("Is it the same?")
}

/// Pin the key of a Spark that has none pinned, when a script or a person says which one to expect.
///
/// # Errors
/// When it shows another, or nobody said anything.
pub async fn ensure(spark: &Spark, name: &str, expected: Option<&str>, data: &Path) -> anyhow::Result<()> {
    let ReachMethod::Ssh { port, .. } = &spark.reach else { return Ok(()) };
    let address = ipv4(spark.address.as_str()).await?;
    let host = if *port == 22 { address.to_string() } else { format!("[{address}]:{port}") };
    if expected.is_none() && !pinned(data, &host).is_empty() {
        return Ok(());
    }
    let shown = shown(spark, name).await?;
    let HostKey { fingerprint, .. } = shown.key();
    let key = match expected {
        Some(expected) => shown
            .of(expected)
            .with_context(|| format!("`{name}` shows {fingerprint}, not {expected}; nothing was pinned"))?,
        None if ask(name, &shown)? => shown.key(),
        None => bail!(
            "the host key of `{name}` is not pinned; it shows {fingerprint}. Compare that with what `{}` prints there, then add \
             --fingerprint {name}={fingerprint}",
            shown.key().compare()
        ),
    };
    pin(data, &key.line)
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
