//! What a person at the command line may rely on, by the real program.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::environment::{command, spark_control};

/// A Spark that is this machine, without an Engine.
const FILE: &str = "version: 1
sparks: { here: { address: 127.0.0.1, transport: local, docker_socket: /nowhere/docker.sock } }
model: none
";

fn program(folder: &Path) -> Command {
    let mut command = spark_control(folder);
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

/// A file with something to hold, suspend and schedule. Nothing of it is reached.
const WISHES: &str = "# mine
version: 1
sparks: { here: { address: 127.0.0.1, transport: local, docker_socket: /nowhere/docker.sock } }
model: small  # the usual one
models:
  small: { repo: lab/small, sparks: [here] }
  large: { repo: lab/large, sparks: [here] }
services:
  kokoro: { kind: tts, spark: here, port: 8880, container: kokoro-tts, state: running }
schedule:
  # The same model, because nobody knows at what hour this runs.
  night: { days: [mon, fri], from: \"23:00\", to: \"05:00\", model: small }
";

/// What a person types and reads; the commands that edit say what they changed, and refuse what is somebody else's.
#[test]
fn wishes_have_commands_of_their_own() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    fs::write(folder.join("cluster.yaml"), WISHES).unwrap();
    let mut told = String::new();
    for (user, line) in [
        ("alice", "hold"),
        ("alice", "hold nightly --until 2099-01-01T06:00:00Z --reason evaluation"),
        ("bob", "hold nightly --release"),
        ("bob", "hold"),
        ("alice", "suspend"),
        ("alice", "suspend kokorro"),
        ("alice", "suspend kokoro --dry-run"),
        ("alice", "resume"),
        ("alice", "hold nightly --release"),
        ("alice", "hold nightly --release"),
        ("alice", "resume"),
        ("alice", "resume kokoro"),
        ("alice", "resume kokorro"),
        ("alice", "hold late --until 2020-01-01T00:00:00Z"),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let output = program(folder).args(&arguments).env("USER", user).output().unwrap();
        let code = output.status.code().unwrap();
        let (data, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // The plan that a dry run shows is another test's.
        let data = data.split("\nPlan ").next().unwrap_or_default();
        told += &format!("{user} $ {line}\n{data}{talk}exit {code}\n\n");
    }
    crate::golden::assert_golden("tests/it/wishes.txt", &told);
    let good = fs::read(folder.join("cluster.yaml")).unwrap();
    fs::write(folder.join("cluster.yaml"), "version: 1\nholds: [nightly]\n").unwrap();
    let listed = program(folder).args(["hold"]).output().unwrap();
    assert_eq!(listed.status.code(), Some(1), "what an invalid file holds is not known: {}", text(&listed));
    fs::write(folder.join("cluster.yaml"), good).unwrap();
    let text_now = fs::read_to_string(folder.join("cluster.yaml")).unwrap();
    assert!(text_now.starts_with("# mine\n") && text_now.contains("# the usual one"), "{text_now}");
    let schedule = text(&run(folder, &["schedule"]));
    assert!(
        schedule.contains("night")
            && schedule.contains("mon fri")
            && schedule.contains("23:00–05:00 Etc/UTC"),
        "{schedule}"
    );
}

/// If this failed, a program that reads the output would break with the next release, or read colours.
#[test]
fn programs_read_json_with_a_version_and_text_without_colours() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    fs::write(folder.join("cluster.yaml"), WISHES).unwrap();
    for arguments in [
        &["check"][..],
        &["plan"],
        &["status"],
        &["diff"],
        &["history"],
        &["schedule"],
        &["hold"],
        &["desired", "get"],
        &["retry", "vllm"],
        &["suspend", "--dry-run"],
    ] {
        let output = program(folder).args(["--output", "json"]).args(arguments).output().unwrap();
        let value: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", text(&output)));
        assert_eq!(value["version"], 1, "{arguments:?}: {value}");
        let plain = run(folder, arguments);
        assert!(!text(&plain).contains('\u{1b}'), "{arguments:?}");
    }
    fs::remove_file(folder.join("cluster.yaml")).unwrap();
    let output = run(folder, &["check", "--output", "json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &value["valid"]), (Some(1), &false.into()), "{value}");
}

/// On a terminal there is colour, unless its owner wants none, and no line is wider than it.
#[test]
fn a_terminal_gets_colour_and_its_width_unless_told_otherwise() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    fs::write(folder.join("cluster.yaml"), WISHES).unwrap();
    let on_terminal = |environment: &str| {
        let line =
            format!("stty cols 70; {environment} {} --data data status", env!("CARGO_BIN_EXE_spark-control"));
        let output = command("script", folder)
            .args(["-qec", &line, "/dev/null"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()
            .expect("`script` is installed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let coloured = on_terminal("TERM=xterm");
    assert!(coloured.contains("\u{1b}[33mUnknown\u{1b}[0m"), "{coloured}");
    let plain = on_terminal("NO_COLOR=1 TERM=xterm");
    assert!(!plain.contains('\u{1b}') && plain.contains("Unknown"), "{plain}");
    let table = plain
        .lines()
        .skip_while(|line| !line.starts_with("OBJECT"))
        .take_while(|line| !line.starts_with("here:"));
    let widest = table.map(|line| line.trim_end().chars().count()).max().unwrap();
    assert!(widest <= 70, "{widest} columns:\n{plain}");
}

/// If this failed, a report from the field could not be looked into; or it would hold what it should not.
#[test]
fn what_was_exported_decides_the_same_again() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let secret = folder.join("secret");
    fs::write(&secret, "hunter2-sesame").unwrap();
    let with_secret = format!("{WISHES}vllm: {{ api_key: {{ file: {} }} }}\n", secret.display());
    fs::write(folder.join("cluster.yaml"), with_secret).unwrap();
    let export = run(folder, &["export"]);
    assert!(export.status.success(), "{}", text(&export));
    assert!(!text(&export).contains("hunter2"));
    fs::write(folder.join("report.json"), &export.stdout).unwrap();
    fs::remove_file(folder.join("cluster.yaml")).unwrap();
    let replayed = run(folder, &["replay", "report.json"]);
    assert_eq!(replayed.status.code(), Some(0), "{}", text(&replayed));
    assert!(text(&replayed).contains("`here` is not reachable"), "{}", text(&replayed));
    // And what comes of it: the Spark stays silent, so nothing is done.
    let played = run(folder, &["replay", "report.json", "--play", "10s"]);
    assert_eq!(played.status.code(), Some(0), "{}", text(&played));
    assert!(text(&played).contains("From there on simulated Sparks:"), "{}", text(&played));
    let json = run(folder, &["replay", "report.json", "--play", "10s", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let last = json["played"]["events"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["kind"], &json["same"]), (&"blocked".into(), &true.into()), "{json}");
    // Another decision than the one that was written down is told.
    let mut report: serde_json::Value = serde_json::from_slice(&export.stdout).unwrap();
    report["plan"]["id"] = "another".into();
    report["plan"]["work"][0]["verdict"]["reason"] = "Held".into();
    fs::write(folder.join("report.json"), report.to_string()).unwrap();
    let other = run(folder, &["replay", "report.json"]);
    assert_eq!(other.status.code(), Some(3), "{}", text(&other));
    assert!(text(&other).contains("decided otherwise then (another)"), "{}", text(&other));
    let nothing = run(folder, &["replay", "secret"]);
    assert!(text(&nothing).contains("is not what `export` writes") && !text(&nothing).contains("hunter2"));
}

/// The file is found where such files are kept.
#[test]
fn the_file_of_a_user_is_found_and_the_one_here_wins() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let config = folder.join("config/spark-control");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("cluster.yaml"), FILE).unwrap();
    let check =
        || program(folder).env("XDG_CONFIG_HOME", folder.join("config")).arg("check").output().unwrap();
    assert!(text(&check()).contains("config/spark-control/cluster.yaml is valid"), "{}", text(&check()));
    fs::write(folder.join("cluster.yaml"), FILE).unwrap();
    assert_eq!(text(&check()), "cluster.yaml is valid\n");
}

#[test]
fn completions_and_manual_pages_are_made_of_what_can_be_typed() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&run(folder, &["completions", shell]));
        assert!(script.contains("suspend") && script.contains("from-spark-control"), "{shell}");
    }
    assert!(run(folder, &["man", "pages"]).status.success());
    let page = fs::read_to_string(folder.join("pages/spark-control-hold.1")).unwrap();
    assert!(page.contains("nobody else may release it"), "{page}");
    assert!(fs::read_dir(folder.join("pages")).unwrap().count() > 20);
}

/// If this failed, one odd entry of the original system would keep all of it from being taken over, or be written into a file
/// that is not valid.
#[test]
fn what_fits_of_the_original_system_is_taken_over_and_the_rest_is_told() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let old = folder.join("old");
    fs::create_dir(&old).unwrap();
    fs::write(old.join(".env"), "SPARK_HOSTS=192.0.2.1,bob@192.0.2.2\nSPARK_USER=alice\nVLLM_PORT=8000\n")
        .unwrap();
    fs::write(
        old.join("services-overrides.yaml"),
        "vllm: { port: 9000, kind: vllm }\n\"../x\": { kind: tts, port: 1 }\nkokoro: { port: \"8880\" }\nasr: { port: 8000 }\n\
         whisper: { port: 8000 }\nlist: [1]\n",
    )
    .unwrap();
    fs::write(old.join("model-overrides.yaml"), "m: { model: \"x y\" }\nn: 5\nok: { repo: o/m, tp: 2 }\n")
        .unwrap();
    let init = ["init", "--offline", "--from-spark-control", "old"];
    let done = run(folder, &init);
    let told = text(&done);
    assert!(done.status.success(), "{told}");
    for left in [
        "`vllm` is the name of the main slot",
        "`../x` is not a name",
        "both claim port 8000",
        "`list` is no map",
        "`x y`",
        "`n` is no map",
    ] {
        assert!(told.contains(left), "{left}: {told}");
    }
    let written = fs::read_to_string(folder.join("cluster.yaml")).unwrap();
    for kept in ["kokoro: { kind: tts, spark: spark2, port: 8880 }", "repo: o/m", "user: bob"] {
        assert!(written.contains(kept), "{kept}: {written}");
    }
    assert_eq!(text(&run(folder, &["check"])), "cluster.yaml is valid\n");
    assert!(text(&run(folder, &init)).contains("is there already"));
    assert_eq!(fs::read_to_string(folder.join("cluster.yaml")).unwrap(), written);
}

