//! `desired`: read and change the file with the rules of promise 16, with or without a running controller.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::Command,
};

use anyhow::{Context, bail};

use super::{
    Exit,
    arguments::{Agreed, DesiredAction, EditArguments, Format},
    models::preview,
    print, print_json, print_told,
    reach::{self, ReachedController},
};
use crate::{
    controller::{
        ControllerPaths,
        edit::{EditRequest, Edited, FileContent, RequestedChange},
        tag::EditBase,
    },
    core::tell::render::render,
    manifest::patch,
    wire::v1::desired::{DesiredState, EditOutcome},
};

/// No file that can be valid is larger.
const MAX_INPUT: u64 = 8 << 20;

/// # Errors
/// Why nothing was changed.
pub async fn run(places: &ControllerPaths, action: DesiredAction, output: Format) -> anyhow::Result<Exit> {
    match action {
        DesiredAction::Get => {
            let current = get(places).await?;
            match output {
                Format::Json => {
                    print_json(&DesiredState { revision: current.revision, value: current.value()?.clone() })?
                }
                Format::Text => print(&current.text)?,
            }
            Ok(Exit::Done)
        }
        DesiredAction::Patch { patch, stdin: _, json_patch, how } => {
            let text = match patch {
                Some(patch) => patch,
                None => read(std::io::stdin())?,
            };
            let patch = patch::read(text.as_bytes())?;
            let change =
                if json_patch { RequestedChange::Patch(patch) } else { RequestedChange::Merge(patch) };
            change_file(places, change, how, output).await
        }
        DesiredAction::Put { text, how } => {
            let text = if text == Path::new("-") {
                read(std::io::stdin())?
            } else {
                let file = fs::File::open(&text).with_context(|| format!("reading {}", text.display()))?;
                read(file)?
            };
            change_file(places, RequestedChange::Whole(text), how, output).await
        }
        DesiredAction::Edit => edit(places, output).await,
    }
}

fn read(from: impl Read) -> anyhow::Result<String> {
    let mut text = String::new();
    from.take(MAX_INPUT + 1).read_to_string(&mut text).context("reading the new text")?;
    if text.len() as u64 > MAX_INPUT {
        bail!("the new text is more than {} MiB", MAX_INPUT >> 20);
    }
    Ok(text)
}

pub(super) async fn get(places: &ControllerPaths) -> anyhow::Result<FileContent> {
    reach::reach(places).await?.desired().await
}

pub(super) async fn change_file(
    places: &ControllerPaths,
    change: RequestedChange,
    how: EditArguments,
    output: Format,
) -> anyhow::Result<Exit> {
    let mut base = how.base.map(EditBase::Revision);
    // Who sits at a terminal sees first what it does; a script has said what it means.
    let asks = !how.dry_run && !how.yes && super::talk::is_interactive();
    if asks && base.is_none() && !how.create {
        base = Some(EditBase::Tags(vec![get(places).await?.tag]));
    }
    let request = EditRequest { create: how.create, ..EditRequest::local(base, change, super::user()) };
    if asks {
        return ask(places, &request, output).await;
    }
    send_and_show(places, &EditRequest { dry_run: how.dry_run, ..request }, output).await
}

async fn send_and_show(
    places: &ControllerPaths,
    request: &EditRequest,
    output: Format,
) -> anyhow::Result<Exit> {
    send_and(places, request, |edited| show(edited, request.dry_run, output)).await
}

/// What came too late is told; the rest is for `told`.
async fn send_and(
    places: &ControllerPaths,
    request: &EditRequest,
    told: impl FnOnce(&Edited) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    match send(places, request).await? {
        Ok(edited) => told(&edited),
        Err(refused) => {
            talk!("{refused}");
            Ok(Exit::Stale)
        }
    }
}

/// An edit by a command that has a name: shown with its plan, asked for, then written.
pub(super) async fn wish(
    places: &ControllerPaths,
    change: RequestedChange,
    agreed: Agreed,
    output: Format,
) -> anyhow::Result<Exit> {
    let tag = get(places).await?.tag;
    let request = EditRequest::local(Some(EditBase::Tags(vec![tag])), change, super::user());
    if agreed.dry_run {
        return send_and_show(places, &EditRequest { dry_run: true, ..request }, output).await;
    }
    if agreed.yes {
        send_and_show(places, &request, output).await
    } else {
        ask(places, &request, output).await
    }
}

/// Shown with its plan, asked for, then written.
async fn ask(places: &ControllerPaths, request: &EditRequest, output: Format) -> anyhow::Result<Exit> {
    let preview = EditRequest { dry_run: true, ..request.clone() };
    let exit = send_and_show(places, &preview, output).await?;
    if exit != Exit::Changes || !super::talk::agreed("write it?", "nothing was written")? {
        return Ok(exit);
    }
    // The difference has been seen.
    send_and(places, request, |edited| {
        if output == Format::Json {
            print_json(&EditOutcome::from(edited.clone()))?;
        }
        Ok(tell_of_force(edited))
    })
    .await
}

