//! What is decided from one look, case by case: the conditions that no session and no seed comes to often.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use spark_control::core::{
    desired::{Effective, Object, SpecHash},
    launch::{Attempts, Failure, FailureKind, Launch, LaunchState},
    ledger::{Adopted, Proven, Release},
    memory::{Released, free_at_most, need, released},
    name::{ModelName, RepoId, ServiceName},
    observed::{
        Container, Endpoint, EndpointAnswer, Facts, Gpu, GpuProcess, Job, JobState, Process, Proof,
        ServiceAnswer,
    },
    plan::{PlannedStep, Reason, Verdict},
    platform::CacheSeen,
    restart::Restarts,
    schedule,
    standing::standing,
    step::Step,
    weights::{Files, Transfer},
};

use crate::look::{Look, at, engine, spark, token};

const GIB: u64 = 1 << 30;

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
    edited.ledger.launches.get_mut(&Object::main()).unwrap().group.spec = other.clone();
    edited.facts("spark1").containers[0].labels.as_mut().unwrap().spec = other.clone();
    edited.facts("spark1").images.insert("vllm-node".into(), Some("sha256:bb".into()));
    assert_eq!(edited.differences()[..1], ["Config -: `alpha`; `alpha` as it was before the edit"]);
    edited.ledger.launches.get_mut(&Object::main()).unwrap().group = edited.group("beta");
    assert_eq!(edited.differences()[..1], ["Model -: `alpha`; `beta`"]);
    edited.facts("spark1").containers[0].labels = None;
    let strange = "Model -: `alpha`; `vllm_node` (id-of-vllm_n), running";
    assert_eq!(edited.differences()[..1], [strange]);
    edited.ledger.launches.clear();
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
    look.ours("spark1", "lost", &SpecHash::of_label("v1-0")).labels.as_mut().unwrap().object = "gone".into();
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
            look.facts("spark1").caches.clear();
            look.facts("spark1").caches.insert("lab/alpha".into(), CacheSeen::Absent);
        }
        let found = look.differences();
        assert!(found.len() == 1 && found[0].starts_with(told), "{found:?}");
    }
}

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

#[test]
fn what_is_not_needed_any_more_is_forgotten_and_nothing_else() {
    let mut look = Look::new("model: none");
    let release = Release { since: at(0), containers: BTreeSet::new(), pids: BTreeMap::new(), before: None };
    look.ledger.releases.insert(Object::main(), release.clone());
    look.later(300);
    look.notice();
    assert_eq!(look.ledger.releases.len(), 1);
    look.later(1);
    look.notice();
    assert_eq!(look.ledger.releases.len(), 0, "an empty slot is in the middle of nothing");
    let mut wanted = Look::new("model: alpha");
    wanted.ledger.releases.insert(Object::main(), release);
    wanted.later(301);
    wanted.notice();
    assert_eq!(wanted.ledger.releases.len(), 1);

    // What was taken over is known until its container is seen to be gone.
    let adopted =
        || Adopted { object: Object::main(), spark: spark("spark1"), spec: SpecHash::of_label("v1-0") };
    let mut taken = Look::new("model: alpha");
    taken.ledger.adopted.insert("id-of-vllm_node-on-spark1".into(), adopted());
    taken.silent.insert(spark("spark1"));
    taken.notice();
    assert_eq!(taken.ledger.adopted.len(), 1);
    taken.silent.clear();
    taken.stands("spark1", "vllm_node");
    taken.notice();
    assert_eq!(taken.ledger.adopted.len(), 1);
    taken.facts("spark1").containers.clear();
    taken.notice();
    assert_eq!(taken.ledger.adopted.len(), 0);

    // What loads took is kept of models that left the file too, up to a bound.
    let mut learned = Look::new("model: alpha");
    let alpha = learned.group("alpha").spec;
    learned.ledger.load_secs.insert(alpha.to_string(), vec![60]);
    learned.ledger.peaks.insert(format!("{alpha} spark1"), vec![GIB]);
    for number in 1..500 {
        learned.ledger.load_secs.insert(format!("v1-{number}"), vec![60]);
        learned.ledger.peaks.insert(format!("v1-{number} spark1"), vec![GIB]);
    }
    learned.notice();
    assert_eq!((learned.ledger.load_secs.len(), learned.ledger.peaks.len()), (500, 500));
    learned.ledger.load_secs.insert("v1-500".into(), vec![60]);
    learned.notice();
    assert_eq!((learned.ledger.load_secs.len(), learned.ledger.peaks.len()), (1, 500));
    learned.ledger.peaks.insert("v1-500 spark1".into(), vec![GIB]);
    learned.notice();
    assert_eq!((learned.ledger.load_secs.len(), learned.ledger.peaks.len()), (1, 1));
}

