//! The API over loopback: each read route against `/healthz` in the same run, an edit to its plan, and what event streams that
//! nobody writes to take of memory. `just bench` runs it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use spark_control::{
    controller::{Controller, ControllerPaths, OutsideWorld, round::RoundMode},
    core::model::desired::ServiceKind,
    sim::{Sim, SimulatedService, SimulatedTimes, http::InMemory, transport::SimulatedTransport},
    web::{
        self,
        api::limits::ApiLimits,
        guard::Hosts,
        listen::{ConnectionLimits, listen},
    },
};
use tokio_util::sync::CancellationToken;

const FOR: Duration = Duration::from_secs(2);
const EDITS: usize = 15;
const REVISIONS: usize = 30;
/// More than one answer tells.
const LINES: usize = 200;
const STREAMS: usize = 1000;

fn cluster() -> (Sim, String) {
    let times = SimulatedTimes {
        load: Duration::from_secs(1),
        release: Duration::from_secs(1),
        launcher: Duration::from_secs(1),
        stop: Duration::from_secs(1),
        check: Duration::ZERO,
        latency: Duration::ZERO,
        patience: Duration::MAX,
    };
    let sim = Sim::new(times, Timestamp::now);
    let mut text = String::from("version: 1\nname: bench\nsparks:\n");
    for spark in 1..=8 {
        sim.add(&format!("spark{spark}"), &format!("192.0.2.{spark}"), &[("vllm-node", "sha256:aa")]);
        sim.add_service(
            &format!("spark{spark}"),
            "tts",
            SimulatedService { kind: ServiceKind::Tts, port: 8880 },
        );
        text += &format!("  spark{spark}: {{ address: 192.0.2.{spark}, user: alice }}\n");
    }
    text += "model: none\nmodels:\n  a: { repo: lab/a, sparks: [spark1] }\n  b: { repo: lab/b, sparks: [spark2] }\nservices:\n";
    for spark in 1..=8 {
        text += &format!("  tts{spark}: {{ kind: tts, spark: spark{spark}, port: 8880, container: tts }}\n");
    }
    (sim, text)
}

/// One request after the other over one connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        Self(BufReader::new(stream))
    }

    fn send(&mut self, request: &str) {
        self.0.get_mut().write_all(request.as_bytes()).expect("the server reads");
    }

    /// The status and how long the body is, which is read and dropped.
    fn answer(&mut self) -> (u16, usize) {
        let (mut status, mut length) = (0, 0);
        let mut line = String::new();
        loop {
            line.clear();
            self.0.read_line(&mut line).expect("the server answers");
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest[..3].parse().expect("a status");
            }
            if let Some(rest) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = rest.trim().parse().expect("a length");
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("the whole body");
        (status, length)
    }

    fn get(&mut self, path: &str) -> (u16, usize) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        self.answer()
    }
}

/// Answers a second from two connections at once.
fn rate(address: SocketAddr, path: &str) -> (f64, usize) {
    let asking = || {
        let mut client = Client::new(address);
        let (began, mut count, mut bytes) = (Instant::now(), 0_u32, 0);
        while began.elapsed() < FOR {
            let (status, length) = client.get(path);
            assert_eq!(status, 200, "{path}");
            (count, bytes) = (count + 1, length);
        }
        (f64::from(count) / began.elapsed().as_secs_f64(), bytes)
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(asking), scope.spawn(asking)];
        threads
            .map(|thread| thread.join().expect("it ends"))
            .into_iter()
            .fold((0.0, 0), |sum, one| (sum.0 + one.0, one.1))
    })
}

