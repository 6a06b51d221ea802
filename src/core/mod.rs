//! The pure part: what is desired, what was observed, what differs, what to do about it.
//!
//! Nothing here reads a clock, a file, the environment or a socket; time and seeds are arguments, maps are
//! ordered, and the same input gives the same output byte for byte. Clippy's disallowed lists for this subtree
//! (see `clippy.toml`) and `tests/it/tidy.rs` hold it to that. Begin with `planner`.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod access;
pub mod adopt;
pub mod bot;
pub mod bot_update;
pub mod cause;
pub mod clock;
pub mod command_line;
pub mod concern;
pub mod connectivity;
pub mod consent;
pub mod desired;
pub mod drain;
pub mod drift;
pub mod fallback;
pub mod files;
pub mod fitness;
pub mod health;
pub mod id;
pub mod image;
pub mod label;
pub mod launch;
pub mod launch_spec;
pub mod launcher;
pub mod ledger;
pub mod loosens;
pub mod memory;
pub mod memory_dip;
pub mod memory_table;
pub mod memory_watchdog;
pub mod name;
pub mod need;
pub mod notify;
pub mod object;
pub mod observed;
pub mod plan;
pub mod planner;
pub mod platform;
pub mod platform_difference;
pub mod preflight;
pub mod progress;
pub mod reachability;
pub mod readiness;
pub mod reason;
pub mod recognise;
pub mod record_observed;
pub mod record_step;
pub mod redact;
pub mod removal;
pub mod render;
pub mod resolved_model;
pub mod restart;
pub mod schedule;
pub mod service;
pub mod serving;
pub mod slot;
pub mod slot_containers;
pub mod slot_summary;
pub mod slot_view;
pub mod spec_hash;
pub mod status;
pub mod status_line;
pub mod step;
pub mod swap;
pub mod told;
pub mod transfer;
pub mod visible;
pub mod weights;
