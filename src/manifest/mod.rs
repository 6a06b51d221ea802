//! `cluster.yaml`: read, check, resolve to [`Desired`](crate::core::desired::Desired), watch.
//!
//! Begin with `load`: text in, a complete `Desired` or every problem with its place out.

pub mod decode;
pub mod load;
pub mod resolve;
pub mod tree;
pub mod v1;
pub mod watch;

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Something in the file that keeps it from being used, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Bytes of the text.
    pub span: Range<usize>,
    pub message: String,
    /// What to write instead, when that is known.
    pub hint: Option<String>,
}

impl Problem {
    pub fn at(span: Range<usize>, message: String) -> Self {
        Self { span, message, hint: None }
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
            let span = clip(&problem.span, text);
            // A secret written where its place belongs must not be printed back.
            if problem.message.contains(resolve::SECRET_PLACE) {
                let line = text[..span.start].matches('\n').count() + 1;
                return format!("error: {}\n --> {path}:{line}", problem.message);
            }
            let snippet = Snippet::source(text).path(path).annotation(
                AnnotationKind::Primary.span(span).label(problem.hint.as_deref().unwrap_or("here")),
            );
            renderer
                .render(&[Level::ERROR.primary_title(problem.message.as_str()).element(snippet)])
                .to_string()
        })
        .collect();
    blocks.join("\n\n")
}

/// A span that the renderer accepts: inside the text, on character boundaries, one line long at most.
fn clip(span: &Range<usize>, text: &str) -> Range<usize> {
    let floor = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = floor(span.start);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    start..floor(span.end).clamp(start, line_end)
}
