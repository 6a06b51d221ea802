//! `launch-cluster.sh` of a spark-vllm-docker checkout, of any age since February 2026.
//!
//! Everything is explicit so that it never prompts and never discovers: nodes, interfaces, image, name and ports, labels
//! through its docker-args hook, `-d` so that no lost session stops the cluster.

use std::fmt::Write;

use super::{options::options, order::LaunchOrder};
use crate::{
    core::model::{
        desired::EnvValue, launcher::DistributedExecutor, launcher_options::LauncherOptions, name::PlainPath,
        observed::LauncherCheckout, resolved_model::ResolvedModel,
    },
    host::quote,
};

/// The engine's command line, in its words.
pub fn script(order: LaunchOrder<'_>, dir: &PlainPath, ranks: DistributedExecutor, root: &str) -> String {
    let effective = order.effective;
    let mut text = prepare(order, dir);
    let mut words = common_words(order, ranks);
    words.extend(["-d", "exec"].map(String::from));
    let set = assignments(effective);
    if !set.is_empty() {
        words.push("env".into());
        words.extend(set);
    }
    words.extend(["vllm", "serve", root].map(String::from));
    words.extend(effective.arguments());
    start_line(&mut text, order, &words);
    text.push('\n');
    text
}

/// A launch script, which has the engine's command line.
pub fn script_of_the_owner(
    order: LaunchOrder<'_>,
    dir: &PlainPath,
    ranks: DistributedExecutor,
    script: &PlainPath,
) -> String {
    let mut text = prepare(order, dir);
    let mut words = common_words(order, ranks);
    words.push("-d".into());
    let set = assignments(order.effective);
    if set.is_empty() {
        words.extend(["--launch-script".into(), script.to_string()]);
        start_line(&mut text, order, &words);
    } else {
        write_launch_script(&mut text, script, &set);
        start_line(&mut text, order, &words);
        text.push_str(" --launch-script \"$script\"");
    }
    text.push('\n');
    text
}

/// The line that starts it, after [`prepare`], without its end.
fn start_line(text: &mut String, order: LaunchOrder<'_>, words: &[String]) {
    text.push_str("./launch-cluster.sh");
    if order.checkout.knows("--config") {
        text.push_str(" --config \"$job/config\"");
    }
    for word in words {
        let _ = write!(text, " {}", quote(word));
    }
}

/// The owner's launch script with the file's environment in front, which wins there over what the launcher sets with `-e`. In
/// `$script`; where the launcher would find none either, its own words for it, so that it says so.
fn write_launch_script(text: &mut String, script: &PlainPath, set: &[String]) {
    let _ = writeln!(text, "script={}", quote(script.as_str()));
    text.push_str("for at in \"$script\" \"examples/$script\" \"examples/$script.sh\"; do\n");
    text.push_str("    [ -f \"$at\" ] || continue\n    {\n");
    text.push_str("        sed -n '1{/^#!/p;}' \"$at\"\n");
    for one in set {
        let _ = writeln!(text, "        printf 'export %s\\n' {}", quote(&quoted_value(one)));
    }
    text.push_str("        sed '1{/^#!/d;}' \"$at\"\n    } >\"$job/launch-script\" && script=$job/launch-script\n    break\ndone\n");
}

/// `NAME='value'`, for a line of a shell script.
fn quoted_value(assignment: &str) -> String {
    let (name, value) = assignment.split_once('=').expect("made with one");
    format!("{name}={}", quote(value))
}

/// Into its directory, with its configuration and its hook set: what `run-recipe.sh` of the same checkout needs too.
pub(super) fn prepare(order: LaunchOrder<'_>, dir: &PlainPath) -> String {
    let mut text = String::from("job=$PWD\ncd\n");
    let _ = writeln!(text, "cd {} || exit 1", quote(dir.as_str()));
    if order.checkout.knows("--config") {
        write_config(&mut text, order);
    }
    // The hook is expanded without quotes: its words have nothing that needs them.
    let hook = options(order).join(" ");
    let _ = writeln!(text, "export VLLM_SPARK_EXTRA_DOCKER_ARGS={}", quote(&hook));
    let head = order.desired.sparks.get(&order.effective.model.sparks[0]);
    if let Some(hf_home) = head.and_then(|spark| spark.hf_home.as_ref()) {
        let _ = writeln!(text, "export HF_HOME={}", quote(hf_home.as_str()));
    }
    text
}

