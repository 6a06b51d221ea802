//! Memory that GPU and CPU share, per Spark: what is there, who holds it, what a model needs, what must stay free.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{
    desired::{Desired, Effective, Object, Place, Slot},
    ledger::{Ledger, Release},
    name::SparkName,
    observed::{Container, Facts, GpuProcess, Observed},
};

/// vLLM's `--gpu-memory-utilization` when absent (0.33.0).
pub const ENGINE_SHARE: f64 = 0.92;
/// Memory comes back late and in steps after a stop: this many samples in a row must show enough …
const SAMPLES: usize = 3;
/// … over at least this long.
pub(super) const OVER: SignedDuration = SignedDuration::from_secs(10);
/// Memory that is not back by then comes back with a reboot, if at all.
pub const RELEASE_DEADLINE: SignedDuration = SignedDuration::from_mins(5);
/// What processes share is counted in each: a learned peak is not taken more exactly than this.
pub const PEAK_TOLERANCE_BYTES: u64 = 1 << 30;

/// One Spark in the memory table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Row {
    pub spark: SparkName,
    pub total_bytes: u64,
    /// At the look that the plan was made from.
    #[serde(default)]
    pub available_bytes: u64,
    pub needed_bytes: u64,
    /// Where the need comes from.
    pub basis: String,
    pub floor_bytes: u64,
    /// Who is on the GPU there.
    pub holders: Vec<Holder>,
}

/// A process on the GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Holder {
    pub name: String,
    pub pid: u32,
    /// `None` when the driver does not tell.
    pub bytes: Option<u64>,
    pub of: HolderOf,
    /// It is stopped before the model starts.
    pub goes: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HolderOf {
    /// A slot of the file.
    Slot(Object),
    /// A service of the file.
    Service(Object),
    /// The screen.
    Desktop,
    /// Nothing in the file.
    Unmanaged,
}

impl Holder {
    pub fn who(&self) -> String {
        let of = match &self.of {
            HolderOf::Slot(object) | HolderOf::Service(object) => format!("`{object}`"),
            HolderOf::Desktop => "the desktop".into(),
            HolderOf::Unmanaged => "nothing in the file".into(),
        };
        format!("{} ({}) of {of}", self.name, self.pid)
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.who())?;
        match self.bytes {
            Some(bytes) => write!(f, ", {}", gib(bytes))?,
            None => write!(f, ", size not told")?,
        }
        if self.goes { write!(f, ", goes first") } else { Ok(()) }
    }
}

/// Programs that draw the screen of a DGX Spark.
const DESKTOP: [&str; 8] =
    ["Xorg", "Xwayland", "gnome-shell", "gnome-remote-desktop", "gdm", "nautilus", "firefox", "chrome"];

/// Who is on the GPU of a Spark, the largest first. `going` are ids of containers that are stopped.
pub fn holders(spark: &SparkName, facts: &Facts, desired: &Desired, going: &BTreeSet<&str>) -> Vec<Holder> {
    let holder = |process: &GpuProcess| {
        let id = process.container.as_deref();
        let container = id.and_then(|id| facts.containers.iter().find(|container| container.id == id));
        let of = match container {
            Some(container) => owner(spark, container, desired),
            None if id.is_none() && is_desktop(&process.name) => HolderOf::Desktop,
            None => HolderOf::Unmanaged,
        };
        let goes = id.is_some_and(|id| going.contains(id));
        Holder { name: process.name.clone(), pid: process.pid, bytes: process.memory_bytes, of, goes }
    };
    let mut holders: Vec<Holder> = facts.gpu.iter().flat_map(|gpu| &gpu.processes).map(holder).collect();
    holders.sort_by_key(|holder| (std::cmp::Reverse(holder.bytes), holder.pid));
    holders
}

