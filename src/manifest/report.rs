//! Problems as a person reads them: place, line, caret, hint. What may be a secret is not shown, neither the line nor the
//! value that a message quotes: a report ends up in logs and in the history.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::{
    problem::{FileProblem, Severity},
    v1::SECRET_PLACE,
};

/// More is not read; the rest is counted.
const MAX_SHOWN: usize = 50;
/// A longer line has no snippet: it would be pages of one line.
const MAX_LINE: usize = 300;
/// A longer quotation is cut.
const MAX_QUOTED: usize = 80;

/// The problems as text.
pub fn render(problems: &[FileProblem], path: &str, text: &str) -> String {
    let lines = LineIndex::of(text);
    let mut blocks: Vec<String> =
        problems.iter().take(MAX_SHOWN).map(|problem| block(problem, path, text, &lines)).collect();
    if problems.len() > MAX_SHOWN {
        blocks.push(format!("and {} more", problems.len() - MAX_SHOWN));
    }
    blocks.join("\n\n")
}

/// What a program may be told of a problem: the same words, with nothing that may be a secret. Line and column count from
/// 1, the column in characters.
pub fn told(problem: &FileProblem, text: &str, lines: &LineIndex) -> (usize, usize, String, Option<String>) {
    let span = clip(&problem.span, text);
    let number = lines.number(span.start);
    let column = text[lines.starts[number - 1]..span.start].chars().count() + 1;
    let hidden = is_hidden(problem, text, lines, number).then(|| lines.line(text, number));
    let (message, hint) = words(problem, hidden);
    (number, column, message, hint)
}

/// A problem for a program: where, in the file's own terms, and what.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct ProblemReport {
    /// A JSON pointer; empty: the file as a whole.
    pub pointer: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
    /// What to write instead, when that is known.
    pub hint: Option<String>,
}

/// Each of them, for a program.
pub fn all_told(problems: &[FileProblem], text: &str) -> Vec<ProblemReport> {
    let lines = LineIndex::of(text);
    let tree = super::tree::parse(text).ok();
    let each = problems.iter().map(|problem| {
        let pointer = tree.as_ref().map_or_else(String::new, |tree| tree.pointer_at(problem.span.start));
        let (line, column, message, hint) = told(problem, text, &lines);
        ProblemReport { pointer, line, column, message, hint }
    });
    each.collect()
}

/// What stands there may be a secret, by its key or by what is wrong with it.
fn is_hidden(problem: &FileProblem, text: &str, lines: &LineIndex, number: usize) -> bool {
    lines.is_secret(text, number) || problem.message.contains(SECRET_PLACE)
}

/// The words of each problem, for lists that show no places.
pub fn messages(problems: &[FileProblem], text: &str) -> Vec<String> {
    let lines = LineIndex::of(text);
    problems.iter().map(|problem| told(problem, text, &lines).2).collect()
}

fn block(problem: &FileProblem, path: &str, text: &str, lines: &LineIndex) -> String {
    let span = clip(&problem.span, text);
    let number = lines.number(span.start);
    let line = lines.line(text, number);
    let hidden = is_hidden(problem, text, lines, number).then_some(line);
    let (message, hint) = words(problem, hidden);
    let (level, word) = match problem.severity {
        Severity::Error => (Level::ERROR, "error"),
        Severity::Warning => (Level::WARNING, "warning"),
    };
    if hidden.is_some() || line.len() > MAX_LINE {
        let hint = hint.map_or(String::new(), |hint| format!(" ({hint})"));
        return format!("{word}: {message}{hint}\n --> {path}:{number}");
    }
    let start = lines.starts[number - 1];
    let snippet = Snippet::source(line).line_start(number).path(path).annotation(
        AnnotationKind::Primary
            .span(span.start - start..span.end.min(start + line.len()) - start)
            .label(hint.as_deref().unwrap_or("here")),
    );
    Renderer::plain().render(&[level.primary_title(message.as_str()).element(snippet)])
}

/// Message and hint, with long quotations cut, and without quotations where they may be secrets: `hidden` is the line that
/// is not shown.
fn words(problem: &FileProblem, hidden: Option<&str>) -> (String, Option<String>) {
    let hint = problem.hint.as_deref().map(|hint| quotations(hint, hidden));
    (quotations(&problem.message, hidden), hint)
}

/// Words of the format itself, which may always be quoted.
const FORMAT: [&str; 16] = [
    "{ env: NAME }",
    "{ file: PATH }",
    "_",
    "-",
    "args",
    "true",
    "false",
    "90s",
    "m",
    "h",
    "..",
    "/",
    "vllm-node",
    "registry/name:tag",
    "owner/name",
    "https://<your-hook>",
];

fn quotations(text: &str, hidden: Option<&str>) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(open) = rest.find(['`', '"']) {
        let mark = rest[open..].chars().next().expect("just found");
        let Some(length) = rest[open + 1..].find(mark) else { break };
        let quoted = &rest[open + 1..open + 1 + length];
        shown += &rest[..=open];
        let is_hidden = hidden.is_some_and(|line| {
            let is_name = FORMAT.contains(&quoted) || (mark == '`' && is_key(quoted, line));
            !is_name
        });
        shown += &if is_hidden || looks_random(quoted) {
            "…".to_owned()
        } else if quoted.chars().count() > MAX_QUOTED {
            let start: String = quoted.chars().take(MAX_QUOTED).collect();
            format!("{start}…")
        } else {
            quoted.to_owned()
        };
        shown.push(mark);
        rest = &rest[open + 1 + length + mark.len_utf8()..];
    }
    shown + rest
}

