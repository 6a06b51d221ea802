//! A simulated cluster with a real controller on it, under a paused clock.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use spark_control::{
    controller::{Controller, ControllerPaths, OutsideWorld, round::RoundMode},
    core::model::plan::Plan,
    probe::http::Http,
    sim::{Sim, SimulatedTimes, http::InMemory, transport::SimulatedTransport},
};
use tempfile::TempDir;

pub const SPARKS: &str = "version: 1
name: test
sparks:
  spark1: { address: 192.0.2.1, user: alice, fabric: { ip: 192.0.2.1, eth_if: eth0 } }
  spark2: { address: 192.0.2.2, user: alice, fabric: { ip: 192.0.2.2, eth_if: eth0 } }
";

pub const MODELS: &str = "models:
  alpha: { repo: lab/alpha, sparks: [spark1], args: { gpu-memory-utilization: 0.7 } }
  beta:  { repo: lab/beta, sparks: [spark2], args: { gpu-memory-utilization: 0.7 } }
  wide:  { repo: lab/wide, sparks: [spark1, spark2], args: { gpu-memory-utilization: 0.8, tensor-parallel-size: 2 } }
";

/// How long things take on simulated Sparks.
pub const TIMES: SimulatedTimes = SimulatedTimes {
    load: Duration::from_secs(120),
    release: Duration::from_secs(15),
    launcher: Duration::from_secs(2),
    stop: Duration::from_secs(10),
    check: Duration::ZERO,
    latency: Duration::ZERO,
    patience: Duration::MAX,
};

/// Run with tokio's clock paused: time passes when everybody waits.
pub fn paused<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test)
}

pub struct Cluster {
    pub sim: Sim,
    directory: TempDir,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Controllers that were started.
    starts: AtomicU32,
    /// Seconds.
    skipped: Arc<AtomicU64>,
    /// Seconds by which the controllers' clock is wrong.
    wrong: Arc<AtomicI64>,
    /// How endpoints and hooks are reached.
    pub http: Arc<dyn Http>,
}

/// The time of tokio's clock, which tests pause, and what was skipped.
fn clock(epoch: Timestamp, skipped: Arc<AtomicU64>) -> impl Fn() -> Timestamp + Send + Sync + 'static {
    let began = tokio::time::Instant::now();
    move || {
        let skipped = Duration::from_secs(skipped.load(Ordering::SeqCst));
        spark_control::sim::machine::later(epoch, began.elapsed() + skipped)
    }
}

impl Cluster {
    /// Two Sparks, up and empty.
    pub fn new() -> Self {
        let cluster = Self::at("2026-11-24T12:00:00Z".parse().expect("a time"));
        for (name, address) in [("spark1", "192.0.2.1"), ("spark2", "192.0.2.2")] {
            cluster.sim.add(name, address, &[("vllm-node", "sha256:aa")]);
        }
        cluster
    }

    /// No Spark yet, at that time.
    pub fn at(epoch: Timestamp) -> Self {
        let skipped = Arc::new(AtomicU64::new(0));
        let now = Arc::new(clock(epoch, skipped.clone()));
        let for_sim = now.clone();
        let sim = Sim::new(TIMES, move || for_sim());
        let fast = PathBuf::from("/dev/shm");
        let directory =
            if fast.is_dir() { TempDir::new_in(fast) } else { TempDir::new() }.expect("a directory");
        let http = Arc::new(InMemory { sim: sim.clone() });
        Self { sim, http, directory, now, skipped, wrong: Arc::default(), starts: AtomicU32::new(1) }
    }

    /// Where tokio's clock is not paused: that much later, at once.
    pub fn skip(&self, length: Duration) {
        self.skipped.fetch_add(length.as_secs(), Ordering::SeqCst);
    }

    /// The controllers' clock is set, and not that of the Sparks.
    pub fn jump(&self, secs: i64) {
        self.wrong.fetch_add(secs, Ordering::SeqCst);
    }

    pub fn folder(&self) -> &std::path::Path {
        self.directory.path()
    }

    pub fn edit(&self, text: &str) {
        std::fs::write(self.directory.path().join("cluster.yaml"), text).expect("the file is written");
    }

    pub fn wish(&self, model: &str) {
        self.edit(&format!("{SPARKS}model: {model}\n{MODELS}"));
    }

    /// What one controller remembers, for another.
    pub fn copy_store(&self, from: &str, to: &str) {
        let (from, to) = (self.directory.path().join(from), self.directory.path().join(to));
        std::fs::create_dir_all(&to).expect("the data directory");
        for entry in std::fs::read_dir(from).expect("the store").flatten() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }

    /// A controller on this cluster; one of the same name has the same memory.
    pub fn controller(&self, name: &str) -> Controller {
        let data = self.directory.path().join(name);
        std::fs::create_dir_all(&data).expect("the data directory");
        let sim = self.sim.clone();
        let (now, wrong) = (self.now.clone(), self.wrong.clone());
        let world = OutsideWorld {
            connect: Box::new(move |spark, _| {
                Arc::new(SimulatedTransport { sim: sim.clone(), spark: spark.to_string() })
            }),
            http: self.http.clone(),
            now: Box::new(move || {
                let wrong = SignedDuration::from_secs(wrong.load(Ordering::SeqCst));
                now().checked_add(wrong).expect("a time in range")
            }),
            name: name.to_owned(),
            start: self.starts.fetch_add(1, Ordering::SeqCst).to_string(),
            // The file's times are those of the machine, not of the test.
            quiet: Duration::ZERO,
        };
        let file = self.directory.path().join("cluster.yaml");
        let places = ControllerPaths { file, is_file_told: true, data, allowed_secrets: Vec::new() };
        Controller::new(places, world).expect("a controller")
    }

    /// Rounds until there is nothing to do, or `limit` of simulated time is over.
    pub async fn settle(&self, controller: &Controller, limit: Duration) -> Plan {
        self.settle_every(Duration::from_secs(3), controller, limit).await
    }

    /// The same with so long a pause between rounds.
    pub async fn settle_every(&self, pause: Duration, controller: &Controller, limit: Duration) -> Plan {
        let began = tokio::time::Instant::now();
        loop {
            controller.round(RoundMode::Act).await.expect("a round");
            let snapshot = controller.snapshot();
            let plan = snapshot.plan.clone().expect("a plan");
            if plan.is_empty() || began.elapsed() > limit {
                return plan;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// The models that run and have loaded, by Spark.
    pub fn serving(&self) -> Vec<(String, String)> {
        let now = self.sim.now();
        let world = self.sim.world();
        world
            .sparks
            .iter()
            .flat_map(|(name, machine)| {
                let loaded = machine.engines().filter(|engine| engine.ready_at <= now);
                loaded.map(|engine| (name.clone(), engine.root.clone()))
            })
            .collect()
    }
}
