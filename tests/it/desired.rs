//! `desired get | patch | put | edit` by the real program, with and without a running controller.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::environment::spark_control;

/// A Spark that is this machine, without an Engine: nothing is reached, and nothing needs to be.
const FILE: &str = "\
# the house
version: 1
sparks:
  here: { address: 127.0.0.1, transport: local, docker_socket: /nowhere/docker.sock }   # this one
model: none   # nothing yet
models:
  # the small one
  small: { repo: demo/small, sparks: [here] }
services: {}
";

struct Place {
    folder: TempDir,
    serving: Option<Child>,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("cluster.yaml"), FILE).unwrap();
        Self { folder, serving: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self) -> Command {
        let mut command = spark_control(self.folder.path());
        command.args(["--data", "data"]).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.program().args(arguments).output().unwrap()
    }

    fn with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.program();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn serve(&mut self) {
        let log = fs::File::create(self.path("log")).unwrap();
        let mut command = self.program();
        command.args(["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(log);
        self.serving = Some(command.spawn().unwrap());
        let began = Instant::now();
        while !self.path("data/control.sock").exists() {
            assert!(began.elapsed() < Duration::from_secs(30), "it does not serve");
            sleep(Duration::from_millis(20));
        }
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path("cluster.yaml")).unwrap()
    }

    fn revision(&self) -> u64 {
        let output = self.run(&["desired", "get", "--output", "json"]);
        let current: Value = serde_json::from_slice(&output.stdout).unwrap();
        current["revision"].as_u64().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(child) = &mut self.serving {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// If this failed, a script could not change what should be without losing what people wrote beside it.
#[test]
fn a_patch_changes_its_field_and_makes_a_revision_with_and_without_a_controller() {
    let mut place = Place::new();
    for running in [false, true] {
        fs::write(place.path("cluster.yaml"), FILE).unwrap();
        if running {
            place.serve();
        }
        let dry = place.run(&["desired", "patch", "--dry-run", r#"{"model": "small"}"#]);
        assert_eq!(dry.status.code(), Some(2), "{}", told(&dry));
        let shown = String::from_utf8_lossy(&dry.stdout).into_owned();
        assert!(shown.contains("-model: none   # nothing yet\n+model: small   # nothing yet"), "{shown}");
        assert!(shown.contains("vllm: serve `small`"), "the plan is shown: {shown}");
        assert_eq!(place.text(), FILE, "a dry run writes nothing");

        let before = place.revision();
        let done = place.with_input(&["desired", "patch", "--stdin"], r#"{"model": "small"}"#);
        assert!(done.status.success(), "{}", told(&done));
        assert_eq!(place.text(), FILE.replace("model: none", "model: small"));
        assert!(told(&done).contains(&format!("revision {} is in force", before + 1)), "{}", told(&done));

        // What was read as `before` is not what is there any more.
        let late = place.run(&["desired", "patch", "--base", &before.to_string(), r#"{"services": {}}"#]);
        assert_eq!(late.status.code(), Some(3), "{}", told(&late));
        assert!(told(&late).contains("changed since: /model"), "{}", told(&late));

        let patch =
            r#"[{"op": "test", "path": "/model", "value": "small"}, {"op": "remove", "path": "/model"}]"#;
        let base = (before + 1).to_string();
        let done = place.run(&["desired", "patch", "--json-patch", "--base", &base, patch]);
        assert!(done.status.success(), "{}", told(&done));
        assert!(!place.text().contains("model: small"), "{}", place.text());
        let history = place.run(&["history"]);
        assert!(String::from_utf8_lossy(&history.stdout).contains("edited by"), "it is in the history");
    }
}

/// If this failed, an owner without a shell could not begin, or a second beginning would replace the first.
#[test]
fn a_file_is_made_by_the_first_edit_with_and_without_a_controller() {
    let sparks = r#"{"sparks": {"here": {"address": "127.0.0.1", "transport": "local"}}}"#;
    for running in [false, true] {
        let mut place = Place::new();
        fs::remove_file(place.path("cluster.yaml")).unwrap();
        if running {
            place.serve();
        }
        let refused = place.run(&["desired", "patch", sparks]);
        assert_eq!(refused.status.code(), Some(1), "only who says so makes a file");
        let why = told(&refused);
        assert!(
            why.contains("there is no ") && why.contains("cluster.yaml") && why.contains("--create"),
            "{why}"
        );
        for hostile in [r#"{"sparks": {"here": {"address": "-oProxyCommand=x", "user": "a"}}}"#, "{}"] {
            let refused = place.with_input(&["desired", "patch", "--stdin", "--create"], hostile);
            assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
            assert!(!place.path("cluster.yaml").exists(), "{hostile} was written");
        }
        let dry = place.run(&["desired", "patch", "--create", "--dry-run", sparks]);
        assert_eq!(dry.status.code(), Some(2), "{}", told(&dry));
        assert!(!place.path("cluster.yaml").exists(), "a dry run writes nothing");

        let made = place.with_input(&["desired", "patch", "--stdin", "--create"], sparks);
        assert!(made.status.success(), "{}", told(&made));
        assert!(told(&made).contains("revision 1 is in force"), "{}", told(&made));
        assert!(place.text().contains("version: 1\nsparks:"), "{}", place.text());
        let written = format!("{}# by hand\n", place.text());
        fs::write(place.path("cluster.yaml"), &written).unwrap();
        let again = place.run(&["desired", "patch", "--create", r#"{"model": "none"}"#]);
        assert!(again.status.success(), "{}", told(&again));
        assert!(place.text().ends_with("model: none\n# by hand\n"), "{}", place.text());
    }
    let place = Place::new();
    fs::remove_file(place.path("cluster.yaml")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.path("cluster.yaml")).unwrap();
    let refused = place.run(&["desired", "patch", "--create", sparks]);
    assert_eq!(refused.status.code(), Some(1), "a link that leads nowhere is no place for a file");
}

/// If this failed, a form could not show what each model would cost before one is chosen.
#[test]
fn the_catalog_is_told_with_what_each_would_take() {
    let mut place = Place::new();
    for running in [false, true] {
        if running {
            place.serve();
        }
        let told = place.run(&["models", "--output", "json"]);
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!((&told["model"], told["choices"].as_array().unwrap().len()), (&"none".into(), 2));
        let small = &told["choices"][0];
        assert_eq!((&small["model"], &small["is_wanted"]), (&"small".into(), &false.into()));
        let none = &told["choices"][1];
        assert_eq!((&none["model"], &none["is_wanted"]), (&"none".into(), &true.into()));
        assert_eq!(small["sparks"], serde_json::json!(["here"]));
        let plan = small["plan"].as_str().unwrap();
        assert!(plan.contains("vllm: serve `small`") && !plan.contains("to agree"), "{plan}");
        assert!(small["blocked"].is_string(), "its Spark has no Engine: {small}");
        assert_eq!(place.text(), FILE);
    }
    let text = place.run(&["models"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("== small\n"));
}

/// If this failed, a monitor would make the Sparks be looked at, or be told of health where nothing runs.
#[test]
fn what_is_known_is_told_by_who_runs_and_by_nobody_else() {
    let mut place = Place::new();
    let nobody = place.run(&["status", "--cached"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(told(&nobody).contains("no controller runs"), "{}", told(&nobody));
    // What was never valid is told, too.
    fs::write(place.path("cluster.yaml"), "version: 1\nsparks: [\n").unwrap();
    place.serve();
    let known = |place: &Place| -> Value {
        let known = place.run(&["status", "--cached", "--output", "json"]);
        serde_json::from_slice(&known.stdout).unwrap_or_else(|_| panic!("{}", told(&known)))
    };
    let began = Instant::now();
    while known(&place)["file_error"].is_null() {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", known(&place));
        sleep(Duration::from_millis(50));
    }
    assert!(known(&place)["revision"].is_null());
    fs::write(place.path("cluster.yaml"), FILE).unwrap();
    let began = Instant::now();
    loop {
        let known = place.run(&["status", "--cached", "--output", "json"]);
        let seen: Value = serde_json::from_slice(&known.stdout).unwrap();
        if seen["revision"] == 1 {
            assert_eq!((&seen["file_error"], &seen["pending_approval"]), (&Value::Null, &Value::Null));
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{}", told(&known));
        sleep(Duration::from_millis(50));
    }
}

/// If this failed, the key that Sparks are told to trust could be another one than what is used.
#[test]
fn the_key_is_made_once_and_only_its_public_half_is_told() {
    let place = Place::new();
    let first = place.run(&["key"]);
    assert!(first.status.success(), "{}", told(&first));
    let public = String::from_utf8(first.stdout).unwrap();
    assert!(public.starts_with("ssh-ed25519 ") && public.lines().count() == 1, "{public}");
    assert_eq!(public.as_bytes(), place.run(&["key"]).stdout);
    fs::remove_file(place.path("data/id_ed25519.pub")).unwrap();
    assert_eq!(
        public.split(' ').nth(1),
        String::from_utf8(place.run(&["key"]).stdout).unwrap().split(' ').nth(1)
    );
    let mode = |name: &str| fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("data"), mode("data/id_ed25519")), (0o700, 0o600));
}

/// If this failed, an edit could put something into the file that the loop refuses.
#[test]
fn what_would_not_be_valid_is_not_written() {
    let place = Place::new();
    for (patch, part) in [
        (r#"{"model": "smal"}"#, "did you mean `small`?"),
        (r#"{"models": {"other": {"repo": "a/b", "sparks": ["nowhere"]}}}"#, "no Spark is named `nowhere`"),
        (r#"{"sparks": {"here": {"address": "-oProxyCommand=x"}}}"#, "is not an IPv4 address"),
        (r#"{"version": 2}"#, "version 2 is not known"),
        ("[1]", "must stay a map"),
        ("{", "the patch is not JSON"),
    ] {
        let refused = place.run(&["desired", "patch", patch]);
        assert_eq!(refused.status.code(), Some(1), "{patch}: {}", told(&refused));
        assert!(told(&refused).contains(part), "{patch}: {}", told(&refused));
        assert_eq!(place.text(), FILE);
    }
    // A file that is not valid now is for its owner to mend.
    fs::write(place.path("cluster.yaml"), "version: 1\nsparks: [\n").unwrap();
    let refused = place.run(&["desired", "patch", r#"{"model": "none"}"#]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("replaced as a whole, or edited by hand"), "{}", told(&refused));
    assert_eq!(place.text(), "version: 1\nsparks: [\n");
}

#[test]
fn a_read_only_file_says_so() {
    let place = Place::new();
    fs::set_permissions(place.path("cluster.yaml"), fs::Permissions::from_mode(0o444)).unwrap();
    let refused = place.run(&["desired", "patch", r#"{"model": "small"}"#]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("read-only"), "{}", told(&refused));
    assert_eq!(place.text(), FILE);
}

/// If this failed, the whole text could not be replaced, or a large removal would take effect unasked.
#[test]
fn a_whole_text_is_put_and_a_large_removal_waits() {
    let place = Place::new();
    assert_eq!(String::from_utf8_lossy(&place.run(&["desired", "get"]).stdout), FILE);
    let new = FILE.replace("# the house", "# our house");
    let done = place.with_input(&["desired", "put", "-"], &new);
    assert!(done.status.success(), "{}", told(&done));
    assert_eq!(place.text(), new);
    let less = new.replace("  small: { repo: demo/small, sparks: [here] }\n", "").replace("models:\n", "");
    let waits = place.with_input(&["desired", "put", "-"], &less);
    assert_eq!(waits.status.code(), Some(4), "{}", told(&waits));
    assert!(told(&waits).contains("LargeRemoval"), "{}", told(&waits));
}

/// If this failed, an editor's mistake would get into the file, or the work be lost.
#[test]
fn an_editor_changes_the_file_when_what_it_wrote_is_valid() {
    let place = Place::new();
    let editor = |name: &str, script: &str| {
        let path = place.path(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let good = editor("good", "sed -i 's/^model: none/model: small/' \"$1\"");
    let bad = editor("bad", "sed -i 's/^model: .*/model: smal/' \"$1\"");
    let edit = |editor: &PathBuf| {
        let output = place.program().args(["desired", "edit"]).env("EDITOR", editor).output();
        output.unwrap()
    };
    let refused = edit(&bad);
    assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
    assert!(
        told(&refused).contains("did you mean `small`?") && told(&refused).contains("what you wrote is in")
    );
    assert_eq!(place.text(), FILE);
    let done = edit(&good);
    assert!(done.status.success(), "{}", told(&done));
    assert_eq!(place.text(), FILE.replace("model: none", "model: small"));
}

/// If this failed, of many who edit at once somebody's edit would be lost.
#[test]
fn of_many_edits_at_once_none_is_lost() {
    let mut place = Place::new();
    place.serve();
    let place = &place;
    std::thread::scope(|scope| {
        for writer in 0..4 {
            scope.spawn(move || {
                for number in 0..5 {
                    let patch = format!(r#"{{"x-{writer}-{number}": "done"}}"#);
                    let done = place.run(&["desired", "patch", &patch]);
                    assert!(done.status.success(), "{}", told(&done));
                }
            });
        }
    });
    let text = place.text();
    for writer in 0..4 {
        for number in 0..5 {
            assert!(text.contains(&format!("x-{writer}-{number}: done")), "{text}");
        }
    }
    assert!(text.contains("# the small one") && text.contains("# this one"), "{text}");
}
