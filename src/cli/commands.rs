//! Each command, top to bottom.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use serde_json::json;

use super::{
    Arguments, Exit,
    arguments::{Command, DemoAction, Format},
    demo, print,
    reach::{self, Reached, Refused},
    serve, trust,
};
use crate::{
    controller::{self, Places, Refusal, round::Mode},
    core::plan::{self, Plan, Verdict},
    manifest,
    store::Event,
    web::control::By,
};

/// Between looks while `apply` follows a plan.
const FOLLOW: Duration = Duration::from_secs(2);

/// # Errors
/// What went wrong, for the person at the terminal.
pub async fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    let data = match arguments.data.clone() {
        Some(data) => data,
        None => default_data()?,
    };
    let places = Places { file: arguments.file.clone(), data };
    let output = arguments.output;
    match arguments.command {
        Command::Check => check(&places, output),
        Command::Schema => {
            print(&manifest_schema())?;
            Ok(Exit::Done)
        }
        Command::Serve { listen, .. } => {
            let world = controller::real_world(&places.data)?;
            serve::serve(places, world, listen, axum::Router::new()).await
        }
        Command::Demo { action: None, listen } => {
            demo::run(demo_places(places, arguments.data.is_some()), listen).await
        }
        Command::Demo { action: Some(DemoAction::Fault { spark, fault, length }), .. } => {
            demo::fault(&demo_places(places, arguments.data.is_some()), &spark, &fault, &length).await
        }
        Command::Plan => {
            let seen = look(&places).await?;
            show_plan(&seen, output)
        }
        Command::Apply { plan, no_wait } => apply(&places, plan.as_deref(), no_wait, output).await,
        Command::Approve { plan } => approve(&places, &plan).await,
        Command::Retry { object } => retry(&places, &object).await,
        Command::Status => {
            let seen = look(&places).await?;
            show_status(&seen, output)
        }
        Command::Diff => {
            let seen = look(&places).await?;
            show_diff(&seen, output)
        }
        Command::Trust { spark, fingerprint } => {
            let text = fs::read_to_string(&places.file)
                .with_context(|| format!("reading {}", places.file.display()))?;
            let loaded = loaded(&places, &text)?;
            let Some((name, entry)) = loaded.desired.sparks.iter().find(|(name, _)| name.as_str() == spark)
            else {
                bail!("no Spark is named `{spark}` in {}", places.file.display());
            };
            trust::trust(entry, name.as_str(), fingerprint.as_deref(), &places.data).await
        }
        Command::Logs { object } => logs(&places, &object),
        Command::History { last } => history(&places, last, output).await,
    }
}

/// The demo keeps its memory beside its file, unless told otherwise.
fn demo_places(places: Places, told: bool) -> Places {
    if told { places } else { Places { data: PathBuf::from(".spark-control-demo"), ..places } }
}

fn default_data() -> anyhow::Result<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    Ok(state.or(home).context("neither XDG_STATE_HOME nor HOME is set; use --data")?.join("spark-control"))
}

/// The JSON schema of `cluster.yaml`.
pub fn manifest_schema() -> String {
    let schema = schemars::schema_for!(manifest::v1::Cluster);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}

fn loaded(places: &Places, text: &str) -> anyhow::Result<manifest::load::Loaded> {
    let path = places.file.display().to_string();
    manifest::load::load(text)
        .map_err(|problems| anyhow::anyhow!("{}", manifest::render(&problems, &path, text)))
}

fn check(places: &Places, output: Format) -> anyhow::Result<Exit> {
    let path = places.file.display().to_string();
    let bytes = fs::read(&places.file).with_context(|| format!("reading {path}"))?;
    let text = String::from_utf8(bytes)
        .map_err(|error| anyhow::anyhow!("{path}: not UTF-8 at byte {}", error.utf8_error().valid_up_to()))?;
    let (problems, warnings) = match manifest::load::load(&text) {
        Ok(loaded) => (Vec::new(), loaded.warnings),
        Err(problems) => (problems, Vec::new()),
    };
    if output == Format::Json {
        let shown = |problems: &[manifest::Problem]| -> Vec<serde_json::Value> {
            problems
                .iter()
                .map(|problem| {
                    let line = text[..problem.span.start].matches('\n').count() + 1;
                    json!({ "line": line, "message": problem.message, "hint": problem.hint })
                })
                .collect()
        };
        let answer = json!({ "errors": shown(&problems), "warnings": shown(&warnings) });
        print(&format!("{answer:#}\n"))?;
    } else if !problems.is_empty() {
        print(&format!("{}\n", manifest::render(&problems, &path, &text)))?;
    } else {
        for warning in &warnings {
            eprintln!("warning: {}", warning.message);
        }
        print(&format!("{path} is valid\n"))?;
    }
    Ok(if problems.is_empty() { Exit::Done } else { Exit::Error })
}

/// What a look shows, wherever the controller runs.
struct Seen {
    plan: Plan,
    status: Vec<Line>,
    file_error: Option<String>,
    observed: serde_json::Value,
    fenced: Option<String>,
}

/// A status line as the controller sent it.
type Line = serde_json::Value;

