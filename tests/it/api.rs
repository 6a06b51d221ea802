//! The API over real HTTP: a controller on simulated Sparks, a listener on loopback, a client.

use std::{sync::Arc, time::Duration};

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use spark_control::{
    controller::{
        Controller,
        edit::{EditRequest, NotEdited, RequestedChange},
        round::RoundMode,
    },
    core::model::desired::ServiceKind,
    sim::{Fault, SimulatedService},
    web::{
        self,
        api::{self, desired, limits::ApiLimits, problem::Problem},
        guard::Hosts,
        listen::{ConnectionLimits, listen},
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{Cluster, MODELS, SPARKS},
    golden::{assert_golden, here},
};

pub struct Api {
    pub cluster: Cluster,
    pub controller: Arc<Controller>,
    pub address: String,
    pub limits: ApiLimits,
    client: reqwest::Client,
}

pub struct Answer {
    pub status: StatusCode,
    pub tag: Option<String>,
    pub body: Value,
}

impl Api {
    /// A controller that has looked once, with this in the file.
    pub async fn new(more: &str) -> Self {
        Self::within(ConnectionLimits { connections: 1000, ..ConnectionLimits::of_this_process() }, more)
            .await
    }

    /// The same, for so many clients.
    pub async fn within(limits: ConnectionLimits, more: &str) -> Self {
        let cluster = Cluster::new();
        cluster.edit(&format!("{SPARKS}{more}\n{MODELS}"));
        let controller = Arc::new(cluster.controller("a"));
        controller.round(RoundMode::Act).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let taken = ApiLimits::default();
        let hosts = Hosts::new(["spark.example".to_owned()]);
        let router = web::router(controller.clone(), hosts, taken.clone());
        tokio::spawn(listen(listener, router, limits, CancellationToken::new()));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { cluster, controller, address, limits: taken, client }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.address))
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let status = response.status();
        let header =
            |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (tag, kind) = (header("etag"), header("content-type").unwrap_or_default());
        let is_error = status.is_client_error() || status.is_server_error();
        assert_eq!(is_error, kind == "application/problem+json", "{status} as {kind}");
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if is_error {
            assert_eq!(body["status"], status.as_u16(), "{body}");
        }
        Answer { status, tag, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn merge(&self, base: Option<&str>, query: &str, patch: Value) -> Answer {
        let request = self
            .request(Method::PATCH, &format!("/api/v1/desired{query}"))
            .header("content-type", "application/merge-patch+json")
            .body(patch.to_string());
        let request = match base {
            Some(base) => request.header("if-match", base),
            None => request,
        };
        self.send(request).await
    }

    /// Rounds, so many seconds apart.
    pub async fn rounds(&self, count: usize, secs: u64) {
        for _ in 0..count {
            self.cluster.skip(Duration::from_secs(secs));
            self.controller.round(RoundMode::Act).await.unwrap();
        }
    }

    pub fn file(&self) -> String {
        std::fs::read_to_string(&self.controller.places.file).unwrap()
    }
}

/// The revision that the answer's tag names.
pub fn revision(answer: &Answer) -> Option<u64> {
    answer.tag.as_deref()?.trim_matches('"').split_once('-')?.0.parse().ok()
}

pub fn code(answer: &Answer) -> (u16, &str, bool) {
    (answer.status.as_u16(), answer.body["code"].as_str().unwrap_or(""), answer.body["happened"] == true)
}

/// If this failed, a program would edit what it has not seen, or somebody's edit would be lost.
#[tokio::test]
async fn an_edit_names_the_revision_it_was_made_from() {
    let api = Api::new("model: alpha # the usual one").await;
    let first = api.get("/api/v1/desired").await;
    assert_eq!((first.status.as_u16(), revision(&first)), (200, Some(1)));
    let first_tag = first.tag.as_deref();
    assert_eq!((&first.body["revision"], &first.body["value"]["model"]), (&json!(1), &json!("alpha")));
    let yaml = api.request(Method::GET, "/api/v1/desired").header("accept", "application/yaml");
    assert_eq!(api.send(yaml).await.body, Value::String(api.file()));

    let unnamed = api.merge(None, "", json!({ "model": "beta" })).await;
    assert_eq!(code(&unnamed), (428, "precondition_required", false));
    let before = api.file();
    let preview = api.merge(first_tag, "?dry_run=true", json!({ "model": "beta" })).await;
    assert_eq!((preview.status.as_u16(), &preview.body["written"]), (200, &json!(false)));
    assert!(
        preview.body["diff"].as_str().unwrap().contains("+model: beta # the usual one"),
        "{}",
        preview.body
    );
    assert!(preview.body["plan"]["text"].as_str().unwrap().contains("`beta`"), "{}", preview.body);
    assert_eq!(api.file(), before);

    let edited = api.merge(first_tag, "", json!({ "model": "beta" })).await;
    assert_eq!((edited.status.as_u16(), revision(&edited)), (200, Some(2)));
    assert!(api.file().contains("model: beta # the usual one"), "comments stay");
    let late = api.merge(first_tag, "", json!({ "model": "wide" })).await;
    assert_eq!(code(&late), (412, "conflict", false));
    assert_eq!((&late.body["fields"], &late.body["current"]["model"]), (&json!(["/model"]), &json!("beta")));
    assert_eq!(late.body["clashing"], json!(["/model"]));
    let other = api.merge(first_tag, "", json!({ "models": { "alpha": null } })).await;
    assert_eq!(code(&other), (412, "conflict", false), "nobody has seen both");
    assert_eq!((&other.body["fields"], &other.body["clashing"]), (&json!(["/model"]), &json!([])));
    // What a proxy makes of a tag, and one of several, name the text just as well.
    let tag = edited.tag.clone().unwrap();
    let weak = format!("\"9-0123456789abcdef\", W/{}-gzip\"", tag.trim_end_matches('"'));
    let third = api.merge(Some(&weak), "", json!({ "model": "alpha" })).await;
    assert_eq!((third.status.as_u16(), revision(&third)), (200, Some(3)), "{}", third.body);
    // A tag of before they said what the text holds is that of another text, and the answer brings the one of now.
    let old = api.merge(Some("\"3\""), "", json!({ "model": "wide" })).await;
    assert_eq!(code(&old), (412, "conflict", false));
    assert_eq!(old.tag, third.tag);
    for wrong in ["1", "W/1", "\"x\"", "\"\"", ""] {
        assert_eq!(
            code(&api.merge(Some(wrong), "", json!({})).await),
            (400, "invalid_request", false),
            "{wrong}"
        );
    }

    let patch = |base: &Answer, kind: &str, body: &str| {
        let base = base.tag.clone().unwrap();
        let request = api.request(Method::PATCH, "/api/v1/desired").header("if-match", base);
        request.header("content-type", kind.to_owned()).body(body.to_owned())
    };
    let operations = r#"[{ "op": "test", "path": "/model", "value": "alpha" }, { "op": "replace", "path": "/model", "value": "none" }]"#;
    let json_patch = "application/json-patch+json";
    let fourth = api.send(patch(&third, json_patch, operations)).await;
    assert_eq!(revision(&fourth), Some(4));
    assert_eq!(code(&api.send(patch(&third, json_patch, "[]")).await).1, "conflict", "revision 3 is gone");
    for (kind, body, expected) in [
        ("application/json", "{}", (415, "unsupported_type", false)),
        (json_patch, "[", (400, "invalid_request", false)),
        (json_patch, "{}", (422, "not_a_patch", false)),
        (json_patch, r#"[{ "op": "remove", "path": "/nothing" }]"#, (422, "does_not_fit", false)),
        ("application/merge-patch+json", r#"{ "model": "nobody" }"#, (422, "invalid", false)),
    ] {
        let request = patch(&fourth, kind, body);
        assert_eq!(code(&api.send(request).await), expected, "{kind} {body}");
    }
}

/// If this failed, whoever asks what is would wait for a Spark that does not answer.
#[tokio::test]
async fn what_is_known_is_told_while_a_silent_spark_is_waited_for() {
    let api = Api::new("model: alpha").await;
    api.cluster.sim.fault("spark2", Fault::Silent, Duration::from_secs(600)).unwrap();
    let controller = api.controller.clone();
    let looking =
        tokio::spawn(async move { controller.decide(RoundMode::Preview).await.map(|(turn, _)| turn) });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let status = api.get("/api/v1/status").await;
    assert_eq!(status.body["objects"][0]["object"], "vllm", "{}", status.body);
    assert!(!looking.is_finished(), "the Spark is still waited for");
    looking.await.unwrap().unwrap();
    assert_eq!(api.get("/api/v1/status").await.body["sparks"][1]["reachable"], false);
}

/// If this failed, a client would wait for as long as the disk of the file hangs, or be told that nothing happened.
#[tokio::test]
async fn an_edit_that_does_not_end_is_said_to_be_open() {
    let api = Api::new("model: alpha").await;
    let folder = std::fs::File::open(api.cluster.folder()).unwrap();
    rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let request =
        EditRequest::local(None, RequestedChange::Merge(json!({ "model": "beta" })), "alice".into());
    let limit = Duration::from_millis(200);
    let late = desired::edited_within(limit, &api.controller, request).await.unwrap_err();
    assert!(matches!(late, NotEdited::Late(_)), "{late}");
    assert_eq!(Problem::from(late).code.row().name, "edit_late");
    drop(folder);
    // It goes on: what it wrote is in force when it ends.
    let written = async {
        while !api.file().contains("model: beta") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), written).await.expect("it ends");
}

#[tokio::test]
async fn a_file_is_put_whole_and_put_back() {
    let api = Api::new("model: alpha").await;
    let first = api.file();
    let first_tag = api.get("/api/v1/desired").await.tag.unwrap();
    let put = |base: &str, kind: &str, text: String| {
        api.request(Method::PUT, "/api/v1/desired")
            .header("if-match", base.to_owned())
            .header("content-type", kind.to_owned())
            .body(text)
    };
    let second = first.replace("model: alpha", "model: beta");
    let edited = api.send(put(&first_tag, "application/yaml", second.clone())).await;
    assert_eq!((edited.status.as_u16(), revision(&edited)), (200, Some(2)));
    let tag = edited.tag.clone().unwrap();
    assert_eq!(api.file(), second);
    assert_eq!(
        code(&api.send(put(&tag, "text/plain", first.clone())).await),
        (415, "unsupported_type", false)
    );
    assert_eq!(
        code(&api.send(put(&tag, "application/yaml", "model: [".into())).await),
        (422, "invalid", false)
    );
    let large = "#".repeat((1 << 20) + 1);
    assert_eq!(code(&api.send(put(&tag, "application/yaml", large)).await), (413, "too_large", false));

    let history = api.get("/api/v1/desired/history").await.body;
    let numbers: Vec<&Value> =
        history["revisions"].as_array().unwrap().iter().map(|one| &one["revision"]).collect();
    assert_eq!(numbers, [&json!(2), &json!(1)]);
    assert_eq!(api.get("/api/v1/desired/1").await.body, Value::String(first.clone()));
    assert_eq!(code(&api.get("/api/v1/desired/9").await), (404, "no_such_revision", false));
    assert_eq!(code(&api.get("/api/v1/desired/x").await), (400, "invalid_request", false));
    let revert = api.request(Method::POST, "/api/v1/desired/revert/1").header("if-match", tag);
    assert_eq!(revision(&api.send(revert).await), Some(3), "a step forward");
    assert_eq!(api.file(), first);
}

/// If this failed, a program that knows the original would start something, or be told that it did.
#[tokio::test]
async fn a_swap_is_an_edit_and_says_when_it_waits() {
    let api = Api::new("model: alpha\nholds: { talk: { owner: bob, reason: a talk } }").await;
    for _ in 0..80 {
        api.controller.round(RoundMode::Act).await.unwrap();
        api.cluster.skip(std::time::Duration::from_secs(3));
    }
    let swap = |model: &str| api.request(Method::POST, "/api/swap").json(&json!({ "model": model }));
    let before = api.file();
    let held = api.send(swap("beta")).await;
    assert_eq!(code(&held), (423, "held", false));
    assert_eq!(api.file(), before, "nothing is written");

    let released = api.send(api.request(Method::DELETE, "/api/v1/holds/talk?owner=bob")).await;
    assert_eq!(released.status, 200);
    assert_eq!(
        code(&api.send(api.request(Method::DELETE, "/api/v1/holds/talk?owner=bob")).await),
        (404, "no_such_hold", false)
    );
    let done = api.send(swap("beta")).await;
    assert_eq!((done.status.as_u16(), &done.body["revision"]), (202, &json!(3)));
    assert!(done.body["plan"]["text"].as_str().unwrap().contains("swap `alpha` for `beta`"), "{}", done.body);
    assert_eq!(code(&api.send(swap("nobody")).await), (422, "invalid", false));
    let extra = api.request(Method::POST, "/api/swap").json(&json!({ "model": "beta", "force": true }));
    assert_eq!(code(&api.send(extra).await), (400, "invalid_request", false));

    let hold = json!({ "owner": "alice", "reason": "evaluation", "until": "2036-01-01T00:00:00Z" });
    let put = api.request(Method::PUT, "/api/v1/holds/eval").json(&hold);
    assert_eq!(api.send(put).await.status, 200);
    assert!(api.file().contains("eval"), "{}", api.file());
}

#[tokio::test]
async fn a_swap_that_waits_for_approval_is_written_and_agreed_to_by_its_plan() {
    let api = Api::new("model: alpha\nreconcile: { on_edit: approve }").await;
    let swap = api.request(Method::POST, "/api/swap").json(&json!({ "model": "beta" }));
    let waits = api.send(swap).await;
    assert_eq!(code(&waits), (409, "approval_needed", true));
    // At once: nobody need look first.
    let id = waits.body["plan"].as_str().unwrap().to_owned();
    let shown = api.get(&format!("/api/v1/plans/{id}")).await;
    assert_eq!((shown.status.as_u16(), &shown.body["changed"]), (200, &json!([])));
    let approve = |id: &str| api.request(Method::POST, &format!("/api/v1/plans/{id}/approve"));
    assert_eq!(api.send(approve(&id)).await.status, 204);
    assert_eq!(code(&api.send(approve("nothing")).await), (404, "no_such_plan", false));
    api.cluster.edit(&api.file().replace("model: beta", "model: wide"));
    api.controller.round(RoundMode::Act).await.unwrap();
    let stale = api.send(approve(&id)).await;
    assert_eq!(code(&stale), (409, "stale", false));
    assert_eq!(stale.body["changed"], json!(["`vllm` is to hold something else by now"]));
    assert_eq!(api.get(&format!("/api/v1/plans/{id}")).await.body["changed"], stale.body["changed"]);
}

#[tokio::test]
async fn what_is_seen_is_told_with_its_age() {
    let api = Api::new(
        "model: alpha\nservices: { kokoro: { kind: tts, spark: spark2, port: 8880, container: kokoro } }\n\
         schedule: { night: { from: '01:00', to: '02:00', model: beta } }",
    )
    .await;
    let status = api.get("/api/v1/status").await.body;
    assert_eq!((&status["revision"], &status["round"]), (&json!(1), &json!(1)));
    assert_eq!(status["objects"][0]["object"], "vllm");
    assert_eq!(
        (&status["sparks"][0]["name"], &status["sparks"][0]["reachable"]),
        (&json!("spark1"), &json!(true))
    );
    assert!(status["sparks"][0]["seen_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{status}");
    assert_eq!(api.get("/api/v1/drift").await.body["drift"][0]["object"], "vllm");
    assert_eq!(api.get("/api/v1/sparks/spark2").await.body["name"], "spark2");
    assert_eq!(code(&api.get("/api/v1/sparks/spark9").await), (404, "no_such_spark", false));
    let models = api.get("/api/v1/models").await.body;
    assert_eq!(
        (&models["models"][0]["source"], &models["models"][0]["wanted_in"]),
        (&json!("lab/alpha"), &json!(["vllm"]))
    );
    let services = api.get("/api/v1/services").await.body;
    assert_eq!(
        (&services["services"][0]["kind"], &services["services"][0]["state"]),
        (&json!("tts"), &Value::Null)
    );
    let endpoints = api.get("/api/endpoints").await.body;
    let addresses: Vec<&Value> =
        endpoints["endpoints"].as_array().unwrap().iter().map(|one| &one["address"]).collect();
    assert_eq!(addresses, [&json!("http://192.0.2.1:8888"), &json!("http://192.0.2.2:8880")]);
    let schedule = api.get("/api/v1/schedule").await.body;
    assert_eq!(schedule["turns"].as_array().unwrap().len(), 28, "{schedule}");
    let history = api.get("/api/v1/history?last=1").await.body;
    assert_eq!(history["events"].as_array().unwrap().len(), 1);
    assert_eq!(code(&api.get("/api/v1/history?last=x").await), (400, "invalid_request", false));
    let reconcile = api.send(api.request(Method::POST, "/api/v1/reconcile")).await;
    assert_eq!((reconcile.status.as_u16(), &reconcile.body["round"]), (202, &json!(2)));
    assert_eq!(code(&api.get("/api/v1/nothing").await), (404, "not_found", false));
    let wrong = api.send(api.request(Method::DELETE, "/api/v1/status")).await;
    assert_eq!(code(&wrong), (405, "method_not_allowed", false));
}

/// If this failed, a page of another site could change the file through its visitor's browser.
#[tokio::test]
async fn other_sites_and_other_names_are_refused() {
    let api = Api::new("model: alpha").await;
    let swap = || api.request(Method::POST, "/api/swap").json(&json!({ "model": "beta" }));
    let before = api.file();
    for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        assert_eq!(code(&api.send(swap().header(name, value)).await), (403, "cross_origin", false));
    }
    assert_eq!(code(&api.send(swap().header("host", "evil.example")).await), (403, "untrusted_host", false));
    let read = api.request(Method::GET, "/api/v1/desired").header("host", "evil.example");
    assert_eq!(code(&api.send(read).await), (403, "untrusted_host", false));
    assert_eq!(api.file(), before);
    let allowed = api.request(Method::GET, "/api/v1/desired").header("host", "spark.example");
    assert_eq!(api.send(allowed).await.status, 200);
    assert_eq!(api.send(swap().header("sec-fetch-site", "same-origin")).await.status, 202);
    // No other site may read an answer, and none is told that it might.
    let headers = |request: RequestBuilder| async {
        let response = request.header("origin", "https://elsewhere.example").send().await.unwrap();
        let cors = response.headers().keys().any(|name| name.as_str().starts_with("access-control-"));
        (response.status().as_u16(), cors)
    };
    assert_eq!(headers(api.request(Method::GET, "/api/v1/status")).await, (200, false));
    let asks =
        api.request(Method::OPTIONS, "/api/v1/desired").header("access-control-request-method", "PATCH");
    assert_eq!(headers(asks).await, (405, false));
}

/// If this failed, a page would show what was, or miss what happened while it was away.
#[tokio::test]
async fn events_are_told_as_they_happen_and_again_to_who_was_away() {
    let api = Api::new("model: alpha").await;
    let open = |last: Option<&str>| {
        let request = api.request(Method::GET, "/api/v1/events");
        match last {
            Some(last) => request.header("last-event-id", last.to_owned()),
            None => request,
        }
    };
    let mut stream = open(None).send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut seen = String::new();
    async fn read(stream: &mut reqwest::Response, seen: &mut String, until: &str) {
        while !seen.contains(until) {
            let chunk = tokio::time::timeout(std::time::Duration::from_secs(20), stream.chunk()).await;
            *seen += std::str::from_utf8(&chunk.unwrap().unwrap().unwrap()).unwrap();
        }
    }
    read(&mut stream, &mut seen, "\n\n").await;
    assert!(
        seen.starts_with("event: seen\n") && seen.contains("\"round\":1"),
        "what was before is not told: {seen}"
    );
    api.cluster.wish("beta");
    api.controller.round(RoundMode::Preview).await.unwrap();
    read(&mut stream, &mut seen, "\"round\":2").await;
    api.controller.round(RoundMode::Act).await.unwrap();
    read(&mut stream, &mut seen, "revision 2 is in force").await;
    let line = seen.lines().position(|line| line.contains("revision 2 is in force")).unwrap();
    let told: Vec<&str> = seen.lines().collect();
    let number =
        told[line - 2..=line + 1].iter().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();

    let before: i64 = number.parse::<i64>().unwrap() - 1;
    let mut again = open(Some(&before.to_string())).send().await.unwrap();
    let mut missed = String::new();
    read(&mut again, &mut missed, "event: seen").await;
    assert!(
        missed.contains("revision 2 is in force") && !missed.contains("revision 1 is in force"),
        "{missed}"
    );
    assert_eq!(code(&api.send(open(Some("x"))).await), (400, "invalid_request", false));
}

/// If this failed, somebody would try again and learn afterwards what it stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_tells_first_what_it_would_stop() {
    let api = Api::new("model: alpha").await;
    api.rounds(30, 10).await;
    let retry = |query: &str| api.request(Method::POST, &format!("/api/v1/retry/vllm{query}"));
    assert_eq!(api.send(retry("")).await.body["work"], json!([]), "nothing failed");
    // The fallback goes on serving after the wanted one has failed for good.
    for _ in 0..3 {
        api.cluster.sim.fault("spark2", Fault::LoadFails, Duration::ZERO).unwrap();
    }
    api.cluster.edit(&api.file().replace("model: alpha", "model: beta\nvllm: { on_failure: fallback }"));
    api.rounds(200, 10).await;
    let status = api.get("/api/v1/status").await.body;
    let slot = &status["objects"][0];
    assert_eq!((&slot["observed"], &slot["reason"]), (&json!("alpha"), &json!("Stalled")), "{slot}");
    let preview = api.send(retry("?dry_run=true")).await.body;
    assert!(preview["work"][0]["outage"]["basis"].is_string(), "{preview}");
    let after = api.get("/api/v1/status").await.body;
    assert_eq!(after["objects"][0]["reason"], "Stalled", "nothing is forgotten");
    assert_eq!(api.send(retry("")).await.body["work"], preview["work"]);
    assert_eq!(code(&api.send(api.request(Method::POST, "/api/v1/retry/nobody")).await).1, "no_such_object");
}

/// If this failed, what monitors ask for would have names that nobody has written down.
#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_in_the_docs_and_has_no_labels_but_names_of_the_file() {
    let api = Api::new("model: alpha").await;
    api.rounds(3, 10).await;
    let metrics = api.get("/metrics").await.body.as_str().unwrap().to_owned();
    let page = std::fs::read_to_string(here("docs/operating.md")).unwrap();
    let told: Vec<&str> = metrics.lines().filter_map(|line| line.strip_prefix("# HELP ")).collect();
    assert!(told.len() > 6, "{metrics}");
    for line in &told {
        let (name, says) = line.split_once(' ').unwrap();
        assert!(
            page.contains(&format!("| `{name}`")) && page.contains(says),
            "docs/operating.md lacks {line}"
        );
    }
    let rows = page.lines().filter(|line| line.starts_with("| `spark_control_")).count();
    assert_eq!(rows, told.len(), "docs/operating.md names a metric that is not there");
    let labels = metrics.lines().filter_map(|line| Some(line.split_once('{')?.1.split_once('}')?.0));
    for label in labels.flat_map(|labels| labels.split(',')) {
        let (name, value) = label.split_once('=').unwrap();
        assert!(["spark", "object", "reason"].contains(&name), "{label}");
        assert!(name == "reason" || ["\"spark1\"", "\"spark2\"", "\"vllm\""].contains(&value), "{label}");
    }
}

