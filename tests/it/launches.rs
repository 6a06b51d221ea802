//! What looks mean for a launch: still loading, ready, failed, lost; case by case.

use std::sync::Arc;

use spark_control::core::{
    decide::cause::{NO_CAUSE, is_aftermath},
    model::{
        files::FilesSeen,
        launch::{FailedAttempts, FailureKind, Launch, LaunchState, MAX_DEATHS},
        object::Object,
        observed::{EndpointAnswer, FencingToken, Job, JobState, LoadSeen, ServiceAnswer},
        plan::Verdict,
        progress::{LoadPhase, LoadProgress},
        reason::Reason,
    },
};

use crate::look::{Look, at, attempts, engine, release, spark, token};

/// A launch at second 0 whose launcher runs.
fn loading(model: &str) -> Look {
    let mut look = Look::new(&format!("model: {model}"));
    look.launched(model, LaunchState::Loading);
    look.answers(&EndpointAnswer::Refused);
    let spec = look.group(model).spec;
    let head = look.group(model).head().clone();
    look.facts(head.as_str()).token = Some(token(1));
    look.facts(head.as_str()).jobs.push(Job {
        id: "1.1".into(),
        object: Object::main(),
        spec,
        token: token(1),
        started_at: at(0),
        state: JobState::Running,
        said: Vec::new(),
    });
    look
}

fn says(look: &mut Look, on: &str, gave_up: bool, log: &str) {
    let progress = LoadProgress { phase: LoadPhase::Starting, shards: None, gave_up };
    let seen = LoadSeen { container: "c".into(), progress, log: Arc::from(log) };
    look.loads.entry(Object::main()).or_default().insert(spark(on), seen);
}

/// What was told of the last look.
fn told(look: &mut Look) -> String {
    look.notice().into_iter().map(|noticed| format!("{}: {}", noticed.kind, noticed.message)).collect()
}

fn tried(look: &Look, model: &str) -> Option<(u32, FailureKind)> {
    let attempts = look.ledger.attempts(&Object::main(), &look.group(model).spec)?;
    Some((attempts.failed_loads, attempts.last.kind))
}

#[test]
fn a_load_ends_when_it_is_ready_at_its_deadline_or_when_the_engine_gives_up() {
    let mut ready = loading("alpha");
    ready.later(90);
    ready.answers(&engine("alpha"));
    assert_eq!(told(&mut ready), "ready: `alpha` is ready after 90 s");
    let mut tight_lipped = loading("alpha");
    tight_lipped.later(90);
    let mut answer = engine("alpha");
    let EndpointAnswer::Engine(said) = &mut answer else { unreachable!("made as one") };
    said.models[0].root = None;
    tight_lipped.answers(&answer);
    assert_eq!(
        told(&mut tight_lipped),
        "ready: `alpha` is ready after 90 s; it does not tell which files it loaded (`root`), so its names and its command line count"
    );
    assert_eq!(ready.state(), LaunchState::Serving { since: at(90) });
    assert_eq!(ready.ledger.specs.values().next().unwrap().load_secs, [90]);

    let mut late = loading("alpha");
    late.later(2400);
    assert_eq!(told(&mut late), "");
    assert_eq!(late.state(), LaunchState::Loading);
    late.later(1);
    let what = "failed: `alpha` failed: it was not ready within 40 min: the engine does not listen yet";
    assert_eq!(told(&mut late), what);
    assert_eq!(tried(&late, "alpha"), Some((1, FailureKind::Unnamed)));

    // A silent Spark proves nothing: at the deadline it is left alone.
    let mut unseen = loading("alpha");
    unseen.silent.insert(spark("spark1"));
    unseen.later(2400);
    assert_eq!(told(&mut unseen), "");
    unseen.later(1);
    let what = "unseen: `alpha` was not seen to be ready within 40 min (`spark1` is not reachable); it is left alone";
    assert_eq!(told(&mut unseen), what);
    assert_eq!(unseen.state(), LaunchState::Unseen { at: at(2401) });
    unseen.silent.clear();
    unseen.answers(&engine("alpha"));
    unseen.notice();
    assert_eq!(unseen.state(), LaunchState::Serving { since: at(2401) });

    for answer in [EndpointAnswer::Refused, EndpointAnswer::Silent { why: "no answer".into() }] {
        let mut gives_up = loading("alpha");
        gives_up.later(30);
        gives_up.answers(&answer);
        says(&mut gives_up, "spark1", true, "vllm serve: error: unrecognized arguments: --x");
        let what =
            "failed: `alpha` failed: the engine gave up on `spark1`: error: unrecognized arguments: --x";
        assert_eq!(told(&mut gives_up), what);
        assert_eq!(tried(&gives_up, "alpha"), Some((1, FailureKind::Named)));
    }
    // What an engine that serves once said is past.
    let mut serving = Look::new("model: alpha");
    serving.serves("alpha");
    serving.answers(&EndpointAnswer::Refused);
    says(&mut serving, "spark1", true, "ValueError: once");
    assert_eq!(told(&mut serving), "");
}

