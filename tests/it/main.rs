//! Tests that need nothing but this program: simulated Sparks, files, text.

#![allow(clippy::unwrap_used)] // a test that cannot go on ends there

mod access;
mod adoption;
mod api;
mod arguments;
mod bots;
mod cli;
mod clients;
mod cluster;
mod consent;
mod contracts;
mod corpus;
mod demo;
mod desired;
mod drift;
mod edit;
mod engines;
mod fence;
mod files;
mod golden;
mod health;
mod hostile;
mod launches;
mod licences;
mod look;
mod manifest;
mod memory;
mod notify;
mod plans;
mod preflight;
mod readiness;
mod release;
mod replay;
mod scripts;
mod serve;
mod simulation;
mod status;
mod swaps;
mod tidy;
mod weights;
mod writers;
