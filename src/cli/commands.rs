//! Each command, top to bottom.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use serde_json::json;

use super::{
    Arguments, Exit,
    arguments::{Command, DemoAction, Format},
    demo, desired, look, print,
    reach::{self, Reached, Refused},
    say, serve, trust,
};
use crate::{
    controller::{self, Places, Refusal, Snapshot, logs::Log, round::Mode},
    core::{plan::Plan, render},
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
            let places = demo_places(places, arguments.data.is_some());
            demo::fault(&places, &spark, &fault, &length, output).await
        }
        Command::Plan => look::show_plan(look::plan_of(&look::look(&places).await?)?, output),
        Command::Apply { plan, no_wait } => apply(&places, plan.as_deref(), no_wait, output).await,
        Command::Approve { plan } => approve(&places, &plan, output).await,
        Command::Retry { object } => retry(&places, &object, output).await,
        Command::Desired { action } => desired::run(&places, action, output).await,
        Command::Status => look::show_status(&look::look(&places).await?, output),
        Command::Diff => look::show_diff(&look::look(&places).await?, output),
        Command::Trust { spark, fingerprint } => {
            let text = fs::read_to_string(&places.file)
                .with_context(|| format!("reading {}", places.file.display()))?;
            let loaded = loaded(&places, &text)?;
            let Some((name, entry)) = loaded.desired.sparks.iter().find(|(name, _)| name.as_str() == spark)
            else {
                bail!("no Spark is named `{spark}` in {}", places.file.display());
            };
            trust::trust(entry, name.as_str(), fingerprint.as_deref(), &places.data, output).await
        }
        Command::Logs { object, saved } => logs(&places, &object, saved, output).await,
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

fn loaded(places: &Places, text: &str) -> anyhow::Result<manifest::entries::Loaded> {
    let path = places.file.display().to_string();
    manifest::load::load(text)
        .map_err(|problems| anyhow::anyhow!("{}", manifest::render(&problems, &path, text)))
}

fn check(places: &Places, output: Format) -> anyhow::Result<Exit> {
    let path = places.file.display().to_string();
    let bytes = fs::read(&places.file).with_context(|| format!("reading {path}"))?;
    let text = String::from_utf8(bytes)
        .map_err(|error| anyhow::anyhow!("{path}: not UTF-8 at byte {}", error.utf8_error().valid_up_to()))?;
    let (valid, problems) = match manifest::load::load(&text) {
        Ok(loaded) => (true, loaded.warnings),
        Err(problems) => (false, problems),
    };
    let shown = || manifest::render(&problems, &path, &text);
    match output {
        Format::Json => {
            let problem = |problem: &manifest::Problem| {
                let line = text[..problem.span.start].matches('\n').count() + 1;
                json!({
                    "severity": problem.severity,
                    "line": line,
                    "message": problem.message,
                    "hint": problem.hint,
                })
            };
            let problems: Vec<_> = problems.iter().map(problem).collect();
            print(&format!("{:#}\n", json!({ "valid": valid, "problems": problems })))?;
        }
        Format::Text if !valid => print(&format!("{}\n", shown()))?,
        Format::Text => {
            if !problems.is_empty() {
                eprintln!("{}", shown());
            }
            print(&format!("{path} is valid\n"))?;
        }
    }
    Ok(if valid { Exit::Done } else { Exit::Error })
}

