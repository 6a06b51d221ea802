//! Why a text is not changed.

use super::problem::FileProblem;

/// Why the text was not changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    /// What is there cannot be read, so it cannot be changed in part.
    #[error("the file as it is cannot be read, so it is changed as a whole or not at all: {}", .0.message)]
    Unreadable(FileProblem),
    #[error("the patch does not fit the file: {0}")]
    DoesNotFit(String),
    /// It would make more of the file than is ever read.
    #[error("the patch is too large: {0}")]
    TooLarge(String),
    /// For example an entry that an anchor shares with others.
    #[error("line {line} of the file cannot be changed in part, because {why}: `{text}`; edit it by hand")]
    TouchesOtherText { line: usize, why: String, text: String },
}
