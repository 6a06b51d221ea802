//! What would make a launch fail is seen before anything is stopped, and said in words.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use spark_control::{
    core::{
        decide::{
            preflight::{PreLaunchState, preflight},
            view::View,
        },
        model::{
            files::FilesSeen,
            id::ContainerId,
            image::ImageSeen,
            ledger::Ledger,
            name::{ModelName, SparkName},
            object::Object,
            observed::{
                Container, FencingToken, Gpu, GpuProcess, GpuSeen, Job, JobState, LauncherCheckout,
                LauncherSeen, Observed, Process, RecipeSeen, SparkFacts, SparkView,
            },
            plan::Verdict,
            platform::NetworkInterface,
            reason::Reason,
            spec_hash::SpecHash,
        },
    },
    manifest::load::load,
};

use crate::look::Look;

const TWO: &str = "version: 1
sparks:
  spark1: { address: 192.0.2.1, user: alice, fabric: { ip: 192.0.2.101, eth_if: cx7 } }
  spark2: { address: 192.0.2.2, user: alice, fabric: { ip: 192.0.2.102, eth_if: cx7 } }
model: wide
models:
  wide: { repo: lab/wide, sparks: [spark1, spark2], args: { gpu-memory-utilization: 0.5, tensor-parallel-size: 2 } }
";