/// If this failed, `status --watch | head` would go on for nobody, or say each second that a second has passed.
#[test]
fn a_watch_ends_with_its_reader_and_tells_only_news() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    fs::write(folder.join("cluster.yaml"), WISHES).unwrap();
    let mut child = program(folder)
        .args(["status", "--watch"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut reader = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    std::io::BufRead::read_line(&mut reader, &mut first).unwrap();
    assert!(first.starts_with("revision 1"), "{first}");
    // What it has to say is said once; then its reader goes, and the next news finds nobody.
    std::thread::sleep(std::time::Duration::from_secs(5));
    let mut rest = vec![0; 1 << 16];
    let read = std::io::Read::read(&mut reader, &mut rest).unwrap();
    let rest = String::from_utf8_lossy(&rest[..read]).into_owned();
    assert!(!rest.contains("revision 1"), "the same again: {rest}");
    drop(reader);
    fs::write(folder.join("cluster.yaml"), WISHES.replace("model: small", "model: large")).unwrap();
    let began = std::time::Instant::now();
    let ended = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "it goes on for nobody");
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    assert_eq!(ended.code(), Some(0));
}

/// If this failed, a swap by its name would happen without being seen, or a script would wait for an answer.
#[test]
fn a_swap_by_name_is_shown_and_asked_for() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let file = folder.join("cluster.yaml");
    let models = "models: { one: { repo: lab/one, sparks: [here] } }\n";
    fs::write(&file, format!("{FILE}{models}")).unwrap();
    let before = fs::read_to_string(&file).unwrap();
    for arguments in [&["use", "one", "--dry-run"][..], &["use", "one"], &["restart", "--dry-run"]] {
        let shown = run(folder, arguments);
        assert_eq!(shown.status.code(), Some(2), "{arguments:?}: {}", text(&shown));
        assert!(text(&shown).contains("+model: one") || arguments[0] == "restart", "{}", text(&shown));
        assert_eq!(fs::read_to_string(&file).unwrap(), before, "{arguments:?}");
    }
    assert!(text(&run(folder, &["use", "one"])).contains("`--yes` does it"));
    let wrong = run(folder, &["use", "onee", "--yes"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong).contains("did you mean `one`?"), "{}", text(&wrong));
    let wrong = text(&run(folder, &["restart", "vlm"]));
    assert!(wrong.contains("did you mean `vllm`?"), "{wrong}");
    assert_eq!(run(folder, &["use", "one", "--yes"]).status.code(), Some(0));
    assert!(fs::read_to_string(&file).unwrap().contains("model: one"));
    assert_eq!(run(folder, &["restart", "--yes"]).status.code(), Some(0));
    assert!(fs::read_to_string(&file).unwrap().contains("restart_after: "));
}

