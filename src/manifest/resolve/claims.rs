//! Two things that claim one port, or one container, of one Spark.

use std::collections::BTreeMap;

use super::Resolver;
use crate::core::model::{
    desired::{Desired, Model, Place, Slot, WantedModel},
    name::{ModelName, SparkName},
    object::Object,
};

impl Resolver {
    pub(super) fn claims(&mut self, desired: &Desired) {
        let mut ports: BTreeMap<(SparkName, u16), String> = BTreeMap::new();
        let mut containers: BTreeMap<(SparkName, String), String> = BTreeMap::new();
        // The head of each model that the main slot is told to hold; a model of the catalog that nobody asks for
        // claims nothing.
        if let Some(slot) = desired.slots.get(&Object::main()) {
            for name in held(slot).chain(desired.schedule.values().map(|window| &window.model)) {
                let Some(model) = desired.models.get(name) else { continue };
                if model.sparks.len() > 1 && model.port.unwrap_or(slot.port) == slot.master_port {
                    let message =
                        format!("`{name}` would answer on port {}, which its ranks need", slot.master_port);
                    self.problem(
                        &format!("models/{name}"),
                        message,
                        Some("change `port` or `master_port`".into()),
                    );
                }
                for port in listening(slot, model) {
                    ports.insert((model.sparks[0].clone(), port), format!("the model `{name}`"));
                }
                for spark in &model.sparks {
                    let place = (spark.clone(), slot.container.to_string());
                    containers.insert(place, format!("the model `{name}`"));
                }
            }
        }
        let further: Vec<_> = desired
            .slots
            .iter()
            .filter(|(object, _)| **object != Object::main())
            .flat_map(|(object, slot)| {
                let model = held(slot).find_map(|name| desired.models.get(name));
                let head = model.map(|model| &model.sparks[0]);
                let ports = model.map_or(vec![slot.port], |model| listening(slot, model));
                let ports = ports.into_iter().flat_map(move |port| {
                    let on = slot.sparks.iter().filter(move |spark| head.is_none_or(|head| head == *spark));
                    on.map(move |spark| (object.as_str(), spark, Some(port), None))
                });
                let containers =
                    slot.sparks.iter().map(|spark| (object.as_str(), spark, None, Some(&slot.container)));
                ports.chain(containers).collect::<Vec<_>>()
            })
            .collect();
        let services = desired.services.iter().filter_map(|(name, service)| match &service.place {
            Place::Spark(spark) => Some((name.as_str(), spark, service.port, service.container.as_ref())),
            Place::Elsewhere(_) => None,
        });
        for (name, spark, port, container) in further.into_iter().chain(services) {
            if desired.disabled.iter().any(|disabled| disabled.as_str() == name) {
                continue;
            }
            let me = format!("`{name}`");
            let taken = port.and_then(|port| ports.insert((spark.clone(), port), me.clone()));
            if let (Some(port), Some(other)) = (port, taken) {
                let message = format!("{me} and {other} both claim port {port} of `{spark}`");
                let hint = "change one port, or name one of them in `disabled_services`".to_owned();
                self.problem(&format!("services/{name}/port"), message, Some(hint));
            }
            let taken = container
                .and_then(|container| containers.insert((spark.clone(), container.to_string()), me.clone()));
            if let (Some(container), Some(other)) = (container, taken) {
                let message = format!("{me} and {other} both claim the container `{container}` of `{spark}`");
                self.problem(&format!("services/{name}/container"), message, None);
            }
        }
    }
}

/// Where its head listens: for clients, and for the other ranks when there are any.
fn listening(slot: &Slot, model: &Model) -> Vec<u16> {
    let master = (model.sparks.len() > 1).then_some(slot.master_port);
    [model.port.unwrap_or(slot.port)].into_iter().chain(master).collect()
}

fn held(slot: &Slot) -> impl Iterator<Item = &ModelName> {
    match &slot.wanted {
        WantedModel::Model(name) => Some(name),
        WantedModel::Nothing | WantedModel::Watch => None,
    }
    .into_iter()
}
