//! What is told of a load while it lasts, and when it cannot end well.

use std::{fs, time::Instant};

use crate::{
    cluster::{MODELS, SWAP, on_one_spark, serving, settles_on},
    controller::{Controller, save, text},
    lab::{CONTAINER, Lab},
    shell::{sh, wait_until},
};

/// If this failed, a person would wait half an hour for a load that gave up in its first minute, or read only that there was
/// an error.
#[test]
fn a_load_tells_how_far_it_is_and_why_it_gave_up() {
    let lab = Lab::up(2);
    let file = lab.directory.join("cluster.yaml");
    let manifest = |env: &str| {
        let models = MODELS.replace("repo: lab/wide", &format!("repo: lab/wide\n    env: {{ {env} }}"));
        let quick = "reconcile: { interval: 2s }\n";
        lab.manifest(&format!("model: wide\n{quick}{models}"))
            .replace("image: vllm-node }", "image: vllm-node }, on_failure: stall")
    };
    fs::write(&file, manifest("LAB_LOAD_MS: \"16000\"")).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    wait_until("the shards to be told of", SWAP, || {
        let status = text(&controller.command(&["status", "--now"]));
        status.contains("loading the weights, 50 % (2 of 4 files)")
    });

    // The other rank gives up, and neither its container nor its process ends.
    save(&file, &manifest("LAB_FAIL: wedge"));
    wait_until("the ranks of the new spec", 2 * SWAP, || {
        text(&controller.command(&["history"])).matches("launch `wide`").count() > 1
    });
    let began = Instant::now();
    wait_until("the end of the load", SWAP, || {
        let history = text(&controller.command(&["history"]));
        history
            .contains("the engine gave up on `spark2`: ValueError: No available memory for the cache blocks")
    });
    assert!(began.elapsed() < SWAP, "long before its deadline");
    wait_until("the slot to be given up", 2 * SWAP, || {
        text(&controller.command(&["status", "--now"])).contains(" Stalled: ")
    });
    wait_until("both to be cleared", SWAP, || {
        lab.sparks.iter().all(|spark| spark.running(CONTAINER).is_none())
    });
    let kept = sh(&format!("zcat {}/logs/vllm-*-spark2.log.gz", controller.data.display()));
    assert!(
        kept.lines().count() >= 250 && kept.contains("line 299 of many"),
        "{} lines",
        kept.lines().count()
    );
}

/// If this failed, a slip in `args` would cost what serves, or the engine's own parser would be asked at its cost.
#[test]
fn arguments_that_the_engine_refuses_stop_nothing() {
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    let file = lab.directory.join("cluster.yaml");
    let manifest = |model: &str, argument: &str| {
        let models = MODELS.replace(", max-model-len: 4096 }", " }").replace(
            "gpu-memory-utilization: 0.02 }\n  wide",
            &format!("gpu-memory-utilization: 0.02{argument} }}\n  wide"),
        );
        lab.manifest(&on_one_spark(&format!("model: {model}\nreconcile: {{ interval: 2s }}\n{models}")))
    };
    fs::write(&file, manifest("alpha", "")).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "alpha");
    let before = spark.running(CONTAINER);
    save(&file, &manifest("beta", ", no-such-argument: 1"));
    wait_until("the refusal", SWAP, || {
        text(&controller.command(&["plan", "--now"])).contains("blocked (ArgumentsInvalid): the engine refuses the arguments of `beta`: unrecognized arguments: --no-such-argument")
    });
    assert_eq!(spark.running(CONTAINER), before, "what serves is left alone");
    assert!(serving(&lab, "alpha"));
    assert_eq!(spark.docker(&["ps", "-aq", "--filter", "name=check"]), "", "nothing is left of the question");
    save(&file, &manifest("beta", ""));
    settles_on(&lab, &controller, "beta");
}
