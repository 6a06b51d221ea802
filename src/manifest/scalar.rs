//! Values as text: on one line, in words that every YAML parser reads as they are meant.

use serde_json::Value as Json;

/// A value on one line, as entries of this file mostly are.
pub fn on_one_line(value: &Json) -> String {
    written(value, false)
}

pub(super) fn written(value: &Json, is_json: bool) -> String {
    match value {
        Json::Null | Json::Bool(_) => value.to_string(),
        Json::Number(number) => figure(&number.to_string()),
        Json::String(text) => {
            if is_json {
                quoted(text)
            } else {
                word(text)
            }
        }
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| written(item, is_json)).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(entries) if entries.is_empty() => "{}".into(),
        Json::Object(entries) => {
            let pairs: Vec<String> = entries.iter().map(|(key, value)| pair(key, value, is_json)).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

/// An entry of a map on one line.
fn pair(key: &str, value: &Json, is_json: bool) -> String {
    let key = if is_json { quoted(key) } else { word(key) };
    format!("{key}: {}", written(value, is_json))
}

/// YAML 1.1 takes `1e-7` for a word: it wants a point, and a sign in the exponent.
fn figure(text: &str) -> String {
    match text.split_once('e') {
        None => text.to_owned(),
        Some((digits, exponent)) => {
            let point = if digits.contains('.') { "" } else { ".0" };
            let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
            format!("{digits}{point}e{sign}{exponent}")
        }
    }
}

/// Text as a scalar that every YAML parser reads as that text: plain when nobody could take it for something else, else
/// in double quotes, whose escapes JSON shares.
pub fn word(text: &str) -> String {
    // YAML 1.1 takes these for booleans and null.
    const TAKEN: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let plain = text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '/')
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_./-".contains(letter))
        && !TAKEN.contains(&text.to_ascii_lowercase().as_str());
    // An address has two dots at least, so it is no number.
    let address = text.parse::<std::net::Ipv4Addr>().is_ok();
    if plain || address { text.to_owned() } else { quoted(text) }
}

/// In double quotes; what YAML takes for a line break and JSON does not is escaped, too.
pub(super) fn quoted(text: &str) -> String {
    let text = Json::from(text).to_string();
    text.chars().fold(String::new(), |mut safe, letter| {
        match letter {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                safe.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            letter => safe.push(letter),
        }
        safe
    })
}
