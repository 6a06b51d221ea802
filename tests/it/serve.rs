//! `serve` as monitors and service managers see it: its answers, its log, its end.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::environment::{command, spark_control};

fn serve(folder: &Path) -> Child {
    serve_at(folder, "127.0.0.1:0")
}

fn serve_at(folder: &Path, address: &str) -> Child {
    let log = fs::File::create(folder.join("log")).unwrap();
    spark_control(folder)
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
    assert!(
        ready.starts_with("HTTP/1.1 503")
            && ready.contains("`spark-control check`")
            && !ready.contains("cluster.yaml"),
        "{ready}"
    );

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
    let other = spark_control(folder.path())
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

    let kill = command("kill", folder.path()).args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
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
    let token = spark_control(folder.path())
        .args(["--data", "data", "token", "create", "owner", "--role", "approve"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(token.status.success());
    served(folder.path(), "0.0.0.0:0");
    assert!(!warned(folder.path()), "with a token, who has none is refused");
}

/// Send a body and read the answer's status.
fn send(address: &str, method: &str, query: &str, kind: &str, body: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} /api/v1/desired{query} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nif-match: *\r\n\
         content-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    )
    .unwrap();
    // Refused by its head, it is not read to its end.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let head = String::from_utf8_lossy(&answer).into_owned();
    head.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no answer: {head:?}"))
}

