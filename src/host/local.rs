//! The controller runs on the Spark itself.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use futures_util::StreamExt;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    time::timeout,
};
use tokio_util::io::ReaderStream;

use super::{
    Answering, DockerResponse, EventStream, Frame, Program, ProgramOutput, Transport, Unreachable,
    bounded::{MAX_STDOUT, read_complaint, read_whole},
    engine::EngineClient,
};

pub struct LocalTransport {
    docker_socket: PathBuf,
    engine: EngineClient,
}

impl LocalTransport {
    pub fn new(docker_socket: &Path) -> Self {
        Self { docker_socket: docker_socket.to_owned(), engine: EngineClient::default() }
    }
}

fn failed(error: std::io::Error) -> Unreachable {
    Unreachable::Connection(format!("running `sh`: {error}"))
}

fn shell(stderr: Stdio) -> Result<Child, Unreachable> {
    Command::new("sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .kill_on_drop(true)
        // A program that ends its own group must not end ours.
        .process_group(0)
        .spawn()
        .map_err(failed)
}

impl Transport for LocalTransport {
    fn run<'a>(&'a self, program: &'a Program, deadline: Duration) -> Answering<'a, ProgramOutput> {
        Box::pin(async move {
            let mut child = shell(Stdio::piped())?;
            let frame = Frame::new();
            let text = program.text(&frame);
            let mut stdin = child.stdin.take().expect("stdin is piped");
            let stdout = child.stdout.take().expect("stdout is piped");
            let stderr = child.stderr.take().expect("stderr is piped");
            let running = async {
                let telling = async {
                    // A child that ends early closes its end; its exit code tells.
                    let _ = stdin.write_all(text.as_bytes()).await;
                    drop(stdin);
                    Ok(())
                };
                let ((), out, err) = tokio::try_join!(
                    telling,
                    read_whole(stdout, MAX_STDOUT, failed),
                    read_complaint(stderr, failed)
                )?;
                let status = child.wait().await.map_err(failed)?;
                Ok(ProgramOutput::of(&frame, status.code(), &out, &err))
            };
            timeout(deadline, running).await.map_err(|_| Unreachable::Deadline(deadline))?
        })
    }

    fn run_stream<'a>(&'a self, program: &'a Program, deadline: Duration) -> Answering<'a, EventStream> {
        Box::pin(async move {
            let mut child = shell(Stdio::null())?;
            let mut stdin = child.stdin.take().expect("stdin is piped");
            let stdout = child.stdout.take().expect("stdout is piped");
            let frame = Frame::new();
            let text = program.text(&frame);
            let telling = async { stdin.write_all(text.as_bytes()).await.map_err(failed) };
            timeout(deadline, telling).await.map_err(|_| Unreachable::Deadline(deadline))??;
            drop(stdin);
            // The child lives as long as its stream is read.
            let stream = ReaderStream::new(stdout).map(move |piece| {
                let _alive = &child;
                piece.map_err(failed)
            });
            Ok(frame.skip(Box::pin(stream)))
        })
    }

    fn engine<'a>(&'a self, path: &'a str, deadline: Duration) -> Answering<'a, DockerResponse> {
        Box::pin(self.engine.get(&self.docker_socket, path, deadline))
    }

    fn engine_stream<'a>(&'a self, path: &'a str, deadline: Duration) -> Answering<'a, EventStream> {
        Box::pin(self.engine.stream(&self.docker_socket, path, deadline))
    }
}
