//! How a container ended, as its Docker Engine still remembers when it is gone with its log.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerEnd {
    /// Of its main process.
    pub exit_code: Option<i64>,
    /// The kernel ended a process of it, because it had taken the memory that it may have.
    pub is_out_of_memory: bool,
    /// Somebody told Docker to end it, with that signal.
    pub told_signal: Option<u32>,
}

/// 128 and SIGKILL.
const KILLED: i64 = 137;

impl std::fmt::Display for ContainerEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self { is_out_of_memory: true, .. } => {
                f.write_str("the kernel ended it, because it had taken all the memory that it may have")
            }
            Self { told_signal: Some(signal), .. } => {
                write!(f, "somebody told Docker to end it (signal {signal})")
            }
            Self { exit_code: Some(KILLED), .. } => {
                f.write_str("it was killed, and not by Docker: so the kernel does when memory runs out")
            }
            Self { exit_code: Some(code), .. } => {
                write!(f, "it ended with exit code {code}")
            }
            Self { exit_code: None, .. } => f.write_str("nobody knows how it ended"),
        }
    }
}
