//! Reaching a Spark: run a small program there, read from its Docker Engine. Nothing else.
//!
//! [`Transport`] is what the rest knows. `ssh` and `local` implement it for machines, `sim` for simulated ones.
//! There is no way through it to change anything on a Spark but [`Transport::run`], and the only program that
//! changes anything is the fence (`apply::fence`). The Engine is read with GET and nothing else.

pub mod address;
pub mod engine;
pub mod local;
pub mod program;
pub mod ssh;

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::Stream;

pub use program::{Program, calls, quote, quote_if_needed};

/// What a program said and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The Engine's answer to a GET.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

/// Why a Spark could not be asked. None of these says anything about what runs there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    #[error("it did not answer within {} s", .0.as_secs())]
    Deadline(Duration),
    #[error(
        "its host key is not the one that was pinned; if it was reinstalled, run `spark-control trust {0}`"
    )]
    HostKey(String),
    #[error("its host key is not pinned yet; run `spark-control trust {0}`")]
    Untrusted(String),
    #[error("it refused the key; put the controller's public key into its authorized_keys")]
    Denied,
    #[error("{0}")]
    Connection(String),
    #[error("its Docker Engine did not answer: {0}")]
    Engine(String),
}

pub type EventStream = Pin<Box<dyn Stream<Item = Result<Bytes, Unreachable>> + Send>>;
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unreachable>> + Send + 'a>>;

/// A way to one Spark.
///
/// Implementers guarantee: each call ends by its deadline; an error means "not known", never "not there"; a
/// dropped future leaves the connection usable; a program either gets its whole text or does not run.
pub trait Transport: Send + Sync {
    /// Run a program with `sh` there.
    fn run<'a>(&'a self, program: &'a Program, deadline: Duration) -> Answering<'a, Output>;
    /// The same for a program that goes on until nobody reads what it says. `deadline` is for its beginning.
    fn run_stream<'a>(&'a self, program: &'a Program, deadline: Duration) -> Answering<'a, EventStream>;
    /// GET from the Docker Engine there. `path` begins with `/` and has no version.
    fn engine<'a>(&'a self, path: &'a str, deadline: Duration) -> Answering<'a, Answer>;
    /// GET with an answer that does not end, such as `/events`. `deadline` is for its beginning.
    fn engine_stream<'a>(&'a self, path: &'a str, deadline: Duration) -> Answering<'a, EventStream>;
}

pub type SharedTransport = Arc<dyn Transport>;
