//! What is said: data on stdout, talk on stderr. That nobody reads talk is not an error.

use std::io::IsTerminal;

use clap::CommandFactory;

use super::{
    arguments::{Arguments, Format},
    exit::Exit,
};
use crate::core::model::visible;

/// A line for the person at the terminal.
macro_rules! talk {
    ($($words:tt)*) => { $crate::cli::talk::write(&format!("{}\n", format_args!($($words)*))) };
}
/// The same without an end of line.
macro_rules! talk_on {
    ($($words:tt)*) => { $crate::cli::talk::write(&format!($($words)*)) };
}

/// What was done: data for a program, talk for a person.
///
/// # Errors
/// When stdout cannot be written.
pub fn say(output: Format, data: &serde_json::Value, talk: &str) -> anyhow::Result<Exit> {
    match output {
        Format::Json => print_json(data)?,
        Format::Text => talk!("{talk}"),
    }
    Ok(Exit::Done)
}

/// For `talk!`.
pub fn write(text: &str) {
    use std::io::Write;
    let text = with_options(text);
    let _ = anstream::stderr().lock().write_all(visible::lines(&text).as_bytes());
}

/// Stderr that swallows its own failures: a full disk under the log must not end the controller.
pub struct Stderr;

impl std::io::Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = std::io::stderr().write_all(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Somebody at the terminal agrees. Without a word they do not.
///
/// # Errors
/// When the terminal cannot be read.
pub fn asked(question: &str) -> anyhow::Result<bool> {
    talk_on!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Asks somebody at a terminal; elsewhere tells what was left and how to say yes. `left`: "nothing was written".
///
/// # Errors
/// When the terminal cannot be read.
pub fn agreed(question: &str, left: &str) -> anyhow::Result<bool> {
    let is_agreed = is_interactive() && asked(question)?;
    match (is_agreed, is_interactive()) {
        (true, _) => {}
        (false, true) => talk!("{left}"),
        (false, false) => talk!("{left}: there is nobody to ask; `--yes` does it"),
    }
    Ok(is_agreed)
}

/// Somebody reads what is asked, and can answer.
pub fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Options that this run was given and that every command it proposes needs too.
static OPTIONS: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Remember them, before anything is printed.
pub fn remember_options(arguments: &Arguments) {
    let mut options = String::new();
    for (name, path) in [("--data", &arguments.data), ("--file", &arguments.file)] {
        if let Some(path) = path {
            options += &format!(" {name} {}", crate::host::quote_if_needed(&path.display().to_string()));
        }
    }
    let _ = OPTIONS.set(options);
}

/// Commands that are proposed, with the options of this run.
fn with_options(text: &str) -> std::borrow::Cow<'_, str> {
    let options = OPTIONS.get().map_or("", String::as_str);
    if options.is_empty() || !text.contains("spark-control ") {
        return text.into();
    }
    let commands = Arguments::command();
    let mut pieces = text.split("spark-control ");
    let mut told = pieces.next().unwrap_or_default().to_owned();
    for rest in pieces {
        told += "spark-control";
        let word = rest.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').next();
        let is_command = commands.get_subcommands().any(|command| Some(command.get_name()) == word);
        told += if is_command { options } else { "" };
        told += " ";
        told += rest;
    }
    told.into()
}

/// Text for a person to stdout: commands that it proposes carry the options of this run.
///
/// # Errors
/// When stdout cannot be written.
pub fn print_told(text: &str) -> anyhow::Result<()> {
    write_while_read(&told(text)).map(|_| ())
}

/// Text for a person: its proposed commands carry the options of this run, and its marks are coloured.
pub fn told(text: &str) -> String {
    super::paint::paint(&visible::lines(&with_options(text)))
}

/// Of the shapes that `--output json` prints. Fields may be added to it; what is there stays.
const JSON_VERSION: u32 = 1;

/// An object for a program, to stdout, with the version of its shape.
///
/// # Errors
/// When stdout cannot be written.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&format!("{:#}\n", versioned(value)?))
}

/// The object with its version in front.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn versioned(value: &impl serde::Serialize) -> anyhow::Result<serde_json::Value> {
    let mut object = serde_json::Map::new();
    object.insert("version".into(), JSON_VERSION.into());
    match serde_json::to_value(value)? {
        serde_json::Value::Object(fields) => object.extend(fields),
        other => {
            object.insert("value".into(), other);
        }
    }
    Ok(object.into())
}

/// Write to stdout. A reader that went away (`| head`) is not an error. A terminal gets what it would obey as letters; a program or a
/// file gets every byte.
pub fn print(text: &str) -> anyhow::Result<()> {
    print_while_read(text).map(|_| ())
}

/// The same, for what goes on: false when nobody reads any more.
///
/// # Errors
/// When stdout cannot be written.
pub fn print_while_read(text: &str) -> anyhow::Result<bool> {
    if std::io::stdout().is_terminal() {
        write_while_read(&visible::lines(text))
    } else {
        write_while_read(text)
    }
}

/// What is made visible already, and may be painted.
///
/// # Errors
/// When stdout cannot be written.
pub fn write_while_read(text: &str) -> anyhow::Result<bool> {
    use std::io::Write;
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}
