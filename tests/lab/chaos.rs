//! Swaps on real Sparks while something goes wrong at a random moment of each. After every one the engines' state is one that the
//! promises allow, and the wish comes true.
//!
//! `SPARK_CONTROL_SWAPS` is how many (15 in `.ci/run`, 100 by `just chaos`), `SPARK_CONTROL_SEED` the seed of before.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    cluster::{MODELS, SWAP, in_sync, serving},
    controller::{Controller, save, text},
    lab::{CONTAINER, Lab},
    shell::{sh, try_sh},
    spark::Spark,
};

const SWAPS: u32 = 15;
const WISHES: [&str; 5] = ["alpha", "beta", "wide", "none", "broken"];
/// Somebody else's, on every Spark.
const STRANGER: &str = "alices-node";

#[derive(Debug, Clone, Copy)]
enum Fault {
    Nothing,
    /// No packet comes or goes.
    Cut,
    /// The Engine is stopped, and goes on later.
    EngineStops,
    /// The SSH server and its sessions end.
    SshEnds,
    /// A container is killed behind everybody's back.
    ContainerKilled,
    /// The engine's process is killed, and its container stays.
    EngineKilled,
    /// The controller is killed.
    ControllerKilled,
    /// Somebody starts another controller for a while.
    SecondController,
    /// Another wish in the middle.
    OtherWish,
}

const FAULTS: [Fault; 9] = [
    Fault::Nothing,
    Fault::Cut,
    Fault::EngineStops,
    Fault::SshEnds,
    Fault::ContainerKilled,
    Fault::EngineKilled,
    Fault::ControllerKilled,
    Fault::SecondController,
    Fault::OtherWish,
];

struct Chaos {
    lab: Lab,
    random: fastrand::Rng,
    controller: Controller,
    strangers: Vec<String>,
}

/// If this failed, something that goes wrong in the middle of a swap would leave two engines on a Spark, half a model, a touched
/// stranger, or a slot that never gets to what is wanted.
#[test]
fn swaps_come_true_whatever_goes_wrong_in_them() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let swaps = number("SPARK_CONTROL_SWAPS").map_or(SWAPS, |swaps| u32::try_from(swaps).unwrap());
    let seed = number("SPARK_CONTROL_SEED").unwrap_or_else(|| fastrand::u64(..100_000));
    println!("{swaps} swaps, SPARK_CONTROL_SEED={seed}");
    let lab = Lab::up(2);
    let strangers = lab.sparks.iter().map(|spark| {
        spark.docker(&[
            "run",
            "-d",
            "--network",
            "host",
            "--name",
            STRANGER,
            "vllm-node",
            "sleep",
            "infinity",
        ])
    });
    let strangers = strangers.collect();
    let file = lab.directory.join("cluster.yaml");
    fs::write(&file, manifest(&lab, "none")).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    let mut chaos = Chaos { lab, random: fastrand::Rng::with_seed(seed), controller, strangers };
    let began = Instant::now();
    for swap in 1..=swaps {
        chaos.swap(swap);
    }
    println!("{swaps} swaps in {} s", began.elapsed().as_secs());
}

fn manifest(lab: &Lab, wish: &str) -> String {
    let models = MODELS.replace("models:\n", "models:\n  broken:\n    repo: lab/alpha\n    sparks: [spark1]\n    env: { LAB_FAIL: load }\n    args: { gpu-memory-utilization: 0.02 }\n");
    lab.manifest(&format!("model: {wish}\n{models}"))
}

impl Chaos {
    fn swap(&mut self, number: u32) {
        let mut wish = WISHES[self.random.usize(..WISHES.len())];
        let fault = FAULTS[self.random.usize(..FAULTS.len())];
        let after = Duration::from_millis(self.random.u64(0..16_000));
        let length = Duration::from_millis(self.random.u64(1000..8000));
        let spark = self.random.usize(..2);
        let began = Instant::now();
        save(&self.controller.file, &manifest(&self.lab, wish));
        sleep(after);
        if let Fault::OtherWish = fault {
            wish = WISHES[self.random.usize(..WISHES.len())];
            save(&self.controller.file, &manifest(&self.lab, wish));
        }
        self.go_wrong(fault, spark, length);
        self.comes_true(
            wish,
            &format!("swap {number}: {wish}, {fault:?} on spark{} after {after:?}", spark + 1),
        );
        println!(
            "swap {number}: {wish}, {fault:?} on spark{} after {:.1} s: {:.0} s",
            spark + 1,
            after.as_secs_f64(),
            began.elapsed().as_secs_f64()
        );
    }

