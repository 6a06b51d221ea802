//! What differs, and of what kind it is; of some of it an owner should know and nothing is done.

use std::collections::BTreeMap;

use jiff::Timestamp;
use spark_control::{
    core::{
        decide::{
            drift::{Drift, DriftClass, diff},
            planner,
            view::View,
        },
        model::{
            id::ContainerId,
            launch::LaunchState,
            ledger::Ledger,
            name::{ServiceName, SparkName},
            object::Object,
            observed::{Container, Gpu, GpuProcess, GpuSeen, Observed, SparkFacts, SparkView},
            platform::{NetworkInterface, Platform},
            spec_hash::SpecHash,
        },
    },
    manifest::load::load,
};

use crate::look::{Look, at, spark};

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
        id: format!("id-of-{name}").into(),
        name: name.into(),
        image: "x".into(),
        image_id: "sha256:x".into(),
        running: true,
        restarts: restarts.map(Into::into),
        ..Container::default()
    }
}

fn facts(driver: &str, kernel: &str, mtu: u32, image: &str) -> SparkFacts {
    let cx7 = NetworkInterface { mtu, is_up: true, speed_mbps: Some(200_000), ..NetworkInterface::default() };
    SparkFacts {
        boot_id: "b".into(),
        memory_total_bytes: 120 << 30,
        memory_available_bytes: 100 << 30,
        platform: Platform {
            kernel: kernel.into(),
            interfaces: [("cx7".to_owned(), cx7)].into(),
            ..Platform::default()
        },
        gpu: GpuSeen::Answers(Gpu { name: "NVIDIA GB10".into(), driver: driver.into(), ..Gpu::default() }),
        images: [("vllm-node".to_owned(), Some(image.into()))].into(),
        ..SparkFacts::default()
    }
}

fn reported(first: SparkFacts, second: SparkFacts) -> Vec<Drift> {
    let desired = load(FILE).unwrap().desired;
    let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    let view = |name: &str, facts| (SparkName::new(name).unwrap(), SparkView::Reachable(Box::new(facts)));
    let observed = Observed {
        at: now,
        sparks: [view("spark1", first), view("spark2", second)].into(),
        endpoints: BTreeMap::new(),
        loads: BTreeMap::new(),
        bots: std::collections::BTreeMap::new(),
        front_doors: BTreeMap::new(),
        ended: BTreeMap::new(),
        unreadable_secrets: BTreeMap::new(),
    };
    let ledger = Ledger::default();
    let plan = planner::plan(View { desired: &desired, observed: &observed, ledger: &ledger, now }, 1);
    let drift = diff(View { desired: &desired, observed: &observed, ledger: &ledger, now }, &plan);
    drift.into_iter().filter(|drift| drift.class.is_report_only()).collect()
}

