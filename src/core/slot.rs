//! What to do about a model slot.
//!
//! Top to bottom: which model it should hold, what stands there, and then one of: nothing, adopt, wait, or clear
//! what is in the way and launch.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    desired::{Desired, Effective, Object, OnDrift, OnEdit, OnFailure, Slot, Wanted},
    ledger::{LaunchState, Ledger, MAX_LOADS, load_deadline},
    memory::{self, Released},
    name::SparkName,
    observed::{Container, EndpointAnswer, JobState, Observed},
    plan::{Consent, Gate, Item, Outage, PlannedStep, Predicate, Reason, Verdict, Work, memory_rows},
    ready::{self, Readiness},
    schedule,
    step::{Rank, Step},
};

/// A container that stands where this slot's container would.
struct Standing<'a> {
    spark: &'a SparkName,
    container: &'a Container,
    ours: bool,
}

/// The work for one slot; `None` when it is as it should be.
pub fn plan(
    object: &Object,
    slot: &Slot,
    desired: &Desired,
    observed: &Observed,
    ledger: &Ledger,
    now: Timestamp,
) -> Option<Work> {
    if slot.suspend {
        return Some(Work {
            items: Vec::new(),
            ..blank(object, "look only".into(), Reason::Suspended, "`suspend` is on".into())
        });
    }
    let wanted = schedule::wanted(object, slot, desired, now);
    let standing = standing(object, slot, desired, observed, ledger);
    match &wanted {
        Wanted::Watch => None,
        Wanted::Nothing => empty(object, slot, &standing, desired, observed, ledger, now),
        Wanted::Model(name) => {
            let effective =
                desired.effective(slot, name).expect("resolved: every wanted model is in the catalog");
            serve(object, &effective, &standing, desired, observed, ledger, now)
        }
    }
}

fn standing<'a>(
    object: &Object,
    slot: &'a Slot,
    desired: &Desired,
    observed: &'a Observed,
    ledger: &Ledger,
) -> Vec<Standing<'a>> {
    slot.sparks
        .iter()
        .filter_map(|spark| {
            let container = observed.facts(spark)?.container(slot.container.as_str())?;
            let ours = ledger.owns(desired.cluster.as_str(), object, container);
            Some(Standing { spark, container, ours })
        })
        .collect()
}