/// Resident memory of a process in bytes: now, or the most since it was last forgotten.
fn resident(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// If this failed, one request of somebody on the network would take the machine's memory, or the file from everybody else.
#[test]
fn a_request_of_a_mebibyte_takes_64_at_most_and_nobody_out() {
    const MOST: usize = (1 << 20) - 100;
    const MERGE: &str = "application/merge-patch+json";
    const PATCH: &str = "application/json-patch+json";
    const YAML: &str = "application/yaml";
    let start = "version: 1\nsparks: { here: { address: 127.0.0.1, transport: local, docker_socket: /nowhere/docker.sock } }\n";
    let filled = |item: &dyn Fn(usize) -> String, open: &str, close: &str| {
        let mut text = open.to_owned();
        for number in 0.. {
            let next = item(number);
            if text.len() + next.len() + close.len() + 1 > MOST {
                break;
            }
            if number > 0 {
                text.push(',');
            }
            text += &next;
        }
        text + close
    };
    let add = r#"{"op":"add","path":"/x-a","value":["aaaaaaaaaaaaaaaa"]}"#;
    let copy = r#",{"op":"copy","from":"/x-a","path":"/x-a/-"}"#;
    let model = |number: usize| format!(r#""m{number}":{{"repo":"lab/m{number}","sparks":["here"]}}"#);
    let key = |number: usize| format!(r#""x-{number}":[{{"a":[1]}}]"#);
    let test = |_: usize| r#"{"op":"test","path":"/version","value":1}"#.to_owned();
    let attacks = [
        ("a value that doubles", "PATCH", PATCH, format!("[{add}{}]", copy.repeat(26))),
        ("a value that doubles often", "PATCH", PATCH, format!("[{add}{}]", copy.repeat(900))),
        ("many operations", "PATCH", PATCH, filled(&test, "[", "]")),
        ("many models", "PATCH", MERGE, filled(&model, r#"{"models":{"#, "}}")),
        (
            "as many models as are used",
            "PATCH",
            MERGE,
            format!(r#"{{"models":{{{}}}}}"#, (0..2000).map(model).collect::<Vec<_>>().join(",")),
        ),
        (
            "as many values as are used",
            "PATCH",
            MERGE,
            format!("{{{}}}", (0..4_900).map(key).collect::<Vec<_>>().join(",")),
        ),
        ("many keys", "PATCH", MERGE, filled(&key, "{", "}")),
        ("depth", "PATCH", MERGE, format!("{}1{}", r#"{"x-a":"#.repeat(100_000), "}".repeat(100_000))),
        ("a long text", "PATCH", MERGE, format!(r#"{{"x-a":"{}"}}"#, "a".repeat(MOST - 20))),
        ("a long name", "PATCH", MERGE, format!(r#"{{"{}":1}}"#, "a".repeat(MOST - 20))),
        ("text that is escaped", "PATCH", MERGE, format!(r#"{{"x-a":"{}"}}"#, r"\u0000".repeat(MOST / 7))),
        (
            "a whole file of keys",
            "PUT",
            YAML,
            format!("{start}{}", (0..60_000).map(|key| format!("x-{key}: [1]\n")).collect::<String>()),
        ),
        ("a whole file of depth", "PUT", YAML, format!("{start}x-a: {}", "[".repeat(900_000))),
        (
            "a whole file of aliases",
            "PUT",
            YAML,
            format!(
                "{start}{}",
                fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/manifest/bomb.yaml"))
                    .unwrap()
            ),
        ),
        ("a whole file of one line", "PUT", YAML, format!("{start}x-a: \"{}\"\n", "a".repeat(900_000))),
        ("no text", "PUT", YAML, "\u{feff}".repeat(MOST / 3)),
    ];
    for (what, method, kind, body) in &attacks {
        assert!(body.len() <= 1 << 20, "{what}: {}", body.len());
        // Another program for each: what one attack left of the heap is not there for the next.
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("cluster.yaml"), start).unwrap();
        let mut child = serve(folder.path());
        let address = wait("its address", || {
            let lines = log(folder.path());
            lines.iter().find_map(|line| line["fields"]["listen"].as_str().map(str::to_owned))
        });
        wait("readiness", || get(&address, "/readyz").starts_with("HTTP/1.1 200").then_some(()));
        let before = resident(child.id(), "VmRSS");
        for query in ["?dry_run=true", ""] {
            let status = send(&address, method, query, kind, body.as_bytes());
            let most = resident(child.id(), "VmHWM").saturating_sub(before);
            assert!(most <= 64 << 20, "{what}{query}: {status}, {} MiB", most >> 20);
            assert!(child.try_wait().unwrap().is_none(), "{what} ended it");
        }
        // Whatever it wrote is taken back, by an edit that gets through.
        assert_eq!(send(&address, "PUT", "", YAML, start.as_bytes()), 200, "after {what}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// If this failed, whoever asks how the cluster is would wait for every silent Spark, though the controller knows.
#[test]
fn a_status_is_told_at_once_while_a_spark_is_silent() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("docker.sock");
    // It takes connections and says nothing.
    let silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let file = format!(
        "version: 1\nsparks: {{ here: {{ address: 127.0.0.1, transport: local, docker_socket: {} }} }}\nmodel: none\n",
        socket.display()
    );
    fs::write(folder.path().join("cluster.yaml"), file).unwrap();
    let mut child = serve(folder.path());
    let command = |args: &[&str]| {
        let mut all = vec!["--data", "data"];
        all.extend(args);
        let mut command = spark_control(folder.path());
        let output = command.args(all).current_dir(folder.path()).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default()
    };
    let cached = || command(&["status", "--cached", "--output", "json"]);
    wait("the first look", || cached()["at"].is_string().then_some(()));
    // The controller may look by itself between two questions, but not between all of them.
    let knew = (0..5).any(|_| cached()["at"] == command(&["status", "--output", "json"])["at"]);
    assert!(knew, "each `status` looked for itself");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(silent);
}

/// One exchange over the control socket: status line, type and body.
fn ask_socket(folder: &Path, request: &str) -> String {
    let mut stream = std::os::unix::net::UnixStream::connect(folder.join("data/control.sock")).unwrap();
    stream.write_all(format!("{request}host: localhost\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// If this failed, a program that reads a command's JSON would have to learn another one for the API, or a command need a token on its
/// own machine.
#[test]
fn commands_print_what_the_api_answers_and_the_socket_has_the_api() {
    let folder = TempDir::new().unwrap();
    let file = "version: 1\nsparks: { here: { address: 127.0.0.1, transport: local, docker_socket: /nowhere/docker.sock } }\n\
                model: none\nmodels: { small: { repo: o/r, sparks: [here] } }\n\
                schedule: { night: { model: small, from: '22:00', to: '06:00' } }\n";
    fs::write(folder.path().join("cluster.yaml"), file).unwrap();
    let mut child = serve(folder.path());
    let address = wait("its address", || {
        let lines = log(folder.path());
        lines.iter().find_map(|line| line["fields"]["listen"].as_str().map(str::to_owned))
    });
    wait("readiness", || get(&address, "/readyz").starts_with("HTTP/1.1 200").then_some(()));
    let body = |answer: String| -> Value {
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
    };
    let printed = |args: &[&str]| -> Value {
        let mut command = spark_control(folder.path());
        let output = command.args(["--data", "data", "--output", "json"]).args(args);
        let output = output.current_dir(folder.path()).output().unwrap();
        let mut value: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(value.as_object_mut().unwrap().remove("version"), Some(1.into()), "{args:?}");
        value
    };
    for (args, path) in [
        (&["status", "--cached"][..], "/api/v1/status"),
        (&["diff"], "/api/v1/drift"),
        (&["schedule"], "/api/v1/schedule"),
        (&["history"], "/api/v1/history"),
        (&["desired", "get"], "/api/v1/desired"),
    ] {
        // Something may happen between the two.
        let mut same = false;
        for _ in 0..5 {
            same |= printed(args) == body(get(&address, path));
        }
        assert!(
            same,
            "{args:?} prints {:#}, and {path} answers {:#}",
            printed(args),
            body(get(&address, path))
        );
    }
    let edit = printed(&["desired", "patch", r#"{"model": "small"}"#, "--dry-run"]);
    let plan = printed(&["plan"]);
    for (name, known) in [("plan", &plan), ("the plan of an edit", &edit["plan"])] {
        let mut fields: Vec<&String> = known.as_object().unwrap().keys().collect();
        fields.sort();
        assert_eq!(fields, ["at", "id", "revision", "text", "work"], "{name}");
    }

    let mut token = spark_control(folder.path());
    token.args(["--data", "data", "token", "create", "alice", "--role", "read"]).current_dir(folder.path());
    assert!(token.output().unwrap().status.success());
    assert!(get(&address, "/api/v1/status").starts_with("HTTP/1.1 401"));
    for path in ["/api/v1/status", "/api/v1/session", "/snapshot"] {
        let answer = ask_socket(folder.path(), &format!("GET {path} HTTP/1.1\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    for (request, status, code) in [
        (
            "PUT /api/v1/desired HTTP/1.1\r\ncontent-type: application/yaml\r\n",
            "428",
            "precondition_required",
        ),
        ("GET /plans/none HTTP/1.1\r\n", "404", "no_such_plan"),
        ("POST /api/v1/plans/none/approve HTTP/1.1\r\n", "404", "no_such_plan"),
        ("GET /nowhere HTTP/1.1\r\n", "404", "not_found"),
    ] {
        let answer = ask_socket(folder.path(), request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
        assert_eq!(body(answer)["code"], code, "{request}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
