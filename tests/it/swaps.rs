//! What is decided about a slot or a service from one look: the conditions that no session and no seed comes to often.

use std::{cell::RefCell, collections::BTreeMap};

use spark_control::core::{
    decide::{schedule, slot_containers::slot_containers, view::View},
    model::{
        launch::{FailureKind, LaunchState},
        name::{ModelName, ServiceName},
        object::Object,
        observed::{EndpointAnswer, Job, JobState, Process},
        plan::{PlannedStep, Predicate, Verdict},
        reason::Reason,
        resolved_model::ResolvedModel,
        restart::ServiceRestarts,
        slot_record::{AdoptedContainer, ProvenModel},
        spec_hash::SpecHash,
        step::Step,
    },
};

use crate::look::{Look, at, attempts, release, spark, token};

const GIB: u64 = 1 << 30;

#[test]
fn what_is_not_needed_any_more_is_forgotten_and_nothing_else() {
    let mut look = Look::new("model: none");
    look.ledger.slot_mut(&Object::main()).release = Some(release(0, &[]));
    look.later(300);
    look.notice();
    assert!(look.ledger.slot(&Object::main()).release.is_some());
    look.later(1);
    look.notice();
    assert!(look.ledger.slot(&Object::main()).release.is_none(), "an empty slot is in the middle of nothing");
    let mut wanted = Look::new("model: alpha");
    wanted.ledger.slot_mut(&Object::main()).release = Some(release(0, &[]));
    wanted.later(301);
    wanted.notice();
    assert!(wanted.ledger.slot(&Object::main()).release.is_some());

    // What was taken over is known until its container is seen to be gone.
    let adopted = || AdoptedContainer {
        object: Object::main(),
        spark: spark("spark1"),
        spec: SpecHash::of_label("v1-0"),
    };
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

    // Failures are known of what the file has.
    let mut failed = Look::new("model: alpha");
    let alpha = failed.group("alpha").spec;
    let gone = SpecHash::of_label("v1-gone");
    for spec in [&alpha, &gone] {
        failed.ledger.set_attempts(&Object::main(), spec, attempts(1, FailureKind::Unnamed, 0));
    }
    failed.notice();
    assert!(failed.ledger.attempts(&Object::main(), &alpha).is_some());
    assert_eq!(failed.ledger.attempts(&Object::main(), &gone), None);

    // What loads took is kept of models that left the file too, up to a bound.
    let mut learned = Look::new("model: alpha");
    let alpha = learned.group("alpha").spec;
    let learn = |learned: &mut Look, spec: &SpecHash| {
        learned.ledger.learn_load(spec, Some(60));
        learned.ledger.spec_mut(spec).peaks.insert(spark("spark1"), vec![GIB]);
    };
    learn(&mut learned, &alpha);
    for number in 1..500 {
        learn(&mut learned, &SpecHash::of_label(&format!("v1-{number}")));
    }
    learned.notice();
    assert_eq!(learned.ledger.specs.len(), 500);
    learn(&mut learned, &SpecHash::of_label("v1-500"));
    learned.notice();
    assert_eq!(learned.ledger.specs.keys().collect::<Vec<_>>(), [&alpha]);
}

