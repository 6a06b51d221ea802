//! When a plan that was shown is still the one to carry out, and what people are told meanwhile.

use std::slice::from_ref;

use jiff::SignedDuration;
use spark_control::core::model::{
    approval::Approval,
    files::FilesSeen,
    image::ImageSeen,
    launch::{FailureKind, LaunchState},
    name::ServiceName,
    object::Object,
    observed::{Endpoint, EndpointAnswer, EngineAnswer, EngineLoad, ServiceAnswer},
    plan::{LASTS, Plan, Verdict},
    reason::Reason,
    step::Step,
};

use crate::look::{Look, at, attempts, release, spark};

fn steps(plan: &Plan) -> Vec<Step> {
    plan.work.iter().flat_map(|work| work.steps()).map(|planned| planned.step.clone()).collect()
}

/// If this failed, a plan would be carried out on something else than was shown, or be refused for what it did itself.
#[test]
fn a_plan_goes_stale_by_what_others_do_and_not_by_its_own_steps() {
    let mut look = Look::new("model: beta");
    look.launched("alpha", LaunchState::Serving { since: at(0) });
    let plan = look.plan();
    let [_, stop, launch] = &steps(&plan)[..] else { panic!("{:?}", steps(&plan)) };
    let holds = |look: &Look, done: &[Step]| plan.still_holds(&look.observed(), done, look.now);
    assert_eq!(holds(&look, &[]), Ok(()));

    look.facts("spark1").containers[0].running = false;
    assert_eq!(holds(&look, &[]), Err(vec!["`vllm_node` on `spark1` is stopped now".into()]));
    look.facts("spark1").containers[0].running = true;
    look.facts("spark1").containers[0].id = "another".into();
    assert_eq!(holds(&look, &[]), Err(vec!["`vllm_node` on `spark1` is another container now".into()]));
    look.facts("spark1").containers.clear();
    assert_eq!(holds(&look, &[]), Err(vec!["`vllm_node` is gone from `spark1`".into()]));
    assert_eq!(holds(&look, from_ref(stop)), Ok(()));

    look.stands("spark2", "vllm_node");
    let taken = "there is a container `vllm_node` on `spark2` now";
    assert_eq!(holds(&look, from_ref(stop)), Err(vec![taken.into()]));
    assert_eq!(holds(&look, &[stop.clone(), launch.clone()]), Ok(()));

    let image = |look: &mut Look, id: Option<&str>| {
        look.facts("spark2").images.insert("vllm-node".into(), id.map(ImageSeen::from));
    };
    for other in [Some("sha256:bb"), None] {
        image(&mut look, other);
        let changed = holds(&look, &[stop.clone(), launch.clone()]);
        assert_eq!(changed, Err(vec!["`vllm-node` on `spark2` is another image now".into()]));
    }
    image(&mut look, Some("sha256:aa"));
    look.facts("spark1").boot_id = "another".into();
    let changed = holds(&look, &[stop.clone(), launch.clone()]);
    assert_eq!(changed, Err(vec!["`spark1` has been restarted since".into()]));
    look.silent.insert(spark("spark1"));
    let unknown = "`spark1` cannot be reached, so nothing is known of it";
    assert!(holds(&look, &[]).unwrap_err().contains(&unknown.to_owned()));
}

#[test]
fn a_step_excuses_its_own_container_and_no_other() {
    let file = "model: beta\nservices: { second: { kind: vllm, spark: spark2, port: 8889, model: tiny } }\nmodels:\n  \
                beta: { repo: lab/beta, sparks: [spark2], args: { gpu-memory-utilization: 0.4 } }\n  \
                tiny: { repo: lab/tiny, sparks: [spark2], args: { gpu-memory-utilization: 0.2 } }";
    let mut look = Look::new(file);
    look.facts("spark2").files.insert("lab/tiny".into(), FilesSeen::Whole { weights_bytes: None });
    let plan = look.plan();
    let launches = steps(&plan);
    assert_eq!(launches.len(), 2, "{launches:?}");
    let of = |object: &str| launches.iter().find(|step| step.object().as_str() == object).unwrap().clone();
    look.stands("spark2", "second");
    let holds = |done: Step| plan.still_holds(&look.observed(), &[done], look.now).is_ok();
    assert!(!holds(of("vllm")));
    assert!(holds(of("second")));
}

