//! The house rules that a compiler does not know: imports go down only, and nothing lies about.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use spark_control::core::model::reason::Reason;

use crate::golden::{here, stems};

/// The layers of `docs/architecture.md`: a module imports from lower levels, and from the same level only to the right
/// of itself.
const LEVELS: [&[&str]; 7] = [
    &["core"],
    &["launcher", "docker", "host", "manifest", "store"],
    &["apply", "probe"],
    &["sim", "controller"],
    &["wire"],
    &["web"],
    &["cli"],
];

fn level(module: &str) -> Option<(usize, usize)> {
    LEVELS.iter().enumerate().find_map(|(level, modules)| {
        modules.iter().position(|known| *known == module).map(|place| (level, place))
    })
}

fn may_import(from: &str, to: &str) -> bool {
    let (Some((from_level, from_place)), Some((to_level, to_place))) = (level(from), level(to)) else {
        return false;
    };
    from == to || to_level < from_level || (to_level == from_level && to_place > from_place)
}

/// Every file of Rust below it.
pub fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The first names after `crate::` in this text, groups included.
fn imported(text: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect();
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => {
                names.insert(word(rest));
            }
            Some(group) => {
                let mut depth = 0;
                let mut begins = true;
                for (at, letter) in group.char_indices() {
                    match letter {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => begins = true,
                        letter if begins && depth == 0 && letter.is_alphabetic() => {
                            names.insert(word(&group[at..]));
                            begins = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    names
}

fn word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// If this failed, core could come to know a socket, or the planner a face.
#[test]
fn imports_go_down_only() {
    let source = here("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    assert!(files.len() > 50, "the source was not found");
    let mut climbs = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&source).unwrap();
        let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if ["main", "lib"].contains(&module.as_str()) {
            continue;
        }
        assert!(level(&module).is_some(), "`{module}` has no place in the table of layers");
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        for to in imported(text) {
            if !may_import(&module, &to) {
                climbs.push(format!("{} imports `{to}`", inside.display()));
            }
        }
    }
    assert!(climbs.is_empty(), "imports that climb:\n{}", climbs.join("\n"));
}

#[test]
fn the_scanner_sees_groups_and_climbing() {
    let text = "use crate::{\n    core::{plan::Plan, ledger},\n    web::control::By,\n};\nfn f() { crate::store::x() }";
    assert_eq!(imported(text), ["core", "store", "web"].map(str::to_owned).into());
    assert!(!may_import("core", "web") && !may_import("host", "docker") && may_import("docker", "host"));
}

/// If this failed, a file could lie about that is part of nothing: it compiles because nobody compiles it.
#[test]
fn every_source_file_belongs_to_its_parent() {
    let mut files = Vec::new();
    for folder in ["src", "tests/it", "tests/lab"] {
        rust_files(&here(folder), &mut files);
    }
    // Built into the lab's image by itself.
    files.retain(|file| !file.ends_with("tests/lab/image/vllm.rs"));
    let mut declared: BTreeMap<PathBuf, String> = BTreeMap::new();
    for file in &files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        if ["main", "lib"].contains(&name) {
            continue;
        }
        let folder = file.parent().unwrap();
        let (folder, name) = if name == "mod" {
            (folder.parent().unwrap(), folder.file_name().unwrap().to_str().unwrap())
        } else {
            (folder, name)
        };
        let mut parents = ["mod.rs", "lib.rs", "main.rs"].map(|parent| folder.join(parent)).to_vec();
        parents.push(folder.with_extension("rs"));
        let texts = parents.iter().filter_map(|parent| fs::read_to_string(parent).ok());
        let is_declared = texts
            .into_iter()
            .any(|text| text.lines().any(|line| line.trim_start_matches("pub ") == format!("mod {name};")));
        if !is_declared {
            declared.insert(file.clone(), name.to_owned());
        }
    }
    assert!(declared.is_empty(), "nobody declares {declared:?}");
}

/// If this failed, a test would see its machine's owner: `hf` on the PATH, an SSH agent, another language.
#[test]
fn every_program_of_a_test_gets_an_environment_of_its_own() {
    let mut files = Vec::new();
    rust_files(&here("tests/it"), &mut files);
    rust_files(&here("tests/lab"), &mut files);
    // Where it is made; and cargo, which has to find the toolchain and what it fetched.
    let makers = ["environment.rs", "shell.rs", "licences.rs", "tidy.rs"];
    files.retain(|file| !makers.iter().any(|maker| file.ends_with(maker)));
    assert!(files.len() > 30, "the tests were not found");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            !text.contains("Command::new("),
            "{}: `environment::command`, or `shell::hermetic` of the lab, runs programs",
            file.display()
        );
    }
}

