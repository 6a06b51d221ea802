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

/// Why a model cannot be started this way.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error("secrets cannot be passed to a model on several Sparks yet; take `api_key` and secret `env` out")]
    SecretOnSeveral,
    #[error("the secret `{name}` cannot be read: {cause}")]
    Secret { name: String, cause: String },
}

/// What the job on the head runs.
pub struct Script {
    pub text: String,
    /// Lines for an environment file that the job keeps only until the launcher has ended.
    pub secrets: String,
}

/// Make it. The labels' values are checked names, so the docker-args hook's lack of quoting is safe; everything else
/// is quoted here, once.
///
/// # Errors
/// [`Unfit`].
pub fn script(
    object: &Object,
    effective: &Effective<'_>,
    desired: &Desired,
    token: &Token,
    secret: impl Fn(&Secret) -> Result<String, String>,
) -> Result<Script, Unfit> {
    let solo = effective.model.sparks.len() == 1;
    let secrets = secrets(effective, secret)?;
    if !secrets.is_empty() && !solo {
        return Err(Unfit::SecretOnSeveral);
    }
    let mut text = String::from("job=$PWD\ncd\n");
    let dir = quote(effective.launcher.dir.as_str());
    let _ = writeln!(text, "cd {dir} || exit 1");
    write_config(&mut text, effective, desired);
    let hook = quote(&labels_and_mounts(object, effective, desired, token));
    let _ = writeln!(text, "export VLLM_SPARK_EXTRA_DOCKER_ARGS={hook}");
    if !secrets.is_empty() {
        text.push_str("VLLM_SPARK_EXTRA_DOCKER_ARGS=\"$VLLM_SPARK_EXTRA_DOCKER_ARGS --env-file $job/env\"\n");
    }
    let mut words: Vec<String> = Vec::new();
    if solo {
        words.push("--solo".into());
    }
    words.extend([
        "-t".into(),
        effective.image.to_string(),
        "--name".into(),
        effective.slot.container.to_string(),
    ]);
    for (name, value) in &effective.env {
        if let EnvValue::Plain(value) = value {
            words.extend(["-e".into(), format!("{name}={value}")]);
        }
    }
    for path in &effective.model.mods {
        words.extend(["--apply-mod".into(), path.to_string()]);
    }
    words.extend(["-d", "exec", "vllm", "serve", effective.model.source.root()].map(String::from));
    words.extend(effective.arguments());
    text.push_str("./launch-cluster.sh --config \"$job/config\"");
    for word in &words {
        let _ = write!(text, " {}", quote(word));
    }
    text.push_str("\ncode=$?\nrm -f \"$job/env\"\nexit $code\n");
    Ok(Script { text, secrets })
}

fn secrets(
    effective: &Effective<'_>,
    secret: impl Fn(&Secret) -> Result<String, String>,
) -> Result<String, Unfit> {
    let env = effective.env.iter().filter_map(|(name, value)| match value {
        EnvValue::Secret(place) => Some((name.as_str(), place)),
        EnvValue::Plain(_) => None,
    });
    let api_key = effective.slot.api_key.as_ref().map(|place| ("VLLM_API_KEY", place));
    let mut lines = String::new();
    for (name, place) in env.chain(api_key) {
        let value = secret(place).map_err(|cause| Unfit::Secret { name: name.to_owned(), cause })?;
        let _ = writeln!(lines, "{name}={value}");
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