#[test]
fn a_plan_lasts_a_day() {
    let look = Look::new("model: alpha");
    let plan = look.plan();
    let end = look.now.saturating_add(LASTS).unwrap();
    assert_eq!(plan.still_holds(&look.observed(), &[], end), Ok(()));
    let after = end.saturating_add(SignedDuration::from_secs(1)).unwrap();
    assert!(
        plan.still_holds(&look.observed(), &[], after).unwrap_err()[0]
            .starts_with("it was shown 24 hours ago")
    );
}

#[test]
fn a_plan_is_overtaken_when_something_else_is_wanted_or_nothing_of_it_is_left() {
    let mut look = Look::new("model: alpha");
    let alpha = look.plan();
    assert_eq!(alpha.overtaken_by(&look.plan()), None);
    assert!(alpha.is_waiting() && !alpha.is_blocked(), "{:?}", alpha.work[0].verdict);
    look.edit("model: beta");
    let other = "`vllm` is to hold something else by now";
    assert_eq!(alpha.overtaken_by(&look.plan()).as_deref(), Some(other));
    look.edit("model: alpha");
    look.serves("alpha");
    assert_eq!(alpha.overtaken_by(&look.plan()).as_deref(), Some("nothing of it is left to be done"));
    assert!(!look.plan().is_waiting());
    look.edit("model: none");
    let empty = look.plan();
    assert_eq!(alpha.overtaken_by(&empty).as_deref(), Some("nothing of it is left to be done"));
    assert_eq!(empty.overtaken_by(&empty), None);
}

/// What is in the way by itself is told, not that nothing is done anyway.
#[test]
fn a_policy_does_not_hide_what_is_in_the_way() {
    let reason = |file: &str| {
        let mut look = Look::new(file);
        look.facts("spark1").images.insert("vllm-node".into(), None);
        match look.work("vllm").unwrap().verdict {
            Verdict::Blocked { reason, .. } | Verdict::Waiting { reason, .. } => Some(reason),
            Verdict::Open => None,
        }
    };
    assert_eq!(reason("model: alpha"), Some(Reason::ImageMissing));
    assert_eq!(reason("model: alpha\nreconcile: { suspend: true }"), Some(Reason::ImageMissing));
    assert_eq!(reason("model: beta\nreconcile: { suspend: true }"), Some(Reason::Suspended));
    assert_eq!(reason("model: beta\nreconcile: { on_edit: approve }"), Some(Reason::ApprovalNeeded));
    // Nothing is left to do but to wait.
    let mut loads = Look::new("model: alpha\nreconcile: { suspend: true }");
    loads.launched("alpha", LaunchState::Loading);
    let verdict = loads.work("vllm").unwrap().verdict;
    assert!(matches!(verdict, Verdict::Waiting { reason: Reason::LoadInProgress, .. }), "{verdict:?}");
    // It cannot fit, whoever agrees to it.
    let mut small = Look::new("model: alpha\nreconcile: { on_edit: approve }");
    small.ledger.slot_mut(&Object::main()).release = Some(release(-400, &[]));
    small.facts("spark1").memory_available_bytes = 0;
    let verdict = small.work("vllm").unwrap().verdict;
    assert!(matches!(verdict, Verdict::Blocked { reason: Reason::MemoryStuck, .. }), "{verdict:?}");
}

/// A part of a model's files was enough once.
#[test]
fn what_was_loaded_from_a_part_is_loaded_from_it_again() {
    let mut look = Look::new("model: alpha");
    let missing = "x".to_owned();
    look.facts("spark1").files.insert("lab/alpha".into(), FilesSeen::Partial { missing });
    let is_blocked = |look: &Look| matches!(look.work("vllm").unwrap().verdict, Verdict::Blocked { .. });
    assert!(is_blocked(&look));
    let spec = look.group("alpha").spec;
    look.ledger.learn_load(&spec, Some(60));
    assert!(!is_blocked(&look));
}

