//! What an earlier Spark Control left is taken over: its store, its labels on containers, its tokens and sign-ins, what it answered.
//! The files of `before/` were written by the program of November 2026, before anything was released, by `record`.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use spark_control::{
    controller::{Controller, ControllerPaths, OutsideWorld, export::Export, round::RoundMode},
    core::model::{access::Role, name::ModelName, object::Object},
    manifest::load::load,
    sim::{Sim, SimulatedService, http::InMemory, report, transport::SimulatedTransport},
    store::Store,
    web::{
        self,
        api::limits::ApiLimits,
        guard::Hosts,
        listen::{ConnectionLimits, listen},
    },
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{
    api::Api,
    cluster::TIMES,
    golden::{assert_golden, here},
};

const STORE: &str = "tests/it/before/spark-control.db.gz";
const EXPORT: &str = "tests/it/before/export.json.gz";
const KNOWN: &str = "tests/it/before/known.json";
const KEY: &str = "recorded-once";

fn unpacked(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(here(path)).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

fn pack(path: &str, bytes: &[u8]) {
    let mut file = GzEncoder::new(fs::File::create(here(path)).unwrap(), Compression::best());
    file.write_all(bytes).unwrap();
    file.finish().unwrap();
}

/// A request that is sent with a key, by who has this token: it asks for what serves already.
fn keyed(request: reqwest::RequestBuilder, token: &str) -> reqwest::RequestBuilder {
    request.bearer_auth(token).header("idempotency-key", KEY).json(&json!({ "model": "alpha" }))
}

/// Three models were loaded, a service is kept, two tokens are there, somebody signed in, and a request was made with a key.
#[tokio::test]
#[ignore = "writes `before/` anew: only what an older program wrote proves something"]
async fn record() {
    let more = "model: alpha\nservices:\n  kokoro: { kind: tts, spark: spark2, port: 8880, container: kokoro, state: running }\n\
                holds:\n  talk: { owner: alice, reason: a talk, object: kokoro }";
    let api = Api::new(more).await;
    api.cluster.sim.add_service(
        "spark2",
        "kokoro",
        SimulatedService { kind: spark_control::core::model::desired::ServiceKind::Tts, port: 8880 },
    );
    let settle = async || api.rounds(80, 5).await;
    settle().await;
    for model in ["beta", "wide", "alpha"] {
        let text = fs::read_to_string(&api.controller.places.file).unwrap();
        let line = text.lines().find(|line| line.starts_with("model: ")).unwrap().to_owned();
        fs::write(&api.controller.places.file, text.replace(&line, &format!("model: {model}"))).unwrap();
        settle().await;
    }
    let owner = api.controller.make_token("owner", Role::Approve).unwrap();
    let editor = api.controller.make_token("editor", Role::Edit).unwrap();
    let (_, cookie) = api.controller.sign_in(&editor).unwrap().unwrap();
    let merge = api.request(Method::PATCH, "/api/v1/desired").bearer_auth(&editor).header("if-match", "*");
    let merge = merge.header("content-type", "application/merge-patch+json");
    assert_eq!(api.send(merge.body(r#"{"reconcile":{"interval":"7s"}}"#)).await.status, 200);
    let answered = api.send(keyed(api.request(Method::POST, "/api/swap"), &editor)).await;
    assert_eq!(answered.status, 202, "{}", answered.body);
    api.rounds(5, 5).await;
    let snapshot = api.controller.snapshot();
    assert!(snapshot.plan.as_ref().unwrap().is_empty(), "{:?}", snapshot.plan);

    let whole = api.controller.places.data.join("spark-control.db");
    let copy = api.cluster.folder().join("copy.db");
    let store = rusqlite::Connection::open(whole).unwrap();
    store.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    let plan: String =
        store.query_row("SELECT id FROM plan ORDER BY number DESC LIMIT 1", [], |row| row.get(0)).unwrap();
    fs::create_dir_all(here("tests/it/before")).unwrap();
    pack(STORE, &fs::read(copy).unwrap());
    let export = api.controller.export().unwrap().unwrap();
    pack(EXPORT, &serde_json::to_vec(&export).unwrap());
    let hashes: Value = snapshot
        .desired
        .as_ref()
        .unwrap()
        .models
        .keys()
        .map(|name| (name.to_string(), json!(spec_of(&export.file, name.as_str()))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let known = json!({
        "owner": owner, "editor": editor, "cookie": cookie, "answer": answered.body, "plan": plan,
        "revision": snapshot.revision, "hashes": hashes,
    });
    fs::write(here(KNOWN), serde_json::to_string_pretty(&known).unwrap() + "\n").unwrap();
}

fn spec_of(file: &str, model: &str) -> String {
    let desired = load(file).unwrap().desired;
    let slot = &desired.slots[&Object::main()];
    desired.resolved_model(slot, &ModelName::new(model).unwrap()).unwrap().spec_hash().to_string()
}

/// The new program on what the old one left: its data directory, its file and its Sparks.
struct Left {
    folder: TempDir,
    sim: Sim,
    controller: Arc<Controller>,
    known: Value,
}

fn left() -> Left {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("spark-control.db"), unpacked(STORE)).unwrap();
    let known: Value = serde_json::from_slice(&fs::read(here(KNOWN)).unwrap()).unwrap();
    let export: Export = serde_json::from_slice(&unpacked(EXPORT)).unwrap();
    let file = folder.path().join("cluster.yaml");
    fs::write(&file, &export.file).unwrap();
    // It is a minute later.
    let now: Timestamp = export.at.checked_add(SignedDuration::from_mins(1)).unwrap();
    let sim = Sim::new(TIMES, move || now);
    report::fill(&sim, &load(&export.file).unwrap().desired, &export.observed);
    let for_world = sim.clone();
    let world = OutsideWorld {
        connect: Box::new(move |spark, _| {
            Arc::new(SimulatedTransport { sim: for_world.clone(), spark: spark.to_string() })
        }),
        http: Arc::new(InMemory { sim: sim.clone() }),
        now: Box::new(move || now),
        name: "another".into(),
        start: "2".into(),
        quiet: Duration::ZERO,
    };
    let places = ControllerPaths { file, is_file_told: true, data, allowed_secrets: Vec::new() };
    let controller = Arc::new(Controller::new(places, world).unwrap());
    Left { folder, sim, controller, known }
}

/// If this failed, an update of this program would stop what serves, or forget what it knew.
#[tokio::test]
async fn what_an_older_program_left_is_as_the_file_says() {
    let Left { sim, controller, known, folder } = left();
    controller.round(RoundMode::Act).await.unwrap();
    let snapshot = controller.snapshot();
    assert_eq!(snapshot.revision, known["revision"].as_u64(), "no new revision");
    assert!(snapshot.plan.as_ref().unwrap().is_empty(), "{:?}", snapshot.plan);
    for line in &snapshot.status {
        assert_eq!(format!("{:?} {:?}", line.sync, line.health), "InSync Healthy", "{line:?}");
    }
    assert_eq!(sim.world().acts, 0, "nothing was done to any Spark");
    // What loads took and needed is known: nobody is told that it is the first.
    let ledger = controller.export().unwrap().unwrap().ledger;
    assert_eq!(ledger.specs.len(), 3);
    assert!(
        ledger.specs.values().all(|record| record.became_ready && !record.peaks.is_empty()),
        "{:?}",
        ledger.specs
    );
    let learned: Vec<&str> = snapshot.load_secs.keys().map(ModelName::as_str).collect();
    assert_eq!(learned, ["alpha", "beta", "wide"]);
    assert!(controller.events(500).unwrap().iter().filter(|event| event.kind == "ready").count() >= 4);
    drop(folder);
}

/// If this failed, every label on every running container would be of something that nobody wants.
#[test]
fn specs_have_the_hashes_that_they_had() {
    let known: Value = serde_json::from_slice(&fs::read(here(KNOWN)).unwrap()).unwrap();
    let export: Export = serde_json::from_slice(&unpacked(EXPORT)).unwrap();
    for (model, hash) in known["hashes"].as_object().unwrap() {
        assert_eq!(hash, &json!(spec_of(&export.file, model)), "{model}");
    }
    let mut files: Vec<PathBuf> =
        fs::read_dir(here("examples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.push(here("tests/it/manifest/every-launcher.yaml"));
    files.sort();
    let mut hashes = String::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "yaml")) {
        let desired = load(&fs::read_to_string(file).unwrap()).unwrap().desired;
        for (object, slot) in &desired.slots {
            for model in desired.models.keys() {
                let Some(effective) = desired.resolved_model(slot, model) else { continue };
                let name = file.file_name().unwrap().to_string_lossy();
                hashes += &format!("{name} {object} {model} {}\n", effective.spec_hash());
            }
        }
    }
    assert_golden("tests/it/before/hashes.txt", &hashes);
}

/// If this failed, everybody would be signed out, a request be done twice, or a link to a plan lead nowhere.
#[tokio::test]
async fn who_could_ask_can_ask_and_what_was_answered_is_answered() {
    let Left { controller, known, folder, .. } = left();
    controller.round(RoundMode::Act).await.unwrap();
    let text = |name: &str| known[name].as_str().unwrap();
    let role =
        |asker: Option<spark_control::controller::authenticator::Caller>| asker.map(|asker| asker.role);
    assert_eq!(role(controller.asker_of(text("owner"))), Some(Role::Approve));
    assert_eq!(role(controller.asker_of(text("editor"))), Some(Role::Edit));
    assert_eq!(role(controller.asker_of_browser(text("cookie"))), Some(Role::Edit));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = web::router(controller.clone(), Hosts::new([]), ApiLimits::default());
    tokio::spawn(listen(listener, router, ConnectionLimits::of_this_process(), CancellationToken::new()));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("{address}/api/swap"));
    let again = keyed(request, text("editor")).send().await.unwrap();
    assert_eq!(again.status(), 202);
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.json::<Value>().await.unwrap(), known["answer"]);
    let plan = client.get(format!("{address}/api/v1/plans/{}", text("plan"))).bearer_auth(text("owner"));
    let plan = plan.send().await.unwrap();
    assert_eq!(plan.status(), 200);
    drop(folder);
}

/// If this failed, who goes back to the older program would find a store that it refuses, and nothing else.
#[test]
fn the_store_of_an_older_program_is_kept_beside_the_new_one() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("spark-control.db");
    fs::write(&path, unpacked(STORE)).unwrap();
    let revision = Store::open(folder.path()).unwrap().last_revision().unwrap();
    let kept = folder.path().join("spark-control.db.version-2");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600, "it holds who may ask");
    let kept = rusqlite::Connection::open(&kept).unwrap();
    let version: i64 = kept.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    let sql = "SELECT number FROM revision ORDER BY number DESC LIMIT 1";
    let number: u64 = kept.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs();
    assert_eq!((version, Some(number)), (2, revision.map(|(number, _)| number)));
    // Once: what it was is not overwritten by what it became.
    let again = Store::open(folder.path()).unwrap();
    drop(again);
    let files =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let kept: Vec<String> = files.filter(|name| name.contains("version")).collect();
    assert_eq!(kept, ["spark-control.db.version-2"]);
}
