//! Checked strings: every text that can reach a remote machine is one of these, checked once, here.
//!
//! The rule for names is `[A-Za-z0-9][A-Za-z0-9_.-]*`: what Docker allows for containers, and nothing that a
//! shell or an option parser would read as more than a word. Begin with `checked_string!`.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::visible::short;

/// Of what was refused, in a message.
const MAX_SHOWN: usize = 200;

/// Why a string was refused: what was expected, in words that fit after "expected".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {expected}", short(found, MAX_SHOWN))]
pub struct InvalidName {
    pub found: String,
    pub expected: &'static str,
}

macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident, $check:expr, $expected:literal, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// What a fitting string looks like, for messages.
            pub const EXPECTED: &'static str = $expected;

            /// # Errors
            /// [`InvalidName`] with the text and what was expected of it.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(InvalidName { found: text, expected: $expected }) }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    text.len() <= 128
        && chars.next().is_some_and(|c| c.is_ascii_alphanumeric())
        && chars.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn is_address(text: &str) -> bool {
    // Figures and dots only are meant as an IPv4 address, not as a name that a resolver makes something of.
    let figures = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    text.len() <= 253
        && text.split('.').all(is_label)
        && (!figures || text.parse::<std::net::Ipv4Addr>().is_ok())
}

/// One part of a host's name, between dots.
fn is_label(part: &str) -> bool {
    !part.is_empty()
        && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !part.starts_with('-')
        && !part.ends_with('-')
}