/// If this failed, people would be woken for what is being done, or be told that it is over when nobody can see.
#[test]
fn what_differs_is_told_after_two_minutes_once_and_its_end_when_it_is_seen() {
    let mut look = Look::new("model: alpha\nreconcile: { on_drift: report }");
    look.serves("alpha");
    assert_eq!(look.news(&[]), [""; 0]);
    look.facts("spark1").containers[0].running = false;
    look.notice();
    assert_eq!(look.news(&[]), [""; 0]);
    look.later(119);
    assert_eq!(look.news(&[]), [""; 0]);
    look.later(1);
    let drift = "drift vllm: `vllm_node` has stopped on `spark1` instead of `alpha`;";
    let told = look.news(&[]);
    assert!(told.len() == 1 && told[0].starts_with(drift), "{told:?}");
    look.later(60);
    assert_eq!(look.news(&[]), [""; 0]);
    // Nobody can see, or something is being done: what was told stands.
    look.silent.insert(spark("spark1"));
    assert_eq!(look.news(&[]), [""; 0]);
    look.silent.clear();
    look.facts("spark1").containers[0].running = true;
    assert_eq!(look.news(&[Object::main()]), [""; 0]);
    look.answers(&crate::look::engine("alpha"));
    assert_eq!(look.news(&[]), ["drift_ended vllm: it is as the file says again"]);
    assert_eq!(look.news(&[]), [""; 0]);
    // A difference that is being mended has not ended, whichever part of the swap it is in.
    look.facts("spark1").containers[0].running = false;
    look.news(&[]);
    look.later(120);
    assert_eq!(look.news(&[]).len(), 1);
    look.ledger.launch_mut(&Object::main()).unwrap().state = LaunchState::Loading;
    look.facts("spark1").containers[0].running = true;
    assert_eq!(look.news(&[]), ["swap_started vllm: `alpha` is being started"]);

    // What cannot be seen for so long is told too.
    let mut silent = Look::new("model: alpha");
    silent.serves("alpha");
    silent.silent.insert(spark("spark1"));
    assert_eq!(silent.news(&[]), [""; 0]);
    silent.later(120);
    let told = silent.news(&[]);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("drift vllm: `spark1` is not reachable instead of alpha;"), "{told:?}");
}

/// If this failed, people would be told at every look that another model takes over.
#[test]
fn that_another_model_takes_over_is_told_once() {
    let mut look = Look::new("model: beta");
    look.failed("beta", attempts(1, FailureKind::Named, 0));
    look.launched("alpha", LaunchState::Loading);
    look.answers(&EndpointAnswer::Refused);
    look.proven("alpha");
    assert_eq!(look.news(&[]), ["fell_back vllm: going back to `alpha`: no such option"]);
    look.later(5);
    assert_eq!(look.news(&[]), [""; 0]);
}

#[test]
fn a_swap_is_told_from_the_stop_to_its_end_and_is_no_drift() {
    let mut look = Look::new("model: beta");
    look.launched("alpha", LaunchState::Serving { since: at(0) });
    assert_eq!(look.news(&[]), [""; 0]);
    let state = |look: &mut Look, state: LaunchState| {
        look.ledger.launch_mut(&Object::main()).unwrap().state = state;
    };
    // Stopped by hand: nothing is being swapped.
    state(&mut look, LaunchState::Stopped { at: at(0) });
    assert_eq!(look.news(&[]), [""; 0]);
    look.ledger.slot_mut(&Object::main()).release = Some(release(0, &["x"]));
    assert_eq!(look.news(&[]), ["swap_started vllm: `alpha` is stopped for `beta`"]);
    look.facts("spark1").containers.clear();
    look.later(250);
    assert_eq!(look.news(&[]), [""; 0], "it is not where it should be, and that is known");

    look.launched("beta", LaunchState::Loading);
    look.answers(&EndpointAnswer::Refused);
    assert_eq!(look.news(&[]), [""; 0]);
    look.later(950);
    assert_eq!(look.news(&[]), [""; 0]);
    state(&mut look, LaunchState::Failed { at: at(1200), in_load: true });
    assert_eq!(look.news(&[]), ["swap_failed vllm: `beta` failed: its cause is not known any more"]);
    assert_eq!(look.news(&[]), [""; 0]);
    state(&mut look, LaunchState::Loading);
    look.ledger.launch_mut(&Object::main()).unwrap().token.sequence = 7;
    assert_eq!(look.news(&[]), ["swap_started vllm: `beta` is being started"]);
    state(&mut look, LaunchState::Serving { since: at(1200) });
    look.answers(&crate::look::engine("beta"));
    assert_eq!(look.news(&[]), ["swap_finished vllm: `beta` serves"]);
    assert_eq!(look.news(&[]), [""; 0]);
}

