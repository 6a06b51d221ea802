//! The machine below the containers: kernel, memory beside the main one, networks, disks; and how Sparks differ in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use serde::{Deserialize, Serialize};

use super::{desired::Desired, name::SparkName, observed::Observed};

/// Everything here may be missing on a machine that has not the program that tells it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// Its release, such as `6.11.0-1016-nvidia`.
    pub kernel: String,
    pub swap_total_bytes: u64,
    pub swap_free_bytes: u64,
    /// earlyoom, which ends a process before the whole machine freezes, runs.
    pub earlyoom: bool,
    pub interfaces: BTreeMap<String, Interface>,
    /// TCP ports on which something listens; `None` when that could not be read.
    pub listening: Option<BTreeSet<u16>>,
    /// By path: what holds models, and the Hugging Face cache.
    pub disks: BTreeMap<String, Disk>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    pub mtu: u32,
    pub is_up: bool,
    pub is_wireguard: bool,
    /// `None` when it is down, or has none to tell.
    pub speed_mbps: Option<u32>,
    pub addresses: Vec<Ipv4Addr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    pub total_bytes: u64,
    pub free_bytes: u64,
}

/// The files of a repository in the Hugging Face cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum CacheSeen {
    Absent,
    /// A download that has not ended.
    Partial {
        missing: String,
    },
    Present,
}

impl Platform {
    /// Where it is reached through WireGuard.
    pub fn wireguard(&self) -> Option<Ipv4Addr> {
        self.interfaces.values().find(|interface| interface.is_wireguard)?.addresses.first().copied()
    }
}

/// A way in which a Spark is not like the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub spark: SparkName,
    /// What the first has.
    pub expected: String,
    pub found: String,
}

/// What differs between the Sparks that answered: driver, kernel, the images of one reference, the fabric's MTU and speed.
/// A model on several of them meets each of these as a hang or a wrong number, never as a message.
pub fn differences(desired: &Desired, observed: &Observed) -> Vec<Difference> {
    let mut traits: BTreeMap<String, Vec<(&SparkName, String)>> = BTreeMap::new();
    for (name, view) in &observed.sparks {
        let Some(facts) = view.facts() else { continue };
        let mut add = |what: &str, is: String| {
            if !is.is_empty() {
                traits.entry(what.to_owned()).or_default().push((name, is));
            }
        };
        add("driver", facts.gpu.as_ref().map(|gpu| gpu.driver.clone()).unwrap_or_default());
        add("kernel", facts.platform.kernel.clone());
        for (image, id) in &facts.images {
            add(&format!("image {image}"), id.clone().unwrap_or_default());
        }
        let fabric = desired.sparks.get(name).and_then(|spark| spark.fabric.as_ref());
        let fabric = fabric.and_then(|fabric| facts.platform.interfaces.get(fabric.eth_if.as_str()));
        if let Some(fabric) = fabric {
            add("fabric MTU", fabric.mtu.to_string());
            add("fabric speed", fabric.speed_mbps.map(|speed| format!("{speed} Mb/s")).unwrap_or_default());
        }
    }
    let mut found = Vec::new();
    for (what, seen) in traits {
        let Some(((first, expected), rest)) = seen.split_first() else { continue };
        for (spark, is) in rest.iter().filter(|(_, is)| is != expected) {
            found.push(Difference {
                spark: (*spark).clone(),
                expected: format!("{what} {expected}, as `{first}`"),
                found: format!("{what} {is}"),
            });
        }
    }
    found.sort_by(|a, b| (&a.spark, &a.expected).cmp(&(&b.spark, &b.expected)));
    found
}
