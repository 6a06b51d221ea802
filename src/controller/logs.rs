//! What containers of a slot or service say now, and what they said before they were stopped.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Controller, RequestRefusal};
use crate::{
    core::{
        decide::{slot_containers::slot_containers, view::View},
        model::{
            desired::Place,
            id::JobId,
            launch::LaunchState,
            ledger::Ledger,
            name::{SparkName, nearest},
            object::Object,
            observed::{Observed, SparkView},
        },
    },
    probe::{container_log, jobs},
};

/// As much as a person scrolls back.
const LINES: u32 = 500;
const DEADLINE: Duration = Duration::from_secs(10);
/// Of all objects together; a swap on two Sparks saves two.
const KEPT_FILES: usize = 200;
/// More than two thousand long lines.
const MAX_SAVED: u64 = 64 << 20;

/// Keep a container's last words below the data directory, and forget the oldest of too many.
///
/// # Errors
/// When they cannot be written.
pub fn save(data: &Path, object: &Object, spark: &str, log: &str, now: Timestamp) -> io::Result<PathBuf> {
    let directory = data.join("logs");
    fs::create_dir_all(&directory)?;
    let at = now.strftime("%Y%m%dT%H%M%S").to_string();
    // Two containers of one object may end in the same second.
    let names = (1..).map(|number| match number {
        1 => format!("{object}-{at}-{spark}.log.gz"),
        number => format!("{object}-{at}.{number:03}-{spark}.log.gz"),
    });
    let (path, file) = names
        .take(KEPT_FILES)
        .map(|name| directory.join(name))
        .find_map(|path| match File::create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
            file => Some(file.map(|file| (path, file))),
        })
        .unwrap_or_else(|| Err(io::ErrorKind::AlreadyExists.into()))?;
    let mut file = GzEncoder::new(file, Compression::default());
    file.write_all(log.as_bytes())?;
    file.finish()?.sync_all()?;
    let mut files: Vec<(std::time::SystemTime, PathBuf)> = fs::read_dir(&directory)?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        })
        .collect();
    files.sort();
    let surplus = files.len().saturating_sub(KEPT_FILES);
    for (_, old) in files.drain(..surplus) {
        fs::remove_file(old)?;
    }
    Ok(path)
}

/// The last words of `object` that were saved last, one of each Spark.
///
/// # Errors
/// When they are there and cannot be read.
pub fn saved(data: &Path, object: &str) -> io::Result<Vec<(PathBuf, String)>> {
    let Ok(entries) = fs::read_dir(data.join("logs")) else { return Ok(Vec::new()) };
    let prefix = format!("{object}-");
    let mut newest: BTreeMap<String, (String, PathBuf)> = BTreeMap::new();
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let parts = name.strip_prefix(&prefix).and_then(|rest| rest.split_at_checked(TIME_LENGTH));
        // After the object's name comes the time, so that `a` does not find the logs of `a-3`.
        let Some((time, rest)) = parts.filter(|(time, _)| is_time(time)) else { continue };
        let Some((number, spark)) = rest.trim_end_matches(".log.gz").split_once('-') else { continue };
        let found = (format!("{time}{number}"), entry.path());
        let known = newest.entry(spark.to_owned()).or_default();
        if *known < found {
            *known = found;
        }
    }
    let read = newest.into_values().map(|(_, path)| {
        let mut text = String::new();
        GzDecoder::new(File::open(&path)?).take(MAX_SAVED).read_to_string(&mut text)?;
        Ok((path, text))
    });
    read.collect()
}

/// `20261124T120000`
const TIME_LENGTH: usize = 15;

fn is_time(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| if at == 8 { byte == b'T' } else { byte.is_ascii_digit() })
}

/// One container's last words.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogText {
    pub spark: SparkName,
    pub container: String,
    /// Or why it could not be read.
    pub text: Result<String, String>,
}

/// What stands on a Spark that does not answer is not nothing.
fn unseen(spark: &SparkName, container: &str, observed: &Observed) -> Option<LogText> {
    let SparkView::Unreachable { why, .. } = observed.sparks.get(spark)? else { return None };
    let text = Err(format!("what runs there is not known: `{spark}` does not answer: {why}"));
    Some(LogText { spark: spark.clone(), container: container.to_owned(), text })
}