/// If this failed, a new user would read of an error of the system where the first steps should be.
#[test]
fn a_draft_is_named_as_it_is_typed_and_a_missing_file_says_what_comes_first() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    for arguments in [&["check"][..], &["plan"], &["status"], &["trust", "spark1"], &["use", "one"]] {
        let told = text(&run(folder, arguments));
        assert!(told.contains("spark-control") && told.contains(" init --spark "), "{arguments:?}: {told}");
        assert!(told.contains(" demo"), "{arguments:?}: {told}");
    }
    fs::write(folder.join("cluster.yaml"), FILE).unwrap();
    fs::write(folder.join("draft.yaml"), FILE.replace("model: none", "model: nobody")).unwrap();
    let checked = run(folder, &["check", "draft.yaml"]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(text(&checked).contains("draft.yaml"), "{}", text(&checked));
    assert_eq!(run(folder, &["check"]).status.code(), Some(0));
    fs::write(folder.join("draft.yaml"), format!("{FILE}x-note: draft\n")).unwrap();
    let planned = run(folder, &["plan", "draft.yaml"]);
    assert_eq!(planned.status.code(), Some(2), "{}", text(&planned));
    assert!(text(&planned).contains("+x-note: draft"), "{}", text(&planned));
    assert!(!fs::read_to_string(folder.join("cluster.yaml")).unwrap().contains("x-note"));
}

