//! `init`: from Sparks that nobody described to a `cluster.yaml` that describes them as they are. What serves goes on
//! serving: the first plan is empty.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
};

use anyhow::{Context, bail};
use serde_json::{Value as Json, json};

use super::{
    Exit,
    arguments::{Format, InitArguments},
    describe, import, key, reach, say, trust,
};
use crate::{
    controller::{self, Controller, ControllerPaths, round::RoundMode},
    core::model::{desired::Desired, name::SparkName, step::Step},
    host::Unreachable,
    manifest::{
        self,
        compose::{self, Draft},
    },
    probe::survey::{SparkSurvey, survey},
};

/// # Errors
/// When there is a file already, or it cannot be written.
pub async fn init(
    places: &ControllerPaths,
    arguments: InitArguments,
    output: Format,
) -> anyhow::Result<Exit> {
    if places.file.exists() {
        bail!("{} is there already; name another with --file, or edit that one", places.file.display());
    }
    let Some(lock) = reach::lock(&places.data)? else {
        bail!("a controller already runs with {}; `init` is for the beginning", places.data.display());
    };
    let mut draft = Draft { sparks: named(&arguments.sparks)?, ..Draft::default() };
    let mut left = Vec::new();
    if let Some(dir) = &arguments.from_spark_control {
        let imported = import::import(dir, draft, |name| std::env::var(name).ok())?;
        (draft, left) = (imported.draft, imported.left);
    }
    finish_sparks(&mut draft, &arguments)?;
    let described = described(&draft)?;
    let public = key::public(&places.data, arguments.key.as_deref()).await?;
    if arguments.offline {
        talk!("the public key, for ~/.ssh/authorized_keys on each Spark:\n  {public}");
    } else {
        let Some(surveys) = look(places, &described, &public, &arguments).await? else {
            return Ok(Exit::Blocked);
        };
        describe::take_in(&mut draft, &surveys);
    }
    let wanted = draft.model.clone();
    left.extend(draft.keep_what_fits().iter().map(ToString::to_string));
    if draft.model != wanted {
        // What serves cannot be written down as it is: it is watched.
        describe::watch_instead(&mut draft);
        left.extend(draft.keep_what_fits().iter().map(ToString::to_string));
    }
    for left in &left {
        talk!("not taken over: {left}");
        draft.notes.push(format!("Not taken over: {left}."));
    }
    let mut adopts = write(places, &draft)?;
    let adopted = if adopts { adopt(places).await } else { Ok(false) };
    if let Err(error) = &adopted {
        talk!("taking over what serves failed: {error:#}");
    }
    if adopts && !matches!(adopted, Ok(true)) {
        // What serves is not what the file would start: it is watched until its owner decides.
        let model = draft.model.take().unwrap_or_default();
        draft.notes.push(format!(
            "`{model}` runs, and would be started in another way: set `model: {model}` to stop it and start it so."
        ));
        fs::remove_file(&places.file)?;
        write(places, &draft)?;
        adopts = false;
    }
    drop(lock);
    let told = json!({
        "file": places.file,
        "public_key": public,
        "adopted": draft.model.as_ref().filter(|_| adopts),
        "services": draft.services.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "not_taken_over": left,
    });
    let model = draft.model.as_ref().filter(|_| adopts);
    let serving =
        model.map_or(String::new(), |model| format!("; `{model}` runs and was taken over as it is"));
    let talk = format!("wrote {}{serving}\nnext: spark-control plan", places.file.display());
    say(output, &told, &talk)
}

/// Those of the command line.
fn named(written: &[String]) -> anyhow::Result<Vec<(String, Json)>> {
    let mut sparks = Vec::new();
    for written in written {
        let (name, place) = match written.split_once('=') {
            Some((name, place)) => (name.to_owned(), place),
            None => (format!("spark{}", sparks.len() + 1), written.as_str()),
        };
        let entry = if place == "local" {
            json!({ "address": "127.0.0.1", "transport": "local" })
        } else {
            let (user, host) = place.split_once('@').with_context(|| {
                format!("`{written}` is not of the form NAME=USER@ADDRESS, or NAME=local")
            })?;
            let (address, port) =
                host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port)));
            let mut entry = json!({ "address": address, "user": user });
            if let Some(port) = port {
                entry["ssh_port"] =
                    port.parse::<u16>().with_context(|| format!("`{port}` is no port"))?.into();
            }
            entry
        };
        sparks.push((name, entry));
    }
    Ok(sparks)
}