struct Sparks(BTreeMap<&'static str, SparkFacts>);

impl Sparks {
    /// Two that have all that is needed.
    fn ready() -> Self {
        let of = |last: u8| {
            let options = ["--solo", "--launch-script", "--no-ray"].map(Into::into).into();
            let cx7 = NetworkInterface {
                addresses: vec![[192, 0, 2, 100 + last].into()],
                ..NetworkInterface::default()
            };
            let mut facts = SparkFacts {
                memory_total_bytes: 120 << 30,
                memory_available_bytes: 110 << 30,
                images: [("vllm-node".to_owned(), Some("sha256:a".into()))].into(),
                files: [("lab/wide".to_owned(), FilesSeen::Whole { weights_bytes: None })].into(),
                launchers: [(
                    "spark-vllm-docker".to_owned(),
                    LauncherSeen::Present(LauncherCheckout { options, ..LauncherCheckout::default() }),
                )]
                .into(),
                ..SparkFacts::default()
            };
            facts.platform.interfaces = [("cx7".to_owned(), cx7)].into();
            facts.platform.listening = Some([22].into());
            facts
        };
        Self([("spark1", of(1)), ("spark2", of(2))].into())
    }

    fn with(mut self, spark: &'static str, change: impl FnOnce(&mut SparkFacts)) -> Self {
        change(self.0.get_mut(spark).unwrap());
        self
    }

    /// Why the model of this file cannot be started.
    fn refuse(self, file: &str) -> Option<(Reason, String)> {
        self.refuse_after(file, &[])
    }

    /// The same when these containers go first.
    fn refuse_after(self, file: &str, going: &[&str]) -> Option<(Reason, String)> {
        self.objections(file, going).into_iter().next()
    }

    fn objections(self, file: &str, going: &[&str]) -> Vec<(Reason, String)> {
        let desired = load(file).unwrap().desired;
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let view = |(name, facts)| (SparkName::new(name).unwrap(), SparkView::Reachable(Box::new(facts)));
        let observed = Observed {
            at: now,
            sparks: self.0.into_iter().map(view).collect(),
            endpoints: BTreeMap::new(),
            loads: BTreeMap::new(),
            bots: std::collections::BTreeMap::new(),
            front_doors: BTreeMap::new(),
            ended: BTreeMap::new(),
            unreadable_secrets: BTreeMap::new(),
        };
        let object = Object::main();
        let target =
            desired.resolved_model(&desired.slots[&object], &ModelName::new("wide").unwrap()).unwrap();
        let going: Vec<ContainerId> = going.iter().map(|id| (*id).into()).collect();
        let going = going.iter().collect();
        let before = PreLaunchState { standing: &[], going: &going, stops: !going.is_empty() };
        let found = preflight(
            &object,
            &target,
            before,
            View { desired: &desired, observed: &observed, ledger: &Ledger::default(), now },
        );
        found.into_iter().map(|objection| (objection.reason, objection.message)).collect()
    }
}

fn running(name: &str, image: &str) -> Container {
    Container {
        id: format!("id-of-{name}").into(),
        name: name.into(),
        image: image.into(),
        image_id: "sha256:x".into(),
        running: true,
        ..Container::default()
    }
}

/// If this failed, an owner would mend one thing, ask for the plan again, and meet the next.
#[test]
fn everything_that_is_in_the_way_is_told_at_once() {
    let lacking = Sparks::ready()
        .with("spark1", |facts| {
            facts.platform.listening = Some([8888].into());
            facts.gpu = GpuSeen::Hangs;
        })
        .with("spark2", |facts| {
            facts.images.insert("vllm-node".into(), None);
            facts.gpu = GpuSeen::Hangs;
        });
    let found = lacking.objections(TWO, &[]);
    let reasons: Vec<Reason> = found.iter().map(|(reason, _)| *reason).collect();
    let gpu = Reason::GpuUnusable;
    assert_eq!(reasons, [gpu, gpu, Reason::ImageMissing, Reason::PortTaken], "{found:?}");
    // What is so of the model, whatever Spark it is on, is told once.
    let unknown = TWO.replace("gpu-memory-utilization: 0.5", "kv-cache-memory-bytes: 25G");
    let found = Sparks::ready().objections(&unknown, &[]);
    let reasons: Vec<Reason> = found.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(reasons, [Reason::MemoryUnknown], "{found:?}");
}

/// If one of these failed, the outage would begin, and the launch fail after it.
#[test]
fn what_a_launch_needs_is_looked_for_on_every_spark() {
    assert_eq!(Sparks::ready().refuse(TWO), None);
    let lacks = |change: fn(&mut SparkFacts)| Sparks::ready().with("spark2", change).refuse(TWO).unwrap();
    let image = |id: Option<&str>| [("vllm-node".to_owned(), id.map(ImageSeen::from))].into();
    assert_eq!(
        Sparks::ready().with("spark2", |facts| facts.images = image(None)).refuse(TWO).unwrap(),
        (Reason::ImageMissing, "`spark2` has no image `vllm-node`".into())
    );
    assert_eq!(
        Sparks::ready().with("spark2", |facts| facts.images = image(Some("sha256:b"))).refuse(TWO).unwrap(),
        (
            Reason::ImageDiffers,
            "`vllm-node` on `spark2` is not the image that `spark1` has: neither its digest nor its layers"
                .into()
        )
    );
    let (reason, message) = lacks(|facts| {
        let missing = "model-00002.safetensors".to_owned();
        facts.files.insert("lab/wide".into(), FilesSeen::Partial { missing });
    });
    assert_eq!(reason, Reason::FilesMissing);
    assert!(message.contains("only a part of `lab/wide` (model-00002.safetensors)"), "{message}");
    let (reason, message) = lacks(|facts| {
        facts.files.insert("lab/wide".into(), FilesSeen::Absent);
    });
    assert_eq!(reason, Reason::FilesMissing);
    assert!(message.contains("`spark2` has no files of `lab/wide`"), "{message}");
    let local = TWO.replace("repo: lab/wide", "local_path: /srv/wide");
    let partial = |missing: &str| FilesSeen::Partial { missing: missing.into() };
    let lacking = |what: &str| FilesSeen::Lacking { what: what.into() };
    for (seen, reason, part) in [
        (Some(FilesSeen::Whole { weights_bytes: None }), None, ""),
        (Some(FilesSeen::Absent), Some(Reason::FilesMissing), "is not there on `spark2`"),
        (
            Some(partial("model-2.safetensors")),
            Some(Reason::FilesMissing),
            "(model-2.safetensors); copy it there",
        ),
        (Some(lacking("config.json")), Some(Reason::FilesMissing), "config.json; copy it there"),
        (Some(lacking("a tokenizer")), Some(Reason::FilesMissing), "or name one with `tokenizer` in `args`"),
        (Some(FilesSeen::Unanswered), Some(Reason::Unknown), "is not known"),
    ] {
        let files = |facts: &mut SparkFacts| {
            facts.files.extend(seen.clone().map(|seen| ("/srv/wide".to_owned(), seen)))
        };
        let whole = |facts: &mut SparkFacts| {
            facts.files.insert("/srv/wide".into(), FilesSeen::Whole { weights_bytes: None });
        };
        let refused = Sparks::ready().with("spark1", whole).with("spark2", files).refuse(&local);
        assert_eq!(refused.as_ref().map(|refused| refused.0), reason, "{seen:?}");
        assert!(refused.is_none_or(|(_, message)| message.contains(part)), "{seen:?}");
    }
    // It takes its files from elsewhere.
    let absent = |facts: &mut SparkFacts| {
        facts.files.insert("lab/wide".into(), FilesSeen::Absent);
    };
    let script = "vllm: { launcher: { kind: launch-cluster, script: own.sh } }\nmodels:";
    for file in [
        TWO.replace("repo: lab/wide,", "repo: lab/wide, env: { HF_HOME: /srv/hf },"),
        TWO.replace("repo: lab/wide,", "repo: lab/wide, env: { HF_HUB_CACHE: /srv/hf },"),
        TWO.replace("tensor-parallel-size: 2", "tensor-parallel-size: 2, download-dir: /srv/hf"),
        TWO.replace("models:", script)
            .replace("args: { gpu-memory-utilization: 0.5, tensor-parallel-size: 2 }", "memory_gib: 50"),
    ] {
        let refused = Sparks::ready().with("spark2", absent).refuse(&file);
        assert!(
            refused.as_ref().is_none_or(|refused| refused.0 != Reason::FilesMissing),
            "{file}: {refused:?}"
        );
    }
    let taken = |port: u16| {
        let listening = move |facts: &mut SparkFacts| facts.platform.listening = Some([port].into());
        Sparks::ready().with("spark1", listening).refuse(TWO)
    };
    for port in [8888, 29501] {
        assert_eq!(
            taken(port),
            Some((Reason::PortTaken, format!("something else listens on port {port} of `spark1`")))
        );
    }
    let small = lacks(|facts| facts.memory_total_bytes = 8 << 30);
    assert_eq!(small.0, Reason::CannotFit);
}

/// If this failed, an outage would begin for memory that cannot come back.
#[test]
fn memory_counts_who_stays_and_who_goes() {
    let gpu = |container: Option<&str>, name: &str, gib: Option<u64>| GpuProcess {
        pid: 7,
        name: name.into(),
        memory_bytes: gib.map(|gib| gib << 30),
        container: container.map(ContainerId::from),
    };
    // 60 GiB needed and 6 kept free, of 120.
    let with = |available_gib: u64, process: GpuProcess, resident_gib: u64| {
        Sparks::ready().with("spark1", move |facts| {
            facts.memory_available_bytes = available_gib << 30;
            let processes = process.container.as_ref().map(|_| {
                vec![Process { pid: 7, resident_bytes: resident_gib << 30, command: "vllm serve x".into() }]
            });
            facts.containers.push(Container { processes, ..running("old", "x") });
            facts.gpu = GpuSeen::Answers(Gpu { processes: vec![process], ..Gpu::default() });
        })
    };
    let stranger = || gpu(None, "python3", Some(55));
    let (reason, message) = with(60, stranger(), 0).refuse(TWO).unwrap();
    assert_eq!(reason, Reason::CannotFit);
    assert!(message.contains("55.0 GiB held by python3 (7) of nothing in the file"), "{message}");
    assert_eq!(with(60, gpu(None, "Xorg", Some(1)), 0).refuse(TWO), None);
    assert_eq!(with(60, gpu(None, "python3", None), 0).refuse(TWO), None, "what is not told is not known");

    let old = |gib: Option<u64>| gpu(Some("id-of-old"), "vllm", gib);
    assert_eq!(with(10, old(Some(56)), 2).refuse_after(TWO, &["id-of-old"]), None);
    let (reason, message) = with(10, old(Some(50)), 2).refuse_after(TWO, &["id-of-old"]).unwrap();
    assert_eq!(reason, Reason::CannotFit);
    assert!(
        message.contains(
            "on `spark1`: it asks for 60 GiB, 54 can be free: set `gpu-memory-utilization` to at most 0.45"
        ),
        "{message}"
    );
    // Just enough, and one too little; what is resident and on the GPU is one memory.
    assert_eq!(with(10, old(Some(56)), 56).refuse_after(TWO, &["id-of-old"]), None);
    assert!(with(9, old(Some(56)), 56).refuse_after(TWO, &["id-of-old"]).is_some());
    assert_eq!(with(9, old(Some(56)), 57).refuse_after(TWO, &["id-of-old"]), None);
    assert_eq!(with(10, old(None), 2).refuse_after(TWO, &["id-of-old"]), None);
}

/// If this failed, a model that cannot fit on a Spark where nothing goes would be found out after the stop on another: five minutes
/// without any.
#[test]
fn a_spark_where_nothing_goes_is_reckoned_too() {
    let free = |gib: u64| {
        let old = |facts: &mut SparkFacts| {
            let processes = Some(vec![Process { pid: 7, resident_bytes: 0, command: "vllm serve x".into() }]);
            facts.containers.push(Container { processes, ..running("old", "x") });
            let process = GpuProcess {
                pid: 7,
                name: "vllm".into(),
                memory_bytes: Some(100 << 30),
                container: Some("id-of-old".into()),
            };
            facts.gpu = GpuSeen::Answers(Gpu { processes: vec![process], ..Gpu::default() });
            facts.memory_available_bytes = 10 << 30;
        };
        let other = |facts: &mut SparkFacts| facts.memory_available_bytes = gib << 30;
        Sparks::ready().with("spark1", old).with("spark2", other).refuse_after(TWO, &["id-of-old"])
    };
    assert_eq!(free(66), None);
    let (reason, message) = free(65).unwrap();
    assert_eq!(reason, Reason::CannotFit);
    assert!(
        message.contains("`wide` does not fit on `spark2`: it asks for 60 GiB, 59 can be free"),
        "{message}"
    );
    // Nothing is stopped, and a moment later there may be more: the gate waits.
    let low = |facts: &mut SparkFacts| facts.memory_available_bytes = 1 << 30;
    assert_eq!(Sparks::ready().with("spark2", low).refuse(TWO), None);
}

/// If this failed, what serves would be stopped for a model whose container cannot be given a GPU.
#[test]
fn a_gpu_that_says_why_not_or_hangs_is_in_the_way() {
    let with = |gpu: GpuSeen| Sparks::ready().with("spark2", |facts| facts.gpu = gpu).refuse(TWO);
    for gpu in [GpuSeen::NotAsked, GpuSeen::Missing, GpuSeen::Answers(Gpu::default())] {
        assert_eq!(with(gpu), None);
    }
    let said = "Failed to initialize NVML: Driver/library version mismatch";
    let (reason, message) = with(GpuSeen::Refuses { code: 18, said: said.into() }).unwrap();
    assert_eq!(reason, Reason::GpuUnusable);
    assert!(message.contains(said) && message.ends_with("reboot `spark2`"), "{message}");
    assert_eq!(with(GpuSeen::Hangs).unwrap().0, Reason::GpuUnusable);
}

/// If this failed, two Sparks with other stores would never start one model, or two with other images would.
#[test]
fn an_image_is_the_same_by_its_digest_or_its_layers() {
    let image = |id: &str, digest: &str, layer: &str| ImageSeen {
        id: id.into(),
        digests: [digest].into_iter().filter(|digest| !digest.is_empty()).map(Into::into).collect(),
        layers: [layer].into_iter().filter(|layer| !layer.is_empty()).map(Into::into).collect(),
        user: "".into(),
    };
    let pair = |one: ImageSeen, other: ImageSeen| {
        let set = |seen: ImageSeen| {
            move |facts: &mut SparkFacts| facts.images = [("vllm-node".to_owned(), Some(seen))].into()
        };
        let sparks = Sparks::ready().with("spark1", set(one)).with("spark2", set(other));
        sparks.refuse(TWO)
    };
    let differs = Some(Reason::ImageDiffers);
    let (reason, message) = pair(image("a", "d", "l"), image("b", "d", "m")).unwrap();
    assert_eq!(reason, Reason::ImageDiffers, "one pull, two stores, and a launcher that compares ids");
    assert!(message.contains("is the same image on `spark2` and `spark1`"), "{message}");
    let own = TWO
        .replace("models:", "vllm: { launcher: { kind: sparkrun, image: vllm-node } }\nmodels:")
        .replace("repo: lab/wide", "recipe: wide");
    let own = own.replace("args:", "memory_gib: 60, args:");
    let pair_of_own = |one: ImageSeen, other: ImageSeen| {
        let set = |seen: ImageSeen| {
            move |facts: &mut SparkFacts| {
                facts.programs = [(".local/bin/sparkrun".to_owned(), true)].into();
                facts.images = [("vllm-node".to_owned(), Some(seen))].into();
            }
        };
        Sparks::ready()
            .with("spark1", set(one))
            .with("spark2", set(other))
            .refuse(&own)
            .map(|refused| refused.0)
    };
    assert_eq!(pair_of_own(image("a", "d", "l"), image("b", "d", "m")), None, "one pull, two stores");
    assert_eq!(pair_of_own(image("a", "", "l"), image("b", "", "l")), None, "loaded from a file");
    assert_eq!(pair_of_own(image("a", "", "l"), image("b", "", "m")), Some(Reason::ImageDiffers));
    let reason = |refused: Option<(Reason, String)>| refused.map(|refused| refused.0);
    assert_eq!(reason(pair(image("a", "", ""), image("b", "", ""))), differs);
    assert_eq!(reason(pair(image("a", "d", "l"), image("b", "e", "m"))), differs);
}

/// If this failed, what sparkrun on that Spark has not would be told by it when the old model is gone.
#[test]
fn a_sparkrun_that_lacks_an_option_is_in_the_way() {
    let own = TWO
        .replace("models:", "vllm: { launcher: { kind: sparkrun, image: vllm-node } }\nmodels:")
        .replace("repo: lab/wide", "recipe: wide")
        .replace("args:", "memory_gib: 60, args:");
    let refused = |seen: Option<LauncherSeen>| {
        let set = |facts: &mut SparkFacts| {
            facts.programs = [(".local/bin/sparkrun".to_owned(), true)].into();
            facts.launchers = seen.map(|seen| (".local/bin/sparkrun".to_owned(), seen)).into_iter().collect();
        };
        Sparks::ready().with("spark1", set).refuse(&own)
    };
    let knows = |options: &[&str]| {
        let options = options.iter().map(|&option| option.into()).collect();
        Some(LauncherSeen::Present(LauncherCheckout { options, ..LauncherCheckout::default() }))
    };
    assert_eq!(refused(knows(&["--ensure", "--restart", "--init-port", "--label", "--executor-args"])), None);
    assert_eq!(refused(None), None, "it is not asked at every look");
    let (reason, message) = refused(knows(&["--ensure", "--restart", "--init-port"])).unwrap();
    assert_eq!(reason, Reason::LauncherMissing);
    assert_eq!(
        message,
        "`.local/bin/sparkrun` on `spark1` has no `--label`, which sparkrun has since 0.2.24; update it: `uv tool upgrade sparkrun`"
    );
    let (_, message) = refused(Some(LauncherSeen::Silent { why: "No module named 'click'".into() })).unwrap();
    assert!(message.ends_with("does not tell which options it takes: No module named 'click'"), "{message}");
    let missing = |facts: &mut SparkFacts| {
        facts.programs = [(".local/bin/sparkrun".to_owned(), false)].into();
        let why = "not found".to_owned();
        facts.launchers = [(".local/bin/sparkrun".to_owned(), LauncherSeen::Silent { why })].into();
    };
    let told = Sparks::ready().with("spark1", missing).objections(&own, &[]);
    let message = "`.local/bin/sparkrun` is not there on `spark1`, or cannot be run".to_owned();
    assert_eq!(told, [(Reason::LauncherMissing, message)], "once");
}

/// If this failed, a model over two Sparks would hang some time after its start, and nobody would know why.
#[test]
fn machines_that_a_load_does_not_survive_are_told_before_it() {
    let file = TWO.replace("eth_if: cx7", "eth_if: cx7, ib_if: rocep1s0f0");
    let kernel = |facts: &mut SparkFacts| facts.platform.kernel = "7.0.0-1019-nvidia".into();
    let (reason, message) = Sparks::ready().with("spark2", kernel).refuse(&file).unwrap();
    assert_eq!(reason, Reason::SparkUnfit);
    assert!(
        message.contains("kernel 7.0.0-1019-nvidia of `spark2`") && message.contains("boot the kernel"),
        "{message}"
    );
    assert_eq!(Sparks::ready().with("spark2", kernel).refuse(TWO), None, "without RoCE");
    let with = |user: &str, lingers: Option<bool>, removes: Option<bool>| {
        let set = |facts: &mut SparkFacts| {
            facts.platform.lingers = lingers;
            facts.platform.removes_ipc = removes;
        };
        let image = ImageSeen { user: user.into(), ..ImageSeen::from("sha256:a") };
        let image =
            move |facts: &mut SparkFacts| facts.images = [("vllm-node".to_owned(), Some(image))].into();
        Sparks::ready().with("spark2", set).with("spark2", image.clone()).with("spark1", image).refuse(&file)
    };
    let (reason, message) = with("1000:1000", Some(false), Some(true)).unwrap();
    assert_eq!(reason, Reason::SparkUnfit);
    assert!(message.contains("`sudo loginctl enable-linger alice`"), "{message}");
    for (user, lingers, removes) in [
        ("", Some(false), Some(true)),
        ("0", Some(false), Some(true)),
        ("1000", Some(true), Some(true)),
        ("1000", Some(false), Some(false)),
        ("1000", None, None),
    ] {
        assert_eq!(with(user, lingers, removes), None, "{user} {lingers:?} {removes:?}");
    }
}

/// A launcher that has to find its nodes by itself would ask, or start on others.
#[test]
fn the_sparks_of_a_model_are_named_by_the_file_or_all_of_them_by_the_launchers_own() {
    let bare = TWO
        .replace(", fabric: { ip: 192.0.2.101, eth_if: cx7 }", "")
        .replace(", fabric: { ip: 192.0.2.102, eth_if: cx7 }", "");
    let named = |nodes: &'static [u8]| {
        Sparks::ready()
            .with("spark1", |facts| {
                let Some(LauncherSeen::Present(seen)) = facts.launchers.get_mut("spark-vllm-docker") else {
                    panic!()
                };
                seen.nodes = nodes.iter().map(|last| [192, 0, 2, *last].into()).collect();
            })
            .refuse(&bare)
            .map(|refused| refused.0)
    };
    assert_eq!(named(&[101, 102]), None);
    for nodes in [&[][..], &[101, 102, 103], &[101, 103]] {
        assert_eq!(named(nodes), Some(Reason::FabricMissing), "{nodes:?}");
    }
}

