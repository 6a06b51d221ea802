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

use super::{Answer, Answering, EventStream, Output, Program, Transport, Unreachable, engine::Engine};

pub struct Local {
    docker_socket: PathBuf,
    engine: Engine,
}

impl Local {
    pub fn new(docker_socket: &Path) -> Self {
        Self { docker_socket: docker_socket.to_owned(), engine: Engine::default() }
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

impl Transport for Local {
    fn run<'a>(&'a self, program: &'a Program, deadline: Duration) -> Answering<'a, Output> {
        Box::pin(async move {
            let mut child = shell(Stdio::piped())?;
            let text = program.text();
            let mut stdin = child.stdin.take().expect("stdin is piped");
            let running = async {
                let (_, output) = tokio::join!(
                    async move {
                        // A child that ends early closes its end; its exit code tells.
                        let _ = stdin.write_all(text.as_bytes()).await;
                        drop(stdin);
                    },
                    child.wait_with_output()
                );
                output
            };
            let output = timeout(deadline, running).await.map_err(|_| Unreachable::Deadline(deadline))?;
            let output = output.map_err(failed)?;
            Ok(Output {
                code: output.status.code(),
                stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            })
        })
    }

    fn run_stream<'a>(&'a self, program: &'a Program, deadline: Duration) -> Answering<'a, EventStream> {
        Box::pin(async move {
            let mut child = shell(Stdio::null())?;
            let mut stdin = child.stdin.take().expect("stdin is piped");
            let stdout = child.stdout.take().expect("stdout is piped");
            let text = program.text();
            let telling = async { stdin.write_all(text.as_bytes()).await.map_err(failed) };
            timeout(deadline, telling).await.map_err(|_| Unreachable::Deadline(deadline))??;
            drop(stdin);
            // The child lives as long as its stream is read.
            let stream = ReaderStream::new(stdout).map(move |piece| {
                let _alive = &child;
                piece.map_err(failed)
            });
            Ok(Box::pin(stream) as EventStream)
        })
    }

    fn engine<'a>(&'a self, path: &'a str, deadline: Duration) -> Answering<'a, Answer> {
        Box::pin(self.engine.get(&self.docker_socket, path, deadline))
    }

    fn engine_stream<'a>(&'a self, path: &'a str, deadline: Duration) -> Answering<'a, EventStream> {
        Box::pin(self.engine.stream(&self.docker_socket, path, deadline))
    }
}
