//! Memory that GPU and CPU share, per Spark: what is there, who holds it, what a model needs, what must stay free.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    need::{self, Known, MemoryNeed, NeedBasis},
    schedule,
    view::View,
    weights,
};
use crate::core::model::{
    desired::{self, Desired, WantedModel},
    id::ContainerId,
    launch::{Launch, LaunchState},
    ledger::Ledger,
    memory_samples::MemorySample,
    memory_table::{GpuOccupant, GpuOccupantOwner, MemoryFit, MemoryRow, gib},
    name::SparkName,
    object::Object,
    observed::{Container, GpuProcess, Observed, SparkFacts},
    resolved_model::ResolvedModel,
    slot_record::MemoryRelease,
};

/// Memory comes back late and in steps after a stop: this many samples in a row must show enough …
const SAMPLES: usize = 3;
/// … over at least this long …
const OVER: SignedDuration = SignedDuration::from_secs(10);
/// … or, with this much more than enough, so many …
const CLEAR_BYTES: u64 = 4 << 30;
const CLEAR_SAMPLES: usize = 2;
/// … over this long: what was stopped is gone by then, with its processes.
pub(super) const CLEAR_OVER: SignedDuration = SignedDuration::from_secs(2);
/// What is free moves that much by itself.
const STILL_BYTES: u64 = 512 << 20;
/// Memory that is not back by then comes back with a reboot, if at all.
pub const RELEASE_DEADLINE: SignedDuration = SignedDuration::from_mins(5);

/// Programs that draw the screen of a DGX Spark.
const DESKTOP: [&str; 8] =
    ["Xorg", "Xwayland", "gnome-shell", "gnome-remote-desktop", "gdm", "nautilus", "firefox", "chrome"];

/// Who is on the GPU of a Spark, the largest first. `going` are ids of containers that are stopped.
pub fn holders(
    spark: &SparkName,
    facts: &SparkFacts,
    desired: &Desired,
    going: &BTreeSet<&ContainerId>,
) -> Vec<GpuOccupant> {
    let processes = facts.gpu_processes().iter();
    let mut holders: Vec<GpuOccupant> =
        processes.map(|process| holder(process, spark, facts, desired, going)).collect();
    holders.sort_by_key(|holder| (std::cmp::Reverse(holder.bytes), holder.pid));
    holders
}

/// Whose process on the GPU this is, what it holds, and whether it is stopped first.
fn holder(
    process: &GpuProcess,
    spark: &SparkName,
    facts: &SparkFacts,
    desired: &Desired,
    going: &BTreeSet<&ContainerId>,
) -> GpuOccupant {
    let id = process.container.as_ref();
    let container = id.and_then(|id| facts.containers.iter().find(|container| container.id == *id));
    let of = match container {
        Some(container) => owner(spark, container, desired),
        None if id.is_none() && is_desktop(&process.name) => GpuOccupantOwner::Desktop,
        None => GpuOccupantOwner::Unmanaged,
    };
    let goes = id.is_some_and(|id| going.contains(id));
    GpuOccupant { name: process.name.clone(), pid: process.pid, bytes: process.memory_bytes, of, goes }
}

/// Whose of the file a container is.
pub fn owner(spark: &SparkName, container: &Container, desired: &Desired) -> GpuOccupantOwner {
    let labels = container.labels.as_ref().filter(|labels| labels.cluster == desired.cluster.as_str());
    let slot = desired.slots.iter().find(|(object, slot)| {
        labels.is_some_and(|labels| labels.object == **object)
            || (slot.sparks.contains(spark) && container.name == slot.container.as_str())
    });
    if let Some((object, _)) = slot {
        return GpuOccupantOwner::Slot(object.clone());
    }
    let service = desired.services.iter().find(|(_, service)| {
        matches!(&service.place, desired::Place::Spark(place) if place == spark)
            && service.container.as_ref().is_some_and(|name| container.name == name.as_str())
    });
    match service {
        Some((name, _)) => GpuOccupantOwner::Service(Object::service(name)),
        None => GpuOccupantOwner::Unmanaged,
    }
}

