//! The real controller, apply, ledger and store on simulated Sparks: what one fault after the other does, a kill after every
//! act, and (`seeds`) whatever a seed draws.

mod seeds;

use std::{sync::Arc, time::Duration};

use spark_control::{
    controller::{Snapshot, round::RoundMode, run::run},
    core::{
        model::{desired::ServiceKind, observed::FencingToken},
        tell::render::render,
    },
    sim::{Fault, SimulatedService},
};
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, MODELS as CATALOG, SPARKS, paused};

const HOUR: Duration = Duration::from_secs(3600);
/// For two loads that fail and one that does not.
const LONG_ENOUGH: Duration = Duration::from_secs(1200);
/// Who serves what for this wish.
fn expected(wish: &str) -> Vec<(&'static str, &'static str)> {
    match wish {
        "alpha" => vec![("spark1", "lab/alpha")],
        "beta" => vec![("spark2", "lab/beta")],
        "wide" => vec![("spark1", "lab/wide"), ("spark2", "lab/wide")],
        _ => vec![],
    }
}

fn assert_serves(cluster: &Cluster, wish: &str, told: &str) {
    let serving = cluster.serving();
    let serving: Vec<_> = serving.iter().map(|(spark, root)| (spark.as_str(), root.as_str())).collect();
    assert_eq!(serving, expected(wish), "{wish}, {told}");
}

/// If this failed, the planner or a gate would not get a cluster to where the file says.
#[test]
fn an_edit_swaps_and_a_second_plan_is_empty() {
    paused(async {
        let cluster = Cluster::new();
        let controller = cluster.controller("a");
        for wish in ["alpha", "wide", "beta", "none"] {
            cluster.wish(wish);
            let plan = cluster.settle(&controller, HOUR).await;
            assert!(plan.is_empty(), "{wish}: {}", render(&plan));
            assert_serves(&cluster, wish, "settled");
        }
    });
}

/// Something that a controller does in several acts.
struct Scenario {
    name: &'static str,
    /// What serves before.
    before: &'static str,
    /// What begins it.
    change: fn(&Cluster),
    /// What serves after it.
    after: &'static str,
    /// Every engine that is started in all.
    starts: &'static [&'static str],
    /// Acts that there are at least.
    acts: u64,
}

const SCENARIOS: [Scenario; 8] = [
    Scenario {
        name: "a first start",
        before: "none",
        change: |cluster| cluster.wish("alpha"),
        after: "alpha",
        starts: &["lab/alpha"],
        acts: 1,
    },
    Scenario {
        name: "a swap to two Sparks",
        before: "alpha",
        change: |cluster| cluster.wish("wide"),
        after: "wide",
        starts: &["lab/alpha", "lab/wide", "lab/wide"],
        acts: 5,
    },
    Scenario {
        name: "a swap from two Sparks",
        before: "wide",
        change: |cluster| cluster.wish("beta"),
        after: "beta",
        starts: &["lab/wide", "lab/wide", "lab/beta"],
        acts: 4,
    },
    Scenario {
        name: "an empty slot",
        before: "wide",
        change: |cluster| cluster.wish("none"),
        after: "none",
        starts: &["lab/wide", "lab/wide"],
        acts: 2,
    },
    Scenario {
        name: "a load that fails once",
        before: "alpha",
        change: |cluster| {
            cluster.sim.world().sparks.get_mut("spark2").unwrap().load_fails = 1;
            cluster.wish("beta");
        },
        after: "beta",
        starts: &["lab/alpha", "lab/beta", "lab/beta"],
        acts: 5,
    },
    Scenario {
        name: "a model that never loads",
        before: "alpha",
        change: |cluster| {
            cluster.sim.world().sparks.get_mut("spark2").unwrap().load_fails = 100;
            cluster.wish("beta");
        },
        after: "alpha",
        starts: &["lab/alpha", "lab/beta", "lab/beta", "lab/alpha"],
        acts: 6,
    },
    Scenario {
        name: "a rank that is lost",
        before: "wide",
        change: |cluster| cluster.sim.fault("spark2", Fault::ContainersVanish, Duration::ZERO).unwrap(),
        after: "wide",
        starts: &["lab/wide", "lab/wide", "lab/wide", "lab/wide"],
        acts: 4,
    },
    Scenario {
        name: "files, and then the model",
        before: "alpha",
        change: |cluster| {
            for machine in cluster.sim.world().sparks.values_mut() {
                machine.lacks.insert("models--lab--wide".into());
            }
            let models = CATALOG.replace("repo: lab/wide, ", "repo: lab/wide, weights: present, ");
            cluster.edit(&format!("{SPARKS}model: wide\n{models}"));
        },
        after: "wide",
        starts: &["lab/alpha", "lab/wide", "lab/wide"],
        acts: 7,
    },
];