/// Whose of the file a container is.
pub fn owner(spark: &SparkName, container: &Container, desired: &Desired) -> HolderOf {
    let labels = container.labels.as_ref().filter(|labels| labels.cluster == desired.cluster.as_str());
    let is_of = |object: &Object, slot: &Slot| {
        labels.is_some_and(|labels| labels.object == object.as_str())
            || (slot.sparks.contains(spark) && slot.container.as_str() == container.name)
    };
    if let Some((object, _)) = desired.slots.iter().find(|(object, slot)| is_of(object, slot)) {
        return HolderOf::Slot(object.clone());
    }
    let service = desired.services.iter().find(|(_, service)| {
        matches!(&service.place, Place::Spark(place) if place == spark)
            && service.container.as_ref().is_some_and(|name| name.as_str() == container.name)
    });
    match service {
        Some((name, _)) => HolderOf::Service(Object::service(name)),
        None => HolderOf::Unmanaged,
    }
}

fn is_desktop(name: &str) -> bool {
    let program = name.rsplit('/').next().unwrap_or(name);
    DESKTOP.iter().any(|known| program.starts_with(known))
}

/// A figure of `args`; one in quotes is a figure to the engine.
pub fn figure(value: &Json) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

/// What the model needs on a Spark with this much memory, and where that figure comes from. `peaks` are what its loads took
/// there.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bytes of a machine
pub fn need(effective: &Effective<'_>, total_bytes: u64, peaks: &[u64]) -> (u64, String) {
    let figure = |flag: &str| figure(effective.model.args.get(flag)?);
    let share = figure("gpu-memory-utilization");
    let declared = effective.model.memory_bytes.unwrap_or(0);
    let (engine, basis) = match figure("kv-cache-memory-bytes") {
        Some(bytes) => (bytes as u64, "kv-cache-memory-bytes"),
        // A recipe's or a script's own share is not known here.
        None if share.is_none() && declared > 0 && !effective.launcher.how.words_are_all() => (0, ""),
        None => (
            (share.unwrap_or(ENGINE_SHARE) * total_bytes as f64) as u64,
            if share.is_some() { "gpu-memory-utilization" } else { "the engine's default share" },
        ),
    };
    let (need, basis) = if declared >= engine { (declared, "memory_gib") } else { (engine, basis) };
    let peak = peaks.iter().max().map_or(0, |peak| peak.saturating_sub(PEAK_TOLERANCE_BYTES));
    if peak > need {
        let loads =
            if peaks.len() == 1 { "the last load".into() } else { format!("the last {} loads", peaks.len()) };
        return (peak, format!("the peak of {loads} here"));
    }
    (need, basis.to_owned())
}

/// The same with what this ledger has learned of it.
pub fn need_on(
    effective: &Effective<'_>,
    spark: &SparkName,
    facts: &Facts,
    ledger: &Ledger,
) -> (u64, String) {
    let peaks = ledger.peaks(&effective.spec_hash(), spark);
    need(effective, facts.memory_total_bytes, peaks)
}

/// The table for a model: one row per Spark that can be seen. `going` are ids of containers that are stopped first.
pub fn table(
    effective: &Effective<'_>,
    going: &BTreeSet<&str>,
    desired: &Desired,
    observed: &Observed,
    ledger: &Ledger,
) -> Vec<Row> {
    let row = |spark: &SparkName| {
        let facts = observed.facts(spark)?;
        let (needed_bytes, basis) = need_on(effective, spark, facts, ledger);
        Some(Row {
            spark: spark.clone(),
            total_bytes: facts.memory_total_bytes,
            available_bytes: facts.memory_available_bytes,
            needed_bytes,
            basis,
            floor_bytes: desired.sparks[spark].floor_bytes,
            holders: holders(spark, facts, desired, going),
        })
    };
    effective.model.sparks.iter().filter_map(row).collect()
}

/// The most that can be free on a Spark once these containers are gone: what is free, and all that their processes hold, on
/// the GPU and beside it. `None` when the driver does not tell what one of them holds.
pub fn free_at_most(facts: &Facts, going: &BTreeSet<&str>) -> Option<u64> {
    let gone = |id: &str| going.contains(id);
    let mut free = facts.memory_available_bytes;
    let mut held = false;
    for process in facts.gpu.as_ref()?.processes.iter().filter(|p| p.container.as_deref().is_some_and(gone)) {
        free = free.saturating_add(process.memory_bytes?);
        held = true;
    }
    for container in facts.containers.iter().filter(|container| container.running && gone(&container.id)) {
        let beside: u64 = container.processes.as_ref()?.iter().map(|process| process.resident_bytes).sum();
        free = free.saturating_add(beside);
    }
    held.then_some(free)
}