/// Options that both programs of a checkout take.
pub(super) fn common_words(order: LaunchOrder<'_>, ranks: DistributedExecutor) -> Vec<String> {
    let LaunchOrder { effective, checkout, .. } = order;
    let mut words: Vec<String> = Vec::new();
    if effective.model.sparks.len() == 1 {
        words.push("--solo".into());
    } else {
        words.extend(of_ranks(ranks, checkout).map(String::from));
    }
    let (image, name) = (effective.image.to_string(), effective.slot.container.to_string());
    words.extend(["-t".into(), image, "--name".into(), name]);
    if !checkout.knows("--config") {
        words.extend(nodes_as_options(order));
    }
    for path in &effective.model.mods {
        words.extend(["--apply-mod".into(), path.to_string()]);
    }
    let own = effective.start.checkout().map(|checkout| checkout.own);
    words.extend(own.into_iter().flat_map(LauncherOptions::all).flat_map(|option| option.words));
    for port in effective.start.docker().into_iter().flat_map(|docker| &docker.ports) {
        words.extend(["--publish".into(), port.to_string()]);
    }
    words
}

/// What the file says of the environment wins over what the launcher sets with `-e`, which `--env-file` does not: the engine gets
/// it from `env`, which the engine then takes the place of, or from its launch script. Secrets are never words.
pub(super) fn assignments(effective: &ResolvedModel<'_>) -> Vec<String> {
    let plain = effective.env.iter().filter_map(|(name, value)| match value {
        EnvValue::Plain(text) => Some(format!("{name}={text}")),
        EnvValue::Secret(_) => None,
    });
    plain.collect()
}

/// Ray was all there was, then the default beside `--no-ray`, then an option beside the other default.
fn of_ranks(ranks: DistributedExecutor, checkout: &LauncherCheckout) -> Option<&'static str> {
    let option = match ranks {
        DistributedExecutor::Processes => "--no-ray",
        DistributedExecutor::Ray => "--ray",
    };
    checkout.knows(option).then_some(option)
}

/// The nodes, their interfaces and the ports, in the words of its configuration file.
fn settings(order: LaunchOrder<'_>) -> Vec<(&'static str, String)> {
    let LaunchOrder { effective, desired, .. } = order;
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
    ours
}

/// For checkouts without configuration files.
fn nodes_as_options(order: LaunchOrder<'_>) -> Vec<String> {
    let mut words = Vec::new();
    for (key, value) in settings(order) {
        let option = match key {
            "CLUSTER_NODES" => "-n",
            "ETH_IF" => "--eth-if",
            "IB_IF" => "--ib-if",
            "MASTER_PORT" if order.checkout.knows("--master-port") => "--master-port",
            _ => continue,
        };
        words.extend([option.to_owned(), value]);
    }
    words
}

/// Our configuration file for the launcher: what the owner's `.env` says of other things, then ours. The file and not
/// options, because the launcher lets `.env` win over an option that happens to equal its default.
fn write_config(text: &mut String, order: LaunchOrder<'_>) {
    let ours = settings(order);
    let mut keys: Vec<String> = ours.iter().map(|(key, _)| (*key).to_owned()).collect();
    // It makes `-e X` of each of these, which would win over ours.
    keys.extend(order.effective.env.keys().map(|name| format!("CONTAINER_{name}")));
    let _ = writeln!(text, "{{");
    let _ = writeln!(text, "[ ! -r .env ] || grep -vE {} .env", quote(&format!("^({})=", keys.join("|"))));
    for (key, value) in &ours {
        let _ = writeln!(text, "echo {}", quote(&format!("{key}={value}")));
    }
    let _ = writeln!(text, "}} >\"$job/config\"");
}