/// With a running controller the loop does the work and this follows it; without one this process does it.
async fn apply(places: &Places, id: Option<&str>, no_wait: bool, output: Format) -> anyhow::Result<Exit> {
    match reach::reach(places)? {
        Reached::Running(remote) => {
            if let Some(id) = id {
                match remote.post(&format!("/plans/{id}/approve"), &By { by: super::user() }).await {
                    Ok(_) => {}
                    Err(error) => return refused(error),
                }
            }
            loop {
                let seen: Snapshot = serde_json::from_slice(&remote.post("/look", &json!({})).await?)?;
                let plan = look::plan_of(&seen)?;
                if no_wait || plan.is_empty() || plan.is_blocked() {
                    look::show_plan(plan, output)?;
                    return Ok(if plan.is_blocked() { Exit::Blocked } else { Exit::Done });
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
                        eprintln!("{}", Refusal::NoSuchPlan(id.into()));
                        return Ok(Exit::Stale);
                    };
                    if let Some(observed) = &snapshot.observed
                        && let Err(changed) = stored.still_holds(observed)
                    {
                        eprintln!("the plan is stale: {}", changed.join("; "));
                        return Ok(Exit::Stale);
                    }
                    controller.approve(id, &super::user())?;
                    stored
                }
            };
            if output == Format::Text {
                print(&render::render(&approved))?;
            }
            let end = |plan: &Plan, exit| {
                if output == Format::Json {
                    look::show_plan(plan, output)?;
                }
                Ok(exit)
            };
            loop {
                let turn = controller.round(Mode::Only(&approved)).await?;
                let snapshot = controller.snapshot();
                let plan = snapshot.plan.as_ref().expect("there was one");
                if plan.is_empty() {
                    eprintln!("done");
                    return end(plan, Exit::Done);
                }
                if turn.not_covered && !turn.acted && !turn.waiting {
                    eprint!(
                        "what is to be done now is not part of the plan that was applied\n{}",
                        render::render(plan)
                    );
                    return end(plan, Exit::Blocked);
                }
                if plan.is_blocked() && !turn.acted {
                    let now = render::render(plan);
                    if now != render::render(&approved) {
                        eprint!("{now}");
                    }
                    return end(plan, Exit::Blocked);
                }
                if no_wait {
                    return end(plan, Exit::Done);
                }
                tokio::time::sleep(FOLLOW).await;
            }
        }
    }
}

async fn approve(places: &Places, id: &str, output: Format) -> anyhow::Result<Exit> {
    match reach::reach(places)? {
        Reached::Running(remote) => {
            if let Err(error) = remote.post(&format!("/plans/{id}/approve"), &By { by: super::user() }).await
            {
                return refused(error);
            }
        }
        Reached::Own(controller, _lock) => {
            controller.round(Mode::Preview).await?;
            match controller.approve(id, &super::user()) {
                Ok(()) => {}
                Err(error @ (Refusal::Stale(_) | Refusal::NoSuchPlan(_))) => {
                    eprintln!("{error}");
                    return Ok(Exit::Stale);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    say(output, &json!({ "approved": id }), &format!("approved {id}"))
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

async fn retry(places: &Places, object: &str, output: Format) -> anyhow::Result<Exit> {
    match reach::reach(places)? {
        Reached::Running(remote) => {
            remote.post(&format!("/retry/{object}"), &json!({})).await?;
        }
        Reached::Own(controller, _lock) => {
            controller.round(Mode::Preview).await?;
            controller.retry(object)?;
        }
    }
    say(output, &json!({ "retry": object }), &format!("`{object}` is tried again"))
}

/// What its containers say now; what it said before it was stopped when asked, or when nothing is there.
async fn logs(places: &Places, object: &str, saved: bool, output: Format) -> anyhow::Result<Exit> {
    let current: Vec<Log> = match reach::reach(places)? {
        _ if saved => Vec::new(),
        Reached::Running(remote) => remote.get(&format!("/logs/{object}")).await?,
        Reached::Own(controller, _lock) => {
            controller.round(Mode::Preview).await?;
            controller.logs(object).await?
        }
    };
    if output == Format::Json && !current.is_empty() {
        print(&format!("{}\n", serde_json::to_string_pretty(&current)?))?;
        return Ok(Exit::Done);
    }
    for log in &current {
        eprintln!("==> {} on {}", log.container, log.spark);
        match &log.text {
            Ok(text) => print(text)?,
            Err(why) => eprintln!("{why}"),
        }
    }
    if !current.is_empty() {
        return Ok(Exit::Done);
    }
    let Some((path, text)) = controller::logs::saved(&places.data, object)? else {
        let data = places.data.display();
        bail!("nothing of `{object}` runs, and no log of it has been saved in {data}");
    };
    match output {
        Format::Json => print(&format!("{:#}\n", json!([{ "file": path, "text": text }])))?,
        Format::Text => {
            eprintln!("==> {}", path.display());
            print(&text)?;
        }
    }
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
