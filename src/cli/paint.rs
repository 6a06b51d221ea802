//! Colour and width: for a person at a terminal, and never the only sign of anything.

use std::io::{IsTerminal, stdout};

use anstyle::{AnsiColor, Style};

/// Words that a table has in columns of their own.
const WORDS: [(&str, AnsiColor); 12] = [
    ("Healthy", AnsiColor::Green),
    ("InSync", AnsiColor::Green),
    ("Progressing", AnsiColor::Yellow),
    ("Drifted", AnsiColor::Yellow),
    ("Suspended", AnsiColor::Yellow),
    ("Unknown", AnsiColor::Yellow),
    ("Degraded", AnsiColor::Red),
    ("Missing", AnsiColor::Red),
    ("UNREACHABLE", AnsiColor::Red),
    ("FENCED:", AnsiColor::Red),
    ("FILE:", AnsiColor::Red),
    ("warning:", AnsiColor::Yellow),
];

/// The same text with its marks coloured. What is written to anything but a terminal loses them again, and so does what
/// is written under `NO_COLOR`.
pub fn paint(text: &str) -> String {
    let mut painted = String::with_capacity(text.len());
    for (at, word) in words(text) {
        let alone = text[..at].ends_with("  ") || at == 0 || text[..at].ends_with(['\n', ' ']);
        match WORDS.iter().find(|(known, _)| *known == word).filter(|_| alone) {
            Some((_, color)) => {
                let style = Style::new().fg_color(Some((*color).into()));
                painted += &format!("{style}{word}{style:#}");
            }
            None => painted += word,
        }
    }
    painted
}

/// The text in pieces: words, and the white space between them, each with its place.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = text;
    let mut at = 0;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let white = first.is_whitespace();
        let end = rest.find(|letter: char| letter.is_whitespace() != white).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        let place = at;
        at += end;
        rest = after;
        Some((place, piece))
    })
}

/// Columns of the terminal; `None` when stdout is none: what is read by a program is not broken into lines.
pub fn width() -> Option<u16> {
    if !stdout().is_terminal() {
        return None;
    }
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    told.or_else(|| rustix::termios::tcgetwinsize(stdout()).ok().map(|size| size.ws_col))
        .filter(|width| *width >= 40)
}

#[cfg(test)]
mod tests {
    use super::paint;

    #[test]
    fn a_mark_is_coloured_and_a_word_that_holds_it_is_not() {
        assert_eq!(paint("vllm  Healthy  x\n"), "vllm  \u{1b}[32mHealthy\u{1b}[0m  x\n");
        assert_eq!(paint("UnHealthy"), "UnHealthy");
        assert_eq!(paint("`Missing`: x"), "`Missing`: x");
    }
}
