//! Seeing that `cluster.yaml` changed, however it was changed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{
    EventKind, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::sync::Notify;

/// Editors write in bursts; a file is read when it has been quiet for this long.
pub const QUIET: Duration = Duration::from_millis(150);

/// Signals `changed` when something happened in the file's directory. The directory is watched, not the file: a
/// rename over the file, an editor's save or a swapped symlink ends a watch on the file itself. Reading the file
/// does not signal. Keep the returned watcher alive.
///
/// # Errors
/// When the directory cannot be watched, for example because it does not exist.
pub fn watch(file: &Path, changed: Arc<Notify>) -> Result<impl Watcher + use<>, notify::Error> {
    let directory: PathBuf = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut watcher = notify::recommended_watcher(move |event: Result<notify::Event, notify::Error>| {
        // An error means that events may have been missed: look again.
        let read_only = event.is_ok_and(|event| {
            matches!(event.kind, EventKind::Access(kind)
                if kind != AccessKind::Close(AccessMode::Write))
        });
        if !read_only {
            changed.notify_one();
        }
    })?;
    watcher.watch(&directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
