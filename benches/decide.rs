//! How the decisions grow: one round of the planner, the differences and the status, for 100, 300 and 1,000 Sparks with ten
//! services each. `just bench` runs it; `docs/performance.md` has what came out.

use std::{collections::BTreeMap, fmt::Write, hint::black_box};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use spark_control::{
    core::{
        decide::{drift, planner, view::View},
        model::{
            desired::Desired,
            ledger::Ledger,
            name::SparkName,
            observed::{Container, Observed, Process, SparkFacts, SparkView},
        },
        tell::status,
    },
    manifest::load::load,
};

const SERVICES: usize = 10;

fn desired(sparks: usize) -> Desired {
    let mut text = String::from("version: 1\nname: bench\nsparks:\n");
    for spark in 0..sparks {
        let (high, low) = (spark / 250, spark % 250 + 1);
        let _ = writeln!(text, "  s{spark}: {{ address: 198.51.{high}.{low}, user: alice }}");
    }
    text += "model: m\nmodels:\n  m: { repo: lab/m, sparks: [s0] }\nservices:\n";
    for spark in 0..sparks {
        for service in 0..SERVICES {
            let port = 9000 + service;
            let _ = writeln!(
                text,
                "  x{spark}-{service}: {{ kind: http, spark: s{spark}, port: {port}, container: c{service}, state: running }}"
            );
        }
    }
    load(&text).unwrap_or_else(|problems| panic!("{problems:?}")).desired
}

/// Every tenth service has stopped, so that there is something to plan everywhere.
fn observed(desired: &Desired, now: Timestamp) -> Observed {
    let view = |name: &SparkName| {
        let containers = (0..SERVICES).map(|service| Container {
            id: format!("{name}-{service}").into(),
            name: format!("c{service}").into(),
            image: "x".into(),
            image_id: "sha256:x".into(),
            running: service != 3,
            restarting: false,
            exit_code: None,
            started_at: Some(now),
            restarts: None,
            restart_count: 0,
            published: Default::default(),
            label_names: Default::default(),
            labels: None,
            processes: Some(vec![Process { pid: 1, resident_bytes: 0, command: "x".into() }]),
        });
        let facts = SparkFacts {
            at: now,
            boot_id: "b".into(),
            uptime_secs: 1,
            memory_total_bytes: 120 << 30,
            memory_available_bytes: 100 << 30,
            containers: containers.collect(),
            ..SparkFacts::default()
        };
        (name.clone(), SparkView::Reachable(Box::new(facts)))
    };
    Observed {
        at: now,
        sparks: desired.sparks.keys().map(view).collect(),
        endpoints: BTreeMap::new(),
        loads: BTreeMap::new(),
        bots: std::collections::BTreeMap::new(),
        front_doors: BTreeMap::new(),
        ended: BTreeMap::new(),
        unreadable_secrets: BTreeMap::new(),
    }
}

fn decide(criterion: &mut Criterion) {
    let now: Timestamp = "2026-11-24T12:00:00Z".parse().expect("a time");
    let mut group = criterion.benchmark_group("decide");
    group.sample_size(20);
    for sparks in [100, 300, 1000] {
        let desired = desired(sparks);
        let observed = observed(&desired, now);
        let ledger = Ledger::default();
        group.throughput(Throughput::Elements(sparks as u64));
        let plan = planner::plan(View { desired: &desired, observed: &observed, ledger: &ledger, now }, 1);
        assert!(plan.work.len() > sparks, "one service of each Spark is to be started");
        group.bench_function(BenchmarkId::new("plan", sparks), |bencher| {
            bencher.iter(|| {
                planner::plan(
                    View { desired: black_box(&desired), observed: &observed, ledger: &ledger, now },
                    1,
                )
            });
        });
        group.bench_function(BenchmarkId::new("diff", sparks), |bencher| {
            bencher.iter(|| {
                drift::diff(
                    View { desired: black_box(&desired), observed: &observed, ledger: &ledger, now },
                    &plan,
                )
            });
        });
        group.bench_function(BenchmarkId::new("status", sparks), |bencher| {
            bencher.iter(|| {
                status::status(
                    View { desired: black_box(&desired), observed: &observed, ledger: &ledger, now },
                    &plan,
                )
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
