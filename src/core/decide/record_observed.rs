//! What a look means for the ledger: memory samples, services that are as they should be, launches that became ready or
//! failed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::{
    cause,
    memory::{self, RELEASE_DEADLINE},
    readiness::{self, Readiness},
    schedule, service,
    view::View,
};
use crate::core::model::{
    desired::{Desired, Place, Slot, WantedModel},
    event_kind::EventKind,
    files::FilesSeen,
    launch::{
        CLEAN_AFTER, ENGINE_GRACE, FailureKind, KEPT_LOAD_TIMES, LAUNCH_DEADLINE, LOAD_DEADLINE, Launch,
        LaunchFailure, LaunchState, MAX_DEATHS, MemorySeen, PREPARATION,
    },
    launch_spec::{LaunchSpec, Liveness},
    ledger::{Ledger, LedgerEvent},
    memory_samples::{KEPT_SAMPLES, MemorySample, MemorySamples},
    name::SparkName,
    object::Object,
    observed::{Container, EndpointAnswer, JobState, Observed, SparkFacts},
    service_record::ConvergedService,
    slot_record::AdoptedContainer,
    spec_hash::SpecHash,
};

/// Specs that load times and peaks are kept of, when they are not in the file any more.
const KEPT_SPECS: usize = 500;
const SAMPLE_EVERY: SignedDuration = SignedDuration::from_secs(1);
/// While a gate is watched there is a look every two seconds, or every fifteen when another Spark is silent.
const LONGEST_BREAK: SignedDuration = SignedDuration::from_secs(30);

impl Ledger {
    /// Take in what was seen: memory samples, launches that became ready or failed. Of `busy` objects something is being done at
    /// this moment: what was seen of them may be from before it.
    pub fn record_observed(
        &mut self,
        desired: &Desired,
        observed: &Observed,
        busy: &BTreeSet<Object>,
        now: Timestamp,
    ) -> Vec<LedgerEvent> {
        self.set_clock(now);
        for (name, view) in &observed.sparks {
            if let Some(facts) = view.facts() {
                self.sample(name, facts);
                self.adopted.retain(|id, adopted| {
                    adopted.spark != *name || facts.containers.iter().any(|container| container.id == *id)
                });
            }
        }
        let mut noticed = Vec::new();
        self.notice_services(desired, observed, now);
        for (object, slot) in &desired.slots {
            self.find_again(object, slot, desired, observed, now);
        }
        let objects: Vec<Object> = self
            .launches()
            .map(|(object, _)| object)
            .filter(|object| !busy.contains(*object))
            .cloned()
            .collect();
        for object in objects {
            self.notice_launch(&object, desired, observed, now, &mut noticed);
        }
        self.notice_transfers(observed, busy, now, &mut noticed);
        self.notice_updates(observed, now, &mut noticed);
        // An empty slot is not in the middle of anything.
        for (object, slot) in &mut self.slots {
            let wanted = desired.slots.get(object).map(|slot| schedule::wanted(object, slot, desired, now));
            slot.release.take_if(|release| {
                !matches!(wanted, Some(WantedModel::Model(_)))
                    && now.duration_since(release.since) > RELEASE_DEADLINE
            });
        }
        self.forget_what_left_the_file(desired);
        self.drop_empty_records();
        noticed
    }

