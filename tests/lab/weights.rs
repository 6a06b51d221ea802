//! A model's files on real Sparks: one downloads, the other gets a copy over SSH, nothing is brought twice, what is deleted was
//! agreed to.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::{
    cluster::{SWAP, settles_on},
    controller::{Controller, save, text},
    lab::Lab,
    shell::{sh, wait_until},
};

/// Two large files and a small one, as the cache keeps them.
const DOWNLOADER: &str = concat!(
    "#!/bin/sh\n",
    r#"part() { printf '\134\0\0\0\0\0\0\0%-92s' '{"t":{"dtype":"U8","shape":[19999900],"data_offsets":[0,19999900]}}'; yes "$1" | head -c 19999900; }"#,
    r#"
case "$*" in *--dry-run*) echo "[dry-run] Will download 2 files (out of 2) totalling 40.0M."; exit 0 ;; esac
printf '%s\n' "$HF_TOKEN" >>"$HOME/tokens"
folder="$HF_HOME/hub/models--lab--new"
mkdir -p "$folder/blobs" "$folder/refs" "$folder/snapshots/c0ffee"
printf c0ffee >"$folder/refs/main"
for part in 1 2; do
    part "$part" >"$folder/blobs/part.incomplete"
    digest=$(sha256sum "$folder/blobs/part.incomplete" | cut -d ' ' -f 1)
    mv "$folder/blobs/part.incomplete" "$folder/blobs/$digest"
    ln -sf "../../blobs/$digest" "$folder/snapshots/c0ffee/model-0000$part-of-00002.safetensors"
    # The first time its session is lost in the middle.
    [ -e "$HOME/interrupted" ] || { touch "$HOME/interrupted"; exit 1; }
done
printf '{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}' \
    >"$folder/snapshots/c0ffee/model.safetensors.index.json"
for name in config.json tokenizer.json; do printf '{}' >"$folder/snapshots/c0ffee/$name"; done
"#
);

/// If this failed, a swap would begin before its files are there, a copy would be taken for whole that is not, or files would be
/// deleted that nobody said to delete.
#[test]
fn files_are_brought_verified_copied_and_deleted() {
    let lab = Lab::up(2);
    for spark in &lab.sparks {
        let hf = spark.home().join(".local/bin/hf");
        fs::write(&hf, DOWNLOADER).unwrap();
        fs::set_permissions(&hf, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let secret = lab.directory.join("token");
    fs::write(&secret, "hunter2-sesame\n").unwrap();
    let manifest = |wanted: &str, weights: &str| {
        lab.manifest(&format!(
            "model: {wanted}
reconcile: {{ interval: 2s }}
vllm: {{ env: {{ HF_TOKEN: {{ file: {} }} }} }}
models:
  alpha: {{ repo: lab/alpha, sparks: [spark1], args: {{ gpu-memory-utilization: 0.02 }} }}
  new: {{ repo: lab/new, sparks: [spark1, spark2], {weights} args: {{ gpu-memory-utilization: 0.02, tensor-parallel-size: 2 }} }}
",
            secret.display()
        ))
    };
    let file = lab.directory.join("cluster.yaml");
    fs::write(&file, manifest("alpha", "weights: present,")).unwrap();
    // What a copy that was cut off left there is not taken for whole.
    let there = lab.spark("spark2").home().join(".cache/huggingface/hub/models--lab--new");
    fs::create_dir_all(there.join("blobs")).unwrap();
    let part = DOWNLOADER.lines().nth(1).expect("its function");
    let digest = sh(&format!("{part}\npart 1 | sha256sum | cut -d ' ' -f 1"));
    fs::write(there.join("blobs").join(digest.trim()), "damaged").unwrap();

    let controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "alpha");
    wait_until("the files on both Sparks", 2 * SWAP, || {
        text(&controller.command(&["status", "--now"])).contains("there on 2 of 2")
    });
    let history = text(&controller.command(&["history", "--last", "200"]));
    assert!(history.contains("the download ended with 1"), "it was interrupted once: {history}");
    for part in 1..=2 {
        let file = there.join(format!("snapshots/c0ffee/model-0000{part}-of-00002.safetensors"));
        assert_eq!(fs::metadata(&file).unwrap().len(), 20_000_000, "{}", file.display());
        let name = fs::read_link(&file).unwrap();
        let digest = sh(&format!("sha256sum {} | cut -d ' ' -f 1", file.display()));
        assert!(name.ends_with(digest.trim()), "{}", name.display());
    }
    let tokens = lab.spark("spark1").home().join("tokens");
    assert_eq!(fs::read_to_string(tokens).unwrap().lines().last(), Some("hunter2-sesame"));
    let jobs = lab.spark("spark1").home().join(".local/state/spark-control/lab");
    assert_eq!(sh(&format!("grep -rl hunter2 {} || true", jobs.display())), "", "a job keeps the secret");
    assert!(!lab.spark("spark1").shared_memory().contains("files."), "the token's file is gone");

    save(&file, &manifest("new", "weights: present,"));
    settles_on(&lab, &controller, "new");
    // What serves is not deleted; what does not waits for a person.
    save(&file, &manifest("new", "weights: absent,"));
    wait_until("a refusal", SWAP, || text(&controller.command(&["plan", "--now"])).contains("FilesInUse"));
    save(&file, &manifest("alpha", "weights: absent,"));
    wait_until("a question", SWAP, || text(&controller.command(&["plan", "--now"])).contains("to agree: "));
    assert!(there.exists());
    let plan = text(&controller.command(&["plan", "--now"]));
    let id = plan.split(" approve ").nth(1).unwrap().lines().next().unwrap().to_owned();
    assert!(controller.command(&["approve", &id]).status.success());
    wait_until("the files to be gone", SWAP, || !there.exists());
    assert!(lab.spark("spark1").home().join(".cache/huggingface/hub/models--lab--alpha").exists());
}
