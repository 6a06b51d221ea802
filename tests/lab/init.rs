//! From Sparks that nobody described to a file that describes them, without an outage.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Output, Stdio},
};

use serde_json::Value;

use crate::{
    cluster::{SWAP, in_sync},
    controller::{Controller, command, text},
    lab::{CONTAINER, Lab},
    shell::{hermetic, sh, wait_until},
};

fn init(lab: &Lab, file: &Path, data: &Path, more: &[&str]) -> Output {
    let mut arguments = vec!["init".to_owned()];
    for spark in &lab.sparks {
        arguments.extend(["--spark".into(), format!("{}=root@{}", spark.name, spark.address)]);
    }
    arguments.extend(more.iter().map(|word| (*word).to_owned()));
    command(file, data, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// If this failed, taking the program into use would need an hour of writing, or cost an outage.
#[test]
fn what_runs_is_described_and_taken_over_as_it_is() {
    let lab = Lab::up(2);
    let (one, two) = (lab.spark("spark1"), lab.spark("spark2"));
    // As launch-cluster.sh would have started it, in words of its owner's.
    for (rank, spark) in lab.sparks.iter().enumerate() {
        spark.docker(&[
            "run",
            "-d",
            "--rm",
            "--network",
            "host",
            "--name",
            CONTAINER,
            "vllm-node:latest",
            "sleep",
            "infinity",
        ]);
        let rank = rank.to_string();
        let head = one.address.to_string();
        let mut words = vec![
            "exec",
            "-d",
            CONTAINER,
            "vllm",
            "serve",
            "lab/wide",
            "-tp",
            "2",
            "--gpu_memory_utilization=0.02",
            "--port",
            "8888",
            "--served-model-name",
            "wide",
            "chat",
            "--json",
            "{\"a\": \"it's 1\"}",
            "--nnodes",
            "2",
            "--node-rank",
            &rank,
            "--master-addr",
            &head,
            "--master-port",
            "29501",
        ];
        if rank != "0" {
            words.push("--headless");
        }
        spark.docker(&words);
    }
    two.docker(&[
        "run",
        "-d",
        "--network",
        "host",
        "--name",
        "kokoro-tts",
        "vllm-node:latest",
        "httpd",
        "-f",
        "-p",
        "8880",
    ]);
    two.docker(&[
        "run",
        "-d",
        "--network",
        "host",
        "--label",
        "sparkrun.recipe=x",
        "--name",
        "sparkrun_0123_solo",
        "vllm-node:latest",
        "vllm",
        "serve",
        "other/model",
        "--port",
        "9000",
    ]);
    // As the official playbook's `run_cluster.sh` names it.
    let playbook = ["run", "-d", "--network", "host", "--name", "node-17342", "vllm-node:latest"];
    two.docker(&[&playbook[..], &["vllm", "serve", "its/model", "--port", "9100"]].concat());
    wait_until("the engine", SWAP, || one.served(8888).is_some());
    let before: Vec<_> = lab.sparks.iter().map(|spark| spark.running(CONTAINER)).collect();
    let data = lab.directory.join("new");
    let file = lab.directory.join("new/etc/cluster.yaml");

    // Host keys first: nobody is at a terminal, so a script must say which to expect.
    let refused = init(&lab, &file, &data, &[]);
    assert_eq!(refused.status.code(), Some(4));
    let told = text(&refused);
    let shown: Vec<&str> = told.split_whitespace().filter(|word| word.contains("=SHA256:")).collect();
    assert_eq!(shown.len(), 2, "each Spark in one run: {told}");
    let keys: Vec<String> = lab
        .sparks
        .iter()
        .map(|spark| {
            let public = spark.directory.join("host_key.pub");
            let printed = hermetic("ssh-keygen").arg("-lf").arg(public).output().unwrap();
            let printed = String::from_utf8(printed.stdout).unwrap();
            let fingerprint = printed.split_whitespace().find(|word| word.starts_with("SHA256:")).unwrap();
            format!("{}={fingerprint}", spark.name)
        })
        .collect();
    assert_eq!(shown, keys);
    let pins = ["--fingerprint", &keys[0], "--fingerprint", &keys[1]];
    let wrong = init(&lab, &file, &data, &["--fingerprint", "spark1=SHA256:0000"]);
    assert!(text(&wrong).contains("nothing was pinned"), "{}", text(&wrong));

    // Then its own key, which no Spark knows yet: the line to run there is told.
    let denied = init(&lab, &file, &data, &pins);
    assert_eq!(denied.status.code(), Some(4), "{}", text(&denied));
    let public = fs::read_to_string(data.join("id_ed25519.pub")).unwrap();
    assert!(text(&denied).contains(public.trim()) && text(&denied).contains("authorized_keys"));
    assert!(!file.exists(), "nothing is written before everything was seen");

    let key = lab.directory.join("key");
    let done = init(&lab, &file, &data, &["--key", key.to_str().unwrap()]);
    assert!(done.status.success(), "{}", text(&done));
    let written = fs::read_to_string(&file).unwrap();
    for part in [
        "model: wide",
        "repo: lab/wide",
        "kokoro-tts: { kind: tts, spark: spark2, port: 8880",
        "sparkrun_0123_solo",
        "`node-17342` on spark2 was started by the official playbook: it is watched and never touched",
        "node-17342: { kind: vllm, spark: spark2, port: 9100, container: node-17342 }",
    ] {
        assert!(written.contains(part), "{part}:\n{written}");
    }
    let plan = command(&file, &data, &["plan"]);
    assert_eq!(plan.status.code(), Some(0), "{}\n{written}", text(&plan));
    let status = text(&command(&file, &data, &["status"]));
    assert!(
        status
            .lines()
            .any(|line| line.starts_with("vllm") && line.contains("InSync") && line.contains("Healthy")),
        "{status}"
    );
    let now: Vec<_> = lab.sparks.iter().map(|spark| spark.running(CONTAINER)).collect();
    assert_eq!(now, before, "nothing was restarted");
    assert!(two.running("sparkrun_0123_solo").is_some() && two.running("node-17342").is_some());
    let again = init(&lab, &file, &data, &[]);
    assert!(text(&again).contains("is there already"), "{}", text(&again));
    assert_eq!(fs::read_to_string(&file).unwrap(), written);
}

/// If this failed, an owner of the original system would have to write everything again.
#[test]
fn the_files_of_the_original_system_are_taken_over() {
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    let old = lab.directory.join("old");
    fs::create_dir_all(&old).unwrap();
    let environment = format!(
        "# the old one\nSPARK1_HOST={}\nSPARK_USER=root\nVLLM_PORT=8000\nexport VLLM_CONTAINER=\"my_vllm\"\nDISABLED_SERVICES=asr,no!name\nODD=1\nno \
         equals sign\n",
        spark.address
    );
    fs::write(old.join(".env"), environment).unwrap();
    fs::write(
        old.join("services-overrides.yaml"),
        "asr: { container: parakeet-asr, port: 8010 }\nkokoro: { host: spark1, enabled: true, colour: red }\nwhat: { x: 1 }\n",
    )
    .unwrap();
    fs::write(
        old.join("model-overrides.yaml"),
        "models:\n  coder: { model: Qwen/Coder, max_model_len: 4096, served_model_name: coder, tensor_parallel_size: \"1\" }\n  \
         listed: { model: Qwen/Listed, args: [--x] }\n",
    )
    .unwrap();
    let file = lab.directory.join("cluster.yaml");
    let data = lab.data("data");
    let key = lab.directory.join("key");
    let arguments = ["init", "--from-spark-control", old.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let done = command(&file, &data, &arguments);
    let told = text(&done);
    assert!(done.status.success(), "{told}");
    for left in [
        "line 8 is no `KEY=value`",
        "the disabled service `no!name`",
        "the `args` of the model `listed` are no map",
        "`ODD` is not known",
        "`colour` of `kokoro` is not known",
        "what `what` is cannot be told",
    ] {
        assert!(told.contains(left), "{left}: {told}");
    }
    let written = fs::read_to_string(&file).unwrap();
    for part in [
        "port: 8000",
        "container: my_vllm",
        "disabled_services: [asr]",
        "asr: { kind: asr, spark: spark1, port: 8010",
        "kokoro: { kind: tts, spark: spark1, port: 8880 }",
        "repo: Qwen/Coder",
        "max-model-len: 4096",
    ] {
        assert!(written.contains(part), "{part}:\n{written}");
    }
    assert!(command(&file, &data, &["check"]).status.success());
    assert_eq!(command(&file, &data, &["plan"]).status.code(), Some(0));
    // A terminal is asked, and what it says counts.
    let script = format!(
        "printf 'y\\n' | script -qec '{} --file {} --data {} trust spark1' /dev/null",
        env!("CARGO_BIN_EXE_spark-control"),
        file.display(),
        lab.directory.join("asked").display()
    );
    let asked = hermetic("sh").arg("-c").arg(script).stdin(Stdio::null()).output().unwrap();
    assert!(text(&asked).contains("Is it the same? [y/N]"), "{}", text(&asked));
    let pinned = fs::read_to_string(lab.directory.join("asked/known_hosts")).unwrap();
    assert!(pinned.starts_with(&spark.address.to_string()), "{pinned}");
}

/// Each flag with its values, JSON as what it means.
fn flags(words: &[String]) -> BTreeMap<String, Vec<Value>> {
    let mut flags: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut last = "";
    for word in words {
        if word.starts_with("--") {
            last = word;
            flags.entry(last.to_owned()).or_default();
        } else {
            let value = serde_json::from_str(word).unwrap_or_else(|_| Value::String(word.clone()));
            flags.entry(last.to_owned()).or_default().push(value);
        }
    }
    flags
}

/// If this failed, a model that was taken over would be another one after its first restart. The line is of the launcher's own
/// README (`tests/it/engine/published.txt`), with a model of the lab.
#[test]
fn a_published_command_line_is_started_again_as_it_was() {
    const ARGUMENTS: &str = "--host 0.0.0.0 --port 8888 --trust-remote-code --kv-cache-dtype fp8 --gpu-memory-utilization 0.1 \
        --max-model-len 262144 --max-num-seqs 8 --max-num-batched-tokens 16384 --enable-chunked-prefill --async-scheduling \
        --enable-prefix-caching --load-format instanttensor --reasoning-parser qwen3 --tool-call-parser qwen3_xml \
        --enable-auto-tool-choice --tensor-parallel-size 1 --speculative-config";
    const SPECULATIVE: &str =
        r#"{"method":"dflash","model":"z-lab/Qwen3.8-27B-DFlash2","num_speculative_tokens":8}"#;
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    // It was ours before the file and the store were lost.
    let labels = ["cluster=home", "object=vllm", "spec=v1-0000000000000000"];
    let labels: Vec<String> = labels.iter().map(|label| format!("--label=spark-control.{label}")).collect();
    let run = ["run", "-d", "--rm", "--network", "host", "--name", CONTAINER];
    let run =
        [&run[..], &labels.iter().map(String::as_str).collect::<Vec<_>>(), &["vllm-node:latest"]].concat();
    let words: Vec<&str> = ARGUMENTS.split_whitespace().chain([SPECULATIVE]).collect();
    spark.docker(&[&run[..], &["vllm", "serve", "lab/alpha"], &words].concat());
    wait_until("the engine", SWAP, || spark.served(8888).is_some());
    let (by_hand, before) = (spark.engine_words(CONTAINER).unwrap(), spark.running(CONTAINER));

    let (data, file) = (lab.directory.join("new"), lab.directory.join("new/etc/cluster.yaml"));
    let key = lab.directory.join("key");
    let public = spark.directory.join("host_key.pub");
    let fingerprint = sh(&format!("ssh-keygen -lf {} | cut -d ' ' -f 2", public.display()));
    let pin = format!("spark1={}", fingerprint.trim());
    let done = init(&lab, &file, &data, &["--fingerprint", &pin, "--key", key.to_str().unwrap()]);
    assert!(done.status.success(), "{}", text(&done));
    assert!(text(&done).contains("runs and was taken over as it is"), "{}", text(&done));
    assert!(fs::read_to_string(&file).unwrap().contains("\nname: home\n"));
    let controller = Controller::serve(&lab, "new", &file);
    wait_until("a plan with nothing in it", SWAP, || in_sync(&controller));
    assert_eq!(spark.running(CONTAINER), before, "nothing was restarted");

    let restart = controller.command(&["restart", "vllm", "--yes"]);
    assert!(restart.status.success(), "{}", text(&restart));
    wait_until("another container", SWAP, || spark.running(CONTAINER).is_some_and(|now| Some(now) != before));
    wait_until("a plan with nothing in it", SWAP, || in_sync(&controller));
    let (was, is) = (flags(&by_hand), flags(&spark.engine_words(CONTAINER).unwrap()));
    for (flag, values) in &was {
        assert_eq!(is.get(flag), Some(values), "{flag}: {}", fs::read_to_string(&file).unwrap());
    }
    let new: Vec<&String> = is.keys().filter(|flag| !was.contains_key(*flag)).collect();
    assert_eq!(new, ["--served-model-name"], "its name, which it had without being told");
}
