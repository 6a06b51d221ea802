//! The ways to the Sparks: one to each, and one into the session of each bot's user. Each is kept while its entry stays the same.

use std::{borrow::Cow, collections::BTreeMap};

use super::{Controller, state::TransportsByKey, world::ConnectSpark};
use crate::{
    core::model::{
        desired::{Desired, Place, ReachMethod, Spark},
        name::SparkName,
        object::Object,
    },
    host::SharedTransport,
};

impl Controller {
    /// The way to each Spark.
    pub(super) fn transports(&self, desired: &Desired) -> BTreeMap<SparkName, SharedTransport> {
        let wanted = desired.sparks.iter().map(|(name, spark)| (name.clone(), (name, Cow::Borrowed(spark))));
        keep(&mut self.state().transports, &wanted.collect(), &self.world.connect)
    }

    /// The way into the session of each bot's user, that may be updated.
    pub(super) fn sessions(&self, desired: &Desired) -> BTreeMap<Object, SharedTransport> {
        let services = desired.services.iter().filter(|(name, _)| !desired.disabled.contains(*name));
        let wanted = services.filter_map(|(name, service)| {
            let bot = service.bot.as_ref().filter(|bot| bot.update_after.is_some())?;
            let Place::Spark(spark) = &service.place else { return None };
            let mut entry = desired.sparks.get(spark)?.clone();
            let ReachMethod::Ssh { user, .. } = &mut entry.reach else { return None };
            user.clone_from(&bot.user);
            Some((Object::service(name), (spark, Cow::Owned(entry))))
        });
        keep(&mut self.state().sessions, &wanted.collect(), &self.world.connect)
    }

    /// Those to the Sparks, as they are.
    pub(super) fn known_transports(&self) -> BTreeMap<SparkName, SharedTransport> {
        known(&self.state().transports)
    }
}

fn keep<K: Ord + Clone>(
    ways: &mut TransportsByKey<K>,
    wanted: &BTreeMap<K, (&SparkName, Cow<'_, Spark>)>,
    connect: &ConnectSpark,
) -> BTreeMap<K, SharedTransport> {
    ways.retain(|key, (spark, _)| wanted.get(key).is_some_and(|(_, entry)| **entry == *spark));
    for (key, (name, entry)) in wanted {
        ways.entry(key.clone()).or_insert_with(|| (entry.clone().into_owned(), connect(name, entry)));
    }
    known(ways)
}

fn known<K: Ord + Clone>(ways: &TransportsByKey<K>) -> BTreeMap<K, SharedTransport> {
    ways.iter().map(|(key, (_, way))| (key.clone(), way.clone())).collect()
}
