//! `docker run` of an image that has `vllm`, on one Spark. The engine is the container's main process: when it dies, the
//! container stops and its logs stay.

use std::fmt::Write;

use super::{options::options, order::LaunchOrder};
use crate::{
    core::model::{launcher_options::DockerOptions, name::PlainPath},
    host::quote,
};

/// Where images of vLLM look for the Hugging Face cache.
const CACHE: &str = "/root/.cache/huggingface";

pub fn script(
    order: LaunchOrder<'_>,
    root: &str,
    docker: &DockerOptions,
    entrypoint: Option<&PlainPath>,
) -> String {
    let LaunchOrder { effective, desired, .. } = order;
    let head = desired.sparks.get(&effective.model.sparks[0]);
    let mut text = match head.and_then(|spark| spark.hf_home.as_ref()) {
        Some(hf_home) => format!("cache={}\n", quote(hf_home.as_str())),
        None => "cache=${HF_HOME:-$HOME/.cache/huggingface}\n".to_owned(),
    };
    // Docker makes what is missing, and root owns it then.
    text.push_str("mkdir -p \"$cache\"\n");
    let gpus = docker.gpus.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string);
    let mut words = ["run", "-d", "--init", "--gpus", &gpus].map(String::from).to_vec();
    // Its own shared memory has a size; the machine's has not.
    if docker.shm_bytes.is_none() {
        words.push("--ipc=host".into());
    }
    if docker.ports.is_empty() {
        words.extend(["--network", "host"].map(String::from));
    }
    words.extend(["--name".to_owned(), effective.slot.container.to_string()]);
    words.extend(options(order));
    text.push_str("docker");
    for word in &words {
        let _ = write!(text, " {}", quote(word));
    }
    let _ = write!(text, " -v \"$cache:{CACHE}\"");
    // The image's own entry point may be anything, or nothing.
    let mut command = [
        "--entrypoint",
        entrypoint.map_or("vllm", PlainPath::as_str),
        effective.image.as_str(),
        "serve",
        root,
    ]
    .map(String::from)
    .to_vec();
    command.extend(effective.arguments());
    for word in &command {
        let _ = write!(text, " {}", quote(word));
    }
    text.push('\n');
    text
}
