//! The remote program, run by a real `sh` in a directory of its own, with a `docker` that keeps its containers as files.

use std::{fs, io::Write, os::unix::fs::PermissionsExt, path::PathBuf, process::Stdio, time::Duration};

use proptest::prelude::*;
use spark_control::{
    apply::fence,
    core::model::observed::{FencingToken, SparkFacts},
    host::{Answering, DockerResponse, EventStream, Frame, Program, ProgramOutput, Transport},
    manifest::load::load,
    probe::audit,
};
use tempfile::TempDir;

use crate::environment::{self, command};

/// Just enough of the client: a container is a file named by its id that holds `true` or `false`.
const DOCKER: &str = r#"#!/bin/sh
cd "$FAKE" || exit 1
echo "$*" >>calls
case "$*" in
"container ls"*id=*) id=${*##*id=}; [ ! -e "$id" ] || echo "$id" ;;
"container ls"*) [ ! -e "names" ] || grep -F "${*##*name=^/}" names || : ;;
"image inspect"*) cat image ;;
"container inspect"*) for id; do :; done; cat "$id" ;;
"container stop"*) for id; do :; done; echo false >"$id" ;;
"container start"*) for id; do :; done; echo true >"$id" ;;
"container rm"*) for id; do :; done; rm "$id" ;;
run*) sh ./answer ;;
esac
"#;

pub struct Spark {
    pub home: TempDir,
}

impl Spark {
    pub fn new() -> Self {
        let home = TempDir::new().unwrap();
        let bin = home.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::write(bin.join("docker"), DOCKER).unwrap();
        fs::set_permissions(bin.join("docker"), fs::Permissions::from_mode(0o755)).unwrap();
        Self { home }
    }

    fn state(&self) -> PathBuf {
        self.home.path().join(".local/state/spark-control/test")
    }

    /// What it says: the words after `outcome`.
    pub fn run(&self, program: &Program) -> String {
        let text = self.all_of(program);
        text.lines().last().unwrap_or_default().trim_start_matches("outcome ").to_owned()
    }