/// If this failed, a controller that dies right after an act would forget it, or do it twice.
#[test]
fn killed_after_any_act_it_ends_the_same_and_starts_nothing_twice() {
    for Scenario { name, before, change, after, starts, acts } in &SCENARIOS {
        for act in 1.. {
            let told = format!("{name}, killed after act {act}");
            let crashed = paused(async {
                let cluster = Cluster::new();
                cluster.wish(before);
                cluster.settle(&cluster.controller("a"), HOUR).await;
                change(&cluster);
                {
                    let mut world = cluster.sim.world();
                    world.crash_at = Some(world.acts + act);
                }
                let controller = cluster.controller("a");
                let crashed = tokio::select! {
                    _ = cluster.settle(&controller, LONG_ENOUGH) => false,
                    () = cluster.sim.crashed.notified() => true,
                };
                // What did not come to that act is not killed later.
                cluster.sim.world().crash_at = None;
                controller.flush().unwrap();
                let plan = cluster.settle(&cluster.controller("a"), LONG_ENOUGH).await;
                assert!(!plan.has_steps(), "{told}: {}", render(&plan));
                assert_serves(&cluster, after, &told);
                let world = cluster.sim.world();
                let started: Vec<&str> = world.starts.iter().map(|start| start.root.as_str()).collect();
                assert_eq!(started, *starts, "{told}");
                for start in &world.starts {
                    assert!(start.available >= start.memory, "{told}: memory was promised twice: {start:?}");
                }
                let jobs = world.sparks.values().flat_map(|machine| &machine.jobs);
                let transfers = jobs.filter(|job| job.transfer.is_some()).count();
                assert_eq!(transfers, if *name == SCENARIOS[7].name { 2 } else { 0 }, "{told}");
                crashed
            });
            if !crashed {
                assert!(act > *acts, "{name}: it had only {act} acts");
                break;
            }
        }
    }
}

/// If this failed, a broken model would be loaded for ever.
#[test]
fn a_model_that_never_loads_is_tried_twice_and_then_the_last_good_one_once() {
    paused(async {
        let cluster = Cluster::new();
        let controller = cluster.controller("a");
        cluster.wish("alpha");
        cluster.settle(&controller, LONG_ENOUGH).await;
        cluster.sim.world().sparks.get_mut("spark2").unwrap().load_fails = 100;
        cluster.wish("beta");
        cluster.settle(&controller, LONG_ENOUGH).await;
        let world = cluster.sim.world();
        let started: Vec<&str> = world.starts.iter().map(|start| start.root.as_str()).collect();
        assert_eq!(started, ["lab/alpha", "lab/beta", "lab/beta", "lab/alpha"]);
    });
}

/// If this failed, `apply` would wait for ever when a load fails, or do what was never shown.
#[test]
fn applying_a_plan_covers_its_contingency_and_nothing_else() {
    paused(async {
        let cluster = Cluster::new();
        let controller = cluster.controller("a");
        cluster.wish("alpha");
        controller.round(RoundMode::Preview).await.unwrap();
        let shown = controller.snapshot().plan.clone().unwrap();
        cluster.sim.world().sparks.get_mut("spark1").unwrap().load_fails = 1;
        let mut turn = controller.round(RoundMode::Only(&shown)).await.unwrap();
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_secs(3)).await;
            turn = controller.round(RoundMode::Only(&shown)).await.unwrap();
        }
        assert!(!turn.acted && !turn.not_covered && !turn.waiting, "{turn:?}");
        assert_serves(&cluster, "alpha", "after a load that failed");
        assert_eq!(cluster.sim.world().starts.len(), 2, "the failed load, its tear down, the second load");
        // Another wish is another plan.
        cluster.wish("beta");
        let turn = controller.round(RoundMode::Only(&shown)).await.unwrap();
        assert!(!turn.acted && turn.not_covered, "{turn:?}");
        assert_serves(&cluster, "alpha", "what was shown");
    });
}

