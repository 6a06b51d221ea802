//! What an edit may not do with a token that may only edit.

use std::os::unix::fs::PermissionsExt;

use reqwest::Method;
use serde_json::{Value, json};
use spark_control::{
    core::{
        decide::loosens::loosens,
        model::{access::Role, desired::Secret},
    },
    manifest::load::load,
};

use crate::{
    api::{Answer, Api, code},
    cluster::{MODELS, SPARKS},
};

const FILE: &str = "model: alpha
reconcile: { on_edit: approve, on_drift: repair }
holds: { talk: { owner: bob, reason: a talk, until: 2036-01-01T00:00:00Z } }
notify: { hook: { url: https://hooks.example/x, secret: { file: /srv/keys/hook } } }
services:
  search: { kind: embeddings, spark: spark1, port: 8001, container: search, state: running }
  other: { kind: vllm, address: 192.0.2.9, port: 8000, api_key: { env: OTHER_KEY } }
";

/// The places that the edit `more` of [`FILE`] loosens, where the file's own secrets are no allowed places.
fn found(before: &str, after: &str) -> Vec<String> {
    let desired = |more: &str| load(&format!("{SPARKS}{more}{MODELS}")).unwrap().desired;
    let allowed = |secret: &Secret| secret.to_string().contains("/allowed/");
    loosens(&desired(before), &desired(after), &allowed).into_iter().map(|one| one.place).collect()
}

/// If this failed, a token that may edit could switch agreement off, read the controller's secrets, or take over a hold.
#[test]
fn what_protects_is_loosened_only_by_who_may_approve() {
    assert_eq!(found(FILE, FILE), [""; 0]);
    for (old, new, place) in [
        ("on_edit: approve", "on_edit: apply", "/reconcile/on_edit"),
        ("on_drift: repair", "on_drift: apply", "/reconcile/on_drift"),
        ("owner: bob", "owner: eve", "/holds/talk"),
        ("2036-01-01", "2035-01-01", "/holds/talk"),
        ("reason: a talk,", "reason: a talk, object: search,", "/holds/talk"),
        ("holds: { talk: { owner: bob, reason: a talk, until: 2036-01-01T00:00:00Z } }\n", "", "/holds/talk"),
        ("https://hooks.example/x", "https://evil.example/x", "/notify/hook"),
        ("url: https://hooks.example/x", "url: { env: PATH }", "/notify/hook"),
        ("address: 192.0.2.9", "address: 192.0.2.66", "/services/other"),
        ("{ env: OTHER_KEY }", "{ file: /etc/shadow }", "/services/other"),
        (
            "services:\n",
            "services:\n  mine: { kind: vllm, address: 192.0.2.66, port: 1, api_key: { file: /etc/shadow } }\n",
            "/services/mine",
        ),
        ("model: alpha\n", "model: alpha\nvllm: { env: { HF_TOKEN: { env: HF_TOKEN } } }\n", "/vllm"),
    ] {
        let after = FILE.replace(old, new);
        assert_ne!(after, FILE, "{old}");
        assert!(found(FILE, &after).contains(&place.to_owned()), "{new}: {:?}", found(FILE, &after));
    }
    // What edits are for, what tightens, and what names an allowed place.
    for (old, new) in [
        ("model: alpha", "model: beta"),
        ("on_drift: repair", "on_drift: report"),
        ("2036-01-01", "2037-01-01"),
        (", until: 2036-01-01T00:00:00Z", ""),
        ("state: running", "state: stopped"),
        (
            "services:\n",
            "services:\n  mine: { kind: vllm, address: 192.0.2.66, port: 1, api_key: { file: /srv/allowed/key } }\n",
        ),
        (
            "model: alpha\n",
            "model: alpha\nschedule: { night: { from: \"01:00\", to: \"05:00\", model: beta } }\n",
        ),
    ] {
        let after = FILE.replace(old, new);
        assert_ne!(after, FILE, "{old}");
        assert_eq!(found(FILE, &after), [""; 0], "{new}");
    }
    // A memory floor keeps a Spark alive.
    let lower = SPARKS.replace("address: 192.0.2.1,", "address: 192.0.2.1, floor_gib: 1,");
    let [before, after] =
        [SPARKS, &lower].map(|sparks| load(&format!("{sparks}{FILE}{MODELS}")).unwrap().desired);
    let places: Vec<String> = loosens(&before, &after, &|_| true).into_iter().map(|one| one.place).collect();
    assert_eq!(places, ["/sparks/spark1/floor_gib"]);
}

async fn patch(api: &Api, token: &str, query: &str, patch: Value) -> Answer {
    let request = api
        .request(Method::PATCH, &format!("/api/v1/desired{query}"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/merge-patch+json")
        .header("if-match", "*")
        .body(patch.to_string());
    api.send(request).await
}

/// If this failed, the rule would stand in a module that no request asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_edit_is_refused_what_loosens() {
    let api = Api::new(
        "model: alpha\nreconcile: { on_edit: approve }\nholds: { talk: { owner: bob, reason: a talk } }",
    )
    .await;
    let editor = api.controller.make_token("editor", Role::Edit).unwrap();
    let owner = api.controller.make_token("owner", Role::Approve).unwrap();
    let before = api.file();
    let loosens = json!({ "model": "beta", "reconcile": { "on_edit": "apply" } });
    for query in ["", "?dry_run=true"] {
        let refused = patch(&api, &editor, query, loosens.clone()).await;
        assert_eq!(code(&refused), (403, "forbidden", false));
        assert!(refused.body["detail"].as_str().unwrap().contains("/reconcile/on_edit"), "{}", refused.body);
    }
    let reads = json!({ "services": { "mine": {
        "kind": "vllm", "address": "192.0.2.66", "port": 1, "api_key": { "file": "/etc/shadow" } } } });
    assert_eq!(code(&patch(&api, &editor, "", reads.clone()).await), (403, "forbidden", false));
    assert_eq!(code(&patch(&api, &editor, "", json!({ "holds": null })).await), (403, "forbidden", false));
    assert_eq!(api.file(), before, "nothing is written");

    // The data directory's own folder is for what edits may name; who may approve may name anything.
    let own = api.controller.places.data.join("secrets/search");
    let allowed = json!({ "services": { "mine": {
        "kind": "vllm", "address": "192.0.2.66", "port": 1, "api_key": { "file": own } } } });
    assert_eq!(patch(&api, &editor, "?dry_run=true", allowed).await.status, 200);
    let climbs = api.controller.places.data.join("secrets/../id_ed25519");
    let climbs = json!({ "services": { "mine": {
        "kind": "vllm", "address": "192.0.2.66", "port": 1, "api_key": { "file": climbs } } } });
    assert_ne!(patch(&api, &editor, "?dry_run=true", climbs).await.status, 200);
    assert_eq!(patch(&api, &owner, "?dry_run=true", reads).await.status, 200);
    // Whoever says that a hold is theirs may release it: it is a word among people, not a lock.
    assert_eq!(patch(&api, &editor, "?owner=bob", json!({ "holds": { "talk": null } })).await.status, 200);
    assert_eq!(patch(&api, &owner, "", loosens).await.status, 200);
}

/// If this failed, the API would take over what the command line leaves alone.
#[tokio::test]
async fn a_hold_is_its_owners_over_http_too() {
    let api = Api::new("model: alpha\nholds: { talk: { owner: bob, reason: a talk } }").await;
    let put = |owner: &str| {
        let hold = json!({ "owner": owner, "reason": "mine", "until": "2036-01-01T00:00:00Z" });
        api.request(Method::PUT, "/api/v1/holds/talk").json(&hold)
    };
    let release = |query: &str| api.request(Method::DELETE, &format!("/api/v1/holds/talk{query}"));
    assert_eq!(code(&api.send(put("eve")).await), (423, "held", false));
    assert_eq!(code(&api.send(release("")).await), (400, "invalid_request", false));
    assert_eq!(code(&api.send(release("?owner=eve")).await), (423, "held", false));
    assert!(api.file().contains("owner: bob"));
    assert_eq!(api.send(put("bob")).await.status, 200);
    assert_eq!(api.send(release("?owner=bob")).await.status, 200);
}

/// If this failed, a store that is lost or put back from before its tokens would let everybody in.
#[tokio::test(flavor = "multi_thread")]
async fn lost_tokens_open_no_door() {
    let api = Api::new("model: alpha").await;
    let marker = api.controller.places.data.join("tokens-are-needed");
    assert!(!marker.exists());
    api.controller.make_token("owner", Role::Approve).unwrap();
    assert!(marker.exists());
    api.controller.revoke_token("owner").unwrap();
    assert!(!marker.exists(), "the last one opens the door, and says so");
    assert_eq!(api.get("/api/v1/status").await.status, 200);

    // A store without tokens beside the marker.
    std::fs::write(&marker, "").unwrap();
    let refused = api.get("/api/v1/status").await;
    assert_eq!(code(&refused), (401, "unauthorized", false));
    assert!(
        refused.body["detail"].as_str().unwrap().contains("spark-control token create"),
        "{}",
        refused.body
    );
    assert_eq!(api.get("/healthz").await.status, 200);
    let token = api.controller.make_token("owner", Role::Approve).unwrap();
    let request =
        api.request(Method::GET, "/api/v1/status").header("authorization", format!("Bearer {token}"));
    assert_eq!(api.send(request).await.status, 200);
}

/// If this failed, other users of the machine could read what the file held, and who may ask.
#[test]
fn what_the_controller_keeps_is_for_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let store = folder.path().join("spark-control.db");
    std::fs::write(&store, "").unwrap();
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o644)).unwrap();
    spark_control::cli::reach::private_folder(folder.path()).unwrap();
    let opened = spark_control::store::Store::open(folder.path()).unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.path()), 0o700);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    drop(opened);
}