/// In MiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let (sim, text) = cluster();
    let file = directory.path().join("cluster.yaml");
    std::fs::write(&file, &text).expect("the file");
    let data: PathBuf = directory.path().join("data");
    std::fs::create_dir_all(&data).expect("the data directory");
    let for_world = sim.clone();
    let world = OutsideWorld {
        connect: Box::new(move |spark, _| {
            Arc::new(SimulatedTransport { sim: for_world.clone(), spark: spark.to_string() })
        }),
        http: Arc::new(InMemory { sim }),
        now: Box::new(Timestamp::now),
        name: "bench".into(),
        start: "1".into(),
        quiet: Duration::ZERO,
    };
    let places = ControllerPaths { file, is_file_told: true, data, allowed_secrets: Vec::new() };
    let controller = Arc::new(Controller::new(places, world).expect("a controller"));
    let address = runtime.block_on(async {
        // As after some days: revisions, lines of the history, looks.
        for number in 0..REVISIONS {
            std::fs::write(&controller.places.file, format!("# {number}\n{text}")).expect("the file");
            controller.round(RoundMode::Act).await.expect("a round");
        }
        for _ in 0..LINES {
            controller.retry("tts1", "bench").expect("a line");
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        let router = web::router(controller.clone(), Hosts::default(), ApiLimits::default());
        let limits = ConnectionLimits::of_this_process();
        tokio::spawn(listen(listener, router, limits, CancellationToken::new()));
        address
    });

    let (healthz, _) = rate(address, "/healthz");
    println!("/healthz {healthz:.0} answers a second");
    for path in [
        "/api/v1/status",
        "/api/v1/drift",
        "/api/v1/sparks/spark1",
        "/api/v1/models",
        "/api/v1/services",
        "/api/v1/schedule",
        "/api/v1/history",
        "/api/v1/connectivity",
        "/api/v1/figures",
        "/api/v1/desired",
        "/api/v1/desired/history",
        "/api/endpoints",
        "/metrics",
        "/",
    ] {
        let (rate, bytes) = rate(address, path);
        println!("{path} {rate:.0} a second, {:.2} of /healthz, {bytes} bytes", rate / healthz);
    }

    // An edit, answered with its plan; and a look that sees it.
    let mut client = Client::new(address);
    // What an edit of many entries takes grows with how many they are.
    let grown = [250_u32, 500, 1_000, 2_000].map(|models| {
        let entry =
            |number: u32| format!("\"m{number}\":{{\"repo\":\"lab/m{number}\",\"sparks\":[\"spark1\"]}}");
        let body = format!("{{\"models\":{{{}}}}}", (0..models - 2).map(entry).collect::<Vec<_>>().join(","));
        let times = (0..5).map(|_| {
            let began = Instant::now();
            client.send(&format!(
                "PATCH /api/v1/desired?dry_run=true HTTP/1.1\r\nhost: localhost\r\nif-match: *\r\n\
                 content-type: application/merge-patch+json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ));
            assert_eq!(client.answer().0, 200);
            began.elapsed()
        });
        (models, median(times.collect()))
    });
    for (models, took) in grown {
        let each = took.as_secs_f64() * 1e6 / f64::from(models);
        println!("an edit to {models} models {took:?}, {each:.0} µs for each");
    }
    let (mut answered, mut planned) = (Vec::new(), Vec::new());
    for number in 0..EDITS {
        let body = format!("{{\"model\":\"{}\"}}", if number % 2 == 0 { "a" } else { "b" });
        let began = Instant::now();
        client.send(&format!(
            "PATCH /api/v1/desired HTTP/1.1\r\nhost: localhost\r\nif-match: *\r\ncontent-type: application/merge-patch+json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(client.answer().0, 200);
        answered.push(began.elapsed());
        runtime.block_on(async { controller.round(RoundMode::Preview).await.expect("a round") });
        planned.push(began.elapsed());
    }
    println!(
        "PATCH to its plan {:?}, to a look that saw it {:?} (medians of {EDITS})",
        median(answered),
        median(planned)
    );

    let before = resident();
    let streams: Vec<Client> = (0..STREAMS)
        .map(|_| {
            let mut client = Client::new(address);
            client.send("GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n");
            client
        })
        .collect();
    std::thread::sleep(Duration::from_secs(2));
    let idle = resident();
    let began = Instant::now();
    for _ in 0..5 {
        runtime.block_on(async { controller.round(RoundMode::Preview).await.expect("a round") });
        std::thread::sleep(Duration::from_millis(200));
    }
    println!(
        "{STREAMS} event streams take {:.1} MiB, {:.1} MiB after five looks that nobody read ({:?})",
        idle - before,
        resident() - before,
        began.elapsed()
    );
    drop(streams);
}