/// If this failed, `apply` would stop what serves for a wish that was never shown, or not go on with its own plan.
#[test]
fn a_plan_is_for_its_wish_and_its_own_steps_do_not_make_it_stale() {
    paused(async {
        let cluster = Cluster::new();
        let controller = cluster.controller("a");
        cluster.wish("alpha");
        cluster.settle(&controller, HOUR).await;
        cluster.wish("beta");
        controller.round(RoundMode::Preview).await.unwrap();
        let shown = controller.snapshot().plan.clone().unwrap();
        // The first step of every other wish is the same stop.
        for other in ["wide", "none"] {
            cluster.wish(other);
            let turn = controller.round(RoundMode::Only(&shown)).await.unwrap();
            assert!(!turn.acted && turn.not_covered, "{other}: {turn:?}");
            assert_serves(&cluster, "alpha", other);
        }
        cluster.wish("beta");
        // The question about its arguments, then its stop.
        controller.round(RoundMode::Only(&shown)).await.unwrap();
        controller.round(RoundMode::Only(&shown)).await.unwrap();
        assert_serves(&cluster, "none", "its stop is done");
        tokio::time::sleep(Duration::from_secs(30)).await;
        controller.round(RoundMode::Preview).await.unwrap();
        controller.approve(shown.id.as_str(), "alice").unwrap();
        for _ in 0..100 {
            controller.round(RoundMode::Only(&shown)).await.unwrap();
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        assert_serves(&cluster, "beta", "the same plan again");
        // What somebody else did does.
        cluster.wish("alpha");
        controller.round(RoundMode::Preview).await.unwrap();
        let shown = controller.snapshot().plan.clone().unwrap();
        cluster.sim.fault("spark2", Fault::ContainersVanish, Duration::ZERO).unwrap();
        controller.round(RoundMode::Preview).await.unwrap();
        let refused = controller.approve(shown.id.as_str(), "alice").unwrap_err();
        assert!(refused.to_string().contains("is gone from `spark2`"), "{refused}");
    });
}

/// If this failed, a plan of last week could be agreed to in the moment after a start.
#[test]
fn nothing_is_agreed_to_before_the_first_look() {
    paused(async {
        let cluster = Cluster::new();
        cluster.wish("alpha");
        let controller = cluster.controller("a");
        controller.round(RoundMode::Preview).await.unwrap();
        let id = controller.snapshot().plan.clone().unwrap().id;
        drop(controller);
        let controller = cluster.controller("a");
        let refused = controller.approve(id.as_str(), "alice").unwrap_err();
        assert!(refused.to_string().contains("nothing has been looked at since"), "{refused}");
        controller.round(RoundMode::Preview).await.unwrap();
        controller.approve(id.as_str(), "alice").unwrap();
    });
}

/// If this failed, a slip in `args` would cost what serves.
#[test]
fn what_the_engine_refuses_stops_nothing() {
    paused(async {
        let cluster = Cluster::new();
        let controller = cluster.controller("a");
        cluster.wish("alpha");
        cluster.settle(&controller, HOUR).await;
        let wrong = CATALOG.replace(
            "repo: lab/beta, sparks: [spark2], args: {",
            "repo: lab/beta, sparks: [spark1], args: { no-such-argument: 1,",
        );
        cluster.edit(&format!("{SPARKS}model: beta\n{wrong}"));
        cluster.settle(&controller, Duration::from_secs(600)).await;
        assert_serves(&cluster, "alpha", "refused");
    });
}

/// If this failed, a rank would begin into memory that was there when its launch was decided and is not any more.
#[test]
fn memory_that_goes_away_before_a_rank_begins_takes_the_start_back() {
    paused(async {
        let cluster = Cluster::new();
        let controller = cluster.controller("a");
        // A launcher that takes its time on the second Spark.
        cluster.sim.world().times.launcher = Duration::from_secs(60);
        cluster.wish("wide");
        while controller.events(50).unwrap().iter().all(|event| !event.message.contains("launch `wide`")) {
            controller.round(RoundMode::Act).await.unwrap();
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        cluster.sim.fault("spark2", Fault::MemoryShrinks, Duration::from_secs(600)).unwrap();
        for _ in 0..30 {
            controller.round(RoundMode::Act).await.unwrap();
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        assert!(cluster.sim.world().starts.is_empty(), "{:?}", cluster.sim.world().starts);
        cluster.settle(&controller, HOUR).await;
        assert_serves(&cluster, "wide", "when it was back");
        assert_eq!(cluster.sim.world().starts.len(), 2);
        let events = controller.events(50).unwrap();
        assert!(events.iter().all(|event| event.kind != "failed"), "no load failed");
    });
}

/// If this failed, two controllers that start at the same moment would keep each other from acting for good.
#[test]
fn of_two_that_claim_one_epoch_one_goes_on() {
    paused(async {
        let cluster = Cluster::new();
        cluster.wish("wide");
        let (first, second) = (cluster.controller("a"), cluster.controller("b"));
        // As if each had reached one Spark first.
        for (spark, controller) in [("spark1", &first), ("spark2", &second)] {
            let token = FencingToken { epoch: 1, sequence: 1, controller: controller.id.clone() };
            cluster.sim.world().sparks.get_mut(spark).unwrap().token = Some(token);
        }
        first.assume_epoch(1);
        second.assume_epoch(1);
        for _ in 0..100 {
            first.round(RoundMode::Act).await.unwrap();
            second.round(RoundMode::Act).await.unwrap();
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        let fenced = [&first, &second].map(|controller| controller.snapshot().fenced.is_some());
        assert_eq!(fenced, [true, false]);
        assert_serves(&cluster, "wide", "one of them went on");
        assert_eq!(cluster.sim.world().starts.len(), 2);
    });
}

/// If this failed, a rank of a start that was given up could become part of the next.
#[test]
fn a_rank_of_an_earlier_start_is_not_part_of_a_later_one() {
    paused(async {
        let cluster = Cluster::new();
        let controller = cluster.controller("a");
        cluster.wish("wide");
        cluster.settle(&controller, HOUR).await;
        // What runs on spark2 is said to be of an older launch.
        {
            let mut world = cluster.sim.world();
            let containers = &mut world.sparks.get_mut("spark2").unwrap().containers;
            containers[0].labels.insert("spark-control.token".into(), "0.1.a".into());
        }
        controller.round(RoundMode::Preview).await.unwrap();
        let plan = controller.snapshot().plan.clone().unwrap();
        assert!(plan.has_steps(), "{}", render(&plan));
        cluster.settle(&controller, HOUR).await;
        assert_eq!(cluster.sim.world().starts.len(), 4, "both ranks were started again, together");
        assert_serves(&cluster, "wide", "a whole group");
    });
}

/// If this failed, somebody who looks all the time would keep a model from ever being started.
#[test]
fn looking_all_the_time_does_not_starve_the_memory_gate() {
    paused(async {
        let cluster = Cluster::new();
        let controller = cluster.controller("a");
        cluster.wish("alpha");
        for _ in 0..200 {
            controller.round(RoundMode::Act).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(cluster.sim.world().starts.len(), 1);
    });
}

/// If this failed, a step that cannot be done would be tried every other second, for ever.
#[test]
fn a_step_that_was_not_done_is_no_reason_to_hurry() {
    paused(async {
        let cluster = Cluster::new();
        let controller = cluster.controller("a");
        cluster.wish("alpha");
        cluster.settle(&controller, HOUR).await;
        cluster.wish("none");
        let silence = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            cluster.sim.fault("spark1", Fault::Silent, Duration::from_secs(60)).unwrap();
        };
        let (turn, ()) = tokio::join!(controller.round(RoundMode::Act), silence);
        assert!(turn.unwrap().failed, "the answer to the stop never came");
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert!(!controller.round(RoundMode::Act).await.unwrap().failed);
    });
}

/// If this failed, a Spark that refuses would be asked all the time.
#[test]
fn what_is_refused_is_not_asked_all_the_time() {
    paused(async {
        let cluster = Cluster::new();
        let controller = Arc::new(cluster.controller("a"));
        cluster.wish("alpha");
        cluster.settle(&controller, HOUR).await;
        cluster.sim.fault("spark1", Fault::DiskFull, Duration::from_secs(120)).unwrap();
        cluster.wish("none");
        let before = cluster.sim.world().acts;
        let end = CancellationToken::new();
        let ending = async {
            tokio::time::sleep(Duration::from_secs(110)).await;
            let asked = cluster.sim.world().acts - before;
            assert!((2..=6).contains(&asked), "asked {asked} times in two minutes");
            tokio::time::sleep(Duration::from_secs(60)).await;
            end.cancel();
        };
        let (result, ()) = tokio::join!(run(controller.clone(), end.clone()), ending);
        result.unwrap();
        assert_serves(&cluster, "none", "when it can");
    });
}

/// If this failed, an outage on one Spark would not be seen while another does not answer.
#[test]
fn endpoints_are_asked_also_while_a_round_waits_for_a_spark() {
    paused(async {
        let cluster = Cluster::new();
        cluster.sim.add_service(
            "spark1",
            "kokoro-tts",
            SimulatedService { kind: ServiceKind::Tts, port: 8880 },
        );
        let kokoro = "services: { kokoro: { kind: tts, spark: spark1, port: 8880 } }";
        cluster.edit(&format!("{SPARKS}model: none\n{CATALOG}{kokoro}\nreconcile: {{ interval: 5m }}\n"));
        let controller = Arc::new(cluster.controller("a"));
        let end = CancellationToken::new();
        let meanwhile = async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            cluster.sim.fault("spark2", Fault::Slow, Duration::from_secs(120)).unwrap();
            controller.wake.notify_one();
            let seen = || controller.connectivity().into_iter().find(|(one, _)| one.as_str() == "kokoro");
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(6)).await;
                let last = *seen().expect("it has an endpoint").1.last().unwrap();
                let age = controller.now().duration_since(last.until).as_secs();
                assert!(age <= 6, "nobody asked for {age} s: {last:?}");
            }
            end.cancel();
        };
        let (result, ()) = tokio::join!(run(controller.clone(), end.clone()), meanwhile);
        result.unwrap();
    });
}

/// If this failed, a service manager would have to kill a controller that is told to end in the middle of a long stop.
#[test]
fn an_end_does_not_wait_for_a_long_step() {
    paused(async {
        let cluster = Cluster::new();
        let controller = Arc::new(cluster.controller("a"));
        cluster.wish("alpha");
        cluster.settle(&controller, HOUR).await;
        cluster.sim.world().times.stop = Duration::from_secs(140);
        cluster.wish("none");
        let end = CancellationToken::new();
        let began = tokio::time::Instant::now();
        let ending = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            end.cancel();
        };
        let (result, ()) = tokio::join!(run(controller.clone(), end.clone()), ending);
        result.unwrap();
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        drop(controller);
        let controller = cluster.controller("a");
        let events = controller.events(1).unwrap();
        assert!(events[0].message.contains("ended before its outcome was known"), "{events:?}");
        cluster.settle(&controller, HOUR).await;
        assert_serves(&cluster, "none", "after the restart");
    });
}

