//! One actor per Spark, whatever dies and whoever else tries.

use std::fs;

use crate::{
    cluster::{MODELS, SWAP, on_one_spark, serving, settles_on},
    controller::{Controller, save, text},
    lab::{CONTAINER, Lab},
    shell::wait_until,
    spark::Spark,
};

/// When the controller dies.
struct Phase {
    name: &'static str,
    /// What the log has said since the edit, or what the Sparks show.
    is_reached: fn(&str, &Lab) -> bool,
}

fn sent(log: &str, step: &str) -> bool {
    log.lines().any(|line| line.contains(step) && !line.contains("outcome="))
}

fn done(log: &str, step: &str) -> bool {
    log.lines().any(|line| line.contains(step) && line.contains("outcome=\"done\""))
}

/// For each phase: an edit, the controller killed when the phase is reached, another one started, and one start of each
/// rank to show for it.
fn killed_in(phases: &[Phase]) {
    let lab = Lab::up(2);
    let file = lab.directory.join("cluster.yaml");
    let slow = MODELS.replace("repo: lab/wide", "repo: lab/wide\n    env: { LAB_LOAD_MS: \"4000\" }");
    fs::write(&file, lab.manifest(&format!("model: beta\n{slow}"))).unwrap();
    let mut controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "beta");
    let starts = || lab.sparks.iter().map(|spark| spark.starts(CONTAINER)).collect::<Vec<_>>();
    for (count, Phase { name, is_reached }) in phases.iter().enumerate() {
        // To both Sparks, and back to one.
        let model = if count % 2 == 0 { "wide" } else { "beta" };
        let before = starts();
        let seen = controller.log().len();
        save(&file, &lab.manifest(&format!("model: {model}\n{slow}")));
        wait_until(name, SWAP, || is_reached(&controller.log()[seen..], &lab));
        controller.kill();
        let log = controller.log()[seen..].to_owned();
        assert!(!log.contains("is ready after"), "{name}: it was over already\n{log}");
        controller = Controller::serve(&lab, "data", &file);
        settles_on(&lab, &controller, model);
        let expected =
            if model == "wide" { [before[0] + 1, before[1] + 1] } else { [before[0] + 1, before[1]] };
        assert_eq!(starts(), expected, "{name}");
    }
}

/// If this failed, a controller that dies before the launch would leave the slot empty, or start a model twice.
#[test]
fn killed_before_the_launch_it_resumes_and_starts_nothing_twice() {
    killed_in(&[
        Phase { name: "the wish is known", is_reached: |log, _| log.contains("the file is in force") },
        Phase { name: "the stop is sent", is_reached: |log, _| sent(log, "stop and remove") },
        Phase { name: "the stop is done", is_reached: |log, _| done(log, "stop and remove") },
        Phase {
            name: "the memory is watched",
            is_reached: |log, lab| {
                done(log, "stop and remove") && lab.spark("spark1").running(CONTAINER).is_none()
            },
        },
        Phase { name: "the fences are sent", is_reached: |log, _| sent(log, "reserve spark") },
    ]);
}

/// If this failed, a controller that dies while a model is launched or loads would start it twice, or give it up.
#[test]
fn killed_after_the_launch_it_resumes_and_starts_nothing_twice() {
    killed_in(&[
        Phase { name: "the launch is sent", is_reached: |log, _| sent(log, "launch `wide`") },
        Phase { name: "the other launch is sent", is_reached: |log, _| sent(log, "launch `beta`") },
        Phase { name: "the launch is done", is_reached: |log, _| done(log, "launch `wide`") },
        Phase { name: "the other launch is done", is_reached: |log, _| done(log, "launch `beta`") },
        Phase {
            name: "the model loads",
            is_reached: |log, lab| {
                let loads =
                    |spark: &Spark| spark.engine_words(CONTAINER).is_some_and(|words| words[1] == "lab/wide");
                done(log, "launch `wide`") && lab.sparks.iter().all(loads)
            },
        },
    ]);
}

/// If this failed, a Spark that is cut off in the middle of a swap would cost a second start, or the swap.
#[test]
fn a_head_that_is_silent_in_any_phase_costs_only_time() {
    let lab = Lab::up(2);
    let file = lab.directory.join("cluster.yaml");
    let quick = format!("reconcile: {{ interval: 2s }}\n{MODELS}");
    fs::write(&file, lab.manifest(&format!("model: beta\n{quick}"))).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "beta");
    let starts = || lab.sparks.iter().map(|spark| spark.starts(CONTAINER)).collect::<Vec<_>>();
    let head = lab.spark("spark1");
    let phases = [
        Phase { name: "the stop is sent", is_reached: |log, _| sent(log, "stop and remove") },
        Phase { name: "the memory is watched", is_reached: |log, _| done(log, "stop and remove") },
        Phase { name: "the launch is sent", is_reached: |log, _| sent(log, "launch `wide`") },
    ];
    for (count, Phase { name, is_reached }) in phases.iter().enumerate() {
        let model = if count % 2 == 0 { "wide" } else { "beta" };
        let before = starts();
        let seen = controller.log().len();
        save(&file, &lab.manifest(&format!("model: {model}\n{quick}")));
        wait_until(name, SWAP, || is_reached(&controller.log()[seen..], &lab));
        head.cut();
        wait_until("the silence to be seen", SWAP, || {
            text(&controller.command(&["status", "--now"])).contains("spark1: UNREACHABLE")
        });
        head.mend();
        settles_on(&lab, &controller, model);
        let expected =
            if model == "wide" { [before[0] + 1, before[1] + 1] } else { [before[0] + 1, before[1]] };
        assert_eq!(starts(), expected, "{name}");
    }
}

/// If this failed, two controllers would undo each other's work for ever.
#[test]
fn of_two_controllers_the_older_epoch_stops_acting() {
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    let manifest = |model: &str| lab.manifest(&on_one_spark(&format!("model: {model}\n{MODELS}")));
    let (first_file, second_file) = (lab.directory.join("first.yaml"), lab.directory.join("second.yaml"));
    fs::write(&first_file, manifest("alpha")).unwrap();
    fs::write(&second_file, manifest("beta")).unwrap();
    let first = Controller::serve(&lab, "first", &first_file);
    settles_on(&lab, &first, "alpha");

    let second = Controller::serve(&lab, "second", &second_file);
    wait_until("beta", SWAP, || serving(&lab, "beta"));
    wait_until("the first to know", SWAP, || {
        let status = first.command(&["status", "--now"]);
        text(&status).contains("FENCED") && status.status.code() == Some(4)
    });
    let kept = spark.running(CONTAINER);
    let acts = spark.audit().lines().count();
    // Its own wish changes nothing any more.
    save(&first_file, &manifest("none"));
    wait_until("the first to read its file", SWAP, || {
        text(&first.command(&["plan", "--now"])).contains("blocked (Fenced)")
    });
    assert_eq!(spark.running(CONTAINER), kept);
    assert_eq!(spark.audit().lines().count(), acts, "{}", spark.audit());
    settles_on(&lab, &second, "beta");
}
