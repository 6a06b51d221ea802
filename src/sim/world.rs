//! The simulated cluster: its machines, its time, and what may go wrong.
//!
//! Everything happens as a function of time: `settle(now)` brings the world to `now`, and nothing else moves it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, broadcast};

use super::{
    launcher::SimulatedLaunch,
    machine::{
        Machine, NO_ROOM, NextLaunch, RUNS_OUT, SimulatedContainer, SimulatedEngine, SimulatedService, later,
    },
    transfer, update,
};
use crate::core::model::{observed::JobState, spec_hash::hex};

/// A handle to the world; clones share it.
#[derive(Clone)]
pub struct Sim {
    /// Signals that `crash_at` was reached.
    pub crashed: Arc<Notify>,
    inner: Arc<Mutex<World>>,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub struct SimulatedTimes {
    /// From `vllm serve` to its first answer.
    pub load: Duration,
    /// From a stop to the memory being back.
    pub release: Duration,
    /// From the launcher's start to its containers.
    pub launcher: Duration,
    /// `docker stop` of a process that ignores SIGTERM.
    pub stop: Duration,
    /// Until an engine answers what it takes.
    pub check: Duration,
    /// Of the network, each way.
    pub latency: Duration,
    /// The longest that a caller waits for a machine that is silent or slow.
    pub patience: Duration,
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The machine answers nothing.
    Silent,
    /// Every answer takes eight seconds.
    Slow,
    /// Every answer is cut in the middle, or is of something else.
    Garbage,
    /// Engines answer for themselves, and no token moves.
    TokensFreeze,
    /// What runs in containers cannot be read; the rest can.
    TopFails,
    /// The Engine answers nothing; the rest does.
    EngineHangs,
    /// Engines on it die, their containers stay.
    EngineDies,
    /// Containers vanish, as by `docker stop` behind the program's back.
    ContainersVanish,
    /// The machine restarts: containers of launchers, jobs and memory are gone.
    Reboot,
    /// The next launcher says that all is well and starts nothing.
    LauncherLies,
    /// The next engine dies while it loads.
    LoadFails,
    /// The same, and it says that there is too little memory.
    RunsOut,
    /// Memory of what is stopped in that time comes back at its end.
    MemorySticks,
    /// Something else takes all the memory but a little.
    MemoryShrinks,
    /// Nothing can be written there.
    DiskFull,
    /// It loses what it knew of who acts and of jobs; these go on.
    Forgets,
    /// The next download or copy fails.
    TransferFails,
    /// The next launch is refused: Docker does not answer.
    RefusesLaunch,
    /// The next launch never arrives.
    LosesLaunch,
}

impl Fault {
    pub const ALL: [(&'static str, Self); 19] = [
        ("silent", Self::Silent),
        ("slow", Self::Slow),
        ("garbage", Self::Garbage),
        ("tokens-freeze", Self::TokensFreeze),
        ("top-fails", Self::TopFails),
        ("engine-hangs", Self::EngineHangs),
        ("engine-dies", Self::EngineDies),
        ("containers-vanish", Self::ContainersVanish),
        ("reboot", Self::Reboot),
        ("launcher-lies", Self::LauncherLies),
        ("load-fails", Self::LoadFails),
        ("runs-out", Self::RunsOut),
        ("memory-sticks", Self::MemorySticks),
        ("memory-shrinks", Self::MemoryShrinks),
        ("disk-full", Self::DiskFull),
        ("forgets", Self::Forgets),
        ("transfer-fails", Self::TransferFails),
        ("refuses-launch", Self::RefusesLaunch),
        ("loses-launch", Self::LosesLaunch),
    ];

    /// What goes wrong, for who plays with it.
    pub fn says(self) -> &'static str {
        match self {
            Self::Silent => "The machine answers nothing.",
            Self::Slow => "Every answer takes eight seconds.",
            Self::Garbage => "Every answer is cut in the middle, or is of something else.",
            Self::TokensFreeze => "Engines answer for themselves, and no token moves.",
            Self::TopFails => "What runs in containers cannot be read; the rest can.",
            Self::EngineHangs => "The Engine answers nothing; the rest does.",
            Self::EngineDies => "Engines on it die, their containers stay.",
            Self::ContainersVanish => "Containers vanish, as by `docker stop` behind the program's back.",
            Self::Reboot => "The machine restarts: containers of launchers, jobs and memory are gone.",
            Self::LauncherLies => "The next launcher says that all is well and starts nothing.",
            Self::LoadFails => "The next engine dies while it loads.",
            Self::RunsOut => "The next engine dies while it loads, and says that there is too little memory.",
            Self::MemorySticks => "Memory of what is stopped in that time comes back at its end.",
            Self::MemoryShrinks => "Something else takes all the memory but a little.",
            Self::DiskFull => "Nothing can be written there.",
            Self::Forgets => "It loses what it knew of who acts and of jobs; these go on.",
            Self::TransferFails => "The next download or copy fails.",
            Self::RefusesLaunch => "The next launch is refused: Docker does not answer.",
            Self::LosesLaunch => "The next launch never arrives.",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, fault)| *fault)
    }
}

