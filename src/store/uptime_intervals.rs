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
    /// A spell begins; tells its number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn begin_spell(&self, object: &Object, spell: UptimeInterval) -> Result<i64, StoreError> {
        self.connection.execute(
            "INSERT INTO spell (object, link, since, until) VALUES (?1, ?2, ?3, ?4)",
            params![object.as_str(), spell.link.name(), moment(spell.since), moment(spell.until)],
        )?;
        let number = self.connection.last_insert_rowid();
        self.connection.execute("DELETE FROM spell WHERE number <= ?1", [number - KEPT])?;
        Ok(number)
    }

    /// It was still so.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn extend_spell(&self, number: i64, until: Timestamp) -> Result<(), StoreError> {
        self.connection
            .execute("UPDATE spell SET until = ?2 WHERE number = ?1", params![number, moment(until)])?;
        Ok(())
    }

    /// The last `count` of one endpoint, oldest first, with their numbers.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn spells(&self, object: &Object, count: u32) -> Result<VecDeque<(i64, UptimeInterval)>, StoreError> {
        let sql =
            "SELECT number, link, since, until FROM spell WHERE object = ?1 ORDER BY number DESC LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![object.as_str(), count], |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get::<_, String>(3)?))
        })?;
        let mut spells = VecDeque::new();
        for row in rows {
            let (number, link, since, until) = row?;
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
