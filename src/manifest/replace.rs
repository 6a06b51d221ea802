//! Putting a new text where the old one was, without losing an edit that somebody makes at the same moment.
//!
//! The new file is exchanged with the old one in one step of the kernel; if what came out is not what was read, it is
//! exchanged back. Two of us take turns, by a lock on the folder; an editor that saves in between is not lost either.
//! Mode and owner stay, a symbolic link is followed to what it names. A file that is mounted by itself (as containers do)
//! cannot be exchanged: it is written over, after its old bytes were kept elsewhere.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with},
    io::Errno,
};

/// Another one of us needs some milliseconds of it.
const LOCK_DEADLINE: Duration = Duration::from_secs(5);
/// Whoever saves more often while one edit is put back will save again.
const MOST_EXCHANGES: usize = 16;

/// How the new text got there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaced {
    /// In one step: every reader sees the old text or the new one.
    Exchanged,
    /// There was none.
    Created,
    /// Written over: a reader may have seen a part. The old bytes are in this file.
    WrittenOver { before: PathBuf },
}

#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// Somebody else wrote it meanwhile; theirs stays. It holds their bytes.
    #[error("the file was changed meanwhile")]
    Changed(Vec<u8>),
    #[error("the file cannot be written: {0}")]
    ReadOnly(io::Error),
    #[error("replacing the file: {0}")]
    Io(#[from] io::Error),
    /// Two texts changed places and could not be put back: the file may hold the new one, and the other is here.
    #[error("replacing the file ended in the middle: {error}; what it does not hold now is in {}", .other.display())]
    Torn { other: PathBuf, error: io::Error },
}

/// Replace the file at `path`, which was read as `expected`, by `new`. `keep` is where old bytes are kept when it must be
/// written over.
///
/// # Errors
/// [`ReplaceError`]; the file is as it was.
pub fn replace(path: &Path, expected: &[u8], new: &[u8], keep: &Path) -> Result<Replaced, ReplaceError> {
    let target = fs::canonicalize(path)?;
    let metadata = fs::metadata(&target)?;
    // The exchange asks only for the folder's permission; a file that says "read only" means it.
    if let Err(error) = OpenOptions::new().write(true).open(&target) {
        return Err(ReplaceError::ReadOnly(error));
    }
    if metadata.permissions().mode() & 0o222 == 0 {
        return Err(ReplaceError::ReadOnly(ErrorKind::PermissionDenied.into()));
    }
    let _turn = lock(&target)?;
    // Almost every time, so that an edit that comes too late is at its place not even for a moment.
    let found = fs::read(&target)?;
    if found != expected {
        return Err(ReplaceError::Changed(found));
    }
    let beside = match write_beside(&target, Some(&metadata), new) {
        Ok(beside) => beside,
        // The folder is not ours to write in; the file is.
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            return write_over(&target, expected, new, keep);
        }
        Err(error) => return Err(error.into()),
    };
    let replaced = exchange(&beside, &target, expected, new);
    if let Err(ReplaceError::Torn { error, .. }) = replaced {
        // Under a name that no edit of ours clears away.
        let kept = target.with_extension("yaml.kept");
        let other = if fs::rename(&beside, &kept).is_ok() { kept } else { beside };
        return Err(ReplaceError::Torn { other, error });
    }
    // What is beside now is the old text, or the new one that did not get there.
    let removed = fs::remove_file(&beside);
    match replaced {
        Ok(true) => {
            removed?;
            sync_folder(&target)?;
            Ok(Replaced::Exchanged)
        }
        Ok(false) => write_over(&target, expected, new, keep),
        Err(error) => Err(error),
    }
}

/// Make the file at `path`, for its owner and nobody else, and its folder. Whole, or not at all.
///
/// # Errors
/// [`ReplaceError::Changed`] when somebody made it meanwhile; theirs stays.
pub fn create(path: &Path, new: &[u8]) -> Result<Replaced, ReplaceError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let target =
        fs::canonicalize(folder)?.join(path.file_name().ok_or(io::Error::from(ErrorKind::InvalidInput))?);
    let _turn = lock(&target)?;
    let beside = write_beside(&target, None, new)?;
    let moved = match renameat_with(CWD, &beside, CWD, &target, RenameFlags::NOREPLACE) {
        // Not every file system can.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::hard_link(&beside, &target),
        other => other.map_err(io::Error::from),
    };
    let _ = fs::remove_file(&beside);
    match moved {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(ReplaceError::Changed(fs::read(&target)?));
        }
        other => other?,
    }
    sync_folder(&target)?;
    Ok(Replaced::Created)
}

