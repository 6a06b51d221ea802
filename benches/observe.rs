//! A look at many Sparks that are 20 ms away each way, by the real probe over simulated machines. What counts is the ratio of
//! 64 to two. `just bench` runs it.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use spark_control::{
    core::model::{desired::ServiceKind, ledger::Ledger},
    host::SharedTransport,
    manifest::load::load,
    probe::{ProbeContext, http::Http, observe, pending_checks::PendingChecks},
    sim::{Sim, SimulatedService, SimulatedTimes, http::InMemory, transport::SimulatedTransport},
};

const RUNS: usize = 15;

/// Median time of a look at that many Sparks, each with two services.
async fn look(sparks: usize) -> Duration {
    let times = SimulatedTimes {
        load: Duration::from_secs(1),
        release: Duration::from_secs(1),
        launcher: Duration::from_secs(1),
        stop: Duration::from_secs(1),
        check: Duration::ZERO,
        latency: Duration::from_millis(20),
        patience: Duration::MAX,
    };
    let sim = Sim::new(times, Timestamp::now);
    let mut text = String::from("version: 1\nname: bench\nsparks:\n");
    let mut services = String::from("services:\n");
    for spark in 0..sparks {
        let address = format!("192.0.2.{}", spark + 1);
        let name = format!("s{spark}");
        sim.add(&name, &address, &[("vllm-node", "sha256:aa")]);
        let _ = writeln!(text, "  {name}: {{ address: {address}, user: alice }}");
        for (kind, word, port) in [(ServiceKind::Qdrant, "qdrant", 6333), (ServiceKind::Tts, "tts", 8880)] {
            sim.add_service(&name, word, SimulatedService { kind, port });
            let _ = writeln!(
                services,
                "  {word}-{spark}: {{ kind: {word}, spark: {name}, port: {port}, container: {word} }}"
            );
        }
    }
    let desired = load(&(text + &services)).unwrap_or_else(|problems| panic!("{problems:?}")).desired;
    let transports: BTreeMap<_, SharedTransport> = desired
        .sparks
        .keys()
        .map(|name| {
            let way = SimulatedTransport { sim: sim.clone(), spark: name.to_string() };
            (name.clone(), Arc::new(way) as SharedTransport)
        })
        .collect();
    let http: Arc<dyn Http> = Arc::new(InMemory { sim });
    let ledger = Ledger::default();
    let mut took = Vec::new();
    for _ in 0..RUNS {
        // Nothing is known from before.
        let proofs = PendingChecks::default();
        let sessions = std::collections::BTreeMap::new();
        let eyes =
            ProbeContext { transports: &transports, sessions: &sessions, http: &http, proofs: &proofs };
        let began = Instant::now();
        let observed = observe(&desired, &ledger, eyes, None, Timestamp::now).await;
        took.push(began.elapsed());
        assert!(observed.sparks.values().all(|view| view.facts().is_some()));
        assert_eq!(observed.endpoints.len(), 2 * sparks);
    }
    took.sort();
    took[RUNS / 2]
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let (two, many) = runtime.block_on(async { (look(2).await, look(64).await) });
    println!(
        "a look at Sparks 20 ms away: two {two:.1?}, sixty-four {many:.1?}, ratio {:.2} (asked: at most 2)",
        many.as_secs_f64() / two.as_secs_f64()
    );
}
