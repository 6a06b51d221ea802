//! The lab's engine: what `vllm serve` shows to the outside, and its ways to fail. Standard library only, so that one
//! static binary makes an image.
//!
//! `vllm serve MODEL [--port P] [--served-model-name A B …] [--headless] …`. Faults and times come from the
//! environment: `LAB_LOAD_MS`, and `LAB_FAIL` with `load` (dies while loading, for a named reason), `crash` (for none),
//! `hang` (answers, never completes), `wedge` (a rank gives up and stays),
//! `root` (serves another root).

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::exit,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

static TOKENS: AtomicU64 = AtomicU64::new(0);
static RUNNING: AtomicU64 = AtomicU64::new(0);

struct Engine {
    root: String,
    served: Vec<String>,
    fail: String,
}

fn main() {
    let args: Vec<String> = env::args().collect();
    // Python in this image knows one program, the one that asks vLLM's parser.
    if args[0].ends_with("python3") {
        let words = args.get(3..).unwrap_or_default();
        if words.iter().any(|word| word == "--hang-the-check") {
            thread::sleep(Duration::from_secs(3600));
        }
        let knows = args.get(2).is_some_and(|text| text.contains("make_arg_parser"));
        match words.iter().find(|word| word.starts_with("--no-such")) {
            _ if !knows => println!("what is this"),
            Some(word) => println!("arguments {{\"is\": \"invalid\", \"engine\": \"0.0.0\", \"why\": \"unrecognized arguments: {word}\"}}"),
            None => println!("arguments {{\"is\": \"valid\", \"engine\": \"0.0.0\", \"why\": \"\"}}"),
        }
        return;
    }
    // Ray's process, under its own name.
    if args[0].ends_with("raylet") {
        loop {
            thread::sleep(Duration::from_secs(3600));
        }
    }
    if args.get(1).map(String::as_str) != Some("serve") {
        eprintln!("usage: vllm serve MODEL …");
        exit(2);
    }
    // Tests read what really arrived.
    let _ = std::fs::write("/tmp/vllm-argv", args[1..].join("\0"));
    let model = args.get(2).cloned().unwrap_or_default();
    let mut port = 8000_u16;
    let mut served: Vec<String> = Vec::new();
    let mut headless = false;
    let mut rest = args[3..].iter().peekable();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--port" => port = rest.next().and_then(|p| p.parse().ok()).unwrap_or(port),
            "--served-model-name" => {
                while rest.peek().is_some_and(|next| !next.starts_with("--")) {
                    served.extend(rest.next().cloned());
                }
            }
            "--headless" => headless = true,
            _ => {}
        }
    }
    if served.is_empty() {
        served.push(model.clone());
    }
    let load_ms: u64 = env::var("LAB_LOAD_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(500);
    let fail = env::var("LAB_FAIL").unwrap_or_default();
    // A rank that gave up and does not end: its container stays, and so does its process.
    if fail == "wedge" && headless {
        for line in 0..300 {
            println!("INFO line {line} of many");
        }
        println!("ERROR ValueError: No available memory for the cache blocks.");
        println!("ERROR RuntimeError: Engine core initialization failed. See root cause above.");
        loop {
            thread::sleep(Duration::from_secs(3600));
        }
    }
    // Its head waits for it, as heads do.
    if fail == "wedge" {
        println!("INFO Initializing a V1 LLM engine (v0.33.0)");
        loop {
            thread::sleep(Duration::from_secs(3600));
        }
    }
    println!("INFO vLLM server version 0.33.0");
    println!("INFO Initializing a V1 LLM engine (v0.33.0)");
    println!("INFO Starting to load model {model}...");
    for shard in 1..=4 {
        thread::sleep(Duration::from_millis(load_ms / 4));
        println!("Loading safetensors checkpoint shards: {}% Completed | {shard}/4", shard * 25);
        if (fail == "load" || fail == "crash") && shard == 2 {
            match fail.as_str() {
                "load" => println!("ERROR ValueError: Free memory on device cuda:0 is less than desired GPU memory utilization"),
                _ => println!("ERROR RuntimeError: NCCL error: unhandled system error"),
            }
            println!("ERROR RuntimeError: Engine core initialization failed. See root cause above.");
            exit(1);
        }
    }
    println!("INFO Graph capturing finished in 1 secs, took 0.1 GiB");
    if headless {
        println!("INFO Launching vLLM headless multiproc executor");
        loop {
            thread::sleep(Duration::from_secs(3600));
        }
    }
    println!("INFO Starting vLLM server on http://0.0.0.0:{port}");
    let listener = match TcpListener::bind(("0.0.0.0", port)) {
        Ok(listener) => listener,
        Err(error) => {
            println!("ERROR OSError: {error}");
            exit(1);
        }
    };
    println!("INFO Application startup complete.");
    let root = if fail == "root" { "/somewhere/else".to_owned() } else { model };
    let engine: &'static Engine = Box::leak(Box::new(Engine { root, served, fail }));
    for stream in listener.incoming().flatten() {
        thread::spawn(move || serve(stream, engine));
    }
}

fn serve(stream: TcpStream, engine: &Engine) {
    let _ = stream.set_nodelay(true);
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let (status, kind, text) = answer(&path, engine);
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", text.len());
        if writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(text.as_bytes())).is_err() {
            return;
        }
    }
}

fn answer(path: &str, engine: &Engine) -> (&'static str, &'static str, String) {
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    match path {
        "/health" => ("200 OK", "text/plain", String::new()),
        "/v1/models" => {
            let cards: Vec<String> = engine
                .served
                .iter()
                .map(|id| {
                    format!(
                        "{{\"id\":\"{id}\",\"object\":\"model\",\"created\":{created},\"owned_by\":\"vllm\",\
                         \"root\":\"{}\",\"parent\":null,\"max_model_len\":4096}}",
                        engine.root
                    )
                })
                .collect();
            ("200 OK", "application/json", format!("{{\"object\":\"list\",\"data\":[{}]}}", cards.join(",")))
        }
        "/metrics" => {
            let text = format!(
                "vllm:num_requests_running{{engine=\"0\"}} {}\nvllm:num_requests_waiting{{engine=\"0\"}} 0\n\
                 vllm:generation_tokens_total{{engine=\"0\"}} {}\n",
                RUNNING.load(Ordering::Relaxed),
                TOKENS.load(Ordering::Relaxed)
            );
            ("200 OK", "text/plain; version=0.0.4", text)
        }
        "/v1/chat/completions" => {
            RUNNING.fetch_add(1, Ordering::Relaxed);
            if engine.fail == "hang" {
                thread::sleep(Duration::from_secs(3600));
            }
            TOKENS.fetch_add(1, Ordering::Relaxed);
            RUNNING.fetch_sub(1, Ordering::Relaxed);
            let text = format!(
                "{{\"id\":\"x\",\"object\":\"chat.completion\",\"model\":\"{}\",\"choices\":[{{\"index\":0,\
                 \"message\":{{\"role\":\"assistant\",\"content\":\"pong\"}},\"finish_reason\":\"length\"}}],\
                 \"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":1,\"total_tokens\":2}}}}",
                engine.served[0]
            );
            ("200 OK", "application/json", text)
        }
        _ => ("404 Not Found", "application/json", "{\"error\":{\"message\":\"Not Found\"}}".to_owned()),
    }
}
