//! What already runs and matches is taken over without a restart.

use super::{
    desired::{Effective, Object},
    group::Sign,
    observed::{EndpointAnswer, Observed},
    plan::{Item, PlannedStep, Work},
    ready,
    standing::{Standing, relied_on},
    step::Step,
};

/// The work of taking over, when exactly the model's Sparks run containers of the slot's name that nobody labelled,
/// with the wanted image and engine command line, and the head serves the wanted names. Where the file has only some of
/// the engine's options, because a recipe or a script has the others, those are taken as they are.
pub fn adoption(
    object: &Object,
    target: &Effective<'_>,
    standing: &[Standing<'_>],
    observed: &Observed,
) -> Option<Work> {
    let group = target.group();
    let mut containers = Vec::new();
    let mut relies_on = Vec::new();
    for spark in &group.sparks {
        let entry = standing.iter().find(|entry| entry.spark == spark)?;
        let container = entry.container;
        let image = observed.facts(spark)?.images.get(target.image.as_str())?.as_ref()?;
        let taken = entry.is_ours() || container.labels.is_some();
        if taken || group.is_alive(spark, container) != Some(true) || container.image_id != *image {
            return None;
        }
        let has_command = group.sign == Sign::Engine || (group.sign == Sign::Ray && spark == group.head());
        if has_command && !same_command(container.engine_command()?, target) {
            return None;
        }
        containers.push(container.id.clone());
        relies_on.extend(relied_on(entry, observed));
    }
    let EndpointAnswer::Engine(engine) = &observed.endpoints.get(object)?.answer else { return None };
    ready::serves(&group, engine).ok()?;
    let goal = format!("take over `{}`, which already runs", target.name);
    let step = Step::Adopt { object: object.clone(), group, containers };
    let items = vec![Item::Steps(vec![PlannedStep::new(step, None)])];
    Some(Work { relies_on, ..Work::new(object, goal, items) })
}

/// The engine's command line says what the file says; what launchers add for several ranks is left out.
fn same_command(command: &str, target: &Effective<'_>) -> bool {
    const WITH_VALUE: [&str; 5] =
        ["--distributed-executor-backend", "--nnodes", "--node-rank", "--master-addr", "--master-port"];
    let after = command.split_whitespace().skip_while(|word| *word != "serve").skip(1);
    let mut words = after.flat_map(one_spelling);
    let mut found: Vec<String> = Vec::new();
    while let Some(word) = words.next() {
        if WITH_VALUE.contains(&word.as_str()) {
            words.next();
        } else if word != "--headless" {
            found.push(word);
        }
    }
    // Process lists join words with spaces: a word with a space in it is several here, on both sides.
    let arguments = target.arguments();
    let mut expected: Vec<String> = target
        .model
        .source
        .root()
        .into_iter()
        .chain(arguments.iter().flat_map(|word| word.split_whitespace()))
        .flat_map(one_spelling)
        .collect();
    found.sort_unstable();
    expected.sort_unstable();
    if target.launcher.how.words_are_all() {
        found == expected
    } else {
        expected.iter().all(|word| found.binary_search(word).is_ok())
    }
}

/// `--max_model_len=1` and `--max-model-len 1` are the same to the engine.
fn one_spelling(word: &str) -> Vec<String> {
    if !word.starts_with("--") {
        return vec![word.to_owned()];
    }
    match word.split_once('=') {
        Some((flag, value)) => vec![flag.replace('_', "-"), value.to_owned()],
        None => vec![word.replace('_', "-")],
    }
}
