//! What a job's script says of itself.

/// What the script sets a variable to.
pub fn value_of(script: &str, name: &str) -> Option<String> {
    let line = script.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("='"))?;
    Some(line.trim_end_matches('\'').to_owned())
}
