//! What serves where, as one value, and the door that a gateway holds in front of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use spark_control::{
    controller::{Controller, round::RoundMode},
    core::{
        decide::serving::{Backend, BackendState},
        model::{desired::ServiceKind, object::Object, observed::FrontDoor},
    },
    sim::{SimulatedService, world::Fault},
};

use crate::cluster::{Cluster, MODELS, SPARKS, paused};

const SERVICES: &str = "services:
  kokoro: { kind: tts, spark: spark2, port: 8880, container: kokoro }
  away: { kind: http, address: 192.0.2.9, port: 443, scheme: https }
  off: { kind: embeddings, spark: spark2, port: 8085 }
disabled_services: [off]
";

fn file(model: &str) -> String {
    format!("{SPARKS}model: {model}\n{MODELS}{SERVICES}")
}

fn backend(controller: &Controller, object: &str) -> Backend {
    let seen = controller.snapshot();
    let found = seen.backends.iter().find(|backend| backend.object.as_str() == object);
    found.unwrap_or_else(|| panic!("{object} is not among {:?}", seen.backends)).clone()
}

async fn serving(model: &str) -> (Cluster, Arc<Controller>) {
    let cluster = Cluster::new();
    cluster.sim.add_service("spark2", "kokoro", SimulatedService { kind: ServiceKind::Tts, port: 8880 });
    cluster.edit(&file(model));
    let controller = Arc::new(cluster.controller("c"));
    cluster.settle(&controller, Duration::from_secs(900)).await;
    (cluster, controller)
}

