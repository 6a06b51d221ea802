//! What a person at the command line may rely on, by the real program.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// A Spark that is this machine, without an Engine.
const FILE: &str = "version: 1
sparks: { here: { address: 127.0.0.1, transport: local, docker_socket: /nowhere/docker.sock } }
model: none
";

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spark-control"));
    command.args(["--data", "data"]).current_dir(folder).stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    program(folder).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// If this failed, looking at a draft would put it in force.
#[test]
fn a_preview_remembers_nothing() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    fs::write(folder.join("cluster.yaml"), FILE).unwrap();
    fs::write(folder.join("draft.yaml"), format!("{FILE}x-draft: yes\n")).unwrap();
    fs::write(folder.join("broken.yaml"), "version: 1\n").unwrap();
    for command in ["plan", "status", "diff"] {
        for file in ["cluster.yaml", "draft.yaml", "broken.yaml"] {
            run(folder, &["--file", file, command]);
        }
    }
    let history = text(&run(folder, &["history"]));
    assert_eq!(history, "", "nothing has happened");
    run(folder, &["apply"]);
    let history = text(&run(folder, &["history"]));
    assert!(history.contains("revision 1 is in force"), "{history}");
}

/// If this failed, a script would take a file that is not in force, or a Spark that is silent, for success.
#[test]
fn exit_codes_tell_of_what_is_not_in_force_or_not_seen() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let code = |arguments: &[&str]| run(folder, arguments).status.code();
    assert_eq!(code(&["plan"]), Some(1), "there is no file");
    fs::write(folder.join("cluster.yaml"), FILE).unwrap();
    assert_eq!(code(&["status"]), Some(4), "the Spark is not reached");
    run(folder, &["apply"]);
    fs::write(folder.join("cluster.yaml"), "version: 1\n").unwrap();
    for command in ["plan", "status", "diff", "apply"] {
        let output = run(folder, &[command]);
        assert_eq!(output.status.code(), Some(1), "{command}: {}", text(&output));
        assert!(text(&output).contains("`sparks` is missing"), "{command}: {}", text(&output));
        assert!(!text(&output).contains("is what the file says"), "{command}: {}", text(&output));
    }
}

/// If this failed, a full disk under the log, or a reader that went away, would end the program in the middle.
#[test]
fn nobody_has_to_read_what_is_said() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    fs::write(folder.join("cluster.yaml"), format!("{FILE}disabled_services: [nothing]\n")).unwrap();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    for (arguments, code) in
        [(&["check"][..], 0), (&["approve", "nothing"], 3), (&["retry", "vllm"], 0), (&["--help"], 0)]
    {
        let status = program(folder).args(arguments).stderr(full()).stdout(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}

/// If this failed, a demo would delete the history of a real cluster.
#[test]
fn a_demo_touches_no_directory_of_somebody_else() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    fs::write(folder.join("cluster.yaml"), FILE).unwrap();
    run(folder, &["apply"]);
    let refused = run(folder, &["demo", "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(1));
    // Either another demo of these tests has the addresses, or this one refuses the directory.
    let told = text(&refused);
    assert!(told.contains("was not made by a demo") || told.contains("does another demo run"), "{told}");
    assert!(text(&run(folder, &["history"])).contains("revision 1 is in force"));
}

/// If this failed, a command that is proposed would act on another cluster than the one it was proposed for.
#[test]
fn proposed_commands_carry_the_options_of_this_run() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let more = "models: { m: { repo: a/b, sparks: [here] } }\n";
    fs::write(folder.join("cluster.yaml"), format!("{FILE}{more}")).unwrap();
    run(folder, &["apply"]);
    fs::write(folder.join("cluster.yaml"), FILE).unwrap();
    let told = text(&run(folder, &["status"]));
    assert!(told.contains("spark-control --data data approve "), "{told}");
}

/// If this failed, a name that can be guessed in a shared folder would hand our connections to another user.
#[test]
fn what_others_put_into_a_shared_folder_is_not_used() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    fs::write(folder.join("cluster.yaml"), FILE).unwrap();
    let runtime = folder.join("run");
    fs::create_dir(&runtime).unwrap();
    let status =
        |folder: &Path| program(folder).env("XDG_RUNTIME_DIR", &runtime).arg("status").output().unwrap();
    assert_eq!(status(folder).status.code(), Some(4));
    let ours = fs::read_dir(&runtime).unwrap().next().unwrap().unwrap().path();
    fs::remove_dir_all(&ours).unwrap();
    std::os::unix::fs::symlink(folder, &ours).unwrap();
    let refused = status(folder);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("is not a folder of this user alone"), "{}", text(&refused));
}
