//! Which model, when.

use std::{collections::BTreeSet, ops::Bound};

use jiff::{SignedDuration, Timestamp, civil};

use super::consent;
use crate::core::model::{
    desired::{Desired, Slot, WantedModel, Window},
    name::{HoldName, SparkName, WindowName},
    object::Object,
};

/// What the slot should hold now: the window that is open, else what the file says. Only the main slot has windows.
pub fn wanted(object: &Object, slot: &Slot, desired: &Desired, now: Timestamp) -> WantedModel {
    match open(object, desired, now) {
        Some((_, window, _)) => WantedModel::Model(window.model.clone()),
        None => slot.wanted.clone(),
    }
}

/// Where the slot's model is wanted now, head first; where it may stand when none is.
pub fn sparks(object: &Object, slot: &Slot, desired: &Desired, now: Timestamp) -> Vec<SparkName> {
    match wanted(object, slot, desired, now) {
        WantedModel::Model(model) => desired.models[&model].sparks.clone(),
        WantedModel::Watch | WantedModel::Nothing => slot.sparks.iter().cloned().collect(),
    }
}

/// The window of this slot that is open, and when it closes.
pub fn open<'a>(
    object: &Object,
    desired: &'a Desired,
    now: Timestamp,
) -> Option<(&'a WindowName, &'a Window, Timestamp)> {
    if *object != Object::main() {
        return None;
    }
    let opened = desired.schedule.iter();
    let mut opened = opened.filter_map(|(name, window)| Some((name, window, closes(window, now)?)));
    let first = opened.next()?;
    // Where a clock skips the hour of one window, that one falls upon the next: the one whose time it is goes before.
    if is_its_time(first.1, now) {
        return Some(first);
    }
    Some(opened.find(|(_, window, _)| is_its_time(window, now)).unwrap_or(first))
}

/// The clock shows a time between its ends.
fn is_its_time(window: &Window, now: Timestamp) -> bool {
    let time = now.to_zoned(window.zone.clone()).time();
    if window.from < window.to {
        (window.from..window.to).contains(&time)
    } else {
        time >= window.from || time < window.to
    }
}

pub fn is_open(window: &Window, now: Timestamp) -> bool {
    closes(window, now).is_some()
}

/// When the window that is open now closes; `None` when it is not open.
fn closes(window: &Window, now: Timestamp) -> Option<Timestamp> {
    let today = now.to_zoned(window.zone.clone()).date();
    // A clock that is set back may show the day before once more, and a window of yesterday may go on.
    let dates = [today.yesterday().ok(), Some(today), today.tomorrow().ok()];
    let spans = dates.into_iter().flatten().filter_map(|date| span(window, date));
    spans.into_iter().find(|(from, to)| (*from..*to).contains(&now)).map(|(_, to)| to)
}

/// From when to when the window that starts on this day is open; `None` when none does. Days name the start; `to` at or
/// before `from` ends on the next day. A time that a clock skips in spring is as much later as the clock is set forward; one
/// that it shows twice in autumn is the first. A window that would end before it starts is as long as it would be on any day; another
/// one whose time it then is goes before it (`open`).
fn span(window: &Window, date: civil::Date) -> Option<(Timestamp, Timestamp)> {
    if !window.days.contains(&date.weekday().to_monday_one_offset()) {
        return None;
    }
    let end = if window.to <= window.from { date.tomorrow().ok()? } else { date };
    let (from, to) = (moment(window, date, window.from)?, moment(window, end, window.to)?);
    let length = end.to_datetime(window.to).duration_since(date.to_datetime(window.from));
    Some((from, if to > from { to } else { from.checked_add(length).ok()? }))
}

/// When clocks where the window holds show this time of this day.
fn moment(window: &Window, date: civil::Date, time: civil::Time) -> Option<Timestamp> {
    let moment = window.zone.to_ambiguous_zoned(date.to_datetime(time)).compatible().ok()?;
    Some(moment.timestamp())
}

/// When the window opens or closes next, whichever comes first; `None` when its days never come.
pub fn next(window: &Window, now: Timestamp) -> Option<Timestamp> {
    // One of a single day may be a week away.
    edges(window, now, 8).into_iter().find(|moment| *moment > now)
}

/// When it opens and closes, in order, from yesterday to that many days from now.
fn edges(window: &Window, now: Timestamp, days: i64) -> BTreeSet<Timestamp> {
    let today = now.to_zoned(window.zone.clone()).date();
    let dates = (-1..=days).filter_map(|days| today.checked_add(jiff::Span::new().days(days)).ok());
    dates.filter_map(|date| span(window, date)).flat_map(|(from, to)| [from, to]).collect()
}

