//! One simulated machine: memory, containers, engines, jobs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::broadcast;

use super::launcher::SimulatedLaunch;
use crate::core::model::{
    desired::ServiceKind,
    observed::{FencingToken, JobState},
};

/// What an engine process needs while it serves, unless its arguments say more.
const MEMORY_TOTAL: u64 = 124_546 << 20;
/// What a greedy stranger leaves.
const MEMORY_LEFT: u64 = 2 << 30;
/// The system itself.
const MEMORY_SYSTEM: u64 = 5 << 30;

/// What an engine says that dies without a name for it.
const DIES_OF: &str = "AcceleratorError: CUDA error: an illegal memory access was encountered";
pub const RUNS_OUT: &str = "torch.OutOfMemoryError: CUDA out of memory.";
/// An engine looks itself at what is free before it takes anything (`request_memory` in vLLM's `vllm/v1/worker/utils.py`).
pub const NO_ROOM: &str = "ValueError: Free memory on device cuda:0 on startup is less than desired GPU memory utilization. \
    Decrease GPU memory utilization or reduce GPU memory used by other processes.";

pub struct Machine {
    pub address: String,
    pub boot: u64,
    /// Of the boot that a report is from.
    pub boot_id: Option<String>,
    pub booted_at: Timestamp,
    pub containers: Vec<SimulatedContainer>,
    pub images: BTreeMap<String, String>,
    pub jobs: Vec<SimulatedWork>,
    pub token: Option<FencingToken>,
    /// Memory on its way back: until when, how much.
    pub returning: Vec<(Timestamp, u64)>,
    /// Lines of the fence.
    pub audit: Vec<String>,
    pub disk_full_until: Option<Timestamp>,
    pub silent_until: Option<Timestamp>,
    pub slow_until: Option<Timestamp>,
    pub garbage_until: Option<Timestamp>,
    pub frozen_until: Option<Timestamp>,
    pub top_fails_until: Option<Timestamp>,
    pub engine_hangs_until: Option<Timestamp>,
    pub launcher_lies: bool,
    /// That many engines will die while they load.
    pub load_fails: u32,
    /// They say that they run out of memory.
    pub runs_out: bool,
    pub memory_sticks_until: Option<Timestamp>,
    /// Something that is not ours has nearly all of it.
    pub memory_taken_until: Option<Timestamp>,
    pub next_launch: NextLaunch,
    /// Repositories that are not in the cache; all others are.
    pub lacks: BTreeSet<String>,
    /// That many downloads and copies will fail.
    pub transfers_fail: u32,
    /// Further lines of what it tells of itself: disks, networks.
    pub tells: Vec<String>,
    pub events: broadcast::Sender<String>,
}

/// What becomes of the next message that asks for a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextLaunch {
    Arrives,
    IsRefused,
    IsLost,
}

/// A container.
#[derive(Debug, Clone)]
pub struct SimulatedContainer {
    pub id: String,
    pub name: String,
    pub image: String,
    pub image_id: String,
    pub labels: BTreeMap<String, String>,
    pub running: bool,
    /// Vanishes when it stops.
    pub auto_remove: bool,
    pub started_at: Timestamp,
    pub engine: Option<SimulatedEngine>,
    /// What answers while the container runs, when it is not an engine.
    pub service: Option<SimulatedService>,
    /// It ends a second after each start.
    pub crashes: bool,
    pub log: Vec<String>,
}

/// A service of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulatedService {
    pub kind: ServiceKind,
    pub port: u16,
}

/// An engine process in a container.
#[derive(Debug, Clone)]
pub struct SimulatedEngine {
    pub pid: u32,
    pub words: Vec<String>,
    pub root: String,
    pub served: Vec<String>,
    pub port: u16,
    pub headless: bool,
    pub began: Timestamp,
    pub ready_at: Timestamp,
    pub dies_at: Option<Timestamp>,
    /// What it says then.
    pub dies_of: &'static str,
    pub memory: u64,
    pub tokens: u64,
    pub running: u64,
    logged: usize,
}

