//! What a model needs of a Spark's memory, and where that figure comes from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::core::model::{
    files::FilesSeen,
    ledger::Ledger,
    name::SparkName,
    observed::{Observed, RecipeSeen, SparkFacts},
    resolved_model::ResolvedModel,
};

/// vLLM's `--gpu-memory-utilization` when absent (0.32, `vllm/config/cache.py`).
pub const ENGINE_SHARE: f64 = 0.92;
/// What an engine takes beside its weights and its cache: CUDA's context, the profiling run's activations, CUDA graphs, NCCL's
/// buffers. vLLM prints what is left over of it after a load; 2 to 4 GiB is usual for one sequence length of 32 thousand.
pub const BESIDE_BYTES: u64 = 4 << 30;
/// What processes share is counted in each: a learned peak is not taken more exactly than this.
pub const PEAK_TOLERANCE_BYTES: u64 = 1 << 30;

/// What it needs, as far as that can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemoryNeed {
    Known(Known),
    /// Neither the file nor the Spark says enough, and why.
    Unknown {
        why: String,
        at_least_bytes: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What it holds once it serves.
    pub bytes: u64,
    pub basis: NeedBasis,
    /// What must be free when it starts, or it gives up: the engine compares its share with what is free
    /// (`request_memory` in `vllm/v1/worker/utils.py`), also when it then takes less.
    pub to_start_bytes: u64,
}

/// Where a figure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NeedBasis {
    /// `gpu-memory-utilization`.
    Share,
    /// The engine's own, since the file has none.
    DefaultShare,
    /// `gpu-memory-utilization-gb`, which a mod of the launcher brings.
    Gigabytes,
    /// Weights, `kv-cache-memory-bytes` and what is beside them.
    Cache,
    /// Its weights alone.
    Weights,
    /// `memory_gib`.
    Declared,
    /// What so many loads took here.
    Peak { loads: usize },
}

impl std::fmt::Display for NeedBasis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Share => f.write_str("gpu-memory-utilization"),
            Self::DefaultShare => f.write_str("the engine's default share"),
            Self::Gigabytes => f.write_str("gpu-memory-utilization-gb"),
            Self::Cache => f.write_str("its weights and kv-cache-memory-bytes"),
            Self::Weights => f.write_str("its weights"),
            Self::Declared => f.write_str("memory_gib"),
            Self::Peak { loads: 1 } => f.write_str("the peak of the last load here"),
            Self::Peak { loads } => write!(f, "the peak of the last {loads} loads here"),
        }
    }
}

impl MemoryNeed {
    /// All of it, or what it takes whatever the rest is.
    pub fn at_least_bytes(&self) -> u64 {
        match self {
            Self::Known(known) => known.bytes,
            Self::Unknown { at_least_bytes, .. } => *at_least_bytes,
        }
    }
}

impl Known {
    /// The larger of two reasons.
    fn raise(&mut self, bytes: u64, basis: NeedBasis) {
        if bytes > self.bytes {
            (self.bytes, self.basis) = (bytes, basis);
        }
    }
}

/// A figure of `args`; one in quotes is a figure to the engine.
pub fn figure(value: &Json) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// A size of `args`, in the engine's own form (`human_readable_int` of vLLM): `k`, `m`, `g` and `t` are powers of 1000, `K`, `M`,
/// `G` and `T` of 1024. The engine takes fractions only of the former; which is meant is clear of both.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // sizes of a machine's memory
pub fn size(value: &Json) -> Option<u64> {
    const BINARY: &str = "KMGT";
    const DECIMAL: &str = "kmgt";
    let Json::String(text) = value else {
        return value
            .as_u64()
            .or_else(|| value.as_f64().filter(|figure| *figure >= 0.0).map(|figure| figure as u64));
    };
    let text = text.trim();
    let last = text.chars().last()?;
    let factor = match (power_of(last, BINARY), power_of(last, DECIMAL)) {
        (Some(power), _) => 1024_f64.powi(power),
        (None, Some(power)) => 1000_f64.powi(power),
        (None, None) => return text.parse().ok(),
    };
    let number: f64 = text[..text.len() - 1].parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some((number * factor) as u64)
}

/// Which power of its base this letter stands for, `letters` being those of the first power and on.
fn power_of(letter: char, letters: &str) -> Option<i32> {
    letters.find(letter).map(|power| i32::try_from(power + 1).unwrap_or(0))
}

/// Arguments that say what an engine takes.
pub const TOLD_BY: [&str; 5] = [
    "gpu-memory-utilization",
    "gpu-memory-utilization-gb",
    "kv-cache-memory-bytes",
    "load-format",
    "quantization",
];

