//! Clients that do not behave: slow ones, silent ones, too many of them.

use std::time::Duration;

use reqwest::Method;
use spark_control::{
    core::model::access::Role,
    web::{api::limits::StreamKind, listen::ConnectionLimits},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::api::{Api, code};

/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// Nothing in reserve.
fn few() -> ConnectionLimits {
    ConnectionLimits { reserve: 0, age: LONG, ..ConnectionLimits::of_this_process() }
}

async fn connect(api: &Api) -> TcpStream {
    TcpStream::connect(api.address.trim_start_matches("http://")).await.unwrap()
}

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

async fn all(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    timeout(LONG, stream.read_to_string(&mut answer)).await.expect("it is closed").unwrap();
    answer
}

/// If this failed, a few clients that say nothing would keep everybody else out for ever.
#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_let_go_and_makes_room() {
    let api = Api::within(
        ConnectionLimits { connections: 2, head: Duration::from_millis(300), unread: LONG, ..few() },
        "model: none",
    )
    .await;
    let (mut half, silent) = (connect(&api).await, connect(&api).await);
    half.write_all(b"GET /healthz HTTP/1.1\r\nhost: loc").await.unwrap();
    let mut third = connect(&api).await;
    third.write_all(HEALTH).await.unwrap();
    assert!(all(third).await.starts_with("HTTP/1.1 200"), "it got a place");
    assert_eq!(all(silent).await, "");
    let told = all(half).await;
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 408"), "{told}");
}

/// If this failed, a client that asks and never reads would keep its place for ever.
#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_is_let_go_and_makes_room() {
    let limits = ConnectionLimits { connections: 1, head: LONG, unread: Duration::from_secs(2), ..few() };
    let api = Api::within(limits, "model: none").await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = api.address.trim_start_matches("http://").parse().unwrap();
    let mut deaf = socket.connect(address).await.unwrap();
    // Megabytes of answers, more than the kernel keeps for a connection.
    let ask = b"GET /api/v1/openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(200);
    deaf.write_all(&ask).await.unwrap();
    let mut next = connect(&api).await;
    next.write_all(HEALTH).await.unwrap();
    assert!(all(next).await.starts_with("HTTP/1.1 200"), "it got the place");
    drop(deaf);
}

/// If this failed, one request could fill the memory with its head.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_so_long_and_no_longer() {
    let api = Api::new("model: none").await;
    let mut stream = connect(&api).await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ").await.unwrap();
    // The answer may come, and the connection end, while it is still being sent.
    let _ = stream.write_all(&vec![b'a'; 1 << 20]).await;
    let mut told = [0; 12];
    match timeout(LONG, stream.read_exact(&mut told)).await.expect("it is answered") {
        Ok(_) => assert_eq!(&told, b"HTTP/1.1 431"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    assert_eq!(api.get("/healthz").await.status, 200, "the others do not notice");
}

/// If this failed, pages that nobody closes would take all the memory there is.
#[tokio::test(flavor = "multi_thread")]
async fn there_are_so_many_streams_and_no_more() {
    let api = Api::new("model: alpha").await;
    let all_but_one = |what: StreamKind| {
        let others = u32::try_from(what.most() - 1).unwrap();
        api.limits.streams(what).clone().try_acquire_many_owned(others).unwrap()
    };
    let taken = [all_but_one(StreamKind::Events), all_but_one(StreamKind::Log)];
    let follow = |path: &str| {
        api.request(Method::GET, path).header("accept", "text/event-stream").timeout(LONG).send()
    };
    let last = [follow("/api/v1/events").await.unwrap(), follow("/api/v1/logs/vllm").await.unwrap()];
    assert_eq!(last.each_ref().map(reqwest::Response::status), [200, 200]);
    for path in ["/api/v1/events", "/api/v1/logs/vllm"] {
        let refused = api.request(Method::GET, path).header("accept", "text/event-stream");
        assert_eq!(code(&api.send(refused).await), (503, "too_many_streams", false), "{path}");
    }
    assert_eq!(api.get("/api/v1/status").await.status, 200, "who does not follow is answered");
    drop(last);
    // Its place is free when the server notices.
    let again = async {
        while follow("/api/v1/logs/vllm").await.unwrap().status() != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, again).await.expect("a place became free");
    drop(taken);
}

/// If this failed, a client that does not read would hold up the controller, fill its memory, or miss what happened.
#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_gets_everything_and_holds_nobody_up() {
    const LINES: usize = 1500;
    let api = Api::new("model: alpha").await;
    let mut slow = connect(&api).await;
    let newest = api.controller.last_event();
    let asked = format!("GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\nlast-event-id: {newest}\r\n\r\n");
    slow.write_all(asked.as_bytes()).await.unwrap();
    // Some megabytes, more than the kernel keeps for a connection.
    let who = "a".repeat(3900);
    for number in 0..LINES {
        api.controller.retry("vllm", &format!("{number} {who}")).unwrap();
    }
    api.rounds(1, 1).await;
    let mut read = Vec::new();
    let last = format!(" {} {who}", LINES - 1);
    let mut buffer = vec![0; 64 << 10];
    while !read.windows(last.len()).rev().take(buffer.len() + last.len()).any(|part| part == last.as_bytes())
    {
        let count = timeout(LONG, slow.read(&mut buffer)).await.expect("it goes on").unwrap();
        assert_ne!(count, 0, "the stream ended");
        read.extend_from_slice(&buffer[..count]);
    }
    let read = String::from_utf8_lossy(&read);
    let numbers: Vec<i64> = read.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect();
    let expected: Vec<i64> = (newest + 1..).take(LINES).collect();
    // What happens after the last of them may come with it.
    assert_eq!(numbers.iter().take(LINES).copied().collect::<Vec<_>>(), expected);
}

/// If this failed, whoever may do nothing could have bodies kept until the memory is full.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_so_before_a_body_is_read() {
    let api = Api::new("model: none").await;
    api.controller.make_token("reader", Role::Read).unwrap();
    let mut stream = connect(&api).await;
    let head = "PATCH /api/v1/desired HTTP/1.1\r\nhost: localhost\r\nif-match: *\r\n\
                content-type: application/merge-patch+json\r\ncontent-length: 1000000\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut told = [0; 12];
    // The rest of the body never comes; whoever waited for it would answer 408 after its deadline.
    timeout(LONG, stream.read_exact(&mut told)).await.expect("it is answered").unwrap();
    assert_eq!(&told, b"HTTP/1.1 401");
}
