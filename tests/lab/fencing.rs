//! One actor per Spark, whatever dies and whoever else tries.

use std::fs;

use crate::{
    cluster::{MODELS, SWAP, on_one_spark, serving, settles_on},
    controller::{Controller, save, text},
    lab::{CONTAINER, Lab},
    shell::wait_until,
};

/// If this failed, a controller that dies in a swap would leave the slot empty, or start a model twice.
#[test]
fn a_controller_killed_in_every_phase_resumes_and_starts_nothing_twice() {
    let lab = Lab::up(2);
    let file = lab.directory.join("cluster.yaml");
    let slow = MODELS.replace("repo: lab/wide", "repo: lab/wide\n    env: { LAB_LOAD_MS: \"4000\" }");
    fs::write(&file, lab.manifest(&format!("model: beta\n{slow}"))).unwrap();
    let mut controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "beta");
    save(&file, &lab.manifest(&format!("model: wide\n{slow}")));
    // Each line is a phase: the wish is known, the stop is sent, it is done, the fences, the launch, it is done, it is
    // ready. The controller dies as soon as it says so.
    let phases = [
        "the file is in force",
        "stop and remove `vllm_node`",
        "stop and remove `vllm_node` ",
        "fence off older messages on spark1",
        "launch `wide`",
        "launch `wide` ",
        "`wide` is ready",
    ];
    let mut kills = 0;
    for phase in phases {
        let seen = controller.log().len();
        wait_until(phase, SWAP, || {
            let log = controller.log();
            log[seen.min(log.len())..].contains(phase.trim_end()) || log.contains("`wide` is ready")
        });
        controller.kill();
        kills += 1;
        controller = Controller::serve(&lab, "data", &file);
    }
    assert_eq!(kills, phases.len());
    settles_on(&lab, &controller, "wide");
    assert_eq!(lab.spark("spark1").starts(CONTAINER), 2, "beta once, wide once");
    assert_eq!(lab.spark("spark2").starts(CONTAINER), 1, "wide once");
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
        let status = first.command(&["status"]);
        text(&status).contains("FENCED") && status.status.code() == Some(4)
    });
    let kept = spark.running(CONTAINER);
    let acts = spark.audit().lines().count();
    // Its own wish changes nothing any more.
    save(&first_file, &manifest("none"));
    wait_until("the first to read its file", SWAP, || {
        text(&first.command(&["plan"])).contains("blocked (Fenced)")
    });
    assert_eq!(spark.running(CONTAINER), kept);
    assert_eq!(spark.audit().lines().count(), acts, "{}", spark.audit());
    settles_on(&lab, &second, "beta");
}
