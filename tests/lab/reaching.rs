//! The way to a Spark, and what breaks it. Each of these costs a look or two, never a model.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    cluster::{MODELS, SWAP, on_one_spark, settles_on},
    controller::{Controller, text},
    lab::{CONTAINER, Lab},
    shell::{sh, wait_until},
};

fn manifest(lab: &Lab) -> String {
    lab.manifest(&on_one_spark(&format!("model: alpha\nreconcile: {{ interval: 2s }}\n{MODELS}")))
}

fn reachable(controller: &Controller) -> bool {
    text(&controller.command(&["status", "--now"])).contains("spark1: reachable")
}

/// Process ids of ssh masters whose sockets are below that folder.
fn masters(folder: &Path) -> Vec<String> {
    let found = sh(&format!("pgrep -f 'ss[h].*{}' || true", folder.display()));
    found.lines().map(str::to_owned).collect()
}

/// If this failed, a connection that broke would stay broken, or take a model with it.
#[test]
fn a_master_that_dies_and_an_sshd_that_restarts_cost_a_look() {
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    let file = lab.directory.join("cluster.yaml");
    let runtime = lab.directory.join("run");
    fs::create_dir_all(&runtime).unwrap();
    fs::write(&file, manifest(&lab)).unwrap();
    let controller = Controller::serve_with(&lab, "data", &file, "XDG_RUNTIME_DIR", &runtime);
    settles_on(&lab, &controller, "alpha");
    let before = spark.running(CONTAINER);

    let old = masters(&runtime);
    assert!(!old.is_empty(), "its sockets are in {}", runtime.display());
    for pid in &old {
        sh(&format!("kill -KILL {pid} || true"));
    }
    wait_until("another master", SWAP, || {
        let now = masters(&runtime);
        !now.is_empty() && now.iter().all(|pid| !old.contains(pid)) && reachable(&controller)
    });

    spark.stop_sshd();
    wait_until("the silence to be told", SWAP, || !reachable(&controller));
    let told = text(&controller.command(&["status", "--now"]));
    assert!(told.contains("UNREACHABLE since"), "{told}");
    spark.start_sshd();
    wait_until("the Spark to be back", SWAP, || reachable(&controller));
    settles_on(&lab, &controller, "alpha");
    assert_eq!(spark.running(CONTAINER), before);
    assert_eq!(spark.starts(CONTAINER), 1);
}

/// If this failed, an owner's careful sshd or slow shell would look like a dead Spark.
#[test]
fn one_session_and_a_slow_shell_are_enough() {
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    spark.stop_sshd();
    let config = spark.directory.join("sshd_config");
    let text_now = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text_now}MaxSessions 1\n")).unwrap();
    fs::write(spark.home().join(".bashrc"), "sleep 1.5\n").unwrap();
    spark.start_sshd();
    let file = lab.directory.join("cluster.yaml");
    fs::write(&file, manifest(&lab)).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "alpha");
    let looked = controller.ask("POST", "/look")["looked_ms"].as_u64().unwrap();
    assert!(looked >= 1500, "the shell is slow: {looked} ms");
    assert_eq!(spark.starts(CONTAINER), 1);
}

/// If this failed, a controller in a container could not start a second time, or not below a long path.
#[test]
fn stale_sockets_and_long_paths_are_in_nobodys_way() {
    let lab = Lab::up(1);
    let file = lab.directory.join("cluster.yaml");
    fs::write(&file, manifest(&lab)).unwrap();
    let runtime = lab.directory.join("run");
    fs::create_dir_all(&runtime).unwrap();
    let mut controller = Controller::serve_with(&lab, "data", &file, "XDG_RUNTIME_DIR", &runtime);
    settles_on(&lab, &controller, "alpha");
    let folder = fs::read_dir(&runtime).unwrap().next().unwrap().unwrap().path();
    controller.kill();
    for pid in masters(&runtime) {
        sh(&format!("kill -KILL {pid} || true"));
    }
    drop(UnixListener::bind(folder.join("1-0.sock")).unwrap());
    let stale = || sh(&format!("find {} -type s | wc -l", folder.display())).trim().parse::<usize>().unwrap();
    assert!(stale() >= 2, "what was killed left its sockets");
    let controller = Controller::serve_with(&lab, "data", &file, "XDG_RUNTIME_DIR", &runtime);
    wait_until("the Spark", SWAP, || reachable(&controller));
    assert!(!folder.join("1-0.sock").exists());
    drop(controller);

    let long = lab.directory.join("a-very-long-name-for-a-folder-of-sockets/".repeat(3));
    fs::create_dir_all(&long).unwrap();
    let controller = Controller::serve_with(&lab, "data", &file, "XDG_RUNTIME_DIR", &long);
    wait_until("the Spark, by a short path", SWAP, || reachable(&controller));
}

/// If this failed, a program that hangs on a Spark would be started again with each look, until the Spark is full of them.
#[test]
fn what_hangs_on_a_spark_ends_by_itself() {
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    let hangs = spark.directory.join("bin/pgrep");
    fs::write(&hangs, "#!/bin/sh\nexec sleep 987654\n").unwrap();
    fs::set_permissions(&hangs, fs::Permissions::from_mode(0o755)).unwrap();
    let file = lab.directory.join("cluster.yaml");
    fs::write(&file, manifest(&lab)).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    wait_until("the silence to be told", SWAP, || {
        text(&controller.command(&["status", "--now"])).contains("it did not answer within")
    });
    let hanging = || sh("pgrep -cf '^sleep 987654' || true").trim().parse::<usize>().unwrap();
    assert!(hanging() >= 1);
    let began = Instant::now();
    let mut most = 0;
    while began.elapsed() < Duration::from_secs(60) {
        most = most.max(hanging());
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(most <= 4, "{most} at once");
    fs::remove_file(&hangs).unwrap();
    sh("pkill -f '^sleep 987654' || true");
    wait_until("the Spark to be back", SWAP, || reachable(&controller));
}

/// If this failed, each crash would leave a connection to each Spark behind.
#[test]
fn a_killed_controller_leaves_no_master() {
    let lab = Lab::up(1);
    let file = lab.directory.join("cluster.yaml");
    let runtime = lab.directory.join("run");
    fs::create_dir_all(&runtime).unwrap();
    fs::write(&file, manifest(&lab)).unwrap();
    let mut controller = Controller::serve_with(&lab, "data", &file, "XDG_RUNTIME_DIR", &runtime);
    settles_on(&lab, &controller, "alpha");
    assert!(!masters(&runtime).is_empty());
    controller.kill();
    wait_until("the master to end", Duration::from_secs(60), || masters(&runtime).is_empty());
}
