//! What runs on a Spark that no file describes yet: which containers are engines, which are services, and what their
//! command lines say. Pure; `init` writes a file from it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::{desired::ServiceKind, observed::SERVER_MODULE};

/// Who started an engine's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `launch-cluster.sh`: a first process that only sleeps, the engine beside it.
    LaunchCluster,
    Sparkrun,
    /// The official playbook's `run_cluster.sh`.
    Playbook,
    /// `docker run` of an image with the engine as its main process.
    Docker,
}

impl Origin {
    /// By its name, its labels and its first process.
    pub fn of(name: &str, labels: &BTreeSet<String>, first_process: &str) -> Self {
        let playbook = name.strip_prefix("node-").is_some_and(|rest| {
            !rest.is_empty() && rest.chars().all(|letter| letter.is_ascii_alphanumeric())
        });
        let keeps = first_process.starts_with("sleep infinity") || first_process.starts_with("earlyoom");
        if name.starts_with("sparkrun_") || labels.iter().any(|label| label.starts_with("sparkrun.")) {
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

/// An engine's command line, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    pub root: String,
    pub revision: Option<String>,
    pub served_as: Vec<String>,
    pub port: u16,
    pub chat_template: Option<String>,
    /// As the file writes them.
    pub args: BTreeMap<String, Json>,
    /// It is one of several ranks, and this is its number.
    pub rank: Option<u32>,
    /// Ray carries the other ranks.
    pub ray: bool,
    /// Options of one dash that are not known.
    pub unknown: Vec<String>,
}

/// vLLM's port when nobody names one.
const ENGINE_PORT: u16 = 8000;
/// Options that stand for one word on the command line, and have a longer name.
const SHORT: [(&str, &str); 7] = [
    ("-n", "nnodes"),
    ("-r", "node-rank"),
    ("-tp", "tensor-parallel-size"),
    ("-pp", "pipeline-parallel-size"),
    ("-dp", "data-parallel-size"),
    ("-q", "quantization"),
    ("-O", "compilation-config"),
];

/// Read the words of `vllm serve …`, or of its server's module, with or without an interpreter before them. `None` for
/// anything else.
pub fn command(words: &[String]) -> Option<Command> {
    let serve = words.windows(2).position(|pair| {
        (pair[0].rsplit('/').next() == Some("vllm") && pair[1] == "serve")
            || (pair[0] == "-m" && pair[1] == SERVER_MODULE)
    })?;
    let mut rest = words[serve + 2..].iter().peekable();
    let mut read = Command {
        root: String::new(),
        revision: None,
        served_as: Vec::new(),
        port: ENGINE_PORT,
        chat_template: None,
        args: BTreeMap::new(),
        rank: None,
        ray: false,
        unknown: Vec::new(),
    };
    while let Some(word) = rest.next() {
        let (flag, written) = match word.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let long = SHORT.iter().find(|(short, _)| *short == flag).map(|(_, long)| (*long).to_owned());
        let Some(flag) = long.or_else(|| flag.strip_prefix("--").map(|flag| flag.replace('_', "-"))) else {
            // The first word that is no option is the model.
            if word.starts_with('-') {
                read.unknown.push(word.clone());
            } else if read.root.is_empty() {
                read.root.clone_from(word);
            } else if read.unknown.is_empty() {
                return None;
            }
            continue;
        };
        let mut values: Vec<String> = Vec::new();
        match written {
            Some(value) => values.push(value),
            None => values.extend(std::iter::from_fn(|| rest.next_if(|next| !is_option(next)).cloned())),
        }
        let first = || values.first().cloned();
        match flag.as_str() {
            "model" => read.root = first()?,
            "revision" => read.revision = first(),
            "served-model-name" => read.served_as = values,
            "port" => read.port = first()?.parse().ok()?,
            "chat-template" => read.chat_template = first(),
            "node-rank" => read.rank = first()?.parse().ok(),
            "distributed-executor-backend" => read.ray = first().as_deref() == Some("ray"),
            // Set by whoever starts the ranks, or by us.
            "host" | "nnodes" | "master-addr" | "master-port" | "headless" | "api-key" | "hf-token" => {}
            _ => {
                let (flag, value) = match (flag.strip_prefix("no-"), values.len()) {
                    (Some(positive), 0) => (positive.to_owned(), Json::Bool(false)),
                    (_, 0) => (flag, Json::Bool(true)),
                    (_, 1) => (flag, plain(&values[0])),
                    _ => (flag, json!(values)),
                };
                read.args.insert(flag, value);
            }
        }
    }
    (!read.root.is_empty()).then_some(read)
}

/// A value may be a negative number.
fn is_option(word: &str) -> bool {
    word.starts_with('-') && word.parse::<f64>().is_err() && word.len() > 1
}

/// A number where it is written as we would write it, so that the same word comes out again.
fn plain(text: &str) -> Json {
    let number = serde_json::from_str::<Json>(text).ok().filter(Json::is_number);
    number
        .filter(|number| number.to_string().as_str() == text)
        .unwrap_or_else(|| Json::String(text.to_owned()))
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
        let has = |word: &str| match word.len() {
            // Short ones only as a whole word.
            0..=3 => text.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|part| part == word),
            _ => text.contains(word),
        };
        SERVICES
            .iter()
            .find(|(words, ..)| words.iter().any(|word| has(word)))
            .map(|(_, kind, port)| (*kind, *port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_command_line_becomes_what_the_file_would_say() {
        let line = "/usr/bin/python3 /usr/local/bin/vllm serve Qwen/Q -tp 2 --max_model_len=4096 --enable-prefix-caching \
                    --no-enable-chunked-prefill --lora-modules a=b c=d --host 0.0.0.0 --port 8888 --served-model-name q coder \
                    --gpu-memory-utilization 0.85 --nnodes 2 --node-rank 0 --master-addr 192.0.2.1 --master-port 29501";
        let read = command(&words(line)).unwrap();
        assert_eq!((read.root.as_str(), read.port, read.rank), ("Qwen/Q", 8888, Some(0)));
        assert_eq!(read.served_as, ["q", "coder"]);
        assert_eq!(
            json!(read.args),
            json!({
                "tensor-parallel-size": 2, "max-model-len": 4096, "enable-prefix-caching": true,
                "enable-chunked-prefill": false, "lora-modules": ["a=b", "c=d"], "gpu-memory-utilization": 0.85,
            })
        );
        let module = "python3 -m vllm.entrypoints.openai.api_server --model Qwen/Q --port 8888";
        assert_eq!(command(&words(module)).map(|read| (read.root, read.port)), Some(("Qwen/Q".into(), 8888)));
        let strange = command(&words("vllm serve Qwen/Q -xy 3 --port 8888")).unwrap();
        assert_eq!(
            (strange.root.as_str(), strange.port, &strange.unknown[..]),
            ("Qwen/Q", 8888, &["-xy".to_owned()][..])
        );
        let more = "vllm serve Qwen/Q --revision main --chat-template /x.jinja --distributed-executor-backend ray --headless";
        let read = command(&words(more)).unwrap();
        assert_eq!(
            (read.revision.as_deref(), read.chat_template.as_deref()),
            (Some("main"), Some("/x.jinja"))
        );
        assert!(read.ray && read.args.is_empty(), "{read:?}");
        assert!(!command(&words("vllm serve Qwen/Q --distributed-executor-backend mp")).unwrap().ray);
        let stdin = command(&words("vllm serve lab/a=b --chat-template - --seed -1")).unwrap();
        assert_eq!((stdin.root.as_str(), stdin.chat_template.as_deref()), ("lab/a=b", Some("-")));
        assert_eq!(json!(stdin.args), json!({ "seed": -1 }));
        for other in [
            "vllm bench x",
            "x serve y",
            "python3 -m other x",
            "python3 vllm.entrypoints.openai.api_server x",
        ] {
            assert_eq!(command(&words(other)), None, "{other}");
        }
        assert_eq!(command(&words("sleep infinity")), None);
        assert_eq!(command(&words("bash -c vllm")), None);
    }

    #[test]
    fn a_word_comes_out_as_it_went_in() {
        for text in ["0.90", "1e3", "007", "{\"a\": 1}", "true", "-1", "4096"] {
            let value = plain(text);
            let out = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn services_are_known_by_their_names_and_not_by_letters_inside_them() {
        assert_eq!(service("kokoro-tts", "x").map(|found| found.0), Some(ServiceKind::Tts));
        assert_eq!(service("speech", "owner/parakeet-asr:1").map(|found| found.0), Some(ServiceKind::Asr));
        assert_eq!(service("bge-reranker", "x").map(|found| found.0), Some(ServiceKind::Rerank));
        assert_eq!(service("partner", "postgres:16"), None, "`ner` inside a word is nothing");
    }

    #[test]
    fn who_started_an_engine_is_told_by_what_they_leave() {
        let of = |name: &str, first: &str| Origin::of(name, &BTreeSet::new(), first);
        assert_eq!(of("vllm_node", "sleep infinity"), Origin::LaunchCluster);
        assert_eq!(of("sparkrun_0123_solo", "sleep infinity"), Origin::Sparkrun);
        assert_eq!(of("node-17342", "/bin/bash"), Origin::Playbook);
        assert_eq!(of("my-vllm", "vllm serve x"), Origin::Docker);
        assert_eq!(of("node-", "x"), Origin::Docker);
        assert_eq!(of("node-a.b", "x"), Origin::Docker);
        assert_eq!(of("vllm_node", "earlyoom -m 5"), Origin::LaunchCluster);
        let labels = ["sparkrun.cluster".to_owned()].into();
        assert_eq!(Origin::of("x", &labels, "sleep infinity"), Origin::Sparkrun);
        let names =
            [Origin::LaunchCluster, Origin::Sparkrun, Origin::Playbook, Origin::Docker].map(Origin::name);
        assert_eq!(names, ["launch-cluster.sh", "sparkrun", "the official playbook", "docker run"]);
    }
}
