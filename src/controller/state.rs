//! What a controller holds between two rounds, behind one lock.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, OnceLock},
};

use jiff::Timestamp;
use serde_json::Value as Json;

use super::refusal::RequestRefusal;
use crate::{
    core::{
        decide::connectivity::UptimeInterval,
        model::{
            desired::{Desired, Spark},
            id::{PlanId, RemovalId},
            ledger::Ledger,
            name::{ServiceName, SparkName, nearest},
            object::Object,
            observed::Observed,
            reason::Reason,
        },
    },
    host::SharedTransport,
    store::{Store, StoreError},
};

pub struct ControllerState {
    pub store: Store,
    pub ledger: Ledger,
    /// The last good file.
    pub current: Option<FileInForce>,
    /// The bytes that were read last, good or bad.
    pub last_text: Option<Vec<u8>>,
    pub file_error: Option<String>,
    pub pending: Option<PendingFile>,
    /// The plan that was stored last, and when.
    pub kept_plan: Option<(PlanId, Timestamp)>,
    pub warnings: Vec<String>,
    pub transports: TransportsByKey<SparkName>,
    /// The sessions of bots' users.
    pub sessions: TransportsByKey<Object>,
    pub observed: Option<Observed>,
    /// Rounds that have put what they saw there.
    pub looks: u64,
    /// Why nothing is done about an object, as it was said last.
    pub said: BTreeMap<Object, Reason>,
    /// How each endpoint was at the last look.
    pub spells: BTreeMap<Object, EndpointUptime>,
    /// Free memory over the last hours.
    pub trails: BTreeMap<SparkName, MemoryHistory>,
    pub epoch: Option<u64>,
    pub sequence: u64,
}

impl ControllerState {
    /// How the Spark of that name is reached.
    pub fn way_to(&self, spark: &str) -> Result<(SparkName, SharedTransport), RequestRefusal> {
        let known = self.transports.iter().find(|(name, _)| name.as_str() == spark);
        let (name, (_, way)) = known.ok_or_else(|| {
            let names = self.transports.keys().map(SparkName::as_str);
            let hint =
                nearest(spark, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            RequestRefusal::NoSuchSpark(spark.to_owned(), hint)
        })?;
        Ok((name.clone(), way.clone()))
    }

    pub fn keep_ledger(&mut self) -> Result<(), StoreError> {
        self.store.set_ledger(&self.ledger)
    }
}

#[derive(Clone)]
pub struct FileInForce {
    pub revision: u64,
    pub text: Arc<str>,
    pub desired: Arc<Desired>,
    /// The text as a value, once somebody asked for it.
    pub value: OnceLock<Arc<Json>>,
}

impl FileInForce {
    /// The slot or service of that name.
    pub fn known(&self, object: &str) -> Result<(), RequestRefusal> {
        let slots = self.desired.slots.keys().map(Object::as_str);
        let weights = self.desired.models.iter().filter(|(_, model)| model.weights.is_some());
        let weights: Vec<Object> = weights.map(|(name, _)| Object::weights(name)).collect();
        let services = self.desired.services.keys().map(ServiceName::as_str);
        let names: Vec<&str> = slots.chain(services).chain(weights.iter().map(Object::as_str)).collect();
        if names.contains(&object) {
            return Ok(());
        }
        let hint = nearest(object, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        Err(RequestRefusal::NoSuchObject(object.to_owned(), hint))
    }
}

/// A good file that is not in force, because it takes so much out that it may be half a file.
#[derive(Debug, Clone)]
pub struct PendingFile {
    /// To agree with: `spark-control approve ID`.
    pub id: RemovalId,
}

/// One endpoint's, oldest first. The last one goes on.
pub struct EndpointUptime {
    pub known: VecDeque<UptimeInterval>,
    /// The last one's, in the store.
    pub number: i64,
    pub written: Timestamp,
}

#[derive(Debug, Clone, Copy)]
pub struct MemoryReading {
    pub at: Timestamp,
    pub total_bytes: u64,
    pub available_bytes: u64,
}

/// Oldest first.
pub type MemoryHistory = VecDeque<MemoryReading>;

/// With the entry that each was made from.
pub type TransportsByKey<K> = BTreeMap<K, (Spark, SharedTransport)>;
