//! The pure part: what is desired, what was observed, what differs, what to do about it.
//!
//! Nothing here reads a clock, a file, the environment or a socket; time and seeds are arguments, maps are
//! ordered, and the same input gives the same output byte for byte. Clippy's disallowed lists for this subtree
//! (see `clippy.toml`) and `tests/it/tidy.rs` hold it to that. Begin with `decide::planner`.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod decide;
pub mod model;
pub mod tell;
