//! The job that downloads a model's files, run by a real `sh` with a downloader that keeps the published command line and cache
//! layout, and goes wrong in the known ways.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use spark_control::{
    apply::weights::fetch,
    core::model::{name::RepoId, transfer::ModelFiles},
    manifest::load::load,
};
use tempfile::TempDir;

use crate::environment::command;

const DOWNLOADER: &str = r#"#!/bin/sh
# hf download REPO [--revision REVISION] [--dry-run]
read -r size <"$FAKE/size"
case "$*" in *--dry-run*)
    echo "[dry-run] Will download 3 files (out of 3) totalling $size."
    exit 0 ;;
esac
echo "$*" >>"$FAKE/calls"
printf %s "$HF_TOKEN" >"$FAKE/token"
read -r mode <"$FAKE/mode"
folder="$HF_HOME/hub/models--lab--m"
mkdir -p "$folder/blobs" "$folder/refs" "$folder/snapshots/c0ffee"
printf c0ffee >"$folder/refs/main"
whole() { printf "\00$1\0\0\0\0\0\0\0%-$1s" '{}'; } # SIZE: a safetensors file with a header of that size and no tensors
put() { # NAME SIZE: as a blob that is named by its digest
    digest=$(whole "$2" | sha256sum | cut -d ' ' -f 1)
    [ -e "$folder/blobs/$digest" ] || { echo "$1" >>"$FAKE/brought"; whole "$2" >"$folder/blobs/$digest"; }
    ln -sf "../../blobs/$digest" "$folder/snapshots/c0ffee/$1"
}
small=$(printf 'blob 2\0{}' | sha1sum | cut -d ' ' -f 1)
printf '{}' >"$folder/blobs/$small"
ln -sf "../../blobs/$small" "$folder/snapshots/c0ffee/config.json"
[ "$mode" = no-weights ] && exit 0
put model-00001-of-00002.safetensors 2
[ "$mode" = breaks ] || printf '{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}' \
    >"$folder/snapshots/c0ffee/model.safetensors.index.json"
case "$mode" in
breaks) printf tw >"$folder/blobs/abc.incomplete"; echo "ConnectionError: the network is unreachable" >&2; exit 1 ;;
damaged) put model-00002-of-00002.safetensors 3; printf twO >"$folder/blobs/$digest" ;;
*) rm -f "$folder/blobs/abc.incomplete"; put model-00002-of-00002.safetensors 3 ;;
esac
"#;

struct Spark {
    home: TempDir,
}