#[test]
fn a_deadline_is_written_learned_or_forty_minutes() {
    let deadline = |more: &str, load_secs: &[u64]| {
        let mut look = Look::new(&format!("model: alpha\n{more}"));
        let spec = look.group("alpha").spec;
        if !load_secs.is_empty() {
            look.ledger.load_secs.insert(spec.to_string(), load_secs.to_vec());
        }
        look.ledger.load_deadline(&look.desired.slots[&Object::main()], &spec).as_secs()
    };
    assert_eq!(deadline("", &[]), 2400);
    assert_eq!(deadline("", &[1000]), 3000);
    assert_eq!(deadline("", &[3000, 500, 1000]), 3000, "of the median");
    assert_eq!(deadline("", &[10]), 1200);
    assert_eq!(deadline("vllm: { load_deadline: 5m }", &[1000]), 300);
}

/// If this failed, the ranks of a load that was given up would be waited for, and nothing be started again.
#[test]
fn what_is_left_of_a_failed_load_is_cleared_before_the_next() {
    let mut look = Look::new("model: alpha");
    look.launched("alpha", LaunchState::Failed { at: at(0), in_load: true });
    look.answers(&EndpointAnswer::Refused);
    let spec = look.group("alpha").spec;
    let last = Failure { at: at(-60), what: "x".into(), kind: FailureKind::Unnamed };
    let attempts = Attempts { failed_loads: 1, refused: 0, last, not_before: at(0) };
    look.ledger.attempts.insert(format!("vllm {spec}"), attempts);
    let work = look.work("vllm").unwrap();
    assert_eq!(work.goal, "start `alpha`");
    assert!(work.steps().any(|planned| matches!(planned.step, Step::Stop { .. })), "{:?}", work.items);
}

#[test]
fn a_service_that_does_not_stay_up_is_started_at_its_time_and_five_times() {
    let kokoro = "model: none\nservices: { kokoro: { kind: tts, spark: spark1, port: 8880, container: kokoro, state: running } }";
    let mut look = Look::new(kokoro);
    look.stands("spark1", "kokoro").running = false;
    let object = Object::service(&ServiceName::new("kokoro").unwrap());
    let mut started = |count: u32, container: &str, secs: i64| {
        let restarts = Restarts { container: container.into(), count, last: at(0) };
        look.ledger.restarts.insert(object.clone(), restarts);
        look.now = at(secs);
        look.work("kokoro").unwrap().verdict
    };
    let own = "id-of-kokoro-on-spark1";
    assert!(matches!(started(1, own, 19), Verdict::Waiting { reason: Reason::Backoff, .. }));
    assert_eq!(started(1, own, 20), Verdict::Open);
    assert_eq!(started(1, "another", 0), Verdict::Open);
    assert!(matches!(started(4, own, 159), Verdict::Waiting { reason: Reason::Backoff, .. }));
    assert_eq!(started(4, own, 160), Verdict::Open);
    assert!(matches!(started(5, own, 9999), Verdict::Blocked { reason: Reason::Stalled, .. }));
}

#[test]
fn what_comes_in_a_fortnight_is_told_to_its_last_hour() {
    let turns = |zone: &str, from: &str, to: &str, now: &str| -> Vec<String> {
        let look = Look::new(&format!(
            "model: alpha\nschedule: {{ w: {{ from: '{from}', to: '{to}', timezone: {zone}, model: beta }} }}"
        ));
        let turns = schedule::turns(&look.desired, now.parse().unwrap(), 14);
        turns.into_iter().map(|turn| turn.at.to_string()).collect()
    };
    let daily = turns("UTC", "08:00", "10:00", "2026-11-24T12:00:00Z");
    assert_eq!(daily.len(), 28);
    assert_eq!((daily[0].as_str(), daily[27].as_str()), ("2026-11-25T08:00:00Z", "2026-12-08T10:00:00Z"));
    let opens = turns("UTC", "12:00", "13:00", "2026-11-24T12:00:00Z");
    assert_eq!((opens[0].as_str(), opens[27].as_str()), ("2026-11-24T13:00:00Z", "2026-12-08T12:00:00Z"));
    // Clocks are set forward in between: fourteen days of 24 hours end on the fifteenth date.
    let spring = turns("Europe/Berlin", "00:15", "01:00", "2027-03-20T22:30:00Z");
    assert_eq!(spring.last().unwrap(), "2027-04-03T22:15:00Z");
}

