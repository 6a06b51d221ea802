//! One machine's facts by one small program, `machine.sh`.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    core::model::{
        files::FilesSeen,
        id::{BootId, LauncherOptionName, RepoRevision},
        observed::{FencingToken, Gpu, GpuProcess, GpuSeen, Job, JobState, LauncherCheckout, LauncherSeen},
        platform::{Disk, NetworkInterface, Platform},
        spec_hash::SpecHash,
        visible,
    },
    host::{Program, Transport, Unreachable, calls},
};

/// Of what another program said, in letters.
pub(super) const MAX_SAID: usize = 500;

/// What the program said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MachineFacts {
    pub boot_id: BootId,
    pub uptime_secs: u64,
    pub memory_total_bytes: u64,
    pub memory_available_bytes: u64,
    pub platform: Platform,
    pub gpu: GpuSeen,
    pub files: BTreeMap<String, FilesSeen>,
    pub launchers: BTreeMap<String, LauncherSeen>,
    pub programs: BTreeMap<String, bool>,
    pub entries: BTreeMap<String, bool>,
    pub jobs: Vec<Job>,
    pub token: Option<FencingToken>,
}

/// What to look for there.
#[derive(Debug, Clone, Default)]
pub struct ProbeRequest {
    pub hf_home: Option<String>,
    pub files: Vec<FilesToFind>,
    /// Directories of `launch-cluster.sh`.
    pub launchers: Vec<String>,
    pub programs: Vec<String>,
    pub entries: Vec<PathToFind>,
}

/// A model's files to look for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FilesToFind {
    pub key: String,
    pub at: FilesAt,
    /// The engine is told of another.
    pub tokenizer_elsewhere: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FilesAt {
    /// A directory, or one file.
    Path(String),
    /// In the Hugging Face cache.
    Cache { repo: String, revision: Option<RepoRevision> },
}

/// What may be on a disk that does not answer is asked by itself.
const LOOK: &str = concat!(
    include_str!("../host/files.sh"),
    include_str!("../host/cached.sh"),
    include_str!("look.sh"),
    "\n\"$@\"\n"
);

/// A file or directory that may be in one of several places.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathToFind {
    pub key: String,
    pub at: Vec<String>,
}

/// # Errors
/// When the program could not be run to its end.
pub async fn probe(
    transport: &dyn Transport,
    cluster: &str,
    asked: &ProbeRequest,
    deadline: Duration,
) -> Result<MachineFacts, Unreachable> {
    let output = transport.run(&program(cluster, asked), deadline).await?;
    parse(&output.stdout).ok_or_else(|| {
        Unreachable::Connection(format!("the machine probe did not finish: {}", output.why_cut()))
    })
}

/// What is run on a Spark to look at it.
pub fn program(cluster: &str, asked: &ProbeRequest) -> Program {
    let look = Program::new("look", LOOK).with("hf_home", asked.hf_home.clone().unwrap_or_default());
    Program::new(
        "machine",
        concat!(
            include_str!("../host/place.sh"),
            include_str!("../host/alive.sh"),
            include_str!("../host/alone.sh"),
            include_str!("../host/jobs.sh"),
            include_str!("machine.sh")
        ),
    )
    .with("cluster", cluster)
    .with("look", look.script())
    .with("questions", questions(asked))
}

/// As calls of `ask`.
fn questions(asked: &ProbeRequest) -> String {
    let mut questions: Vec<Vec<String>> = Vec::new();
    for files in &asked.files {
        let tokenizer = if files.tokenizer_elsewhere { "elsewhere" } else { "" };
        questions.push(match &files.at {
            FilesAt::Path(path) => vec!["path".into(), path.clone(), tokenizer.into()],
            FilesAt::Cache { repo, revision } => vec![
                "repository".into(),
                files.key.clone(),
                format!("models--{}", repo.replace('/', "--")),
                revision.clone().unwrap_or_default().into(),
                tokenizer.into(),
            ],
        });
    }
    questions.extend(asked.launchers.iter().map(|dir| vec!["checkout".into(), dir.clone()]));
    questions.extend(asked.programs.iter().map(|program| vec!["program".into(), program.clone()]));
    questions.extend(asked.entries.iter().map(|entry| {
        ["entry", &entry.key]
            .into_iter()
            .chain(entry.at.iter().map(String::as_str))
            .map(str::to_owned)
            .collect()
    }));
    calls("ask", questions.iter().map(|words| words.iter().map(String::as_str).collect()))
}

