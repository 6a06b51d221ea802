//! `launch-cluster.sh` of a spark-vllm-docker checkout.
//!
//! Everything is explicit so that it never prompts and never discovers: nodes, interfaces, image, name and ports by a
//! configuration file of ours, labels through its docker-args hook, `-d` so that no lost session stops the cluster.

use std::fmt::Write;

use crate::{
    core::{
        desired::{Desired, Effective, EnvValue, Object, Secret, Source},
        label::{CLUSTER, OBJECT, SPEC, TOKEN},
        observed::Token,
    },
    host::quote,
};

/// A secret of the model cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the secret `{name}` cannot be read: {cause}")]
pub struct NoSecret {
    name: String,
    cause: String,
}

/// What the job on the head runs. The labels' values are checked names, so the docker-args hook's lack of quoting is
/// safe; everything else is quoted here, once. `environment_file` is at that path on every Spark of the model.
pub fn script(
    object: &Object,
    effective: &Effective<'_>,
    desired: &Desired,
    token: &Token,
    environment_file: Option<&str>,
) -> String {
    let mut text = String::from("job=$PWD\ncd\n");
    let dir = quote(effective.launcher.dir.as_str());
    let _ = writeln!(text, "cd {dir} || exit 1");
    write_config(&mut text, effective, desired);
    let mut hook = labels_and_mounts(object, effective, desired, token);
    if let Some(file) = environment_file {
        let _ = write!(hook, " --env-file {file}");
    }
    let _ = writeln!(text, "export VLLM_SPARK_EXTRA_DOCKER_ARGS={}", quote(&hook));
    if let Some(hf_home) =
        desired.sparks.get(&effective.model.sparks[0]).and_then(|spark| spark.hf_home.as_ref())
    {
        let _ = writeln!(text, "export HF_HOME={}", quote(hf_home.as_str()));
    }
    let mut words: Vec<String> = Vec::new();
    if effective.model.sparks.len() == 1 {
        words.push("--solo".into());
    }
    words.extend([
        "-t".into(),
        effective.image.to_string(),
        "--name".into(),
        effective.slot.container.to_string(),
    ]);
    for path in &effective.model.mods {
        words.extend(["--apply-mod".into(), path.to_string()]);
    }
    words.extend(["-d", "exec", "vllm", "serve", effective.model.source.root()].map(String::from));
    words.extend(effective.arguments());
    text.push_str("./launch-cluster.sh --config \"$job/config\"");
    for word in &words {
        let _ = write!(text, " {}", quote(word));
    }
    text.push_str("\ncode=$?\n");
    if let Some(file) = environment_file {
        let _ = writeln!(text, "rm -f {}", quote(file));
    }
    text.push_str("exit $code\n");
    text
}

/// Lines for `docker run --env-file`: the model's environment, plain and secret. A file and not options, because the
/// launcher pastes its options into a shell line of each worker, and because argv is for everybody to read.
///
/// # Errors
/// [`NoSecret`], without the value.
pub fn environment(
    effective: &Effective<'_>,
    secret: impl Fn(&Secret) -> Result<String, String>,
) -> Result<String, NoSecret> {
    let value =
        |name: &str, place: &Secret| secret(place).map_err(|cause| NoSecret { name: name.to_owned(), cause });
    let mut lines = String::new();
    for (name, written) in &effective.env {
        let text = match written {
            EnvValue::Plain(text) => text.clone(),
            EnvValue::Secret(place) => value(name.as_str(), place)?,
        };
        let _ = writeln!(lines, "{name}={text}");
    }
    if let Some(place) = &effective.slot.api_key {
        let _ = writeln!(lines, "VLLM_API_KEY={}", value("api_key", place)?);
    }
    Ok(lines)
}

fn labels_and_mounts(object: &Object, effective: &Effective<'_>, desired: &Desired, token: &Token) -> String {
    let mut hook = format!(
        "--label {CLUSTER}={} --label {OBJECT}={object} --label {SPEC}={} --label {TOKEN}={token}",
        desired.cluster,
        effective.spec_hash(),
    );
    if let Source::LocalPath(path) = &effective.model.source {
        let _ = write!(hook, " -v {path}:{path}:ro");
    }
    hook
}

/// Our configuration file for the launcher: what the owner's `.env` says of other things, then ours. The file and not
/// options, because the launcher lets `.env` win over an option that happens to equal its default.
fn write_config(text: &mut String, effective: &Effective<'_>, desired: &Desired) {
    let mut ours = vec![
        ("CONTAINER_NAME", effective.slot.container.to_string()),
        ("MASTER_PORT", effective.slot.master_port.to_string()),
    ];
    let fabrics: Vec<_> =
        effective.model.sparks.iter().filter_map(|spark| desired.sparks[spark].fabric.as_ref()).collect();
    if effective.model.sparks.len() > 1
        && let Some(head) = fabrics.first()
    {
        let ips: Vec<String> = fabrics.iter().map(|fabric| fabric.ip.to_string()).collect();
        ours.push(("CLUSTER_NODES", ips.join(",")));
        ours.push(("COPY_HOSTS", ips[1..].join(",")));
        ours.push(("LOCAL_IP", head.ip.to_string()));
        ours.push(("ETH_IF", head.eth_if.to_string()));
        ours.extend(head.ib_if.as_ref().map(|ib_if| ("IB_IF", ib_if.to_string())));
    }
    let keys: Vec<&str> = ours.iter().map(|(key, _)| *key).collect();
    let _ = writeln!(text, "{{");
    let _ = writeln!(text, "[ ! -r .env ] || grep -vE {} .env", quote(&format!("^({})=", keys.join("|"))));
    for (key, value) in &ours {
        let _ = writeln!(text, "echo {}", quote(&format!("{key}={value}")));
    }
    let _ = writeln!(text, "}} >\"$job/config\"");
}
