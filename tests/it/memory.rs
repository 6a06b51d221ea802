//! Memory that GPU and CPU share: what a model needs, what can be free, when it is back, and who gives way.

use std::collections::BTreeSet;

use spark_control::core::{
    desired::Object,
    launch::{FailureKind, Launch, LaunchState},
    ledger::Release,
    memory::{Released, free_at_most, need, released},
    name::{ModelName, ServiceName},
    observed::{Container, Facts, Gpu, GpuProcess, Process},
};

use crate::look::{Look, at, spark, token};

const GIB: u64 = 1 << 30;

/// If this failed, a model would be started into memory that it does not fit in, or be refused what it fits in.
#[test]
fn what_a_model_needs_is_the_largest_figure_that_is_known_of_it() {
    let needs = |launcher: &str, model: &str, peaks: &[u64]| {
        let file = format!("model: own\n{launcher}\nmodels: {{ own: {{ {model}, sparks: [spark1] }} }}");
        let look = Look::new(&file);
        let slot = &look.desired.slots[&Object::main()];
        let own = look.desired.effective(slot, &ModelName::new("own").unwrap()).unwrap();
        let peaks: Vec<u64> = peaks.iter().map(|gib| gib * GIB).collect();
        let (bytes, basis) = need(&own, 100 * GIB, &peaks);
        format!("{}: {basis}", bytes / GIB)
    };
    let script = "vllm: { launcher: { kind: launch-cluster, script: own.sh } }";
    let recipe = "vllm: { launcher: { kind: recipe } }";
    let half = "repo: lab/own, args: { gpu-memory-utilization: 0.5 }";
    for (launcher, model, peaks, expected) in [
        ("", "repo: lab/own", &[][..], "92: the engine's default share"),
        ("", half, &[], "50: gpu-memory-utilization"),
        ("", "repo: lab/own, args: { gpu-memory-utilization: '0.5' }", &[], "50: gpu-memory-utilization"),
        ("", "repo: lab/own, args: { kv-cache-memory-bytes: 10737418240 }", &[], "10: kv-cache-memory-bytes"),
        ("", &format!("{half}, memory_gib: 60"), &[], "60: memory_gib"),
        ("", &format!("{half}, memory_gib: 50"), &[], "50: memory_gib"),
        ("", &format!("{half}, memory_gib: 40"), &[], "50: gpu-memory-utilization"),
        ("", "repo: lab/own, memory_gib: 40", &[], "92: the engine's default share"),
        (script, "repo: lab/own, memory_gib: 40", &[], "40: memory_gib"),
        (script, "repo: lab/own", &[], "92: the engine's default share"),
        (
            recipe,
            "recipe: own, memory_gib: 40, args: { gpu-memory-utilization: 0.5 }",
            &[],
            "50: gpu-memory-utilization",
        ),
        (recipe, "recipe: own, memory_gib: 60, args: { gpu-memory-utilization: 0.5 }", &[], "60: memory_gib"),
        ("", half, &[71], "70: the peak of the last load here"),
        ("", half, &[60, 71, 65], "70: the peak of the last 3 loads here"),
        ("", half, &[51], "50: gpu-memory-utilization"),
        ("", half, &[20], "50: gpu-memory-utilization"),
    ] {
        assert_eq!(needs(launcher, model, peaks), expected, "{launcher} {model} {peaks:?}");
    }
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
    let facts = || Facts {
        memory_available_bytes: 10 * GIB,
        containers: vec![container("goes", 2), container("stays", 5)],
        gpu: Some(Gpu {
            processes: vec![on_gpu("goes", Some(30)), on_gpu("stays", Some(40))],
            ..Gpu::default()
        }),
        ..Facts::default()
    };
    let going = BTreeSet::from(["goes"]);
    let free = |change: fn(&mut Facts)| {
        let mut facts = facts();
        change(&mut facts);
        free_at_most(&facts, &going).map(|bytes| bytes / GIB)
    };
    assert_eq!(free(|_| {}), Some(42));
    assert_eq!(free_at_most(&facts(), &BTreeSet::new()), None, "nothing goes");
    assert_eq!(free(|facts| facts.gpu = None), None);
    assert_eq!(free(|facts| facts.gpu.as_mut().unwrap().processes[0].memory_bytes = None), None);
    assert_eq!(free(|facts| facts.gpu.as_mut().unwrap().processes[1].memory_bytes = None), Some(42));
    assert_eq!(free(|facts| facts.containers[0].processes = None), None);
    assert_eq!(free(|facts| facts.containers[1].processes = None), Some(42));
    assert_eq!(free(|facts| facts.containers[0].running = false), Some(40));
}

