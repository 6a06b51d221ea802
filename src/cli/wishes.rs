//! `hold`, `suspend`, `resume` and `schedule`: edits of the file that have a name, and what the file says of time.

use anyhow::bail;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};

use super::{
    Exit,
    arguments::{EditArguments, Format, HoldArguments},
    desired::{change_file, get},
    look::table,
    print, print_json,
};
use crate::{
    controller::{Places, edit::Asked},
    core::{
        desired::{Desired, Object},
        name::nearest,
        schedule,
    },
    manifest::{self, v1::Span},
};

/// # Errors
/// When the file cannot be read or changed.
pub async fn hold(
    places: &Places,
    name: Option<String>,
    arguments: HoldArguments,
    output: Format,
) -> anyhow::Result<Exit> {
    let current = get(places).await?;
    let holds = current.value.get("holds").and_then(Json::as_object).cloned().unwrap_or_default();
    let now = Timestamp::now();
    let Some(name) = name else {
        // What is written in a file that cannot be in force is in force nowhere.
        if let Err(problems) = manifest::load::load(&current.text) {
            let path = places.file.display().to_string();
            bail!("the file is not valid now:\n{}", manifest::render(&problems, &path, &current.text));
        }
        return list_holds(&holds, now, output);
    };
    let owner = arguments.owner.clone().unwrap_or_else(super::user);
    let known = holds.get(&name);
    // One that has expired stops nobody.
    let holder = known.filter(|hold| is_in_force(hold, now)).and_then(|hold| hold["owner"].as_str());
    if let Some(holder) = holder.filter(|holder| *holder != owner) {
        talk!("`{name}` is held by {holder}; it is theirs to release");
        return Ok(Exit::Stale);
    }
    let value = if arguments.release {
        if known.is_none() {
            bail!("there is no hold named `{name}`");
        }
        Json::Null
    } else {
        let until = match (&arguments.until, &arguments.length) {
            (Some(until), _) => Some(*until),
            (None, Some(length)) => {
                let length = Span::try_from(length.clone()).map_err(anyhow::Error::msg)?;
                Some(now.saturating_add(SignedDuration::try_from(length.0)?)?)
            }
            (None, None) => None,
        };
        if let Some(until) = until.filter(|until| *until <= now) {
            bail!("{until:.0} is past; a hold ends later than now");
        }
        // A merge patch keeps what it does not name.
        json!({
            "until": until.map(|until| format!("{until:.0}")),
            "owner": owner,
            "reason": arguments.reason.unwrap_or_else(|| "held from the command line".into()),
            "object": arguments.object,
        })
    };
    let patch = json!({ "holds": { name: value } });
    let how = EditArguments { base: current.revision, dry_run: arguments.dry_run };
    change_file(places, Asked::Merge(patch), how, output).await
}

fn is_in_force(hold: &Json, now: Timestamp) -> bool {
    let until = hold["until"].as_str().and_then(|until| until.parse::<Timestamp>().ok());
    until.is_none_or(|until| until > now)
}

fn list_holds(holds: &serde_json::Map<String, Json>, now: Timestamp, output: Format) -> anyhow::Result<Exit> {
    if output == Format::Json {
        print_json(&json!({ "holds": holds }))?;
        return Ok(Exit::Done);
    }
    if holds.is_empty() {
        talk!("nothing is held");
        return Ok(Exit::Done);
    }
    let mut table = table(["HOLD", "OBJECT", "UNTIL", "OWNER", "REASON"]);
    for (name, hold) in holds {
        let text = |key: &str, otherwise: &str| hold[key].as_str().unwrap_or(otherwise).to_owned();
        let expired = if is_in_force(hold, now) { "" } else { " (expired)" };
        table.add_row([
            name.clone(),
            text("object", Object::main().as_str()),
            text("until", "released by hand") + expired,
            text("owner", ""),
            text("reason", ""),
        ]);
    }
    print(&format!("{}\n", table.trim_fmt()))?;
    Ok(Exit::Done)
}

/// Look only, or act again: one object, or everything.
///
/// # Errors
/// When the file cannot be read or changed.
pub async fn suspend(
    places: &Places,
    object: Option<String>,
    suspended: bool,
    dry_run: bool,
    output: Format,
) -> anyhow::Result<Exit> {
    let current = get(places).await?;
    let path = match object.as_deref() {
        None => vec!["reconcile"],
        Some("vllm") => vec!["vllm"],
        Some(name) => {
            let services = current.value.get("services").and_then(Json::as_object);
            let names: Vec<&str> =
                services.into_iter().flat_map(|all| all.keys().map(String::as_str)).collect();
            if !names.contains(&name) {
                let near = nearest(name, names.into_iter().chain(["vllm"]));
                let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                bail!("no slot or service is named `{name}`{hint}");
            }
            vec!["services", name]
        }
    };
    let written = path.iter().fold(&current.value, |value, key| &value[*key]);
    if !suspended && written["suspend"] != true {
        talk!("`{}` is not suspended", path[path.len() - 1]);
        return Ok(Exit::Done);
    }
    // Not suspended is how things are when nothing is written.
    let value = if suspended { Json::Bool(true) } else { Json::Null };
    let patch = path.iter().rev().fold(json!({ "suspend": value }), |inner, key| json!({ (*key): inner }));
    let how = EditArguments { base: current.revision, dry_run };
    change_file(places, Asked::Merge(patch), how, output).await
}

/// The windows, and when the next one opens or closes.
///
/// # Errors
/// When stdout cannot be written.
pub fn schedule(desired: &Desired, now: Timestamp, output: Format) -> anyhow::Result<Exit> {
    let windows: Vec<_> = desired
        .schedule
        .iter()
        .map(|(name, window)| (name, window, schedule::is_open(window, now), schedule::next(window, now)))
        .collect();
    if output == Format::Json {
        let windows: Vec<Json> = windows
            .iter()
            .map(|(name, window, open, next)| {
                json!({ "name": name, "model": window.model, "open": open, "changes_at": next })
            })
            .collect();
        print_json(&json!({ "at": now, "windows": windows }))?;
        return Ok(Exit::Done);
    }
    if windows.is_empty() {
        talk!("there is no schedule: `model` applies at all times");
        return Ok(Exit::Done);
    }
    let mut table = table(["WINDOW", "MODEL", "DAYS", "TIME", "NOW"]);
    for (name, window, open, next) in windows {
        const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let days: Vec<&str> = window
            .days
            .iter()
            .filter_map(|day| DAYS.get(usize::try_from(*day).ok()?.checked_sub(1)?).copied())
            .collect();
        let days = if days.len() == 7 { "every day".to_owned() } else { days.join(" ") };
        let zone = window.zone.iana_name().unwrap_or("UTC");
        let time = format!("{}–{} {zone}", window.from.strftime("%H:%M"), window.to.strftime("%H:%M"));
        let next = next.map_or(String::new(), |next| format!(" {next:.0}"));
        let state = if open { format!("open until{next}") } else { format!("opens{next}") };
        table.add_row([name.to_string(), window.model.to_string(), days, time, state]);
    }
    print(&format!("{}\n", table.trim_fmt()))?;
    Ok(Exit::Done)
}