/// A launcher job on a machine.
#[derive(Debug, Clone)]
pub struct SimulatedWork {
    pub id: String,
    pub object: String,
    pub spec: String,
    pub token: FencingToken,
    pub started_at: Timestamp,
    pub acts_at: Timestamp,
    pub launch: Option<SimulatedLaunch>,
    /// What was free when it was accepted, by Spark, and not promised to another.
    pub room: BTreeMap<String, u64>,
    /// Files that it brings instead.
    pub transfer: Option<SimulatedTransfer>,
    /// Of a bot.
    pub update: Option<SimulatedUpdate>,
    pub said: String,
    pub state: JobState,
    /// Its record is lost; it goes on.
    pub is_forgotten: bool,
}

/// `at` and `length` after it.
pub fn later(at: Timestamp, length: Duration) -> Timestamp {
    let length = SignedDuration::try_from(length).unwrap_or(SignedDuration::from_hours(1));
    at.checked_add(length).expect("the simulated time stays in range")
}

impl SimulatedContainer {
    /// Log what the engine says by now; a death frees its memory.
    pub fn settle(&mut self, now: Timestamp) -> u64 {
        if self.crashes && later(self.started_at, Duration::from_secs(1)) <= now {
            self.running = false;
        }
        let Some(engine) = &mut self.engine else { return 0 };
        let lines = engine.lines();
        let span = (engine.ready_at.duration_since(engine.began)).as_millis().max(1);
        let passed = now.min(engine.ready_at).duration_since(engine.began).as_millis().max(0);
        let due = usize::try_from(passed * i128::try_from(lines.len()).unwrap_or(1) / span).unwrap_or(0);
        for line in lines.iter().take(due).skip(engine.logged) {
            self.log.push(line.clone());
        }
        engine.logged = engine.logged.max(due);
        if engine.dies_at.is_some_and(|at| at <= now) {
            self.log.push(format!("ERROR {}", engine.dies_of));
            self.log
                .push("ERROR RuntimeError: Engine core initialization failed. See root cause above.".into());
            let memory = engine.memory;
            self.engine = None;
            return memory;
        }
        0
    }
}

impl SimulatedEngine {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            "INFO vLLM server version 0.33.0".to_owned(),
            "INFO Initializing a V1 LLM engine (v0.33.0)".into(),
            format!("INFO Starting to load model {}...", self.root),
        ];
        lines.extend((1..=10).map(|shard| {
            format!("Loading safetensors checkpoint shards: {}% Completed | {shard}/10", shard * 10)
        }));
        lines.push("INFO Model loading took 40.0 GiB memory and 9.0 seconds".into());
        lines.push("INFO Graph capturing finished in 1 secs, took 0.4 GiB".into());
        lines.push(format!("INFO Starting vLLM server on http://0.0.0.0:{}", self.port));
        lines
    }

    /// How many ranks its group has.
    pub fn ranks(&self) -> usize {
        let after = self.words.iter().skip_while(|word| *word != "--nnodes").nth(1);
        after.and_then(|count| count.parse().ok()).unwrap_or(1)
    }

    pub fn is_ready(&self, now: Timestamp) -> bool {
        !self.headless && self.ready_at <= now && self.dies_at.is_none_or(|at| at > now)
    }

    /// Memory held now: it grows while loading.
    pub fn held(&self, now: Timestamp) -> u64 {
        if self.ready_at <= self.began {
            return self.memory;
        }
        let span = self.ready_at.duration_since(self.began).as_millis().max(1);
        let passed = now.min(self.ready_at).duration_since(self.began).as_millis().max(0);
        u64::try_from(i128::from(self.memory) * passed / span).unwrap_or(self.memory)
    }

    pub(super) fn fresh(pid: u32, words: Vec<String>, began: Timestamp, ready_at: Timestamp) -> Self {
        let mut engine = Self {
            pid,
            root: words.get(2).cloned().unwrap_or_default(),
            served: Vec::new(),
            port: 8000,
            headless: words.iter().any(|word| word == "--headless"),
            began,
            ready_at,
            dies_at: None,
            dies_of: DIES_OF,
            memory: 0,
            tokens: 0,
            running: 0,
            logged: 0,
            words,
        };
        let mut share = 0.92;
        let mut rest = engine.words.iter().skip(3).peekable();
        while let Some(word) = rest.next() {
            match word.as_str() {
                "--port" => engine.port = rest.next().and_then(|port| port.parse().ok()).unwrap_or(8000),
                "--gpu-memory-utilization" => {
                    share = rest.next().and_then(|share| share.parse().ok()).unwrap_or(share);
                }
                "--served-model-name" => {
                    while rest.peek().is_some_and(|next| !next.starts_with("--")) {
                        engine.served.extend(rest.next().cloned());
                    }
                }
                _ => {}
            }
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let memory = (share * MEMORY_TOTAL as f64) as u64;
        engine.memory = memory;
        engine
    }
}

