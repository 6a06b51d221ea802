//! Memory that GPU and CPU share: what a model needs, what can be free, when it is back, and who gives way.

use std::collections::{BTreeMap, BTreeSet};

use spark_control::core::{
    decide::{
        memory::{MemoryPlace, ReleaseProgress, fit, free_at_most, released},
        need::{Known, MemoryNeed, NeedBasis, NeedInputs, need, size},
    },
    model::{
        id::ContainerId,
        launch::{FailureKind, Launch, LaunchState},
        memory_table::MemoryFit,
        name::{ModelName, ServiceName},
        object::Object,
        observed::{Container, Gpu, GpuProcess, GpuSeen, Process, SparkFacts},
        slot_record::MemoryRelease,
    },
};

use crate::look::{Look, at, spark, token};

const GIB: u64 = 1 << 30;

/// If this failed, a model would be started into memory that it does not fit in, or be refused what it fits in.
#[test]
fn what_a_model_needs_is_the_largest_figure_that_is_known_of_it() {
    let needs = |launcher: &str, model: &str, weights_gib: Option<u64>, peaks: &[u64]| {
        let file = format!("model: own\n{launcher}\nmodels: {{ own: {{ {model}, sparks: [spark1] }} }}");
        let look = Look::new(&file);
        let slot = &look.desired.slots[&Object::main()];
        let own = look.desired.resolved_model(slot, &ModelName::new("own").unwrap()).unwrap();
        let peaks: Vec<u64> = peaks.iter().map(|gib| gib * GIB).collect();
        let nothing = BTreeMap::new();
        let weights_bytes = weights_gib.map(|gib| gib * GIB);
        match need(&own, NeedInputs { total_bytes: 100 * GIB, weights_bytes, of_recipe: &nothing }, &peaks) {
            MemoryNeed::Known(Known { bytes, basis, to_start_bytes }) if to_start_bytes > bytes => {
                format!("{}: {basis}, {} to start", bytes / GIB, to_start_bytes / GIB)
            }
            MemoryNeed::Known(Known { bytes, basis, .. }) => format!("{}: {basis}", bytes / GIB),
            MemoryNeed::Unknown { why, at_least_bytes } => {
                assert!(why.contains("set `memory_gib`"), "{why}");
                format!("at least {}", at_least_bytes / GIB)
            }
        }
    };
    let script = "vllm: { launcher: { kind: launch-cluster, script: own.sh } }";
    let recipe = "vllm: { launcher: { kind: recipe } }";
    let half = "repo: lab/own, args: { gpu-memory-utilization: 0.5 }";
    let cache = "repo: lab/own, args: { kv-cache-memory-bytes: 10G }";
    let both = |share: f64| {
        format!(
            "repo: lab/own, args: {{ gpu-memory-utilization: {share}, kv-cache-memory-bytes: 10737418240 }}"
        )
    };
    for (launcher, model, weights, peaks, expected) in [
        ("", "repo: lab/own", None, &[][..], "92: the engine's default share"),
        ("", half, None, &[], "50: gpu-memory-utilization"),
        (
            "",
            "repo: lab/own, args: { gpu-memory-utilization: '0.5' }",
            None,
            &[],
            "50: gpu-memory-utilization",
        ),
        (
            "",
            "repo: lab/own, args: { gpu-memory-utilization-gb: 30 }",
            None,
            &[],
            "30: gpu-memory-utilization-gb",
        ),
        // The cache is not all that an engine holds, and it starts only when its share is free.
        ("", cache, None, &[], "at least 10"),
        ("", cache, Some(60), &[], "74: its weights and kv-cache-memory-bytes, 92 to start"),
        (
            "",
            &cache.replace("10G'", "10G").replace("}", "}, memory_gib: 40"),
            None,
            &[],
            "40: memory_gib, 92 to start",
        ),
        ("", cache, None, &[45], "44: the peak of the last load here, 92 to start"),
        ("", &both(0.9), None, &[], "90: gpu-memory-utilization"),
        ("", &both(0.05), None, &[], "10: its weights and kv-cache-memory-bytes"),
        ("", &both(0.5), Some(60), &[], "74: its weights and kv-cache-memory-bytes"),
        // Weights are a lower bound, unless they are made smaller while they are loaded.
        ("", half, Some(70), &[], "70: its weights"),
        (
            "",
            "repo: lab/own, args: { gpu-memory-utilization: 0.5, quantization: fp8 }",
            Some(70),
            &[],
            "50: gpu-memory-utilization",
        ),
        ("", &format!("{half}, memory_gib: 60"), None, &[], "60: memory_gib"),
        ("", &format!("{half}, memory_gib: 40"), None, &[], "50: gpu-memory-utilization"),
        ("", "repo: lab/own, memory_gib: 40", None, &[], "92: the engine's default share"),
        (script, "repo: lab/own, memory_gib: 40", None, &[], "40: memory_gib"),
        (script, "repo: lab/own", None, &[], "92: the engine's default share"),
        (
            recipe,
            "recipe: own, memory_gib: 40, args: { gpu-memory-utilization: 0.5 }",
            None,
            &[],
            "50: gpu-memory-utilization",
        ),
        (
            recipe,
            "recipe: own, memory_gib: 60, args: { gpu-memory-utilization: 0.5 }",
            None,
            &[],
            "60: memory_gib",
        ),
        ("", half, None, &[71], "70: the peak of the last load here"),
        ("", half, None, &[60, 71, 65], "70: the peak of the last 3 loads here"),
        ("", half, None, &[51], "50: gpu-memory-utilization"),
        ("", half, None, &[20], "50: gpu-memory-utilization"),
    ] {
        assert_eq!(
            needs(launcher, model, weights, peaks),
            expected,
            "{launcher} {model} {weights:?} {peaks:?}"
        );
    }
}

