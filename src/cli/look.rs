//! `plan`, `status` and `diff`: what was seen, as text or JSON. They change nothing.

use std::fmt::Write;

use anyhow::{Context, bail};

use super::{
    Exit,
    arguments::Format,
    paint, print, print_json, print_told,
    reach::{self, ReachedController, segment},
};
use crate::{
    controller::{ControllerPaths, Snapshot},
    core::{
        decide::drift::{Drift, DriftClass},
        model::{memory_table::gib, observed::SparkView, plan::Plan, reason::Concern},
        tell::render,
    },
    wire::v1::{
        plan::{PlanDocument, ShownPlan},
        status::DriftReport,
    },
};

/// More would push the table off the screen.
const SHOWN_WARNINGS: usize = 10;
/// A look takes less, unless a Spark is silent.
const OLD_SECS: i64 = 30;

/// How new what is shown must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// What the running controller saw last, and nothing when none runs.
    Cached,
    /// What is known; a look where nothing is.
    Known,
    /// A look.
    Now,
}

/// Look now, wherever the controller runs.
///
/// # Errors
/// When it cannot be reached, or the store fails.
pub async fn look(places: &ControllerPaths) -> anyhow::Result<Snapshot> {
    look_with(&reach::reach(places).await?).await
}

async fn look_with(reached: &ReachedController) -> anyhow::Result<Snapshot> {
    let snapshot = reached.look().await?;
    let age = snapshot.at.map_or(0, |at| jiff::Timestamp::now().duration_since(at).as_secs());
    if age > OLD_SECS {
        talk!("this was seen {age} s ago; the controller is in the middle of a step");
    }
    tell_of_file(&snapshot);
    Ok(snapshot)
}

fn tell_of_file(seen: &Snapshot) {
    if let (Some(error), Some(_)) = (&seen.file_error, &seen.plan) {
        talk!("the file is not in force; the last good one stays\n{error}");
    }
}

/// What the running controller knows, at once; a look when it knows nothing yet, when none runs, or when `now`.
///
/// # Errors
/// As [`look`].
pub async fn seen(places: &ControllerPaths, now: bool) -> anyhow::Result<Snapshot> {
    seen_by(&reach::reach(places).await?, now).await
}

async fn seen_by(reached: &ReachedController, now: bool) -> anyhow::Result<Snapshot> {
    if now || matches!(reached, ReachedController::Own(..)) {
        return look_with(reached).await;
    }
    let cached = reached.snapshot().await?;
    // What somebody saved since is what they ask about.
    let saved = std::fs::metadata(&cached.file).and_then(|metadata| metadata.modified()).ok();
    let saved = saved.and_then(|saved| jiff::Timestamp::try_from(saved).ok());
    let predates_file = cached.at < saved;
    if predates_file || (cached.plan.is_none() && cached.file_error.is_none()) {
        return look_with(reached).await;
    }
    let age = cached.at.map_or(0, |at| jiff::Timestamp::now().duration_since(at).as_secs());
    if age > OLD_SECS {
        talk!("this was seen {age} s ago; `--now` looks again");
    }
    tell_of_file(&cached);
    Ok(cached)
}

/// What the running controller saw last. It looks by itself; a monitor that makes it look would make it look all the time.
///
/// # Errors
/// When none runs.
async fn cached(places: &ControllerPaths, reached: &ReachedController) -> anyhow::Result<Snapshot> {
    if let ReachedController::Own(..) = reached {
        bail!("no controller runs with {}; `spark-control serve` starts one", places.data.display())
    }
    reached.snapshot().await
}

/// # Errors
/// Why there is none.
pub fn plan_of(seen: &Snapshot) -> anyhow::Result<&Plan> {
    seen.plan
        .as_ref()
        .with_context(|| seen.file_error.clone().unwrap_or_else(|| "nothing has been looked at yet".into()))
}

/// # Errors
/// When stdout cannot be written.
pub fn show_plan(seen: &Snapshot, output: Format) -> anyhow::Result<Exit> {
    let plan = plan_of(seen)?;
    match output {
        Format::Json => print_json(&PlanDocument::from(plan))?,
        Format::Text if plan.is_empty() && seen.file_error.is_some() => {
            print(&format!("Nothing to do for revision {}, the last one in force.\n", plan.revision))?;
        }
        Format::Text => print_told(&render::render(plan))?,
    }
    Ok(exit_of(seen, plan))
}

/// A plan of before, and what has changed since.
///
/// # Errors
/// When there is none of that id, or the controller cannot be asked.
pub async fn show_old_plan(places: &ControllerPaths, id: &str, output: Format) -> anyhow::Result<Exit> {
    let reached = reach::reach(places).await?;
    reached.look_unless_running().await?;
    let shown: ShownPlan = reached.get(&format!("/api/v1/plans/{}", segment(id))).await?;
    match output {
        Format::Json => print_json(&shown)?,
        Format::Text => {
            print_told(&shown.plan.text)?;
            if !shown.changed.is_empty() {
                talk!("it is stale: {}", shown.changed.join("; "));
            }
        }
    }
    Ok(if shown.changed.is_empty() { Exit::Changes } else { Exit::Stale })
}

/// A file that is not in force is never "done".
pub fn exit_of_file(seen: &Snapshot) -> Exit {
    match (&seen.pending_approval, &seen.file_error) {
        (Some(_), _) => Exit::Blocked,
        (None, Some(_)) => Exit::Error,
        (None, None) => Exit::Done,
    }
}

/// What is blocked, be it by a file that is not in force.
pub fn exit_of(seen: &Snapshot, plan: &Plan) -> Exit {
    exit_for(seen, plan.concern())
}

