//! What a patch makes of a value, within bounds: a patch of a few words can ask for more than any machine has.

use std::cell::Cell;

use json_patch::{Patch, PatchOperation};
use serde::{
    Deserializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value as Json;

use super::{refused::Refused, tree::MAX_BYTES};

/// Nobody writes more by hand, and programs send the whole file.
const MOST_OPERATIONS: usize = 1_000;
/// Ten times what anybody's file has.
const MOST_VALUES: usize = 20_000;
/// As deep as a file may be.
const DEEPEST: usize = 32;

/// Why a text is no patch.
#[derive(Debug, thiserror::Error)]
pub enum NotRead {
    #[error("the patch is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("the patch has more than {MOST_VALUES} values")]
    TooLarge,
}

/// A patch out of its text. Its values are counted before one is made: a mebibyte of small ones takes a hundred.
///
/// # Errors
/// [`NotRead`].
pub fn read(text: &[u8]) -> Result<Json, NotRead> {
    let left = Cell::new(MOST_VALUES);
    let mut counted = serde_json::Deserializer::from_slice(text);
    if SizeCounter(&left).deserialize(&mut counted).is_err() && left.get() == 0 {
        return Err(NotRead::TooLarge);
    }
    Ok(serde_json::from_slice(text)?)
}

/// Takes one off for each value, and ends when none is left.
#[derive(Clone, Copy)]
struct SizeCounter<'a>(&'a Cell<usize>);

impl SizeCounter<'_> {
    fn one<E: de::Error>(self) -> Result<(), E> {
        let left = self.0.get().checked_sub(1).ok_or_else(|| E::custom("too many values"))?;
        self.0.set(left);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for SizeCounter<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.one()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SizeCounter<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while entries.next_key::<de::IgnoredAny>()?.is_some() {
            entries.next_value_seed(self)?;
        }
        Ok(())
    }
}

/// RFC 7396.
///
/// # Errors
/// [`Refused::TooLarge`].
pub fn merged(old: &Json, patch: &Json) -> Result<Json, Refused> {
    // Before anything is made of it.
    Size::of(patch).check()?;
    let mut new = old.clone();
    json_patch::merge(&mut new, patch);
    Size::of(&new).check()?;
    Ok(new)
}

/// RFC 6902. What each operation makes of the value is within bounds, before it is made.
///
/// # Errors
/// [`Refused::TooLarge`]; [`Refused::DoesNotFit`], with the operation that does not.
pub fn patched(old: &Json, Patch(operations): &Patch) -> Result<Json, Refused> {
    if operations.len() > MOST_OPERATIONS {
        let many = format!(
            "it has {} operations, and {MOST_OPERATIONS} are the most; send the whole file",
            operations.len()
        );
        return Err(Refused::TooLarge(many));
    }
    let mut new = old.clone();
    // More than there is, at any time: what is taken out is not counted back.
    let mut size = Size::of(&new);
    for (at, operation) in operations.iter().enumerate() {
        let refused =
            |why: String| Refused::DoesNotFit(format!("operation {} (`{}`): {why}", at + 1, name(operation)));
        let more = match operation {
            PatchOperation::Add(add) => Size::of(&add.value),
            PatchOperation::Replace(replace) => Size::of(&replace.value),
            PatchOperation::Copy(copy) => new.pointer(copy.from.as_str()).map_or(Size::default(), Size::of),
            PatchOperation::Move(_) | PatchOperation::Remove(_) | PatchOperation::Test(_) => Size::default(),
        };
        size = size.and(&more);
        if size.check().is_err() {
            size = Size::of(&new).and(&more);
        }
        size.check()?;
        if let PatchOperation::Test(test) = operation {
            let path = test.path.as_str();
            let found = new.pointer(path).ok_or_else(|| refused(format!("there is nothing at `{path}`")))?;
            if !is_same(found, &test.value) {
                return Err(refused(format!("`{path}` is another value")));
            }
            continue;
        }
        json_patch::patch(&mut new, std::slice::from_ref(operation))
            .map_err(|error| refused(format!("`{}`: {}", error.path, error.kind)))?;
    }
    // A move can make it deeper.
    Size::of(&new).check()?;
    Ok(new)
}

fn name(operation: &PatchOperation) -> &'static str {
    match operation {
        PatchOperation::Add(_) => "add",
        PatchOperation::Remove(_) => "remove",
        PatchOperation::Replace(_) => "replace",
        PatchOperation::Move(_) => "move",
        PatchOperation::Copy(_) => "copy",
        PatchOperation::Test(_) => "test",
    }
}

/// As RFC 6902, 4.6 has it: numbers are the same when their values are.
fn is_same(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Number(one), Json::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Json::Array(one), Json::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Json::Object(one), Json::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| is_same(one, other)))
        }
        _ => one == other,
    }
}

/// What a value takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size {
    values: usize,
    /// Of its texts, and a little for each value.
    bytes: usize,
    depth: usize,
}

