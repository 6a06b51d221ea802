//! What the file names: models, services, where they answer.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::core::{
    decide::schedule,
    model::{
        desired::{Desired, Place, ServiceKind, ServiceState, WantedModel, Weights},
        model_source::ModelSource,
        object::Object,
        status_line,
    },
};

/// One model of the catalog.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Model")]
pub struct CatalogModel {
    pub name: String,
    /// A repository, a path or a recipe.
    pub source: String,
    /// It is a path on the Sparks.
    pub local: bool,
    /// Head first.
    pub sparks: Vec<String>,
    /// Canonical name first.
    pub served_as: Vec<String>,
    /// What is to be done about its files; `null`: they are left alone.
    pub weights: Option<Weights>,
    /// The slots that want it now.
    pub wanted_in: Vec<String>,
    /// As the file says; `null` when it is learned.
    pub memory_bytes: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Models {
    pub models: Vec<CatalogModel>,
}

impl Models {
    pub fn of(desired: &Desired, now: Timestamp) -> Self {
        let models = desired.models.iter().map(|(name, model)| {
            let (source, local) = match &model.source {
                ModelSource::Repo { repo, revision: None } => (repo.to_string(), false),
                ModelSource::Repo { repo, revision: Some(revision) } => (format!("{repo}@{revision}"), false),
                ModelSource::LocalPath(path) => (path.to_string(), true),
                ModelSource::Recipe(recipe) => (recipe.to_string(), false),
            };
            let wanted = WantedModel::Model(name.clone());
            let slots = desired.slots.iter();
            let wanted_in =
                slots.filter(|(object, slot)| schedule::wanted(object, slot, desired, now) == wanted);
            CatalogModel {
                name: name.to_string(),
                source,
                local,
                sparks: model.sparks.iter().map(ToString::to_string).collect(),
                served_as: model.served_as.iter().map(ToString::to_string).collect(),
                weights: model.weights,
                wanted_in: wanted_in.map(|(object, _)| object.to_string()).collect(),
                memory_bytes: model.memory_bytes,
            }
        });
        Self { models: models.collect() }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Service")]
pub struct CatalogService {
    pub name: String,
    pub kind: ServiceKind,
    /// `null` when it is elsewhere.
    pub spark: Option<String>,
    pub container: Option<String>,
    pub port: Option<u16>,
    /// What it is kept in; `null` when it is only watched.
    pub state: Option<ServiceState>,
    pub disabled: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Services {
    pub services: Vec<CatalogService>,
}

impl Services {
    pub fn of(desired: &Desired) -> Self {
        let services = desired.services.iter().map(|(name, service)| CatalogService {
            name: name.to_string(),
            kind: service.kind,
            spark: match &service.place {
                Place::Spark(spark) => Some(spark.to_string()),
                Place::Elsewhere(_) => None,
            },
            container: service.container.as_ref().map(ToString::to_string),
            port: service.port,
            state: service.state,
            disabled: desired.disabled.contains(name),
        });
        Self { services: services.collect() }
    }
}

/// Where something answers.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Endpoint")]
pub struct EndpointStatus {
    pub object: Object,
    pub kind: ServiceKind,
    pub address: String,
    /// `null` when it is disabled.
    pub health: Option<status_line::Health>,
    pub disabled: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Endpoints {
    pub endpoints: Vec<EndpointStatus>,
}
