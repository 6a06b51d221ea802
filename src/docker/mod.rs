//! The few Engine calls, over a [`Transport`]: all of them read.

pub mod wire;

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;

use crate::{
    core::{
        conceal::without_secrets,
        desired::SpecHash,
        label,
        observed::{Container, Labels, Process},
    },
    host::{EventStream, Transport, Unreachable},
};

/// What an Engine must not take for one container: one that hangs must not hide the others.
const ONE_CONTAINER: Duration = Duration::from_secs(5);

/// Every container, with the processes of those that `inside` asks for.
///
/// # Errors
/// When the list itself could not be read; what could not be read about one container is `None` there.
pub async fn containers(
    transport: &dyn Transport,
    inside: &(dyn Fn(&wire::Listed) -> bool + Sync),
    deadline: Duration,
) -> Result<Vec<Container>, Unreachable> {
    let listed: Vec<wire::Listed> = get(transport, "/containers/json?all=true", deadline).await?;
    let limit = deadline.min(ONE_CONTAINER);
    let reading = listed.into_iter().map(|listed| async move {
        let name = listed.name();
        let wanted = inside(&listed);
        // What is paused is there, with all that it holds.
        let running = matches!(listed.state.as_str(), "running" | "paused");
        let mut container = Container {
            name,
            running,
            restarting: listed.state == "restarting",
            image: listed.image,
            image_id: listed.image_id,
            exit_code: None,
            started_at: None,
            restarts: None,
            restart_count: 0,
            published: listed.ports.iter().filter_map(|port| port.public_port).collect(),
            label_names: listed.labels.keys().cloned().collect(),
            labels: labels(&listed.labels),
            processes: None,
            id: listed.id,
        };
        if wanted {
            let path = format!("/containers/{}/json", container.id);
            if let Ok(inspected) = get::<wire::Inspected>(transport, &path, limit).await {
                container.exit_code = Some(inspected.state.exit_code);
                let policy = inspected.host_config.restart_policy.name;
                container.restarts = Some(policy).filter(|policy| !matches!(policy.as_str(), "" | "no"));
                container.restart_count = inspected.restart_count;
                container.started_at = inspected.state.started_at.parse::<Timestamp>().ok();
            }
            if running {
                let path = format!("/containers/{}/top?ps_args=-eo%20pid,rss,args", container.id);
                container.processes =
                    get::<wire::Top>(transport, &path, limit).await.ok().map(|top| processes(&top));
            }
        }
        container
    });
    let mut containers = join_all(reading).await;
    containers.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
    Ok(containers)
}

/// The id that `image` names; `None` when there is no such image.
///
/// # Errors
/// When the Engine could not be asked.
pub async fn image_id(
    transport: &dyn Transport,
    image: &str,
    deadline: Duration,
) -> Result<Option<String>, Unreachable> {
    let path = format!("/images/{image}/json");
    let answer = transport.engine(&path, deadline).await?;
    if answer.status == 404 {
        return Ok(None);
    }
    parse::<wire::Image>(&path, answer.status, &answer.body).map(|image| Some(image.id))
}

/// The last `lines` lines of a container's output, both streams in order.
///
/// # Errors
/// When the Engine could not be asked, or the container is gone.
pub async fn logs(
    transport: &dyn Transport,
    container: &str,
    lines: u32,
    deadline: Duration,
) -> Result<String, Unreachable> {
    let path = format!("/containers/{container}/logs?stdout=true&stderr=true&timestamps=true&tail={lines}");
    let answer = transport.engine(&path, deadline).await?;
    if answer.status != 200 {
        return Err(Unreachable::Engine(format!("{path} answered {}", answer.status)));
    }
    Ok(wire::demultiplex(&answer.body))
}

/// What may change what is seen. Not `top` and `exec_*`: looking makes those itself.
const EVENTS: &str = "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22create%22%2C%22start%22\
    %2C%22restart%22%2C%22die%22%2C%22destroy%22%2C%22oom%22%2C%22pause%22%2C%22unpause%22%2C%22rename%22%5D%7D";

/// Container events from now on; each means "look again".
///
/// # Errors
/// When the Engine could not be asked.
pub async fn events(transport: &dyn Transport, deadline: Duration) -> Result<EventStream, Unreachable> {
    transport.engine_stream(EVENTS, deadline).await
}

async fn get<T: serde::de::DeserializeOwned>(
    transport: &dyn Transport,
    path: &str,
    deadline: Duration,
) -> Result<T, Unreachable> {
    let answer = transport.engine(path, deadline).await?;
    parse(path, answer.status, &answer.body)
}

fn parse<T: serde::de::DeserializeOwned>(path: &str, status: u16, body: &[u8]) -> Result<T, Unreachable> {
    if status != 200 {
        let message =
            serde_json::from_slice::<wire::Failure>(body).map(|failure| failure.message).unwrap_or_default();
        return Err(Unreachable::Engine(format!("{path} answered {status} {message}")));
    }
    serde_json::from_slice(body).map_err(|error| Unreachable::Engine(format!("{path} answered {error}")))
}

fn labels(labels: &std::collections::BTreeMap<String, String>) -> Option<Labels> {
    Some(Labels {
        cluster: labels.get(label::CLUSTER)?.clone(),
        object: labels.get(label::OBJECT)?.clone(),
        spec: SpecHash::of_label(labels.get(label::SPEC)?),
        token: labels.get(label::TOKEN).and_then(|token| token.parse().ok()),
    })
}

fn processes(top: &wire::Top) -> Vec<Process> {
    top.processes
        .iter()
        .filter_map(|row| {
            let pid = row.first()?.parse().ok()?;
            let kibibytes: u64 = row.get(1)?.parse().ok()?;
            let command = without_secrets(&row.get(2..)?.join(" "));
            Some(Process { pid, resident_bytes: kibibytes * 1024, command })
        })
        .collect()
}