    /// Specs that no entry of the file has any more. Of what was learned of them some is kept: models come back.
    fn forget_what_left_the_file(&mut self, desired: &Desired) {
        for (spec, record) in &mut self.specs {
            if !record.checked.is_empty() && !is_in_file(spec, desired) {
                record.checked.clear();
            }
        }
        let is_full = self.specs.len() > KEPT_SPECS;
        self.specs.retain(|spec, record| !record.is_empty() && (!is_full || is_in_file(spec, desired)));
        if self.attempts.is_empty() {
            return;
        }
        let specs = desired.slots.iter().flat_map(|(object, slot)| {
            let models = desired.models.keys().filter_map(|model| desired.resolved_model(slot, model));
            models.map(move |model| ((object.clone(), model.spec_hash()), model.settings_hash(desired)))
        });
        let mut specs: BTreeMap<(Object, SpecHash), String> = specs.collect();
        specs.extend(Self::transfer_specs(desired).map(|key| (key, String::new())));
        // What an owner is told to edit counts as an edit, whether or not the container receives it.
        self.attempts.retain(|object, attempts| {
            attempts.retain(|spec, attempts| {
                let Some(settings) = specs.get(&(object.clone(), spec.clone())) else { return false };
                let before = attempts.settings.replace(settings.clone());
                before.is_none_or(|before| before == *settings)
            });
            !attempts.is_empty()
        });
    }

    fn notice_services(&mut self, desired: &Desired, observed: &Observed, now: Timestamp) {
        self.services.retain(|object, _| desired.services.contains_key(object.as_str()));
        // Whoever started it after that time did what was asked for.
        for (name, service) in &desired.services {
            let done = service::restarted(service, observed, now);
            if let Some(asked) = done {
                self.service_mut(&Object::service(name)).restarted = Some(asked);
            }
        }
        for (name, service) in &desired.services {
            let (Some(state), Place::Spark(spark), Some(container)) =
                (service.state, &service.place, &service.container)
            else {
                continue;
            };
            if desired.disabled.contains(name) || !service::is_as_desired(service, observed) {
                continue;
            }
            let object = Object::service(name);
            if self.service(&object).restarts.as_ref().is_some_and(|restarts| restarts.is_over(now)) {
                self.service_mut(&object).restarts.take();
            }
            self.service_mut(&object).converged =
                Some(ConvergedService { state, spark: spark.clone(), container: container.clone() });
        }
    }

    /// One sample a second, the lowest of that second: looks in quick succession must neither push older samples out of
    /// the release gate's window nor hide a dip. What was seen before a reboot or a silence proves nothing after it.
    fn sample(&mut self, spark: &SparkName, facts: &SparkFacts) {
        let sample = MemorySample { at: facts.at, available_bytes: facts.memory_available_bytes };
        let samples = self.samples.entry(spark.clone()).or_default();
        let last = samples.seen.back();
        let was_silent = last.is_some_and(|last| sample.at.duration_since(last.at) > LONGEST_BREAK);
        if samples.boot_id != facts.boot_id || was_silent {
            *samples = MemorySamples { boot_id: facts.boot_id.clone(), seen: VecDeque::new() };
        }
        match samples.seen.back_mut() {
            Some(last) if sample.at.duration_since(last.at) < SAMPLE_EVERY => {
                last.available_bytes = last.available_bytes.min(sample.available_bytes);
            }
            _ => samples.seen.push_back(sample),
        }
        while samples.seen.len() > KEPT_SAMPLES {
            samples.seen.pop_front();
        }
    }

    /// A lost ledger finds what it started: a group with our labels that is ready, or that loads.
    fn find_again(
        &mut self,
        object: &Object,
        slot: &Slot,
        desired: &Desired,
        observed: &Observed,
        now: Timestamp,
    ) {
        if self.launch(object).is_some() {
            return;
        }
        let WantedModel::Model(name) = schedule::wanted(object, slot, desired, now) else { return };
        let Some(group) = desired.resolved_model(slot, &name).map(|effective| effective.launch_spec()) else {
            return;
        };
        let head =
            readiness::rank(object, &group, group.head(), View { desired, observed, ledger: self, now });
        let Some(token) = head.and_then(|container| container.labels.as_ref()?.token.clone()) else { return };
        let started = head.and_then(|container| container.started_at);
        let answer = observed.endpoints.get(object).map(|endpoint| &endpoint.answer);
        let launch = match readiness::readiness(object, &group, View { desired, observed, ledger: self, now })
        {
            Readiness::Ready => {
                self.remember_proven(object, &group, now);
                Launch::new(group, token, now, LaunchState::Serving { since: now })
            }
            // It does not listen before it has loaded.
            Readiness::NotYet { .. } if answer == Some(&EndpointAnswer::Refused) => {
                let Some(at) = started.filter(|at| now.duration_since(*at) < LOAD_DEADLINE) else { return };
                Launch::new(group, token, at, LaunchState::Loading)
            }
            _ => return,
        };
        self.slot_mut(object).launch = Some(launch);
    }

