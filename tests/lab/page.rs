//! The page in a real browser, on a real Spark.

use std::{fs, path::Path};

use crate::{
    bots::Bot,
    cluster::{MODELS, on_one_spark, serving, settles_on},
    controller::{Controller, program},
    lab::Lab,
    shell::{hermetic, run, toolchain},
};

/// If this failed, the page would work on the demo and not on what it is for. `scripts/test` runs it after the others: beside
/// five labs a browser waits for minutes.
#[test]
#[ignore = "by itself: scripts/test runs it after the others"]
fn the_page_swaps_a_model_keeps_services_and_brings_a_bot_to_its_branch() {
    let ui = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    if !ui.join("node_modules").is_dir() {
        run(toolchain("npm").args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(&ui));
    }
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    let bot = Bot::new(&lab);
    let commit = bot.push("version", "2\n");
    let web = ["run", "-d", "--network", "host", "--name", "web", "vllm-node:latest", "vllm", "serve", "x"];
    spark.docker(&[&web[..], &["--port", "9001"]].concat());
    let stranger = ["run", "-d", "--network", "none", "--name", "stranger", "vllm-node:latest", "sh", "-c"];
    spark.docker(&[&stranger[..], &["echo words of nobody; sleep 10000"]].concat());
    let file = lab.directory.join("cluster.yaml");
    // Long enough to be seen on a page that is told of every look.
    let models = MODELS.replace("repo: lab/beta", "repo: lab/beta\n    env: { LAB_LOAD_MS: \"12000\" }");
    let manifest = lab.manifest(&on_one_spark(&format!(
        "model: alpha\n{models}services:
  helper: {}
  web: {{ kind: http, spark: spark1, port: 9001, path: /health, container: web, state: running }}
reconcile: {{ interval: 2s }}
",
        bot.entry()
    )));
    fs::write(&file, manifest).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "alpha");
    let mut browsing = hermetic("node");
    browsing
        .args(["--test", "lab.test.mjs"])
        .current_dir(&ui)
        .env("SPARK_CONTROL_PROGRAM", program())
        .env("SPARK_CONTROL_URL", controller.url())
        .env("SPARK_CONTROL_DATA", &controller.data)
        .env("SPARK_CONTROL_FILE", &file)
        .env("SPARK_CONTROL_COMMIT", commit);
    let browsed = browsing.output().unwrap();
    assert!(browsed.status.success(), "{}", String::from_utf8_lossy(&browsed.stdout));
    assert!(serving(&lab, "alpha"));
    assert_eq!(bot.version(), "2");
    assert!(spark.running("web").is_some() && spark.running("stranger").is_some());
}
