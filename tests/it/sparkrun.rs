//! The words for sparkrun, held against the options that its packages have. `scripts/stages engines` fetches them. Their program needs a
//! newer Python than this machine has: what they declare is read, and not run.

use std::{collections::BTreeSet, fs, path::Path};

use spark_control::{
    core::{
        decide::preflight::SPARKRUN_NEEDED,
        model::observed::{FencingToken, LauncherCheckout},
    },
    launcher::{self, order::LaunchOrder},
    manifest::load::load,
};

use crate::golden::here;

const FILE: &str = "version: 1
sparks:
  spark1: { address: 192.0.2.1, user: alice }
  spark2: { address: 192.0.2.2, user: alice }
vllm: { launcher: { kind: sparkrun, image: vllm-node, ray: true } }
model: wide
models:
  wide:
    recipe: wide
    sparks: [spark1, spark2]
    args: { tensor-parallel-size: 2, gpu-memory-utilization: 0.5, max-model-len: 4096, max-num-seqs: 4 }
    env: { PLAIN: \"it's $(id)\", SECRET: { env: SECRET } }
";

/// Each version, and the options that its `run` declares.
fn versions() -> Vec<(String, BTreeSet<String>)> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
    let list = fs::read_to_string(here("tests/it/launchers/sparkrun.txt")).unwrap();
    let versions = list.lines().filter_map(|line| line.strip_prefix("sparkrun==")?.split(' ').next());
    let read = |version: &str| {
        let place = target.join(format!("suite/engines/sparkrun-{version}"));
        assert!(
            place.join("whole").exists(),
            "sparkrun {version} is not there: run `scripts/stages engines` first"
        );
        let source = ["_run.py", "_common.py"]
            .map(|name| fs::read_to_string(place.join("sparkrun/cli").join(name)).unwrap());
        // `"--one"`, `"-o"`, and `"--yes/--no"`, each a word of its own in the call that declares it.
        let words = source.iter().flat_map(|text| text.split('"')).filter(|word| word.starts_with('-'));
        let options = words.flat_map(|word| word.split('/')).filter(|word| !word.contains([' ', '\n', ',']));
        (version.to_owned(), options.map(str::to_owned).collect())
    };
    versions.map(read).collect()
}

/// The options in what is run for [`FILE`] by a sparkrun that knows these.
fn given(options: &BTreeSet<String>) -> BTreeSet<String> {
    let loaded = load(FILE).unwrap();
    let desired = loaded.desired;
    let (object, slot) = desired.slots.iter().next().unwrap();
    let name = desired.models.keys().next().unwrap();
    let effective = desired.resolved_model(slot, name).unwrap();
    let token: FencingToken = "1.1.0123456789abc-0".parse().unwrap();
    let checkout = LauncherCheckout {
        options: options.iter().map(|option| option.as_str().into()).collect(),
        ..LauncherCheckout::default()
    };
    let script = launcher::script(LaunchOrder {
        object,
        effective: &effective,
        desired: &desired,
        token: &token,
        environment_file: Some("/run/environment"),
        checkout: &checkout,
    });
    let line = script.lines().find(|line| line.contains("'run'")).unwrap();
    let words = shell_words(line);
    assert_eq!(words[1..3], ["run", "wide"]);
    words
        .iter()
        .filter(|word| word.starts_with('-'))
        .map(|word| word.split('=').next().unwrap().to_owned())
        .collect()
}

/// As `sh` splits it.
fn shell_words(line: &str) -> Vec<String> {
    let output = crate::environment::command("sh", Path::new("/"))
        .args(["-c", &format!("printf '%s\\0' {line}")])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// If this failed, sparkrun would refuse every start with "No such option", and only on a real Spark.
#[test]
fn every_option_that_sparkrun_is_given_is_one_that_its_packages_have() {
    for (version, options) in versions() {
        assert!(options.len() > 20, "{version}: {options:?}");
        let given = given(&options);
        assert!(given.contains("--restart") && given.contains("-o"), "{version}: {given:?}");
        let unknown: Vec<&String> = given.difference(&options).collect();
        assert!(unknown.is_empty(), "sparkrun {version} has no {unknown:?}");
        for needed in SPARKRUN_NEEDED {
            assert!(options.contains(needed), "sparkrun {version} has no {needed}");
            assert!(given.contains(needed), "{needed} is given to it");
        }
        // What came later is used where it is.
        assert_eq!(given.contains("--env"), version == "0.4.2", "{version}");
        assert_eq!(given.contains("--no-ready-wait"), version == "0.4.2", "{version}");
    }
}

/// If this failed, the lab would start models with options that only its own sparkrun has.
#[test]
fn the_labs_sparkrun_has_only_options_of_the_published_one() {
    let output = crate::environment::command(here("tests/lab/spark/sparkrun"), Path::new("/"))
        .args(["run", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let names = help.lines().filter_map(|line| line.strip_prefix("  -")?.split("  ").next());
    let names: Vec<String> = names
        .flat_map(|names| names.split(", ").map(|name| format!("-{}", name.trim_start_matches('-'))))
        .collect();
    assert!(names.len() > 10, "{help}");
    let (_, published) = versions().pop().unwrap();
    for name in names {
        let name = name.trim_end_matches("=*");
        let is_there =
            published.iter().any(|option| option.trim_start_matches('-') == name.trim_start_matches('-'));
        assert!(is_there, "sparkrun has no {name}");
    }
}
