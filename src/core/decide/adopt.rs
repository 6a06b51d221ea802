//! What already runs and matches is taken over without a restart.

use super::{
    readiness,
    slot_containers::{SlotContainer, predicates_about},
    view::View,
};
use crate::core::model::{
    command_line::{self, EngineCommand},
    id::ModelRoot,
    launch_spec::Liveness,
    object::Object,
    observed::EndpointAnswer,
    plan::{PlannedStep, Work, WorkItem},
    resolved_model::{ResolvedModel, recipe_model_id},
    step::Step,
};

/// The work of taking over, when exactly the model's Sparks run containers of the slot's name with the wanted image and engine
/// command line, which nobody labelled or which were ours before a ledger was lost, and the head serves the wanted names or does
/// not listen yet. Where the file has only some of the engine's options, because a recipe or a script has the others, those are
/// taken as they are.
pub fn adoption(
    object: &Object,
    target: &ResolvedModel<'_>,
    standing: &[SlotContainer<'_>],
    view: View<'_>,
) -> Option<Work> {
    let View { desired, observed, ledger, .. } = view;
    let group = target.launch_spec();
    let mut containers = Vec::new();
    let mut relies_on = Vec::new();
    for spark in &group.sparks {
        let entry = standing.iter().find(|entry| entry.spark == spark)?;
        let container = entry.container;
        let image = observed.facts(spark)?.image(target.image.as_str())?;
        let is_taken = match &container.labels {
            None => entry.is_ours(),
            // A ledger that knows of this slot knows what was started from which words.
            Some(labels) => {
                let is_of_slot = labels.cluster == desired.cluster.as_str() && labels.object == *object;
                !is_of_slot || ledger.launch(object).is_some()
            }
        };
        if is_taken || group.is_alive(spark, container) != Some(true) || container.image_id != image.id {
            return None;
        }
        let has_command =
            group.sign == Liveness::Engine || (group.sign == Liveness::Ray && spark == group.head());
        if has_command {
            let recipe = recipe_model_id(target, observed);
            if !same_command(container.engine_command()?, target, recipe.as_ref()) {
                return None;
            }
        }
        containers.push(container.id.clone());
        relies_on.extend(predicates_about(entry, observed));
    }
    let is_loading = match &observed.endpoints.get(object)?.answer {
        EndpointAnswer::Engine(engine) => {
            readiness::serves(&group, engine).ok()?;
            false
        }
        EndpointAnswer::Refused => true,
        EndpointAnswer::Silent { .. } | EndpointAnswer::Wrong { .. } | EndpointAnswer::Up(_) => return None,
    };
    let does = if is_loading { "loads" } else { "runs" };
    let goal = format!("take over `{}`, which already {does}", target.name);
    let step = Step::Adopt { object: object.clone(), group, containers, is_loading };
    let items = vec![WorkItem::Steps(vec![PlannedStep::new(step, None)])];
    Some(Work { relies_on, ..Work::new(object, goal, items) })
}

/// The engine's command line says what the file says; what launchers add for several ranks is left out, and so is how a
/// word was spelled.
fn same_command(command: &str, target: &ResolvedModel<'_>, recipe: Option<&ModelRoot>) -> bool {
    let Some(found) = read_words(&[command]) else { return false };
    // Where nobody could read the recipe, it keeps the model to itself.
    let root = target.model.source.root().unwrap_or_else(|| recipe.unwrap_or(&found.root).as_str());
    let arguments = target.arguments();
    let expected: Vec<&str> =
        ["vllm", "serve", root].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let Some(expected) = read_words(&expected) else { return false };
    let same = (&found.root, &found.revision, &found.served_as, found.port, &found.chat_template)
        == (&expected.root, &expected.revision, &expected.served_as, expected.port, &expected.chat_template);
    let known = found.unknown.is_empty();
    if target.start.script().is_some() {
        // It has all of them.
        found.root == expected.root
    } else if target.start.controls_full_command_line() {
        known && same && found.args == expected.args
    } else {
        same && expected.args.iter().all(|(flag, value)| found.args.get(flag) == Some(value))
    }
}

/// The engine's command that these words are. Process lists join words with spaces: a word with a space in it is several here, on
/// both sides.
fn read_words(words: &[&str]) -> Option<EngineCommand> {
    let words = words.iter().flat_map(|word| word.split_whitespace());
    let words: Vec<String> = words.map(str::to_owned).collect();
    command_line::command(&words).map(with_defaults)
}

/// What the engine does when it is not told.
fn with_defaults(mut command: EngineCommand) -> EngineCommand {
    if command.served_as.is_empty() {
        command.served_as.push(command.root.as_str().into());
    }
    command
}
