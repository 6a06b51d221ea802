//! The few Engine calls, over a [`Transport`]: all of them read.

pub mod wire;

use std::time::Duration;

use futures_util::{StreamExt, future::join_all};
use jiff::Timestamp;

use crate::{
    core::model::{
        container_end::ContainerEnd,
        id::{ContainerId, LayerDigest},
        image::ImageSeen,
        label,
        observed::{Container, Labels, Process},
        redact::without_secrets,
        spec_hash::SpecHash,
        visible,
    },
    host::{EventStream, Transport, Unreachable, engine::refusal},
};

/// An image's reference is at most 255 letters and a digest.
const MAX_NAME: usize = 400;
/// What starts an engine has some hundred letters, and a few thousand where JSON is among its arguments.
const MAX_COMMAND: usize = 32 << 10;

/// What an Engine must not take for one container: one that hangs must not hide the others.
const ONE_CONTAINER: Duration = Duration::from_secs(5);

/// Every container, with the processes of those that `inside` asks for.
///
/// # Errors
/// When the list itself could not be read; what could not be read about one container is `None` there.
pub async fn containers(
    transport: &dyn Transport,
    inside: &(dyn Fn(&wire::ContainerSummary) -> bool + Sync),
    deadline: Duration,
) -> Result<Vec<Container>, Unreachable> {
    let listed: Vec<wire::ContainerSummary> = get(transport, "/containers/json?all=true", deadline).await?;
    if let Some(odd) = listed.iter().find(|listed| !is_id(&listed.id)) {
        return Err(Unreachable::Engine(format!(
            "it lists a container with the id `{}`, which is none",
            visible::short(&odd.id, MAX_NAME)
        )));
    }
    let limit = deadline.min(ONE_CONTAINER);
    let reading = listed.into_iter().map(|listed| async move {
        let name = visible::short(&listed.name(), MAX_NAME);
        let wanted = inside(&listed);
        // What is paused is there, with all that it holds.
        let running = matches!(listed.state.as_str(), "running" | "paused");
        let mut container = Container {
            name: name.into(),
            running,
            restarting: listed.state == "restarting",
            image: visible::short(&listed.image, MAX_NAME).into(),
            image_id: visible::short(&listed.image_id, MAX_NAME).into(),
            exit_code: None,
            started_at: None,
            restarts: None,
            restart_count: 0,
            published: listed.ports.iter().filter_map(|port| port.public_port).collect(),
            label_names: listed.labels.keys().map(|name| visible::short(name, MAX_NAME).into()).collect(),
            labels: labels(&listed.labels),
            processes: None,
            id: listed.id.into(),
        };
        if wanted {
            let path = format!("/containers/{}/json", container.id);
            if let Ok(inspected) = get::<wire::InspectedContainer>(transport, &path, limit).await {
                container.exit_code = Some(inspected.state.exit_code);
                let policy = inspected.host_config.restart_policy.name;
                container.restarts =
                    Some(policy).filter(|policy| !matches!(policy.as_str(), "" | "no")).map(Into::into);
                container.restart_count = inspected.restart_count;
                container.started_at = inspected.state.started_at.parse::<Timestamp>().ok();
            }
            if running {
                let path = format!("/containers/{}/top?ps_args=-eo%20pid,rss,args", container.id);
                container.processes =
                    get::<wire::ProcessTable>(transport, &path, limit).await.ok().map(|top| processes(&top));
            }
        }
        container
    });
    let mut containers = join_all(reading).await;
    containers.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
    Ok(containers)
}

/// The image that a reference names; `None` when there is no such image.
///
/// # Errors
/// When the Engine could not be asked.
pub async fn image(
    transport: &dyn Transport,
    image: &str,
    deadline: Duration,
) -> Result<Option<ImageSeen>, Unreachable> {
    let path = format!("/images/{image}/json");
    let answer = transport.engine(&path, deadline).await?;
    if answer.status == 404 {
        return Ok(None);
    }
    let image: wire::InspectedImage = parse(&path, answer.status, &answer.body)?;
    // `NAME@sha256:…`: the registry's name is not the image's.
    let digests = image.repo_digests.iter().filter_map(|digest| Some(digest.split_once('@')?.1.into()));
    Ok(Some(ImageSeen {
        id: image.id.into(),
        digests: digests.collect(),
        layers: image.root_fs.layers.into_iter().map(LayerDigest::from).collect(),
        user: image.config.user.into(),
    }))
}