impl Size {
    fn of(value: &Json) -> Self {
        match value {
            Json::Null | Json::Bool(_) | Json::Number(_) => Self { values: 1, bytes: 8, depth: 0 },
            Json::String(text) => Self { values: 1, bytes: text.len() + 2, depth: 0 },
            Json::Array(items) => {
                let sum = items
                    .iter()
                    .fold(Self { values: 1, bytes: 2, depth: 0 }, |sum, item| sum.and(&Self::of(item)));
                sum.inside()
            }
            Json::Object(entries) => {
                let sum = entries.iter().fold(Self { values: 1, bytes: 2, depth: 0 }, |sum, (key, value)| {
                    let sum = sum.and(&Self::of(value));
                    Self { bytes: sum.bytes + key.len() + 4, ..sum }
                });
                sum.inside()
            }
        }
    }

    fn and(self, other: &Self) -> Self {
        Self {
            values: self.values + other.values,
            bytes: self.bytes + other.bytes,
            depth: self.depth.max(other.depth),
        }
    }

    /// The size of what has this value inside.
    fn inside(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }

    fn check(self) -> Result<(), Refused> {
        if self.values > MOST_VALUES {
            return Err(would_have(&format!("more than {MOST_VALUES} values")));
        }
        if self.bytes > MAX_BYTES {
            return Err(would_have(&format!("more than {} MiB", MAX_BYTES >> 20)));
        }
        if self.depth > DEEPEST {
            return Err(would_have(&format!("more than {DEEPEST} levels inside each other")));
        }
        Ok(())
    }
}

/// That the file would be too large for what is told.
fn would_have(what: &str) -> Refused {
    Refused::TooLarge(format!("the file would have {what}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patch(value: Json) -> Patch {
        serde_json::from_value(value).unwrap()
    }

    /// If this failed, a mebibyte of small values would take a hundred before anybody counts them.
    #[test]
    fn values_are_counted_before_they_are_made() {
        assert_eq!(read(br#"{"a":[1,2.5,-3,null,true,"x",{}]}"#).unwrap()["a"][6], json!({}));
        let many = format!("[{}]", vec!["{}"; MOST_VALUES - 1].join(","));
        assert!(read(many.as_bytes()).is_ok());
        let more = format!("[{}]", vec!["[]"; MOST_VALUES].join(","));
        assert!(matches!(read(more.as_bytes()), Err(NotRead::TooLarge)));
        // What is not JSON is told as that, however much of it there is.
        for wrong in ["", "{", "[1,", r#"{"a":}"#, &"[".repeat(100_000)] {
            assert!(matches!(read(wrong.as_bytes()), Err(NotRead::NotJson(_))), "{}", wrong.len());
        }
    }

    /// If this failed, a patch of a kilobyte would take all the memory there is.
    #[test]
    fn what_doubles_itself_is_refused_before_it_is_made() {
        let mut operations = vec![json!({ "op": "add", "path": "/x-a", "value": ["aaaaaaaaaaaaaaaa"] })];
        operations.extend((0..30).map(|_| json!({ "op": "copy", "from": "/x-a", "path": "/x-a/-" })));
        let refused = patched(&json!({}), &patch(Json::Array(operations.clone())));
        assert!(matches!(refused, Err(Refused::TooLarge(_))), "{refused:?}");
        assert!(patched(&json!({}), &patch(Json::Array(operations[..10].to_vec()))).is_ok());
        let many = vec![json!({ "op": "add", "path": "/x-a", "value": 1 }); MOST_OPERATIONS + 1];
        assert!(matches!(patched(&json!({}), &patch(Json::Array(many))), Err(Refused::TooLarge(_))));
        let mut deep = json!(1);
        for _ in 0..DEEPEST {
            deep = json!([deep]);
        }
        assert!(matches!(merged(&json!({}), &json!({ "x-a": deep })), Err(Refused::TooLarge(_))));
    }

    #[test]
    fn a_test_compares_values_and_says_which_is_another() {
        let old = json!({ "a": 1, "b": [2.0, { "c": "x" }] });
        let tests = |path: &str, value: Json| {
            patched(&old, &patch(json!([{ "op": "test", "path": path, "value": value }])))
        };
        assert!(tests("/a", json!(1.0)).is_ok() && tests("/b", json!([2, { "c": "x" }])).is_ok());
        let refused = tests("/a", json!(2)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the patch does not fit the file: operation 1 (`test`): `/a` is another value"
        );
        assert!(tests("/d", json!(null)).unwrap_err().to_string().ends_with("there is nothing at `/d`"));
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_number() {
        let wrong =
            patch(json!([{ "op": "add", "path": "/a", "value": 1 }, { "op": "remove", "path": "/z" }]));
        let refused = patched(&json!({}), &wrong).unwrap_err().to_string();
        assert!(
            refused.starts_with("the patch does not fit the file: operation 2 (`remove`): "),
            "{refused}"
        );
    }
}
