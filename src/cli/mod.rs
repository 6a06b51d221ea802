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
pub mod exit;
pub mod export;
pub mod hold_suspend_schedule;
pub mod import;
pub mod init;
pub mod key;
pub mod logs;
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
pub use exit::Exit;
pub use talk::{print, print_json, print_told, say};

use crate::core::model::visible;

/// The name for the history; nobody is authenticated by it.
pub fn user() -> String {
    let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let name = name.unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()));
    visible::visible_line(&name).into_owned()
}