/// If this failed, a request would be sent where nothing answers, or not where something does.
#[test]
fn each_backend_says_where_it_is_what_it_serves_and_how_it_is() {
    paused(async {
        let cluster = Cluster::new();
        cluster.sim.add_service("spark2", "kokoro", SimulatedService { kind: ServiceKind::Tts, port: 8880 });
        cluster.edit(&file("wide"));
        let controller = cluster.controller("c");
        while backend_state(&controller) != Some(BackendState::Loading) {
            controller.round(RoundMode::Act).await.unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        cluster.settle(&controller, Duration::from_secs(900)).await;
        let main = backend(&controller, "vllm");
        assert_eq!((main.base_url().as_str(), main.state), ("http://192.0.2.1:8888", BackendState::Serving));
        assert_eq!(main.served_as.iter().map(ToString::to_string).collect::<Vec<_>>(), ["wide"]);
        assert_eq!(main.root, Some("lab/wide".into()));
        assert!(main.container.is_some() && main.generation.is_some(), "{main:?}");

        let voice = backend(&controller, "kokoro");
        assert_eq!((voice.kind, voice.state), (ServiceKind::Tts, BackendState::Serving));
        assert_eq!(voice.base_url(), "http://192.0.2.2:8880");
        let away = backend(&controller, "away");
        assert_eq!((away.base_url().as_str(), away.spark), ("https://192.0.2.9:443", None));
        assert_eq!(backend(&controller, "off").state, BackendState::Disabled);

        // SSH and Docker are silent, and the file is broken: what answers serves.
        cluster.sim.fault("spark1", Fault::EngineHangs, Duration::from_secs(60)).unwrap();
        cluster.edit("models: [");
        for _ in 0..3 {
            controller.round(RoundMode::Act).await.unwrap();
        }
        let still = backend(&controller, "vllm");
        assert_eq!((still.state, &still.generation), (BackendState::Serving, &main.generation));
    });
}

fn backend_state(controller: &Controller) -> Option<BackendState> {
    controller
        .snapshot()
        .backends
        .iter()
        .find(|backend| backend.object == Object::main())
        .map(|main| main.state)
}

/// If this failed, a request that was let through to one start would be sent to the next.
#[test]
fn another_start_is_another_generation_and_a_new_controller_is_not() {
    paused(async {
        let (cluster, controller) = serving("alpha").await;
        let first = backend(&controller, "vllm").generation;
        drop(controller);
        let controller = cluster.controller("c");
        cluster.settle(&controller, Duration::from_secs(60)).await;
        assert_eq!(backend(&controller, "vllm").generation, first, "the same start");
        let stamp = controller.now();
        cluster.edit(&format!("{}vllm: {{ restart_after: {stamp:.0} }}\n", file("alpha")));
        cluster.settle(&controller, Duration::from_secs(900)).await;
        let anew = backend(&controller, "vllm");
        assert_eq!(anew.state, BackendState::Serving);
        assert_ne!(anew.generation, first, "it was loaded anew");
    });
}

fn report(controller: &Controller, is_closed: bool, in_flight: u64) {
    let generation = backend(controller, "vllm").generation;
    let closed_since = is_closed.then(|| controller.now());
    let door = FrontDoor { generation, closed_since, in_flight };
    controller.report_front_doors(BTreeMap::from([(Object::main(), door)]));
}

fn told(controller: &Controller) -> String {
    let seen = controller.snapshot();
    seen.plan.as_ref().map_or_else(String::new, |plan| {
        format!("{:?}", plan.work.iter().map(|work| &work.verdict).collect::<Vec<_>>())
    })
}

/// If this failed, a request that came between the look and the stop would be cut, though somebody stood there to hold it back.
#[test]
fn the_door_closes_and_what_went_through_it_ends_before_the_stop() {
    paused(async {
        let (cluster, controller) = serving("alpha").await;
        report(&controller, false, 0);
        cluster.edit(&file("none"));
        controller.round(RoundMode::Act).await.unwrap();
        assert_eq!(backend(&controller, "vllm").state, BackendState::Draining);
        assert!(told(&controller).contains("new requests are turned away first"), "{}", told(&controller));
        assert_eq!(cluster.serving().len(), 1, "the engine was idle, and its door is open");

        // Two were let through before it closed, and the engine has not told of them yet.
        report(&controller, true, 2);
        controller.round(RoundMode::Act).await.unwrap();
        assert!(told(&controller).contains("2 requests run"), "{}", told(&controller));
        assert_eq!(cluster.serving().len(), 1);

        report(&controller, true, 0);
        cluster.settle(&controller, Duration::from_secs(60)).await;
        assert_eq!(cluster.serving().len(), 0);
    });
}

/// If this failed, an edit that is taken back would leave a model behind a closed door.
#[test]
fn a_plan_that_is_given_up_opens_the_door_again() {
    paused(async {
        let (cluster, controller) = serving("alpha").await;
        report(&controller, false, 1);
        cluster.edit(&file("beta"));
        controller.round(RoundMode::Act).await.unwrap();
        assert_eq!(backend(&controller, "vllm").state, BackendState::Draining);
        report(&controller, true, 1);
        cluster.edit(&file("alpha"));
        controller.round(RoundMode::Act).await.unwrap();
        assert_eq!(backend(&controller, "vllm").state, BackendState::Serving);
        // A preview closes nothing.
        cluster.edit(&file("beta"));
        controller.round(RoundMode::Preview).await.unwrap();
        assert_eq!(backend(&controller, "vllm").state, BackendState::Serving);
    });
}

/// If this failed, a gateway that died, or one that speaks of what ran before, would hold up every swap.
#[test]
fn a_door_that_never_closes_or_is_of_another_start_holds_nothing_up_for_ever() {
    paused(async {
        let (cluster, controller) = serving("alpha").await;
        report(&controller, false, 7);
        cluster.edit(&file("none"));
        cluster.settle(&controller, Duration::from_secs(120)).await;
        assert_eq!(cluster.serving().len(), 0, "its time was over");

        let (cluster, controller) = serving("alpha").await;
        let door = FrontDoor { generation: Some("another".into()), closed_since: None, in_flight: 7 };
        controller.report_front_doors(BTreeMap::from([(Object::main(), door)]));
        cluster.edit(&file("none"));
        let before = controller.now();
        cluster.settle(&controller, Duration::from_secs(25)).await;
        assert_eq!(cluster.serving().len(), 0);
        assert!(
            controller.now().duration_since(before).as_secs() < 30,
            "the drain of 30 s was not waited for"
        );
    });
}
