//! The command line. Data on stdout, talk on stderr.
//!
//! Exit codes: 0 nothing to do or done, 1 error, 2 changes planned, 3 stale or refused, 4 blocked or held.

#[macro_use]
pub mod talk;

pub mod apply;
pub mod arguments;
pub mod commands;
pub mod demo;
pub mod describe;
pub mod desired;
pub mod export;
pub mod hold_suspend_schedule;
pub mod import;
pub mod init;
pub mod key;
pub mod look;
pub mod models;
pub mod paint;
pub mod reach;
pub mod replay;
pub mod serve;
pub mod token;
pub mod trust;
pub mod watch;

pub use arguments::Arguments;
pub use talk::{print, print_json, print_told, say};

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
    std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()))
}
