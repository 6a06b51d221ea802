//! What was answered to requests that may come twice (`Idempotency-Key`).

use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError, moment};

/// Whoever asks again does it within minutes.
const LASTS: SignedDuration = SignedDuration::from_hours(24);
const KEPT: i64 = 500;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResponse {
    /// SHA-256 of what was asked: the same key with something else is a mistake.
    pub request: String,
    pub status: u16,
    /// Its content type.
    pub kind: String,
    /// Its ETag.
    pub tag: Option<String>,
    pub body: Vec<u8>,
}

impl Store {
    /// # Errors
    /// [`StoreError`].
    pub fn answer(&self, key: &str, now: Timestamp) -> Result<Option<StoredResponse>, StoreError> {
        let oldest = now.saturating_sub(LASTS).unwrap_or(Timestamp::MIN);
        let sql = "SELECT request, status, kind, tag, body FROM answer WHERE key = ?1 AND at >= ?2";
        let (key, oldest) = (key.to_owned(), moment(oldest));
        self.database.read(move |connection| {
            let answer = connection.query_row(sql, params![key, oldest], |row| {
                Ok(StoredResponse {
                    request: row.get(0)?,
                    status: row.get(1)?,
                    kind: row.get(2)?,
                    tag: row.get(3)?,
                    body: row.get(4)?,
                })
            });
            Ok(answer.optional()?)
        })
    }

    /// # Errors
    /// [`StoreError`].
    pub fn keep_answer(&self, key: &str, answer: &StoredResponse, now: Timestamp) -> Result<(), StoreError> {
        let (key, answer, at) = (key.to_owned(), answer.clone(), moment(now));
        self.database.write(move |connection| {
            connection.execute(
                "INSERT OR REPLACE INTO answer (key, request, at, status, kind, tag, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![key, answer.request, at, answer.status, answer.kind, answer.tag, answer.body],
            )?;
            let last = connection.last_insert_rowid();
            connection.execute("DELETE FROM answer WHERE rowid <= ?1", [last - KEPT])?;
            Ok(())
        })
    }
}
