//! What runs on a Spark that no file describes yet: who started an engine's container, and which containers are services. Pure;
//! `init` writes a file from it.

use std::collections::BTreeSet;

use crate::core::model::{desired::ServiceKind, id::LabelName};

/// Who started an engine's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineOrigin {
    /// `launch-cluster.sh`: a first process that only sleeps, the engine beside it.
    LaunchCluster,
    Sparkrun,
    /// The official playbook's `run_cluster.sh`.
    Playbook,
    /// `docker run` of an image with the engine as its main process.
    Docker,
}

impl EngineOrigin {
    /// By its name, its labels and its first process.
    pub fn of(name: &str, labels: &BTreeSet<LabelName>, first_process: &str) -> Self {
        let playbook = name.strip_prefix("node-").is_some_and(|rest| {
            !rest.is_empty() && rest.chars().all(|letter| letter.is_ascii_alphanumeric())
        });
        let keeps =
            ["sleep infinity", "earlyoom"].iter().any(|keeps| without_init(first_process).starts_with(keeps));
        if name.starts_with("sparkrun_") || labels.iter().any(|label| label.as_str().starts_with("sparkrun."))
        {
            Self::Sparkrun
        } else if playbook {
            Self::Playbook
        } else if keeps {
            Self::LaunchCluster
        } else {
            Self::Docker
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::LaunchCluster => "launch-cluster.sh",
            Self::Sparkrun => "sparkrun",
            Self::Playbook => "the official playbook",
            Self::Docker => "docker run",
        }
    }
}

/// Past `/sbin/docker-init -- ` and the like: `docker run --init`, and the Engine's own setting `init: true`, put a small program in
/// front that ends children.
fn without_init(process: &str) -> &str {
    const INITS: [&str; 4] = ["docker-init", "tini", "dumb-init", "catatonit"];
    let (first, rest) = process.split_once(' ').unwrap_or((process, ""));
    let name = first.rsplit('/').next().unwrap_or(first);
    if name == "init" && first == "/dev/init" || INITS.contains(&name) {
        let rest = rest.trim_start_matches(' ');
        return rest.strip_prefix("-- ").unwrap_or(rest);
    }
    process
}

/// Words in the name of a container or an image, the kind that they mean, and its usual port.
const SERVICES: [(&[&str], ServiceKind, u16); 7] = [
    (&["parakeet", "whisper", "asr", "speaches"], ServiceKind::Asr, 8000),
    (&["kokoro", "tts", "piper"], ServiceKind::Tts, 8880),
    (&["diariz", "pyannote", "sortformer"], ServiceKind::Diarization, 8002),
    (&["rerank"], ServiceKind::Rerank, 8003),
    (&["bge", "embedding", "infinity", "text-embeddings"], ServiceKind::Embeddings, 8001),
    (&["qdrant"], ServiceKind::Qdrant, 6333),
    (&["presidio", "redact", "ner"], ServiceKind::RedactionNer, 3000),
];

/// The kind of a service by the words in its container's name, then in its image's; with its usual port.
pub fn service(name: &str, image: &str) -> Option<(ServiceKind, u16)> {
    // Of `registry/owner/name:tag` only the name says what it is.
    let image = image.rsplit('/').next().unwrap_or(image);
    let image = image.split(':').next().unwrap_or(image);
    [name, image].into_iter().find_map(|text| {
        let text = text.to_lowercase();
        SERVICES
            .iter()
            .find(|(words, ..)| words.iter().any(|word| has_word(&text, word)))
            .map(|(_, kind, port)| (*kind, *port))
    })
}

/// The word is in the text: a short one only as a whole word.
fn has_word(text: &str, word: &str) -> bool {
    match word.len() {
        0..=3 => text.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|part| part == word),
        _ => text.contains(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_known_by_their_names_and_not_by_letters_inside_them() {
        assert_eq!(service("kokoro-tts", "x").map(|found| found.0), Some(ServiceKind::Tts));
        assert_eq!(service("speech", "owner/parakeet-asr:1").map(|found| found.0), Some(ServiceKind::Asr));
        assert_eq!(service("bge-reranker", "x").map(|found| found.0), Some(ServiceKind::Rerank));
        assert_eq!(service("partner", "postgres:16"), None, "`ner` inside a word is nothing");
    }

    #[test]
    fn who_started_an_engine_is_told_by_what_they_leave() {
        let of = |name: &str, first: &str| EngineOrigin::of(name, &BTreeSet::new(), first);
        assert_eq!(of("vllm_node", "sleep infinity"), EngineOrigin::LaunchCluster);
        assert_eq!(of("sparkrun_0123_solo", "sleep infinity"), EngineOrigin::Sparkrun);
        assert_eq!(of("node-17342", "/bin/bash"), EngineOrigin::Playbook);
        assert_eq!(of("my-vllm", "vllm serve x"), EngineOrigin::Docker);
        assert_eq!(of("node-", "x"), EngineOrigin::Docker);
        assert_eq!(of("node-a.b", "x"), EngineOrigin::Docker);
        assert_eq!(of("vllm_node", "earlyoom -m 5"), EngineOrigin::LaunchCluster);
        for init in
            ["/sbin/docker-init -- ", "docker-init -- ", "/usr/bin/tini -- ", "/dev/init -- ", "dumb-init "]
        {
            assert_eq!(
                of("vllm_node", &format!("{init}sleep infinity")),
                EngineOrigin::LaunchCluster,
                "{init}"
            );
            assert_eq!(of("my-vllm", &format!("{init}vllm serve x")), EngineOrigin::Docker, "{init}");
        }
        let labels = ["sparkrun.cluster".into()].into();
        assert_eq!(EngineOrigin::of("x", &labels, "sleep infinity"), EngineOrigin::Sparkrun);
        let names = [
            EngineOrigin::LaunchCluster,
            EngineOrigin::Sparkrun,
            EngineOrigin::Playbook,
            EngineOrigin::Docker,
        ]
        .map(EngineOrigin::name);
        assert_eq!(names, ["launch-cluster.sh", "sparkrun", "the official playbook", "docker run"]);
    }
}
