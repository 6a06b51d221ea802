//! What is only reported: nothing is done about it, and an owner should know.

use std::collections::BTreeMap;

use jiff::Timestamp;
use spark_control::{
    core::{
        drift::{Class, Drift, diff},
        ledger::Ledger,
        name::SparkName,
        observed::{Container, Facts, Gpu, GpuProcess, Observed, SparkView},
        planner,
        platform::{Interface, Platform},
    },
    manifest::load::load,
};

const FILE: &str = "version: 1
sparks:
  spark1: { address: 192.0.2.1, user: alice, fabric: { ip: 192.0.2.1, eth_if: cx7 } }
  spark2: { address: 192.0.2.2, user: alice, fabric: { ip: 192.0.2.2, eth_if: cx7 } }
model: none
services:
  kokoro: { kind: tts, spark: spark1, port: 8880, container: kokoro-tts, state: running }
  watched: { kind: http, spark: spark1, port: 8000, container: watched }
";

fn container(name: &str, restarts: Option<&str>) -> Container {
    Container {
        id: format!("id-of-{name}"),
        name: name.into(),
        image: "x".into(),
        image_id: "sha256:x".into(),
        running: true,
        restarts: restarts.map(str::to_owned),
        ..Container::default()
    }
}

fn facts(driver: &str, kernel: &str, mtu: u32, image: &str) -> Facts {
    let cx7 = Interface { mtu, is_up: true, speed_mbps: Some(200_000), ..Interface::default() };
    Facts {
        boot_id: "b".into(),
        memory_total_bytes: 120 << 30,
        memory_available_bytes: 100 << 30,
        platform: Platform {
            kernel: kernel.into(),
            interfaces: [("cx7".to_owned(), cx7)].into(),
            ..Platform::default()
        },
        gpu: Some(Gpu { name: "NVIDIA GB10".into(), driver: driver.into(), ..Gpu::default() }),
        images: [("vllm-node".to_owned(), Some(image.to_owned()))].into(),
        ..Facts::default()
    }
}

fn reported(first: Facts, second: Facts) -> Vec<Drift> {
    let desired = load(FILE).unwrap().desired;
    let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    let view = |name: &str, facts| (SparkName::new(name).unwrap(), SparkView::Reachable(Box::new(facts)));
    let observed = Observed {
        at: now,
        sparks: [view("spark1", first), view("spark2", second)].into(),
        endpoints: BTreeMap::new(),
        loads: BTreeMap::new(),
        unreadable_secrets: BTreeMap::new(),
    };
    let ledger = Ledger::default();
    let plan = planner::plan(&desired, 1, &observed, &ledger, now);
    let drift = diff(&desired, &observed, &ledger, &plan, now);
    drift.into_iter().filter(|drift| drift.class.is_report_only()).collect()
}

fn same() -> Facts {
    facts("580.1", "6.11", 9000, "sha256:aa")
}

/// If this failed, two Sparks would hang together for a reason that nobody shows.
#[test]
fn what_differs_between_sparks_is_reported_and_nothing_else() {
    assert_eq!(reported(same(), same()), []);
    let found = reported(same(), facts("590.2", "6.14", 1500, "sha256:bb"));
    let told: Vec<_> = found.iter().map(|drift| (drift.desired.as_str(), drift.observed.as_str())).collect();
    assert_eq!(
        told,
        [
            ("driver 580.1, as `spark1`", "driver 590.2"),
            ("fabric MTU 9000, as `spark1`", "fabric MTU 1500"),
            ("image vllm-node sha256:aa, as `spark1`", "image vllm-node sha256:bb"),
            ("kernel 6.11, as `spark1`", "kernel 6.14"),
        ]
    );
    assert!(found.iter().all(|drift| drift.class == Class::Platform && drift.response == "only reported"));
}

/// If this failed, Docker and this controller would each start the same container, and nobody would know why it will not stay
/// stopped.
#[test]
fn a_restart_policy_is_a_second_authority_over_what_is_kept() {
    let mut first = same();
    first.containers =
        vec![container("kokoro-tts", Some("unless-stopped")), container("watched", Some("always"))];
    let found = reported(first, same());
    let told: Vec<_> = found.iter().map(|drift| drift.observed.as_str()).collect();
    assert_eq!(told, ["Docker starts `kokoro-tts` too: its restart policy is `unless-stopped`"]);
}

/// If this failed, memory would be missing and nothing would say who has it; or a container whose name only begins like ours
/// would be taken for ours.
#[test]
fn who_uses_the_gpu_and_is_in_no_file_is_named() {
    let mut first = same();
    first.containers =
        vec![container("kokoro-tts", None), container("kokoro-tts-old", None), container("comfyui", None)];
    let process = |pid, name: &str, container: Option<&str>| GpuProcess {
        pid,
        name: name.into(),
        memory_bytes: Some(20 << 30),
        container: container.map(str::to_owned),
    };
    first.gpu.as_mut().unwrap().processes = vec![
        process(1, "python3", Some("id-of-kokoro-tts")),
        process(2, "python3", Some("id-of-comfyui")),
        process(3, "blender", None),
        process(4, "python3", Some("id-of-kokoro-tts-old")),
    ];
    let told: Vec<String> = reported(first, same()).into_iter().map(|drift| drift.observed).collect();
    assert_eq!(
        told,
        [
            "`python3` (2) in `comfyui` on the GPU, 20.0 GiB",
            "`blender` (3) on the GPU, 20.0 GiB",
            "`python3` (4) in `kokoro-tts-old` on the GPU, 20.0 GiB",
        ]
    );
}
