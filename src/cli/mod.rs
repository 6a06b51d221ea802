//! The command line. Data on stdout, talk on stderr.
//!
//! Exit codes: 0 nothing to do or done, 1 error, 2 changes planned, 3 stale or refused, 4 blocked or held.

/// A line for the person at the terminal. That nobody reads it is not an error.
macro_rules! talk {
    ($($words:tt)*) => { $crate::cli::write_talk(&format!("{}\n", format_args!($($words)*))) };
}
/// The same without an end of line.
macro_rules! talk_on {
    ($($words:tt)*) => { $crate::cli::write_talk(&format!($($words)*)) };
}

pub mod apply;
pub mod arguments;
pub mod commands;
pub mod demo;
pub mod desired;
pub mod look;
pub mod reach;
pub mod serve;
pub mod trust;

pub use arguments::Arguments;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Error = 1,
    Changes = 2,
    Stale = 3,
    Blocked = 4,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The name for the history; nobody is authenticated by it.
pub fn user() -> String {
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "someone".into())
}

/// What was done: data for a program, talk for a person.
///
/// # Errors
/// When stdout cannot be written.
pub fn say(output: arguments::Format, data: &serde_json::Value, talk: &str) -> anyhow::Result<Exit> {
    match output {
        arguments::Format::Json => print(&format!("{data:#}\n"))?,
        arguments::Format::Text => talk!("{talk}"),
    }
    Ok(Exit::Done)
}

/// For `talk!`.
pub fn write_talk(text: &str) {
    use std::io::Write;
    let _ = anstream::stderr().lock().write_all(with_options(text).as_bytes());
}

/// Stderr that swallows its own failures: a full disk under the log must not end the controller.
pub struct Stderr;

impl std::io::Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = std::io::stderr().write_all(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Options that this run was given and that every command it proposes needs too.
static OPTIONS: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Remember them, before anything is printed.
pub fn remember_options(arguments: &Arguments) {
    let mut options = String::new();
    for (name, path) in [("--data", &arguments.data), ("--file", &arguments.file)] {
        if let Some(path) = path {
            options += &format!(" {name} {}", crate::host::quote_if_needed(&path.display().to_string()));
        }
    }
    let _ = OPTIONS.set(options);
}

/// Commands that are proposed, with the options of this run.
fn with_options(text: &str) -> std::borrow::Cow<'_, str> {
    let options = OPTIONS.get().map_or("", String::as_str);
    if options.is_empty() || !text.contains("spark-control ") {
        return text.into();
    }
    let mut text = text.to_owned();
    for command in ["approve", "history", "logs", "retry", "trust"] {
        text =
            text.replace(&format!("spark-control {command} "), &format!("spark-control{options} {command} "));
    }
    text.into()
}

/// Write to stdout. A reader that went away (`| head`) is not an error.
pub fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(with_options(text).as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
