//! Requests that come between the decision to stop and the stop.

use std::time::Duration;

use spark_control::controller::{Controller, act::RoundActs, round::RoundMode};

use crate::cluster::{Cluster, paused};

fn requests(cluster: &Cluster, running: u64) {
    let mut world = cluster.sim.world();
    for machine in world.sparks.values_mut() {
        for engine in machine.containers.iter_mut().filter_map(|container| container.engine.as_mut()) {
            engine.running = running;
        }
    }
}

/// What is to be done, once something is, and whether requests were waited for until then.
async fn decided(controller: &Controller) -> (RoundActs, bool) {
    let mut waited = false;
    loop {
        let (_, acts) = controller.decide(RoundMode::Act).await.unwrap();
        if let Some(acts) = acts {
            return (acts, waited);
        }
        waited |= format!("{:?}", controller.snapshot().plan).contains("they get");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// If this failed, a stream that began while the logs were saved would be cut without its drain.
#[test]
fn a_request_that_comes_before_the_kill_gets_its_time() {
    paused(async {
        let cluster = Cluster::new();
        cluster.wish("alpha");
        let controller = cluster.controller("c");
        cluster.settle(&controller, Duration::from_secs(900)).await;
        cluster.wish("none");
        // It was idle when it was decided.
        let (acts, _) = decided(&controller).await;
        requests(&cluster, 2);
        controller.perform_all(acts).await.unwrap();
        assert_eq!(cluster.serving().len(), 1, "it is not stopped");
        controller.round(RoundMode::Act).await.unwrap();
        let plan = controller.snapshot().plan.clone().unwrap();
        let message = format!("{:?}", plan.work[0].verdict);
        assert!(message.contains("2 requests run; they get"), "{message}");
        requests(&cluster, 0);
        cluster.settle(&controller, Duration::from_secs(60)).await;
        assert_eq!(cluster.serving().len(), 0);
    });
}

/// If this failed, requests that had their time already would get it again at each try, and nothing would ever be swapped.
#[test]
fn requests_that_had_their_time_are_cut() {
    paused(async {
        let cluster = Cluster::new();
        cluster.wish("alpha");
        let controller = cluster.controller("c");
        cluster.settle(&controller, Duration::from_secs(900)).await;
        requests(&cluster, 2);
        cluster.wish("none");
        cluster.settle(&controller, Duration::from_secs(60)).await;
        assert_eq!(cluster.serving().len(), 0);
    });
}

/// If this failed, people would read that requests get half a minute more while they are being cut.
#[test]
fn time_that_is_over_is_not_told_once_more_while_the_stop_runs() {
    paused(async {
        let cluster = Cluster::new();
        cluster.wish("alpha");
        let controller = cluster.controller("c");
        cluster.settle(&controller, Duration::from_secs(900)).await;
        requests(&cluster, 2);
        cluster.wish("none");
        let (acts, waited) = decided(&controller).await;
        assert!(waited, "they had their time");
        controller.round(RoundMode::Preview).await.unwrap();
        let told = format!("{:?}", controller.snapshot().plan);
        assert!(!told.contains("they get"), "{told}");
        controller.perform_all(acts).await.unwrap();
        assert_eq!(cluster.serving().len(), 0);
    });
}
