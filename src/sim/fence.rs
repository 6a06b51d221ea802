//! The far side of `apply/fence.sh`: the same parameters, the same answers.

use jiff::Timestamp;

use super::{
    launcher,
    machine::{NextLaunch, SimulatedWork, later},
    transfer, update,
    world::World,
};
use crate::{
    core::model::{
        name::FILES_OF,
        observed::{FencingToken, JobState},
    },
    host::Program,
};

/// Perform an act on a machine, and say what the program would print.
pub fn act(world: &mut World, spark: &str, program: &Program, now: Timestamp) -> String {
    let outcome = outcome(world, spark, program, now);
    let parameter = |name: &str| program.parameter(name).unwrap_or_default();
    let by = ["epoch", "sequence", "controller"].map(parameter).join(".");
    let on = ["container", "job"].map(parameter).concat();
    let line = format!("{now:.0} {by} {} {on} -> {outcome}", parameter("act"));
    world.sparks.get_mut(spark).expect("transports are made for machines of the world").audit.push(line);
    format!("outcome {outcome}\n")
}

fn outcome(world: &mut World, spark: &str, program: &Program, now: Timestamp) -> String {
    let parameter = |name: &str| program.parameter(name).unwrap_or_default().to_owned();
    let (Ok(epoch), Ok(sequence)) = (parameter("epoch").parse(), parameter("sequence").parse()) else {
        return "failed no token".into();
    };
    let token = FencingToken { epoch, sequence, controller: parameter("controller").into() };
    let times = world.times;
    let room = world.room(now);
    let machine = world.sparks.get_mut(spark).expect("transports are made for machines of the world");
    if machine.disk_full_until.is_some_and(|until| until > now) {
        return "refused cannot write the state directory (~/.local/state/spark-control)".into();
    }
    if parameter("act") == "launch" {
        match std::mem::replace(&mut machine.next_launch, NextLaunch::Arrives) {
            NextLaunch::Arrives => {}
            NextLaunch::IsRefused => return "refused Docker did not answer".into(),
            NextLaunch::IsLost => return "unknown the connection broke".into(),
        }
    }
    if let Some(seen) = &machine.token {
        if epoch < seen.epoch || (epoch == seen.epoch && token.controller != seen.controller) {
            return format!("fenced {seen}");
        }
        if epoch == seen.epoch && sequence <= seen.sequence {
            return format!("refused a newer message was seen ({}.{})", seen.epoch, seen.sequence);
        }
    }
    machine.token = Some(token.clone());
    if parameter("expect_boot") != machine.boot_id() {
        return "refused restarted since".into();
    }
    let uptime = now.duration_since(machine.booted_at).as_secs();
    if parameter("expect_before").parse().is_ok_and(|latest: i64| uptime > latest) {
        return "refused it comes too late".into();
    }
    let free = parameter("expect_free");
    if machine.containers.iter().any(|container| container.name == free) {
        return format!("refused there is a container {free}");
    }
    let image = parameter("expect_image");
    if !image.is_empty() && machine.images.get(&image) != Some(&parameter("expect_image_id")) {
        return format!("refused {image} is not the image any more that it was");
    }
    let needed_kib: u64 = parameter("expect_memory_kib").parse().unwrap_or(0);
    let free_kib = machine.memory_available(now) / 1024;
    if free_kib < needed_kib {
        let (free, needed) = (free_kib >> 20, needed_kib >> 20);
        return format!("refused only {free} GiB of memory are free now, and {needed} are needed");
    }
    let id = parameter("container");
    match parameter("act").as_str() {
        "advance" => "done".into(),
        // The engine's own parser knows no such word.
        "check" if parameter("words").contains("'--no-such-argument'") => {
            r#"said {"is": "invalid", "engine": "0.32.0", "why": "unrecognized arguments: --no-such-argument"}"#.into()
        }
        // One whose parser is nowhere that is known.
        "check" if parameter("words").contains("'--unheard-of'") => {
            r#"said {"is": "unknown", "engine": null, "why": "Elsewhere: make_arg_parser is nowhere"}"#.into()
        }
        "check" => r#"said {"is": "valid", "engine": "0.32.0", "why": ""}"#.into(),
        "stop" => {
            if machine.container(&id).is_none() {
                return "already".into();
            }
            machine.stop(&id, parameter("remove") == "yes", now, times.release);
            "done".into()
        }
        "start" => match machine.container(&id) {
            None => "refused the container is gone".into(),
            Some(container) if container.running => "already".into(),
            Some(container) => {
                container.running = true;
                container.started_at = now;
                machine.tell("start", &id);
                "done".into()
            }
        },
        "end-job" => {
            let job = machine.jobs.iter_mut().find(|job| job.id == parameter("job") && !job.is_forgotten);
            match job.filter(|job| job.state == JobState::Running) {
                None => "already".into(),
                Some(job) => {
                    job.state = JobState::Lost;
                    "done".into()
                }
            }
        }
        "delete" if !is_folder_of_a_repository(&parameter("folder")) => {
            format!("refused {} is no folder of a repository", parameter("folder"))
        }
        "delete" => {
            if machine.lacks.insert(parameter("folder")) {
                "done".into()
            } else {
                "already".into()
            }
        }
        "launch" => {
            let object = parameter("object");
            if let Some(job) = machine
                .jobs
                .iter()
                .find(|j| j.object == object && j.state == JobState::Running && !j.is_forgotten)
            {
                return format!("refused job {} is still running", job.id);
            }
            let id = parameter("job");
            let is_transfer = object.starts_with(FILES_OF);
            let update = update::read(&parameter("script"));
            let length = if is_transfer || update.is_some() { times.load } else { times.launcher };
            if machine.jobs.iter().any(|job| job.id == id) {
                return "already".into();
            }
            machine.jobs.push(SimulatedWork {
                id,
                object,
                spec: parameter("spec"),
                token,
                started_at: now,
                acts_at: later(now, length),
                launch: launcher::read(&parameter("script")),
                room,
                transfer: is_transfer.then(|| transfer::read(&parameter("script"))).flatten(),
                update,
                said: String::new(),
                state: JobState::Running,
                is_forgotten: false,
            });
            "done".into()
        }
        _ => "refused unknown act".into(),
    }
}

fn is_folder_of_a_repository(folder: &str) -> bool {
    let is_named = folder.strip_prefix("models--").is_some_and(|rest| !rest.is_empty());
    is_named && !folder.contains('/') && !folder.contains("..")
}