/// The launcher's job, while its model does not serve yet or failed to: there may be no container to ask.
fn launcher_job(object: &Object, ledger: &Ledger, observed: &Observed) -> Option<(SparkName, JobId)> {
    let launch = ledger.launch(object)?;
    if !matches!(launch.state, LaunchState::Loading | LaunchState::Failed { .. }) {
        return None;
    }
    let spark = launch.group.head();
    let job = observed.facts(spark)?.jobs.iter().find(|job| job.token == launch.token)?;
    Some((spark.clone(), job.id.clone()))
}

impl Controller {
    /// The current logs of every container of `object` that was seen at the last look.
    ///
    /// # Errors
    /// When there is no such object.
    pub async fn logs(&self, object: &str) -> Result<Vec<LogText>, RequestRefusal> {
        let mut places = Vec::new();
        let mut others = Vec::new();
        let mut launchers = Vec::new();
        let desired = {
            let state = self.state();
            let (Some(current), Some(observed)) = (&state.current, &state.observed) else {
                return Ok(Vec::new());
            };
            current.known(object)?;
            let desired = &current.desired;
            let way_to =
                |spark: &SparkName| state.transports.get(spark).map(|(_, transport)| transport.clone());
            for (name, slot) in desired.slots.iter().filter(|(name, _)| name.as_str() == object) {
                let group = state.ledger.launch(name).map(|launch| &launch.group);
                for entry in slot_containers(
                    name,
                    slot,
                    View { desired, observed, ledger: &state.ledger, now: observed.at },
                ) {
                    let started = group.filter(|group| entry.spec.as_ref() == Some(&group.spec));
                    let file = started.and_then(|group| group.log.clone());
                    let container = entry.container;
                    places.extend(way_to(entry.spark).map(|way| {
                        (entry.spark.clone(), container.name.clone(), container.id.clone(), file, way)
                    }));
                }
            }
            let slots = desired.slots.iter().filter(|(name, _)| name.as_str() == object);
            for (name, slot) in slots {
                let job = launcher_job(name, &state.ledger, observed);
                launchers.extend(job.and_then(|(spark, job)| Some((way_to(&spark)?, spark, job))));
                let container = slot.container.as_str();
                others.extend(slot.sparks.iter().filter_map(|spark| unseen(spark, container, observed)));
            }
            let service = desired.services.iter().find(|(name, _)| name.as_str() == object);
            if let Some((Place::Spark(spark), Some(container))) =
                service.map(|(_, service)| (&service.place, &service.container))
            {
                others.extend(unseen(spark, container.as_str(), observed));
            }
            if let Some((Place::Spark(spark), Some(container))) =
                service.map(|(_, service)| (&service.place, &service.container))
            {
                let container = observed.facts(spark).and_then(|facts| facts.container(container.as_str()));
                if let (Some(container), Some(way)) = (container, way_to(spark)) {
                    places.push((spark.clone(), container.name.clone(), container.id.clone(), None, way));
                }
            }
            current.desired.clone()
        };
        let reading = places.into_iter().map(|(spark, container, id, file, way)| {
            let desired = desired.clone();
            async move {
                let way = way.as_ref();
                let text =
                    container_log::last(way, &desired, &spark, &id, file.as_ref(), LINES, DEADLINE).await;
                LogText { spark, container: container.into(), text: text.map_err(|error| error.to_string()) }
            }
        });
        let cluster = desired.cluster.as_str();
        let of_launchers = launchers.into_iter().map(|(way, spark, job)| async move {
            let text = jobs::log(way.as_ref(), cluster, &job, LINES, DEADLINE).await;
            LogText {
                spark,
                container: format!("launcher {job}"),
                text: text.map_err(|error| error.to_string()),
            }
        });
        let (mut logs, of_launchers) = tokio::join!(join_all(reading), join_all(of_launchers));
        logs.extend(of_launchers.into_iter().filter(|log| log.text.as_deref() != Ok("")));
        logs.extend(others);
        logs.extend(self.update_log(object).await);
        Ok(logs)
    }

    /// The current log of one container that was seen at the last look, whoever's it is.
    ///
    /// # Errors
    /// When there is no such Spark or container.
    pub async fn log_of(&self, spark: &str, container: &str) -> Result<LogText, RequestRefusal> {
        let (spark, way, id, desired) = {
            let state = self.state();
            let (spark, way) = state.way_to(spark)?;
            let facts = state.observed.as_ref().and_then(|observed| observed.facts(&spark));
            let found = facts.and_then(|facts| facts.container(container));
            let (Some(found), Some(current)) = (found, &state.current) else {
                let names =
                    facts.into_iter().flat_map(|facts| &facts.containers).map(|one| one.name.as_str());
                let hint = nearest(container, names);
                let hint = hint.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                return Err(RequestRefusal::NoSuchContainer(spark, container.to_owned(), hint));
            };
            (spark, way, found.id.clone(), current.desired.clone())
        };
        let text = container_log::last(way.as_ref(), &desired, &spark, &id, None, LINES, DEADLINE).await;
        let text = text.map_err(|error| error.to_string());
        Ok(LogText { spark, container: container.to_owned(), text })
    }

