//! Changing the text of `cluster.yaml` and nothing else in it: comments, order and style of what is not changed stay.
//!
//! `edited` makes the value that is asked for, carries each difference into the text (`splice`), and reads the result back: it
//! must mean exactly that. Otherwise it refuses, and says where and why. Writes nothing; `controller::edit` does.

use serde_json::Value as Json;

use super::{
    patch,
    problem::FileProblem,
    refused::Refused,
    splice::{MovedText, NoPlace, splice},
    tree::{self, Node, Value},
};

/// A change that is asked for.
#[derive(Debug, Clone)]
pub enum TextChange {
    /// RFC 7396.
    Merge(Json),
    /// RFC 6902.
    Patch(json_patch::Patch),
    /// The whole text.
    Whole(String),
}

/// `text` after `change`.
///
/// # Errors
/// [`Refused`].
pub fn edited(text: &str, change: &TextChange) -> Result<String, Refused> {
    if let TextChange::Whole(new) = change {
        return Ok(new.clone());
    }
    let (mark, body) = match text.strip_prefix('\u{feff}') {
        Some(body) => ("\u{feff}", body),
        None => ("", text),
    };
    let before = tree::parse(body).map_err(Refused::Unreadable)?;
    let old = before.json();
    let new = match change {
        TextChange::Merge(wanted) => patch::merged(&old, wanted)?,
        TextChange::Patch(wanted) => patch::patched(&old, wanted)?,
        TextChange::Whole(_) => unreachable!("returned above"),
    };
    if new == old {
        return Ok(text.to_owned());
    }
    if let Ok(after) = splice(body, &before, &new, MovedText::AsWritten)
        && tree::parse(&after).is_ok_and(|read| read.json() == new)
    {
        return Ok(format!("{mark}{after}"));
    }
    let after = splice(body, &before, &new, MovedText::Anew)
        .map_err(|no_place| touches_other_text(body, &no_place))?;
    match tree::parse(&after) {
        Ok(read) if read.json() == new => Ok(format!("{mark}{after}")),
        Ok(read) => Err(misread(body, &before, &read.json(), &new)),
        Err(problem) => {
            let why = format!("the file could not be read any more ({})", problem.message);
            Err(Refused::TouchesOtherText { line: 1, why, text: first_line(body) })
        }
    }
}

