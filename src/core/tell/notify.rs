//! What is told to people who are not looking: one message for each change of a condition, not one for each round.
//!
//! `news` compares what is with what was told; the ledger keeps that, the store sends it on.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::core::{
    decide::{
        drift::{Drift, DriftClass},
        schedule,
    },
    model::{
        desired::{Desired, NotificationTopic, WantedModel},
        launch::{FailedAttempts, Launch, LaunchState},
        ledger::Ledger,
        name::ModelName,
        object::Object,
        plan::{Plan, Verdict},
        reason::{Concern, Reason},
        spec_hash::SpecHash,
        status_line::StatusLine,
        told::{Notified, NotifiedConditions},
    },
};

/// What differs for a moment, while something is being done about it, is no news.
const DRIFT_AFTER: SignedDuration = SignedDuration::from_mins(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationEvent {
    SwapStarted,
    SwapFinished,
    SwapFailed,
    FellBack,
    /// Something waits for a person.
    Stalled,
    /// It does not any more.
    StalledEnded,
    Drift,
    DriftEnded,
    HoldExpired,
}

impl NotificationEvent {
    pub fn topic(self) -> NotificationTopic {
        match self {
            Self::SwapStarted | Self::SwapFinished | Self::SwapFailed | Self::FellBack => {
                NotificationTopic::Swap
            }
            Self::Stalled | Self::StalledEnded => NotificationTopic::Stalled,
            Self::Drift | Self::DriftEnded => NotificationTopic::Drift,
            Self::HoldExpired => NotificationTopic::Hold,
        }
    }

    /// As the message has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::SwapStarted => "swap_started",
            Self::SwapFinished => "swap_finished",
            Self::SwapFailed => "swap_failed",
            Self::FellBack => "fell_back",
            Self::Stalled => "stalled",
            Self::StalledEnded => "stalled_ended",
            Self::Drift => "drift",
            Self::DriftEnded => "drift_ended",
            Self::HoldExpired => "hold_expired",
        }
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    pub event: NotificationEvent,
    /// A slot, a service, a Spark or a hold.
    pub about: String,
    pub message: String,
}

/// What is new since `ledger.told`, and what has been told with it.
pub fn news(
    desired: &Desired,
    ledger: &Ledger,
    plan: &Plan,
    lines: &[StatusLine],
    drift: &[Drift],
    busy: &BTreeSet<Object>,
    now: Timestamp,
) -> (Vec<Notification>, NotifiedConditions) {
    let unsure = unsure(desired, ledger, plan, lines, drift, busy);
    let mut desk = NotificationBuilder {
        before: &ledger.told,
        told: NotifiedConditions::new(),
        news: Vec::new(),
        unsure,
        now,
    };
    for (object, launch) in ledger.launches() {
        let Some(slot) = desired.slots.get(object) else { continue };
        if let WantedModel::Model(wanted) = schedule::wanted(object, slot, desired, now) {
            desk.swap(object, launch, &wanted, ledger, plan);
        }
    }
    for work in &plan.work {
        if let Verdict::Blocked { reason, message } = &work.verdict
            && needs_a_person(*reason)
            && !busy.contains(&work.object)
        {
            desk.lasts(
                NotificationEvent::Stalled,
                work.object.as_str(),
                reason.name(),
                message,
                SignedDuration::ZERO,
            );
        }
    }
    // What the plan does nothing about, and what somebody holds: it may be down all the same.
    for line in lines.iter().filter(|line| line.concern == Concern::NeedsYou && !busy.contains(&line.object))
    {
        let message = if line.message.is_empty() { line.observed.clone() } else { line.message.clone() };
        let is = format!("{:?}", line.health);
        desk.lasts(NotificationEvent::Stalled, line.object.as_str(), &is, &message, DRIFT_AFTER);
    }
    for one in drift.iter().filter(|one| !one.class.is_report_only()) {
        let about = one.object.as_ref().map(Object::as_str).or(one.spark.as_ref().map(AsRef::as_ref));
        let is_swapping = one
            .object
            .as_ref()
            .is_some_and(|object| ledger.is_loading(object) || ledger.is_past_stop(object));
        let message = format!("{} instead of {}; {}", one.observed, one.desired, one.response);
        // Of what cannot be seen, what was told stands.
        let is_unknown = one.class == DriftClass::Unknown;
        let stands = about.is_some_and(|about| is_unknown && desk.was_told(NotificationEvent::Drift, about));
        if let Some(about) = about.filter(|_| !is_swapping && !stands) {
            desk.lasts(NotificationEvent::Drift, about, one.class.name(), &message, DRIFT_AFTER);
        }
    }
    for (name, hold) in &desired.holds {
        desk.hold(name.as_str(), hold.until, &hold.owner);
    }
    desk.ended();
    (desk.news, desk.told)
}

