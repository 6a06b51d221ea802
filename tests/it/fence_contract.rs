//! What an act comes to, in which state: one table, by the real program in a real `sh` and by the simulator's copy of it. What the
//! seeds prove of the one holds of the other only as far as they answer alike.

use std::{fs, time::Duration};

use jiff::Timestamp;
use spark_control::{
    apply::fence,
    core::model::observed::{FencingToken, SparkFacts},
    host::Program,
    manifest::load::load,
    sim::{self, Sim, machine::SimulatedContainer},
};

use crate::{cluster::TIMES, fence::Spark};

const CLUSTER: &str = "version: 1\nname: test\nsparks: { spark1: { address: 192.0.2.1, user: alice } }\n";
const IMAGE: &str = "vllm-node";
/// A name of a repository's folder in the cache.
const FOLDER: &str = "models--lab--alpha";

/// What is there before the first act.
#[derive(Debug, Clone, Copy)]
enum Has {
    /// By id and name.
    Running(&'static str, &'static str),
    Stopped(&'static str, &'static str),
    /// The reference [`IMAGE`] names it.
    Image(&'static str),
    /// [`FOLDER`] is in the cache.
    Files,
    /// Its state cannot be written.
    NoState,
}

/// An act with its token, and what it comes to. `…` at the end: what follows is about the place, or the machine.
type Told = (Act, (u64, u64, &'static str), &'static str);

#[derive(Debug, Clone, Copy)]
enum Act {
    Reserve,
    /// With the boot that this was decided on, the latest uptime, a free name, an image, memory in KiB.
    ReserveIf(&'static str, &'static str),
    Stop {
        container: &'static str,
        remove: bool,
    },
    Start(&'static str),
    Launch {
        object: &'static str,
    },
    /// The job that an earlier token started.
    EndJob(&'static str),
    Delete(&'static str),
    Unheard,
}

const TABLE: &[(&str, &[Has], &[Told])] = &[
    (
        "the newest message of the newest controller counts",
        &[],
        &[
            (Act::Reserve, (1, 1, "a"), "done"),
            (Act::Reserve, (1, 2, "a"), "done"),
            (Act::Reserve, (1, 2, "a"), "refused a newer message was seen (1.2)"),
            (Act::Reserve, (1, 1, "a"), "refused a newer message was seen (1.2)"),
            (Act::Reserve, (1, 9, "b"), "fenced 1.2.a"),
            (Act::Reserve, (2, 1, "b"), "done"),
            (Act::Reserve, (1, 3, "a"), "fenced 2.1.b"),
            (Act::Stop { container: "c1", remove: true }, (1, 4, "a"), "fenced 2.1.b"),
        ],
    ),
    (
        "what was decided on is so, or nothing is done",
        &[Has::Running("c1", "vllm_node"), Has::Image("sha256:aa")],
        &[
            (Act::ReserveIf("expect_boot", "another"), (1, 1, "a"), "refused restarted since"),
            (Act::ReserveIf("expect_before", "0"), (1, 2, "a"), "refused it comes too late"),
            (
                Act::ReserveIf("expect_free", "vllm_node"),
                (1, 3, "a"),
                "refused there is a container vllm_node",
            ),
            (Act::ReserveIf("expect_free", "vllm"), (1, 4, "a"), "done"),
            (Act::ReserveIf("expect_image_id", "sha256:aa"), (1, 5, "a"), "done"),
            (
                Act::ReserveIf("expect_image_id", "sha256:bb"),
                (1, 6, "a"),
                "refused vllm-node is not the image any more that it was",
            ),
            (Act::ReserveIf("expect_memory_kib", "1024"), (1, 7, "a"), "done"),
            (Act::ReserveIf("expect_memory_kib", "1073741824000"), (1, 8, "a"), "refused only …"),
            // A refusal is a message, too: nothing older than it is obeyed.
            (Act::Reserve, (1, 8, "a"), "refused a newer message was seen (1.8)"),
        ],
    ),
    (
        "a container is stopped once, and started once",
        &[Has::Running("c1", "vllm_node"), Has::Running("c2", "kokoro"), Has::Stopped("c3", "bge")],
        &[
            (Act::Stop { container: "c1", remove: true }, (1, 1, "a"), "done"),
            (Act::Stop { container: "c1", remove: true }, (1, 2, "a"), "already"),
            (Act::Stop { container: "c2", remove: false }, (1, 3, "a"), "done"),
            (Act::Start("c2"), (1, 4, "a"), "done"),
            (Act::Start("c2"), (1, 5, "a"), "already"),
            (Act::Start("c3"), (1, 6, "a"), "done"),
            (Act::Start("c9"), (1, 7, "a"), "refused the container is gone"),
            (Act::Stop { container: "c9", remove: true }, (1, 8, "a"), "already"),
        ],
    ),
    (
        "one job of an object runs at a time, and ends once",
        &[],
        &[
            (Act::Launch { object: "vllm" }, (1, 1, "a"), "done"),
            (Act::Launch { object: "vllm" }, (1, 2, "a"), "refused job 1.1 is still running"),
            (Act::Launch { object: "kokoro" }, (1, 3, "a"), "done"),
            (Act::EndJob("1.1"), (1, 4, "a"), "done"),
            (Act::EndJob("1.1"), (1, 5, "a"), "already"),
            (Act::EndJob("7.7"), (1, 6, "a"), "already"),
            (Act::Launch { object: "vllm" }, (1, 7, "a"), "done"),
            (Act::EndJob("1.3"), (1, 8, "a"), "done"),
            (Act::EndJob("1.7"), (1, 9, "a"), "done"),
        ],
    ),
    (
        "files are deleted once, and nothing else is",
        &[Has::Files],
        &[
            (Act::Delete(FOLDER), (1, 1, "a"), "done"),
            (Act::Delete(FOLDER), (1, 2, "a"), "already"),
            (Act::Delete("../x"), (1, 3, "a"), "refused ../x is no folder of a repository"),
            (Act::Delete("models--"), (1, 4, "a"), "refused models-- is no folder of a repository"),
        ],
    ),
    (
        "who cannot remember who acts obeys nobody",
        &[Has::NoState, Has::Running("c1", "vllm_node")],
        &[
            (
                Act::Stop { container: "c1", remove: true },
                (1, 1, "a"),
                "refused cannot write the state directory …",
            ),
            (
                Act::Stop { container: "c1", remove: true },
                (1, 1, "a"),
                "refused cannot write the state directory …",
            ),
        ],
    ),
    ("what it does not know it does not do", &[], &[(Act::Unheard, (1, 1, "a"), "refused unknown act")]),
];

fn program(act: Act, token: (u64, u64, &str), seen: &SparkFacts) -> Program {
    let desired = load(CLUSTER).unwrap().desired;
    let spark = desired.sparks.keys().next().unwrap();
    let (epoch, sequence, controller) = token;
    let token = FencingToken { epoch, sequence, controller: controller.into() };
    let named = |name: &str| fence::program(name, &desired, spark, &token, seen);
    match act {
        Act::Reserve => named("advance"),
        Act::ReserveIf(parameter, value) => {
            let image = if parameter == "expect_image_id" { IMAGE } else { "" };
            named("advance").with("expect_image", image).with(parameter, value)
        }
        Act::Stop { container, remove } => {
            let remove = if remove { "yes" } else { "no" };
            named("stop").with("container", container).with("remove", remove).with("grace", "1")
        }
        Act::Start(container) => named("start").with("container", container),
        Act::Launch { object } => named("launch")
            .with("object", object)
            .with("spec", "v1-0")
            .with("job", token.job().as_str())
            .with("script", "sleep 30")
            .with("limit", "30"),
        Act::EndJob(job) => named("end-job").with("job", job),
        Act::Delete(folder) => named("delete").with("folder", folder),
        Act::Unheard => named("dance"),
    }
}

fn is_told(expected: &str, said: &str) -> bool {
    expected.strip_suffix('…').map_or(expected == said, |begins| said.starts_with(begins.trim_end()))
}

/// If this failed, the remote program would do something else than the table says.
#[test]
fn the_real_program_does_what_the_table_says() {
    for (says, has, acts) in TABLE {
        let spark = Spark::new();
        let home = spark.home.path();
        for has in *has {
            match has {
                Has::Running(id, name) | Has::Stopped(id, name) => {
                    let running = if matches!(has, Has::Running(..)) { "true\n" } else { "false\n" };
                    fs::write(home.join(id), running).unwrap();
                    let names = fs::read_to_string(home.join("names")).unwrap_or_default();
                    fs::write(home.join("names"), format!("{names}{name}$\n")).unwrap();
                }
                Has::Image(id) => fs::write(home.join("image"), format!("{id}\n")).unwrap(),
                Has::Files => fs::create_dir_all(home.join(".cache/huggingface/hub").join(FOLDER)).unwrap(),
                Has::NoState => {
                    fs::create_dir_all(home.join(".local/state")).unwrap();
                    fs::write(home.join(".local/state/spark-control"), "a file").unwrap();
                }
            }
        }
        for (act, token, expected) in *acts {
            let said = spark.run(&program(*act, *token, &crate::fence::seen()));
            assert!(is_told(expected, &said), "{says}: {act:?} {token:?}: {said}");
        }
    }
}

/// If this failed, the seeds would prove something of a program that is not the one on the Sparks.
#[test]
fn the_simulator_does_what_the_table_says() {
    let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    for (says, has, acts) in TABLE {
        let sim = Sim::new(TIMES, move || now);
        sim.add("spark1", "192.0.2.1", &[]);
        let mut world = sim.world();
        let machine = world.sparks.get_mut("spark1").unwrap();
        // It has been up for an hour.
        machine.booted_at = now.checked_sub(jiff::SignedDuration::from_hours(1)).unwrap();
        machine.lacks.insert(FOLDER.into());
        for has in *has {
            match has {
                Has::Running(id, name) | Has::Stopped(id, name) => {
                    machine.containers.push(SimulatedContainer {
                        id: (*id).into(),
                        name: (*name).into(),
                        image: IMAGE.into(),
                        image_id: "sha256:aa".into(),
                        labels: std::collections::BTreeMap::new(),
                        running: matches!(has, Has::Running(..)),
                        auto_remove: false,
                        started_at: now,
                        engine: None,
                        service: None,
                        crashes: false,
                        log: Vec::new(),
                    })
                }
                Has::Image(id) => drop(machine.images.insert(IMAGE.into(), (*id).into())),
                Has::Files => drop(machine.lacks.remove(FOLDER)),
                Has::NoState => {
                    machine.disk_full_until = Some(sim::machine::later(now, Duration::from_secs(60)))
                }
            }
        }
        let seen =
            SparkFacts { boot_id: machine.boot_id().into(), uptime_secs: 3600, ..SparkFacts::default() };
        for (act, token, expected) in *acts {
            let said = sim::fence::act(&mut world, "spark1", &program(*act, *token, &seen), now);
            let said = said.trim().trim_start_matches("outcome ");
            assert!(is_told(expected, said), "{says}: {act:?} {token:?}: {said}");
        }
    }
}
