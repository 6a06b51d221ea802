//! The machine below the containers: kernel, memory beside the main one, networks, disks; and how Sparks differ in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use serde::{Deserialize, Serialize};

use super::{
    desired::Desired,
    image::ImageSeen,
    name::SparkName,
    observed::{LauncherCheckout, LauncherSeen, Observed},
};

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
    /// Files that memory is swapped to, and the number of the device that each is on.
    pub swap_files: BTreeMap<String, u64>,
    /// When its last session ends, logind removes the shared memory of the user whom we are there; `None` where there is no
    /// logind, or for a user whom it leaves alone.
    pub removes_ipc: Option<bool>,
    /// That user's processes, and what is theirs, outlive the last session.
    pub lingers: Option<bool>,
    pub interfaces: BTreeMap<String, NetworkInterface>,
    /// TCP ports on which something listens; `None` when that could not be read.
    pub listening: Option<BTreeSet<u16>>,
    /// By path: what holds models, and the Hugging Face cache.
    pub disks: BTreeMap<String, Disk>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInterface {
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
    /// As the kernel numbers it: two places with the same are on one.
    #[serde(default)]
    pub device: u64,
}

impl Platform {
    /// Where it is reached through WireGuard.
    pub fn wireguard(&self) -> Option<Ipv4Addr> {
        self.interfaces.values().find(|interface| interface.is_wireguard)?.addresses.first().copied()
    }
}

/// A way in which a Spark is not like the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformDifference {
    pub spark: SparkName,
    /// What the first has.
    pub expected: String,
    pub found: String,
}

/// What differs between the Sparks that answered: driver, kernel, the images of one reference, what launchers are at, the fabric's
/// MTU and speed.
/// A model on several of them meets each of these as a hang or a wrong number, never as a message.
pub fn differences(desired: &Desired, observed: &Observed) -> Vec<PlatformDifference> {
    let mut traits: BTreeMap<String, Vec<(&SparkName, String)>> = BTreeMap::new();
    for (name, view) in &observed.sparks {
        let Some(facts) = view.facts() else { continue };
        let mut add = |what: &str, is: String| {
            if !is.is_empty() {
                traits.entry(what.to_owned()).or_default().push((name, is));
            }
        };
        add("driver", facts.gpu().map(|gpu| gpu.driver.clone()).unwrap_or_default());
        add("kernel", facts.platform.kernel.clone());
        for (dir, seen) in &facts.launchers {
            if let LauncherSeen::Present(LauncherCheckout { commit: Some(commit), .. }) = seen {
                add(&format!("launcher {dir} at"), commit.clone());
            }
        }
        let fabric = desired.sparks.get(name).and_then(|spark| spark.fabric.as_ref());
        let fabric = fabric.and_then(|fabric| facts.platform.interfaces.get(fabric.eth_if.as_str()));
        if let Some(fabric) = fabric {
            add("fabric MTU", fabric.mtu.to_string());
            add("fabric speed", fabric.speed_mbps.map(|speed| format!("{speed} Mb/s")).unwrap_or_default());
        }
    }
    let mut found = images(observed);
    for (what, seen) in traits {
        let Some(((first, expected), rest)) = seen.split_first() else { continue };
        for (spark, is) in rest.iter().filter(|(_, is)| is != expected) {
            found.push(PlatformDifference {
                spark: (*spark).clone(),
                expected: format!("{what} {expected}, as `{first}`"),
                found: format!("{what} {is}"),
            });
        }
    }
    found.sort_by(|a, b| (&a.spark, &a.expected).cmp(&(&b.spark, &b.expected)));
    found
}

/// Images of one reference that are not the first Spark's. Stores of two kinds name one image by two ids.
fn images(observed: &Observed) -> Vec<PlatformDifference> {
    let mut first: BTreeMap<&str, (&SparkName, &ImageSeen)> = BTreeMap::new();
    let mut found = Vec::new();
    for (spark, view) in &observed.sparks {
        let images = view.facts().into_iter().flat_map(|facts| &facts.images);
        for (reference, seen) in images.filter_map(|(reference, seen)| Some((reference, seen.as_ref()?))) {
            let (on, before) = *first.entry(reference).or_insert((spark, seen));
            if !before.is_like(seen) {
                found.push(PlatformDifference {
                    spark: spark.clone(),
                    expected: format!("image {reference} {}, as `{on}`", before.id),
                    found: format!("image {reference} {}", seen.id),
                });
            }
        }
    }
    found
}
