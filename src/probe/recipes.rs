//! What recipes would run, by the dry run of the launcher that knows how to read them. Apart from the machine's facts: it is
//! somebody else's program, and one that hangs must not make its Spark unreachable.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    core::{name::RepoId, observed::RecipeSeen},
    host::{Program, Transport, calls},
};

/// Of all of them, with a connection to spare.
const DEADLINE: Duration = Duration::from_secs(12);

/// A recipe to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DryRun {
    /// Directory and name.
    pub key: String,
    pub dir: String,
    /// The words name the Sparks, or say that it is only one.
    pub names_nodes: bool,
    pub words: Vec<String>,
}

/// What each of them shows. One that could not be read says why.
pub async fn probe(transport: &dyn Transport, asked: &[DryRun]) -> BTreeMap<String, RecipeSeen> {
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
        if let (Some(is), Some(key)) = (fields.next(), fields.next()) {
            seen.insert(key.to_owned(), read(is, fields.next().unwrap_or_default()));
        }
    }
    seen
}

/// What a dry run said.
pub fn read(is: &str, said: &str) -> RecipeSeen {
    let root = said.split_once("vllm serve ").map(|(_, rest)| rest).filter(|_| is == "yes");
    let root = root.and_then(|rest| rest.split_whitespace().next());
    match root.map(|root| root.trim_matches(['\'', '"'])) {
        // A variable of the script's is no name.
        Some(root) if root.starts_with('/') && !root.contains(['$', '{']) || RepoId::new(root).is_ok() => {
            RecipeSeen::Readable { root: root.to_owned() }
        }
        Some(root) => RecipeSeen::Unreadable {
            why: format!("its `vllm serve {root}` does not begin with a repository or an absolute path"),
        },
        None if said.is_empty() => RecipeSeen::Unreadable { why: "its dry run said nothing".into() },
        None => RecipeSeen::Unreadable { why: said.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_names_what_it_loads() {
        let root = |root: &str| RecipeSeen::Readable { root: root.into() };
        assert_eq!(read("yes", "  vllm serve 'lab/a' \\"), root("lab/a"));
        assert_eq!(read("yes", "exec vllm serve /srv/models/a --port 1"), root("/srv/models/a"));
        assert_eq!(read("no", "Error: no recipe"), RecipeSeen::Unreadable { why: "Error: no recipe".into() });
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
