//! Text from outside, made visible: what a Spark, an engine, a client or a file says is shown to people who decide by it, and must not
//! move the cursor, colour a line, turn the order of letters round, or begin a line of its own.

use std::{borrow::Cow, fmt::Write};

/// Does this letter act on what shows it, or show as nothing? Controls (C0, C1), bidirectional marks and overrides, zero-width
/// letters, separators of lines and paragraphs, and tags.
fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn shown(text: &str, keeps: fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(|letter| acts(letter) && !keeps(letter)) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            letter if !acts(letter) || keeps(letter) => shown.push(letter),
            '\n' | '\r' | '\t' => shown.extend(letter.escape_default()),
            letter => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(letter));
            }
        }
    }
    shown.into()
}

/// On one line.
pub fn visible_line(text: &str) -> Cow<'_, str> {
    shown(text, |_| false)
}

/// With its lines and its tabs: for what is shown as a whole, such as a log or a file.
pub fn lines(text: &str) -> Cow<'_, str> {
    shown(text, |letter| matches!(letter, '\n' | '\t'))
}

/// On one line, and no longer than `most` letters; what is longer ends with `…`.
pub fn short(text: &str, most: usize) -> String {
    visible_line(&cut(text.trim(), most)).into_owned()
}

/// With its lines, and no longer than `most` letters.
pub fn clipped_lines(text: &str, most: usize) -> String {
    lines(&cut(text, most)).into_owned()
}

fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => text.into(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect::<String>().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, a model's name could clear an owner's screen, or forge the line by which they approve.
    #[test]
    fn what_acts_is_shown_and_what_does_not_stays() {
        for (text, told) in [
            ("plain `text`, ümläute, 漢字, 🦀", "plain `text`, ümläute, 漢字, 🦀"),
            ("\u{1b}]0;gone\u{7}", "\\u{1b}]0;gone\\u{7}"),
            ("a\nFENCED: all is well", "a\\nFENCED: all is well"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("cod\u{202e}txe.sh", "cod\\u{202e}txe.sh"),
            ("\u{2066}x\u{2069} \u{200b} \u{feff}", "\\u{2066}x\\u{2069} \\u{200b} \\u{feff}"),
            ("one\u{2028}two", "one\\u{2028}two"),
        ] {
            assert_eq!(visible_line(text), told, "{text:?}");
        }
        assert_eq!(lines("a\tb\nc\r\u{1b}[2J"), "a\tb\nc\\r\\u{1b}[2J");
        assert!(matches!(visible_line("nothing odd"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_long_is_cut() {
        assert_eq!(short("abcdef", 6), "abcdef");
        assert_eq!(short("abcdefg", 6), "abcde…");
        assert_eq!(short("  ab\n", 6), "ab");
        assert_eq!(short(&"x".repeat(4 << 20), 200).chars().count(), 200);
    }
}
