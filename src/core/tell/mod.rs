//! What people and programs are told of it.

pub mod concern;
pub mod notify;
pub mod render;
pub mod slot_summary;
pub mod status;