/// The launcher greps `docker ps`: in a container that it takes for its own it would start a second engine.
#[test]
fn a_container_that_the_launcher_would_take_for_its_own_is_in_the_way() {
    for (name, image, taken) in
        [("vllm_node_tf5", "x", true), ("web", "owner/vllm_node:1", true), ("vllm-node", "x", false)]
    {
        let refused =
            Sparks::ready().with("spark2", |facts| facts.containers.push(running(name, image))).refuse(TWO);
        assert_eq!(refused.map(|refused| refused.0), taken.then_some(Reason::NameTaken), "{name} {image}");
    }
}

#[test]
fn scripts_mods_and_sources_of_volumes_are_there_before_anything_is_stopped() {
    let file = TWO
        .replace(
            "models:",
            "vllm: { launcher: { kind: launch-cluster, script: own.sh, volumes: [/srv/x:/x] } }\nmodels:",
        )
        .replace("repo: lab/wide,", "repo: lab/wide, mods: [mods/fix],")
        .replace("args: { gpu-memory-utilization: 0.5, tensor-parallel-size: 2 }", "memory_gib: 50");
    let entries = |missing: &'static str| {
        ["own.sh", "mods/fix", "/srv/x"].map(|name| (name.to_owned(), name != missing)).into()
    };
    for (missing, spark) in [("own.sh", "spark1"), ("mods/fix", "spark1"), ("/srv/x", "spark2")] {
        let refused = Sparks::ready().with(spark, |facts| facts.entries = entries(missing)).refuse(&file);
        let message = format!("`{missing}` is not there on `{spark}`");
        assert_eq!(refused, Some((Reason::FilesMissing, message)));
    }
    assert_eq!(Sparks::ready().with("spark1", |facts| facts.entries = entries("")).refuse(&file), None);
    let elsewhere = Sparks::ready().with("spark2", |facts| facts.entries = entries("own.sh")).refuse(&file);
    assert_eq!(elsewhere, None, "the head alone needs it");
}

