//! News to those who are not looking: written into the store with the ledger that knows it, sent until it arrives.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::future::join_all;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sha2::{Digest, Sha256};
use tracing::{error, warn};

use super::{Controller, Snapshot};
use crate::{
    apply,
    core::{
        model::{
            desired::{Desired, EnvValue, WebhookTarget},
            event_kind::EventKind,
            object::Object,
            plan::Plan,
            spec_hash::hex,
        },
        tell::notify::{self, Notification},
    },
    probe::http::{HttpRequest, NoAnswer, RequestBody},
    store::{LONGEST_PAUSE, OutboxMessage, StoreError},
};

const DEADLINE: Duration = Duration::from_secs(10);
/// A retry that is due is found by then.
const EVERY: Duration = Duration::from_secs(5);
/// Between tries: twice as long each time, and never longer than `LONGEST_PAUSE`.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(5);
/// The last of them is about seven hours after the first.
const TRIES: u32 = 16;
const AT_ONCE: u32 = 50;

impl Controller {
    /// Write what is new into the outbox.
    pub(super) fn take_news(
        &self,
        desired: &Desired,
        revision: u64,
        plan: &Plan,
        seen: &Snapshot,
        busy: &BTreeSet<Object>,
    ) -> Result<(), StoreError> {
        let now = (self.world.now)();
        let mut state = self.state();
        let state = &mut *state;
        if desired.notify.is_empty() {
            state.ledger.told.clear();
            return Ok(());
        }
        let (news, told) = notify::news(desired, &state.ledger, plan, &seen.status, &seen.drift, busy, now);
        if told == state.ledger.told {
            return Ok(());
        }
        let letters = news.iter().flat_map(|one| {
            let body = body(desired, revision, one, now);
            let wanted =
                desired.notify.iter().filter(|(_, target)| target.topics.contains(&one.event.topic()));
            wanted.map(move |(name, _)| (name.to_string(), body.clone()))
        });
        let letters: Vec<(String, String)> = letters.collect();
        state.ledger.told = told;
        let is_news = !letters.is_empty();
        state.store.post(letters, &state.ledger, now)?;
        if is_news {
            self.posted.notify_one();
        }
        Ok(())
    }

    /// Send what is due, again and again.
    pub async fn deliver(&self) {
        loop {
            if let Err(error) = self.deliver_due().await {
                error!("the outbox: {error}");
            }
            tokio::select! {
                () = self.posted.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Send what is due, in order for each target; one that does not answer holds up no other.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn deliver_due(&self) -> Result<(), StoreError> {
        let (letters, desired) = {
            let state = self.state();
            let Some(current) = &state.current else { return Ok(()) };
            (state.store.due((self.world.now)(), AT_ONCE)?, current.desired.clone())
        };
        let mut by_target: BTreeMap<&str, Vec<&OutboxMessage>> = BTreeMap::new();
        for letter in &letters {
            by_target.entry(&letter.target).or_default().push(letter);
        }
        let sending = by_target.into_iter().map(|(name, letters)| {
            let target = desired.notify.iter().find(|(known, _)| known.as_str() == name);
            self.deliver_to(name, target.map(|(_, target)| target), letters)
        });
        join_all(sending).await.into_iter().collect()
    }

    async fn deliver_to(
        &self,
        name: &str,
        target: Option<&WebhookTarget>,
        letters: Vec<&OutboxMessage>,
    ) -> Result<(), StoreError> {
        for letter in letters {
            let Some(target) = target else {
                // Nobody wants it any more.
                self.state().store.forget_letter(letter.number)?;
                continue;
            };
            let Err(why) = self.send(target, &letter.body).await else {
                self.state().store.forget_letter(letter.number)?;
                continue;
            };
            let now = (self.world.now)();
            let tries = letter.tries + 1;
            let state = self.state();
            if tries >= TRIES {
                let message = format!("a message was given up after {tries} tries: {why}");
                warn!(target = name, "{message}");
                state.store.add_event(EventKind::Notify, name, &message, now)?;
                state.store.forget_letter(letter.number)?;
                continue;
            }
            if letter.tries == 0 {
                warn!(target = name, "a message could not be delivered, and is tried again: {why}");
            }
            let again = now.saturating_add(pause(letter.tries)).expect("a duration, not a calendar span");
            state.store.put_off(letter.number, tries, again)?;
            return Ok(());
        }
        Ok(())
    }

    async fn send(&self, target: &WebhookTarget, body: &str) -> Result<(), String> {
        let url = match &target.url {
            EnvValue::Plain(url) => url.clone(),
            EnvValue::Secret(place) => apply::secret(place)?,
        };
        let signature = match &target.secret {
            Some(place) => Some(("x-spark-control-signature", signature(&apply::secret(place)?, body))),
            None => None,
        };
        let request = HttpRequest {
            url,
            body: RequestBody::Bytes { kind: "application/json".into(), bytes: body.as_bytes().to_vec() },
            api_key: None,
            headers: signature.into_iter().collect(),
            deadline: DEADLINE,
        };
        match self.world.http.send(request).await {
            Ok((200..=299, _)) => Ok(()),
            Ok((status, _)) => Err(format!("it answered {status}")),
            Err(NoAnswer::Refused) => Err("the connection was refused".into()),
            Err(NoAnswer::Silent(why)) => Err(why),
        }
    }

    /// What waits to be sent, for the tests that read it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn letters(&self) -> Result<Vec<OutboxMessage>, StoreError> {
        self.state().store.due(Timestamp::MAX, u32::MAX)
    }
}

/// Who gets one twice, because its answer was lost, knows it by its `id`.
fn body(desired: &Desired, revision: u64, news: &Notification, now: Timestamp) -> String {
    let Notification { event, about, message } = news;
    let at = format!("{now:.3}");
    let id = Sha256::digest(format!("{} {at} {} {about} {message}", desired.cluster, event.name()));
    json!({
        "id": hex(&id[..8]),
        "at": at,
        "cluster": desired.cluster,
        "event": event,
        "object": about,
        "message": message,
        "revision": revision,
    })
    .to_string()
}

/// `sha256=` and the HMAC-SHA256 of the body in lower-case hex, as hooks of code hosts have it.
fn signature(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(body.as_bytes());
    format!("sha256={}", hex(&mac.finalize().into_bytes()))
}

fn pause(tries: u32) -> SignedDuration {
    FIRST_PAUSE.checked_mul(1 << tries.min(16)).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn a_message_is_signed_as_the_standard_says() {
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature("Jefe", "what do ya want for nothing?"), expected);
    }

    #[test]
    fn pauses_grow_and_end() {
        let all: i64 = (0..TRIES - 1).map(|tries| pause(tries).as_secs()).sum();
        assert_eq!([0, 1, 9, 10, 15].map(|tries| pause(tries).as_secs()), [5, 10, 2560, 3600, 3600]);
        assert!((6 * 3600..8 * 3600).contains(&all), "{all}");
    }
}