async fn look(places: &Places) -> anyhow::Result<Seen> {
    let snapshot: serde_json::Value = match reach::reach(places)? {
        Reached::Running(remote) => serde_json::from_slice(&remote.post("/look", &json!({})).await?)?,
        Reached::Own(controller, _lock) => {
            controller.round(Mode::Preview).await?;
            serde_json::to_value(controller.snapshot().as_ref())?
        }
    };
    seen(snapshot)
}

fn seen(mut snapshot: serde_json::Value) -> anyhow::Result<Seen> {
    let file_error = snapshot["file_error"].as_str().map(str::to_owned);
    if snapshot["plan"].is_null() {
        bail!("{}", file_error.unwrap_or_else(|| "nothing has been looked at yet".into()));
    }
    if let Some(error) = &file_error {
        eprintln!("the file cannot be used; the last good one stays in force\n{error}");
    }
    let status = match snapshot["status"].take() {
        serde_json::Value::Array(lines) => lines,
        _ => Vec::new(),
    };
    Ok(Seen {
        plan: serde_json::from_value(snapshot["plan"].take())?,
        status,
        file_error,
        observed: snapshot["observed"].take(),
        fenced: snapshot["fenced"].as_str().map(str::to_owned),
    })
}

fn show_plan(seen: &Seen, output: Format) -> anyhow::Result<Exit> {
    match output {
        Format::Json => print(&format!("{}\n", serde_json::to_string_pretty(&seen.plan)?))?,
        Format::Text => print(&plan::render(&seen.plan))?,
    }
    Ok(exit_of(&seen.plan))
}

fn exit_of(plan: &Plan) -> Exit {
    if plan.is_blocked() {
        Exit::Blocked
    } else if plan.is_empty() {
        Exit::Done
    } else {
        Exit::Changes
    }
}

fn show_status(seen: &Seen, output: Format) -> anyhow::Result<Exit> {
    if output == Format::Json {
        let answer = json!({
            "version": 1,
            "revision": seen.plan.revision,
            "at": seen.plan.at,
            "file_error": seen.file_error,
            "fenced": seen.fenced,
            "objects": seen.status,
            "sparks": seen.observed["sparks"],
        });
        print(&format!("{answer:#}\n"))?;
        return Ok(exit_of(&seen.plan));
    }
    let mut text = format!("revision {}, as of {:.0}\n", seen.plan.revision, seen.plan.at);
    if let Some(fenced) = &seen.fenced {
        text.push_str(&format!("FENCED: {fenced}\n"));
    }
    let word = |line: &Line, key: &str| line[key].as_str().unwrap_or("").to_owned();
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["OBJECT", "DESIRED", "OBSERVED", "SYNC", "HEALTH", "WHY"]);
    for line in &seen.status {
        let why = match line["reason"].as_str() {
            Some(reason) => format!("{reason}: {}", word(line, "message")),
            None => String::new(),
        };
        table.add_row([
            word(line, "object"),
            word(line, "desired"),
            word(line, "observed"),
            word(line, "sync"),
            word(line, "health"),
            why,
        ]);
    }
    text.push_str(&format!("{table}\n"));
    if let Some(sparks) = seen.observed["sparks"].as_object() {
        for (name, view) in sparks {
            match view["reach"].as_str() {
                Some("reachable") => {
                    let available = view["memory_available_bytes"].as_u64().unwrap_or(0);
                    let total = view["memory_total_bytes"].as_u64().unwrap_or(0);
                    let free = crate::core::memory::gib(available);
                    text.push_str(&format!(
                        "{name}: reachable, {free} of {} free\n",
                        crate::core::memory::gib(total)
                    ));
                }
                _ => {
                    let why = view["why"].as_str().unwrap_or("not known");
                    let since = view["since"].as_str().unwrap_or("");
                    text.push_str(&format!("{name}: UNREACHABLE since {since}: {why}\n"));
                }
            }
        }
    }
    print(&text)?;
    Ok(exit_of(&seen.plan))
}

fn show_diff(seen: &Seen, output: Format) -> anyhow::Result<Exit> {
    let differing: Vec<&Line> =
        seen.status.iter().filter(|line| line["sync"].as_str() != Some("InSync")).collect();
    match output {
        Format::Json => print(&format!("{}\n", serde_json::to_string_pretty(&differing)?))?,
        Format::Text => {
            for line in &differing {
                let word = |key: &str| line[key].as_str().unwrap_or("");
                let mut text =
                    format!("{}: desired {}, observed {}", word("object"), word("desired"), word("observed"));
                if let Some(work) = seen.plan.work.iter().find(|work| work.object.as_str() == word("object"))
                {
                    match &work.verdict {
                        Verdict::Open => text.push_str(&format!("; will {}", work.goal)),
                        Verdict::Waiting { reason, message } | Verdict::Blocked { reason, message } => {
                            text.push_str(&format!("; {reason:?}: {message}"));
                        }
                    }
                }
                text.push('\n');
                print(&text)?;
            }
        }
    }
    Ok(if differing.is_empty() { Exit::Done } else { Exit::Changes })
}

