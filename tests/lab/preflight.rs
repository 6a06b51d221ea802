//! What would make a launch fail is found on real Sparks while what serves goes on serving.

use std::{fs, process::Stdio};

use crate::{
    cluster::{MODELS, SWAP, settles_on},
    controller::{Controller, save, text},
    lab::{CONTAINER, Lab},
    shell::{hermetic, wait_until},
    spark::EMPTY,
};

/// If this failed, an outage would begin for a model that cannot be started.
#[test]
fn what_a_launch_needs_is_missed_before_anything_is_stopped() {
    let lab = Lab::up(2);
    let (first, second) = (lab.spark("spark1"), lab.spark("spark2"));
    let file = lab.directory.join("cluster.yaml");
    let quick = "reconcile: { interval: 1s }\n";
    fs::write(&file, lab.manifest(&format!("model: alpha\n{quick}{MODELS}"))).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "alpha");
    let served = first.running(CONTAINER);
    let waits_for = |reason: &str, words: &str| {
        wait_until(&format!("{reason}: {words}"), SWAP, || {
            let plan = text(&controller.command(&["plan", "--now"]));
            plan.contains(&format!("blocked ({reason}): ")) && plan.contains(words)
        });
    };

    // Everything is missing at first, and comes one after the other, in the order in which it is asked for.
    second.docker(&["tag", "vllm-node:latest", "kept:latest"]);
    second.docker(&["rmi", "vllm-node:latest"]);
    let cached = second.home().join(".cache/huggingface/hub/models--lab--wide");
    let snapshot = cached.join("snapshots/c0ffee");
    fs::rename(&cached, cached.with_extension("away")).unwrap();
    second.docker(&[
        "run",
        "-d",
        "--name",
        "vllm_node_old",
        "--network",
        "host",
        "kept:latest",
        "sleep",
        "600",
    ]);
    let listener = hermetic("nsenter")
        .arg(format!("--net=/run/netns/{}", first.namespace))
        .args(["/usr/bin/python3", "-m", "http.server", "29501", "--bind", "127.0.0.1"])
        .current_dir(&lab.directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut listener = listener.unwrap();
    let whole = lab
        .manifest(&format!("model: wide\n{quick}{MODELS}"))
        .replace("repo: lab/wide", "repo: lab/wide\n    mods: [mods/fix]");
    let bare = whole.lines().filter(|line| !line.trim_start().starts_with("fabric:"));
    let bare: String = bare.map(|line| format!("{line}\n")).collect();
    save(&file, &bare.replace("floor_gib: 0.5,", "floor_gib: 0.5 }"));

    waits_for("ImageMissing", "`spark2` has no image `vllm-node`");
    let empty = lab.directory.join("empty.tar");
    let made = hermetic("tar").arg("-cf").arg(&empty).args(["-T", "/dev/null"]).status().unwrap();
    assert!(made.success());
    second.docker(&["import", empty.to_str().unwrap(), "vllm-node:latest"]);
    waits_for("ImageDiffers", "is not the image that `spark1` has");
    second.docker(&["tag", "kept:latest", "vllm-node:latest"]);

    // As the cache has a repository whose download was interrupted: an index, a link for each whole file.
    waits_for("FilesMissing", "`spark2` has no files of `lab/wide`");
    fs::remove_file(cached.with_extension("away").join("snapshots/c0ffee/model.safetensors")).unwrap();
    fs::rename(cached.with_extension("away"), &cached).unwrap();
    waits_for("FilesMissing", "no weights");
    let index =
        r#"{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#;
    fs::write(snapshot.join("model.safetensors.index.json"), index).unwrap();
    fs::write(snapshot.join("model-00001-of-00002.safetensors"), EMPTY).unwrap();
    waits_for("FilesMissing", "only a part of `lab/wide` (model-00002-of-00002.safetensors)");
    // A download of something else that has not ended says nothing of these.
    fs::create_dir_all(cached.join("blobs")).unwrap();
    fs::write(cached.join("blobs/0.incomplete"), "").unwrap();
    fs::write(snapshot.join("model-00002-of-00002.safetensors"), &EMPTY[..9]).unwrap();
    waits_for("FilesMissing", "it is shorter or longer than its header says");
    fs::write(snapshot.join("model-00002-of-00002.safetensors"), EMPTY).unwrap();
    let tokenizer = snapshot.join("tokenizer.json");
    fs::rename(&tokenizer, snapshot.join("away")).unwrap();
    waits_for("FilesMissing", "what a loader needs: a tokenizer");
    fs::rename(snapshot.join("away"), &tokenizer).unwrap();

    // Nothing names the nodes; then the launcher's own file names others, then these.
    waits_for("FabricMissing", "`spark1` has no `fabric`");
    let own = first.home().join("spark-vllm-docker/.env");
    fs::write(&own, format!("CLUSTER_NODES={},198.51.100.1\n", first.address)).unwrap();
    waits_for("FabricMissing", "does not name just the Sparks of `wide`");
    fs::write(&own, format!("CLUSTER_NODES=\"{},{}\"\n", first.address, second.address)).unwrap();

    waits_for("FilesMissing", "`mods/fix` is not there on `spark1`");
    let fix = first.home().join("spark-vllm-docker/mods/fix");
    fs::create_dir_all(&fix).unwrap();
    fs::write(fix.join("run.sh"), "echo applied >/tmp/the-mod\n").unwrap();

    // The launcher would go into this one.
    waits_for(
        "NameTaken",
        "the launcher would take `vllm_node_old` (kept:latest) on `spark2` for `vllm_node`",
    );
    second.docker(&["rm", "-f", "vllm_node_old"]);

    // Somebody's own server on the port between the ranks.
    waits_for("PortTaken", "something else listens on port 29501 of `spark1`");
    save(&file, &whole);
    waits_for("PortTaken", "29501");

    assert_eq!(first.running(CONTAINER), served, "it served through all of this");
    assert_eq!(first.starts(CONTAINER), 1);
    listener.kill().unwrap();
    listener.wait().unwrap();
    settles_on(&lab, &controller, "wide");
}