/// Another model from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelChange {
    pub at: Timestamp,
    pub wanted: WantedModel,
    /// The window that opens; `None` when the file's own `model` applies again.
    pub window: Option<WindowName>,
    /// The hold that will be in force, as far as it is known now: what serves then stays.
    pub held_by: Option<HoldName>,
}

/// When it is open in that many days, in order; one that is open now, too.
pub fn openings(window: &Window, now: Timestamp, days: i64) -> Vec<(Timestamp, Timestamp)> {
    let today = now.to_zoned(window.zone.clone()).date();
    let dates = (-1..=days).filter_map(|days| today.checked_add(jiff::Span::new().days(days)).ok());
    dates.filter_map(|date| span(window, date)).filter(|(_, to)| *to > now).collect()
}

/// How the main slot's model changes in that many days.
pub fn model_changes(desired: &Desired, now: Timestamp, days: i64) -> Vec<ModelChange> {
    let main = Object::main();
    let Some(slot) = desired.slots.get(&main) else { return Vec::new() };
    let until = now.saturating_add(SignedDuration::from_hours(24 * days)).unwrap_or(Timestamp::MAX);
    // Where clocks are set forward, that many days of 24 hours end a date later.
    let edges: BTreeSet<Timestamp> =
        desired.schedule.values().flat_map(|window| edges(window, now, days + 1)).collect();
    let mut before = wanted(&main, slot, desired, now);
    let mut turns = Vec::new();
    for at in edges.range((Bound::Excluded(now), Bound::Included(until))).copied() {
        let then = wanted(&main, slot, desired, at);
        if then == before {
            continue;
        }
        before.clone_from(&then);
        let window = open(&main, desired, at).map(|(name, ..)| name.clone());
        let held_by = consent::hold(&main, desired, at).map(|(name, _)| name.clone());
        turns.push(ModelChange { at, wanted: then, window, held_by });
    }
    turns
}

const DAY: i32 = 24 * 60;
const WEEK: i32 = 7 * DAY;

/// Whether there is a minute in which both are open. Windows of different zones are compared over a year from `now`: what they
/// are apart changes with the season.
pub fn overlap(one: &Window, other: &Window, now: Timestamp) -> bool {
    if one.zone != other.zone {
        let (one, other) = (spans(one, now), spans(other, now));
        let mut others = other.iter().peekable();
        return one.iter().any(|(from, to)| {
            while others.next_if(|(_, end)| end <= from).is_some() {}
            others.peek().is_some_and(|(start, _)| start < to)
        });
    }
    let (one, other) = (minutes(one), minutes(other));
    one.iter().any(|(from, to)| {
        other.iter().any(|(start, end)| {
            // The week is a circle.
            [-WEEK, 0, WEEK].iter().any(|turn| from + turn < *end && start - turn < *to)
        })
    })
}

/// When it is open in the year after `now`, in order; what began the day before comes again in a week.
fn spans(window: &Window, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let today = now.to_zoned(window.zone.clone()).date();
    let dates = (0..=366).filter_map(|days| today.checked_add(jiff::Span::new().days(days)).ok());
    dates.filter_map(|date| span(window, date)).collect()
}

/// From and to in minutes of a week, for each day on which it starts.
fn minutes(window: &Window) -> Vec<(i32, i32)> {
    let (from, to) = (minute_of_day(window.from), minute_of_day(window.to));
    let length = if to <= from { to + DAY - from } else { to - from };
    let starts = window.days.iter().map(|day| i32::from(*day) * DAY + from);
    starts.map(|start| (start, start + length)).collect()
}

