//! A first `cluster.yaml`, out of what was found: the reverse of `resolve`, once, for `init`. The text is for a person, who
//! goes on with it.

use std::fmt::Write;

use serde_json::{Map, Value as Json};

use super::{
    load::load,
    scalar::{on_one_line, word},
};

/// What the file will say.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// `name`; without it, the usual one.
    pub cluster: Option<String>,
    /// By name, in order.
    pub sparks: Vec<(String, Json)>,
    /// The model that serves, when it can be taken over.
    pub model: Option<String>,
    pub vllm: Map<String, Json>,
    pub models: Vec<(String, Json)>,
    pub services: Vec<(String, Json)>,
    pub disabled: Vec<String>,
    /// The engine that `model` is, as something that is only watched.
    pub watched_instead: Option<Json>,
    /// What a person should know: comments at the top.
    pub notes: Vec<String>,
}

/// Something that no file could hold, with its first problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// `the model`, `the service` and so on.
    pub what: &'static str,
    pub name: String,
    pub why: String,
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} `{}`: {}", self.what, self.name, self.why)
    }
}

impl Draft {
    /// Take out what no file could hold, alone or beside what comes before it: settings of the slot, models, services. A
    /// draft without Sparks is not judged.
    pub fn keep_what_fits(&mut self) -> Vec<Misfit> {
        let mut left = Vec::new();
        let (vllm, models) = (std::mem::take(&mut self.vllm), std::mem::take(&mut self.models));
        let (services, disabled) = (std::mem::take(&mut self.services), std::mem::take(&mut self.disabled));
        let wanted = self.model.take();
        for (key, value) in vllm {
            self.vllm.insert(key.clone(), value);
            if let Some(why) = self.misfit() {
                self.vllm.remove(&key);
                left.push(Misfit { what: "the setting", name: key, why });
            }
        }
        for (name, entry) in models {
            let is_wanted = wanted.as_ref() == Some(&name);
            self.models.push((name.clone(), entry));
            self.model = wanted.clone().filter(|_| is_wanted).or(self.model.take());
            if let Some(why) = self.misfit() {
                self.models.pop();
                self.model.take_if(|_| is_wanted);
                left.push(Misfit { what: "the model", name, why });
            }
        }
        for (name, entry) in services {
            self.services.push((name.clone(), entry));
            if let Some(why) = self.misfit() {
                self.services.pop();
                left.push(Misfit { what: "the service", name, why });
            }
        }
        for name in disabled {
            self.disabled.push(name.clone());
            if let Some(why) = self.misfit() {
                self.disabled.pop();
                left.push(Misfit { what: "the disabled service", name, why });
            }
        }
        left
    }

    /// Why it makes no file that can be in force, or one of its entries is set aside.
    fn misfit(&self) -> Option<String> {
        if self.sparks.is_empty() {
            return None;
        }
        match load(&text(self)) {
            Err(problems) => problems.first().map(|problem| problem.message.clone()),
            Ok(loaded) if loaded.set_aside.is_empty() => None,
            Ok(loaded) => {
                let mut told = loaded.warnings.iter().filter(|warning| warning.message.contains("set aside"));
                told.next().map(|warning| warning.message.clone())
            }
        }
    }
}

