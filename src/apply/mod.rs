//! Performing one step: fill in the fence program, run it, say what came of it. No policy.

pub mod bots;
pub mod fence;
pub mod weights;

use crate::{
    core::model::{
        desired::{Desired, EnvValue, Secret},
        launch::LAUNCH_DEADLINE,
        launch_spec::LaunchSpec,
        object::Object,
        observed::{FencingToken, LauncherCheckout, LauncherSeen, Observed, SparkFacts},
        resolved_model::ResolvedModel,
        step::Step,
        transfer::ModelFiles,
    },
    host::{Program, SharedTransport, quote},
    launcher::{self, LaunchOrder, environment::environment},
    probe::container_log,
};

use fence::FenceVerdict;

/// What is kept of a container's output before it is stopped.
const LOG_LINES: u32 = 2000;
const LOG_DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepOutcome {
    pub verdict: FenceVerdict,
    /// The container's last words, when it was to be stopped, or why they could not be read.
    pub log: Option<Result<String, String>>,
}

/// Perform `step` on its Spark with `token`. A step that acts on no Spark is done by being recorded. `batch` is the same
/// number for the steps of one launch.
pub async fn perform(
    step: &Step,
    token: &FencingToken,
    batch: u64,
    desired: &Desired,
    observed: &Observed,
    transport: Option<&SharedTransport>,
    log: Option<Result<String, String>>,
) -> StepOutcome {
    let (Some(spark), Some(transport)) = (step.spark(), transport) else {
        return without_log(FenceVerdict::Done);
    };
    let Some(facts) = observed.facts(spark) else {
        return without_log(FenceVerdict::Refused(format!(
            "`{spark}` was not reachable when this was decided"
        )));
    };
    let act = |name| fence::program(name, desired, spark, token, facts);
    let drops = desired.sparks.get(spark).is_some_and(|spark| spark.drop_caches);
    match step {
        Step::Adopt { .. } => without_log(FenceVerdict::Done),
        Step::ReserveSpark { object, group, needs_bytes, .. } => {
            let act = before_a_load(act("advance"), *needs_bytes, drops);
            let brought = room(act, object, group, desired, facts)
                .and_then(|act| with_environment(act, object, group, token, batch, desired));
            let verdict = match brought {
                Ok((program, _)) => fence::perform(transport.as_ref(), &program).await,
                Err(why) => FenceVerdict::Refused(why),
            };
            without_log(verdict)
        }
        Step::Check { object, group, .. } => {
            let checking = check(act("check"), object, group, desired, facts);
            without_log(match checking {
                Ok(program) => fence::perform(transport.as_ref(), &program).await,
                Err(why) => FenceVerdict::Refused(why),
            })
        }
        Step::Stop { container, name, remove, grace_secs, own, .. } => {
            let own = own.as_ref();
            let program = act("stop")
                .with("own_dir", own.map_or("", |own| own.dir.as_str()))
                .with("own_program", own.map_or("", |own| own.program.as_str()))
                .with("name", name.clone())
                .with("container", container.as_str())
                .with("remove", if *remove { "yes" } else { "no" })
                .with("grace", grace_secs.to_string());
            let verdict = fence::perform(transport.as_ref(), &program).await;
            StepOutcome { verdict, log }
        }
        Step::Start { container, .. } => without_log(
            fence::perform(transport.as_ref(), &act("start").with("container", container.as_str())).await,
        ),
        Step::EndJob { job, .. } => {
            without_log(fence::perform(transport.as_ref(), &act("end-job").with("job", job.as_str())).await)
        }
        Step::Fetch { object, files, .. } => {
            let (environment, file) = match token_of(object, desired, token) {
                Ok(brought) => brought,
                Err(why) => return without_log(FenceVerdict::Refused(why)),
            };
            let script = weights::fetch(desired, spark, files, file.as_deref());
            let act = act("launch").with("environment", environment).with("forget", TOKEN_SECS);
            let act = act.with("environment_file", file.unwrap_or_default());
            without_log(
                fence::perform(transport.as_ref(), &transfer(act, object, files, token, script)).await,
            )
        }
        Step::Copy { object, to, files, .. } => {
            let script = weights::copy(desired, spark, to, files);
            let act = transfer(act("launch"), object, files, token, script);
            without_log(fence::perform(transport.as_ref(), &act).await)
        }
        // The way is the bot's own session.
        Step::Update { object, checkout, .. } => {
            let act = bots::update(act("launch"), object, checkout, token);
            without_log(fence::perform(transport.as_ref(), &act).await)
        }
        Step::Delete { files, .. } => {
            let hf_home = desired.sparks.get(spark).and_then(|spark| spark.hf_home.as_ref());
            let act = act("delete")
                .with("hf_home", hf_home.map_or_else(String::new, ToString::to_string))
                .with("folder", files.folder());
            without_log(fence::perform(transport.as_ref(), &act).await)
        }
        Step::Launch { object, group, needs_bytes, .. } => {
            let act = before_a_load(act("launch"), *needs_bytes, drops);
            let act = room(act, object, group, desired, facts);
            let launch = act.and_then(|act| launch(object, group, token, batch, desired, facts, act));
            let verdict = match launch {
                Ok(program) => fence::perform(transport.as_ref(), &program).await,
                Err(why) => FenceVerdict::Refused(why),
            };
            without_log(verdict)
        }
    }
}