fn empty(
    object: &Object,
    slot: &Slot,
    standing: &[Standing<'_>],
    desired: &Desired,
    observed: &Observed,
    ledger: &Ledger,
    now: Timestamp,
) -> Option<Work> {
    let mut items = Vec::new();
    let jobs = running_jobs(object, &slot.sparks, observed);
    if !jobs.is_empty() {
        items.push(Item::Steps(jobs));
    }
    let stops = stops(object, standing.iter(), |entry| consent_to_stop(object, entry, desired, ledger, None));
    if !stops.is_empty() {
        items.push(Item::Steps(stops));
    }
    if items.is_empty() {
        return None;
    }
    let _ = now;
    Some(Work {
        object: object.clone(),
        goal: "keep the slot empty".into(),
        items,
        verdict: Verdict::Open,
        relies_on: standing.iter().flat_map(|entry| relied_on(entry, observed)).collect(),
        memory: Vec::new(),
        outage: Some(Outage { expected_secs: None, basis: "until another model is chosen".into() }),
    })
}

fn serve(
    object: &Object,
    wanted: &Effective<'_>,
    standing: &[Standing<'_>],
    desired: &Desired,
    observed: &Observed,
    ledger: &Ledger,
    now: Timestamp,
) -> Option<Work> {
    let spec = wanted.spec_hash();
    let exhausted = ledger.attempts(object, &spec).is_some_and(|attempts| attempts.failed_loads >= MAX_LOADS);
    let fallback = if exhausted { fallback(object, wanted, desired, ledger) } else { None };
    let target = fallback.as_ref().unwrap_or(wanted);
    let spec = target.spec_hash();
    let goal_model = target.name;

    let loading = ledger.launches.get(object).filter(|launch| matches!(launch.state, LaunchState::Loading));
    if let Some(launch) = loading {
        let loads = ledger.launched(object, wanted.slot, desired);
        let loads = loads.as_ref().unwrap_or(target);
        let deadline = load_deadline(loads, &launch.spec, ledger);
        let message = match ready::readiness(object, loads, desired, observed, ledger, now) {
            Readiness::Loading { why } | Readiness::Dead { why } | Readiness::Unknown { why } => why,
            Readiness::Ready => "it has just become ready".into(),
        };
        return Some(Work {
            object: object.clone(),
            goal: format!("start `{}`", launch.model),
            items: vec![Item::Gate(Gate::Ready {
                model: launch.model.to_string(),
                deadline_secs: deadline.as_secs(),
            })],
            verdict: Verdict::Waiting { reason: Reason::LoadInProgress, message },
            relies_on: Vec::new(),
            memory: Vec::new(),
            outage: None,
        });
    }

    match ready::readiness(object, target, desired, observed, ledger, now) {
        Readiness::Ready if fallback.is_none() => {
            return leftovers(object, target, standing, desired, observed, ledger);
        }
        Readiness::Ready => {
            let last =
                ledger.attempts(object, &wanted.spec_hash()).map_or(String::new(), |a| a.last.what.clone());
            let message = format!(
                "`{}` failed ({last}), so `{goal_model}` serves; edit the model or run `spark-control retry {object}`",
                wanted.name
            );
            return Some(blank(object, format!("serve `{}`", wanted.name), Reason::Stalled, message));
        }
        Readiness::Unknown { why } => {
            return Some(blank(
                object,
                format!("serve `{goal_model}`"),
                unknown_reason(target, observed),
                why,
            ));
        }
        // It runs, is ours, and is not up yet or not up any more: only time or its own death decides.
        Readiness::Loading { why } => {
            return Some(Work {
                verdict: Verdict::Waiting { reason: Reason::LoadInProgress, message: why.clone() },
                ..blank(object, format!("serve `{goal_model}`"), Reason::LoadInProgress, why)
            });
        }
        Readiness::Dead { .. } => {}
    }
    if let Some(silent) = target.model.sparks.iter().find(|spark| observed.facts(spark).is_none()) {
        let message = format!("`{silent}` is not reachable; nothing is stopped until it is");
        return Some(blank(object, format!("serve `{goal_model}`"), Reason::Unreachable, message));
    }
    if let Some(adoption) = adoption(object, target, standing, observed) {
        return Some(adoption);
    }
    let job = target
        .model
        .sparks
        .iter()
        .filter_map(|spark| observed.facts(spark))
        .flat_map(|facts| &facts.jobs)
        .find(|job| job.object == object.as_str() && job.state == JobState::Running && job.spec == spec);
    if let Some(job) = job {
        let message = format!("the launcher job {} is running", job.id);
        return Some(Work {
            verdict: Verdict::Waiting { reason: Reason::LaunchInProgress, message: message.clone() },
            ..blank(object, format!("start `{goal_model}`"), Reason::LaunchInProgress, message)
        });
    }
    Some(replace(
        object,
        wanted,
        target,
        fallback.is_some(),
        exhausted,
        standing,
        desired,
        observed,
        ledger,
        now,
    ))
}

/// Clear what is in the way, wait for the memory, launch, wait until it is ready.
#[allow(clippy::too_many_arguments)] // the one place where all of it comes together
fn replace(
    object: &Object,
    wanted: &Effective<'_>,
    target: &Effective<'_>,
    falling_back: bool,
    exhausted: bool,
    standing: &[Standing<'_>],
    desired: &Desired,
    observed: &Observed,
    ledger: &Ledger,
    now: Timestamp,
) -> Work {
    let spec = target.spec_hash();
    let sparks = &target.model.sparks;
    let name = target.slot.container.as_str();
    // Elsewhere, a container of that name is touched only when it is ours.
    let in_the_way: Vec<&Standing<'_>> =
        standing.iter().filter(|entry| sparks.contains(entry.spark) || entry.ours).collect();
    let edited = ledger.launches.get(object).is_none_or(|launch| launch.spec != spec);
    let consent = |entry: &Standing<'_>| consent_to_stop(object, entry, desired, ledger, Some(edited));
    let jobs = running_jobs(object, &target.slot.sparks, observed);
    let stops = stops(object, in_the_way.iter().copied(), consent);
    let clearing = !stops.is_empty() || !jobs.is_empty();

    let serving = in_the_way.iter().find_map(|entry| {
        let model = ledger.launches.get(object).map(|launch| launch.model.to_string());
        (entry.container.engine_alive() != Some(false))
            .then(|| model.filter(|_| entry.ours).unwrap_or_else(|| entry.container.name.clone()))
    });
    let goal = match (&serving, falling_back) {
        (_, true) => format!("go back to `{}`, because `{}` failed", target.name, wanted.name),
        (Some(old), _) if *old != target.name.as_str() => format!("swap `{old}` for `{}`", target.name),
        _ => format!("start `{}`", target.name),
    };
    let (expected_secs, basis) = match ledger.expected_load_secs(&spec) {
        Some((median, count)) => (Some(median), format!("median of the last {count} loads here")),
        None => (None, "it has not been loaded here yet".to_owned()),
    };
    let outage = serving.is_some().then_some(Outage { expected_secs, basis });

    let mut items = Vec::new();
    if !jobs.is_empty() {
        items.push(Item::Steps(jobs));
    }
    if !stops.is_empty() {
        items.push(Item::Steps(stops));
    }
    let mut relies_on: BTreeSet<Predicate> =
        in_the_way.iter().flat_map(|entry| relied_on(entry, observed)).collect();
    for spark in sparks {
        let facts = observed.facts(spark).expect("every Spark of the model was reachable above");
        relies_on.insert(Predicate::Boot { spark: spark.clone(), boot_id: facts.boot_id.clone() });
        if facts.container(name).is_none() {
            relies_on.insert(Predicate::NameFree { spark: spark.clone(), name: name.to_owned() });
        }
        if let Some(Some(id)) = facts.images.get(target.image.as_str()) {
            relies_on.insert(Predicate::Image {
                spark: spark.clone(),
                image: target.image.to_string(),
                id: id.clone(),
            });
        }
    }
    let relies_on = relies_on.into_iter().collect();
    let mut work = Work {
        object: object.clone(),
        goal,
        items,
        verdict: Verdict::Open,
        relies_on,
        memory: memory_rows(memory::table(target, desired, observed)),
        outage,
    };

    let attempts = ledger.attempts(object, &spec);
    if exhausted && !falling_back {
        // Nothing will be launched; what is left of the failed load is cleared all the same.
        if !clearing {
            let last = attempts.map_or("", |attempts| attempts.last.what.as_str());
            let message = format!("{last}; edit the model or run `spark-control retry {object}`");
            work.verdict = Verdict::Blocked { reason: Reason::Stalled, message };
        }
        work.memory.clear();
        return work;
    }
    // Everything that can be known before the outage is asked before the outage.
    if let Err((reason, message)) = preflight(target, desired, observed) {
        work.items.clear();
        work.verdict = Verdict::Blocked { reason, message };
        return work;
    }

    let mut gate = None;
    if clearing {
        gate = Some(Verdict::Open);
    } else {
        for spark in sparks {
            let facts = observed.facts(spark).expect("every Spark of the model was reachable above");
            let (needed, _) = memory::need(target, facts.memory_total_bytes);
            let floor = desired.sparks[spark].floor_bytes;
            let release = ledger.releases.get(object);
            let waits = match memory::released(spark, facts, needed, floor, release, ledger, now) {
                Released::Yes => continue,
                Released::NotYet(message) => Verdict::Waiting { reason: Reason::MemoryNotReleased, message },
                Released::Never(message) => Verdict::Blocked {
                    reason: Reason::MemoryNotReleased,
                    message: format!("{message}; it may need a reboot of `{spark}`"),
                },
                Released::CannotFit(message) => Verdict::Blocked { reason: Reason::CannotFit, message },
            };
            gate = Some(waits);
            break;
        }
        if let Some(attempts) = attempts.filter(|attempts| attempts.not_before > now) {
            let message = format!("after `{}`, again at {:.0}", attempts.last.what, attempts.not_before);
            gate.get_or_insert(Verdict::Waiting { reason: Reason::Backoff, message });
        }
    }
    if let Some(verdict) = gate {
        work.items.push(Item::Gate(Gate::Released { sparks: sparks.clone() }));
        work.verdict = verdict;
    }
    let consent = start_consent(object, edited, desired, ledger);
    if let Err(verdict) = &consent {
        work.verdict = verdict.clone();
    }
    let consent = consent.unwrap_or(None);
    if sparks.len() > 1 {
        let advance = |spark: &SparkName| Step::Advance { object: object.clone(), spark: spark.clone() };
        work.items.push(Item::Steps(sparks.iter().map(|spark| planned(advance(spark), None)).collect()));
    }
    let launch = Step::Launch {
        object: object.clone(),
        model: target.name.clone(),
        spec: spec.clone(),
        sparks: sparks.clone(),
        name: name.to_owned(),
    };
    work.items.push(Item::Steps(vec![planned(launch, consent)]));
    work.items.push(Item::Gate(Gate::Ready {
        model: target.name.to_string(),
        deadline_secs: load_deadline(target, &spec, ledger).as_secs(),
    }));
    work
}

/// What would make the launch fail, seen before anything is stopped.
fn preflight(target: &Effective<'_>, desired: &Desired, observed: &Observed) -> Result<(), (Reason, String)> {
    let image = target.image;
    let mut first: Option<&String> = None;
    for spark in &target.model.sparks {
        let facts = observed.facts(spark).expect("every Spark of the model was reachable above");
        match facts.images.get(image.as_str()) {
            Some(Some(id)) => {
                if first.is_some_and(|first| first != id) {
                    let head = &target.model.sparks[0];
                    let message = format!("`{image}` on `{spark}` is not the image that `{head}` has");
                    return Err((Reason::ImageDiffers, message));
                }
                first = Some(id);
            }
            Some(None) => return Err((Reason::ImageMissing, format!("`{spark}` has no image `{image}`"))),
            None => return Err((Reason::Unknown, format!("the images of `{spark}` could not be read"))),
        }
        if let super::desired::Source::LocalPath(path) = &target.model.source
            && facts.paths.get(path.as_str()) != Some(&true)
        {
            return Err((Reason::FilesMissing, format!("`{path}` is not there on `{spark}`")));
        }
        let (needed, basis) = memory::need(target, facts.memory_total_bytes);
        let floor = desired.sparks[spark].floor_bytes;
        if needed.saturating_add(floor) > facts.memory_total_bytes {
            let message = format!(
                "{} needed ({basis}) and {} kept free, but `{spark}` has {}",
                memory::gib(needed),
                memory::gib(floor),
                memory::gib(facts.memory_total_bytes)
            );
            return Err((Reason::CannotFit, message));
        }
    }
    let with_fabric =
        target.model.sparks.iter().filter(|spark| desired.sparks[*spark].fabric.is_some()).count();
    if target.model.sparks.len() > 1 && with_fabric > 0 && with_fabric < target.model.sparks.len() {
        let missing = target.model.sparks.iter().find(|spark| desired.sparks[*spark].fabric.is_none());
        let message =
            format!("`{}` has no `fabric`, but others of this model have", missing.expect("counted"));
        return Err((Reason::FabricMissing, message));
    }
    Ok(())
}

/// Ready; but another Spark may still hold a rank of ours from before.
fn leftovers(
    object: &Object,
    target: &Effective<'_>,
    standing: &[Standing<'_>],
    desired: &Desired,
    observed: &Observed,
    ledger: &Ledger,
) -> Option<Work> {
    let old: Vec<&Standing<'_>> =
        standing.iter().filter(|entry| entry.ours && !target.model.sparks.contains(entry.spark)).collect();
    if old.is_empty() {
        return None;
    }
    Some(Work {
        object: object.clone(),
        goal: "clear what is left of an earlier model".into(),
        items: vec![Item::Steps(stops(object, old.iter().copied(), |entry| {
            consent_to_stop(object, entry, desired, ledger, None)
        }))],
        verdict: Verdict::Open,
        relies_on: old.iter().flat_map(|entry| relied_on(entry, observed)).collect(),
        memory: Vec::new(),
        outage: None,
    })
}

/// The last model that served, when it may take over for one that failed.
fn fallback<'a>(
    object: &Object,
    wanted: &Effective<'a>,
    desired: &'a Desired,
    ledger: &Ledger,
) -> Option<Effective<'a>> {
    if wanted.slot.on_failure != OnFailure::Fallback {
        return None;
    }
    let proven = ledger.proven.get(object)?;
    let effective = desired.effective(wanted.slot, &proven.model)?;
    let spec = effective.spec_hash();
    let fits = spec == proven.spec && spec != wanted.spec_hash() && ledger.attempts(object, &spec).is_none();
    fits.then_some(effective)
}

/// What already runs under the slot's name on exactly the model's Sparks, answers as the model should, and was not
/// started by this cluster.
fn adoption(
    object: &Object,
    target: &Effective<'_>,
    standing: &[Standing<'_>],
    observed: &Observed,
) -> Option<Work> {
    let sparks = &target.model.sparks;
    let mut ranks = Vec::new();
    let mut relies_on = Vec::new();
    for spark in sparks {
        let entry = standing.iter().find(|entry| entry.spark == spark)?;
        let container = entry.container;
        let image = observed.facts(spark)?.images.get(target.image.as_str())?.as_ref()?;
        let labelled_otherwise = container.labels.is_some();
        if entry.ours
            || labelled_otherwise
            || container.engine_alive() != Some(true)
            || container.image_id != *image
        {
            return None;
        }
        if !same_command(container.engine_command()?, target) {
            return None;
        }
        ranks.push(Rank { spark: spark.clone(), container: container.id.clone() });
        relies_on.extend(relied_on(entry, observed));
    }
    let EndpointAnswer::Engine(engine) = &observed.endpoints.get(object)?.answer else { return None };
    let serves = |name: &super::name::ServedName| {
        engine
            .models
            .iter()
            .any(|model| model.id == name.as_str() && model.root == target.model.source.root())
    };
    if !target.model.served_as.iter().all(serves) {
        return None;
    }
    let step =
        Step::Adopt { object: object.clone(), model: target.name.clone(), spec: target.spec_hash(), ranks };
    Some(Work {
        object: object.clone(),
        goal: format!("take over `{}`, which already runs", target.name),
        items: vec![Item::Steps(vec![planned(step, None)])],
        verdict: Verdict::Open,
        relies_on,
        memory: Vec::new(),
        outage: None,
    })
}

/// The engine's command line says what the file says; what launchers add for several ranks is left out.
fn same_command(command: &str, target: &Effective<'_>) -> bool {
    const WITH_VALUE: [&str; 5] =
        ["--distributed-executor-backend", "--nnodes", "--node-rank", "--master-addr", "--master-port"];
    let mut words = command.split_whitespace().skip_while(|word| *word != "serve").skip(1);
    let mut found: Vec<&str> = Vec::new();
    while let Some(word) = words.next() {
        if WITH_VALUE.contains(&word) {
            words.next();
        } else if word != "--headless" {
            found.push(word);
        }
    }
    // Process lists join words with spaces: a word with a space in it is several here, on both sides.
    let arguments = target.arguments();
    let mut expected: Vec<&str> = std::iter::once(target.model.source.root())
        .chain(arguments.iter().flat_map(|word| word.split_whitespace()))
        .collect();
    found.sort_unstable();
    expected.sort_unstable();
    found == expected
}

fn stops<'a, 'b: 'a>(
    object: &Object,
    entries: impl Iterator<Item = &'a Standing<'b>>,
    consent: impl Fn(&Standing<'_>) -> Option<Consent>,
) -> Vec<PlannedStep> {
    entries
        .map(|entry| {
            let pids = entry.container.processes.iter().flatten().map(|process| process.pid).collect();
            let step = Step::Stop {
                object: object.clone(),
                spark: entry.spark.clone(),
                container: entry.container.id.clone(),
                name: entry.container.name.clone(),
                remove: true,
                pids,
            };
            planned(step, consent(entry))
        })
        .collect()
}

fn running_jobs(object: &Object, sparks: &BTreeSet<SparkName>, observed: &Observed) -> Vec<PlannedStep> {
    let mut steps = Vec::new();
    for spark in sparks {
        let Some(facts) = observed.facts(spark) else { continue };
        for job in &facts.jobs {
            if job.object == object.as_str() && job.state == JobState::Running {
                let step = Step::EndJob { object: object.clone(), spark: spark.clone(), job: job.id.clone() };
                steps.push(planned(step, None));
            }
        }
    }
    steps
}

fn relied_on(entry: &Standing<'_>, observed: &Observed) -> Vec<Predicate> {
    let boot = observed
        .facts(entry.spark)
        .map(|facts| Predicate::Boot { spark: entry.spark.clone(), boot_id: facts.boot_id.clone() });
    let container = Predicate::Container {
        spark: entry.spark.clone(),
        name: entry.container.name.clone(),
        id: entry.container.id.clone(),
        running: entry.container.running,
    };
    boot.into_iter().chain([container]).collect()
}

/// Why a person must agree before this container is stopped. `edited` is `None` when only the file can be the cause.
fn consent_to_stop(
    object: &Object,
    entry: &Standing<'_>,
    desired: &Desired,
    ledger: &Ledger,
    edited: Option<bool>,
) -> Option<Consent> {
    let _ = (object, ledger);
    if entry.container.running && !entry.ours {
        return Some(Consent::NotOurs);
    }
    match edited {
        None | Some(true) => (desired.policy.on_edit == OnEdit::Approve).then_some(Consent::OnEdit),
        Some(false) => match desired.policy.on_drift {
            OnDrift::Approve => Some(Consent::OnDrift),
            OnDrift::Repair | OnDrift::Apply | OnDrift::Report => None,
        },
    }
}

fn start_consent(
    object: &Object,
    edited: bool,
    desired: &Desired,
    ledger: &Ledger,
) -> Result<Option<Consent>, Verdict> {
    let _ = (object, ledger);
    if edited {
        return Ok((desired.policy.on_edit == OnEdit::Approve).then_some(Consent::OnEdit));
    }
    match desired.policy.on_drift {
        OnDrift::Repair | OnDrift::Apply => Ok(None),
        OnDrift::Approve => Ok(Some(Consent::OnDrift)),
        OnDrift::Report => {
            let message = "`reconcile.on_drift` is `report`".to_owned();
            Err(Verdict::Blocked { reason: Reason::ReportOnly, message })
        }
    }
}

fn planned(step: Step, consent: Option<Consent>) -> PlannedStep {
    PlannedStep { key: step.key(), step, consent }
}

fn unknown_reason(target: &Effective<'_>, observed: &Observed) -> Reason {
    let silent = target.model.sparks.iter().any(|spark| observed.facts(spark).is_none());
    if silent { Reason::Unreachable } else { Reason::Unknown }
}

fn blank(object: &Object, goal: String, reason: Reason, message: String) -> Work {
    Work {
        object: object.clone(),
        goal,
        items: Vec::new(),
        verdict: Verdict::Blocked { reason, message },
        relies_on: Vec::new(),
        memory: Vec::new(),
        outage: None,
    }
}