pub struct World {
    pub sparks: BTreeMap<String, Machine>,
    pub times: SimulatedTimes,
    next_id: u64,
    /// Every engine process that began, for tests.
    pub starts: Vec<EngineStart>,
    /// How many acts came through the fence, of whatever outcome.
    pub acts: u64,
    /// After that many acts the caller hears nothing any more: it was killed.
    pub crash_at: Option<u64>,
}

/// One engine process that began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineStart {
    pub spark: String,
    pub root: String,
    pub at: Timestamp,
    /// Engines that were alive in the same container at that moment.
    pub beside: usize,
    /// What it takes.
    pub memory: u64,
    /// What was free on this Spark when its launch was accepted, and not to be taken by what loads or is launched already.
    pub available: u64,
}

impl Sim {
    pub fn new(times: SimulatedTimes, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let world =
            World { sparks: BTreeMap::new(), times, next_id: 1, starts: Vec::new(), acts: 0, crash_at: None };
        Self { crashed: Arc::default(), inner: Arc::new(Mutex::new(world)), now: Arc::new(now) }
    }

    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// The world as it is now.
    pub fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.inner.lock().expect("a panic in the simulated world ends the test");
        world.settle((self.now)());
        world
    }

    /// Add a machine with these images.
    pub fn add(&self, name: &str, address: &str, images: &[(&str, &str)]) {
        let now = self.now();
        let machine = Machine {
            address: address.to_owned(),
            boot: 1,
            boot_id: None,
            booted_at: now,
            containers: Vec::new(),
            images: images.iter().map(|(name, id)| ((*name).to_owned(), (*id).to_owned())).collect(),
            jobs: Vec::new(),
            token: None,
            returning: Vec::new(),
            silent_until: None,
            slow_until: None,
            garbage_until: None,
            frozen_until: None,
            top_fails_until: None,
            engine_hangs_until: None,
            launcher_lies: false,
            load_fails: 0,
            runs_out: false,
            memory_sticks_until: None,
            memory_taken_until: None,
            disk_full_until: None,
            audit: Vec::new(),
            next_launch: NextLaunch::Arrives,
            lacks: BTreeSet::new(),
            transfers_fail: 0,
            tells: Vec::new(),
            events: broadcast::channel(64).0,
        };
        self.world().sparks.insert(name.to_owned(), machine);
    }

    /// Add a running service to a machine.
    pub fn add_service(&self, spark: &str, container: &str, service: SimulatedService) {
        let now = self.now();
        let mut world = self.world();
        let id = world.id();
        let Some(machine) = world.sparks.get_mut(spark) else { return };
        machine.containers.push(SimulatedContainer {
            id,
            name: container.to_owned(),
            image: container.to_owned(),
            image_id: format!("sha256:{container}"),
            labels: BTreeMap::new(),
            running: true,
            auto_remove: false,
            started_at: now,
            engine: None,
            service: Some(service),
            crashes: false,
            log: Vec::new(),
        });
    }

    /// A person starts an engine, as this program never saw: a container without labels, serving at once.
    pub fn start_by_hand(&self, spark: &str, container: &str, image: &str, command: &[&str]) {
        let now = self.now();
        let mut world = self.world();
        let launch = SimulatedLaunch {
            name: container.to_owned(),
            image: image.to_owned(),
            nodes: Vec::new(),
            labels: BTreeMap::new(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
        };
        let room = world.room(now);
        start(&mut world, spark, &launch, &room, now);
        let Some(machine) = world.sparks.get_mut(spark) else { return };
        let engines = machine.containers.iter_mut().filter(|known| known.name == container);
        for engine in engines.filter_map(|container| container.engine.as_mut()) {
            engine.ready_at = now;
        }
    }

    /// Every address and port where something listens now.
    pub fn listening(&self) -> Vec<(String, u16)> {
        let now = self.now();
        let world = self.world();
        let mut listening = Vec::new();
        for machine in world.sparks.values() {
            for container in machine.containers.iter().filter(|container| container.running) {
                let engine =
                    container.engine.as_ref().filter(|engine| engine.is_ready(now)).map(|engine| engine.port);
                let port = engine.or(container.service.map(|service| service.port));
                listening.extend(port.map(|port| (machine.address.clone(), port)));
            }
        }
        listening
    }

    /// Let something go wrong on a machine; for `length` where it lasts.
    pub fn fault(&self, spark: &str, fault: Fault, length: Duration) -> Result<(), String> {
        let now = self.now();
        let until = later(now, length);
        let mut world = self.world();
        let release = world.times.release;
        let Some(machine) = world.sparks.get_mut(spark) else {
            return Err(format!("no simulated Spark is named `{spark}`"));
        };
        match fault {
            Fault::Silent => machine.silent_until = Some(until),
            Fault::TopFails => machine.top_fails_until = Some(until),
            Fault::Slow => machine.slow_until = Some(until),
            Fault::Garbage => machine.garbage_until = Some(until),
            Fault::TokensFreeze => machine.frozen_until = Some(until),
            Fault::EngineHangs => machine.engine_hangs_until = Some(until),
            Fault::EngineDies => {
                for container in &mut machine.containers {
                    if let Some(engine) = &mut container.engine {
                        engine.dies_at = Some(now);
                    }
                }
            }
            Fault::ContainersVanish => {
                let ids: Vec<String> =
                    machine.containers.iter().map(|container| container.id.clone()).collect();
                for id in ids {
                    machine.stop(&id, true, now, release);
                }
            }
            Fault::Reboot => machine.reboot(now),
            Fault::LauncherLies => machine.launcher_lies = true,
            Fault::LoadFails => machine.load_fails += 1,
            Fault::RunsOut => {
                machine.load_fails += 1;
                machine.runs_out = true;
            }
            Fault::MemorySticks => machine.memory_sticks_until = Some(until),
            Fault::MemoryShrinks => machine.memory_taken_until = Some(until),
            Fault::TransferFails => machine.transfers_fail += 1,
            Fault::DiskFull => machine.disk_full_until = Some(until),
            Fault::Forgets => {
                machine.token = None;
                machine.audit.clear();
                machine.jobs.iter_mut().for_each(|job| job.is_forgotten = true);
            }
            Fault::RefusesLaunch => machine.next_launch = NextLaunch::IsRefused,
            Fault::LosesLaunch => machine.next_launch = NextLaunch::IsLost,
        }
        world.settle(now);
        Ok(())
    }
}

