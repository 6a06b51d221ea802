//! Real sshd, real Docker engines, a launcher that keeps the published contract. Needs root.

#![allow(clippy::unwrap_used)] // a test that cannot go on ends there

mod cluster;
mod controller;
mod image;
mod lab;
mod shell;
mod spark;

mod bots;
mod chaos;
mod drift;
mod fencing;
mod init;
mod launchers;
mod loads;
mod measure;
mod memory;
mod mounted;
mod ownership;
mod page;
mod preflight;
mod reaching;
mod refusals;
mod secrets;
mod services;
mod swap;
mod trust;
mod weights;
