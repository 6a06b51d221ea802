//! What every decision is made from.

use jiff::Timestamp;

use crate::core::model::{desired::Desired, ledger::Ledger, observed::Observed};

/// What is wanted, what was seen, what was done, and when.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub desired: &'a Desired,
    pub observed: &'a Observed,
    pub ledger: &'a Ledger,
    pub now: Timestamp,
}