/// If this failed, whoever meets a damaged store would read one sentence three times, and not which file it is.
#[test]
fn a_damaged_store_names_its_file_and_what_to_do_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("spark-control.db"), vec![7_u8; 8192]).unwrap();
    let Err(error) = spark_control::store::Store::open(folder.path()) else { panic!("it was opened") };
    let told = format!("{:#}", anyhow::Error::from(error));
    assert_eq!(told.matches("not a database").count(), 1, "{told}");
    for words in ["spark-control.db is damaged", "backup", "docs/operating.md"] {
        assert!(told.contains(words), "{told}");
    }
}

/// If this failed, a form could not say at which of its fields something is wrong.
#[tokio::test]
async fn what_is_wrong_with_an_edit_names_its_place_in_the_file() {
    let api = Api::new("model: alpha").await;
    for (model, place) in [
        (json!({ "repo": "no repository", "sparks": ["spark1"] }), "/models/big/repo"),
        (json!({ "repo": "lab/big", "sparks": ["spark9"] }), "/models/big/sparks/0"),
        (json!({ "repo": "lab/big", "sparks": ["spark1"], "memory_gib": 0 }), "/models/big/memory_gib"),
    ] {
        let edit = json!({ "models": { "big": model } });
        let refused = api.merge(Some("*"), "?dry_run=true", edit).await;
        assert_eq!(code(&refused), (422, "invalid", false));
        let problems = refused.body["problems"].as_array().unwrap();
        let is_there = |problem: &Value| problem["pointer"] == place && problem["line"].as_u64() > Some(0);
        assert!(problems.iter().any(is_there), "{place}: {}", refused.body);
    }
}
