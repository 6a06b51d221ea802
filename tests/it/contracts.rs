//! What others build on, generated and checked in: the JSON schema, the references, the examples.

use std::{collections::BTreeSet, fmt::Write as _, fs, io::Write as _, process::Stdio};

use clap::CommandFactory;
use serde_json::Value;
use spark_control::{
    cli::{Arguments, commands::manifest_schema},
    core::model::{event_kind::EventKind, reason::Reason},
    manifest::load::load,
};

use crate::{
    environment::command,
    golden::{assert_golden, here, stems},
};

const SCHEMA: &str = "schema/cluster.v1.schema.json";

/// If this failed, an editor would complain about a good file, or be silent about a bad one.
#[test]
fn the_schema_that_is_checked_in_is_that_of_the_program() {
    assert_golden(SCHEMA, &manifest_schema());
}

/// If this failed, the reference would say something else than the program does.
#[test]
fn the_manifest_reference_is_made_from_the_schema() {
    let schema: Value = serde_json::from_str(&manifest_schema()).unwrap();
    let mut text = String::from(
        "# cluster.yaml, field by field\n\nMade from the JSON schema (`schema/cluster.v1.schema.json`) by a test. Every \
         entry is keyed by its name; unknown fields are errors; `x-*` is ignored; a blank value is the default.\n",
    );
    section(&mut text, "cluster.yaml", &schema);
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        section(&mut text, name, definition);
    }
    assert_golden("docs/manifest.md", &text);
}

/// If this failed, an operator would meet a reason that no page explains, or read of one that does not exist.
#[test]
fn the_operations_page_explains_every_reason() {
    let begins = "| reason | what it means | what to do |\n|---|---|---|\n";
    let page = fs::read_to_string(here("docs/operating.md")).unwrap();
    let (before, rest) = page.split_once(begins).expect("the table of reasons");
    let (_, after) = rest.split_once("\n\n").expect("an end of the table");
    let rows =
        Reason::ALL.iter().map(|reason| format!("| {reason} | {} | {} |", reason.means(), reason.helps()));
    let rows: Vec<String> = rows.collect();
    assert_golden(
        "docs/operating.md",
        &format!("{before}{begins}{}\n\n{after}", rows.join("\n").replace("|  |", "| |")),
    );
}

/// If this failed, a line of the history would be of a kind that nobody explains.
#[test]
fn the_operations_page_explains_every_kind_of_history() {
    let begins = "| kind | what it tells of |\n|---|---|\n";
    let page = fs::read_to_string(here("docs/operating.md")).unwrap();
    let (before, rest) = page.split_once(begins).expect("the table of kinds");
    let (_, after) = rest.split_once("\n\n").expect("an end of the table");
    let rows: Vec<String> =
        EventKind::ALL.iter().map(|kind| format!("| `{kind}` | {} |", kind.means())).collect();
    assert_golden("docs/operating.md", &format!("{before}{begins}{}\n\n{after}", rows.join("\n")));
    let names: BTreeSet<&str> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.len(), EventKind::ALL.len(), "two kinds are written alike");
}

/// If this failed, the page would show the name of a reason in place of what it means.
#[test]
fn the_page_has_the_words_of_every_reason() {
    let mut text = String::from(
        "// Made from `core/model/reason.rs` by a test: what each reason for not acting means, and what helps.\n\nexport const reasons = {\n",
    );
    for reason in Reason::ALL {
        let _ = writeln!(text, "  {reason}: {:?},", reason.short());
    }
    assert_golden("src/web/ui/reasons.js", &format!("{text}}};\n"));
}

fn section(text: &mut String, name: &str, definition: &Value) {
    let told = definition["description"].as_str().unwrap_or_default().replace('\n', " ");
    let _ = write!(text, "\n## {name}\n\n");
    if !told.is_empty() {
        let _ = write!(text, "{told}\n\n");
    }
    if let Some(fields) = definition["properties"].as_object() {
        text.push_str("| field | what it holds | |\n|---|---|---|\n");
        let required: Vec<&str> =
            definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (field, shape) in fields {
            let needed = if required.contains(&field.as_str()) { " (needed)" } else { "" };
            let told = shape["description"].as_str().unwrap_or_default().replace('\n', " ");
            let _ = writeln!(text, "| `{field}`{needed} | {} | {told} |", kind(shape));
        }
    } else {
        let _ = writeln!(text, "{}", kind(definition));
        for variant in definition["oneOf"].as_array().into_iter().flatten() {
            if let (Some(word), Some(told)) = (variant["const"].as_str(), variant["description"].as_str()) {
                let _ = writeln!(text, "- `{word}`: {told}");
            }
        }
    }
}

