//! A truncated prefix of a file is often a valid file. What takes much out waits for a person.

use std::collections::BTreeMap;

use crate::core::model::{desired::Desired, reason::Reason};

/// What `new` takes out of `old`, when it is a Spark, or more than half of the models or services.
///
/// The reason and what it is, in words.
pub fn large(old: &Desired, new: &Desired) -> Option<String> {
    let what = removed(old, new)?;
    Some(format!("{:?}: {what}, which may be half a file", Reason::LargeRemoval))
}

fn removed(old: &Desired, new: &Desired) -> Option<String> {
    if let Some(spark) = old.sparks.keys().find(|name| !new.sparks.contains_key(*name)) {
        return Some(format!("it takes the Spark `{spark}` out"));
    }
    more_than_half(&old.models, &new.models, "models")
        .or_else(|| more_than_half(&old.services, &new.services, "services"))
}

fn more_than_half<K: Ord, V>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>, what: &str) -> Option<String> {
    let gone = old.keys().filter(|name| !new.contains_key(*name)).count();
    (gone * 2 > old.len()).then(|| format!("it takes {gone} of {} {what} out", old.len()))
}
