//! `serve`: the loop, its control socket and its listener, until SIGTERM or SIGINT.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use axum::Router;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Exit, reach};
use crate::{
    controller::{Controller, ControllerPaths, OutsideWorld, run},
    web::{
        self,
        api::limits::ApiLimits,
        control::{self, LookedBy},
        guard::Hosts,
        listen::{ConnectionLimits, listen},
    },
};

/// Where the faces are shown.
pub struct ListenAddress {
    pub address: SocketAddr,
    /// Under which names, beside addresses and `localhost`.
    pub hosts: Hosts,
}

/// Longer than a look at the Sparks by a command.
const LOCK_DEADLINE: Duration = Duration::from_secs(30);

/// `extra` routes answer on the control socket too.
///
/// # Errors
/// When it cannot start, or the store fails.
pub async fn serve(
    places: ControllerPaths,
    world: OutsideWorld,
    listen_at: ListenAddress,
    extra: Router,
) -> anyhow::Result<Exit> {
    let ListenAddress { address, hosts } = listen_at;
    let _lock = lock(&places.data).await?;
    let socket = places.data.join("control.sock");
    let controller = Arc::new(Controller::new(places, world)?);
    let control = control::bind(&socket).with_context(|| format!("binding {}", socket.display()))?;
    let network = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    let address = network.local_addr().unwrap_or(address);
    if !address.ip().is_loopback() && !controller.needs_token() {
        warn!(
            "whoever reaches {address} may edit the file and agree to plans: nobody is asked for a token; let only a network \
             that you trust reach it, or make one with `spark-control token create`"
        );
    }
    if controller.tokens_are_lost() {
        warn!(
            "there were tokens, and the store has none any more: nobody is let in over HTTP until there is one again \
             (`spark-control token create NAME --role approve`), or a backup of the store is put back"
        );
    }
    info!(listen = %address, socket = %socket.display(), "serving");
    let end = CancellationToken::new();
    let limits = ApiLimits::default();
    let commands = control::router(controller.clone(), LookedBy::Loop, limits.clone()).merge(extra);
    let control =
        axum::serve(control, commands).with_graceful_shutdown(end.clone().cancelled_owned()).into_future();
    let faces = web::router(controller.clone(), hosts, limits);
    let faces = tokio::spawn(listen(network, faces, ConnectionLimits::of_this_process(), end.clone()));
    let control = tokio::spawn(control);
    let signals = tokio::spawn(stop_on_signal(end.clone())?);
    let result = run::run(controller, end.clone()).await;
    end.cancel();
    signals.abort();
    // Streams that clients keep open must not keep the process.
    let _ = tokio::time::timeout(Duration::from_secs(3), async { tokio::join!(control, faces) }).await;
    let _ = std::fs::remove_file(&socket);
    info!("ended");
    result?;
    Ok(Exit::Done)
}

/// A command that works without a controller holds the lock for a moment.
async fn lock(data: &std::path::Path) -> anyhow::Result<reach::DataDirectoryLock> {
    let deadline = tokio::time::Instant::now() + LOCK_DEADLINE;
    loop {
        if let Some(lock) = reach::lock(data)? {
            return Ok(lock);
        }
        if tokio::time::Instant::now() > deadline {
            bail!("another Spark Control runs with {}; end it, or use another --data", data.display());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn stop_on_signal(end: CancellationToken) -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("ending after this round");
        end.cancel();
    })
}
