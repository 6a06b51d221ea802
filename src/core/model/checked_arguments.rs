//! What the engine says of a model's arguments.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::id::EngineVersion;

/// What the engine says of a model's arguments, and its version where it tells one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum CheckedArguments {
    Valid {
        #[serde(default)]
        engine: Option<EngineVersion>,
    },
    Invalid {
        why: String,
        #[serde(default)]
        engine: Option<EngineVersion>,
    },
    /// It could not be asked, or did not end: not a reason to hold anything up. What was in the way may pass.
    Unknown {
        why: String,
        #[serde(default)]
        at: Timestamp,
    },
}

/// After this long, what could not be asked is asked again, when it is still to be known.
const ASK_AGAIN: SignedDuration = SignedDuration::from_mins(10);

impl CheckedArguments {
    /// It is not known, and enough time has passed to ask once more.
    pub fn is_worth_asking_again(&self, now: Timestamp) -> bool {
        matches!(self, Self::Unknown { at, .. } if now.duration_since(*at) >= ASK_AGAIN)
    }

    /// The line of `apply/arguments.py`, or `unknown WHY` from whoever ran it.
    pub fn of(said: &str, at: Timestamp) -> Self {
        /// What another version may say beside is as good as not known.
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum ArgumentsAnswerKind {
            Valid,
            Invalid,
            #[serde(other)]
            Unknown,
        }
        #[derive(Deserialize)]
        struct ArgumentsAnswer {
            is: ArgumentsAnswerKind,
            engine: Option<EngineVersion>,
            why: String,
        }
        match serde_json::from_str::<ArgumentsAnswer>(said) {
            Ok(ArgumentsAnswer { is: ArgumentsAnswerKind::Valid, engine, .. }) => Self::Valid { engine },
            Ok(ArgumentsAnswer { is: ArgumentsAnswerKind::Invalid, engine, why }) => {
                Self::Invalid { why, engine }
            }
            Ok(ArgumentsAnswer { is: ArgumentsAnswerKind::Unknown, why, .. }) => Self::Unknown { why, at },
            Err(_) => Self::Unknown { why: said.strip_prefix("unknown ").unwrap_or(said).to_owned(), at },
        }
    }
}

impl std::fmt::Display for CheckedArguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Valid { engine } => write!(f, "accepted by {}", name_of(engine.as_ref())),
            Self::Invalid { why, engine } => write!(f, "refused by {}: {why}", name_of(engine.as_ref())),
            Self::Unknown { why, .. } => write!(f, "not checked, because {why}"),
        }
    }
}

/// The engine that was asked, with its version where it told one.
fn name_of(engine: Option<&EngineVersion>) -> String {
    match engine {
        Some(engine) => format!("vLLM {engine}"),
        None => "the engine".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_says_of_arguments_is_valid_invalid_or_not_known() {
        let at: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let unknown = |why: &str| CheckedArguments::Unknown { why: why.into(), at };
        let engine = Some(EngineVersion::new("0.32.0"));
        for (said, checked) in [
            (
                r#"{"is": "valid", "engine": "0.32.0", "why": ""}"#,
                CheckedArguments::Valid { engine: engine.clone() },
            ),
            (r#"{"is": "valid", "engine": null, "why": ""}"#, CheckedArguments::Valid { engine: None }),
            (
                r#"{"is": "invalid", "engine": "0.32.0", "why": "no such option"}"#,
                CheckedArguments::Invalid { why: "no such option".into(), engine },
            ),
            (r#"{"is": "unknown", "engine": null, "why": "Elsewhere: x"}"#, unknown("Elsewhere: x")),
            (r#"{"is": "perhaps", "engine": null, "why": "y"}"#, unknown("y")),
            ("unknown Docker is busy", unknown("Docker is busy")),
            ("valid", unknown("valid")),
            ("", unknown("")),
        ] {
            assert_eq!(CheckedArguments::of(said, at), checked, "{said}");
        }
        let later = |minutes| at.checked_add(SignedDuration::from_mins(minutes)).unwrap();
        assert!(!unknown("x").is_worth_asking_again(later(9)));
        assert!(unknown("x").is_worth_asking_again(later(10)));
        assert!(!CheckedArguments::Valid { engine: None }.is_worth_asking_again(later(10)));
        // As it was kept before versions were told.
        let kept: CheckedArguments = serde_json::from_str(r#"{"is":"valid"}"#).unwrap();
        assert_eq!(kept, CheckedArguments::Valid { engine: None });
    }
}