    /// What the last update of a bot says, or said.
    async fn update_log(&self, object: &str) -> Option<LogText> {
        let (cluster, spark, job, way) = {
            let state = self.state();
            let current = state.current.as_ref()?;
            let (object, known) = state.ledger.services.iter().find(|(known, _)| known.as_str() == object)?;
            let update = known.update.as_ref()?;
            let (_, way) = state.sessions.get(object)?;
            let (_, service) =
                current.desired.services.iter().find(|(name, _)| name.as_str() == object.as_str())?;
            let Place::Spark(spark) = &service.place else { return None };
            (current.desired.cluster.clone(), spark.clone(), update.job.clone(), way.clone())
        };
        let text = jobs::log(way.as_ref(), cluster.as_str(), &job, LINES, DEADLINE).await;
        let container = format!("update {job}");
        Some(LogText { spark, container, text: text.map_err(|error| error.to_string()) })
    }
}

/// The lines of `now` that come after those of `before`: what is read each time is the end of a log that grows.
pub fn new_lines<'a>(before: Option<&str>, now: &'a str) -> Vec<&'a str> {
    let lines: Vec<&str> = now.lines().collect();
    let Some(before) = before else { return lines };
    let known: Vec<&str> = before.lines().collect();
    // What is read begins where it began before, or later: the longest end of the old that the new begins with.
    let start = (0..=known.len()).find(|start| lines.starts_with(&known[*start..]));
    let start = start.expect("everything begins with nothing");
    lines[known.len() - start..].to_vec()
}

/// Up to the end of the last line that has one: a line that is still being written is told when it is whole.
pub fn whole_lines(text: &str) -> &str {
    text.rfind('\n').map_or("", |end| &text[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::name::ServiceName;

    /// If this failed, a disk would fill with what containers said, or the wrong one's words be shown.
    #[test]
    fn the_last_words_are_found_and_the_oldest_forgotten() {
        let data = tempfile::tempdir().unwrap();
        let object = |name: &str| Object::service(&ServiceName::new(name).unwrap());
        let start: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let at = |seconds: i64| start.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
        save(data.path(), &object("a-b"), "spark1", "of another", at(900)).unwrap();
        for second in 0..300 {
            save(data.path(), &object("a"), "spark1", &format!("{second}"), at(second)).unwrap();
        }
        let words = |object: &str| -> Vec<String> {
            saved(data.path(), object).unwrap().into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(words("a"), ["299"]);
        assert_eq!(fs::read_dir(data.path().join("logs")).unwrap().count(), KEPT_FILES);
        assert!(words("c").is_empty());
        // Of every Spark, and of two in one second the later.
        let first = save(data.path(), &object("a"), "spark2", "first", at(299)).unwrap();
        let second = save(data.path(), &object("a"), "spark2", "second", at(299)).unwrap();
        assert!(first != second && first.exists(), "neither is written over");
        save(data.path(), &object("a-3"), "spark1", "of another", at(999)).unwrap();
        assert_eq!(words("a"), ["299", "second"]);
    }

    /// If this failed, a follower would read a line twice, or miss one.
    #[test]
    fn only_what_was_not_said_is_new() {
        assert_eq!(new_lines(None, "a\nb\n"), ["a", "b"]);
        assert_eq!(new_lines(Some("a\nb\n"), "a\nb\nc\n"), ["c"]);
        assert_eq!(new_lines(Some("a\nb\nb\n"), "b\nb\nb\n"), ["b"]);
        assert_eq!(new_lines(Some("a\nb\n"), "a\nb\n"), Vec::<&str>::new());
        assert_eq!(new_lines(Some("a\nb\n"), "x\ny\n"), ["x", "y"], "another container");
        // A line that grows is told once, when it is whole.
        assert_eq!(
            [whole_lines("a\nLoad"), whole_lines("Load"), whole_lines("a\n"), whole_lines("")],
            ["a\n", "", "a\n", ""]
        );
    }
}
