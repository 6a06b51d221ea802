//! Host keys: pinned by a person, and a changed one is nobody we know.

use std::fs;

use crate::{
    cluster::{MODELS, SWAP, on_one_spark, serving, settles_on},
    controller::{Controller, text},
    lab::{CONTAINER, Lab},
    shell::{sh, wait_until},
};

/// If this failed, somebody in the middle would be obeyed, or a reinstalled Spark could not be trusted again.
#[test]
fn a_changed_host_key_is_refused_until_it_is_trusted_again() {
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    let file = lab.directory.join("cluster.yaml");
    let quick = "reconcile: { interval: 2s }\n";
    fs::write(&file, lab.manifest(&on_one_spark(&format!("model: alpha\n{quick}{MODELS}")))).unwrap();
    let mut controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "alpha");
    let before = spark.running(CONTAINER);
    controller.kill();

    spark.stop_sshd();
    let key = spark.directory.join("host_key");
    fs::remove_file(&key).unwrap();
    sh(&format!("ssh-keygen -q -t ed25519 -N '' -f {}", key.display()));
    spark.start_sshd();
    let known = controller.data.join("known_hosts");
    let pinned = fs::read_to_string(&known).unwrap();
    // `Controller::serve` would pin the lab's keys: this one keeps what was pinned.
    let controller = Controller::resume(&controller.data, &file);
    wait_until("the refusal", SWAP, || {
        let status = text(&controller.command(&["status", "--now"]));
        status.contains("spark1: UNREACHABLE") && status.to_lowercase().contains("host key")
    });
    assert_eq!(spark.running(CONTAINER), before, "what serves is left alone");
    assert!(serving(&lab, "alpha"));

    let shown = controller.command(&["trust", "spark1"]);
    assert_eq!(shown.status.code(), Some(2), "{}", text(&shown));
    assert_eq!(fs::read_to_string(&known).unwrap(), pinned, "showing pins nothing");
    let known = |word: &str| {
        let shown = text(&controller.command(&["trust", "spark1", "--output", "json"]));
        assert!(shown.contains(&format!("\"known\": \"{word}\"")), "{shown}");
    };
    known("other");
    let wrong = controller.command(&["trust", "spark1", "--fingerprint", "SHA256:0000"]);
    assert_eq!(wrong.status.code(), Some(3), "{}", text(&wrong));
    let fingerprint = text(&shown);
    let fingerprint = fingerprint.split_whitespace().find(|word| word.starts_with("SHA256:")).unwrap();
    let pinning = controller.command(&["trust", "spark1", "--fingerprint", fingerprint]);
    assert!(pinning.status.success(), "{}", text(&pinning));
    known("same");
    wait_until("the Spark to be back", SWAP, || {
        text(&controller.command(&["status", "--now"])).contains("spark1: reachable")
    });
    wait_until("a quiet plan", SWAP, || controller.command(&["plan", "--now"]).status.code() == Some(0));
    assert_eq!(spark.running(CONTAINER), before);
}
