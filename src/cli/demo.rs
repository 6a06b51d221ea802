//! `demo`: the whole program on two simulated Sparks inside this process, with real HTTP servers on loopback.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use axum::{Json, Router, extract::Path as UrlPath, routing::post};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Exit,
    arguments::Format,
    print,
    reach::{ReachedController, RefusedByController, lock, reach, segment},
    say, serve,
};
use crate::{
    apply,
    controller::{ControllerPaths, OutsideWorld, random_hex},
    core::model::desired::ServiceKind,
    manifest::v1::Span,
    probe::http::HttpClient,
    sim::{Fault, Sim, SimulatedService, SimulatedTimes, listeners, transport::SimulatedTransport},
    web::{
        api::problem::{Problem, ProblemCode},
        guard::Hosts,
    },
};

/// Loads take minutes on real Sparks.
const TIMES: SimulatedTimes = SimulatedTimes {
    load: Duration::from_secs(8),
    release: Duration::from_secs(2),
    launcher: Duration::from_secs(1),
    stop: Duration::from_secs(1),
    check: Duration::from_secs(1),
    latency: Duration::ZERO,
    patience: Duration::MAX,
};

/// Of the two simulated Sparks; the file names them too.
const ADDRESSES: [&str; 2] = ["127.0.0.11", "127.0.0.12"];

/// The file that the demo starts from.
pub const MANIFEST: &str = include_str!("demo.yaml");

#[derive(Debug, Serialize, Deserialize)]
struct FaultRequest {
    fault: String,
    seconds: u64,
}

/// Run it in the working directory. What an earlier demo with the same data directory remembered is forgotten.
///
/// # Errors
/// When the file or the data directory cannot be written, or the addresses are taken.
pub async fn run(places: ControllerPaths, listen: std::net::SocketAddr) -> anyhow::Result<Exit> {
    if !places.file.exists() {
        std::fs::write(&places.file, MANIFEST)
            .with_context(|| format!("writing {}", places.file.display()))?;
    }
    for address in ADDRESSES {
        std::net::TcpListener::bind((address, 8888))
            .with_context(|| format!("the simulated Sparks need {address}:8888; does another demo run?"))?;
    }
    forget(&places.data)?;
    let sim = sparks();
    let for_world = sim.clone();
    let world = OutsideWorld {
        connect: Box::new(move |spark, _| {
            Arc::new(SimulatedTransport { sim: for_world.clone(), spark: spark.to_string() })
        }),
        http: Arc::new(HttpClient::new(apply::secret)),
        now: Box::new(Timestamp::now),
        name: "demo".into(),
        start: random_hex(2),
        quiet: crate::manifest::watch::QUIET,
    };
    welcome(&places, listen)?;
    let servers = tokio::spawn(listeners::serve(sim.clone()));
    let faults = Router::new().route(
        "/demo/fault/{spark}",
        post(move |UrlPath(spark): UrlPath<String>, Json(request): Json<FaultRequest>| async move {
            let fault =
                Fault::named(&request.fault).ok_or_else(|| format!("no fault is named `{}`", request.fault));
            let done = fault.and_then(|fault| sim.fault(&spark, fault, Duration::from_secs(request.seconds)));
            done.map_err(|message| Problem::new(ProblemCode::InvalidRequest, message))
        }),
    );
    let listen = serve::ListenAddress { address: listen, hosts: Hosts::default() };
    let result = serve::serve(places, world, listen, faults).await;
    servers.abort();
    result
}

