//! The history: what happened, line by line. Everybody who looks asks for the newest lines, so those are in memory too.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::params;

use super::{
    Store, StoreError,
    event::Event,
    moment,
    recent::{RECENT, is_full, select},
};
use crate::core::model::{event_kind::EventKind, visible};

pub(super) const KEPT: i64 = 10_000;
/// Of one line, in letters: 10,000 of them are 40 MB at most.
const MAX_MESSAGE: usize = 4000;
/// A message as it is kept: what others said in it neither acts on what shows it, nor fills the store.
pub fn kept(message: &str) -> String {
    visible::clipped_lines(message, MAX_MESSAGE)
}

impl Store {
    /// Queued; told at once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn add_event(
        &self,
        kind: EventKind,
        object: &str,
        message: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let number = self.last_event() + 1;
        let (at, kind, object) = (moment(now), kind.name().to_owned(), object.to_owned());
        let event = Arc::new(Event { number, at, kind, object, message: kept(message) });
        let mut recent = self.recent.borrow_mut();
        if is_full(&recent) {
            recent.pop_front();
        }
        recent.push_back(event.clone());
        self.database.queue(move |connection| {
            let sql = "INSERT INTO event (number, at, kind, object, message) VALUES (?1, ?2, ?3, ?4, ?5)";
            let Event { number, at, kind, object, message } = &*event;
            connection.execute(sql, params![number, at, kind, object, message])?;
            connection.execute("DELETE FROM event WHERE number <= ?1", [number - KEPT])?;
            Ok(())
        })
    }

    /// The last `count` events, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn events(&self, count: u32) -> Result<Vec<Arc<Event>>, StoreError> {
        let recent = self.recent.borrow();
        if count <= RECENT || !is_full(&recent) {
            let others = recent.len().saturating_sub(count as usize);
            return Ok(recent.iter().skip(others).cloned().collect());
        }
        let sql = "SELECT number, at, kind, object, message FROM event ORDER BY number DESC LIMIT ?1";
        let mut events = self.database.read(move |connection| select(connection, sql, params![count]))?;
        events.reverse();
        Ok(events)
    }

    /// The number of the newest event; 0 when there is none.
    pub fn last_event(&self) -> i64 {
        self.recent.borrow().back().map_or(0, |event| event.number)
    }

    /// Up to `count` events after the one of that number, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn events_after(&self, number: i64, count: u32) -> Result<Vec<Arc<Event>>, StoreError> {
        let recent = self.recent.borrow();
        if !is_full(&recent) || recent.front().is_some_and(|oldest| oldest.number <= number) {
            let begins = recent.partition_point(|event| event.number <= number);
            return Ok(recent.range(begins..).take(count as usize).cloned().collect());
        }
        let sql =
            "SELECT number, at, kind, object, message FROM event WHERE number > ?1 ORDER BY number LIMIT ?2";
        self.database.read(move |connection| select(connection, sql, params![number, count]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, sixty edits of long names would make a database of hundreds of megabytes, or a name move a terminal's cursor.
    #[test]
    fn a_line_is_so_long_and_can_be_seen() {
        assert!(kept(&"é".repeat(1 << 20)).chars().count() <= MAX_MESSAGE + 10);
        assert!(!kept("a hold of \u{1b}]0;alice\u{7}\u{202e}").contains(['\u{1b}', '\u{7}', '\u{202e}']));
    }

    /// If this failed, who comes back after many events would get lines twice, or none of those that are only in the store.
    #[test]
    fn lines_in_memory_and_in_the_store_are_the_same_lines() {
        let directory = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.without_waiting_for_the_disk();
        assert_eq!((store.last_event(), store.events(5).unwrap().len()), (0, 0));
        let lines = i64::from(RECENT) + 20;
        for line in 1..=lines {
            store.add_event(EventKind::Done, "", &line.to_string(), now).unwrap();
        }
        store.sync().unwrap();
        let again = Store::open(directory.path()).unwrap();
        for store in [&store, &again] {
            assert_eq!(store.recent.borrow().len(), RECENT as usize);
            assert_eq!(store.last_event(), lines);
            for count in [0, 1, RECENT, RECENT + 1, RECENT + 50] {
                let told: Vec<i64> = store.events(count).unwrap().iter().map(|event| event.number).collect();
                let from = (lines - i64::from(count)).max(0) + 1;
                assert_eq!(told, (from..=lines).collect::<Vec<_>>(), "{count}");
            }
            for after in [0, 5, 19, 20, 21, lines - 1, lines, lines + 7] {
                let told = store.events_after(after, 30).unwrap();
                let told: Vec<i64> = told.iter().map(|event| event.number).collect();
                let expected: Vec<i64> = (after + 1..=lines).take(30).collect();
                assert_eq!(told, expected, "{after}");
            }
        }
    }
}