fn is_desktop(name: &str) -> bool {
    let program = name.rsplit('/').next().unwrap_or(name);
    DESKTOP.iter().any(|known| program.starts_with(known))
}

/// The model of a slot on one of its Sparks.
#[derive(Clone, Copy)]
pub struct MemoryPlace<'a> {
    pub object: &'a Object,
    pub target: &'a ResolvedModel<'a>,
    pub spark: &'a SparkName,
    /// Ids of containers that are stopped first.
    pub going: &'a BTreeSet<&'a ContainerId>,
    pub observed: &'a Observed,
    /// What is free now counts. Not so when a little later more will be.
    pub by_what_is_free: bool,
}

/// What can be free for a model on a Spark.
struct FreeableMemory {
    bytes: u64,
    others: Vec<String>,
}

/// The verdict for one Spark that can be seen.
pub fn fit(
    place: MemoryPlace<'_>,
    facts: &SparkFacts,
    desired: &Desired,
    ledger: &Ledger,
    now: Timestamp,
) -> MemoryFit {
    let known = match need::need_on(place.target, place.spark, facts, place.observed, ledger) {
        MemoryNeed::Known(known) => known,
        MemoryNeed::Unknown { why, .. } => return MemoryFit::Unknown { why },
    };
    let floor = desired.sparks[place.spark].floor_bytes;
    let room = room(place, facts, desired, ledger, now);
    let can_be_free_bytes = room.bytes.saturating_sub(floor);
    // The engine looks at what is free when it starts, and knows of no floor.
    let starts = known.to_start_bytes <= room.bytes;
    if known.bytes <= can_be_free_bytes && starts {
        return MemoryFit::Fits { spare_bytes: can_be_free_bytes - known.bytes };
    }
    MemoryFit::TooLarge {
        asks_bytes: if starts { known.bytes } else { known.to_start_bytes },
        can_be_free_bytes,
        others: room.others.join(", "),
        mend: mend(&known, can_be_free_bytes, facts.memory_total_bytes),
    }
}

/// What an owner sets so that it fits.
#[allow(clippy::cast_precision_loss)] // bytes of a machine
fn mend(known: &Known, free_bytes: u64, total_bytes: u64) -> String {
    let share = (free_bytes as f64 / total_bytes as f64 * 100.0).floor() / 100.0;
    let smaller = "use another Spark, or a smaller model";
    match known.basis {
        _ if share < 0.01 => format!("nothing of it can; {smaller}"),
        NeedBasis::Share | NeedBasis::DefaultShare => {
            format!("set `gpu-memory-utilization` to at most {share:.2}")
        }
        // It holds less than its share, which must be free all the same when it starts.
        NeedBasis::Cache | NeedBasis::Declared | NeedBasis::Peak { .. }
            if known.bytes <= free_bytes && known.to_start_bytes > free_bytes =>
        {
            format!(
                "the engine starts only when its share is free: set `gpu-memory-utilization` to at most {share:.2}"
            )
        }
        NeedBasis::Gigabytes => {
            format!("set `gpu-memory-utilization-gb` to at most {}", free_bytes >> 30)
        }
        NeedBasis::Cache => {
            format!("set `kv-cache-memory-bytes` lower by {}", gib(known.bytes.saturating_sub(free_bytes)))
        }
        NeedBasis::Weights => format!("its weights alone are that large; {smaller}"),
        NeedBasis::Declared => format!("lower `memory_gib`, or {smaller}"),
        NeedBasis::Peak { .. } => {
            format!(
                "it took that much before; set `gpu-memory-utilization` to at most {share:.2}, or {smaller}"
            )
        }
    }
}