/// If this failed, what is checked in for others would not be what the program answers to.
#[test]
fn the_description_of_the_api_is_what_is_checked_in() {
    let document = format!("{:#}\n", api::openapi::document(&api::operations()));
    assert_golden("schema/openapi.v1.json", &document);
}

/// The reference names every address and every error.
#[test]
fn the_api_page_names_every_address_and_every_error() {
    let page = std::fs::read_to_string(here("docs/api.md")).unwrap();
    for operation in api::operations() {
        let route = format!("{} {}`", operation.method, operation.path);
        assert!(page.contains(&route), "docs/api.md does not name {route}");
    }
    for row in &api::problem::TABLE {
        let retry = if row.retryable { "yes" } else { "no" };
        let happened = if row.happened { "yes" } else { "no" };
        let (name, status, title) = (row.name, row.status.as_u16(), row.title);
        let line = format!("| `{name}` | {status} | {retry} | {happened} | {title} |");
        assert!(page.contains(&line), "docs/api.md lacks {line}");
    }
}

/// If this failed, an outage would be told where nobody looked, or none where one was.
#[tokio::test(flavor = "multi_thread")]
async fn connectivity_tells_of_each_outage_and_how_long_it_was() {
    let api = Api::new("model: alpha").await;
    api.rounds(30, 10).await;
    let slot = |body: &Value| {
        let endpoints = body["endpoints"].as_array().unwrap().clone();
        endpoints.into_iter().find(|one| one["object"] == "vllm").unwrap()
    };
    let figures = |one: &Value| (one["outages"].as_u64().unwrap(), one["down_secs"].as_u64().unwrap());
    let before = slot(&api.get("/api/v1/connectivity").await.body);
    assert_eq!(before["spells"].as_array().unwrap().last().unwrap()["link"], "up", "{before}");
    api.cluster.sim.fault("spark1", Fault::ContainersVanish, Duration::ZERO).unwrap();
    api.rounds(30, 10).await;
    let after = slot(&api.get("/api/v1/connectivity").await.body);
    assert_eq!(after["spells"].as_array().unwrap().last().unwrap()["link"], "up", "{after}");
    let ((outages, down), (known, known_down)) = (figures(&after), figures(&before));
    assert_eq!(outages, known + 1, "{after}");
    // It takes two minutes to load, and is missed at once.
    assert!((120..=170).contains(&(down - known_down)), "{after}");
    // After a night in which nobody looked, nothing is made up.
    api.rounds(1, 8 * 3600).await;
    let later = slot(&api.get("/api/v1/connectivity").await.body);
    assert_eq!(figures(&later), figures(&after), "{later}");
    let up = |one: &Value| one["up_percent"].as_f64().unwrap();
    assert!((up(&later) - up(&after)).abs() < 1.0, "{later}");
}

