//! Secrets and other text on their way into containers.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use crate::{
    cluster::{MODELS, SWAP, settles_on},
    controller::{Controller, text},
    lab::{CONTAINER, Lab},
    shell::{sh, wait_until},
};

/// If this failed, a secret could be read by whoever lists processes, reads a log or a plan; or text that means something
/// to a shell would run on a worker.
#[test]
fn an_environment_reaches_every_rank_and_nobody_else() {
    let lab = Lab::up(2);
    let file = lab.directory.join("cluster.yaml");
    let token = lab.directory.join("token");
    fs::write(&token, "hunter2-sesame\n").unwrap();
    let odd = r#"it's $(touch /tmp/lab-injected) "quoted"; `id` *"#;
    let written = format!(
        "repo: lab/wide\n    env: {{ HF_TOKEN: {{ file: {} }}, ODD: {} }}",
        token.display(),
        serde_json::to_string(odd).unwrap()
    );
    let (_, models) = MODELS.split_once("models:").unwrap();
    let models = models.replace("repo: lab/wide", &written);
    let vllm = format!("vllm: {{ api_key: {{ file: {} }} }}", token.display());
    fs::write(&file, lab.manifest(&format!("model: wide\n{vllm}\nmodels:{models}"))).unwrap();
    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let controller = Controller::serve(&lab, "data", &file);
        // What anybody on the machine can see while it happens.
        let watching = scope.spawn(|| {
            let mut seen = String::new();
            let began = Instant::now();
            while !done.load(Relaxed) && began.elapsed() < 2 * SWAP {
                seen += &sh("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' || true");
                std::thread::sleep(Duration::from_millis(50));
            }
            seen
        });
        settles_on(&lab, &controller, "wide");
        done.store(true, Relaxed);
        let mut seen = watching.join().unwrap();
        for question in [&["plan", "--output", "json"][..], &["status", "--output", "json"], &["history"]] {
            seen += &text(&controller.command(question));
        }
        seen += &controller.log();
        seen
    });
    for spark in &lab.sparks {
        let environment = spark.docker(&["inspect", "--format", "{{json .Config.Env}}", CONTAINER]);
        let environment: Vec<String> = serde_json::from_str(&environment).unwrap();
        assert!(
            environment.contains(&"HF_TOKEN=hunter2-sesame".to_owned()),
            "{}: {environment:?}",
            spark.name
        );
        assert!(environment.contains(&format!("ODD={odd}")), "{}: {environment:?}", spark.name);
        assert!(
            environment.contains(&"VLLM_API_KEY=hunter2-sesame".to_owned()),
            "{}: {environment:?}",
            spark.name
        );
    }
    assert!(!std::path::Path::new("/tmp/lab-injected").exists());
    assert!(seen.contains("launch-cluster.sh"), "the launcher was seen at work");
    let place = seen.find("sesame").map(|at| seen[at.saturating_sub(200)..at].to_owned());
    assert_eq!(place, None, "the secret was seen");
    let kept = sh(&format!(
        "grep -rl sesame {}/*/home/.local {}/data 2>/dev/null || true",
        lab.directory.display(),
        lab.directory.display()
    ));
    assert_eq!(kept, "", "the secret lies about");
    wait_until("the file to be gone", Duration::from_secs(5), || {
        lab.spark("spark1").shared_memory().is_empty()
    });
}
