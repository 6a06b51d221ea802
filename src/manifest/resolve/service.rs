//! Entries of `services`: something to watch or to keep, or a further model slot.

use std::collections::BTreeMap;

use super::{DEFAULT_DRAIN, DEFAULT_MASTER_PORT, ResolvedService, Resolver, on_failure, secret, v1};
use crate::core::model::{
    desired::{Bot, Model, Place, Service, ServiceKind, ServiceState, Slot, WantedModel},
    launcher::{Launcher, Start},
    name::{ContainerName, ModelName, ServiceName, SparkName, UserName},
    object::Object,
};

impl Resolver {
    /// The entry, when nothing is wrong with it.
    pub(super) fn service(
        &mut self,
        name: &ServiceName,
        written: &v1::WrittenService,
        cluster: &v1::Cluster,
        models: &BTreeMap<ModelName, Model>,
        launcher: Option<&Launcher>,
    ) -> Option<ResolvedService> {
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
        if written.kind != v1::WrittenServiceKind::Bot && written.port.is_none() {
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
        if written.drain.is_some() {
            self.not_yet(&format!("{path}/drain"), "drain");
        }
        if written.restart_after.is_some()
            && written.model.is_none()
            && (written.container.is_none() || matches!(place, Place::Elsewhere(_)))
        {
            let message = format!("`{name}` has `restart_after`, but no `container` on a Spark to restart");
            self.problem(&format!("{path}/restart_after"), message, None);
        }
        let bot = match self.bot(name, written, &place, cluster) {
            IsBot::Absent => return Some(ResolvedService::Absent),
            IsBot::Bot(bot) => Some(bot),
            IsBot::No => None,
        };
        match (written.kind, &written.model, &place) {
            (v1::WrittenServiceKind::Vllm, Some(model), Place::Spark(spark)) => {
                self.slot(name, written, model, spark, models, launcher).map(ResolvedService::Slot)
            }
            (v1::WrittenServiceKind::Vllm, Some(_), Place::Elsewhere(_)) => {
                self.problem(&path, format!("`{name}` has a `model`, but no `spark`"), None);
                None
            }
            (_, Some(_), _) if written.kind != v1::WrittenServiceKind::Vllm => {
                let message = format!("`{name}` has a `model`, which only services of kind `vllm` have");
                self.problem(&format!("{path}/model"), message, None);
                None
            }
            _ => Some(ResolvedService::Service(watched(written, place, bot))),
        }
    }

    /// What a bot has beside other services.
    fn bot(
        &mut self,
        name: &ServiceName,
        written: &v1::WrittenService,
        place: &Place,
        cluster: &v1::Cluster,
    ) -> IsBot {
        let path = format!("services/{name}");
        if written.kind != v1::WrittenServiceKind::Bot {
            for (field, is_written) in [
                ("user", written.user.is_some()),
                ("dir", written.dir.is_some()),
                ("branch", written.branch.is_some()),
                ("update_after", written.update_after.is_some()),
            ] {
                if is_written {
                    let message = format!("`{name}` has `{field}`, which only services of kind `bot` have");
                    self.problem(&format!("{path}/{field}"), message, None);
                }
            }
            return IsBot::No;
        }
        // Never the Spark's own user: who has none is not there.
        let user = written.user.as_deref().map(str::trim).filter(|user| !user.is_empty());
        let Some(user) = user else { return IsBot::Absent };
        let user = match UserName::new(user) {
            Ok(user) => user,
            Err(unfit) => {
                self.problem(&format!("{path}/user"), unfit.to_string(), None);
                return IsBot::Absent;
            }
        };
        if written.update_after.is_some() {
            let missing = [
                ("dir", written.dir.is_none()),
                ("branch", written.branch.is_none()),
                ("container", written.container.is_none()),
            ];
            for (field, _) in missing.iter().filter(|(_, is_missing)| *is_missing) {
                let message = format!("`{name}` has `update_after`, but no `{field}`");
                self.problem(&format!("{path}/update_after"), message, None);
            }
            let is_reached = match place {
                Place::Spark(spark) => cluster.sparks.get(spark).is_some_and(|spark| spark.user.is_some()),
                Place::Elsewhere(_) => false,
            };
            if !is_reached {
                let message = format!(
                    "`{name}` has `update_after`, which is done over SSH: it needs a Spark that is reached so"
                );
                self.problem(&format!("{path}/update_after"), message, None);
            }
        }
        IsBot::Bot(Bot {
            user,
            dir: written.dir.clone(),
            branch: written.branch.as_ref().map(|branch| branch.0.as_str().into()),
            update_after: written.update_after.map(|time| time.0),
        })
    }

    /// A further slot on that Spark.
    fn slot(
        &mut self,
        name: &ServiceName,
        written: &v1::WrittenService,
        model: &str,
        spark: &SparkName,
        models: &BTreeMap<ModelName, Model>,
        launcher: Option<&Launcher>,
    ) -> Option<Slot> {
        let path = format!("services/{name}");
        let wanted = self.wanted(&format!("{path}/model"), Some(model), models);
        if let WantedModel::Model(name) = &wanted
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
        if let (Some(launcher), WantedModel::Model(name)) = (&launcher, &wanted) {
            let model = &models[name];
            let method = &model.launcher.as_ref().unwrap_or(launcher).how;
            if Start::new(&model.source, method).is_err() {
                let source = model.source.name();
                let message = format!("this launcher cannot start `{name}`, which is `{source}`");
                self.problem(&format!("{path}/launcher"), message, None);
            }
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
            restart_after: written.restart_after.map(|time| time.0),
            suspend: written.suspend.unwrap_or(false),
            sparks: [spark.clone()].into(),
        })
    }
}

enum IsBot {
    No,
    /// It has no user: nobody is shown or asked anything of it.
    Absent,
    Bot(Bot),
}

fn watched(written: &v1::WrittenService, place: Place, bot: Option<Bot>) -> Service {
    let kind = match written.kind {
        v1::WrittenServiceKind::Vllm => ServiceKind::Vllm,
        v1::WrittenServiceKind::Asr => ServiceKind::Asr,
        v1::WrittenServiceKind::Diarization => ServiceKind::Diarization,
        v1::WrittenServiceKind::Tts => ServiceKind::Tts,
        v1::WrittenServiceKind::Embeddings => ServiceKind::Embeddings,
        v1::WrittenServiceKind::Rerank => ServiceKind::Rerank,
        v1::WrittenServiceKind::Qdrant => ServiceKind::Qdrant,
        v1::WrittenServiceKind::RedactionNer => ServiceKind::RedactionNer,
        v1::WrittenServiceKind::Bot => ServiceKind::Bot,
        v1::WrittenServiceKind::Http => ServiceKind::Http,
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
            v1::WrittenServiceState::Running => ServiceState::Running,
            v1::WrittenServiceState::Stopped => ServiceState::Stopped,
        }),
        suspend: written.suspend.unwrap_or(false),
        restart_after: written.restart_after.map(|time| time.0),
        bot,
    }
}