/// If this failed, a reviewed text would be checked by nobody.
#[test]
fn every_golden_has_its_question() {
    let questions = stems("tests/it/manifest", "yaml");
    assert!(!questions.is_empty());
    assert_eq!(questions, stems("tests/it/manifest", "txt"));
    let mut kept = Vec::new();
    for folder in ["tests/it", "docs", "schema"] {
        kept.extend(
            fs::read_dir(here(folder))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap()),
        );
    }
    assert!(!kept.iter().any(|name| name.ends_with(".new") || name.ends_with(".orig")), "{kept:?}");
}

/// If this failed, the page would promise what no test shows.
#[test]
fn the_promises_page_names_tests_that_exist() {
    let page = fs::read_to_string(here("docs/promises.md")).unwrap();
    let mut tests: BTreeSet<String> = BTreeSet::new();
    let mut sources = Vec::new();
    for folder in ["src", "tests"] {
        rust_files(&here(folder), &mut sources);
    }
    for file in sources {
        let text = fs::read_to_string(file).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let name =
                line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next());
            if let Some(name) = name {
                if is_test {
                    tests.insert(name.to_owned());
                }
                is_test = false;
            }
        }
    }
    let rows: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |")).collect();
    for (at, row) in rows.iter().enumerate() {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells[0], (at + 1).to_string(), "{row}");
        let names: Vec<&str> = cells[2].split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            let is_script = name.ends_with(".txt") && here(&format!("tests/it/scripts/{name}")).is_file();
            assert!(is_script || tests.contains(name), "docs/promises.md: `{name}` is no test");
        }
    }
    assert_eq!(rows.len(), 24);
}

