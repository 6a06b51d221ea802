//! The way to a simulated machine.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;

use super::{
    engine, fence,
    machine::Machine,
    update,
    world::{Sim, SimulatedTimes},
};
use crate::{
    core::model::observed::JobState,
    host::{Answering, DockerResponse, EventStream, Program, ProgramOutput, Transport, Unreachable},
};

/// Less than a look waits, more than most things do.
const SLOW: Duration = Duration::from_secs(8);
/// As `probe/floor.sh` does.
const FLOOR_EVERY: Duration = Duration::from_secs(2);

pub struct SimulatedTransport {
    pub sim: Sim,
    pub spark: String,
}

impl SimulatedTransport {
    /// There and back. A silent machine costs its caller the connect timeout, as a real one does.
    async fn wait_if_silent(&self, deadline: Duration) -> Result<(), Unreachable> {
        let SimulatedTimes { latency, patience, .. } = self.sim.world().times;
        if !latency.is_zero() {
            tokio::time::sleep(2 * latency).await;
        }
        if self.is(Machine::is_slow) {
            tokio::time::sleep(SLOW.min(deadline).min(patience)).await;
        }
        if self.silent() {
            let limit = deadline.min(Duration::from_secs(5));
            tokio::time::sleep(limit.min(patience)).await;
            return Err(Unreachable::Deadline(limit));
        }
        Ok(())
    }

    /// What the program prints; `None` when the caller is killed meanwhile.
    fn perform(&self, program: &Program) -> Result<Option<String>, Unreachable> {
        let now = self.sim.now();
        let mut world = self.sim.world();
        match program.name {
            "machine" => Ok(Some(machine_answer(&world.sparks[&self.spark], program, now))),
            "jobs" => Ok(Some(jobs_answer(&world.sparks[&self.spark], program))),
            "socket" => {
                let hangs = world.sparks[&self.spark].engine_hangs(now);
                Ok(Some(if hangs { "dead running\n" } else { "answers\n" }.to_owned()))
            }
            "audit" => {
                let lines = &world.sparks[&self.spark].audit;
                let last = program.parameter("last").and_then(|last| last.parse().ok()).unwrap_or(0);
                let from = lines.len().saturating_sub(last);
                Ok(Some(lines[from..].iter().map(|line| format!("{line}\n")).collect::<String>() + "end\n"))
            }
            "fence" => {
                let said = fence::act(&mut world, &self.spark, program, now);
                world.acts += 1;
                if world.crash_at == Some(world.acts) {
                    self.sim.crashed.notify_one();
                    return Ok(None);
                }
                Ok(Some(said))
            }
            other => Err(Unreachable::Connection(format!("no program `{other}` is simulated"))),
        }
    }

    fn silent(&self) -> bool {
        self.is(Machine::silent)
    }

    /// A machine that is not there is everything that is bad.
    fn is(&self, what: fn(&Machine, jiff::Timestamp) -> bool) -> bool {
        let now = self.sim.now();
        self.sim.world().sparks.get(&self.spark).is_none_or(|machine| what(machine, now))
    }
}

impl Transport for SimulatedTransport {
    fn run<'a>(&'a self, program: &'a Program, deadline: Duration) -> Answering<'a, ProgramOutput> {
        Box::pin(async move {
            self.wait_if_silent(deadline).await?;
            // What a stop stops is gone before its answer comes.
            let stops = program.parameter("act") == Some("stop");
            let half = if stops { self.sim.world().times.stop / 2 } else { Duration::ZERO };
            tokio::time::sleep(half).await;
            let Some(stdout) = self.perform(program)? else { return std::future::pending().await };
            let asks = program.parameter("act") == Some("check");
            tokio::time::sleep(if asks { self.sim.world().times.check } else { half }).await;
            // The act happened; whether its answer arrives is another matter.
            if self.silent() {
                return Err(Unreachable::Connection("the connection broke".into()));
            }
            // Half of an answer is none: what came is not what was sent.
            let stdout =
                if self.is(Machine::is_garbled) { stdout[..stdout.len() / 2].to_owned() } else { stdout };
            Ok(ProgramOutput { code: Some(0), stdout, is_whole: true, ..ProgramOutput::default() })
        })
    }

    fn run_stream<'a>(&'a self, program: &'a Program, deadline: Duration) -> Answering<'a, EventStream> {
        Box::pin(async move {
            self.wait_if_silent(deadline).await?;
            if program.name != "floor" {
                return Err(Unreachable::Connection(format!("no program `{}` is simulated", program.name)));
            }
            let there = (self.sim.clone(), self.spark.clone());
            let stream = stream::unfold(there, |(sim, spark)| async move {
                tokio::time::sleep(FLOOR_EVERY).await;
                let now = sim.now();
                let available = {
                    let world = sim.world();
                    let machine = world.sparks.get(&spark).filter(|machine| !machine.silent(now))?;
                    machine.memory_available(now)
                };
                Some((Ok(Bytes::from(format!("{}\n", available / 1024))), (sim, spark)))
            });
            Ok(Box::pin(stream) as EventStream)
        })
    }

