//! The file between its tree and `Desired`: entries with their places.

use std::{collections::BTreeMap, ops::Range};

use super::{problem::FileProblem, v1};
use crate::core::model::desired::Desired;

/// What the text says.
#[derive(Debug)]
pub struct Loaded {
    pub desired: Desired,
    /// Things that do not keep the file from being used: quarantined entries, unknown disabled names.
    pub warnings: Vec<FileProblem>,
    /// Entries with errors of their own, `section/name`: they are told of in `warnings`, and touched by nobody.
    pub set_aside: Vec<String>,
}

/// The file's entries with their places, as far as they could be read.
pub struct FileEntries {
    pub cluster: v1::Cluster,
    /// Where each entry's key stands: `section/name`.
    pub places: BTreeMap<String, Range<usize>>,
}

/// An entry of `models` or `services` that could not be read.
#[derive(Debug)]
pub struct Quarantined {
    pub section: &'static str,
    pub name: String,
    pub problems: Vec<FileProblem>,
}
