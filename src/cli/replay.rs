//! `replay`: a report from the field, its decision made again, and what comes of it on simulated Sparks.

use std::{
    io::Read,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Exit, arguments::Format, print, print_json, print_told};
use crate::{
    controller::{Controller, ControllerPaths, OutsideWorld, export::Export, random_hex, round::RoundMode},
    core::{model::plan::Plan, tell::render::render},
    manifest::v1::Span,
    sim::{Sim, SimulatedTimes, http::InMemory, report, transport::SimulatedTransport},
    store::{Event, Store},
};

/// A cluster of a hundred Sparks is a tenth of it.
const MAX_EXPORT: u64 = 256 << 20;
/// As long as things take on real Sparks; nobody waits for them.
const TIMES: SimulatedTimes = SimulatedTimes {
    load: Duration::from_secs(120),
    release: Duration::from_secs(15),
    launcher: Duration::from_secs(2),
    stop: Duration::from_secs(10),
    check: Duration::ZERO,
    latency: Duration::ZERO,
    patience: Duration::ZERO,
};
/// Between rounds while a gate is watched.
const PAUSE_SECS: i64 = 3;
const LONGEST_PLAY: SignedDuration = SignedDuration::from_hours(24);
/// More than a person reads.
const KEPT_EVENTS: u32 = 1000;

/// # Errors
/// When the file is no export, or stdout cannot be written.
pub async fn replay(file: &Path, length: Option<String>, output: Format) -> anyhow::Result<Exit> {
    let length = match length {
        None => None,
        Some(text) => {
            let span = Span::try_from(text).map_err(anyhow::Error::msg)?;
            Some(SignedDuration::try_from(span.0)?.min(LONGEST_PLAY))
        }
    };
    let export = read(file)?;
    let plan = export.replay().map_err(anyhow::Error::msg)?;
    let same = plan.decides_like(&export.plan);
    let played = match length {
        Some(length) => Some(play(&export, length).await?),
        None => None,
    };
    match output {
        Format::Json => {
            let played =
                played.as_ref().map(|played| json!({ "events": played.events, "plan": played.plan }));
            let decided = json!({ "same": same, "plan": plan, "exported": export.plan.id, "played": played });
            print_json(&decided)?;
        }
        Format::Text => {
            print_told(&render(&plan))?;
            if let Some(played) = &played {
                print_told(&told(played))?;
            }
        }
    }
    if same {
        return Ok(Exit::Done);
    }
    talk!("version {} decided otherwise then ({}):", export.program, export.plan.id);
    if output == Format::Text {
        print(&render(&export.plan))?;
    }
    Ok(Exit::Stale)
}

fn read(file: &Path) -> anyhow::Result<Export> {
    let shown = file.display();
    let mut text = String::new();
    let reading: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).with_context(|| format!("reading {shown}"))?)
    };
    reading.take(MAX_EXPORT).read_to_string(&mut text).with_context(|| format!("reading {shown}"))?;
    serde_json::from_str(&text).with_context(|| format!("{shown} is not what `export` writes"))
}

/// What came of it.
struct PlayedReport {
    events: Vec<Arc<Event>>,
    plan: Plan,
}

fn told(played: &PlayedReport) -> String {
    let mut text = "\nFrom there on simulated Sparks:\n\n".to_owned();
    for event in &played.events {
        text += &format!("{} {:<9} {}: {}\n", event.at, event.kind, event.object, event.message);
    }
    text + "\nIn the end: " + &render(&played.plan)
}

/// A controller that knows what was exported, on Sparks that are as they were seen, for so long by its own clock.
async fn play(export: &Export, length: SignedDuration) -> anyhow::Result<PlayedReport> {
    let passed = Arc::new(AtomicI64::new(0));
    let now = clock(export.at, passed.clone());
    let sim = Sim::new(TIMES, clock(export.at, passed.clone()));
    report::fill(&sim, &export.desired().map_err(anyhow::Error::msg)?, &export.observed);
    let folder = ReplayFolder::new()?;
    let file = folder.0.join("cluster.yaml");
    std::fs::write(&file, &export.file).with_context(|| format!("writing {}", file.display()))?;
    Store::open(&folder.0)?.set_ledger(&export.ledger)?;
    let for_world = sim.clone();
    let world = OutsideWorld {
        connect: Box::new(move |spark, _| {
            Arc::new(SimulatedTransport { sim: for_world.clone(), spark: spark.to_string() })
        }),
        http: Arc::new(InMemory { sim }),
        now: Box::new(now),
        name: "replay".into(),
        start: random_hex(2),
        quiet: Duration::ZERO,
    };
    let places =
        ControllerPaths { file, is_file_told: true, data: folder.0.clone(), allowed_secrets: Vec::new() };
    let controller = Controller::new(places, world)?;
    loop {
        controller.round(RoundMode::Act).await?;
        let plan = controller.snapshot().plan.clone().context("nothing could be looked at")?;
        if plan.is_empty() || passed.load(Ordering::SeqCst) >= length.as_secs() {
            let events = controller.events(KEPT_EVENTS)?;
            return Ok(PlayedReport { events, plan });
        }
        passed.fetch_add(PAUSE_SECS, Ordering::SeqCst);
    }
}

fn clock(began: Timestamp, passed: Arc<AtomicI64>) -> impl Fn() -> Timestamp + Send + Sync + 'static {
    move || {
        let passed = SignedDuration::from_secs(passed.load(Ordering::SeqCst));
        began.saturating_add(passed).expect("a duration, not a calendar span")
    }
}

/// A folder of this play's own, gone with it.
struct ReplayFolder(PathBuf);

impl ReplayFolder {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("spark-control-replay-{}", random_hex(8)));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for ReplayFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
