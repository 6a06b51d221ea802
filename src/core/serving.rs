//! Where a slot's engine is asked: one answer for the look, the API, and whoever stands in front of it.

use jiff::Timestamp;

use super::{
    desired::{Desired, Object, ResolvedModel, Slot, WantedModel},
    launch_spec::LaunchSpec,
    ledger::Ledger,
    name::SparkName,
    observed::{Container, Observed},
    readiness, schedule,
};

/// The engine of a slot, as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    /// What serves there, or is to; `None`: only what stands there is known.
    pub group: Option<LaunchSpec>,
    /// Its head.
    pub spark: SparkName,
    /// On which it listens.
    pub port: u16,
}

/// What was launched, unless what is wanted stands already: another controller may have started that while this one was away, and
/// then what was launched here is what is left over.
pub fn serving(
    object: &Object,
    slot: &Slot,
    desired: &Desired,
    observed: &Observed,
    ledger: &Ledger,
    now: Timestamp,
) -> Option<Backend> {
    let launched = ledger.launched(object).cloned();
    let wanted = wanted(object, slot, desired, now).map(|effective| effective.launch_spec());
    let stands = wanted.as_ref().filter(|group| {
        let head = readiness::rank(object, group, group.head(), desired, observed, ledger);
        !ledger.is_loading(object) && head.is_some_and(|container| container.running)
    });
    let group = stands.cloned().or(launched).or(wanted);
    let runs = |spark: &&SparkName| {
        let named = |container: &Container| container.running;
        observed.facts(spark).and_then(|facts| facts.container(slot.container.as_str())).is_some_and(named)
    };
    let spark = group.as_ref().map(LaunchSpec::head).or_else(|| slot.sparks.iter().find(runs))?.clone();
    let port = group.as_ref().map_or(slot.port, |group| group.port);
    Some(Backend { group, spark, port })
}

/// The port that the file has for what is wanted there.
pub fn port_of_file(object: &Object, slot: &Slot, desired: &Desired, now: Timestamp) -> u16 {
    wanted(object, slot, desired, now).map_or(slot.port, |effective| effective.port)
}

fn wanted<'a>(
    object: &Object,
    slot: &'a Slot,
    desired: &'a Desired,
    now: Timestamp,
) -> Option<ResolvedModel<'a>> {
    match schedule::wanted(object, slot, desired, now) {
        WantedModel::Model(name) => desired.resolved_model(slot, &name),
        WantedModel::Watch | WantedModel::Nothing => None,
    }
}
