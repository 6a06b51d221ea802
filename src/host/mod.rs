//! Reaching a Spark: run a small program there, read from its Docker Engine. Nothing else.
//!
//! [`Transport`] is what the rest knows. `ssh` and `local` implement it for machines, `sim` for simulated ones.
//! There is no way through it to change anything on a Spark but [`Transport::run`], and the only program that
//! changes anything is the fence (`apply::fence`). The Engine is read with GET and nothing else.

pub mod address;
pub mod bounded;
pub mod engine;
pub mod frame;
pub mod host_key;
pub mod local;
pub mod private_key;
pub mod program;
pub mod ssh;
pub mod unreachable;

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::core::model::visible;

pub use frame::Frame;
pub use program::{Program, calls, quote, quote_if_needed};
pub use unreachable::{EventStream, Unreachable};

/// Of what a program complained of, in a sentence.
const MAX_COMPLAINT: usize = 500;

/// `ssh` ends with it when it is the connection that failed.
const SSH_FAILED: i32 = 255;

/// What a program said and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgramOutput {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    /// What the program itself printed.
    pub stdout: String,
    /// It came to its end; else `stdout` is a part.
    pub is_whole: bool,
    pub stderr: String,
    /// The last of what the login shell printed around it.
    pub outside: String,
}

impl ProgramOutput {
    /// Of what was read from a program that was told to print between these marks.
    pub fn of(frame: &Frame, code: Option<i32>, stdout: &[u8], stderr: &[u8]) -> Self {
        let framed = frame.split(&String::from_utf8_lossy(stdout));
        let stderr = String::from_utf8_lossy(stderr).into_owned();
        Self { code, stdout: framed.inside, is_whole: framed.is_whole, stderr, outside: framed.outside }
    }

    /// Why it is not whole, in the words of whoever ended it.
    pub fn why_cut(&self) -> String {
        let complaint = self.stderr.lines().rev().map(str::trim).find(|line| !line.is_empty());
        match complaint {
            Some(line) => visible::short(line, MAX_COMPLAINT),
            None if self.stdout.is_empty() && !self.outside.is_empty() => {
                format!("its login shell said only: {}", self.outside)
            }
            None if self.stdout.is_empty() && self.code.is_some_and(|code| code != SSH_FAILED) => {
                "its login shell ended without running anything; the account's line of `getent passwd` there names it".into()
            }
            None => "its answer was cut short".into(),
        }
    }
}

/// The Engine's answer to a GET.
#[derive(Debug, Clone)]
pub struct DockerResponse {
    pub status: u16,
    pub body: Bytes,
}

pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unreachable>> + Send + 'a>>;

/// A way to one Spark.
///
/// Implementers guarantee: each call ends by its deadline; an error means "not known", never "not there"; a
/// dropped future leaves the connection usable; a program either gets its whole text or does not run.
pub trait Transport: Send + Sync {
    /// Run a program with `sh` there.
    fn run<'a>(&'a self, program: &'a Program, deadline: Duration) -> Answering<'a, ProgramOutput>;
    /// The same for a program that goes on until nobody reads what it says. `deadline` is for its beginning.
    fn run_stream<'a>(&'a self, program: &'a Program, deadline: Duration) -> Answering<'a, EventStream>;
    /// GET from the Docker Engine there. `path` begins with `/` and has no version.
    fn engine<'a>(&'a self, path: &'a str, deadline: Duration) -> Answering<'a, DockerResponse>;
    /// GET with an answer that does not end, such as `/events`. `deadline` is for its beginning.
    fn engine_stream<'a>(&'a self, path: &'a str, deadline: Duration) -> Answering<'a, EventStream>;
}

pub type SharedTransport = Arc<dyn Transport>;
