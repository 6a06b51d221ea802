//! When an endpoint was up: what was seen of it every few seconds, as spells.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::model::observed::{CheckResult, EndpointAnswer};

/// Longer without a look, and nobody knows what was in between. A look at silent Sparks takes most of a minute.
pub const GAP: SignedDuration = SignedDuration::from_secs(90);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndpointLink {
    Up,
    /// It refuses, says that it is dead, or answers with something else.
    Down,
    /// It did not answer at all: the way to it may be what is broken.
    Silent,
}

impl EndpointLink {
    pub fn of(answer: &EndpointAnswer) -> Self {
        match answer {
            // It was excused for a look or two.
            EndpointAnswer::Up(service) if service.missed > 0 => Self::Silent,
            EndpointAnswer::Engine(engine) if engine.missed > 0 => Self::Silent,
            EndpointAnswer::Up(service) if matches!(service.proof, CheckResult::Failed { .. }) => Self::Down,
            EndpointAnswer::Up(_) => Self::Up,
            EndpointAnswer::Engine(engine) if !engine.healthy => Self::Down,
            EndpointAnswer::Engine(_) => Self::Up,
            EndpointAnswer::Refused | EndpointAnswer::Wrong { .. } => Self::Down,
            EndpointAnswer::Silent { .. } => Self::Silent,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Silent => "silent",
        }
    }
}

/// A time in which every look saw the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UptimeInterval {
    pub link: EndpointLink,
    pub since: Timestamp,
    /// When it was seen last.
    pub until: Timestamp,
}

impl UptimeInterval {
    pub fn secs(&self) -> u64 {
        u64::try_from(self.until.duration_since(self.since).as_secs()).unwrap_or(0)
    }
}

/// What a look makes of the last spell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UptimeChange {
    /// It goes on until now.
    GoesOn(UptimeInterval),
    /// It was another until now, and this one begins.
    Turns { ended: UptimeInterval, begins: UptimeInterval },
    /// There was none, or nobody looked for too long to know.
    Begins(UptimeInterval),
}

/// How often it stopped being up. What first refuses and then falls silent is one outage.
pub fn outages(spells: &[UptimeInterval]) -> usize {
    let begins = (0..spells.len()).filter(|&at| {
        spells[at].link != EndpointLink::Up && (at == 0 || spells[at - 1].link == EndpointLink::Up)
    });
    begins.count()
}

/// A clock that was set back begins a spell of its own.
pub fn look(last: Option<UptimeInterval>, link: EndpointLink, now: Timestamp) -> UptimeChange {
    let begins = UptimeInterval { link, since: now, until: now };
    let known =
        last.filter(|last| (last.until..=last.until.saturating_add(GAP).unwrap_or(now)).contains(&now));
    match known {
        None => UptimeChange::Begins(begins),
        Some(last) if last.link == link => UptimeChange::GoesOn(UptimeInterval { until: now, ..last }),
        // Until the look that saw something else, it was as it was seen.
        Some(last) => UptimeChange::Turns { ended: UptimeInterval { until: now, ..last }, begins },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, an hour in which nobody looked would be told as an hour of service, or of outage.
    #[test]
    fn a_spell_goes_on_only_while_somebody_looks() {
        let noon: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let at = |secs: i64| noon.checked_add(SignedDuration::from_secs(secs)).unwrap();
        let spell = |link, since, until| UptimeInterval { link, since: at(since), until: at(until) };
        let up = spell(EndpointLink::Up, 0, 60);
        assert_eq!(look(None, EndpointLink::Up, at(0)), UptimeChange::Begins(spell(EndpointLink::Up, 0, 0)));
        assert_eq!(
            look(Some(up), EndpointLink::Up, at(65)),
            UptimeChange::GoesOn(spell(EndpointLink::Up, 0, 65))
        );
        assert_eq!(
            look(Some(up), EndpointLink::Up, at(150)),
            UptimeChange::GoesOn(spell(EndpointLink::Up, 0, 150))
        );
        assert_eq!(
            look(Some(up), EndpointLink::Up, at(151)),
            UptimeChange::Begins(spell(EndpointLink::Up, 151, 151))
        );
        assert_eq!(
            look(Some(up), EndpointLink::Up, at(59)),
            UptimeChange::Begins(spell(EndpointLink::Up, 59, 59))
        );
        let turn = UptimeChange::Turns {
            ended: spell(EndpointLink::Up, 0, 65),
            begins: spell(EndpointLink::Down, 65, 65),
        };
        assert_eq!(look(Some(up), EndpointLink::Down, at(65)), turn);
        assert_eq!(up.secs(), 60);
    }

    #[test]
    fn what_refuses_and_then_falls_silent_is_one_outage() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        for (links, expected) in [
            (&[][..], 0),
            (&[EndpointLink::Up], 0),
            (&[EndpointLink::Down], 1),
            (
                &[
                    EndpointLink::Up,
                    EndpointLink::Down,
                    EndpointLink::Silent,
                    EndpointLink::Down,
                    EndpointLink::Up,
                ],
                1,
            ),
            (
                &[
                    EndpointLink::Silent,
                    EndpointLink::Up,
                    EndpointLink::Down,
                    EndpointLink::Up,
                    EndpointLink::Silent,
                ],
                3,
            ),
        ] {
            let spells: Vec<UptimeInterval> =
                links.iter().map(|link| UptimeInterval { link: *link, since: now, until: now }).collect();
            assert_eq!(outages(&spells), expected, "{links:?}");
        }
    }
}
