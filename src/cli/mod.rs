//! The command line. Data on stdout, talk on stderr.
//!
//! Exit codes: 0 nothing to do or done, 1 error, 2 changes planned, 3 stale or refused, 4 blocked or held.

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
        arguments::Format::Text => eprintln!("{talk}"),
    }
    Ok(Exit::Done)
}

/// Write to stdout. A reader that went away (`| head`) is not an error.
pub fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
