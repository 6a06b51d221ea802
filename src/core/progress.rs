//! How far a load is, and why it failed, out of what the engine says. Pure text reading; vLLM 0.6 to 0.33 and its
//! descendants.
//!
//! The engine's process logs a wrapper error last, long after the cause, and draws bars with carriage returns.

use serde::{Deserialize, Serialize};

/// In the order of a load.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
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

impl Phase {
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
pub struct Progress {
    pub phase: Phase,
    /// Of the weights: loaded, in all.
    pub shards: Option<(u32, u32)>,
    /// The engine gave up, and why, past its wrapper error.
    pub fatal: Option<String>,
}

/// Words that mark a phase, from the engine's source.
const MARKERS: [(&str, Phase); 16] = [
    ("Initializing a V1 LLM engine", Phase::Engine),
    ("Initializing an LLM engine", Phase::Engine),
    ("world_size=", Phase::Engine),
    ("Starting to load model", Phase::Weights),
    ("Loading model from scratch", Phase::Weights),
    ("checkpoint shards:", Phase::Weights),
    ("Model loading took", Phase::Compiling),
    ("torch.compile took", Phase::Compiling),
    ("Compiling a graph", Phase::Compiling),
    ("Available KV cache memory", Phase::Cache),
    ("GPU KV cache size", Phase::Cache),
    ("Capturing CUDA graph", Phase::Graphs),
    ("Graph capturing finished", Phase::Warm),
    ("init engine (profile, create kv cache, warmup model) took", Phase::Warm),
    ("Starting vLLM", Phase::Warm),
    ("Application startup complete", Phase::Serving),
];

/// After one of these nothing comes any more, though the container stays.
const FATAL: [&str; 6] = [
    "EngineCore failed to start",
    "Engine core initialization failed",
    "WorkerProc initialization failed",
    "EngineCore encountered a fatal error",
    "EngineDeadError",
    "died unexpectedly",
];

/// Wrappers say that there was an error, not which.
const WRAPPERS: [&str; 5] = [
    "See root cause above",
    "Engine core initialization failed",
    "WorkerProc initialization failed",
    "EngineDeadError",
    "due to an exception in a background process",
];

/// A sentence, not a screen.
const MAX_CAUSE: usize = 300;

pub const NO_CAUSE: &str = "the engine gave up without a cause";

/// Read a log, whole or its end.
pub fn read(log: &str) -> Progress {
    let mut progress = Progress { phase: Phase::Starting, shards: None, fatal: None };
    let mut gave_up = false;
    for line in lines(log) {
        for (marker, phase) in MARKERS {
            if line.contains(marker) {
                progress.phase = progress.phase.max(phase);
            }
        }
        if line.contains("checkpoint shards:") {
            progress.shards = shards(line).or(progress.shards);
        }
        gave_up |= FATAL.iter().any(|marker| line.contains(marker));
    }
    if gave_up {
        progress.fatal = Some(cause(log).unwrap_or_else(|| NO_CAUSE.into()));
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

/// What the engine says of arguments, of files that are not there, and of too little memory: trying again would be no better.
const NAMED: [&str; 22] = [
    "unrecognized arguments",
    "error: argument ",
    "invalid choice",
    "ValidationError",
    "Unknown quantization method",
    "does not recognize this architecture",
    "are not supported for now",
    "is not a valid model identifier",
    "FileNotFoundError",
    "No such file or directory",
    "RepositoryNotFoundError",
    "Repository Not Found",
    "GatedRepoError",
    "LocalEntryNotFoundError",
    "OfflineModeIsEnabled",
    "does not appear to have a file named",
    "Invalid repository ID",
    "Free memory on device",
    "OutOfMemoryError",
    "CUDA out of memory",
    "No available memory for the cache blocks",
    "larger than the available KV cache memory",
];

/// The engine itself names what is wrong.
pub fn is_named(what: &str) -> bool {
    NAMED.iter().any(|words| what.contains(words))
}

/// What ranks say when another one is gone: not the cause of anything.
const AFTERMATH: [&str; 7] =
    ["NCCL", "Gloo", "gloo", "TCPStore", "Connection reset", "Broken pipe", "DistNetworkError"];

/// This cause may be what another rank's failure looks like from here.
pub fn is_aftermath(cause: &str) -> bool {
    AFTERMATH.iter().any(|words| cause.contains(words))
}

/// The last error before the first wrapper, without the words that loggers put before it: what is logged after a wrapper is
/// what the others say of its end.
pub fn cause(log: &str) -> Option<String> {
    let is_error = |line: &&str| {
        let named = line.split_whitespace().any(|word| {
            let name = word.strip_suffix(':').unwrap_or_default();
            (name.ends_with("Error") || name.ends_with("Exception")) && name.len() > "Error".len()
        });
        // What argument parsers say.
        let named = named || line.contains(": error: ");
        named && !WRAPPERS.iter().any(|wrapper| line.contains(wrapper))
    };
    let is_wrapper = |line: &&str| WRAPPERS.iter().any(|wrapper| line.contains(wrapper));
    let before = lines(log).take_while(|line| !is_wrapper(line)).filter(is_error).last();
    let line = before.or_else(|| lines(log).filter(is_error).last())?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let begins = words.iter().position(|word| {
        let name = word.strip_suffix(':').unwrap_or_default();
        name.ends_with("Error") || name.ends_with("Exception") || *word == "error:"
    })?;
    let text: String = words[begins..].join(" ");
    let text = text.trim_end_matches('.');
    Some(text.chars().filter(|letter| !letter.is_control()).take(MAX_CAUSE).collect())
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.phase.name())?;
        match self.shards {
            Some((done, all)) if self.phase == Phase::Weights => {
                write!(f, ", {} % ({done} of {all} shards)", done * 100 / all)
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
        assert_eq!((progress.phase, progress.shards), (Phase::Weights, Some((3, 25))));
        assert_eq!(progress.to_string(), "loading the weights, 12 % (3 of 25 shards)");
    }

    #[test]
    fn phases_come_in_their_order_whatever_is_logged_between() {
        let mut seen = Phase::Starting;
        let mut log = String::new();
        for (line, phase) in [
            ("INFO 11-25 [core.py:64] Initializing a V1 LLM engine (v0.33.0) with config", Phase::Engine),
            ("INFO Starting to load model x", Phase::Weights),
            ("INFO Model loading took 60.1 GiB and 312 seconds", Phase::Compiling),
            ("No available shared memory broadcast block found in 60 seconds", Phase::Compiling),
            ("INFO torch.compile took 40 s in total", Phase::Compiling),
            ("INFO GPU KV cache size: 1,000 tokens", Phase::Cache),
            ("Capturing CUDA graphs (mixed prefill-decode): 50%|#####     | 5/10", Phase::Graphs),
            ("INFO Starting vLLM server on http://0.0.0.0:8888", Phase::Warm),
            ("INFO:     Application startup complete.", Phase::Serving),
        ] {
            log += &format!("{line}\n");
            let now = read(&log);
            assert_eq!((now.phase, now.fatal), (phase, None), "{line}");
            assert!(now.phase >= seen);
            seen = now.phase;
        }
    }

    /// If this failed, a person would read "see root cause above" with nothing above.
    #[test]
    fn the_cause_is_found_past_the_wrapper() {
        let log = "(EngineCore pid=9) ERROR 11-25 07:00:00 [core.py:700] ValueError: Free memory on device cuda:0 (36.75/121.63 \
                   GiB) on startup is less than desired GPU memory utilization (0.85, 103.38 GiB).\n\
                   (EngineCore pid=9) Traceback (most recent call last):\n\
                   (APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core \
                   proc(s): {}\n";
        let fatal = read(log).fatal.unwrap();
        assert!(fatal.starts_with("ValueError: Free memory on device cuda:0 (36.75/121.63 GiB)"), "{fatal}");
        assert!(fatal.ends_with("(0.85, 103.38 GiB)"), "{fatal}");
        let echo = "ERROR ValueError: bad config\nRuntimeError: Engine core initialization failed. See root cause above.\n\
                    ERROR torch.distributed.DistNetworkError: Connection reset by peer\n";
        assert_eq!(read(echo).fatal.unwrap(), "ValueError: bad config");
        let parser =
            "usage: vllm serve [model_tag] [options]\nvllm serve: error: unrecognized arguments: --nope\n";
        assert_eq!(cause(parser).unwrap(), "error: unrecognized arguments: --nope");
        assert!(is_named(&cause(parser).unwrap()));
        let silent = "RuntimeError: Engine core initialization failed. See root cause above.\n";
        assert_eq!(read(silent).fatal.unwrap(), "the engine gave up without a cause");
        // An error that was lived through is no failure.
        assert_eq!(read("WARNING ImportError: no flash attention, falling back\n").fatal, None);
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
    fn an_error_has_a_name_of_its_own() {
        for (line, told) in [
            ("INFO ValueError: x", Some("ValueError: x")),
            ("ERROR some.module.OddException: y.", Some("some.module.OddException: y")),
            ("Error: z", None),
            ("WARNING Something: went on", None),
            ("a ValueError without a colon", None),
        ] {
            assert_eq!(cause(line).as_deref(), told, "{line}");
        }
    }

    #[test]
    fn any_text_can_be_read() {
        for text in ["", "\r\r", "checkpoint shards: | 9/0", "| x/y", "Error:", "\u{1F980}Error: x", "a|1/2|"]
        {
            let _ = (read(text), cause(text));
        }
    }
}