/// If this failed, a visitor would not find what the architecture page names, or a folder would have no line on it.
#[test]
fn the_architecture_page_names_every_folder() {
    let page = fs::read_to_string(here("docs/architecture.md")).unwrap();
    for modules in LEVELS {
        for module in modules {
            assert!(
                page.contains(&format!("`{module}/`")),
                "docs/architecture.md says nothing of `{module}/`"
            );
        }
    }
    for entry in fs::read_dir(here("src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            page.contains(&format!("`{}", name.trim_end_matches(".rs"))),
            "docs/architecture.md: `{name}`"
        );
    }
}

/// Each reason stands in the way of some operator.
#[test]
fn some_session_shows_each_reason() {
    let sessions = stems("tests/it/scripts", "txt");
    let sessions: String = sessions
        .iter()
        .map(|stem| fs::read_to_string(here(&format!("tests/it/scripts/{stem}.txt"))).unwrap())
        .collect();
    let unseen: Vec<&Reason> = Reason::ALL
        .iter()
        .filter(|reason| {
            let forms = [format!("({reason})"), format!("  {reason}: "), format!("{reason}: it takes")];
            !forms.iter().any(|form| sessions.contains(form))
        })
        .collect();
    assert!(unseen.is_empty(), "no session shows {unseen:?}");
}

/// If this failed, an example would name somebody's real machine, or a default would reach into a private network.
#[test]
fn no_private_address_is_written_anywhere() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "examples", "docs", "scripts", "package", "packaging"] {
        every_file(&here(folder), &mut files);
    }
    for file in ["README.md", "CHANGELOG.md"] {
        files.push(here(file));
    }
    let private = ["10.", "192.168.", "172.16.", "172.17.", "172.18.", "172.20.", "172.31."];
    for file in files {
        if file.ends_with("tests/it/tidy.rs") {
            continue;
        }
        // Pictures have no text.
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        for found in text.split(|letter: char| !(letter.is_ascii_digit() || letter == '.')) {
            let parts: Vec<&str> = found.split('.').collect();
            let is_address = parts.len() == 4 && parts.iter().all(|part| part.parse::<u8>().is_ok());
            let is_private = private.iter().any(|prefix| found.starts_with(prefix));
            assert!(!(is_address && is_private), "{} names {found}", file.display());
        }
    }
}

/// If this failed, a form, the page or the docs would show an owner somebody else's machine or name.
#[test]
fn examples_name_nobody() {
    let mut files = Vec::new();
    for folder in ["src/web/ui", "examples", "docs", "package", "packaging"] {
        every_file(&here(folder), &mut files);
    }
    files.push(here("README.md"));
    // Reserved for documentation (RFC 2606, RFC 6761), and what programs are told by their own names.
    let is_reserved = |host: &str| {
        ["example", "example.com", "localhost", "invalid"]
            .iter()
            .any(|name| host == *name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')))
    };
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    for file in files {
        let is_text = ["md", "ts", "js", "mjs", "json", "yaml", "html"];
        let is_text =
            file.extension().is_some_and(|extension| is_text.iter().any(|known| extension == *known));
        let is_vendored = file.components().any(|part| part.as_os_str() == "vendor");
        if !is_text || is_vendored || file.ends_with("package-lock.json") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        // Who is signed in as, and where.
        for (at, _) in text.match_indices('@') {
            let user: String = text[..at].chars().rev().take_while(|letter| is_letter(*letter)).collect();
            let user: String = user.chars().rev().collect();
            let host: String = text[at + 1..].chars().take_while(|letter| is_letter(*letter)).collect();
            if user.is_empty() || !host.contains('.') {
                continue;
            }
            let known = ["alice", "bob", "carol", "spark-control", "user"].contains(&user.as_str());
            let documented = host.starts_with("192.0.2.") || is_reserved(&host);
            assert!(known && documented, "{} names {user}@{host}", file.display());
        }
        // Homes of people.
        for (at, _) in text.match_indices("/home/") {
            let user: String = text[at + 6..].chars().take_while(|letter| is_letter(*letter)).collect();
            assert!(
                ["", "alice", "bob", "carol"].contains(&user.as_str()),
                "{} names /home/{user}",
                file.display()
            );
        }
    }
}

fn every_file(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // What is built or fetched is not ours.
        if ["node_modules", "javascript", "dist"].iter().any(|folder| path.ends_with(folder)) {
            continue;
        }
        if path.is_dir() {
            every_file(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The file has a line that begins what has this name: a function, a type, a constant or a variant.
fn defines(file: &str, symbol: &str) -> bool {
    let source = fs::read_to_string(here(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    source.lines().any(|line| {
        let mut line = line.trim_start();
        for word in ["export ", "pub ", "pub(crate) ", "pub(super) ", "async ", "const "] {
            line = line.trim_start_matches(word);
        }
        let rest = ["fn ", "struct ", "enum ", "type ", "trait ", "def ", "function "]
            .iter()
            .find_map(|kind| line.strip_prefix(kind))
            .unwrap_or(line);
        rest.strip_prefix(symbol).is_some_and(|rest| rest.starts_with([':', '(', '<', ' ', ',', ';']))
    })
}

/// If this failed, who follows a value through the source would be sent to a file or a function that is not there.
#[test]
fn the_walks_of_the_architecture_page_lead_where_they_say() {
    let page = fs::read_to_string(here("docs/architecture.md")).unwrap();
    let walks = page.split("## Three walks").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let mut stations = 0;
    for place in walks.split('`').skip(1).step_by(2).filter(|place| place.contains("::")) {
        let (file, symbol) = place.rsplit_once("::").unwrap();
        let file = format!("src/{file}");
        assert!(defines(&file, symbol), "`{symbol}` is not defined in {file}");
        stations += 1;
    }
    assert!(stations > 30, "{stations}");
}

/// If this failed, somebody who searches for the usual word would be led to a place that is not there.
#[test]
fn every_word_of_the_glossary_leads_to_its_symbol() {
    let page = fs::read_to_string(here("docs/glossary.md")).unwrap();
    let mut terms = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("- ")) {
        let (term, rest) = line.strip_prefix("- **").and_then(|rest| rest.split_once("**: ")).expect(line);
        let place = rest.rsplit('`').nth(1).expect(line);
        let (file, symbol) = place.rsplit_once("::").expect(line);
        assert!(defines(file, symbol), "{term}: `{symbol}` is not defined in {file}");
        terms.push(term);
    }
    let mut sorted = terms.clone();
    sorted.sort_by_key(|term| term.to_lowercase());
    assert_eq!(terms, sorted, "in the order of the alphabet");
    for word in [
        "desired",
        "observed",
        "drift",
        "plan",
        "step",
        "gate",
        "round",
        "condition",
        "lease",
        "fence",
        "probe",
        "liveness",
        "readiness",
        "drain",
        "rollback",
        "reservation",
        "idempotency",
        "redaction",
        "host-key pinning",
        "debounce",
        "retry budget",
        "webhook",
        "watchdog",
        "hold",
        "session",
    ] {
        assert!(terms.contains(&word), "docs/glossary.md has no `{word}`");
    }
}

