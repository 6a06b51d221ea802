//! Reading the file: a good one becomes a revision, a bad one leaves the last good one in force.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use tracing::{info, warn};

use super::{
    Controller,
    state::{ControllerState, FileInForce, PendingFile},
    tag::removal_id,
};
use crate::{
    core::{
        decide::removal,
        model::{access::Role, desired::Desired, event_kind::EventKind},
    },
    host::quote_if_needed,
    manifest::{self, entries::Loaded},
    store::{StoreError, history},
};

/// A file that is written all the time is read all the same; a large removal still waits for a person.
const MAX_WAITS: u32 = 7;

/// A line of the history is read at a glance.
const SHOWN_CHANGES: usize = 4;

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
        if let Ok(bytes) = manifest::read::read(path)
            && self.state().last_text.as_ref() == Some(&bytes)
        {
            return Ok(Ok(bytes));
        }
        self.read_by(record, || {
            // An edit that meets another one is at its place for a moment: nobody reads it then.
            let _turn = manifest::replace::lock_as_reader(path);
            manifest::read::read(path)
        })
    }

    fn read_by(
        &self,
        record: bool,
        read: impl FnOnce() -> std::io::Result<Vec<u8>>,
    ) -> Result<std::io::Result<Vec<u8>>, StoreError> {
        let _text = self.texts.lock();
        match read() {
            Ok(bytes) => {
                self.take_text(&bytes, record)?;
                Ok(Ok(bytes))
            }
            Err(error) => {
                let mut state = self.state();
                state.last_text = None;
                let message = manifest::read::unreadable(&self.places.file, &error);
                self.refuse(&mut state, message, record)?;
                Ok(Err(error))
            }
        }
    }

    /// Put a text in force when it can be. Whoever read or wrote it holds `texts` since then.
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
            Ok((loaded, text)) => self.put_in_force(&mut state, loaded, &text, record)?,
            Err(message) => self.refuse(&mut state, message, record)?,
        }
        // What was only shown is taken in when it is acted on.
        state.last_text = record.then(|| bytes.to_vec());
        Ok(())
    }

    fn put_in_force(
        &self,
        state: &mut ControllerState,
        loaded: Loaded,
        text: &str,
        record: bool,
    ) -> Result<(), StoreError> {
        let id = removal_id(text);
        let removal =
            state.current.as_ref().and_then(|current| removal::large(&current.desired, &loaded.desired));
        if let Some(why) = removal.filter(|_| !state.ledger.accepted_removals.contains(&id)) {
            state.pending = Some(PendingFile { id: id.clone() });
            let message = format!("{why}; to agree: spark-control approve {id}");
            return self.refuse(state, message, record);
        }
        let now = (self.world.now)();
        let revision = match state.store.last_revision()? {
            Some((revision, known)) if known == text => revision,
            last if !record => last.map_or(1, |(revision, _)| revision + 1),
            last => {
                let revision = state.store.add_revision(text, now)?;
                info!(revision, "the file is in force");
                let changed = last.map_or(String::new(), |(_, before)| of_changes(&before, text));
                let message = format!("revision {revision} is in force{changed}");
                state.store.add_event(EventKind::Revision, "", &message, now)?;
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
        let can_edit = state.store.tokens()?.iter().any(|token| token.role == Role::Edit);
        if can_edit {
            state.warnings.extend(self.secrets_told(&loaded.desired));
        }
        let (text, desired) = (text.into(), Arc::new(loaded.desired));
        state.current = Some(FileInForce { revision, text, desired, value: OnceLock::new() });
        state.file_error = None;
        Ok(())
    }

    /// Places of secrets that edits may not name, while there is somebody who may only edit: they work as they are.
    fn secrets_told(&self, desired: &Desired) -> Vec<String> {
        let places: BTreeSet<String> = desired
            .secrets()
            .chain(
                desired
                    .notify
                    .values()
                    .flat_map(|target| target.url.secret().into_iter().chain(&target.secret)),
            )
            .filter(|secret| !self.places.allows(secret))
            .map(|secret| secret.to_string().replace(": ", ":"))
            .collect();
        let told = places.into_iter().map(|place| {
            format!(
                "the file names the secret at `{place}`, which a token that may only edit may not name: it works as it is, and its entry \
                 is changed by who may approve; to let edits name it: serve --allow-secret {}",
                quote_if_needed(&place)
            )
        });
        told.collect()
    }

    fn refuse(&self, state: &mut ControllerState, message: String, record: bool) -> Result<(), StoreError> {
        if record && state.file_error.as_ref() != Some(&message) {
            let then = if state.current.is_some() {
                "the last good one stays"
            } else {
                "nothing is done until it is"
            };
            warn!("the file is not in force; {then}\n{message}");
            // Commands that work without a controller come one after the other.
            if state.store.events(1)?.last().is_none_or(|event| event.message != history::kept(&message)) {
                state.store.add_event(EventKind::File, "", &message, (self.world.now)())?;
            }
        }
        state.file_error = Some(message);
        Ok(())
    }
}

/// What of the file is another, as the history says it.
fn of_changes(before: &str, now: &str) -> String {
    let fields = crate::manifest::edit::changed_fields(before, now);
    let fields: Vec<&str> = fields.iter().map(|field| field.trim_start_matches('/')).collect();
    let shown = fields[..fields.len().min(SHOWN_CHANGES)].join(", ");
    match fields.len().saturating_sub(SHOWN_CHANGES) {
        0 => format!("; changed: {shown}"),
        more => format!("; changed: {shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;
    use crate::{
        controller::{
            ControllerPaths, OutsideWorld,
            edit::{EditRequest, NotEdited, RequestedChange},
        },
        probe::http::HttpClient,
    };

    const FILE: &str = "version: 1\nname: test\nsparks:\n  spark1: { address: 192.0.2.1, user: alice }\n";

    fn controller(folder: &std::path::Path) -> Controller {
        std::fs::write(folder.join("cluster.yaml"), FILE).unwrap();
        let data = folder.join("data");
        std::fs::create_dir(&data).unwrap();
        let places = ControllerPaths {
            file: folder.join("cluster.yaml"),
            is_file_told: true,
            data,
            allowed_secrets: vec![],
        };
        let world = OutsideWorld {
            connect: Box::new(|_, _| unreachable!("nothing is asked of a Spark")),
            http: Arc::new(HttpClient::new(|_| unreachable!("nothing is asked of an endpoint"))),
            now: Box::new(jiff::Timestamp::now),
            name: "a".into(),
            start: "1".into(),
            quiet: Duration::ZERO,
        };
        Controller::new(places, world).unwrap()
    }

    /// If this failed, a text that was read before an edit would come into force after it, and the edit would be missing from
    /// a revision that is newer than its own.
    #[test]
    fn what_was_read_before_an_edit_does_not_come_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let controller = controller(folder.path());
        let merge = serde_json::json!({ "holds": { "talk": { "owner": "alice", "reason": "a talk" } } });
        let request = EditRequest::local(None, RequestedChange::Merge(merge), "alice".into());
        let (is_edited, edited) = mpsc::channel();
        std::thread::scope(|scope| {
            let read = controller.read_by(true, || {
                let bytes = std::fs::read(&controller.places.file);
                scope.spawn(|| {
                    controller.edit(&request).unwrap();
                    let _ = is_edited.send(());
                });
                // Until the edit is through, when nothing keeps it.
                let _ = edited.recv_timeout(Duration::from_millis(300));
                bytes
            });
            assert_eq!(read.unwrap().unwrap(), FILE.as_bytes());
        });
        let state = controller.state();
        let current = state.current.as_ref().unwrap();
        assert_eq!(current.revision, 2);
        assert!(current.text.contains("talk"), "{}", current.text);
    }

    /// If this failed, whoever edits while the disk of the file hangs would wait for ever, each on a thread of its own.
    #[test]
    fn an_edit_waits_for_the_one_before_it_for_some_seconds() {
        let folder = tempfile::tempdir().unwrap();
        let controller = controller(folder.path());
        let merge = serde_json::json!({ "holds": { "talk": { "owner": "alice", "reason": "a talk" } } });
        let request = EditRequest::local(None, RequestedChange::Merge(merge), "alice".into());
        let hangs = controller.edits.lock();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| controller.edit(&request));
            assert!(matches!(waiting.join().unwrap(), Err(NotEdited::Busy)));
        });
        assert_eq!(std::fs::read_to_string(&controller.places.file).unwrap(), FILE);
        drop(hangs);
        controller.edit(&request).unwrap();
    }
}