/// Of these it is not known what is: something is being done, or they could not be seen. What was told of them stands.
fn unsure(
    desired: &Desired,
    ledger: &Ledger,
    plan: &Plan,
    lines: &[StatusLine],
    drift: &[Drift],
    busy: &BTreeSet<Object>,
) -> BTreeSet<String> {
    let unseen = plan.work.iter().filter(|work| work.concern() == Concern::OutOfSight);
    let unseen = unseen.map(|work| &work.object);
    let out_of_sight = lines.iter().filter(|line| line.concern == Concern::OutOfSight);
    let unseen = unseen.chain(out_of_sight.map(|line| &line.object));
    let unknown =
        drift.iter().filter(|one| one.class == DriftClass::Unknown).filter_map(|one| one.object.as_ref());
    let swapping =
        desired.slots.keys().filter(|object| ledger.is_loading(object) || ledger.is_past_stop(object));
    let all = busy.iter().chain(unseen).chain(unknown).chain(swapping);
    all.map(ToString::to_string).collect()
}

/// What passes by itself, or was asked for, is not worth waking anybody.
fn needs_a_person(reason: Reason) -> bool {
    match reason.concern() {
        Concern::NeedsYou | Concern::AsksForApproval => true,
        Concern::Fine | Concern::Passing | Concern::AsWished | Concern::OutOfSight => false,
    }
}

struct NotificationBuilder<'a> {
    before: &'a NotifiedConditions,
    told: NotifiedConditions,
    news: Vec<Notification>,
    /// Of whom it is not known what is.
    unsure: BTreeSet<String>,
    now: Timestamp,
}