/// If this failed, an outage would be longer than it has to be, or an owner's program be told to stop what it did not start.
#[test]
fn a_stop_knows_how_long_to_wait_what_else_to_call_and_where_the_words_are() {
    let stops = |file: &str, change: fn(&mut Look)| -> Vec<(u32, bool, bool)> {
        let mut look = Look::new(file);
        look.launched("own", LaunchState::Serving { since: at(0) });
        look.edit(&file.replace("model: own", "model: none"));
        change(&mut look);
        let work = look.work("vllm").unwrap();
        let stop = |planned: &PlannedStep| match &planned.step {
            Step::Stop { grace_secs, own, log, .. } => (*grace_secs, own.is_some(), log.is_some()),
            other => panic!("{other:?}"),
        };
        work.steps().map(stop).collect()
    };
    let file = |launcher: &str| {
        format!(
            "model: own\nvllm: {{ launcher: {{ {launcher} }} }}\nmodels: {{ own: {{ repo: lab/own, sparks: [spark1, spark2], \
             args: {{ tensor-parallel-size: 2 }} }} }}"
        )
    };
    let as_it_is: fn(&mut Look) = |_| {};
    let command = file("kind: command, dir: own, start: up.sh, stop: down.sh, image: own");
    assert_eq!(stops(&command, as_it_is), [(10, true, false), (10, false, false)], "on the head");
    let ended: fn(&mut Look) = |look| look.facts("spark1").containers[0].running = false;
    assert_eq!(stops(&command, ended), [(10, false, false), (10, false, false)]);
    let other: fn(&mut Look) = |look| {
        look.ledger.launches.get_mut(&Object::main()).unwrap().group.spec = SpecHash::of_label("v1-0");
    };
    assert_eq!(stops(&command, other), [(10, false, false), (10, false, false)]);
    let idle: fn(&mut Look) = |look| {
        let sleeps = Process { pid: 1, resident_bytes: 0, command: "sleep infinity".into() };
        look.facts("spark2").containers[0].processes.as_mut().unwrap().insert(0, sleeps);
    };
    let plain = file("kind: launch-cluster");
    assert_eq!(stops(&plain, idle), [(10, false, false), (1, false, false)]);
    let sparkrun = file("kind: sparkrun, image: own").replace("repo: lab/own", "recipe: own");
    assert_eq!(stops(&sparkrun, as_it_is), [(10, false, true), (10, false, true)]);
    assert_eq!(stops(&sparkrun, other), [(10, false, false), (10, false, false)]);
}

