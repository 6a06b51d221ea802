//! Arguments, tracing, run, print the chain, exit code.

use std::{io::IsTerminal, process::ExitCode};

use clap::Parser;
use spark_control::cli::{
    Arguments, Exit,
    arguments::Command,
    commands,
    talk::{self, Stderr},
};
use tracing_subscriber::EnvFilter;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Error.into() } else { Exit::Done.into() };
        }
    };
    let quiet = !matches!(arguments.command, Command::Serve { .. } | Command::Demo { action: None, .. });
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(if quiet { "spark_control=error" } else { "spark_control=info" }));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    if matches!(arguments.command, Command::Serve { log_json: true, .. }) {
        log.json().init();
    } else {
        log.init();
    }
    // A panic ends a request or a look, not the program: what is left of it is this line.
    std::panic::set_hook(Box::new(|panic| tracing::error!("a mistake of this program: {panic}")));
    match commands::run(arguments).await {
        Ok(exit) => exit.into(),
        Err(error) => {
            // What is wrong with a file begins so by itself.
            let text = format!("{error:#}");
            let mark = if text.starts_with("error: ") { "" } else { "error: " };
            talk::write(&format!("{mark}{text}\n"));
            Exit::Error.into()
        }
    }
}
