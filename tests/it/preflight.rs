//! What would make a launch fail is seen before anything is stopped, and said in words.

use std::collections::BTreeMap;

use jiff::Timestamp;
use spark_control::{
    core::{
        desired::{Object, SpecHash},
        ledger::Ledger,
        name::{ModelName, SparkName},
        observed::{
            Checkout, Container, Facts, Gpu, GpuProcess, Job, JobState, LauncherSeen, Observed, Process,
            RecipeSeen, SparkView, Token,
        },
        plan::{Reason, Verdict},
        platform::{CacheSeen, Interface},
        preflight::{Before, preflight},
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

struct Sparks(BTreeMap<&'static str, Facts>);

impl Sparks {
    /// Two that have all that is needed.
    fn ready() -> Self {
        let of = |last: u8| {
            let options = ["--solo", "--launch-script", "--no-ray"].map(str::to_owned).into();
            let cx7 = Interface { addresses: vec![[192, 0, 2, 100 + last].into()], ..Interface::default() };
            let mut facts = Facts {
                memory_total_bytes: 120 << 30,
                images: [("vllm-node".to_owned(), Some("sha256:a".to_owned()))].into(),
                caches: [("lab/wide".to_owned(), CacheSeen::Present)].into(),
                launchers: [(
                    "spark-vllm-docker".to_owned(),
                    LauncherSeen::Present(Checkout { nodes: Vec::new(), options }),
                )]
                .into(),
                ..Facts::default()
            };
            facts.platform.interfaces = [("cx7".to_owned(), cx7)].into();
            facts.platform.listening = Some([22].into());
            facts
        };
        Self([("spark1", of(1)), ("spark2", of(2))].into())
    }

    fn with(mut self, spark: &'static str, change: impl FnOnce(&mut Facts)) -> Self {
        change(self.0.get_mut(spark).unwrap());
        self
    }

    /// Why the model of this file cannot be started.
    fn refuse(self, file: &str) -> Option<(Reason, String)> {
        self.refuse_after(file, &[])
    }

    /// The same when these containers go first.
    fn refuse_after(self, file: &str, going: &[&str]) -> Option<(Reason, String)> {
        let desired = load(file).unwrap().desired;
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let view = |(name, facts)| (SparkName::new(name).unwrap(), SparkView::Reachable(Box::new(facts)));
        let observed = Observed {
            at: now,
            sparks: self.0.into_iter().map(view).collect(),
            endpoints: BTreeMap::new(),
            loads: BTreeMap::new(),
            bots: std::collections::BTreeMap::new(),
            unreadable_secrets: BTreeMap::new(),
        };
        let object = Object::main();
        let target = desired.effective(&desired.slots[&object], &ModelName::new("wide").unwrap()).unwrap();
        let going = going.iter().copied().collect();
        let before = Before { standing: &[], going: &going };
        preflight(&object, &target, before, &desired, &observed, &Ledger::default(), now).err()
    }
}

fn running(name: &str, image: &str) -> Container {
    Container {
        id: format!("id-of-{name}"),
        name: name.into(),
        image: image.into(),
        image_id: "sha256:x".into(),
        running: true,
        ..Container::default()
    }
}

/// If one of these failed, the outage would begin, and the launch fail after it.
#[test]
fn what_a_launch_needs_is_looked_for_on_every_spark() {
    assert_eq!(Sparks::ready().refuse(TWO), None);
    let lacks = |change: fn(&mut Facts)| Sparks::ready().with("spark2", change).refuse(TWO).unwrap();
    let image = |id: Option<&str>| [("vllm-node".to_owned(), id.map(str::to_owned))].into();
    assert_eq!(
        Sparks::ready().with("spark2", |facts| facts.images = image(None)).refuse(TWO).unwrap(),
        (Reason::ImageMissing, "`spark2` has no image `vllm-node`".into())
    );
    assert_eq!(
        Sparks::ready().with("spark2", |facts| facts.images = image(Some("sha256:b"))).refuse(TWO).unwrap(),
        (Reason::ImageDiffers, "`vllm-node` on `spark2` is not the image that `spark1` has".into())
    );
    let (reason, message) = lacks(|facts| {
        let missing = "model-00002.safetensors".to_owned();
        facts.caches.insert("lab/wide".into(), CacheSeen::Partial { missing });
    });
    assert_eq!(reason, Reason::FilesMissing);
    assert!(message.contains("only a part of `lab/wide` (model-00002.safetensors)"), "{message}");
    let (reason, message) = lacks(|facts| {
        facts.caches.insert("lab/wide".into(), CacheSeen::Absent);
    });
    assert_eq!(reason, Reason::FilesMissing);
    assert!(message.contains("`spark2` has no files of `lab/wide`"), "{message}");
    let local = TWO.replace("repo: lab/wide", "local_path: /srv/wide");
    for (there, reason) in
        [(Some(true), None), (Some(false), Some(Reason::FilesMissing)), (None, Some(Reason::FilesMissing))]
    {
        let paths = |facts: &mut Facts| {
            facts.paths = there.map(|there| ("/srv/wide".to_owned(), there)).into_iter().collect()
        };
        let sparks =
            Sparks::ready().with("spark1", |facts| facts.paths = [("/srv/wide".to_owned(), true)].into());
        let refused = sparks.with("spark2", paths).refuse(&local);
        assert_eq!(refused.map(|refused| refused.0), reason, "{there:?}");
    }
    // It takes its files from elsewhere.
    let absent = |facts: &mut Facts| {
        facts.caches.insert("lab/wide".into(), CacheSeen::Absent);
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
        let listening = move |facts: &mut Facts| facts.platform.listening = Some([port].into());
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
        container: container.map(str::to_owned),
    };
    // 60 GiB needed and 6 kept free, of 120.
    let with = |available_gib: u64, process: GpuProcess, resident_gib: u64| {
        Sparks::ready().with("spark1", move |facts| {
            facts.memory_available_bytes = available_gib << 30;
            let processes = process.container.as_ref().map(|_| {
                vec![Process { pid: 7, resident_bytes: resident_gib << 30, command: "vllm serve x".into() }]
            });
            facts.containers.push(Container { processes, ..running("old", "x") });
            facts.gpu = Some(Gpu { processes: vec![process], ..Gpu::default() });
        })
    };
    let stranger = || gpu(None, "python3", Some(55));
    let (reason, message) = with(60, stranger(), 0).refuse(TWO).unwrap();
    assert_eq!(reason, Reason::CannotFit);
    assert!(message.contains("55.0 GiB held by python3 (7) of nothing in the file"), "{message}");
    assert_eq!(with(60, gpu(None, "Xorg", Some(1)), 0).refuse(TWO), None);
    assert_eq!(with(60, gpu(None, "python3", None), 0).refuse(TWO), None, "what is not told is not known");

    let old = |gib: Option<u64>| gpu(Some("id-of-old"), "vllm", gib);
    assert_eq!(with(10, old(Some(55)), 2).refuse_after(TWO, &["id-of-old"]), None);
    let (reason, message) = with(10, old(Some(50)), 2).refuse_after(TWO, &["id-of-old"]).unwrap();
    assert_eq!(reason, Reason::CannotFit);
    assert!(message.ends_with("when what serves is gone at most 62.0 GiB are free on `spark1`"), "{message}");
    // Just enough, and one too little.
    assert_eq!(with(9, old(Some(55)), 2).refuse_after(TWO, &["id-of-old"]), None);
    assert!(with(8, old(Some(55)), 2).refuse_after(TWO, &["id-of-old"]).is_some());
    assert_eq!(with(10, old(None), 2).refuse_after(TWO, &["id-of-old"]), None);
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
    assert_eq!(seen(RecipeSeen::Readable { root: "lab/wide".into() }), None);
    let (reason, message) = seen(RecipeSeen::Unreadable { why: "no such recipe".into() }).unwrap();
    assert_eq!(reason, Reason::LauncherMissing);
    assert!(message.ends_with("no such recipe"), "{message}");
}

/// If this failed, a launch would fail on a port after the outage had begun; or a swap be refused for what it ends itself.
#[test]
fn a_port_is_free_or_goes_with_what_stands_in_the_slots_place() {
    let file = |model: &str| {
        format!(
            "model: {model}\nmodels:\n  alpha: {{ repo: lab/alpha, sparks: [spark1] }}\n  beta: {{ repo: lab/beta, sparks: \
             [spark2] }}\n  other: {{ repo: lab/alpha, port: 9000, sparks: [spark1] }}\n  wide: {{ repo: lab/wide, sparks: \
             [spark1, spark2], args: {{ tensor-parallel-size: 2 }} }}"
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
        let launch = look.ledger.launches.get_mut(&Object::main()).unwrap();
        launch.group.spec = SpecHash::of_label("v1-before");
        for facts in look.sparks.values_mut() {
            facts.containers[0].labels.as_mut().unwrap().spec = launch.group.spec.clone();
        }
    };
    assert_eq!(refused("wide", "wide", 29501, edited), None);
    let forgotten: fn(&mut Look) = |look| look.ledger.launches.clear();
    assert_eq!(refused("alpha", "other", 9000, forgotten), None, "nobody knows what it listens on");
    let ended: fn(&mut Look) = |look| look.facts("spark1").containers[0].running = false;
    assert_eq!(refused("alpha", "wide", 8888, ended), taken, "it has stopped");
}

#[test]
fn a_checkout_that_knows_only_ray_is_enough_for_one_spark_or_with_ray() {
    let old = |file: &str| {
        let options = |facts: &mut Facts| {
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

/// What is on its way takes memory too.
#[test]
fn transfers_count_two_gibibytes_each_while_they_run() {
    let transfer = |object: &str, state: JobState| Job {
        id: "1.1".into(),
        object: object.into(),
        spec: SpecHash::of_label("files-0"),
        token: Token { epoch: 1, sequence: 1, controller: "a".into() },
        started_at: "2026-11-24T12:00:00Z".parse().unwrap(),
        state,
        last_words: None,
    };
    // 60 GiB needed and 6 kept free.
    let refused = |total_gib: u64, job: Job| {
        let change = |facts: &mut Facts| {
            facts.memory_total_bytes = total_gib << 30;
            facts.jobs = vec![job.clone(), job.clone()];
        };
        let file = TWO.replace("gpu-memory-utilization: 0.5", "kv-cache-memory-bytes: 64424509440");
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
