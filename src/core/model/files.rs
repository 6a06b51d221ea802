//! A model's files on a Spark, as far as an engine needs them.

use serde::{Deserialize, Serialize};

/// In the Hugging Face cache, or at a path of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum FilesSeen {
    Absent,
    /// A download that has not ended, or a file that is not whole.
    Partial {
        missing: String,
    },
    /// The weights are whole, and a loader asks for something else: a configuration, a tokenizer.
    Lacking {
        what: String,
    },
    #[serde(alias = "present")]
    Whole {
        /// Of its weights, all parts; `None` when that is not known.
        #[serde(default)]
        weights_bytes: Option<u64>,
    },
    /// The disk did not answer in time.
    Unanswered,
}

impl FilesSeen {
    /// All that a download brings is there.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Whole { .. } | Self::Lacking { .. })
    }

    /// `absent`, `partial WHAT`, `lacks WHAT` or `whole BYTES`, as `host/files.sh` says it; `None` for anything else.
    pub fn of(said: &str) -> Option<Self> {
        let (is, rest) = said.split_once(' ').unwrap_or((said, ""));
        Some(match is {
            "absent" => Self::Absent,
            "partial" => Self::Partial { missing: rest.to_owned() },
            "lacks" => Self::Lacking { what: rest.to_owned() },
            "whole" => Self::Whole { weights_bytes: rest.parse().ok().filter(|bytes| *bytes > 0) },
            _ => return None,
        })
    }
}