/// What the command line says of all of them.
fn finish_sparks(draft: &mut Draft, arguments: &InitArguments) -> anyhow::Result<()> {
    for (_, spark) in &mut draft.sparks {
        if let Some(socket) = &arguments.docker_socket {
            spark["docker_socket"] = socket.as_str().into();
        }
        if let Some(key) = arguments.key.as_ref().filter(|_| spark["transport"] != "local") {
            let key = std::path::absolute(key).unwrap_or_else(|_| key.clone());
            spark["key"] = key.display().to_string().into();
        }
    }
    if draft.sparks.is_empty() {
        bail!("no Spark is named; say where they are, such as --spark spark1=alice@192.0.2.1");
    }
    Ok(())
}

/// The draft's Sparks, checked as a file is.
fn described(draft: &Draft) -> anyhow::Result<Desired> {
    let text = compose::text(&Draft { sparks: draft.sparks.clone(), ..Draft::default() });
    let loaded = manifest::load::load(&text);
    Ok(loaded
        .map_err(|problems| anyhow::anyhow!("{}", manifest::render(&problems, "--spark", &text)))?
        .desired)
}

/// Every Spark as it is; `None` when one of them cannot be asked yet, and the person was told what to do.
async fn look(
    places: &ControllerPaths,
    desired: &Desired,
    public: &str,
    arguments: &InitArguments,
) -> anyhow::Result<Option<BTreeMap<SparkName, SparkSurvey>>> {
    let mut failed = BTreeSet::new();
    for (name, spark) in &desired.sparks {
        let expected = arguments.fingerprints.iter().find_map(|written| match written.split_once('=') {
            Some((of, fingerprint)) if of == name.as_str() => Some(fingerprint),
            _ => None,
        });
        // The others have causes of their own, which their owner mends in the same walk.
        if let Err(why) = trust::ensure(spark, name.as_str(), expected, &places.data).await {
            talk!("{why:#}");
            failed.insert(name);
        }
    }
    let world = controller::real_world(&places.data)?;
    let cluster = desired.cluster.as_str();
    let trusted = desired.sparks.iter().filter(|(name, _)| !failed.contains(name));
    let asking = trusted.map(|(name, spark)| {
        let way = (world.connect)(name, spark);
        async move { (name.clone(), survey(way.as_ref(), cluster, spark.docker_socket.as_str()).await) }
    });
    let mut surveys = BTreeMap::new();
    let mut are_all = failed.is_empty();
    for (name, came) in futures_util::future::join_all(asking).await {
        match came {
            Ok(survey) => {
                surveys.insert(name, survey);
            }
            Err(error) => {
                are_all = false;
                talk!("`{name}`: {error}");
                if matches!(error, Unreachable::Denied(_)) {
                    talk!(
                        "run this on {name}, as the user that was named:\n  mkdir -p ~/.ssh && chmod 700 ~/.ssh && echo \
                         '{public}' >> ~/.ssh/authorized_keys"
                    );
                }
            }
        }
    }
    if !are_all {
        talk!("nothing was written; run `init` again then, or with --offline to write what is known now");
    }
    Ok(are_all.then_some(surveys))
}

/// Write the file, when it is one that can be in force. Tells whether it wants a model.
fn write(places: &ControllerPaths, draft: &Draft) -> anyhow::Result<bool> {
    let text = compose::text(draft);
    let path = places.file.display().to_string();
    let loaded = manifest::load::load(&text).map_err(|problems| {
        anyhow::anyhow!(
            "what was found does not make a valid file:\n{}",
            manifest::render(&problems, &path, &text)
        )
    })?;
    for warning in manifest::report::messages(&loaded.warnings, &text) {
        talk!("warning: {warning}");
    }
    if let Some(folder) = places.file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let mut options = fs::File::options();
    let file = options.write(true).create_new(true).open(&places.file);
    std::io::Write::write_all(&mut file.with_context(|| format!("writing {path}"))?, text.as_bytes())?;
    Ok(draft.model.is_some())
}

/// Take over what serves. False, and nothing done, when the first plan holds anything but that.
async fn adopt(places: &ControllerPaths) -> anyhow::Result<bool> {
    let world = controller::real_world(&places.data)?;
    let controller = Arc::new(Controller::new(places.clone(), world)?);
    controller.round(RoundMode::Preview).await?;
    let seen = controller.snapshot();
    let Some(plan) = &seen.plan else { return Ok(false) };
    let mut steps = plan.work.iter().flat_map(|work| work.steps());
    if !steps.all(|planned| matches!(planned.step, Step::Adopt { .. })) {
        return Ok(false);
    }
    // Containers that carry this cluster's own labels are known as they are.
    if plan.has_steps() {
        controller.round(RoundMode::Only(plan)).await?;
        controller.round(RoundMode::Preview).await?;
    }
    Ok(controller.snapshot().plan.as_ref().is_some_and(|plan| !plan.has_steps()))
}
