//! The licences of everything that is built in, held to `deny.toml` without the network.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;

use crate::golden::here;

/// The allow list as it stands in `deny.toml`.
fn allowed() -> BTreeSet<String> {
    let text = fs::read_to_string(here("deny.toml")).unwrap();
    let list = text.split("allow = [").nth(1).and_then(|rest| rest.split(']').next()).expect("an allow list");
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// An SPDX expression of `AND`, `OR` and parentheses; the old `/` means `OR`.
fn permits(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let permitted = any_of(&mut rest, allowed);
    assert!(rest.is_empty(), "`{expression}` is not understood");
    permitted
}

fn any_of(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut permitted = all_of(rest, allowed);
    while rest.first() == Some(&"OR") {
        *rest = &rest[1..];
        permitted |= all_of(rest, allowed);
    }
    permitted
}

fn all_of(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut permitted = one_of(rest, allowed);
    while rest.first() == Some(&"AND") {
        *rest = &rest[1..];
        permitted &= one_of(rest, allowed);
    }
    permitted
}

fn one_of(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let (first, after) = rest.split_first().expect("a licence");
    *rest = after;
    if *first == "(" {
        let permitted = any_of(rest, allowed);
        assert_eq!(rest.first(), Some(&")"), "an open parenthesis");
        *rest = &rest[1..];
        return permitted;
    }
    if rest.first() == Some(&"WITH") {
        let name = format!("{first} WITH {}", rest[1]);
        *rest = &rest[2..];
        return allowed.contains(&name);
    }
    allowed.contains(*first)
}

#[test]
fn expressions_are_read_as_spdx_says() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned()].into();
    assert!(permits("MIT OR GPL-3.0", &allowed));
    assert!(permits("GPL-3.0/MIT", &allowed));
    assert!(!permits("MIT AND GPL-3.0", &allowed));
    assert!(permits("(GPL-3.0 OR MIT) AND ISC", &allowed));
    assert!(!permits("Apache-2.0 WITH LLVM-exception", &allowed));
}

/// If this failed, something would be built in whose licence the owner did not agree to.
#[test]
fn every_dependency_has_an_allowed_licence() {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", &triple])
        .current_dir(here(""))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "the packages were not listed");
    let allowed = allowed();
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(permits(licence, &allowed), "{} has the licence `{licence}`", package["name"]);
    }
}