/// If this failed, something that never proved itself would be started when a model fails, or nothing although it could.
#[test]
fn what_takes_over_is_the_last_that_served_and_nothing_else() {
    let goal = |change: fn(&mut Look)| {
        let mut look = Look::new("model: beta");
        let (alpha, beta) = (look.group("alpha"), look.group("beta"));
        look.launched("beta", LaunchState::Failed { at: at(0), in_load: true });
        look.facts("spark2").containers.clear();
        let attempts = |failed_loads| {
            let last = Failure { at: at(0), what: "no".into(), kind: FailureKind::Unnamed };
            Attempts { failed_loads, refused: 0, last, not_before: at(0) }
        };
        look.ledger.attempts.insert(format!("vllm {}", beta.spec), attempts(2));
        look.ledger.attempts.insert(format!("vllm {}", alpha.spec), attempts(1));
        let (model, spec) = (alpha.model.clone(), alpha.spec.clone());
        let proven = Proven { model, spec, at: at(-600), image_id: Some("sha256:aa".into()) };
        look.ledger.proven.insert(Object::main(), proven);
        change(&mut look);
        look.work("vllm").unwrap().goal
    };
    fn proven(look: &mut Look) -> &mut Proven {
        look.ledger.proven.get_mut(&Object::main()).unwrap()
    }
    assert_eq!(goal(|_| {}), "go back to `alpha`, because `beta` failed");
    assert_eq!(goal(|look| proven(look).image_id = None), "go back to `alpha`, because `beta` failed");
    assert_eq!(goal(|look| look.ledger.attempts.clear()), "start `beta`", "it is tried first");
    let stays = "start `beta`";
    assert_eq!(goal(|look| look.ledger.proven.clear()), stays);
    assert_eq!(goal(|look| proven(look).spec = SpecHash::of_label("v1-0")), stays);
    assert_eq!(goal(|look| proven(look).image_id = Some("sha256:bb".into())), stays);
    assert_eq!(goal(|look| proven(look).model = look.group("wide").model), stays);
    let beta: fn(&mut Look) = |look| {
        let group = look.group("beta");
        *proven(look) = Proven { model: group.model, spec: group.spec, at: at(0), image_id: None };
    };
    assert_eq!(goal(beta), stays);
    let spent: fn(&mut Look) = |look| {
        let key = format!("vllm {}", look.group("alpha").spec);
        look.ledger.attempts.get_mut(&key).unwrap().failed_loads = 2;
    };
    assert_eq!(goal(spent), stays);
    let failed: fn(&mut Look) = |look| {
        look.ledger.launches.get_mut(&Object::main()).unwrap().group = look.group("alpha");
    };
    assert_eq!(goal(failed), stays, "it failed to load when it took over");
    let short: fn(&mut Look) = |look| {
        let key = format!("vllm {}", look.group("beta").spec);
        look.ledger.attempts.get_mut(&key).unwrap().last.kind = FailureKind::BelowFloor;
    };
    assert_eq!(goal(short), stays, "there is too little memory for anything");
    assert_eq!(goal(|look| look.edit("model: beta\nvllm: { on_failure: stall }")), stays);
}

#[test]
fn when_the_wanted_model_cannot_be_started_after_the_stop_the_one_before_comes_back_after_five_minutes() {
    let mut look = Look::new("model: beta");
    look.launched("alpha", LaunchState::Stopped { at: at(0) });
    look.facts("spark1").containers.clear();
    look.facts("spark2").images.insert("vllm-node".into(), None);
    let release = Release { since: at(0), containers: BTreeSet::new(), pids: BTreeMap::new(), before: None };
    look.ledger.releases.insert(Object::main(), release);
    let alpha = look.group("alpha");
    let proven = Proven { model: alpha.model, spec: alpha.spec, at: at(-600), image_id: None };
    look.ledger.proven.insert(Object::main(), proven);
    for pause in [290, 5, 5] {
        look.later(pause);
        look.notice();
    }
    let blocked = |look: &Look| {
        matches!(&look.work("vllm").unwrap().verdict, Verdict::Blocked { reason: Reason::ImageMissing, .. })
    };
    assert!(blocked(&look));
    look.later(1);
    look.notice();
    let work = look.work("vllm").unwrap();
    assert_eq!(
        (work.goal.as_str(), work.verdict),
        ("go back to `alpha`, because `beta` failed", Verdict::Open)
    );
    look.silent.insert(spark("spark1"));
    assert!(blocked(&look), "nobody knows what is there");
}

#[test]
fn a_stop_on_a_silent_spark_is_owed_when_ours_ran_there() {
    let owed = |change: fn(&mut Look)| {
        let mut look = Look::new("model: alpha");
        look.serves("alpha");
        look.ours("spark2", "vllm_node", &SpecHash::of_label("v1-0"));
        look.silent.insert(spark("spark2"));
        change(&mut look);
        look.work("vllm").map(|work| work.verdict)
    };
    assert!(matches!(owed(|_| {}), Some(Verdict::Waiting { reason: Reason::StopOwed, .. })));
    assert_eq!(owed(|look| look.facts("spark2").containers[0].running = false), None);
    assert_eq!(owed(|look| look.facts("spark2").containers[0].labels = None), None);
}