/// What is left of a Spark beside what other slots are to hold, what is on its way, and what is on the GPU and stays; and no
/// more than what is free, with what goes.
fn room(
    place: MemoryPlace<'_>,
    facts: &SparkFacts,
    desired: &Desired,
    ledger: &Ledger,
    now: Timestamp,
) -> FreeableMemory {
    let MemoryPlace { object, spark, going, .. } = place;
    let mut taken = 0_u64;
    let mut others = Vec::new();
    for (other, slot) in desired.slots.iter().filter(|(other, _)| *other != object) {
        let WantedModel::Model(name) = schedule::wanted(other, slot, desired, now) else { continue };
        let Some(held) = desired.resolved_model(slot, &name).filter(|held| held.model.sparks.contains(spark))
        else {
            continue;
        };
        let needed = need::need_on(&held, spark, facts, place.observed, ledger).at_least_bytes();
        taken = taken.saturating_add(needed);
        others.push(format!("{} for `{name}` in `{other}`", gib(needed)));
    }
    let transfers = weights::transfer_bytes(facts);
    if transfers > 0 {
        taken = taken.saturating_add(transfers);
        others.push(format!("{} for files that are on their way", gib(transfers)));
    }
    // What a slot holds is counted by what it needs.
    for holder in holders(spark, facts, desired, going) {
        if holder.goes || matches!(holder.of, GpuOccupantOwner::Slot(_)) {
            continue;
        }
        let Some(bytes) = holder.bytes else { continue };
        taken = taken.saturating_add(bytes);
        others.push(format!("{} held by {}", gib(bytes), holder.who()));
    }
    let of_all = facts.memory_total_bytes.saturating_sub(taken);
    let of_free = free_at_most(facts, going).filter(|_| place.by_what_is_free);
    FreeableMemory { bytes: of_free.map_or(of_all, |free| free.min(of_all)), others }
}

/// What was stopped there or died there a moment ago gives its memory back late: what is free now is not what will be. Of what
/// this slot itself stopped, the gate says when it has waited for too long.
fn comes_back(place: &MemoryPlace<'_>, facts: &SparkFacts, ledger: &Ledger, now: Timestamp) -> bool {
    let MemoryPlace { object, spark, .. } = place;
    let is_released = ledger.slots.iter().any(|(of, slot)| {
        let here = slot.release.as_ref().filter(|release| release.pids.contains_key(*spark));
        here.is_some_and(|release| of == *object || !is_late(release.since, now))
    });
    is_released || ledger.launches().any(|(of, launch)| is_gone(of, launch, place, facts, now))
}

/// So long ago that the memory of what ended then has come back as far as it will.
fn is_late(since: Timestamp, now: Timestamp) -> bool {
    now.duration_since(since) > RELEASE_DEADLINE
}

/// The launch of `of` ended on this Spark a moment ago, or is taken to serve there and does not.
fn is_gone(
    of: &Object,
    launch: &Launch,
    place: &MemoryPlace<'_>,
    facts: &SparkFacts,
    now: Timestamp,
) -> bool {
    let MemoryPlace { object, spark, going, .. } = place;
    launch.group.sparks.contains(spark)
        && match launch.state {
            LaunchState::Failed { at, .. } | LaunchState::Stopped { at } => !is_late(at, now),
            // It is taken to serve, and nothing of it is there that could be stopped.
            LaunchState::Serving { .. } | LaunchState::Unseen { .. } => {
                let mut containers =
                    facts.containers.iter().filter(|container| going.contains(&container.id));
                of == *object && !containers.any(|container| container.engine_alive() != Some(false))
            }
            LaunchState::Loading => false,
        }
}

/// For so long nothing has come back and nothing was taken.
fn is_settled(spark: &SparkName, facts: &SparkFacts, ledger: &Ledger) -> bool {
    let seen = ledger.samples.get(spark).filter(|samples| samples.boot_id == facts.boot_id);
    let Some(samples) = seen.map(|samples| &samples.seen) else { return false };
    let still = samples
        .iter()
        .rev()
        .take_while(|sample| sample.available_bytes.abs_diff(facts.memory_available_bytes) <= STILL_BYTES);
    let times: Vec<Timestamp> = still.map(|sample| sample.at).collect();
    match (times.first(), times.last()) {
        (Some(newest), Some(oldest)) => newest.duration_since(*oldest) >= OVER,
        _ => false,
    }
}

