//! Why a Spark could not be asked.

use std::time::Duration;

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
    #[error(
        "it refused the key for the user `{0}`: put the public key that `spark-control key` prints into that user's \
         ~/.ssh/authorized_keys there; when it is there, `sudo journalctl -u ssh` says why"
    )]
    Denied(String),
    #[error("{0}")]
    Connection(String),
    #[error("it answered with more than {} MiB, which is no answer", .0 >> 20)]
    TooMuch(usize),
    #[error("it did not begin to answer; it said: {0}")]
    NoAnswer(String),
    #[error("its Docker Engine did not answer: {0}")]
    Engine(String),
    /// Docker, or what is asked through it, with what the Spark itself says of why.
    #[error("{0}")]
    Docker(String),
    #[error("its answer brought out a mistake of this program; the log of this controller has its place")]
    Bug,
}

use bytes::Bytes;
use futures_util::Stream;
use std::pin::Pin;

pub type EventStream = Pin<Box<dyn Stream<Item = Result<Bytes, Unreachable>> + Send>>;
