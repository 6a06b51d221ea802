//! What conditions, attempts, holds and labels are about.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::name::{InvalidName, ModelName, ServiceName, WeightsName};

/// The name of the main slot, wherever an object is named.
pub const MAIN_SLOT: &str = "vllm";

/// One thing that is kept as the file says. No two have the same text, whatever they are: what is stored, on labels and on the
/// wire is that text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Object {
    /// The main slot: `vllm`.
    MainSlot,
    /// A service, or the further slot that a service of kind `vllm` with a model is.
    Service(ServiceName),
    /// The files of a model: `weights/MODEL`.
    Weights(WeightsName),
}

impl Object {
    /// The main slot.
    pub fn main() -> Self {
        Self::MainSlot
    }

    /// A service, or the further slot of that name. No service is named as the main slot is.
    pub fn service(name: &ServiceName) -> Self {
        if name.as_str() == MAIN_SLOT { Self::MainSlot } else { Self::Service(name.clone()) }
    }

    /// The files of a model.
    pub fn weights(model: &ModelName) -> Self {
        Self::Weights(WeightsName::of(model))
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::MainSlot => MAIN_SLOT,
            Self::Service(name) => name.as_str(),
            Self::Weights(name) => name.as_str(),
        }
    }

    /// The service or further slot that it is.
    pub fn as_service(&self) -> Option<&ServiceName> {
        match self {
            Self::Service(name) => Some(name),
            Self::MainSlot | Self::Weights(_) => None,
        }
    }

    /// The model whose files it is.
    pub fn as_weights(&self) -> Option<&str> {
        match self {
            Self::Weights(name) => Some(name.model()),
            Self::MainSlot | Self::Service(_) => None,
        }
    }
}

/// By their texts: lists of objects stand in the order of their names, and so do the steps whose hash is a plan's id.
impl Ord for Object {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for Object {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Object {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text == MAIN_SLOT {
            return Ok(Self::MainSlot);
        }
        match WeightsName::new(text) {
            Ok(name) => Ok(Self::Weights(name)),
            Err(_) => ServiceName::new(text).map(Self::Service),
        }
    }
}

impl TryFrom<String> for Object {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Object> for String {
    fn from(object: Object) -> Self {
        object.as_str().to_owned()
    }
}

impl schemars::JsonSchema for Object {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Object".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "What conditions, attempts, holds and labels are about: a slot, a service, or the files of a model.",
            "type": "string",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, what is stored or on a label would name something else than it did.
    #[test]
    fn an_object_is_its_text() {
        let model = ModelName::new("qwen").unwrap();
        let service = ServiceName::new("kokoro").unwrap();
        for (text, object) in [
            ("vllm", Object::main()),
            ("kokoro", Object::service(&service)),
            ("weights/qwen", Object::weights(&model)),
        ] {
            assert_eq!(text.parse::<Object>().unwrap(), object);
            assert_eq!(object.to_string(), text);
            assert_eq!(serde_json::to_value(&object).unwrap(), text);
            assert_eq!(serde_json::from_value::<Object>(text.into()).unwrap(), object);
        }
        assert_eq!(Object::service(&ServiceName::new("vllm").unwrap()), Object::main());
        assert_eq!(Object::weights(&model).as_weights(), Some("qwen"));
        for text in ["", "weights/", "weights/a/b", "a b", "other/a"] {
            assert!(text.parse::<Object>().is_err(), "{text}");
        }
    }

    #[test]
    fn objects_stand_in_the_order_of_their_names() {
        let mut objects: Vec<Object> =
            ["weights/a", "vllm", "z", "weights.b", "a"].iter().map(|text| text.parse().unwrap()).collect();
        objects.sort();
        let texts: Vec<&str> = objects.iter().map(Object::as_str).collect();
        assert_eq!(texts, ["a", "vllm", "weights.b", "weights/a", "z"]);
    }
}