fn is_user(text: &str) -> bool {
    text.len() <= 32
        && text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn is_plain_path(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 1024
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/_.-+@=%".contains(c))
        && text.split('/').all(|part| part != "..")
}

fn is_image(text: &str) -> bool {
    text.len() <= 512
        && text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-/:@".contains(c))
}

/// Object storage that vLLM loads from (`vllm/transformers_utils/runai_utils.py`).
const STORAGE: [&str; 3] = ["s3://", "gs://", "az://"];

fn is_repo(text: &str) -> bool {
    if let Some(path) = STORAGE.iter().find_map(|scheme| text.strip_prefix(scheme)) {
        return text.len() <= 1024
            && path.chars().next().is_some_and(|c| c.is_ascii_alphanumeric())
            && path.chars().all(|c| c.is_ascii_alphanumeric() || "_./=-".contains(c))
            && path.split('/').all(|part| part != "..");
    }
    let (repository, quant) = text.split_once(':').map_or((text, None), |(name, quant)| (name, Some(quant)));
    let mut parts = repository.split('/');
    matches!((parts.next(), parts.next(), parts.next()), (Some(a), Some(b), None) if is_name(a) && is_name(b))
        && quant.is_none_or(is_name)
}

fn is_recipe(text: &str) -> bool {
    match text.strip_prefix("https://") {
        Some(rest) => {
            text.len() <= 1024
                && rest.chars().next().is_some_and(|c| c.is_ascii_alphanumeric())
                && rest.chars().all(|c| c.is_ascii_alphanumeric() || "_./=@%?&~+-".contains(c))
        }
        None => is_plain_path(text),
    }
}

/// Clients send it, and engines take nearly anything: what a shell, a log or a label would misread is left out.
fn is_served(text: &str) -> bool {
    text.len() <= 256
        && text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-/:@+[]".contains(c))
}

fn is_variable(text: &str) -> bool {
    text.len() <= 128
        && text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_flag(text: &str) -> bool {
    text.len() <= 128
        && text.chars().next().is_some_and(|c| c.is_ascii_lowercase() || c == 'O')
        // Behind a field, it adds to a list.
        && text.strip_suffix('+').unwrap_or(text).chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        checked_string!(
            $(#[$doc])*
            $name,
            is_name,
            "a name: letters, digits, `_`, `.` and `-`, beginning with a letter or digit",
            r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
        );
    };
}

name!(
    /// The cluster id; labels carry it, so that two clusters never touch each other's containers.
    ClusterName
);
name!(
    /// One Spark, as the file names it.
    SparkName
);
name!(
    /// One entry of the model catalog.
    ModelName
);
name!(
    /// One entry of `services`.
    ServiceName
);
name!(
    /// One hold.
    HoldName
);
name!(
    /// One schedule window.
    WindowName
);
name!(
    /// One notification target.
    NotifyName
);
name!(
    /// A container's exact name.
    ContainerName
);
checked_string!(
    /// A model's name as clients send it.
    ServedName,
    is_served,
    "a served name: letters, digits and any of `_.-/:@+[]`, beginning with a letter, a digit or `/`",
    r"^[A-Za-z0-9/][A-Za-z0-9_./:@+\[\]-]*$"
);
checked_string!(
    /// What a hold is on: a slot, a service, or the files of a model.
    HeldName,
    |t| is_name(t.strip_prefix(FILES_OF).unwrap_or(t)),
    "a slot, a service, or `weights/` and the name of a model",
    r"^(weights/)?[A-Za-z0-9][A-Za-z0-9_.-]*$"
);
checked_string!(
    /// An IPv4 address or a host name; never an option, never more than one word.
    Address,
    is_address,
    "an IPv4 address or a host name",
    r"^[A-Za-z0-9][A-Za-z0-9.-]*$"
);
checked_string!(
    /// A login name on a Spark.
    UserName,
    is_user,
    "a user name: letters, digits, `_`, `.` and `-`, not beginning with `-`",
    r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
);
checked_string!(
    /// A path on a Spark that may be mounted or passed to a launcher: no white space, no shell characters, no `..`.
    PlainPath,
    is_plain_path,
    "a path without white space, shell characters or `..`",
    r"^[A-Za-z0-9/_.+@=%][A-Za-z0-9/_.+@=%-]*$"
);
checked_string!(
    /// A container image reference.
    ImageRef,
    is_image,
    "an image reference such as `vllm-node` or `registry/name:tag`",
    r"^[A-Za-z0-9][A-Za-z0-9_.:/@-]*$"
);
checked_string!(
    /// What the engine is told to load: a Hugging Face repository, one quantization of a repository of GGUF files, or a place in
    /// object storage that the engine streams from.
    RepoId,
    is_repo,
    "a repository id of the form `owner/name` or `owner/name:QUANT`, or an address such as `s3://bucket/model`",
    r"^([A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*(:[A-Za-z0-9_.-]+)?|(s3|gs|az)://[A-Za-z0-9_./=-]+)$"
);
checked_string!(
    /// A recipe: a file of the launcher's checkout, or for sparkrun also one of a registry or at an address.
    RecipeRef,
    is_recipe,
    "a recipe: a path without white space or shell characters, `@registry/name`, or an `https://` address",
    r"^(https://[A-Za-z0-9_./=@%?&~+-]+|[A-Za-z0-9/_.+@=%][A-Za-z0-9/_.+@=%-]*)$"
);
checked_string!(
    /// The name of an environment variable.
    Variable,
    is_variable,
    "the name of an environment variable: letters, digits and `_`",
    r"^[A-Za-z_][A-Za-z0-9_]*$"
);
checked_string!(
    /// An engine argument's name without the leading dashes. The engine takes `_` for `-`; see [`Flag::canonical`].
    Flag,
    is_flag,
    "an engine argument's name without the leading dashes, such as `max-model-len`",
    r"^[a-zO][A-Za-z0-9_.-]*[+]?$"
);
checked_string!(
    /// The name of a network interface or a list of them, as launchers take it.
    Interface,
    |t| !t.is_empty() && t.len() <= 256 && t.split(',').all(is_name),
    "an interface name, or several separated by commas",
    r"^[A-Za-z0-9][A-Za-z0-9_.-]*(,[A-Za-z0-9][A-Za-z0-9_.-]*)*$"
);

checked_string!(
    /// The files of a model, as an object.
    WeightsName,
    |t| t.strip_prefix(FILES_OF).is_some_and(is_name),
    "`weights/` and the name of a model",
    r"^weights/[A-Za-z0-9][A-Za-z0-9_.-]*$"
);

/// Before the name of a model: its files, as an object.
pub const FILES_OF: &str = "weights/";

impl WeightsName {
    pub fn of(model: &ModelName) -> Self {
        Self(format!("{FILES_OF}{model}"))
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        self.0.strip_prefix(FILES_OF).unwrap_or(&self.0)
    }
}

impl HeldName {
    /// The model, when it is a model's files that are held.
    pub fn files_of(&self) -> Option<ModelName> {
        self.0.strip_prefix(FILES_OF).map(|model| ModelName(model.to_owned()))
    }
}

impl RepoId {
    /// The repository on the hub, without a quantization; `None` for what is elsewhere.
    pub fn on_hub(&self) -> Option<&str> {
        let is_elsewhere = STORAGE.iter().any(|scheme| self.0.starts_with(scheme));
        (!is_elsewhere).then(|| self.0.split(':').next().unwrap_or(&self.0))
    }

    /// What an owner may have copied: the address of its page.
    pub fn of_page(text: &str) -> Option<Self> {
        let path = ["https://huggingface.co/", "http://huggingface.co/", "https://hf.co/", "huggingface.co/"]
            .iter()
            .find_map(|begin| text.strip_prefix(begin))?;
        let path = path.split(['?', '#']).next().unwrap_or(path).trim_end_matches('/');
        let path = path.strip_suffix("/tree/main").unwrap_or(path);
        Self::new(path).ok()
    }
}

impl RecipeRef {
    /// Not a file of a checkout.
    pub fn is_address(&self) -> bool {
        self.0.starts_with("https://") || self.0.starts_with('@')
    }
}

impl Flag {
    /// As the engine reads it, so that one argument has one name.
    #[must_use]
    pub fn canonical(&self) -> Self {
        Self(canonical(&self.0))
    }
}

/// The candidate nearest to `text`, when one is near enough to be what was meant.
///
/// Jaro-Winkler at 0.8: catches a dropped, doubled or swapped letter in the short words of this file without
/// proposing unrelated ones.
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = text.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(score, _)| *score >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// One argument has one name: the engine reads `_` as `-` up to the first dot, behind which are names of fields.
pub fn canonical(flag: &str) -> String {
    match flag.split_once('.') {
        Some((name, fields)) => format!("{}.{fields}", name.replace('_', "-")),
        None => flag.replace('_', "-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_or_an_option_parser_would_misread_is_refused() {
        for bad in ["", "-oProxyCommand=x", "a b", "a;b", "$(id)", "a/b", "ä", "a\n", "`id`", "--"] {
            assert!(SparkName::new(bad).is_err(), "{bad:?} as a name");
            assert!(Address::new(bad).is_err(), "{bad:?} as an address");
        }
        for bad in ["", "../x", "/a/../b", "/a b", "/a;b", "-v", "/a$HOME", "/a:/b", "/a,b"] {
            assert!(PlainPath::new(bad).is_err(), "{bad:?} as a path");
        }
        assert!(PlainPath::new("/srv/models/my-finetune_v1.2").is_ok());
        assert!(RepoId::new("Qwen/Qwen3-Coder").is_ok());
        assert!(RepoId::new("Qwen3-Coder").is_err());
    }

    /// The same rule as the pattern that the schema shows; lengths are checked here alone.
    fn is_exactly<T: FromStr>(rule: &str, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(T::from_str(text).is_ok(), "{text:?} is {rule}");
        }
        for text in bad {
            assert!(T::from_str(text).is_err(), "{text:?} is not {rule}");
        }
    }

    #[test]
    fn each_kind_of_name_has_its_own_letters_and_length() {
        let long = |length| "a".repeat(length);
        let (a128, a129) = (long(128), long(129));
        is_exactly::<SparkName>("a name", &["a", "9", "A_b.c-d", &a128], &[".a", "-a", "_a", &a129]);
        is_exactly::<Address>(
            "an address",
            &["a", "spark-1.local", "192.0.2.1", "a1", "1a.2", &vec!["a".repeat(50); 4].join(".")],
            &[
                "a..b",
                "a-",
                "-a",
                "a.-b",
                "192.0.2",
                "192.0.2.256",
                "1.2.3.4.5",
                "a_b",
                &vec!["a".repeat(63); 4].join("."),
            ],
        );
        let (a32, a33) = (long(32), long(33));
        is_exactly::<UserName>(
            "a user",
            &["_a", "alice", "a.b-c_d", "9", &a32],
            &["", "-a", ".a", "a b", "a;", &a33],
        );
        let (a1024, a1025) = (long(1024), long(1025));
        is_exactly::<PlainPath>("a path", &["a", "/", "a%b=c@d+e", "/a..b", &a1024], &["..", "a/..", &a1025]);
        let (a512, a513) = (long(512), long(513));
        is_exactly::<ImageRef>(
            "an image",
            &["r/n:t@sha256", "a_b-c.d", &a512],
            &["", "/a", ":a", "a b", "a;", &a513],
        );
        is_exactly::<RepoId>(
            "what is loaded",
            &["a/b", "a/b:Q4_K_M", "s3://bucket/models/a", "gs://b/c"],
            &[
                "a",
                "a/",
                "/b",
                "a/b/c",
                "-a/b",
                "a/-b",
                "a/b:",
                "a/b:c:d",
                "s3://",
                "s3://-a",
                "s3://a/../b",
                "http://a/b",
            ],
        );
        is_exactly::<ServedName>(
            "a served name",
            &[
                "a",
                "a/b",
                "local/org/model",
                "qwen3-coder:30b",
                "claude-opus-4-1[1m]",
                "/srv/models/a",
                "a@b+c",
            ],
            &["", "-a", "a b", "a;b", "a\"b", "a'b", "a$b", "a`b", "ä", ":a"],
        );
        is_exactly::<RecipeRef>(
            "a recipe",
            &["a", "3x/b.yaml", "@spark-arena/qwen", "https://example.com/r/a.yaml?x=1"],
            &["", "http://example.com/a", "https://", "https://-a", "https://a b", "a:b", "../a"],
        );
        is_exactly::<HeldName>(
            "something to hold",
            &["vllm", "weights/a"],
            &["weights/", "weights/a/b", "other/a", "weights/-a", ""],
        );
        is_exactly::<WeightsName>(
            "a model's files",
            &["weights/a"],
            &["vllm", "weights/", "weights/a/b", "weights/-a"],
        );
        is_exactly::<Variable>(
            "a variable",
            &["A", "_a", "A_9", &a128],
            &["", "9A", "A-B", "A.B", "A=B", &a129],
        );
        is_exactly::<Flag>(
            "a flag",
            &["a", "max-model_len.x", "aB9", "a.b+", &a128],
            &["", "-a", "A", "9a", "a=b", "a+b", "a++", &a129],
        );
        let (a127, a257) = (format!("{},{}", long(127), a128), format!("{a128},{a128}"));
        is_exactly::<Interface>("interfaces", &["eth0", "a,b", &a127], &["", ",", "a,", "a, b", &a257]);
    }

    #[test]
    fn a_repository_is_known_by_the_address_of_its_page() {
        for page in [
            "https://huggingface.co/Qwen/Qwen3-8B",
            "https://huggingface.co/Qwen/Qwen3-8B/",
            "https://huggingface.co/Qwen/Qwen3-8B/tree/main",
            "https://huggingface.co/Qwen/Qwen3-8B?library=vllm#usage",
            "http://huggingface.co/Qwen/Qwen3-8B",
            "huggingface.co/Qwen/Qwen3-8B",
            "https://hf.co/Qwen/Qwen3-8B",
        ] {
            assert_eq!(RepoId::of_page(page).as_ref().map(RepoId::as_str), Some("Qwen/Qwen3-8B"), "{page}");
        }
        for other in [
            "Qwen/Qwen3-8B",
            "https://huggingface.co/Qwen",
            "https://huggingface.co/a/b/tree/v2",
            "https://example.com/a/b",
        ] {
            assert_eq!(RepoId::of_page(other), None, "{other}");
        }
        let on_hub = |text: &str| RepoId::new(text).unwrap().on_hub().map(str::to_owned);
        assert_eq!(on_hub("a/b:Q4"), Some("a/b".into()));
        assert_eq!(on_hub("s3://a/b"), None);
    }

    #[test]
    fn a_slip_of_the_finger_finds_the_name_that_was_meant() {
        assert_eq!(nearest("parakeat", ["kokoro", "parakeet"]), Some("parakeet"));
        assert_eq!(nearest("qdrant", ["kokoro"]), None);
    }
}
