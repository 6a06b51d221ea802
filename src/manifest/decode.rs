//! Types out of a [`Node`] tree, with every independent problem and its place.
//!
//! An ordinary serde deserializer over the tree, run again after each problem without the entry that caused it:
//! what is left is checked as if that entry had not been written, so one slip does not hide the next.

use std::{fmt, ops::Range};

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
    value::StrDeserializer,
};

use super::{
    problem::FileProblem,
    tree::{MapKey, Node, Value},
};
use crate::core::model::name::nearest;

/// More problems than this in one entry are not worth reading.
const MAX_PROBLEMS: usize = 50;

/// Read a `T` from `node`. `None` when something that `T` cannot do without is wrong.
pub fn decode<T: DeserializeOwned>(node: &Node, problems: &mut Vec<FileProblem>) -> Option<T> {
    let mut node = node.clone();
    let mut found = 0;
    loop {
        let error = match T::deserialize(NodeDeserializer { node: &node }) {
            Ok(value) => return (found == 0).then_some(value),
            Err(error) => error,
        };
        let span = error.span.clone().unwrap_or(node.span.clone());
        // What is missing only because it was taken out for being wrong is not a second problem.
        if !(error.missing && found > 0) {
            problems.push(FileProblem::at(span.clone(), error.message).hint(error.hint));
        }
        found += 1;
        if error.missing || found >= MAX_PROBLEMS || !remove(&mut node, &span) {
            return None;
        }
    }
}

/// Take out the map entry or list item that was written at `span`.
fn remove(node: &mut Node, span: &Range<usize>) -> bool {
    match &mut node.value {
        Value::Map(entries) => {
            let before = entries.len();
            entries.retain(|(key, value)| key.span != *span && value.span != *span);
            entries.len() < before || entries.iter_mut().any(|(_, value)| remove(value, span))
        }
        Value::List(items) => {
            let before = items.len();
            items.retain(|item| item.span != *span);
            items.len() < before || items.iter_mut().any(|item| remove(item, span))
        }
        _ => false,
    }
}

#[derive(Debug)]
struct DecodeError {
    message: String,
    hint: Option<String>,
    span: Option<Range<usize>>,
    missing: bool,
}

impl DecodeError {
    fn at(mut self, span: &Range<usize>) -> Self {
        self.span.get_or_insert_with(|| span.clone());
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), hint: None, span: None, missing: false }
    }
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let hint = nearest(field, expected.iter().copied()).map_or_else(
            || format!("expected one of: {}", expected.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        Self { message: format!("unknown field `{field}`"), hint: Some(hint), span: None, missing: false }
    }
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let near = nearest(variant, expected.iter().copied());
        let hint = near.map(|near| format!("did you mean `{near}`?"));
        Self {
            message: format!("`{variant}` is not one of: {}", expected.join(", ")),
            hint,
            span: None,
            missing: false,
        }
    }
    fn missing_field(field: &'static str) -> Self {
        Self { message: format!("`{field}` is missing here"), hint: None, span: None, missing: true }
    }
    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let hint = match unexpected {
            de::Unexpected::Signed(_) | de::Unexpected::Float(_) | de::Unexpected::Bool(_)
                if expected.to_string().contains("string") =>
            {
                Some("put it in quotes to make it text".to_owned())
            }
            _ => None,
        };
        let found = match unexpected {
            de::Unexpected::Unit => "nothing".to_owned(),
            de::Unexpected::Seq => "a list".into(),
            de::Unexpected::Map => "a map".into(),
            other => other.to_string(),
        };
        let message = format!("found {found}, expected {}", in_words(&expected.to_string()));
        Self { message, hint, span: None, missing: false }
    }
    fn invalid_value(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format!("found {unexpected}, expected {}", in_words(&expected.to_string())))
    }
}

/// What serde calls a type, as the owner of a file would.
fn in_words(expected: &str) -> String {
    match expected {
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" | "u64" | "usize" => "a whole number".into(),
        "f64" => "a number".into(),
        "a sequence" => "a list".into(),
        "a boolean" => "true or false".into(),
        other if other.starts_with("struct ") => "a map of fields".into(),
        other => other.into(),
    }
}

