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
    let target = std::fs::canonicalize(file).ok();
    let names: Vec<_> = [Some(file), target.as_deref()]
        .into_iter()
        .flatten()
        .filter_map(Path::file_name)
        .map(ToOwned::to_owned)
        .collect();
    let mut watcher = notify::recommended_watcher(move |event: Result<notify::Event, notify::Error>| {
        // An error means that events may have been missed: look again.
        let matters = event.map_or(true, |event| {
            let read_only = matches!(event.kind, EventKind::Access(kind)
                if kind != AccessKind::Close(AccessMode::Write));
            // Mounted configurations are swapped by a link that begins with two dots.
            let ours = event.paths.is_empty()
                || event.paths.iter().filter_map(|path| path.file_name()).any(|name| {
                    names.iter().any(|ours| ours == name) || name.as_encoded_bytes().starts_with(b"..")
                });
            ours && !read_only
        });
        if matters {
            changed.notify_one();
        }
    })?;
    watcher.watch(&directory, RecursiveMode::NonRecursive)?;
    // What a link points to is edited where it is. A link that points elsewhere later is found by the interval.
    let here = std::fs::canonicalize(&directory).ok();
    let elsewhere =
        target.as_deref().and_then(Path::parent).filter(|folder| here.as_deref() != Some(*folder));
    if let Some(elsewhere) = elsewhere {
        watcher.watch(elsewhere, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    async fn is_woken(wake: &Notify) -> bool {
        tokio::time::timeout(Duration::from_millis(500), wake.notified()).await.is_ok()
    }

    /// If this failed, an edit would be found only by the interval, or every file beside it would keep the loop awake.
    #[tokio::test]
    async fn every_way_to_change_the_file_is_seen_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (here, there) = (folder.path().join("here"), folder.path().join("there"));
        fs::create_dir(&here).unwrap();
        fs::create_dir(&there).unwrap();
        fs::write(there.join("real.yaml"), "1").unwrap();
        symlink("../there/real.yaml", here.join("cluster.yaml")).unwrap();
        let wake = Arc::new(Notify::new());
        let _watcher = watch(&here.join("cluster.yaml"), wake.clone()).unwrap();
        assert!(!is_woken(&wake).await);

        fs::write(there.join("real.yaml"), "2").unwrap();
        assert!(is_woken(&wake).await, "what the link points to was written");
        while is_woken(&wake).await {}
        fs::write(there.join("new"), "3").unwrap();
        fs::rename(there.join("new"), there.join("real.yaml")).unwrap();
        assert!(is_woken(&wake).await, "renamed over");
        while is_woken(&wake).await {}
        symlink("../there/other.yaml", here.join("link")).unwrap();
        fs::rename(here.join("link"), here.join("cluster.yaml")).unwrap();
        assert!(is_woken(&wake).await, "the link was exchanged");
        while is_woken(&wake).await {}
        fs::write(here.join("unrelated"), "4").unwrap();
        let _ = fs::read(there.join("real.yaml"));
        assert!(!is_woken(&wake).await, "another file, and a reader");
        symlink("..2026", here.join("..data")).unwrap();
        assert!(is_woken(&wake).await, "as mounted configurations are swapped");
        while is_woken(&wake).await {}
        fs::remove_file(here.join("cluster.yaml")).unwrap();
        assert!(is_woken(&wake).await, "deleted");
        while is_woken(&wake).await {}
        fs::write(here.join("cluster.yaml"), "5").unwrap();
        assert!(is_woken(&wake).await, "restored");
        while is_woken(&wake).await {}
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let file = here.join("cluster.yaml");
                std::thread::spawn(move || (0..2000).for_each(|_| drop(fs::read(&file))))
            })
            .collect();
        assert!(!is_woken(&wake).await, "a storm of readers");
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    }

    /// If this failed, what people edit with would need the interval.
    #[tokio::test]
    async fn real_editors_are_seen() {
        use std::process::{Command, Stdio};
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cluster.yaml");
        fs::write(&file, "version: 1\n").unwrap();
        let wake = Arc::new(Notify::new());
        let _watcher = watch(&file, wake.clone()).unwrap();
        let backup = "set backup backupcopy=no";
        let editors: [(&str, &[&str]); 4] = [
            ("sed", &["-i", "s/1/2/"]),
            ("vim", &["-es", "-N", "-u", "NONE", "-c", "%s/2/3/", "-c", "wq"]),
            ("vim", &["-es", "-N", "-u", "NONE", "-c", backup, "-c", "%s/3/4/", "-c", "wq"]),
            ("vim", &["-es", "-N", "-u", "NONE", "-c", "set backupcopy=yes", "-c", "%s/4/5/", "-c", "wq"]),
        ];
        for (at, (editor, words)) in editors.into_iter().enumerate() {
            while is_woken(&wake).await {}
            let edit = Command::new(editor).args(words).arg(&file).stdin(Stdio::null()).status();
            assert!(edit.unwrap_or_else(|error| panic!("{editor}: {error}")).success(), "{editor} {words:?}");
            assert!(is_woken(&wake).await, "{editor} {words:?}");
            assert_eq!(fs::read_to_string(&file).unwrap(), format!("version: {}\n", at + 2));
        }
    }
}
