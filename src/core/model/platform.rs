//! The machine below the containers: kernel, memory beside the main one, networks, disks; and how Sparks differ in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use serde::{Deserialize, Serialize};

use super::id::KernelRelease;

/// Everything here may be missing on a machine that has not the program that tells it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// Its release, such as `6.11.0-1016-nvidia`.
    pub kernel: KernelRelease,
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
