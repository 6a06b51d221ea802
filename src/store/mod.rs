//! What survives a restart: revisions, the ledger, the journal, events. SQLite, on a thread of its own (`database`): a method that says
//! *queued* returns before its write is durable, and every other one after.

pub mod answers;
mod database;
pub mod error;
pub mod event;
pub mod history;
mod recent;
mod schema;
pub mod tokens;
pub mod uptime_intervals;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use self::{database::Database, recent::Recent, schema::VERSION};
pub use self::{database::PendingWrite, error::StoreError, event::Event};
use crate::core::model::{ledger::Ledger, plan::Plan, step::Step};

const KEPT_PLANS: i64 = 200;
const KEPT_STEPS: i64 = 10_000;
/// Nobody reads more of them when a hook is back.
const KEPT_LETTERS: i64 = 1000;
/// Between two tries to deliver a message.
pub const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(1);
/// Whole files; each is an edit that came into force.
const KEPT_REVISIONS: i64 = 1000;

const SET_LEDGER: &str =
    "INSERT INTO value (key, json) VALUES ('ledger', ?1) ON CONFLICT (key) DO UPDATE SET json = ?1";

pub struct Store {
    database: Database,
    /// What was queued last: a round in which nothing happened writes nothing. Empty when it could not be written.
    ledger: Arc<Mutex<String>>,
    /// What the history holds last.
    recent: RefCell<Recent>,
    /// The number of the next interval of an endpoint's uptime.
    next_spell: Cell<i64>,
    /// Number and time of every revision that is kept, oldest first.
    revisions: RefCell<VecDeque<(u64, String)>>,
}

/// A ledger on its way to the disk. One that does not get there, also because something before it did not, is written again.
struct QueuedLedger {
    last: Arc<Mutex<String>>,
    is_written: bool,
}

impl QueuedLedger {
    fn arrive(&mut self) {
        self.is_written = true;
    }
}

impl Drop for QueuedLedger {
    fn drop(&mut self) {
        if !self.is_written {
            self.last.lock().clear();
        }
    }
}

/// A message that has not arrived yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxMessage {
    pub number: i64,
    /// An entry of `notify`.
    pub target: String,
    pub body: String,
    pub tries: u32,
}