/// If this failed, the blame would be on the Spark that only tells that another one is gone.
#[test]
fn of_several_ranks_the_one_that_names_the_cause_is_quoted() {
    let cause = |first: Option<&str>, second: Option<&str>| {
        let mut look = loading("wide");
        look.later(30);
        says(&mut look, "spark1", first.is_some(), first.unwrap_or_default());
        says(&mut look, "spark2", second.is_some(), second.unwrap_or_default());
        told(&mut look).replace("failed: `wide` failed: the engine gave up on ", "")
    };
    let (aftermath, memory) =
        ("RuntimeError: NCCL error: unhandled system error", "MemoryError: out of memory");
    let wordless = "its engine ended without a word, as one does that is killed";
    assert!(is_aftermath(aftermath) && !is_aftermath(memory));
    assert_eq!(cause(Some(aftermath), Some(memory)), format!("`spark2`: {memory}"));
    assert_eq!(cause(Some(memory), Some(aftermath)), format!("`spark1`: {memory}"));
    assert_eq!(cause(Some("EngineDeadError"), Some(memory)), format!("`spark2`: {memory}"));
    assert_eq!(cause(Some(aftermath), Some(aftermath)), format!("`spark1`: {aftermath}"));
    assert_eq!(cause(Some(aftermath), None), format!("`spark2`: {wordless}"));
    assert_eq!(cause(None, Some(aftermath)), format!("`spark1`: {wordless}"));
    assert_eq!(cause(Some("EngineDeadError"), None), format!("`spark1`: {NO_CAUSE}"));
    assert_eq!(cause(None, None), "");
}

/// If this failed, an engine that dies after it served would be started again without a word of why.
#[test]
fn what_served_tells_why_it_ended() {
    let died = |model: &str, on: &str, log: &str| {
        let mut look = Look::new(&format!("model: {model}"));
        look.serves(model);
        look.proven(model);
        look.later(60);
        for spark in look.group(model).sparks.clone() {
            look.facts(spark.as_str()).containers[0].processes = Some(Vec::new());
        }
        look.answers(&EndpointAnswer::Refused);
        says(&mut look, on, true, log);
        told(&mut look)
    };
    let log = "INFO:     Application startup complete.\n\
               ERROR 11-25 07:00:00 [serving.py:1] ValueError: this request is too long\n\
               (EngineCore_0 pid=9) ERROR 11-25 09:00:00 [core.py:700] EngineCore encountered a fatal error.\n\
               (EngineCore_0 pid=9) ERROR 11-25 09:00:00 [core.py:700] torch.AcceleratorError: CUDA error: an illegal memory access\n\
               (APIServer pid=1) ERROR 11-25 09:00:01 [async_llm.py:480] vllm.v1.engine.exceptions.EngineDeadError: EngineCore \
               encountered an issue. See stack trace (above) for the root cause.\n";
    let why = "AcceleratorError: CUDA error: an illegal memory access";
    let told = died("alpha", "spark1", log);
    assert!(told.contains(&format!("no engine runs in `vllm_node` on `spark1`: {why};")), "{told}");
    let told = died("wide", "spark2", log);
    assert!(
        told.contains(&format!("no engine runs in `vllm_node` on `spark1`; on `spark2`: {why};")),
        "{told}"
    );
}

