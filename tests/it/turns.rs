//! What waits for what: acts, and questions that take minutes, on one Spark.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use spark_control::{
    controller::{Controller, logs::LogText, round::RoundMode},
    core::model::{
        ledger::Ledger, name::SparkName, object::Object, observed::SparkView, reason::Reason,
        status_line::Health,
    },
    host::{Answering, DockerResponse, EventStream, Program, ProgramOutput, SharedTransport, Transport},
    manifest::load::load,
    probe::{ProbeContext, observe, pending_checks::PendingChecks},
    sim::{Fault, transport::SimulatedTransport},
};

use crate::cluster::{Cluster, MODELS, SPARKS, paused};

/// If this failed, memory that runs out while an engine is asked for its arguments would take the Spark with it: the question
/// takes up to five minutes where the old model serves.
#[test]
fn nobody_who_acts_waits_for_a_question() {
    paused(async {
        let cluster = Cluster::new();
        let file = |model: &str| {
            format!(
                "{SPARKS}model: {model}\nmodels:\n  alpha: {{ repo: lab/alpha, sparks: [spark1], args: {{ gpu-memory-utilization: 0.7 }} }}\n  \
                 again: {{ repo: lab/again, sparks: [spark1], args: {{ gpu-memory-utilization: 0.6 }} }}\n"
            )
        };
        cluster.edit(&file("alpha"));
        let controller = Arc::new(cluster.controller("one"));
        cluster.settle(&controller, Duration::from_secs(600)).await;
        assert_eq!(cluster.serving(), [("spark1".to_owned(), "lab/alpha".to_owned())]);

        cluster.sim.world().times.check = Duration::from_secs(250);
        cluster.edit(&file("again"));
        let (_, asks) = controller.decide(RoundMode::Act).await.unwrap();
        let asker = controller.clone();
        let asking = tokio::spawn(async move { asker.perform_all(asks.expect("the question")).await });
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (again, more) = controller.decide(RoundMode::Act).await.unwrap();
        assert!(again.waiting && more.is_none(), "one question is enough");

        cluster.sim.fault("spark1", Fault::MemoryShrinks, Duration::from_secs(60)).unwrap();
        let way: SharedTransport =
            Arc::new(SimulatedTransport { sim: cluster.sim.clone(), spark: "spark1".into() });
        let name = SparkName::new("spark1").unwrap();
        let _ = tokio::time::timeout(Duration::from_secs(15), controller.watch_floor(&name, &way)).await;
        let (_, acts) = controller.decide(RoundMode::Act).await.unwrap();
        assert!(controller.perform_all(acts.expect("the stop")).await.unwrap());
        assert_eq!(cluster.sim.world().sparks["spark1"].containers.len(), 0);
        assert!(!asking.is_finished(), "the question is still open");
        assert!(asking.await.unwrap().unwrap());
    });
}

/// If this failed, a container that is stopped while a slow look is under way would be stopped a second time.
#[test]
fn what_was_seen_before_an_act_ended_is_not_acted_on() {
    paused(async {
        let cluster = Cluster::new();
        cluster.wish("alpha");
        let controller = Arc::new(cluster.controller("one"));
        cluster.settle(&controller, Duration::from_secs(600)).await;
        cluster.wish("none");
        let (_, stop) = controller.decide(RoundMode::Act).await.unwrap();
        let stopper = controller.clone();
        let stopping = tokio::spawn(async move { stopper.perform_all(stop.expect("the stop")).await });
        cluster.sim.world().times.stop = Duration::from_secs(4);
        // It sees the container, and is held up by the other Spark until that is gone.
        cluster.sim.fault("spark2", Fault::Slow, Duration::from_secs(10)).unwrap();
        let (turn, again) = controller.decide(RoundMode::Act).await.unwrap();
        assert!(stopping.is_finished(), "the look was the longer");
        assert!(again.is_none() && turn.waiting, "it looks again before it acts");
        assert!(stopping.await.unwrap().unwrap());
        cluster.settle(&controller, Duration::from_secs(60)).await;
        let audit = cluster.sim.world().sparks["spark1"].audit.clone();
        assert_eq!(audit.iter().filter(|line| line.contains(" stop ")).count(), 1, "{audit:#?}");
    });
}