#[test]
fn a_recipe_must_be_readable() {
    let file = TWO
        .replace("model: wide", "model: wide\nvllm: { launcher: { kind: recipe } }")
        .replace("repo: lab/wide", "recipe: wide")
        .replace("args: { gpu-memory-utilization: 0.5, tensor-parallel-size: 2 }", "memory_gib: 50");
    let seen = |recipe: RecipeSeen| {
        Sparks::ready()
            .with("spark1", |facts| {
                facts.programs = [("spark-vllm-docker/run-recipe.sh".to_owned(), true)].into();
                facts.recipes = [("spark-vllm-docker/wide".to_owned(), recipe)].into();
            })
            .refuse(&file)
    };
    assert_eq!(
        seen(RecipeSeen::Readable {
            root: "lab/wide".into(),
            args: BTreeMap::new(),
            sets: Default::default()
        }),
        None
    );
    let (reason, message) = seen(RecipeSeen::Unreadable { why: "no such recipe".into() }).unwrap();
    assert_eq!(reason, Reason::LauncherMissing);
    assert!(message.ends_with("no such recipe"), "{message}");
}

/// If this failed, a model over two Sparks whose recipe names a share would be reckoned with another where no recipe is read.
#[test]
fn a_recipes_share_counts_on_every_spark() {
    let file = TWO
        .replace("model: wide", "model: wide\nvllm: { launcher: { kind: recipe } }")
        .replace("repo: lab/wide", "recipe: wide")
        .replace("address: 192.0.2.2,", "address: 192.0.2.2, floor_gib: 50,")
        .replace("args: { gpu-memory-utilization: 0.5, tensor-parallel-size: 2 }", "served_as: [wide]");
    let refused = |share: f64| {
        let args = [("gpu-memory-utilization".to_owned(), json!(share))].into();
        let recipe = RecipeSeen::Readable { root: "lab/wide".into(), args, sets: Default::default() };
        Sparks::ready()
            .with("spark1", |facts| {
                facts.programs = [("spark-vllm-docker/run-recipe.sh".to_owned(), true)].into();
                facts.recipes = [("spark-vllm-docker/wide".to_owned(), recipe)].into();
            })
            .refuse(&file)
    };
    assert_eq!(refused(0.5), None);
    assert_eq!(refused(0.9).map(|(reason, _)| reason), Some(Reason::CannotFit));
}

