//! Edits of random commented files: they mean what was asked for, and what was not asked about is as it was, byte for
//! byte. `SPARK_CONTROL_EDITS` sets how many.

use fastrand::Rng;
use serde_json::{Map, Value as Json, json};
use spark_control::manifest::{
    edit::{TextChange, edited, value},
    refused::Refused,
};

const WORDS: [&str; 12] =
    ["spark1", "alpha", "no", "12", "1.5", "a: b", "# no comment", "it's", "x y", "", "ünï", "- dash"];
const KEYS: [&str; 8] = ["model", "sparks", "args", "max-model-len", "a.b", "x-note", "on", "env"];

fn scalar(random: &mut Rng) -> Json {
    match random.u8(..10) {
        0 => json!(random.bool()),
        1 | 2 => json!(random.i32(-5..70_000)),
        3 => Json::Null,
        _ => json!(WORDS[random.usize(..WORDS.len())]),
    }
}

fn any(random: &mut Rng, depth: u8) -> Json {
    match random.u8(..10) {
        0..=3 if depth > 0 => map(random, depth - 1),
        4 | 5 if depth > 0 => (0..random.usize(..4))
            .map(|_| if random.bool() { scalar(random) } else { any(random, depth - 1) })
            .collect(),
        _ => scalar(random),
    }
}

fn map(random: &mut Rng, depth: u8) -> Json {
    let count = random.usize(..5);
    (0..count)
        .map(|_| (KEYS[random.usize(..KEYS.len())].to_owned(), any(random, depth)))
        .collect::<Map<_, _>>()
        .into()
}

/// A file that holds `value`, written as different people would.
struct Writer<'a> {
    random: &'a mut Rng,
    text: String,
    comments: usize,
    indent: usize,
}

impl Writer<'_> {
    fn comment(&mut self) -> String {
        self.comments += 1;
        format!("# c{} 'quoted\": [", self.comments)
    }

    fn word(&mut self, text: &str, flow: bool) -> String {
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && !["no", "on"].contains(&text);
        match self.random.u8(..4) {
            0 | 1 if plain => text.to_owned(),
            2 if !flow && text == "x y" => text.to_owned(),
            3 => format!("'{}'", text.replace('\'', "''")),
            _ => json!(text).to_string(),
        }
    }

    fn flow(&mut self, value: &Json) -> String {
        match value {
            Json::String(text) => self.word(text, true),
            Json::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| self.flow(item)).collect();
                let space = if self.random.bool() { " " } else { "" };
                format!("[{space}{}{space}]", items.join(", "))
            }
            Json::Object(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| format!("{}: {}", self.word(key, true), self.flow(value)))
                    .collect();
                format!("{{ {} }}", entries.join(", "))
            }
            other => other.to_string(),
        }
    }

    /// In brackets over several lines, with comments between.
    fn spread(&mut self, value: &Json, depth: usize) {
        let inside = depth + self.indent;
        let (open, close, entries): (_, _, Vec<(Option<&String>, &Json)>) = match value {
            Json::Object(entries) => {
                ("{", "}", entries.iter().map(|(key, value)| (Some(key), value)).collect())
            }
            Json::Array(items) => ("[", "]", items.iter().map(|item| (None, item)).collect()),
            _ => unreachable!("only for collections"),
        };
        self.text += open;
        self.end_of_line();
        let last = entries.len() - 1;
        let ends_with_comma = self.random.bool();
        for (at, (key, value)) in entries.into_iter().enumerate() {
            self.between(inside);
            let key = key.map(|key| format!("{}: ", self.word(key, true))).unwrap_or_default();
            let comma = if at < last || ends_with_comma { "," } else { "" };
            let value = self.flow(value);
            self.text += &format!("{}{key}{value}{comma}", " ".repeat(inside));
            self.end_of_line();
        }
        self.text += &format!("{}{close}", " ".repeat(inside));
    }

    fn end_of_line(&mut self) {
        if self.random.u8(..4) == 0 {
            let comment = self.comment();
            self.text += &format!("{}{comment}", " ".repeat(self.random.usize(1..4)));
        }
        self.text += &" ".repeat(usize::from(self.random.u8(..12) == 0));
        self.text.push('\n');
    }

    fn between(&mut self, depth: usize) {
        if self.random.u8(..5) == 0 {
            self.text.push('\n');
        }
        if self.random.u8(..4) == 0 {
            let comment = self.comment();
            self.text += &format!("{}{comment}\n", " ".repeat(depth));
        }
    }

    fn block(&mut self, value: &Json, depth: usize) {
        match value {
            Json::Object(entries) if !entries.is_empty() => {
                for (key, value) in entries {
                    self.between(depth);
                    let key = self.word(key, false);
                    self.text += &format!("{}{key}:", " ".repeat(depth));
                    self.value(value, depth, false);
                }
            }
            Json::Array(items) if !items.is_empty() => {
                for item in items {
                    self.between(depth);
                    self.text += &format!("{}-", " ".repeat(depth));
                    self.value(item, depth, true);
                }
            }
            _ => unreachable!("only for collections with something in them"),
        }
    }

    fn value(&mut self, value: &Json, depth: usize, in_list: bool) {
        let collection = match value {
            Json::Object(entries) => !entries.is_empty(),
            Json::Array(items) => !items.is_empty(),
            _ => false,
        };
        if collection && self.random.u8(..3) > 0 && !in_list {
            self.end_of_line();
            // Lists may stand as deep as their key.
            let deeper = if value.is_array() && self.random.bool() { 0 } else { self.indent };
            self.block(value, depth + deeper);
            return;
        }
        if collection && self.random.u8(..4) == 0 {
            self.text.push(' ');
            self.spread(value, depth);
            self.end_of_line();
            return;
        }
        let written = match value {
            Json::Null if !in_list && self.random.bool() => String::new(),
            Json::String(text) => format!(" {}", self.word(text, false)),
            other => format!(" {}", self.flow(other)),
        };
        self.text += &written;
        self.end_of_line();
    }
}