/// If this failed, files would be taken away from under what is loaded from them.
#[test]
fn files_are_not_deleted_while_anything_needs_them() {
    let user = |file: &str, change: fn(&mut Look)| {
        let file = format!(
            "{file}\nmodels:\n  alpha: {{ repo: lab/alpha, sparks: [spark1], weights: absent }}\n  beta: {{ repo: lab/beta, \
             sparks: [spark2] }}\n  local: {{ local_path: /srv/hub/models--lab--alpha/snapshots/c0ffee, sparks: [spark1] }}\n  \
             near: {{ local_path: /srv/hub/models--lab--alphabet, sparks: [spark1] }}"
        );
        let mut look = Look::new(&file);
        change(&mut look);
        match look.work("weights/alpha").unwrap().verdict {
            Verdict::Blocked { reason: Reason::FilesInUse, message } => message,
            other => format!("{other:?}").chars().take(40).collect(),
        }
    };
    let as_it_is: fn(&mut Look) = |_| {};
    let asks = "Blocked { reason: ApprovalNeeded, messag";
    assert_eq!(user("model: beta", as_it_is), asks);
    assert_eq!(user("model: alpha", as_it_is), "`vllm` wants `alpha`");
    assert_eq!(user("model: local", as_it_is), "`vllm` wants `local`");
    assert_eq!(user("model: near", as_it_is), asks);
    let window = "model: beta\nschedule: { night: { from: '01:00', to: '02:00', model: alpha } }";
    assert_eq!(user(window, as_it_is), "the window `night` wants `alpha`");
    let loaded: fn(&mut Look) = |look| look.launched("alpha", LaunchState::Loading);
    assert_eq!(user("model: beta", loaded), "`alpha` in `vllm` was loaded from them");
    let stopped: fn(&mut Look) = |look| look.launched("alpha", LaunchState::Stopped { at: at(0) });
    assert_eq!(user("model: beta", stopped), asks);
    let proven: fn(&mut Look) = |look| {
        let group = look.group("alpha");
        let proven = Proven { model: group.model, spec: group.spec, at: at(0), image_id: None };
        look.ledger.proven.insert(Object::main(), proven);
    };
    let fallback = "`alpha` is what `vllm` goes back to when another model fails";
    assert_eq!(user("model: beta", proven), fallback);
}

/// If this failed, a launcher that nobody wants any more would start what it starts.
#[test]
fn launchers_that_run_for_nothing_are_ended_first() {
    let job = |object: &str, state: JobState| Job {
        id: "1.7".into(),
        object: object.into(),
        spec: SpecHash::of_label("v1-0"),
        token: token(7),
        started_at: at(0),
        state,
        last_words: None,
    };
    let steps = |file: &str, job: Job| -> Vec<String> {
        let mut look = Look::new(file);
        look.facts("spark2").jobs.push(job);
        let Some(work) = look.work("vllm") else { return Vec::new() };
        let told = |planned: &PlannedStep| format!("{}, {:?}", planned.step.key(), planned.consent);
        work.steps().map(told).collect()
    };
    let end = "end-job vllm spark2 1.7, None";
    assert_eq!(steps("model: none", job("vllm", JobState::Running)), [end]);
    assert_eq!(steps("model: none", job("vllm", JobState::Exited(0))), [""; 0]);
    assert_eq!(steps("model: none", job("kokoro", JobState::Running)), [""; 0]);
    assert_eq!(steps("model: alpha", job("vllm", JobState::Running))[0], end);
    let approve = "model: alpha\nreconcile: { on_edit: approve }";
    assert_eq!(steps(approve, job("vllm", JobState::Running))[0], "end-job vllm spark2 1.7, Some(OnEdit)");
    // What is done again because it died is no edit.
    let mut drifted = Look::new(approve);
    drifted.launched("alpha", LaunchState::Failed { at: at(0), in_load: false });
    drifted.facts("spark1").containers.clear();
    drifted.facts("spark2").jobs.push(job("vllm", JobState::Running));
    let work = drifted.work("vllm").unwrap();
    assert_eq!(work.steps().next().unwrap().consent, None, "{:?}", work.items);
}