/// If this failed, a Spark that is dying in the middle of an act would hold up what is to be done on the others.
#[test]
fn an_act_that_hangs_holds_up_nothing_else() {
    paused(async {
        let cluster = Cluster::new();
        let service = SimulatedService { kind: ServiceKind::Tts, port: 8880 };
        cluster.sim.add_service("spark2", "kokoro-tts", service);
        let controller = Arc::new(cluster.controller("a"));
        let file = |model: &str| {
            let kokoro = "services: { kokoro: { kind: tts, spark: spark2, port: 8880, container: kokoro-tts, state: running } }";
            cluster.edit(&format!("{SPARKS}model: {model}\n{CATALOG}{kokoro}\n"));
        };
        file("alpha");
        cluster.settle(&controller, HOUR).await;
        cluster.sim.world().times.stop = Duration::from_secs(140);
        file("none");
        let runs = || {
            let world = cluster.sim.world();
            world.sparks["spark2"].containers.iter().any(|one| one.name == "kokoro-tts" && one.running)
        };
        let end = CancellationToken::new();
        let meanwhile = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            {
                let now = cluster.sim.now();
                let mut world = cluster.sim.world();
                let machine = world.sparks.get_mut("spark2").unwrap();
                let id = machine.containers.iter().find(|one| one.name == "kokoro-tts").unwrap().id.clone();
                machine.stop(&id, false, now, Duration::ZERO);
            }
            tokio::time::sleep(Duration::from_secs(40)).await;
            assert!(runs(), "it was started while the stop on the other Spark went on");
            assert_serves(&cluster, "alpha", "its stop still hangs");
            tokio::time::sleep(Duration::from_secs(120)).await;
            assert_serves(&cluster, "none", "in the end");
            end.cancel();
        };
        let (result, ()) = tokio::join!(run(controller.clone(), end.clone()), meanwhile);
        result.unwrap();
        assert_eq!(cluster.sim.world().starts.len(), 1);
    });
}

