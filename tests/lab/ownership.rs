//! What runs already: taken over when it matches, left alone until a person agrees when it does not.

use std::fs;

use crate::{
    cluster::{MODELS, SWAP, in_sync, on_one_spark, serving, settles_on},
    controller::{Controller, save, text},
    lab::{CONTAINER, Lab},
    shell::wait_until,
    spark::Spark,
    spark::whole,
};

/// As an owner would by hand: a container without our labels, and an engine in it.
fn start_by_hand(spark: &Spark, command: &[&str]) -> String {
    let run = [
        "run",
        "-d",
        "--rm",
        "--network",
        "host",
        "--name",
        CONTAINER,
        "vllm-node:latest",
        "sleep",
        "infinity",
    ];
    let id = spark.docker(&run);
    spark.docker(&[&["exec", "-d", CONTAINER, "vllm", "serve"], command].concat());
    id
}

/// If this failed, taking the program into use would cost an outage, or a stranger's container.
#[test]
fn what_matches_is_adopted_and_what_does_not_waits_for_a_person() {
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    let file = lab.directory.join("cluster.yaml");
    let alpha = [
        "lab/alpha",
        "--gpu-memory-utilization",
        "0.02",
        "--max-model-len",
        "4096",
        "--host",
        "0.0.0.0",
        "--port",
    ];
    let id = start_by_hand(spark, &[&alpha[..], &["8888", "--served-model-name", "alpha"]].concat());
    wait_until("the engine", SWAP, || serving(&lab, "alpha"));
    let manifest = |model: &str| lab.manifest(&on_one_spark(&format!("model: {model}\n{MODELS}")));

    fs::write(&file, manifest("alpha")).unwrap();
    let mut controller = Controller::serve(&lab, "data", &file);
    wait_until("the adoption", SWAP, || text(&controller.command(&["history"])).contains("adopt"));
    wait_until("a plan with nothing in it", SWAP, || in_sync(&controller));
    assert_eq!(spark.running(CONTAINER), Some(id.clone()), "nothing was restarted");
    assert_eq!(spark.starts(CONTAINER), 1);

    // Adopted means ours: an edit swaps it without a question.
    save(&file, &manifest("beta"));
    settles_on(&lab, &controller, "beta");
    controller.kill();

    // A stranger in the slot.
    spark.docker(&["rm", "-f", CONTAINER]);
    let stranger = start_by_hand(spark, &["other/model", "--port", "8888", "--served-model-name", "other"]);
    wait_until("the engine", SWAP, || serving(&lab, "other"));
    let controller = Controller::serve(&lab, "data", &file);
    wait_until("the question", SWAP, || {
        text(&controller.command(&["plan", "--now"]))
            .contains("blocked (ApprovalNeeded): it would stop or remove a container")
    });
    assert_eq!(controller.command(&["plan", "--now"]).status.code(), Some(4));
    assert_eq!(spark.running(CONTAINER), Some(stranger), "it is left alone");
    let approved = controller.command(&["approve", &controller.plan_id()]);
    assert!(approved.status.success(), "{}", text(&approved));
    settles_on(&lab, &controller, "beta");
}