#[test]
fn the_container_of_the_slots_own_name_comes_first() {
    let mut look = Look::new("model: alpha");
    look.ours("spark1", "aaa", &SpecHash::of_label("v1-0"));
    look.ours("spark1", "vllm_node", &SpecHash::of_label("v1-1"));
    look.ours("spark1", "zzz", &SpecHash::of_label("v1-2"));
    let object = Object::main();
    let (observed, slot) = (look.observed(), &look.desired.slots[&object]);
    let standing = standing(&object, slot, &look.desired, &observed, &look.ledger);
    let names: Vec<&str> = standing.iter().map(|entry| entry.container.name.as_str()).collect();
    assert_eq!(names, ["vllm_node", "aaa", "zzz"]);
}

#[test]
fn a_status_is_of_what_is_and_of_what_is_being_done() {
    let mut look = Look::new("model: alpha");
    assert_eq!(look.status("vllm"), "Drifted Progressing: nothing");
    look.launched("alpha", LaunchState::Loading);
    look.answers(&EndpointAnswer::Refused);
    assert_eq!(look.status("vllm"), "Drifted Progressing: nothing");
    look.edit("model: alpha\nvllm: { suspend: true }");
    assert_eq!(look.status("vllm"), "Drifted Suspended: nothing");
    look.edit("model: alpha");
    look.ledger.launches.get_mut(&Object::main()).unwrap().state = LaunchState::Serving { since: at(0) };
    assert_eq!(look.status("vllm"), "Drifted Missing: nothing", "it hangs: a person decides");
    look.answers(&engine("alpha"));
    assert_eq!(look.status("vllm"), "InSync Healthy: alpha");
    look.edit("model: beta");
    assert_eq!(look.status("vllm"), "Drifted Progressing: alpha");
    look.facts("spark2").images.clear();
    assert_eq!(look.status("vllm"), "Drifted Degraded: alpha", "it goes on serving, and a person is asked");
    look.silent.insert(spark("spark1"));
    look.edit("model: alpha");
    assert_eq!(look.status("vllm"), "Unknown Unknown: alpha");
    look.edit("model: none");
    assert_eq!(look.status("vllm"), "Drifted Progressing: alpha", "it is stopped when its Spark is back");
    look.silent.clear();
    assert_eq!(look.status("vllm"), "Drifted Progressing: alpha");
    look.facts("spark1").containers.clear();
    look.endpoints.clear();
    look.silent.insert(spark("spark1"));
    assert_eq!(look.status("vllm"), "Unknown Unknown: nothing");
    look.silent.clear();
    assert_eq!(look.status("vllm"), "InSync Healthy: nothing");
    look.edit("models: {}");
    assert_eq!(look.status("vllm"), "InSync Missing: nothing");
    look.answers(&engine("alpha"));
    assert_eq!(look.status("vllm"), "InSync Healthy: alpha");
}

#[test]
fn a_status_of_a_service_is_of_its_endpoint_or_its_container() {
    let service = |state: &str, port: &str| {
        let file = format!(
            "model: none\nservices: {{ bot: {{ kind: bot, spark: spark1, container: bot{state}{port} }} }}"
        );
        let mut look = Look::new(&file);
        look.stands("spark1", "bot").processes = Some(Vec::new());
        look
    };
    let bot = || service(", state: running", "");
    assert_eq!(bot().status("bot"), "InSync Healthy: running");
    let mut ended = bot();
    ended.facts("spark1").containers[0].running = false;
    assert_eq!(ended.status("bot"), "Drifted Missing: ended");
    ended.facts("spark1").containers[0].exit_code = Some(3);
    assert_eq!(ended.status("bot"), "Drifted Missing: ended with code 3");
    let mut gone = bot();
    gone.facts("spark1").containers.clear();
    assert_eq!(gone.status("bot"), "Drifted Missing: no container");
    let mut silent = bot();
    silent.silent.insert(spark("spark1"));
    assert_eq!(silent.status("bot"), "Unknown Unknown: `spark1` is not reachable");
    let mut stopped = service(", state: stopped", "");
    assert_eq!(stopped.status("bot"), "Drifted Healthy: running");
    stopped.facts("spark1").containers[0].running = false;
    assert_eq!(stopped.status("bot"), "InSync Healthy: stopped");
    assert_eq!(service("", "").status("bot"), "InSync Healthy: running");
    let answers = |answer: EndpointAnswer| {
        let mut look = service("", ", port: 80");
        let object = Object::service(&ServiceName::new("bot").unwrap());
        look.endpoints.insert(object, Endpoint { at: at(0), since: at(0), answer });
        look.status("bot")
    };
    let up = |proof| EndpointAnswer::Up(ServiceAnswer { proof, ..ServiceAnswer::default() });
    assert_eq!(answers(up(Proof::Proven { at: at(0) })), "InSync Healthy: up");
    assert_eq!(answers(up(Proof::NotTried)), "InSync Progressing: up, not proven yet");
    let failed = Proof::Failed { at: at(0), why: "it speaks nonsense".into() };
    assert_eq!(answers(up(failed)), "InSync Degraded: it answers, but it speaks nonsense");
    assert_eq!(answers(EndpointAnswer::Refused), "InSync Missing: down");
    assert_eq!(answers(EndpointAnswer::Silent { why: "no answer".into() }), "InSync Unknown: no answer");
    assert_eq!(answers(EndpointAnswer::Wrong { why: "404".into() }), "InSync Degraded: 404");
}

