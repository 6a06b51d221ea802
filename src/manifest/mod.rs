//! `cluster.yaml`: read, check, resolve to [`Desired`](crate::core::model::desired::Desired), watch.
//!
//! Begin with `load`: text in, a complete `Desired` or every problem with its place out.

pub mod compose;
pub mod decode;
pub mod edit;
pub mod entries;
mod lines;
pub mod load;
mod moved;
pub mod patch;
pub mod problem;
pub mod read;
pub mod refused;
pub mod replace;
pub mod report;
pub mod resolve;
pub mod scalar;
pub mod splice;
mod splice_flow;
pub mod tree;
pub mod v1;
pub mod watch;

pub use problem::{FileProblem, Severity};
pub use report::render;