/// The same for one concern.
fn exit_for(seen: &Snapshot, concern: Concern) -> Exit {
    match (exit_of_file(seen), concern) {
        (Exit::Done, Concern::Fine) => Exit::Done,
        (Exit::Done, Concern::Passing) => Exit::Changes,
        (
            Exit::Done,
            Concern::AsWished | Concern::AsksForApproval | Concern::OutOfSight | Concern::NeedsYou,
        ) => Exit::Blocked,
        (exit, _) => exit,
    }
}

/// # Errors
/// When there is nothing to show, or stdout cannot be written.
pub async fn show_status(
    places: &ControllerPaths,
    freshness: Freshness,
    output: Format,
) -> anyhow::Result<Exit> {
    let reached = reach::reach(places).await?;
    let seen = match freshness {
        Freshness::Cached => cached(places, &reached).await?,
        Freshness::Known => seen_by(&reached, false).await?,
        Freshness::Now => look_with(&reached).await?,
    };
    if output == Format::Json {
        print_json(&status(&reached).await?)?;
    }
    let plan = plan_of(&seen)?;
    if output == Format::Text {
        print_told(&status_text(&seen, plan))?;
    }
    // Of what is only watched the plan says nothing, and it may be down.
    Ok(exit_for(&seen, seen.headline.concern))
}

/// The status as a program reads it, also while there is no plan.
///
/// # Errors
/// When the controller that runs does not answer.
pub async fn status(reached: &ReachedController) -> anyhow::Result<serde_json::Value> {
    reached.get("/api/v1/status").await
}

/// The status as a person reads it.
pub fn status_text(seen: &Snapshot, plan: &Plan) -> String {
    let mut text = format!("revision {}, as of {:.0}\n", plan.revision, plan.at);
    if let Some(fenced) = &seen.fenced {
        let _ = writeln!(text, "FENCED: {fenced}");
    }
    if let Some(error) = &seen.file_error {
        let first = error.lines().next().unwrap_or_default();
        let _ = writeln!(text, "FILE: the last good one is in force; {first}");
    }
    for warning in seen.warnings.iter().take(SHOWN_WARNINGS) {
        let _ = writeln!(text, "warning: {warning}");
    }
    if seen.warnings.len() > SHOWN_WARNINGS {
        let more = seen.warnings.len() - SHOWN_WARNINGS;
        let _ = writeln!(text, "and {more} more warnings; `spark-control check` shows where");
    }
    let mut table = table(["OBJECT", "DESIRED", "OBSERVED", "SYNC", "HEALTH", "WHY"]);
    for line in &seen.status {
        let why =
            line.reason.map_or_else(|| line.message.clone(), |reason| format!("{reason}: {}", line.message));
        table.add_row([
            line.object.to_string(),
            line.desired.clone(),
            line.observed.clone(),
            format!("{:?}", line.sync),
            format!("{:?}", line.health),
            why,
        ]);
    }
    let _ = writeln!(text, "{}", table.trim_fmt());
    let sparks = seen.observed.iter().flat_map(|observed| &observed.sparks);
    for (name, view) in sparks {
        let _ = match view {
            SparkView::Reachable(facts) => {
                let (free, total) = (gib(facts.memory_available_bytes), gib(facts.memory_total_bytes));
                let gpu = facts
                    .gpu
                    .trouble()
                    .map_or(String::new(), |why| format!("; its GPU cannot be used: {why}"));
                writeln!(text, "{name}: reachable, {free} of {total} free{gpu}")
            }
            SparkView::Unreachable { since, why, .. } => {
                writeln!(text, "{name}: UNREACHABLE since {since:.0}: {why}")
            }
        };
    }
    for drift in seen.drift.iter().filter(|drift| drift.class == DriftClass::Unmanaged) {
        let spark = drift.spark.as_ref().map_or(String::new(), |spark| format!(" on {spark}"));
        let _ = writeln!(text, "not in the file{spark}: {}", drift.observed);
    }
    text
}

/// # Errors
/// When there is nothing to show, or stdout cannot be written.
pub fn show_diff(seen: &Snapshot, output: Format) -> anyhow::Result<Exit> {
    let plan = plan_of(seen)?;
    match output {
        Format::Json => print_json(&DriftReport { at: seen.at, drift: seen.drift.clone() })?,
        Format::Text => print_told(&diff_text(&seen.drift))?,
    }
    let exit = exit_of(seen, plan);
    let answered = seen.drift.iter().any(|drift| !drift.class.is_report_only());
    Ok(if exit == Exit::Done && answered { Exit::Changes } else { exit })
}

/// The differences as a person reads them.
pub fn diff_text(drift: &[Drift]) -> String {
    if drift.is_empty() {
        return "No differences.\n".into();
    }
    let mut table = table(["WHAT", "CLASS", "DESIRED", "OBSERVED", "RESPONSE"]);
    for drift in drift {
        let what = match (&drift.object, &drift.spark) {
            (Some(object), Some(spark)) => format!("{object} on {spark}"),
            (Some(object), None) => object.to_string(),
            (None, Some(spark)) => spark.to_string(),
            (None, None) => String::new(),
        };
        let class = drift.class.name().to_owned();
        table.add_row([what, class, drift.desired.clone(), drift.observed.clone(), drift.response.clone()]);
    }
    format!("{}\n", table.trim_fmt())
}

/// Columns without lines, no wider than the terminal.
pub fn table<const N: usize>(header: [&str; N]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header);
    if let Some(width) = paint::width() {
        table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
        table.set_width(width);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}