/// If this failed, `apply` would do something else than `plan` printed, or act on what is no longer so.
#[test]
fn apply_performs_the_plan_that_was_printed_and_refuses_a_stale_one() {
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    let file = lab.directory.join("cluster.yaml");
    let data = lab.data("data");
    let models = spark.home().join("models/tiny");
    whole(&models);
    fs::write(models.join("config.json"), "{\"lab\":\"yes\"}").unwrap();
    let local = format!(
        "model: tiny\nmodels:\n  tiny: {{ local_path: {}, sparks: [spark1], args: {{ gpu-memory-utilization: 0.02 }} }}\n",
        models.display()
    );
    fs::write(&file, lab.manifest(&local)).unwrap();
    let command = |arguments: &[&str]| crate::controller::command(&file, &data, arguments);
    let printed = || -> serde_json::Value {
        let output = command(&["plan", "--now", "--output", "json"]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let plan = printed();
    let id = plan["id"].as_str().unwrap();
    assert_eq!(spark.audit(), "", "a look changes nothing");

    // Something stands there now that the plan did not know.
    spark.docker(&["run", "-d", "--name", CONTAINER, "vllm-node:latest", "sleep", "infinity"]);
    let refused = command(&["apply", id]);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    assert!(
        text(&refused).contains("there is a container `vllm_node` on `spark1` now"),
        "{}",
        text(&refused)
    );
    spark.docker(&["rm", "-f", CONTAINER]);

    let output = command(&["plan", "--now", "--output", "json"]);
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let applied = command(&["apply", plan["id"].as_str().unwrap()]);
    assert_eq!(applied.status.code(), Some(0), "{}", text(&applied));
    assert!(serving(&lab, "tiny"));
    assert_eq!(command(&["plan", "--now"]).status.code(), Some(0), "nothing is left to do");
    let mounted = spark.docker(&["exec", CONTAINER, "cat", &format!("{}/config.json", models.display())]);
    assert!(mounted.contains("lab"), "the model's files are at the same path inside");
    assert_eq!(command(&["apply", "no-such-plan"]).status.code(), Some(3));

    fs::write(&file, lab.manifest(&local.replace("model: tiny", "model: none"))).unwrap();
    assert_eq!(command(&["apply"]).status.code(), Some(0));
    assert_eq!(spark.running(CONTAINER), None);
    // A service that nobody can start is in the way of nothing else.
    let broken =
        "services: { lost: { kind: tts, spark: spark1, port: 8880, container: lost, state: running } }\n";
    fs::write(&file, lab.manifest(&format!("{local}{broken}"))).unwrap();
    let applied = command(&["apply"]);
    assert_eq!(applied.status.code(), Some(4), "{}", text(&applied));
    assert!(text(&applied).contains("blocked (NoContainer)"), "{}", text(&applied));
    assert!(serving(&lab, "tiny"), "the model was started all the same");
}

/// If this failed, a group that somebody started with the launcher could not be taken over, or a stranger on one of two
/// Sparks would be executed into.
#[test]
fn a_group_is_adopted_and_a_stranger_on_the_second_spark_waits_for_a_person() {
    let lab = Lab::up(2);
    let file = lab.directory.join("cluster.yaml");
    let manifest = |model: &str| lab.manifest(&format!("model: {model}\n{MODELS}"));
    // As an owner does it on the head: the launcher, without us and our labels.
    let [first, second] = [&lab.sparks[0], &lab.sparks[1]].map(|spark| spark.address.to_string());
    let words = "vllm serve lab/wide --gpu_memory_utilization=0.02 --tensor-parallel-size 2 --host 0.0.0.0 --port 8888 \
                 --served-model-name wide";
    let config = format!("CLUSTER_NODES={first},{second}\\nLOCAL_IP={first}\\nETH_IF=eth0\\n");
    lab.sparks[0].by_ssh(&format!(
        "cd spark-vllm-docker && printf '{config}' >by-hand && ./launch-cluster.sh --config by-hand -d exec {words}"
    ));
    wait_until("the engine", SWAP, || serving(&lab, "wide"));
    let ids = || lab.sparks.iter().map(|spark| spark.running(CONTAINER)).collect::<Vec<_>>();
    let before = ids();
    assert!(before.iter().all(Option::is_some), "{before:?}");
    fs::write(&file, manifest("wide")).unwrap();
    let mut controller = Controller::serve(&lab, "data", &file);
    wait_until("the adoption", SWAP, || text(&controller.command(&["history"])).contains("adopt"));
    wait_until("a plan with nothing in it", SWAP, || in_sync(&controller));
    assert_eq!(ids(), before, "nothing was restarted");
    save(&file, &manifest("none"));
    wait_until("an empty slot", SWAP, || ids().iter().all(Option::is_none));
    controller.kill();

    let stranger = start_by_hand(&lab.sparks[1], &["other/model", "--port", "9999"]);
    save(&file, &manifest("wide"));
    let controller = Controller::serve(&lab, "data", &file);
    wait_until("the question", SWAP, || {
        text(&controller.command(&["plan", "--now"])).contains("neither started nor adopted")
    });
    assert_eq!(ids(), [None, Some(stranger.clone())], "nothing is started beside it");
    let approved = controller.command(&["approve", &controller.plan_id()]);
    assert!(approved.status.success(), "{}", text(&approved));
    settles_on(&lab, &controller, "wide");
    assert_ne!(ids()[1], Some(stranger), "it was not executed into");
}
