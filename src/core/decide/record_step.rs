//! What an act means for the ledger: before it is done, and when it is known what came of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::core::model::{
    bot_update::{BotUpdate, UpdateState},
    checked_arguments::CheckedArguments,
    id::ContainerId,
    launch::{FailedAttempts, FailureKind, LONGEST_RETRY, Launch, LaunchFailure, LaunchState, RETRY_AFTER},
    launch_spec::LaunchSpec,
    ledger::{Ledger, LedgerEvent, StepResult},
    object::Object,
    observed::FencingToken,
    restart::ServiceRestarts,
    slot_record::{AdoptedContainer, MemoryRelease},
    step::{FallbackFor, Step},
    transfer::Transfer,
};

impl Ledger {
    /// Before a step: what must be known should this controller die now.
    pub fn intend(&mut self, step: &Step, token: &FencingToken, now: Timestamp) {
        match step {
            Step::Stop { object, spark, container, pids, .. } => {
                let slot = self.slot_mut(object);
                let release = slot.release.get_or_insert_with(|| MemoryRelease {
                    since: now,
                    containers: BTreeSet::new(),
                    pids: BTreeMap::new(),
                    before: None,
                });
                release.since = now;
                release.containers.insert(container.clone());
                release.pids.entry(spark.clone()).or_default().extend(pids);
                // A rank of something else, on another Spark, is not the end of what serves. A failed load stays known as
                // one: what is done about it belongs to that swap.
                if let Some(launch) = &mut slot.launch
                    && launch.group.sparks.contains(spark)
                    && !matches!(launch.state, LaunchState::Failed { .. })
                {
                    if !matches!(launch.state, LaunchState::Stopped { .. }) {
                        release.before = Some(launch.state.clone());
                    }
                    launch.state = LaunchState::Stopped { at: now };
                }
            }
            Step::EndJob { object, job, .. } => {
                // Nobody wants it any more: it did not fail.
                if let Some(launch) = self.launch_mut(object)
                    && launch.token.job() == *job
                {
                    launch.state = LaunchState::Stopped { at: now };
                }
            }
            Step::Launch { object, group, instead_of, .. } => {
                if let Some(failed) = instead_of {
                    self.gave_way(object, failed, now);
                }
                let before =
                    self.slot_mut(object).launch.take().map(|launch| Launch { before: None, ..launch });
                let launch = Launch::new(group.clone(), token.clone(), now, LaunchState::Loading);
                let launch = Launch { before: before.map(Box::new), ..launch };
                self.slot_mut(object).launch = Some(launch);
            }
            Step::Fetch { object, spark, files } | Step::Copy { object, spark, files, .. } => {
                let transfer =
                    Transfer { spark: spark.clone(), job: token.job(), files: files.clone(), at: now };
                self.begin_transfer(object, transfer);
            }
            Step::Update { object, asked, .. } => {
                let (job, state) = (token.job(), UpdateState::Running);
                self.service_mut(object).update = Some(BotUpdate { asked: *asked, job, at: now, state });
            }
            Step::Adopt { .. }
            | Step::Check { .. }
            | Step::Start { .. }
            | Step::Delete { .. }
            | Step::ReserveSpark { .. } => {}
        }
    }

