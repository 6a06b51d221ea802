//! What recipes would run, by the dry run of the launcher that knows how to read them. Apart from the machine's facts: it is
//! somebody else's program, and one that hangs must not make its Spark unreachable.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    core::{
        decide::need,
        model::{command_line, name::RepoId, observed::RecipeSeen},
    },
    host::{Program, Transport, calls},
};

/// Of all of them, with a connection to spare.
const DEADLINE: Duration = Duration::from_secs(12);

/// A recipe to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeDryRun {
    /// Directory and name.
    pub key: String,
    pub dir: String,
    /// The words name the Sparks, or say that it is only one.
    pub names_nodes: bool,
    pub words: Vec<String>,
}

/// What each of them shows. One that could not be read says why.
pub async fn probe(transport: &dyn Transport, asked: &[RecipeDryRun]) -> BTreeMap<String, RecipeSeen> {
    if asked.is_empty() {
        return BTreeMap::new();
    }
    let words = asked.iter().map(|recipe| {
        let nodes = if recipe.names_nodes { "told" } else { "env" };
        let words = recipe.words.iter().map(String::as_str);
        [recipe.key.as_str(), &recipe.dir, nodes].into_iter().chain(words).collect()
    });
    let program = Program::new("recipes", include_str!("recipes.sh")).with("calls", calls("dry_run", words));
    let mut seen: BTreeMap<String, RecipeSeen> = asked
        .iter()
        .map(|recipe| (recipe.key.clone(), RecipeSeen::Unreadable { why: "its dry run did not end".into() }))
        .collect();
    // What was said before it hung counts.
    let said = match transport.run(&program, DEADLINE).await {
        Ok(output) => output.stdout,
        Err(_) => return seen,
    };
    for line in said.lines().filter_map(|line| line.strip_prefix("recipe ")) {
        let mut fields = line.splitn(3, ' ');
        let (Some(is), Some(key)) = (fields.next(), fields.next()) else { continue };
        let rest = fields.next().unwrap_or_default();
        match (is, seen.get_mut(key)) {
            ("sets", Some(RecipeSeen::Readable { sets, .. })) => {
                sets.insert(rest.to_owned());
            }
            ("sets", _) => {}
            _ => {
                seen.insert(key.to_owned(), read(is, rest));
            }
        }
    }
    seen
}

/// What a dry run said.
pub fn read(is: &str, said: &str) -> RecipeSeen {
    let rest = said.split_once("vllm serve ").map(|(_, rest)| rest).filter(|_| is == "yes");
    let Some(rest) = rest else {
        let why = if said.is_empty() { "its dry run said nothing" } else { said };
        return RecipeSeen::Unreadable { why: why.to_owned() };
    };
    // As a shell would split it, as far as its quotes say.
    let words = rest.split_whitespace().map(|word| word.trim_matches(['\'', '"', '\\']).to_owned());
    let words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
    match words.first() {
        // A variable of the script's is no name.
        Some(root) if root.starts_with('/') && !root.contains(['$', '{']) || RepoId::new(root).is_ok() => {
            let line: Vec<String> =
                ["vllm", "serve"].into_iter().map(str::to_owned).chain(words.clone()).collect();
            let all = command_line::command(&line).map(|command| command.args).unwrap_or_default();
            let args = all.into_iter().filter(|(flag, _)| need::TOLD_BY.contains(&flag.as_str()));
            RecipeSeen::Readable { root: root.clone(), args: args.collect(), sets: BTreeSet::new() }
        }
        Some(root) => RecipeSeen::Unreadable {
            why: format!("its `vllm serve {root}` does not begin with a repository or an absolute path"),
        },
        None => RecipeSeen::Unreadable { why: "its `vllm serve` names no model".into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_names_what_it_loads() {
        let root = |root: &str| RecipeSeen::Readable {
            root: root.into(),
            args: BTreeMap::new(),
            sets: BTreeSet::new(),
        };
        assert_eq!(read("yes", "  vllm serve 'lab/a' \\"), root("lab/a"));
        assert_eq!(read("yes", "exec vllm serve /srv/models/a --port 1"), root("/srv/models/a"));
        assert_eq!(read("no", "Error: no recipe"), RecipeSeen::Unreadable { why: "Error: no recipe".into() });
        let whole =
            "  vllm serve 'lab/a'  --gpu-memory-utilization 0.7  --max-model-len 4096   -q awq --port 8000";
        let RecipeSeen::Readable { args, .. } = read("yes", whole) else { panic!() };
        assert_eq!(
            args,
            [("gpu-memory-utilization".to_owned(), 0.7.into()), ("quantization".to_owned(), "awq".into())]
                .into()
        );
        for said in [
            "vllm serve --model lab/a",
            "vllm serve $MODEL",
            "vllm serve /srv/${MODEL}",
            "vllm serve {model}",
        ] {
            assert!(matches!(read("yes", said), RecipeSeen::Unreadable { .. }), "{said}");
        }
    }
}
