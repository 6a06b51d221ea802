//! The environment that a test gives to each program it runs: nothing of this machine's owner, and of the machine only the
//! tools that are named here. What a test sees must not depend on who has `hf`, an SSH agent or another language.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

/// What the remote programs, the scripts and the tests call. Not `docker`, `nvidia-smi`, `sudo`, `hf` and `uvx`: a test that
/// wants one of those brings its own.
const TOOLS: [&str; 56] = [
    "awk",
    "basename",
    "cat",
    "chmod",
    "cksum",
    "cp",
    "cut",
    "date",
    "df",
    "du",
    "env",
    "expr",
    "false",
    "flock",
    "git",
    "grep",
    "head",
    "id",
    "ip",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mktemp",
    "mv",
    "od",
    "pgrep",
    "printf",
    "python3",
    "rm",
    "rmdir",
    "rsync",
    "script",
    "sed",
    "seq",
    "setsid",
    "sh",
    "sha1sum",
    "sha256sum",
    "sleep",
    "sort",
    "ssh",
    "ssh-keygen",
    "ssh-keyscan",
    "stat",
    "stty",
    "sync",
    "tail",
    "tee",
    "timeout",
    "touch",
    "tr",
    "true",
    "vim",
    "wc",
    "xargs",
];

/// One folder with links to the tools, for every test of this build.
static PATH: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools");
    fs::create_dir_all(&folder).expect("the target directory can be written");
    for tool in TOOLS {
        // Debian's own, in front of what somebody put beside them.
        let places = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin"];
        let place = places.iter().map(|place| Path::new(place).join(tool)).find(|place| place.exists());
        // Another test may have made it meanwhile. One that is not installed is missed by the test that calls it.
        let _ = place.map(|place| symlink(place, folder.join(tool)));
    }
    folder
});

/// Where the tools are, for a test that puts its own in front.
pub fn path() -> &'static Path {
    &PATH
}

/// A program with a home of its own, in a plain locale and in UTC.
pub fn command(program: impl AsRef<std::ffi::OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", path()).env("HOME", home).env("LANG", "C.UTF-8").env("TZ", "UTC");
    // A machine may have one for everybody.
    command.env("GIT_CONFIG_NOSYSTEM", "1");
    command
}

/// Spark Control itself.
pub fn spark_control(home: &Path) -> Command {
    command(env!("CARGO_BIN_EXE_spark-control"), home)
}
