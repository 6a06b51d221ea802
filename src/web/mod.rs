//! HTTP: the API, the control socket for this machine's command line, and a small listener for monitors.

pub mod api;
pub mod control;
pub mod guard;
pub mod listener;