/// Whether what is free now is what there will be: something is to be stopped for it, or nothing has moved for a while.
pub fn counts_what_is_free(
    place: &MemoryPlace<'_>,
    facts: &SparkFacts,
    stops: bool,
    ledger: &Ledger,
    now: Timestamp,
) -> bool {
    !comes_back(place, facts, ledger, now) && (stops || is_settled(place.spark, facts, ledger))
}

/// The table for a model: one row per Spark that can be seen. `going` are ids of containers that are stopped first.
pub fn table(
    object: &Object,
    effective: &ResolvedModel<'_>,
    going: &BTreeSet<&ContainerId>,
    view: View<'_>,
) -> Vec<MemoryRow> {
    effective.model.sparks.iter().filter_map(|spark| row(spark, object, effective, going, view)).collect()
}

/// The row of one Spark; `None` when it cannot be seen.
fn row(
    spark: &SparkName,
    object: &Object,
    effective: &ResolvedModel<'_>,
    going: &BTreeSet<&ContainerId>,
    view: View<'_>,
) -> Option<MemoryRow> {
    let View { desired, observed, ledger, now } = view;
    let facts = observed.facts(spark)?;
    let mut place = MemoryPlace { object, target: effective, spark, going, observed, by_what_is_free: false };
    place.by_what_is_free = !comes_back(&place, facts, ledger, now);
    let (needed_bytes, basis) = match need::need_on(effective, spark, facts, observed, ledger) {
        MemoryNeed::Known(known) => (Some(known.bytes), known.basis.to_string()),
        MemoryNeed::Unknown { .. } => (None, String::new()),
    };
    let fit = fit(place, facts, desired, ledger, now);
    Some(MemoryRow {
        spark: spark.clone(),
        total_bytes: facts.memory_total_bytes,
        available_bytes: facts.memory_available_bytes,
        needed_bytes,
        basis,
        floor_bytes: desired.sparks[spark].floor_bytes,
        verdict: fit.to_string(),
        fit,
        holders: holders(spark, facts, desired, going),
    })
}

/// The most that can be free on a Spark once these containers are gone: what is free, and all that their processes hold.
/// `None` when the driver does not tell what one of them holds.
pub fn free_at_most(facts: &SparkFacts, going: &BTreeSet<&ContainerId>) -> Option<u64> {
    let goes = facts.containers.iter().filter(|container| going.contains(&container.id));
    let mut free = facts.memory_available_bytes;
    for container in goes.filter(|container| container.running) {
        free = free.saturating_add(held(facts, container)?);
    }
    Some(free.min(facts.memory_total_bytes))
}

/// What the processes of a container hold. GPU and CPU share one memory: a process holds what the driver says of it or what the
/// kernel says of it, whichever is more, and not both. `None` when one of the two does not tell.
pub fn held(facts: &SparkFacts, container: &Container) -> Option<u64> {
    let on_gpu = &facts.gpu()?.processes;
    let mut resident: BTreeMap<u32, u64> =
        container.processes.as_ref()?.iter().map(|process| (process.pid, process.resident_bytes)).collect();
    for process in on_gpu.iter().filter(|process| process.container.as_ref() == Some(&container.id)) {
        let bytes = resident.entry(process.pid).or_default();
        *bytes = process.memory_bytes?.max(*bytes);
    }
    Some(resident.values().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes)))
}

/// Whether a Spark has let go of what was stopped and has room for what comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseProgress {
    Yes,
    /// There is enough, and it is watched whether that lasts.
    Settling(String),
    /// What was stopped gives it back.
    Freeing(String),
    /// It has not, for too long.
    Stuck(String),
}