#[test]
fn what_waits_for_a_person_is_told_until_it_does_not() {
    let mut look = Look::new("model: alpha");
    look.facts("spark1").images.insert("vllm-node".into(), None);
    assert_eq!(look.news(&[Object::main()]), [""; 0], "something is being done");
    let told = look.news(&[]);
    assert_eq!(told, ["stalled vllm: `spark1` has no image `vllm-node`"]);
    look.silent.insert(spark("spark1"));
    assert_eq!(look.news(&[]), [""; 0]);
    look.silent.clear();
    look.facts("spark1").images.insert("vllm-node".into(), Some("sha256:aa".into()));
    assert_eq!(look.news(&[]), ["stalled_ended vllm: nothing waits for a person any more"]);
    look.answers(&EndpointAnswer::Up(ServiceAnswer::default()));
    assert_eq!(look.news(&[]), [""; 0]);
}

/// If this failed, requests would be cut off that were to get time, or an engine that hangs would be waited for.
#[test]
fn requests_get_their_time_before_a_stop_and_no_more() {
    let swap = |running: f64, waiting: f64, change: fn(&mut EngineAnswer)| {
        let mut look = Look::new("model: beta\nvllm: { drain: 30s }");
        look.serves("alpha");
        let beta = look.group("beta").spec;
        look.ledger.learn_load(&beta, Some(60));
        let EndpointAnswer::Engine(mut engine) = crate::look::engine("alpha") else { panic!() };
        engine.load = Some(EngineLoad { running, waiting, progress: 1.0 });
        engine.moved_at = Some(at(0));
        change(&mut engine);
        look.answers(&EndpointAnswer::Engine(engine));
        look
    };
    let told = |look: &Look| {
        let work = look.work("vllm").unwrap();
        let requests = work.outage.unwrap().requests;
        match work.verdict {
            Verdict::Waiting { reason: Reason::Draining, message } => (requests, message),
            other => (requests, format!("{other:?}")),
        }
    };
    let as_it_is: fn(&mut EngineAnswer) = |_| {};
    let mut busy = swap(2.0, 1.0, as_it_is);
    assert_eq!(told(&busy), (Some(3), "3 requests run; they get 30 s more to end".into()));
    let plan = busy.plan();
    busy.ledger.take_drains(&plan, busy.now);
    busy.now = at(29);
    assert_eq!(told(&busy).1, "3 requests run; they get 1 s more to end");
    let plan = busy.plan();
    busy.ledger.take_drains(&plan, busy.now);
    busy.now = at(30);
    assert_eq!(told(&busy), (Some(3), "Open".into()));
    assert_eq!(told(&swap(0.0, 0.0, as_it_is)), (Some(0), "Open".into()));
    assert_eq!(told(&swap(2.0, 1.0, |engine| engine.healthy = false)), (Some(3), "Open".into()));
    assert_eq!(told(&swap(2.0, 1.0, |engine| engine.load = None)), (None, "Open".into()));
    let mut blocked = swap(2.0, 1.0, as_it_is);
    blocked.edit("model: beta\nvllm: { drain: 30s }\nreconcile: { on_edit: approve }");
    assert!(told(&blocked).1.starts_with("Blocked"), "{}", told(&blocked).1);
}