/// If this failed, a size would mean something else to the engine than to us.
#[test]
fn a_size_is_read_as_the_engine_reads_it() {
    for (written, bytes) in [
        (serde_json::json!(1_000_000_000), Some(1_000_000_000)),
        (serde_json::json!("1000000000"), Some(1_000_000_000)),
        (serde_json::json!("25G"), Some(25 << 30)),
        (serde_json::json!("25g"), Some(25_000_000_000)),
        (serde_json::json!("16k"), Some(16_000)),
        (serde_json::json!("16K"), Some(16 << 10)),
        (serde_json::json!("1.5M"), Some(3 << 19)),
        (serde_json::json!("1.5m"), Some(1_500_000)),
        (serde_json::json!(" 2T "), Some(2 << 40)),
        (serde_json::json!("G"), None),
        (serde_json::json!("-1G"), None),
        (serde_json::json!("1GiB"), None),
        (serde_json::json!("infG"), None),
        (serde_json::json!(true), None),
        (serde_json::json!(-5), None),
    ] {
        assert_eq!(size(&written), bytes, "{written}");
    }
}

/// If this failed, an owner would not know before a swap whether it fits, or what to set.
#[test]
fn every_spark_has_a_verdict_with_what_to_set() {
    let verdict = |model: &str, free_gib: u64| {
        let mut look = Look::new(&format!("model: own\nmodels: {{ own: {{ {model}, sparks: [spark1] }} }}"));
        let facts = look.facts("spark1");
        (facts.memory_total_bytes, facts.memory_available_bytes) = (100 * GIB, free_gib * GIB);
        let slot = &look.desired.slots[&Object::main()];
        let own = look.desired.resolved_model(slot, &ModelName::new("own").unwrap()).unwrap();
        let (name, going) = (spark("spark1"), BTreeSet::new());
        let (object, observed) = (Object::main(), look.observed());
        let place = MemoryPlace {
            object: &object,
            target: &own,
            spark: &name,
            going: &going,
            observed: &observed,
            by_what_is_free: true,
        };
        fit(place, &look.sparks[&name], &look.desired, &look.ledger, look.now)
    };
    let of = |share: f64| format!("repo: lab/own, args: {{ gpu-memory-utilization: {share} }}");
    for (model, free, told) in [
        (of(0.5), 90, "fits, 34 GiB to spare"),
        (of(0.84), 90, "fits, 0 GiB to spare"),
        (of(0.85), 90, "asks for 85 GiB, 84 can be free: set `gpu-memory-utilization` to at most 0.84"),
        (
            "repo: lab/own".into(),
            95,
            "asks for 92 GiB, 89 can be free: set `gpu-memory-utilization` to at most 0.89",
        ),
        (
            of(0.5),
            6,
            "asks for 50 GiB, 0 can be free: nothing of it can; use another Spark, or a smaller model",
        ),
        (
            format!("{}, memory_gib: 70", of(0.5)),
            60,
            "asks for 70 GiB, 54 can be free: lower `memory_gib`, or use another Spark, or a smaller model",
        ),
        (
            "repo: lab/own, memory_gib: 20, args: { kv-cache-memory-bytes: 10G }".into(),
            60,
            "asks for 92 GiB, 54 can be free: the engine starts only when its share is free: set `gpu-memory-utilization` to \
             at most 0.54",
        ),
    ] {
        assert_eq!(verdict(&model, free).to_string(), told, "{model} {free}");
    }
    assert!(matches!(
        verdict("repo: lab/own, args: { kv-cache-memory-bytes: 10G }", 90),
        MemoryFit::Unknown { .. }
    ));
}