fn file(value: &Json, random: &mut Rng) -> String {
    let indent = if random.u8(..4) == 0 { 4 } else { 2 };
    let mut writer = Writer { random, text: String::new(), comments: 0, indent };
    if writer.random.bool() {
        let comment = writer.comment();
        writer.text += &format!("{comment}\n");
    }
    writer.block(value, 0);
    if writer.random.u8(..3) == 0 {
        let comment = writer.comment();
        writer.text += &format!("{comment}\n");
    }
    let mut text = writer.text;
    match random.u8(..16) {
        0 => text = format!("# a licence\n---\n{text}"),
        1 => text = format!("%YAML 1.2\n---\n{text}"),
        2 => text = format!("{text}...\n# after the end\n"),
        // As programs write it.
        3 => text = serde_json::to_string_pretty(value).unwrap(),
        4 => text = value.to_string(),
        _ => {}
    }
    if random.u8(..8) == 0 {
        text = text.trim_end().to_owned();
    }
    match random.u8(..12) {
        0 => text.replace('\n', "\r\n"),
        // By people with different editors.
        1 => text
            .split_inclusive('\n')
            .map(|line| if random.bool() { line.replace('\n', "\r\n") } else { line.into() })
            .collect(),
        _ => text,
    }
}

/// A merge patch: some keys of the file, some new ones, some taken out.
fn patch(value: &Json, random: &mut Rng, depth: u8) -> Json {
    let Json::Object(entries) = value else { return any(random, 2) };
    let mut patch = Map::new();
    for _ in 0..random.usize(1..4) {
        let known: Vec<&String> = entries.keys().collect();
        let key = if known.is_empty() || random.u8(..3) == 0 {
            KEYS[random.usize(..KEYS.len())].to_owned()
        } else {
            known[random.usize(..known.len())].clone()
        };
        let change = match (entries.get(&key), random.u8(..4)) {
            (Some(_), 0) => Json::Null,
            (Some(inner @ Json::Object(_)), 1..=2) if depth > 0 => self::patch(inner, random, depth - 1),
            _ => any(random, 2),
        };
        patch.insert(key, change);
    }
    patch.into()
}

