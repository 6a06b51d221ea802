//! Who may ask over HTTP: tokens and the browsers that signed in with them, as hashes only.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{Store, StoreError, moment};
use crate::core::model::access::Role;

/// What is known of a token. The token itself was shown once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    pub id: String,
    pub name: String,
    pub role: Role,
    /// SHA-256 of its secret part, in hex.
    pub hash: String,
    pub made: String,
    pub used: Option<String>,
}

/// A browser that signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserSession {
    pub id: String,
    /// The id of its token.
    pub token: String,
    pub hash: String,
    pub until: Timestamp,
}

fn role(name: &str) -> Role {
    // What is not known may do least.
    [Role::Approve, Role::Edit].into_iter().find(|role| role.name() == name).unwrap_or(Role::Read)
}

fn insert(connection: &Connection, token: &AccessToken) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO token (id, name, role, hash, made) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![token.id, token.name, token.role.name(), token.hash, token.made],
    )?;
    Ok(())
}

/// With every browser that signed in with it.
fn delete(connection: &Connection, id: &str) -> Result<(), StoreError> {
    connection.execute("DELETE FROM session WHERE token = ?1", [id])?;
    connection.execute("DELETE FROM token WHERE id = ?1", [id])?;
    Ok(())
}

impl Store {
    /// # Errors
    /// [`StoreError`].
    pub fn tokens(&self) -> Result<Vec<AccessToken>, StoreError> {
        let sql = "SELECT id, name, role, hash, made, used FROM token ORDER BY made, name";
        self.database.read(move |connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([], |row| {
                Ok(AccessToken {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    role: role(&row.get::<_, String>(2)?),
                    hash: row.get(3)?,
                    made: row.get(4)?,
                    used: row.get(5)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// # Errors
    /// [`StoreError`].
    pub fn add_token(&self, token: &AccessToken) -> Result<(), StoreError> {
        let token = token.clone();
        self.database.write(move |connection| insert(connection, &token))
    }

    /// The token and every browser that signed in with it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove_token(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.database.write(move |connection| {
            let transaction = connection.transaction()?;
            delete(&transaction, &id)?;
            Ok(transaction.commit()?)
        })
    }

    /// One in the place of another, whose browsers are signed out.
    ///
    /// # Errors
    /// [`StoreError`]; the other one stays.
    pub fn replace_token(&self, old: &str, new: &AccessToken) -> Result<(), StoreError> {
        let (old, new) = (old.to_owned(), new.clone());
        self.database.write(move |connection| {
            let transaction = connection.transaction()?;
            delete(&transaction, &old)?;
            insert(&transaction, &new)?;
            Ok(transaction.commit()?)
        })
    }

    /// Queued.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn token_was_used(&self, id: &str, at: Timestamp) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.database.queue(move |connection| {
            connection.execute("UPDATE token SET used = ?2 WHERE id = ?1", params![id, moment(at)])?;
            Ok(())
        })
    }

    /// # Errors
    /// [`StoreError`].
    pub fn sessions(&self) -> Result<Vec<BrowserSession>, StoreError> {
        self.database.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT id, token, hash, until FROM session")?;
            let rows = statement.query_map([], |row| {
                let until: String = row.get(3)?;
                let until = until.parse().unwrap_or(Timestamp::MIN);
                Ok(BrowserSession { id: row.get(0)?, token: row.get(1)?, hash: row.get(2)?, until })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// # Errors
    /// [`StoreError`].
    pub fn add_session(&self, session: &BrowserSession, now: Timestamp) -> Result<(), StoreError> {
        let session = session.clone();
        self.database.write(move |connection| {
            connection.execute("DELETE FROM session WHERE until <= ?1", [moment(now)])?;
            connection.execute(
                "INSERT INTO session (id, token, hash, until) VALUES (?1, ?2, ?3, ?4)",
                params![session.id, session.token, session.hash, moment(session.until)],
            )?;
            Ok(())
        })
    }

    /// # Errors
    /// [`StoreError`].
    pub fn remove_session(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.database.write(move |connection| {
            connection.execute("DELETE FROM session WHERE id = ?1", [id])?;
            Ok(())
        })
    }
}
