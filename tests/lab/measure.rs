//! Figures, not checks: `just bench`. Ratios against a baseline in the same run, on the same machine; `docs/performance.md`
//! has what came out, and what was asked.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use spark_control::probe::machine;

use crate::{
    cluster::{MODELS, on_one_spark, settles_on},
    controller::{Controller, save},
    lab::{CONTAINER, Lab},
    shell::{hermetic, sh},
    spark::Spark,
};

const RUNS: usize = 15;
/// Ten rounds in ten seconds make the loop slower on purpose.
const BETWEEN: Duration = Duration::from_millis(1700);

struct Figures(Vec<Duration>);

impl Figures {
    fn of(runs: usize, mut once: impl FnMut() -> Duration) -> Self {
        let mut times: Vec<Duration> = (0..runs).map(|_| once()).collect();
        times.sort();
        Self(times)
    }

    fn median(&self) -> f64 {
        self.0[self.0.len() / 2].as_secs_f64() * 1000.0
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: &Duration| time.as_secs_f64() * 1000.0;
        let (first, last) = (&self.0[0], &self.0[self.0.len() - 1]);
        write!(f, "{:.0} / {:.0} / {:.0} ms (of {})", ms(first), self.median(), ms(last), self.0.len())
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

/// The lab's ssh, with or without one connection for all.
fn ssh(lab: &Lab, spark: &Spark, shared: bool) -> Command {
    let mut command = hermetic("ssh");
    command.args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]);
    command.args(["-o", "LogLevel=ERROR", "-o", "UserKnownHostsFile=/dev/null"]);
    if shared {
        let socket = lab.directory.join(format!("by-hand-{}", spark.name));
        command.args(["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o"]);
        command.arg(format!("ControlPath={}", socket.display()));
    }
    command.arg("-i").arg(lab.directory.join("key")).arg(format!("root@{}", spark.address));
    command.stdout(Stdio::null());
    command
}