    /// Take in how the launch of `object` goes.
    fn notice_launch(
        &mut self,
        object: &Object,
        desired: &Desired,
        observed: &Observed,
        now: Timestamp,
        noticed: &mut Vec<LedgerEvent>,
    ) {
        let Some(launch) = self.launch(object).cloned() else { return };
        let Some(slot) = desired.slots.get(object) else { return };
        let group = &launch.group;
        let loading = matches!(launch.state, LaunchState::Loading);
        let head = observed.facts(group.head());
        let job = head.and_then(|facts| facts.jobs.iter().find(|job| job.token == launch.token));
        if let (Some(known), Some(job)) = (self.launch_mut(object), job) {
            // A job is seen for an instant before its process is: then it has not ended after all.
            match job.state {
                JobState::Running => known.launcher_ended = None,
                JobState::Exited(_) | JobState::Lost => {
                    known.launcher_ended.get_or_insert(now);
                }
            }
        }
        if loading && job.is_some() && group.sign == Liveness::Container {
            self.take_started(object, group, observed);
        }
        if loading {
            self.take_memory(object, group, desired, observed);
        }
        self.take_progress(object, observed);
        let fatal = self.gave_up(object, observed).filter(|_| loading);
        let readiness = readiness::readiness(object, group, View { desired, observed, ledger: self, now });
        let next = match (&launch.state, readiness) {
            // It says that it gave up: its container stays, and nothing more comes.
            (LaunchState::Loading, Readiness::NotYet { .. } | Readiness::Unknown { .. })
                if fatal.is_some() =>
            {
                let (spark, cause) = fatal.expect("asked for above");
                self.failed(object, group, format!("the engine gave up on `{spark}`: {cause}"), now, noticed)
            }
            (LaunchState::Loading, Readiness::Ready) => {
                // A clock that was set back tells nothing of how long it took.
                let took = u64::try_from(now.duration_since(launch.at).as_secs()).ok();
                let took = took.filter(|_| !launch.clock_was_set);
                self.proved(object, group, took, now);
                if let Some(from) = files_of(group, slot, desired, observed) {
                    self.spec_mut(&group.spec).loaded_from = from;
                }
                let after =
                    took.map_or("; the clock was set meanwhile".into(), |took| format!(" after {took} s"));
                let answer = observed.endpoints.get(object).map(|endpoint| &endpoint.answer);
                let on_trust = match answer {
                    Some(EndpointAnswer::Engine(engine)) if !readiness::tells_root(group, engine) => {
                        "; it does not tell which files it loaded (`root`), so its names and its command line count"
                    }
                    _ => "",
                };
                let message = format!("`{}` is ready{after}{on_trust}", group.model);
                noticed.push(LedgerEvent { object: object.clone(), kind: EventKind::Ready, message });
                LaunchState::Serving { since: now }
            }
            (LaunchState::Serving { since }, Readiness::Ready) => {
                let head = readiness::rank(
                    object,
                    group,
                    group.head(),
                    View { desired, observed, ledger: self, now },
                );
                let image_id = head.map(|container| container.image_id.clone());
                if let Some(proven) = self
                    .slots
                    .get_mut(object)
                    .and_then(|known| known.proven.as_mut())
                    .filter(|proven| proven.spec == group.spec)
                {
                    proven.image_id = image_id;
                }
                if now.duration_since(*since) >= CLEAN_AFTER {
                    self.take_attempts(object, &group.spec);
                }
                // What was stopped on other Sparks after it was ready has nothing to do with its next start.
                let since = self.slot(object).release.as_ref().map(|release| release.since);
                if since.is_some_and(|since| now.duration_since(since) > RELEASE_DEADLINE) {
                    self.slot_mut(object).release.take();
                }
                return;
            }
            (LaunchState::Stopped { .. } | LaunchState::Unseen { .. }, Readiness::Ready) => {
                // The stop did not happen, or what could not be seen is seen again.
                let view = View { desired, observed, ledger: self, now };
                let stopping = self.slot(object).release.as_ref().is_some_and(|release| {
                    let sparks = group.sparks.iter();
                    let mut ranks = sparks.filter_map(|spark| readiness::rank(object, group, spark, view));
                    ranks.any(|container| release.containers.contains(&container.id))
                });
                if stopping {
                    return;
                }
                LaunchState::Serving { since: now }
            }
            (LaunchState::Loading, Readiness::Unknown { why }) => {
                let deadline = self.load_deadline(slot, &group.spec);
                if now.duration_since(launch.at) <= deadline {
                    return;
                }
                let message = format!(
                    "`{}` was not seen to be ready within {} min ({why}); it is left alone",
                    group.model,
                    deadline.as_mins()
                );
                noticed.push(LedgerEvent { object: object.clone(), kind: EventKind::Unseen, message });
                LaunchState::Unseen { at: now }
            }
            (LaunchState::Loading, Readiness::NotYet { why }) => {
                let deadline = self.load_deadline(slot, &group.spec);
                if now.duration_since(launch.at) <= deadline {
                    return;
                }
                let what = format!("it was not ready within {} min: {why}", deadline.as_mins());
                self.failed(object, group, what, now, noticed)
            }
            (
                LaunchState::Loading | LaunchState::Serving { .. } | LaunchState::Unseen { .. },
                Readiness::Dead { why },
            ) => {
                let is_adopted = self.is_adopted(object, group);
                let is_told_of = head.is_some_and(|facts| facts.at > launch.at && facts.token.is_some());
                if loading && job.is_none() && !is_adopted && is_told_of {
                    // The message never arrived; a later one, with a higher token, makes it worthless. A machine that knows
                    // of no token has lost what it knew of jobs too.
                    self.never_began(object);
                    let message = format!("the launch of `{}` never began", group.model);
                    noticed.push(LedgerEvent { object: object.clone(), kind: EventKind::Lost, message });
                    return;
                }
                let age = now.duration_since(launch.at);
                // Containers and jobs are not seen at the same instant: what a launcher started with its last word may
                // show only at the next look.
                let ended = self.launch(object).and_then(|launch| launch.launcher_ended);
                let view = View { desired, observed, ledger: self, now };
                let prepares = group.prepares && fatal.is_none() && is_at_work(object, group, view);
                let grace = if prepares { PREPARATION } else { ENGINE_GRACE };
                let in_time = match ended {
                    None => age <= LAUNCH_DEADLINE,
                    Some(ended) => now.duration_since(ended) < grace,
                };
                if loading && in_time {
                    return;
                }
                let what = if loading && ended.is_none() {
                    format!("the launcher had started no engine after {} min", LAUNCH_DEADLINE.as_mins())
                } else {
                    why
                };
                // One that ends before its core has no marker for it, and neither has one that served.
                let told = fatal.or_else(|| self.cause(object, observed));
                // What the others say of one that is gone is no cause.
                let fatal = told
                    .clone()
                    .filter(|(_, cause)| !cause::is_aftermath(cause))
                    .or_else(|| how_it_ended(object, observed))
                    .or(told);
                let what = match fatal {
                    Some((spark, cause)) if what.contains(spark.as_str()) => format!("{what}: {cause}"),
                    Some((spark, cause)) => format!("{what}; on `{spark}`: {cause}"),
                    None => what,
                };
                let said = job.filter(|_| loading).and_then(|job| cause::of_launcher(&job.said));
                let what = match said {
                    Some(words) => format!("{what}; its launcher said: {words}"),
                    None => what,
                };
                self.failed(object, group, what, now, noticed)
            }
            _ => return,
        };
        if let Some(launch) = self.launch_mut(object) {
            launch.state = next;
            launch.before = None;
        }
    }