/// The shape in a few words.
fn kind(shape: &Value) -> String {
    if let Some(reference) = shape["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    for many in ["anyOf", "oneOf"] {
        if let Some(variants) = shape[many].as_array() {
            let mut words: Vec<String> =
                variants.iter().filter(|variant| variant["type"] != "null").map(kind).collect();
            words.dedup();
            return words.join(" or ");
        }
    }
    if let Some(word) = shape["const"].as_str() {
        return format!("`{word}`");
    }
    if let Some(words) = shape["enum"].as_array() {
        let words: Vec<String> =
            words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return words.join(" or ");
    }
    let of_type = match &shape["type"] {
        Value::String(one) => one.clone(),
        Value::Array(several) => {
            let words: Vec<&str> =
                several.iter().filter_map(Value::as_str).filter(|word| *word != "null").collect();
            words.join(" or ")
        }
        _ => "anything".into(),
    };
    match of_type.as_str() {
        "array" => format!("list of {}", kind(&shape["items"])),
        "object" => {
            let entries = shape["patternProperties"].as_object().and_then(|entries| entries.values().next());
            let entry = entries.unwrap_or(&shape["additionalProperties"]);
            if let Some(fields) = shape["properties"].as_object() {
                let words: Vec<String> =
                    fields.iter().map(|(field, shape)| format!("`{field}: {}`", kind(shape))).collect();
                return format!("{{ {} }}", words.join(", "));
            }
            if entry.is_object() { format!("by name: {}", kind(entry)) } else { "map".into() }
        }
        _ => of_type,
    }
}

/// If this failed, the help would have changed without anybody reading it.
#[test]
fn the_command_line_reference_is_the_help() {
    let mut root = Arguments::command().term_width(100);
    root.build();
    let mut text = String::from(
        "# The command line\n\nMade from `--help` by a test. Data goes to stdout, talk to stderr. Exit codes: 0 nothing \
         to do or done, 1 error, 2 changes planned, 3 stale or refused, 4 blocked or held.\n",
    );
    help(&mut text, &mut root);
    assert_golden("docs/cli.md", &text);
}

fn help(text: &mut String, command: &mut clap::Command) {
    let title = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let shown = command.render_long_help().to_string();
    let shown: Vec<&str> = shown.lines().map(str::trim_end).collect();
    let _ = write!(text, "\n## {title}\n\n```\n{}\n```\n", shown.join("\n").trim_end());
    for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
        help(text, sub);
    }
}

/// The examples, and the file that the demo writes.
fn files() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = stems("examples", "yaml")
        .into_iter()
        .map(|stem| {
            let path = format!("examples/{stem}.yaml");
            let text = fs::read_to_string(here(&path)).unwrap();
            (path, text)
        })
        .collect();
    files.push(("src/cli/demo.yaml".into(), spark_control::cli::demo::MANIFEST.into()));
    assert!(files.len() >= 4, "no examples were found");
    files
}

/// As a YAML 1.1 parser reads it: many editors and tools still do.
fn read_by_yaml_1_1(path: &str) -> Value {
    let program =
        "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1])), default=repr))";
    let output = command("python3", &here("")).args(["-c", program]).arg(here(path)).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{path}: {told}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a validator of JSON schemas that is not ours finds wrong with each of these documents.
fn judged(schema: &str, documents: &[Value]) -> Vec<Vec<String>> {
    let program = "import json, sys, jsonschema
asked = json.load(sys.stdin)
validator = jsonschema.Draft202012Validator(asked[0])
validator.check_schema(asked[0])
print(json.dumps([[error.message for error in validator.iter_errors(one)] for one in asked[1]]))";
    let schema: Value = serde_json::from_str(schema).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let mut child = command("python3", &here(""))
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(serde_json::json!([schema, documents]).to_string().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let problems: Vec<Vec<String>> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(problems.len(), documents.len());
    problems
}

/// If this failed, a file that we show would be refused by us, by an editor's schema check, or read differently there.
#[test]
fn examples_are_valid_for_us_for_the_schema_and_for_yaml_1_1() {
    let mut read = Vec::new();
    for (path, text) in files() {
        let loaded = load(&text).unwrap_or_else(|problems| panic!("{path}: {problems:?}"));
        assert!(loaded.warnings.is_empty(), "{path}: {:?}", loaded.warnings);
        let ours: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(ours, read_by_yaml_1_1(&path), "{path}");
        read.push(ours);
    }
    let schema = fs::read_to_string(here(SCHEMA)).unwrap();
    for ((path, _), problems) in files().iter().zip(judged(&schema, &read)) {
        assert!(problems.is_empty(), "{path}: {problems:?}");
    }
}

/// If this failed, the schema would accept what the program refuses in the first line of a file.
#[test]
fn the_schema_refuses_what_the_program_refuses() {
    let good = "version: 1\nsparks: { a: { address: 192.0.2.1, user: alice } }\n";
    let cases = [
        (format!("{good}modle: x\n"), "an unknown field"),
        (format!("{good}disabled_services: parakeet\n"), "a word for a list"),
        (good.replace("user", "usr"), "an unknown field of a Spark"),
        (good.replace("192.0.2.1", "\"-oProxyCommand=x\""), "an option in an address"),
        (format!("{good}reconcile: {{ on_edit: perhaps }}\n"), "an unknown word"),
    ];
    let values = cases.each_ref().map(|(bad, _)| serde_saphyr::from_str(bad).unwrap());
    for ((bad, why), problems) in cases.iter().zip(judged(&manifest_schema(), &values)) {
        assert!(load(bad).is_err(), "the program accepts {why}");
        assert!(!problems.is_empty(), "the schema accepts {why}");
    }
}