impl NotificationBuilder<'_> {
    fn say(&mut self, event: NotificationEvent, about: &str, message: String) {
        self.news.push(Notification { event, about: about.to_owned(), message });
    }

    /// Remember what is, with the time since which it is so.
    fn is(&mut self, key: String, is: String, told: bool) {
        let since =
            self.before.get(&key).filter(|before| before.is == is).map_or(self.now, |before| before.since);
        self.told.insert(key, Notified { is, since, told });
    }

    /// A swap begins with the stop, or with the launch when nothing served.
    fn swap(
        &mut self,
        object: &Object,
        launch: &Launch,
        wanted_model: &ModelName,
        ledger: &Ledger,
        plan: &Plan,
    ) {
        let key = format!("swap {object}");
        let before = self.before.get(&key).map(|before| before.is.as_str());
        let was_swapping = before.is_some_and(|before| before.starts_with("swapping"));
        let (model, job) = (&launch.group.model, launch.token.job());
        let wanted = plan.of(object).and_then(|work| work.wanted.as_ref());
        let is = match &launch.state {
            LaunchState::Stopped { .. } if ledger.is_past_stop(object) => {
                if !was_swapping {
                    self.say(
                        NotificationEvent::SwapStarted,
                        object.as_str(),
                        format!("`{model}` is stopped for `{wanted_model}`"),
                    );
                }
                "swapping".to_owned()
            }
            LaunchState::Loading => {
                let is = format!("swapping {job}");
                match gave_way(object, &launch.group.spec, wanted, ledger) {
                    Some(why) if before != Some(is.as_str()) => {
                        let message = format!("going back to `{model}`: {why}");
                        self.say(NotificationEvent::FellBack, object.as_str(), message);
                    }
                    None if !was_swapping => {
                        self.say(
                            NotificationEvent::SwapStarted,
                            object.as_str(),
                            format!("`{model}` is being started"),
                        );
                    }
                    _ => {}
                }
                is
            }
            LaunchState::Serving { .. } => {
                if was_swapping {
                    self.say(NotificationEvent::SwapFinished, object.as_str(), format!("`{model}` serves"));
                }
                "serving".to_owned()
            }
            LaunchState::Failed { in_load: true, .. } => {
                let is = format!("failed {job}");
                if before != Some(is.as_str()) {
                    let why = ledger
                        .attempts(object, &launch.group.spec)
                        .map(|attempts| attempts.last.what.as_str());
                    let message =
                        format!("`{model}` failed: {}", why.unwrap_or("its cause is not known any more"));
                    self.say(NotificationEvent::SwapFailed, object.as_str(), message);
                }
                is
            }
            LaunchState::Failed { .. } | LaunchState::Stopped { .. } | LaunchState::Unseen { .. } => {
                "idle".to_owned()
            }
        };
        self.is(key, is, true);
    }

    fn was_told(&self, event: NotificationEvent, about: &str) -> bool {
        self.before.get(&format!("{} {about}", event.name())).is_some_and(|before| before.told)
    }

    /// Told once it has lasted for so long, and again when it is of another kind.
    fn lasts(
        &mut self,
        event: NotificationEvent,
        about: &str,
        is: &str,
        message: &str,
        after: SignedDuration,
    ) {
        let key = format!("{} {about}", event.name());
        // The first of several differences of one object.
        if self.told.contains_key(&key) {
            return;
        }
        let same = self.before.get(&key).filter(|before| before.is == is);
        let since = same.map_or(self.now, |before| before.since);
        let mut told = same.is_some_and(|before| before.told);
        if !told && self.now.duration_since(since) >= after {
            self.say(event, about, message.to_owned());
            told = true;
        }
        self.is(key, is.to_owned(), told);
    }

    /// One that was seen in force, and is not any more.
    fn hold(&mut self, name: &str, until: Option<Timestamp>, owner: &str) {
        let key = format!("hold {name}");
        let expired = until.is_some_and(|until| until <= self.now);
        if !expired {
            self.is(key, "in force".into(), true);
        } else if self.before.contains_key(&key) {
            self.say(
                NotificationEvent::HoldExpired,
                name,
                format!("the hold `{name}` of {owner} has expired"),
            );
        }
    }

    /// What was told and is not so any more.
    fn ended(&mut self) {
        let stands = self.before.iter().filter(|(key, _)| {
            let about = key.split_once(' ').map(|(_, about)| about);
            about.is_some_and(|about| self.unsure.contains(about)) && !self.told.contains_key(*key)
        });
        let stands: Vec<_> = stands.map(|(key, before)| (key.clone(), before.clone())).collect();
        self.told.extend(stands);
        let gone: Vec<(NotificationEvent, String)> = self
            .before
            .iter()
            .filter(|(key, before)| before.told && !self.told.contains_key(*key))
            .filter_map(|(key, _)| {
                let (topic, about) = key.split_once(' ')?;
                let event = match topic {
                    "stalled" => NotificationEvent::StalledEnded,
                    "drift" => NotificationEvent::DriftEnded,
                    _ => return None,
                };
                Some((event, about.to_owned()))
            })
            .collect();
        for (event, about) in gone {
            let message = match event {
                NotificationEvent::StalledEnded => "nothing waits for a person any more",
                _ => "it is as the file says again",
            };
            self.say(event, &about, message.into());
        }
    }
}

/// Why the wanted model gave way to this one, when it did.
fn gave_way<'a>(
    object: &Object,
    spec: &SpecHash,
    wanted: Option<&SpecHash>,
    ledger: &'a Ledger,
) -> Option<&'a str> {
    let wanted = wanted.filter(|wanted| *wanted != spec)?;
    let attempts = ledger.attempts(object, wanted).filter(|attempts| FailedAttempts::is_spent(attempts))?;
    Some(&attempts.last.what)
}