/// If this failed, somebody would read the log of something else, or wait for words that were said already.
#[tokio::test(flavor = "multi_thread")]
async fn logs_are_read_as_json_as_text_and_as_they_are_said() {
    let api = Api::new("model: alpha").await;
    api.cluster.sim.add_service(
        "spark2",
        "kokoro-tts",
        SimulatedService { kind: ServiceKind::Tts, port: 8880 },
    );
    api.rounds(30, 10).await;
    let all = api.get("/api/v1/logs/vllm").await;
    let log = &all.body["logs"][0];
    assert_eq!(log["spark"], "spark1");
    let words = log["text"].as_str().unwrap().to_owned();
    assert!(!words.is_empty());
    let text = api.send(api.request(Method::GET, "/api/v1/logs/vllm").header("accept", "text/plain")).await;
    assert!(text.body.as_str().unwrap().contains(words.lines().last().unwrap()));
    assert_eq!(code(&api.get("/api/v1/logs/nobody").await), (404, "no_such_object", false));
    // The same words by the container that says them, and those of one that nobody's file names.
    let of = |spark: &str, container: &str| format!("/api/v1/sparks/{spark}/containers/{container}/logs");
    let container = log["container"].as_str().unwrap();
    let same = api.get(&of("spark1", container)).await.body;
    assert_eq!(same["logs"][0]["text"], log["text"], "{same}");
    let foreign = api.get(&of("spark2", "kokoro-tts")).await.body;
    assert!(foreign["logs"][0]["text"].is_string(), "{foreign}");
    assert_eq!(code(&api.get(&of("spark9", "vllm_node")).await), (404, "no_such_spark", false));
    let unknown = api.get(&of("spark2", "kokoro")).await;
    assert_eq!(code(&unknown), (404, "no_such_container", false));
    assert!(
        unknown.body["detail"].as_str().unwrap().contains("did you mean `kokoro-tts`?"),
        "{}",
        unknown.body
    );
    let stream = |object: &str| {
        api.request(Method::GET, &format!("/api/v1/logs/{object}")).header("accept", "text/event-stream")
    };
    assert_eq!(code(&api.send(stream("nobody")).await), (404, "no_such_object", false));
    let mut stream = stream("vllm").send().await.unwrap();
    let mut said = String::new();
    while !said.contains("\n\n") {
        said += std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap();
    }
    assert!(said.starts_with("event: lines\n") && said.contains("spark1"), "{said}");
    assert!(said.contains("\"errors\":[]"), "{said}");
    // What cannot be read is no silence.
    api.cluster.sim.fault("spark1", Fault::Silent, Duration::from_secs(5)).unwrap();
    while !said.contains("\"error\":\"") {
        said += std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap();
    }
    api.cluster.skip(Duration::from_secs(6));
    // What is stopped is saved first.
    api.merge(Some("*"), "", json!({ "model": "none" })).await;
    api.rounds(30, 10).await;
    let saved = api.get("/api/v1/logs/vllm?saved=true").await;
    assert!(saved.body["logs"][0]["text"].as_str().unwrap().contains(words.lines().last().unwrap()));
    assert_eq!(code(&api.get("/api/v1/logs/vllm?saved=maybe").await), (400, "invalid_request", false));
    let figures = api.get("/api/v1/figures").await.body;
    assert!(figures["memory"]["spark1"].as_array().unwrap().len() > 2, "{figures}");
    assert_eq!(figures["loads"]["alpha"].as_array().map(Vec::len), Some(1), "{figures}");
}