/// If this failed, most stops would show "the processes could not be read", of a container that is ending.
#[test]
fn what_cannot_be_read_while_it_is_stopped_is_as_it_was() {
    let vllm = |controller: &Controller| {
        let snapshot = controller.snapshot();
        let line = snapshot.status.iter().find(|line| line.object == Object::main()).unwrap();
        (line.reason, line.health)
    };
    for is_stopping in [true, false] {
        paused(async {
            let cluster = Cluster::new();
            cluster.wish("alpha");
            let controller = Arc::new(cluster.controller("one"));
            cluster.settle(&controller, Duration::from_secs(600)).await;
            // What is left of it is cleared away, before the same is loaded again.
            cluster.sim.fault("spark1", Fault::EngineDies, Duration::ZERO).unwrap();
            let mode = if is_stopping { RoundMode::Act } else { RoundMode::Preview };
            let (_, stop) = controller.decide(mode).await.unwrap();
            let before = vllm(&controller);
            let stopper = controller.clone();
            let stopping = stop.map(|stop| tokio::spawn(async move { stopper.perform_all(stop).await }));
            assert_eq!(stopping.is_some(), is_stopping);
            tokio::time::sleep(Duration::from_secs(1)).await;
            cluster.sim.fault("spark1", Fault::TopFails, Duration::from_secs(60)).unwrap();
            controller.decide(RoundMode::Preview).await.unwrap();
            let expected = if is_stopping { before } else { (Some(Reason::Unknown), Health::Unknown) };
            assert_eq!(vllm(&controller), expected);
            if let Some(stopping) = stopping {
                assert!(!stopping.is_finished());
                stopping.await.unwrap().unwrap();
            }
        });
    }
}

/// If this failed, a launcher that builds an image for half an hour would say nothing to anybody, and one that failed a part of it.
#[test]
fn what_a_launcher_says_is_shown_while_it_runs_and_after_it_failed() {
    paused(async {
        let cluster = Cluster::new();
        cluster.sim.world().times.launcher = Duration::from_secs(60);
        cluster.wish("alpha");
        let controller = cluster.controller("one");
        let logs = async || {
            let logs = controller.logs("vllm").await.unwrap();
            let told = |log: LogText| format!("{} on {}: {}", log.container, log.spark, log.text.unwrap());
            logs.into_iter().map(told).collect::<Vec<_>>()
        };
        controller.round(RoundMode::Act).await.unwrap();
        while cluster.sim.world().sparks["spark1"].jobs.is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            controller.round(RoundMode::Act).await.unwrap();
        }
        controller.round(RoundMode::Act).await.unwrap();
        assert_eq!(logs().await, [""; 0], "it said nothing yet");
        let id = {
            let mut world = cluster.sim.world();
            let job = &mut world.sparks.get_mut("spark1").unwrap().jobs[0];
            job.said = "#1 building\n#2 copying".into();
            job.id.clone()
        };
        assert_eq!(logs().await, [format!("launcher {id} on spark1: #1 building\n#2 copying\n")]);
        cluster.settle(&controller, Duration::from_secs(600)).await;
        assert!(logs().await.iter().all(|log| !log.starts_with("launcher")), "it serves");
    });
}

/// A Spark whose answers this program makes a mistake about.
struct Panics;

impl Transport for Panics {
    fn run<'a>(&'a self, _: &'a Program, _: Duration) -> Answering<'a, ProgramOutput> {
        Box::pin(async { panic!("a mistake") })
    }

    fn run_stream<'a>(&'a self, _: &'a Program, _: Duration) -> Answering<'a, EventStream> {
        Box::pin(async { panic!("a mistake") })
    }

    fn engine<'a>(&'a self, _: &'a str, _: Duration) -> Answering<'a, DockerResponse> {
        Box::pin(async { panic!("a mistake") })
    }

    fn engine_stream<'a>(&'a self, _: &'a str, _: Duration) -> Answering<'a, EventStream> {
        Box::pin(async { panic!("a mistake") })
    }
}

/// If this failed, what one Spark says could end the look at the others, or the process.
#[test]
fn a_look_that_panics_is_that_of_one_spark() {
    paused(async {
        let cluster = Cluster::new();
        let desired = load(&format!("{SPARKS}model: none\n{MODELS}")).unwrap().desired;
        let well: SharedTransport =
            Arc::new(SimulatedTransport { sim: cluster.sim.clone(), spark: "spark2".into() });
        let name = |spark: &str| SparkName::new(spark).unwrap();
        let transports =
            [(name("spark1"), Arc::new(Panics) as SharedTransport), (name("spark2"), well)].into();
        let (sessions, proofs) = (BTreeMap::new(), PendingChecks::default());
        let eyes = ProbeContext {
            transports: &transports,
            sessions: &sessions,
            http: &cluster.http,
            proofs: &proofs,
        };
        let observed = observe(&desired, &Ledger::default(), eyes, None, || cluster.sim.now()).await;
        assert!(
            matches!(&observed.sparks[&name("spark1")], SparkView::Unreachable { why, .. } if !why.is_empty())
        );
        assert!(matches!(observed.sparks[&name("spark2")], SparkView::Reachable(_)));
    });
}
