//! The demo as a newcomer runs it: the real program, a file in an empty directory, real HTTP on loopback.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::environment::spark_control;

struct Demo {
    directory: TempDir,
    child: Child,
}

impl Demo {
    fn start() -> Self {
        let directory = TempDir::new().expect("a directory");
        let log = fs::File::create(directory.path().join("log")).expect("the log");
        let child = spark_control(directory.path())
            .args(["demo", "--listen", "127.0.0.1:0"])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the demo starts");
        Self { directory, child }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("cluster.yaml")
    }

    fn command(&self, arguments: &[&str]) -> Output {
        spark_control(self.directory.path())
            .args(["--data", ".spark-control-demo"])
            .args(arguments)
            .current_dir(self.directory.path())
            .output()
            .expect("the program runs")
    }

    fn wait(&self, what: &str, limit_secs: u64, mut condition: impl FnMut() -> bool) {
        let began = Instant::now();
        while !condition() {
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(limit_secs), "waited for {what}\n{log}");
            sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn http(address: &str, method: &str, path: &str, body: &str) -> Option<String> {
    let limit = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address.parse().ok()?, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: demo\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
        .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

fn serves(address: &str, name: &str) -> bool {
    http(address, "GET", "/v1/models", "")
        .is_some_and(|answer| answer.contains(&format!("\"id\":\"{name}\"")))
}

fn replace(file: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(file).expect("the demo's file");
    assert!(text.contains(old), "{text}");
    fs::write(file, text.replace(old, new)).expect("the edit");
}

fn status(demo: &Demo) -> String {
    String::from_utf8_lossy(&demo.command(&["status"]).stdout).into_owned()
}

/// If this failed, the first thing that a newcomer tries would not work.
#[test]
fn the_demo_swaps_a_model_because_its_file_was_edited() {
    let demo = Demo::start();
    demo.wait("the small model", 60, || serves("127.0.0.11:8888", "small"));
    replace(&demo.file(), "\nmodel: small", "\nmodel: large");
    demo.wait("the large model", 60, || serves("127.0.0.11:8888", "coder"));
    // Without the demo's memory a command asks another controller, which knows nothing, and says so.
    let folder = demo.directory.path();
    let lost = spark_control(folder).arg("history").current_dir(folder).output().unwrap();
    let told = String::from_utf8_lossy(&lost.stderr).into_owned();
    assert!(told.contains("`--data .spark-control-demo` asks the demo's"), "{told}");
    assert!(demo.command(&["history"]).stderr.is_empty());
    demo.wait("a quiet plan", 30, || demo.command(&["plan"]).status.code() == Some(0));

    let question = r#"{"model":"large","stream":true,"messages":[{"role":"user","content":"who are you?"}]}"#;
    let answer = http("127.0.0.11:8888", "POST", "/v1/chat/completions", question).expect("an answer");
    assert!(answer.contains("chat.completion.chunk") && answer.contains("data: [DONE]"), "{answer}");
    let sound =
        http("127.0.0.12:8880", "POST", "/v1/audio/speech", r#"{"input":"hello"}"#).expect("an answer");
    assert!(sound.contains("audio/wav") && sound.contains("RIFF"), "{sound}");
    let vectors =
        http("127.0.0.12:8001", "POST", "/v1/embeddings", r#"{"input":["a","b"]}"#).expect("an answer");
    assert!(vectors.contains("\"index\":1") && !vectors.contains("\"index\":2"));
    for (address, path, part) in [
        ("127.0.0.12:8000", "/v1/models", "parakeet"),
        ("127.0.0.12:6333", "/readyz", "all shards are ready"),
        ("127.0.0.11:8888", "/metrics", "vllm:num_requests_running"),
    ] {
        let answer = http(address, "GET", path, "").expect("an answer");
        assert!(answer.contains(part), "{address}{path}: {answer}");
    }

    // What each model of the catalog would take, and whether it fits, before one is chosen.
    let told = demo.command(&["models", "--output", "json"]);
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    let small = told["choices"].as_array().unwrap().iter().find(|choice| choice["model"] == "small").unwrap();
    let row = &small["memory"][0];
    assert_eq!((&row["spark"], &row["fits"]), (&"spark1".into(), &true.into()), "{small}");
    assert!(row["verdict"].as_str().unwrap().starts_with("fits, "), "{row}");

    // Faults, as the help says.
    let output = demo.command(&["demo", "fault", "spark2", "silent", "8s"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    demo.wait("the silence to be seen", 30, || status(&demo).contains("spark2: UNREACHABLE"));
    demo.wait("the Spark to be back", 60, || status(&demo).contains("spark2: reachable"));
    assert!(serves("127.0.0.11:8888", "large"), "silence stops nothing");
    let output = demo.command(&["demo", "fault", "spark2", "sulks"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains("\n  silent            The machine answers nothing.")
    );
}
