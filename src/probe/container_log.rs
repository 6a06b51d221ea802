//! What a container says: its output, or a file in it where its launcher lets the engine write there.

use std::time::Duration;

use crate::{
    core::model::{
        desired::Desired,
        id::ContainerId,
        name::{PlainPath, SparkName},
    },
    docker,
    host::{Program, Transport, Unreachable},
};

/// The last `lines` lines.
///
/// # Errors
/// When they could not be read.
pub async fn last(
    transport: &dyn Transport,
    desired: &Desired,
    spark: &SparkName,
    container: &ContainerId,
    file: Option<&PlainPath>,
    lines: u32,
    deadline: Duration,
) -> Result<String, Unreachable> {
    let Some(file) = file else { return docker::logs(transport, container, lines, deadline).await };
    let socket = desired.sparks.get(spark).map_or("", |spark| spark.docker_socket.as_str());
    let program = Program::new("inside", include_str!("inside.sh"))
        .with("socket", socket)
        .with("container", container.as_str())
        .with("file", file.as_str())
        .with("lines", lines.to_string());
    let output = transport.run(&program, deadline).await?;
    let text = output.stdout.strip_suffix("end\n");
    text.map(str::to_owned).ok_or_else(|| {
        Unreachable::Docker(format!("`{file}` is not in the container, or cannot be read there"))
    })
}
