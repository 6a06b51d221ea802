//! Which file imports from which: no circle of files anywhere, and the floors of `core`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::{golden::here, tidy::rust_files};

/// The floors of `core`, the lowest first: a file imports from its own floor and from those below it.
const FLOORS: [&str; 3] = ["model", "decide", "tell"];

/// If this failed, a file could not be understood, tested or moved without another that cannot be understood without it.
#[test]
fn no_file_imports_from_one_that_imports_it() {
    let graph = graph();
    assert!(graph.len() > 150, "the source was not found");
    assert_eq!(circles(&graph), Vec::<Vec<String>>::new());
}

/// If this failed, what there is could come to know what is decided about it, or a decision how it is told.
#[test]
fn the_floors_of_core_are_climbed_by_nobody() {
    let floor = |file: &str| {
        let name = file.strip_prefix("core::")?.split("::").next()?;
        FLOORS.iter().position(|floor| *floor == name)
    };
    let graph = graph();
    let mut climbs = Vec::new();
    for (file, imports) in graph.iter().filter(|(file, _)| file.starts_with("core::")) {
        assert!(floor(file).is_some(), "`{file}` stands on no floor");
        climbs.extend(imports.iter().filter(|to| floor(to) > floor(file)).map(|to| format!("{file} → {to}")));
    }
    assert_eq!(climbs, Vec::<String>::new());
}

#[test]
fn imports_are_read_from_groups_from_paths_and_from_above() {
    let files = ["a", "a::b", "a::c", "d", "d::e"].map(str::to_owned).into();
    let read = |module: &str, text: &str| imports_of(module, text, &files).into_iter().collect::<Vec<_>>();
    assert_eq!(read("d::e", "use crate::{a::{self, b::Thing}, d};"), ["a", "a::b", "d"]);
    assert_eq!(read("a::b", "use super::c::{Other as O, more};\nuse std::fmt;"), ["a::c"]);
    assert_eq!(read("a::b", "use super::{helper, c};"), ["a", "a::c"]);
    assert_eq!(
        read("a::b", "// use crate::d::X;\nfn f() { crate::d::e::g(super::super::d::h()) }"),
        ["d", "d::e"]
    );
    assert_eq!(read("a", "pub use b::Thing;"), ["a::b"]);
    assert_eq!(read("a", "#[cfg(test)]\nmod tests {\n    use crate::d::X;\n}"), Vec::<String>::new());
    let graph = |edges: &[(&str, &str)]| {
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in edges {
            graph.entry((*from).into()).or_default().insert((*to).into());
            graph.entry((*to).into()).or_default();
        }
        graph
    };
    assert_eq!(circles(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])), Vec::<Vec<String>>::new());
    assert_eq!(circles(&graph(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")])), [["a", "b", "c"]]);
}

/// Each file of the source, as a path of modules, and those that it imports from.
fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let source = here("src");
    let mut paths = Vec::new();
    rust_files(&source, &mut paths);
    let module = |path: &Path| {
        let inside = path.strip_prefix(&source).unwrap().with_extension("");
        let parts: Vec<&str> = inside.iter().map(|part| part.to_str().unwrap()).collect();
        parts.join("::").trim_end_matches("::mod").to_owned()
    };
    let files: BTreeSet<String> = paths.iter().map(|path| module(path)).collect();
    let entry = |path: &PathBuf| {
        let module = module(path);
        let imports = imports_of(&module, &fs::read_to_string(path).unwrap(), &files);
        (module, imports)
    };
    paths.iter().map(entry).collect()
}

fn imports_of(module: &str, text: &str, files: &BTreeSet<String>) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let code: String = code.lines().map(|line| line.split("//").next().unwrap().to_owned() + "\n").collect();
    let mut paths = Vec::new();
    for statement in code.split('\n').collect::<Vec<_>>().join(" ").split(';') {
        let statement =
            statement.rsplit(['}', ']']).next().filter(|_| !statement.contains("use ")).unwrap_or(statement);
        if let Some((before, tree)) = statement.rsplit_once("use ")
            && before
                .trim_end()
                .chars()
                .last()
                .is_none_or(|letter| !letter.is_alphanumeric() || before.ends_with("pub "))
        {
            leaves("", tree, &mut paths);
        }
    }
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let words = code.split(|letter: char| !is_part(letter)).filter(|word| !word.ends_with("::"));
    paths.extend(
        words.filter(|word| word.starts_with("crate::") || word.starts_with("super::")).map(str::to_owned),
    );
    // A parent calls its children by their names.
    let words = code.split(|letter: char| !is_part(letter)).filter(|word| !word.ends_with("::"));
    paths.extend(words.filter_map(|word| {
        let (first, _) = word.split_once("::")?;
        files.contains(&format!("{module}::{first}")).then(|| format!("crate::{module}::{word}"))
    }));
    let files_of = paths.iter().filter_map(|path| file_of(module, path, files));
    files_of.filter(|file| file != module).collect()
}

/// Every path of a tree such as `a::{b, c::{self, d as e}}`.
fn leaves(prefix: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap().trim();
        found.push(format!("{prefix}{path}"));
        return;
    };
    let Some((body, _)) = rest.rsplit_once('}') else { return };
    let (mut depth, mut begin) = (0, 0);
    for (at, letter) in body.char_indices().chain([(body.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = &body[begin..at];
                begin = at + 1;
                if !part.trim().is_empty() {
                    leaves(&format!("{prefix}{}", head.trim()), part, found);
                }
            }
            _ => {}
        }
    }
}

/// The file that a path leads into: the longest beginning of it that is one.
fn file_of(module: &str, path: &str, files: &BTreeSet<String>) -> Option<String> {
    let mut from: Vec<&str> = module.split("::").collect();
    let mut rest = path.trim();
    if let Some(below) = rest.strip_prefix("crate::") {
        (from, rest) = (Vec::new(), below);
    } else if rest.starts_with("super::") {
        while let Some(above) = rest.strip_prefix("super::") {
            from.pop();
            rest = above;
        }
    } else if let Some(own) = rest.strip_prefix("self::") {
        rest = own;
    } else if !files.contains(&format!("{module}::{}", rest.split("::").next()?)) {
        return None;
    }
    let parts: Vec<&str> = from.into_iter().chain(rest.split("::")).collect();
    (1..=parts.len()).rev().map(|count| parts[..count].join("::")).find(|file| files.contains(file))
}

/// Files that are reached from themselves, those that reach each other together.
fn circles(graph: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reached = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&String> = graph[from].iter().collect();
        while let Some(file) = next.pop() {
            if seen.insert(file.clone()) {
                next.extend(&graph[file]);
            }
        }
        seen
    };
    let reach: BTreeMap<&String, BTreeSet<String>> = graph.keys().map(|file| (file, reached(file))).collect();
    let mut circles: Vec<Vec<String>> = graph
        .keys()
        .filter(|file| reach[file].contains(*file))
        .map(|file| reach[file].iter().filter(|other| reach[other].contains(file)).cloned().collect())
        .collect();
    circles.dedup();
    circles.sort();
    circles.dedup();
    circles
}
