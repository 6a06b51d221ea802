//! The main job: an edit of the file swaps the model.

use std::fs;

use crate::{
    cluster::{MODELS, SWAP, in_sync, on_one_spark, serving, settles_on},
    controller::{Controller, save, text},
    lab::{CONTAINER, Lab},
    shell::wait_until,
};

/// If this failed, the program would not do its job.
#[test]
fn an_edit_of_the_file_swaps_the_model_on_one_spark() {
    let lab = Lab::up(1);
    let file = lab.directory.join("cluster.yaml");
    fs::write(&file, lab.manifest(&on_one_spark(&format!("model: alpha\n{MODELS}")))).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "alpha");
    let spark = lab.spark("spark1");
    let first = spark.running(CONTAINER).expect("it serves from there");

    save(&file, &lab.manifest(&on_one_spark(&format!("model: beta\n{MODELS}"))));
    wait_until("beta", SWAP, || serving(&lab, "chat"));
    wait_until("a plan with nothing in it", SWAP, || in_sync(&controller));
    let second = spark.running(CONTAINER).expect("it serves from there");
    assert_ne!(first, second);
    assert_eq!(spark.starts(CONTAINER), 2, "one start for each model");
    let words = spark.engine_words(CONTAINER).expect("the engine wrote its words");
    assert_eq!(words[..2], ["serve", "lab/beta"]);
    let history = text(&controller.command(&["history"]));
    assert!(history.contains("stop and remove `vllm_node`"), "{history}");

    // Nothing happens, so nothing is looked at before the interval: looking must not wake itself.
    let rounds = || controller.ask("GET", "/snapshot")["round"].as_u64().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    let before = rounds();
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert!(rounds() <= before + 1, "{} rounds in 6 s", rounds() - before);
}

/// If this failed, a model on two Sparks could be half up, or started without its peer.
#[test]
fn an_edit_of_the_file_swaps_the_model_on_two_sparks() {
    let lab = Lab::up(2);
    let file = lab.directory.join("cluster.yaml");
    fs::write(&file, lab.manifest(&format!("model: wide\n{MODELS}"))).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "wide");
    for spark in &lab.sparks {
        let words = spark.engine_words(CONTAINER).expect("a rank on each Spark");
        assert_eq!(words[..2], ["serve", "lab/wide"], "{}", spark.name);
        assert_eq!(words.contains(&"--headless".to_owned()), spark.name == "spark2");
    }

    save(&file, &lab.manifest(&format!("model: beta\n{MODELS}")));
    settles_on(&lab, &controller, "beta");
    assert_eq!(lab.spark("spark2").running(CONTAINER), None, "the other rank is gone");

    save(&file, &lab.manifest(&format!("model: none\n{MODELS}")));
    wait_until("an empty slot", SWAP, || lab.sparks.iter().all(|spark| spark.running(CONTAINER).is_none()));
    for spark in &lab.sparks {
        let audit = spark.audit();
        let good =
            |line: &str| line.ends_with("-> done") || line.contains("check  -> said {\"is\": \"valid\"");
        assert!(audit.lines().all(good), "{audit}");
    }
}

/// If this failed, a Spark that is only silent could be taken for an empty one.
#[test]
fn an_unreachable_spark_blocks_its_model_and_nothing_is_stopped() {
    let lab = Lab::up(2);
    let file = lab.directory.join("cluster.yaml");
    fs::write(&file, lab.manifest(&format!("model: alpha\n{MODELS}"))).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    wait_until("alpha", SWAP, || serving(&lab, "alpha"));
    let before = lab.spark("spark1").running(CONTAINER);
    lab.spark("spark2").cut();
    save(&file, &lab.manifest(&format!("model: wide\n{MODELS}")));
    wait_until("the plan to say so", SWAP, || {
        text(&controller.command(&["plan", "--now"])).contains("blocked (Unreachable)")
    });
    assert_eq!(controller.command(&["plan", "--now"]).status.code(), Some(4));
    assert_eq!(lab.spark("spark1").running(CONTAINER), before, "what serves is left alone");
    lab.spark("spark2").mend();
    settles_on(&lab, &controller, "wide");
    for spark in &lab.sparks {
        assert!(spark.running(CONTAINER).is_some(), "{} has its rank", spark.name);
    }
}

/// If this failed, a cable pulled in the middle of a load would cost the load, or a second start.
#[test]
fn a_spark_that_is_silent_in_the_middle_of_a_swap_costs_only_time() {
    let lab = Lab::up(2);
    let file = lab.directory.join("cluster.yaml");
    let slow = MODELS.replace("repo: lab/wide", "repo: lab/wide\n    env: { LAB_LOAD_MS: \"20000\" }");
    let quick = format!("reconcile: {{ interval: 2s }}\n{slow}");
    fs::write(&file, lab.manifest(&format!("model: alpha\n{quick}"))).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "alpha");
    save(&file, &lab.manifest(&format!("model: wide\n{quick}")));
    wait_until("both ranks", SWAP, || {
        lab.sparks
            .iter()
            .all(|spark| spark.engine_words(CONTAINER).is_some_and(|words| words[1] == "lab/wide"))
    });
    let ranks: Vec<_> = lab.sparks.iter().map(|spark| spark.running(CONTAINER)).collect();
    lab.spark("spark2").cut();
    wait_until("the silence to be seen", SWAP, || {
        text(&controller.command(&["status", "--now"])).contains("spark2: UNREACHABLE")
    });
    // Longer than the load: it ends while nobody can see all of it.
    std::thread::sleep(std::time::Duration::from_secs(20));
    let status = text(&controller.command(&["status", "--now"]));
    assert!(status.contains("LoadInProgress"), "{status}");
    lab.spark("spark2").mend();
    settles_on(&lab, &controller, "wide");
    let now: Vec<_> = lab.sparks.iter().map(|spark| spark.running(CONTAINER)).collect();
    assert_eq!(now, ranks, "nothing was started twice");
}

/// If this failed, the controller could not live on a Spark.
#[test]
fn a_controller_on_the_spark_itself_needs_no_ssh() {
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    let file = lab.directory.join("cluster.yaml");
    let manifest = |model: &str| {
        let text = lab.manifest(&on_one_spark(&format!("model: {model}\n{MODELS}")));
        let user = format!("user: root, key: {}", lab.directory.join("key").display());
        assert!(text.contains(&user), "{text}");
        text.replace(&user, "transport: local")
    };
    fs::write(&file, manifest("alpha")).unwrap();
    spark.stop_sshd();
    let controller = Controller::serve_on(&lab, spark, "data", &file);
    wait_until("alpha", SWAP, || serving(&lab, "alpha"));
    save(&file, &manifest("beta"));
    wait_until("beta", SWAP, || serving(&lab, "beta"));
    assert_eq!(spark.starts(CONTAINER), 2);
    wait_until("the controller to know", SWAP, || {
        text(&controller.command(&["history"])).contains("`beta` is ready")
    });
}