#[test]
fn what_can_be_free_at_most_counts_what_goes_and_nothing_else() {
    let process =
        |resident_gib: u64| Process { pid: 7, resident_bytes: resident_gib * GIB, command: "x".into() };
    let container = |id: &str, resident_gib: u64| Container {
        id: id.into(),
        running: true,
        processes: Some(vec![process(resident_gib)]),
        ..Container::default()
    };
    let on_gpu = |id: &str, gib: Option<u64>| GpuProcess {
        pid: 7,
        name: "x".into(),
        memory_bytes: gib.map(|gib| gib * GIB),
        container: Some(id.into()),
    };
    let facts = || SparkFacts {
        memory_available_bytes: 10 * GIB,
        containers: vec![container("goes", 2), container("stays", 5)],
        memory_total_bytes: 100 * GIB,
        gpu: GpuSeen::Answers(Gpu {
            processes: vec![on_gpu("goes", Some(30)), on_gpu("stays", Some(40))],
            ..Gpu::default()
        }),
        ..SparkFacts::default()
    };
    let goes = ContainerId::from("goes");
    let going = BTreeSet::from([&goes]);
    let free = |change: fn(&mut SparkFacts)| {
        let mut facts = facts();
        change(&mut facts);
        free_at_most(&facts, &going).map(|bytes| bytes / GIB)
    };
    fn processes(facts: &mut SparkFacts) -> &mut Vec<GpuProcess> {
        let GpuSeen::Answers(gpu) = &mut facts.gpu else { panic!() };
        &mut gpu.processes
    }
    // Resident and on the GPU is one memory: the larger of the two figures.
    assert_eq!(free(|_| {}), Some(40));
    assert_eq!(free(|facts| facts.containers[0].processes = Some(vec![])), Some(40));
    let beside = |facts: &mut SparkFacts| {
        let other = Process { pid: 8, resident_bytes: 3 * GIB, command: "y".into() };
        facts.containers[0].processes.as_mut().unwrap().push(other);
    };
    assert_eq!(free(beside), Some(43));
    assert_eq!(free_at_most(&facts(), &BTreeSet::new()), Some(10 * GIB), "nothing goes");
    assert_eq!(free(|facts| facts.gpu = GpuSeen::Hangs), None);
    assert_eq!(free(|facts| processes(facts)[0].memory_bytes = None), None);
    assert_eq!(free(|facts| processes(facts)[1].memory_bytes = None), Some(40));
    assert_eq!(free(|facts| facts.containers[0].processes = None), None);
    assert_eq!(free(|facts| facts.containers[1].processes = None), Some(40));
    assert_eq!(free(|facts| facts.containers[0].running = false), Some(10));
    assert_eq!(free(|facts| facts.memory_total_bytes = 35 * GIB), Some(35), "no more than there is");
}