/// If this failed, a launch would fail on a port after the outage had begun; or a swap be refused for what it ends itself.
#[test]
fn a_port_is_free_or_goes_with_what_stands_in_the_slots_place() {
    let half = "args: { gpu-memory-utilization: 0.5 }";
    let file = |model: &str| {
        format!(
            "model: {model}\nmodels:\n  alpha: {{ repo: lab/alpha, sparks: [spark1], {half} }}\n  beta: {{ repo: lab/beta, \
             sparks: [spark2], {half} }}\n  other: {{ repo: lab/alpha, port: 9000, sparks: [spark1], {half} }}\n  wide: {{ \
             repo: lab/wide, sparks: [spark1, spark2], args: {{ gpu-memory-utilization: 0.5, tensor-parallel-size: 2 }} }}"
        )
    };
    // What serves, what is wanted, and what listens on its head.
    let refused = |serves: &str, wanted: &str, listening: u16, change: fn(&mut Look)| {
        let mut look = Look::new(&file(wanted));
        if !serves.is_empty() {
            look.serves(serves);
        }
        let head = look.group(wanted).head().to_string();
        look.facts(&head).platform.listening = Some([22, listening].into());
        change(&mut look);
        match look.work("vllm").unwrap().verdict {
            Verdict::Blocked { reason, .. } => Some(reason),
            Verdict::Open | Verdict::Waiting { .. } => None,
        }
    };
    let as_it_is: fn(&mut Look) = |_| {};
    let taken = Some(Reason::PortTaken);
    assert_eq!(refused("", "alpha", 8888, as_it_is), taken);
    assert_eq!(refused("", "alpha", 29501, as_it_is), None, "one Spark needs no other port");
    assert_eq!(refused("", "wide", 29501, as_it_is), taken);
    assert_eq!(refused("alpha", "wide", 8888, as_it_is), None, "it goes with `alpha`");
    assert_eq!(refused("alpha", "wide", 29501, as_it_is), taken, "`alpha` has no use for it");
    assert_eq!(refused("wide", "alpha", 8888, as_it_is), None);
    assert_eq!(refused("alpha", "beta", 8888, as_it_is), taken, "`alpha` is on another Spark");
    assert_eq!(refused("alpha", "other", 9000, as_it_is), taken, "`alpha` has another port");
    assert_eq!(refused("other", "wide", 9000, as_it_is), None, "nobody needs it");
    let edited: fn(&mut Look) = |look| {
        let launch = look.ledger.launch_mut(&Object::main()).unwrap();
        launch.group.spec = SpecHash::of_label("v1-before");
        for facts in look.sparks.values_mut() {
            facts.containers[0].labels.as_mut().unwrap().spec = launch.group.spec.clone();
        }
    };
    assert_eq!(refused("wide", "wide", 29501, edited), None);
    let forgotten: fn(&mut Look) = |look| look.ledger.slots.values_mut().for_each(|slot| slot.launch = None);
    assert_eq!(refused("alpha", "other", 9000, forgotten), None, "nobody knows what it listens on");
    let ended: fn(&mut Look) = |look| look.facts("spark1").containers[0].running = false;
    assert_eq!(refused("alpha", "wide", 8888, ended), taken, "it has stopped");
}