struct NodeDeserializer<'a> {
    node: &'a Node,
}

impl<'de> Deserializer<'de> for NodeDeserializer<'_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let span = &self.node.span;
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(value) => visitor.visit_str(value),
            Value::List(items) => visitor.visit_seq(Items(items.iter())),
            Value::Map(entries) => visitor.visit_map(MapEntries { rest: entries.iter(), value: None }),
        }
        .map_err(|error| error.at(span))
    }

    /// In a struct a blank value means the default, and `x-*` keys are the owner's own.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let span = &self.node.span;
        match &self.node.value {
            Value::Map(entries) => {
                let kept: Vec<_> = entries
                    .iter()
                    .filter(|(key, value)| !key.text.starts_with("x-") && value.value != Value::Null)
                    .collect();
                visitor.visit_map(KeptEntries { rest: kept.into_iter(), value: None })
            }
            Value::Null => visitor.visit_map(MapEntries { rest: [].iter(), value: None }),
            Value::List(_) => Err(de::Error::invalid_type(de::Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
        .map_err(|error| error.at(span))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Null => visitor.visit_map(MapEntries { rest: [].iter(), value: None }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Null => visitor.visit_seq(Items([].iter())),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let span = &self.node.span;
        match &self.node.value {
            Value::Text(text) => {
                let variant: StrDeserializer<'_, DecodeError> = text.as_str().into_deserializer();
                visitor.visit_enum(variant)
            }
            // `{ env: NAME }`: the one key is the variant.
            Value::Map(entries) if entries.len() == 1 => visitor.visit_enum(EnumEntry(&entries[0])),
            _ => Err(de::Error::custom("expected one word, or a map with one key")),
        }
        .map_err(|error| error.at(span))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let span = self.node.span.clone();
        visitor.visit_newtype_struct(self).map_err(|error: DecodeError| error.at(&span))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Items<'a>(std::slice::Iter<'a, Node>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = DecodeError;
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some(node) = self.0.next() else { return Ok(None) };
        seed.deserialize(NodeDeserializer { node }).map(Some).map_err(|error| error.at(&node.span))
    }
}

type KeptEntries<'a> = MapEntries<'a, std::vec::IntoIter<&'a (MapKey, Node)>>;

struct MapEntries<'a, I = std::slice::Iter<'a, (MapKey, Node)>> {
    rest: I,
    value: Option<&'a Node>,
}

impl<'de, 'a, I: Iterator<Item = &'a (MapKey, Node)>> MapAccess<'de> for MapEntries<'a, I> {
    type Error = DecodeError;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some(value);
        let text: StrDeserializer<'_, DecodeError> = key.text.as_str().into_deserializer();
        seed.deserialize(text).map(Some).map_err(|error| error.at(&key.span))
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let node = self.value.take().expect("serde asks for a value only after its key");
        seed.deserialize(NodeDeserializer { node }).map_err(|error| error.at(&node.span))
    }
}

struct EnumEntry<'a>(&'a (MapKey, Node));

impl<'de, 'a> de::EnumAccess<'de> for EnumEntry<'a> {
    type Error = DecodeError;
    type Variant = NodeDeserializer<'a>;
    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, NodeDeserializer<'a>), DecodeError> {
        let (key, node) = self.0;
        let text: StrDeserializer<'_, DecodeError> = key.text.as_str().into_deserializer();
        let variant = seed.deserialize(text).map_err(|error| error.at(&key.span))?;
        Ok((variant, NodeDeserializer { node }))
    }
}

impl<'de> de::VariantAccess<'de> for NodeDeserializer<'_> {
    type Error = DecodeError;
    fn unit_variant(self) -> Result<(), DecodeError> {
        Err(<DecodeError as de::Error>::custom("expected only the word, without a value").at(&self.node.span))
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DecodeError> {
        let span = self.node.span.clone();
        seed.deserialize(self).map_err(|error| error.at(&span))
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_any(visitor)
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_struct("", fields, visitor)
    }
}
