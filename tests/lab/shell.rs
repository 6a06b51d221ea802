//! Commands on this machine, and waiting for what they bring about.

use std::{
    env::{temp_dir, var_os},
    ffi::OsStr,
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// A program with an environment of its own: what a test sees must not depend on who has an SSH agent, a Docker context or another
/// language. Its PATH is the machine's, which has the engine and the tools of the lab.
pub fn hermetic(program: impl AsRef<OsStr>) -> Command {
    let home = temp_dir().join("spark-control-lab-home");
    fs::create_dir_all(&home).expect("a home");
    let mut command = Command::new(program);
    command.env_clear().envs([("LANG", "C.UTF-8"), ("TZ", "UTC")]).env("HOME", home);
    command.envs(var_os("PATH").map(|path| ("PATH", path)));
    command
}

/// What has to find what was installed and fetched for whoever runs the tests.
pub fn toolchain(program: &str) -> Command {
    Command::new(program)
}

/// Run and demand success.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn sh(text: &str) -> String {
    run(hermetic("sh").arg("-c").arg(text))
}

/// Run; a failure is normal.
pub fn try_sh(text: &str) {
    let _ = hermetic("sh").arg("-c").arg(text).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        sleep(Duration::from_millis(100));
    }
}
