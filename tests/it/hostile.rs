//! Files that nobody writes by accident, or only once: a clear answer in a moment, never a panic.

use std::{fs, path::PathBuf};

use spark_control::manifest::{load::load, read};

use crate::{environment::command, golden::here};

const GOOD: &str = "version: 1\nsparks: { a: { address: 192.0.2.1, user: alice } }\n";

/// If this failed, a broken download or a bad joke in the file would end the controller, or stall it.
#[test]
fn hostile_files_get_an_answer() {
    let bomb: String = (0..20).fold("x-0: &l0 [a, a, a, a, a, a, a, a, a]\n".to_owned(), |text, level| {
        let alias = format!("*l{level}");
        format!("{text}x-{}: &l{} [{}]\n", level + 1, level + 1, [alias.as_str(); 9].join(", "))
    });
    let cases: [(&str, String); 14] = [
        ("an alias bomb", format!("{bomb}{GOOD}")),
        ("deep nesting", format!("{GOOD}x-deep: {}{}\n", "[".repeat(5000), "]".repeat(5000))),
        ("deep nesting that does not end", "{a: ".repeat(100_000)),
        ("a huge file", "# comment\n".repeat(10_000_000)),
        ("a tab for indentation", "version: 1\nsparks:\n\ta: {}\n".into()),
        ("a NUL", format!("{GOOD}x: \0\n")),
        ("only a bracket", "[".into()),
        ("a list", "- a\n- b\n".into()),
        ("a word", "hello\n".into()),
        ("two documents", format!("{GOOD}---\n{GOOD}")),
        ("a merge key onto nothing", format!("{GOOD}<<: *nothing\n")),
        ("a duplicate section", format!("{GOOD}sparks: {{}}\n")),
        ("blank collections", "version: 1\nsparks:\nmodels:\n".into()),
        (
            "a number for everything",
            "version: 1\nsparks: 7\nmodels: 7\nservices: 7\nvllm: 7\nschedule: 7\n".into(),
        ),
    ];
    for (what, text) in cases {
        let problems = load(&text).map(|_| ()).expect_err(what);
        assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.message.is_empty()), "{what}");
        let shown = spark_control::manifest::render(&problems[..1], "cluster.yaml", &text);
        assert!(shown.len() < 100_000, "{what}: {} bytes of report", shown.len());
    }
}

/// If this failed, a file from another editor or system would be refused for how it is written.
#[test]
fn unusual_but_legal_files_are_read() {
    for (what, text) in [
        ("a byte order mark", format!("\u{feff}{GOOD}")),
        ("carriage returns", GOOD.replace('\n', "\r\n")),
        ("no newline at the end", GOOD.trim_end().to_owned()),
        ("blank values", format!("{GOOD}model:\nvllm:\nmodels:\nservices:\nholds:\nschedule:\nreconcile:\n")),
        ("own keys", format!("{GOOD}x-mine: {{ anything: [1, two] }}\n")),
    ] {
        let loaded = load(&text).unwrap_or_else(|problems| panic!("{what}: {problems:?}"));
        assert_eq!(loaded.desired.sparks.len(), 1, "{what}");
    }
}

/// If this failed, a word that other parsers take for a switch would be one here, or a switch be taken for a word.
#[test]
fn words_of_yaml_1_1_are_words() {
    let file = |setting: &str| format!("{GOOD}{setting}\n");
    for setting in [
        "vllm: { suspend: no }",
        "vllm: { suspend: off }",
        "reconcile: { suspend: yes }",
        "reconcile: { suspend: y }",
    ] {
        let problems = load(&file(setting)).map(|_| ()).expect_err(setting);
        assert!(problems[0].message.contains("expected true or false"), "{setting}: {problems:?}");
    }
    let model =
        "model: m\nmodels: { m: { repo: o/m, sparks: [a], args: { this: yes, that: off, x: true } } }";
    let loaded = load(&file(model)).unwrap();
    let told: Vec<&str> = loaded.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(told, ["`off` is a word here, not a switch", "`yes` is a word here, not a switch"]);
    let args = &loaded.desired.models.values().next().unwrap().args;
    assert_eq!(
        (args["this"].as_str(), args["that"].as_str(), args["x"].as_bool()),
        (Some("yes"), Some("off"), Some(true))
    );
    // A name may be any of them.
    let loaded =
        load(&file("services: { on: { kind: tts, spark: a, port: 1, container: on, state: running } }"))
            .unwrap();
    assert!(loaded.desired.services.contains_key("on"));
    let refused = load(&file("services: { x: { kind: tts, spark: a, port: 1, state: off } }")).unwrap();
    assert!(refused.desired.services.is_empty(), "set aside: {:?}", refused.warnings);
}

