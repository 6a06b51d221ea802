//! Each command, top to bottom.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use clap::CommandFactory;
use serde_json::json;

use super::{
    Arguments, Exit, apply,
    arguments::{Agreed, Command, DemoAction, Format},
    demo, desired, export, hold_suspend_schedule, init, key, logs,
    look::{self, Freshness},
    models::{self, preview},
    print, print_json, print_told,
    reach::{self, segment},
    replay, say, serve, talk, token, trust, watch,
};
use crate::{
    controller::{self, ControllerPaths, edit::RequestedChange},
    manifest,
    probe::audit::AuditEntry,
    store::Event,
    web::guard::Hosts,
    wire::v1::{history::History, plan::PlanDocument},
};

/// No program reads more of one file.
const MAX_PROBLEMS: usize = 1000;

/// # Errors
/// What went wrong, for the person at the terminal.
pub async fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    talk::remember_options(&arguments);
    let file = arguments.file.clone().unwrap_or_else(default_file);
    let output = arguments.output;
    // What needs no memory needs no home either.
    match &arguments.command {
        Command::Check { draft } => return check(draft.as_deref().unwrap_or(&file), output),
        Command::Schema => {
            print(&manifest_schema())?;
            return Ok(Exit::Done);
        }
        Command::Replay { file, play } => return replay::replay(file, play.clone(), output).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "spark-control", &mut script);
            print(&String::from_utf8_lossy(&script))?;
            return Ok(Exit::Done);
        }
        Command::Man { directory } => {
            std::fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
            clap_mangen::generate_to(Arguments::command(), directory)
                .with_context(|| format!("writing into {}", directory.display()))?;
            return Ok(Exit::Done);
        }
        _ => {}
    }
    let data = match arguments.data.clone() {
        Some(data) => data,
        None => default_data()?,
    };
    let allowed_secrets = match &arguments.command {
        Command::Serve { allow_secret, .. } => allow_secret.clone(),
        _ => Vec::new(),
    };
    let places = ControllerPaths { file, is_file_told: arguments.file.is_some(), data, allowed_secrets };
    match arguments.command {
        Command::Check { .. }
        | Command::Schema
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::Replay { .. } => {
            unreachable!("done above")
        }
        Command::Serve { listen, allow_host, .. } => {
            reach::private_folder(&places.data)?;
            let world = controller::real_world(&places.data)?;
            let listen = serve::ListenAddress { address: listen, hosts: Hosts::new(allow_host) };
            serve::serve(places, world, listen, axum::Router::new()).await
        }
        Command::Demo { action: None, listen } => {
            demo::run(demo_places(places, arguments.data.is_some()), listen).await
        }
        Command::Demo { action: Some(DemoAction::Fault { spark, fault, length }), .. } => {
            let places = demo_places(places, arguments.data.is_some());
            demo::fault(&places, &spark, &fault, &length, output).await
        }
        Command::Plan { plan: None, now } => look::show_plan(&look::seen(&places, now).await?, output),
        Command::Plan { plan: Some(named), .. } if Path::new(&named).is_file() => {
            desired::draft(&places, Path::new(&named), output).await
        }
        Command::Plan { plan: Some(id), .. } => look::show_old_plan(&places, &id, output).await,
        Command::Use { model, agreed } => {
            desired::wish(&places, RequestedChange::Merge(json!({ "model": model })), agreed, output).await
        }
        Command::Back { revision, agreed } => desired::back(&places, revision, agreed, output).await,
        Command::Restart { object, agreed } => {
            hold_suspend_schedule::restart(&places, &object, agreed, output).await
        }
        Command::Apply { plan, no_wait } => apply::apply(&places, plan.as_deref(), no_wait, output).await,
        Command::Approve { plan } => approve(&places, &plan, output).await,
        Command::Retry { object, agreed } => retry(&places, &object, agreed, output).await,
        Command::Desired { action } => desired::run(&places, action, output).await,
        Command::Key => key::key(&places, output).await,
        Command::Models => models::models(&places, output).await,
        Command::Status { cached: true, .. } => look::show_status(&places, Freshness::Cached, output).await,
        Command::Status { watch: true, .. } => watch::status(&places, output).await,
        Command::Status { watch: false, now, .. } => {
            let freshness = if now { Freshness::Now } else { Freshness::Known };
            look::show_status(&places, freshness, output).await
        }
        Command::Hold { name, arguments } => {
            hold_suspend_schedule::hold(&places, name, arguments, output).await
        }
        Command::Suspend { object, dry_run } => {
            hold_suspend_schedule::suspend(&places, object, true, dry_run, output).await
        }
        Command::Resume { object, dry_run } => {
            hold_suspend_schedule::suspend(&places, object, false, dry_run, output).await
        }
        Command::Token { action } => token::token(&places, action, output).await,
        Command::Schedule => {
            let loaded = loaded(&places, &text_of(&places.file)?)?;
            hold_suspend_schedule::schedule(&loaded.desired, jiff::Timestamp::now(), output)
        }
        Command::Diff { now } => look::show_diff(&look::seen(&places, now).await?, output),
        Command::Export => export::export(&places).await,
        Command::Init { arguments } => init::init(&places, arguments, output).await,
        Command::Trust { spark, fingerprint } => {
            let text = text_of(&places.file)?;
            let loaded = loaded(&places, &text)?;
            let Some((name, entry)) = loaded.desired.sparks.iter().find(|(name, _)| name.as_str() == spark)
            else {
                bail!("no Spark is named `{spark}` in {}", places.file.display());
            };
            trust::trust(entry, name.as_str(), fingerprint.as_deref(), &places.data, output).await
        }
        Command::Logs { object, follow: true, .. } => watch::logs(&places, &object).await,
        Command::Logs { object, saved, follow: false } => logs::logs(&places, &object, saved, output).await,
        Command::History { last, spark: None } => history(&places, last, output).await,
        Command::History { last, spark: Some(spark) } => audit(&places, &spark, last, output).await,
    }
}