    fn all_of(&self, program: &Program) -> String {
        let path = format!("{}/bin:{}", self.home.path().display(), environment::path().display());
        let mut child = command("sh", self.home.path())
            .env("FAKE", self.home.path())
            .env("PATH", path)
            .current_dir(self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let frame = Frame::new();
        child.stdin.take().unwrap().write_all(program.text(&frame).as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let framed = frame.split(&String::from_utf8_lossy(&output.stdout));
        assert!(framed.is_whole && framed.outside.ends_with('0'), "{framed:?}");
        framed.inside
    }
}

/// What is true of this machine now.
pub fn seen() -> SparkFacts {
    let read = |path: &str| fs::read_to_string(path).unwrap();
    let uptime = read("/proc/uptime");
    SparkFacts {
        at: "2026-11-24T12:00:00Z".parse().unwrap(),
        boot_id: read("/proc/sys/kernel/random/boot_id").trim().to_owned().into(),
        uptime_secs: uptime.split('.').next().unwrap().parse().unwrap(),
        ..SparkFacts::default()
    }
}

fn act(name: &str, epoch: u64, sequence: u64, controller: &str) -> Program {
    let text = "version: 1\nname: test\nsparks: { a: { address: 192.0.2.1, user: alice } }\n";
    let desired = load(text).unwrap().desired;
    let spark = desired.sparks.keys().next().unwrap();
    let token = FencingToken { epoch, sequence, controller: controller.to_owned().into() };
    fence::program(name, &desired, spark, &token, &seen())
}

/// If this failed, a message that was held up on its way could undo what a newer one did.
#[test]
fn older_messages_and_older_controllers_come_too_late() {
    let spark = Spark::new();
    assert_eq!(spark.run(&act("advance", 1, 1, "a")), "done");
    assert_eq!(spark.run(&act("advance", 1, 2, "a")), "done");
    assert_eq!(spark.run(&act("advance", 1, 2, "a")), "refused a newer message was seen (1.2)");
    assert_eq!(spark.run(&act("advance", 1, 9, "b")), "fenced 1.2.a", "an epoch has one owner");
    assert_eq!(spark.run(&act("advance", 2, 1, "b")), "done");
    assert_eq!(spark.run(&act("advance", 1, 3, "a")), "fenced 2.1.b");
    let audit = fs::read_to_string(spark.state().join("audit.log")).unwrap();
    assert_eq!(audit.lines().count(), 6, "every message leaves a line: {audit}");
}

/// If this failed, what was decided before a reboot would be done after it.
#[test]
fn an_act_for_another_boot_is_refused() {
    let spark = Spark::new();
    let program = act("stop", 1, 1, "a").with("expect_boot", "another").with("container", "x");
    assert_eq!(spark.run(&program), "refused restarted since");
}

/// If this failed, a container that vanishes by itself while it is stopped would be a stop of which nobody knows what came.
#[test]
fn a_container_that_vanishes_between_two_questions_is_gone() {
    let spark = Spark::new();
    let docker = spark.home.path().join("bin/docker");
    // It is listed once, and gone when it is inspected.
    let vanishing = "#!/bin/sh\ncd \"$FAKE\" || exit 1\ncase \"$*\" in\n\
        \"container ls\"*) [ -e listed ] || echo x; : >listed ;;\n*) exit 1 ;;\nesac\n";
    fs::write(&docker, vanishing).unwrap();
    let stop = act("stop", 1, 1, "a").with("container", "x").with("remove", "yes").with("grace", "1");
    assert_eq!(spark.run(&stop), "already");
    // One that is there and cannot be inspected is not gone.
    let hanging = "#!/bin/sh\ncase \"$*\" in\n\"container ls\"*) echo x ;;\n*) exit 1 ;;\nesac\n";
    fs::write(&docker, hanging).unwrap();
    let stop = act("stop", 1, 2, "a").with("container", "x").with("remove", "yes").with("grace", "1");
    assert_eq!(spark.run(&stop), "refused Docker did not answer");
}

/// If this failed, a launch over several Sparks would begin on one whose memory went away since it was looked at.
#[test]
fn memory_that_is_not_there_any_more_refuses_a_start() {
    let spark = Spark::new();
    let needs = |sequence, kib: &str| act("advance", 1, sequence, "a").with("expect_memory_kib", kib);
    assert_eq!(spark.run(&needs(1, "1024")), "done");
    let said = spark.run(&needs(2, "1073741824000"));
    assert!(
        said.starts_with("refused only ")
            && said.ends_with(" GiB of memory are free now, and 1024000 are needed"),
        "{said}"
    );
    assert_eq!(spark.run(&needs(3, "0")), "done", "what is not known is not asked for");
}

/// If this failed, two machines that share a home would refuse each other's acts as messages of before.
#[test]
fn a_home_that_machines_share_has_a_place_for_each() {
    let spark = Spark::new();
    assert_eq!(spark.run(&act("advance", 1, 5, "a")), "done");
    let state = spark.state();
    let owner = fs::read_to_string(state.join("machine")).unwrap();
    assert!(!owner.trim().is_empty());
    // Another machine has been there first.
    fs::write(state.join("machine"), "0123456789abcdef0123456789abcdef\n").unwrap();
    assert_eq!(spark.run(&act("advance", 1, 1, "a")), "done", "no message of this machine was seen");
    let own = state.join("machines").join(owner.trim());
    assert_eq!(fs::read_to_string(own.join("token")).unwrap(), "1 1 a\n");
    assert_eq!(fs::read_to_string(state.join("token")).unwrap(), "1 5 a\n", "the other's is as it was");
    assert_eq!(spark.run(&act("advance", 1, 1, "a")), "refused a newer message was seen (1.1)");
}

/// If this failed, a model would not be loaded because of a line in sudoers, or nobody would be told that it is missing.
#[test]
fn the_cache_of_files_is_dropped_where_it_is_asked_for_and_allowed() {
    let spark = Spark::new();
    let asked = |sequence| act("advance", 1, sequence, "a").with("drop_caches", "yes");
    let sudo = spark.home.path().join("bin/sudo");
    let may = |script: &str| {
        fs::write(&sudo, format!("#!/bin/sh\necho \"$*\" >>\"$FAKE/sudo-calls\"\n{script}\n")).unwrap();
        fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755)).unwrap();
    };
    may("exit 0");
    assert_eq!(spark.run(&act("advance", 1, 1, "a")), "done");
    assert!(!spark.home.path().join("sudo-calls").exists(), "nobody asked");
    assert_eq!(spark.run(&asked(2)), "done");
    let calls = fs::read_to_string(spark.home.path().join("sudo-calls")).unwrap();
    assert_eq!(calls, "-n /usr/bin/tee /proc/sys/vm/drop_caches\n", "and nothing else");
    may("echo 'sudo: a password is required' >&2; exit 1");
    let said = spark.run(&asked(3));
    assert_eq!(said, "said the cache of files could not be dropped: sudo: a password is required");
    let launch = asked(4).with("act", "launch").with("job", "1.4").with("object", "vllm");
    let launch = launch.with("spec", "v1-0").with("script", "true").with("limit", "5");
    assert!(spark.run(&launch).starts_with("said the cache of files"));
    assert!(spark.state().join("jobs/1.4/pid").exists(), "it is started all the same");
}