    /// Take in how far the ranks of a load say that they are. A load is as far as its slowest rank, and does not go back.
    fn take_progress(&mut self, object: &Object, observed: &Observed) {
        let (Some(launch), Some(ranks)) = (self.launch_mut(object), observed.loads.get(object)) else {
            return;
        };
        let slowest = ranks.values().map(|seen| &seen.progress).min_by_key(|seen| (seen.phase, seen.shards));
        let further = slowest.filter(|seen| {
            launch
                .progress
                .as_ref()
                .is_none_or(|known| (seen.phase, seen.shards) >= (known.phase, known.shards))
        });
        if let Some(further) = further {
            launch.progress = Some(further.clone());
        }
    }

    /// Somebody else started it.
    fn is_adopted(&self, object: &Object, group: &LaunchSpec) -> bool {
        self.adopted.values().any(|adopted| adopted.object == *object && adopted.spec == group.spec)
    }

    /// What the ranks' logs tell of why they end, and which of them it is.
    fn cause(&self, object: &Object, observed: &Observed) -> Option<(SparkName, String)> {
        let ranks = observed.loads.get(object)?;
        let sparks = self.launch(object)?.group.sparks.iter();
        cause::of_ranks(sparks.filter_map(|spark| Some((spark, &*ranks.get(spark)?.log))))
    }

