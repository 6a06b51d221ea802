//! The engine's command line, both ways: `args` of the file to words, and the words of a running engine to what the file would say.
//!
//! What a word means is the engine's to say (`FlexibleArgumentParser` of `vllm/utils/argparse_utils.py`, and the parsers of 0.11 to
//! 0.32, which a test asks): `_` is `-` before the first dot of a name, `--config.field value` sets a field of a JSON argument, and
//! few arguments take several words.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::{
    id::{ModelRoot, RepoRevision, SeenServedName},
    name::{Flag, RepoId, canonical},
};

/// Its parser appends: one word each time.
pub const REPEATED: [&str; 1] = ["middleware"];
/// It reads one word as a JSON list.
pub const JSON_LISTS: [&str; 3] = ["allowed-headers", "allowed-methods", "allowed-origins"];
/// One dash and letters, and the name that the file has for it.
pub const SHORT: [(&str, &str); 24] = [
    ("O", "optimization-level"),
    ("ac", "attention-config"),
    ("asc", "api-server-count"),
    ("cc", "compilation-config"),
    ("dc", "diffusion-config"),
    ("dcp", "decode-context-parallel-size"),
    ("dp", "data-parallel-size"),
    ("dpa", "data-parallel-address"),
    ("dpb", "data-parallel-backend"),
    ("dpe", "data-parallel-external-lb"),
    ("dph", "data-parallel-hybrid-lb"),
    ("dpl", "data-parallel-size-local"),
    ("dpm", "data-parallel-multi-port-external-lb"),
    ("dpn", "data-parallel-rank"),
    ("dpp", "data-parallel-rpc-port"),
    ("dpr", "data-parallel-start-rank"),
    ("ep", "enable-expert-parallel"),
    ("n", "nnodes"),
    ("pcp", "prefill-context-parallel-size"),
    ("pp", "pipeline-parallel-size"),
    ("q", "quantization"),
    ("r", "node-rank"),
    ("sc", "speculative-config"),
    ("tp", "tensor-parallel-size"),
];

/// The words of one argument of the file.
pub fn words(flag: &Flag, value: &Json) -> Vec<String> {
    let name = format!("--{flag}");
    // A field of a JSON argument has a value, whatever it is.
    let is_field = flag.as_str().contains('.');
    match value {
        Json::Null => Vec::new(),
        Json::Bool(true) if !is_field => vec![name],
        Json::Bool(false) if !is_field => vec![format!("--no-{flag}")],
        Json::Array(items) if REPEATED.contains(&flag.as_str()) => {
            items.iter().flat_map(|item| pair(&name, word(item))).collect()
        }
        Json::Array(items) if !is_field && !JSON_LISTS.contains(&flag.as_str()) => {
            std::iter::once(name).chain(items.iter().map(word)).collect()
        }
        other => pair(&name, word(other)),
    }
}

/// A value that looks like an option is part of the same word.
fn pair(name: &str, value: String) -> Vec<String> {
    if is_option(&value) { vec![format!("{name}={value}")] } else { vec![name.to_owned(), value] }
}

