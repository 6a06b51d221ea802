//! Every kind of launcher keeps one contract: what is written reaches the engine word for word, what it started is ours, it is
//! replaced as a whole, a lie is noticed. Then the ways to start a model on two Sparks, by checkouts of every age.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use serde_json::{Value, json};

use crate::{
    cluster::{SWAP, in_sync, settles_on},
    controller::{Controller, save, text},
    lab::{CONTAINER, Lab},
    shell::{sh, wait_until},
};

/// A way to start models `alpha` and `beta`.
struct Way {
    launcher: Value,
    /// Where the model is from.
    source: fn(&str) -> Value,
    /// The engine's words before ours.
    before: fn(&str) -> Vec<String>,
    labelled: bool,
}

fn repo(model: &str) -> Value {
    json!({ "repo": format!("lab/{model}") })
}

fn serve_repo(model: &str) -> Vec<String> {
    vec!["serve".into(), format!("lab/{model}")]
}

/// If this failed, a word of `args` would be read by a shell, or a container of ours would be a stranger.
#[test]
fn launch_cluster_keeps_the_contract() {
    keeps_the_contract(&Way {
        launcher: json!({ "kind": "launch-cluster" }),
        source: repo,
        before: serve_repo,
        labelled: true,
    });
}

#[test]
fn recipe_keeps_the_contract() {
    keeps_the_contract(&Way {
        launcher: json!({ "kind": "recipe" }),
        source: |model| json!({ "recipe": format!("the-{model}") }),
        before: |model| {
            let words = ["serve", &format!("lab/{model}"), "--port", "8888", "--seed", "7"];
            words.map(str::to_owned).to_vec()
        },
        labelled: true,
    });
}

#[test]
fn docker_keeps_the_contract() {
    keeps_the_contract(&Way {
        launcher: json!({ "kind": "docker", "image": "vllm-node" }),
        source: repo,
        before: serve_repo,
        labelled: true,
    });
}

/// The owner's program need not know of labels.
#[test]
fn command_keeps_the_contract() {
    keeps_the_contract(&Way {
        launcher: json!({
            "kind": "command", "dir": "my-model", "start": "up.sh", "stop": "down.sh", "image": "vllm-node",
        }),
        source: repo,
        before: serve_repo,
        labelled: false,
    });
}

const RECIPE: &str = "recipe_version: \"1\"\nname: MODEL\ncontainer: vllm-node\nenv:\n  LAB_SET: recipe\n  LAB_KEPT: recipe\n\
                      command: |\n  vllm serve lab/MODEL \\\n    --port {port} \\\n    --seed 7\n";
const UP: &str = r#"#!/bin/sh
# What an owner might write: without our labels, and with a client that fails in between.
docker run -d --name "$SPARK_CONTROL_CONTAINER" --network host \
    ${SPARK_CONTROL_ENV_FILE:+--env-file "$SPARK_CONTROL_ENV_FILE"} "$SPARK_CONTROL_IMAGE" vllm serve "$@" || exit 1
exit 7
"#;
const DOWN: &str = "#!/bin/sh\necho \"$SPARK_CONTROL_CONTAINER\" >>\"$HOME/stopped-by-own\"\n\
                    docker kill \"$SPARK_CONTROL_CONTAINER\"\n";