/// The machine probe over a connection that is already there.
fn probe(lab: &Lab, spark: &Spark) {
    let asked = machine::ProbeRequest {
        launchers: vec!["spark-vllm-docker".into()],
        ..machine::ProbeRequest::default()
    };
    let script = machine::program("lab", &asked).script();
    let mut child = ssh(lab, spark, true).arg("sh").stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// GET from a Spark's Engine, without a network between.
fn engine(spark: &Spark, path: &str) -> String {
    let mut stream = UnixStream::connect(spark.socket()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: d\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    answer
}

/// The same facts as a look has, by a process for each question.
fn one_by_one(lab: &Lab) {
    let questions = [
        "cat /proc/sys/kernel/random/boot_id",
        "cat /proc/uptime",
        "cat /proc/meminfo",
        "uname -r",
        "ip -d -o link show",
        "ip -4 -o addr show",
        "cat /proc/net/tcp",
        "nvidia-smi --query-gpu=name,driver_version,temperature.gpu,power.draw,utilization.gpu,clocks.sm",
        "nvidia-smi --query-compute-apps=pid,process_name,used_gpu_memory",
        "df -Pk",
        "ls spark-vllm-docker",
        "docker ps -a --no-trunc",
        "docker inspect vllm_node",
        "docker top vllm_node -eo pid,args",
        "docker image inspect vllm-node",
        "ls .local/state/spark-control/lab/jobs",
    ];
    for spark in &lab.sparks {
        for question in questions {
            let status =
                ssh(lab, spark, false).arg(question).stdin(Stdio::null()).stderr(Stdio::null()).status();
            assert!(status.unwrap().success(), "{question}");
        }
    }
    for _ in 0..3 {
        lab.spark("spark1").served(8888).expect("an answer");
    }
}

/// Seconds of processor time that it used so far, ssh included.
fn processor_secs(controller: &Controller) -> f64 {
    let pids = sh(&format!("echo {pid}; pgrep -P {pid} || true", pid = controller.pid()));
    let ticks: f64 = pids
        .lines()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok())
        .map(|stat| {
            let fields: Vec<f64> = stat
                .rsplit(')')
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .map(|field| field.parse().unwrap_or(0.0))
                .collect();
            fields[11] + fields[12]
        })
        .sum();
    ticks / 100.0
}

#[test]
#[ignore = "prints figures; run with `just bench`"]
fn measure() {
    let lab = Lab::up(2);
    let file = lab.directory.join("cluster.yaml");
    let manifest = |mark: usize| lab.manifest(&format!("model: wide\n{MODELS}# {mark}\n"));
    fs::write(&file, manifest(0)).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "wide");
    let spark = lab.spark("spark1");

    probe(&lab, spark);
    let probes = Figures::of(RUNS, || timed(|| probe(&lab, spark)));
    let engines = Figures::of(RUNS, || {
        timed(|| {
            engine(spark, "/v1.41/containers/json?all=true");
            engine(spark, &format!("/v1.41/containers/{CONTAINER}/json"));
            engine(spark, &format!("/v1.41/containers/{CONTAINER}/top?ps_args=-eo%20pid,args"));
        })
    });
    let endpoints = Figures::of(RUNS, || timed(|| assert!(spark.served(8888).is_some())));
    let looks = Figures::of(RUNS, || {
        Duration::from_millis(controller.ask("POST", "/look")["looked_ms"].as_u64().unwrap())
    });
    let parts = probes.median() + engines.median() + endpoints.median();
    let naive = Figures::of(3, || timed(|| one_by_one(&lab)));

    std::thread::sleep(Duration::from_secs(10));
    let mut mark = 0;
    let saves = Figures::of(RUNS, || {
        std::thread::sleep(BETWEEN);
        mark += 1;
        let before = controller.ask("GET", "/snapshot")["revision"].as_u64().unwrap();
        save(&file, &manifest(mark));
        timed(|| {
            while controller.ask("GET", "/snapshot")["plan"]["revision"].as_u64().unwrap() == before {
                std::thread::sleep(Duration::from_millis(2));
            }
        })
    });
    let drifts = Figures::of(3, || {
        spark.docker(&["kill", CONTAINER]);
        let took = timed(|| {
            while controller.ask("GET", "/snapshot")["drift"].as_array().unwrap().is_empty() {
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        settles_on(&lab, &controller, "wide");
        assert!(controller.command(&["retry", "vllm", "--yes"]).status.success());
        took
    });

    std::thread::sleep(Duration::from_secs(20));
    let (before, began) = (processor_secs(&controller), Instant::now());
    std::thread::sleep(Duration::from_secs(60));
    let idle = (processor_secs(&controller) - before) / began.elapsed().as_secs_f64() * 100.0;
    let status = fs::read_to_string(format!("/proc/{}/status", controller.pid())).unwrap();
    let resident = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let resident: f64 = resident.split_whitespace().nth(1).unwrap().parse().unwrap();
    let program = fs::metadata(format!("/proc/{}/exe", controller.pid())).unwrap().len();

    println!("the probe script, one Spark, warm connection:     {probes}");
    println!("list and inspect, one Engine, its own socket:     {engines}");
    println!("one endpoint round trip:                          {endpoints}");
    println!("a look at two Sparks and their endpoints:         {looks}");
    println!(
        "  against the three above:                        {:.2} (asked: at most 1.5)",
        looks.median() / parts
    );
    println!("the same facts by one ssh process per command:    {naive}");
    println!(
        "  against a look:                                 {:.0} (asked: at least 8)",
        naive.median() / looks.median()
    );
    println!("from a save to its plan:                          {saves} (asked: under 200)");
    println!("from a killed container to the drift:             {drifts} (asked: under 500)");
    println!(
        "idle, two Sparks: {:.1} MiB resident (asked: under 40), {idle:.2} % of a core (asked: under 1)",
        resident / 1024.0
    );
    println!("the program: {} MB (asked: under 25)", program / 1_000_000);
}

/// When the container ended and began on that Spark since then, by its Engine's clock, in seconds.
fn happened(spark: &Spark, what: &str, since: f64) -> Vec<f64> {
    let now = sh("date +%s.%N");
    let told = spark.docker(&[
        "events",
        "--since",
        &format!("{since:.3}"),
        "--until",
        now.trim(),
        "--filter",
        &format!("container={CONTAINER}"),
        "--filter",
        &format!("event={what}"),
        "--format",
        "{{.TimeNano}}",
    ]);
    told.lines().map(|nanos| nanos.trim().parse::<f64>().unwrap() / 1e9).collect()
}

fn seconds(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let (first, last) = (times[0], times[times.len() - 1]);
    format!("{first:.1} / {:.1} / {last:.1} s (of {})", times[times.len() / 2], times.len())
}

/// What of an outage is neither the stop of the old container nor what the new one loads.
#[test]
#[ignore = "prints figures; run with `just bench`"]
fn measure_outage() {
    let lab = Lab::up(1);
    let file = lab.directory.join("cluster.yaml");
    let manifest = |model: &str| lab.manifest(&on_one_spark(&format!("model: {model}\n{MODELS}")));
    fs::write(&file, manifest("alpha")).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "alpha");
    let spark = lab.spark("spark1");
    let now = || sh("date +%s.%N").trim().parse::<f64>().unwrap();
    let mut between = Vec::new();
    for model in ["beta", "alpha", "beta", "alpha", "beta"] {
        let began = now();
        save(&file, &manifest(model));
        settles_on(&lab, &controller, if model == "beta" { "chat" } else { model });
        let (ended, started) = (happened(spark, "die", began), happened(spark, "start", began));
        between.push(started[0] - ended[0]);
    }
    let mut after_a_crash = Vec::new();
    for _ in 0..3 {
        assert!(controller.command(&["retry", "vllm", "--yes"]).status.success());
        let began = now();
        let top = spark.docker(&["top", CONTAINER, "-eo", "pid,args"]);
        let engine = top.lines().find(|line| line.contains(" vllm serve")).expect("an engine").trim();
        sh(&format!("kill -KILL {}", engine.split(' ').next().unwrap()));
        let mut started = Vec::new();
        while started.is_empty() {
            std::thread::sleep(Duration::from_millis(200));
            started = happened(spark, "start", began);
        }
        after_a_crash.push(started[0] - began);
        settles_on(&lab, &controller, "chat");
    }
    println!("from the end of one model to the start of the next: {} (asked: at most 5)", seconds(between));
    println!("from a crash of the engine to its start anew:       {}", seconds(after_a_crash));
}