/// If this failed, a model whose weights were deleted since would be stopped for, because it loaded once; or one that loads without a
/// tokenizer of its own never again.
#[test]
fn what_a_model_did_without_once_is_not_missed_and_what_went_since_is() {
    let lacking = || FilesSeen::Lacking { what: "a tokenizer".into() };
    let partial = |missing: &str| FilesSeen::Partial { missing: missing.into() };
    let whole = || FilesSeen::Whole { weights_bytes: Some(1 << 30) };
    let is_missed = |then: Option<FilesSeen>, now: FilesSeen| {
        let mut look = loading("alpha");
        look.facts("spark1").files.clear();
        look.facts("spark1").files.extend(then.map(|then| ("lab/alpha".to_owned(), then)));
        look.later(90);
        look.answers(&engine("alpha"));
        assert_eq!(told(&mut look), "ready: `alpha` is ready after 90 s");
        // Then it is gone, and to be loaded again.
        look.facts("spark1").files.insert("lab/alpha".into(), now);
        look.facts("spark1").containers.clear();
        look.facts("spark1").jobs.clear();
        look.endpoints.clear();
        look.ledger.slots.values_mut().for_each(|slot| slot.launch = None);
        let verdict = look.work("vllm").unwrap().verdict;
        matches!(verdict, Verdict::Blocked { reason: Reason::FilesMissing, .. })
    };
    assert!(!is_missed(Some(whole()), whole()));
    assert!(!is_missed(Some(lacking()), lacking()));
    assert!(is_missed(Some(whole()), lacking()));
    assert!(is_missed(Some(lacking()), partial("model-00002-of-00002.safetensors")));
    assert!(is_missed(Some(partial("1 file")), partial("2 files")));
    assert!(!is_missed(None, lacking()), "nobody saw what it loaded from");
}

#[test]
fn a_load_is_as_far_as_its_slowest_rank_and_does_not_go_back() {
    let mut look = loading("wide");
    let mut seen = |first: (LoadPhase, Option<(u32, u32)>), second: (LoadPhase, Option<(u32, u32)>)| {
        look.later(5);
        for (on, (phase, shards)) in [("spark1", first), ("spark2", second)] {
            let progress = LoadProgress { phase, shards, gave_up: false };
            let seen = LoadSeen { container: "c".into(), progress, log: "".into() };
            look.loads.entry(Object::main()).or_default().insert(spark(on), seen);
        }
        look.notice();
        let progress = look.ledger.launch(&Object::main()).unwrap().progress.clone().unwrap();
        (progress.phase, progress.shards)
    };
    let weights = |shards| (LoadPhase::Weights, Some((shards, 9)));
    assert_eq!(seen((LoadPhase::Starting, None), weights(3)), (LoadPhase::Starting, None));
    assert_eq!(seen(weights(4), weights(3)), weights(3));
    assert_eq!(seen(weights(2), weights(5)), weights(3), "a log that was turned over");
    assert_eq!(seen(weights(4), weights(5)), weights(4));
}

/// If this failed, somebody who watches a load would not know whether to wait on, or why another model than the file's loads.
#[test]
fn a_load_says_how_it_compares_and_what_it_is_for() {
    let message = |look: &mut Look| {
        look.notice();
        match look.work("vllm").unwrap().verdict {
            Verdict::Waiting { reason: Reason::LoadInProgress, message } => message,
            other => panic!("{other:?}"),
        }
    };
    let mut look = loading("alpha");
    let spec = look.group("alpha").spec;
    look.ledger.learn_load(&spec, Some(60));
    says(&mut look, "spark1", false, "");
    look.later(30);
    assert_eq!(message(&mut look), "starting; 30 s of about 60");
    look.later(60);
    assert_eq!(message(&mut look), "starting; 90 s, longer than the usual 60 s");

    let mut look = loading("alpha");
    look.proven("alpha");
    look.edit("model: beta");
    look.failed("beta", attempts(5, FailureKind::Named, 0));
    assert_eq!(
        message(&mut look),
        "the engine does not listen yet; it takes over, because `beta` failed: no such option"
    );
}