/// The simulated Sparks begin empty, so what an earlier demo remembers of them is not true any more.
fn forget(data: &Path) -> anyhow::Result<()> {
    let marker = data.join("demo");
    let is_new = !data.exists() || std::fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_none());
    if !is_new && !marker.exists() {
        bail!("{} was not made by a demo; name another one with --data", data.display());
    }
    let Some(_lock) = lock(data)? else { bail!("a demo already runs with {}", data.display()) };
    std::fs::write(&marker, "").with_context(|| format!("writing {}", marker.display()))?;
    for entry in std::fs::read_dir(data).with_context(|| format!("reading {}", data.display()))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"spark-control.db")) {
            std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

fn sparks() -> Sim {
    let sim = Sim::new(TIMES, Timestamp::now);
    for (name, address) in ["spark1", "spark2"].into_iter().zip(ADDRESSES) {
        sim.add(name, address, &[("vllm-node", "sha256:demo")]);
    }
    let tells = [
        "disk 4096 900000000 310000000 66306 /home/alice/.cache/huggingface",
        "link wg0 - <POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1420 link/none wireguard addrgenmode none",
        "address wg0 192.0.2.12",
    ];
    for machine in sim.world().sparks.values_mut() {
        machine.tells.extend(tells[..1].iter().map(|line| (*line).to_owned()));
    }
    if let Some(machine) = sim.world().sparks.get_mut("spark2") {
        machine.tells.extend(tells[1..].iter().map(|line| (*line).to_owned()));
    }
    for (container, kind, port) in [
        ("parakeet-asr", ServiceKind::Asr, 8000),
        ("kokoro-tts", ServiceKind::Tts, 8880),
        ("bge-m3", ServiceKind::Embeddings, 8001),
        ("qdrant", ServiceKind::Qdrant, 6333),
        // It listens nowhere.
        ("helper", ServiceKind::Bot, 0),
    ] {
        sim.add_service("spark2", container, SimulatedService { kind, port });
    }
    sim
}

fn welcome(places: &ControllerPaths, listen: std::net::SocketAddr) -> anyhow::Result<()> {
    let program =
        std::env::current_exe().map_or_else(|_| "spark-control".into(), |path| path.display().to_string());
    let here = std::env::current_dir().context("the working directory")?;
    let (file, data) = (here.join(&places.file), here.join(&places.data));
    let (file, data) = (file.display(), data.display());
    print(&format!(
        "The page: http://{listen}\n\n\
         Two simulated Sparks, and the file that describes them:\n  {file}\n\
         Change `model: small` to `model: large` in it and save: the model is swapped.\n\n\
         In another terminal:\n  \
         {program} --data {data} status\n  \
         {program} --data {data} use large\n  \
         {program} --data {data} demo fault spark2 silent 30s    (it does not answer for half a minute)\n  \
         {program} --data {data} demo fault spark1 engine-dies    (the model crashes, and is started again)\n  \
         {program} --data {data} demo fault spark1 load-fails    (the next load fails)\n  \
         curl http://127.0.0.11:8888/v1/models\n\n\
         Ctrl-C ends it.\n\n"
    ))
}

/// Ask a running demo to let something go wrong.
///
/// # Errors
/// When no demo runs with this data directory, or it knows no such Spark or fault.
pub async fn fault(
    places: &ControllerPaths,
    spark: &str,
    fault: &str,
    length: &str,
    output: Format,
) -> anyhow::Result<Exit> {
    let length = Span::try_from(length.to_owned()).map_err(anyhow::Error::msg)?;
    let request = FaultRequest { fault: fault.to_owned(), seconds: length.0.as_secs() };
    let reached = reach(places).await?;
    if let ReachedController::Own(..) = reached {
        bail!("no demo runs with the data directory {}", places.data.display());
    }
    match reached.post(&format!("/demo/fault/{}", segment(spark)), &request).await {
        Ok(_) => {
            let data = json!({ "spark": spark, "fault": fault, "seconds": request.seconds });
            say(output, &data, &format!("{fault} on {spark}"))
        }
        Err(error) if error.downcast_ref::<RefusedByController>().is_some() => {
            let known = Fault::ALL.iter().map(|(name, fault)| format!("\n  {name:<18}{}", fault.says()));
            bail!("{error:#}; faults are:{}", known.collect::<String>())
        }
        Err(error) => Err(error),
    }
}