/// If this failed, the command that a hint proposes would ask another store than the one it speaks of.
#[test]
fn a_hint_keeps_the_options_of_the_run() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    fs::write(folder.join("cluster.yaml"), FILE).unwrap();
    let told = text(&run(folder, &["token", "revoke", "nobody"]));
    assert!(told.contains("`spark-control --data data token list`"), "{told}");
    let told = text(&run(folder, &["status", "--cached"]));
    assert!(told.contains("`spark-control --data data serve`"), "{told}");
}

/// If this failed, who knows the word of before would be told only that there is no such command.
#[test]
fn a_word_of_before_leads_to_the_new_one() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("cluster.yaml"), FILE).unwrap();
    let told = run(folder.path(), &["token", "new", "reader", "--role", "read"]);
    assert_eq!(told.status.code(), Some(1));
    assert!(
        text(&told).contains("`spark-control --data data token create reader --role read`"),
        "{}",
        text(&told)
    );
    let cached = text(&run(folder.path(), &["status", "--known"]));
    assert!(cached.contains("no controller runs"), "{cached}");
}

/// If this failed, a command would stand in no group of the help, and nobody would find it.
#[test]
fn every_command_stands_in_one_group_of_the_help() {
    use clap::CommandFactory;
    use spark_control::cli::{Arguments, arguments::GROUPS};

    let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    grouped.sort_unstable();
    let command = Arguments::command();
    let mut all: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    all.sort_unstable();
    assert_eq!(grouped, all);
    let help = Arguments::command().render_long_help().to_string();
    for (group, _) in GROUPS {
        assert!(help.contains(&format!("{group}:\n")), "{help}");
    }
}

/// What a person at a terminal sees, who types that answer.
fn at_a_terminal(folder: &Path, arguments: &str, answer: &str) -> String {
    let alone = program(folder);
    let line = format!("{} --data data {arguments}", alone.get_program().display());
    let mut terminal = command("script", folder);
    terminal.args(["-qec", &line, "/dev/null"]).current_dir(folder);
    let mut child = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{answer}\n").as_bytes()).unwrap();
    text(&child.wait_with_output().unwrap())
}