/// If this failed, a launch would wait for a launcher that is gone, or be given up while it is at work.
#[test]
fn a_launcher_has_ten_minutes_and_its_engine_twenty_seconds_after_it() {
    let gone = |secs: i64, state: JobState| {
        let mut look = loading("alpha");
        look.facts("spark1").containers.clear();
        look.later(secs);
        look.facts("spark1").jobs[0].state = state;
        (told(&mut look), look)
    };
    assert_eq!(gone(600, JobState::Running).0, "");
    let what = "failed: `alpha` failed: the launcher had started no engine after 10 min";
    assert_eq!(gone(601, JobState::Running).0, what);

    let (first, mut look) = gone(5, JobState::Exited(1));
    assert_eq!(first, "");
    look.facts("spark1").jobs[0].said = vec!["Error: no such image".into()];
    look.later(19);
    assert_eq!(told(&mut look), "");
    look.later(1);
    let what = "failed: `alpha` failed: `vllm_node` is not running on `spark1`; its launcher said: Error: no such image";
    assert_eq!(told(&mut look), what);

    // Its engine's log has the cause, on the Spark that is at fault or on another one.
    for (model, on, cause) in [
        ("alpha", "spark1", "no engine runs in `vllm_node` on `spark1`: ValueError: no such file"),
        (
            "wide",
            "spark2",
            "no engine runs in `vllm_node` on `spark1`; on `spark2`: ValueError: no such file",
        ),
    ] {
        let mut look = loading(model);
        look.facts("spark1").jobs[0].state = JobState::Exited(0);
        look.facts("spark1").containers[0].processes = Some(Vec::new());
        look.later(5);
        assert_eq!(told(&mut look), "");
        says(&mut look, on, false, "INFO x\nValueError: no such file\n");
        look.later(20);
        assert_eq!(told(&mut look), format!("failed: `{model}` failed: {cause}"));
    }
}

/// What a script prepares takes its time, unless an engine has given up already.
#[test]
fn an_engine_that_gave_up_is_not_waited_for() {
    let ended = |gave_up: bool| {
        let mut look = loading("alpha");
        look.edit(
            "model: alpha\nvllm: { launcher: { kind: launch-cluster, script: own.sh } }\n\
             models: { alpha: { repo: lab/alpha, sparks: [spark1] } }",
        );
        let group = look.group("alpha");
        look.ledger.launch_mut(&Object::main()).unwrap().group = group.clone();
        let container = &mut look.facts("spark1").containers[0];
        container.labels.as_mut().unwrap().spec = group.spec;
        container.processes.as_mut().unwrap()[0].command = "pip install x".into();
        look.facts("spark1").jobs[0].state = JobState::Exited(0);
        look.later(5);
        look.notice();
        says(&mut look, "spark1", gave_up, "");
        look.later(20);
        look.notice();
        look.state() != LaunchState::Loading
    };
    assert!(!ended(false));
    assert!(ended(true));
}

/// If this failed, a message that never arrived would count as a failed load, or a lost job as one that never began.
#[test]
fn a_launch_whose_message_never_arrived_never_began() {
    let lost = |change: fn(&mut Look)| {
        let mut look = loading("alpha");
        look.facts("spark1").containers.clear();
        look.facts("spark1").jobs.clear();
        look.later(5);
        change(&mut look);
        (told(&mut look), look.ledger.launch(&Object::main()).is_some())
    };
    assert_eq!(lost(|_| {}), ("lost: the launch of `alpha` never began".into(), false));
    // A machine that knows of no token has lost what it knew of jobs too; a look from before the launch knows nothing.
    assert_eq!(lost(|look| look.facts("spark1").token = None), (String::new(), true));
    assert_eq!(lost(|look| look.facts("spark1").at = at(0)), (String::new(), true));
}

#[test]
fn what_serves_is_proven_cleared_of_old_failures_and_lost_when_it_dies() {
    let mut look = Look::new("model: alpha");
    look.serves("alpha");
    look.proven("alpha");
    look.failed("alpha", attempts(1, FailureKind::Unnamed, 0));
    look.ledger.slot_mut(&Object::main()).release = Some(release(0, &["other"]));
    look.later(300);
    look.answers(&engine("alpha"));
    look.notice();
    assert_eq!(look.ledger.slot(&Object::main()).proven.as_ref().unwrap().image_id, Some("sha256:aa".into()));
    assert!(look.ledger.slot(&Object::main()).release.is_some());
    look.later(1);
    look.notice();
    assert!(look.ledger.slot(&Object::main()).release.is_none(), "what was stopped beside it is long gone");
    look.later(3298);
    look.notice();
    assert_eq!(tried(&look, "alpha").unwrap().0, 1);
    look.later(1);
    look.notice();
    assert_eq!(tried(&look, "alpha"), None, "an hour is a clean slate");

    look.facts("spark1").containers[0].running = false;
    assert_eq!(
        told(&mut look),
        "died: `alpha` died: `vllm_node` has stopped on `spark1`; it is started again at once (death 1 of 5 within an hour)"
    );
    assert_eq!(look.state(), LaunchState::Failed { at: at(3600), in_load: false });
    assert_eq!(tried(&look, "alpha").unwrap().0, 0, "no load failed");
    assert!(
        !look.ledger.attempts(&Object::main(), &look.group("alpha").spec).unwrap().is_spent(),
        "it is started again"
    );
}