/// Whoever reads while this is open sees no edit that is being put back. `None`: it is read without.
pub fn lock_as_reader(path: &Path) -> Option<File> {
    let target = fs::canonicalize(path).ok()?;
    lock_for(&target, FlockOperation::NonBlockingLockShared).ok()?
}

/// Nobody else of us edits or reads the file while this is open.
fn lock(target: &Path) -> io::Result<Option<File>> {
    lock_for(target, FlockOperation::NonBlockingLockExclusive)
}

fn lock_for(target: &Path, how: FlockOperation) -> io::Result<Option<File>> {
    let folder = File::open(target.parent().unwrap_or_else(|| Path::new("/")))?;
    let deadline = Instant::now() + LOCK_DEADLINE;
    loop {
        match flock(&folder, how) {
            Ok(()) => return Ok(Some(folder)),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(Errno::WOULDBLOCK) => {
                let message = "another Spark Control has been editing it for seconds; try again";
                return Err(io::Error::new(ErrorKind::TimedOut, message));
            }
            // Not everything that is mounted knows locks.
            Err(_) => return Ok(None),
        }
    }
}

/// The new text in a file of the same folder, of that mode and owner.
fn write_beside(target: &Path, like: Option<&fs::Metadata>, new: &[u8]) -> io::Result<PathBuf> {
    let folder = target.parent().unwrap_or_else(|| Path::new("/"));
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.spark-control-{}", std::process::id()));
    // Left by one of us that was killed.
    if let Err(error) = fs::remove_file(&beside)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = file
        .write_all(new)
        .and_then(|()| like.map_or(Ok(()), |like| give(&file, like)))
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    Ok(beside)
}

/// Mode and owner of another.
fn give(file: &File, like: &fs::Metadata) -> io::Result<()> {
    // Only root may give a file away; whoever else we are, the file was ours or shared by its group.
    match fchown(file, Some(like.uid()), Some(like.gid())) {
        Err(error) if error.kind() != ErrorKind::PermissionDenied => return Err(error),
        _ => {}
    }
    file.set_permissions(like.permissions())
}

/// Exchange the two. `false` when this place cannot: the caller must do otherwise.
fn exchange(beside: &Path, target: &Path, expected: &[u8], new: &[u8]) -> Result<bool, ReplaceError> {
    match swap(beside, target) {
        Ok(()) => {}
        // Mounted by itself; a file system that cannot; a folder that is another file system.
        Err(Errno::BUSY | Errno::INVAL | Errno::NOSYS | Errno::XDEV | Errno::OPNOTSUPP) => return Ok(false),
        Err(error) => return Err(io::Error::from(error).into()),
    }
    let torn = |error| ReplaceError::Torn { other: beside.to_owned(), error };
    let mut came_out = fs::read(beside).map_err(torn)?;
    if came_out == expected {
        return Ok(true);
    }
    // What came out is somebody else's and goes back. What comes out then is what we put there, or newer than both.
    let mut put = new.to_vec();
    for _ in 0..MOST_EXCHANGES {
        swap(beside, target).map_err(|error| torn(error.into()))?;
        let out = fs::read(beside).map_err(torn)?;
        if out == put {
            return Err(ReplaceError::Changed(came_out));
        }
        put = std::mem::replace(&mut came_out, out);
    }
    Err(torn(io::Error::other("somebody saves it again and again")))
}

/// Each gets the other's name, at once.
fn swap(beside: &Path, target: &Path) -> Result<(), Errno> {
    renameat_with(CWD, beside, CWD, target, RenameFlags::EXCHANGE)
}

