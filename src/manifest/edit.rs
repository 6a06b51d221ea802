//! Changing the text of `cluster.yaml` and nothing else in it: comments, order and style of what is not changed stay.
//!
//! `edited` compares the values before and after, carries each difference into the text, and reads the result back: it
//! must mean exactly what was asked for, and every line that no difference is on must still be there. Otherwise it
//! refuses. Writes nothing; `controller::edit` does.

use std::{ops::Range, str::FromStr};

use serde_json::{Map, Value as Json};
use yaml_edit::{Document, Mapping, Sequence, YamlNode};

use super::{
    Problem,
    tree::{self, Key, Node, Value},
};

/// A change that is asked for.
#[derive(Debug, Clone)]
pub enum Change {
    /// RFC 7396.
    Merge(Json),
    /// RFC 6902.
    Patch(json_patch::Patch),
    /// The whole text.
    Whole(String),
}

/// Why the text was not changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    /// What is there cannot be read, so it cannot be changed in part.
    #[error("the file as it is cannot be read")]
    Unreadable(Problem),
    #[error("the patch does not fit the file: {0}")]
    DoesNotFit(String),
    /// For example an entry that an anchor shares with others.
    #[error("this cannot be changed without touching the rest of the file; edit it by hand ({0})")]
    Entangled(String),
}

/// `text` after `change`.
///
/// # Errors
/// [`Refused`].
pub fn edited(text: &str, change: &Change) -> Result<String, Refused> {
    if let Change::Whole(new) = change {
        return Ok(new.clone());
    }
    let (mark, body) = match text.strip_prefix('\u{feff}') {
        Some(body) => ("\u{feff}", body),
        None => ("", text),
    };
    let windows = body.contains("\r\n") && !body.replace("\r\n", "").contains('\n');
    let body = if windows { body.replace("\r\n", "\n") } else { body.to_owned() };
    let before = tree::parse(&body).map_err(Refused::Unreadable)?;
    let old = json(&before);
    let mut new = old.clone();
    match change {
        Change::Merge(patch) => json_patch::merge(&mut new, patch),
        Change::Patch(patch) => {
            json_patch::patch(&mut new, patch).map_err(|error| Refused::DoesNotFit(error.to_string()))?;
        }
        Change::Whole(_) => unreachable!("returned above"),
    }
    if new == old {
        return Ok(text.to_owned());
    }
    let filled = fill(&body, &before, &new);
    let from = match filled == body {
        true => old,
        false => json(&tree::parse(&filled).map_err(|problem| Refused::Entangled(problem.message))?),
    };
    let mut after = carry(&filled, &from, &new)?;
    match tree::parse(&after) {
        Ok(read) if json(&read) == new => {}
        Ok(_) => return Err(Refused::Entangled("it would mean something else".into())),
        Err(problem) => return Err(Refused::Entangled(problem.message)),
    }
    if let Some(lost) = lost_line(&body, &before, &new, &after) {
        return Err(Refused::Entangled(format!("it would change the line `{}`", lost.trim())));
    }
    if windows {
        after = after.replace('\n', "\r\n");
    }
    Ok(format!("{mark}{after}"))
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
pub fn value(text: &str) -> Result<Json, Problem> {
    tree::parse(text.strip_prefix('\u{feff}').unwrap_or(text)).map(|node| json(&node))
}

fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::from(*value),
        Value::Int(value) => Json::from(*value),
        Value::Float(value) => Json::from(*value),
        Value::Text(text) => Json::from(text.as_str()),
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|(key, value)| (key.text.clone(), json(value))).collect())
        }
    }
}

const EMPTY: &str = "{}";

/// Maps that lost their last entry stand as `{}` below their key and its comments: what comes into one takes that place,
/// and the comments stay.
fn fill(text: &str, before: &Node, new: &Json) -> String {
    let mut places = Vec::new();
    empty_places(text, before, new, &mut places);
    let mut filled = text.to_owned();
    for (place, entries) in places.into_iter().rev() {
        filled.replace_range(place, &entries);
    }
    filled
}

fn empty_places(text: &str, node: &Node, new: &Json, places: &mut Vec<(Range<usize>, String)>) {
    let (Value::Map(entries), Json::Object(new)) = (&node.value, new) else { return };
    for (key, value) in entries {
        let Some(new) = new.get(&key.text) else { continue };
        match (&value.value, new) {
            (Value::Map(inner), Json::Object(new)) if inner.is_empty() && !new.is_empty() => {
                let line = text[..value.span.start].rfind('\n').map_or(0, |at| at + 1);
                let indent = &text[line..value.span.start];
                let stands_alone = line > key.span.end && indent.trim().is_empty();
                if stands_alone && text[value.span.start..].starts_with(EMPTY) {
                    let entries =
                        new.iter().map(|(key, value)| format!("{}: {}", word(key), on_one_line(value)));
                    let entries: Vec<String> = entries.collect();
                    let place = value.span.start..value.span.start + EMPTY.len();
                    places.push((place, entries.join(&format!("\n{indent}"))));
                }
            }
            _ => empty_places(text, value, new, places),
        }
    }
}