fn touches_other_text(text: &str, NoPlace { at, why }: &NoPlace) -> Refused {
    let line = text[..*at].matches('\n').count();
    let written = text.lines().nth(line).unwrap_or_default().trim().to_owned();
    Refused::TouchesOtherText { line: line + 1, why: (*why).to_owned(), text: written }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// Why a text that was changed in its place means something else: what stands there is shared, mostly.
fn misread(text: &str, before: &Node, read: &Json, wanted: &Json) -> Refused {
    let fields = differing(wanted, read);
    let at = fields.first().map_or(0, |field| place(before, field));
    let anchors: Vec<&str> = text
        .split_whitespace()
        .filter(|word| {
            word.len() > 1
                && word.starts_with('&')
                && word[1..].chars().all(|c| c.is_alphanumeric() || "_-".contains(c))
        })
        .collect();
    let why = match anchors.as_slice() {
        [] => "it would mean something else".to_owned(),
        [one] => format!("the anchor `{one}` shares what stands there with other places"),
        several => format!("the anchors {} share what stands there with other places", several.join(" and ")),
    };
    let no_place = NoPlace { at, why: "" };
    match touches_other_text(text, &no_place) {
        Refused::TouchesOtherText { line, text, .. } => Refused::TouchesOtherText { line, why, text },
        other => other,
    }
}

/// Where a field stands, or what holds it.
fn place(node: &Node, pointer: &str) -> usize {
    let mut node = node;
    let mut at = node.span.start;
    for name in pointer.split('/').skip(1) {
        let name = name.replace("~1", "/").replace("~0", "~");
        let Value::Map(entries) = &node.value else { break };
        let Some((key, value)) = entries.iter().find(|(key, _)| key.text == name) else { break };
        at = key.span.start;
        node = value;
    }
    at
}

/// Names of what differs between two values, as JSON pointers; a map is gone into, everything else is one thing.
pub fn differing(old: &Json, new: &Json) -> Vec<String> {
    let mut found = Vec::new();
    differ("", old, new, &mut found);
    found
}

fn differ(path: &str, old: &Json, new: &Json, found: &mut Vec<String>) {
    match (old, new) {
        _ if old == new => {}
        (Json::Object(old), Json::Object(new)) => {
            let gone = old.keys().filter(|key| !new.contains_key(*key));
            for key in gone.chain(new.keys()) {
                let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                match (old.get(key), new.get(key)) {
                    (Some(old), Some(new)) => differ(&path, old, new, found),
                    _ => found.push(path),
                }
            }
        }
        _ => found.push(path.to_owned()),
    }
}

/// The value of a text, as JSON.
///
/// # Errors
/// The first thing that is not YAML.
pub fn value(text: &str) -> Result<Json, FileProblem> {
    tree::parse(text.strip_prefix('\u{feff}').unwrap_or(text)).map(|node| node.json())
}

/// The fields that differ between two texts of the file, as JSON pointers; in words where that cannot be told.
pub fn changed_fields(old: &str, new: &str) -> Vec<String> {
    match (value(old), value(new)) {
        (Ok(old), Ok(new)) => {
            let fields = differing(&old, &new);
            if fields.is_empty() { vec!["only how it is written".into()] } else { fields }
        }
        _ => vec!["everything: it cannot be read".into()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FILE: &str = "\
# The house.
version: 1   # always

sparks:
  # the first
  spark1: { address: 192.0.2.1, user: alice }   # under the desk
model: small   # what serves
models:
  small:
    repo: Qwen/Qwen3-8B   # small enough
    sparks:
      - spark1   # head
    # nothing else
# the end
";

    fn merged(patch: Json) -> String {
        edited(FILE, &TextChange::Merge(patch)).unwrap()
    }

    #[test]
    fn a_word_is_replaced_and_its_comment_stays() {
        let text = merged(json!({ "model": "none" }));
        assert_eq!(text, FILE.replace("model: small   #", "model: none   #"));
    }

    #[test]
    fn entries_come_and_go_beside_the_comments() {
        let text = merged(json!({
            "sparks": { "spark2": { "address": "192.0.2.2", "user": "bob" } },
            "models": { "small": { "sparks": ["spark1", "spark2"], "args": { "max-model-len": 4096 } } },
        }));
        let expected = FILE
            .replace("under the desk\n", "under the desk\n  spark2: { address: 192.0.2.2, user: bob }\n")
            .replace("# head\n", "# head\n      - spark2\n    args: { max-model-len: 4096 }\n");
        assert_eq!(text, expected);
        let back = edited(&text, &TextChange::Merge(json!({ "sparks": { "spark2": null } }))).unwrap();
        assert!(!back.contains("spark2: {") && back.contains("# under the desk"), "{back}");
    }

    #[test]
    fn a_json_patch_that_does_not_fit_is_refused() {
        let patch = json!([{ "op": "replace", "path": "/models/large/repo", "value": "x/y" }]);
        let change = TextChange::Patch(serde_json::from_value(patch).unwrap());
        assert!(matches!(edited(FILE, &change), Err(Refused::DoesNotFit(_))));
        let patch = json!([{ "op": "test", "path": "/model", "value": "small" },
            { "op": "replace", "path": "/model", "value": "none" }]);
        let change = TextChange::Patch(serde_json::from_value(patch).unwrap());
        assert!(edited(FILE, &change).unwrap().contains("model: none   # what serves"));
    }

    /// If this failed, an edit of one entry would change another that shares its text.
    #[test]
    fn what_an_anchor_shares_is_not_changed_behind_its_back() {
        let text = "version: 1\nx-base: &base { user: alice }\nsparks:\n  a: *base\n  b: *base\n";
        let refused = edited(text, &TextChange::Merge(json!({ "x-base": { "user": "bob" } })));
        let Err(refused) = refused else { panic!("{refused:?}") };
        let told = "line 4 of the file cannot be changed in part, because the anchor `&base` shares what stands there with other \
                    places: `a: *base`; edit it by hand";
        assert_eq!(refused.to_string(), told);
    }

    /// If this failed, a model that is parked beside the others, or an option that goes to another model, would lose why it is there.
    #[test]
    fn an_entry_that_moves_to_another_map_takes_its_comments_along() {
        let text = "\
version: 1
x-parked:
    old: { repo: x/old }
models:
  # why it is here
  small:   # the usual one
    repo: lab/small
    env:
      # a bug of 0.9
      A: \"1\"   # until it is gone
      B: two
    port: 8001   # the proxy asks there
  large:
    repo: lab/large
# the end
";
        let patched = |text: &str, operations: Json| {
            edited(text, &TextChange::Patch(serde_json::from_value(operations).unwrap())).unwrap()
        };
        let moved =
            patched(text, json!([{ "op": "move", "from": "/models/small", "path": "/x-parked/tiny" }]));
        let expected = "\
version: 1
x-parked:
    old: { repo: x/old }
    # why it is here
    tiny:   # the usual one
      repo: lab/small
      env:
        # a bug of 0.9
        A: \"1\"   # until it is gone
        B: two
      port: 8001   # the proxy asks there
models:
  large:
    repo: lab/large
# the end
";
        assert_eq!(moved, expected);
        // And back, deeper and shallower, with the line ends that there are.
        let back = json!([{ "op": "move", "from": "/x-parked/tiny", "path": "/models/small" }]);
        let back = patched(&moved.replace('\n', "\r\n"), back);
        assert!(
            back.contains(
                "  # why it is here\r\n  small:   # the usual one\r\n    repo: lab/small\r\n    env:\r\n"
            ),
            "{back}"
        );
        // A map and a number of a model, also of one that goes.
        let parts = patched(
            text,
            json!([
                { "op": "move", "from": "/models/small/env", "path": "/models/large/env" },
                { "op": "move", "from": "/models/small/port", "path": "/models/large/port" },
                { "op": "remove", "path": "/models/small" },
            ]),
        );
        let large = "  large:\n    repo: lab/large\n    env:\n      # a bug of 0.9\n      A: \"1\"   # until it is gone\n      B: two\n    port: 8001   # the proxy asks there\n# the end\n";
        assert!(parts.ends_with(large), "{parts}");
        assert!(!parts.contains("small"), "{parts}");
        // What another place names is written anew where the name would come too late.
        let shared = "version: 1\nx-a:\n  one:\n    &same\n    k: [1]\nx-b:\n  two: *same\nx-c:\n  k: 1\n";
        let moved = patched(
            shared,
            json!([{ "op": "move", "from": "/x-a/one", "path": "/x-c/one" }, { "op": "remove", "path": "/x-b/two" }]),
        );
        assert_eq!(value(&moved).unwrap()["x-c"]["one"]["k"], json!([1]), "{moved}");
    }

    /// If this failed, the comments of an empty section would be gone with its next entry.
    #[test]
    fn a_map_that_was_emptied_keeps_its_comments_when_it_is_filled_again() {
        let text =
            "version: 1\nholds:   # mine\n  # the usual one\n  night: { owner: alice }\n  # after\n# end\n";
        let hold = |name: &str, hold: Json| TextChange::Merge(json!({ "holds": { name: hold } }));
        let emptied = edited(text, &hold("night", Json::Null)).unwrap();
        assert_eq!(emptied, text.replace("night: { owner: alice }", "{}"));
        let again = edited(&emptied, &hold("day", json!({ "owner": "bob" }))).unwrap();
        assert_eq!(again, text.replace("night: { owner: alice }", "day: { owner: bob }"));
        let two = TextChange::Merge(json!({ "holds": { "a": { "owner": "bob" }, "b": { "owner": "bob" } } }));
        let two = edited(&emptied, &two).unwrap();
        assert!(
            two.contains("  # the usual one\n  a: { owner: bob }\n  b: { owner: bob }\n  # after\n"),
            "{two}"
        );
    }

    /// If this failed, a comment would stand at another entry than the one that it is about.
    #[test]
    fn an_item_goes_with_its_own_comment() {
        let text =
            "version: 1\ndisabled_services:\n  - x   # broken\n  - y   # licence ended\n  - z   # old\n";
        let gone =
            |list: Json| edited(text, &TextChange::Merge(json!({ "disabled_services": list }))).unwrap();
        assert_eq!(gone(json!(["y", "z"])), text.replace("  - x   # broken\n", ""));
        assert_eq!(gone(json!(["x", "z"])), text.replace("  - y   # licence ended\n", ""));
    }

    #[test]
    fn words_that_old_parsers_misread_are_quoted() {
        let text = merged(json!({ "x-a": { "yes": "no", "1": "12:30", "k": "a: b # c", "empty": "" } }));
        assert!(text.contains(r#"x-a: { "yes": "no", "1": "12:30", k: "a: b # c", empty: "" }"#), "{text}");
    }

    #[test]
    fn line_ends_and_the_byte_order_mark_stay() {
        let windows = format!("\u{feff}{}", FILE.replace('\n', "\r\n"));
        let text = edited(&windows, &TextChange::Merge(json!({ "model": "none" }))).unwrap();
        assert_eq!(text, windows.replace("model: small", "model: none"));
    }

    #[test]
    fn differences_are_named() {
        let old = json!({ "a": 1, "b": { "c/d": [1], "e": null } });
        let new = json!({ "b": { "c/d": [2] }, "f": {} });
        assert_eq!(differing(&old, &new), ["/a", "/b/e", "/b/c~1d", "/f"]);
    }

    fn changed(text: &str, patch: Json) -> String {
        edited(text, &TextChange::Merge(patch)).unwrap_or_else(|refused| panic!("{refused}\n{text}"))
    }

    /// If this failed, a file that `check` calls valid could not be edited at all.
    #[test]
    fn a_file_is_edited_however_it_is_written() {
        for (text, patch, expected) in [
            // Something stands before the document, or behind it.
            (
                "# yaml-language-server: x\n---\nmodel: a # b\n",
                json!({ "model": "c" }),
                "# yaml-language-server: x\n---\nmodel: c # b\n",
            ),
            (
                "%YAML 1.2\n---\nmodel: a\n...\n# end\n",
                json!({ "x-b": 1 }),
                "%YAML 1.2\n---\nmodel: a\nx-b: 1\n...\n# end\n",
            ),
            // People with two editors.
            ("version: 1\r\nmodel: a\nx-b: 1\n", json!({ "model": "c" }), "version: 1\r\nmodel: c\nx-b: 1\n"),
            // Brackets over several lines.
            (
                "sparks: { a: { address: 192.0.2.1, # one\n               user: alice } }\n",
                json!({ "sparks": { "a": { "ssh_port": 22 } } }),
                "sparks: { a: { address: 192.0.2.1, # one\n               user: alice, ssh_port: 22 } }\n",
            ),
            (
                "holds: {\n  a: { owner: x },  # first\n  b: { owner: y }   # last\n}\n",
                json!({ "holds": { "a": null, "c": { "owner": "z" } } }),
                "holds: {\n  b: { owner: y },   # last\n  c: { owner: z }\n}\n",
            ),
            // JSON.
            (
                "{\n  \"version\": 1,\n  \"model\": \"a\"\n}\n",
                json!({ "model": null, "x-b": ["yes", 1e-7] }),
                "{\n  \"version\": 1,\n  \"x-b\": [\"yes\", 1.0e-7]\n}\n",
            ),
            // Lines that are commented out, as deep as nothing is.
            (
                "holds:\n  a: { owner: x }\n#  b: { owner: y }\nmodel: m\n",
                json!({ "holds": { "a": null } }),
                "holds:\n  {}\n#  b: { owner: y }\nmodel: m\n",
            ),
            // Keys and figures that are no JSON.
            (
                "x-a: { 1: one, 2: two }\nmodel: a\n",
                json!({ "x-a": { "1": null } }),
                "x-a: { 2: two }\nmodel: a\n",
            ),
            (
                "x-a: 18446744073709551616\nmodel: a\n",
                json!({ "model": "b" }),
                "x-a: 18446744073709551616\nmodel: b\n",
            ),
            // Nothing, and blocks of text.
            (
                "model:   # to be chosen\nx-a: |\n  # no comment\n  b\nx-b: 1\n",
                json!({ "model": "m", "x-a": "c" }),
                "model: m   # to be chosen\nx-a: c\nx-b: 1\n",
            ),
        ] {
            assert_eq!(changed(text, patch), expected);
        }
    }

    /// If this failed, a comment would stand at what it does not speak of.
    #[test]
    fn comments_go_with_what_they_speak_of() {
        let list = "x-list:\n  # about a\n  - a\n  - b   # b\n  # about c\n  - c   # c\n";
        let brackets = "x-list: [\n  # about a\n  a,\n  b,   # b\n  c   # c\n]\n";
        let closed = "x-list: [\n  a, # a\n  b, # b\n]\n";
        for (list, wanted, expected) in [
            // Put in, taken out, moved.
            (list, json!(["a", "x", "b", "c"]), list.replace("  - b", "  - x\n  - b")),
            (list, json!(["x", "a", "b", "c"]), list.replace("  # about a", "  - x\n  # about a")),
            (list, json!(["b", "c"]), list.replace("  # about a\n  - a\n", "")),
            (list, json!(["b", "c", "a"]), list.replace("  # about a\n  - a\n", "") + "  # about a\n  - a\n"),
            (list, json!(["a", "z", "c"]), list.replace("- b ", "- z ")),
            (
                brackets,
                json!(["b", "c", "a"]),
                "x-list: [\n  b,   # b\n  c,   # c\n  # about a\n  a\n]\n".into(),
            ),
            (brackets, json!(["c", "x", "a"]), "x-list: [\n  c,   # c\n  x,\n  # about a\n  a\n]\n".into()),
            (closed, json!(["b", "a"]), "x-list: [\n  b, # b\n  a, # a\n]\n".into()),
            ("x-list: [a, b, # both\n  c]\n", json!(["c", "a", "b"]), "x-list: [c, a, b]\n".into()),
            (
                "x-list:\n  -\n    - a   # a\n    - b\n",
                json!([["a", "b", "c"]]),
                "x-list:\n  -\n    - a   # a\n    - b\n    - c\n".into(),
            ),
            ("x-list:\n- - a   # a\n  - b\n", json!([["b"]]), "x-list:\n- - b\n".into()),
        ] {
            assert_eq!(changed(list, json!({ "x-list": wanted })), expected);
        }
        let text = "models:\n  # the small one\n  small: { repo: a/b }   # quick\n  # the large one\n  large: { repo: a/c }\n# end\n";
        assert_eq!(
            changed(text, json!({ "models": { "small": null } })),
            "models:\n  # the large one\n  large: { repo: a/c }\n# end\n"
        );
        // Under another name it is what it was, where it was.
        let moved = json!([{ "op": "move", "from": "/models/small", "path": "/models/tiny" }]);
        let moved = edited(text, &TextChange::Patch(serde_json::from_value(moved).unwrap())).unwrap();
        assert_eq!(moved, text.replace("small: {", "tiny: {"));
        let plain = "x-a: one\n  two   # about both\nmodel: m\n";
        assert_eq!(changed(plain, json!({ "x-a": "three" })), "x-a: three   # about both\nmodel: m\n");
    }

    /// If this failed, a line break of YAML 1.1 in a name would break the file for who reads it so.
    #[test]
    fn letters_that_somebody_takes_for_a_line_break_are_escaped() {
        let text = changed("version: 1\n", json!({ "x-a": "a\u{85}b\u{2028}c", "1:30": 1e20 }));
        assert_eq!(text, "version: 1\nx-a: \"a\\u0085b\\u2028c\"\n\"1:30\": 1.0e+20\n");
    }

    /// If this failed, `1` and `"1"` in one map would be two here and one to everybody else.
    #[test]
    fn a_key_is_there_once_however_it_is_written() {
        let problem = value("x-a: { 1: a, \"1\": b }\n").unwrap_err();
        assert_eq!(problem.message, "`1` is written twice");
    }

    #[test]
    fn thousands_of_entries_come_and_go_at_once() {
        let models = |count: usize| -> Json {
            let entry = |number: usize| (format!("m{number}"), json!({ "repo": "a/b", "sparks": ["a"] }));
            Json::Object((0..count).map(entry).collect())
        };
        let text = changed("version: 1\nmodels: {}\n", json!({ "models": models(4000) }));
        assert_eq!(value(&text).unwrap()["models"].as_object().unwrap().len(), 4000);
        let all_gone: serde_json::Map<_, _> =
            (0..4000).map(|number| (format!("m{number}"), Json::Null)).collect();
        assert_eq!(changed(&text, json!({ "models": all_gone })), "version: 1\nmodels: {}\n");
    }
}
