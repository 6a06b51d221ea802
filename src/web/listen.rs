//! Connections from the network: so many at once, so much of a request's head, so long for it. A client that says nothing
//! is let go, so that it keeps nobody out.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::{
    net::sockopt::set_tcp_user_timeout,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// What clients may take of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// One more waits until one of them ends.
    pub connections: usize,
    /// From the end of one request to the end of the next one's head.
    pub head: Duration,
    /// What was sent is to be taken within this: a client that reads nothing keeps no place.
    pub unread: Duration,
}

/// Twice as many as may follow something.
const MOST_CONNECTIONS: u64 = 4096;
/// Files that are not connections: the store, sessions to eight Sparks, what is asked of their endpoints.
const OTHER_FILES: u64 = 512;
/// A request's line and headers. Ours have a tenth of it, with a cookie.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// Accepting goes on after this when the machine has no room for another connection.
const AGAIN: Duration = Duration::from_millis(500);

impl Limits {
    /// As many as this process may have. Service managers give it a thousand files and allow more to who asks.
    pub fn of_this_process() -> Self {
        let wanted = MOST_CONNECTIONS + OTHER_FILES;
        let now = getrlimit(Resource::Nofile);
        let files =
            now.maximum.map_or(wanted, |maximum| maximum.min(wanted)).max(now.current.unwrap_or(wanted));
        if now.current.is_some_and(|current| current < files) {
            let more = Rlimit { current: Some(files), maximum: now.maximum };
            if let Err(error) = setrlimit(Resource::Nofile, more) {
                debug!("asking for {files} files: {error}");
            }
        }
        let files = getrlimit(Resource::Nofile).current.unwrap_or(wanted);
        Self {
            connections: connections(files),
            head: Duration::from_secs(20),
            unread: Duration::from_secs(60),
        }
    }
}

/// Of so many files, as many connections.
fn connections(files: u64) -> usize {
    let connections = files.saturating_sub(OTHER_FILES).max(files / 2).min(MOST_CONNECTIONS);
    usize::try_from(connections).unwrap_or(usize::MAX).max(1)
}

/// Answer until `end`, and then what is being answered.
pub async fn listen(listener: TcpListener, router: Router, limits: Limits, end: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let router = TowerToHyperService::new(router);
    let connections = TaskTracker::new();
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.expect("nobody closes it");
            (place, accept(&listener).await)
        };
        let (place, (stream, from)) = tokio::select! {
            () = end.cancelled() => break,
            next = next => next,
        };
        let answering = answer(stream, from, router.clone(), limits, end.clone());
        connections.spawn(async move {
            answering.await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // It was gone before it was accepted, or there is no room for it.
            Err(error) => {
                warn!("accepting a connection: {error}");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// One connection, to its end.
async fn answer(
    stream: TcpStream,
    from: SocketAddr,
    router: TowerToHyperService<Router>,
    limits: Limits,
    end: CancellationToken,
) {
    // Without it the first words of a stream wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    // Also of a client that answers and takes nothing, since Linux 4.
    let unread = u32::try_from(limits.unread.as_millis()).unwrap_or(u32::MAX);
    let _ = set_tcp_user_timeout(&stream, unread);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(from));
        router.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_header_size(MAX_HEAD_BYTES);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let done = tokio::select! {
        done = connection.as_mut() => done,
        () = end.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = done {
        debug!(%from, "a connection ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, a thousand open pages would leave no file for a session to a Spark.
    #[test]
    fn connections_leave_files_for_everything_else() {
        for (files, expected) in
            [(0, 1), (256, 128), (1024, 512), (2000, 1488), (4608, 4096), (1 << 40, 4096)]
        {
            assert_eq!(connections(files), expected, "{files}");
        }
    }
}