/// What the processes of a container hold, on the GPU and beside it; `None` when the driver does not tell.
pub fn held(facts: &Facts, container: &Container) -> Option<u64> {
    let on_gpu = facts.gpu.as_ref()?.processes.iter();
    let mut inside = on_gpu.filter(|process| process.container.as_ref() == Some(&container.id)).peekable();
    inside.peek()?;
    let on_gpu: u64 = inside.map(|process| process.memory_bytes).sum::<Option<u64>>()?;
    let beside: u64 = container.processes.iter().flatten().map(|process| process.resident_bytes).sum();
    Some(on_gpu.saturating_add(beside))
}

/// Whether a Spark has let go of what was stopped and has room for what comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    Yes,
    NotYet(String),
    /// The deadline passed.
    Never(String),
    /// It cannot fit even on an empty machine.
    CannotFit(String),
}

/// The release gate for one Spark.
pub fn released(
    spark: &SparkName,
    facts: &Facts,
    needed_bytes: u64,
    floor_bytes: u64,
    release: Option<&Release>,
    ledger: &Ledger,
    now: Timestamp,
) -> Released {
    let threshold = needed_bytes.saturating_add(floor_bytes);
    if threshold > facts.memory_total_bytes {
        return Released::CannotFit(format!(
            "{} needed and {} kept free, but `{spark}` has {}",
            gib(needed_bytes),
            gib(floor_bytes),
            gib(facts.memory_total_bytes)
        ));
    }
    let late = release.is_some_and(|release| now.duration_since(release.since) > RELEASE_DEADLINE);
    let not_yet = |why: String| if late { Released::Never(why) } else { Released::NotYet(why) };
    if let Some(release) = release {
        if let Some(container) =
            facts.containers.iter().find(|container| release.containers.contains(&container.id))
        {
            return not_yet(format!("`{}` is still there on `{spark}`", container.name));
        }
        let held = facts.gpu.iter().flat_map(|gpu| &gpu.processes);
        // A reboot numbers processes anew.
        let up = SignedDuration::from_secs(i64::try_from(facts.uptime_secs).unwrap_or(i64::MAX));
        let same_boot = facts.at.duration_since(release.since) <= up;
        let pids = release.pids.get(spark).filter(|_| same_boot);
        if let Some(process) = held.into_iter().find(|p| pids.is_some_and(|pids| pids.contains(&p.pid))) {
            return not_yet(format!(
                "process {} of the stopped model still holds the GPU of `{spark}`",
                process.pid
            ));
        }
    }
    let since = release.map(|release| release.since);
    let samples = ledger.samples.get(spark).filter(|samples| samples.boot_id == facts.boot_id);
    let enough: Vec<Timestamp> = samples
        .into_iter()
        .flat_map(|samples| &samples.seen)
        .rev()
        .take_while(|sample| {
            sample.available_bytes >= threshold && since.is_none_or(|since| sample.at >= since)
        })
        .map(|sample| sample.at)
        .collect();
    match (enough.first(), enough.last()) {
        (Some(newest), Some(oldest)) if enough.len() >= SAMPLES && newest.duration_since(*oldest) >= OVER => {
            Released::Yes
        }
        (Some(_), _) => Released::NotYet(format!(
            "{} are free on `{spark}`; watching that they stay so for {} s",
            gib(facts.memory_available_bytes),
            OVER.as_secs()
        )),
        (None, _) => not_yet(format!(
            "{} free on `{spark}`, {} needed and {} kept free",
            gib(facts.memory_available_bytes),
            gib(needed_bytes),
            gib(floor_bytes)
        )),
    }
}

/// Bytes as people read them here.
#[allow(clippy::cast_precision_loss)]
pub fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / (1_u64 << 30) as f64)
}
