//! The newest lines of the history, which are in memory.

use std::{collections::VecDeque, sync::Arc};

use rusqlite::{Connection, params};

use super::{error::StoreError, event::Event};

/// As many as one answer tells at most, of some hundred bytes each.
pub(super) const RECENT: u32 = 1000;

/// The newest lines, oldest first.
pub(super) type Recent = VecDeque<Arc<Event>>;

pub(super) fn newest(connection: &Connection) -> Result<Recent, StoreError> {
    let sql = "SELECT number, at, kind, object, message FROM event ORDER BY number DESC LIMIT ?1";
    let newest = select(connection, sql, params![RECENT])?;
    Ok(newest.into_iter().rev().collect())
}

pub(super) fn is_full(recent: &Recent) -> bool {
    recent.len() >= RECENT as usize
}

pub(super) fn select(
    connection: &Connection,
    sql: &str,
    which: impl rusqlite::Params,
) -> Result<Vec<Arc<Event>>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(which, |row| {
        Ok(Arc::new(Event {
            number: row.get(0)?,
            at: row.get(1)?,
            kind: row.get(2)?,
            object: row.get(3)?,
            message: row.get(4)?,
        }))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