/// For its owner alone, when it is there.
fn keep_private(file: &Path) -> std::io::Result<()> {
    match std::fs::metadata(file) {
        Ok(known) if known.permissions().mode() & 0o077 == 0 => Ok(()),
        Ok(_) => std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The store as an older program wrote it, beside the one that it becomes: whoever goes back to that program puts it in place.
fn keep_before(connection: &Connection, directory: &Path, version: i64) -> Result<(), StoreError> {
    let kept = directory.join(format!("spark-control.db.version-{version}"));
    let half = directory.join("spark-control.db.half");
    if kept.exists() {
        return Ok(());
    }
    let failed = |error| StoreError::Io(kept.display().to_string(), error);
    if half.exists() {
        std::fs::remove_file(&half).map_err(failed)?;
    }
    connection.execute("VACUUM INTO ?1", [half.to_string_lossy()])?;
    keep_private(&half).and_then(|()| std::fs::rename(&half, &kept)).map_err(failed)
}

impl Store {
    /// Open or make the store in `directory`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join("spark-control.db");
        Self::open_at(directory, &path).map_err(|error| match error {
            StoreError::Damaged(_, what) => StoreError::Damaged(path.display().to_string(), what),
            error => error,
        })
    }

    fn open_at(directory: &Path, path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        // What the file holds, and who may ask, is nobody else's. Its log takes the mode from it.
        for file in
            [path.to_owned(), directory.join("spark-control.db-wal"), directory.join("spark-control.db-shm")]
        {
            keep_private(&file).map_err(|error| StoreError::Io(file.display().to_string(), error))?;
        }
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version > VERSION {
            return Err(StoreError::Newer(directory.display().to_string()));
        }
        // One that was just made has none.
        if (1..VERSION).contains(&version) {
            keep_before(&connection, directory, version)?;
        }
        connection.execute_batch(&schema::tables())?;
        let recent = RefCell::new(recent::newest(&connection)?);
        let revisions = RefCell::new(revisions(&connection)?);
        let last_spell = "SELECT COALESCE(MAX(number), 0) FROM spell";
        let next_spell: i64 = connection.query_row(last_spell, [], |row| row.get(0))?;
        Ok(Self {
            database: Database::start(connection)?,
            ledger: Arc::default(),
            recent,
            next_spell: Cell::new(next_spell + 1),
            revisions,
        })
    }

    /// Wait until everything that was queued is durable.
    ///
    /// # Errors
    /// That of what was queued.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.database.write(|_| Ok(()))
    }

    /// The last revision that was in force.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn last_revision(&self) -> Result<Option<(u64, String)>, StoreError> {
        let sql = "SELECT number, text FROM revision ORDER BY number DESC LIMIT 1";
        self.database.read(move |connection| {
            let row =
                connection.query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?)));
            Ok(row.optional()?)
        })
    }

    /// The text of a revision that is still kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn revision(&self, number: u64) -> Result<Option<String>, StoreError> {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let sql = "SELECT text FROM revision WHERE number = ?1";
        self.database
            .read(move |connection| Ok(connection.query_row(sql, [number], |row| row.get(0)).optional()?))
    }

    /// The last revisions and when they came into force, newest first.
    pub fn revisions(&self, count: usize) -> Vec<(u64, String)> {
        self.revisions.borrow().iter().rev().take(count).cloned().collect()
    }

    /// Keep `text` as the next revision, and tell its number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn add_revision(&self, text: &str, now: Timestamp) -> Result<u64, StoreError> {
        let at = moment(now);
        let (written, text) = (at.clone(), text.to_owned());
        let number = self.database.write(move |connection| {
            connection.execute("INSERT INTO revision (at, text) VALUES (?1, ?2)", params![written, text])?;
            let number = connection.last_insert_rowid();
            connection.execute("DELETE FROM revision WHERE number <= ?1", [number - KEPT_REVISIONS])?;
            Ok(number)
        })?;
        let oldest = (number - KEPT_REVISIONS).max(0).unsigned_abs();
        let mut known = self.revisions.borrow_mut();
        known.push_back((number.unsigned_abs(), at));
        known.retain(|(number, _)| *number > oldest);
        Ok(number.unsigned_abs())
    }

    /// # Errors
    /// [`StoreError`].
    pub fn ledger(&self) -> Result<Ledger, StoreError> {
        Ok(self.value("ledger")?.map(|json| serde_json::from_str(&json)).transpose()?.unwrap_or_default())
    }

    /// Queued.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn set_ledger(&self, ledger: &Ledger) -> Result<(), StoreError> {
        if serde_json::to_string(ledger)? == *self.ledger.lock() {
            return Ok(());
        }
        self.database.queue(self.with_ledger(ledger, |_| Ok(()))?)
    }

    /// A write with the ledger that knows of it, in one transaction.
    fn with_ledger<W>(
        &self,
        ledger: &Ledger,
        write: W,
    ) -> Result<impl FnOnce(&mut Connection) -> Result<(), StoreError> + Send + use<W>, StoreError>
    where
        W: FnOnce(&Transaction<'_>) -> Result<(), StoreError> + Send + 'static,
    {
        let json = serde_json::to_string(ledger)?;
        self.ledger.lock().clone_from(&json);
        let mut queued = QueuedLedger { last: self.ledger.clone(), is_written: false };
        Ok(move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            write(&transaction)?;
            transaction.execute(SET_LEDGER, [&json])?;
            transaction.commit()?;
            queued.arrive();
            Ok(())
        })
    }

    /// # Errors
    /// [`StoreError`].
    pub fn value(&self, key: &str) -> Result<Option<String>, StoreError> {
        let key = key.to_owned();
        let sql = "SELECT json FROM value WHERE key = ?1";
        self.database
            .read(move |connection| Ok(connection.query_row(sql, [key], |row| row.get(0)).optional()?))
    }

    /// # Errors
    /// [`StoreError`].
    pub fn set_value(&self, key: &str, json: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO value (key, json) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET json = ?2";
        let (key, json) = (key.to_owned(), json.to_owned());
        self.database.write(move |connection| {
            connection.execute(sql, [key, json])?;
            Ok(())
        })
    }

    /// Before an effect: what is about to be done, and the ledger that knows it, in one transaction. It may be done when that is durable.
    ///
    /// # Errors
    /// [`StoreError`]. Nothing may be done then.
    pub fn intend(
        &self,
        token: &str,
        step: &str,
        ledger: &Ledger,
        now: Timestamp,
    ) -> Result<PendingWrite<()>, StoreError> {
        let (token, at, step) = (token.to_owned(), moment(now), step.to_owned());
        self.database.begin(self.with_ledger(ledger, move |transaction| {
            transaction.execute(
                "INSERT INTO journal (token, at, step) VALUES (?1, ?2, ?3)",
                params![token, at, step],
            )?;
            let surplus = transaction.last_insert_rowid() - KEPT_STEPS;
            transaction.execute("DELETE FROM journal WHERE rowid <= ?1", [surplus])?;
            Ok(())
        })?)
    }

    /// Put messages into the outbox, with the ledger that knows that they were written, in one transaction.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn post(
        &self,
        letters: Vec<(String, String)>,
        ledger: &Ledger,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let at = moment(now);
        self.database.write(self.with_ledger(ledger, move |transaction| {
            for (target, body) in letters {
                transaction.execute(
                    "INSERT INTO outbox (target, body, tries, not_before) VALUES (?1, ?2, 0, ?3)",
                    params![target, body, at],
                )?;
                let surplus = transaction.last_insert_rowid() - KEPT_LETTERS;
                transaction.execute("DELETE FROM outbox WHERE number <= ?1", [surplus])?;
            }
            Ok(())
        })?)
    }

    /// Messages that are to be sent by now, oldest first. One that waits holds back what came after it for the same target.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn due(&self, now: Timestamp, count: u32) -> Result<Vec<OutboxMessage>, StoreError> {
        let sql = "SELECT number, target, body, tries FROM outbox AS letter
                   WHERE NOT EXISTS (SELECT 1 FROM outbox AS other WHERE other.target = letter.target
                                     AND other.number <= letter.number
                                     AND other.not_before > ?1 AND other.not_before <= ?3)
                   ORDER BY number LIMIT ?2";
        // Further away than any pause is what was put off before the clock was set back.
        let furthest = now.saturating_add(LONGEST_PAUSE).unwrap_or(Timestamp::MAX);
        let (now, furthest) = (moment(now), moment(furthest));
        self.database.read(move |connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![now, count, furthest], |row| {
                Ok(OutboxMessage {
                    number: row.get(0)?,
                    target: row.get(1)?,
                    body: row.get(2)?,
                    tries: row.get(3)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// It arrived, or nobody wants it. Queued.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn forget_letter(&self, number: i64) -> Result<(), StoreError> {
        self.database.queue(move |connection| {
            connection.execute("DELETE FROM outbox WHERE number = ?1", [number])?;
            Ok(())
        })
    }

    /// Queued.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_off(&self, number: i64, tries: u32, not_before: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE outbox SET tries = ?2, not_before = ?3 WHERE number = ?1";
        self.database.queue(move |connection| {
            connection.execute(sql, params![number, tries, moment(not_before)])?;
            Ok(())
        })
    }

    /// After it: what came of it. Queued: without it the next look tells.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn conclude(&self, token: &str, outcome: &str, now: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE journal SET ended = ?2, outcome = ?3 WHERE token = ?1";
        let (token, at, outcome) = (token.to_owned(), moment(now), outcome.to_owned());
        self.database.queue(move |connection| {
            connection.execute(sql, params![token, at, outcome])?;
            Ok(())
        })
    }

    /// The steps that a controller began and did not live to see the end of, oldest first. They are told of once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn take_interrupted(&self, now: Timestamp) -> Result<Vec<Step>, StoreError> {
        let sql = "UPDATE journal SET ended = ?1, outcome = 'interrupted' WHERE ended IS NULL RETURNING step";
        self.steps(sql, now)
    }

    /// The steps that were done since then.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn done_since(&self, then: Timestamp) -> Result<Vec<Step>, StoreError> {
        let sql = "SELECT step FROM journal WHERE at >= ?1 AND outcome = 'done'";
        self.steps(sql, then)
    }

    /// The steps that a statement about one moment answers with.
    fn steps(&self, sql: &'static str, at: Timestamp) -> Result<Vec<Step>, StoreError> {
        let steps: Vec<String> = self.database.write(move |connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([moment(at)], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
        Ok(steps.iter().map(|step| serde_json::from_str(step)).collect::<Result<_, _>>()?)
    }

    /// Keep a plan that was shown, so that it can be approved or applied by its id. Queued.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn keep_plan(&self, plan: &Plan) -> Result<(), StoreError> {
        let sql = "INSERT INTO plan (id, number, at, json)
                   VALUES (?1, (SELECT COALESCE(MAX(number), 0) + 1 FROM plan), ?2, ?3)
                   ON CONFLICT (id) DO UPDATE SET json = ?3, at = ?2";
        let (id, at, json) = (plan.id.as_str().to_owned(), moment(plan.at), serde_json::to_string(plan)?);
        self.database.queue(move |connection| {
            connection.execute(sql, params![id, at, json])?;
            let sql = "DELETE FROM plan WHERE number <= (SELECT MAX(number) FROM plan) - ?1";
            connection.execute(sql, [KEPT_PLANS])?;
            Ok(())
        })
    }

    /// # Errors
    /// [`StoreError`].
    pub fn plan(&self, id: &str) -> Result<Option<Plan>, StoreError> {
        let (sql, id) = ("SELECT json FROM plan WHERE id = ?1", id.to_owned());
        let json: Option<String> = self
            .database
            .read(move |connection| Ok(connection.query_row(sql, [id], |row| row.get(0)).optional()?))?;
        Ok(json.map(|json| serde_json::from_str(&json)).transpose()?)
    }
}