impl World {
    pub fn id(&mut self) -> String {
        let id = hex(&Sha256::digest(self.next_id.to_be_bytes()));
        self.next_id += 1;
        id
    }

    /// What is free on each machine and promised to nobody: not to an engine that loads, and not to a launch that was accepted.
    pub fn room(&self, now: Timestamp) -> BTreeMap<String, u64> {
        let mut room: BTreeMap<String, u64> = self
            .sparks
            .iter()
            .map(|(name, machine)| {
                let loading: u64 = machine.engines().map(|engine| engine.memory - engine.held(now)).sum();
                (name.clone(), machine.memory_available(now).saturating_sub(loading))
            })
            .collect();
        for (head, machine) in &self.sparks {
            let launches = machine.jobs.iter().filter(|job| job.state == JobState::Running);
            for launch in launches.filter_map(|job| job.launch.as_ref()) {
                let memory = SimulatedEngine::fresh(0, launch.command.clone(), now, now).memory;
                for member in members(self, head, launch) {
                    room.entry(member).and_modify(|room| *room = room.saturating_sub(memory));
                }
            }
        }
        room
    }

    /// Bring everything to `now`: launchers act, engines load and die, memory comes back.
    pub fn settle(&mut self, now: Timestamp) {
        let names: Vec<String> = self.sparks.keys().cloned().collect();
        for name in &names {
            let machine = self.sparks.get_mut(name).expect("a name of the map");
            machine.returning.retain(|(until, _)| *until > now);
            let due: Vec<usize> = (0..machine.jobs.len())
                .filter(|index| {
                    let job = &machine.jobs[*index];
                    job.state == JobState::Running && job.acts_at <= now
                })
                .collect();
            for index in due {
                let transfer = self.sparks[name].jobs[index].transfer.clone();
                if let Some(transfer) = transfer {
                    let (state, said) = transfer::end(&mut self.sparks, name, &transfer);
                    let machine = self.sparks.get_mut(name).expect("a name of the map");
                    (machine.jobs[index].state, machine.jobs[index].said) = (state, said);
                    continue;
                }
                if let Some(update) = self.sparks[name].jobs[index].update.clone() {
                    let machine = self.sparks.get_mut(name).expect("a name of the map");
                    let (state, said) = update::end(machine, &update, now);
                    (machine.jobs[index].state, machine.jobs[index].said) = (state, said);
                    continue;
                }
                let (launch, lies, room) = {
                    let machine = self.sparks.get_mut(name).expect("a name of the map");
                    let job = &mut machine.jobs[index];
                    job.state = JobState::Exited(0);
                    let room = std::mem::take(&mut job.room);
                    (job.launch.take(), std::mem::take(&mut machine.launcher_lies), room)
                };
                if let (Some(launch), false) = (launch, lies) {
                    start(self, name, &launch, &room, now);
                }
            }
        }
        for machine in self.sparks.values_mut() {
            let mut freed = 0;
            for container in &mut machine.containers {
                freed += container.settle(now);
            }
            if freed > 0 {
                let back_at = machine.memory_is_back_at(now, self.times.release);
                machine.returning.push((back_at, freed));
            }
        }
    }
}