/// If this failed, whoever asks where a model is served would be sent to a port on which nothing listens.
#[tokio::test]
async fn an_endpoint_is_told_with_the_port_of_its_model() {
    let api = Api::new("model: none").await;
    let own = json!({ "models": { "alpha": { "port": 8890 } }, "model": "alpha" });
    let edited = api.merge(Some("*"), "", own).await;
    assert_eq!(edited.status, 200, "{}", edited.body);
    for _ in 0..80 {
        api.controller.round(RoundMode::Act).await.unwrap();
        api.cluster.skip(std::time::Duration::from_secs(3));
    }
    let told = api.get("/api/endpoints").await;
    let main = told.body["endpoints"].as_array().unwrap().iter().find(|one| one["object"] == "vllm").unwrap();
    assert!(main["address"].as_str().unwrap().ends_with(":8890"), "{main}");
    assert_eq!(main["health"], "Healthy", "{main}");
}

/// If this failed, a proxy that gathers answers would show a page that stands still.
#[tokio::test]
async fn a_proxy_is_told_to_pass_on_what_comes() {
    let api = Api::new("model: none").await;
    let events = api.request(Method::GET, "/api/v1/events").send().await.unwrap();
    assert_eq!(events.headers()["x-accel-buffering"], "no");
    let status = api.request(Method::GET, "/api/v1/status").send().await.unwrap();
    assert_eq!(status.headers()["x-content-type-options"], "nosniff");
    assert_eq!(status.headers()["cache-control"], "no-store");
}

