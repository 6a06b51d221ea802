//! What is said: data on stdout, talk on stderr. That nobody reads talk is not an error.

use super::{Arguments, Exit, arguments::Format};

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
    let _ = anstream::stderr().lock().write_all(with_options(text).as_bytes());
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
    let mut text = text.to_owned();
    for command in ["approve", "check", "history", "logs", "retry", "trust"] {
        text =
            text.replace(&format!("spark-control {command} "), &format!("spark-control{options} {command} "));
    }
    text.into()
}

/// Text for a person to stdout: commands that it proposes carry the options of this run.
///
/// # Errors
/// When stdout cannot be written.
pub fn print_told(text: &str) -> anyhow::Result<()> {
    print(&told(text))
}

/// Text for a person: its proposed commands carry the options of this run, and its marks are coloured.
pub fn told(text: &str) -> String {
    super::paint::paint(&with_options(text))
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

/// Write to stdout. A reader that went away (`| head`) is not an error.
pub fn print(text: &str) -> anyhow::Result<()> {
    print_while_read(text).map(|_| ())
}

/// The same, for what goes on: false when nobody reads any more.
///
/// # Errors
/// When stdout cannot be written.
pub fn print_while_read(text: &str) -> anyhow::Result<bool> {
    use std::io::Write;
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}