/// The text of each entry at the top, from its key to the next.
fn sections(text: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        let is_key = !line.starts_with([' ', '#', '-', '\n', '\r', '{', '}', '[', ']', '%', '.']);
        if is_key {
            let one = value(line.trim_end()).ok();
            let key = one.and_then(|one| Some(one.as_object()?.keys().next()?.clone()));
            sections.push((key.unwrap_or_else(|| line.to_owned()), String::new()));
        }
        if let Some((_, section)) = sections.last_mut() {
            *section += line;
        }
    }
    sections
}

fn comments(text: &str) -> Vec<&str> {
    text.split("# c").skip(1).map(|rest| rest.split(' ').next().unwrap()).collect()
}

enum Told {
    Edited,
    Refused,
    /// The generator's text does not hold its value.
    Discarded,
}

fn one(seed: u64) -> Told {
    let mut random = Rng::with_seed(seed);
    let mut value_before = map(&mut random, 3);
    value_before["version"] = json!(1);
    let text = file(&value_before, &mut random);
    if value(&text).as_ref() != Ok(&value_before) {
        return Told::Discarded;
    }
    let patch = patch(&value_before, &mut random, 3);
    let mut wanted = value_before.clone();
    json_patch::merge(&mut wanted, &patch);
    let told = |after: &str| format!("seed {seed}\n{text}\n---- {patch}\n{after}");
    let after = match edited(&text, &TextChange::Merge(patch.clone())) {
        Ok(after) => after,
        Err(refused @ Refused::TouchesOtherText { .. }) => {
            if std::env::var_os("SPARK_CONTROL_TRACE").is_some() {
                println!("{refused}: {}", told(""));
            }
            return Told::Refused;
        }
        Err(error) => panic!("{error}: {}", told("")),
    };
    assert_eq!(value(&after).as_ref(), Ok(&wanted), "{}", told(&after));
    if wanted == value_before {
        assert_eq!(after, text, "{}", told(&after));
    }
    // Entries at the top that the patch does not change are there as they were, comments inside them included.
    let kept = sections(&after);
    for (key, section) in sections(&text) {
        if value_before.get(&key) == wanted.get(&key) && value_before.get(&key).is_some() {
            let body = section.trim_end();
            let found = kept.iter().any(|(known, text)| *known == key && text.starts_with(body));
            // What follows the last line of an entry may belong to the next.
            let lines: Vec<&str> = body.lines().take_while(|line| !line.starts_with(['#', '.'])).collect();
            let whole = lines.join("\n");
            let found = found || after.replace('\r', "").contains(whole.trim_end());
            assert!(found, "the entry `{key}` was touched: {}", told(&after));
        }
    }
    // No comment is made twice, and none is lost but with what it stood on.
    let (old, new) = (comments(&text), comments(&after));
    assert!(new.iter().all(|comment| old.contains(comment)), "{}", told(&after));
    let mut once = new.clone();
    once.dedup();
    assert_eq!(once, new, "a comment came twice: {}", told(&after));
    if text.contains("\r\n") && !text.replace("\r\n", "").contains('\n') {
        assert!(!after.replace("\r\n", "").contains('\n'), "mixed line ends: {}", told(&after));
    }
    if serde_json::from_str::<Json>(&text).is_ok() {
        assert!(serde_json::from_str::<Json>(&after).is_ok(), "it is no JSON any more: {}", told(&after));
    }
    Told::Edited
}

/// If this failed, an edit by API or command would lose a comment, or change what nobody asked it to.
#[test]
fn random_edits_change_what_they_should_and_nothing_else() {
    let count: u64 =
        std::env::var("SPARK_CONTROL_EDITS").ok().and_then(|count| count.parse().ok()).unwrap_or(50_000);
    let halves = std::thread::scope(|scope| {
        let half = |first: u64| {
            scope.spawn(move || {
                let mut counts = [0_u64; 3];
                for seed in (first..count).step_by(2) {
                    counts[one(seed) as usize] += 1;
                }
                counts
            })
        };
        [half(0), half(1)].map(|half| half.join().unwrap())
    });
    let [edited, refused, discarded] = [0, 1, 2].map(|at| halves[0][at] + halves[1][at]);
    assert!(discarded * 20 < count, "{discarded} of {count} files were not what they were meant to be");
    assert!(refused * 1000 < count, "{refused} of {count} edits were refused");
    assert!(edited > 0);
}