/// If this failed, a file that cannot be read could be repaired from no face but an editor.
#[tokio::test]
async fn a_broken_file_is_repaired_by_its_text_or_by_an_older_one() {
    let api = Api::new("model: alpha").await;
    let whole = api.file();
    for (broken, is_yaml) in [("model: [", false), ("model: alpha\nsparks: 3\n", true)] {
        std::fs::write(&api.controller.places.file, broken).unwrap();
        api.controller.round(RoundMode::Act).await.unwrap();
        let yaml = || api.request(Method::GET, "/api/v1/desired").header("accept", "application/yaml");
        let seen = api.send(yaml()).await;
        assert_eq!(seen.body, Value::String(broken.into()));
        let tag = seen.tag.unwrap();
        let merge = api.merge(Some(&tag), "", json!({ "model": "beta" })).await;
        assert_eq!(code(&merge), (409, "file_invalid", false), "{is_yaml}");
        let put = api
            .request(Method::PUT, "/api/v1/desired")
            .header("if-match", &tag)
            .header("content-type", "application/yaml")
            .body(whole.clone());
        let put = api.send(put).await;
        assert_eq!(put.status, 200, "{}", put.body);
        assert_eq!(api.file(), whole);

        std::fs::write(&api.controller.places.file, broken).unwrap();
        let tag = api.send(yaml()).await.tag.unwrap();
        let revert = api.request(Method::POST, "/api/v1/desired/revert/1").header("if-match", &tag);
        let revert = api.send(revert).await;
        assert_eq!(revert.status, 200, "{}", revert.body);
        assert_eq!(api.file(), whole);
    }
}
