//! What would make a launch fail, seen before anything is stopped.

use std::{collections::BTreeSet, net::Ipv4Addr};

use super::{fitness, memory, slot_containers::SlotContainer, view::View};
use crate::core::model::{
    files::FilesSeen,
    id::ContainerId,
    launcher::{Checkout, DistributedExecutor},
    launcher_options::LauncherOption,
    memory_table::MemoryFit,
    model_source::ModelSource,
    name::{PlainPath, SparkName},
    object::Object,
    observed::{Container, LauncherCheckout, LauncherSeen, Observed, RecipeSeen, SparkFacts},
    plan::Objection,
    reason::Reason,
    resolved_model::ResolvedModel,
};

/// Options without which a checkout cannot be driven: `--launch-script` came three weeks before `-d` began to work with
/// `exec`, in February 2026.
const NEEDED: [&str; 2] = ["--solo", "--launch-script"];

/// Options without which sparkrun cannot be driven: all that `launcher/sparkrun.rs` gives it whatever it knows. Its packages have
/// them since 0.2.24.
pub const SPARKRUN_NEEDED: [&str; 5] = ["--ensure", "--restart", "--init-port", "--label", "--executor-args"];

/// What there is before the launch.
#[derive(Clone, Copy)]
pub struct PreLaunchState<'a> {
    /// What stands in the slot's place.
    pub standing: &'a [SlotContainer<'a>],
    /// Ids of containers that are stopped first.
    pub going: &'a BTreeSet<&'a ContainerId>,
    /// Something that serves is among them.
    pub stops: bool,
}

/// Everything that is in the way of a launch, the first to be mended first; empty: nothing is. All of it at once, because an owner who
/// mends one thing must not meet the next one only then.
pub fn preflight(
    object: &Object,
    target: &ResolvedModel<'_>,
    before: PreLaunchState<'_>,
    view: View<'_>,
) -> Vec<Objection> {
    let View { observed, .. } = view;
    let looked = Preflight { object, target, before, view };
    let (sparks, unreachable): (Vec<&SparkName>, Vec<&SparkName>) =
        target.model.sparks.iter().partition(|spark| observed.facts(spark).is_some());
    let mut found: Vec<Objection> = unreachable
        .into_iter()
        .map(|spark| Objection::new(Reason::Unreachable, format!("`{spark}` is not reachable")))
        .collect();
    for spark in &sparks {
        found.extend(looked.gpu(spark));
        found.extend(looked.image(spark));
        found.extend(looked.files(spark));
    }
    found.extend(looked.fitness());
    for spark in &sparks {
        found.extend(looked.memory(spark));
    }
    found.extend(looked.programs());
    found.extend(looked.recipe());
    found.extend(looked.checkout());
    found.extend(looked.sparkrun());
    found.extend(looked.entries());
    found.extend(looked.look_alikes());
    found.extend(looked.ports());
    found.extend(looked.secrets());
    // A fact about the model, and not about a Spark, is found on each of them.
    let mut told = BTreeSet::new();
    found.retain(|objection| told.insert(objection.message.clone()));
    found
}

/// What all of the questions are about.
#[derive(Clone, Copy)]
struct Preflight<'a> {
    object: &'a Object,
    target: &'a ResolvedModel<'a>,
    before: PreLaunchState<'a>,
    view: View<'a>,
}

impl<'a> std::ops::Deref for Preflight<'a> {
    type Target = View<'a>;
    fn deref(&self) -> &View<'a> {
        &self.view
    }
}

