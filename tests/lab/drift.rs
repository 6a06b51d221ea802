//! What goes wrong behind the controller's back is seen, told, and repaired.

use std::fs;

use crate::{
    cluster::{MODELS, SWAP, on_one_spark, serving, settles_on},
    controller::{Controller, save, text},
    lab::{CONTAINER, Lab},
    shell::wait_until,
};

/// If this failed, a stopped container, a dead engine or a launcher that lies would stay unnoticed, or be believed.
#[test]
fn what_is_lost_on_one_spark_is_started_again() {
    let lab = Lab::up(1);
    let file = lab.directory.join("cluster.yaml");
    fs::write(&file, lab.manifest(&on_one_spark(&format!("model: alpha\n{MODELS}")))).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "alpha");
    let spark = lab.spark("spark1");

    // `docker stop` by hand; the launcher's containers vanish with it.
    let first = spark.running(CONTAINER).expect("it serves from there");
    spark.docker(&["stop", "--time", "1", CONTAINER]);
    wait_until("another container", SWAP, || spark.running(CONTAINER).is_some_and(|now| now != first));
    settles_on(&lab, &controller, "alpha");
    assert!(controller.command(&["retry", "vllm", "--yes"]).status.success());

    // The engine dies, its container lives.
    let second = spark.running(CONTAINER).expect("it serves from there");
    let engine = spark.docker(&["top", CONTAINER, "-eo", "pid,args"]);
    let pid = engine.lines().find(|line| line.contains("vllm serve")).expect("an engine").trim();
    let pid = pid.split(' ').next().expect("its process id");
    crate::shell::sh(&format!("kill -KILL {pid}"));
    wait_until("the container to be replaced", SWAP, || {
        spark.running(CONTAINER).is_some_and(|now| now != second)
    });
    settles_on(&lab, &controller, "alpha");
    let history = text(&controller.command(&["history"]));
    assert!(history.contains("no engine runs in `vllm_node`"), "{history}");
    assert!(controller.command(&["retry", "vllm", "--yes"]).status.success());

    // A launcher that says that all is well and starts nothing.
    fs::write(spark.home().join("start-nothing"), "").unwrap();
    save(&file, &lab.manifest(&on_one_spark(&format!("model: beta\n{MODELS}"))));
    wait_until("the lie to be noticed", SWAP, || {
        text(&controller.command(&["history"])).contains("`beta` failed: `vllm_node` is not running")
    });
    assert_eq!(spark.running(CONTAINER), None, "the engine says that nothing was started");
    fs::remove_file(spark.home().join("start-nothing")).unwrap();
    settles_on(&lab, &controller, "beta");
}

/// If this failed, an edit or a lost container would be found only at the next full pass.
#[test]
fn docker_events_and_edits_wake_the_loop() {
    let lab = Lab::up(1);
    let file = lab.directory.join("cluster.yaml");
    let manifest = |model: &str| {
        lab.manifest(&on_one_spark(&format!("model: {model}\nreconcile: {{ interval: 24h }}\n{MODELS}")))
    };
    fs::write(&file, manifest("alpha")).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    let spark = lab.spark("spark1");
    let settled = |model: &str| {
        wait_until(model, SWAP, || serving(&lab, model));
        // Without a command: each of those wakes the loop too.
        wait_until("it to be known", SWAP, || controller.log().contains(&format!("`{model}` is ready")));
    };
    settled("alpha");
    std::thread::sleep(std::time::Duration::from_secs(5));
    let first = spark.running(CONTAINER).expect("it serves from there");
    spark.docker(&["stop", "--time", "1", CONTAINER]);
    wait_until("another container", SWAP, || spark.running(CONTAINER).is_some_and(|now| now != first));
    wait_until("alpha", SWAP, || controller.log().matches("`alpha` is ready").count() == 2);
    std::thread::sleep(std::time::Duration::from_secs(5));
    save(&file, &manifest("beta"));
    settled("beta");
}

/// If this failed, a group could go on half up, or its two halves be of two starts.
#[test]
fn a_missing_rank_is_half_up_and_the_group_is_started_again() {
    let lab = Lab::up(2);
    let file = lab.directory.join("cluster.yaml");
    fs::write(&file, lab.manifest(&format!("model: wide\n{MODELS}"))).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "wide");
    let before: Vec<_> = lab.sparks.iter().map(|spark| spark.running(CONTAINER)).collect();
    lab.spark("spark2").docker(&["rm", "-f", CONTAINER]);
    wait_until("a new group", SWAP, || {
        lab.sparks.iter().zip(&before).all(|(spark, before)| {
            let now = spark.running(CONTAINER);
            now.is_some() && now != *before
        })
    });
    settles_on(&lab, &controller, "wide");
    let history = text(&controller.command(&["history"]));
    assert!(history.contains("on `spark2`: somebody told Docker to end it (signal 9)"), "{history}");
    for spark in &lab.sparks {
        assert_eq!(spark.starts(CONTAINER), 2, "{}: one start for each group", spark.name);
    }
}

/// If this failed, a broken model would be loaded again and again, or take the working one with it for good.
#[test]
fn a_load_that_fails_twice_falls_back_to_what_served() {
    let lab = Lab::up(1);
    let file = lab.directory.join("cluster.yaml");
    let models =
        on_one_spark(MODELS).replace("repo: lab/beta", "repo: lab/beta\n    env: { LAB_FAIL: crash }");
    fs::write(&file, lab.manifest(&format!("model: alpha\n{models}"))).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "alpha");
    save(&file, &lab.manifest(&format!("model: beta\n{models}")));
    wait_until("the fallback", SWAP * 2, || {
        text(&controller.command(&["plan", "--now"])).contains("so `alpha` serves")
    });
    assert!(serving(&lab, "alpha"));
    assert_eq!(lab.spark("spark1").starts(CONTAINER), 4, "alpha, beta twice, alpha");
    // Another try stops what serves: nobody who is not told so gets that.
    let retry = controller.command(&["retry", "vllm"]);
    assert_eq!(retry.status.code(), Some(2), "{}", text(&retry));
    let told = text(&retry);
    assert!(told.contains("swap `alpha` for `beta`") && told.contains("outage: "), "{told}");
    assert!(told.contains("nothing was done: there is nobody to ask; `--yes` does it"), "{told}");
    let log = text(&controller.command(&["history"]));
    assert!(!log.contains("a retry was asked for"), "{log}");
    let log = text(&controller.command(&["logs", "vllm"]));
    assert!(log.contains("Starting to load model lab/alpha") && log.contains("vllm_node on spark1"), "{log}");
    let log = text(&controller.command(&["logs", "vllm", "--saved"]));
    assert!(log.contains("NCCL error"), "the failed load's last words are kept: {log}");
    let log = controller.command(&["logs", "vlm"]);
    assert_eq!(log.status.code(), Some(1));
    assert!(text(&log).contains("did you mean `vllm`?"), "{}", text(&log));
    assert!(fs::read_to_string(&file).unwrap().contains("model: beta"), "the file stays as written");

    // What the engine names is not tried twice.
    save(
        &file,
        &lab.manifest(&format!("model: beta\n{}", models.replace("LAB_FAIL: crash", "LAB_FAIL: load"))),
    );
    wait_until("the fallback again", SWAP * 2, || {
        let history = text(&controller.command(&["history"]));
        let plan = text(&controller.command(&["plan", "--now"]));
        history.contains("Free memory on device") && plan.contains("so `alpha` serves")
    });
    assert_eq!(lab.spark("spark1").starts(CONTAINER), 6, "and beta once, and alpha");
}
