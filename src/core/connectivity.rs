//! When an endpoint was up: what was seen of it every few seconds, as spells.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::observed::{EndpointAnswer, Proof};

/// Longer without a look, and nobody knows what was in between. A look at silent Sparks takes most of a minute.
pub const GAP: SignedDuration = SignedDuration::from_secs(90);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    Up,
    /// It refuses, says that it is dead, or answers with something else.
    Down,
    /// It did not answer at all: the way to it may be what is broken.
    Silent,
}

impl Link {
    pub fn of(answer: &EndpointAnswer) -> Self {
        match answer {
            // It was excused for a look or two.
            EndpointAnswer::Up(service) if service.missed > 0 => Self::Silent,
            EndpointAnswer::Engine(engine) if engine.missed > 0 => Self::Silent,
            EndpointAnswer::Up(service) if matches!(service.proof, Proof::Failed { .. }) => Self::Down,
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
pub struct Spell {
    pub link: Link,
    pub since: Timestamp,
    /// When it was seen last.
    pub until: Timestamp,
}

impl Spell {
    pub fn secs(&self) -> u64 {
        u64::try_from(self.until.duration_since(self.since).as_secs()).unwrap_or(0)
    }
}

/// What a look makes of the last spell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It goes on until now.
    GoesOn(Spell),
    /// It was another until now, and this one begins.
    Turns { ended: Spell, begins: Spell },
    /// There was none, or nobody looked for too long to know.
    Begins(Spell),
}

/// How often it stopped being up. What first refuses and then falls silent is one outage.
pub fn outages(spells: &[Spell]) -> usize {
    let begins = |at: &usize| *at == 0 || spells[at - 1].link == Link::Up;
    (0..spells.len()).filter(|at| spells[*at].link != Link::Up && begins(at)).count()
}

/// A clock that was set back begins a spell of its own.
pub fn look(last: Option<Spell>, link: Link, now: Timestamp) -> Look {
    let begins = Spell { link, since: now, until: now };
    let known =
        last.filter(|last| (last.until..=last.until.saturating_add(GAP).unwrap_or(now)).contains(&now));
    match known {
        None => Look::Begins(begins),
        Some(last) if last.link == link => Look::GoesOn(Spell { until: now, ..last }),
        // Until the look that saw something else, it was as it was seen.
        Some(last) => Look::Turns { ended: Spell { until: now, ..last }, begins },
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
        let spell = |link, since, until| Spell { link, since: at(since), until: at(until) };
        let up = spell(Link::Up, 0, 60);
        assert_eq!(look(None, Link::Up, at(0)), Look::Begins(spell(Link::Up, 0, 0)));
        assert_eq!(look(Some(up), Link::Up, at(65)), Look::GoesOn(spell(Link::Up, 0, 65)));
        assert_eq!(look(Some(up), Link::Up, at(150)), Look::GoesOn(spell(Link::Up, 0, 150)));
        assert_eq!(look(Some(up), Link::Up, at(151)), Look::Begins(spell(Link::Up, 151, 151)));
        assert_eq!(look(Some(up), Link::Up, at(59)), Look::Begins(spell(Link::Up, 59, 59)));
        let turn = Look::Turns { ended: spell(Link::Up, 0, 65), begins: spell(Link::Down, 65, 65) };
        assert_eq!(look(Some(up), Link::Down, at(65)), turn);
        assert_eq!(up.secs(), 60);
    }

    #[test]
    fn what_refuses_and_then_falls_silent_is_one_outage() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        for (links, expected) in [
            (&[][..], 0),
            (&[Link::Up], 0),
            (&[Link::Down], 1),
            (&[Link::Up, Link::Down, Link::Silent, Link::Down, Link::Up], 1),
            (&[Link::Silent, Link::Up, Link::Down, Link::Up, Link::Silent], 3),
        ] {
            let spells: Vec<Spell> =
                links.iter().map(|link| Spell { link: *link, since: now, until: now }).collect();
            assert_eq!(outages(&spells), expected, "{links:?}");
        }
    }
}