/// A plain word that stands as a key on that line.
fn is_key(word: &str, line: &str) -> bool {
    let plain = word
        .chars()
        .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "_-".contains(letter));
    plain
        && line.match_indices(word).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + word.len()..].trim_start_matches(['\'', '"']).trim_start();
            before.is_none_or(|letter| !letter.is_alphanumeric() && !"_-".contains(letter))
                && after.starts_with(": ")
        })
}

/// Where lines begin, and which of them may hold a secret.
pub struct LineIndex {
    starts: Vec<usize>,
    secret: Vec<bool>,
}

impl LineIndex {
    pub fn of(text: &str) -> Self {
        let mut starts = vec![0];
        starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        let secret = secret_lines(text);
        Self { starts, secret }
    }

    /// Counted from 1.
    fn number(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    fn line<'a>(&self, text: &'a str, number: usize) -> &'a str {
        let start = self.starts[number - 1];
        let end = self.starts.get(number).map_or(text.len(), |next| next - 1);
        text[start..end].trim_end_matches('\r')
    }

    fn is_secret(&self, text: &str, number: usize) -> bool {
        self.secret.get(number - 1).copied().unwrap_or(false) || looks_random(self.line(text, number))
    }
}

/// Keys whose values may be secrets, or hold them.
const KEYS: [&str; 13] = [
    "key",
    "secret",
    "token",
    "passw",
    "auth",
    "credential",
    "env",
    "pgpass",
    "cookie",
    "bearer",
    "database_url",
    "private",
    "pwd",
];

/// Lines with such a key and what is written below it. `address: …` beside a key in the same braces is on such a line too:
/// rather a caret less than a secret more. A value that is plainly a place is none.
fn secret_lines(text: &str) -> Vec<bool> {
    let mut secret = Vec::new();
    // How deep the key stands that the lines below belong to.
    let mut below: Option<usize> = None;
    for line in text.lines() {
        let depth = line.len() - line.trim_start().len();
        let content = line.trim_start();
        let is_item = content.starts_with('-') || content.starts_with(['}', ']']);
        if let Some(key) = below
            && !content.is_empty()
            && (depth < key || (depth == key && !is_item))
        {
            below = None;
        }
        let own = has_secret_key(content);
        if own && below.is_none() {
            below = Some(depth);
        }
        secret.push(below.is_some() && (own || below.is_some_and(|key| depth > key || is_item)));
    }
    secret
}

fn has_secret_key(line: &str) -> bool {
    let line = line.split(" #").next().unwrap_or_default().to_lowercase();
    KEYS.iter().any(|word| {
        line.match_indices(word).any(|(at, _)| {
            // Written as an option, its value follows without a colon.
            let option =
                line[..at].trim_end_matches(|letter: char| letter.is_alphanumeric() || "_-".contains(letter));
            if line[option.len()..at].starts_with("--") {
                return true;
            }
            let value = line[at + word.len()..]
                .trim_start_matches(|letter: char| letter.is_alphanumeric() || "_-\"'".contains(letter))
                .trim_start();
            // `max-tokens` and the like are no secrets; what follows an assignment or a colon may be.
            let Some(value) = value.strip_prefix([':', '=']).map(str::trim_start) else {
                return value.is_empty();
            };
            !is_a_place(value)
        })
    })
}

/// A path, a place `{ env: NAME }` or `{ file: PATH }`, a number.
fn is_a_place(value: &str) -> bool {
    let place = value.strip_prefix('{').map(str::trim_start).is_some_and(|inner| {
        let named = ["env:", "file:"].iter().find_map(|word| inner.strip_prefix(word));
        named.is_some_and(|rest| {
            rest.trim_start()
                .chars()
                .take_while(|letter| *letter != '}')
                .all(|letter| letter.is_alphanumeric() || "/_.-+@% ".contains(letter))
        })
    });
    value.starts_with(['/', '~'])
        || place
        || value.chars().next().is_some_and(|letter| letter.is_ascii_digit())
}

/// What services begin their keys with.
const PREFIXES: [&str; 8] = ["sk-", "hf_", "ghp_", "gho_", "github_pat_", "glpat-", "xoxb-", "AKIA"];

/// A key of a known service, a password in an address, or a run that no person writes: letters and figures mixed, for
/// longer than a model's name has between its hyphens.
fn looks_random(text: &str) -> bool {
    const LONG: usize = 16;
    let mut words = text.split(|letter: char| letter.is_whitespace() || "'\"`:/@=,[]{}()".contains(letter));
    if words.any(|word| word != "hf_home" && PREFIXES.iter().any(|prefix| word.starts_with(prefix))) {
        return true;
    }
    let after_scheme = text.split("://").nth(1).unwrap_or_default();
    if after_scheme.split(['/', ' ']).next().is_some_and(|host| host.contains('@')) {
        return true;
    }
    text.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|run| {
        run.len() >= LONG
            && run.chars().any(|letter| letter.is_ascii_digit())
            && run.chars().any(|letter| letter.is_ascii_alphabetic())
    })
}

/// A span that the renderer accepts: inside the text, on character boundaries, one line long at most.
fn clip(span: &Range<usize>, text: &str) -> Range<usize> {
    let start = character_start(text, span.start);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    start..character_start(text, span.end).clamp(start, line_end)
}

/// Where the character begins that this byte is of.
fn character_start(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
