//! What a decision about one slot is made from.

use jiff::Timestamp;

use crate::core::model::{
    desired::{Desired, Slot},
    ledger::Ledger,
    object::Object,
    observed::Observed,
};

/// What a decision about one slot is made from.
#[derive(Clone, Copy)]
pub(super) struct SlotView<'a> {
    pub object: &'a Object,
    pub slot: &'a Slot,
    pub desired: &'a Desired,
    pub observed: &'a Observed,
    pub ledger: &'a Ledger,
    pub now: Timestamp,
}