/// The text.
pub fn text(draft: &Draft) -> String {
    let mut text = String::from(
        "# What should be. `spark-control check` says what is wrong with it, `spark-control plan` what would be done.\n",
    );
    for note in &draft.notes {
        let _ = writeln!(text, "# {}", note.replace('\n', "\n# "));
    }
    text.push_str("version: 1\n");
    if let Some(cluster) = &draft.cluster {
        let _ = writeln!(text, "name: {}", word(cluster));
    }
    text.push_str("\nsparks:\n");
    entries(&mut text, &draft.sparks);
    match &draft.model {
        Some(model) => {
            let _ = write!(
                text,
                "\n# What should be serving. Another name of `models` swaps it, `none` empties the slot.\nmodel: {}\n",
                word(model)
            );
        }
        None => text.push_str(
            "\n# What should be serving: a name of `models`, or `none`. Blank: only watched.\nmodel:\n",
        ),
    }
    if !draft.vllm.is_empty() {
        text.push_str("\nvllm:\n");
        for (key, value) in &draft.vllm {
            let _ = writeln!(text, "  {key}: {}", on_one_line(value));
        }
    }
    if draft.models.is_empty() {
        text.push_str("\n# models:\n#   my-model: { repo: owner/name, sparks: [spark1], args: { max-model-len: 32768 } }\n");
    } else {
        text.push_str("\nmodels:\n");
        blocks(&mut text, &draft.models);
    }
    if !draft.services.is_empty() {
        text.push_str(
            "\n# Only watched. With `state: running` or `state: stopped` a service is kept so.\nservices:\n",
        );
        entries(&mut text, &draft.services);
    }
    if !draft.disabled.is_empty() {
        let names: Vec<String> = draft.disabled.iter().map(|name| word(name)).collect();
        let _ = write!(text, "\ndisabled_services: [{}]\n", names.join(", "));
    }
    text
}

/// One line each.
fn entries(text: &mut String, entries: &[(String, Json)]) {
    for (name, value) in entries {
        let _ = writeln!(text, "  {}: {}", word(name), on_one_line(value));
    }
}

/// One field a line.
fn blocks(text: &mut String, entries: &[(String, Json)]) {
    for (name, value) in entries {
        let _ = writeln!(text, "  {}:", word(name));
        for (key, value) in value.as_object().into_iter().flatten() {
            let _ = writeln!(text, "    {key}: {}", on_one_line(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_back_as_it_was() {
        let args =
            json!({ "a": "yes", "b": "0.90", "c": ["x", "1 2"], "d": "it's: #1", "e": 4096, "f": true });
        let draft = Draft {
            sparks: vec![("spark1".into(), json!({ "address": "192.0.2.1", "user": "alice" }))],
            model: Some("m".into()),
            models: vec![("m".into(), json!({ "repo": "o/m", "sparks": ["spark1"], "args": args }))],
            services: vec![("tts".into(), json!({ "kind": "tts", "spark": "spark1", "port": 8880 }))],
            notes: vec!["two\nlines".into()],
            ..Draft::default()
        };
        let text = text(&draft);
        let value = crate::manifest::edit::value(&text).unwrap();
        assert_eq!(value["models"]["m"]["args"], args, "{text}");
        let loaded = load(&text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        assert_eq!(loaded.warnings.len(), 1, "a word that is no switch: {:?}", loaded.warnings);
    }

    /// If this failed, one thing that cannot be written down would leave a person without a file.
    #[test]
    fn what_no_file_could_hold_is_left_and_told() {
        let service = |port: u16| json!({ "kind": "tts", "spark": "spark1", "port": port });
        let mut draft = Draft {
            sparks: vec![("spark1".into(), json!({ "address": "192.0.2.1", "user": "alice" }))],
            model: Some("m".into()),
            vllm: json!({ "port": 8888, "container": "no name" }).as_object().unwrap().clone(),
            models: vec![("m".into(), json!({ "repo": "o/m", "sparks": ["spark1"], "args": { "port": 1 } }))],
            services: vec![("a".into(), service(8880)), ("b".into(), service(8880))],
            disabled: vec!["a".into(), "b c".into()],
            ..Draft::default()
        };
        let left: Vec<String> = draft.keep_what_fits().into_iter().map(|misfit| misfit.name).collect();
        assert_eq!(left, ["container", "m", "b", "b c"]);
        assert_eq!((&draft.model, draft.services.len(), draft.disabled.len()), (&None, 1, 1));
        assert!(load(&text(&draft)).is_ok());
    }
}
