//! Memory that GPU and CPU share, per Spark: what is there, what a model needs, what must stay free.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    desired::{Desired, Effective},
    ledger::{Ledger, Release},
    name::SparkName,
    observed::{Facts, Observed},
};

/// vLLM's `--gpu-memory-utilization` when absent (0.33.0).
pub const ENGINE_SHARE: f64 = 0.92;
/// Memory comes back late and in steps after a stop: this many samples in a row must show enough …
const SAMPLES: usize = 3;
/// … over at least this long.
const OVER: SignedDuration = SignedDuration::from_secs(10);
/// Memory that is not back by then comes back with a reboot, if at all.
pub const RELEASE_DEADLINE: SignedDuration = SignedDuration::from_mins(5);

/// One line of the memory table. Without readings that move by themselves: it is part of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub spark: SparkName,
    pub total_bytes: u64,
    pub needed_bytes: u64,
    /// Where the need comes from.
    pub basis: String,
    pub floor_bytes: u64,
    /// GPU processes there, as `name (pid)`.
    pub holders: Vec<String>,
}

/// What the model needs on a Spark with this much memory, and where that figure comes from.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bytes of a machine
pub fn need(effective: &Effective<'_>, total_bytes: u64) -> (u64, &'static str) {
    let args = &effective.model.args;
    // A figure in quotes is a figure to the engine.
    let figure = |flag: &str| {
        let value = args.get(flag)?;
        value.as_f64().or_else(|| value.as_str()?.parse().ok())
    };
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
    if declared >= engine { (declared, "memory_gib") } else { (engine, basis) }
}

/// The table for a model: one row per Spark that can be seen.
pub fn table(effective: &Effective<'_>, desired: &Desired, observed: &Observed) -> Vec<Row> {
    effective
        .model
        .sparks
        .iter()
        .filter_map(|spark| {
            let facts = observed.facts(spark)?;
            let (needed_bytes, basis) = need(effective, facts.memory_total_bytes);
            Some(Row {
                spark: spark.clone(),
                total_bytes: facts.memory_total_bytes,
                needed_bytes,
                basis: basis.into(),
                floor_bytes: desired.sparks[spark].floor_bytes,
                holders: facts
                    .gpu
                    .iter()
                    .flat_map(|gpu| &gpu.processes)
                    .map(|process| format!("{} ({})", process.name, process.pid))
                    .collect(),
            })
        })
        .collect()
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