/// If this failed, an image that was built after a person agreed would be started in place of the one that they agreed to.
#[test]
fn what_was_agreed_to_is_for_the_image_that_was_seen() {
    let mut look = Look::new("model: beta\nreconcile: { on_edit: approve }");
    let plan = look.plan();
    let blocked = |look: &Look| {
        let verdict = look.work("vllm").unwrap().verdict;
        matches!(verdict, Verdict::Blocked { reason: Reason::ApprovalNeeded, .. })
    };
    assert!(blocked(&look));
    look.ledger.approve(Approval::of(&plan, "alice", look.now));
    assert!(!blocked(&look));
    assert!(plan.covers(&look.work("vllm").unwrap()));
    look.facts("spark2").images.insert("vllm-node".into(), Some("sha256:bb".into()));
    assert!(blocked(&look));
    assert!(!plan.covers(&look.work("vllm").unwrap()));
    look.facts("spark2").images.insert("vllm-node".into(), Some("sha256:aa".into()));
    look.facts("spark1").images.insert("vllm-node".into(), Some("sha256:bb".into()));
    assert!(!blocked(&look), "it is not started there");

    // Two slots with an image each: the one is not taken for another version of the other.
    let mut two = Look::new(
        "model: beta\nreconcile: { on_edit: approve }\n\
         services: { second: { kind: vllm, spark: spark2, port: 8889, model: tiny } }\nmodels:\n  \
         beta: { repo: lab/beta, sparks: [spark2], args: { gpu-memory-utilization: 0.4 } }\n  \
         tiny: { repo: lab/tiny, image: other, sparks: [spark2], args: { gpu-memory-utilization: 0.2 } }",
    );
    two.facts("spark2").images.insert("other".into(), Some("sha256:cc".into()));
    two.facts("spark2").files.insert("lab/tiny".into(), FilesSeen::Whole { weights_bytes: None });
    assert!(blocked(&two));
    two.ledger.approve(Approval::of(&two.plan(), "alice", two.now));
    assert!(!blocked(&two));
}

/// If this failed, a service that is only watched would be down for a night, and nobody be told.
#[test]
fn a_watched_service_that_is_down_is_told_after_two_minutes() {
    let mut look = Look::new("model: none\nservices: { tts: { kind: tts, spark: spark1, port: 8880 } }");
    let tts = Object::service(&ServiceName::new("tts").unwrap());
    let answers = |look: &mut Look, answer: EndpointAnswer| {
        let endpoint = Endpoint { at: look.now, since: look.now, answer };
        look.endpoints.insert(tts.clone(), endpoint);
    };
    answers(&mut look, EndpointAnswer::Refused);
    assert_eq!(look.news(&[]), [""; 0]);
    look.later(121);
    let told = look.news(&[]);
    assert!(told.len() == 1 && told[0].starts_with("stalled tts: "), "{told:?}");
    look.silent.insert(spark("spark1"));
    assert_eq!(look.news(&[]), [""; 0], "what cannot be seen has not ended");
    look.silent.clear();
    answers(&mut look, EndpointAnswer::Up(ServiceAnswer::default()));
    let told = look.news(&[]);
    assert!(told.len() == 1 && told[0].starts_with("stalled_ended tts"), "{told:?}");
}

/// If this failed, a machine that freezes, or a container that Docker starts again in the middle of a swap, would be a surprise.
#[test]
fn what_is_worth_mending_is_noted_before_a_swap() {
    let mut look = Look::new("model: alpha");
    look.stands("spark1", "vllm_node").restarts = Some("always".into());
    look.facts("spark1").platform.earlyoom = false;
    let notes = look.work("vllm").unwrap().notes.join("\n");
    assert!(notes.contains("`docker update --restart=no vllm_node`"), "{notes}");
    assert!(notes.contains("`sudo apt install earlyoom`"), "{notes}");
}