#[test]
fn a_deadline_is_written_learned_or_forty_minutes() {
    let deadline = |more: &str, load_secs: &[u64]| {
        let mut look = Look::new(&format!("model: alpha\n{more}"));
        let spec = look.group("alpha").spec;
        if !load_secs.is_empty() {
            load_secs.iter().for_each(|secs| look.ledger.learn_load(&spec, Some(*secs)));
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
    look.failed("alpha", attempts(1, FailureKind::Unnamed, 0));
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
        let restarts = ServiceRestarts { container: container.into(), count, last: at(0) };
        look.ledger.service_mut(&object).restarts = Some(restarts);
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
        let turns = schedule::model_changes(&look.desired, now.parse().unwrap(), 14);
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

/// If this failed, a window would not open on the night on which clocks are set forward, because another one's hour is skipped.
#[test]
fn where_a_clock_skips_an_hour_the_window_whose_time_it_is_opens() {
    let look = Look::new(
        "model: wide\nschedule:\n  a: { from: '02:00', to: '03:00', timezone: Europe/Berlin, model: alpha }\n  \
         b: { from: '03:00', to: '04:00', timezone: Europe/Berlin, model: beta }",
    );
    let open = |at: &str| {
        let found = schedule::open(&Object::main(), &look.desired, at.parse().unwrap());
        found.map(|(name, ..)| name.to_string()).unwrap_or_default()
    };
    // On any night.
    assert_eq!(open("2027-03-27T01:30:00Z"), "a");
    assert_eq!(open("2027-03-27T02:30:00Z"), "b");
    // 02:00 to 03:00 does not come that night.
    assert_eq!(open("2027-03-28T00:59:59Z"), "");
    assert_eq!(open("2027-03-28T01:30:00Z"), "b");
    assert_eq!(open("2027-03-28T02:00:00Z"), "");
    // Alone it has its hour.
    let alone = Look::new(
        "model: wide\nschedule: { a: { from: '02:00', to: '03:00', timezone: Europe/Berlin, model: alpha } }",
    );
    let found = schedule::open(&Object::main(), &alone.desired, "2027-03-28T01:30:00Z".parse().unwrap());
    assert!(found.is_some());
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
        look.ledger.launch_mut(&Object::main()).unwrap().group.spec = SpecHash::of_label("v1-0");
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
        look.launched("beta", LaunchState::Failed { at: at(0), in_load: true });
        look.facts("spark2").containers.clear();
        look.failed("beta", attempts(2, FailureKind::Unnamed, 0));
        look.failed("alpha", attempts(1, FailureKind::Unnamed, 0));
        look.proven("alpha");
        proven(&mut look).image_id = Some("sha256:aa".into());
        change(&mut look);
        look.work("vllm").unwrap().goal
    };
    fn proven(look: &mut Look) -> &mut ProvenModel {
        look.ledger.slots.get_mut(&Object::main()).and_then(|known| known.proven.as_mut()).unwrap()
    }
    assert_eq!(goal(|_| {}), "go back to `alpha`, because `beta` failed");
    assert_eq!(goal(|look| proven(look).image_id = None), "go back to `alpha`, because `beta` failed");
    assert_eq!(goal(|look| look.ledger.attempts.clear()), "start `beta`", "it is tried first");
    let stays = "start `beta`";
    assert_eq!(goal(|look| look.ledger.slot_mut(&Object::main()).proven = None), stays);
    assert_eq!(goal(|look| proven(look).spec = SpecHash::of_label("v1-0")), stays);
    assert_eq!(goal(|look| proven(look).image_id = Some("sha256:bb".into())), stays);
    assert_eq!(goal(|look| proven(look).model = look.group("wide").model), stays);
    assert_eq!(goal(|look| look.proven("beta")), stays);
    let spent: fn(&mut Look) = |look| {
        let spec = look.group("alpha").spec;
        look.ledger.attempts_mut(&Object::main(), &spec).unwrap().failed_loads = 2;
    };
    assert_eq!(goal(spent), stays);
    let failed: fn(&mut Look) = |look| {
        look.ledger.launch_mut(&Object::main()).unwrap().group = look.group("alpha");
    };
    assert_eq!(goal(failed), stays, "it failed to load when it took over");
    let short: fn(&mut Look) = |look| {
        let spec = look.group("beta").spec;
        look.ledger.attempts_mut(&Object::main(), &spec).unwrap().last.kind = FailureKind::BelowFloor;
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
    look.ledger.slot_mut(&Object::main()).release = Some(release(0, &[]));
    look.proven("alpha");
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

/// If this failed, a launcher that nobody wants any more would start what it starts.
#[test]
fn launchers_that_run_for_nothing_are_ended_first() {
    let job = |object: &str, state: JobState| Job {
        id: "1.7".into(),
        object: object.parse().unwrap(),
        spec: SpecHash::of_label("v1-0"),
        token: token(7),
        started_at: at(0),
        state,
        said: Vec::new(),
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
    let standing = slot_containers(
        &object,
        slot,
        View { desired: &look.desired, observed: &observed, ledger: &look.ledger, now: observed.at },
    );
    let names: Vec<&str> = standing.iter().map(|entry| entry.container.name.as_str()).collect();
    assert_eq!(names, ["vllm_node", "aaa", "zzz"]);
}

#[test]
fn the_next_load_begins_at_its_time() {
    let mut look = Look::new("model: alpha");
    look.failed("alpha", attempts(1, FailureKind::Unnamed, 20));
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
        look.ledger.launch_mut(&Object::main()).unwrap().group.spec = SpecHash::of_label("v1-0");
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
    let effective = |launcher: &str, model: &str, use_it: &dyn Fn(&ResolvedModel<'_>)| {
        let launcher = if launcher.is_empty() {
            String::new()
        } else {
            format!("vllm: {{ launcher: {{ {launcher} }} }}")
        };
        let look =
            Look::new(&format!("model: own\n{launcher}\nmodels: {{ own: {{ {model}, sparks: [spark1] }} }}"));
        let slot = &look.desired.slots[&Object::main()];
        use_it(&look.desired.resolved_model(slot, &ModelName::new("own").unwrap()).unwrap());
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
            assert_eq!(own.launch_spec().is_labelled, launcher.starts_with("kind: sparkrun"), "{launcher}");
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

/// If this failed, an empty slot would stop a service that has the name that the slot would use.
#[test]
fn a_container_that_a_service_names_is_the_services_on_its_spark() {
    let stops = |service: &str| {
        let mut look =
            Look::new(&format!("model: none\nservices: {{ tts: {{ kind: tts, port: 1, {service} }} }}"));
        look.stands("spark2", "vllm_node");
        look.work("vllm").is_some()
    };
    assert!(!stops("spark: spark2, container: vllm_node"));
    assert!(stops("spark: spark1, container: vllm_node"));
    assert!(stops("spark: spark2, container: tts"));
}

/// If this failed, a plan would be agreed to, or called stale, by something that it has nothing to do with.
#[test]
fn work_says_for_whom_it_is_and_what_it_relies_on() {
    // A hold keeps what served; the wish is another one.
    let mut held = Look::new("model: beta\nholds: { talk: { owner: alice, reason: a talk } }");
    held.launched("alpha", LaunchState::Failed { at: at(0), in_load: false });
    held.facts("spark1").containers.clear();
    let work = held.work("vllm").unwrap();
    assert_eq!((work.goal.as_str(), work.wanted), ("start `alpha`", Some(held.group("alpha").spec)));

    let relies_on = |look: &Look| {
        let work = look.work("vllm").unwrap();
        let container =
            |one: &Predicate| matches!(one, Predicate::Container { spark, .. } if spark.as_str() == "spark1");
        (work.goal.clone(), work.contingency, work.relies_on.iter().any(container))
    };
    let mut short = Look::new("model: alpha");
    short.launched("alpha", LaunchState::Serving { since: at(0) });
    let (desired, now) = (short.desired.clone(), short.now);
    for _ in 0..3 {
        short.ledger.watch_floor(&spark("spark1"), 1, &desired, now);
    }
    let stop = "stop `alpha`, for which there is too little memory";
    assert_eq!(relies_on(&short), (stop.into(), true, true));
    assert!(short.work("vllm").unwrap().outage.is_some(), "it has a price too");

    let mut stalled = Look::new("model: alpha");
    stalled.launched("alpha", LaunchState::Failed { at: at(0), in_load: true });
    stalled.answers(&EndpointAnswer::Refused);
    stalled.failed("alpha", attempts(1, FailureKind::Named, 0));
    assert_eq!(relies_on(&stalled), ("clear what is left of `alpha`, which failed".into(), true, true));

    let mut left = Look::new("model: beta");
    left.serves("beta");
    left.ours("spark1", "vllm_node", &SpecHash::of_label("v1-0"));
    assert_eq!(relies_on(&left), ("clear what is left of an earlier model".into(), false, true));
    let mut swap = Look::new("model: beta");
    swap.serves("alpha");
    assert_eq!(relies_on(&swap), ("swap `alpha` for `beta`".into(), false, true));
    assert!(!swap.work("vllm").unwrap().memory.is_empty());
    swap.edit("model: none");
    assert_eq!(relies_on(&swap), ("keep the slot empty".into(), false, true));
}
