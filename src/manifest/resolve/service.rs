//! Entries of `services`: something to watch or to keep, or a further model slot.

use std::collections::BTreeMap;

use super::{DEFAULT_DRAIN, DEFAULT_MASTER_PORT, Resolver, on_failure, secret, v1};
use crate::core::{
    desired::{Model, Object, Place, Service, ServiceKind, ServiceState, Slot, Wanted},
    launcher::{How, Launcher},
    name::{ContainerName, ModelName, ServiceName, SparkName},
};

/// What an entry is.
pub(super) enum Entry {
    Service(Service),
    Slot(Slot),
}

impl Resolver {
    /// The entry, when nothing is wrong with it.
    pub(super) fn service(
        &mut self,
        name: &ServiceName,
        written: &v1::Service,
        cluster: &v1::Cluster,
        models: &BTreeMap<ModelName, Model>,
        launcher: Option<&Launcher>,
    ) -> Option<Entry> {
        let path = format!("services/{name}");
        if name.as_str() == Object::main().as_str() {
            let message = "`vllm` is the name of the main slot";
            self.problem(&path, message, Some("give the service another name".into()));
        }
        if written.path.as_ref().is_some_and(|path| !path.as_str().starts_with('/')) {
            self.problem(&format!("{path}/path"), "the path of a request begins with `/`", None);
        }
        let place = match (&written.spark, &written.address) {
            (Some(spark), None) => {
                if !self.known_spark(&format!("{path}/spark"), spark, cluster) {
                    return None;
                }
                Place::Spark(spark.clone())
            }
            (None, Some(address)) => Place::Elsewhere(address.clone()),
            _ => {
                self.problem(&path, format!("`{name}` needs exactly one of `spark` and `address`"), None);
                return None;
            }
        };
        if written.kind != v1::ServiceKind::Bot && written.port.is_none() {
            self.problem(&path, format!("`{name}` has no `port`"), None);
        }
        if written.state.is_some() && (written.container.is_none() || matches!(place, Place::Elsewhere(_))) {
            let message = format!("`{name}` has a `state`, but no `container` on a Spark to keep in it");
            self.problem(&format!("{path}/state"), message, None);
        }
        if written.state.is_some() && cluster.disabled_services.contains(name) {
            let message = format!("`{name}` is in `disabled_services`, so its `state` is not kept");
            self.warning(&format!("{path}/state"), message, None);
        }
        for (field, is_written) in [
            ("restart_after", written.restart_after.is_some()),
            ("update_after", written.update_after.is_some()),
            ("drain", written.drain.is_some()),
        ] {
            if is_written {
                self.not_yet(&format!("{path}/{field}"), field);
            }
        }
        match (written.kind, &written.model, &place) {
            (v1::ServiceKind::Vllm, Some(model), Place::Spark(spark)) => {
                self.slot(name, written, model, spark, models, launcher).map(Entry::Slot)
            }
            (v1::ServiceKind::Vllm, Some(_), Place::Elsewhere(_)) => {
                self.problem(&path, format!("`{name}` has a `model`, but no `spark`"), None);
                None
            }
            (_, Some(_), _) if written.kind != v1::ServiceKind::Vllm => {
                let message = format!("`{name}` has a `model`, which only services of kind `vllm` have");
                self.problem(&format!("{path}/model"), message, None);
                None
            }
            _ => Some(Entry::Service(watched(written, place))),
        }
    }

    /// A further slot on that Spark.
    fn slot(
        &mut self,
        name: &ServiceName,
        written: &v1::Service,
        model: &str,
        spark: &SparkName,
        models: &BTreeMap<ModelName, Model>,
        launcher: Option<&Launcher>,
    ) -> Option<Slot> {
        let path = format!("services/{name}");
        let wanted = self.wanted(&format!("{path}/model"), Some(model), models);
        if let Wanted::Model(name) = &wanted
            && models[name].sparks != [spark.clone()]
        {
            let message = format!("`{name}` does not run on `{spark}` alone, which is this slot's Spark");
            let hint = format!("give it `sparks: [{spark}]`, or use another model");
            self.problem(&format!("{path}/model"), message, Some(hint));
        }
        let launcher = match &written.launcher {
            None => launcher.cloned(),
            written => self.launcher(&format!("{path}/launcher"), written.as_ref()),
        };
        if let (Some(Launcher { how: How::Recipe { .. }, .. }), Wanted::Model(name)) = (&launcher, &wanted)
            && models[name].launcher.is_none()
        {
            let message = format!("a launcher of kind `recipe` cannot start `{name}`, which has no `recipe`");
            self.problem(&format!("{path}/launcher"), message, None);
        }
        let container = written.container.clone().unwrap_or_else(|| {
            ContainerName::new(name.as_str()).expect("a service's name is a container name")
        });
        Some(Slot {
            wanted,
            container,
            port: written.port?.0,
            master_port: written.master_port.map_or(DEFAULT_MASTER_PORT, |port| port.0),
            launcher: launcher?,
            env: self.env(&format!("{path}/env"), &written.env),
            api_key: written.api_key.as_ref().map(secret),
            on_failure: on_failure(written.on_failure),
            drain: written.drain.map_or(DEFAULT_DRAIN, |span| span.0),
            load_deadline: written.load_deadline.map(|span| span.0),
            suspend: written.suspend.unwrap_or(false),
            sparks: [spark.clone()].into(),
        })
    }
}

fn watched(written: &v1::Service, place: Place) -> Service {
    let kind = match written.kind {
        v1::ServiceKind::Vllm => ServiceKind::Vllm,
        v1::ServiceKind::Asr => ServiceKind::Asr,
        v1::ServiceKind::Diarization => ServiceKind::Diarization,
        v1::ServiceKind::Tts => ServiceKind::Tts,
        v1::ServiceKind::Embeddings => ServiceKind::Embeddings,
        v1::ServiceKind::Rerank => ServiceKind::Rerank,
        v1::ServiceKind::Qdrant => ServiceKind::Qdrant,
        v1::ServiceKind::RedactionNer => ServiceKind::RedactionNer,
        v1::ServiceKind::Bot => ServiceKind::Bot,
        v1::ServiceKind::Http => ServiceKind::Http,
    };
    Service {
        kind,
        place,
        port: written.port.map(|port| port.0),
        https: written.scheme == v1::Scheme::Https,
        path: written.path.clone(),
        container: written.container.clone(),
        api_key: written.api_key.as_ref().map(secret),
        state: written.state.map(|state| match state {
            v1::ServiceState::Running => ServiceState::Running,
            v1::ServiceState::Stopped => ServiceState::Stopped,
        }),
        suspend: written.suspend.unwrap_or(false),
    }
}