    /// After it.
    pub fn conclude(
        &mut self,
        step: &Step,
        token: &FencingToken,
        came: StepResult,
        what: &str,
        now: Timestamp,
    ) -> Vec<LedgerEvent> {
        let mut noticed = Vec::new();
        match (step, came) {
            (Step::Adopt { object, group, containers, is_loading }, StepResult::Done) => {
                let adopted = containers.iter().zip(&group.sparks).map(|(container, spark)| {
                    let (object, spec) = (object.clone(), group.spec.clone());
                    (container.clone(), AdoptedContainer { object, spark: spark.clone(), spec })
                });
                self.adopted.extend(adopted);
                let mut launch =
                    Launch::new(group.clone(), token.clone(), now, LaunchState::Serving { since: now });
                if *is_loading {
                    // How long it has been at it is not known, and no launcher of ours is.
                    (launch.state, launch.launcher_ended) = (LaunchState::Loading, Some(now));
                    launch.clock_was_set = true;
                } else {
                    self.remember_proven(object, group, now);
                }
                self.slot_mut(object).launch = Some(launch);
            }
            (Step::Check { group, image_id, .. }, came) => {
                let checked = match came {
                    StepResult::Done => CheckedArguments::of(what, now),
                    StepResult::NotDone | StepResult::Failed | StepResult::Unknown => {
                        CheckedArguments::Unknown { why: what.to_owned(), at: now }
                    }
                };
                self.spec_mut(&group.spec).checked.insert(image_id.clone(), checked);
            }
            (Step::Stop { container, .. }, StepResult::Done) => {
                self.adopted.remove(container);
                self.consume_approval(&step.key());
            }
            (Step::Start { object, asked: Some(asked), .. }, StepResult::Done) => {
                self.service_mut(object).restarted = Some(*asked);
                self.consume_approval(&step.key());
            }
            (Step::Update { object, spark, .. }, came) => {
                noticed.extend(self.began_update(object, spark, came, what, now));
                if came == StepResult::Done {
                    self.consume_approval(&step.key());
                }
            }
            (Step::Start { object, container, .. }, StepResult::Done | StepResult::Failed) => {
                let restarts = ServiceRestarts::after(self.service(object).restarts.as_ref(), container, now);
                self.service_mut(object).restarts = Some(restarts);
                if came == StepResult::Done {
                    self.consume_approval(&step.key());
                }
            }
            (Step::EndJob { .. } | Step::Delete { .. }, StepResult::Done) => {
                self.consume_approval(&step.key())
            }
            (Step::Fetch { object, .. } | Step::Copy { object, .. }, came) => {
                self.began_transfer(object, came, what, now);
                if came == StepResult::Done {
                    self.consume_approval(&step.key());
                }
            }
            (Step::Stop { object, container, .. }, StepResult::NotDone) => {
                self.not_stopped(object, container)
            }
            // Unless it was given up meanwhile.
            (Step::Launch { object, group, .. }, StepResult::NotDone) if self.is_loading(object) => {
                self.never_began(object);
                self.refused(object, group, what, now);
            }
            (Step::ReserveSpark { object, group, .. }, StepResult::NotDone | StepResult::Failed) => {
                self.refused(object, group, what, now);
            }
            // A look from before this moment need not show its job.
            (Step::Launch { object, .. }, StepResult::Done | StepResult::Unknown) => {
                if let Some(launch) = self.launch_mut(object).filter(|launch| launch.token == *token) {
                    launch.at = now;
                }
            }
            (Step::Launch { object, .. }, StepResult::Failed) => {
                if let Some(launch) = self.launch(object).cloned() {
                    let state = self.failed(object, &launch.group, what.to_owned(), now, &mut noticed);
                    self.slot_mut(object).launch = Some(Launch { state, before: None, ..launch });
                }
            }
            _ => {}
        }
        noticed
    }

    /// A stop was refused: when none of a slot was done, it is as it was before them.
    fn not_stopped(&mut self, object: &Object, container: &ContainerId) {
        let Some(release) = self.slots.get_mut(object).and_then(|known| known.release.as_mut()) else {
            return;
        };
        release.containers.remove(container);
        if !release.containers.is_empty() {
            return;
        }
        let before = self.slot_mut(object).release.take().and_then(|release| release.before);
        if let (Some(launch), Some(before)) = (self.launch_mut(object), before)
            && matches!(launch.state, LaunchState::Stopped { .. })
        {
            launch.state = before;
        }
    }

    /// A launch was refused before anything was tried: no load failed, and the next try waits a little.
    fn refused(&mut self, object: &Object, group: &LaunchSpec, what: &str, now: Timestamp) {
        let before = self.attempts(object, &group.spec);
        let (failed_loads, refused) = before.map_or((0, 0), |before| (before.failed_loads, before.refused));
        let last =
            LaunchFailure { at: now, what: format!("it was refused: {what}"), kind: FailureKind::Unnamed };
        self.attempted(object, &group.spec, failed_loads, last);
        let pause = RETRY_AFTER.checked_mul(1 << refused.min(10)).unwrap_or(LONGEST_RETRY).min(LONGEST_RETRY);
        if let Some(attempts) = self.attempts_mut(object, &group.spec) {
            attempts.refused = refused + 1;
            attempts.not_before = now.saturating_add(pause).expect("a duration, not a calendar span");
        }
    }

