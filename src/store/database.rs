//! The thread that has the database. A write is durable when SQLite returns, and a disk takes milliseconds for that: nobody who looks at
//! Sparks or answers a request stands still meanwhile. What nobody must wait for is queued, in order; who must know that something is
//! written waits, and is told of the errors of all that was queued before. Rejected: a task for each write, which loses the order, and a
//! second connection for reads, which would not see what is queued.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use parking_lot::Mutex;
use rusqlite::Connection;

use super::error::StoreError;

/// A round queues a few dozen at most. With more than these, who writes waits for the disk.
const QUEUED: usize = 1000;

type DatabaseJob = Box<dyn FnOnce(&mut Connection) + Send>;

pub(super) struct Database {
    /// `None` while it ends.
    jobs: Option<SyncSender<DatabaseJob>>,
    thread: Option<JoinHandle<()>>,
    /// The first error of a queued write that nobody was told of yet.
    failed: Arc<Mutex<Option<StoreError>>>,
}

/// A write that is under way.
#[must_use = "it is not known to be written before it is waited for"]
pub struct PendingWrite<T>(Receiver<Result<T, StoreError>>);

impl<T> PendingWrite<T> {
    /// Until it is durable.
    ///
    /// # Errors
    /// [`StoreError`]: it is not.
    pub fn wait(self) -> Result<T, StoreError> {
        self.0.recv().map_err(|_| StoreError::Ended)?
    }
}

impl Database {
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(mut connection: Connection) -> Result<Self, StoreError> {
        let (jobs, waiting): (SyncSender<DatabaseJob>, Receiver<DatabaseJob>) = sync_channel(QUEUED);
        let work = move || waiting.into_iter().for_each(|job| job(&mut connection));
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(work);
        let thread = thread.map_err(|error| StoreError::Io("the thread of the store".to_owned(), error))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), failed: Arc::default() })
    }

    /// Write, some time soon, after what was queued before.
    ///
    /// # Errors
    /// That of a write that was queued earlier: it is told once, and this one is queued all the same.
    pub fn queue(
        &self,
        write: impl FnOnce(&mut Connection) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let earlier = self.failed.lock().take();
        let failed = self.failed.clone();
        self.send(Box::new(move |connection| {
            if let Err(error) = write(connection) {
                failed.lock().get_or_insert(error);
            }
        }))?;
        earlier.map_or(Ok(()), Err)
    }

    /// Write, and wait until it is durable.
    ///
    /// # Errors
    /// [`StoreError`]. That of a write that was queued earlier: then nothing is written.
    pub fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.begin(write)?.wait()
    }

    /// The same for who has something to let go of before the wait.
    ///
    /// # Errors
    /// When the thread has ended.
    pub fn begin<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<PendingWrite<T>, StoreError> {
        let failed = self.failed.clone();
        self.ask(move |connection| {
            let earlier = failed.lock().take();
            earlier.map_or_else(|| write(connection), Err)
        })
    }

    /// Read, after what was queued before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(read)?.wait()
    }

    fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<PendingWrite<T>, StoreError> {
        let (answer, answered) = sync_channel(1);
        self.send(Box::new(move |connection| {
            // Whoever asked may be gone.
            let _ = answer.send(job(connection));
        }))?;
        Ok(PendingWrite(answered))
    }

    fn send(&self, job: DatabaseJob) -> Result<(), StoreError> {
        let sent = self.jobs.as_ref().map(|jobs| jobs.send(job));
        sent.and_then(Result::ok).ok_or(StoreError::Ended)
    }
}

impl Drop for Database {
    /// What is queued is written first.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::params;

    use super::*;

    fn add(connection: &mut Connection, number: i64) -> Result<(), StoreError> {
        connection.execute("INSERT INTO one (number) VALUES (?1)", params![number])?;
        Ok(())
    }

    fn numbers(database: &Database) -> Vec<i64> {
        let read = |connection: &mut Connection| {
            let mut statement = connection.prepare("SELECT number FROM one ORDER BY rowid")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        database.read(read).unwrap()
    }

    /// If this failed, an act could begin that is not written down, because what was written before it was lost without a word.
    #[test]
    fn an_error_of_a_queued_write_is_met_by_the_next_one() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE one (number INTEGER UNIQUE)").unwrap();
        let database = Database::start(connection).unwrap();
        for number in [1, 2, 1] {
            // Told with the next at the earliest.
            database.queue(move |connection| add(connection, number)).unwrap();
        }
        assert_eq!(numbers(&database), [1, 2], "a read follows what was queued");
        let refused = database.write(|connection| add(connection, 3)).unwrap_err();
        assert!(refused.to_string().contains("UNIQUE"), "{refused}");
        assert_eq!(numbers(&database), [1, 2], "nothing is written then");
        database.write(|connection| add(connection, 3)).unwrap();
        database.queue(|connection| add(connection, 1)).unwrap();
        numbers(&database);
        assert!(database.queue(|connection| add(connection, 4)).is_err());
        database.queue(|connection| add(connection, 5)).unwrap();
        assert_eq!(numbers(&database), [1, 2, 3, 4, 5]);
    }

    /// If this failed, the last words before an end would be lost.
    #[test]
    fn what_is_queued_is_written_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("one.db");
        let connection = Connection::open(&file).unwrap();
        connection.execute_batch("CREATE TABLE one (number INTEGER UNIQUE)").unwrap();
        let database = Database::start(connection).unwrap();
        for number in 0..500 {
            database.queue(move |connection| add(connection, number)).unwrap();
        }
        drop(database);
        let again = Database::start(Connection::open(&file).unwrap()).unwrap();
        assert_eq!(numbers(&again).len(), 500);
    }
}