    /// The cause, when a rank of a load says that it gave up.
    fn gave_up(&self, object: &Object, observed: &Observed) -> Option<(SparkName, String)> {
        let ranks = observed.loads.get(object)?;
        let (spark, _) = ranks.iter().find(|(_, seen)| seen.progress.gave_up)?;
        Some(self.cause(object, observed).unwrap_or_else(|| (spark.clone(), cause::NO_CAUSE.to_owned())))
    }

    /// An owner's own program need not label what it starts. The name was free on every Spark of the group when it was
    /// told to start, so what has it now was started by it.
    fn take_started(&mut self, object: &Object, group: &LaunchSpec, observed: &Observed) {
        for spark in &group.sparks {
            let container = observed.facts(spark).and_then(|facts| facts.container(group.container.as_str()));
            if let Some(container) = container.filter(|container| container.labels.is_none()) {
                let (object, spec) = (object.clone(), group.spec.clone());
                let adopted = AdoptedContainer { object, spark: spark.clone(), spec };
                self.adopted.entry(container.id.clone()).or_insert(adopted);
            }
        }
    }

    /// The most that its ranks were seen to hold.
    fn take_memory(&mut self, object: &Object, group: &LaunchSpec, desired: &Desired, observed: &Observed) {
        for spark in &group.sparks {
            let rank = readiness::rank(
                object,
                group,
                spark,
                View { desired, observed, ledger: self, now: observed.at },
            );
            let Some(held_bytes) = rank.and_then(|rank| memory::held(observed.facts(spark)?, rank)) else {
                continue;
            };
            let Some(launch) = self.launch_mut(object) else {
                return;
            };
            let seen = launch.memory.entry(spark.clone()).or_insert(MemorySeen { held_bytes });
            seen.held_bytes = seen.held_bytes.max(held_bytes);
        }
    }

    /// What this load took is what the next one needs.
    fn learn_peaks(&mut self, object: &Object) {
        let Some(launch) = self.slots.get(object).and_then(|slot| slot.launch.as_ref()) else { return };
        let record = self.specs.entry(launch.group.spec.clone()).or_default();
        for (spark, seen) in &launch.memory {
            let peaks = record.peaks.entry(spark.clone()).or_default();
            peaks.push(seen.held_bytes);
            let surplus = peaks.len().saturating_sub(KEPT_LOAD_TIMES);
            peaks.drain(..surplus);
        }
    }