    /// Another model takes over for it: it is not tried again until a person says so.
    fn gave_way(&mut self, object: &Object, failed: &FallbackFor, now: Timestamp) {
        if !self.attempts(object, &failed.spec).is_some_and(FailedAttempts::is_spent) {
            self.give_up(object, &failed.spec, failed.why.clone(), FailureKind::NotStarted, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    use crate::core::model::{
        approval::Approval,
        id::{SeenContainerName, StepKey},
        launch_spec::Liveness,
        name::{ContainerName, ModelName, ServedName, SparkName},
        plan,
        spec_hash::SpecHash,
        transfer::ModelFiles,
    };

    fn group(spec: &str) -> LaunchSpec {
        LaunchSpec {
            model: ModelName::new("m").unwrap(),
            spec: SpecHash::of_label(spec),
            sparks: vec![SparkName::new("spark1").unwrap()],
            container: ContainerName::new("vllm_node").unwrap(),
            port: 8888,
            root: Some("lab/m".into()),
            served_as: vec![ServedName::new("m").unwrap()],
            sign: Liveness::Engine,
            stop: None,
            is_labelled: false,
            log: None,
            prepares: false,
        }
    }

    fn agreed_to(steps: BTreeSet<StepKey>, at: Timestamp) -> Approval {
        Approval { plan: "p".into(), steps, relied_on: Vec::new(), at, by: "alice".into() }
    }

    fn token(sequence: u64) -> FencingToken {
        FencingToken { epoch: 1, sequence, controller: "a".into() }
    }

    fn stop(spark: &str, container: &str) -> Step {
        Step::Stop {
            object: Object::main(),
            spark: SparkName::new(spark).unwrap(),
            container: container.into(),
            name: "vllm_node".into(),
            remove: true,
            grace_secs: 1,
            pids: Vec::new(),
            own: None,
            log: None,
        }
    }

    /// If this failed, clearing a rank that was left on another Spark would count as the end of what serves.
    #[test]
    fn a_stop_on_another_spark_is_not_the_end_of_what_serves() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let token = token(1);
        let group = group("v1-0");
        let serving = LaunchState::Serving { since: now };
        let mut ledger = Ledger::default();
        ledger.slot_mut(&Object::main()).launch =
            Some(Launch::new(group, token.clone(), now, serving.clone()));
        ledger.intend(&stop("spark2", "c1"), &token, now);
        assert_eq!(ledger.launch(&Object::main()).unwrap().state, serving);
        ledger.intend(&stop("spark1", "c1"), &token, now);
        assert_eq!(ledger.launch(&Object::main()).unwrap().state, LaunchState::Stopped { at: now });
    }

    #[test]
    fn ending_a_job_is_the_end_of_its_own_launch_alone() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let token = token(2);
        let mut ledger = Ledger::default();
        let loading = Launch::new(group("v1-0"), token.clone(), now, LaunchState::Loading);
        ledger.slot_mut(&Object::main()).launch = Some(loading);
        let spark = SparkName::new("spark1").unwrap();
        let end = |job: &str| Step::EndJob { object: Object::main(), spark: spark.clone(), job: job.into() };
        ledger.intend(&end("1.1"), &token, now);
        assert!(ledger.is_loading(&Object::main()), "that was an earlier one's");
        ledger.intend(&end("1.2"), &token, now);
        assert_eq!(ledger.launch(&Object::main()).unwrap().state, LaunchState::Stopped { at: now });
    }

    /// If this failed, what cannot be told to a Spark would be tried without a pause, or count as a load that failed.
    #[test]
    fn what_is_refused_waits_longer_each_time_and_a_launch_that_fails_is_a_failed_load() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let token = token(1);
        let (object, spark) = (Object::main(), SparkName::new("spark1").unwrap());
        let group = group("v1-0");
        let mut ledger = Ledger::default();
        let advance =
            Step::ReserveSpark { object: object.clone(), spark, group: group.clone(), needs_bytes: 0 };
        for (came, refused, secs) in
            [(StepResult::NotDone, 1, 20), (StepResult::Failed, 2, 40), (StepResult::NotDone, 3, 80)]
        {
            ledger.conclude(&advance, &token, came, "it is busy", now);
            let attempts = ledger.attempts(&object, &group.spec).unwrap();
            assert_eq!((attempts.refused, attempts.failed_loads), (refused, 0));
            assert_eq!(attempts.not_before.duration_since(now).as_secs(), secs);
        }
        for _ in 0..9 {
            ledger.conclude(&advance, &token, StepResult::Failed, "it is busy", now);
        }
        let attempts = ledger.attempts(&object, &group.spec).unwrap();
        assert_eq!(attempts.not_before.duration_since(now), LONGEST_RETRY);

        let before = Launch::new(group.clone(), token.clone(), now, LaunchState::Stopped { at: now });
        ledger.slot_mut(&object).launch = Some(before);
        let launch =
            Step::Launch { object: object.clone(), group: group.clone(), instead_of: None, needs_bytes: 0 };
        ledger.intend(&launch, &token, now);
        let noticed = ledger.conclude(&launch, &token, StepResult::Failed, "no such program", now);
        assert_eq!(noticed.len(), 1);
        let failed = &ledger.launch(&object).unwrap();
        assert_eq!((&failed.state, &failed.before), (&LaunchState::Failed { at: now, in_load: true }, &None));
        let attempts = ledger.attempts(&object, &group.spec).unwrap();
        assert_eq!((attempts.refused, attempts.failed_loads), (0, 1));
    }

