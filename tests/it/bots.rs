//! Restarts and updates that are asked for by a time: done once, and as who they are for.

use std::time::Duration;

use spark_control::{
    controller::{Controller, round::RoundMode},
    core::model::{desired::ServiceKind, plan::Verdict, reason::Reason, status_line::Health},
    sim::{Fault, SimulatedService},
};

use crate::cluster::{Cluster, MODELS, SPARKS, paused};

fn cluster() -> Cluster {
    let cluster = Cluster::new();
    for container in ["kokoro-tts", "helper"] {
        cluster.sim.add_service("spark2", container, SimulatedService { kind: ServiceKind::Bot, port: 0 });
    }
    cluster
}

fn with(cluster: &Cluster, services: &str) {
    cluster.edit(&format!("{SPARKS}model: none\n{MODELS}services:\n  {services}\n"));
}

fn bot(more: &str) -> String {
    format!(
        "helper: {{ kind: bot, spark: spark2, container: helper, user: helper, dir: helper, branch: main{more} }}"
    )
}

/// Rounds, with ten seconds between them.
async fn rounds(controller: &Controller, count: usize) {
    for _ in 0..count {
        controller.round(RoundMode::Act).await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}

fn acts(cluster: &Cluster) -> Vec<String> {
    let world = cluster.sim.world();
    let lines = world.sparks["spark2"].audit.iter();
    lines.filter_map(|line| line.split(' ').nth(2).map(str::to_owned)).collect()
}

fn count(cluster: &Cluster, act: &str) -> usize {
    acts(cluster).iter().filter(|known| *known == act).count()
}

fn messages(controller: &Controller, kind: &str) -> Vec<String> {
    let events = controller.events(200).unwrap().into_iter();
    events.filter(|event| event.kind == kind).map(|event| event.message.clone()).collect()
}

/// If this failed, a restart would be done at every look, or never.
#[test]
fn a_restart_that_is_asked_for_is_done_once() {
    paused(async {
        let cluster = cluster();
        let service = "kokoro: { kind: bot, user: a, spark: spark2, container: kokoro-tts";
        with(&cluster, &format!("{service} }}"));
        let controller = cluster.controller("a");
        rounds(&controller, 3).await;
        assert_eq!((count(&cluster, "stop"), count(&cluster, "start")), (0, 0), "it is only watched");
        // Noon and twenty seconds; the time has not come yet when the file is read.
        with(&cluster, &format!("{service}, restart_after: 2026-11-24T12:01:00Z }}"));
        rounds(&controller, 2).await;
        assert_eq!(count(&cluster, "stop"), 0, "before its time");
        rounds(&controller, 20).await;
        assert_eq!((count(&cluster, "stop"), count(&cluster, "start")), (1, 1));
        // A Spark whose clock is behind shows a start from before that time.
        let before = cluster.sim.now().checked_sub(jiff::SignedDuration::from_hours(2)).unwrap();
        for container in &mut cluster.sim.world().sparks.get_mut("spark2").unwrap().containers {
            container.started_at = before;
        }
        rounds(&controller, 5).await;
        assert_eq!(count(&cluster, "stop"), 1, "it was done, whatever its clock says");
        // The next controller of the same store knows it, too.
        drop(controller);
        let controller = cluster.controller("a");
        rounds(&controller, 5).await;
        assert_eq!(count(&cluster, "stop"), 1);
        // Later again is again.
        with(&cluster, &format!("{service}, restart_after: 2026-11-24T12:05:00Z }}"));
        rounds(&controller, 5).await;
        with(&cluster, &format!("{service}, state: stopped, restart_after: 2026-11-24T12:06:00Z }}"));
        drop(controller);
        rounds(&cluster.controller("a"), 5).await;
        assert_eq!((count(&cluster, "stop"), count(&cluster, "start")), (2, 2), "it is to be stopped");
        // Whoever knows nothing sees that it was started after that time, and was stopped since.
        with(&cluster, &format!("{service}, restart_after: 2026-11-24T12:05:00Z }}"));
        rounds(&cluster.controller("b"), 5).await;
        assert_eq!((count(&cluster, "stop"), count(&cluster, "start")), (2, 2), "somebody stopped it");
    });
}

/// If this failed, an update would be done over and over, or its failure go unseen.
#[test]
fn an_update_is_done_once_and_tells_how_it_ended() {
    paused(async {
        let cluster = cluster();
        with(&cluster, &bot(""));
        let controller = cluster.controller("a");
        rounds(&controller, 3).await;
        assert_eq!(count(&cluster, "launch"), 0);
        with(&cluster, &bot(", update_after: 2026-11-24T12:00:10Z"));
        rounds(&controller, 2).await;
        let seen = controller.snapshot();
        let work = &seen.plan.as_ref().unwrap().work[0];
        let Verdict::Waiting { reason: Reason::Updating, message } = &work.verdict else {
            panic!("{:?}", work.verdict)
        };
        assert!(message.contains("building at"), "{message}");
        let logs = controller.logs("helper").await.unwrap();
        let log = logs.iter().find(|log| log.container.starts_with("update ")).unwrap();
        assert!(log.text.as_ref().unwrap().contains("== building"), "{log:?}");
        rounds(&controller, 30).await;
        assert_eq!(count(&cluster, "launch"), 1);
        assert_eq!(messages(&controller, "updated"), ["update: main is at 1c0ffee, and helper runs it"]);
        assert!(controller.snapshot().plan.as_ref().unwrap().is_empty());

        // A hold keeps what runs.
        let hold = "\nholds: { talk: { object: helper, owner: alice, reason: a talk } }";
        let held = format!("{}{hold}", bot(", update_after: 2026-11-24T12:05:00Z"));
        with(&cluster, &held);
        rounds(&controller, 5).await;
        assert_eq!(count(&cluster, "launch"), 1);
        let seen = controller.snapshot();
        let verdict = &seen.plan.as_ref().unwrap().work[0].verdict;
        assert!(matches!(verdict, Verdict::Blocked { reason: Reason::Held, .. }), "{verdict:?}");

        // One that fails says why, and is tried again when somebody asks for it.
        cluster.sim.fault("spark2", Fault::TransferFails, Duration::ZERO).unwrap();
        with(&cluster, &bot(", update_after: 2026-11-24T12:06:00Z"));
        rounds(&controller, 30).await;
        assert_eq!(count(&cluster, "launch"), 2);
        let line = controller.snapshot().status.iter().find(|line| line.object.as_str() == "helper").cloned();
        let line = line.unwrap();
        assert_eq!(line.reason, Some(Reason::Stalled));
        assert!(line.message.contains("Permission denied (publickey). (exit status 1)"), "{}", line.message);
        assert!(line.message.contains("spark-control retry helper"), "{}", line.message);
        assert_eq!(line.health, Health::Healthy, "the bot itself runs on");
        controller.retry("helper", "alice").unwrap();
        rounds(&controller, 30).await;
        assert_eq!(count(&cluster, "launch"), 3);
        assert_eq!(messages(&controller, "updated").len(), 2);
        assert!(controller.snapshot().plan.as_ref().unwrap().is_empty());
    });
}

/// If this failed, a bot of nobody would be looked at as the Spark's own user.
#[test]
fn a_bot_without_a_user_is_not_there() {
    paused(async {
        let cluster = cluster();
        for user in ["", ", user: \"\"", ", user: \"  \""] {
            with(
                &cluster,
                &format!(
                    "helper: {{ kind: bot, spark: spark2, container: helper, state: stopped, dir: x, branch: main, \
                     update_after: 2026-11-24T12:00:00Z{user} }}"
                ),
            );
            let controller = cluster.controller("a");
            rounds(&controller, 5).await;
            let seen = controller.snapshot();
            assert!(seen.status.iter().all(|line| line.object.as_str() != "helper"), "{user}");
            assert!(controller.in_force().unwrap().services.is_empty(), "{user}");
            assert!(seen.observed.as_ref().unwrap().bots.is_empty(), "{user}");
        }
        assert_eq!(acts(&cluster).iter().filter(|act| *act == "stop" || *act == "launch").count(), 0);
    });
}

/// If this failed, a controller that dies in the middle would restart a bot twice, build it twice, or leave it stopped.
#[test]
fn killed_after_any_act_a_bot_is_restarted_and_updated_once() {
    for (wish, ends_as) in [
        (", restart_after: 2026-11-24T12:00:10Z", (1, 1, 0)),
        (", update_after: 2026-11-24T12:00:10Z", (0, 0, 1)),
    ] {
        for act in 1.. {
            let told = format!("{wish}, killed after act {act}");
            let crashed = paused(async {
                let cluster = cluster();
                with(&cluster, &bot(""));
                rounds(&cluster.controller("a"), 3).await;
                with(&cluster, &bot(wish));
                {
                    let mut world = cluster.sim.world();
                    world.crash_at = Some(world.acts + act);
                }
                let controller = cluster.controller("a");
                let crashed = tokio::select! {
                    () = rounds(&controller, 40) => false,
                    () = cluster.sim.crashed.notified() => true,
                };
                cluster.sim.world().crash_at = None;
                controller.flush().unwrap();
                let controller = cluster.controller("a");
                rounds(&controller, 40).await;
                let done = (count(&cluster, "stop"), count(&cluster, "start"), count(&cluster, "launch"));
                assert_eq!(done, ends_as, "{told}");
                let seen = controller.snapshot();
                assert!(seen.plan.as_ref().unwrap().is_empty(), "{told}");
                let line = seen.status.iter().find(|line| line.object.as_str() == "helper").unwrap();
                assert_eq!((line.health, line.observed.as_str()), (Health::Healthy, "running"), "{told}");
                crashed
            });
            if !crashed {
                assert!(act > 1, "{wish}: it had only {act} acts");
                break;
            }
        }
    }
}