/// The text of a revision of before, as an edit.
pub(super) async fn back(
    places: &ControllerPaths,
    revision: Option<u64>,
    agreed: Agreed,
    output: Format,
) -> anyhow::Result<Exit> {
    let reached = reach::reach(places).await?;
    let before = match (revision, reached.desired().await?.revision) {
        (Some(revision), _) => Some(revision),
        (None, Some(now)) => now.checked_sub(1).filter(|before| *before > 0),
        // Edited by hand, and not in force, or not yet.
        (None, None) => reached.snapshot().await?.revision,
    };
    let Some(revision) = before else {
        bail!("the file is as it was at first: there is no revision before it")
    };
    let text: Option<String> = reached.get(&format!("/desired/{revision}")).await?;
    let text = text.with_context(|| {
        format!("revision {revision} is not kept; `spark-control history` has those that are")
    })?;
    drop(reached);
    wish(places, RequestedChange::Whole(text), agreed, output).await
}

/// What a draft of the file would bring.
pub(super) async fn draft(places: &ControllerPaths, file: &Path, output: Format) -> anyhow::Result<Exit> {
    let text = read(fs::File::open(file).with_context(|| format!("opening {}", file.display()))?)?;
    let request = EditRequest {
        dry_run: true,
        create: true,
        ..EditRequest::local(None, RequestedChange::Whole(text), super::user())
    };
    send_and_show(places, &request, output).await
}

async fn send(places: &ControllerPaths, request: &EditRequest) -> anyhow::Result<Result<Edited, String>> {
    let reached = reach::reach(places).await?;
    // Only a preview needs to know what the Sparks hold.
    if request.dry_run {
        reached.look().await?;
    }
    reached.edit(request).await
}

impl ReachedController {
    pub(super) async fn desired(&self) -> anyhow::Result<FileContent> {
        self.get("/desired").await
    }

    /// The outer error is for what went wrong, the inner for an edit that came too late.
    pub(super) async fn edit(&self, request: &EditRequest) -> anyhow::Result<Result<Edited, String>> {
        match self.post("/desired", request).await {
            Ok(answer) => Ok(Ok(serde_json::from_slice(&answer)?)),
            Err(error) => match reach::refused(&error, &["conflict", "concurrent_edit"]) {
                Some(message) => Ok(Err(message)),
                None => Err(error),
            },
        }
    }
}

fn show(edited: &Edited, dry_run: bool, output: Format) -> anyhow::Result<Exit> {
    for warning in &edited.warnings {
        talk!("warning: {warning}");
    }
    match output {
        Format::Json => print_json(&EditOutcome::from(edited.clone()))?,
        Format::Text => print(&edited.diff)?,
    }
    if edited.diff.is_empty() {
        talk!("nothing changes");
        return Ok(Exit::Done);
    }
    if dry_run {
        if let (Some(plan), Format::Text) = (&edited.plan, output) {
            print_told(&format!("\n{}\n", preview(&render(plan))))?;
        }
        if let Some(waits) = &edited.pending_reason {
            talk!("{waits}");
        }
        return Ok(Exit::Changes);
    }
    Ok(tell_of_force(edited))
}

/// Whether what was written is in force.
fn tell_of_force(edited: &Edited) -> Exit {
    match (&edited.pending_reason, edited.revision) {
        (Some(waits), _) => {
            talk!("written, but not in force: {waits}");
            return Exit::Blocked;
        }
        (None, Some(revision)) => talk!("revision {revision} is in force"),
        (None, None) => {}
    }
    Exit::Done
}

/// The file in an editor, until what was written is valid or the person gives up.
async fn edit(places: &ControllerPaths, output: Format) -> anyhow::Result<Exit> {
    let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok());
    let editor = editor.context("neither VISUAL nor EDITOR is set")?;
    let mut words = editor.split_whitespace();
    let program = words.next().context("EDITOR is empty")?;
    let arguments: Vec<&str> = words.collect();
    let current = get(places).await?;
    let file = places.data.join("cluster.edit.yaml");
    fs::write(&file, current.text.as_bytes()).with_context(|| format!("writing {}", file.display()))?;
    loop {
        let status = Command::new(program).args(&arguments).arg(&file).status();
        let status = status.with_context(|| format!("starting `{program}`"))?;
        if !status.success() {
            bail!("`{program}` ended with {status}; nothing was changed");
        }
        let text = read(fs::File::open(&file)?)?;
        if *text == *current.text {
            fs::remove_file(&file)?;
            talk!("nothing changes");
            return Ok(Exit::Done);
        }
        let base = Some(EditBase::Tags(vec![current.tag.clone()]));
        let request = EditRequest::local(base, RequestedChange::Whole(text), super::user());
        match send(places, &request).await {
            Ok(Ok(edited)) => {
                fs::remove_file(&file)?;
                return show(&edited, false, output);
            }
            Ok(Err(refused)) => {
                talk!("{refused}\nwhat you wrote is in {}", file.display());
                return Ok(Exit::Stale);
            }
            Err(error) => {
                talk!("{error:#}");
                if !again()? {
                    bail!("nothing was changed; what you wrote is in {}", file.display());
                }
            }
        }
    }
}

/// Somebody at a terminal may go on; a script may not.
fn again() -> anyhow::Result<bool> {
    use std::io::IsTerminal;
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    talk_on!("edit it again? [Y/n] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(!answer.trim().eq_ignore_ascii_case("n") && !answer.is_empty())
}
