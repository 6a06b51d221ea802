//! Commands on this machine, and waiting for what they bring about.

use std::{
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// Run and demand success.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn sh(text: &str) -> String {
    run(Command::new("sh").arg("-c").arg(text))
}

/// Run; a failure is normal.
pub fn try_sh(text: &str) {
    let _ = Command::new("sh").arg("-c").arg(text).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        sleep(Duration::from_millis(100));
    }
}
