//! The owner's own programs. They get the engine's words as arguments and everything else in their environment, and must
//! leave a container of the slot's name on each Spark of the model; whether they did is for the probes.
//!
//! `docs/manifest.md` and `docs/operating.md` tell owners what stands here.

use std::fmt::Write;

use super::{options::options, order::LaunchOrder};
use crate::{core::model::name::PlainPath, host::quote};

pub fn script(order: LaunchOrder<'_>, root: &str, dir: &PlainPath, program: &PlainPath) -> String {
    let LaunchOrder { effective, desired, .. } = order;
    let mut text = format!("cd\ncd {} || exit 1\n", quote(dir.as_str()));
    let served: Vec<&str> = effective.model.served_as.iter().map(AsRef::as_ref).collect();
    let nodes: Vec<String> = effective
        .model
        .sparks
        .iter()
        .map(|spark| {
            let spark = &desired.sparks[spark];
            spark.fabric.as_ref().map_or_else(|| spark.address.to_string(), |fabric| fabric.ip.to_string())
        })
        .collect();
    let told = [
        ("CONTAINER", effective.slot.container.to_string()),
        ("IMAGE", effective.image.to_string()),
        ("MODEL", effective.name.to_string()),
        ("ROOT", root.to_owned()),
        ("SERVED_AS", served.join(" ")),
        ("PORT", effective.port.to_string()),
        ("MASTER_PORT", effective.slot.master_port.to_string()),
        ("NODES", nodes.join(",")),
        ("ENV_FILE", order.environment_file.unwrap_or_default().to_owned()),
        ("DOCKER_ARGS", options(order).join(" ")),
    ];
    for (name, value) in told {
        let _ = writeln!(text, "export SPARK_CONTROL_{name}={}", quote(&value));
    }
    let _ = write!(text, "{}", quote(&format!("./{program}")));
    for word in std::iter::once(root.to_owned()).chain(effective.arguments()) {
        let _ = write!(text, " {}", quote(&word));
    }
    text.push('\n');
    text
}
