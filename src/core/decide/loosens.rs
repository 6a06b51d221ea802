//! What an edit loosens: what protects the Sparks, their owner's secrets and other people's work, and is therefore for who may agree to
//! plans, not for everybody who may edit. The policy before the edit judges it.
//!
//! Every struct of [`Desired`] is taken apart by name: a new field does not compile until it is classed here. What an edit may do
//! besides is much: it starts containers on the Sparks with what the file says, which is as good as a login there.

use std::collections::BTreeMap;

use crate::core::model::desired::{
    Desired, EnvValue, Hold, Model, OnDrift, OnEdit, Policy, Secret, Service, Slot, Spark, WebhookTarget,
};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loosened {
    /// Where it stands in the file, as a JSON pointer.
    pub place: String,
    pub what: String,
}

impl std::fmt::Display for Loosened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` {}", self.place, self.what)
    }
}

/// What `after` loosens of `before`. `is_allowed`: places of secrets that whoever may edit may name.
pub fn loosens(before: &Desired, after: &Desired, is_allowed: &dyn Fn(&Secret) -> bool) -> Vec<Loosened> {
    let mut found = LooseningCollector { loosened: Vec::new(), is_allowed };
    let Desired {
        // What it is called, which model it serves, what runs beside it and when, is what edits are for.
        cluster: _,
        disabled: _,
        schedule: _,
        sparks,
        slots,
        models,
        services,
        policy,
        holds,
        notify,
    } = after;
    found.policy(&before.policy, policy);
    for (name, spark) in sparks {
        if let Some(old) = before.sparks.get(name) {
            found.spark(&format!("/sparks/{name}"), old, spark);
        }
    }
    for (name, slot) in slots {
        let place = if *name == crate::core::model::object::Object::main() {
            "/vllm".to_owned()
        } else {
            format!("/services/{name}")
        };
        let same = before.slots.get(name).is_some_and(|old| is_same_slot(old, slot));
        found.secrets(&place, same, secrets_of_slot(slot));
    }
    for (name, model) in models {
        let same = before.models.get(name) == Some(model);
        found.secrets(&format!("/models/{name}"), same, secrets_of_model(model));
    }
    for (name, service) in services {
        let same = before.services.get(name).is_some_and(|old| is_same_service(old, service));
        found.secrets(&format!("/services/{name}"), same, service.api_key.iter());
    }
    for (name, target) in notify {
        let WebhookTarget { url, secret, topics: _ } = target;
        let same = before.notify.get(name) == Some(target);
        found.secrets(&format!("/notify/{name}"), same, url.secret().into_iter().chain(secret));
    }
    found.holds(&before.holds, holds);
    found.loosened
}

struct LooseningCollector<'a> {
    loosened: Vec<Loosened>,
    is_allowed: &'a dyn Fn(&Secret) -> bool,
}

impl LooseningCollector<'_> {
    fn push(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.loosened.push(Loosened { place: place.into(), what: what.into() });
    }

    fn policy(&mut self, before: &Policy, after: &Policy) {
        // How often is looked, and whether anything is done at all, decides nothing about agreement.
        let Policy { on_edit, on_drift, interval: _, suspend: _ } = after;
        if (before.on_edit, *on_edit) == (OnEdit::Approve, OnEdit::Apply) {
            self.push("/reconcile/on_edit", "would let edits act without anybody's agreement");
        }
        if freedom(*on_drift) > freedom(before.on_drift) {
            self.push(
                "/reconcile/on_drift",
                "would let more be done about drift without anybody's agreement",
            );
        }
    }

    fn spark(&mut self, place: &str, before: &Spark, after: &Spark) {
        // Where it is and how it is reached is told by its host key, which an edit cannot pin.
        let Spark {
            address: _,
            reach: _,
            docker_socket: _,
            hf_home: _,
            fabric: _,
            drop_caches: _,
            floor_bytes,
        } = after;
        if *floor_bytes < before.floor_bytes {
            self.push(format!("{place}/floor_gib"), "would let a model take memory that is kept free");
        }
    }

    /// An entry that names a place of secrets which only some may name. One that is as it was works as it did.
    fn secrets<'s>(&mut self, place: &str, is_same: bool, secrets: impl Iterator<Item = &'s Secret>) {
        if is_same {
            return;
        }
        for secret in secrets {
            if !(self.is_allowed)(secret) {
                self.push(
                    place,
                    format!("names the secret at `{secret}`, which is no place that edits may name"),
                );
            }
        }
    }

    fn holds(
        &mut self,
        before: &BTreeMap<crate::core::model::name::HoldName, Hold>,
        after: &BTreeMap<crate::core::model::name::HoldName, Hold>,
    ) {
        for (name, old) in before {
            let Hold { object, until, owner, reason: _ } = old;
            let place = format!("/holds/{name}");
            match after.get(name) {
                None => self.push(place, format!("is the hold of {owner}, who releases it")),
                Some(new) if new.owner != *owner => {
                    self.push(place, format!("is the hold of {owner}, and would be another's"))
                }
                Some(new) if new.object != *object => {
                    self.push(place, format!("is the hold of {owner} on `{object}`"))
                }
                // Without an end is longest.
                Some(new) if new.until.is_some() && until.is_none_or(|until| new.until < Some(until)) => {
                    self.push(place, format!("is the hold of {owner}, and would end earlier"));
                }
                Some(_) => {}
            }
        }
    }
}

/// How much is done about drift without anybody's agreement.
fn freedom(on_drift: OnDrift) -> u8 {
    match on_drift {
        OnDrift::Report => 0,
        OnDrift::Approve => 1,
        OnDrift::Repair => 2,
        OnDrift::Apply => 3,
    }
}

fn secrets_of_slot(slot: &Slot) -> impl Iterator<Item = &Secret> {
    let Slot {
        env,
        api_key,
        wanted: _,
        container: _,
        port: _,
        master_port: _,
        launcher: _,
        on_failure: _,
        drain: _,
        load_deadline: _,
        restart_after: _,
        suspend: _,
        sparks: _,
    } = slot;
    env.values().filter_map(EnvValue::secret).chain(api_key)
}

/// Another model in it is what edits are for.
fn is_same_slot(before: &Slot, after: &Slot) -> bool {
    let Slot { wanted, suspend, restart_after, .. } = after.clone();
    *after == Slot { wanted, suspend, restart_after, ..before.clone() }
}

fn secrets_of_model(model: &Model) -> impl Iterator<Item = &Secret> {
    let Model {
        env,
        source: _,
        sparks: _,
        served_as: _,
        args: _,
        port: _,
        launcher: _,
        image: _,
        chat_template: _,
        mods: _,
        memory_bytes: _,
        weights: _,
        suspend: _,
    } = model;
    env.values().filter_map(EnvValue::secret)
}

/// Starting, stopping and restarting it is what edits are for; where it is asked, and with which key, is not.
fn is_same_service(before: &Service, after: &Service) -> bool {
    let Service {
        kind,
        place,
        port,
        https,
        path,
        container,
        api_key,
        state: _,
        suspend: _,
        restart_after: _,
        bot: _,
    } = after;
    (kind, place, port, https, path, container, api_key)
        == (
            &before.kind,
            &before.place,
            &before.port,
            &before.https,
            &before.path,
            &before.container,
            &before.api_key,
        )
}
