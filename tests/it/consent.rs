//! Who must agree, and when nobody must.

use std::collections::BTreeMap;

use jiff::Timestamp;
use spark_control::{
    core::{
        decide::{
            consent::{ChangeCause, cause, hold, to_start, to_stop, to_stop_service},
            memory::holders,
            slot_containers::SlotContainer,
        },
        model::{
            desired::Desired,
            id::ContainerId,
            launch::LaunchState,
            memory_table::GpuOccupantOwner,
            name::{ServiceName, SparkName},
            object::Object,
            observed::{
                CheckResult, Container, Endpoint, EndpointAnswer, EngineAnswer, Gpu, GpuProcess, GpuSeen,
                Labels, Observed, ServiceAnswer, SparkFacts,
            },
            plan::ConsentReason,
            spec_hash::SpecHash,
        },
    },
    manifest::load::load,
};

use crate::look::{Look, at, release};

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn desired(more: &str) -> Desired {
    let file = format!(
        "version: 1\nsparks: {{ spark1: {{ address: 192.0.2.1, user: alice }} }}\nmodel: alpha\n\
         models: {{ alpha: {{ repo: lab/alpha, sparks: [spark1] }} }}\n{more}"
    );
    load(&file).unwrap().desired
}

fn answering(answer: Option<EndpointAnswer>) -> Observed {
    let endpoint = answer.map(|answer| (Object::main(), Endpoint { at: now(), since: now(), answer }));
    Observed {
        at: now(),
        sparks: BTreeMap::new(),
        endpoints: endpoint.into_iter().collect(),
        loads: BTreeMap::new(),
        bots: std::collections::BTreeMap::new(),
        front_doors: BTreeMap::new(),
        ended: BTreeMap::new(),
        unreadable_secrets: BTreeMap::new(),
    }
}

/// If this failed, something would be stopped that a person was to be asked about; or nothing would be repaired by itself.
#[test]
fn what_is_asked_before_a_stop_or_a_start_is_as_the_policy_says() {
    use ChangeCause::{Contingency, Drift, Edit};
    const POLICIES: [&str; 6] = [
        "",
        "reconcile: { on_edit: approve }",
        "reconcile: { on_drift: repair }",
        "reconcile: { on_drift: apply }",
        "reconcile: { on_drift: approve }",
        "reconcile: { on_drift: report }",
    ];
    let spark = SparkName::new("spark1").unwrap();
    let container = Container::default();
    let spec = || SpecHash::of_label("v1-0");
    let ours = SlotContainer { spark: &spark, container: &container, spec: Some(spec()) };
    let not_ours = SlotContainer { spark: &spark, container: &container, spec: None };
    let proven = EngineAnswer { completion: CheckResult::Proven { at: now() }, ..EngineAnswer::default() };
    let proven = answering(Some(EndpointAnswer::Engine(proven)));
    for policy in POLICIES {
        let desired = desired(&format!("{policy}\n"));
        let edit = (policy == POLICIES[1]).then_some(ConsentReason::OnEdit);
        let (stop, start) = match policy {
            "reconcile: { on_drift: approve }" => {
                (Some(ConsentReason::OnDrift), Ok(Some(ConsentReason::OnDrift)))
            }
            "reconcile: { on_drift: apply }" => (None, Ok(None)),
            "reconcile: { on_drift: report }" => (None, Err(())),
            _ => (Some(ConsentReason::StopsWhatAnswers), Ok(None)),
        };
        let main = Object::main();
        let of =
            |entry, cause, group: Option<&SpecHash>| to_stop(entry, &main, cause, group, &desired, &proven);
        for cause in [Edit, Drift, Contingency] {
            assert_eq!(of(&not_ours, cause, None), Some(ConsentReason::NotOurs), "{policy}");
        }
        assert_eq!(of(&ours, Edit, None), edit, "{policy}");
        assert_eq!(of(&ours, Drift, None), stop, "{policy}");
        assert_eq!(of(&ours, Contingency, None), None, "{policy}");
        // What is left of a broken group of the same spec serves nobody.
        let of_the_group = if stop == Some(ConsentReason::StopsWhatAnswers) { None } else { stop };
        assert_eq!(of(&ours, Drift, Some(&spec())), of_the_group, "{policy}");

        let started = |cause| to_start(cause, &desired).map_err(|_| ());
        assert_eq!(started(Edit), Ok(edit), "{policy}");
        assert_eq!(started(Drift), start, "{policy}");
        assert_eq!(started(Contingency), Ok(None), "{policy}");

        let service = |cause, kept| to_stop_service(cause, kept, &desired).map_err(|_| ());
        assert_eq!(service(Drift, false), Ok(Some(ConsentReason::NotOurs)), "{policy}");
        assert_eq!(service(Edit, true), Ok(edit), "{policy}");
        let drifted = if start == Ok(None) { Ok(stop) } else { start };
        assert_eq!(service(Drift, true), drifted, "{policy}");
    }
}

