//! YAML text to a tree in which every node knows its place.
//!
//! The parser stops at its first error and types stop at theirs; a person wants all of them at once. So the text
//! becomes a tree first, under a budget that no input can exceed, and `decode` reads types out of the tree.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use serde_saphyr::Spanned;
use std::{collections::BTreeSet, fmt, ops::Range};

use super::problem::FileProblem;

/// Larger files are refused before they are parsed. A thousand Sparks with ten services each fit four times.
pub const MAX_BYTES: usize = 4 << 20;

/// A value and the bytes it was written in.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub value: Value,
    pub span: Range<usize>,
}

/// Map entries keep the file's order.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(MapKey, Node)>),
}

impl Node {
    /// The deepest place that this byte is part of, as a JSON pointer; empty: the file as a whole.
    pub fn pointer_at(&self, byte: usize) -> String {
        self.find(byte).unwrap_or_default()
    }

    /// What a map or a list spans is not asked: in blocks it ends before its last entry does.
    fn find(&self, byte: usize) -> Option<String> {
        match &self.value {
            Value::Map(entries) => entries.iter().find_map(|(key, node)| {
                let deeper = node.find(byte).or_else(|| holds(&key.span, byte).then(String::new))?;
                Some(format!("/{}{deeper}", key.text.replace('~', "~0").replace('/', "~1")))
            }),
            Value::List(items) => {
                items.iter().enumerate().find_map(|(at, node)| Some(format!("/{at}{}", node.find(byte)?)))
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
                holds(&self.span, byte).then(String::new)
            }
        }
    }

    /// As JSON has it.
    pub fn json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::from(*value),
            Value::Int(value) => Json::from(*value),
            Value::Float(value) => Json::from(*value),
            Value::Text(text) => Json::from(text.as_str()),
            Value::List(items) => Json::Array(items.iter().map(Self::json).collect()),
            Value::Map(entries) => {
                Json::Object(entries.iter().map(|(key, value)| (key.text.clone(), value.json())).collect())
            }
        }
    }

    /// It is this value.
    pub fn says(&self, value: &Json) -> bool {
        match (&self.value, value) {
            (Value::List(items), Json::Array(values)) => {
                items.len() == values.len() && items.iter().zip(values).all(|(item, value)| item.says(value))
            }
            (Value::Map(entries), Json::Object(values)) => {
                entries.len() == values.len()
                    && entries
                        .iter()
                        .all(|(key, node)| values.get(&key.text).is_some_and(|value| node.says(value)))
            }
            (Value::List(_) | Value::Map(_), _) | (_, Json::Array(_) | Json::Object(_)) => false,
            _ => self.json() == *value,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct MapKey {
    pub text: String,
    pub span: Range<usize>,
}

/// What the parser says to programmers, and what it means to the owner of a file.
const PARSER_WORDS: [(&str, &str); 8] = [
    ("multiple YAML documents", "there is more than one document; take the `---` out"),
    ("null into string", "a key is blank or `null`; put it in quotes if it is meant"),
    ("Aliases", "more than 100 aliases (`*name`)"),
    ("Nodes", "more than 50,000 values"),
    ("Depth", "more than 32 levels inside each other"),
    ("budget breached", "the file is larger than any that is used"),
    ("recursive references", "an anchor (`&name`) contains itself"),
    ("non-finite float", "infinity and NaN are no usable numbers"),
];

/// Parse `text`.
///
/// # Errors
/// The first thing that is not YAML, or not YAML within bounds, with its place.
pub fn parse(text: &str) -> Result<Node, FileProblem> {
    if text.len() > MAX_BYTES {
        return Err(FileProblem::at(
            0..0,
            format!("the file is {} bytes; at most {MAX_BYTES} are read", text.len()),
        ));
    }
    if let Some(at) = text.find('\0') {
        return Err(FileProblem::at(at..at + 1, "a NUL byte; the file is not text".into()));
    }
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_nodes: 50_000,
            max_depth: 32,
            max_total_scalar_bytes: MAX_BYTES,
            max_aliases: 100,
        },
    };
    let node = serde_saphyr::from_str_with_options::<Spanned<Any>>(text, options).map_err(|error| {
        let place = error.location().map_or(0..0, |location| bytes(&location, text));
        let whole = error.without_snippet().to_string();
        // The crate appends its own place; the report shows ours with the line beneath it.
        let message = whole.split(" at line ").next().unwrap_or(&whole).trim_end_matches(':');
        if let Some((_, ours)) = PARSER_WORDS.iter().find(|(theirs, _)| message.contains(theirs)) {
            return FileProblem::at(place, (*ours).to_owned());
        }
        if let Some(key) = message.strip_prefix("duplicate mapping key: ") {
            let key = key.split(", set ").next().unwrap_or(key);
            return FileProblem::at(place, format!("`{key}` is written twice"));
        }
        // The parser stops at the end of the text when something is still open: show the last line, not the first.
        let place = if place == (0..0) { text.trim_end().len()..text.trim_end().len() } else { place };
        FileProblem::at(place, message.to_owned())
    })?;
    let node = node_of(node, text);
    match twice(&node) {
        Some(key) => Err(FileProblem::at(key.span.clone(), format!("`{}` is written twice", key.text))),
        None => Ok(node),
    }
}