/// The demo keeps its memory beside its file, unless told otherwise.
fn demo_places(places: ControllerPaths, told: bool) -> ControllerPaths {
    if told { places } else { ControllerPaths { data: PathBuf::from(reach::DEMO_DATA), ..places } }
}

/// The one in the working directory, else the one of this user, where it has a folder for it.
fn default_file() -> PathBuf {
    let here = PathBuf::from("cluster.yaml");
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let config = config.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    let folder = config.map(|config| config.join("spark-control")).filter(|folder| folder.is_dir());
    match folder.filter(|_| !here.exists()) {
        Some(folder) => folder.join(here),
        None => here,
    }
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

fn loaded(places: &ControllerPaths, text: &str) -> anyhow::Result<manifest::entries::Loaded> {
    let path = places.file.display().to_string();
    manifest::load::load(text)
        .map_err(|problems| anyhow::anyhow!("{}", manifest::render(&problems, &path, text)))
}

fn text_of(file: &Path) -> anyhow::Result<String> {
    let path = file.display();
    let bytes = manifest::read::read(file)
        .map_err(|error| anyhow::anyhow!("{}", manifest::read::unreadable(file, &error)))?;
    manifest::read::text(bytes).map_err(|why| anyhow::anyhow!("{path}: {why}"))
}

fn check(file: &Path, output: Format) -> anyhow::Result<Exit> {
    let path = file.display().to_string();
    let text = match text_of(file) {
        Ok(text) => text,
        // A program that asked for JSON gets it, whatever is wrong.
        Err(error) if output == Format::Json => {
            let problem = json!({ "severity": "error", "message": format!("{error:#}") });
            print_json(&json!({ "valid": false, "problems": [problem] }))?;
            return Ok(Exit::Error);
        }
        Err(error) => return Err(error),
    };
    let (valid, problems) = match manifest::load::load(&text) {
        Ok(loaded) => (true, loaded.warnings),
        Err(problems) => (false, problems),
    };
    match output {
        Format::Json => {
            let lines = manifest::report::LineIndex::of(&text);
            let problems = problems.iter().take(MAX_PROBLEMS).map(|problem| {
                let (line, column, message, hint) = manifest::report::told(problem, &text, &lines);
                json!({
                    "severity": problem.severity,
                    "line": line,
                    "column": column,
                    "message": message,
                    "hint": hint,
                })
            });
            let problems: Vec<_> = problems.collect();
            print_json(&json!({ "valid": valid, "problems": problems }))?;
        }
        Format::Text if !valid => print(&format!("{}\n", manifest::render(&problems, &path, &text)))?,
        Format::Text => {
            if !problems.is_empty() {
                talk!("{}", manifest::render(&problems, &path, &text));
            }
            print(&format!("{path} is valid\n"))?;
        }
    }
    Ok(if valid { Exit::Done } else { Exit::Error })
}

async fn approve(places: &ControllerPaths, id: &str, output: Format) -> anyhow::Result<Exit> {
    let reached = reach::reach(places).await?;
    if let Err(why) = apply::agree(&reached, id).await? {
        talk!("{why}");
        return Ok(Exit::Stale);
    }
    say(output, &json!({ "approved": id }), &format!("approved {id}"))
}

async fn retry(
    places: &ControllerPaths,
    object: &str,
    agreed: Agreed,
    output: Format,
) -> anyhow::Result<Exit> {
    let reached = reach::reach(places).await?;
    // What a fallback has begun to serve since the last look would be stopped without a question.
    reached.look().await?;
    let path = format!("/api/v1/retry/{}?dry_run=true", segment(object));
    let plan: PlanDocument = serde_json::from_slice(&reached.post(&path, &json!({})).await?)?;
    let stops = plan.interrupts(object);
    if agreed.dry_run || (stops && !agreed.yes) {
        match output {
            Format::Json => print_json(&plan)?,
            Format::Text => print_told(&format!("{}\n", preview(&plan.text)))?,
        }
        if agreed.dry_run || !talk::agreed("try it again?", "nothing was done")? {
            return Ok(Exit::Changes);
        }
    }
    let answer = reached.post(&format!("/retry/{}", segment(object)), &json!({})).await?;
    let had_failed: bool = serde_json::from_slice(&answer)?;
    if !had_failed {
        return say(
            output,
            &json!({ "retry": null }),
            &format!("nothing failed with `{object}`: there is nothing to try again"),
        );
    }
    say(output, &json!({ "retry": object }), &format!("`{object}` is tried again"))
}

async fn history(places: &ControllerPaths, last: u32, output: Format) -> anyhow::Result<Exit> {
    let events = reach::reach(places).await?.get::<Vec<Arc<Event>>>(&format!("/events?last={last}")).await?;
    match output {
        Format::Json => print_json(&History { events })?,
        Format::Text => {
            for event in events {
                // Lines of one message stand below each other, and never where a line of the history begins.
                let message = event.message.replace('\n', "\n    ");
                print(&format!("{} {:<10} {:<14} {message}\n", event.at, event.kind, event.object))?;
            }
        }
    }
    Ok(Exit::Done)
}

/// What a Spark itself remembers.
async fn audit(places: &ControllerPaths, spark: &str, last: u32, output: Format) -> anyhow::Result<Exit> {
    let reached = reach::reach(places).await?;
    reached.look_unless_running().await?;
    let path = format!("/sparks/{}/audit?last={last}", segment(spark));
    let acts: Vec<AuditEntry> = reached.get(&path).await?;
    match output {
        Format::Json => print_json(&json!({ "acts": acts }))?,
        Format::Text => {
            for AuditEntry { at, by, act, on, outcome } in acts {
                print(&format!("{at} {by:<24} {act:<8} {:<12} {outcome}\n", on.get(..12).unwrap_or(&on)))?;
            }
        }
    }
    Ok(Exit::Done)
}