fn own_programs(home: &Path) {
    let recipes = home.join("spark-vllm-docker/recipes");
    fs::create_dir_all(&recipes).unwrap();
    for model in ["alpha", "beta"] {
        fs::write(recipes.join(format!("the-{model}.yaml")), RECIPE.replace("MODEL", model)).unwrap();
    }
    let dir = home.join("my-model");
    fs::create_dir_all(&dir).unwrap();
    for (name, body) in [("up.sh", UP), ("down.sh", DOWN)] {
        fs::write(dir.join(name), body).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Words that mean something to YAML, ssh, bash, Docker or the engine's own parser, and random ones.
fn hostile(count: usize, seed: u64) -> Vec<String> {
    let known = [
        "",
        " ",
        "'",
        "\"",
        "\\",
        "$HOME",
        "$(touch /tmp/lab-injected)",
        "`id`",
        "a b",
        "a\tb",
        "a\nb",
        "{}",
        "{\"a\": [1]}",
        "*",
        "~",
        "!",
        "#no comment",
        "a;b",
        "a&&b",
        "|",
        ">x",
        "-1",
        "x=y",
        "ünïcödé",
        "\u{1F980}",
        "%s",
        "${IFS}",
        "\r",
        "trailing\\",
        "it's",
        "{{x}}",
        "yes",
        "null",
        "0x10",
    ];
    let mut random = fastrand::Rng::with_seed(seed);
    let mut words: Vec<String> = known.map(str::to_owned).to_vec();
    let letters: Vec<char> = "ab 01'\"\\$`(){}[]<>|&;*?~!#%=-,.:/\t\nü".chars().collect();
    while words.len() < count {
        let length = random.usize(1..12);
        let word: String = (0..length).map(|_| letters[random.usize(..letters.len())]).collect();
        // An option of the engine's would mean that option.
        if !word.starts_with("--") {
            words.push(word);
        }
    }
    words
}

fn model(way: &Way, name: &str, args: Value, env: Value) -> Value {
    let mut model = (way.source)(name);
    let rest = json!({ "sparks": ["spark1"], "args": args, "env": env, "memory_gib": 1 });
    model.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    model
}

fn keeps_the_contract(way: &Way) {
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    own_programs(&spark.home());
    let secret = lab.directory.join("token");
    fs::write(&secret, "hunter2-sesame\n").unwrap();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let values = hostile(80, seed);
    let mut args = json!({ "gpu-memory-utilization": 0.02 });
    for (at, value) in values.iter().enumerate() {
        args[format!("x-{at}")] = value.as_str().into();
    }
    args["a-list"] = json!(["one", "two words"]);
    args["a-map"] = json!({ "method": "it's", "n": 1 });
    args["a-switch"] = true.into();
    args["another"] = false.into();
    let env = json!({ "HF_TOKEN": { "file": secret.display().to_string() }, "PLAIN": "$(id) 'x'" });
    let manifest = |wanted: &str, beta_env: Value| {
        let written = json!({
            "model": wanted,
            "reconcile": { "interval": "2s" },
            "vllm": { "launcher": way.launcher, "on_failure": "stall" },
            "models": {
                "alpha": model(way, "alpha", args.clone(), env.clone()),
                "beta": model(way, "beta", json!({ "gpu-memory-utilization": 0.02 }), beta_env),
            },
        });
        // JSON is YAML; one line for each section.
        let sections = written.as_object().unwrap().iter().map(|(key, value)| format!("{key}: {value}\n"));
        lab.manifest(&sections.collect::<String>())
    };
    let file = lab.directory.join("cluster.yaml");
    fs::write(&file, manifest("alpha", json!({}))).unwrap();
    let controller = Controller::serve(&lab, "data", &file);

    // What arrived is what was written, and nothing of it ran.
    settles_on(&lab, &controller, "alpha");
    let words = spark.engine_words(CONTAINER).expect("the engine wrote its words");
    let before = (way.before)("alpha");
    assert_eq!(words[..before.len()], before);
    let words = &words[before.len()..];
    for (at, value) in values.iter().enumerate() {
        let flag = format!("--x-{at}");
        // A value that looks like an option is part of the same word.
        if words.contains(&format!("{flag}={value}")) {
            continue;
        }
        let place =
            words.iter().position(|word| *word == flag).unwrap_or_else(|| panic!("no {flag} in {words:?}"));
        assert_eq!(words[place + 1], *value, "{flag}");
    }
    let list = words.iter().position(|word| word == "--a-list").unwrap();
    assert_eq!(words[list + 1..list + 3], ["one", "two words"]);
    let map = words.iter().position(|word| word == "--a-map").unwrap();
    assert_eq!(serde_json::from_str::<Value>(&words[map + 1]).unwrap(), args["a-map"]);
    assert!(words.contains(&"--a-switch".to_owned()) && words.contains(&"--no-another".to_owned()));
    assert!(!Path::new("/tmp/lab-injected").exists(), "a value ran on this machine");
    let environment = spark.docker(&["exec", CONTAINER, "cat", "/proc/1/environ"]);
    assert!(environment.contains("HF_TOKEN=hunter2-sesame") && environment.contains("PLAIN=$(id) 'x'"));
    let jobs = spark.home().join(".local/state/spark-control/lab/jobs");
    assert_eq!(sh(&format!("grep -rl hunter2 {} || true", jobs.display())), "", "a job keeps the secret");

    // It is ours: labelled, or taken as what our job started.
    let labels = spark.docker(&["inspect", "--format", "{{json .Config.Labels}}", CONTAINER]);
    assert_eq!(labels.contains("\"vllm\""), way.labelled, "{labels}");
    assert_eq!(spark.starts(CONTAINER), 1);

    // Another model: the first is gone by id.
    let first = spark.running(CONTAINER);
    save(&file, &manifest("beta", json!({})));
    settles_on(&lab, &controller, "beta");
    assert_ne!(spark.running(CONTAINER), first);
    assert_eq!(spark.starts(CONTAINER), 2);
    let own = fs::read_to_string(spark.home().join("stopped-by-own")).unwrap_or_default();
    assert_eq!(own.lines().count(), usize::from(!way.labelled), "the owner's own program stops its own");

    // Its engine dies: it is started again, once.
    let second = spark.running(CONTAINER);
    let top = spark.docker(&["top", CONTAINER, "-eo", "pid,args"]);
    let engine = top.lines().find(|line| line.contains(" vllm serve")).expect("an engine").trim();
    let pid = engine.split(' ').next().unwrap();
    sh(&format!("kill -KILL {pid}"));
    wait_until("another container", SWAP, || {
        spark.running(CONTAINER).is_some_and(|now| Some(&now) != second.as_ref())
    });
    settles_on(&lab, &controller, "beta");
    assert_eq!(spark.starts(CONTAINER), 3);
    assert!(controller.command(&["retry", "vllm", "--yes"]).status.success());

    // A load that fails, whatever the launcher's exit code says: at most two, then a person.
    save(&file, &manifest("beta", json!({ "LAB_FAIL": "load" })));
    wait_until("the slot to be given up", 2 * SWAP, || {
        text(&controller.command(&["status", "--now"])).contains(" Stalled: ")
    });
    wait_until("what is left to be cleared", SWAP, || spark.running(CONTAINER).is_none());
    assert!(spark.starts(CONTAINER) <= 5, "two loads at most");
    assert!(!in_sync(&controller));
    let logs = text(&controller.command(&["logs", "vllm", "--saved"]));
    assert!(logs.contains("Free memory on device"), "{logs}");
}

/// If this failed, a model of sparkrun would be a stranger under its own name, be started twice, or fail without a cause because
/// its words are not where the others' are.
#[test]
fn sparkrun_is_known_by_our_labels_and_heard_in_its_file() {
    let lab = Lab::up(2);
    let registry = lab.spark("spark1").home().join(".cache/sparkrun/registries/lab");
    fs::create_dir_all(&registry).unwrap();
    for model in ["alpha", "wide"] {
        let recipe = format!(
            "model: lab/{model}\nenv:\n  LAB_SET: recipe\n  LAB_KEPT: recipe\ncommand: vllm serve {{model}} --port {{port}} --served-model-name {{served_model_name}} \
             --gpu-memory-utilization {{gpu_memory_utilization}} --note {{the_note}}\n"
        );
        fs::write(registry.join(format!("the-{model}.yaml")), recipe).unwrap();
    }
    let secret = lab.directory.join("token");
    fs::write(&secret, "hunter2-sesame\n").unwrap();
    let args = "args: { gpu-memory-utilization: 0.02, the-note: a-note }, memory_gib: 1";
    let rest = |wanted: &str, env: &str| {
        lab.manifest(&format!(
            "model: {wanted}
reconcile: {{ interval: 2s }}
vllm: {{ launcher: {{ kind: sparkrun, image: vllm-node }}, on_failure: stall }}
models:
  alpha: {{ recipe: the-alpha, sparks: [spark1], {args}, env: {{ {env} }} }}
  wide: {{ recipe: the-wide, sparks: [spark1, spark2], {args}, env: {{ HF_TOKEN: {{ file: {} }}, LAB_SET: \"it's $(id)\" }} }}
",
            secret.display()
        ))
    };
    let file = lab.directory.join("cluster.yaml");
    fs::write(&file, rest("alpha", "")).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "alpha");
    let names = |spark: &str| lab.spark(spark).docker(&["ps", "--format", "{{.Names}}"]);
    let alpha = names("spark1");
    assert!(alpha.starts_with("sparkrun_") && alpha.ends_with("_solo"), "{alpha}");
    let words = lab.spark("spark1").engine_words(&alpha).unwrap();
    assert_eq!(words[words.len() - 2..], ["--note", "a-note"]);
    let heard = text(&controller.command(&["logs", "vllm"]));
    assert!(heard.contains("Starting vLLM"), "{heard}");

    // Its run still holds the Sparks, and gets the time to let go of them.
    save(&file, &rest("wide", ""));
    settles_on(&lab, &controller, "wide");
    for (index, spark) in ["spark1", "spark2"].into_iter().enumerate() {
        let name = names(spark);
        assert!(name.ends_with(&format!("_node_{index}")), "{name}");
        let environment = lab.spark(spark).docker(&["exec", &name, "cat", "/proc/1/environ"]);
        assert!(environment.contains("HF_TOKEN=hunter2-sesame"));
        // The recipe sets both with `-e`, and the file says otherwise of one.
        assert!(environment.contains("LAB_SET=it's $(id)\0") && environment.contains("LAB_KEPT=recipe\0"));
        assert!(lab.spark(spark).docker(&["inspect", &name]).contains("\"spark-control.object\": \"vllm\""));
    }
    assert!(!text(&controller.command(&["diff", "--now"])).contains("unmanaged"), "it is ours");
    // A rank is lost: all of it is started again, and nothing of the old one is left.
    let old = names("spark2");
    lab.spark("spark2").docker(&["kill", &old]);
    wait_until("the lost rank to be told of", SWAP, || {
        // Whether the look came before Docker had removed it, or after.
        let history = text(&controller.command(&["history"]));
        ["is not running", "has stopped"]
            .iter()
            .any(|how| history.contains(&format!("died: `vllm_node` {how} on `spark2`")))
    });
    settles_on(&lab, &controller, "wide");

    save(&file, &rest("alpha", "LAB_FAIL: load"));
    wait_until("the slot to be given up", 2 * SWAP, || {
        text(&controller.command(&["status", "--now"])).contains("Free memory on device")
    });
    wait_until("what is left to be cleared", SWAP, || {
        names("spark1").is_empty() && names("spark2").is_empty()
    });
    let saved = text(&controller.command(&["logs", "vllm", "--saved"]));
    assert!(saved.contains("Free memory on device"), "{saved}");
}

/// The launcher as it was before these features came.
fn older(spark: &crate::spark::Spark, without: &[&str]) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/spark/launch-cluster.sh");
    let text = fs::read_to_string(here).unwrap();
    let kept =
        text.lines().filter(|line| !without.iter().any(|word| line.ends_with(&format!("# since {word}"))));
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    fs::write(spark.home().join("spark-vllm-docker/launch-cluster.sh"), kept).unwrap();
}

/// If this failed, a model on two Sparks would start in one way and not in another, or an old checkout would be driven with
/// options that it does not know.
#[test]
fn two_sparks_are_started_in_every_way_that_there_is() {
    let lab = Lab::up(2);
    let spark = lab.spark("spark1");
    own_programs(&spark.home());
    let examples = spark.home().join("spark-vllm-docker/examples");
    fs::create_dir_all(&examples).unwrap();
    let script =
        "vllm serve lab/wide --port 8888 --served-model-name scripted -tp 2 --gpu-memory-utilization 0.02\n";
    fs::write(examples.join("wide.sh"), script).unwrap();
    // A mod, and the owner's own configuration: what it says of other things counts, what it says of ours does not.
    let checkout = spark.home().join("spark-vllm-docker");
    fs::create_dir_all(checkout.join("mods/fix")).unwrap();
    fs::write(checkout.join("mods/fix/run.sh"), "echo applied >/tmp/the-mod\n").unwrap();
    let own = "CONTAINER_FROM_DOTENV=yes\nCONTAINER_NAME=another\nMASTER_PORT=1\nCLUSTER_NODES=198.51.100.1,198.51.100.2\n";
    fs::write(checkout.join(".env"), own).unwrap();
    let cache = lab.directory.join("cache");
    fs::create_dir_all(&cache).unwrap();
    let both = "sparks: [spark1, spark2], memory_gib: 1";
    let args = "args: { gpu-memory-utilization: 0.02, tensor-parallel-size: 2, note: \"it's $(id)\" }";
    let models = format!(
        "reconcile: {{ interval: 2s }}
vllm: {{ on_failure: stall }}
models:
  wide: {{ repo: lab/wide, {both}, {args}, mods: [mods/fix], launcher: {{ kind: launch-cluster, volumes: [\"{cache}:/lab-cache:ro\"] }} }}
  rayed: {{ repo: lab/wide, {both}, {args}, launcher: {{ kind: launch-cluster, ray: true }} }}
  scripted: {{ repo: lab/wide, {both}, env: {{ VLLM_HOST_IP: \"it's $(id)\" }}, launcher: {{ kind: launch-cluster, script: examples/wide.sh }} }}
  cooked: {{ recipe: the-alpha, {both}, {args}, env: {{ LAB_SET: \"of the file\" }} }}
",
        cache = cache.display()
    );
    let file = lab.directory.join("cluster.yaml");
    let manifest = |model: &str| lab.manifest(&format!("model: {model}\n{models}"));
    fs::write(&file, manifest("wide")).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    let swap = |model: &str| {
        save(&file, &manifest(model));
        settles_on(&lab, &controller, model);
        let words = |name: &str| lab.spark(name).engine_words(CONTAINER);
        (words("spark1").unwrap(), words("spark2"))
    };

    let (head, other) = swap("wide");
    for words in [&head, other.as_ref().expect("a rank on each")] {
        let note = words.iter().position(|word| word == "--note").unwrap();
        assert_eq!(words[note + 1], "it's $(id)");
        assert!(words.contains(&"--node-rank".to_owned()));
    }
    for spark in &lab.sparks {
        assert_eq!(spark.docker(&["exec", CONTAINER, "cat", "/tmp/the-mod"]), "applied", "{}", spark.name);
        let environment = spark.docker(&["inspect", "--format", "{{json .Config.Env}}", CONTAINER]);
        assert!(environment.contains("FROM_DOTENV=yes"), "{}: {environment}", spark.name);
    }
    let port = head.iter().position(|word| word == "--master-port").unwrap();
    assert_eq!(head[port + 1], "29501", "the file's, not the one of `.env`");
    let mounts =
        lab.spark("spark2").docker(&["inspect", "--format", "{{json .HostConfig.Binds}}", CONTAINER]);
    assert!(mounts.contains("/lab-cache:ro"), "{mounts}");

    // Ray: an engine on the head alone, and both ranks count.
    let (head, other) = swap("rayed");
    assert_eq!(head[head.len() - 2..], ["--distributed-executor-backend", "ray"]);
    assert_eq!(other, None);
    let ray = lab.spark("spark2").docker(&["top", CONTAINER, "-eo", "pid,args"]);
    let pid = ray.lines().find(|line| line.contains("raylet")).expect("Ray on the other Spark").trim();
    sh(&format!("kill -KILL {}", pid.split(' ').next().unwrap()));
    wait_until("the lost rank to be told of", SWAP, || {
        text(&controller.command(&["history"])).contains("no engine runs in `vllm_node` on `spark2`")
    });
    settles_on(&lab, &controller, "rayed");

    let (head, other) = swap("scripted");
    assert_eq!(head[..2], ["serve", "lab/wide"]);
    assert!(other.expect("a rank on each").contains(&"--headless".to_owned()));
    for spark in &lab.sparks {
        // The launcher sets it with `-e`, and the file says otherwise.
        let set = spark.docker(&["inspect", "--format", "{{json .Config.Env}}", CONTAINER]);
        assert!(set.contains("\"VLLM_HOST_IP=192."), "{set}");
        let environment = spark.engine_environment(CONTAINER, "serve lab/wide");
        let host: Vec<_> = environment.iter().filter(|one| one.starts_with("VLLM_HOST_IP=")).collect();
        assert_eq!(host, ["VLLM_HOST_IP=it's $(id)"], "{}", spark.name);
    }

    let (head, other) = swap("cooked");
    assert_eq!(head[..2], ["serve", "lab/alpha"]);
    let note = head.iter().position(|word| word == "--note").unwrap();
    assert_eq!(head[note + 1], "it's $(id)");
    assert!(other.is_some());
    for spark in &lab.sparks {
        // The recipe sets both in the engine's script, and the file says otherwise of one.
        let environment = spark.engine_environment(CONTAINER, "serve lab/alpha");
        let set: Vec<_> = environment.iter().filter(|one| one.starts_with("LAB_")).collect();
        assert!(set.contains(&&"LAB_SET=of the file".to_owned()), "{}: {set:?}", spark.name);
        assert!(set.contains(&&"LAB_KEPT=recipe".to_owned()), "{}: {set:?}", spark.name);
    }

    fs::remove_file(checkout.join(".env")).unwrap();
    // From before configuration files, then from before there was anything but Ray.
    older(spark, &["config", "no-ray-by-default"]);
    let (head, other) = swap("wide");
    assert!(head.contains(&"--node-rank".to_owned()) && other.is_some());
    older(spark, &["config", "no-ray-by-default", "no-ray"]);
    let (head, other) = swap("rayed");
    assert_eq!(head[head.len() - 1], "ray");
    assert_eq!(other, None);
    save(&file, &manifest("wide"));
    wait_until("the old checkout to be refused", SWAP, || {
        text(&controller.command(&["plan", "--now"])).contains("knows only Ray for models on several Sparks")
    });
}
