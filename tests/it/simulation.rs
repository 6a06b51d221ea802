//! The real controller, apply, ledger and store on simulated Sparks: many seeds of edits and faults. What must hold
//! always is checked all the time, what must hold in the end once the faults stop.

use std::time::Duration;

use spark_control::{controller::round::Mode, core::render::render, sim::Fault};

use crate::cluster::{Cluster, paused};

const HOUR: Duration = Duration::from_secs(3600);

/// If this failed, the planner or a gate would not get a cluster to where the file says.
#[test]
fn an_edit_swaps_and_a_second_plan_is_empty() {
    paused(async {
        let cluster = Cluster::new();
        let controller = cluster.controller("a");
        for (model, expected) in [
            ("alpha", vec![("spark1", "lab/alpha")]),
            ("wide", vec![("spark1", "lab/wide"), ("spark2", "lab/wide")]),
            ("beta", vec![("spark2", "lab/beta")]),
            ("none", vec![]),
        ] {
            cluster.wish(model);
            let plan = cluster.settle(&controller, HOUR).await;
            assert!(plan.is_empty(), "{model}: {}", render(&plan));
            let serving = cluster.serving();
            let serving: Vec<_> =
                serving.iter().map(|(spark, root)| (spark.as_str(), root.as_str())).collect();
            assert_eq!(serving, expected, "{model}");
        }
    });
}

/// If this failed, two models could be started into the memory of one.
fn no_start_beside_another(cluster: &Cluster, seed: u64) {
    for start in &cluster.sim.world().starts {
        assert_eq!(start.beside, 0, "seed {seed}: {start:?}");
    }
}

async fn one_seed(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let cluster = Cluster::new();
    let models = ["alpha", "beta", "wide", "none"];
    cluster.wish(models[random.usize(..4)]);
    let mut controller = cluster.controller("a");
    for _ in 0..random.usize(5..40) {
        match random.usize(..10) {
            0 | 1 => cluster.wish(models[random.usize(..4)]),
            2 => {
                let (_, fault) = Fault::ALL[random.usize(..6)];
                let spark = if random.bool() { "spark1" } else { "spark2" };
                let length = Duration::from_secs(random.u64(1..300));
                cluster.sim.fault(spark, fault, length).unwrap();
            }
            // Killed and started again.
            3 => controller = cluster.controller("a"),
            _ => {}
        }
        controller.round(Mode::Act).await.unwrap();
        no_start_beside_another(&cluster, seed);
        tokio::time::sleep(Duration::from_secs(random.u64(1..60))).await;
    }
    // Faults stop; a person clears what has stalled; the last wish comes true.
    tokio::time::sleep(Duration::from_secs(600)).await;
    let wish = models[random.usize(..4)];
    cluster.wish(wish);
    controller.round(Mode::Act).await.unwrap();
    cluster.settle(&controller, HOUR).await;
    controller.retry("vllm").unwrap();
    let plan = cluster.settle(&controller, HOUR).await;
    no_start_beside_another(&cluster, seed);
    assert!(plan.is_empty(), "seed {seed}, {wish}: {}\n{:?}", render(&plan), controller.events(30).unwrap());
    let serving: Vec<String> = cluster.serving().into_iter().map(|(_, root)| root).collect();
    let expected = match wish {
        "none" => vec![],
        "wide" => vec!["lab/wide".to_owned(); 2],
        one => vec![format!("lab/{one}")],
    };
    assert_eq!(serving, expected, "seed {seed}");
}

/// If this failed, some order of edits, faults and kills would do harm or never settle.
#[test]
fn any_seed_settles_and_does_no_harm() {
    let seeds = std::env::var("SPARK_CONTROL_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(300);
    for seed in 0..seeds {
        paused(one_seed(seed));
    }
}
