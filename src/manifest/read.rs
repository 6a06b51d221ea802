//! The bytes of `cluster.yaml`, whatever stands at its path: a pipe, a device or a file of many gigabytes gets an answer
//! too.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::tree::MAX_BYTES;

/// # Errors
/// When it cannot be read, is not a regular file, or is larger than any file that is used.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would otherwise wait for somebody who writes.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("a flag of open(2)");
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    // One more byte, so that the end is seen by one read.
    let size = usize::try_from(metadata.len()).unwrap_or(MAX_BYTES).min(MAX_BYTES);
    let mut bytes = Vec::with_capacity(size + 1);
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        return Err(io::Error::other(format!("it has more than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(bytes)
}

/// Why the file cannot be read, with what to do.
pub fn unreadable(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    if error.kind() == io::ErrorKind::NotFound {
        return format!(
            "there is no {path}; `spark-control init --spark <name>=<user>@<address>` writes one from what your Sparks run, \
             `--file` names another, and `spark-control demo` shows it all on simulated Sparks"
        );
    }
    format!("reading {path}: {error}")
}

/// # Errors
/// What keeps them from being text, and where.
pub fn text(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("it is UTF-16; save it as UTF-8".into());
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} is not UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, a pipe or a device at the file's place would hang the controller, or eat the memory.
    #[test]
    fn what_is_not_a_file_gets_an_answer() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
            assert!(read(path).is_err(), "{}", path.display());
        }
        let large = folder.path().join("large");
        std::fs::File::create(&large).unwrap().set_len(100 << 20).unwrap();
        assert!(read(&large).unwrap_err().to_string().contains("more than 4 MiB"));
    }

    #[test]
    fn what_is_not_utf_8_is_told_by_its_line() {
        assert_eq!(text(b"a\nb\xff".to_vec()).unwrap_err(), "line 2 is not UTF-8");
        assert!(text(vec![0xff, 0xfe, b'a', 0]).unwrap_err().contains("UTF-16"));
    }
}
