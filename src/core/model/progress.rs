//! How far a load is, out of what the engine says. Pure text reading; vLLM 0.6 to 0.33 and its descendants. Why one gave up is in
//! `cause.rs`.
//!
//! Bars are drawn with carriage returns.

use serde::{Deserialize, Serialize};

/// In the order of a load.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LoadPhase {
    /// The container runs and the interpreter loads.
    Starting,
    /// Ranks find each other.
    Engine,
    /// Files become tensors.
    Weights,
    /// Kernels are compiled.
    Compiling,
    /// What is left of the memory becomes cache.
    Cache,
    /// CUDA graphs are captured.
    Graphs,
    /// The engine is ready, its HTTP server is not.
    Warm,
    /// It answers.
    Serving,
}

impl LoadPhase {
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Engine => "starting the engine",
            Self::Weights => "loading the weights",
            Self::Compiling => "compiling",
            Self::Cache => "sizing the cache",
            Self::Graphs => "capturing graphs",
            Self::Warm => "warm",
            Self::Serving => "serving",
        }
    }
}

/// What one rank's log tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadProgress {
    pub phase: LoadPhase,
    /// Of the weights: loaded, in all.
    pub shards: Option<(u32, u32)>,
    /// The engine says that it gave up.
    #[serde(default)]
    pub gave_up: bool,
}

/// Words that mark a phase, from the engine's source.
const MARKERS: [(&str, LoadPhase); 15] = [
    ("Initializing a V1 LLM engine", LoadPhase::Engine),
    ("Initializing an LLM engine", LoadPhase::Engine),
    ("world_size=", LoadPhase::Engine),
    ("Starting to load model", LoadPhase::Weights),
    ("Loading model from scratch", LoadPhase::Weights),
    ("Model loading took", LoadPhase::Compiling),
    ("torch.compile took", LoadPhase::Compiling),
    ("Compiling a graph", LoadPhase::Compiling),
    ("Available KV cache memory", LoadPhase::Cache),
    ("GPU KV cache size", LoadPhase::Cache),
    ("Capturing CUDA graph", LoadPhase::Graphs),
    ("Graph capturing finished", LoadPhase::Warm),
    ("init engine (profile, create kv cache, warmup model) took", LoadPhase::Warm),
    ("Starting vLLM", LoadPhase::Warm),
    ("Application startup complete", LoadPhase::Serving),
];

/// How loaders begin their bars, whatever they read files with.
const BARS: [&str; 3] = ["checkpoint shards", "loading shards", "Loading safetensors using"];

/// After one of these nothing comes any more, though the container stays.
const FATAL: [&str; 6] = [
    "EngineCore failed to start",
    "Engine core initialization failed",
    "WorkerProc initialization failed",
    "EngineCore encountered a fatal error",
    "EngineDeadError",
    "died unexpectedly",
];

/// Read a log, whole or its end.
pub fn read(log: &str) -> LoadProgress {
    let mut progress = LoadProgress { phase: LoadPhase::Starting, shards: None, gave_up: false };
    for line in lines(log) {
        for (marker, phase) in MARKERS {
            if line.contains(marker) {
                progress.phase = progress.phase.max(phase);
            }
        }
        if BARS.iter().any(|bar| line.contains(bar)) {
            progress.phase = progress.phase.max(LoadPhase::Weights);
            progress.shards = shards(line).or(progress.shards);
        }
        progress.gave_up |= FATAL.iter().any(|marker| line.contains(marker));
    }
    progress
}

/// Bars are drawn over and over on one line.
fn lines(log: &str) -> impl Iterator<Item = &str> {
    log.split(['\n', '\r'])
}

/// `… 40% Completed | 4/10 [00:12<…`
fn shards(line: &str) -> Option<(u32, u32)> {
    let (_, rest) = line.rsplit_once('|')?;
    let (done, all) = rest.split_whitespace().next()?.split_once('/')?;
    let (done, all) = (done.parse().ok()?, all.parse().ok()?);
    (all > 0 && done <= all).then_some((done, all))
}