/// If this failed, an engine would be started into memory that is not back, or one that could be started would wait for ever.
#[test]
fn the_memory_gate_opens_when_enough_stays_free_and_closes_for_good_after_five_minutes() {
    let release = |since: i64| MemoryRelease {
        since: at(since),
        containers: ["old".into()].into(),
        pids: [(spark("spark1"), BTreeSet::from([42]))].into(),
        before: None,
    };
    let gate = |look: &Look, needed_gib: u64, release: Option<&MemoryRelease>| {
        let name = spark("spark1");
        let facts = &look.sparks[&name];
        let bytes = needed_gib * GIB;
        let needed = Known { bytes, basis: NeedBasis::Share, to_start_bytes: bytes };
        released(&name, facts, &needed, 6 * GIB, release, &look.ledger, look.now)
    };
    let watched = |secs: &[i64]| {
        let mut look = Look::new("model: alpha");
        for pause in secs {
            look.later(*pause);
            look.notice();
        }
        look
    };
    // 110 are free. With a margin two samples in two seconds are proof; where it is close, three in ten.
    assert_eq!(gate(&watched(&[0, 2]), 100, None), ReleaseProgress::Yes, "exactly the margin");
    assert!(matches!(gate(&watched(&[0, 1]), 100, None), ReleaseProgress::Settling(_)), "one second");
    assert!(matches!(gate(&watched(&[0]), 100, None), ReleaseProgress::Settling(_)), "one sample");
    assert!(matches!(gate(&watched(&[0, 2]), 101, None), ReleaseProgress::Settling(_)), "close");
    assert_eq!(gate(&watched(&[0, 5, 5]), 101, None), ReleaseProgress::Yes);
    assert!(matches!(gate(&watched(&[0, 10]), 101, None), ReleaseProgress::Settling(_)), "two samples");
    assert!(matches!(gate(&watched(&[0, 5, 4]), 101, None), ReleaseProgress::Settling(_)), "nine seconds");
    assert!(matches!(gate(&watched(&[0, 31, 5, 4]), 101, None), ReleaseProgress::Settling(_)), "a break");
    assert_eq!(gate(&watched(&[0, 30, 5]), 101, None), ReleaseProgress::Yes);
    assert_eq!(gate(&watched(&[0, 5, 5]), 104, None), ReleaseProgress::Yes, "110 GiB are just enough");
    assert!(matches!(gate(&watched(&[0, 5, 5]), 105, None), ReleaseProgress::Freeing(_)));

    // What was seen before the stop proves nothing.
    assert!(matches!(gate(&watched(&[0, 5, 5]), 101, Some(&release(5))), ReleaseProgress::Settling(_)));
    assert_eq!(gate(&watched(&[0, 5, 5, 5]), 101, Some(&release(5))), ReleaseProgress::Yes);
    assert!(matches!(gate(&watched(&[0, 5]), 100, Some(&release(5))), ReleaseProgress::Settling(_)));
    let mut rebooted = watched(&[0, 5, 5]);
    rebooted.facts("spark1").boot_id = "another".into();
    assert!(matches!(gate(&rebooted, 100, None), ReleaseProgress::Freeing(_)));

    let with = |change: fn(&mut SparkFacts)| {
        let mut look = watched(&[0, 290, 5, 5]);
        change(look.facts("spark1"));
        look
    };
    let still_there = |facts: &mut SparkFacts| {
        facts.containers.push(Container { id: "old".into(), ..Container::default() })
    };
    let held = |facts: &mut SparkFacts| {
        let process = GpuProcess { pid: 42, name: "x".into(), memory_bytes: None, container: None };
        facts.gpu = GpuSeen::Answers(Gpu { processes: vec![process], ..Gpu::default() });
    };
    for in_the_way in [still_there as fn(&mut SparkFacts), held] {
        let look = with(in_the_way);
        assert!(matches!(gate(&look, 100, Some(&release(0))), ReleaseProgress::Freeing(_)), "five minutes");
        assert!(matches!(gate(&look, 100, Some(&release(-1))), ReleaseProgress::Stuck(_)));
    }
    assert!(matches!(gate(&with(|_| {}), 105, Some(&release(-1))), ReleaseProgress::Stuck(_)));
    // A reboot since then has numbered the processes anew.
    let mut up = with(held);
    for (secs, opens) in [(299, true), (300, false), (301, false)] {
        up.facts("spark1").uptime_secs = secs;
        assert_eq!(gate(&up, 100, Some(&release(0))) == ReleaseProgress::Yes, opens, "up for {secs} s");
    }
}