fn same() -> SparkFacts {
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
    assert!(
        found.iter().all(|drift| drift.class == DriftClass::Platform && drift.response == "only reported")
    );
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
    let mend = "`docker update --restart=no kokoro-tts` there leaves it to this controller";
    assert_eq!(
        told,
        [format!("Docker starts `kokoro-tts` too: its restart policy is `unless-stopped`; {mend}")]
    );
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
        container: container.map(ContainerId::from),
    };
    let GpuSeen::Answers(gpu) = &mut first.gpu else { panic!() };
    gpu.processes = vec![
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

/// If this failed, an owner would be told of something else than what differs.
#[test]
fn what_stands_in_a_slots_place_is_told_apart() {
    let other = SpecHash::of_label("v1-other");
    let empty = Look::new("model: alpha");
    assert_eq!(empty.differences(), ["Missing -: `alpha`; `vllm_node` is not running on `spark1`"]);

    let mut serving = Look::new("model: alpha");
    serving.serves("alpha");
    assert_eq!(serving.differences(), [""; 0]);
    serving.facts("spark1").images.insert("vllm-node".into(), Some("sha256:bb".into()));
    assert_eq!(serving.differences()[..1], ["Image spark1: vllm-node (sha256:bb); sha256:aa"]);

    // The same model as it was before an edit; another model of ours; somebody else's.
    let mut edited = Look::new("model: alpha");
    edited.launched("alpha", LaunchState::Serving { since: at(0) });
    edited.ledger.launch_mut(&Object::main()).unwrap().group.spec = other.clone();
    edited.facts("spark1").containers[0].labels.as_mut().unwrap().spec = other.clone();
    edited.facts("spark1").images.insert("vllm-node".into(), Some("sha256:bb".into()));
    assert_eq!(edited.differences()[..1], ["Config -: `alpha`; `alpha` as it was before the edit"]);
    edited.ledger.launch_mut(&Object::main()).unwrap().group = edited.group("beta");
    assert_eq!(edited.differences()[..1], ["Model -: `alpha`; `beta`"]);
    edited.facts("spark1").containers[0].labels = None;
    let strange = "Model -: `alpha`; `vllm_node` (id-of-vllm_n), running";
    assert_eq!(edited.differences()[..1], [strange]);
    edited.ledger.slots.values_mut().for_each(|slot| slot.launch = None);
    assert_eq!(edited.differences()[..1], [strange]);

    // One of two ranks, and none of two.
    let mut wide = Look::new("model: wide");
    wide.launched("wide", LaunchState::Serving { since: at(0) });
    wide.facts("spark2").containers[0].running = false;
    assert_eq!(wide.differences(), ["HalfUp -: `wide`; `vllm_node` has stopped on `spark2`"]);
    wide.facts("spark1").containers[0].running = false;
    assert_eq!(wide.differences(), ["Stopped -: `wide`; `vllm_node` has stopped on `spark1`"]);
    let mut alone = Look::new("model: alpha");
    alone.launched("alpha", LaunchState::Serving { since: at(0) });
    alone.facts("spark1").containers[0].processes = Some(Vec::new());
    assert_eq!(alone.differences(), ["Stopped -: `alpha`; no engine runs in `vllm_node` on `spark1`"]);

    // What is left elsewhere of ours is told of; a stranger there is not in the slot's place.
    let mut moved = Look::new("model: alpha");
    moved.serves("alpha");
    moved.ours("spark2", "vllm_node", &other);
    assert_eq!(moved.differences(), ["ShouldBeStopped spark2: nothing; `vllm_node` (id-of-vllm_n), running"]);
    moved.facts("spark2").containers[0].labels = None;
    assert_eq!(moved.differences(), [""; 0]);

    let mut silent = Look::new("model: alpha");
    silent.serves("alpha");
    silent.silent.insert(spark("spark1"));
    assert_eq!(
        silent.differences(),
        ["Unknown -: alpha; `spark1` is not reachable", "Unknown spark1: reachable; no answer"]
    );
}

#[test]
fn services_files_strangers_and_memory_are_told_when_they_differ() {
    let kokoro = |state: &str| {
        let file = format!(
            "model: none\nservices: {{ kokoro: {{ kind: tts, spark: spark1, port: 8880, container: kokoro, \
             state: {state} }} }}"
        );
        let mut look = Look::new(&file);
        look.stands("spark1", "kokoro").processes = Some(Vec::new());
        look
    };
    assert_eq!(kokoro("running").differences(), [""; 0]);
    assert_eq!(
        kokoro("stopped").differences(),
        ["ShouldBeStopped spark1: stopped; `kokoro` (id-of-kokoro), running"]
    );
    let ended = |state: &str| {
        let mut look = kokoro(state);
        look.facts("spark1").containers[0].running = false;
        look
    };
    assert_eq!(ended("running").differences(), ["Stopped spark1: running; `kokoro` (id-of-kokoro), stopped"]);
    assert_eq!(ended("stopped").differences(), [""; 0]);
    let mut disabled = ended("running");
    disabled.desired.disabled.insert(ServiceName::new("kokoro").unwrap());
    assert_eq!(disabled.differences(), [""; 0]);

    // An engine that nobody started for us, one of another cluster, one of a slot that was renamed, one of a lost slot.
    let mut look = Look::new("model: none");
    look.stands("spark1", "strange");
    assert_eq!(look.differences(), ["Unmanaged spark1: not in the file; `strange` (id-of-strang), running"]);
    look.facts("spark1").containers.clear();
    look.ours("spark1", "theirs", &SpecHash::of_label("v1-0")).labels.as_mut().unwrap().cluster =
        "other".into();
    assert_eq!(look.differences(), [""; 0]);
    look.facts("spark1").containers.clear();
    look.ours("spark1", "lost", &SpecHash::of_label("v1-0")).labels.as_mut().unwrap().object =
        "gone".parse().unwrap();
    assert_eq!(look.differences(), ["Unmanaged spark1: not in the file; `lost` (id-of-lost-o), running"]);
    look.facts("spark1").containers.clear();
    look.ours("spark1", "old-name", &SpecHash::of_label("v1-0"));
    assert_eq!(look.differences(), ["ShouldBeStopped spark1: nothing; `old-name` (id-of-old-na), running"]);

    // What is only watched may be started by Docker.
    let mut watched = Look::new("models: {}");
    watched.stands("spark1", "vllm_node").restarts = Some("always".into());
    assert_eq!(watched.differences(), [""; 0]);
    let mut kept = Look::new("model: alpha");
    kept.serves("alpha");
    kept.facts("spark1").containers[0].restarts = Some("always".into());
    assert!(
        kept.differences()[0].starts_with("Platform spark1: started and stopped by this controller alone;")
    );
    // Under whatever name it is ours.
    kept.facts("spark1").containers[0].name = "a-name-of-the-launcher".into();
    let told = kept.differences();
    assert!(told.iter().any(|told| told.contains("Docker starts `a-name-of-the-launcher` too")), "{told:?}");

    let mut memory = Look::new("model: none");
    let floor = memory.desired.sparks["spark1"].floor_bytes;
    memory.facts("spark1").memory_available_bytes = floor;
    assert_eq!(memory.differences(), [""; 0]);
    memory.facts("spark1").memory_available_bytes = floor - 1;
    assert_eq!(memory.differences(), ["Memory spark1: 6.0 GiB kept free; 6.0 GiB free"]);

    for (wish, told) in [("present", "Weights spark1: there; "), ("absent", "Weights spark1: deleted; ")] {
        let file = format!(
            "model: none\nmodels: {{ alpha: {{ repo: lab/alpha, sparks: [spark1], weights: {wish} }} }}"
        );
        let mut look = Look::new(&file);
        if wish == "present" {
            look.facts("spark1").files.clear();
            look.facts("spark1")
                .files
                .insert("lab/alpha".into(), spark_control::core::model::files::FilesSeen::Absent);
        }
        let found = look.differences();
        assert!(found.len() == 1 && found[0].starts_with(told), "{found:?}");
    }
}