#[test]
fn a_checkout_that_knows_only_ray_is_enough_for_one_spark_or_with_ray() {
    let old = |file: &str| {
        let options = |facts: &mut SparkFacts| {
            let Some(LauncherSeen::Present(seen)) = facts.launchers.get_mut("spark-vllm-docker") else {
                panic!()
            };
            seen.options.remove("--no-ray");
        };
        Sparks::ready().with("spark1", options).refuse(file).map(|refused| refused.0)
    };
    assert_eq!(old(TWO), Some(Reason::LauncherMissing));
    let ray = "vllm: { launcher: { kind: launch-cluster, ray: true } }\nmodels:";
    assert_eq!(old(&TWO.replace("models:", ray)), None);
    let alone = TWO.replace("[spark1, spark2]", "[spark1]").replace(", tensor-parallel-size: 2", "");
    assert_eq!(old(&alone), None);
    let bare = alone.replace(", fabric: { ip: 192.0.2.101, eth_if: cx7 }", "");
    assert_eq!(old(&bare), None, "one Spark needs no fabric");
}

/// If this failed, what serves would be stopped for a launcher that ends at once at an option that it does not know.
#[test]
fn an_option_that_a_checkout_has_not_is_in_the_way() {
    let refused = |kind: &str, options: &str, known: &[&str], handed_on: &[&str]| {
        let file =
            TWO.replace("models:", &format!("vllm: {{ launcher: {{ kind: {kind}, {options} }} }}\nmodels:"));
        let file = match kind {
            _ if options.starts_with("ports") => {
                file.replace("[spark1, spark2]", "[spark1]").replace(", tensor-parallel-size: 2", "")
            }
            "recipe" => file
                .replace("repo: lab/wide", "recipe: wide")
                .replace("args: { gpu-memory-utilization: 0.5, tensor-parallel-size: 2 }", "memory_gib: 50"),
            _ => file,
        };
        let checkout = |facts: &mut SparkFacts| {
            let Some(LauncherSeen::Present(seen)) = facts.launchers.get_mut("spark-vllm-docker") else {
                panic!()
            };
            seen.options.extend(known.iter().map(|&option| option.into()));
            seen.recipe_options = handed_on.iter().map(|&option| option.into()).collect();
            facts.programs = [("spark-vllm-docker/run-recipe.sh".to_owned(), true)].into();
        };
        Sparks::ready().with("spark1", checkout).refuse(&file)
    };
    let told = |refused: Option<(Reason, String)>| {
        let (reason, message) = refused.expect("it is in the way");
        assert_eq!(reason, Reason::LauncherMissing);
        message
    };
    let (plain, oom) = ("launch-cluster", "--earlyoom");
    assert_eq!(refused(plain, "earlyoom: true", &[oom], &[]), None);
    assert_eq!(
        told(refused(plain, "earlyoom: true", &[], &[])),
        "`launch-cluster.sh` in `spark-vllm-docker` on `spark1` has no `--earlyoom`, which came on 2026-07-10; update it, or take \
         it out of the file"
    );
    assert_eq!(refused(plain, "ports: ['8888:8000']", &["--publish"], &[]), None);
    let message = told(refused(plain, "ports: ['8888:8000']", &[], &[]));
    assert!(message.contains("has no `--publish`, which came on 2026-06-03"), "{message}");

    assert_eq!(refused("recipe", "earlyoom: true", &[oom], &[oom]), None);
    assert_eq!(refused("recipe", "earlyoom: true", &[oom], &[]), None, "it does not tell");
    assert_eq!(
        told(refused("recipe", "earlyoom: true", &[oom], &["--solo"])),
        "`run-recipe.sh` in `spark-vllm-docker` on `spark1` does not hand `--earlyoom` on to `launch-cluster.sh`; update it, or take \
         it out of the file"
    );
}

