//! Figures, not checks: `just measure`. Ratios against a baseline in the same run, on the same machine.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    cluster::{MODELS, settles_on},
    controller::{Controller, save},
    lab::Lab,
};

const RUNS: usize = 15;

/// Minimum, median and maximum in milliseconds.
fn figures(mut times: Vec<Duration>) -> String {
    times.sort();
    let ms = |time: &Duration| format!("{:.0}", time.as_secs_f64() * 1000.0);
    format!(
        "{} / {} / {} ms (min / median / max of {})",
        ms(&times[0]),
        ms(&times[times.len() / 2]),
        ms(times.last().unwrap()),
        times.len()
    )
}

#[test]
#[ignore = "prints figures; run with `just measure`"]
fn measure() {
    let lab = Lab::up(2);
    let file = lab.directory.join("cluster.yaml");
    let manifest = |mark: usize| lab.manifest(&format!("model: wide\n{MODELS}# {mark}\n"));
    fs::write(&file, manifest(0)).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    settles_on(&lab, &controller, "wide");

    // The probe script by hand, on one Spark, over a connection that is already there.
    let script =
        [include_str!("../../src/host/alive.sh"), include_str!("../../src/probe/machine.sh")].concat();
    let script = format!("cluster=lab\npaths=\n{script}");
    let socket = lab.directory.join("by-hand");
    let by_hand = || {
        let began = Instant::now();
        let mut child = Command::new("ssh")
            .args([
                "-F",
                "/dev/null",
                "-o",
                "BatchMode=yes",
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "LogLevel=ERROR",
            ])
            .args([
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-o",
                "ControlMaster=auto",
                "-o",
                "ControlPersist=60",
            ])
            .arg("-o")
            .arg(format!("ControlPath={}", socket.display()))
            .arg("-i")
            .arg(lab.directory.join("key"))
            .arg(format!("root@{}", lab.spark("spark1").address))
            .arg("sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        began.elapsed()
    };
    by_hand();
    let hands: Vec<Duration> = (0..RUNS).map(|_| by_hand()).collect();
    let looks: Vec<Duration> = (0..RUNS)
        .map(|_| Duration::from_millis(controller.ask("POST", "/look")["looked_ms"].as_u64().unwrap()))
        .collect();
    let saves: Vec<Duration> = (1..=RUNS)
        .map(|mark| {
            let before = controller.ask("GET", "/snapshot")["revision"].as_u64().unwrap();
            save(&file, &manifest(mark));
            let began = Instant::now();
            while controller.ask("GET", "/snapshot")["plan"]["revision"].as_u64().unwrap() == before {
                std::thread::sleep(Duration::from_millis(2));
            }
            began.elapsed()
        })
        .collect();
    std::thread::sleep(Duration::from_secs(30));
    let status = fs::read_to_string(format!("/proc/{}/status", controller.pid())).unwrap();
    let memory = |key: &str| status.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    println!("the probe script by hand, one Spark:       {}", figures(hands));
    println!("one look, two Sparks and their endpoints:  {}", figures(looks));
    println!("from a save to its plan:                   {}", figures(saves));
    println!("{}\n{}", memory("VmRSS"), memory("VmHWM"));
}