fn word(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// An engine's command line, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineCommand {
    pub root: ModelRoot,
    pub revision: Option<RepoRevision>,
    pub served_as: Vec<SeenServedName>,
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

/// Modules that are the server, by the names that they had.
const SERVERS: [&str; 4] = [
    "vllm.entrypoints.openai.api_server",
    "vllm.entrypoints.launchers.api_server.entry",
    "vllm.entrypoints.launchers.api_server",
    "vllm.entrypoints.api_server",
];
/// The module behind the program `vllm`.
const PROGRAM: &str = "vllm.entrypoints.cli.main";

/// `vllm serve …`, or the server's module, with whatever interpreter and options of it; not a shell whose command line only
/// mentions it.
pub fn is_engine(command: &str) -> bool {
    let words: Vec<&str> = command.split_whitespace().collect();
    arguments_of(&words).is_some()
}

/// The words after `vllm serve`, or after the server's module.
fn arguments_of<'a>(words: &'a [&'a str]) -> Option<&'a [&'a str]> {
    let (program, rest) = words.split_first()?;
    if file_name(program) == "vllm" {
        return after_serve(rest);
    }
    if !file_name(program).starts_with("python") && !file_name(program).starts_with("pypy") {
        return None;
    }
    let mut rest = rest;
    // The interpreter's own options.
    while let Some((option, after)) = rest.split_first() {
        if *option == "-m" {
            let (module, after) = after.split_first()?;
            return if SERVERS.contains(module) {
                Some(after)
            } else if [PROGRAM, "vllm"].contains(module) {
                after_serve(after)
            } else {
                None
            };
        }
        if !option.starts_with('-') {
            let module = option
                .rfind("vllm/entrypoints/")
                .map(|at| option[at..].trim_end_matches(".py").replace('/', "."));
            return match module {
                Some(module) if SERVERS.contains(&module.as_str()) => Some(after),
                Some(module) if module == PROGRAM => after_serve(after),
                _ if file_name(option) == "vllm" => after_serve(after),
                _ => None,
            };
        }
        // Of a program in its words the rest is its arguments.
        if *option == "-c" {
            return None;
        }
        let takes_a_word = ["-X", "-W", "--check-hash-based-pycs"].contains(option);
        rest = after.get(usize::from(takes_a_word)..)?;
    }
    None
}

/// The words after `serve`; `None` when the program is told something else.
fn after_serve<'a>(rest: &'a [&'a str]) -> Option<&'a [&'a str]> {
    match rest.split_first() {
        Some((&"serve", rest)) => Some(rest),
        _ => None,
    }
}

/// The last part of a path.
fn file_name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// Read the words of a running engine. `None` for anything else.
pub fn command(words: &[String]) -> Option<EngineCommand> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut rest = arguments_of(&words)?.iter().copied().peekable();
    let mut read = EngineCommand {
        root: ModelRoot::default(),
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
        if !is_option(word) {
            // The first word that is no option is the model.
            if read.root.as_str().is_empty() {
                read.root = word.into();
            } else if read.unknown.is_empty() {
                return None;
            }
            continue;
        }
        let level = rest.peek().is_none_or(|next| next.len() == 1 && next.parse::<u8>().is_ok());
        let option =
            if word == "-O" && !level { Some(("compilation-config".to_owned(), None)) } else { option(word) };
        let Some((flag, written)) = option else {
            read.unknown.push(word.to_owned());
            continue;
        };
        let mut values: Vec<String> = Vec::new();
        match written {
            Some(value) => values.push(value),
            None => {
                values
                    .extend(std::iter::from_fn(|| rest.next_if(|next| !is_option(next)).map(str::to_owned)));
            }
        }
        read.take(&flag, values)?;
    }
    if read.root.as_str().is_empty() {
        read.root = read.after_a_switch()?;
    }
    Some(read)
}

/// The long name of an option, and what is written behind its `=`.
fn option(word: &str) -> Option<(String, Option<String>)> {
    let (name, written) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    };
    if let Some(long) = name.strip_prefix("--") {
        return Some((canonical(long), written));
    }
    let short = name.strip_prefix('-')?;
    // `-O3`, which is one word for a level.
    if let Some(level) = short.strip_prefix('O').filter(|level| !level.is_empty() && !level.starts_with('.'))
    {
        return Some(("optimization-level".into(), Some(level.to_owned())));
    }
    let (short, field) = match short.split_once('.') {
        Some((short, field)) => (short, format!(".{field}")),
        None => (short, String::new()),
    };
    let (_, long) = SHORT.iter().find(|(known, _)| *known == short)?;
    // Levels have fields in no version; the configuration that they stood for has.
    let long = if short == "O" && !field.is_empty() { "compilation-config" } else { long };
    Some((format!("{long}{field}"), written))
}

impl EngineCommand {
    /// As an entry of `models`, without where it runs.
    ///
    /// # Errors
    /// What the file has no words for.
    pub fn entry(&self) -> Result<Map<String, Json>, String> {
        if !self.unknown.is_empty() {
            return Err(format!(
                "it was started with {}, which the file has no words for",
                self.unknown.join(" and ")
            ));
        }
        let mut entry = Map::new();
        if self.root.as_str().starts_with('/') {
            entry.insert("local_path".into(), self.root.as_str().into());
        } else if RepoId::new(self.root.as_str()).is_ok() {
            entry.insert("repo".into(), self.root.as_str().into());
        } else {
            return Err(format!("`{}` is neither a repository nor an absolute path", self.root));
        }
        entry.extend(self.revision.as_ref().map(|revision| ("revision".into(), revision.as_str().into())));
        entry.insert("served_as".into(), json!(self.served()));
        if !self.args.is_empty() {
            entry.insert("args".into(), json!(self.args));
        }
        entry.extend(self.chat_template.as_ref().map(|path| ("chat_template".into(), path.as_str().into())));
        Ok(entry)
    }

    /// The names that clients send; its own when it was told none.
    pub fn served(&self) -> Vec<SeenServedName> {
        if self.served_as.is_empty() { vec![self.root.as_str().into()] } else { self.served_as.clone() }
    }

    /// Take in one option with its values. `None` when it is not what it should be.
    fn take(&mut self, flag: &str, values: Vec<String>) -> Option<()> {
        let first = values.first().cloned();
        match flag {
            "model" => self.root = first?.into(),
            "revision" => self.revision = first.map(RepoRevision::from),
            "served-model-name" => self.served_as = values.into_iter().map(SeenServedName::from).collect(),
            "port" => self.port = first?.parse().ok()?,
            "chat-template" => self.chat_template = first,
            "node-rank" => self.rank = first?.parse().ok(),
            "distributed-executor-backend" => self.ray = first.as_deref() == Some("ray"),
            // Set by whoever starts the ranks, or by us.
            "host" | "nnodes" | "master-addr" | "master-port" | "headless" | "api-key" | "hf-token" => {}
            _ if REPEATED.contains(&flag) => {
                let known = self.args.entry(flag.to_owned()).or_insert_with(|| json!([]));
                if let Json::Array(known) = known {
                    known.extend(values.into_iter().map(Json::String));
                }
            }
            _ => {
                let (flag, value) = match (flag.strip_prefix("no-"), values.len()) {
                    (Some(positive), 0) => (positive.to_owned(), Json::Bool(false)),
                    (_, 0) => (flag.to_owned(), Json::Bool(true)),
                    (_, 1) => (flag.to_owned(), plain(&values[0])),
                    _ => (flag.to_owned(), json!(values)),
                };
                self.args.insert(flag, value);
            }
        }
        Some(())
    }

    /// The model stands behind an option that takes no word: only its name tells which those are.
    fn after_a_switch(&mut self) -> Option<ModelRoot> {
        const SWITCHES: [&str; 8] =
            ["enable-", "disable-", "no-", "trust-", "enforce-", "skip-", "async-", "return-"];
        let (flag, value) = self.args.iter_mut().find(|(flag, value)| {
            let is_switch = SWITCHES.iter().any(|begin| flag.starts_with(begin));
            is_switch && value.as_str().is_some_and(|text| text.contains('/'))
        })?;
        let root = value.as_str()?.into();
        *value = Json::Bool(true);
        let negated = flag.strip_prefix("no-").map(str::to_owned);
        if let Some(positive) = negated {
            self.args.remove(&format!("no-{positive}"));
            self.args.insert(positive, Json::Bool(false));
        }
        Some(root)
    }
}

/// A value may be a negative number, a lone dash, or nothing.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    /// If this failed, an engine that answers would be called dead, and killed.
    #[test]
    fn an_engine_is_one_however_it_was_started() {
        for engine in [
            "vllm serve /models/a --port 8888",
            "/usr/bin/python3 /usr/local/bin/vllm serve Qwen/Q",
            "python3 -m vllm.entrypoints.openai.api_server --model a",
            "python3 -m vllm.entrypoints.cli.main serve Qwen/Q",
            "python3 -m vllm serve Qwen/Q",
            "python3 -O -m vllm.entrypoints.openai.api_server --model a",
            "python3.12 -u -X dev -W ignore::UserWarning -m vllm.entrypoints.openai.api_server --model a",
            "/opt/venv/bin/python -m vllm.entrypoints.launchers.api_server.entry --model a",
            "python3 /usr/lib/python3/dist-packages/vllm/entrypoints/openai/api_server.py --model a",
            "python -I /x/vllm/entrypoints/cli/main.py serve Qwen/Q",
            "pypy3 -m vllm serve Qwen/Q",
        ] {
            assert!(is_engine(engine), "{engine}");
        }
        for other in [
            "",
            "sleep infinity",
            "bash -c vllm serve /models/a",
            "vllm bench",
            "vllm",
            "x serve y",
            "python3",
            "python3 -m",
            "python3 -X",
            "python3 -m http.server",
            "python3 -m vllm bench",
            "python3 -m vllm.entrypoints.cli.main bench",
            "python3 -c from multiprocessing.spawn import spawn_main; vllm serve",
            "python3 vllm.entrypoints.openai.api_server x",
            "VLLM::EngineCore",
        ] {
            assert!(!is_engine(other), "{other}");
        }
    }

    #[test]
    fn a_command_line_becomes_what_the_file_would_say() {
        let line = "/usr/bin/python3 /usr/local/bin/vllm serve Qwen/Q -tp 2 --max_model_len=4096 --enable-prefix-caching \
                    --no-enable-chunked-prefill --lora-modules a=b c=d --host 0.0.0.0 --port 8888 --served-model-name q coder \
                    --gpu-memory-utilization 0.85 --nnodes 2 --node-rank 0 --master-addr 192.0.2.1 --master-port 29501";
        let read = command(&words_of(line)).unwrap();
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
        let read = command(&words_of(module)).map(|read| (read.root, read.port));
        assert_eq!(read, Some(("Qwen/Q".into(), 8888)));
        let strange = command(&words_of("vllm serve Qwen/Q -xy 3 --port 8888")).unwrap();
        assert_eq!((strange.port, &strange.unknown[..]), (8888, &["-xy".to_owned()][..]));
        let more = "vllm serve Qwen/Q --revision main --chat-template /x.jinja --distributed-executor-backend ray --headless";
        let read = command(&words_of(more)).unwrap();
        assert_eq!(
            (read.revision.as_ref().map(RepoRevision::as_str), read.chat_template.as_deref()),
            (Some("main"), Some("/x.jinja"))
        );
        assert!(read.ray && read.args.is_empty(), "{read:?}");
        assert!(!command(&words_of("vllm serve Qwen/Q --distributed-executor-backend mp")).unwrap().ray);
        let stdin = command(&words_of("vllm serve lab/a=b --chat-template - --seed -1")).unwrap();
        assert_eq!((stdin.root.as_str(), stdin.chat_template.as_deref()), ("lab/a=b", Some("-")));
        assert_eq!(json!(stdin.args), json!({ "seed": -1 }));
        let last = command(&words_of("vllm serve --port 8888 --trust-remote-code Qwen/Q")).unwrap();
        assert_eq!((last.root.as_str(), json!(last.args)), ("Qwen/Q", json!({ "trust-remote-code": true })));
        for other in [
            "vllm bench x",
            "x serve y",
            "python3 -m other x",
            "sleep infinity",
            "bash -c vllm",
            "vllm serve",
        ] {
            assert_eq!(command(&words_of(other)), None, "{other}");
        }
    }

    /// If this failed, an engine would be told something else than the one that was taken over, or than the file says.
    #[test]
    fn fields_short_options_and_lists_keep_their_form() {
        let args = |line: &str| json!(command(&words_of(&format!("vllm serve a/b {line}"))).unwrap().args);
        let there_and_back = |line: &str, args_of_it: Json, back: &str| {
            assert_eq!(args(line), args_of_it, "{line}");
            let flags = args_of_it.as_object().unwrap().iter();
            let words: Vec<String> =
                flags.flat_map(|(flag, value)| words(&Flag::new(flag.as_str()).unwrap(), value)).collect();
            assert_eq!(words.join(" "), back, "{line}");
        };
        for (line, args, back) in [
            (
                "--speculative_config.num_speculative_tokens 2",
                json!({ "speculative-config.num_speculative_tokens": 2 }),
                "--speculative-config.num_speculative_tokens 2",
            ),
            ("-cc.mode 3", json!({ "compilation-config.mode": 3 }), "--compilation-config.mode 3"),
            ("-O.level=3", json!({ "compilation-config.level": 3 }), "--compilation-config.level 3"),
            (
                "-cc.use_inductor true",
                json!({ "compilation-config.use_inductor": "true" }),
                "--compilation-config.use_inductor true",
            ),
            ("-O3", json!({ "optimization-level": 3 }), "--optimization-level 3"),
            ("-O=2", json!({ "optimization-level": 2 }), "--optimization-level 2"),
            (
                "-O {\"level\":1}",
                json!({ "compilation-config": "{\"level\":1}" }),
                "--compilation-config {\"level\":1}",
            ),
            ("-O 1", json!({ "optimization-level": 1 }), "--optimization-level 1"),
            ("-ep", json!({ "enable-expert-parallel": true }), "--enable-expert-parallel"),
            ("-tp=2", json!({ "tensor-parallel-size": 2 }), "--tensor-parallel-size 2"),
            (
                "--middleware x.y --middleware z",
                json!({ "middleware": ["x.y", "z"] }),
                "--middleware x.y --middleware z",
            ),
            (
                "--allowed-origins [\"*\"]",
                json!({ "allowed-origins": "[\"*\"]" }),
                "--allowed-origins [\"*\"]",
            ),
            ("--x=-foo", json!({ "x": "-foo" }), "--x=-foo"),
            ("--x=-1.5", json!({ "x": -1.5 }), "--x -1.5"),
            ("--x.y+ a", json!({ "x.y+": "a" }), "--x.y+ a"),
            ("--x=", json!({ "x": "" }), "--x "),
        ] {
            there_and_back(line, args, back);
        }
        let words = |flag: &str, value: Json| words(&Flag::new(flag).unwrap(), &value).join(" ");
        assert_eq!(words("allowed-origins", json!(["*"])), r#"--allowed-origins ["*"]"#);
        assert_eq!(
            words("compilation-config.use_inductor", json!(false)),
            "--compilation-config.use_inductor false"
        );
        assert_eq!(words("x.y", json!([1, 2])), "--x.y [1,2]");
        assert_eq!(
            words("speculative-config", json!({ "method": "mtp" })),
            r#"--speculative-config {"method":"mtp"}"#
        );
        assert_eq!(words("x", Json::Null), "");
    }

    #[test]
    fn a_word_comes_out_as_it_went_in() {
        for text in ["0.90", "1e3", "007", "{\"a\": 1}", "true", "-1", "4096", "128k", ""] {
            let value = plain(text);
            let out = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            assert_eq!(out, text);
        }
    }
}