impl Preflight<'_> {
    fn head(&self) -> &SparkName {
        &self.target.model.sparks[0]
    }

    /// A container that asks for a GPU does not start where the driver cannot be asked; what serves has it since before.
    fn gpu(&self, spark: &SparkName) -> Option<Objection> {
        let why = self.observed.facts(spark)?.gpu.trouble()?;
        let message = format!("the GPU of `{spark}` cannot be used: {why}; reboot `{spark}`");
        Some(Objection::new(Reason::GpuUnusable, message))
    }

    fn image(&self, spark: &SparkName) -> Option<Objection> {
        if !self.target.start.starts_the_image() {
            return None;
        }
        let (image, head) = (self.target.image, self.head());
        let seen = match self.observed.facts(spark)?.images.get(image.as_str()) {
            Some(Some(seen)) => seen,
            Some(None) => {
                return Some(Objection::new(
                    Reason::ImageMissing,
                    format!("`{spark}` has no image `{image}`"),
                ));
            }
            None => {
                let message = format!("the images of `{spark}` could not be read");
                return Some(Objection::new(Reason::Unknown, message));
            }
        };
        let first = self.observed.facts(head).and_then(|facts| facts.image(image.as_str()))?;
        if !first.is_like(seen) {
            let message = format!(
                "`{image}` on `{spark}` is not the image that `{head}` has: neither its digest nor its layers"
            );
            return Some(Objection::new(Reason::ImageDiffers, message));
        }
        let compares_ids = self.target.start.checkout().is_some();
        (compares_ids && first.id != seen.id).then(|| {
            let message = format!(
                "`{image}` is the same image on `{spark}` and `{head}`, but their Docker Engines keep images in stores of two \
                 kinds and name it differently, which the launcher takes for two images; set both to one kind \
                 (`containerd-snapshotter`)"
            );
            Objection::new(Reason::ImageDiffers, message)
        })
    }

    /// What a loader needs is there, and whole.
    fn files(&self, spark: &SparkName) -> Option<Objection> {
        let source = &self.target.model.source;
        let key = source.files_key().filter(|_| looks_for_files(self.target))?;
        let is_own = matches!(source, ModelSource::LocalPath(_));
        let place = if is_own { "" } else { " in its Hugging Face cache" };
        let mend = if is_own { "copy it there" } else { "download it there first" };
        // A model that takes over for another is not asked for at every look.
        let seen = self.observed.facts(spark)?.files.get(&key)?;
        // What it lacks it did without once; what went since is missed.
        let is_odd = matches!(seen, FilesSeen::Partial { .. } | FilesSeen::Lacking { .. });
        if is_odd && self.ledger.loaded_from(&self.target.spec_hash(), spark, seen) {
            return None;
        }
        let message = match seen {
            FilesSeen::Whole { .. } => return None,
            FilesSeen::Partial { missing } => {
                format!("`{spark}` has only a part of `{key}` ({missing}){place}; {mend}")
            }
            FilesSeen::Lacking { what } => {
                let mend =
                    if what.contains("tokenizer") { ", or name one with `tokenizer` in `args`" } else { "" };
                format!("`{key}` on `{spark}` has not what a loader needs: {what}; copy it there{mend}")
            }
            FilesSeen::Absent if is_own => format!("`{key}` is not there on `{spark}`"),
            FilesSeen::Absent => format!("`{spark}` has no files of `{key}`{place}; {mend}"),
            FilesSeen::Unanswered => {
                let message = format!(
                    "the disk of `{spark}` that has `{key}` does not answer; whether it is whole is not known"
                );
                return Some(Objection::new(Reason::Unknown, message));
            }
        };
        Some(Objection::new(Reason::FilesMissing, message))
    }

    fn fitness(&self) -> Option<Objection> {
        let why = fitness::of_a_start(self.target, self.desired, self.observed).err()?;
        Some(Objection::new(Reason::SparkUnfit, why))
    }

    /// The model, what other slots are to hold on the same Spark, what is on the GPU and stays there, and the floor.
    fn memory(&self, spark: &SparkName) -> Option<Objection> {
        let &Self { object, target, before, view } = self;
        let View { desired, observed, ledger, now } = view;
        let facts = observed.facts(spark)?;
        let mut place = memory::MemoryPlace {
            object,
            target,
            spark,
            going: before.going,
            observed,
            by_what_is_free: false,
        };
        place.by_what_is_free = memory::counts_what_is_free(&place, facts, before.stops, ledger, now);
        match memory::fit(place, facts, desired, ledger, now) {
            MemoryFit::Fits { .. } => None,
            MemoryFit::Unknown { why } => Some(Objection::new(Reason::MemoryUnknown, why)),
            fit @ MemoryFit::TooLarge { .. } => {
                let message = format!("`{}` does not fit on `{spark}`: it {fit}", target.name);
                Some(Objection::new(Reason::CannotFit, message))
            }
        }
    }

    /// What the launcher runs on the head is there.
    fn programs(&self) -> Vec<Objection> {
        let head = self.head();
        let Some(facts) = self.observed.facts(head) else { return Vec::new() };
        let programs = self.target.start.programs().into_iter();
        programs.filter_map(|program| missing_program(&program, head, facts)).collect()
    }

    fn recipe(&self) -> Option<Objection> {
        let ModelSource::Recipe(recipe) = &self.target.model.source else { return None };
        // A model that takes over for another is not asked for at every look.
        let RecipeSeen::Unreadable { why } = self.observed.recipe(self.target)? else { return None };
        let message = format!("the recipe `{recipe}` cannot be used on `{}`: {why}", self.head());
        Some(Objection::new(Reason::LauncherMissing, message))
    }

    /// The launcher's checkout is there and not too old, and it will not have to ask anybody which Sparks to use.
    fn checkout(&self) -> Vec<Objection> {
        let Some(checkout) = self.target.start.checkout() else { return Vec::new() };
        let Checkout { dir, ranks, .. } = checkout;
        let head = self.head();
        let Some(facts) = self.observed.facts(head) else { return Vec::new() };
        let Some(LauncherSeen::Present(seen)) = facts.launchers.get(dir.as_str()) else {
            let message = format!("there is no `launch-cluster.sh` in `{dir}` on `{head}`");
            return vec![Objection::new(Reason::LauncherMissing, message)];
        };
        if let Some(option) = NEEDED.iter().find(|option| !seen.knows(option)) {
            let message = format!(
                "`launch-cluster.sh` in `{dir}` on `{head}` is too old: it has no `{option}`; update it"
            );
            return vec![Objection::new(Reason::LauncherMissing, message)];
        }
        let mut found: Vec<Objection> = self.unknown_options(checkout, seen);
        // Before that option Ray was all there was.
        let is_several = self.target.model.sparks.len() > 1;
        if is_several && ranks == DistributedExecutor::Processes && !seen.knows("--no-ray") {
            let message = format!(
                "`launch-cluster.sh` in `{dir}` on `{head}` knows only Ray for models on several Sparks; update it, or set \
                 `ray: true`"
            );
            found.push(Objection::new(Reason::LauncherMissing, message));
        }
        found.extend(self.fabric(dir, seen));
        found
    }

    /// `sparkrun` takes the words that it would be given. One that is not asked at this look, as that of a model that takes over for
    /// another, is believed.
    fn sparkrun(&self) -> Option<Objection> {
        let program = self.target.start.sparkrun()?;
        let head = self.head();
        let facts = self.observed.facts(head)?;
        // One that is not there is told as that.
        if facts.programs.get(program.as_str()) == Some(&false) {
            return None;
        }
        let message = match facts.launchers.get(program.as_str())? {
            LauncherSeen::Missing => return None,
            LauncherSeen::Silent { why } => {
                format!("`{program}` on `{head}` does not tell which options it takes: {why}")
            }
            LauncherSeen::Present(seen) => {
                let option = SPARKRUN_NEEDED.iter().find(|option| !seen.knows(option))?;
                format!(
                    "`{program}` on `{head}` has no `{option}`, which sparkrun has since 0.2.24; update it: `uv tool upgrade sparkrun`"
                )
            }
        };
        Some(Objection::new(Reason::LauncherMissing, message))
    }

    /// Options of the file that this checkout has not, or does not hand on.
    fn unknown_options(&self, checkout: Checkout<'_>, seen: &LauncherCheckout) -> Vec<Objection> {
        let start = &self.target.start;
        let mut asked: Vec<LauncherOption> = checkout.own.all();
        if start.docker().is_some_and(|docker| !docker.ports.is_empty()) {
            asked.push(LauncherOption { words: vec!["--publish".into()], since: Some("2026-06-03") });
        }
        let messages = asked.iter().filter_map(|option| self.unknown_option(option, checkout.dir, seen));
        messages.map(|message| Objection::new(Reason::LauncherMissing, message)).collect()
    }

    /// Why the checkout at `dir` cannot take this option; `None` when it can.
    fn unknown_option(
        &self,
        option: &LauncherOption,
        dir: &PlainPath,
        seen: &LauncherCheckout,
    ) -> Option<String> {
        let (name, head) = (&option.words[0], self.head());
        if !seen.knows(name) {
            let since = option.since.map_or(String::new(), |since| format!(", which came on {since}"));
            return Some(format!(
                "`launch-cluster.sh` in `{dir}` on `{head}` has no `{name}`{since}; update it, or take it out of the file"
            ));
        }
        let is_recipe = self.target.start.recipe_of_checkout().is_some();
        (is_recipe && !seen.hands_on(name)).then(|| {
            format!(
                "`run-recipe.sh` in `{dir}` on `{head}` does not hand `{name}` on to `launch-cluster.sh`; update it, or \
                 take it out of the file"
            )
        })
    }

    fn fabric(&self, dir: &PlainPath, seen: &LauncherCheckout) -> Option<Objection> {
        let sparks = &self.target.model.sparks;
        let without = sparks.iter().find(|spark| self.has_no_fabric(spark)).filter(|_| sparks.len() > 1)?;
        // None at all is fine when the launcher's own configuration names just these.
        if sparks.iter().all(|spark| self.has_no_fabric(spark))
            && names_just(sparks, &seen.nodes, self.observed)
        {
            return None;
        }
        let message = format!(
            "`{without}` has no `fabric`, which a model on several Sparks needs, and `{dir}/.env` does not name just the \
             Sparks of `{}`",
            self.target.name
        );
        Some(Objection::new(Reason::FabricMissing, message))
    }

    /// The file names no interface of the fast network for this Spark.
    fn has_no_fabric(&self, spark: &SparkName) -> bool {
        self.desired.sparks[spark].fabric.is_none()
    }

    /// What the owner has to have put there.
    fn entries(&self) -> Vec<Objection> {
        let sparks = &self.target.model.sparks;
        let needed = self.target.needed().into_iter();
        let places = needed.flat_map(|needed| {
            let on = if needed.on_head { &sparks[..1] } else { &sparks[..] };
            on.iter().map(move |spark| (needed.name.clone(), spark))
        });
        // A model that takes over for another is not asked for at every look.
        let lacking = places.filter(|(name, spark)| {
            self.observed.facts(spark).is_some_and(|facts| facts.entries.get(name) == Some(&false))
        });
        let messages = lacking.map(|(name, spark)| format!("`{name}` is not there on `{spark}`"));
        messages.map(|message| Objection::new(Reason::FilesMissing, message)).collect()
    }

    /// The launcher finds its containers by a part of a line of `docker ps`: it would go into another one whose name or image
    /// has the slot's name in it.
    fn look_alikes(&self) -> Vec<Objection> {
        if self.target.start.checkout().is_none() {
            return Vec::new();
        }
        self.target.model.sparks.iter().filter_map(|spark| self.look_alike(spark)).collect()
    }

    /// Names the container on this Spark that the launcher would take for the slot's.
    fn look_alike(&self, spark: &SparkName) -> Option<Objection> {
        let name = self.target.slot.container.as_str();
        let containers = &self.observed.facts(spark)?.containers;
        let container = containers.iter().find(|container| self.is_look_alike(container))?;
        let message = format!(
            "the launcher would take `{}` ({}) on `{spark}` for `{name}`; give the slot another `container`",
            container.name, container.image
        );
        Some(Objection::new(Reason::NameTaken, message))
    }

    /// The container runs, stays, and has the slot's name in its own or in that of its image.
    fn is_look_alike(&self, container: &Container) -> bool {
        let name = self.target.slot.container.as_str();
        let is_alike = container.name.as_str().contains(name) || container.image.as_str().contains(name);
        let goes = self.before.standing.iter().any(|entry| entry.container.id == container.id);
        container.running && is_alike && !goes
    }

    /// Nobody else listens where the head will. What stands in the slot's own place goes before, and its ports with it.
    fn ports(&self) -> Vec<Objection> {
        let (target, head) = (self.target, self.head());
        let listening = self.observed.facts(head).and_then(|facts| facts.platform.listening.as_ref());
        let Some(listening) = listening else { return Vec::new() };
        // A model on one Spark has no use for the other port.
        let master_port = (target.model.sparks.len() > 1).then_some(target.slot.master_port);
        [target.port]
            .into_iter()
            .chain(master_port)
            .filter(|port| listening.contains(port) && !self.port_goes(*port))
            .map(|port| format!("something else listens on port {port} of `{head}`"))
            .map(|message| Objection::new(Reason::PortTaken, message))
            .collect()
    }

    /// The listener on this port of the head is the slot's own, which is stopped first.
    fn port_goes(&self, port: u16) -> bool {
        let head = self.head();
        let own = self.ledger.launched(self.object).filter(|group| group.head() == head);
        let stands = self.before.standing.iter().any(|entry| entry.spark == head && entry.container.running);
        stands
            && own.is_none_or(|group| {
                group.port == port || (group.sparks.len() > 1 && port == self.target.slot.master_port)
            })
    }

    fn secrets(&self) -> Vec<Objection> {
        let (target, unreadable) = (self.target, &self.observed.unreadable_secrets);
        let needed = target.env.values().filter_map(|value| value.secret()).chain(&target.slot.api_key);
        let whys = needed.filter_map(|secret| unreadable.get(&secret.to_string()));
        whys.map(|why| {
            let message = format!("a secret of `{}` cannot be read: {why}", target.name);
            Objection::new(Reason::SecretMissing, message)
        })
        .collect()
    }
}

