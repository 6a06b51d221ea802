//! `cluster.yaml`: read, check, resolve to [`Desired`](crate::core::desired::Desired), watch.
//!
//! Begin with `load`: text in, a complete `Desired` or every problem with its place out.

pub mod compose;
pub mod decode;
pub mod edit;
pub mod entries;
pub mod load;
pub mod patch;
pub mod read;
pub mod replace;
pub mod report;
pub mod resolve;
pub mod splice;
pub mod tree;
pub mod v1;
pub mod watch;

use std::ops::Range;

pub use report::render;

/// Whether a problem keeps the file from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
}

/// Something in the file that should be otherwise, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct FileProblem {
    pub severity: Severity,
    /// Bytes of the text.
    pub span: Range<usize>,
    pub message: String,
    /// What to write instead, when that is known.
    pub hint: Option<String>,
}

impl FileProblem {
    pub fn at(span: Range<usize>, message: String) -> Self {
        Self { severity: Severity::Error, span, message, hint: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}
