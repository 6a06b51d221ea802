//! What ends an engine, as a person names it: real logs and error texts, each with where it is from (`causes/`).
//!
//! Each file begins with `# source: …`, `# cause: …` (a part of what is to be told; `none` for a log of an engine that is well) and
//! any number of `# not: …` (a part of what must not be told). Below are the lines, as an engine prints them.

use std::fs;

use spark_control::core::{decide::cause, model::progress};

use crate::golden::stems;

struct Case {
    name: String,
    cause: Option<String>,
    not: Vec<String>,
    log: String,
}

fn cases() -> Vec<Case> {
    let read = |name: String| {
        let text =
            fs::read_to_string(format!("{}/tests/it/causes/{name}.txt", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let begins =
            |line: &&str| ["# source: ", "# cause: ", "# not: "].iter().any(|field| line.starts_with(field));
        let fields: Vec<&str> = text.lines().take_while(begins).collect();
        let all = |field: &str| {
            fields.iter().filter_map(|line| line.strip_prefix(field)).map(plain).collect::<Vec<_>>()
        };
        let (sources, causes, not) = (all("# source: "), all("# cause: "), all("# not: "));
        assert!(sources.len() == 1 && causes.len() == 1, "{name}");
        let log = text.split_inclusive('\n').skip(fields.len()).collect();
        Case { cause: causes.into_iter().find(|cause| cause != "none"), not, log, name }
    };
    stems("tests/it/causes", "txt").into_iter().map(read).collect()
}

/// What is told is on one line, and does not end with a stop.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

/// If this failed, an owner would read a wrapper, an aftermath or a warning where the cause is known.
#[test]
fn the_cause_that_a_person_names_is_told() {
    let cases = cases();
    assert!(cases.len() >= 60);
    assert!(cases.iter().filter(|case| case.cause.is_none()).count() >= 5);
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|Case { name, cause: wanted, not, log }| {
            let told = cause::of(log);
            let is_right = match (wanted, &told) {
                (Some(wanted), Some(told)) => {
                    told.contains(wanted.as_str()) && !not.iter().any(|not| told.contains(not.as_str()))
                }
                (wanted, told) => wanted.is_none() && told.is_none(),
            };
            (!is_right).then(|| format!("{name}: wanted {wanted:?}, told {told:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// If this failed, the same words would tell something else through another launcher, or in a terminal's colours.
#[test]
fn how_a_log_is_kept_changes_nothing() {
    for case in cases() {
        let told = cause::of(&case.log);
        let kept =
            |each: &dyn Fn(&str) -> String| case.log.split_inclusive('\n').map(each).collect::<String>();
        let stamped = kept(&|line| format!("2026-11-25T07:00:00.123456789Z {line}"));
        let coloured = kept(&|line| format!("\u{1b}[31m{}\u{1b}[0m\n", line.trim_end_matches('\n')));
        let returned = kept(&|line| format!("{}\r\n", line.trim_end_matches('\n')));
        for kept in [stamped, coloured, returned] {
            assert_eq!(cause::of(&kept), told, "{}", case.name);
        }
    }
}

/// If this failed, an engine that is well would be given up: what is logged on the way to serving is no end.
#[test]
fn a_log_of_an_engine_that_is_well_ends_nothing() {
    for case in cases().iter().filter(|case| case.cause.is_none()) {
        assert!(!progress::read(&case.log).gave_up, "{}", case.name);
    }
}
