//! A file that is mounted by itself, as containers do: it cannot be exchanged.

use std::fs;

use crate::{
    controller::{command, text},
    shell::{hermetic, sh},
};

struct Mounted(String);

impl Drop for Mounted {
    fn drop(&mut self) {
        crate::shell::try_sh(&format!("umount {}", self.0));
    }
}

/// If this failed, a cluster file that is mounted into a container could not be edited, or would be lost in the attempt.
#[test]
fn a_file_that_is_mounted_by_itself_is_written_over_and_kept_first() {
    let folder = tempfile::tempdir().unwrap();
    let (outside, inside) = (folder.path().join("outside.yaml"), folder.path().join("cluster.yaml"));
    let old =
        "version: 1   # always\nsparks: { here: { address: 127.0.0.1, transport: local } }\nmodel: none\n";
    fs::write(&outside, old).unwrap();
    fs::write(&inside, "").unwrap();
    let _mounted = Mounted(inside.display().to_string());
    sh(&format!("mount --bind {} {}", outside.display(), inside.display()));
    // The exchange really is impossible here.
    let renamed = hermetic("mv").arg(&outside).arg(&inside).output().unwrap();
    assert!(!renamed.status.success());

    let data = folder.path().join("data");
    let done = command(&inside, &data, &["desired", "patch", r#"{"name": "home"}"#]);
    assert!(done.status.success(), "{}", text(&done));
    let new = fs::read_to_string(&outside).unwrap();
    assert!(new.starts_with("version: 1   # always\n") && new.contains("name: home"), "{new}");
    assert_eq!(fs::read_to_string(data.join("cluster.yaml.before")).unwrap(), old);
    let status = text(&command(&inside, &data, &["status"]));
    assert!(status.contains("the file is mounted by itself"), "{status}");
    let history = text(&command(&inside, &data, &["history"]));
    assert!(history.contains("readers may have seen a part of it"), "{history}");
}
