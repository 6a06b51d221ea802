//! Edits of desired state that do not come from an editor: read, check, change and replace the file, and lose nobody's
//! edit (promise 16). Whoever edits holds the data directory's lock, or asks the controller that does.

use std::{collections::BTreeSet, io::ErrorKind, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{
    Controller,
    tag::{EditBase, FileTag, removal_id},
};
use crate::{
    core::{
        decide::{
            loosens::{Loosened, loosens},
            planner, removal, schedule,
            view::View,
        },
        model::{
            access::Role, desired::Desired, event_kind::EventKind, id::RemovalId, object::Object, plan::Plan,
        },
    },
    manifest::{
        self,
        edit::{self, TextChange},
        entries::Loaded,
        replace::{ReplaceError, Replaced, create, replace},
        report::ProblemReport,
    },
    store::StoreError,
};

/// What a file that is made begins with.
const FIRST: &str = "# What this cluster should be. Edits keep comments; `spark-control schema` tells the fields.\nversion: 1\n";

/// What is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EditRequest {
    /// What the change was made from; without it, what the file holds now.
    pub base: Option<EditBase>,
    pub change: RequestedChange,
    /// Tell what would happen, and write nothing.
    pub dry_run: bool,
    /// Make the file when there is none; else that is an error.
    #[serde(default)]
    pub create: bool,
    /// For the history.
    pub by: String,
    /// What whoever asks may. Who has the machine may everything.
    #[serde(default = "everything")]
    pub role: Role,
    /// Whose holds it may change and release.
    #[serde(default)]
    pub owner: Option<String>,
}

fn everything() -> Role {
    Role::Approve
}

