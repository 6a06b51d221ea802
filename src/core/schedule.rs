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
    fn a_window_over_midnight_belongs_to_the_day_it_starts_on() {
        // 2026-11-23 is a Monday.
        let night = window("23:00", "05:00", &[1]);
        assert!(is_open(&night, "2026-11-23T23:30:00Z".parse().unwrap()));
        assert!(is_open(&night, "2026-11-24T04:59:00Z".parse().unwrap()));
        assert!(!is_open(&night, "2026-11-24T05:00:00Z".parse().unwrap()));
        assert!(!is_open(&night, "2026-11-23T04:00:00Z".parse().unwrap()));
    }
}
