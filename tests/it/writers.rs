//! Many who edit at the same moment, over HTTP and in the file itself.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use spark_control::{
    controller::round::RoundMode,
    manifest::replace::{ReplaceError, replace},
};

use crate::api::Api;

const EDITS: usize = 4;
/// Nobody is overtaken more often by so few.
const MOST_TRIES: usize = 500;

/// Over HTTP, from the revision that was read; the revision that each edit was answered with.
async fn over_http(api: Arc<Api>, writer: usize) -> Vec<(String, u64)> {
    let mut accepted = Vec::new();
    for number in 0..EDITS {
        let name = format!("hold-api-{writer}-{number}");
        let patch = json!({ "holds": { &name: { "owner": "alice", "reason": "a talk" } } });
        let mut tries = 0;
        let revision = loop {
            // No revision: somebody saved the file a moment ago, and it is not in force yet.
            let base = api.get("/api/v1/desired").await.tag.unwrap_or_else(|| "*".into());
            let answer = api.merge(Some(&base), "", patch.clone()).await;
            match answer.status.as_u16() {
                200 => break answer.body["revision"].as_u64().unwrap(),
                412 => tries += 1,
                other => panic!("{other}: {}", answer.body),
            }
            assert!(tries < MOST_TRIES, "nobody gets through");
        };
        accepted.push((name, revision));
    }
    accepted
}

/// In the file, as another program of this machine does that looks whether it was changed meanwhile.
fn in_the_file(api: &Api, writer: usize) -> Vec<String> {
    let path = &api.controller.places.file;
    let keep = api.cluster.folder().join(format!("kept-{writer}"));
    let edit = |number| {
        let name = format!("hold-file-{writer}-{number}");
        for _ in 0..MOST_TRIES {
            let text = std::fs::read_to_string(path).unwrap();
            let line = format!("holds:\n  {name}: {{ owner: bob, reason: a test }}\n");
            let new = text.replacen("holds:\n", &line, 1);
            match replace(path, text.as_bytes(), new.as_bytes(), &keep) {
                Ok(_) => return name,
                Err(ReplaceError::Changed(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("nobody gets through");
    };
    (0..EDITS).map(edit).collect()
}

fn holds(text: &str) -> BTreeSet<String> {
    let names = text.split("hold-").skip(1);
    names.map(|rest| format!("hold-{}", rest.split(':').next().unwrap())).collect()
}

/// If this failed, an edit that was answered with a revision, or saved, would be missing from the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_writers_every_accepted_edit_is_in_the_file() {
    let api = Arc::new(Api::new("model: none\nholds:\n  usual: { owner: alice, reason: always }").await);
    let is_over = Arc::new(AtomicBool::new(false));
    let rounds = {
        let (api, is_over) = (api.clone(), is_over.clone());
        tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                api.controller.round(RoundMode::Act).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    let over_http: Vec<_> = (0..4).map(|writer| tokio::spawn(over_http(api.clone(), writer))).collect();
    let in_the_file = (0..2).map(|writer| {
        let api = api.clone();
        tokio::task::spawn_blocking(move || in_the_file(&api, writer))
    });
    let in_the_file: Vec<_> = in_the_file.collect();
    let (mut accepted, mut saved) = (Vec::new(), Vec::new());
    for writer in over_http {
        accepted.extend(writer.await.unwrap());
    }
    for writer in in_the_file {
        saved.extend(writer.await.unwrap());
    }
    is_over.store(true, Ordering::SeqCst);
    rounds.await.unwrap();

    let last = api.get("/api/v1/desired").await.body;
    let mut expected: BTreeSet<String> = accepted.iter().map(|(name, _)| name.clone()).chain(saved).collect();
    assert_eq!(expected.len(), 6 * EDITS);
    assert_eq!(holds(&api.file()), expected);
    expected.insert("usual".into());
    let told: BTreeSet<String> = last["value"]["holds"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(told, expected);
    // Each revision has what the one before it had, and each edit over HTTP is one of its own.
    let mut before = BTreeSet::new();
    for revision in 1..=last["revision"].as_u64().unwrap() {
        let Value::String(text) = api.get(&format!("/api/v1/desired/{revision}")).await.body else {
            panic!("revision {revision} is not kept");
        };
        let now = holds(&text);
        assert!(now.is_superset(&before), "revision {revision} lost something: {text}");
        let own: Vec<&String> =
            accepted.iter().filter(|(_, of)| *of == revision).map(|(name, _)| name).collect();
        assert!(own.len() <= 1 && own.iter().all(|name| now.contains(*name)), "{revision}: {own:?} {text}");
        before = now;
    }
}