#[test]
fn files_are_brought_when_it_is_time_and_nobody_does_it_yet() {
    let verdict = |change: fn(&mut Look)| {
        let file = "model: none\nmodels: { alpha: { repo: lab/alpha, revision: abc, sparks: [spark1], weights: present } }";
        let mut look = Look::new(file);
        look.facts("spark1").caches.clear();
        look.now = at(100);
        change(&mut look);
        look.work("weights/alpha").unwrap().verdict
    };
    let transfer = |revision: &str| Transfer {
        spark: spark("spark1"),
        job: "1.1".into(),
        files: Files { repo: RepoId::new("lab/alpha").unwrap(), revision: Some(revision.into()) },
        at: at(90),
    };
    let (same, other) = (transfer("abc"), transfer("def"));
    let object = || Object::weights(&ModelName::new("alpha").unwrap());
    let with = |transfer: &Transfer| {
        let file = "model: none\nmodels: { alpha: { repo: lab/alpha, revision: abc, sparks: [spark1], weights: present } }";
        let mut look = Look::new(file);
        look.facts("spark1").caches.clear();
        look.ledger.transfers.insert(object(), transfer.clone());
        look.work("weights/alpha").unwrap().verdict
    };
    assert_eq!(verdict(|_| {}), Verdict::Open);
    assert!(matches!(with(&same), Verdict::Waiting { reason: Reason::Staging, .. }));
    assert_eq!(with(&other), Verdict::Open, "that is another revision");
    fn failed(look: &mut Look, failed_loads: u32, again: i64) {
        let files = Files { repo: RepoId::new("lab/alpha").unwrap(), revision: Some("abc".into()) };
        let last = Failure { at: at(0), what: "x".into(), kind: FailureKind::Unnamed };
        let attempts = Attempts { failed_loads, refused: 0, last, not_before: at(again) };
        look.ledger.attempts.insert(format!("weights/alpha {}", files.spec()), attempts);
    }
    assert!(matches!(verdict(|look| failed(look, 1, 101)), Verdict::Waiting { reason: Reason::Backoff, .. }));
    assert_eq!(verdict(|look| failed(look, 4, 100)), Verdict::Open);
    assert!(matches!(verdict(|look| failed(look, 5, 0)), Verdict::Blocked { reason: Reason::Stalled, .. }));
}

#[test]
fn the_next_load_begins_at_its_time() {
    let mut look = Look::new("model: alpha");
    let spec = look.group("alpha").spec;
    let last = Failure { at: at(0), what: "x".into(), kind: FailureKind::Unnamed };
    let attempts = Attempts { failed_loads: 1, refused: 0, last, not_before: at(20) };
    look.ledger.attempts.insert(format!("vllm {spec}"), attempts);
    for pause in [0, 9, 10] {
        look.later(pause);
        look.notice();
    }
    let verdict = |look: &Look| look.work("vllm").unwrap().verdict;
    assert!(matches!(verdict(&look), Verdict::Waiting { reason: Reason::Backoff, .. }));
    look.later(1);
    assert_eq!(verdict(&look), Verdict::Open);
}

