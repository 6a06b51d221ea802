//! A program for a Spark: fixed text and named parameters. The one place that quotes for a shell.

use std::fmt::Write;

use super::frame::Frame;

/// `sh` text with parameters. Parameters are shell variables set before the text; the text is a constant of this
/// program, so nothing is ever pasted into it.
#[derive(Debug, Clone)]
pub struct Program {
    /// What it is called in errors and in the simulator.
    pub name: &'static str,
    pub body: &'static str,
    parameters: Vec<(&'static str, String)>,
}

impl Program {
    pub fn new(name: &'static str, body: &'static str) -> Self {
        Self { name, body, parameters: Vec::new() }
    }

    /// Set the shell variable `name`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.parameters.push((name, value.into()));
        self
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rfind(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    /// The text for `sh` on stdin. All of it is inside one function that is called at the end, so a connection that breaks in the
    /// middle runs nothing; `</dev/null` keeps children from eating the text. What it prints stands between the marks of `frame`.
    pub fn text(&self, frame: &Frame) -> String {
        let mut text = self.script_after(&format!("printf '\\n%s\\n' '{}'\n", frame.begin()));
        let _ = writeln!(text, "printf '\\n%s %s\\n' '{}' \"$?\"", frame.end());
        text
    }

    /// The same for a file, which others run later: nobody reads what it prints but people.
    pub fn script(&self) -> String {
        self.script_after("")
    }

    fn script_after(&self, first: &str) -> String {
        // Whatever language the Spark speaks, figures and errors are written in one way.
        let mut text = format!("main() {{\nexport LC_ALL=C\n{first}");
        for (name, value) in &self.parameters {
            let _ = writeln!(text, "{name}={}", quote(value));
        }
        let _ = write!(text, "{}\n}}\nmain \"$@\" </dev/null\n", self.body);
        text
    }
}

/// `text` as one word for a POSIX shell. NUL cannot be in a word and is dropped.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for c in text.chars() {
        match c {
            '\'' => quoted.push_str(r"'\''"),
            '\0' => {}
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// Calls of a shell function of the program, one a line; for parameters that are lists of words.
pub fn calls<'a>(function: &str, calls: impl IntoIterator<Item = Vec<&'a str>>) -> String {
    let lines = calls.into_iter().map(|words| {
        words.into_iter().fold(function.to_owned(), |line, word| format!("{line} {}", quote(word)))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The same for a person to read and to paste: plain words stay plain.
pub fn quote_if_needed(text: &str) -> String {
    let plain = !text.is_empty()
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-+:@%,".contains(letter));
    if plain { text.to_owned() } else { quote(text) }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn through_sh(text: &str) -> String {
        let script = format!("printf %s {}", quote(text));
        let output = Command::new("sh").arg("-c").arg(script).output().expect("sh runs");
        String::from_utf8(output.stdout).expect("what went in was UTF-8")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        /// If this failed, a value from the file could run as a command on a Spark.
        #[test]
        fn any_text_comes_through_a_real_shell_as_one_word(text in "[^\\x00]{0,64}") {
            prop_assert_eq!(through_sh(&text), text);
        }
    }

    #[test]
    fn words_that_mean_something_to_a_shell_come_through() {
        for text in
            ["", "'", "''", "a'b", "$HOME", "`id`", "$(id)", "a\nb", "\\", "-n", "!", "*", "~", "\"", "ü"]
        {
            assert_eq!(through_sh(text), text);
        }
    }

    #[test]
    fn a_torn_program_does_nothing() {
        let whole = Program::new("test", "echo ran").with("x", "1").text(&Frame::new());
        let called = whole.find("\nmain \"$@\" </dev/null").expect("it is called");
        for cut in 0..called {
            let output = Command::new("sh").arg("-c").arg(&whole[..cut]).output().expect("sh runs");
            assert!(output.stdout.is_empty(), "cut at {cut}");
        }
    }
}