/// If this failed, an engine would be started into memory that is not back, or one that could be started would wait for ever.
#[test]
fn the_memory_gate_opens_after_ten_seconds_of_enough_and_closes_for_good_after_five_minutes() {
    let release = |since: i64| Release {
        since: at(since),
        containers: ["old".to_owned()].into(),
        pids: [(spark("spark1"), BTreeSet::from([42]))].into(),
        before: None,
    };
    let gate = |look: &Look, needed_gib: u64, release: Option<&Release>| {
        let name = spark("spark1");
        let facts = &look.sparks[&name];
        released(&name, facts, needed_gib * GIB, 6 * GIB, release, &look.ledger, look.now)
    };
    let watched = |secs: &[i64]| {
        let mut look = Look::new("model: alpha");
        for pause in secs {
            look.later(*pause);
            look.notice();
        }
        look
    };
    assert_eq!(gate(&watched(&[0, 5, 5]), 100, None), Released::Yes);
    assert!(matches!(gate(&watched(&[0, 10]), 100, None), Released::NotYet(_)), "two samples");
    assert!(matches!(gate(&watched(&[0, 5, 4]), 100, None), Released::NotYet(_)), "nine seconds");
    assert!(matches!(gate(&watched(&[0, 31, 5, 4]), 100, None), Released::NotYet(_)), "a break");
    assert_eq!(gate(&watched(&[0, 30, 5]), 100, None), Released::Yes);
    assert_eq!(gate(&watched(&[0, 5, 5]), 104, None), Released::Yes, "110 GiB are just enough");
    assert!(matches!(gate(&watched(&[0, 5, 5]), 105, None), Released::NotYet(_)));
    assert!(
        matches!(gate(&watched(&[0, 5, 5]), 114, None), Released::NotYet(_)),
        "an empty machine has 120 GiB"
    );
    assert!(matches!(gate(&watched(&[0, 5, 5]), 115, None), Released::CannotFit(_)));

    // What was seen before the stop proves nothing.
    assert!(matches!(gate(&watched(&[0, 5, 5]), 100, Some(&release(5))), Released::NotYet(_)));
    assert_eq!(gate(&watched(&[0, 5, 5, 5]), 100, Some(&release(5))), Released::Yes);
    let mut rebooted = watched(&[0, 5, 5]);
    rebooted.facts("spark1").boot_id = "another".into();
    assert!(matches!(gate(&rebooted, 100, None), Released::NotYet(_)));

    let with = |change: fn(&mut Facts)| {
        let mut look = watched(&[0, 290, 5, 5]);
        change(look.facts("spark1"));
        look
    };
    let still_there =
        |facts: &mut Facts| facts.containers.push(Container { id: "old".into(), ..Container::default() });
    let held = |facts: &mut Facts| {
        let process = GpuProcess { pid: 42, name: "x".into(), memory_bytes: None, container: None };
        facts.gpu = Some(Gpu { processes: vec![process], ..Gpu::default() });
    };
    for in_the_way in [still_there as fn(&mut Facts), held] {
        let look = with(in_the_way);
        assert!(matches!(gate(&look, 100, Some(&release(0))), Released::NotYet(_)), "five minutes");
        assert!(matches!(gate(&look, 100, Some(&release(-1))), Released::Never(_)));
    }
    assert!(matches!(gate(&with(|_| {}), 105, Some(&release(-1))), Released::Never(_)));
    // A reboot since then has numbered the processes anew.
    let mut up = with(held);
    for (secs, opens) in [(299, true), (300, false), (301, false)] {
        up.facts("spark1").uptime_secs = secs;
        assert_eq!(gate(&up, 100, Some(&release(0))) == Released::Yes, opens, "up for {secs} s");
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
        look.ledger.launches = [(Object::main(), older), (second(), newer)].into();
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
    look.ledger.launches.get_mut(&Object::main()).unwrap().state = serving;
    look.later(59);
    assert_eq!(given_up(&mut look, "spark1"), None);
    look.later(1);
    assert_eq!(given_up(&mut look, "spark1"), Some(Object::main()));
}