/// The release gate for one Spark.
pub fn released(
    spark: &SparkName,
    facts: &SparkFacts,
    needed: &Known,
    floor_bytes: u64,
    release: Option<&MemoryRelease>,
    ledger: &Ledger,
    now: Timestamp,
) -> ReleaseProgress {
    let threshold = needed.bytes.saturating_add(floor_bytes).max(needed.to_start_bytes);
    let since = release.map(|release| release.since);
    if let Some(release) = release {
        if let Some(container) =
            facts.containers.iter().find(|container| release.containers.contains(&container.id))
        {
            return not_released(format!("`{}` is still there on `{spark}`", container.name), since, now);
        }
        // A reboot numbers processes anew.
        let up = SignedDuration::from_secs(i64::try_from(facts.uptime_secs).unwrap_or(i64::MAX));
        let same_boot = facts.at.duration_since(release.since) <= up;
        let pids = release.pids.get(spark).filter(|_| same_boot);
        let mut held = facts.gpu_processes().iter();
        if let Some(process) = held.find(|process| pids.is_some_and(|pids| pids.contains(&process.pid))) {
            let why =
                format!("process {} of the stopped model still holds the GPU of `{spark}`", process.pid);
            return not_released(why, since, now);
        }
    }
    let samples = ledger.samples.get(spark).filter(|samples| samples.boot_id == facts.boot_id);
    let newest_first: Vec<&MemorySample> = samples
        .into_iter()
        .flat_map(|samples| &samples.seen)
        .rev()
        .take_while(|sample| since.is_none_or(|since| sample.at >= since))
        .collect();
    // Far above what is needed, a step back of what still moves does no harm.
    let clear_bytes = threshold.saturating_add(CLEAR_BYTES);
    let (clear, watched) = stays_free(&newest_first, clear_bytes, CLEAR_SAMPLES, CLEAR_OVER);
    let (close, watched_close) = stays_free(&newest_first, threshold, SAMPLES, OVER);
    if clear || close {
        return ReleaseProgress::Yes;
    }
    let free = gib(facts.memory_available_bytes);
    match (watched, watched_close) {
        (Some(so_long), _) => ReleaseProgress::Settling(settling(&free, spark, so_long, CLEAR_OVER)),
        (None, Some(so_long)) => ReleaseProgress::Settling(settling(&free, spark, so_long, OVER)),
        (None, None) => {
            let why = format!("{free} free on `{spark}`, {} needed with what stays free", gib(threshold));
            not_released(why, since, now)
        }
    }
}

/// How far the release is that waits for `why`: it is under way, or has taken too long since the stop.
fn not_released(why: String, since: Option<Timestamp>, now: Timestamp) -> ReleaseProgress {
    let Some(since) = since else { return ReleaseProgress::Freeing(why) };
    let waited = now.duration_since(since);
    if waited > RELEASE_DEADLINE {
        return ReleaseProgress::Stuck(format!("{why}, {} after the stop", minutes(waited)));
    }
    ReleaseProgress::Freeing(format!(
        "{why}; {} s so far, gives up at {:.0}",
        waited.as_secs().max(0),
        since.saturating_add(RELEASE_DEADLINE).unwrap_or(Timestamp::MAX)
    ))
}

/// Whether the newest samples all show that much free, so many of them over so long; and how long they have shown it.
fn stays_free(
    newest_first: &[&MemorySample],
    least_bytes: u64,
    count: usize,
    over: SignedDuration,
) -> (bool, Option<SignedDuration>) {
    let enough: Vec<Timestamp> = newest_first
        .iter()
        .take_while(|sample| sample.available_bytes >= least_bytes)
        .map(|sample| sample.at)
        .collect();
    match (enough.first(), enough.last()) {
        (Some(newest), Some(oldest)) => {
            let so_long = newest.duration_since(*oldest);
            (enough.len() >= count && so_long >= over, Some(so_long))
        }
        _ => (false, None),
    }
}

fn settling(free: &str, spark: &SparkName, so_long: SignedDuration, over: SignedDuration) -> String {
    format!(
        "{free} are free on `{spark}`; watching that they stay so, {} of {} s",
        so_long.as_secs(),
        over.as_secs()
    )
}

fn minutes(length: SignedDuration) -> String {
    format!("{} min", length.as_mins())
}
