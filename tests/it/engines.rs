//! Docker Engines from 20.10 to the newest, as far as they are asked: the answers of each, over a real Unix socket.
//!
//! The shapes are those of the Engine API's versions 1.41, 1.44 and 1.52, cut to what differs between them: fields that come
//! and go, lists that are null, and what an Engine says to a version that it does not speak.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, http::HeaderMap, http::StatusCode, http::Uri, response::IntoResponse};
use futures_util::StreamExt;
use serde_json::{Value, json};
use spark_control::{
    core::model::id::RestartPolicyName,
    docker,
    host::{Transport, Unreachable, local::LocalTransport},
};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(5);

/// One Engine: the newest version that it speaks, the oldest, and its answers.
struct Recorded {
    speaks: &'static str,
    oldest: &'static str,
    listed: Value,
    inspected: Value,
    image: Value,
}

fn recorded() -> Vec<Recorded> {
    let id = "4f".repeat(32);
    let old = json!({
        "Id": id, "Names": ["/other/alias", "/vllm_node"], "Image": "vllm-node", "ImageID": "sha256:aa", "Command": "sleep infinity",
        "Created": 1_700_000_000, "Ports": [{ "IP": "0.0.0.0", "PrivatePort": 8000, "PublicPort": 8000, "Type": "tcp" }],
        "Labels": { "spark-control.cluster": "home", "spark-control.object": "vllm", "spark-control.spec": "v1-00" },
        "State": "running", "Status": "Up 2 hours", "HostConfig": { "NetworkMode": "host" }, "NetworkSettings": {}, "Mounts": [],
    });
    let mut newer = old.clone();
    newer["ImageManifestDescriptor"] =
        json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1 });
    newer["Health"] = json!({ "Status": "none", "FailingStreak": 0 });
    newer["Ports"] = Value::Null;
    newer["Names"] = json!(["/vllm_node"]);
    let mut bare = newer.clone();
    bare["Labels"] = Value::Null;
    let state = json!({
        "Status": "running", "Running": true, "ExitCode": 0, "StartedAt": "2026-11-24T12:00:00.123456789Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    });
    let inspected = json!({
        "Id": id, "State": state, "RestartCount": 2, "HostConfig": { "RestartPolicy": { "Name": "unless-stopped", "MaximumRetryCount": 0 } },
    });
    let without_policy = json!({ "Id": id, "State": state, "HostConfig": null, "Storage": { "RootFS": {} } });
    let image =
        json!({ "Id": "sha256:aa", "RepoTags": ["vllm-node:latest"], "VirtualSize": 1, "GraphDriver": {} });
    let bare_image = json!({ "Id": "sha256:aa", "Descriptor": {}, "RepoTags": null });
    vec![
        Recorded {
            speaks: "1.41",
            oldest: "1.12",
            listed: old,
            inspected: inspected.clone(),
            image: image.clone(),
        },
        Recorded { speaks: "1.44", oldest: "1.24", listed: newer, inspected, image },
        Recorded {
            speaks: "1.52",
            oldest: "1.44",
            listed: bare,
            inspected: without_policy,
            image: bare_image,
        },
    ]
}

struct Engine {
    answers: Recorded,
    asked: Mutex<Vec<String>>,
}

fn number(version: &str) -> (u32, u32) {
    let (major, minor) = version.split_once('.').unwrap();
    (major.parse().unwrap(), minor.parse().unwrap())
}

async fn answer(State(engine): State<Arc<Engine>>, uri: Uri) -> impl IntoResponse {
    let Recorded { speaks, oldest, listed, inspected, image } = &engine.answers;
    let asked = uri.to_string();
    engine.asked.lock().unwrap().push(asked.clone());
    let mut headers = HeaderMap::new();
    headers.insert("api-version", speaks.parse().unwrap());
    if asked == "/_ping" {
        return (StatusCode::OK, headers, b"OK".to_vec());
    }
    let failure = |message: String| json!({ "message": message }).to_string().into_bytes();
    let version = asked.strip_prefix("/v").and_then(|rest| rest.split_once('/'));
    let Some((version, route)) = version else {
        // Paths without a version are deprecated; a test that sends one is wrong.
        return (StatusCode::BAD_REQUEST, headers, failure("a path without its version".into()));
    };
    if number(version) < number(oldest) || number(version) > number(speaks) {
        let message =
            format!("client version {version} is not supported; minimum {oldest}, maximum {speaks}");
        return (StatusCode::BAD_REQUEST, headers, failure(message));
    }
    let body = match route.split('?').next().unwrap().split('/').collect::<Vec<_>>()[..] {
        ["containers", "json"] => json!([listed]).to_string().into_bytes(),
        ["containers", _, "json"] => inspected.to_string().into_bytes(),
        ["containers", _, "top"] => {
            json!({ "Titles": ["PID", "RSS", "COMMAND"], "Processes": [["7", "2048", "vllm serve lab/a"]] })
                .to_string()
                .into_bytes()
        }
        // As Docker answers of containers whose driver writes where it cannot read.
        ["containers", _, "logs"] if inspected["HostConfig"]["LogConfig"]["Type"] == "none" => {
            let message = "configured logging driver does not support reading".to_owned();
            return (StatusCode::NOT_IMPLEMENTED, headers, failure(message));
        }
        ["containers", _, "logs"] => [&[1, 0, 0, 0, 0, 0, 0, 3][..], b"hi\n"].concat(),
        ["images", "vllm-node", "json"] => image.to_string().into_bytes(),
        // As Docker 20.10 and 29 wrote them when a container was removed by force, cut to what is read.
        ["events"] if route.contains("since=0") && route.contains(&"4f".repeat(32)) => {
            let event = |action: &str, attributes: Value| {
                json!({ "status": action, "Type": "container", "Action": action, "scope": "local", "time": 1_700_000_000,
                        "Actor": { "ID": "4f".repeat(32), "Attributes": attributes } })
            };
            let events = [
                event("kill", json!({ "image": "vllm-node", "name": "vllm_node", "signal": "9" })),
                event("die", json!({ "execDuration": "3", "exitCode": "137", "image": "vllm-node" })),
            ];
            events.iter().map(|event| format!("{event}\n")).collect::<String>().into_bytes()
        }
        ["events"] => b"{\"Type\":\"container\",\"Action\":\"die\"}\n".to_vec(),
        _ => return (StatusCode::NOT_FOUND, headers, failure("no such thing".into())),
    };
    (StatusCode::OK, headers, body)
}

struct Served {
    engine: Arc<Engine>,
    way: LocalTransport,
    _folder: TempDir,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn serve(answers: Recorded) -> Served {
    let folder = TempDir::new().unwrap();
    let socket: PathBuf = folder.path().join("docker.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let engine = Arc::new(Engine { answers, asked: Mutex::default() });
    let router = Router::new().fallback(answer).with_state(engine.clone());
    let server = tokio::spawn(axum::serve(listener, router).into_future());
    Served { engine, way: LocalTransport::new(&socket), _folder: folder, server }
}

/// If this failed, an Engine that is much older or newer than those here could not be read, or be read wrongly.
#[tokio::test]
async fn engines_of_every_age_are_read() {
    for answers in recorded() {
        let speaks = answers.speaks;
        let labelled = !answers.listed["Labels"].is_null();
        let restarts = answers.inspected["HostConfig"].is_object();
        let served = serve(answers);
        let way: &dyn Transport = &served.way;
        let containers = docker::containers(way, &|_| true, LIMIT).await.unwrap();
        let container = &containers[0];
        assert_eq!((containers.len(), container.name.as_str()), (1, "vllm_node"), "{speaks}");
        assert!(container.running && container.engine_alive() == Some(true), "{speaks}");
        assert_eq!(container.processes.as_ref().unwrap()[0].resident_bytes, 2 << 20, "{speaks}");
        assert_eq!(container.image_id, "sha256:aa");
        assert_eq!(container.labels.is_some(), labelled, "{speaks}");
        assert_eq!(
            container.restarts.as_ref().map(RestartPolicyName::as_str),
            restarts.then_some("unless-stopped"),
            "{speaks}"
        );
        assert!(container.started_at.is_some(), "{speaks}");
        let image = docker::image(way, "vllm-node", LIMIT).await.unwrap().unwrap();
        assert_eq!(image.id, "sha256:aa");
        assert_eq!(docker::image(way, "gone", LIMIT).await.unwrap(), None);
        assert_eq!(docker::logs(way, &container.id, 10, LIMIT).await.unwrap(), "hi\n");
        let mut events = docker::events(way, LIMIT).await.unwrap();
        assert!(events.next().await.unwrap().is_ok());
        let asked = served.engine.asked.lock().unwrap();
        let (first, rest) = asked.split_first().unwrap();
        assert_eq!(first, "/_ping");
        assert!(rest.iter().all(|path| path.starts_with(&format!("/v{speaks}/"))), "{asked:?}");
    }
}

/// An Engine that was upgraded while this runs does not speak the old version any more: it is asked again.
#[tokio::test]
async fn an_engine_that_was_replaced_is_asked_for_its_version_again() {
    let mut all = recorded();
    let newest = all.pop().unwrap();
    let served = serve(all.remove(0));
    let way: &dyn Transport = &served.way;
    docker::containers(way, &|_| false, LIMIT).await.unwrap();
    // The same socket, another Engine behind it.
    let socket = served._folder.path().join("docker.sock");
    served.server.abort();
    std::fs::remove_file(&socket).unwrap();
    let engine = Arc::new(Engine { answers: newest, asked: Mutex::default() });
    let router = Router::new().fallback(answer).with_state(engine.clone());
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let server = tokio::spawn(axum::serve(listener, router).into_future());
    let again = docker::containers(way, &|_| false, LIMIT).await;
    assert!(again.is_ok(), "{again:?}");
    server.abort();
}

/// If this failed, an owner would be told that a container is gone, and never that somebody took it away.
#[tokio::test]
async fn how_a_container_ended_that_is_gone_is_remembered_by_its_engine() {
    let served = serve(recorded().remove(0));
    let end = docker::end_of(&served.way, &"4f".repeat(32).into(), LIMIT).await.unwrap().unwrap();
    assert_eq!((end.exit_code, end.is_out_of_memory, end.told_signal), (Some(137), false, Some(9)));
    assert_eq!(end.to_string(), "somebody told Docker to end it (signal 9)");
    let unknown = docker::end_of(&served.way, &"aa".repeat(32).into(), LIMIT).await.unwrap();
    assert_eq!(unknown, None);
}

/// If this failed, an owner would read "answered 501" in place of what to change.
#[tokio::test]
async fn why_a_log_cannot_be_read_is_told_in_docker_s_words() {
    let mut answers = recorded().remove(0);
    answers.inspected["HostConfig"]["LogConfig"] = json!({ "Type": "none", "Config": {} });
    let served = serve(answers);
    let container = docker::containers(&served.way, &|_| true, LIMIT).await.unwrap().remove(0);
    let refused = docker::logs(&served.way, &container.id, 10, LIMIT).await.unwrap_err();
    let why = refused.to_string();
    assert!(why.contains("configured logging driver does not support reading"), "{why}");
}

/// Something else behind the socket says so.
#[tokio::test]
async fn what_is_no_engine_is_no_empty_engine() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("docker.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let router = Router::new().fallback(|| async { "hello" });
    let server = tokio::spawn(axum::serve(listener, router).into_future());
    let way = LocalTransport::new(&socket);
    let refused = docker::containers(&way, &|_| true, LIMIT).await.unwrap_err();
    assert!(
        matches!(&refused, Unreachable::Engine(why) if why.contains("is this a Docker Engine")),
        "{refused}"
    );
    server.abort();
}

/// If this failed, one odd container of one Spark would end the look at all of them, or a name of a mebibyte reach the status.
#[tokio::test]
async fn what_an_engine_says_of_its_containers_is_checked() {
    let long = "x".repeat(1 << 20);
    for odd in ["abc def", "", "../../images", &long] {
        let mut answers = recorded().remove(0);
        answers.listed["Id"] = json!(odd);
        let served = serve(answers);
        let refused = docker::containers(&served.way, &|_| true, LIMIT).await.unwrap_err();
        assert!(
            matches!(&refused, Unreachable::Engine(why) if why.contains("which is none") && why.len() < 2000),
            "{}",
            refused.to_string().len()
        );
    }
    let mut answers = recorded().remove(0);
    answers.listed["Names"] = json!([format!("/{long}")]);
    answers.listed["Image"] = json!(long);
    answers.listed["ImageID"] = json!(long);
    answers.listed["Labels"][&long] = json!("1");
    answers.listed["Labels"]["spark-control.cluster"] = json!(long);
    let served = serve(answers);
    let container = docker::containers(&served.way, &|_| true, LIMIT).await.unwrap().remove(0);
    let size = serde_json::to_string(&container).unwrap().len();
    assert!(size < 8000, "{size} bytes");
}
