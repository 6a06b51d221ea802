//! The far side of `launcher::launch_cluster`: reads the script as a shell would, and starts what the published
//! launcher would start.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::world::{Container, Engine, Start, World, later};

/// What a script asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    pub name: String,
    pub image: String,
    /// Addresses of all nodes, the head's first; empty when solo.
    pub nodes: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// `vllm serve …`.
    pub command: Vec<String>,
}

/// Read a script of `launch_cluster::script`.
pub fn read(script: &str) -> Option<Launch> {
    let mut config = BTreeMap::new();
    let mut labels = BTreeMap::new();
    let mut launch = None;
    for line in script.lines() {
        if let Some(rest) = line.strip_prefix("echo ") {
            if let Some((key, value)) = words(rest).first().and_then(|word| word.split_once('=')) {
                config.insert(key.to_owned(), value.to_owned());
            }
        } else if let Some(rest) = line.strip_prefix("export VLLM_SPARK_EXTRA_DOCKER_ARGS=") {
            let hook = words(rest).concat();
            let mut words = hook.split(' ');
            while let Some(word) = words.next() {
                if word == "--label"
                    && let Some((key, value)) = words.next().and_then(|label| label.split_once('='))
                {
                    labels.insert(key.to_owned(), value.to_owned());
                }
            }
        } else if line.starts_with("./launch-cluster.sh ") {
            let words = words(line);
            let at = words.iter().position(|word| word == "exec")?;
            let after = |flag: &str| {
                let at = words[..at].iter().position(|word| word == flag)?;
                words.get(at + 1).cloned()
            };
            launch = Some((
                after("--name")?,
                after("-t")?,
                words.contains(&"--solo".to_owned()),
                words[at + 1..].to_vec(),
            ));
        }
    }
    let (name, image, solo, command) = launch?;
    let nodes = match config.get("CLUSTER_NODES") {
        Some(nodes) if !solo => nodes.split(',').map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    Some(Launch { name, image, nodes, labels, command })
}

/// The words of a shell line, as far as `host::quote` makes them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_with(String::new);
                for c in chars.by_ref().take_while(|c| *c != '\'') {
                    word.push(c);
                }
            }
            '\\' => word.get_or_insert_with(String::new).extend(chars.next()),
            c => word.get_or_insert_with(String::new).push(c),
        }
    }
    words.extend(word);
    words
}

/// Start containers and engines, as the launcher does: a name that is taken is executed into.
pub fn start(world: &mut World, head: &str, launch: &Launch, now: Timestamp) {
    let members: Vec<String> = if launch.nodes.is_empty() {
        vec![head.to_owned()]
    } else {
        launch
            .nodes
            .iter()
            .filter_map(|address| {
                world
                    .sparks
                    .iter()
                    .find(|(_, machine)| machine.address == *address)
                    .map(|(name, _)| name.clone())
            })
            .collect()
    };
    let ready_at = later(now, world.times.load);
    for (rank, member) in members.iter().enumerate() {
        let mut command = launch.command.clone();
        if members.len() > 1 {
            let rank = rank.to_string();
            command.extend([
                "--nnodes".into(),
                members.len().to_string(),
                "--node-rank".into(),
                rank.clone(),
            ]);
            if rank != "0" {
                command.push("--headless".into());
            }
        }
        let id = world.id();
        let pid = 1000 + u32::try_from(world.starts.len()).unwrap_or(0);
        let machine = world.sparks.get_mut(member).expect("members are machines");
        if machine.silent(now) {
            continue;
        }
        let Some(image_id) = machine.images.get(&launch.image).cloned() else { continue };
        let beside = machine.engines().count();
        let available = machine.memory_available(now);
        let fails = machine.load_fails > 0;
        machine.load_fails = machine.load_fails.saturating_sub(1);
        if !machine.containers.iter().any(|container| container.name == launch.name && container.running) {
            machine.containers.retain(|container| container.name != launch.name);
            machine.containers.push(Container {
                id: id.clone(),
                name: launch.name.clone(),
                image: launch.image.clone(),
                image_id,
                labels: launch.labels.clone(),
                running: true,
                auto_remove: true,
                started_at: now,
                engine: None,
                service: None,
                log: Vec::new(),
            });
        }
        let container =
            machine.containers.iter_mut().find(|container| container.name == launch.name).expect("just made");
        let mut engine = Engine::fresh(pid, command, now, ready_at);
        if fails {
            engine.dies_at = Some(now.min(ready_at));
        }
        let (root, memory) = (engine.root.clone(), engine.memory);
        container.engine = Some(engine);
        machine.tell("start", &id);
        world.starts.push(Start { spark: member.clone(), root, at: now, beside, memory, available });
    }
}

#[cfg(test)]
mod tests {
    use super::words;
    use crate::host::quote;

    #[test]
    fn what_was_quoted_is_read_back() {
        for text in ["a", "it's", "a b", "'", "", "$HOME 'x' \"y\""] {
            assert_eq!(words(&format!("x {} y", quote(text))), ["x", text, "y"]);
        }
    }
}
