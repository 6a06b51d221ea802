//! `scripts/release`: what it writes for a version, and how it publishes to a forge, which here is a small one of our own.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Output,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path as UrlPath, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, patch, post},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{environment::command, golden::here};

const TOKEN: &str = "0123456789abcdef-token";
const TOUCHED: [&str; 5] = [
    "CHANGELOG.md",
    "Cargo.toml",
    "Cargo.lock",
    "package/startos/versions/current.ts",
    "package/release-notes.json",
];

/// A tree with what a release touches, under git.
fn tree() -> TempDir {
    let tree = TempDir::new().unwrap();
    for path in TOUCHED {
        let to = tree.path().join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(here(path), to).unwrap();
    }
    git(tree.path(), &["init", "--quiet"]);
    commit(tree.path());
    tree
}

fn git(tree: &Path, words: &[&str]) {
    let who = ["-c", "user.name=Alice", "-c", "user.email=alice@example.com"];
    let done = command("git", tree).current_dir(tree).args(who).args(words).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn commit(tree: &Path) {
    git(tree, &["add", "--all"]);
    git(tree, &["commit", "--quiet", "--allow-empty", "--message", "x"]);
}

fn release(tree: &Path, words: &[&str], forge: Option<&str>) -> Output {
    let mut command = command("python3", tree);
    command.arg(here("scripts/release")).args(words).env("SPARK_CONTROL_TREE", tree);
    command.env("CARGO_TARGET_DIR", tree.join("target")).env("SPARK_CONTROL_RETRY_SECS", "0.01");
    if let Some(forge) = forge {
        command.env("GITEA_URL", forge).env("GITEA_REPO", "alice/spark-control").env("GITEA_TOKEN", TOKEN);
    }
    let done = command.output().unwrap();
    let said = [&done.stdout[..], &done.stderr].concat();
    assert!(!String::from_utf8_lossy(&said).contains(TOKEN), "the token was printed");
    done
}

fn told(done: &Output) -> String {
    String::from_utf8_lossy(&done.stderr).into_owned()
}

fn written(tree: &Path) -> String {
    TOUCHED.map(|path| fs::read_to_string(tree.join(path)).unwrap()).concat()
}

/// If this failed, a release would have two versions, or a package would tell of another one's news.
#[test]
fn a_version_is_written_everywhere_or_nowhere() {
    let tree = tree();
    let tree = tree.path();
    let before = written(tree);
    let notes = |version: &str, polish: &str| {
        let text = json!({ "version": version, "notes": {
            "en_US": "What’s new: it's \"better\".", "es_ES": "Nuevo.", "de_DE": "Neu: alles, was in eine Zeile nicht passt, steht in einer eigenen, wie überall.", "pl_PL": polish, "fr_FR": "C'est mieux."
        }});
        fs::write(tree.join("package/release-notes.json"), text.to_string()).unwrap();
    };
    for (version, why) in [
        ("0.2", "is not a version"),
        ("v0.2.0", "is not a version"),
        ("0.2.0; reboot", "is not a version"),
        ("0.0.9", "is older than"),
        ("7.0.0", "release-notes.json is for"),
    ] {
        let refused = release(tree, &["bump", version], None);
        assert_eq!(refused.status.code(), Some(1));
        assert!(told(&refused).contains(why), "{version}: {}", told(&refused));
        assert_eq!(written(tree), before);
    }
    notes("7.0.0", "");
    let refused = release(tree, &["bump", "7.0.0"], None);
    assert!(told(&refused).contains("not committed"), "{}", told(&refused));
    commit(tree);
    let refused = release(tree, &["bump", "7.0.0"], None);
    assert!(told(&refused).contains("says nothing in pl_PL"), "{}", told(&refused));
    notes("7.0.0", "Nowe.");
    commit(tree);

    let bumped = release(tree, &["bump", "7.0.0"], None);
    assert!(bumped.status.success(), "{}", told(&bumped));
    let text = |path: &str| fs::read_to_string(tree.join(path)).unwrap();
    assert!(text("Cargo.toml").contains("\nversion = \"7.0.0\"\n"));
    assert!(text("Cargo.lock").contains("name = \"spark-control\"\nversion = \"7.0.0\"\n"));
    let current = text("package/startos/versions/current.ts");
    for part in ["version: '7.0.0:0',", "pl_PL: 'Nowe.',", "fr_FR: \"C'est mieux.\",", r#"it\'s "better".',"#]
    {
        assert!(current.contains(part), "{part}\n{current}");
    }
    assert!(current.contains("    de_DE:\n      'Neu: alles"), "{current}");
    assert!(current.contains("migrations:"), "the rest is as it was");
    let changes = text("CHANGELOG.md");
    assert!(changes.contains("\n## 7.0.0 (20") && !changes.contains("(unreleased)"), "{changes}");
    commit(tree);
    git(tree, &["tag", "v7.0.0"]);
    let again = release(tree, &["bump", "7.0.0"], None);
    assert!(told(&again).contains("there is a tag v7.0.0 already"), "{}", told(&again));
}

/// A forge, as far as a release needs one.
#[derive(Default)]
struct Forge {
    releases: Vec<Value>,
    /// By the name of the asset.
    assets: BTreeMap<String, Vec<u8>>,
    /// How many uploads fail before one does not.
    fails: u32,
    /// The next upload loses its end.
    tears: bool,
    asked: Vec<String>,
}

type Shared = Arc<Mutex<Forge>>;

fn is_allowed(headers: &HeaderMap) -> bool {
    headers.get("authorization").is_some_and(|value| *value == format!("token {TOKEN}"))
}

/// Of an asset, as long as it is there.
fn id_of(name: &str) -> usize {
    name.bytes().map(usize::from).sum()
}

fn assets(forge: &Forge) -> Value {
    let asset =
        |(name, bytes): (&String, &Vec<u8>)| json!({ "id": id_of(name), "name": name, "size": bytes.len() });
    forge.assets.iter().map(asset).collect()
}

/// A forge that tells of the token what it should not.
async fn only_with_token(request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    if is_allowed(request.headers()) {
        return next.run(request).await;
    }
    let sent = request.headers()["authorization"].to_str().unwrap().to_owned();
    (StatusCode::UNAUTHORIZED, format!("not a token of ours: {sent}")).into_response()
}

async fn list(State(forge): State<Shared>) -> Response {
    Json(forge.lock().unwrap().releases.clone()).into_response()
}

async fn known(UrlPath(commit): UrlPath<String>) -> (StatusCode, &'static str) {
    (if commit.len() == 40 { StatusCode::OK } else { StatusCode::NOT_FOUND }, "{}")
}

async fn make(State(forge): State<Shared>, Json(mut wish): Json<Value>) -> Response {
    let mut forge = forge.lock().unwrap();
    wish["id"] = json!(forge.releases.len() + 1);
    forge.releases.push(wish.clone());
    (StatusCode::CREATED, Json(wish)).into_response()
}

async fn change(
    State(forge): State<Shared>,
    UrlPath(id): UrlPath<usize>,
    Json(wish): Json<Value>,
) -> Response {
    let mut forge = forge.lock().unwrap();
    for (name, value) in wish.as_object().unwrap() {
        forge.releases[id - 1][name] = value.clone();
    }
    Json(forge.releases[id - 1].clone()).into_response()
}

async fn attached(State(forge): State<Shared>) -> Response {
    Json(assets(&forge.lock().unwrap())).into_response()
}

async fn attach(
    State(forge): State<Shared>,
    Query(named): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut forge = forge.lock().unwrap();
    let name = named["name"].clone();
    forge.asked.push(name.clone());
    if forge.fails > 0 {
        forge.fails -= 1;
        return (StatusCode::BAD_GATEWAY, "not well").into_response();
    }
    let kind = headers["content-type"].to_str().unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    let begins = body.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
    let mut bytes = body[begins..body.len() - boundary.len() - 8].to_vec();
    if std::mem::take(&mut forge.tears) {
        bytes.pop();
    }
    let size = bytes.len();
    forge.assets.insert(name.clone(), bytes);
    (StatusCode::CREATED, Json(json!({ "id": 1, "name": name, "size": size }))).into_response()
}

async fn detach(State(forge): State<Shared>, UrlPath((_, id)): UrlPath<(usize, usize)>) -> StatusCode {
    let mut forge = forge.lock().unwrap();
    forge.assets.retain(|name, _| id_of(name) != id);
    StatusCode::NO_CONTENT
}

async fn serve(forge: Shared) -> String {
    let at = "/api/v1/repos/alice/spark-control/releases";
    let router = Router::new()
        .route(at, get(list).post(make))
        .route("/api/v1/repos/alice/spark-control/git/commits/{commit}", get(known))
        .route(&format!("{at}/{{id}}"), patch(change))
        .route(&format!("{at}/{{id}}/assets"), get(attached).merge(post(attach)))
        .route(&format!("{at}/{{id}}/assets/{{asset}}"), axum::routing::delete(detach))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(axum::middleware::from_fn(only_with_token))
        .with_state(forge);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// What `build` leaves, with other bytes.
fn built(tree: &Path, version: &str) -> BTreeMap<String, Vec<u8>> {
    let out = tree.join(format!("target/release-{version}"));
    fs::create_dir_all(&out).unwrap();
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    files.insert("spark-control-a.tar.gz".into(), (0..200_000_u32).flat_map(u32::to_le_bytes).collect());
    files.insert("spark-control-b.deb".into(), b"\r\n--\r\n".to_vec());
    let sum = |(name, bytes): (&String, &Vec<u8>)| {
        let digest = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("{digest}  {name}\n")
    };
    let sums: String = files.iter().map(sum).collect();
    files.insert("SHA256SUMS".into(), sums.into_bytes());
    for (name, bytes) in &files {
        fs::write(out.join(name), bytes).unwrap();
    }
    fs::write(out.join("NOT-BUILT"), "aarch64: its target is not installed\n").unwrap();
    files
}

/// If this failed, a release could be seen before it is whole, miss a file, or be made twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_seen_when_it_is_whole() {
    let tree = tree();
    let tree = tree.path();
    let version = env!("CARGO_PKG_VERSION");
    let forge = Shared::default();
    let address = serve(forge.clone()).await;
    let publish = || release(tree, &["publish"], Some(&address));
    let refused = release(tree, &["publish"], None);
    assert!(told(&refused).contains("was not built"), "{}", told(&refused));
    let files = built(tree, version);
    let refused = release(tree, &["publish"], None);
    assert!(told(&refused).contains("GITEA_URL, GITEA_REPO, GITEA_TOKEN"), "{}", told(&refused));

    // A forge that is not well for longer than is waited: what is there is a draft, and the next try goes on.
    forge.lock().unwrap().fails = 5;
    let refused = publish();
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("502 not well, 4 times"), "{}", told(&refused));
    {
        let forge = forge.lock().unwrap();
        assert_eq!((forge.releases.len(), &forge.releases[0]["draft"]), (1, &json!(true)));
    }
    // What arrived in part is noticed, and sent again.
    forge.lock().unwrap().tears = true;
    let refused = publish();
    assert!(told(&refused).contains("arrived as 799999 bytes of 800000"), "{}", told(&refused));
    let done = publish();
    assert!(done.status.success(), "{}", told(&done));
    {
        let forge = forge.lock().unwrap();
        assert_eq!(forge.releases.len(), 1);
        let made = &forge.releases[0];
        assert_eq!((&made["draft"], &made["tag_name"]), (&json!(false), &json!(format!("v{version}"))));
        let body = made["body"].as_str().unwrap();
        assert!(
            body.contains("cluster.yaml") && body.contains("- aarch64: its target is not installed"),
            "{body}"
        );
        assert!(forge.assets == files, "{:?}", forge.assets.keys());
        assert_eq!(forge.asked.last().unwrap(), "SHA256SUMS", "the sums come last");
    }
    let again = publish();
    assert!(told(&again).contains("is published already"), "{}", told(&again));

    fs::write(tree.join(format!("target/release-{version}/spark-control-b.deb")), "other").unwrap();
    let refused = publish();
    assert!(told(&refused).contains("is not what SHA256SUMS says"), "{}", told(&refused));
    // Another build of it: nothing of the one before stays.
    let forge = Shared::default();
    let address = serve(forge.clone()).await;
    built(tree, version);
    forge.lock().unwrap().fails = 4;
    assert_eq!(release(tree, &["publish"], Some(&address)).status.code(), Some(1));
    forge.lock().unwrap().assets.insert("spark-control-b.deb".into(), b"\n\n--\n\n".to_vec());
    commit(tree);
    let done = release(tree, &["publish"], Some(&address));
    assert!(done.status.success(), "{}", told(&done));
    assert!(forge.lock().unwrap().assets == files);
    let head = command("git", tree).current_dir(tree).args(["rev-parse", "HEAD"]).output().unwrap().stdout;
    let head = String::from_utf8(head).unwrap();
    assert_eq!(forge.lock().unwrap().releases[0]["target_commitish"], json!(head.trim()));

    // A wrong token is refused, and not told again by whoever refuses it.
    let refused = command("python3", tree)
        .arg(here("scripts/release"))
        .arg("publish")
        .env("SPARK_CONTROL_TREE", tree)
        .env("CARGO_TARGET_DIR", tree.join("target"))
        .envs([
            ("GITEA_URL", address.as_str()),
            ("GITEA_REPO", "alice/spark-control"),
            ("GITEA_TOKEN", "hunter2"),
        ])
        .output()
        .unwrap();
    assert!(told(&refused).contains("401 not a token of ours: token …"), "{}", told(&refused));
    assert!(!told(&refused).contains("hunter2"));
}