fn revisions(connection: &Connection) -> Result<VecDeque<(u64, String)>, StoreError> {
    let mut statement = connection.prepare("SELECT number, at FROM revision ORDER BY number")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Times of one length, so that their order is that of their letters.
fn moment(at: Timestamp) -> String {
    format!("{at:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::event_kind::EventKind;
    use crate::core::model::{id::PlanId, name::SparkName, object::Object};

    impl Store {
        /// For thousands of writes.
        pub(super) fn without_waiting_for_the_disk(&self) {
            self.database
                .write(|connection| Ok(connection.pragma_update(None, "synchronous", "OFF")?))
                .unwrap();
        }
    }

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    fn step() -> Step {
        let spark = SparkName::new("spark1").unwrap();
        Step::EndJob { object: Object::main(), spark, job: "1.1".into() }
    }

    /// If this failed, the history would be silent about a step that nobody knows the outcome of.
    #[test]
    fn a_step_without_an_outcome_is_told_of_once() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let json = serde_json::to_string(&step()).unwrap();
        store.intend("1.1.a", &json, &Ledger::default(), now()).unwrap().wait().unwrap();
        store.intend("1.2.a", &json, &Ledger::default(), now()).unwrap().wait().unwrap();
        store.conclude("1.1.a", "done", now()).unwrap();
        drop(store);
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.take_interrupted(now()).unwrap(), [step()]);
        assert_eq!(store.take_interrupted(now()).unwrap(), []);
    }

    /// If this failed, what was to be written behind a write that failed would never be.
    #[test]
    fn a_ledger_that_was_not_written_is_written_with_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let ledger = Ledger { fenced: Some("b acts".into()), ..Ledger::default() };
        store.set_ledger(&Ledger::default()).unwrap();
        store.database.queue(|_| Err(StoreError::Ended)).unwrap();
        assert!(store.intend("1.1.a", "{}", &ledger, now()).unwrap().wait().is_err());
        assert_eq!(store.ledger().unwrap(), Ledger::default());
        store.set_ledger(&ledger).unwrap();
        store.sync().unwrap();
        assert_eq!(store.ledger().unwrap(), ledger);
        assert_eq!(store.take_interrupted(now()).unwrap(), [], "nothing was begun");
        // What is there is not written again.
        assert!(!store.ledger.lock().is_empty());
    }

    /// If this failed, the store would grow for ever.
    #[test]
    fn old_revisions_plans_and_events_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.without_waiting_for_the_disk();
        let count = |table: &str| -> i64 {
            let sql = format!("SELECT COUNT(*) FROM {table}");
            store
                .database
                .read(move |connection| Ok(connection.query_row(&sql, [], |row| row.get(0))?))
                .unwrap()
        };
        let mut plan =
            Plan { id: PlanId::default(), revision: 1, at: now(), work: Vec::new(), unseen: Vec::new() };
        for number in 0..=KEPT_REVISIONS {
            store.add_revision(&number.to_string(), now()).unwrap();
            plan.id = number.to_string().into();
            store.keep_plan(&plan).unwrap();
        }
        assert_eq!(count("revision"), KEPT_REVISIONS);
        assert_eq!(store.last_revision().unwrap().unwrap().1, KEPT_REVISIONS.to_string());
        assert_eq!(count("plan"), KEPT_PLANS);
        for _ in 0..history::KEPT + 5 {
            store.add_event(EventKind::Done, "", "", now()).unwrap();
        }
        assert_eq!(count("event"), history::KEPT);
    }

    /// If this failed, an older program would misread what a newer one wrote, or write over it.
    #[test]
    fn a_newer_store_is_refused_and_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let newer =
            |connection: &mut Connection| Ok(connection.pragma_update(None, "user_version", VERSION + 1)?);
        store.database.write(newer).unwrap();
        drop(store);
        let refused = Store::open(directory.path()).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("made by a newer Spark Control"), "{refused}");
        let connection = Connection::open(directory.path().join("spark-control.db")).unwrap();
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, VERSION + 1);
    }
}
