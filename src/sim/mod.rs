//! Simulated Sparks, for the demo and for thousands of seeds.
//!
//! Only what is outside of this program is simulated: the transport's far end, the Engine's wire, HTTP answers. The
//! controller, the planner, the fence's caller, the ledger and the store are those that run for real. Begin with
//! `world`.

pub mod engine;
pub mod fence;
pub mod http;
pub mod launcher;
pub mod listeners;
pub mod machine;
pub mod report;
mod script;
pub mod transfer;
pub mod transport;
pub mod update;
pub mod world;

pub use machine::SimulatedService;
pub use world::{Fault, Sim, SimulatedTimes};
