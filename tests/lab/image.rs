//! The image that the lab's engines import.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use crate::shell::{run, sh, toolchain};

/// The image as a tar file: busybox and the lab's engine. Made once per build of the engine.
pub fn image(base: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/image/vllm.rs");
    let lock = File::create(base.join("image.lock")).expect("a lock file");
    lock.lock().expect("the lock");
    let mut text = fs::read(&source).expect("the engine's source");
    text.extend(include_bytes!("image.rs"));
    let tar = base.join("image.tar");
    let made_from = base.join("image.source");
    if tar.exists() && fs::read(&made_from).is_ok_and(|old| old == text) {
        return tar;
    }
    let root = base.join("root");
    let _ = fs::remove_dir_all(&root);
    for path in ["bin", "usr/bin", "tmp", "proc", "etc"] {
        fs::create_dir_all(root.join(path)).expect("the image's root");
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
    for applet in ["sh", "sleep", "cat", "echo", "kill", "true", "sed", "tail", "httpd"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("an applet");
    }
    run(toolchain("rustc")
        .args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-o"])
        .arg(root.join("usr/bin/vllm"))
        .arg(&source));
    for name in ["raylet", "python3"] {
        std::os::unix::fs::symlink("vllm", root.join("usr/bin").join(name)).expect("another name");
    }
    sh(&format!("tar -C {} -cf {} .", root.display(), tar.display()));
    fs::write(made_from, text).expect("a note of the source");
    tar
}