    /// If this failed, what a person agreed to once would be done again without asking.
    #[test]
    fn what_was_agreed_to_is_done_once() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let (object, spark) = (Object::main(), SparkName::new("spark1").unwrap());
        let files =
            ModelFiles { repo: crate::core::model::name::RepoId::new("lab/m").unwrap(), revision: None };
        let (container, name) = (ContainerId::from("c1"), SeenContainerName::from("kokoro"));
        for (came, step) in [
            (StepResult::Done, stop("spark1", "c1")),
            (
                StepResult::Done,
                Step::EndJob { object: object.clone(), spark: spark.clone(), job: "1.1".into() },
            ),
            (
                StepResult::Done,
                Step::Delete { object: object.clone(), spark: spark.clone(), files: files.clone() },
            ),
            (
                StepResult::Done,
                Step::Fetch { object: object.clone(), spark: spark.clone(), files: files.clone() },
            ),
            (StepResult::Failed, Step::Fetch { object: object.clone(), spark: spark.clone(), files }),
            (
                StepResult::Done,
                Step::Start {
                    object: object.clone(),
                    spark: spark.clone(),
                    container: container.clone(),
                    name: name.clone(),
                    asked: None,
                },
            ),
            (StepResult::Failed, Step::Start { object: object.clone(), spark, container, name, asked: None }),
            (StepResult::NotDone, stop("spark1", "c1")),
        ] {
            let mut ledger = Ledger::default();
            let steps = BTreeSet::from([step.key(), "launch kokoro x".into()]);
            ledger.approve(agreed_to(steps, now));
            ledger.intend(&step, &token(1), now);
            assert!(ledger.approved(&step.key(), &[], now), "{step}");
            ledger.conclude(&step, &token(1), came, "x", now);
            assert_eq!(ledger.approved(&step.key(), &[], now), came != StepResult::Done, "{step} {came:?}");
            assert!(ledger.approved(&"launch kokoro x".into(), &[], now), "{step}");
            ledger.conclude(&step, &token(1), StepResult::Done, "x", now);
            ledger.consume_approvals(&"kokoro".parse().unwrap());
            assert!(ledger.approvals.is_empty(), "{step}: nothing is left of it");
        }
        let mut ledger = Ledger::default();
        let steps =
            ["launch vllm x", "stop vllm spark1 c1", "stop vllm-2 spark1 c2"].map(StepKey::from).into();
        ledger.approve(agreed_to(steps, now));
        ledger.consume_approvals(&object);
        let left: Vec<bool> = ["launch vllm x", "stop vllm spark1 c1", "stop vllm-2 spark1 c2"]
            .map(|key| ledger.approved(&key.into(), &[], now))
            .into();
        assert_eq!(left, [false, false, true]);
        let at_the_end = now.saturating_add(plan::LASTS).unwrap();
        assert!(ledger.approved(&"stop vllm-2 spark1 c2".into(), &[], at_the_end));
        let after = at_the_end.saturating_add(SignedDuration::from_secs(1)).unwrap();
        assert!(!ledger.approved(&"stop vllm-2 spark1 c2".into(), &[], after));
    }

    /// If this failed, a stop that Docker refused would pass for the end of what serves.
    #[test]
    fn stops_that_were_not_done_leave_the_slot_as_it_was() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let serving = LaunchState::Serving { since: now };
        let stopping = || {
            let mut ledger = Ledger::default();
            let sparks = ["spark1", "spark2"].map(|name| SparkName::new(name).unwrap()).into();
            let group = LaunchSpec { sparks, ..group("v1-0") };
            ledger.slot_mut(&Object::main()).launch =
                Some(Launch::new(group, token(1), now, serving.clone()));
            for (spark, container) in [("spark1", "c1"), ("spark2", "c2")] {
                ledger.intend(&stop(spark, container), &token(2), now);
            }
            assert!(ledger.is_past_stop(&Object::main()));
            ledger
        };
        let conclude = |ledger: &mut Ledger, spark: &str, container: &str, came: StepResult| {
            ledger.conclude(&stop(spark, container), &token(2), came, "Docker is busy", now);
        };
        let stopped = LaunchState::Stopped { at: now };
        let mut neither = stopping();
        conclude(&mut neither, "spark1", "c1", StepResult::NotDone);
        assert_eq!(neither.launch(&Object::main()).unwrap().state, stopped, "one of two may still be done");
        conclude(&mut neither, "spark2", "c2", StepResult::NotDone);
        assert_eq!(neither.launch(&Object::main()).unwrap().state, serving);
        assert!(neither.slot(&Object::main()).release.is_none() && !neither.is_past_stop(&Object::main()));

        let mut one = stopping();
        conclude(&mut one, "spark1", "c1", StepResult::Done);
        conclude(&mut one, "spark2", "c2", StepResult::NotDone);
        assert_eq!(one.launch(&Object::main()).unwrap().state, stopped);
        assert!(one.is_past_stop(&Object::main()));
        one.launch_mut(&Object::main()).unwrap().state = serving;
        assert!(!one.is_past_stop(&Object::main()), "it serves again");
        one.launch_mut(&Object::main()).unwrap().state = stopped;
        one.slot_mut(&Object::main()).release = None;
        assert!(!one.is_past_stop(&Object::main()), "it was stopped by hand");
    }

    #[test]
    fn a_launch_counts_from_when_it_was_told_and_only_its_own_outcome_counts() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let later = now.saturating_add(SignedDuration::from_secs(30)).unwrap();
        let launch =
            Step::Launch { object: Object::main(), group: group("v1-0"), instead_of: None, needs_bytes: 0 };
        for (sequence, came, at) in
            [(1, StepResult::Done, later), (1, StepResult::Unknown, later), (2, StepResult::Done, now)]
        {
            let mut ledger = Ledger::default();
            ledger.intend(&launch, &token(1), now);
            ledger.conclude(&launch, &token(sequence), came, "", later);
            assert_eq!(ledger.launch(&Object::main()).unwrap().at, at, "{sequence} {came:?}");
            assert!(ledger.is_loading(&Object::main()));
        }
        let mut given_up = Ledger::default();
        given_up.intend(&launch, &token(1), now);
        given_up.slot_mut(&Object::main()).launch.as_mut().unwrap().state = LaunchState::Stopped { at: now };
        let before = given_up.clone();
        given_up.conclude(&launch, &token(1), StepResult::NotDone, "too late", later);
        assert_eq!(given_up, before);
    }

    /// If this failed, a launch that was refused would make the next try look like an edit: with `on_edit: approve` nothing
    /// would serve until a person comes.
    #[test]
    fn a_launch_that_never_began_changes_nothing() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let mut ledger = Ledger::default();
        let stopped = Launch::new(group("v1-0"), token(1), now, LaunchState::Stopped { at: now });
        ledger.slot_mut(&Object::main()).launch = Some(stopped.clone());
        for sequence in [2, 3] {
            let launch = Step::Launch {
                object: Object::main(),
                group: group("v1-1"),
                instead_of: None,
                needs_bytes: 0,
            };
            ledger.intend(&launch, &token(sequence), now);
            assert!(ledger.is_loading(&Object::main()));
            ledger.conclude(&launch, &token(sequence), StepResult::NotDone, "Docker did not answer", now);
            assert_eq!(ledger.launch(&Object::main()), Some(&stopped));
        }
        // One of before is kept, not all of them.
        for sequence in [4, 5, 6] {
            let launch = Step::Launch {
                object: Object::main(),
                group: group("v1-1"),
                instead_of: None,
                needs_bytes: 0,
            };
            ledger.intend(&launch, &token(sequence), now);
            let before = ledger.launch(&Object::main()).unwrap().before.as_ref().unwrap();
            assert_eq!((before.token.sequence == 1, &before.before), (sequence == 4, &None));
        }
    }
}