/// If this failed, a patch that was typed would stop what serves before anybody saw that it does, or a script would be asked.
#[test]
fn a_patch_is_asked_for_at_a_terminal_and_only_there() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let file = folder.join("cluster.yaml");
    fs::write(&file, WISHES).unwrap();
    let patch = "desired patch '{\"model\":\"large\"}'";
    let shown = at_a_terminal(folder, patch, "n");
    assert!(shown.contains("+model: large") && shown.contains("vllm: "), "the plan, too: {shown}");
    assert!(shown.contains("write it? [y/N]") && shown.contains("nothing was written"), "{shown}");
    assert_eq!(fs::read_to_string(&file).unwrap(), WISHES);
    let written = at_a_terminal(folder, patch, "y");
    assert!(written.contains("revision 2 is in force"), "{written}");
    assert_eq!(written.matches("+model: large").count(), 1, "shown once: {written}");
    let unasked = at_a_terminal(folder, "desired patch --yes '{\"model\":\"small\"}'", "");
    assert!(unasked.contains("revision 3") && !unasked.contains("[y/N]"), "{unasked}");
    let scripted = run(folder, &["desired", "patch", "{\"model\":\"large\"}"]);
    assert_eq!(scripted.status.code(), Some(0), "{}", text(&scripted));
    assert!(fs::read_to_string(&file).unwrap().contains("model: large"));
}

/// If this failed, who regrets an edit would have to write the file anew from memory.
#[test]
fn one_goes_back_to_what_the_file_was() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let file = folder.join("cluster.yaml");
    fs::write(&file, WISHES).unwrap();
    assert!(text(&run(folder, &["back", "--yes"])).contains("there is no revision before it"));
    assert_eq!(run(folder, &["use", "large", "--yes"]).status.code(), Some(0));
    let edited = fs::read_to_string(&file).unwrap();
    let shown = run(folder, &["back"]);
    assert_eq!(shown.status.code(), Some(2), "{}", text(&shown));
    assert!(text(&shown).contains("+model: small") && text(&shown).contains("`--yes` does it"));
    assert_eq!(fs::read_to_string(&file).unwrap(), edited);
    assert_eq!(run(folder, &["back", "--yes"]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&file).unwrap(), WISHES, "with its comments");
    assert_eq!(run(folder, &["back", "2", "--yes"]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&file).unwrap(), edited);
    let unknown = run(folder, &["back", "99"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown).contains("revision 99 is not kept"), "{}", text(&unknown));
}

/// If this failed, where both paths are too long for a socket, anybody could put a folder where ours is going to be.
#[test]
fn a_short_folder_for_sockets_has_a_name_that_nobody_guesses() {
    let folder = TempDir::new().unwrap();
    let long = folder.path().join("a-long-name/".repeat(8));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("cluster.yaml"), FILE).unwrap();
    let used = || {
        let status = program(&long).env("XDG_RUNTIME_DIR", &long).arg("status").output().unwrap();
        assert_eq!(status.status.code(), Some(4), "{}", text(&status));
        fs::read_link(long.join("data/ssh-is-in")).unwrap()
    };
    let first = used();
    assert!(first.as_os_str().len() <= 59 && first.is_dir(), "{}", first.display());
    assert_eq!(used(), first);
    // Gone when the machine started anew, and put there again by somebody else.
    fs::remove_dir_all(&first).unwrap();
    std::os::unix::fs::symlink(&long, &first).unwrap();
    let second = used();
    assert_ne!(second, first);
    fs::remove_file(&first).unwrap();
    fs::remove_dir_all(&second).unwrap();

    // A data directory that is short enough has them itself.
    let short = TempDir::new().unwrap();
    fs::write(short.path().join("cluster.yaml"), FILE).unwrap();
    let status = program(short.path()).env("XDG_RUNTIME_DIR", &long).arg("status").output().unwrap();
    assert_eq!(status.status.code(), Some(4), "{}", text(&status));
    assert!(short.path().join("data/ssh").is_dir());
}