/// The outcome of a step that leaves no log.
fn without_log(verdict: FenceVerdict) -> StepOutcome {
    StepOutcome { verdict, log: None }
}

/// What a Spark does and looks at before a model is loaded there.
fn before_a_load(act: Program, needs_bytes: u64, drops_caches: bool) -> Program {
    act.with("drop_caches", if drops_caches { "yes" } else { "" })
        .with("expect_memory_kib", (needs_bytes / 1024).to_string())
}

/// What a container that a step stops said last, or why it could not be read: read before, because containers of the launchers vanish
/// with their logs. `None`: the step stops nothing.
pub async fn log_before_stop(
    step: &Step,
    desired: &Desired,
    transport: Option<&SharedTransport>,
) -> Option<Result<String, String>> {
    let Step::Stop { spark, container, log, .. } = step else { return None };
    let way = transport?.as_ref();
    let read =
        container_log::last(way, desired, spark, container, log.as_ref(), LOG_LINES, LOG_DEADLINE).await;
    Some(read.map_err(|error| error.to_string()))
}

/// Until the job reads it.
const TOKEN_SECS: &str = "60";

/// A transfer of files, as a job.
fn transfer(
    act: Program,
    object: &Object,
    files: &ModelFiles,
    token: &FencingToken,
    script: String,
) -> Program {
    act.with("object", object.as_str())
        .with("spec", files.spec().as_str())
        .with("job", token.job().as_str())
        .with("limit", weights::LIMIT_SECS.to_string())
        .with("script", script)
}

/// The token for downloads that the model's environment, or the main slot's, has; and the file that it is brought in.
fn token_of(
    object: &Object,
    desired: &Desired,
    token: &FencingToken,
) -> Result<(String, Option<String>), String> {
    let model =
        desired.models.iter().find(|(name, _)| Object::weights(name) == *object).map(|(_, model)| &model.env);
    let slot = desired.slots.get(&Object::main()).map(|slot| &slot.env);
    let mut values = [model, slot].into_iter().flatten();
    let Some(value) = values.find_map(|env| env.iter().find(|(name, _)| name.as_str() == "HF_TOKEN")) else {
        return Ok((String::new(), None));
    };
    let value = match value.1 {
        EnvValue::Plain(text) => text.clone(),
        EnvValue::Secret(place) => secret(place)?,
    };
    let file = format!("/dev/shm/spark-control-{}-files.{}", desired.cluster, token.job());
    Ok((format!("HF_TOKEN={value}\n"), Some(file)))
}

/// What the parser of vLLM takes beside the model's own need: its imports.
const CHECK_BYTES: u64 = 4 << 30;

/// The words of a model, for the image's own parser: in the mounts that the model has, without the model itself, whose place
/// on the command line changed with the versions.
fn check(
    act: Program,
    object: &Object,
    group: &LaunchSpec,
    desired: &Desired,
    facts: &SparkFacts,
) -> Result<Program, String> {
    let effective = effective(object, group, desired)?;
    let image = effective.image.as_str();
    let seen = facts.image(image).ok_or_else(|| format!("no image `{image}` was seen there"))?;
    let mut words = launcher::options::mounts(&effective);
    words.extend(["--entrypoint", "python3", image, "-c", include_str!("arguments.py")].map(String::from));
    words.extend(effective.arguments());
    let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
    let floor = desired.sparks.get(group.head()).map_or(0, |spark| spark.floor_bytes);
    Ok(act
        .with("expect_image", image)
        .with("expect_image_id", seen.id.as_str())
        .with("memory_kib", ((CHECK_BYTES + floor) / 1024).to_string())
        .with("words", quoted.join(" ")))
}