/// If this failed, two deaths of an engine that loads well would leave the slot empty; or one that dies for ever would be started for
/// ever.
#[test]
fn an_engine_that_dies_after_it_served_has_a_budget_of_its_own() {
    let mut look = Look::new("model: alpha");
    look.serves("alpha");
    let mut messages = Vec::new();
    for death in 1..=MAX_DEATHS {
        look.facts("spark1").containers[0].running = false;
        messages.push(told(&mut look));
        let attempts = look.ledger.attempts(&Object::main(), &look.group("alpha").spec).unwrap();
        assert_eq!((attempts.deaths.len(), attempts.failed_loads), (death, 0));
        assert_eq!(attempts.is_spent(), death == MAX_DEATHS);
        look.facts("spark1").containers[0].running = true;
        look.later(60);
        look.launched("alpha", LaunchState::Serving { since: look.now });
    }
    let ends =
        ["at once", "in 10 s", "in 20 s", "in 40 s", "within an hour, so it is not started again by itself"];
    for (message, end) in messages.iter().zip(ends) {
        assert!(message.contains(end), "{message}");
    }
    // Of one that dies once in a while none is the last.
    let mut look = Look::new("model: alpha");
    look.serves("alpha");
    for _ in 0..3 * MAX_DEATHS {
        look.facts("spark1").containers[0].running = false;
        assert!(told(&mut look).contains("at once"));
        look.facts("spark1").containers[0].running = true;
        look.later(3601);
        look.launched("alpha", LaunchState::Serving { since: look.now });
    }
}

/// If this failed, what an owner is told to edit would change nothing.
#[test]
fn what_no_container_receives_is_an_edit_too() {
    let stalled = |before: &str, after: &str| {
        let mut look = Look::new(before);
        look.failed("alpha", attempts(2, FailureKind::Unnamed, 0));
        look.notice();
        look.notice();
        assert!(tried(&look, "alpha").is_some(), "nothing was edited");
        look.edit(after);
        look.notice();
        tried(&look, "alpha").is_some()
    };
    let model = |more: &str| {
        format!(
            "model: alpha\nmodels: {{ alpha: {{ repo: lab/alpha, sparks: [spark1], {more} args: {{ gpu-memory-utilization: 0.5 }} }} }}"
        )
    };
    assert!(!stalled(&model(""), &model("memory_gib: 40,")));
    assert!(!stalled(&model("memory_gib: 40,"), &model("memory_gib: 30,")));
    assert!(!stalled(&model(""), &format!("vllm: {{ load_deadline: 90m }}\n{}", model(""))));
    assert!(
        stalled(&model(""), &format!("reconcile: {{ interval: 7s }}\n{}", model(""))),
        "that is of nothing"
    );
}

/// If this failed, a stop that nobody knows the outcome of would stay in the books while the model serves on.
#[test]
fn a_stop_that_did_not_happen_is_noticed_unless_it_may_still() {
    let stopped = |containers: &[&str]| {
        let mut look = Look::new("model: alpha");
        look.serves("alpha");
        look.ledger.launch_mut(&Object::main()).unwrap().state = LaunchState::Stopped { at: at(0) };
        look.ledger.slot_mut(&Object::main()).release = Some(release(0, containers));
        look.later(5);
        look.notice();
        look.state()
    };
    assert_eq!(stopped(&["id-of-vllm_node-on-spark1"]), LaunchState::Stopped { at: at(0) });
    assert_eq!(stopped(&["another"]), LaunchState::Serving { since: at(5) });
}