/// How many minutes of a day are over at this time.
fn minute_of_day(time: civil::Time) -> i32 {
    i32::from(time.hour()) * 60 + i32::from(time.minute())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::name::ModelName;

    fn window(from: &str, to: &str, days: &[i8]) -> Window {
        Window {
            days: days.iter().copied().collect(),
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            zone: jiff::tz::TimeZone::UTC,
            model: ModelName::new("m").unwrap(),
        }
    }

    #[test]
    fn windows_overlap_in_any_minute_of_the_week() {
        let at = window("22:00", "06:00", &[7]);
        for (from, to, days, expected) in [
            ("05:00", "07:00", &[1][..], true),
            ("05:59", "07:00", &[1], true),
            ("06:01", "07:00", &[1], false),
            ("06:00", "07:00", &[1], false),
            ("21:00", "22:00", &[7], false),
            ("21:00", "22:01", &[7], true),
            ("23:00", "23:30", &[6], false),
            ("00:00", "00:00", &[3], false),
            ("00:00", "00:00", &[7], true),
        ] {
            let other = window(from, to, days);
            let now = "2026-11-24T12:00:00Z".parse().unwrap();
            assert_eq!(overlap(&at, &other, now), expected, "{from} {to} {days:?}");
            assert_eq!(overlap(&other, &at, now), expected, "{from} {to} {days:?}, the other way");
        }
        // What clocks show is not when it is.
        let all: Vec<i8> = (1..=7).collect();
        let new_york = |from, to| Window {
            zone: jiff::tz::TimeZone::get("America/New_York").unwrap(),
            ..window(from, to, &all)
        };
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        assert!(overlap(&window("01:00", "05:00", &all), &new_york("22:00", "23:30"), now));
        assert!(!overlap(&window("05:00", "06:00", &all), &new_york("05:00", "05:30"), now));
        let tokyo = |from, to| Window {
            zone: jiff::tz::TimeZone::get("Asia/Tokyo").unwrap(),
            ..window(from, to, &all)
        };
        assert!(!overlap(&window("01:00", "05:00", &all), &tokyo("14:00", "15:00"), now));
        assert!(overlap(&window("01:00", "05:00", &all), &tokyo("13:59", "15:00"), now));
        assert!(!overlap(&tokyo("14:00", "15:00"), &window("06:00", "07:00", &all), now));
        // In summer only.
        assert!(overlap(&window("02:00", "02:30", &all), &new_york("22:00", "22:30"), now));
    }

    #[test]
    fn the_next_change_is_the_end_of_what_is_open_or_the_next_beginning() {
        let night = window("23:00", "05:00", &[1]);
        for (now, expected) in [
            ("2026-11-23T22:00:00Z", "2026-11-23T23:00:00Z"),
            ("2026-11-23T23:30:00Z", "2026-11-24T05:00:00Z"),
            ("2026-11-24T04:59:59Z", "2026-11-24T05:00:00Z"),
            ("2026-11-24T05:00:00Z", "2026-11-30T23:00:00Z"),
        ] {
            assert_eq!(next(&night, now.parse().unwrap()), Some(expected.parse().unwrap()), "{now}");
        }
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_starts_on() {
        // 2026-11-23 is a Monday.
        let night = window("23:00", "05:00", &[1]);
        assert!(is_open(&night, "2026-11-23T23:30:00Z".parse().unwrap()));
        assert!(is_open(&night, "2026-11-24T04:59:00Z".parse().unwrap()));
        assert!(!is_open(&night, "2026-11-24T05:00:00Z".parse().unwrap()));
        assert!(!is_open(&night, "2026-11-23T04:00:00Z".parse().unwrap()));
    }

    /// If this failed, a model would be swapped twice in the night in which clocks are set back, or not at all in the one in
    /// which they are set forward.
    #[test]
    fn clocks_that_are_set_neither_double_a_window_nor_lose_it() {
        let berlin = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
        let window = |from: &str, to: &str| Window { zone: berlin.clone(), ..window(from, to, &[7]) };
        let edges = |window: &Window, now: &str| -> Vec<String> {
            let now: Timestamp = now.parse().unwrap();
            let until = now.checked_add(SignedDuration::from_hours(24)).unwrap();
            edges(window, now, 1)
                .into_iter()
                .filter(|at| (now..until).contains(at))
                .map(|at| at.to_string())
                .collect()
        };
        // 2026-10-25: 03:00 is 02:00 once more, at 01:00 UTC.
        let autumn = "2026-10-24T20:00:00Z";
        assert_eq!(
            edges(&window("02:15", "02:45"), autumn),
            ["2026-10-25T00:15:00Z", "2026-10-25T00:45:00Z"]
        );
        assert_eq!(
            edges(&window("02:30", "03:00"), autumn),
            ["2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"]
        );
        let once = window("02:15", "02:45");
        assert!(is_open(&once, "2026-10-25T00:30:00Z".parse().unwrap()));
        assert!(
            !is_open(&once, "2026-10-25T01:30:00Z".parse().unwrap()),
            "the same time on the clock, once more"
        );
        // 2027-03-28: 02:00 is 03:00, at 01:00 UTC.
        let spring = "2027-03-27T20:00:00Z";
        assert_eq!(
            edges(&window("02:15", "02:45"), spring),
            ["2027-03-28T01:15:00Z", "2027-03-28T01:45:00Z"]
        );
        assert_eq!(
            edges(&window("02:30", "03:00"), spring),
            ["2027-03-28T01:30:00Z", "2027-03-28T02:00:00Z"]
        );
        assert_eq!(
            edges(&window("02:00", "03:00"), spring),
            ["2027-03-28T01:00:00Z", "2027-03-28T02:00:00Z"],
            "both ends are the same moment"
        );
        assert_eq!(
            edges(&window("01:00", "05:00"), spring),
            ["2027-03-28T00:00:00Z", "2027-03-28T03:00:00Z"]
        );
    }
}