/// A key that is there twice once it is text: `1` and `"1"` are two to YAML, and one to everybody who reads this file.
fn twice(node: &Node) -> Option<&MapKey> {
    match &node.value {
        Value::List(items) => items.iter().find_map(twice),
        Value::Map(entries) => {
            let mut seen = BTreeSet::new();
            let twice_here = entries.iter().find(|(key, _)| !seen.insert(key.text.as_str()));
            twice_here.map(|(key, _)| key).or_else(|| entries.iter().find_map(|(_, value)| twice(value)))
        }
        _ => None,
    }
}

fn bytes(location: &serde_saphyr::Location, text: &str) -> Range<usize> {
    let span = location.span();
    let start = match span.byte_offset().and_then(|at| usize::try_from(at).ok()) {
        Some(at) => at.min(text.len()),
        None => line_and_column(location.line(), location.column(), text),
    };
    let length = span.byte_len().map_or(0, |len| usize::try_from(len).unwrap_or(0));
    start..(start + length).min(text.len())
}

/// The byte at this line and column, both counted from 1, in characters.
fn line_and_column(line: u64, column: u64, text: &str) -> usize {
    let start: usize = text.split_inclusive('\n').take(from_zero(line)).map(str::len).sum();
    let rest = text[start..].lines().next().unwrap_or_default();
    start + rest.chars().take(from_zero(column)).map(char::len_utf8).sum::<usize>()
}

/// The number of what is counted from 1, counted from 0.
fn from_zero(number: u64) -> usize {
    usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX)
}

/// The byte is in the span, or the span is empty and there.
fn holds(span: &Range<usize>, byte: usize) -> bool {
    span.contains(&byte) || span.start == byte
}

fn node_of(spanned: Spanned<Any>, text: &str) -> Node {
    let span = bytes(&spanned.referenced, text);
    let value = match spanned.value {
        Any::Null => Value::Null,
        Any::Bool(value) => Value::Bool(value),
        Any::Int(value) => Value::Int(value),
        // `017` is seventeen.
        Any::Float(value) => match text.get(span.clone()).and_then(|written| written.parse().ok()) {
            Some(whole) => Value::Int(whole),
            None => Value::Float(value),
        },
        Any::Text(value) => Value::Text(value),
        Any::List(items) => Value::List(items.into_iter().map(|item| node_of(item, text)).collect()),
        Any::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let span = bytes(&key.referenced, text);
                    (MapKey { text: key.value, span }, node_of(value, text))
                })
                .collect(),
        ),
    };
    Node { value, span }
}

/// [`Value`] while the parser still owns the places.
enum Any {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Any>>),
    Map(Vec<(Spanned<String>, Spanned<Any>)>),
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyVisitor;
        impl<'de> Visitor<'de> for AnyVisitor {
            type Value = Any;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_unit<E>(self) -> Result<Any, E> {
                Ok(Any::Null)
            }
            fn visit_none<E>(self) -> Result<Any, E> {
                Ok(Any::Null)
            }
            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Any, D::Error> {
                Any::deserialize(deserializer)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Any, E> {
                Ok(Any::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Any, E> {
                Ok(Any::Int(value))
            }
            #[allow(clippy::cast_precision_loss)] // beyond i64 only the magnitude matters: it is refused anyway
            fn visit_u64<E>(self, value: u64) -> Result<Any, E> {
                Ok(i64::try_from(value).map_or(Any::Float(value as f64), Any::Int))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Any, E> {
                Ok(Any::Float(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<Any, E> {
                Ok(Any::Text(value.to_owned()))
            }
            fn visit_string<E>(self, value: String) -> Result<Any, E> {
                Ok(Any::Text(value))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Any, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Any::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Any, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Any::Map(entries))
            }
        }
        deserializer.deserialize_any(AnyVisitor)
    }
}