/// If this failed, a Spark that cannot remember who acts would obey anybody who comes later.
#[test]
fn a_spark_that_cannot_write_its_state_is_not_acted_on() {
    let spark = Spark::new();
    fs::create_dir_all(spark.home.path().join(".local/state")).unwrap();
    fs::write(spark.home.path().join(".local/state/spark-control"), "a file").unwrap();
    let stop = act("stop", 1, 1, "a").with("container", "x").with("remove", "yes").with("grace", "1");
    fs::write(spark.home.path().join("x"), "true").unwrap();
    let said = spark.run(&stop);
    assert!(said.starts_with("refused cannot write"), "{said}");
    assert!(!spark.home.path().join("calls").exists(), "Docker was not even asked");
}

/// If this failed, what a Spark wrote down could not be read back.
#[tokio::test]
async fn what_the_fence_wrote_down_is_read_back() {
    let spark = Spark::new();
    spark.run(&act("advance", 1, 1, "a"));
    spark.run(&act("advance", 1, 1, "a"));
    let body = concat!(include_str!("../../src/host/place.sh"), include_str!("../../src/probe/audit.sh"));
    let program = Program::new("audit", body);
    let program = program.with("cluster", "test").with("last", "10");
    let said = spark.all_of(&program);
    let told = Said(said);
    let acts = audit::read(&told, "test", 10).await.unwrap();
    let told: Vec<_> =
        acts.iter().map(|act| (act.by.as_str(), act.act.as_str(), act.outcome.as_str())).collect();
    assert_eq!(
        told,
        [("1.1.a", "advance", "done"), ("1.1.a", "advance", "refused a newer message was seen (1.1)")]
    );
}

/// A Spark that answers whatever program with this.
struct Said(String);

impl Transport for Said {
    fn run<'a>(&'a self, _: &'a Program, _: Duration) -> Answering<'a, ProgramOutput> {
        let stdout = self.0.clone();
        Box::pin(async {
            Ok(ProgramOutput { code: Some(0), stdout, is_whole: true, ..ProgramOutput::default() })
        })
    }
    fn run_stream<'a>(&'a self, _: &'a Program, _: Duration) -> Answering<'a, EventStream> {
        unreachable!("nobody follows it")
    }
    fn engine<'a>(&'a self, _: &'a str, _: Duration) -> Answering<'a, DockerResponse> {
        unreachable!("its Docker is not asked")
    }
    fn engine_stream<'a>(&'a self, _: &'a str, _: Duration) -> Answering<'a, EventStream> {
        unreachable!("its Docker is not asked")
    }
}

