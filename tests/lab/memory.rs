//! The gate between a stop and the next start.

use std::fs;

use crate::{
    cluster::{MODELS, SWAP, on_one_spark, serving, settles_on},
    controller::{Controller, save, text},
    lab::{CONTAINER, Lab},
    shell::wait_until,
};

const TOTAL_KIB: u64 = 127_535_104;

fn meminfo(available_kib: u64) -> String {
    format!(
        "MemTotal: {TOTAL_KIB} kB\nMemFree: 1000000 kB\nMemAvailable: {available_kib} kB\nSwapTotal: 0 kB\n"
    )
}

/// If this failed, a model could be started into memory that the last one still holds.
#[test]
fn a_start_waits_until_the_memory_is_back() {
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    let file = lab.directory.join("cluster.yaml");
    let manifest = |model: &str| lab.manifest(&on_one_spark(&format!("model: {model}\n{MODELS}")));
    let file_of_memory = spark.directory.join("meminfo");
    fs::write(&file_of_memory, meminfo(120_000_000)).unwrap();
    spark.show_meminfo(&file_of_memory);
    fs::write(&file, manifest("alpha")).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "alpha");

    // 2 % of the memory and half a GiB are needed: this is less.
    fs::write(&file_of_memory, meminfo(1_000_000)).unwrap();
    save(&file, &manifest("beta"));
    wait_until("the gate", SWAP, || {
        text(&controller.command(&["status", "--now"]))
            .contains("MemoryNotReleased: 1.0 GiB free on `spark1`")
    });
    assert_eq!(spark.running(CONTAINER), None, "the old one is gone, the new one waits");
    assert_eq!(spark.starts(CONTAINER), 1);
    fs::write(&file_of_memory, meminfo(120_000_000)).unwrap();
    settles_on(&lab, &controller, "beta");
    assert!(serving(&lab, "chat"));
    assert_eq!(spark.starts(CONTAINER), 2);
}

/// If this failed, a Spark that runs out of memory would go silent with everything on it, or its model be started into that again.
#[test]
fn a_model_is_given_up_before_its_spark_runs_out_of_memory() {
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    let file = lab.directory.join("cluster.yaml");
    let file_of_memory = spark.directory.join("meminfo");
    fs::write(&file_of_memory, meminfo(120_000_000)).unwrap();
    spark.show_meminfo(&file_of_memory);
    // Only the open stream looks this often.
    let manifest = format!("model: alpha\nreconcile: {{ interval: 10m }}\n{MODELS}");
    fs::write(&file, lab.manifest(&on_one_spark(&manifest))).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "alpha");
    // Half a GiB is to stay free.
    fs::write(&file_of_memory, meminfo(200_000)).unwrap();
    wait_until("the model to be stopped", SWAP, || spark.running(CONTAINER).is_none());
    fs::write(&file_of_memory, meminfo(120_000_000)).unwrap();
    wait_until("why to be told", SWAP, || {
        let status = text(&controller.command(&["status", "--now"]));
        status.contains("MemoryFloor: it was stopped: only 0.2 GiB were free on `spark1`")
    });
    assert_eq!(spark.starts(CONTAINER), 1);
    assert!(controller.command(&["retry", "vllm", "--yes"]).status.success());
    settles_on(&lab, &controller, "alpha");
    // The stream is lost with its session, and comes back.
    spark.stop_sshd();
    spark.start_sshd();
    spark.show_meminfo(&file_of_memory);
    fs::write(&file_of_memory, meminfo(200_000)).unwrap();
    wait_until("the model to be stopped once more", SWAP, || spark.running(CONTAINER).is_none());
}