    fn engine<'a>(&'a self, path: &'a str, deadline: Duration) -> Answering<'a, DockerResponse> {
        Box::pin(async move {
            self.wait_if_silent(deadline).await?;
            let now = self.sim.now();
            let hangs = self.sim.world().sparks[&self.spark].engine_hangs(now);
            if hangs {
                tokio::time::sleep(deadline).await;
                return Err(Unreachable::Deadline(deadline));
            }
            if self.is(Machine::is_garbled) {
                return Ok(DockerResponse { status: 200, body: "<html><body>Welcome".into() });
            }
            let world = self.sim.world();
            let (status, body) = engine::answer(&world.sparks[&self.spark], path, now);
            Ok(DockerResponse { status, body: body.into() })
        })
    }

    fn engine_stream<'a>(&'a self, path: &'a str, deadline: Duration) -> Answering<'a, EventStream> {
        Box::pin(async move {
            self.wait_if_silent(deadline).await?;
            // Its Engine remembers nothing.
            if path.contains("since=") {
                return Ok(Box::pin(stream::empty()) as EventStream);
            }
            let events = self.sim.world().sparks[&self.spark].events.subscribe();
            let stream = stream::unfold(events, |mut events| async move {
                let event = events.recv().await.ok()?;
                Some((Ok(Bytes::from(event)), events))
            });
            Ok(Box::pin(stream) as EventStream)
        })
    }
}

/// What `machine.sh` would print.
fn machine_answer(machine: &Machine, program: &Program, now: jiff::Timestamp) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    let uptime = now.duration_since(machine.booted_at).as_secs().max(0);
    let _ = writeln!(text, "boot {}\nuptime {uptime}", machine.boot_id());
    let _ = writeln!(text, "memory_total_kib {}", machine.memory_total() / 1024);
    let _ = writeln!(text, "memory_available_kib {}", machine.memory_available(now) / 1024);
    let busy = machine.engines().any(|engine| engine.running > 0);
    let _ =
        writeln!(text, "gpu NVIDIA GB10, 580.95.05, 48, {}, [N/A], 2411", if busy { "45.2" } else { "12.1" });
    for container in machine.containers.iter().filter(|container| container.running) {
        if let Some(engine) = &container.engine {
            let memory = engine.memory >> 20;
            let _ = writeln!(text, "gpu_process {} {}, vllm, {memory}", container.id, engine.pid);
        }
    }
    let _ = writeln!(
        text,
        "kernel 6.11.0-1016-nvidia\nearlyoom yes\nswap_total_kib 16777212\nswap_free_kib 16777212"
    );
    let _ = writeln!(text, "link eth0 200000 <BROADCAST,UP,LOWER_UP> mtu 9000 state UP");
    let _ = writeln!(text, "address eth0 {}", machine.address);
    let ports: Vec<String> = machine.ports(now).map(|port| format!("{port:04X}")).collect();
    let _ = writeln!(text, "listening {}", ports.join(" "));
    for call in program.parameter("questions").unwrap_or_default().lines() {
        let words: Vec<&str> = call.split('\'').skip(1).step_by(2).collect();
        let _ = match words[..] {
            ["repository", key, folder, ..] if machine.lacks.contains(folder) => {
                writeln!(text, "files {key}\tabsent")
            }
            ["repository", key, ..] | ["path", key, ..] => writeln!(text, "files {key}\twhole 0"),
            // An owner's own are not there.
            ["program", path, ..] => writeln!(text, "program no {path}"),
            ["checkout", dir, ..] => {
                writeln!(text, "launcher alone --config,--launch-script,--no-ray,--ray,--solo - {dir}")
            }
            _ => Ok(()),
        };
    }
    for line in &machine.tells {
        let _ = writeln!(text, "{line}");
    }
    if let Some(token) = &machine.token {
        let _ = writeln!(text, "token {token}");
    }
    jobs(machine, &mut text);
    text + "end\n"
}

/// What `jobs.sh` would print.
fn jobs_answer(machine: &Machine, program: &Program) -> String {
    let mut text = String::new();
    let wanted = program.parameter("job").unwrap_or_default();
    match machine.jobs.iter().find(|job| job.id == wanted) {
        Some(job) if job.update.is_some() && job.state == JobState::Running => {
            text = format!("== {}\n", update::PHASE);
        }
        Some(job) if job.update.is_some() => text = format!("== {}\n{}\n", update::PHASE, job.said),
        Some(job) if job.said.is_empty() => {}
        Some(job) => text = format!("{}\n", job.said),
        None => jobs(machine, &mut text),
    }
    text + "end\n"
}

fn jobs(machine: &Machine, text: &mut String) {
    use std::fmt::Write;
    for job in machine.jobs.iter().filter(|job| !job.is_forgotten) {
        let state = match job.state {
            JobState::Running => "running".to_owned(),
            JobState::Exited(code) => format!("exited:{code}"),
            JobState::Lost => "lost".into(),
        };
        let started = job.started_at.as_second();
        let _ = writeln!(text, "job {} {state} {} {started} {} {}", job.id, job.token, job.spec, job.object);
        let said = match (&job.transfer, job.state) {
            (Some(_), JobState::Running) => "downloading: 0.1 GiB",
            _ if job.update.is_some() && job.state == JobState::Running => update::PHASE,
            _ => &job.said,
        };
        let _ = writeln!(text, "job_said {} {said}", job.id);
    }
}