/// If this failed, a Spark whose memory of who acts is damaged would obey anybody.
#[test]
fn a_token_that_cannot_be_read_refuses_everybody() {
    let spark = Spark::new();
    assert_eq!(spark.run(&act("advance", 3, 1, "a")), "done");
    for broken in ["", "\n", "x y z\n", "3\n"] {
        fs::write(spark.state().join("token"), broken).unwrap();
        let said = spark.run(&act("advance", 9, 9, "b"));
        assert!(said.starts_with("refused") && said.contains("cannot be read"), "{broken:?}: {said}");
        assert_eq!(
            fs::read_to_string(spark.state().join("token")).unwrap(),
            broken,
            "and it is left as it is"
        );
    }
}

/// If this failed, a rank could be started from an image that nobody looked at, or onto a container that came between.
#[test]
fn a_rank_is_started_only_into_what_was_seen() {
    let spark = Spark::new();
    let advance = |sequence| {
        act("advance", 1, sequence, "a")
            .with("expect_free", "vllm_node")
            .with("expect_image", "vllm-node")
            .with("expect_image_id", "sha256:aa")
    };
    fs::write(spark.home.path().join("image"), "sha256:bb\n").unwrap();
    assert_eq!(spark.run(&advance(1)), "refused vllm-node is not the image any more that it was");
    fs::remove_file(spark.home.path().join("image")).unwrap();
    assert_eq!(spark.run(&advance(2)), "refused vllm-node is not the image any more that it was");
    fs::write(spark.home.path().join("image"), "sha256:aa\n").unwrap();
    assert_eq!(spark.run(&advance(3)), "done");
    fs::write(spark.home.path().join("names"), "vllm_node$\n").unwrap();
    assert_eq!(spark.run(&advance(4)), "refused there is a container vllm_node");
}

/// If this failed, a Spark that serves for years would fill its disk with one line at a time.
#[test]
fn the_audit_log_is_bounded() {
    let spark = Spark::new();
    assert_eq!(spark.run(&act("advance", 1, 1, "a")), "done");
    let log = spark.state().join("audit.log");
    fs::write(&log, "x".repeat(4_000_001)).unwrap();
    assert_eq!(spark.run(&act("advance", 1, 2, "a")), "done");
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 1);
    assert!(spark.state().join("audit.log.1").exists());
}

/// If this failed, a message that hung for an hour would stop what serves by now.
#[test]
fn a_message_that_comes_too_late_is_refused() {
    let spark = Spark::new();
    fs::write(spark.home.path().join("c1"), "true\n").unwrap();
    let uptime = seen().uptime_secs;
    let late = act("stop", 1, 1, "a").with("container", "c1").with("expect_before", (uptime - 1).to_string());
    assert_eq!(spark.run(&late), "refused it comes too late");
    assert_eq!(fs::read_to_string(spark.home.path().join("c1")).unwrap(), "true\n");
}

/// If this failed, an Engine that hangs would keep the lock of its Spark, and count as a failed load.
#[test]
fn an_engine_that_does_not_answer_is_no_failure() {
    let spark = Spark::new();
    fs::write(spark.home.path().join("bin/docker"), "#!/bin/sh\nexit 1\n").unwrap();
    let stop = act("stop", 1, 1, "a").with("container", "c1").with("remove", "yes").with("grace", "1");
    assert_eq!(spark.run(&stop), "refused Docker did not answer");
    let launch = act("launch", 1, 2, "a").with("expect_free", "vllm_node");
    assert_eq!(spark.run(&launch), "refused Docker did not answer");
    let text = act("stop", 1, 3, "a").script();
    let calls = text.lines().filter(|line| line.contains("docker ") && !line.trim_start().starts_with('#'));
    for call in calls {
        assert!(call.contains("timeout "), "without a deadline: {call}");
    }
}