impl std::fmt::Display for LoadProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.phase.name())?;
        match self.shards {
            // Files are read, and become what kernels take: the bar knows no more of it.
            Some((done, all)) if self.phase == LoadPhase::Weights && done == all => {
                write!(f, ", all of {all} files read")
            }
            Some((done, all)) if self.phase == LoadPhase::Weights => {
                write!(f, ", {} % ({done} of {all} files)", done * 100 / all)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_that_is_drawn_over_itself_tells_the_last_shard() {
        let log = "(EngineCore pid=7) INFO Starting to load model Qwen/Q...\n\
                   Loading safetensors checkpoint shards:   0% Completed | 0/25 [00:00<?, ?it/s]\r\
                   Loading safetensors checkpoint shards:  12% Completed | 3/25 [00:09<01:06,  3.01s/it]\r";
        let progress = read(log);
        assert_eq!((progress.phase, progress.shards), (LoadPhase::Weights, Some((3, 25))));
        assert_eq!(progress.to_string(), "loading the weights, 12 % (3 of 25 files)");
    }

    /// If this failed, files that other loaders read would be loaded without anybody seeing how far.
    #[test]
    fn every_loader_draws_its_bar_and_the_last_file_is_not_the_end() {
        let starts = "INFO Starting to load model lab/a\n";
        let bar = |bar: &str| read(&format!("{starts}{bar}")).to_string();
        let half = "loading the weights, 50 % (2 of 4 files)";
        assert_eq!(
            bar("Loading safetensors checkpoint shards:  50% Completed | 2/4 [00:01<00:01,  1.20it/s]"),
            half
        );
        assert_eq!(bar("Multi-thread loading shards:  50% Completed | 2/4 [00:01<00:01,  1.20it/s]"), half);
        assert_eq!(
            bar("Loading safetensors using InstantTensor loader:  50% Completed | 2/4 [00:01<00:01]"),
            half
        );
        assert_eq!(
            bar("Loading safetensors using Fastsafetensor loader: 100% Completed | 4/4 [00:02<00:00]"),
            "loading the weights, all of 4 files read"
        );
    }

    #[test]
    fn phases_come_in_their_order_whatever_is_logged_between() {
        let mut seen = LoadPhase::Starting;
        let mut log = String::new();
        for (line, phase) in [
            ("INFO 11-25 [core.py:64] Initializing a V1 LLM engine (v0.33.0) with config", LoadPhase::Engine),
            ("INFO Starting to load model x", LoadPhase::Weights),
            ("INFO Model loading took 60.1 GiB and 312 seconds", LoadPhase::Compiling),
            ("No available shared memory broadcast block found in 60 seconds", LoadPhase::Compiling),
            ("INFO torch.compile took 40 s in total", LoadPhase::Compiling),
            ("INFO GPU KV cache size: 1,000 tokens", LoadPhase::Cache),
            ("Capturing CUDA graphs (mixed prefill-decode): 50%|#####     | 5/10", LoadPhase::Graphs),
            ("INFO Starting vLLM server on http://0.0.0.0:8888", LoadPhase::Warm),
            ("INFO:     Application startup complete.", LoadPhase::Serving),
        ] {
            log += &format!("{line}\n");
            let now = read(&log);
            assert_eq!((now.phase, now.gave_up), (phase, false), "{line}");
            assert!(now.phase >= seen);
            seen = now.phase;
        }
    }

    #[test]
    fn a_bar_tells_shards_only_when_it_can_be_true() {
        for (line, told) in [
            ("x | 4/4 [00:12", Some((4, 4))),
            ("x | 0/9 [00:12", Some((0, 9))),
            ("x | 5/4 [00:12", None),
            ("x | 0/0 [00:12", None),
            ("x 4/4", None),
        ] {
            assert_eq!(shards(line), told, "{line}");
        }
    }

    #[test]
    fn any_text_can_be_read() {
        for text in ["", "\r\r", "checkpoint shards: | 9/0", "| x/y", "Error:", "\u{1F980}Error: x", "a|1/2|"]
        {
            let _ = read(text);
        }
    }
}