#[test]
fn repair_stops_nothing_that_answers() {
    let spark = SparkName::new("spark1").unwrap();
    let container = Container::default();
    let entry =
        SlotContainer { spark: &spark, container: &container, spec: Some(SpecHash::of_label("v1-0")) };
    let asked = |answer: Option<EndpointAnswer>| {
        let observed = answering(answer);
        to_stop(&entry, &Object::main(), ChangeCause::Drift, None, &desired(""), &observed).is_some()
    };
    let engine = |completion| EndpointAnswer::Engine(EngineAnswer { completion, ..EngineAnswer::default() });
    assert!(asked(Some(engine(CheckResult::Proven { at: now() }))));
    assert!(asked(Some(EndpointAnswer::Up(ServiceAnswer::default()))));
    assert!(!asked(Some(engine(CheckResult::NotTried))));
    assert!(!asked(Some(engine(CheckResult::Failed { at: now(), why: "no answer".into() }))));
    assert!(!asked(Some(EndpointAnswer::Refused)));
    assert!(!asked(None));
}

#[test]
fn a_hold_is_in_force_until_its_end_and_for_its_own_object() {
    let at = |time: &str| time.parse::<Timestamp>().unwrap();
    let named = |more: &str, object: &str, time: &str| {
        let desired = desired(more);
        let object = match object {
            "vllm" => Object::main(),
            service => Object::service(&ServiceName::new(service).unwrap()),
        };
        hold(&object, &desired, at(time)).map(|(name, _)| name.to_string())
    };
    let talk = "holds: { talk: { until: 2026-11-24T12:40:00Z, owner: alice, reason: a talk } }\n";
    assert_eq!(named(talk, "vllm", "2026-11-24T12:39:59Z").as_deref(), Some("talk"));
    assert_eq!(named(talk, "vllm", "2026-11-24T12:40:00Z"), None);
    let service =
        "services: { tts: { kind: tts, spark: spark1, port: 1, container: tts, state: running } }\n";
    assert_eq!(named(&format!("{talk}{service}"), "tts", "2026-11-24T12:00:00Z"), None);
    let endless = "holds: { talk: { owner: alice, reason: a talk } }\n";
    assert_eq!(named(endless, "vllm", "2036-11-24T12:00:00Z").as_deref(), Some("talk"));
}

