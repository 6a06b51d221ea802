//! What stands where a slot's container would.

use super::view::View;
use crate::core::model::{
    desired::{Desired, Place, Slot},
    id::RestartPolicyName,
    ledger::Ledger,
    name::SparkName,
    object::Object,
    observed::{Container, Observed, SparkFacts},
    plan::Predicate,
    spec_hash::SpecHash,
};

/// A container that stands where this slot's container would.
pub struct SlotContainer<'a> {
    pub spark: &'a SparkName,
    pub container: &'a Container,
    /// What it was started as, when it is ours.
    pub spec: Option<SpecHash>,
}

impl SlotContainer<'_> {
    pub fn is_ours(&self) -> bool {
        self.spec.is_some()
    }
}

/// What stands in this slot's place on the Sparks that answered: containers of its name, and ours of other names, from
/// before it was renamed. A container that a service names is the service's.
pub fn slot_containers<'a>(object: &Object, slot: &'a Slot, view: View<'a>) -> Vec<SlotContainer<'a>> {
    let View { desired, observed, ledger, .. } = view;
    let mut standing: Vec<SlotContainer<'a>> = Vec::new();
    for spark in desired.sparks.keys() {
        let Some(facts) = observed.facts(spark) else { continue };
        let containers = facts.containers.iter();
        standing.extend(
            containers
                .filter_map(|container| as_slot_container(object, slot, desired, ledger, spark, container)),
        );
    }
    // The one of the slot's own name first on each Spark.
    standing.sort_by_key(|entry| (entry.spark.clone(), entry.container.name != slot.container.as_str()));
    standing
}

/// The same for the last that was seen of a silent Spark.
pub fn last_seen_slot_containers<'a>(
    object: &Object,
    slot: &'a Slot,
    desired: &'a Desired,
    ledger: &Ledger,
    spark: &'a SparkName,
    last: &'a SparkFacts,
) -> Vec<SlotContainer<'a>> {
    let containers = last.containers.iter();
    containers
        .filter_map(|container| as_slot_container(object, slot, desired, ledger, spark, container))
        .collect()
}

fn as_slot_container<'a>(
    object: &Object,
    slot: &Slot,
    desired: &Desired,
    ledger: &Ledger,
    spark: &'a SparkName,
    container: &'a Container,
) -> Option<SlotContainer<'a>> {
    let spec = ledger.spec_of(desired.cluster.as_str(), object, container);
    let named = slot.sparks.contains(spark) && container.name == slot.container.as_str();
    // Asked last, of the few that have the name: it looks at every service.
    (spec.is_some() || (named && !is_of_service(spark, container, desired))).then_some(SlotContainer {
        spark,
        container,
        spec,
    })
}

/// A service of the file names this container.
fn is_of_service(spark: &SparkName, container: &Container, desired: &Desired) -> bool {
    desired.services.values().any(|service| {
        matches!(&service.place, Place::Spark(place) if place == spark)
            && service.container.as_ref().is_some_and(|name| container.name == name.as_str())
    })
}

/// What a plan about this container relies on.
pub fn predicates_about(entry: &SlotContainer<'_>, observed: &Observed) -> Vec<Predicate> {
    let boot = observed.facts(entry.spark).map(|facts| Predicate::boot(entry.spark, facts));
    let container = Predicate::container(entry.spark, entry.container);
    boot.into_iter().chain([container]).collect()
}

/// What a restart policy means for a container that this controller starts and stops, and how to end it.
pub fn docker_starts_it_too(name: &str, policy: &RestartPolicyName) -> String {
    format!(
        "Docker starts `{name}` too: its restart policy is `{policy}`; `docker update --restart=no {name}` there leaves it to this controller"
    )
}
