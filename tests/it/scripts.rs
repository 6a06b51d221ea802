//! What an operator would do, and what they would be told: `tests/it/scripts/*.txt` against simulated Sparks.
//!
//! A line `$ command` is done; what follows it is the golden answer. Lines with `|` after `$ edit` are the new file:
//! only what differs from two Sparks and three models (see `cluster`). Commands:
//!
//! - `edit`: save the file. `delete`: it is gone. `plan`, `status`, `diff`: as at the command line.
//! - `run TIME`: the controller takes rounds until nothing is left to do or TIME is over; tells what happened.
//! - `wait TIME`: time passes and nobody looks. `restart`: the controller is killed and started again.
//! - `second`: a copy of it is started beside it, and swaps to `beta`.
//! - `approve`: agree to the plan of this moment, or to the file that waits. `retry OBJECT`.
//! - `approve ID`: the same of another plan. `new-memory`: the controller loses all that it knew. `patch [BASE]`: an edit by a
//!   program, of the JSON that follows.
//! - `clock TIME`: the controller's clock is set by so much, `-TIME` back.
//! - `image SPARK ID`: what `vllm-node` names there from now on; `none` is nothing.
//! - `lacks SPARK REPO`: the files of that repository are not there.
//! - `tells SPARK LINE…`: its probe says that, too. `quiet SPARK`: it does not any more.
//! - `requests SPARK N`: so many requests run at its engines. `show-first`: the plan that `plan` showed first, and an attempt
//!   to agree to it.
//! - `told`: what those who are not looking were told.
//! - `audit SPARK`: what that Spark wrote down.
//! - `floor SPARK TIME`: free memory there is watched for so long, as `serve` does all the time.
//! - `fault SPARK FAULT [TIME]`: as in the demo. `by-hand SPARK WORDS…`, `by-hand-as CONTAINER SPARK WORDS…`: a person
//!   starts an engine.
//! - `service SPARK CONTAINER PORT`: a TTS server that was there before us; `stop SPARK CONTAINER`: a person stops it;
//!   `crash SPARK CONTAINER`: from now on it ends a second after each start; `mend SPARK CONTAINER`.

use std::{fs, sync::Arc, time::Duration};

use spark_control::{
    cli::look::{diff_text, status_text},
    controller::{
        Controller, RequestRefusal,
        edit::{EditRequest, RequestedChange},
        round::RoundMode,
        tag::EditBase,
    },
    core::{
        model::{desired::ServiceKind, name::SparkName},
        tell::render::render,
    },
    host::SharedTransport,
    manifest::v1::Span,
    sim::{Fault, SimulatedService, transport::SimulatedTransport},
    web::api::problem::Problem,
};

use crate::{
    cluster::{Cluster, MODELS, SPARKS, paused},
    golden::{assert_golden, here, stems},
};

/// If this failed, an operator would be told something else than what was reviewed.
#[test]
fn scripts_answer_as_reviewed() {
    let stems = stems("tests/it/scripts", "txt");
    assert!(stems.len() >= 60, "the scripts were not found");
    for stem in stems {
        let path = format!("tests/it/scripts/{stem}.txt");
        let script = fs::read_to_string(here(&path)).unwrap();
        assert_golden(&path, &paused(play(&script)));
    }
}

/// The script with the answers of now.
async fn play(script: &str) -> String {
    let cluster = Cluster::new();
    let mut stage =
        Stage { controller: cluster.controller("a"), cluster, told: 0, read: 0, first_plan: None };
    let mut answered = String::new();
    let mut lines = script.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("$ ") else {
            if line.starts_with('#')
                || (line.is_empty() && answered.lines().all(|line| line.starts_with('#')))
            {
                let goes_on =
                    answered.is_empty() || answered.lines().last().is_some_and(|last| last.starts_with('#'));
                answered += &format!("{}{line}\n", if goes_on || line.is_empty() { "" } else { "\n" });
            }
            continue;
        };
        let explained = answered.lines().last().is_some_and(|last| last.starts_with('#'));
        answered += &format!("{}{line}\n", if answered.contains("$ ") && !explained { "\n" } else { "" });
        let mut text = String::new();
        while let Some(written) = lines.peek().and_then(|line| line.strip_prefix("| ")) {
            answered += &format!("| {written}\n");
            text += &format!("{written}\n");
            lines.next();
        }
        answered += &stage.perform(command, &text).await;
    }
    answered
}

struct Stage {
    cluster: Cluster,
    controller: Controller,
    /// Events that have been shown.
    told: i64,
    /// Messages that have been shown.
    read: i64,
    /// The plan that `plan` showed first.
    first_plan: Option<String>,
}