/// Who holds the memory is told before anybody agrees to a plan.
#[test]
fn who_is_on_the_gpu_is_told_by_container_name_label_and_program() {
    let desired = desired(
        "services: { tts: { kind: tts, spark: spark1, port: 1, container: tts }, \
                     web: { kind: http, url: \"http://192.0.2.9/\", container: web } }\n",
    );
    let labels = |cluster: &str| Labels {
        cluster: cluster.into(),
        object: Object::main(),
        spec: SpecHash::of_label("v1-0"),
        token: None,
    };
    let container = |name: &str, labels: Option<Labels>| Container {
        id: format!("id-of-{name}").into(),
        name: name.into(),
        running: true,
        labels,
        ..Container::default()
    };
    let process = |pid: u32, name: &str, container: Option<&str>| GpuProcess {
        pid,
        name: name.into(),
        memory_bytes: Some(u64::from(pid)),
        container: container.map(|name| format!("id-of-{name}").into()),
    };
    let facts = SparkFacts {
        containers: vec![
            container("vllm_node", None),
            container("renamed", Some(labels("default"))),
            container("foreign", Some(labels("other"))),
            container("tts", None),
            container("web", None),
        ],
        gpu: GpuSeen::Answers(Gpu {
            processes: vec![
                process(1, "python", Some("vllm_node")),
                process(2, "python", Some("renamed")),
                process(3, "python", Some("foreign")),
                process(4, "python", Some("tts")),
                process(5, "python", Some("web")),
                process(6, "Xorg", None),
                process(7, "/usr/bin/gnome-shell", None),
                process(8, "Xorg", Some("foreign")),
                process(9, "python", None),
                process(10, "python", Some("gone")),
            ],
            ..Gpu::default()
        }),
        ..SparkFacts::default()
    };
    let spark = SparkName::new("spark1").unwrap();
    let stopped = ContainerId::from("id-of-vllm_node");
    let going = [&stopped].into();
    let told = holders(&spark, &facts, &desired, &going);
    let tts = Object::service(&ServiceName::new("tts").unwrap());
    let slot = || GpuOccupantOwner::Slot(Object::main());
    let expected = [
        (10, GpuOccupantOwner::Unmanaged),
        (9, GpuOccupantOwner::Unmanaged),
        (8, GpuOccupantOwner::Unmanaged),
        (7, GpuOccupantOwner::Desktop),
        (6, GpuOccupantOwner::Desktop),
        (5, GpuOccupantOwner::Unmanaged),
        (4, GpuOccupantOwner::Service(tts)),
        (3, GpuOccupantOwner::Unmanaged),
        (2, slot()),
        (1, slot()),
    ];
    let told_of: Vec<_> = told.iter().map(|holder| (holder.pid, holder.of.clone())).collect();
    assert_eq!(told_of, expected);
    let goes: Vec<u32> = told.iter().filter(|holder| holder.goes).map(|holder| holder.pid).collect();
    assert_eq!(goes, [1]);
    let elsewhere = holders(&SparkName::new("spark2").unwrap(), &facts, &desired, &going);
    let slots: Vec<_> =
        elsewhere.iter().filter(|holder| holder.of == slot()).map(|holder| holder.pid).collect();
    assert_eq!(slots, [2], "what carries our label is ours on any Spark");
}

/// If this failed, what was agreed to with a swap would have to be agreed to again in its middle, or an edit pass for a repair.
#[test]
fn why_something_is_done_is_an_edit_drift_or_part_of_a_swap() {
    let of = |wanted: &str, target: &str, change: fn(&mut Look)| {
        let mut look = Look::new(&format!("model: {wanted}"));
        look.launched("alpha", LaunchState::Serving { since: at(0) });
        change(&mut look);
        cause(&Object::main(), &look.group(wanted), &look.group(target), &look.ledger)
    };
    let state = |look: &mut Look, state: LaunchState| {
        look.ledger.launch_mut(&Object::main()).unwrap().state = state;
    };
    let mut past_stop = Look::new("model: beta");
    past_stop.launched("alpha", LaunchState::Stopped { at: at(0) });
    past_stop.ledger.slot_mut(&Object::main()).release = Some(release(0, &[]));
    let in_the_middle = |wanted: &str, target: &str| {
        cause(&Object::main(), &past_stop.group(wanted), &past_stop.group(target), &past_stop.ledger)
    };
    assert_eq!(of("alpha", "alpha", |_| {}), ChangeCause::Drift);
    assert_eq!(of("beta", "beta", |_| {}), ChangeCause::Edit);
    assert_eq!(
        of("beta", "beta", |look| look.ledger.slots.values_mut().for_each(|slot| slot.launch = None)),
        ChangeCause::Edit
    );
    assert_eq!(of("beta", "alpha", |_| {}), ChangeCause::Drift, "nothing was stopped for it");
    assert_eq!(in_the_middle("beta", "beta"), ChangeCause::Edit);
    assert_eq!(in_the_middle("beta", "alpha"), ChangeCause::Contingency);
    let mut failed = Look::new("model: alpha");
    failed.launched("alpha", LaunchState::Loading);
    state(&mut failed, LaunchState::Failed { at: at(0), in_load: true });
    let group = |model: &str| failed.group(model);
    assert_eq!(
        cause(&Object::main(), &group("alpha"), &group("alpha"), &failed.ledger),
        ChangeCause::Contingency
    );
    assert_eq!(cause(&Object::main(), &group("beta"), &group("beta"), &failed.ledger), ChangeCause::Edit);
}
