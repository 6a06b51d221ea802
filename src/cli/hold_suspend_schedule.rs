//! `hold`, `suspend`, `resume` and `schedule`: edits of the file that have a name, and what the file says of time.

use anyhow::bail;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};

use super::{
    Exit,
    arguments::{Agreed, EditArguments, Format, HoldArguments},
    desired::{change_file, get, wish},
    look::table,
    print, print_json,
};
use crate::{
    controller::{
        ControllerPaths,
        edit::{HoldAccess, RequestedChange, is_in_force},
    },
    core::{
        decide::schedule,
        model::{
            desired::{Desired, WantedModel, Window},
            name::{FILES_OF, nearest},
            object::Object,
        },
    },
    manifest::{self, v1::Span},
    wire::v1::schedule::{DAYS, Schedule},
};

/// # Errors
/// When the file cannot be read or changed.
pub async fn hold(
    places: &ControllerPaths,
    name: Option<String>,
    arguments: HoldArguments,
    output: Format,
) -> anyhow::Result<Exit> {
    let current = get(places).await?;
    let holds = current.value()?.get("holds").and_then(Json::as_object).cloned().unwrap_or_default();
    let now = Timestamp::now();
    let Some(name) = name else {
        let is_meant = arguments.until.is_some() || arguments.length.is_some() || arguments.reason.is_some();
        let is_meant = is_meant || arguments.owner.is_some() || arguments.object.is_some();
        if is_meant || arguments.release || arguments.dry_run {
            bail!("a hold needs a name: `spark-control hold NAME …`");
        }
        // What is written in a file that cannot be in force is in force nowhere.
        if let Err(problems) = manifest::load::load(&current.text) {
            let path = places.file.display().to_string();
            bail!("the file is not valid now:\n{}", manifest::render(&problems, &path, &current.text));
        }
        return list_holds(&holds, now, output);
    };
    let owner = arguments.owner.clone().unwrap_or_else(super::user);
    let hold = current.hold(&name, &owner, now)?;
    if let HoldAccess::Of(holder) = hold {
        talk!("`{name}` is held by {holder}; it is theirs to release");
        return Ok(Exit::Stale);
    }
    let value = if arguments.release {
        if hold == HoldAccess::Absent {
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
    let how = EditArguments { base: current.revision, dry_run: arguments.dry_run, create: false, yes: true };
    change_file(places, RequestedChange::Merge(patch), how, output).await
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
    places: &ControllerPaths,
    object: Option<String>,
    suspended: bool,
    dry_run: bool,
    output: Format,
) -> anyhow::Result<Exit> {
    let current = get(places).await?;
    let value_now = current.value()?;
    let path = match object.as_deref() {
        None => vec!["reconcile"],
        Some("vllm") => vec!["vllm"],
        Some(name) => {
            let (models, services) = (names_in(value_now, "models"), names_in(value_now, "services"));
            match name.strip_prefix(FILES_OF) {
                Some(model) if models.contains(&model) => vec!["models", model],
                None if services.contains(&name) => vec!["services", name],
                _ => {
                    let files: Vec<String> =
                        models.into_iter().map(|model| format!("{FILES_OF}{model}")).collect();
                    let all = services.into_iter().chain(files.iter().map(String::as_str));
                    let near = nearest(name, all.chain(["vllm"]));
                    let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                    bail!("no slot or service is named `{name}`, and no files are{hint}");
                }
            }
        }
    };
    let written = path.iter().fold(&**value_now, |value, key| &value[*key]);
    if !suspended && written["suspend"] != true {
        talk!("`{}` is not suspended", path[path.len() - 1]);
        return Ok(Exit::Done);
    }
    // Not suspended is how things are when nothing is written.
    let value = if suspended { Json::Bool(true) } else { Json::Null };
    let patch = path.iter().rev().fold(json!({ "suspend": value }), |inner, key| json!({ (*key): inner }));
    let how = EditArguments { base: current.revision, dry_run, create: false, yes: true };
    change_file(places, RequestedChange::Merge(patch), how, output).await
}

/// The names of all entries of a section of the file.
fn names_in<'a>(value: &'a Json, section: &str) -> Vec<&'a str> {
    let all = value.get(section).and_then(Json::as_object);
    all.into_iter().flat_map(|all| all.keys().map(String::as_str)).collect()
}