/// Carry every difference into the text.
fn carry(text: &str, old: &Json, new: &Json) -> Result<String, Refused> {
    let entangled = |error: yaml_edit::YamlError| Refused::Entangled(error.to_string());
    let document = Document::from_str(text).map_err(entangled)?;
    let (Some(mapping), Json::Object(old), Json::Object(new)) = (document.as_mapping(), old, new) else {
        return Err(Refused::DoesNotFit(
            "the file must stay a map with `version`, `sparks` and so on".into(),
        ));
    };
    carry_map(&mapping, old, new)?;
    Ok(document.to_string())
}

fn carry_map(mapping: &Mapping, old: &Map<String, Json>, new: &Map<String, Json>) -> Result<(), Refused> {
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        mapping.remove(key.as_str());
    }
    for (key, value) in new {
        let before = old.get(key);
        if before == Some(value) {
            continue;
        }
        match (before, value) {
            (Some(Json::Object(old)), Json::Object(new)) if !old.is_empty() => {
                if let Some(inner) = mapping.get_mapping(key.as_str()) {
                    carry_map(&inner, old, new)?;
                    continue;
                }
            }
            (Some(Json::Array(old)), Json::Array(new)) if !old.is_empty() && !new.is_empty() => {
                if let Some(inner) = mapping.get_sequence(key.as_str()) {
                    carry_list(&inner, old, new)?;
                    continue;
                }
            }
            _ => {}
        }
        mapping.set(key.as_str(), node(value)?);
    }
    Ok(())
}

/// Where `new` is `old` without some of its items: which those are.
fn without(old: &[Json], new: &[Json]) -> Option<Vec<usize>> {
    let mut rest = new.iter().peekable();
    let gone = (0..old.len()).filter(|index| rest.next_if(|next| **next == old[*index]).is_none()).collect();
    rest.peek().is_none().then_some(gone)
}

fn carry_list(list: &Sequence, old: &[Json], new: &[Json]) -> Result<(), Refused> {
    // Their comments go with them, and no others.
    if let Some(gone) = without(old, new) {
        for index in gone.into_iter().rev() {
            list.remove(index);
        }
        return Ok(());
    }
    for index in (new.len()..old.len()).rev() {
        list.remove(index);
    }
    for (index, value) in new.iter().enumerate() {
        match old.get(index) {
            None => list.push(node(value)?),
            Some(before) if before == value => {}
            Some(before) => {
                let inner = list.get(index);
                let inner = inner.as_ref().and_then(YamlNode::as_mapping);
                match (before, value, inner) {
                    (Json::Object(old), Json::Object(new), Some(inner)) if !old.is_empty() => {
                        carry_map(inner, old, new)?;
                    }
                    _ => {
                        list.set(index, node(value)?);
                    }
                }
            }
        }
    }
    Ok(())
}

/// A value as a node: on one line, as entries of this file mostly are.
fn node(value: &Json) -> Result<YamlNode, Refused> {
    let entangled = |why: String| Refused::Entangled(why);
    let document = Document::from_str(&format!("v: {}", on_one_line(value)))
        .map_err(|error| entangled(error.to_string()))?;
    let mapping = document.as_mapping().ok_or_else(|| entangled("no map".into()))?;
    mapping.get("v").ok_or_else(|| entangled("no value".into()))
}

fn on_one_line(value: &Json) -> String {
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => value.to_string(),
        Json::String(text) => word(text),
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(on_one_line).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(entries) if entries.is_empty() => "{}".into(),
        Json::Object(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(key, value)| format!("{}: {}", word(key), on_one_line(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// Text as a scalar that every YAML parser reads as that text: plain when nobody could take it for something else, else
/// in double quotes, whose escapes JSON shares.
fn word(text: &str) -> String {
    // YAML 1.1 takes these for booleans and null.
    const TAKEN: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let plain = text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '/')
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_./-".contains(letter))
        && !TAKEN.contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { Json::from(text).to_string() }
}

/// A line of `text` that no difference is on, and that is not in `after` any more, or not in its order.
fn lost_line<'a>(text: &'a str, before: &Node, new: &Json, after: &str) -> Option<&'a str> {
    let mut touched = Vec::new();
    touch(before, new, &mut touched);
    let mut kept = after.lines();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        let is_touched = touched.iter().any(|span| span.start < end && start < span.end.max(span.start + 1));
        start = end;
        let line = line.trim_end_matches('\n');
        if !is_touched && !line.trim().is_empty() && !kept.any(|kept| kept == line) {
            return Some(line);
        }
    }
    None
}