/// If this failed, an owner's server would be stopped as if nobody used it.
#[test]
fn what_is_stopped_is_an_outage_when_it_serves() {
    let file = |model: &str| {
        format!(
            "model: {model}\nmodels:\n  own: {{ repo: lab/own, sparks: [spark1], launcher: {{ kind: command, dir: own, start: \
             up.sh, image: vllm-node }} }}\n  beta: {{ repo: lab/beta, sparks: [spark2] }}"
        )
    };
    let outage = |change: fn(&mut Look)| {
        let mut look = Look::new(&file("own"));
        look.launched("own", LaunchState::Serving { since: at(0) });
        look.facts("spark1").containers[0].processes =
            Some(vec![Process { pid: 7, resident_bytes: 0, command: "own-server".into() }]);
        look.edit(&file("beta"));
        change(&mut look);
        let work = look.work("vllm").unwrap();
        (work.goal.clone(), work.outage.is_some())
    };
    assert_eq!(outage(|_| {}), ("swap `own` for `beta`".into(), true));
    assert_eq!(
        outage(|look| look.facts("spark1").containers[0].running = false),
        ("start `beta`".into(), false)
    );
    let other: fn(&mut Look) = |look| {
        look.ledger.launches.get_mut(&Object::main()).unwrap().group.spec = SpecHash::of_label("v1-0");
    };
    assert_eq!(outage(other), ("start `beta`".into(), false), "no engine that is known of runs in it");
    assert_eq!(
        outage(|look| look.facts("spark1").containers[0].processes = None),
        ("swap `own` for `beta`".into(), true)
    );
}

/// If this failed, a container that was started otherwise would pass for what the file says.
#[test]
fn what_a_container_is_started_with_is_part_of_its_identity() {
    let effective = |launcher: &str, model: &str, use_it: &dyn Fn(&Effective<'_>)| {
        let launcher = if launcher.is_empty() {
            String::new()
        } else {
            format!("vllm: {{ launcher: {{ {launcher} }} }}")
        };
        let look =
            Look::new(&format!("model: own\n{launcher}\nmodels: {{ own: {{ {model}, sparks: [spark1] }} }}"));
        let slot = &look.desired.slots[&Object::main()];
        use_it(&look.desired.effective(slot, &ModelName::new("own").unwrap()).unwrap());
    };
    let hashes = RefCell::new(BTreeMap::new());
    for (launcher, model) in [
        ("", "repo: lab/own"),
        ("kind: launch-cluster, ray: true", "repo: lab/own"),
        ("kind: launch-cluster, volumes: [/a:/a]", "repo: lab/own"),
        ("kind: launch-cluster, script: own.sh", "repo: lab/own"),
        ("kind: launch-cluster, script: other.sh", "repo: lab/own"),
        ("kind: docker, image: vllm-node", "repo: lab/own"),
        ("kind: docker, image: vllm-node, volumes: [/a:/a]", "repo: lab/own"),
        ("kind: command, dir: own, start: up.sh, image: vllm-node", "repo: lab/own"),
        ("kind: command, dir: own, start: other.sh, image: vllm-node", "repo: lab/own"),
        ("kind: recipe", "recipe: own"),
        ("kind: recipe, ray: true", "recipe: own"),
        ("kind: sparkrun, image: vllm-node", "recipe: own"),
    ] {
        effective(launcher, model, &|own| {
            let before = hashes.borrow_mut().insert(own.spec_hash().to_string(), launcher.to_owned());
            assert_eq!(before, None, "{launcher} is not told from it");
            assert_eq!(own.group().is_labelled, launcher.starts_with("kind: sparkrun"), "{launcher}");
        });
    }
    effective("kind: launch-cluster", "repo: lab/own", &|own| {
        let hashes = hashes.borrow();
        assert_eq!(hashes[own.spec_hash().as_str()], "", "what was there before there were other kinds");
    });
    let first = |launcher: &str| {
        let found = RefCell::new(String::new());
        effective(launcher, "repo: lab/own", &|own| found.borrow_mut().clone_from(&own.needed()[0].at[0]));
        found.into_inner()
    };
    assert_eq!(first("kind: launch-cluster, script: own.sh"), "spark-vllm-docker/own.sh");
    assert_eq!(first("kind: docker, image: vllm-node, volumes: [/srv/x:/x]"), "/srv/x");
}
