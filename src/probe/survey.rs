//! A Spark that no file describes yet: everything that runs there, with the exact words of its engines.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    core::model::{
        command_line::{self, EngineCommand, is_engine},
        id::{ContainerId, ImageId, SeenImageRef},
        observed::Container,
    },
    docker,
    host::{Program, Transport, Unreachable},
    probe::{
        machine::{self, MachineFacts, ProbeRequest},
        socket,
    },
};

const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
pub struct SparkSurvey {
    pub machine: MachineFacts,
    pub containers: Vec<Container>,
    /// The engine inside a container, by the container's id.
    pub engines: BTreeMap<ContainerId, EngineCommand>,
    /// The id that each image reference of a running container names.
    pub images: BTreeMap<SeenImageRef, Option<ImageId>>,
}

/// # Errors
/// When it does not answer.
pub async fn survey(
    transport: &dyn Transport,
    cluster: &str,
    socket: &str,
) -> Result<SparkSurvey, Unreachable> {
    match seen(transport, cluster).await {
        Err(why) => Err(socket::told(transport, socket, why).await),
        seen => seen,
    }
}

async fn seen(transport: &dyn Transport, cluster: &str) -> Result<SparkSurvey, Unreachable> {
    let asked = ProbeRequest { launchers: vec!["spark-vllm-docker".into()], ..ProbeRequest::default() };
    let (machine, containers) = tokio::join!(
        machine::probe(transport, cluster, &asked, DEADLINE),
        docker::containers(transport, &|_| true, DEADLINE)
    );
    let (machine, containers) = (machine?, containers?);
    let mut of: BTreeMap<u32, &ContainerId> = BTreeMap::new();
    for container in containers.iter().filter(|container| container.running) {
        for process in container.processes.iter().flatten().filter(|p| is_engine(&p.command)) {
            of.insert(process.pid, &container.id);
        }
    }
    let pids: Vec<String> = of.keys().map(ToString::to_string).collect();
    let program = Program::new("words", include_str!("words.sh")).with("pids", pids.join("\n"));
    let output = transport.run(&program, DEADLINE).await?;
    let mut words: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for line in output.stdout.lines().filter_map(|line| line.strip_prefix("word ")) {
        let Some((pid, word)) = line.split_once(' ') else { continue };
        let word = word.replace('\u{1e}', "\n");
        pid.parse().into_iter().for_each(|pid| words.entry(pid).or_default().push(word.clone()));
    }
    let engines = words
        .iter()
        .filter_map(|(pid, words)| Some(((*of.get(pid)?).clone(), command_line::command(words)?)));
    let engines: BTreeMap<ContainerId, EngineCommand> = engines.collect();
    let mut images = BTreeMap::new();
    for container in containers.iter().filter(|container| engines.contains_key(&container.id)) {
        if !images.contains_key(&container.image) {
            let image = docker::image(transport, container.image.as_str(), DEADLINE).await?;
            images.insert(container.image.clone(), image.map(|image| image.id));
        }
    }
    Ok(SparkSurvey { machine, containers, engines, images })
}