fn write_over(target: &Path, expected: &[u8], new: &[u8], keep: &Path) -> Result<Replaced, ReplaceError> {
    let found = fs::read(target)?;
    if found != expected {
        return Err(ReplaceError::Changed(found));
    }
    let mut kept = File::create(keep)?;
    kept.write_all(&found)?;
    kept.sync_all()?;
    let mut file = OpenOptions::new().write(true).open(target).map_err(ReplaceError::ReadOnly)?;
    file.write_all(new)?;
    file.set_len(new.len() as u64)?;
    file.sync_all()?;
    Ok(Replaced::WrittenOver { before: keep.to_owned() })
}

/// The file is a mount of its own, as containers get a single file: it cannot be exchanged, only written over.
pub fn is_mounted_by_itself(path: &Path) -> bool {
    let (Ok(path), Ok(mounts)) = (path.canonicalize(), fs::read_to_string("/proc/self/mountinfo")) else {
        return false;
    };
    let path = path.display().to_string();
    // The fifth field; white space in it is written in octal.
    mounts.lines().filter_map(|line| line.split(' ').nth(4)).any(|place| place.replace("\\040", " ") == path)
}

fn sync_folder(target: &Path) -> io::Result<()> {
    File::open(target.parent().unwrap_or_else(|| Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn only(folder: &Path, names: &[&str]) {
        let mut found: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, names, "nothing lies about");
    }

    /// If this failed, an edit would open a file to others, or cut the link by which it is reached.
    #[test]
    fn mode_and_link_stay() {
        let folder = folder();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real", &link).unwrap();
        let keep = folder.path().join("keep");
        assert_eq!(replace(&link, b"old", b"new", &keep).unwrap(), Replaced::Exchanged);
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        only(folder.path(), &["link", "real"]);
    }

    /// If this failed, an edit by hand a moment before would be lost.
    #[test]
    fn what_was_changed_meanwhile_stays() {
        let folder = folder();
        let file = folder.path().join("file");
        fs::write(&file, "by hand").unwrap();
        let changed = replace(&file, b"old", b"new", &folder.path().join("keep"));
        assert!(matches!(changed, Err(ReplaceError::Changed(bytes)) if bytes == b"by hand"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "by hand");
        only(folder.path(), &["file"]);
    }

    /// If this failed, an edit by hand at the very moment of the exchange would be lost.
    #[test]
    fn what_comes_out_of_the_exchange_goes_back() {
        let folder = folder();
        let (file, beside) = (folder.path().join("file"), folder.path().join("beside"));
        fs::write(&file, "by hand").unwrap();
        fs::write(&beside, "new").unwrap();
        let changed = exchange(&beside, &file, b"old", b"new");
        assert!(matches!(changed, Err(ReplaceError::Changed(bytes)) if bytes == b"by hand"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "by hand");
        assert_eq!(fs::read_to_string(&beside).unwrap(), "new");
    }

    /// If this failed, two first edits would lose one of them, or a reader would find half a file.
    #[test]
    fn a_file_is_made_once() {
        let folder = folder();
        let file = folder.path().join("below/file");
        assert_eq!(create(&file, b"new").unwrap(), Replaced::Created);
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let again = create(&file, b"newer");
        assert!(matches!(again, Err(ReplaceError::Changed(bytes)) if bytes == b"new"));
        only(&folder.path().join("below"), &["file"]);
    }

    #[test]
    fn a_file_that_says_read_only_is_not_written() {
        let folder = folder();
        let file = folder.path().join("file");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
        let refused = replace(&file, b"old", b"new", &folder.path().join("keep"));
        assert!(matches!(refused, Err(ReplaceError::ReadOnly(_))), "{refused:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        only(folder.path(), &["file"]);
    }

    /// If this failed, a crash while a mounted file is written over would lose what it held.
    #[test]
    fn what_is_written_over_is_kept_first() {
        let folder = folder();
        let (file, keep) = (folder.path().join("file"), folder.path().join("keep"));
        fs::write(&file, "old and longer").unwrap();
        let replaced = write_over(&file, b"old and longer", b"new", &keep).unwrap();
        assert_eq!(replaced, Replaced::WrittenOver { before: keep.clone() });
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::read_to_string(&keep).unwrap(), "old and longer");
        assert!(matches!(write_over(&file, b"x", b"y", &keep), Err(ReplaceError::Changed(_))));
    }
}