/// What is on its way takes memory too.
#[test]
fn transfers_count_two_gibibytes_each_while_they_run() {
    let transfer = |object: &str, state: JobState| Job {
        id: "1.1".into(),
        object: object.parse().unwrap(),
        spec: SpecHash::of_label("files-0"),
        token: FencingToken { epoch: 1, sequence: 1, controller: "a".into() },
        started_at: "2026-11-24T12:00:00Z".parse().unwrap(),
        state,
        said: Vec::new(),
    };
    // 60 GiB needed and 6 kept free.
    let refused = |total_gib: u64, job: Job| {
        let change = |facts: &mut SparkFacts| {
            facts.memory_total_bytes = total_gib << 30;
            facts.jobs = vec![job.clone(), job.clone()];
        };
        let file = TWO.replace("gpu-memory-utilization: 0.5", "gpu-memory-utilization: 0.5, x: y");
        let file = file.replace("args:", "memory_gib: 60, args:");
        Sparks::ready().with("spark2", change).refuse(&file).map(|refused| refused.1)
    };
    let running = || transfer("weights/other", JobState::Running);
    assert_eq!(refused(70, running()), None);
    let message = refused(69, running()).unwrap();
    assert!(message.contains("4.0 GiB for files that are on their way"), "{message}");
    assert_eq!(refused(69, transfer("weights/other", JobState::Exited(0))), None);
    assert_eq!(refused(69, transfer("vllm", JobState::Running)), None);
    assert!(!refused(65, transfer("vllm", JobState::Running)).unwrap().contains("on their way"));
}