/// If this failed, a lost data directory could cost a second start.
#[test]
fn a_lost_memory_costs_no_second_start() {
    paused(async {
        let cluster = Cluster::new();
        cluster.wish("wide");
        let controller = cluster.controller("a");
        for _ in 0..10 {
            controller.round(RoundMode::Act).await.unwrap();
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        assert_eq!(cluster.sim.world().starts.len(), 2, "it loads");
        // Another data directory knows nothing.
        let controller = cluster.controller("b");
        let plan = cluster.settle(&controller, HOUR).await;
        assert!(plan.is_empty(), "{}", render(&plan));
        assert_eq!(cluster.sim.world().starts.len(), 2);
        assert_serves(&cluster, "wide", "with another memory");
    });
}

/// If this failed, a data directory that was copied, or brought back from a backup, would be two actors with one name: each
/// would undo what the other does, and nothing on the Sparks could tell them apart.
#[test]
fn a_copy_of_the_store_is_another_actor() {
    paused(async {
        let cluster = Cluster::new();
        cluster.wish("alpha");
        let first = cluster.controller("a");
        cluster.settle(&first, HOUR).await;
        first.flush().unwrap();
        cluster.copy_store("a", "backup");
        cluster.wish("wide");
        cluster.settle(&first, HOUR).await;
        // Both go on from here, the copy with what was true before the last swap.
        let copy = cluster.controller("backup");
        assert_ne!(copy.id, first.id);
        let plan = cluster.settle(&copy, HOUR).await;
        assert!(plan.is_empty(), "{}", render(&plan));
        assert_eq!(cluster.sim.world().starts.len(), 3, "what runs is found again");
        cluster.wish("beta");
        first.assume_epoch(2);
        copy.assume_epoch(2);
        for _ in 0..100 {
            first.round(RoundMode::Act).await.unwrap();
            copy.round(RoundMode::Act).await.unwrap();
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        let fenced = [&first, &copy].map(|controller| controller.snapshot().fenced.is_some());
        assert_ne!(fenced[0], fenced[1], "one of them goes on");
        assert_serves(&cluster, "beta", "with one of them");
        assert_eq!(cluster.sim.world().starts.len(), 4);
    });
}

/// If this failed, a Spark whose disk is full, or that lost what it knew of a launch, would be started into twice.
#[test]
fn a_spark_that_cannot_write_or_forgets_is_started_once() {
    paused(async {
        let cluster = Cluster::new();
        let controller = cluster.controller("a");
        cluster.sim.fault("spark1", Fault::DiskFull, Duration::from_secs(600)).unwrap();
        cluster.wish("alpha");
        cluster.settle(&controller, Duration::from_secs(300)).await;
        assert_eq!(cluster.sim.world().starts.len(), 0, "nothing could be written down, so nothing was done");
        let last = controller.events(1).unwrap();
        assert!(last[0].message.contains("cannot write"), "{last:?}");
        tokio::time::sleep(Duration::from_secs(400)).await;
        cluster.sim.world().times.launcher = Duration::from_secs(60);
        cluster.settle(&controller, Duration::from_secs(20)).await;
        assert_eq!(cluster.sim.world().sparks["spark1"].jobs.len(), 1, "the launcher is at work");
        cluster.sim.fault("spark1", Fault::Forgets, Duration::ZERO).unwrap();
        let plan = cluster.settle(&controller, HOUR).await;
        assert!(plan.is_empty(), "{}", render(&plan));
        assert_eq!(cluster.sim.world().starts.len(), 1);
        assert_serves(&cluster, "alpha", "after all");
    });
}

/// If this failed, two controllers would undo each other's work.
#[test]
fn of_two_controllers_one_acts() {
    paused(async {
        let cluster = Cluster::new();
        cluster.wish("alpha");
        let first = cluster.controller("a");
        cluster.settle(&first, HOUR).await;
        let second = cluster.controller("b");
        cluster.wish("beta");
        second.round(RoundMode::Act).await.unwrap();
        cluster.settle(&second, HOUR).await;
        cluster.wish("wide");
        let before = cluster.sim.world().acts;
        for _ in 0..20 {
            first.round(RoundMode::Act).await.unwrap();
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        assert_eq!(cluster.sim.world().acts, before, "the first does not act any more");
        let snapshot: Arc<Snapshot> = first.snapshot();
        assert!(snapshot.fenced.as_ref().is_some_and(|why| why.contains("epoch 2")), "{:?}", snapshot.fenced);
        cluster.settle(&second, HOUR).await;
        assert_serves(&cluster, "wide", "the second goes on");
    });
}
