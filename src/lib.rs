//! Spark Control.
pub mod core;
pub mod host;
pub mod manifest;
