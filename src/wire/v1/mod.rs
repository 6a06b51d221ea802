//! What version 1 of the API takes and answers with. Names here are for programs: they are added to, and never change.
//!
//! `schema/openapi.v1.json` is made from these types; their comments are its descriptions.

pub mod access;
pub mod catalog;
pub mod desired;
pub mod history;
pub mod logs;
pub mod plan;
pub mod problem;
pub mod schedule;
pub mod status;