impl Spark {
    fn new() -> Self {
        let home = TempDir::new().unwrap();
        let bin = home.path().join(".local/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join("hf"), DOWNLOADER).unwrap();
        fs::set_permissions(bin.join("hf"), fs::Permissions::from_mode(0o755)).unwrap();
        let spark = Self { home };
        spark.says("size", "3.5K");
        spark
    }

    fn says(&self, what: &str, text: &str) {
        fs::write(self.home.path().join(what), format!("{text}\n")).unwrap();
    }

    fn read(&self, what: &str) -> String {
        fs::read_to_string(self.home.path().join(what)).unwrap_or_default()
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join(".cache/huggingface/hub/models--lab--m")
    }

    /// What a look finds in the cache.
    fn cached(&self) -> String {
        let functions =
            concat!(include_str!("../../src/host/files.sh"), include_str!("../../src/host/cached.sh"));
        let look = format!("{functions}\ncached models--lab--m '' ''");
        let home = self.home.path().join(".cache/huggingface");
        let output =
            command("sh", self.home.path()).args(["-c", &look]).env("hf_home", home).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Run the job; its exit code and its last words.
    fn fetch(
        &self,
        mode: &str,
        revision: Option<&str>,
        environment_file: Option<&str>,
    ) -> (Option<i32>, String) {
        self.says("mode", mode);
        let text = "version: 1\nname: test\nsparks: { a: { address: 192.0.2.1, user: alice } }\n";
        let desired = load(text).unwrap().desired;
        let files = ModelFiles { repo: RepoId::new("lab/m").unwrap(), revision: revision.map(Into::into) };
        let script = fetch(&desired, desired.sparks.keys().next().unwrap(), &files, environment_file);
        fs::write(self.home.path().join("script"), script).unwrap();
        let output = command("sh", self.home.path())
            .arg("./script")
            .env("FAKE", self.home.path())
            .current_dir(self.home.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), said.lines().last().unwrap_or_default().to_owned())
    }
}

/// If this failed, a download that was interrupted, damaged or lied about would be loaded, or be brought from the start.
#[test]
fn what_was_brought_is_verified_and_not_brought_again() {
    let spark = Spark::new();
    let (code, said) = spark.fetch("breaks", None, None);
    assert_eq!(
        (code, said.as_str()),
        (Some(1), "the download ended with 1: ConnectionError: the network is unreachable")
    );
    assert_eq!(spark.cached(), "partial a transfer has not ended\n");
    fs::remove_file(spark.folder().join(".unverified")).unwrap();
    let part = "partial model-00002-of-00002.safetensors\n";
    assert_eq!(spark.cached(), part, "a part of it is not all");
    let (code, said) = spark.fetch("damaged", None, None);
    assert_eq!(code, Some(1));
    assert!(said.ends_with("was damaged on its way; it is removed, and brought again"), "{said}");
    assert_eq!(spark.fetch("works", None, None), (Some(0), String::new()));
    let brought = spark.read("brought");
    assert_eq!(brought.matches("model-00001-").count(), 1, "what was whole was not brought again");
    assert_eq!(brought.matches("model-00002-").count(), 2);
    assert!(spark.folder().join("snapshots/c0ffee/model-00002-of-00002.safetensors").exists());
    assert!(spark.read("progress").starts_with("verifying: "), "{}", spark.read("progress"));
    let other = Spark::new();
    let (code, said) = other.fetch("no-weights", None, None);
    assert_eq!(
        (code, said.as_str()),
        (Some(1), "the download ended well, but the cache has not all: no weights")
    );
}

/// If this failed, a disk would be filled, or a Spark without a downloader leave nobody a word.
#[test]
fn a_disk_without_room_and_a_missing_downloader_are_told_before_anything_is_brought() {
    let spark = Spark::new();
    spark.says("size", "900.0T");
    let (code, said) = spark.fetch("works", None, None);
    assert_eq!(code, Some(1));
    assert!(said.contains("are to come and 10.0 GiB stay free, but"), "{said}");
    assert_eq!(spark.read("calls"), "", "nothing was downloaded");
    // One that is too old for a dry run.
    spark.says("size", "an unknown size");
    assert_eq!(spark.fetch("works", None, None).0, Some(0));
    // Without it, the tool that runs it from where it is kept does.
    let other = Spark::new();
    let bin = other.home.path().join(".local/bin");
    fs::rename(bin.join("hf"), bin.join("hf-of-uvx")).unwrap();
    let uvx = "#!/bin/sh\n[ \"$1 $2 $3\" = '--from huggingface_hub hf' ] || exit 9\nshift 3\nexec \"$HOME/.local/bin/hf-of-uvx\" \"$@\"\n";
    fs::write(bin.join("uvx"), uvx).unwrap();
    fs::set_permissions(bin.join("uvx"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(other.fetch("works", None, None).0, Some(0));
    assert!(other.read("calls").starts_with("download lab/m"), "{}", other.read("calls"));
    let bare = Spark::new();
    fs::remove_file(bare.home.path().join(".local/bin/hf")).unwrap();
    assert_eq!(
        bare.fetch("works", None, None),
        (Some(1), "neither hf nor uvx is there; install one of them".into())
    );
}

/// If this failed, a token would be for everybody to read, or a revision be another one.
#[test]
fn a_token_comes_in_a_file_that_is_gone_and_a_revision_is_asked_for() {
    let spark = Spark::new();
    let file = spark.home.path().join("environment");
    fs::write(&file, "HF_TOKEN=hunter2 $(id)\n").unwrap();
    let (code, said) = spark.fetch("works", Some("c0ffee"), file.to_str());
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert_eq!(spark.read("token"), "hunter2 $(id)");
    assert!(!file.exists());
    assert_eq!(spark.read("calls"), "download lab/m --revision c0ffee\n");
    assert!(!spark.read("script").contains("hunter2"));
}

/// If this failed, a download that is ended because a disk is full would go on, and fill it.
#[test]
fn a_download_ends_with_its_guard() {
    let spark = Spark::new();
    spark.says("size", "an unknown size");
    let bin = spark.home.path().join(".local/bin");
    // Less is free than is to stay free, and the downloader would go on for a minute.
    let df = "#!/bin/sh\necho 'Filesystem 1024-blocks Used Available Capacity Mounted on'\necho 'x 1 1 1000 99% /'\n";
    let hf = "#!/bin/sh\ncase \"$*\" in *--dry-run*) exit 0 ;; esac\necho $$ >\"$FAKE/pid\"\nexec sleep 60\n";
    for (name, text) in [("df", df), ("hf", hf)] {
        fs::write(bin.join(name), text).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (code, said) = spark.fetch("works", None, None);
    assert_eq!((code, said.as_str()), (Some(1), "less than 10.0 GiB would stay free on the disk"));
    let pid = spark.read("pid");
    let pid = pid.trim();
    if !pid.is_empty() {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(!state.contains("(sleep)"), "it goes on: {state}");
    }
}