/// The same with what this Spark and this ledger know of it.
pub fn need_on(
    effective: &ResolvedModel<'_>,
    spark: &SparkName,
    facts: &SparkFacts,
    observed: &Observed,
    ledger: &Ledger,
) -> MemoryNeed {
    let seen = effective.model.source.files_key().and_then(|key| facts.files.get(&key));
    let weights = match seen {
        Some(FilesSeen::Whole { weights_bytes }) => *weights_bytes,
        _ => None,
    };
    let nothing = BTreeMap::new();
    let of_recipe = match observed.recipe(effective) {
        Some(RecipeSeen::Readable { args, .. }) => args,
        _ => &nothing,
    };
    let told = NeedInputs { total_bytes: facts.memory_total_bytes, weights_bytes: weights, of_recipe };
    need(effective, told, ledger.peaks(&effective.spec_hash(), spark))
}

/// What is known of a Spark and of a model's files on it.
#[derive(Clone, Copy)]
pub struct NeedInputs<'a> {
    pub total_bytes: u64,
    /// Of all its Sparks together, where that is known.
    pub weights_bytes: Option<u64>,
    /// What its recipe tells the engine; the file's own words come after them, and win.
    pub of_recipe: &'a BTreeMap<String, Json>,
}

/// What the model needs on a Spark. `peaks` are what its loads took there.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bytes of a machine
pub fn need(effective: &ResolvedModel<'_>, told: NeedInputs<'_>, peaks: &[u64]) -> MemoryNeed {
    let NeedInputs { total_bytes, weights_bytes, of_recipe } = told;
    let arg = |flag: &str| effective.model.args.get(flag).or_else(|| of_recipe.get(flag));
    let share = arg("gpu-memory-utilization").and_then(figure);
    let gigabytes = arg("gpu-memory-utilization-gb").and_then(figure);
    let cache = arg("kv-cache-memory-bytes").and_then(size);
    let declared = effective.model.memory_bytes.unwrap_or(0);
    // Each Spark holds its part of the weights, and what does not divide besides.
    let weights = weights_bytes.map(|bytes| bytes / effective.model.sparks.len().max(1) as u64);
    let controls_full_command_line = effective.start.controls_full_command_line();

    let (told, basis) = match (gigabytes, share) {
        (Some(gigabytes), _) => ((gigabytes * (1_u64 << 30) as f64) as u64, NeedBasis::Gigabytes),
        (None, Some(share)) => (share_of(total_bytes, share), NeedBasis::Share),
        // A recipe's or a script's own share is not known here.
        (None, None) if !controls_full_command_line && (declared > 0 || !peaks.is_empty()) => {
            (0, NeedBasis::Declared)
        }
        (None, None) => (share_of(total_bytes, ENGINE_SHARE), NeedBasis::DefaultShare),
    };
    let to_start_bytes = if gigabytes.is_some() { 0 } else { told };
    let mut known = Known { bytes: told, basis, to_start_bytes };
    // The engine does not hold its share then, but what it is told and what it loads.
    if let Some(cache) = cache {
        let all = weights.map(|weights| weights.saturating_add(cache).saturating_add(BESIDE_BYTES));
        match all {
            _ if share.is_some() || gigabytes.is_some() => {
                known.raise(all.unwrap_or(cache), NeedBasis::Cache)
            }
            Some(all) => (known.bytes, known.basis) = (all, NeedBasis::Cache),
            None if declared > 0 || !peaks.is_empty() => {
                (known.bytes, known.basis) = (cache, NeedBasis::Cache)
            }
            None => {
                let why = format!(
                    "`kv-cache-memory-bytes` is only the cache of `{}`, and how large its weights are is not known; set \
                     `memory_gib` to what it takes of a Spark in all",
                    effective.name
                );
                return MemoryNeed::Unknown { why, at_least_bytes: cache };
            }
        }
    }
    known.raise(declared, NeedBasis::Declared);
    // What is made smaller while it is loaded is not that large afterwards.
    let is_remade = ["quantization", "load-format"].iter().any(|flag| arg(flag).is_some());
    known.raise(weights.filter(|_| !is_remade).unwrap_or(0), NeedBasis::Weights);
    let peak = peaks.iter().max().map_or(0, |peak| peak.saturating_sub(PEAK_TOLERANCE_BYTES));
    known.raise(peak, NeedBasis::Peak { loads: peaks.len() });
    known.to_start_bytes = known.to_start_bytes.max(known.bytes);
    MemoryNeed::Known(known)
}

/// This share of all memory, in bytes.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bytes of a machine
fn share_of(total_bytes: u64, share: f64) -> u64 {
    (share * total_bytes as f64) as u64
}
