//! Something in the file that should be otherwise.

use std::ops::Range;

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
