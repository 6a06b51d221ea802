//! When the files of a model are brought or deleted.

use spark_control::core::model::{
    launch::{FailureKind, LaunchState},
    ledger::StepResult,
    name::{ModelName, RepoId},
    object::Object,
    plan::Verdict,
    reason::Reason,
    step::Step,
    transfer::{ModelFiles, Transfer},
};

use crate::look::{Look, at, attempts, engine, spark, token};

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
    let renamed: fn(&mut Look) = |look| {
        look.launched("alpha", LaunchState::Loading);
        look.ledger.launch_mut(&Object::main()).unwrap().group.model = ModelName::new("before").unwrap();
    };
    assert_eq!(user("model: beta", renamed), "`before` in `vllm` was loaded from them");
    let by_hand: fn(&mut Look) = |look| look.answers(&engine("alpha"));
    assert_eq!(user("model: beta", by_hand), "what answers as `vllm` was loaded from them");
    assert_eq!(user("model: beta", |look| look.answers(&engine("beta"))), asks);
    let stopped: fn(&mut Look) = |look| look.launched("alpha", LaunchState::Stopped { at: at(0) });
    assert_eq!(user("model: beta", stopped), asks);
    let proven: fn(&mut Look) = |look| look.proven("alpha");
    let fallback = "`alpha` is what `vllm` goes back to when another model fails";
    assert_eq!(user("model: beta", proven), fallback);
}

#[test]
fn files_are_brought_when_it_is_time_and_nobody_does_it_yet() {
    let verdict = |change: fn(&mut Look)| {
        let file = "model: none\nmodels: { alpha: { repo: lab/alpha, revision: abc, sparks: [spark1], weights: present } }";
        let mut look = Look::new(file);
        look.facts("spark1").files.clear();
        look.now = at(100);
        change(&mut look);
        look.work("weights/alpha").unwrap().verdict
    };
    let transfer = |revision: &str| Transfer {
        spark: spark("spark1"),
        job: "1.1".into(),
        files: ModelFiles { repo: RepoId::new("lab/alpha").unwrap(), revision: Some(revision.into()) },
        at: at(90),
    };
    let (same, other) = (transfer("abc"), transfer("def"));
    let object = || Object::weights(&ModelName::new("alpha").unwrap());
    let with = |transfer: &Transfer| {
        let file = "model: none\nmodels: { alpha: { repo: lab/alpha, revision: abc, sparks: [spark1], weights: present } }";
        let mut look = Look::new(file);
        look.facts("spark1").files.clear();
        look.ledger.transfers.insert(object(), transfer.clone());
        look.work("weights/alpha").unwrap().verdict
    };
    assert_eq!(verdict(|_| {}), Verdict::Open);
    assert!(matches!(with(&same), Verdict::Waiting { reason: Reason::Staging, .. }));
    assert_eq!(with(&other), Verdict::Open, "that is another revision");
    fn failed(look: &mut Look, failed_loads: u32, again: i64) {
        let files = ModelFiles { repo: RepoId::new("lab/alpha").unwrap(), revision: Some("abc".into()) };
        let attempts = attempts(failed_loads, FailureKind::Unnamed, again);
        look.ledger.set_attempts(&"weights/alpha".parse().unwrap(), &files.spec(), attempts);
    }
    assert!(matches!(verdict(|look| failed(look, 1, 101)), Verdict::Waiting { reason: Reason::Backoff, .. }));
    assert_eq!(verdict(|look| failed(look, 4, 100)), Verdict::Open);
    assert!(matches!(verdict(|look| failed(look, 5, 0)), Verdict::Blocked { reason: Reason::Stalled, .. }));
}

/// If this failed, a transfer that fails would be tried without a pause, or one that never began be waited for.
#[test]
fn a_transfer_that_fails_is_tried_later_and_later_and_one_that_is_lost_at_once() {
    let object = Object::weights(&ModelName::new("alpha").unwrap());
    let files = ModelFiles { repo: RepoId::new("lab/alpha").unwrap(), revision: None };
    let mut look =
        Look::new("model: none\nmodels: { alpha: { repo: lab/alpha, sparks: [spark1], weights: present } }");
    look.facts("spark1").files.clear();
    let fetch = Step::Fetch { object: object.clone(), spark: spark("spark1"), files: files.clone() };
    for (failed, minutes) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16)] {
        look.ledger.intend(&fetch, &token(failed), look.now);
        look.ledger.conclude(&fetch, &token(failed), StepResult::NotDone, "Docker is busy", look.now);
        let attempts = look.ledger.attempts(&object, &files.spec()).unwrap();
        assert_eq!(u64::from(attempts.failed_loads), failed);
        assert_eq!(attempts.not_before.duration_since(look.now).as_mins(), minutes);
        assert_eq!(attempts.last.what, "it was not started: Docker is busy");
        assert!(look.ledger.transfers.is_empty());
    }
    look.ledger.attempts.clear();
    // It was told a while after it was meant to be; a look from before that need not show its job.
    look.ledger.intend(&fetch, &token(9), look.now);
    look.later(30);
    look.ledger.conclude(&fetch, &token(9), StepResult::Done, "", look.now);
    look.notice();
    assert_eq!(look.ledger.transfers.len(), 1, "seen at the same moment");
    look.facts("spark1").at = at(10);
    look.notice();
    assert_eq!(look.ledger.transfers.len(), 1, "seen before");
    look.later(1);
    look.notice();
    assert!(look.ledger.transfers.is_empty(), "its message never arrived");
    assert!(look.ledger.attempts.is_empty());
}
