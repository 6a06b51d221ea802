//! The fuzzer's seeds, again: what was found once stays found.

use std::fs;

use crate::golden::here;

#[path = "../../fuzz/inputs.rs"]
mod inputs;

/// If this failed, some bytes would end the program, or be taken for what they are not.
#[test]
fn every_seed_of_the_fuzzer_comes_to_an_end() {
    for (name, input) in inputs::INPUTS {
        let folder = here(&format!("fuzz/seeds/{name}"));
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 3, "only {} seeds of {name}", files.len());
        for file in files {
            println!("{}", file.display());
            let bytes = fs::read(&file).unwrap();
            input(&bytes);
            // Cut anywhere, it is another input.
            for part in 1..8 {
                input(&bytes[..bytes.len() * part / 8]);
            }
        }
    }
}

/// If this failed, a target would have no seeds, or seeds no target.
#[test]
fn every_target_has_seeds_and_a_binary() {
    let names: Vec<&str> = inputs::INPUTS.iter().map(|(name, _)| *name).collect();
    let manifest = fs::read_to_string(here("fuzz/Cargo.toml")).unwrap();
    let mut folders: Vec<String> = fs::read_dir(here("fuzz/seeds"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(folders, sorted);
    for name in names {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        assert!(here(&format!("fuzz/targets/{name}.rs")).exists(), "{name}");
    }
}
