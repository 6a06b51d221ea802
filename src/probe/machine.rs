//! One machine's facts by one small program, `machine.sh`.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use crate::{
    core::{
        desired::SpecHash,
        observed::{Gpu, GpuProcess, Job, JobState, LauncherSeen, Token},
    },
    host::{Program, Transport, Unreachable},
};

/// What the program said.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    pub boot_id: String,
    pub uptime_secs: u64,
    pub memory_total_bytes: u64,
    pub memory_available_bytes: u64,
    pub gpu: Option<Gpu>,
    pub paths: BTreeMap<String, bool>,
    pub launchers: BTreeMap<String, LauncherSeen>,
    pub jobs: Vec<Job>,
    pub token: Option<Token>,
}

/// # Errors
/// When the program could not be run to its end.
pub async fn probe(
    transport: &dyn Transport,
    cluster: &str,
    paths: &[&str],
    launchers: &[&str],
    deadline: Duration,
) -> Result<Machine, Unreachable> {
    let program =
        Program::new("machine", concat!(include_str!("../host/alive.sh"), include_str!("machine.sh")))
            .with("cluster", cluster)
            .with("paths", paths.join("\n"))
            .with("launchers", launchers.join("\n"));
    let output = transport.run(&program, deadline).await?;
    parse(&output.stdout).ok_or_else(|| {
        let last = output.stderr.lines().last().unwrap_or("its answer was cut short").to_owned();
        Unreachable::Connection(format!("the machine probe did not finish: {last}"))
    })
}

fn parse(text: &str) -> Option<Machine> {
    // Without its last line the answer is a piece of one, and what is missing from it is not known to be missing.
    if text.lines().last() != Some("end") {
        return None;
    }
    let mut boot_id = None;
    let mut numbers: BTreeMap<&str, u64> = BTreeMap::new();
    let mut gpu: Option<Gpu> = None;
    let mut machine = Machine {
        boot_id: String::new(),
        uptime_secs: 0,
        memory_total_bytes: 0,
        memory_available_bytes: 0,
        gpu: None,
        paths: BTreeMap::new(),
        launchers: BTreeMap::new(),
        jobs: Vec::new(),
        token: None,
    };
    for line in text.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match key {
            "boot" => boot_id = Some(value.to_owned()),
            "uptime" | "memory_total_kib" | "memory_available_kib" => {
                numbers.insert(key, value.parse().ok()?);
            }
            "gpu" => gpu = gpu_of(value),
            "gpu_process" => gpu.iter_mut().for_each(|gpu| gpu.processes.extend(gpu_process_of(value))),
            "path" => {
                let (there, path) = value.split_once(' ')?;
                machine.paths.insert(path.to_owned(), there == "yes");
            }
            "launcher" => {
                let (is, dir) = value.split_once(' ')?;
                let seen = match is {
                    "missing" => LauncherSeen::Missing,
                    "nodes" => LauncherSeen::WithNodes,
                    _ => LauncherSeen::Present,
                };
                machine.launchers.insert(dir.to_owned(), seen);
            }
            "token" => machine.token = value.parse().ok(),
            "job" => machine.jobs.extend(job_of(value)),
            "job_said" => {
                let (id, words) = value.split_once(' ').unwrap_or((value, ""));
                if let Some(job) = machine.jobs.iter_mut().find(|job| job.id == id) {
                    job.last_words = Some(words.to_owned()).filter(|words| !words.is_empty());
                }
            }
            _ => {}
        }
    }
    machine.boot_id = boot_id?;
    machine.uptime_secs = *numbers.get("uptime")?;
    machine.memory_total_bytes = numbers.get("memory_total_kib")? * 1024;
    machine.memory_available_bytes = numbers.get("memory_available_kib")? * 1024;
    machine.gpu = gpu;
    Some(machine)
}

fn gpu_of(line: &str) -> Option<Gpu> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let [name, driver, temperature, power, utilization] = fields[..] else { return None };
    Some(Gpu {
        name: name.into(),
        driver: driver.into(),
        temperature_c: temperature.parse().ok(),
        power_w: power.parse().ok(),
        utilization_percent: utilization.parse().ok(),
        processes: Vec::new(),
    })
}

fn gpu_process_of(line: &str) -> Option<GpuProcess> {
    let mut fields = line.split(',').map(str::trim);
    let pid = fields.next()?.parse().ok()?;
    let name = fields.next()?.to_owned();
    let mebibytes: Option<u64> = fields.next().and_then(|field| field.parse().ok());
    Some(GpuProcess { pid, name, memory_bytes: mebibytes.map(|mebibytes| mebibytes << 20) })
}

fn job_of(line: &str) -> Option<Job> {
    let mut fields = line.splitn(6, ' ');
    let id = fields.next()?.to_owned();
    let state = match fields.next()? {
        "running" => JobState::Running,
        "lost" => JobState::Lost,
        exited => JobState::Exited(exited.strip_prefix("exited:")?.parse().ok()?),
    };
    let token = fields.next()?.parse().ok()?;
    let started_at = Timestamp::from_second(fields.next()?.parse().ok()?).ok()?;
    let spec = SpecHash::of_label(fields.next()?);
    let object = fields.next()?.to_owned();
    Some(Job { id, state, token, started_at, spec, object, last_words: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "boot b-1\nuptime 77\nmemory_total_kib 2048\nmemory_available_kib 1024\n\
        gpu NVIDIA GB10, 580.1, 41, 12.09, [N/A]\ngpu_process 7, vllm, [N/A]\npath yes /srv/m\ntoken 3.4.c-1\n\
        launcher nodes spark-vllm-docker\njob 3.4 exited:0 3.4.c-1 1700000000 v1-aa vllm\n\
        job_said 3.4 Error: no nodes\nend\n";

    #[test]
    fn readings_that_this_hardware_does_not_give_are_not_errors() {
        let machine = parse(ANSWER).unwrap();
        let gpu = machine.gpu.unwrap();
        assert_eq!(gpu.utilization_percent, None);
        assert_eq!(gpu.power_w, Some(12.09));
        assert_eq!(gpu.processes[0].memory_bytes, None);
        assert_eq!(machine.jobs[0].state, JobState::Exited(0));
        assert_eq!(machine.jobs[0].last_words.as_deref(), Some("Error: no nodes"));
        assert_eq!(machine.launchers["spark-vllm-docker"], LauncherSeen::WithNodes);
        assert_eq!(machine.token.unwrap().to_string(), "3.4.c-1");
    }

    /// If a cut answer were read as whole, a job could seem to be gone and be started again.
    #[test]
    fn an_answer_that_was_cut_is_no_answer() {
        for cut in 0..ANSWER.len() - 1 {
            assert_eq!(parse(&ANSWER[..cut]), None, "cut at {cut}");
        }
    }
}