/// If this failed, the page would promise a bound that the source does not have, or a new read from outside would have none.
#[test]
fn the_limits_page_has_the_figures_of_the_source() {
    let page = fs::read_to_string(here("docs/limits.md")).unwrap();
    let mut named: BTreeSet<(String, String)> = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let Some(place) =
            row.trim_end_matches(" |").rsplit(" | ").next().filter(|place| place.starts_with('`'))
        else {
            assert!(row.starts_with("| read |"), "{row}");
            continue;
        };
        for entry in place.split(", ") {
            let file = entry.split('`').nth(1).unwrap();
            let source = fs::read_to_string(here(&format!("src/{file}"))).unwrap();
            let rest = entry.split_once("` `").unwrap().1;
            let (name, value) = rest.split_once('`').unwrap();
            if value.is_empty() {
                assert!(source.contains(name), "{file} has no `{name}`");
                continue;
            }
            let value = value.trim();
            let declared = source
                .lines()
                .find(|line| line.contains(&format!("const {name}: ")))
                .unwrap_or_else(|| panic!("{file}: {name}"));
            let is_so =
                declared.ends_with(&format!("= {value};")) || declared.ends_with(&format!("({value});"));
            assert!(is_so, "{file}: {declared}, and the page says {value}");
            named.insert((file.to_owned(), name.to_owned()));
        }
    }
    assert!(named.len() > 30);
    // Whatever else reads from outside names its bound there: these folders do nothing else.
    for file in ["host/bounded.rs", "host/frame.rs", "host/engine.rs", "probe/http.rs", "web/api/limits.rs"] {
        let source = fs::read_to_string(here(&format!("src/{file}"))).unwrap();
        for line in source
            .lines()
            .filter(|line| line.trim_start().starts_with("const MAX_") || line.starts_with("pub const MAX_"))
        {
            let name = line.split("const ").nth(1).unwrap().split(':').next().unwrap();
            assert!(named.contains(&(file.to_owned(), name.to_owned())), "docs/limits.md: {file} {name}");
        }
    }
}