/// What is said of a program of the launcher that the head lacks, or may lack; `None` when it is there.
fn missing_program(program: &str, head: &SparkName, facts: &SparkFacts) -> Option<Objection> {
    match facts.programs.get(program) {
        Some(true) => None,
        Some(false) => {
            let message = format!("`{program}` is not there on `{head}`, or cannot be run");
            Some(Objection::new(Reason::LauncherMissing, message))
        }
        None => {
            let message =
                format!("whether `{program}` is there on `{head}` is not known: its disk does not answer");
            Some(Objection::new(Reason::Unknown, message))
        }
    }
}

/// The engine takes its files from the Spark's cache or from a path there: not from a place that its environment or its
/// arguments name, and not from wherever an owner's own program or script has them.
fn looks_for_files(target: &ResolvedModel<'_>) -> bool {
    if matches!(target.model.source, ModelSource::LocalPath(_)) {
        return true;
    }
    let moved = target.env.keys().any(|name| ["HF_HOME", "HF_HUB_CACHE"].contains(&name.as_str()));
    let moved = moved || target.model.args.keys().any(|flag| flag.as_str() == "download-dir");
    !moved && target.start.controls_full_command_line()
}

/// One node for each of these Sparks, as far as their addresses are known.
fn names_just(sparks: &[SparkName], nodes: &[Ipv4Addr], observed: &Observed) -> bool {
    nodes.len() == sparks.len() && sparks.iter().all(|spark| is_among_nodes(spark, nodes, observed))
}

/// One of the Spark's addresses is among these nodes, or none of its addresses is known.
fn is_among_nodes(spark: &SparkName, nodes: &[Ipv4Addr], observed: &Observed) -> bool {
    let Some(facts) = observed.facts(spark) else { return false };
    let mut addresses =
        facts.platform.interfaces.values().flat_map(|interface| &interface.addresses).peekable();
    addresses.peek().is_none() || addresses.any(|address| nodes.contains(address))
}
