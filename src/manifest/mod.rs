//! `cluster.yaml`: read, check, resolve to [`Desired`](crate::core::desired::Desired), watch.
//!
//! Begin with `load`: text in, a complete `Desired` or every problem with its place out.

pub mod decode;
pub mod edit;
pub mod entries;
pub mod load;
pub mod replace;
pub mod resolve;
pub mod tree;
pub mod v1;
pub mod watch;

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Whether a problem keeps the file from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
}

/// Something in the file that should be otherwise, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    pub severity: Severity,
    /// Bytes of the text.
    pub span: Range<usize>,
    pub message: String,
    /// What to write instead, when that is known.
    pub hint: Option<String>,
}

impl Problem {
    pub fn at(span: Range<usize>, message: String) -> Self {
        Self { severity: Severity::Error, span, message, hint: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

/// The problems as a person reads them: place, line, caret, hint.
pub fn render(problems: &[Problem], path: &str, text: &str) -> String {
    let renderer = Renderer::plain();
    let blocks: Vec<String> = problems
        .iter()
        .map(|problem| {
            let (level, word) = match problem.severity {
                Severity::Error => (Level::ERROR, "error"),
                Severity::Warning => (Level::WARNING, "warning"),
            };
            let span = clip(&problem.span, text);
            let line_start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
            let line = text[line_start..].lines().next().unwrap_or_default();
            if problem.message.contains(v1::SECRET_PLACE) || may_hold_a_secret(line) {
                let number = text[..line_start].matches('\n').count() + 1;
                let hint = problem.hint.as_ref().map_or(String::new(), |hint| format!(" ({hint})"));
                return format!("{word}: {}{hint}\n --> {path}:{number}", problem.message);
            }
            let snippet = Snippet::source(text).path(path).annotation(
                AnnotationKind::Primary.span(span).label(problem.hint.as_deref().unwrap_or("here")),
            );
            renderer.render(&[level.primary_title(problem.message.as_str()).element(snippet)]).to_string()
        })
        .collect();
    blocks.join("\n\n")
}

/// A slip next to `api_key` or the like: what stands there may be the secret itself, so the line is not shown.
fn may_hold_a_secret(line: &str) -> bool {
    let line = line.to_lowercase();
    ["key", "secret", "token", "password"].iter().any(|word| {
        line.match_indices(word).any(|(at, _)| {
            let value = line[at + word.len()..]
                .trim_start_matches(|c: char| c.is_alphanumeric() || "_-\"'".contains(c));
            let value = value.trim_start().strip_prefix(':').map(str::trim_start);
            // A path, a reference and nothing at all are no secrets.
            value.is_some_and(|value| !value.is_empty() && !value.starts_with(['/', '{', '~', '}', '#']))
        })
    })
}

/// A span that the renderer accepts: inside the text, on character boundaries, one line long at most.
fn clip(span: &Range<usize>, text: &str) -> Range<usize> {
    let floor = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = floor(span.start);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    start..floor(span.end).clamp(start, line_end)
}
