//! Which model, when.

use jiff::{Timestamp, civil};

use super::desired::{Desired, Object, Slot, Wanted, Window};

/// What the slot should hold now: the window that is open, else what the file says. Only the main slot has windows.
pub fn wanted(object: &Object, slot: &Slot, desired: &Desired, now: Timestamp) -> Wanted {
    if *object != Object::main() {
        return slot.wanted.clone();
    }
    desired
        .schedule
        .values()
        .find(|window| is_open(window, now))
        .map_or_else(|| slot.wanted.clone(), |window| Wanted::Model(window.model.clone()))
}

/// Days name the start; `to` at or before `from` ends on the next day.
pub fn is_open(window: &Window, now: Timestamp) -> bool {
    let local = now.to_zoned(window.zone.clone()).datetime();
    let crosses = window.to <= window.from;
    let starts_on = |date: civil::Date| window.days.contains(&date.weekday().to_monday_one_offset());
    let today = starts_on(local.date());
    let yesterday = local.date().yesterday().is_ok_and(starts_on);
    if crosses {
        (today && local.time() >= window.from) || (yesterday && local.time() < window.to)
    } else {
        today && (window.from..window.to).contains(&local.time())
    }
}

/// When the window opens or closes next, whichever comes first; `None` when its days never come.
pub fn next(window: &Window, now: Timestamp) -> Option<Timestamp> {
    let today = now.to_zoned(window.zone.clone()).date();
    let at = |date: civil::Date, time: civil::Time| {
        let moment = window.zone.to_ambiguous_zoned(date.to_datetime(time)).compatible().ok()?;
        Some(moment.timestamp())
    };
    // A window that began yesterday may close today; one of a single day may be a week away.
    let dates = (-1..=7).filter_map(|days| today.checked_add(jiff::Span::new().days(days)).ok());
    dates
        .filter(|date| window.days.contains(&date.weekday().to_monday_one_offset()))
        .flat_map(|date| {
            let end = if window.to <= window.from { date.tomorrow().ok() } else { Some(date) };
            [at(date, window.from), end.and_then(|end| at(end, window.to))]
        })
        .flatten()
        .filter(|moment| *moment > now)
        .min()
}

const DAY: i32 = 24 * 60;
const WEEK: i32 = 7 * DAY;

/// Whether there is a minute of a week in which both are open. Windows of different zones are compared as if their clocks
/// showed the same: what they are apart changes with the season.
pub fn overlap(one: &Window, other: &Window) -> bool {
    let (one, other) = (minutes(one), minutes(other));
    one.iter().any(|(from, to)| {
        other.iter().any(|(start, end)| {
            // The week is a circle.
            [-WEEK, 0, WEEK].iter().any(|turn| from + turn < *end && start - turn < *to)
        })
    })
}

/// From and to in minutes since Monday, for each day on which it starts.
fn minutes(window: &Window) -> Vec<(i32, i32)> {
    let of = |time: civil::Time| i32::from(time.hour()) * 60 + i32::from(time.minute());
    let (from, to) = (of(window.from), of(window.to));
    let length = if to <= from { to + DAY - from } else { to - from };
    let start = |day: &i8| (i32::from(*day) - 1) * DAY + from;
    window.days.iter().map(|day| (start(day), start(day) + length)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::name::ModelName;

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
            ("06:00", "07:00", &[1], false),
            ("21:00", "22:00", &[7], false),
            ("21:00", "22:01", &[7], true),
            ("23:00", "23:30", &[6], false),
            ("00:00", "00:00", &[3], false),
            ("00:00", "00:00", &[7], true),
        ] {
            let other = window(from, to, days);
            assert_eq!(overlap(&at, &other), expected, "{from} {to} {days:?}");
            assert_eq!(overlap(&other, &at), expected, "{from} {to} {days:?}, the other way");
        }
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
}