/// What is merged in is there, what stands beside it wins, and nothing is merged twice.
#[test]
fn merge_keys_mean_what_they_mean_elsewhere() {
    let file = "version: 1\nx-base: &base { user: alice, ssh_port: 2222 }\nx-more: &more { user: bob, floor_gib: 9 }\n\
                sparks:\n  a: { <<: *base, address: 192.0.2.1 }\n  b:\n    <<: [*base, *more]\n    address: 192.0.2.2\n    \
                ssh_port: 22\n";
    let loaded = load(file).unwrap_or_else(|problems| panic!("{problems:?}"));
    let reach = |name: &str| format!("{:?}", loaded.desired.sparks[name].reach);
    assert!(reach("a").contains("alice") && reach("a").contains("2222"), "{}", reach("a"));
    assert!(reach("b").contains("alice") && reach("b").contains("22,"), "{}", reach("b"));
    assert_eq!(loaded.desired.sparks["b"].floor_bytes, 9 << 30);
    for wrong in ["<<: 7", "<<: [1]"] {
        let file = format!(
            "version: 1\nx-base: &base {{ user: alice }}\nsparks: {{ a: {{ {wrong}, address: 192.0.2.1 }} }}\n"
        );
        assert!(load(&file).is_err(), "{wrong}");
    }
}

/// What the fuzzer starts from, and every file of these tests: each is read or refused, and a refusal can be told.
#[test]
fn every_seed_gets_an_answer() {
    let folders = ["fuzz/seeds/manifest", "tests/it/manifest", "examples"];
    let files = folders.iter().flat_map(|folder| fs::read_dir(here(folder)).unwrap());
    let files: Vec<PathBuf> = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    assert!(files.len() > 30, "{} files", files.len());
    for file in files {
        let Ok(text) = read::text(fs::read(&file).unwrap()) else { continue };
        if let Err(problems) = load(&text) {
            assert!(
                !spark_control::manifest::render(&problems, "cluster.yaml", &text).is_empty(),
                "{file:?}"
            );
        }
    }
}

/// If this failed, a file could take the memory of the machine that reads it.
#[test]
fn a_hostile_file_is_answered_in_a_hundred_mebibytes() {
    const MEASURE: &str = "import resource, subprocess, sys\n\
        subprocess.run(sys.argv[1:], timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n\
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let folder = tempfile::TempDir::new().unwrap();
    let bomb = fs::read(here("fuzz/seeds/manifest/bomb.yaml")).unwrap();
    for (what, bytes) in [
        ("nothing unusual", GOOD.as_bytes().to_vec()),
        ("a hundred megabytes", vec![b'#'; 100 << 20]),
        ("an alias bomb", bomb),
        ("nesting", format!("{GOOD}x: {}", "[".repeat(1 << 20)).into_bytes()),
        ("no text", vec![0xff; 1 << 20]),
        (
            "many keys",
            (0..60_000).map(|key| format!("x-{key}: [1, {{ a: b }}]\n")).collect::<String>().into_bytes(),
        ),
    ] {
        let file = folder.path().join("cluster.yaml");
        fs::write(&file, bytes).unwrap();
        let output = command("python3", folder.path())
            .args(["-c", MEASURE, env!("CARGO_BIN_EXE_spark-control"), "check", "--file"])
            .arg(&file)
            .output()
            .expect("python3 is installed");
        let kibibytes: u64 = String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("{what}: {}", String::from_utf8_lossy(&output.stderr)));
        assert!(kibibytes < 100 << 10, "{what}: {kibibytes} KiB");
    }
}
