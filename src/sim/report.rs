//! A simulated cluster as a controller once saw a real one: so that what somebody reports can be played.
//!
//! What cannot be seen from outside is taken as it usually is: what serves goes on serving, files and launchers are there, a
//! Spark that was silent stays so.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{
    machine::{Machine, SimulatedContainer, SimulatedEngine, SimulatedService, SimulatedWork},
    world::Sim,
};
use crate::core::model::{
    command_line::is_engine,
    desired::{Desired, Place, ServiceKind},
    label::{CLUSTER, OBJECT, SPEC, TOKEN},
    observed::{self, EndpointAnswer, JobState, Observed, SparkFacts, SparkView},
};

/// A Spark that was silent is so for longer than anybody plays.
const SILENCE: SignedDuration = SignedDuration::from_hours(24 * 30);

/// Put the Sparks of the file into `sim`, as they were seen.
pub fn fill(sim: &Sim, desired: &Desired, seen: &Observed) {
    let now = sim.now();
    for (name, spark) in &desired.sparks {
        sim.add(name.as_str(), spark.address.as_str(), &[]);
        let view = seen.sparks.get(name);
        let facts = match view {
            Some(SparkView::Reachable(facts)) => Some(facts),
            Some(SparkView::Unreachable { last, .. }) => last.as_ref(),
            None => None,
        };
        let mut world = sim.world();
        let Some(machine) = world.sparks.get_mut(name.as_str()) else { continue };
        if let Some(facts) = facts {
            take(machine, facts, now);
            for container in &facts.containers {
                let ready = is_ready(name.as_str(), container, desired, seen);
                let service = service_of(name.as_str(), container, desired);
                machine.containers.push(container_of(container, facts, ready, service, now));
            }
        }
        if !matches!(view, Some(SparkView::Reachable(_))) {
            machine.silent_until = now.checked_add(SILENCE).ok();
        }
    }
}

fn take(machine: &mut Machine, facts: &SparkFacts, now: Timestamp) {
    machine.boot_id = Some(facts.boot_id.to_string());
    let up = SignedDuration::from_secs(i64::try_from(facts.uptime_secs).unwrap_or(0));
    machine.booted_at = now.checked_sub(up).unwrap_or(now);
    let images =
        facts.images.iter().filter_map(|(name, id)| Some((name.clone(), id.as_ref()?.id.to_string())));
    machine.images = images.collect();
    machine.token.clone_from(&facts.token);
    machine.jobs = facts
        .jobs
        .iter()
        .map(|job| SimulatedWork {
            id: job.id.to_string(),
            object: job.object.to_string(),
            spec: job.spec.to_string(),
            token: job.token.clone(),
            started_at: job.started_at,
            acts_at: Timestamp::MAX,
            launch: None,
            room: BTreeMap::new(),
            transfer: None,
            update: None,
            said: job.last_log_line().unwrap_or_default().to_owned(),
            state: job.state,
            is_forgotten: false,
        })
        .collect();
    // What a launcher that was at work would have started is not known: it ends without a word.
    for job in machine.jobs.iter_mut().filter(|job| job.state == JobState::Running) {
        job.state = JobState::Lost;
    }
}

/// An engine in this container answered like one that is ready.
fn is_ready(spark: &str, container: &observed::Container, desired: &Desired, seen: &Observed) -> bool {
    let slot = desired.slots.iter().find(|(object, slot)| {
        let labelled = container.labels.as_ref().is_some_and(|labels| labels.object == **object);
        labelled
            || (container.name == slot.container.as_str()
                && slot.sparks.iter().any(|one| one.as_str() == spark))
    });
    let answer = slot.and_then(|(object, _)| seen.endpoints.get(object));
    matches!(answer.map(|endpoint| &endpoint.answer), Some(EndpointAnswer::Engine(engine)) if engine.healthy)
}

fn service_of(spark: &str, container: &observed::Container, desired: &Desired) -> Option<SimulatedService> {
    desired.services.values().find_map(|service| {
        let here = matches!(&service.place, Place::Spark(place) if place.as_str() == spark);
        let named = service.container.as_ref().is_some_and(|name| container.name == name.as_str());
        let port = service.port.filter(|_| here && named && service.kind != ServiceKind::Vllm)?;
        Some(SimulatedService { kind: service.kind, port })
    })
}

fn container_of(
    seen: &observed::Container,
    facts: &SparkFacts,
    ready: bool,
    service: Option<SimulatedService>,
    now: Timestamp,
) -> SimulatedContainer {
    let labels = seen.labels.as_ref().map(|labels| {
        let token = labels.token.as_ref().map(|token| (TOKEN.to_owned(), token.to_string()));
        [
            (CLUSTER.to_owned(), labels.cluster.to_string()),
            (OBJECT.to_owned(), labels.object.to_string()),
            (SPEC.to_owned(), labels.spec.to_string()),
        ]
        .into_iter()
        .chain(token)
        .collect::<BTreeMap<_, _>>()
    });
    let process = seen.processes.iter().flatten().find(|process| is_engine(&process.command));
    let engine = process.filter(|_| seen.running).map(|process| {
        let words = process.command.split_whitespace();
        let words = words.skip_while(|word| !word.ends_with("vllm")).map(str::to_owned).collect();
        let began = seen.started_at.unwrap_or(now);
        let ready_at = if ready { now } else { now.checked_add(SignedDuration::from_mins(2)).unwrap_or(now) };
        let mut engine = SimulatedEngine::fresh(process.pid, words, began.min(now), ready_at);
        let on_gpu = facts.gpu_processes().iter();
        let held =
            on_gpu.filter(|one| one.container.as_ref() == Some(&seen.id)).filter_map(|one| one.memory_bytes);
        engine.memory = Some(held.sum()).filter(|held| *held > 0).unwrap_or(engine.memory);
        engine
    });
    SimulatedContainer {
        id: seen.id.to_string(),
        name: seen.name.to_string(),
        image: seen.image.to_string(),
        image_id: seen.image_id.to_string(),
        labels: labels.unwrap_or_default(),
        running: seen.running,
        auto_remove: process.is_some(),
        started_at: seen.started_at.unwrap_or(now),
        engine,
        service,
        crashes: false,
        log: Vec::new(),
    }
}
