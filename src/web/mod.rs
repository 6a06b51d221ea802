//! HTTP: the control socket for this machine's command line, and a small listener for monitors.

pub mod control;
pub mod listener;