/// Once, from now.
///
/// # Errors
/// When there is none of that name, or the file cannot be changed.
pub async fn restart(
    places: &ControllerPaths,
    object: &str,
    agreed: Agreed,
    output: Format,
) -> anyhow::Result<Exit> {
    let current = get(places).await?;
    let services = current.value()?.get("services").and_then(Json::as_object).cloned().unwrap_or_default();
    let now = format!("{:.0}", Timestamp::now());
    let patch = if object == Object::main().as_str() {
        json!({ "vllm": { "restart_after": now } })
    } else if services.contains_key(object) {
        json!({ "services": { object: { "restart_after": now } } })
    } else {
        let near = nearest(object, services.keys().map(String::as_str).chain(["vllm"]));
        let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        bail!("no slot or service is named `{object}`{hint}");
    };
    wish(places, RequestedChange::Merge(patch), agreed, output).await
}

/// The windows, and which model will be wanted when in the next fortnight.
///
/// # Errors
/// When stdout cannot be written.
pub fn schedule(desired: &Desired, now: Timestamp, output: Format) -> anyhow::Result<Exit> {
    if output == Format::Json {
        print_json(&Schedule::new(desired, now))?;
        return Ok(Exit::Done);
    }
    let turns = schedule::model_changes(desired, now, DAYS);
    if desired.schedule.is_empty() {
        talk!("there is no schedule: `model` applies at all times");
        return Ok(Exit::Done);
    }
    let mut windows = table(["WINDOW", "MODEL", "DAYS", "TIME", "NOW"]);
    for (name, window) in &desired.schedule {
        let state = match schedule::next(window, now) {
            Some(next) if schedule::is_open(window, now) => format!("open until {next:.0}"),
            Some(next) => format!("opens {next:.0}"),
            None => String::new(),
        };
        let zone = window.zone.iana_name().unwrap_or("UTC");
        let time = format!("{}–{} {zone}", window.from.strftime("%H:%M"), window.to.strftime("%H:%M"));
        windows.add_row([name.to_string(), window.model.to_string(), days(window), time, state]);
    }
    let mut fortnight = table(["FROM", "THERE", "MODEL", "WHY"]);
    let mut zone = None;
    for turn in &turns {
        let window = turn.window.as_ref().and_then(|name| desired.schedule.get(name));
        // The end of a window is told by the clock that it began by.
        zone = window.map(|window| window.zone.clone()).or(zone);
        let there = turn.at.to_zoned(zone.clone().unwrap_or(jiff::tz::TimeZone::UTC));
        let why = match (&turn.window, &turn.held_by) {
            (_, Some(hold)) => format!("not while the hold `{hold}` is in force"),
            (Some(window), None) => format!("`{window}` opens"),
            (None, None) => "no window is open".into(),
        };
        let there = there.strftime("%a %d %b %H:%M").to_string();
        fortnight.add_row([format!("{:.0}", turn.at), there, model_of(&turn.wanted), why]);
    }
    print(&format!("{}\n\n{}\n", windows.trim_fmt(), fortnight.trim_fmt()))?;
    Ok(Exit::Done)
}

fn model_of(wanted: &WantedModel) -> String {
    match wanted {
        WantedModel::Watch => "watched".into(),
        WantedModel::Nothing => "none".into(),
        WantedModel::Model(name) => name.to_string(),
    }
}

fn days(window: &Window) -> String {
    const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    if window.days.len() == NAMES.len() {
        return "every day".into();
    }
    let days = window.days.iter();
    let names = days.filter_map(|day| NAMES.get(usize::try_from(*day).ok()?.checked_sub(1)?).copied());
    names.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::load::load;

    /// If this failed, an owner would be told of a swap that does not come, or not of one that does.
    #[test]
    fn the_fortnight_tells_every_turn_and_what_holds_it_up() {
        let text = "version: 1
sparks: { a: { address: 192.0.2.1, user: alice } }
model: day
models: { day: { repo: lab/day, sparks: [a] }, night: { repo: lab/night, sparks: [a] } }
holds: { eval: { until: 2026-11-25T12:00:00Z, owner: alice, reason: evaluation } }
schedule:
  batch: { days: [tue], from: \"23:00\", to: \"05:00\", timezone: Europe/Berlin, model: night }
  same: { days: [sat], from: \"10:00\", to: \"11:00\", model: day }
";
        let desired = load(text).unwrap().desired;
        let told: Vec<_> = schedule::model_changes(&desired, "2026-11-24T12:00:00Z".parse().unwrap(), DAYS)
            .into_iter()
            .map(|turn| (turn.at.to_string(), model_of(&turn.wanted), turn.held_by.is_some()))
            .collect();
        let expected = [
            ("2026-11-24T22:00:00Z", "night", true),
            ("2026-11-25T04:00:00Z", "day", true),
            ("2026-12-01T22:00:00Z", "night", false),
            ("2026-12-02T04:00:00Z", "day", false),
        ];
        assert_eq!(told, expected.map(|(at, model, held)| (at.to_owned(), model.to_owned(), held)));
    }
}
