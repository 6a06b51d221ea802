//! Edits of desired state that do not come from an editor: read, check, change and replace the file, and lose nobody's
//! edit (promise 16). Whoever edits holds the data directory's lock, or asks the controller that does.

use std::{collections::BTreeSet, io::ErrorKind, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Controller;
use crate::{
    core::{desired::Object, plan::Plan, planner, removal, schedule},
    manifest::{
        self,
        edit::{self, Change},
        entries::Loaded,
        replace::{ReplaceError, Replaced, create, replace},
    },
    store::StoreError,
};

/// What a file that is made begins with.
const FIRST: &str = "# What this cluster should be. Edits keep comments; `spark-control schema` tells the fields.\nversion: 1\n";

/// What is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// The revision that the change was made from; without it, what the file holds now.
    pub base: Option<u64>,
    pub change: Asked,
    /// Tell what would happen, and write nothing.
    pub dry_run: bool,
    /// Make the file when there is none; else that is an error.
    #[serde(default)]
    pub create: bool,
    /// For the history.
    pub by: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// RFC 7396.
    Merge(Json),
    /// RFC 6902.
    Patch(Json),
    /// The whole text.
    Whole(String),
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Edited {
    /// In force now. When `waits`, the one before.
    pub revision: Option<u64>,
    /// Why the new text is not in force yet: it takes much out, and a person must agree.
    pub waits: Option<String>,
    pub written: bool,
    /// Unified; empty when nothing changes.
    pub diff: String,
    pub warnings: Vec<String>,
    /// What would be done, as far as the Sparks were seen.
    pub plan: Option<Plan>,
}

/// What the file holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Current {
    /// `None`: what the file holds is not in force.
    pub revision: Option<u64>,
    pub text: Arc<str>,
    pub value: Arc<Json>,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum NotEdited {
    #[error("revision {base} is not what the file holds any more; changed since: {}", .fields.join(", "))]
    Conflict {
        base: u64,
        fields: Vec<String>,
        /// Those of them that this edit would change, too.
        clashing: Vec<String>,
    },
    #[error("the file was changed at the same moment ({}); that change stays, try again", .fields.join(", "))]
    Overtaken { fields: Vec<String> },
    #[error("the file is not valid now, so it can only be edited by hand:\n{0}")]
    FileInvalid(String),
    #[error("the file is read-only: {0}")]
    FileReadOnly(String),
    #[error("this is not a JSON patch: {0}")]
    NotAPatch(String),
    #[error(transparent)]
    Refused(#[from] edit::Refused),
    #[error("the file would not be valid:\n{0}")]
    Invalid(String),
    #[error("writing the file: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Controller {
    /// What the file holds, and whether that is in force.
    ///
    /// # Errors
    /// [`NotEdited::FileInvalid`] when it is not YAML.
    pub fn desired_now(&self) -> Result<Current, NotEdited> {
        let bytes = manifest::read::read(&self.places.file);
        if let Ok(bytes) = &bytes
            && let Some(known) = self.in_force_as(bytes)?
        {
            return Ok(known);
        }
        // Saved a moment ago, and perhaps still being written: it is told, and comes into force in its round.
        let text = self.text_of(bytes)?;
        let value = self.value(&text)?.into();
        Ok(Current { revision: self.revision_of(&text)?, text: text.into(), value })
    }

    /// What is in force, when those are its bytes.
    fn in_force_as(&self, bytes: &[u8]) -> Result<Option<Current>, NotEdited> {
        let state = self.state();
        let Some(current) = state.current.as_ref().filter(|current| current.text.as_bytes() == bytes) else {
            return Ok(None);
        };
        let value = match current.value.get() {
            Some(value) => value.clone(),
            None => {
                let value = self.value(&current.text)?.into();
                current.value.get_or_init(|| value).clone()
            }
        };
        Ok(Some(Current { revision: Some(current.revision), text: current.text.clone(), value }))
    }

    fn value(&self, text: &str) -> Result<Json, NotEdited> {
        edit::value(text).map_err(|problem| NotEdited::FileInvalid(self.told(&[problem], text)))
    }

    /// Change the file.
    ///
    /// # Errors
    /// [`NotEdited`]; the file is as it was.
    pub fn edit(&self, request: &Request) -> Result<Edited, NotEdited> {
        let _edit = self.edits.lock().expect("a panic while editing ends the program");
        let Before { text, loaded: before } = self.before(request.create)?;
        let wanted = change(&request.change)?;
        if let Some(base) = request.base {
            self.check_base(base, &text, &wanted)?;
        }
        let new = edit::edited(&text, &wanted)?;
        let after = self.checked(&new).map_err(NotEdited::Invalid)?;
        // An entry with errors of its own is tolerated in a file that a person wrote, and never written.
        let tolerated = before.as_ref().map_or_else(BTreeSet::new, set_aside);
        if !set_aside(&after).is_subset(&tolerated) {
            return Err(NotEdited::Invalid(self.told(&after.warnings, &new)));
        }
        let revision = self.revision_of(&text)?;
        let mut warnings = manifest::report::messages(&after.warnings, &new);
        warnings.extend(before.as_ref().and_then(|before| self.takes_effect_later(before, &after)));
        let mut edited = Edited {
            revision,
            waits: None,
            written: false,
            diff: diff(if before.is_some() { &text } else { "" }, &new),
            warnings,
            plan: self.plan_for(&after, revision.unwrap_or(0) + 1),
        };
        if request.dry_run {
            let state = self.state();
            let current = state.current.as_ref();
            let removal = current.and_then(|current| removal::large(&current.desired, &after.desired));
            edited.waits = removal.map(|what| {
                format!("LargeRemoval: {what}, which may be half a file; it would wait for somebody to agree")
            });
        }
        if request.dry_run || (new == text && before.is_some()) {
            return Ok(edited);
        }
        let keep = self.places.data.join("cluster.yaml.before");
        let replaced = match before {
            Some(_) => replace(&self.places.file, text.as_bytes(), new.as_bytes(), &keep),
            None => create(&self.places.file, new.as_bytes()),
        };
        let replaced = match replaced {
            Ok(replaced) => replaced,
            Err(ReplaceError::Changed(found)) => {
                let found = String::from_utf8_lossy(&found).into_owned();
                return Err(NotEdited::Overtaken { fields: changed_fields(&text, &found) });
            }
            Err(ReplaceError::ReadOnly(error)) => return Err(NotEdited::FileReadOnly(error.to_string())),
            Err(ReplaceError::Io(error)) => return Err(error.into()),
            Err(torn @ ReplaceError::Torn { .. }) => {
                return Err(std::io::Error::other(torn.to_string()).into());
            }
        };
        // The file is what was asked for: what cannot be remembered of it now is found by the next round.
        let plan = edited.plan.as_ref().filter(|plan| plan.has_steps());
        let remembered = self
            .record(&request.by, &text, &new, &replaced)
            .and_then(|()| self.take_text(new.as_bytes(), true))
            .and_then(|()| plan.map_or(Ok(()), |plan| self.keep_plan(plan)));
        if let Err(error) = remembered {
            tracing::error!("remembering an edit: {error}");
        }
        edited.written = true;
        edited.revision = self.state().current.as_ref().map(|current| current.revision);
        let state = self.state();
        edited.waits = state.pending.is_some().then(|| state.file_error.clone()).flatten();
        drop(state);
        self.wake.notify_one();
        Ok(edited)
    }

    /// What is changed; without a file, the beginning of one when it is to be made.
    fn before(&self, create: bool) -> Result<Before, NotEdited> {
        // A link that leads nowhere is somebody's mistake, not a place for a file.
        if create
            && std::fs::symlink_metadata(&self.places.file)
                .is_err_and(|error| error.kind() == ErrorKind::NotFound)
        {
            return Ok(Before { text: FIRST.to_owned(), loaded: None });
        }
        let text = self.file_text()?;
        let loaded = self.checked(&text).map_err(NotEdited::FileInvalid)?;
        Ok(Before { text, loaded: Some(loaded) })
    }

    fn file_text(&self) -> Result<String, NotEdited> {
        // Whatever a person saved a moment ago becomes a revision of its own first.
        let bytes = self.read_file(true)?;
        self.text_of(bytes)
    }

    fn text_of(&self, bytes: std::io::Result<Vec<u8>>) -> Result<String, NotEdited> {
        let bytes = bytes.map_err(|error| {
            NotEdited::FileInvalid(format!("reading {}: {error}", self.places.file.display()))
        })?;
        manifest::read::text(bytes)
            .map_err(|why| NotEdited::FileInvalid(format!("{}: {why}", self.places.file.display())))
    }

    fn checked(&self, text: &str) -> Result<Loaded, String> {
        manifest::load::load(text).map_err(|problems| self.told(&problems, text))
    }

    fn told(&self, problems: &[manifest::Problem], text: &str) -> String {
        manifest::render(problems, &self.places.file.display().to_string(), text)
    }

    /// The revision whose text this is, when it is the one in force.
    fn revision_of(&self, text: &str) -> Result<Option<u64>, StoreError> {
        let state = self.state();
        // What is in force was the last to be kept.
        if let Some(current) = state.current.as_ref().filter(|current| *current.text == *text) {
            return Ok(Some(current.revision));
        }
        let last = state.store.last_revision()?;
        Ok(last.filter(|(_, known)| known == text).map(|(revision, _)| revision))
    }

    fn check_base(&self, base: u64, text: &str, wanted: &Change) -> Result<(), NotEdited> {
        let known = self.state().store.revision(base)?;
        match known {
            Some(known) if known == text => Ok(()),
            Some(known) => {
                let fields = changed_fields(&known, text);
                let ours =
                    edit::edited(&known, wanted).map_or(Vec::new(), |ours| changed_fields(&known, &ours));
                let clashing = fields.iter().filter(|field| ours.iter().any(|our| overlap(field, our)));
                let clashing = clashing.cloned().collect();
                Err(NotEdited::Conflict { base, fields, clashing })
            }
            None => {
                let fields = vec!["everything: it is not kept".to_owned()];
                Err(NotEdited::Conflict { base, clashing: fields.clone(), fields })
            }
        }
    }

    /// Another `model`, while a window is open.
    fn takes_effect_later(&self, before: &Loaded, after: &Loaded) -> Option<String> {
        let main = Object::main();
        let [old, new] =
            [before, after].map(|loaded| loaded.desired.slots.get(&main).map(|slot| &slot.wanted));
        let (name, window, closes) =
            schedule::open(&main, &after.desired, (self.world.now)()).filter(|_| old != new)?;
        Some(format!(
            "the window `{name}` keeps `{}` until {closes:.0}; `model` applies after it. To end the window now, take it \
             out: spark-control desired patch '{{\"schedule\":{{\"{name}\":null}}}}'",
            window.model
        ))
    }

    fn plan_for(&self, loaded: &Loaded, revision: u64) -> Option<Plan> {
        let state = self.state();
        let observed = state.observed.as_ref()?;
        let now = (self.world.now)();
        Some(planner::plan(&loaded.desired, revision, observed, &state.ledger, now))
    }

    fn record(&self, by: &str, old: &str, new: &str, replaced: &Replaced) -> Result<(), StoreError> {
        let mut message = format!("edited by {by}: {}", changed_fields(old, new).join(", "));
        if let Replaced::WrittenOver { before } = replaced {
            message = format!(
                "{message}; it is mounted by itself, so readers may have seen a part of it; what it held is in {}",
                before.display()
            );
        }
        self.state().store.add_event("edit", "", &message, (self.world.now)())
    }
}

/// What an edit starts from.
struct Before {
    text: String,
    /// `None`: there is no file yet.
    loaded: Option<Loaded>,
}

fn change(asked: &Asked) -> Result<Change, NotEdited> {
    Ok(match asked {
        Asked::Merge(patch) => Change::Merge(patch.clone()),
        Asked::Patch(patch) => Change::Patch(
            serde_json::from_value(patch.clone()).map_err(|error| NotEdited::NotAPatch(error.to_string()))?,
        ),
        Asked::Whole(text) => Change::Whole(text.clone()),
    })
}

fn set_aside(loaded: &Loaded) -> BTreeSet<String> {
    loaded.set_aside.iter().cloned().collect()
}

/// One of two JSON pointers is the other, or holds it.
fn overlap(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// JSON pointers of what differs between two texts.
fn changed_fields(old: &str, new: &str) -> Vec<String> {
    match (edit::value(old), edit::value(new)) {
        (Ok(old), Ok(new)) => {
            let fields = edit::differing(&old, &new);
            if fields.is_empty() { vec!["only how it is written".into()] } else { fields }
        }
        _ => vec!["everything: it cannot be read".into()],
    }
}

fn diff(old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let lines = similar::TextDiff::from_lines(old, new);
    lines.unified_diff().context_radius(2).header("cluster.yaml", "cluster.yaml, edited").to_string()
}