    /// It serves: what was asked for is done, and it may be gone back to.
    fn proved(&mut self, object: &Object, group: &LaunchSpec, took_secs: Option<u64>, now: Timestamp) {
        self.learn_peaks(object);
        self.learn_load(&group.spec, took_secs);
        self.remember_proven(object, group, now);
        if let Some(attempts) = self.attempts_mut(object, &group.spec) {
            attempts.failed_loads = 0;
        }
        self.slot_mut(object).release.take();
        self.consume_approvals(object);
    }
}

/// Of the first rank that is gone, as its Docker Engine remembers it.
fn how_it_ended(object: &Object, observed: &Observed) -> Option<(SparkName, String)> {
    let (spark, end) = observed.ended.get(object)?.iter().next()?;
    Some((spark.clone(), end.to_string()))
}

/// What is seen of the files of a group, as far as the file still says where they are.
fn files_of(
    group: &LaunchSpec,
    slot: &Slot,
    desired: &Desired,
    observed: &Observed,
) -> Option<BTreeMap<SparkName, FilesSeen>> {
    let effective = desired.resolved_model(slot, &group.model)?;
    let key = effective.model.source.files_key().filter(|_| effective.spec_hash() == group.spec)?;
    let sparks = group.sparks.iter();
    let seen =
        sparks.filter_map(|spark| Some((spark.clone(), observed.facts(spark)?.files.get(&key)?.clone())));
    Some(seen.collect())
}

/// An entry of the file leads to this spec.
fn is_in_file(spec: &SpecHash, desired: &Desired) -> bool {
    desired.slots.values().any(|slot| {
        let mut models = desired.models.keys().filter_map(|model| desired.resolved_model(slot, model));
        models.any(|model| model.spec_hash() == *spec)
    })
}

/// Something runs in the container of each rank, be it no engine yet.
fn is_at_work(object: &Object, group: &LaunchSpec, view: View<'_>) -> bool {
    let mut ranks = group.sparks.iter().map(|spark| readiness::rank(object, group, spark, view));
    ranks.all(|rank| rank.is_some_and(Container::is_at_work))
}

impl Ledger {
    pub(super) fn failed(
        &mut self,
        object: &Object,
        group: &LaunchSpec,
        what: String,
        now: Timestamp,
        noticed: &mut Vec<LedgerEvent>,
    ) -> LaunchState {
        let failed_loads = self.attempts(object, &group.spec).map_or(0, |before| before.failed_loads);
        let in_load = self.is_loading(object);
        if in_load {
            let message = format!("`{}` failed: {what}", group.model);
            noticed.push(LedgerEvent { object: object.clone(), kind: EventKind::Failed, message });
            let kind = if cause::is_named(&what) { FailureKind::Named } else { FailureKind::Unnamed };
            self.attempted(object, &group.spec, failed_loads + 1, LaunchFailure { at: now, what, kind });
            return LaunchState::Failed { at: now, in_load };
        }
        // It loads, so what ended it is no failed load.
        let kind = FailureKind::Unnamed;
        self.attempted(
            object,
            &group.spec,
            failed_loads,
            LaunchFailure { at: now, what: what.clone(), kind },
        );
        if let Some(attempts) = self.attempts_mut(object, &group.spec) {
            attempts.died(now);
            let count = attempts.deaths.len();
            let message = if attempts.is_spent() {
                attempts.last.what =
                    format!("its engine died {count} times within an hour, the last time: {what}");
                format!(
                    "`{}` died: {what}; {count} times within an hour, so it is not started again by itself",
                    group.model
                )
            } else {
                let pause = attempts.not_before.duration_since(now).as_secs();
                let when = if pause == 0 { "at once".to_owned() } else { format!("in {pause} s") };
                format!(
                    "`{}` died: {what}; it is started again {when} (death {count} of {MAX_DEATHS} within an hour)",
                    group.model
                )
            };
            noticed.push(LedgerEvent { object: object.clone(), kind: EventKind::Died, message });
        }
        LaunchState::Failed { at: now, in_load }
    }
}