/// If this failed, the wrong model would be given up when memory is short, or one that nobody may touch.
#[test]
fn the_newest_model_that_may_be_acted_on_is_given_up_for_the_floor() {
    let file = |more: &str| {
        format!(
            "model: alpha\n{more}\nservices: {{ second: {{ kind: vllm, spark: spark1, port: 8889, model: tiny }} }}\n\
             models:\n  alpha: {{ repo: lab/alpha, sparks: [spark1], args: {{ gpu-memory-utilization: 0.5 }} }}\n  \
             tiny: {{ repo: lab/tiny, sparks: [spark1], args: {{ gpu-memory-utilization: 0.2 }} }}"
        )
    };
    let second = || Object::service(&ServiceName::new("second").unwrap());
    let both = |more: &str, state: LaunchState| {
        let mut look = Look::new(&file(more));
        let older =
            Launch::new(look.group("alpha"), token(1), at(-60), LaunchState::Serving { since: at(-50) });
        let newer = Launch::new(look.group("tiny"), token(2), at(-10), state);
        look.ledger.slot_mut(&Object::main()).launch = Some(older);
        look.ledger.slot_mut(&second()).launch = Some(newer);
        look
    };
    let given_up = |look: &mut Look, on: &str| {
        let (desired, now) = (look.desired.clone(), look.now);
        let mut watch = || look.ledger.watch_floor(&spark(on), 1, &desired, now);
        assert!(watch().is_none() && watch().is_none());
        watch().map(|noticed| noticed.object)
    };
    for state in [LaunchState::Loading, LaunchState::Serving { since: at(-5) }] {
        assert_eq!(given_up(&mut both("", state), "spark1"), Some(second()));
    }
    for state in [LaunchState::Stopped { at: at(-5) }, LaunchState::Failed { at: at(-5), in_load: true }] {
        assert_eq!(given_up(&mut both("", state), "spark1"), Some(Object::main()));
    }
    let loading = || LaunchState::Loading;
    assert_eq!(given_up(&mut both("", loading()), "spark2"), None);
    assert_eq!(given_up(&mut both("reconcile: { suspend: true }", loading()), "spark1"), None);
    let main_alone = both("vllm: { suspend: true }", LaunchState::Stopped { at: at(-5) });
    assert_eq!(given_up(&mut { main_alone }, "spark1"), None);

    // After that, its memory is on its way back, also when the clock is set back meanwhile.
    let mut look = both("", loading());
    assert_eq!(given_up(&mut look, "spark1"), Some(second()));
    let spec = look.group("tiny").spec;
    assert_eq!(look.ledger.attempts(&second(), &spec).unwrap().last.kind, FailureKind::BelowFloor);
    assert_eq!(given_up(&mut look, "spark1"), None);
    look.later(-3600);
    look.notice();
    let serving = LaunchState::Serving { since: look.now };
    look.ledger.launch_mut(&Object::main()).unwrap().state = serving;
    look.later(59);
    assert_eq!(given_up(&mut look, "spark1"), None);
    look.later(1);
    assert_eq!(given_up(&mut look, "spark1"), Some(Object::main()));
}
