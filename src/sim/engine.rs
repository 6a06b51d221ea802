//! The Engine's wire: JSON answers to the few GETs that `docker` makes.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::machine::{Machine, SimulatedContainer};

/// Status and body for a path without its version.
pub fn answer(machine: &Machine, path: &str, now: Timestamp) -> (u16, Vec<u8>) {
    let (route, _) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<&str> = route.trim_start_matches('/').split('/').collect();
    let value = match parts[..] {
        ["containers", "json"] => Some(Value::Array(machine.containers.iter().map(listed).collect())),
        ["containers", id, "json"] => find(machine, id).map(|container| {
            json!({ "Id": container.id, "State": {
                "ExitCode": 0,
                "StartedAt": container.started_at.to_string(),
            } })
        }),
        ["containers", _, "top"] if machine.top_fails_until.is_some_and(|until| until > now) => None,
        ["containers", id, "top"] => find(machine, id).map(|container| {
            let mut rows = vec![json!(["1", "1024", "sleep infinity"])];
            if let Some(engine) = &container.engine {
                rows.push(json!([engine.pid.to_string(), "4194304", engine.words.join(" ")]));
            }
            json!({ "Titles": ["PID", "RSS", "COMMAND"], "Processes": rows })
        }),
        ["containers", id, "logs"] => {
            let Some(container) = find(machine, id) else { return missing(id) };
            return (200, frames(&container.log));
        }
        ["images", .., "json"] => {
            let name = parts[1..parts.len() - 1].join("/");
            machine.images.get(&name).map(|id| json!({ "Id": id }))
        }
        _ => None,
    };
    match value {
        Some(value) => (200, value.to_string().into_bytes()),
        None => missing(route),
    }
}

fn missing(what: &str) -> (u16, Vec<u8>) {
    (404, json!({ "message": format!("No such thing: {what}") }).to_string().into_bytes())
}

fn find<'a>(machine: &'a Machine, id: &str) -> Option<&'a SimulatedContainer> {
    machine.containers.iter().find(|container| container.id == id)
}

fn listed(container: &SimulatedContainer) -> Value {
    json!({
        "Id": container.id,
        "Names": [format!("/{}", container.name)],
        "Image": container.image,
        "ImageID": container.image_id,
        "State": if container.running { "running" } else { "exited" },
        "Labels": container.labels,
    })
}

/// Lines as the Engine frames them.
fn frames(lines: &[String]) -> Vec<u8> {
    let mut body = Vec::new();
    for line in lines {
        let line = format!("{line}\n");
        body.extend([1, 0, 0, 0]);
        body.extend(u32::try_from(line.len()).unwrap_or(0).to_be_bytes());
        body.extend(line.as_bytes());
    }
    body
}
