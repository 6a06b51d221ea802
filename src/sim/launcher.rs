//! The far side of `launcher::launch_cluster`: reads the script as a shell would, and starts what the published
//! launcher would start.

use std::collections::BTreeMap;

/// What a script asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedLaunch {
    pub name: String,
    pub image: String,
    /// Addresses of all nodes, the head's first; empty when solo.
    pub nodes: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// `vllm serve …`.
    pub command: Vec<String>,
}

/// Read a script of `launch_cluster::script`.
pub fn read(script: &str) -> Option<SimulatedLaunch> {
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
                engine_of(&words[at + 1..]),
            ));
        }
    }
    let (name, image, solo, command) = launch?;
    let nodes = match config.get("CLUSTER_NODES") {
        Some(nodes) if !solo => nodes.split(',').map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    Some(SimulatedLaunch { name, image, nodes, labels, command })
}

/// What takes the place of `env NAME=VALUE…`.
fn engine_of(words: &[String]) -> Vec<String> {
    let begins = words.iter().position(|word| word != "env" && !word.contains('='));
    words[begins.unwrap_or(0)..].to_vec()
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