/// Read what the program said; `None` when it was cut short.
pub fn parse(text: &str) -> Option<MachineFacts> {
    // Without its last line the answer is a piece of one, and what is missing from it is not known to be missing.
    if text.lines().last() != Some("end") {
        return None;
    }
    let mut boot_id = None;
    let mut numbers: BTreeMap<&str, u64> = BTreeMap::new();
    let mut machine = MachineFacts::default();
    for line in text.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match key {
            "boot" => boot_id = Some(value.into()),
            "uptime" | "memory_total_kib" | "memory_available_kib" | "swap_total_kib" | "swap_free_kib" => {
                numbers.insert(key, value.parse().ok()?);
            }
            "kernel" => machine.platform.kernel = value.into(),
            "earlyoom" => machine.platform.earlyoom = true,
            "listening" => {
                let ports = value.split(' ').filter_map(|port| u16::from_str_radix(port, 16).ok());
                machine.platform.listening = Some(ports.collect());
            }
            "link" => machine.platform.interfaces.extend(link_of(value)),
            "address" => {
                let (name, address) = value.split_once(' ')?;
                let interface = machine.platform.interfaces.get_mut(name);
                let address = address.parse::<Ipv4Addr>().ok();
                interface.into_iter().for_each(|interface| interface.addresses.extend(address));
            }
            "disk" => machine.platform.disks.extend(disk_of(value)),
            "swap_file" => {
                let (device, file) = value.split_once(' ')?;
                machine
                    .platform
                    .swap_files
                    .extend(device.parse().ok().map(|device| (file.to_owned(), device)));
            }
            "removes_ipc" => machine.platform.removes_ipc = Some(value == "yes"),
            "lingers" => machine.platform.lingers = Some(value == "yes"),
            "gpu" => machine.gpu = gpu_of(value),
            "gpu_missing" => machine.gpu = GpuSeen::Missing,
            "gpu_refuses" => machine.gpu = gpu_refuses(value),
            "gpu_process" => {
                if let GpuSeen::Answers(gpu) = &mut machine.gpu {
                    gpu.processes.extend(gpu_process_of(value));
                }
            }
            "files" => {
                let (key, said) = value.split_once('\t')?;
                machine.files.insert(key.to_owned(), FilesSeen::of(said)?);
            }
            "unanswered" => match value.split_once(' ') {
                Some(("path" | "repository", key)) => {
                    machine.files.insert(key.to_owned(), FilesSeen::Unanswered);
                }
                _ if value.trim_end() == "gpu" => machine.gpu = GpuSeen::Hangs,
                _ => {}
            },
            "launcher" => machine.launchers.extend(launcher_of(value)),
            "program" => {
                let (there, program) = value.split_once(' ')?;
                machine.programs.insert(program.to_owned(), there == "yes");
            }
            "entry" => {
                let (there, entry) = value.split_once(' ')?;
                machine.entries.insert(entry.to_owned(), there == "yes");
            }
            "token" => machine.token = value.parse().ok(),
            "launcher_recipes" => {
                let (options, dir) = value.split_once(' ')?;
                if let Some(LauncherSeen::Present(checkout)) = machine.launchers.get_mut(dir) {
                    checkout.recipe_options = options_of(options);
                }
            }
            "job" | "job_said" => job_line(line, &mut machine.jobs),
            _ => {}
        }
    }
    machine.boot_id = boot_id?;
    machine.uptime_secs = *numbers.get("uptime")?;
    machine.memory_total_bytes = numbers.get("memory_total_kib")? * 1024;
    machine.memory_available_bytes = numbers.get("memory_available_kib")? * 1024;
    machine.platform.swap_total_bytes = numbers.get("swap_total_kib").map_or(0, |kib| kib * 1024);
    machine.platform.swap_free_bytes = numbers.get("swap_free_kib").map_or(0, |kib| kib * 1024);
    Some(machine)
}

/// Jobs alone, of a program that prints nothing else; `None` when it was cut short.
pub fn jobs(text: &str) -> Option<Vec<Job>> {
    if text.lines().last() != Some("end") {
        return None;
    }
    let mut jobs = Vec::new();
    text.lines().for_each(|line| job_line(line, &mut jobs));
    Some(jobs)
}

/// Take in a `job` or `job_said` line.
fn job_line(line: &str, jobs: &mut Vec<Job>) {
    match line.split_once(' ') {
        Some(("job", value)) => jobs.extend(job_of(value)),
        Some(("job_said", value)) => {
            let (id, words) = value.split_once(' ').unwrap_or((value, ""));
            if let Some(job) = jobs.iter_mut().find(|job| job.id == id) {
                job.said.extend(Some(visible::short(words, MAX_SAID)).filter(|words| !words.is_empty()));
            }
        }
        _ => {}
    }
}