    fn go_wrong(&mut self, fault: Fault, at: usize, length: Duration) {
        let spark = &self.lab.sparks[at];
        let d = spark.directory.display();
        match fault {
            Fault::Nothing | Fault::OtherWish => {}
            Fault::Cut => {
                spark.cut();
                sleep(length);
                spark.mend();
            }
            Fault::EngineStops => {
                sh(&format!("kill -STOP $(cat {d}/docker.pid)"));
                sleep(length);
                sh(&format!("kill -CONT $(cat {d}/docker.pid)"));
            }
            Fault::SshEnds => {
                spark.stop_sshd();
                sleep(length);
                spark.start_sshd();
            }
            Fault::ContainerKilled => {
                let _ = spark.try_docker(&["kill", CONTAINER]);
            }
            Fault::EngineKilled => {
                for pid in engines(spark) {
                    try_sh(&format!("kill -KILL {pid}"));
                }
            }
            Fault::ControllerKilled => {
                self.controller.kill();
                sleep(length / 2);
                self.restart();
            }
            Fault::SecondController => {
                let mut other = Controller::serve(&self.lab, "other", &self.controller.file);
                sleep(length);
                other.kill();
                self.controller.kill();
                self.restart();
            }
        }
    }

    fn restart(&mut self) {
        let file = self.controller.file.clone();
        self.controller.kill();
        self.controller = Controller::serve(&self.lab, "data", &file);
    }

    /// In the end the wish is fulfilled, or it is said why it cannot be; and on the way the promises hold.
    fn comes_true(&mut self, wish: &str, told: &str) {
        let began = Instant::now();
        let mut asked = Instant::now();
        loop {
            self.check(told);
            let status = text(&self.controller.command(&["status", "--now"]));
            // One that can never be loaded is for a person; the fallback serves, if there is one.
            if wish == "broken" && status.contains("Stalled: ") {
                return;
            }
            if wish != "broken" && in_sync(&self.controller) && self.serves(wish) {
                return;
            }
            if asked.elapsed() > Duration::from_secs(10) {
                asked = Instant::now();
                if status.contains("Stalled: ") {
                    let _ = self.controller.command(&["retry", "vllm", "--yes"]);
                }
                if status.contains("Fenced") {
                    self.restart();
                }
            }
            let limit = 2 * SWAP;
            assert!(began.elapsed() < limit, "{told}: not within {limit:?}\n{status}");
            sleep(Duration::from_millis(500));
        }
    }

    fn serves(&self, wish: &str) -> bool {
        let running = |spark: usize| self.lab.sparks[spark].running(CONTAINER).is_some();
        match wish {
            "none" => !running(0) && !running(1),
            "wide" => serving(&self.lab, wish) && running(1),
            _ => serving(&self.lab, wish) && !running(1),
        }
    }

    /// What must hold in every state.
    fn check(&self, told: &str) {
        for (spark, stranger) in self.lab.sparks.iter().zip(&self.strangers) {
            let engines = engines(spark).len();
            assert!(engines <= 1, "{told}: {engines} engines on {}", spark.name);
            assert_eq!(spark.running(STRANGER).as_ref(), Some(stranger), "{told}: a stranger was touched");
            let touched = spark.audit().lines().any(|line| line.contains(stranger.as_str()));
            assert!(!touched, "{told}: a message was about a stranger");
        }
    }
}

/// Host process ids of engines in containers of this Spark.
fn engines(spark: &Spark) -> Vec<String> {
    let output = spark.try_docker(&["top", CONTAINER, "-eo", "pid,args"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let engine = |line: &&str| line.contains("vllm serve") && !line.contains("sh -c");
    text.lines().filter(engine).filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
}