/// The places of entries that differ from `new`, from the key to the end of the value.
fn touch(node: &Node, new: &Json, touched: &mut Vec<Range<usize>>) {
    match (&node.value, new) {
        (Value::Map(entries), Json::Object(new)) if !entries.is_empty() => {
            for (key, value) in entries {
                match new.get(&key.text) {
                    Some(new) if json(value) == *new => {}
                    // One of which nothing stays is written anew, on its key's line.
                    Some(new @ Json::Object(_)) if keeps_something(value, new) => {
                        touch(value, new, touched);
                        // Adding to a map on one line changes that line.
                        touched.push(value.span.clone());
                    }
                    // What stands between the key and where the first entry comes is kept.
                    Some(Json::Object(_)) if matches!(&value.value, Value::Map(inner) if inner.is_empty()) => {
                        touched.push(value.span.clone());
                    }
                    Some(_) | None => touched.push(extent(key, value)),
                }
            }
        }
        _ => touched.push(node.span.clone()),
    }
}

fn keeps_something(node: &Node, new: &Json) -> bool {
    match &node.value {
        Value::Map(entries) => entries.iter().any(|(key, _)| new.get(&key.text).is_some()),
        _ => false,
    }
}

fn extent(key: &Key, value: &Node) -> Range<usize> {
    key.span.start..end(value).max(key.span.end)
}

fn end(node: &Node) -> usize {
    let inside = match &node.value {
        Value::List(items) => items.iter().map(end).max(),
        Value::Map(entries) => entries.iter().map(|(_, value)| end(value)).max(),
        _ => None,
    };
    inside.unwrap_or(0).max(node.span.end)
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
        edited(FILE, &Change::Merge(patch)).unwrap()
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
            .replace("under the desk\n", "under the desk\n  spark2: { address: \"192.0.2.2\", user: bob }\n")
            .replace("# head\n", "# head\n      - spark2\n    args: { max-model-len: 4096 }\n");
        assert_eq!(text, expected);
        let back = edited(&text, &Change::Merge(json!({ "sparks": { "spark2": null } }))).unwrap();
        assert!(!back.contains("spark2: {") && back.contains("# under the desk"), "{back}");
    }

    #[test]
    fn a_json_patch_that_does_not_fit_is_refused() {
        let patch = json!([{ "op": "replace", "path": "/models/large/repo", "value": "x/y" }]);
        let change = Change::Patch(serde_json::from_value(patch).unwrap());
        assert!(matches!(edited(FILE, &change), Err(Refused::DoesNotFit(_))));
        let patch = json!([{ "op": "test", "path": "/model", "value": "small" },
            { "op": "replace", "path": "/model", "value": "none" }]);
        let change = Change::Patch(serde_json::from_value(patch).unwrap());
        assert!(edited(FILE, &change).unwrap().contains("model: none   # what serves"));
    }

    /// If this failed, an edit of one entry would change another that shares its text.
    #[test]
    fn what_an_anchor_shares_is_not_changed_behind_its_back() {
        let text = "version: 1\nx-base: &base { user: alice }\nsparks:\n  a: *base\n  b: *base\n";
        let refused = edited(text, &Change::Merge(json!({ "x-base": { "user": "bob" } })));
        assert!(matches!(refused, Err(Refused::Entangled(_))), "{refused:?}");
    }

    /// If this failed, the comments of an empty section would be gone with its next entry.
    #[test]
    fn a_map_that_was_emptied_keeps_its_comments_when_it_is_filled_again() {
        let text =
            "version: 1\nholds:   # mine\n  # the usual one\n  night: { owner: alice }\n  # after\n# end\n";
        let hold = |name: &str, hold: Json| Change::Merge(json!({ "holds": { name: hold } }));
        let emptied = edited(text, &hold("night", Json::Null)).unwrap();
        assert_eq!(emptied, text.replace("night: { owner: alice }", "{}"));
        let again = edited(&emptied, &hold("day", json!({ "owner": "bob" }))).unwrap();
        assert_eq!(again, text.replace("night: { owner: alice }", "day: { owner: bob }"));
        let two = Change::Merge(json!({ "holds": { "a": { "owner": "bob" }, "b": { "owner": "bob" } } }));
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
        let gone = |list: Json| edited(text, &Change::Merge(json!({ "disabled_services": list }))).unwrap();
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
        let text = edited(&windows, &Change::Merge(json!({ "model": "none" }))).unwrap();
        assert_eq!(text, windows.replace("model: small", "model: none"));
    }

    #[test]
    fn differences_are_named() {
        let old = json!({ "a": 1, "b": { "c/d": [1], "e": null } });
        let new = json!({ "b": { "c/d": [2] }, "f": {} });
        assert_eq!(differing(&old, &new), ["/a", "/b/e", "/b/c~1d", "/f"]);
    }
}
