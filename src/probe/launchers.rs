//! What launchers say of themselves: what a recipe would run, by the dry run of the launcher that knows how to read it, and which
//! options sparkrun takes, by its help. Apart from the machine's facts: these are somebody else's programs, and one that hangs must
//! not make its Spark unreachable.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::machine::{MAX_SAID, options_of};
use crate::{
    core::{
        decide::need,
        model::{
            command_line,
            name::RepoId,
            observed::{LauncherCheckout, LauncherSeen, RecipeSeen},
            visible,
        },
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

/// What launchers are asked at one look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LauncherQuestions {
    pub recipes: Vec<RecipeDryRun>,
    /// Programs that are asked which options they take, below the home directory or absolute.
    pub sparkruns: BTreeSet<String>,
}

/// What they answered. One that could not be read says why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LauncherAnswers {
    pub recipes: BTreeMap<String, RecipeSeen>,
    pub sparkruns: BTreeMap<String, LauncherSeen>,
}

/// Ask all of them, one after the other.
pub async fn probe(transport: &dyn Transport, asked: &LauncherQuestions) -> LauncherAnswers {
    let LauncherQuestions { recipes, sparkruns } = asked;
    if recipes.is_empty() && sparkruns.is_empty() {
        return LauncherAnswers::default();
    }
    let words = recipes.iter().map(|recipe| {
        let nodes = if recipe.names_nodes { "told" } else { "env" };
        let words = recipe.words.iter().map(String::as_str);
        [recipe.key.as_str(), &recipe.dir, nodes].into_iter().chain(words).collect()
    });
    let dry_runs = calls("dry_run", words);
    let helps = calls("help_of", sparkruns.iter().map(|program| vec![program.as_str()]));
    let program =
        Program::new("launchers", include_str!("launchers.sh")).with("calls", format!("{helps}\n{dry_runs}"));
    let unread = |recipe: &RecipeDryRun| {
        (recipe.key.clone(), RecipeSeen::Unreadable { why: "its dry run did not end".into() })
    };
    let unheard =
        |program: &String| (program.clone(), LauncherSeen::Silent { why: "its help did not end".into() });
    let mut answers = LauncherAnswers {
        recipes: recipes.iter().map(unread).collect(),
        sparkruns: sparkruns.iter().map(unheard).collect(),
    };
    // What was said before it hung counts.
    if let Ok(output) = transport.run(&program, DEADLINE).await {
        output.stdout.lines().for_each(|line| answers.take_in(line));
    }
    answers
}

impl LauncherAnswers {
    /// A line of the program. Only what was asked about counts.
    fn take_in(&mut self, line: &str) {
        let mut fields = line.splitn(4, ' ');
        let (Some(about), Some(is), Some(key)) = (fields.next(), fields.next(), fields.next()) else {
            return;
        };
        let rest = fields.next().unwrap_or_default();
        match (about, is) {
            ("recipe", "sets") => {
                if let Some(RecipeSeen::Readable { sets, .. }) = self.recipes.get_mut(key) {
                    sets.insert(rest.into());
                }
            }
            ("recipe", is) => {
                self.recipes.entry(key.to_owned()).and_modify(|seen| *seen = read(is, rest));
            }
            ("options", is) => {
                self.sparkruns.entry(key.to_owned()).and_modify(|seen| *seen = options(is, rest));
            }
            _ => {}
        }
    }
}

/// What a help said: options with commas between them, or why there are none.
fn options(is: &str, said: &str) -> LauncherSeen {
    if is == "yes" {
        let options = options_of(said);
        return LauncherSeen::Present(LauncherCheckout { options, ..LauncherCheckout::default() });
    }
    let why =
        if said.is_empty() { "its help said nothing".to_owned() } else { visible::short(said, MAX_SAID) };
    LauncherSeen::Silent { why }
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
            RecipeSeen::Readable { root: root.as_str().into(), args: args.collect(), sets: BTreeSet::new() }
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
