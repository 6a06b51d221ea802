//! `serve` as monitors and service managers see it: its answers, its log, its end.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

fn serve(folder: &Path) -> Child {
    serve_at(folder, "127.0.0.1:0")
}

fn serve_at(folder: &Path, address: &str) -> Child {
    let log = fs::File::create(folder.join("log")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_spark-control"))
        .args(["--data", "data", "serve", "--listen", address, "--log-json"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// The log's lines; each must be JSON.
fn log(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("log")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect()
}

fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "waited for {what}");
        sleep(Duration::from_millis(50));
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// If this failed, a service manager would restart a healthy controller, or wait for one that does not end.
#[test]
fn it_tells_its_health_logs_json_and_ends_when_told() {
    let folder = TempDir::new().unwrap();
    let mut child = serve(folder.path());
    let address = wait("its address", || {
        let lines = log(folder.path());
        lines.iter().find_map(|line| line["fields"]["listen"].as_str().map(str::to_owned))
    });
    assert!(get(&address, "/healthz").starts_with("HTTP/1.1 200"));
    let ready =
        wait("the first round", || Some(get(&address, "/readyz")).filter(|text| text.contains("no usable")));
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("name another with --file"), "{ready}");

    // A Spark that is this machine, without an Engine: it stays up and says so.
    let file = "version: 1\nsparks: { here: { address: 127.0.0.1, transport: local, docker_socket: /nowhere/docker.sock } }\nmodel: none\n";
    fs::write(folder.path().join("cluster.yaml"), file).unwrap();
    wait("readiness", || get(&address, "/readyz").starts_with("HTTP/1.1 200").then_some(()));
    let status = get(&address, "/api/v1/status");
    assert!(status.starts_with("HTTP/1.1 200") && status.contains("\"reachable\":false"), "{status}");
    let metrics = get(&address, "/metrics");
    for line in [
        "spark_control_spark_reachable{spark=\"here\"} 0",
        "spark_control_file_valid 1",
        "spark_control_not_acting{object=\"vllm\",reason=\"Unreachable\"} 1",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    // Somebody asks about another file.
    fs::write(folder.path().join("draft.yaml"), file).unwrap();
    let other = Command::new(env!("CARGO_BIN_EXE_spark-control"))
        .args(["--data", "data", "--file", "draft.yaml", "plan"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(other.status.code(), Some(1));
    let told = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(told.contains("cluster.yaml, not draft.yaml"), "{told}");
    // A bad file: the last good one stays in force, and the monitors know.
    fs::write(folder.path().join("cluster.yaml"), "version: 1\n").unwrap();
    wait("the bad file to be seen", || {
        get(&address, "/metrics").contains("spark_control_file_valid 0").then_some(())
    });
    assert!(get(&address, "/readyz").starts_with("HTTP/1.1 200"));

    let kill = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let status = wait("its end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    let last = log(folder.path()).pop().unwrap();
    assert_eq!(last["fields"]["message"], "ended");
    assert!(!folder.path().join("data/control.sock").exists(), "nothing lies about");
}

/// If this failed, a file that is still being written would come into force in pieces: half of it is often valid.
#[test]
fn a_file_that_is_being_written_is_read_when_it_is_quiet() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("cluster.yaml");
    let start = "version: 1\nsparks: { here: { address: 127.0.0.1, transport: local, docker_socket: /nowhere/docker.sock } }\n";
    fs::write(&file, start).unwrap();
    let mut child = serve(folder.path());
    let revisions = || {
        let lines = log(folder.path());
        let is_new = |line: &&Value| line["fields"]["message"] == "the file is in force";
        lines.iter().filter(is_new).filter_map(|line| line["fields"]["revision"].as_u64()).max().unwrap_or(0)
    };
    wait("the first revision", || (revisions() == 1).then_some(()));
    for attempt in 1.. {
        assert!(attempt < 20, "this machine is too busy to write a line every 20 ms");
        let before = revisions();
        // Each prefix is a valid file of its own.
        let mut writing = fs::File::options().append(true).open(&file).unwrap();
        let mut longest = Duration::ZERO;
        for line in 0..20 {
            let began = Instant::now();
            writeln!(writing, "x-{attempt}-{line}: written").unwrap();
            sleep(Duration::from_millis(20));
            longest = longest.max(began.elapsed());
        }
        let now = wait("a revision", || Some(revisions()).filter(|now| *now > before));
        sleep(Duration::from_millis(500));
        if longest < Duration::from_millis(80) {
            assert_eq!((now, revisions()), (before + 1, before + 1), "it came in one piece");
            break;
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// What the controller shows of a service, without making it look.
fn observed(folder: &Path, service: &str) -> Option<String> {
    let mut stream = std::os::unix::net::UnixStream::connect(folder.join("data/control.sock")).ok()?;
    write!(stream, "GET /snapshot HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let body = answer.split_once("\r\n\r\n")?.1;
    let value: Value = serde_json::from_str(&body[body.find('{')?..=body.rfind('}')?]).ok()?;
    let line = value["status"].as_array()?.iter().find(|line| line["object"] == service)?;
    Some(line["observed"].as_str()?.to_owned())
}

/// If this failed, a service that went away would be found only at the next full look, which may be a day away.
#[test]
fn a_service_that_goes_away_is_noticed_between_rounds() {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    };
    let folder = TempDir::new().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let gone = Arc::new(AtomicBool::new(false));
    let ended = gone.clone();
    let server = std::thread::spawn(move || {
        for stream in listener.incoming() {
            if ended.load(Relaxed) {
                return;
            }
            let Ok(mut stream) = stream else { continue };
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        }
    });
    let file = format!(
        "version: 1\nsparks: {{ here: {{ address: 127.0.0.1, transport: local, docker_socket: /nowhere/docker.sock }} }}\n\
         services: {{ web: {{ kind: http, address: 127.0.0.1, port: {port} }} }}\nreconcile: {{ interval: 24h }}\n"
    );
    fs::write(folder.path().join("cluster.yaml"), file).unwrap();
    let mut child = serve(folder.path());
    wait("the service", || observed(folder.path(), "web").filter(|seen| seen == "up"));
    gone.store(true, Relaxed);
    // Wakes the thread, which ends and closes the port.
    let _ = TcpStream::connect(("127.0.0.1", port));
    server.join().unwrap();
    wait("its end to be noticed", || observed(folder.path(), "web").filter(|seen| seen == "down"));
    let _ = child.kill();
    let _ = child.wait();
}

/// If this failed, an owner would open the controller to a network, and nothing would say so.
#[test]
fn it_warns_where_whoever_reaches_it_may_edit() {
    let warned = |folder: &Path| {
        let lines = log(folder);
        lines
            .iter()
            .any(|line| line["level"] == "WARN" && line.to_string().contains("nobody is asked for a token"))
    };
    let served = |folder: &Path, address: &str| {
        let mut child = serve_at(folder, address);
        wait("its address", || {
            log(folder).iter().any(|line| line["fields"]["listen"].is_string()).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
    };
    let folder = TempDir::new().unwrap();
    served(folder.path(), "127.0.0.1:0");
    assert!(!warned(folder.path()), "this machine alone reaches it");
    served(folder.path(), "0.0.0.0:0");
    assert!(warned(folder.path()));
    let token = Command::new(env!("CARGO_BIN_EXE_spark-control"))
        .args(["--data", "data", "token", "new", "owner", "--role", "approve"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(token.status.success());
    served(folder.path(), "0.0.0.0:0");
    assert!(!warned(folder.path()), "with a token, who has none is refused");
}