impl EditRequest {
    /// Of somebody on this machine.
    pub fn local(base: Option<EditBase>, change: RequestedChange, by: String) -> Self {
        Self { base, change, dry_run: false, create: false, by, role: Role::Approve, owner: None }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestedChange {
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
    /// In force now. When `pending_approval`, the one before.
    pub revision: Option<u64>,
    /// Of what the file holds now.
    pub tag: FileTag,
    /// What to approve for the new text to come into force: it takes much out.
    pub pending_approval: Option<RemovalId>,
    /// That in words.
    #[serde(default)]
    pub pending_reason: Option<String>,
    pub written: bool,
    /// Unified; empty when nothing changes.
    pub diff: String,
    pub warnings: Vec<String>,
    /// What would be done, as far as the Sparks were seen.
    pub plan: Option<Plan>,
}

/// What the file holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FileContent {
    /// `None`: what the file holds is not in force.
    pub revision: Option<u64>,
    pub tag: FileTag,
    pub text: Arc<str>,
    /// `None` when it is not YAML.
    pub value: Option<Arc<Json>>,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A hold of the file, to somebody who wants to change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldAccess {
    Absent,
    /// It is theirs, or it has expired and stops nobody.
    Free,
    /// It is in force, and of this owner.
    Of(String),
}

/// Is this entry of `holds` in force, as the file has it?
pub fn is_in_force(hold: &Json, now: Timestamp) -> bool {
    let until = hold["until"].as_str().and_then(|until| until.parse::<Timestamp>().ok());
    until.is_none_or(|until| until > now)
}

impl FileContent {
    /// The hold of that name, to `owner`.
    ///
    /// # Errors
    /// As [`Self::value`].
    pub fn hold(&self, name: &str, owner: &str, now: Timestamp) -> Result<HoldAccess, NotEdited> {
        let Some(hold) = self.value()?["holds"].get(name) else { return Ok(HoldAccess::Absent) };
        let holder = hold["owner"].as_str().unwrap_or_default();
        Ok(if holder != owner && is_in_force(hold, now) {
            HoldAccess::Of(holder.to_owned())
        } else {
            HoldAccess::Free
        })
    }

    /// # Errors
    /// [`NotEdited::FileInvalid`] when it is not YAML.
    pub fn value(&self) -> Result<&Arc<Json>, NotEdited> {
        self.value.as_ref().ok_or_else(|| NotEdited::FileInvalid(self.problem.clone().unwrap_or_default()))
    }
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum NotEdited {
    #[error("{base} is not what the file holds any more; changed since: {}", .fields.join(", "))]
    Conflict {
        /// In words.
        base: String,
        fields: Vec<String>,
        /// Those of them that this edit would change, too.
        clashing: Vec<String>,
    },
    #[error("the file was changed at the same moment ({}); that change stays, try again", .fields.join(", "))]
    ConcurrentEdit { fields: Vec<String> },
    #[error("the file is not valid now, so it is replaced as a whole, or edited by hand:\n{0}")]
    FileInvalid(String),
    #[error("{0}; an edit with `--create` makes one, too")]
    NoFile(String),
    #[error("the file is read-only: {0}")]
    FileReadOnly(String),
    #[error("this is not a JSON patch: {0}")]
    NotAPatch(String),
    #[error(transparent)]
    Refused(#[from] crate::manifest::refused::Refused),
    #[error("this is for who may approve, and a token that may edit does not suffice: {}", .0.join("; "))]
    Loosens(Vec<String>),
    #[error("the file would not be valid:\n{text}")]
    Invalid { text: String, problems: Vec<ProblemReport> },
    #[error("writing the file: {0}")]
    Io(#[from] std::io::Error),
    #[error("another edit has not ended within {} s; nothing is written, try again", EDIT_WAIT.as_secs())]
    Busy,
    #[error(
        "the edit has not ended within {0} s, and may yet be written: look at the file again before you repeat it"
    )]
    Late(u64),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How long an edit waits for the one before it. Each is over in a second, unless the disk of the file hangs.
const EDIT_WAIT: Duration = Duration::from_secs(5);

impl Controller {
    /// What the file holds, valid or not, and whether that is in force.
    ///
    /// # Errors
    /// [`NotEdited::FileInvalid`] when it cannot be read at all.
    pub fn desired_now(&self) -> Result<FileContent, NotEdited> {
        let bytes = manifest::read::read(&self.places.file);
        if let Ok(bytes) = &bytes
            && let Some(known) = self.in_force_as(bytes)
        {
            return Ok(known);
        }
        // Saved a moment ago, and perhaps still being written: it is told, and comes into force in its round.
        let bytes = bytes.map_err(|error| self.unreadable(&error))?;
        let (text, value) = match self.text_of(&bytes) {
            Ok(text) => {
                let value = self.value(&text);
                (text, value)
            }
            // To be seen, and replaced by what can be read.
            Err(NotEdited::FileInvalid(why)) => (String::from_utf8_lossy(&bytes).into_owned(), Err(why)),
            Err(error) => return Err(error),
        };
        let revision = self.revision_of(&text)?;
        let (value, problem) = parted(value);
        Ok(FileContent { revision, tag: FileTag::of(revision, &bytes), text: text.into(), value, problem })
    }

    /// What is in force, when those are its bytes.
    fn in_force_as(&self, bytes: &[u8]) -> Option<FileContent> {
        let state = self.state();
        let current = state.current.as_ref().filter(|current| current.text.as_bytes() == bytes)?;
        let value = match current.value.get() {
            Some(value) => Ok(value.clone()),
            None => self.value(&current.text).map(|value| current.value.get_or_init(|| value).clone()),
        };
        let revision = Some(current.revision);
        let (value, problem) = parted(value);
        Some(FileContent {
            revision,
            tag: FileTag::of(revision, bytes),
            text: current.text.clone(),
            value,
            problem,
        })
    }

    fn value(&self, text: &str) -> Result<Arc<Json>, String> {
        edit::value(text).map(Arc::new).map_err(|problem| self.told(&[problem], text))
    }

    fn unreadable(&self, error: &std::io::Error) -> NotEdited {
        let why = manifest::read::unreadable(&self.places.file, error);
        if error.kind() == ErrorKind::NotFound { NotEdited::NoFile(why) } else { NotEdited::FileInvalid(why) }
    }

    /// Change the file.
    ///
    /// # Errors
    /// [`NotEdited`]; the file is as it was.
    pub fn edit(&self, request: &EditRequest) -> Result<Edited, NotEdited> {
        let wanted = change(&request.change)?;
        // Who only looks waits for nobody, and nobody waits for them.
        let _turn = if request.dry_run {
            None
        } else {
            Some(self.edits.try_lock_for(EDIT_WAIT).ok_or(NotEdited::Busy)?)
        };
        let FileBeforeEdit { bytes, text, loaded: before, is_there } =
            self.before(request.create, matches!(wanted, TextChange::Whole(_)))?;
        if let Some(base) = &request.base {
            self.check_base(base, &bytes, &text, &wanted)?;
        }
        let new = edit::edited(&text, &wanted)?;
        let after = manifest::load::load(&new).map_err(|problems| self.invalid(&problems, &new))?;
        // An entry with errors of its own is tolerated in a file that a person wrote, and never written.
        let tolerated = before.as_ref().map_or_else(BTreeSet::new, set_aside);
        if !set_aside(&after).is_subset(&tolerated) {
            return Err(self.invalid(&after.warnings, &new));
        }
        self.check_role(request, before.as_ref(), &after)?;
        let revision = self.revision_of(&text)?;
        let mut warnings = manifest::report::messages(&after.warnings, &new);
        warnings.extend(before.as_ref().and_then(|before| self.takes_effect_later(before, &after)));
        warnings.extend(self.goes_on_suspended(before.as_ref(), &after));
        let mut edited = Edited {
            revision,
            tag: FileTag::of(revision, &bytes),
            pending_approval: None,
            pending_reason: None,
            written: false,
            diff: diff(if is_there { &text } else { "" }, &new),
            warnings,
            plan: self.plan_for(&after, revision.unwrap_or(0) + 1),
        };
        if request.dry_run {
            let state = self.state();
            let current = state.current.as_ref();
            let removal = current.and_then(|current| removal::large(&current.desired, &after.desired));
            edited.pending_approval = removal.as_ref().map(|_| removal_id(&new));
            edited.pending_reason = removal.map(|why| format!("{why}; it would wait for somebody to agree"));
        }
        if request.dry_run || (new.as_bytes() == bytes && is_there) {
            return Ok(edited);
        }
        let keep = self.places.data.join("cluster.yaml.before");
        let text_taken = self.texts.lock();
        let replaced = if is_there {
            replace(&self.places.file, &bytes, new.as_bytes(), &keep)
        } else {
            create(&self.places.file, new.as_bytes())
        };
        let replaced = match replaced {
            Ok(replaced) => replaced,
            Err(ReplaceError::Changed(found)) => {
                let found = String::from_utf8_lossy(&found).into_owned();
                return Err(NotEdited::ConcurrentEdit { fields: edit::changed_fields(&text, &found) });
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
        drop(text_taken);
        if let Err(error) = remembered {
            tracing::error!("remembering an edit: {error}");
        }
        edited.written = true;
        edited.revision = self.state().current.as_ref().map(|current| current.revision);
        edited.tag = FileTag::of(self.revision_of(&new).ok().flatten(), new.as_bytes());
        let state = self.state();
        edited.pending_approval = state.pending.as_ref().map(|pending| pending.id.clone());
        edited.pending_reason = state.pending.as_ref().and(state.file_error.clone());
        drop(state);
        self.wake.notify_one();
        Ok(edited)
    }

    /// The policy before the edit judges it.
    fn check_role(
        &self,
        request: &EditRequest,
        before: Option<&Loaded>,
        after: &Loaded,
    ) -> Result<(), NotEdited> {
        if request.role >= Role::Approve {
            return Ok(());
        }
        let in_force = self.state().current.as_ref().map(|current| current.desired.clone());
        // Without either there is nothing yet to be loosened.
        let Some(before) = before.map(|before| &before.desired).or(in_force.as_deref()) else {
            return Ok(());
        };
        let loosened = loosens(before, &after.desired, &|secret| self.places.allows(secret));
        let loosened = loosened.iter().filter(|loosened| !is_own_hold(loosened, before, request));
        let loosened: Vec<String> = loosened.map(ToString::to_string).collect();
        if loosened.is_empty() { Ok(()) } else { Err(NotEdited::Loosens(loosened)) }
    }

    /// What is changed; without a file, the beginning of one when it is to be made. What is replaced as a whole need not be valid.
    fn before(&self, create: bool, is_replaced: bool) -> Result<FileBeforeEdit, NotEdited> {
        // A link that leads nowhere is somebody's mistake, not a place for a file.
        if create
            && std::fs::symlink_metadata(&self.places.file)
                .is_err_and(|error| error.kind() == ErrorKind::NotFound)
        {
            let (bytes, text) = (Vec::new(), FIRST.to_owned());
            return Ok(FileBeforeEdit { bytes, text, loaded: None, is_there: false });
        }
        // Whatever a person saved a moment ago becomes a revision of its own first.
        let bytes = self.read_file(true)?.map_err(|error| self.unreadable(&error))?;
        let text = match self.text_of(&bytes) {
            Err(NotEdited::FileInvalid(_)) if is_replaced => String::from_utf8_lossy(&bytes).into_owned(),
            text => text?,
        };
        let loaded = match self.checked(&text) {
            Ok(loaded) => Some(loaded),
            Err(_) if is_replaced => None,
            Err(why) => return Err(NotEdited::FileInvalid(why)),
        };
        Ok(FileBeforeEdit { bytes, text, loaded, is_there: true })
    }

    fn text_of(&self, bytes: &[u8]) -> Result<String, NotEdited> {
        manifest::read::text(bytes.to_vec())
            .map_err(|why| NotEdited::FileInvalid(format!("{}: {why}", self.places.file.display())))
    }

    fn checked(&self, text: &str) -> Result<Loaded, String> {
        manifest::load::load(text).map_err(|problems| self.told(&problems, text))
    }

    fn told(&self, problems: &[manifest::FileProblem], text: &str) -> String {
        manifest::render(problems, &self.places.file.display().to_string(), text)
    }

    /// That the text is no valid file, with what is wrong with it.
    fn invalid(&self, problems: &[manifest::FileProblem], text: &str) -> NotEdited {
        NotEdited::Invalid {
            text: self.told(problems, text),
            problems: manifest::report::all_told(problems, text),
        }
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

    fn check_base(
        &self,
        base: &EditBase,
        bytes: &[u8],
        text: &str,
        wanted: &TextChange,
    ) -> Result<(), NotEdited> {
        let revision = match base {
            EditBase::Revision(revision) => Some(*revision),
            EditBase::Tags(tags) if tags.iter().any(|tag| tag.names(bytes)) => return Ok(()),
            EditBase::Tags(tags) => tags.first().and_then(|tag| tag.revision),
        };
        let known = match revision {
            Some(revision) => self.state().store.revision(revision)?,
            None => None,
        };
        // After a restore a number may be that of another text.
        let known = known.filter(|known| match base {
            EditBase::Revision(_) => true,
            EditBase::Tags(tags) => tags.iter().any(|tag| tag.names(known.as_bytes())),
        });
        let base = revision
            .map_or_else(|| "what it was made from".into(), |revision| format!("revision {revision}"));
        match known {
            Some(known) if known == text => Ok(()),
            Some(known) => {
                let fields = edit::changed_fields(&known, text);
                let ours = edit::edited(&known, wanted)
                    .map_or(Vec::new(), |ours| edit::changed_fields(&known, &ours));
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

    /// What an edit that suspends does not end.
    fn goes_on_suspended(&self, before: Option<&Loaded>, after: &Loaded) -> Vec<String> {
        let slots = after.desired.slots.keys();
        let suspended = slots.filter(|slot| {
            let was = before.is_some_and(|before| before.desired.is_suspended(slot));
            after.desired.is_suspended(slot) && !was
        });
        let state = self.state();
        suspended
            .filter_map(|slot| Some(format!("`{slot}`: {}", state.ledger.goes_on_suspended(slot)?)))
            .collect()
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
        Some(planner::plan(View { desired: &loaded.desired, observed, ledger: &state.ledger, now }, revision))
    }

    fn record(&self, by: &str, old: &str, new: &str, replaced: &Replaced) -> Result<(), StoreError> {
        let mut message = format!("edited by {by}: {}", edit::changed_fields(old, new).join(", "));
        if let Replaced::WrittenOver { before } = replaced {
            message = format!(
                "{message}; it is mounted by itself, so readers may have seen a part of it; what it held is in {}",
                before.display()
            );
        }
        self.state().store.add_event(EventKind::Edit, "", &message, (self.world.now)())
    }
}

/// What an edit starts from.
struct FileBeforeEdit {
    bytes: Vec<u8>,
    text: String,
    /// `None`: it is not valid, or not there.
    loaded: Option<Loaded>,
    is_there: bool,
}

fn parted<T, E>(result: Result<T, E>) -> (Option<T>, Option<E>) {
    match result {
        Ok(value) => (Some(value), None),
        Err(problem) => (None, Some(problem)),
    }
}

fn change(asked: &RequestedChange) -> Result<TextChange, NotEdited> {
    Ok(match asked {
        RequestedChange::Merge(patch) => TextChange::Merge(patch.clone()),
        RequestedChange::Patch(patch) => TextChange::Patch(
            serde_json::from_value(patch.clone()).map_err(|error| NotEdited::NotAPatch(error.to_string()))?,
        ),
        RequestedChange::Whole(text) => TextChange::Whole(text.clone()),
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

/// What is loosened is a hold of the owner who asks.
fn is_own_hold(loosened: &Loosened, before: &Desired, request: &EditRequest) -> bool {
    let hold = loosened
        .place
        .strip_prefix("/holds/")
        .and_then(|name| before.holds.iter().find(|(known, _)| known.as_str() == name));
    hold.is_some_and(|(_, hold)| request.owner.as_ref() == Some(&hold.owner))
}

fn diff(old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let lines = similar::TextDiff::from_lines(old, new);
    lines.unified_diff().context_radius(2).header("cluster.yaml", "cluster.yaml, edited").to_string()
}