/// With a running controller the loop does the work and this follows it; without one this process does it.
async fn apply(places: &Places, id: Option<&str>, no_wait: bool, output: Format) -> anyhow::Result<Exit> {
    match reach::reach(places)? {
        Reached::Running(remote) => {
            if let Some(id) = id {
                match remote.post(&format!("/plans/{id}/approve"), &By { by: user() }).await {
                    Ok(_) => {}
                    Err(error) => return refused(error),
                }
            }
            loop {
                let seen = seen(serde_json::from_slice(&remote.post("/look", &json!({})).await?)?)?;
                if no_wait || seen.plan.is_empty() || seen.plan.is_blocked() {
                    show_plan(&seen, output)?;
                    return Ok(if seen.plan.is_blocked() { Exit::Blocked } else { Exit::Done });
                }
                tokio::time::sleep(FOLLOW).await;
            }
        }
        Reached::Own(controller, _lock) => {
            controller.round(Mode::Preview).await?;
            let snapshot = controller.snapshot();
            let Some(current) = &snapshot.plan else {
                bail!("{}", snapshot.file_error.clone().unwrap_or_else(|| "there is no plan".into()));
            };
            let approved = match id {
                None => current.clone(),
                Some(id) => {
                    let Some(stored) = controller.stored_plan(id)? else {
                        bail!(Refusal::NoSuchPlan(id.into()))
                    };
                    if let Some(observed) = &snapshot.observed
                        && let Err(changed) = stored.still_holds(observed)
                    {
                        eprintln!("the plan is stale: {}", changed.join("; "));
                        return Ok(Exit::Stale);
                    }
                    controller.approve(id, &user())?;
                    stored
                }
            };
            print(&plan::render(&approved))?;
            loop {
                let turn = controller.round(Mode::Only(&approved)).await?;
                let snapshot = controller.snapshot();
                let plan = snapshot.plan.as_ref().expect("there was one");
                if plan.is_empty() {
                    eprintln!("done");
                    return Ok(Exit::Done);
                }
                if plan.is_blocked() && !turn.acted {
                    eprint!("{}", plan::render(plan));
                    return Ok(Exit::Blocked);
                }
                if no_wait {
                    return Ok(Exit::Done);
                }
                tokio::time::sleep(FOLLOW).await;
            }
        }
    }
}

async fn approve(places: &Places, id: &str) -> anyhow::Result<Exit> {
    match reach::reach(places)? {
        Reached::Running(remote) => {
            if let Err(error) = remote.post(&format!("/plans/{id}/approve"), &By { by: user() }).await {
                return refused(error);
            }
        }
        Reached::Own(controller, _lock) => {
            controller.round(Mode::Preview).await?;
            match controller.approve(id, &user()) {
                Ok(()) => {}
                Err(error @ (Refusal::Stale(_) | Refusal::NoSuchPlan(_))) => {
                    eprintln!("{error}");
                    return Ok(Exit::Stale);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    eprintln!("approved {id}");
    Ok(Exit::Done)
}

fn refused(error: anyhow::Error) -> anyhow::Result<Exit> {
    match error.downcast_ref::<Refused>() {
        Some(refused) if refused.0.code == "stale" || refused.0.code == "no_such_plan" => {
            eprintln!("{refused}");
            Ok(Exit::Stale)
        }
        _ => Err(error),
    }
}

async fn retry(places: &Places, object: &str) -> anyhow::Result<Exit> {
    match reach::reach(places)? {
        Reached::Running(remote) => {
            remote.post(&format!("/retry/{object}"), &json!({})).await?;
        }
        Reached::Own(controller, _lock) => {
            controller.retry(object)?;
        }
    }
    Ok(Exit::Done)
}

/// The name for the history; nobody is authenticated by it.
fn user() -> String {
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "someone".into())
}

/// The newest saved log of each Spark.
fn logs(places: &Places, object: &str) -> anyhow::Result<Exit> {
    let directory = places.data.join("logs");
    let prefix = format!("{object}-");
    let mut names: Vec<String> = match fs::read_dir(&directory) {
        Ok(entries) => entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with(&prefix))
            .collect(),
        Err(_) => Vec::new(),
    };
    names.sort();
    let Some(newest) = names.last() else {
        bail!("no log of `{object}` has been saved in {}", directory.display())
    };
    print(&fs::read_to_string(directory.join(newest))?)?;
    Ok(Exit::Done)
}

async fn history(places: &Places, last: u32, output: Format) -> anyhow::Result<Exit> {
    let mut events: Vec<Event> = match reach::reach(places)? {
        Reached::Running(remote) => remote.get("/events").await?,
        Reached::Own(controller, _lock) => controller.events(last)?,
    };
    let surplus = events.len().saturating_sub(usize::try_from(last).unwrap_or(usize::MAX));
    events.drain(..surplus);
    match output {
        Format::Json => print(&format!("{}\n", serde_json::to_string_pretty(&events)?))?,
        Format::Text => {
            for event in events {
                print(&format!("{} {:<10} {:<14} {}\n", event.at, event.kind, event.object, event.message))?;
            }
        }
    }
    Ok(Exit::Done)
}
