//! Services beside the slot: kept when the file says a state, never touched when it does not.

use std::fs;

use crate::{
    cluster::{MODELS, SWAP, on_one_spark},
    controller::{Controller, save, text},
    lab::Lab,
    shell::wait_until,
};

/// The id of the plan that says so.
fn wait_for_plan(controller: &Controller, part: &str) -> String {
    wait_until(part, SWAP, || text(&controller.command(&["plan", "--now"])).contains(part));
    controller.plan_id()
}

/// If this failed, a service that the owner runs by hand would be started or stopped, or one that is to run would not.
#[test]
fn services_with_a_state_are_kept_and_others_are_left_alone() {
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    for (name, port) in [("kept", "9001"), ("unwanted", "9002"), ("watched", "9003"), ("disabled", "9004")] {
        let serve =
            ["run", "-d", "--network", "host", "--name", name, "vllm-node:latest", "vllm", "serve", "x"];
        spark.docker(&[&serve[..], &["--port", port]].concat());
    }
    spark.docker(&["stop", "--time", "1", "kept"]);
    let crash = ["run", "-d", "--restart", "always", "--name", "crashing", "vllm-node:latest"];
    spark.docker(&[&crash[..], &["sh", "-c", "echo I give up; exit 3"]].concat());
    let file = lab.directory.join("cluster.yaml");
    let services = |unwanted: &str| {
        lab.manifest(&on_one_spark(&format!(
            "model: none\n{MODELS}services:
  kept: {{ kind: http, spark: spark1, port: 9001, path: /health, container: kept, state: running }}
  unwanted: {{ kind: http, spark: spark1, port: 9002, path: /health, container: unwanted, state: {unwanted} }}
  watched: {{ kind: vllm, spark: spark1, port: 9003, container: watched }}
  disabled: {{ kind: asr, spark: spark1, port: 9001, container: disabled, state: stopped }}
  crashing: {{ kind: bot, spark: spark1, user: nobody, container: crashing }}
disabled_services: [disabled]
reconcile: {{ interval: 2s }}
"
        )))
    };
    fs::write(&file, services("stopped")).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    wait_until("the wanted service", SWAP, || spark.running("kept").is_some());
    // It ran before anybody of ours saw it stopped: a person must agree.
    let plan = wait_for_plan(&controller, "neither started nor adopted");
    assert!(spark.running("unwanted").is_some());
    assert!(controller.command(&["approve", &plan]).status.success());
    wait_until("the unwanted service to stop", SWAP, || spark.running("unwanted").is_none());
    assert!(
        !spark.docker(&["inspect", "--format", "{{.State.Status}}", "unwanted"]).is_empty(),
        "it is not removed"
    );
    wait_until("a quiet plan", SWAP, || controller.command(&["plan", "--now"]).status.code() == Some(0));
    let status = text(&controller.command(&["status", "--now"]));
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("kept").contains("running") && line("kept").contains("up"), "{status}");
    assert!(line("watched").contains("watched") && line("watched").contains("Healthy"), "{status}");
    assert_eq!(line("disabled"), "", "{status}");
    // Docker starts it again by itself, later and later.
    wait_until("the crash to be seen", SWAP, || {
        let status = text(&controller.command(&["status", "--now"]));
        status
            .lines()
            .any(|line| line.starts_with("crashing") && line.contains("restarting: it ended with code 3"))
    });

    // Behind its back: what is kept comes back, what is watched does not.
    spark.docker(&["stop", "--time", "1", "kept", "watched"]);
    wait_until("the kept service", SWAP, || spark.running("kept").is_some());
    wait_until("the watched one to be seen down", SWAP, || {
        let status = text(&controller.command(&["status", "--now"]));
        status.lines().any(|line| line.starts_with("watched") && line.contains("down"))
    });
    assert_eq!(spark.running("watched"), None);
    assert!(spark.running("disabled").is_some(), "disabled is not touched, whatever its state says");

    // Repair never stops what answers: somebody started it by hand.
    spark.docker(&["start", "unwanted"]);
    wait_until("the question", SWAP, || {
        text(&controller.command(&["plan", "--now"])).contains("which never stops what answers")
    });
    assert!(spark.running("unwanted").is_some());
    save(&file, &services("running"));
    wait_until("a quiet plan", SWAP, || controller.command(&["plan", "--now"]).status.code() == Some(0));
}