/// What a Spark must have to take a rank: the name free, and the image that the decision was made on.
fn room(
    act: Program,
    object: &Object,
    group: &LaunchSpec,
    desired: &Desired,
    facts: &SparkFacts,
) -> Result<Program, String> {
    let image = effective(object, group, desired)?.image.as_str();
    let seen = facts.image(image).ok_or_else(|| format!("no image `{image}` was seen there"))?;
    Ok(act
        .with("expect_free", group.container.as_str())
        .with("expect_image", image)
        .with("expect_image_id", seen.id.as_str()))
}

/// The launch's program, or why the model cannot be started.
fn launch(
    object: &Object,
    group: &LaunchSpec,
    token: &FencingToken,
    batch: u64,
    desired: &Desired,
    facts: &SparkFacts,
    act: Program,
) -> Result<Program, String> {
    let (program, file) = with_environment(act, object, group, token, batch, desired)?;
    let effective = effective(object, group, desired)?;
    let seen = effective.start.place().and_then(|place| facts.launchers.get(place.as_str()));
    let none = LauncherCheckout::default();
    let checkout = match seen {
        Some(LauncherSeen::Present(checkout)) => checkout,
        Some(LauncherSeen::Missing | LauncherSeen::Silent { .. }) | None => &none,
    };
    let order = LaunchOrder {
        object,
        effective: &effective,
        desired,
        token,
        environment_file: file.as_deref(),
        checkout,
    };
    let script = launcher::script(order);
    Ok(program
        .with("object", object.as_str())
        .with("spec", group.spec.as_str())
        .with("job", token.job().as_str())
        .with("script", script))
}

/// Add what the group's containers get in their environment, and the file that it is brought in.
fn with_environment(
    act: Program,
    object: &Object,
    group: &LaunchSpec,
    token: &FencingToken,
    batch: u64,
    desired: &Desired,
) -> Result<(Program, Option<String>), String> {
    let limit = LAUNCH_DEADLINE.as_secs().to_string();
    let environment =
        environment(&effective(object, group, desired)?, secret).map_err(|error| error.to_string())?;
    let act = act.with("limit", limit);
    if environment.is_empty() {
        return Ok((act, None));
    }
    // In memory, at one path on every Spark.
    let file = format!("/dev/shm/spark-control-{}-{object}.{}.{batch}", desired.cluster, token.epoch);
    Ok((act.with("environment", environment).with("environment_file", file.clone()), Some(file)))
}

fn effective<'a>(
    object: &Object,
    group: &LaunchSpec,
    desired: &'a Desired,
) -> Result<ResolvedModel<'a>, String> {
    desired
        .slots
        .get(object)
        .and_then(|slot| desired.resolved_model(slot, &group.model))
        .filter(|effective| effective.spec_hash() == group.spec)
        .ok_or_else(|| format!("`{}` has been edited since", group.model))
}

/// Of one secret, in bytes: keys and tokens are hundreds.
const MAX_SECRET: u64 = 64 << 10;

/// A secret's value.
///
/// # Errors
/// Why it cannot be read, without its value.
pub fn secret(place: &Secret) -> Result<String, String> {
    let value = match place {
        Secret::Env(name) => std::env::var(name.as_str())
            .map_err(|_| format!("the environment variable `{name}` is not set"))?,
        Secret::File(path) => {
            let read = std::fs::File::open(path.as_str()).and_then(|file| {
                let mut text = String::new();
                std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_SECRET + 1), &mut text)?;
                Ok(text)
            });
            read.map_err(|error| format!("reading `{path}`: {error}"))?
        }
    };
    if u64::try_from(value.len()).is_ok_and(|length| length > MAX_SECRET) {
        return Err(format!("`{place}` is longer than {} KiB, which no secret is", MAX_SECRET >> 10));
    }
    let value = value.trim_end_matches(['\n', '\r']);
    if value.contains(['\n', '\r', '\0']) {
        return Err("it has more than one line".into());
    }
    Ok(value.to_owned())
}
