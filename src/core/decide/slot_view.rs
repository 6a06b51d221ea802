//! What a decision about one slot is made from.

use super::view::View;
use crate::core::model::{desired::Slot, object::Object};

/// What a decision about one slot is made from.
#[derive(Clone, Copy)]
pub(super) struct SlotView<'a> {
    pub object: &'a Object,
    pub slot: &'a Slot,
    pub view: View<'a>,
}

impl<'a> std::ops::Deref for SlotView<'a> {
    type Target = View<'a>;
    fn deref(&self) -> &View<'a> {
        &self.view
    }
}
