//! What is remembered of a service.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    bot_update::BotUpdate,
    desired::ServiceState,
    name::{ContainerName, SparkName},
    restart::ServiceRestarts,
};

/// What is remembered of a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceRecord {
    /// As it was when it was once as the file says: what differs later is drift, not an edit.
    pub converged: Option<ConvergedService>,
    /// It was started, and has not lasted yet.
    pub restarts: Option<ServiceRestarts>,
    /// The restart that was asked for and done: for which time.
    pub restarted: Option<Timestamp>,
    /// The last update of a bot.
    pub update: Option<BotUpdate>,
}

impl ServiceRecord {
    pub(super) const EMPTY: Self = Self { converged: None, restarts: None, restarted: None, update: None };
}

/// A service as it was last seen to be as the file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConvergedService {
    pub state: ServiceState,
    pub spark: SparkName,
    pub container: ContainerName,
}