/// Start containers and engines, as the launcher does: a name that is taken is executed into.
fn start(
    world: &mut World,
    head: &str,
    launch: &SimulatedLaunch,
    room: &BTreeMap<String, u64>,
    now: Timestamp,
) {
    let members = members(world, head, launch);
    let ready_at = later(now, world.times.load);
    for (rank, member) in members.iter().enumerate() {
        let mut command = launch.command.clone();
        if members.len() > 1 {
            let rank = rank.to_string();
            command.extend([
                "--nnodes".into(),
                members.len().to_string(),
                "--node-rank".into(),
                rank.clone(),
            ]);
            if rank != "0" {
                command.push("--headless".into());
            }
        }
        let id = world.id();
        let pid = 1000 + u32::try_from(world.starts.len()).unwrap_or(0);
        let machine = world.sparks.get_mut(member).expect("members are machines");
        if machine.silent(now) {
            continue;
        }
        let Some(image_id) = machine.images.get(&launch.image).cloned() else { continue };
        let same =
            machine.containers.iter().filter(|container| container.running && container.name == launch.name);
        let beside = same.filter(|container| container.engine.is_some()).count();
        let has_room = machine.memory_available(now);
        let fails = machine.load_fails > 0;
        machine.load_fails = machine.load_fails.saturating_sub(1);
        if !machine.containers.iter().any(|container| container.name == launch.name && container.running) {
            machine.containers.retain(|container| container.name != launch.name);
            machine.containers.push(SimulatedContainer {
                id: id.clone(),
                name: launch.name.clone(),
                image: launch.image.clone(),
                image_id,
                labels: launch.labels.clone(),
                running: true,
                auto_remove: true,
                started_at: now,
                engine: None,
                service: None,
                crashes: false,
                log: Vec::new(),
            });
        }
        let container =
            machine.containers.iter_mut().find(|container| container.name == launch.name).expect("just made");
        let mut engine = SimulatedEngine::fresh(pid, command, now, ready_at);
        if fails {
            engine.dies_at = Some(now.min(ready_at));
            if std::mem::take(&mut machine.runs_out) {
                engine.dies_of = RUNS_OUT;
            }
        }
        let (root, memory) = (engine.root.clone(), engine.memory);
        if has_room < memory {
            (engine.memory, engine.dies_at, engine.dies_of) = (0, Some(now.min(ready_at)), NO_ROOM);
        }
        let available = room.get(member).copied().unwrap_or(u64::MAX);
        container.engine = Some(engine);
        machine.tell("start", &id);
        world.starts.push(EngineStart { spark: member.clone(), root, at: now, beside, memory, available });
    }
}

/// The machines of a launch, its head first.
fn members(world: &World, head: &str, launch: &SimulatedLaunch) -> Vec<String> {
    if launch.nodes.is_empty() {
        return vec![head.to_owned()];
    }
    let members = launch.nodes.iter().filter_map(|address| {
        let (name, _) = world.sparks.iter().find(|(_, machine)| machine.address == *address)?;
        Some(name.clone())
    });
    members.collect()
}
