//! What stands where a slot's container would.

use super::{
    desired::{Desired, Object, Slot, SpecHash},
    ledger::Ledger,
    name::SparkName,
    observed::{Container, Observed},
    plan::Predicate,
};

/// A container that stands where this slot's container would.
pub struct Standing<'a> {
    pub spark: &'a SparkName,
    pub container: &'a Container,
    /// What it was started as, when it is ours.
    pub spec: Option<SpecHash>,
}

impl Standing<'_> {
    pub fn is_ours(&self) -> bool {
        self.spec.is_some()
    }
}

/// The containers of this slot's name on the Sparks that answered.
pub fn standing<'a>(
    object: &Object,
    slot: &'a Slot,
    desired: &Desired,
    observed: &'a Observed,
    ledger: &Ledger,
) -> Vec<Standing<'a>> {
    slot.sparks
        .iter()
        .filter_map(|spark| {
            let container = observed.facts(spark)?.container(slot.container.as_str())?;
            let spec = ledger.spec_of(desired.cluster.as_str(), object, container);
            Some(Standing { spark, container, spec })
        })
        .collect()
}

/// What a plan about this container relies on.
pub fn relied_on(entry: &Standing<'_>, observed: &Observed) -> Vec<Predicate> {
    let boot = observed
        .facts(entry.spark)
        .map(|facts| Predicate::Boot { spark: entry.spark.clone(), boot_id: facts.boot_id.clone() });
    let container = Predicate::Container {
        spark: entry.spark.clone(),
        name: entry.container.name.clone(),
        id: entry.container.id.clone(),
        running: entry.container.running,
    };
    boot.into_iter().chain([container]).collect()
}
