//! `models`: the catalog, and what would be done to serve each of it. One look at the Sparks for all of them.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::{Exit, arguments::Format, look::table, print_json, print_told, reach};
use crate::{
    controller::{
        ControllerPaths,
        edit::{EditRequest, RequestedChange},
        tag::EditBase,
    },
    core::{
        model::{
            memory_table::MemoryFit,
            object::Object,
            plan::{Plan, Verdict},
        },
        tell::render::render,
    },
};

/// As `model` says it.
const NONE: &str = "none";

/// A model of the catalog, and what it would take.
#[derive(Serialize)]
struct ModelChoice {
    model: String,
    /// The file says that it should serve.
    is_wanted: bool,
    sparks: Vec<String>,
    /// By Spark, whether it fits there: `fits, 31 GiB to spare`.
    memory: Vec<MemoryVerdict>,
    /// As a person reads it; `None`: the Sparks were not seen.
    plan: Option<String>,
    /// Why it could not begin now.
    blocked: Option<String>,
    /// Why the file would not take it.
    refused: Option<String>,
}

/// The verdict for one of its Sparks.
#[derive(Serialize)]
struct MemoryVerdict {
    spark: String,
    fits: bool,
    verdict: String,
}

/// # Errors
/// When the file cannot be read, or the Sparks cannot be looked at.
pub async fn models(places: &ControllerPaths, output: Format) -> anyhow::Result<Exit> {
    let reached = reach::reach(places).await?;
    let current = reached.desired().await?;
    reached.look().await?;
    let value = current.value()?;
    let wanted = value["model"].as_str().unwrap_or_default();
    let catalog = value["models"].as_object().cloned().unwrap_or_default();
    let mut choices = Vec::new();
    // An empty slot is a choice, too.
    for (model, entry) in catalog.into_iter().chain([(NONE.to_owned(), Json::Null)]) {
        let base = Some(EditBase::Tags(vec![current.tag.clone()]));
        let wish = RequestedChange::Merge(json!({ "model": model }));
        let request = EditRequest { dry_run: true, ..EditRequest::local(base, wish, super::user()) };
        let (plan, refused) = match reached.edit(&request).await {
            Ok(Ok(edited)) => (edited.plan, None),
            Ok(Err(refused)) => (None, Some(refused)),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        choices.push(ModelChoice {
            is_wanted: model == wanted,
            sparks: names(&entry["sparks"]),
            blocked: plan.as_ref().and_then(blocked),
            memory: plan.as_ref().map(memory).unwrap_or_default(),
            plan: plan.as_ref().map(|plan| preview(&render(plan))),
            refused,
            model,
        });
    }
    match output {
        Format::Json => {
            print_json(&json!({ "revision": current.revision, "model": wanted, "choices": choices }))?;
        }
        Format::Text => print_told(&text(&choices))?,
    }
    Ok(Exit::Done)
}

fn names(sparks: &Json) -> Vec<String> {
    sparks.as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
}

/// Nobody can agree to a plan of a file that is not written.
pub fn preview(plan: &str) -> String {
    let lines = plan.lines().filter(|line| !line.trim_start().starts_with("to agree: "));
    lines.collect::<Vec<_>>().join("\n")
}

/// Of what the main slot would start.
fn memory(plan: &Plan) -> Vec<MemoryVerdict> {
    let main = plan.work.iter().filter(|work| work.object == Object::main());
    main.flat_map(|work| &work.memory)
        .map(|row| MemoryVerdict {
            spark: row.spark.to_string(),
            fits: matches!(row.fit, MemoryFit::Fits { .. }),
            verdict: row.verdict.clone(),
        })
        .collect()
}

fn blocked(plan: &Plan) -> Option<String> {
    plan.work.iter().find_map(|work| match &work.verdict {
        Verdict::Blocked { message, .. } => Some(message.clone()),
        _ => None,
    })
}

fn text(choices: &[ModelChoice]) -> String {
    let mut table = table(["MODEL", "SPARKS", "NOW"]);
    for choice in choices {
        let now = match (&choice.refused, &choice.blocked) {
            _ if choice.is_wanted => "the file says so".to_owned(),
            (Some(refused), _) => format!("refused: {refused}"),
            (None, Some(blocked)) => format!("blocked: {blocked}"),
            (None, None) => "could begin".into(),
        };
        table.add_row([choice.model.clone(), choice.sparks.join(", "), now]);
    }
    let mut text = format!("{}\n", table.trim_fmt());
    for choice in choices.iter().filter(|choice| !choice.is_wanted) {
        let Some(plan) = &choice.plan else { continue };
        let _ = write!(text, "\n== {}\n{plan}\n", choice.model);
    }
    text
}