/// The last `lines` lines of a container's output, both streams in order.
///
/// # Errors
/// When the Engine could not be asked, or the container is gone.
pub async fn logs(
    transport: &dyn Transport,
    container: &ContainerId,
    lines: u32,
    deadline: Duration,
) -> Result<String, Unreachable> {
    let mut lines = lines;
    loop {
        let path =
            format!("/containers/{container}/logs?stdout=true&stderr=true&timestamps=true&tail={lines}");
        match transport.engine(&path, deadline).await {
            Ok(answer) if answer.status == 200 => return Ok(wire::demultiplex(&answer.body)),
            Ok(answer) => return Err(Unreachable::Engine(refusal(&path, answer.status, &answer.body))),
            // Its lines are long: the last of them are worth more than none.
            Err(Unreachable::TooMuch(_)) if lines > FEWEST_LINES => lines = FEWEST_LINES.max(lines / 8),
            Err(error) => return Err(error),
        }
    }
}

/// Lines of 16 KiB, which is where Docker breaks them, fit into an answer.
const FEWEST_LINES: u32 = 100;

/// As Docker makes them: hex, 64 digits or the first of them.
fn is_id(text: &str) -> bool {
    (12..=64).contains(&text.len())
        && text.chars().all(|letter| letter.is_ascii_digit() || ('a'..='f').contains(&letter))
}

/// What may change what is seen. Not `top` and `exec_*`: looking makes those itself.
const EVENTS: &str = "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22create%22%2C%22start%22\
    %2C%22restart%22%2C%22die%22%2C%22destroy%22%2C%22oom%22%2C%22pause%22%2C%22unpause%22%2C%22rename%22%5D%7D";

/// What the Engine remembers of how a container ended; `None` when it remembers nothing. It keeps the last 256 events of
/// everything on its machine.
///
/// # Errors
/// When the Engine could not be asked.
pub async fn end_of(
    transport: &dyn Transport,
    container: &ContainerId,
    deadline: Duration,
) -> Result<Option<ContainerEnd>, Unreachable> {
    // From the beginning on, because the clock there may be another. What is remembered comes at once, and then what happens.
    let path = format!(
        "/events?since=0&filters=%7B%22container%22%3A%5B%22{container}%22%5D%2C%22event%22%3A%5B%22die%22%2C%22oom%22%2C\
         %22kill%22%5D%7D"
    );
    let mut said = transport.engine_stream(&path, deadline).await?;
    let mut text = Vec::new();
    while let Ok(Some(Ok(piece))) = tokio::time::timeout(REMEMBERED, said.next()).await {
        if text.len() + piece.len() > MAX_EVENTS {
            break;
        }
        text.extend_from_slice(&piece);
    }
    let mut end = ContainerEnd::default();
    for event in serde_json::Deserializer::from_slice(&text).into_iter::<wire::ContainerEvent>().flatten() {
        let of = |name: &str| event.actor.attributes.get(name).map(String::as_str);
        match event.action.as_str() {
            "die" => end.exit_code = of("exitCode").and_then(|code| code.parse().ok()),
            "oom" => end.is_out_of_memory = true,
            "kill" => end.told_signal = of("signal").and_then(|signal| signal.parse().ok()),
            _ => {}
        }
    }
    Ok(Some(end).filter(|end| *end != ContainerEnd::default()))
}

/// Between two pieces of what an Engine remembers.
const REMEMBERED: Duration = Duration::from_millis(800);
/// Three events of one container, with all their labels, in bytes.
const MAX_EVENTS: usize = 256 << 10;

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
        return Err(Unreachable::Engine(refusal(path, status, body)));
    }
    serde_json::from_slice(body).map_err(|error| Unreachable::Engine(format!("{path} answered {error}")))
}

fn labels(labels: &std::collections::BTreeMap<String, String>) -> Option<Labels> {
    Some(Labels {
        cluster: visible::short(labels.get(label::CLUSTER)?, MAX_NAME).into(),
        object: labels.get(label::OBJECT)?.parse().ok()?,
        spec: SpecHash::of_label(labels.get(label::SPEC)?),
        token: labels.get(label::TOKEN).and_then(|token| token.parse().ok()),
    })
}

fn processes(top: &wire::ProcessTable) -> Vec<Process> {
    top.processes
        .iter()
        .filter_map(|row| {
            let pid = row.first()?.parse().ok()?;
            let kibibytes: u64 = row.get(1)?.parse().ok()?;
            let command = row.get(2..)?.join(" ");
            // A cut one would be another: it is none of an engine then, and is only shown.
            let is_long = command.len() > MAX_COMMAND;
            let command =
                without_secrets(&if is_long { visible::short(&command, MAX_NAME) } else { command });
            Some(Process { pid, resident_bytes: kibibytes * 1024, command })
        })
        .collect()
}