impl Machine {
    pub fn silent(&self, now: Timestamp) -> bool {
        self.silent_until.is_some_and(|until| until > now)
    }

    pub fn is_slow(&self, now: Timestamp) -> bool {
        self.slow_until.is_some_and(|until| until > now)
    }

    pub fn is_garbled(&self, now: Timestamp) -> bool {
        self.garbage_until.is_some_and(|until| until > now)
    }

    pub fn is_frozen(&self, now: Timestamp) -> bool {
        self.frozen_until.is_some_and(|until| until > now)
    }

    pub fn engine_hangs(&self, now: Timestamp) -> bool {
        self.engine_hangs_until.is_some_and(|until| until > now)
    }

    pub fn memory_total(&self) -> u64 {
        MEMORY_TOTAL
    }

    pub fn memory_available(&self, now: Timestamp) -> u64 {
        let held: u64 = self.engines().map(|engine| engine.held(now)).sum();
        let returning: u64 = self.returning.iter().map(|(_, bytes)| bytes).sum();
        let left = MEMORY_TOTAL.saturating_sub(MEMORY_SYSTEM + held + returning);
        let taken = self.memory_taken_until.is_some_and(|until| until > now);
        if taken { left.min(MEMORY_LEFT) } else { left }
    }

    pub fn engines(&self) -> impl Iterator<Item = &SimulatedEngine> {
        self.containers
            .iter()
            .filter(|container| container.running)
            .filter_map(|container| container.engine.as_ref())
    }

    /// Where something listens.
    pub fn ports(&self, now: Timestamp) -> impl Iterator<Item = u16> {
        let engines = self.engines().filter(move |engine| engine.is_ready(now)).map(|engine| engine.port);
        let running = self.containers.iter().filter(|container| container.running);
        engines.chain(running.filter_map(|container| container.service.map(|service| service.port)))
    }

    pub fn container(&mut self, id: &str) -> Option<&mut SimulatedContainer> {
        self.containers.iter_mut().find(|container| container.id == id)
    }

    /// Stop a container, and remove it when it is made so or asked.
    pub fn stop(&mut self, id: &str, remove: bool, now: Timestamp, release: Duration) {
        let back_at = self.memory_is_back_at(now, release);
        let Some(container) = self.container(id) else { return };
        container.running = false;
        let freed = container.engine.take().map_or(0, |engine| engine.held(now));
        let gone = remove || container.auto_remove;
        if gone {
            self.containers.retain(|container| container.id != id);
        }
        if freed > 0 {
            self.returning.push((back_at, freed));
        }
        self.tell("die", id);
    }

    /// When what ends now has given its memory back.
    pub fn memory_is_back_at(&self, now: Timestamp, release: Duration) -> Timestamp {
        later(now, release).max(self.memory_sticks_until.unwrap_or(Timestamp::MIN))
    }

    /// Names this boot.
    pub fn boot_id(&self) -> String {
        self.boot_id.clone().unwrap_or_else(|| format!("boot-{}", self.boot))
    }

    pub fn reboot(&mut self, now: Timestamp) {
        self.boot_id = None;
        self.boot += 1;
        self.booted_at = now;
        self.returning.clear();
        self.memory_sticks_until = None;
        self.memory_taken_until = None;
        self.containers.retain(|container| !container.auto_remove);
        for container in &mut self.containers {
            container.running = false;
            container.engine = None;
        }
        for job in &mut self.jobs {
            if job.state == JobState::Running {
                job.state = JobState::Lost;
            }
        }
    }

    pub fn tell(&self, action: &str, id: &str) {
        let _ =
            self.events.send(format!("{{\"Type\":\"container\",\"Action\":\"{action}\",\"id\":\"{id}\"}}\n"));
    }
}

/// What a script brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedTransfer {
    /// The folder of the cache.
    pub(super) folder: String,
    /// Addresses that get a copy; empty for a download.
    pub(super) to: Vec<String>,
}

/// What a script brings to which branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedUpdate {
    pub(super) branch: String,
    pub(super) container: String,
}