impl Stage {
    async fn perform(&mut self, command: &str, text: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["edit"] => {
                let has = |section: &str| text.lines().any(|line| line.starts_with(section));
                let sparks = if has("sparks:") { "" } else { SPARKS };
                let models = if has("models:") { "" } else { MODELS };
                self.cluster.edit(&format!("{sparks}{text}{models}"));
                String::new()
            }
            ["image", spark, id] => {
                let mut world = self.cluster.sim.world();
                let images = &mut world.sparks.get_mut(*spark).unwrap().images;
                if *id == "none" {
                    images.remove("vllm-node");
                } else {
                    images.insert("vllm-node".into(), (*id).to_owned());
                }
                String::new()
            }
            ["delete"] => {
                std::fs::remove_file(self.cluster.folder().join("cluster.yaml")).unwrap();
                String::new()
            }
            ["plan"] => {
                let seen = self.look().await;
                if let Some(plan) = seen.plan.as_ref().filter(|plan| plan.has_steps()) {
                    self.first_plan.get_or_insert_with(|| plan.id.to_string());
                }
                seen.plan.as_ref().map_or_else(|| seen.file_error.clone().unwrap_or_default(), render)
            }
            ["status"] => {
                let seen = self.look().await;
                let text = status_text(&seen, seen.plan.as_ref().expect("a plan"));
                text.replace(&format!("{}/", self.cluster.folder().display()), "")
            }
            ["diff"] => diff_text(&self.look().await.drift),
            ["run", time] => {
                self.cluster.settle(&self.controller, span(time)).await;
                self.news()
            }
            ["wait", time] => {
                tokio::time::sleep(span(time)).await;
                String::new()
            }
            ["second"] => {
                self.controller.flush().unwrap();
                self.cluster.copy_store("a", "b");
                let second = self.cluster.controller("b");
                self.cluster.settle(&second, Duration::from_secs(60)).await;
                self.cluster.wish("beta");
                self.cluster.settle(&second, Duration::from_secs(600)).await;
                String::new()
            }
            ["restart"] => {
                self.controller.flush().unwrap();
                self.controller = self.cluster.controller("a");
                String::new()
            }
            ["approve"] => {
                let seen = self.look().await;
                let waits = seen.file_error.as_ref().and_then(|error| error.rsplit("approve ").next());
                let id = waits.map_or_else(|| seen.plan.as_ref().unwrap().id.to_string(), str::to_owned);
                self.controller
                    .approve(&id, "alice")
                    .map_or_else(|error| format!("{error}\n"), |()| String::new())
            }
            ["lacks", spark, repo] => {
                let folder = format!("models--{}", repo.replace('/', "--"));
                self.cluster.sim.world().sparks.get_mut(*spark).unwrap().lacks.insert(folder);
                String::new()
            }
            ["tells", spark, line @ ..] => {
                self.cluster.sim.world().sparks.get_mut(*spark).unwrap().tells.push(line.join(" "));
                String::new()
            }
            ["quiet", spark] => {
                self.cluster.sim.world().sparks.get_mut(*spark).unwrap().tells.clear();
                String::new()
            }
            ["requests", spark, running] => {
                let mut world = self.cluster.sim.world();
                let containers = &mut world.sparks.get_mut(*spark).unwrap().containers;
                for engine in containers.iter_mut().filter_map(|container| container.engine.as_mut()) {
                    engine.running = running.parse().unwrap();
                }
                String::new()
            }
            ["show-first"] => {
                self.look().await;
                let id = self.first_plan.clone().expect("a plan was shown");
                let shown = self.controller.shown(&id).unwrap();
                let stale = |changed: &Vec<String>| format!("stale: {}\n", changed.join("; "));
                let changed =
                    Some(&shown.changed).filter(|changed| !changed.is_empty()).map_or(String::new(), stale);
                let approved = self.controller.approve(&id, "alice");
                let approved = approved.map_or_else(|error| format!("{error}\n"), |()| String::new());
                render(&shown.plan) + &changed + &approved
            }
            ["told"] => {
                let letters = self.controller.letters().unwrap();
                let new = letters.iter().filter(|letter| letter.number > self.read);
                let text = new.map(|letter| {
                    let body: serde_json::Value = serde_json::from_str(&letter.body).unwrap();
                    let word = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
                    format!(
                        "{} <- {} {}: {}\n",
                        letter.target,
                        word("event"),
                        word("object"),
                        word("message")
                    )
                });
                let text = text.collect();
                self.read = letters.last().map_or(self.read, |letter| letter.number);
                text
            }
            ["audit", spark] => {
                let acts = match self.controller.audit(spark, 100).await {
                    Ok(acts) => acts,
                    Err(error) => return format!("{error}\n"),
                };
                acts.iter()
                    .map(|act| {
                        format!(
                            "{} {} {}: {}\n",
                            act.by,
                            act.act,
                            act.on.get(..12).unwrap_or(&act.on),
                            act.outcome
                        )
                    })
                    .collect()
            }
            ["approve", id] => told(self.controller.approve(id, "alice")),
            ["retry", object] => told(self.controller.retry(object, "alice")),
            ["clock", time] => {
                let (sign, time) = time.strip_prefix('-').map_or((1, *time), |time| (-1, time));
                self.cluster.jump(sign * i64::try_from(span(time).as_secs()).unwrap());
                String::new()
            }
            ["new-memory"] => {
                self.controller = self.cluster.controller("c");
                self.told = 0;
                String::new()
            }
            ["patch", base @ ..] => {
                let change = match serde_json::from_str(text).unwrap() {
                    list @ serde_json::Value::Array(_) => RequestedChange::Patch(list),
                    map => RequestedChange::Merge(map),
                };
                let base = base.first().map(|base| EditBase::Revision(base.parse().unwrap()));
                let request = EditRequest::local(base, change, "alice".into());
                let folder = format!("{}/", self.cluster.folder().display());
                match self.controller.edit(&request) {
                    Ok(edited) => {
                        edited.diff
                            + &edited.pending_reason.map_or(String::new(), |waits| format!("{waits}\n"))
                    }
                    Err(error) => {
                        let problem = Problem::from(error);
                        format!("{}: {}\n", problem.code.row().name, problem.detail).replace(&folder, "")
                    }
                }
            }
            ["floor", spark, time] => {
                let name = SparkName::new(*spark).unwrap();
                let way: SharedTransport = Arc::new(SimulatedTransport {
                    sim: self.cluster.sim.clone(),
                    spark: (*spark).to_owned(),
                });
                let watching = self.controller.watch_floor(&name, &way);
                let _ = tokio::time::timeout(span(time), watching).await;
                String::new()
            }
            ["fault", spark, fault, rest @ ..] => {
                let length = rest.first().map_or(Duration::ZERO, |time| span(time));
                self.cluster.sim.fault(spark, Fault::named(fault).unwrap(), length).unwrap();
                String::new()
            }
            ["by-hand", spark, words @ ..] => {
                self.cluster.sim.start_by_hand(spark, "vllm_node", "vllm-node", words);
                String::new()
            }
            ["by-hand-as", name, spark, words @ ..] => {
                self.cluster.sim.start_by_hand(spark, name, "vllm-node", words);
                String::new()
            }
            ["service", spark, container, port] => {
                let service = SimulatedService { kind: ServiceKind::Tts, port: port.parse().unwrap() };
                self.cluster.sim.add_service(spark, container, service);
                String::new()
            }
            ["stop", spark, container] => {
                let now = self.cluster.sim.now();
                let mut world = self.cluster.sim.world();
                let machine = world.sparks.get_mut(*spark).unwrap();
                let id = machine.containers.iter().find(|known| known.name == *container).unwrap().id.clone();
                machine.stop(&id, false, now, Duration::ZERO);
                String::new()
            }
            [crash @ ("crash" | "mend"), spark, container] => {
                let mut world = self.cluster.sim.world();
                let containers = &mut world.sparks.get_mut(*spark).unwrap().containers;
                containers.iter_mut().find(|known| known.name == *container).unwrap().crashes =
                    *crash == "crash";
                String::new()
            }
            _ => panic!("the script says `{command}`"),
        }
    }

    async fn look(&self) -> std::sync::Arc<spark_control::controller::Snapshot> {
        self.controller.round(RoundMode::Preview).await.unwrap();
        self.controller.snapshot()
    }

    /// What happened since the last time, without its times.
    fn news(&mut self) -> String {
        let events = self.controller.events(1000).unwrap();
        let mut text = String::new();
        for event in events.iter().filter(|event| event.number > self.told) {
            let message = event.message.split(": its log is in").next().unwrap_or_default();
            let folder = self.cluster.folder().display().to_string();
            let message = message.replace(&format!("{folder}/"), "").replace('\n', "\n  ");
            let object = if event.object.is_empty() { String::new() } else { format!("{}: ", event.object) };
            text += &format!("{:<9} {object}{message}\n", event.kind);
        }
        self.told = events.last().map_or(self.told, |event| event.number);
        text
    }
}

fn told<T>(done: Result<T, RequestRefusal>) -> String {
    done.map_or_else(|error| format!("{error}\n"), |_| String::new())
}

fn span(text: &str) -> Duration {
    Span::try_from(text.to_owned()).unwrap().0
}
