//! When each endpoint was up.

use std::collections::VecDeque;

use jiff::Timestamp;
use rusqlite::params;

use super::{Store, StoreError, moment};
use crate::core::{
    decide::connectivity::{EndpointLink, UptimeInterval},
    model::object::Object,
};

/// Of all endpoints together; a dozen that fail once an hour fill it in two weeks.
const KEPT: i64 = 10_000;

impl Store {
    /// A spell begins; tells its number. Queued.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn begin_spell(&self, object: &Object, spell: UptimeInterval) -> Result<i64, StoreError> {
        let number = self.next_spell.replace(self.next_spell.get() + 1);
        let object = object.as_str().to_owned();
        self.database.queue(move |connection| {
            connection.execute(
                "INSERT INTO spell (number, object, link, since, until) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![number, object, spell.link.name(), moment(spell.since), moment(spell.until)],
            )?;
            connection.execute("DELETE FROM spell WHERE number <= ?1", [number - KEPT])?;
            Ok(())
        })?;
        Ok(number)
    }

    /// It was still so. Queued.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn extend_spell(&self, number: i64, until: Timestamp) -> Result<(), StoreError> {
        self.database.queue(move |connection| {
            connection
                .execute("UPDATE spell SET until = ?2 WHERE number = ?1", params![number, moment(until)])?;
            Ok(())
        })
    }

    /// The last `count` of one endpoint, oldest first, with their numbers.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn spells(&self, object: &Object, count: u32) -> Result<VecDeque<(i64, UptimeInterval)>, StoreError> {
        let sql =
            "SELECT number, link, since, until FROM spell WHERE object = ?1 ORDER BY number DESC LIMIT ?2";
        let object = object.as_str().to_owned();
        let rows: Vec<(i64, String, String, String)> = self.database.read(move |connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![object, count], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
        let mut spells = VecDeque::new();
        for (number, link, since, until) in rows {
            let link = [EndpointLink::Up, EndpointLink::Down, EndpointLink::Silent]
                .into_iter()
                .find(|known| known.name() == link);
            // What an other version wrote is no reason to show nothing.
            let (Some(link), Ok(since), Ok(until)) = (link, since.parse(), until.parse()) else { continue };
            spells.push_front((number, UptimeInterval { link, since, until }));
        }
        Ok(spells)
    }
}