#[test]
fn a_controller_without_a_memory_finds_what_it_started() {
    let found = |change: fn(&mut Look)| {
        let mut look = loading("alpha");
        look.ledger.slots.values_mut().for_each(|slot| slot.launch = None);
        look.facts("spark1").containers[0].started_at = Some(at(0));
        look.later(60);
        change(&mut look);
        look.notice();
        look.ledger.launch(&Object::main()).map(|launch| (launch.state.clone(), launch.at))
    };
    assert_eq!(found(|_| {}), Some((LaunchState::Loading, at(0))));
    assert_eq!(
        found(|look| look.answers(&engine("alpha"))),
        Some((LaunchState::Serving { since: at(60) }, at(60)))
    );
    // It listened and does not answer as it should: that is no load.
    assert_eq!(found(|look| look.answers(&EndpointAnswer::Up(ServiceAnswer::default()))), None);
    assert_eq!(found(|look| look.facts("spark1").containers[0].started_at = None), None);
    assert_eq!(found(|look| look.later(2339)), Some((LaunchState::Loading, at(0))));
    assert_eq!(found(|look| look.later(2340)), None, "no load takes forty minutes");
    assert_eq!(found(|look| look.facts("spark1").containers[0].labels = None), None);
    assert_eq!(found(|look| look.silent.extend([spark("spark1")])), None);

    let mut known = loading("alpha");
    let before: Launch = known.ledger.launch(&Object::main()).unwrap().clone();
    known.facts("spark1").containers[0].labels.as_mut().unwrap().token =
        Some(FencingToken { epoch: 2, sequence: 1, controller: "b".into() });
    known.notice();
    assert_eq!(known.ledger.launch(&Object::main()).unwrap().token, before.token);
}

/// If this failed, the release gate would forget its window, or not see a dip.
#[test]
fn free_memory_is_kept_as_one_sample_a_second_the_lowest_of_it() {
    let mut look = Look::new("model: none");
    let seen = |look: &Look| -> Vec<u64> {
        look.ledger.samples[&spark("spark1")].seen.iter().map(|sample| sample.available_bytes >> 30).collect()
    };
    look.notice();
    for (pause, available, expected) in [
        (0, 50, vec![50]),
        (0, 110, vec![50]),
        (1, 100, vec![50, 100]),
        (30, 90, vec![50, 100, 90]),
        (31, 80, vec![80]),
    ] {
        look.later(pause);
        look.facts("spark1").memory_available_bytes = available << 30;
        look.notice();
        assert_eq!(seen(&look), expected);
    }
    for _ in 0..40 {
        look.later(1);
        look.notice();
    }
    assert_eq!(seen(&look).len(), 32);
    look.facts("spark1").boot_id = "another".into();
    look.later(1);
    look.notice();
    assert_eq!(seen(&look).len(), 1);
}

/// If this failed, what was written down before a clock was set back would be waited for until the clock is there again.
#[test]
fn what_lies_in_the_future_counts_as_of_now() {
    let mut look = loading("alpha");
    let spec = look.group("alpha").spec;
    let refused = FailedAttempts { refused: 5, ..attempts(0, FailureKind::Unnamed, 600) };
    look.failed("alpha", refused.clone());
    look.notice();
    assert!(!look.ledger.launch(&Object::main()).unwrap().clock_was_set, "now is not the future");
    let attempts = look.ledger.attempts(&Object::main(), &spec).cloned().unwrap();
    assert_eq!(FailedAttempts { settings: None, ..attempts }, refused);
    look.later(-100);
    look.notice();
    let launch = &look.ledger.launch(&Object::main()).unwrap();
    assert_eq!((launch.at, launch.clock_was_set), (at(-100), true));
    let attempts = look.ledger.attempts(&Object::main(), &spec).unwrap();
    assert_eq!((attempts.last.at, attempts.not_before), (at(-100), at(-80)));
    look.later(50);
    look.answers(&engine("alpha"));
    assert_eq!(told(&mut look), "ready: `alpha` is ready; the clock was set meanwhile");
    assert!(
        look.ledger.became_ready(&spec) && look.ledger.specs[&spec].load_secs.is_empty(),
        "how long it took is not known"
    );
}