/// `NAME SPEED <FLAGS> mtu N … KIND …`, after what `ip -d -o link` prints.
fn link_of(line: &str) -> Option<(String, NetworkInterface)> {
    let mut words = line.split_whitespace();
    let name = words.next()?.to_owned();
    // Those that are down tell -1 or nothing.
    let speed_mbps = words.next()?.parse().ok();
    let flags = words.next()?;
    let mut interface = NetworkInterface {
        is_up: flags.trim_matches(['<', '>']).split(',').any(|flag| flag == "LOWER_UP"),
        is_wireguard: line.split_whitespace().any(|word| word == "wireguard"),
        speed_mbps,
        ..NetworkInterface::default()
    };
    while let Some(word) = words.next() {
        if word == "mtu" {
            interface.mtu = words.next()?.parse().ok()?;
        }
    }
    Some((name, interface))
}

/// `BLOCK-BYTES BLOCKS FREE-BLOCKS DEVICE PATH`
fn disk_of(line: &str) -> Option<(String, Disk)> {
    let mut fields = line.splitn(5, ' ');
    let mut number = || fields.next()?.parse::<u64>().ok();
    let (block, total, free, device) = (number()?, number()?, number()?, number()?);
    let disk = Disk { total_bytes: block.checked_mul(total)?, free_bytes: block.checked_mul(free)?, device };
    Some((fields.next()?.to_owned(), disk))
}

fn launcher_of(line: &str) -> Option<(String, LauncherSeen)> {
    let mut fields = line.splitn(4, ' ');
    let (is, options, commit, dir) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let commit = (commit != "-").then(|| commit.into());
    let options = options_of(options);
    let seen = match is {
        "missing" => LauncherSeen::Missing,
        is => {
            let nodes = is.strip_prefix("nodes:").unwrap_or_default().split(',');
            let nodes = nodes.filter_map(|node| node.parse().ok()).collect();
            LauncherSeen::Present(LauncherCheckout {
                nodes,
                options,
                recipe_options: BTreeSet::new(),
                commit,
            })
        }
    };
    Some((dir.to_owned(), seen))
}

/// The options in a list with commas.
pub(super) fn options_of(list: &str) -> BTreeSet<LauncherOptionName> {
    list.split(',').filter(|option| option.starts_with("--")).map(LauncherOptionName::from).collect()
}

fn gpu_of(line: &str) -> GpuSeen {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let [name, driver, temperature, power, utilization, clock] = fields[..] else {
        return GpuSeen::Refuses { code: 0, said: visible::short(line, MAX_SAID) };
    };
    GpuSeen::Answers(Gpu {
        name: visible::short(name, MAX_SAID),
        driver: visible::short(driver, MAX_SAID).into(),
        temperature_c: temperature.parse().ok(),
        power_w: power.parse().ok(),
        utilization_percent: utilization.parse().ok(),
        clock_mhz: clock.parse().ok(),
        processes: Vec::new(),
    })
}

/// `CODE WORDS`
fn gpu_refuses(line: &str) -> GpuSeen {
    let (code, said) = line.split_once(' ').unwrap_or((line, ""));
    let said = if said.is_empty() { "nothing" } else { said };
    GpuSeen::Refuses { code: code.parse().unwrap_or(1), said: visible::short(said, MAX_SAID) }
}

/// `CONTAINER PID, NAME, MEBIBYTES`, with `-` for none.
fn gpu_process_of(line: &str) -> Option<GpuProcess> {
    let (container, line) = line.split_once(' ')?;
    let mut fields = line.split(',').map(str::trim);
    let pid = fields.next()?.parse().ok()?;
    let name = visible::short(fields.next()?, MAX_SAID);
    let mebibytes: Option<u64> = fields.next().and_then(|field| field.parse().ok());
    let memory_bytes = mebibytes.map(|mebibytes| mebibytes << 20);
    Some(GpuProcess { pid, name, memory_bytes, container: (container != "-").then(|| container.into()) })
}

