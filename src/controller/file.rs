//! Reading the file: a good one becomes a revision, a bad one leaves the last good one in force.

use std::sync::{Arc, OnceLock};

use tracing::{info, warn};

use super::{Controller, Current, State};
use crate::{
    core::{
        desired::{Desired, hex},
        removal,
    },
    manifest::{self, entries::Loaded},
    store::StoreError,
};

/// A file that is written all the time is read all the same; a large removal still waits for a person.
const MAX_WAITS: u32 = 7;

/// A good file that is not in force, because it takes so much out that it may be half a file.
#[derive(Debug, Clone)]
pub struct Pending {
    /// To agree with: `spark-control approve ID`.
    pub id: String,
}

impl Controller {
    /// Wait, for a second at most, while somebody writes the file: half of it may be valid.
    pub(super) async fn file_is_quiet(&self) {
        for _ in 0..MAX_WAITS {
            let age = std::fs::metadata(&self.places.file)
                .and_then(|metadata| metadata.modified())
                .ok()
                .and_then(|modified| modified.elapsed().ok());
            match age {
                Some(age) if age < self.world.quiet => tokio::time::sleep(self.world.quiet - age).await,
                _ => return,
            }
        }
    }

    /// What the file says at this moment, when that is new and could be in force.
    pub(super) fn desired_so_far(&self) -> Option<Desired> {
        let bytes = manifest::read::read(&self.places.file).ok()?;
        if self.state().last_text.as_ref() == Some(&bytes) {
            return None;
        }
        let text = manifest::read::text(bytes).ok()?;
        Some(manifest::load::load(&text).ok()?.desired)
    }

    /// Read the file, and put it in force when it can be.
    /// Without `record` it is only for showing: nothing of it is remembered. Tells what was read.
    pub(super) fn read_file(&self, record: bool) -> Result<std::io::Result<Vec<u8>>, StoreError> {
        let path = &self.places.file;
        let mut bytes = manifest::read::read(path);
        if !matches!(&bytes, Ok(bytes) if self.state().last_text.as_ref() == Some(bytes)) {
            // An edit that meets another one is at its place for a moment: nobody reads it then.
            let _turn = manifest::replace::turn_of_reader(path);
            bytes = manifest::read::read(path);
        }
        match bytes {
            Ok(bytes) => {
                self.take_text(&bytes, record)?;
                Ok(Ok(bytes))
            }
            Err(error) => {
                let mut state = self.state();
                state.last_text = None;
                let mut message = format!("reading {}: {error}", self.places.file.display());
                if error.kind() == std::io::ErrorKind::NotFound {
                    message.push_str("; write one, or name another with --file");
                }
                self.refuse(&mut state, message, record)?;
                Ok(Err(error))
            }
        }
    }

    /// Put a text in force when it can be.
    pub(super) fn take_text(&self, bytes: &[u8], record: bool) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.last_text.as_deref() == Some(bytes) {
            return Ok(());
        }
        state.pending = None;
        let path = self.places.file.display().to_string();
        let loaded = match manifest::read::text(bytes.to_vec()) {
            Ok(text) => manifest::load::load(&text)
                .map_err(|problems| manifest::render(&problems, &path, &text))
                .map(|loaded| (loaded, text)),
            Err(why) => Err(format!("{path}: {why}")),
        };
        match loaded {
            Ok((loaded, text)) => self.take_in(&mut state, loaded, &text, record)?,
            Err(message) => self.refuse(&mut state, message, record)?,
        }
        // What was only shown is taken in when it is acted on.
        state.last_text = record.then(|| bytes.to_vec());
        Ok(())
    }

    fn take_in(&self, state: &mut State, loaded: Loaded, text: &str, record: bool) -> Result<(), StoreError> {
        let id = removal_id(text);
        let removal =
            state.current.as_ref().and_then(|current| removal::large(&current.desired, &loaded.desired));
        if let Some(what) = removal.filter(|_| !state.ledger.accepted_removals.contains(&id)) {
            state.pending = Some(Pending { id: id.clone() });
            let message = format!(
                "LargeRemoval: {what}, which may be half a file; to agree: spark-control approve {id}"
            );
            return self.refuse(state, message, record);
        }
        let now = (self.world.now)();
        let revision = match state.store.last_revision()? {
            Some((revision, known)) if known == text => revision,
            last if !record => last.map_or(1, |(revision, _)| revision + 1),
            _ => {
                let revision = state.store.add_revision(text, now)?;
                info!(revision, "the file is in force");
                state.store.add_event("revision", "", &format!("revision {revision} is in force"), now)?;
                revision
            }
        };
        // Agreed to once, for these bytes.
        if record && state.ledger.accepted_removals.remove(&id) {
            state.keep_ledger()?;
        }
        state.warnings = manifest::report::messages(&loaded.warnings, text);
        if manifest::replace::is_mounted_by_itself(&self.places.file) {
            let note =
                "the file is mounted by itself: who reads it while a command edits it may see a part of it";
            state.warnings.push(format!("{note}; mount its folder instead"));
        }
        let (text, desired) = (text.into(), Arc::new(loaded.desired));
        state.current = Some(Current { revision, text, desired, value: OnceLock::new() });
        state.file_error = None;
        Ok(())
    }

    fn refuse(&self, state: &mut State, message: String, record: bool) -> Result<(), StoreError> {
        if record && state.file_error.as_ref() != Some(&message) {
            let then = if state.current.is_some() {
                "the last good one stays"
            } else {
                "nothing is done until it is"
            };
            warn!("the file is not in force; {then}\n{message}");
            // Commands that work without a controller come one after the other.
            if state.store.events(1)?.last().is_none_or(|event| event.message != message) {
                state.store.add_event("file", "", &message, (self.world.now)())?;
            }
        }
        state.file_error = Some(message);
        Ok(())
    }
}

/// Names these very bytes.
fn removal_id(text: &str) -> String {
    use sha2::{Digest, Sha256};
    hex(&Sha256::digest(text.as_bytes())[..6])
}
