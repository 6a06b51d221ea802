//! The look at one machine, by a real `sh` on this one: what is on its disks, and what does not answer.

use std::{
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use spark_control::{
    core::model::{
        files::FilesSeen,
        observed::{FencingToken, GpuSeen, JobState, LauncherSeen, RecipeSeen},
    },
    host::{Answering, DockerResponse, EventStream, Program, ProgramOutput, Transport},
    probe::{
        jobs,
        launchers::{self, LauncherQuestions, RecipeDryRun},
        machine::{FilesAt, FilesToFind, MachineFacts, PathToFind, ProbeRequest, probe},
    },
};
use tempfile::TempDir;

use crate::{
    environment::{command, path},
    golden,
};

/// This machine, for somebody with a home of his own.
struct Here {
    home: TempDir,
}

impl Here {
    fn new() -> Self {
        let home = TempDir::new().unwrap();
        fs::create_dir(home.path().join("bin")).unwrap();
        Self { home }
    }

    fn shell(&self) -> Command {
        let path = format!("{}/bin:{}", self.home.path().display(), path().display());
        let mut shell = command("sh", self.home.path());
        shell.env("PATH", path);
        shell
    }

    /// A program on its PATH.
    fn has(&self, name: &str, script: &str) {
        let program = self.home.path().join("bin").join(name);
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }

    async fn look(&self, asked: &ProbeRequest) -> MachineFacts {
        probe(self, "test", asked, Duration::from_secs(30)).await.unwrap()
    }
}

impl Transport for Here {
    fn run<'a>(&'a self, program: &'a Program, _: Duration) -> Answering<'a, ProgramOutput> {
        Box::pin(async {
            let mut child = self
                .shell()
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(program.script().as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(stderr, "", "it complains of nothing");
            let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok(ProgramOutput {
                code: output.status.code(),
                stdout,
                stderr,
                is_whole: true,
                ..ProgramOutput::default()
            })
        })
    }
    fn run_stream<'a>(&'a self, _: &'a Program, _: Duration) -> Answering<'a, EventStream> {
        unreachable!("only programs are run here")
    }
    fn engine<'a>(&'a self, _: &'a str, _: Duration) -> Answering<'a, DockerResponse> {
        unreachable!("only programs are run here")
    }
    fn engine_stream<'a>(&'a self, _: &'a str, _: Duration) -> Answering<'a, EventStream> {
        unreachable!("only programs are run here")
    }
}

/// A safetensors file whose header tells of so many bytes behind it.
fn tensors(bytes: usize) -> Vec<u8> {
    let header = format!(
        r#"{{"__metadata__": {{"format": "pt"}}, "b": {{"dtype": "U8", "shape": [{bytes}], "data_offsets": [0, {bytes}]}}}}"#
    );
    let mut file = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(vec![0; bytes]);
    file
}

/// What an index names, as huggingface_hub saves it.
fn index(shards: &[&str]) -> String {
    let map: Vec<String> = shards.iter().map(|shard| format!(r#""{shard}.weight": "{shard}""#)).collect();
    format!(r#"{{"metadata": {{"total_size": 5}}, "weight_map": {{ {} }}}}"#, map.join(",\n"))
}

/// Two shards of 30 and 12 bytes and what is beside them.
fn sharded(folder: &Path, names: [&str; 2]) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("config.json"), "{}").unwrap();
    fs::write(folder.join("tokenizer.json"), "{}").unwrap();
    fs::write(folder.join("tokenizer_config.json"), "{}").unwrap();
    fs::write(folder.join(names[0]), tensors(30)).unwrap();
    fs::write(folder.join(names[1]), tensors(12)).unwrap();
}

const OF_TWO: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

fn whole_bytes() -> u64 {
    u64::try_from(tensors(30).len() + tensors(12).len()).unwrap()
}

/// A change to a folder, and what is seen of it then.
type Row = (&'static str, fn(&Path), FilesSeen);

fn partial(missing: &str) -> FilesSeen {
    FilesSeen::Partial { missing: missing.into() }
}

fn lacking(what: &str) -> FilesSeen {
    FilesSeen::Lacking { what: what.into() }
}

fn whole() -> FilesSeen {
    FilesSeen::Whole { weights_bytes: Some(whole_bytes()) }
}

fn remove(folder: &Path, name: &str) {
    fs::remove_file(folder.join(name)).unwrap();
}

fn rename(folder: &Path, from: &str, to: &str) {
    fs::rename(folder.join(from), folder.join(to)).unwrap();
}

fn rows() -> [Row; 24] {
    [
        ("shards by their names", |_| {}, whole()),
        (
            "shards by an index",
            |folder| fs::write(folder.join("model.safetensors.index.json"), index(&OF_TWO)).unwrap(),
            whole(),
        ),
        (
            "one that the index names is missing",
            |folder| {
                fs::write(folder.join("model.safetensors.index.json"), index(&OF_TWO)).unwrap();
                remove(folder, OF_TWO[1]);
            },
            partial(""),
        ),
        ("the last shard is missing", |folder| remove(folder, OF_TWO[1]), partial("")),
        ("the first shard is missing", |folder| remove(folder, OF_TWO[0]), partial("")),
        (
            "no shard",
            |folder| {
                remove(folder, OF_TWO[0]);
                remove(folder, OF_TWO[1]);
            },
            partial("no weights"),
        ),
        (
            "a file that was cut",
            |folder| {
                let text = fs::read(folder.join(OF_TWO[1])).unwrap();
                fs::write(folder.join(OF_TWO[1]), &text[..text.len() - 1]).unwrap();
            },
            partial(""),
        ),
        (
            "a file with something behind it",
            |folder| {
                let mut text = fs::read(folder.join(OF_TWO[1])).unwrap();
                text.push(0);
                fs::write(folder.join(OF_TWO[1]), text).unwrap();
            },
            partial(""),
        ),
        ("an empty file", |folder| fs::write(folder.join(OF_TWO[0]), "").unwrap(), partial("")),
        (
            "a pointer of git-lfs",
            |folder| {
                fs::write(
                    folder.join(OF_TWO[0]),
                    "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
                )
                .unwrap();
            },
            partial(""),
        ),
        ("no configuration", |folder| remove(folder, "config.json"), lacking("config.json")),
        ("the configuration of another form", |folder| rename(folder, "config.json", "params.json"), whole()),
        ("no tokenizer", |folder| remove(folder, "tokenizer.json"), lacking("a tokenizer")),
        ("another tokenizer", |folder| rename(folder, "tokenizer.json", "tekken.json"), whole()),
        ("a third tokenizer", |folder| rename(folder, "tokenizer.json", "tokenizer.model.v3"), whole()),
        ("a fourth tokenizer", |folder| rename(folder, "tokenizer.json", "vocab.txt"), whole()),
        ("a fifth tokenizer", |folder| rename(folder, "tokenizer.json", "qwen.tiktoken"), whole()),
        // Mistral publishes both forms; an index of the one that is not there is in the way of nothing.
        (
            "consolidated, and the index of the other form",
            |folder| {
                fs::write(folder.join("model.safetensors.index.json"), index(&OF_TWO)).unwrap();
                rename(folder, OF_TWO[0], "consolidated-00001-of-00002.safetensors");
                rename(folder, OF_TWO[1], "consolidated-00002-of-00002.safetensors");
            },
            whole(),
        ),
        (
            "consolidated in one",
            |folder| {
                fs::write(folder.join("model.safetensors.index.json"), index(&OF_TWO)).unwrap();
                remove(folder, OF_TWO[0]);
                remove(folder, OF_TWO[1]);
                fs::write(folder.join("consolidated.safetensors"), tensors(60)).unwrap();
            },
            FilesSeen::Whole { weights_bytes: Some(tensors(60).len() as u64) },
        ),
        (
            "one file",
            |folder| {
                remove(folder, OF_TWO[0]);
                rename(folder, OF_TWO[1], "model.safetensors");
            },
            FilesSeen::Whole { weights_bytes: Some(tensors(12).len() as u64) },
        ),
        (
            "an old form",
            |folder| {
                remove(folder, OF_TWO[0]);
                remove(folder, OF_TWO[1]);
                fs::write(folder.join("pytorch_model.bin"), "12345").unwrap();
            },
            FilesSeen::Whole { weights_bytes: Some(5) },
        ),
        (
            "a form of one file that holds all",
            |folder| {
                for name in ["config.json", "tokenizer.json", OF_TWO[0], OF_TWO[1]] {
                    remove(folder, name);
                }
                fs::write(folder.join("model-Q4_K_M.gguf"), "12345").unwrap();
            },
            FilesSeen::Whole { weights_bytes: None },
        ),
        (
            "parts of it",
            |folder| {
                remove(folder, OF_TWO[0]);
                fs::write(folder.join("m-Q8-00001-of-00003.gguf"), "1").unwrap();
                fs::write(folder.join("m-Q8-00003-of-00003.gguf"), "1").unwrap();
            },
            partial("m-Q8-00002-of-00003.gguf"),
        ),
        (
            "a folder with nothing in it",
            |folder| {
                fs::remove_dir_all(folder).unwrap();
                fs::create_dir(folder).unwrap();
            },
            partial("no weights"),
        ),
    ]
}

/// The words of a hint are free; that it is one is not.
fn is_like(seen: &FilesSeen, expected: &FilesSeen) -> bool {
    match (seen, expected) {
        (FilesSeen::Partial { missing }, FilesSeen::Partial { missing: expected }) => {
            missing.contains(expected.as_str())
        }
        _ => seen == expected,
    }
}

/// If this failed, what serves would be stopped for a model whose files no engine can load; or a model that could be loaded never
/// would.
#[tokio::test]
async fn what_a_loader_needs_is_looked_for_in_every_form() {
    let here = Here::new();
    let hf_home = here.home.path().join("hf");
    for (number, (what, change, seen)) in rows().into_iter().enumerate() {
        // At a path of the file, and as the cache has it: links to what was brought.
        let folder = here.home.path().join(format!("a model/{number}"));
        sharded(&folder, OF_TWO);
        change(&folder);
        let repository = hf_home.join(format!("hub/models--lab--m{number}"));
        fs::create_dir_all(repository.join("refs")).unwrap();
        fs::create_dir_all(repository.join("snapshots/c0ffee")).unwrap();
        fs::write(repository.join("refs/main"), "c0ffee").unwrap();
        for file in fs::read_dir(&folder).unwrap().flatten() {
            symlink(file.path(), repository.join("snapshots/c0ffee").join(file.file_name())).unwrap();
        }
        let mut asked =
            ProbeRequest { hf_home: Some(hf_home.display().to_string()), ..ProbeRequest::default() };
        let path = folder.display().to_string();
        for (key, at) in [
            (path.clone(), FilesAt::Path(path)),
            (format!("lab/m{number}"), FilesAt::Cache { repo: format!("lab/m{number}"), revision: None }),
        ] {
            asked.files.push(FilesToFind { key: key.clone(), at, tokenizer_elsewhere: false });
        }
        // Not all of them at once: where sixty are read on two cores, four seconds are over before the last.
        let told = here.look(&asked).await.files;
        assert_eq!(told.len(), 2, "{what}: {told:?}");
        for (key, told) in told {
            assert!(is_like(&told, &seen), "{what} ({key}): {told:?}, not {seen:?}");
        }
    }
}

#[tokio::test]
async fn a_tokenizer_may_be_elsewhere_and_a_path_may_be_a_file_or_nothing() {
    let here = Here::new();
    let folder = here.home.path().join("m");
    sharded(&folder, OF_TWO);
    remove(&folder, "tokenizer.json");
    fs::write(here.home.path().join("x.gguf"), "12345").unwrap();
    let of = |path: PathBuf, tokenizer_elsewhere| FilesToFind {
        key: path.display().to_string(),
        at: FilesAt::Path(path.display().to_string()),
        tokenizer_elsewhere,
    };
    for (name, elsewhere, seen) in [
        ("m", true, whole()),
        ("m", false, lacking("a tokenizer")),
        ("x.gguf", false, FilesSeen::Whole { weights_bytes: Some(5) }),
        ("nothing", false, FilesSeen::Absent),
        ("m", true, whole()),
    ] {
        let asked = ProbeRequest {
            files: vec![of(here.home.path().join(name), elsewhere)],
            ..ProbeRequest::default()
        };
        let all = here.look(&asked).await.files;
        assert_eq!(all.values().collect::<Vec<_>>(), [&seen], "{name}");
    }
}

/// If this failed, a Spark that is well would count as gone, and every look would leave a process behind.
#[tokio::test]
async fn what_hangs_is_killed_and_the_rest_of_the_look_goes_on() {
    let here = Here::new();
    // What no signal but one ends, and its child.
    here.has("nvidia-smi", "trap '' TERM INT HUP\nsleep 613 &\necho $! >\"$HOME/child\"\nwait\nsleep 613");
    fs::write(here.home.path().join("there"), "").unwrap();
    let entry = PathToFind { key: "there".into(), at: vec!["there".into()] };
    let asked = ProbeRequest { entries: vec![entry], ..ProbeRequest::default() };
    let began = Instant::now();
    let seen = here.look(&asked).await;
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert_eq!(seen.gpu, GpuSeen::Hangs);
    assert_eq!(seen.entries.get("there"), Some(&true));
    assert!(seen.memory_total_bytes > 0 && seen.boot_id != "");
    let child = fs::read_to_string(here.home.path().join("child")).unwrap();
    let began = Instant::now();
    while Path::new("/proc").join(child.trim()).exists() {
        assert!(began.elapsed() < Duration::from_secs(5), "{} is left behind", child.trim());
        std::thread::sleep(Duration::from_millis(50));
    }
    // One that not even that signal ends keeps its lock, and is not asked again: the look is quick.
    let lock = here.home.path().join(".local/state/spark-control/test/asking");
    let locks: Vec<_> = fs::read_dir(&lock).unwrap().flatten().map(|entry| entry.path()).collect();
    let mut holders: Vec<_> = locks
        .iter()
        .map(|lock| command("flock", here.home.path()).arg(lock).args(["sleep", "60"]).spawn().unwrap())
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    let seen = here.look(&asked).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(seen.gpu, GpuSeen::Hangs);
    assert_eq!(seen.entries.get("there"), None, "nothing is known of it");
    for holder in &mut holders {
        holder.kill().unwrap();
        holder.wait().unwrap();
    }
}

/// If this failed, a driver that was updated under a running kernel would be found out after the stop.
#[tokio::test]
async fn a_gpu_that_refuses_says_why_and_one_that_answers_tells_who_is_on_it() {
    let here = Here::new();
    assert_eq!(here.look(&ProbeRequest::default()).await.gpu, GpuSeen::Missing);
    here.has("nvidia-smi", "echo 'Failed to initialize NVML: Driver/library version mismatch'\necho 'NVML library version: 580.95'\nexit 18");
    let said = "Failed to initialize NVML: Driver/library version mismatch".to_owned();
    assert_eq!(here.look(&ProbeRequest::default()).await.gpu, GpuSeen::Refuses { code: 18, said });
    here.has(
        "nvidia-smi",
        "case $* in *compute-apps*) echo \"$$, python3, 2048\" ;; *) echo 'NVIDIA GB10, 580.95.05, 41, 12.09, [N/A], 2411' ;; esac",
    );
    let GpuSeen::Answers(gpu) = here.look(&ProbeRequest::default()).await.gpu else { panic!() };
    assert_eq!((gpu.name.as_str(), gpu.driver.as_str()), ("NVIDIA GB10", "580.95.05"));
    assert_eq!(gpu.processes[0].memory_bytes, Some(2 << 30));
}

/// If this failed, an option that a launcher has would not be used, or one be used that it has not.
#[tokio::test]
async fn a_launchers_options_are_those_of_its_own_parser() {
    let here = Here::new();
    let dir = here.home.path().join("spark-vllm-docker");
    fs::create_dir(&dir).unwrap();
    let script = "#!/bin/bash\n# --not-an-option) is said in a comment\nwhile [[ $# -gt 0 ]]; do\n  case \"$1\" in\n    \
        -t) IMAGE=$2; shift ;;\n    --solo) SOLO=1 ;;\n    --no-ray|--noray) RAY=0 ;;\n    -e|--env) E=$2 ;;\n    \
        --earlyoom) X=1 ;;\n  esac\n  shift\ndone\necho \"use --launch-script with care\"\n";
    fs::write(dir.join("launch-cluster.sh"), script).unwrap();
    fs::write(dir.join(".env"), "CLUSTER_NODES=\"192.0.2.1,192.0.2.2\"\n").unwrap();
    let recipes =
        "parser.add_argument('--solo', action='store_true')\nparser.add_argument(\"-t\", \"--container\")\n";
    fs::write(dir.join("run-recipe.py"), recipes).unwrap();
    let asked = ProbeRequest {
        launchers: vec!["spark-vllm-docker".into(), "nowhere".into()],
        ..ProbeRequest::default()
    };
    let seen = here.look(&asked).await.launchers;
    let LauncherSeen::Present(checkout) = &seen["spark-vllm-docker"] else { panic!() };
    for (option, knows) in [
        ("--solo", true),
        ("--no-ray", true),
        ("--env", true),
        ("--earlyoom", true),
        ("--launch-script", false),
    ] {
        assert_eq!(checkout.knows(option), knows, "{option}: {:?}", checkout.options);
    }
    assert_eq!(checkout.nodes.len(), 2);
    for (option, is_handed_on) in [("--solo", true), ("--container", true), ("--earlyoom", false)] {
        assert_eq!(checkout.hands_on(option), is_handed_on, "{option}: {:?}", checkout.recipe_options);
    }
    assert_eq!(seen["nowhere"], LauncherSeen::Missing);
}

/// If this failed, of a launcher that failed a few short lines would be shown, and the cause be above them.
#[tokio::test]
async fn the_log_of_a_job_is_read_as_long_as_it_is() {
    let here = Here::new();
    let job = here.home.path().join(".local/state/spark-control/test/jobs/7.2");
    fs::create_dir_all(&job).unwrap();
    let log: String = (0..600).map(|number| format!("{number}: {}\n", "x".repeat(400))).collect();
    fs::write(job.join("log"), &log).unwrap();
    let read =
        async |job: &str, lines| jobs::log(&here, "test", &job.into(), lines, Duration::from_secs(10)).await;
    assert_eq!(read("7.2", 1000).await.unwrap(), log);
    assert_eq!(
        read("7.2", 500).await.unwrap(),
        log.lines().skip(100).map(|line| format!("{line}\n")).collect::<String>()
    );
    assert_eq!(read("9.9", 500).await.unwrap(), "");
}

/// If this failed, a recipe's own share of memory would be lost where its command goes on over lines, and 0.92 be reckoned instead.
#[tokio::test]
async fn a_recipes_command_goes_on_over_lines() {
    let here = Here::new();
    let dir = here.home.path().join("vllm");
    fs::create_dir(&dir).unwrap();
    let script = "#!/bin/sh\ncat <<'END'\nRecipe: own\n=== Generated launch script ===\n#!/bin/bash\nexport VLLM_USE_X=\"1\"\n  export OTHER='a b'\n\n\
        vllm serve lab/own \\\n  --port 8000 \\\n  --gpu-memory-utilization 0.7 \\\n  --quantization fp8\nEND\n";
    fs::write(dir.join("run-recipe.sh"), script).unwrap();
    fs::set_permissions(dir.join("run-recipe.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let asked = RecipeDryRun {
        key: "vllm/own".into(),
        dir: "vllm".into(),
        names_nodes: true,
        words: vec!["own".into()],
    };
    let asked = LauncherQuestions { recipes: vec![asked], ..LauncherQuestions::default() };
    let mut answers = launchers::probe(&here, &asked).await;
    let Some(RecipeSeen::Readable { root, args, sets }) = answers.recipes.remove("vllm/own") else {
        panic!("it is readable")
    };
    assert_eq!(root, "lab/own");
    assert_eq!(args["gpu-memory-utilization"], 0.7);
    assert_eq!(args["quantization"], "fp8");
    assert_eq!(sets, ["OTHER".into(), "VLLM_USE_X".into()].into());
}

/// If this failed, an option that sparkrun has not would be met when the old model is gone, or one that its help only mentions would
/// be given to it.
#[tokio::test]
async fn sparkrun_is_asked_which_options_it_takes() {
    let here = Here::new();
    let asked = LauncherQuestions {
        sparkruns: ["bin/sparkrun".to_owned(), "bin/none".to_owned()].into(),
        ..LauncherQuestions::default()
    };
    // As its help is printed: it hides most of it from who does not ask for all, and folds lines.
    here.has(
        "sparkrun",
        "[ \"$1 $2\" = 'run --help' ] || exit 2
cat <<END
Usage: sparkrun run [OPTIONS] RECIPE_NAME [EXTRA_ARGS]...

  Run a recipe. See also --other.

Options:
  -H, --hosts TEXT                Hosts, as --cluster names them
  --tp, --tensor-parallel INTEGER
                                  --folded is no option
  -e, --env TEXT                  Like -o env.KEY=VALUE
  --offline / --online            --online overrides it
END
[ -z \"$SPARKRUN_ADVANCED\" ] || echo '  --restart TEXT   Restart policy'",
    );
    let answers = launchers::probe(&here, &asked).await.sparkruns;
    let LauncherSeen::Present(seen) = &answers["bin/sparkrun"] else { panic!("{answers:?}") };
    let options = ["--env", "--hosts", "--offline", "--online", "--restart", "--tensor-parallel", "--tp"];
    assert_eq!(seen.options, options.map(Into::into).into());
    let LauncherSeen::Silent { why } = &answers["bin/none"] else { panic!("{answers:?}") };
    assert!(why.contains("No such file"), "{why}");

    here.has("sparkrun", "echo Traceback; echo \"ModuleNotFoundError: No module named 'click'\"; exit 1");
    let answers = launchers::probe(&here, &asked).await.sparkruns;
    let LauncherSeen::Silent { why } = &answers["bin/sparkrun"] else { panic!("{answers:?}") };
    assert_eq!(why, "ModuleNotFoundError: No module named 'click'");
}

/// If this failed, a launcher's summary would stand where its error is.
#[tokio::test]
async fn a_job_that_failed_is_heard_further_back_than_one_that_did_not() {
    let here = Here::new();
    for (job, status) in [("7.1", "1"), ("7.2", "0")] {
        let folder = here.home.path().join(".local/state/spark-control/test/jobs").join(job);
        fs::create_dir_all(&folder).unwrap();
        let log: String = (0..100).map(|number| format!("{number}\n")).collect();
        let token = format!("{job}.a");
        for (name, text) in [
            ("log", log.as_str()),
            ("token", &token),
            ("started", "1"),
            ("spec", "v1-0123456789abcdef"),
            ("object", "vllm"),
            ("status", status),
        ] {
            fs::write(folder.join(name), format!("{}\n", text.trim_end())).unwrap();
        }
    }
    let jobs = here.look(&ProbeRequest::default()).await.jobs;
    let heard: Vec<(&str, usize)> = jobs.iter().map(|job| (job.id.as_str(), job.said.len())).collect();
    assert_eq!(heard, [("7.1", 60), ("7.2", 12)]);
}

/// If this failed, an update of this program would start a job a second time, or wait for one that has ended.
#[tokio::test]
async fn a_job_that_an_older_program_started_is_known() {
    let here = Here::new();
    let state = here.home.path().join(".local/state/spark-control/test");
    fs::create_dir_all(state.parent().unwrap()).unwrap();
    let from = golden::here("tests/it/before/state");
    assert!(command("cp", here.home.path()).arg("-r").arg(from).arg(&state).status().unwrap().success());
    let seen = here.look(&ProbeRequest::default()).await;
    let token: FencingToken = "3.4.a".parse().unwrap();
    assert_eq!(seen.token, Some(token.clone()));
    let [job] = &seen.jobs[..] else { panic!("{:?}", seen.jobs) };
    assert_eq!((job.id.as_str(), job.object.as_str(), &job.token), ("3.4", "vllm", &token));
    assert_eq!((job.spec.as_str(), job.state), ("v1-0123456789abcdef", JobState::Exited(3)));
    assert_eq!(job.said, ["building", "Error: no nodes"]);
    assert_eq!(
        jobs::log(&here, "test", &"3.4".into(), 10, Duration::from_secs(10)).await.unwrap(),
        "building\nError: no nodes\n"
    );
}