fn job_of(line: &str) -> Option<Job> {
    let mut fields = line.splitn(6, ' ');
    let id = fields.next()?.into();
    let state = match fields.next()? {
        "running" => JobState::Running,
        "lost" => JobState::Lost,
        exited => JobState::Exited(exited.strip_prefix("exited:")?.parse().ok()?),
    };
    let token = fields.next()?.parse().ok()?;
    let started_at = Timestamp::from_second(fields.next()?.parse().ok()?).ok()?;
    let spec = SpecHash::of_label(fields.next()?);
    let object = fields.next()?.parse().ok()?;
    Some(Job { id, state, token, started_at, spec, object, said: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "boot b-1\nuptime 77\nmemory_total_kib 2048\nmemory_available_kib 1024\nkernel 6.11.0\n\
        swap_total_kib 4\nearlyoom yes\nlistening 0016 22B8\n\
        link eth0 200000 <BROADCAST,UP,LOWER_UP> mtu 9000 qdisc mq state UP\n\
        link wg0 - <POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1420 link/none \\    wireguard addrgenmode none\n\
        address wg0 192.0.2.9\ndisk 4096 1000 10 66306 /srv/m\n\
        gpu NVIDIA GB10, 580.1, 41, 12.09, [N/A], 2411\ngpu_process - 7, vllm, [N/A]\ngpu_process abc 8, python3, 2\n\
        files /srv/m\twhole 12\nfiles lab/a\tpartial model-2.safetensors\nunanswered path /mnt/x\ntoken 3.4.c-1\n\
        launcher nodes:192.0.2.1,192.0.2.2 --config,--solo, 0123456789ab spark-vllm-docker\nentry no mods/x\njob 3.4 exited:0 3.4.c-1 1700000000 v1-aa vllm\n\
        job_said 3.4 Error: no nodes\nend\n";

    #[test]
    fn readings_that_this_hardware_does_not_give_are_not_errors() {
        let machine = parse(ANSWER).unwrap();
        let GpuSeen::Answers(gpu) = machine.gpu else { panic!() };
        assert_eq!(gpu.utilization_percent, None);
        assert_eq!(gpu.power_w, Some(12.09));
        assert_eq!((gpu.processes[0].memory_bytes, &gpu.processes[0].container), (None, &None));
        assert_eq!(gpu.processes[1].container, Some("abc".into()));
        let platform = machine.platform;
        assert_eq!(platform.wireguard(), Some([192, 0, 2, 9].into()));
        assert_eq!(platform.interfaces["eth0"].speed_mbps, Some(200_000));
        assert_eq!((platform.interfaces["wg0"].speed_mbps, platform.interfaces["wg0"].mtu), (None, 1420));
        assert_eq!(platform.listening, Some([22, 8888].into()));
        assert_eq!(
            platform.disks["/srv/m"],
            Disk { total_bytes: 4_096_000, free_bytes: 40_960, device: 66306 }
        );
        assert!(platform.earlyoom && platform.swap_total_bytes == 4096);
        assert_eq!(machine.files["lab/a"], FilesSeen::Partial { missing: "model-2.safetensors".into() });
        assert_eq!(machine.files["/srv/m"], FilesSeen::Whole { weights_bytes: Some(12) });
        assert_eq!(machine.files["/mnt/x"], FilesSeen::Unanswered);
        assert_eq!(machine.jobs[0].state, JobState::Exited(0));
        assert_eq!(machine.jobs[0].last_log_line(), Some("Error: no nodes"));
        let LauncherSeen::Present(checkout) = &machine.launchers["spark-vllm-docker"] else { panic!() };
        assert_eq!(checkout.nodes, [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)]);
        assert!(checkout.knows("--config") && !checkout.knows("--ray"));
        assert!(!machine.entries["mods/x"]);
        assert_eq!(machine.token.unwrap().to_string(), "3.4.c-1");
    }

    /// If these were the same, a swap would begin on a GPU that cannot be used, or a Spark that is well would count as gone.
    #[test]
    fn a_gpu_answers_says_why_not_hangs_or_is_missing() {
        let gpu = |line: &str| parse(&ANSWER.replace("kernel 6.11.0", line)).unwrap().gpu;
        let after = ANSWER
            .replace("gpu NVIDIA GB10, 580.1, 41, 12.09, [N/A], 2411\n", "")
            .replace("gpu_process", "x");
        let alone = |line: &str| parse(&after.replace("kernel 6.11.0", line)).unwrap().gpu;
        assert!(matches!(gpu("kernel 6.11.0"), GpuSeen::Answers(_)));
        assert_eq!(alone("kernel 6.11.0"), GpuSeen::NotAsked);
        let said = "Failed to initialize NVML: Driver/library version mismatch";
        assert_eq!(
            alone(&format!("gpu_refuses 18 {said}")),
            GpuSeen::Refuses { code: 18, said: said.into() }
        );
        assert_eq!(alone("gpu_refuses 1"), GpuSeen::Refuses { code: 1, said: "nothing".into() });
        assert_eq!(
            alone("gpu No devices were found"),
            GpuSeen::Refuses { code: 0, said: "No devices were found".into() }
        );
        assert_eq!(alone("unanswered gpu "), GpuSeen::Hangs);
        assert_eq!(alone("gpu_missing"), GpuSeen::Missing);
    }

    /// If a cut answer were read as whole, a job could seem to be gone and be started again.
    #[test]
    fn an_answer_that_was_cut_is_no_answer() {
        for cut in 0..ANSWER.len() - 1 {
            assert_eq!(parse(&ANSWER[..cut]), None, "cut at {cut}");
        }
    }
}