/// If this failed, an engine that cannot be asked would hold up a swap, or be believed to have refused.
#[test]
fn a_check_answers_valid_invalid_or_unknown_and_takes_no_memory_from_what_serves() {
    let spark = Spark::new();
    fs::write(spark.home.path().join("image"), "sha256:aa\n").unwrap();
    let check = |sequence, memory_kib: &str| {
        act("check", 1, sequence, "a")
            .with("expect_image", "vllm-node")
            .with("expect_image_id", "sha256:aa")
            .with("memory_kib", memory_kib)
            .with("words", "'--entrypoint' 'python3' 'vllm-node' '-c' 'text' '--a' 'it'\\''s $(touch ran)'")
    };
    for (sequence, answer, expected) in [
        (1, r#"echo 'arguments {"is": "valid"}'"#, r#"said {"is": "valid"}"#),
        // Whatever its imports print before and after it.
        (
            2,
            r#"echo arguments; echo 'arguments {"is": "invalid", "why": "--x"}'; echo bye; exit 1"#,
            r#"said {"is": "invalid", "why": "--x"}"#,
        ),
        (3, "echo no such image >&2; exit 125", "said unknown it ended with 125: no such image"),
        (4, "exit 137", "said unknown it was ended, perhaps because it took more than 4 GiB of memory"),
        (5, "exit 124", "said unknown the engine did not answer within 300 s"),
        // However much it says, no more than its last words are kept.
        (
            6,
            "head -c 50000000 /dev/zero | tr '\\0' x; echo; echo no >&2; exit 2",
            "said unknown it ended with 2: no",
        ),
    ] {
        fs::write(spark.home.path().join("answer"), answer).unwrap();
        assert_eq!(spark.run(&check(sequence, "1")).trim_end(), expected.trim_end());
    }
    let calls = fs::read_to_string(spark.home.path().join("calls")).unwrap();
    let run = calls.lines().find(|call| call.starts_with("run ")).unwrap();
    for option in
        ["--rm", "--network none", "--memory 4g", "--name spark-control-check-1.1", "it's $(touch ran)"]
    {
        assert!(run.contains(option), "{option}: {run}");
    }
    assert!(!run.contains("--gpus") && !spark.home.path().join("ran").exists());
    let runs = calls.matches("run --rm").count();
    assert_eq!(spark.run(&check(7, "999999999999")), "said unknown too little memory is free for it");
    let calls = fs::read_to_string(spark.home.path().join("calls")).unwrap();
    assert_eq!(calls.matches("run --rm").count(), runs, "nothing was started for it");
}

/// If this failed, what an owner's own program leaves running would stay, or its failure would count.
#[test]
fn an_owners_program_goes_first_and_what_it_leaves_is_stopped() {
    let spark = Spark::new();
    let dir = spark.home.path().join("mine");
    fs::create_dir(&dir).unwrap();
    let program = |text: &str| {
        fs::write(dir.join("down.sh"), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(dir.join("down.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let stop = |sequence| {
        act("stop", 1, sequence, "a")
            .with("container", "c1")
            .with("remove", "yes")
            .with("grace", "1")
            .with("own_dir", "mine")
            .with("own_program", "down.sh")
            .with("name", "vllm_node")
    };
    fs::write(spark.home.path().join("c1"), "true\n").unwrap();
    program("echo $SPARK_CONTROL_CONTAINER >>../told; exit 3");
    assert_eq!(spark.run(&stop(1)), "done");
    assert!(!spark.home.path().join("c1").exists());
    assert_eq!(fs::read_to_string(spark.home.path().join("told")).unwrap(), "vllm_node\n");
    fs::write(spark.home.path().join("c1"), "true\n").unwrap();
    program("rm ../c1");
    assert_eq!(spark.run(&stop(2)), "done");
    let calls = fs::read_to_string(spark.home.path().join("calls")).unwrap();
    assert_eq!(calls.matches("container stop").count(), 1, "what was gone was not stopped again: {calls}");
}

/// If this failed, a step would act twice, or on a container that is not the one it was decided for.
#[test]
fn acts_check_before_they_act() {
    let spark = Spark::new();
    let stop = |sequence, id: &str, remove: &str| {
        act("stop", 1, sequence, "a").with("container", id).with("remove", remove).with("grace", "1")
    };
    assert_eq!(spark.run(&stop(1, "gone", "yes")), "already");
    fs::write(spark.home.path().join("c1"), "true\n").unwrap();
    assert_eq!(spark.run(&stop(2, "c1", "no")), "done");
    assert_eq!(fs::read_to_string(spark.home.path().join("c1")).unwrap(), "false\n");
    let start = |sequence, id: &str| act("start", 1, sequence, "a").with("container", id);
    assert_eq!(spark.run(&start(3, "c1")), "done");
    assert_eq!(spark.run(&start(4, "c1")), "already");
    assert_eq!(spark.run(&start(5, "gone")), "refused the container is gone");
    assert_eq!(spark.run(&stop(6, "c1", "yes")), "done");
    assert!(!spark.home.path().join("c1").exists());
    assert_eq!(spark.run(&act("dance", 1, 7, "a")), "refused unknown act");
    let calls = fs::read_to_string(spark.home.path().join("calls")).unwrap();
    assert_eq!(calls.lines().filter(|call| call.starts_with("container stop")).count(), 2, "{calls}");
}

/// If this failed, a launch could be started twice, outlive the wish to end it, or leave a secret behind.
#[test]
fn a_launch_is_a_job_that_is_started_once_and_can_be_ended() {
    let spark = Spark::new();
    let environment = format!("/dev/shm/spark-control-test-{}", std::process::id());
    let launch = |sequence: u64, job: &str, script: &str| {
        act("launch", 1, sequence, "a")
            .with("object", "vllm")
            .with("expect_free", "vllm_node")
            .with("spec", "v1-0")
            .with("job", job)
            .with("limit", "60")
            .with("script", script)
            .with("environment", "TOKEN=hunter2\n")
            .with("environment_file", environment.clone())
    };
    let long = format!("cat {environment} >told; rm {environment}; echo began >&2; sleep 50");
    assert_eq!(spark.run(&launch(1, "1.1", &long)), "done");
    let job = spark.state().join("jobs/1.1");
    let wait = |what: &dyn Fn() -> bool| {
        for _ in 0..100 {
            if what() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("waited 5 s");
    };
    wait(&|| job.join("told").exists() && !PathBuf::from(&environment).exists());
    assert_eq!(fs::read_to_string(job.join("told")).unwrap(), "TOKEN=hunter2\n");
    assert_eq!(spark.run(&launch(2, "1.2", "true")), "refused job 1.1 is still running");
    assert_eq!(spark.run(&act("end-job", 1, 3, "a").with("job", "1.1")), "done");
    let pid = fs::read_to_string(job.join("pid")).unwrap();
    let pid = pid.split(' ').next().unwrap().to_owned();
    // One that nobody has reaped yet is gone all the same.
    let stat = format!("/proc/{pid}/stat");
    wait(&|| fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")));
    let sleeping = "for stat in /proc/[0-9]*/stat; do read -r pid _ _ _ group _ <$stat; [ $group != \"$0\" ] || echo $pid; done";
    wait(&|| {
        let left = command("sh", spark.home.path()).args(["-c", sleeping, &pid]).output().unwrap();
        let left = String::from_utf8_lossy(&left.stdout).into_owned();
        left.lines().all(|left| {
            fs::read_to_string(format!("/proc/{left}/stat")).map_or(true, |stat| stat.contains(") Z "))
        })
    });
    assert_eq!(spark.run(&act("end-job", 1, 4, "a").with("job", "1.1")), "already");
    // What it started takes back what it began, when the one that started it is long gone.
    let slow = "/usr/bin/python3 -c '
import signal
ends = {signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, ends)
open(\"ready\", \"w\").close()
told = 0
while signal.sigtimedwait(ends, 1 if told else 60):
    told += 1
open(\"told\", \"w\").write(str(told))
open(\"undone\", \"w\").write(\"taken back\")
'; true";
    assert_eq!(spark.run(&launch(5, "1.5", slow)), "done");
    let job = spark.state().join("jobs/1.5");
    wait(&|| job.join("ready").exists());
    assert_eq!(spark.run(&act("end-job", 1, 6, "a").with("job", "1.5")), "done");
    assert_eq!(fs::read_to_string(job.join("undone")).unwrap(), "taken back");
    assert_eq!(fs::read_to_string(job.join("told")).unwrap(), "1", "once");
    assert_eq!(spark.run(&launch(7, "1.2", "exit 7")), "done");
    let status = spark.state().join("jobs/1.2/status");
    wait(&|| status.exists());
    assert_eq!(fs::read_to_string(status).unwrap(), "7\n");
    let brought = fs::metadata(&environment).unwrap().permissions().mode();
    assert_eq!(brought & 0o077, 0, "nobody else may read it");
    fs::remove_file(&environment).unwrap();
    let audit = fs::read_to_string(spark.state().join("audit.log")).unwrap();
    assert!(!audit.contains("hunter2"), "{audit}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// If this failed, two messages at the same moment could both believe to be the newest.
    #[test]
    fn messages_at_the_same_moment_are_taken_one_after_the_other(order in Just((1..=6_u64).collect::<Vec<_>>()).prop_shuffle()) {
        let spark = Spark::new();
        let answers: Vec<(u64, String)> = std::thread::scope(|scope| {
            let sent: Vec<_> = order
                .iter()
                .map(|sequence| (*sequence, scope.spawn(|| spark.run(&act("advance", 1, *sequence, "a")))))
                .collect();
            sent.into_iter().map(|(sequence, answer)| (sequence, answer.join().unwrap())).collect()
        });
        let audit = fs::read_to_string(spark.state().join("audit.log")).unwrap();
        let done: Vec<u64> = audit
            .lines()
            .filter(|line| line.ends_with("-> done"))
            .map(|line| line.split(' ').nth(1).unwrap().split('.').nth(1).unwrap().parse().unwrap())
            .collect();
        prop_assert!(done.is_sorted(), "{done:?}");
        prop_assert_eq!(done.last(), Some(&6), "the newest always gets through");
        prop_assert_eq!(answers.iter().filter(|(_, answer)| answer == "done").count(), done.len());
    }
}

/// If this failed, a container that runs would count as stopped because its Engine hung in the middle of the stop.
#[test]
fn an_engine_that_falls_silent_during_a_stop_leaves_it_unknown() {
    let spark = Spark::new();
    let docker = DOCKER
        .replace("\"container stop\"*)", "\"container stop\"*) touch silent; exit 1 ;;\n\"nothing else\")")
        .replace("cd \"$FAKE\" || exit 1\n", "cd \"$FAKE\" || exit 1\n[ ! -e silent ] || exit 1\n");
    fs::write(spark.home.path().join("bin/docker"), docker).unwrap();
    fs::write(spark.home.path().join("c1"), "true\n").unwrap();
    for (sequence, remove) in [(1, "yes"), (2, "no")] {
        let _ = fs::remove_file(spark.home.path().join("silent"));
        let stop =
            act("stop", 1, sequence, "a").with("container", "c1").with("remove", remove).with("grace", "1");
        assert_eq!(spark.run(&stop), "unknown Docker did not answer", "remove: {remove}");
    }
}
