//! Connections from the network: so many at once, so many from one address, so much of a request's head, so long for it and for
//! its answer. A client that says nothing or takes nothing is let go, so that it keeps nobody out; and some places are for this
//! machine and for who asks whether we are well, whatever the others do.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::ConnectInfo,
    http::header,
    response::{IntoResponse, Response},
};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use rustix::{
    net::sockopt::set_tcp_user_timeout,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use super::{
    api::problem::{Problem, ProblemCode},
    monitors::HEALTH,
};

/// What clients may take of this machine.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// One more waits until one of them ends.
    pub connections: usize,
    /// Of those, from one address that is not this machine.
    pub from_one: usize,
    /// Beside them: for this machine, and for `/healthz` and `/readyz` from elsewhere.
    pub reserve: usize,
    /// From the end of one request to the end of the next one's head.
    pub head: Duration,
    /// What was sent is to be taken within this: a client that reads nothing keeps no place.
    pub unread: Duration,
    /// A connection that follows nothing ends after this, when its answer has been taken: whoever wants another one asks for it
    /// with everybody else.
    pub age: Duration,
}

/// Twice as many as may follow something.
const MOST_CONNECTIONS: u64 = 4096;
/// Files that are not connections: the store, sessions to eight Sparks, what is asked of their endpoints.
const OTHER_FILES: u64 = 512;
/// With fewer files than this, SSH and the store may be left without.
const FEW_FILES: u64 = 256;
/// Monitors, a proxy of this machine, and the command line.
const RESERVE: usize = 32;
/// A request's line and headers. Ours have a tenth of it, with a cookie.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// Accepting goes on after this when the machine has no room for another connection.
const AGAIN: Duration = Duration::from_millis(500);

impl ConnectionLimits {
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
        if files < FEW_FILES {
            warn!(
                "this process may have {files} files open, and {FEW_FILES} are few; raise `ulimit -n`, or LimitNOFILE"
            );
        }
        let connections = connections(files);
        Self {
            connections,
            from_one: (connections / 2).max(1),
            reserve: RESERVE.min(connections / 2),
            head: Duration::from_secs(20),
            unread: Duration::from_secs(60),
            age: Duration::from_secs(300),
        }
    }
}

/// Of so many files, as many connections: what looks at the Sparks comes first.
fn connections(files: u64) -> usize {
    let connections = files.saturating_sub(OTHER_FILES).max(files / 4).min(MOST_CONNECTIONS);
    usize::try_from(connections).unwrap_or(usize::MAX).max(1)
}

/// Who has which places.
struct ConnectionLimiter {
    limits: ConnectionLimits,
    taken: Mutex<ConnectionCounts>,
    freed: Notify,
}

#[derive(Default)]
struct ConnectionCounts {
    open: usize,
    reserve: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// What a connection may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionScope {
    AskAnything,
    /// Of the reserve, from elsewhere.
    AskForHealth,
}

/// A place for one connection, for as long as it lives.
struct ConnectionPermit {
    places: Arc<ConnectionLimiter>,
    from: IpAddr,
    of_reserve: bool,
    may: ConnectionScope,
}

impl ConnectionLimiter {
    /// `Ok(None)`: there is none now. `Err`: this address has enough of them.
    fn take(self: &Arc<Self>, from: IpAddr) -> Result<Option<ConnectionPermit>, ()> {
        let mut taken = self.taken.lock();
        let is_here = is_here(from);
        if !is_here && taken.by_address.get(&from).is_some_and(|count| *count >= self.limits.from_one) {
            return Err(());
        }
        let (of_reserve, may) = if taken.open < self.limits.connections {
            taken.open += 1;
            (false, ConnectionScope::AskAnything)
        } else if taken.reserve < self.limits.reserve {
            taken.reserve += 1;
            (true, if is_here { ConnectionScope::AskAnything } else { ConnectionScope::AskForHealth })
        } else {
            return Ok(None);
        };
        *taken.by_address.entry(from).or_default() += 1;
        Ok(Some(ConnectionPermit { places: self.clone(), from, of_reserve, may }))
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        if self.of_reserve {
            taken.reserve -= 1;
        } else {
            taken.open -= 1;
        }
        if let Some(count) = taken.by_address.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&self.from);
            }
        }
        self.places.freed.notify_one();
    }
}

/// This machine by its usual name, which is also where a proxy in front of us is.
fn is_here(from: IpAddr) -> bool {
    from == IpAddr::V4(Ipv4Addr::LOCALHOST) || from == IpAddr::V6(Ipv6Addr::LOCALHOST)
}

/// Answer until `end`, and then what is being answered.
pub async fn listen(listener: TcpListener, router: Router, limits: ConnectionLimits, end: CancellationToken) {
    let places = Arc::new(ConnectionLimiter { limits, taken: Mutex::default(), freed: Notify::new() });
    let router = TowerToHyperService::new(router);
    let connections = TaskTracker::new();
    loop {
        let next = async {
            let (stream, from) = accept(&listener).await;
            // Whoever waits here keeps the others waiting in the kernel's own queue.
            loop {
                match places.take(from.ip()) {
                    Ok(Some(place)) => return Some((stream, from, place)),
                    Ok(None) => places.freed.notified().await,
                    Err(()) => return None,
                }
            }
        };
        let next = tokio::select! {
            () = end.cancelled() => break,
            next = next => next,
        };
        let Some((stream, from, place)) = next else { continue };
        let answering = answer(stream, from, router.clone(), place.may, limits, end.clone());
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
    may: ConnectionScope,
    limits: ConnectionLimits,
    end: CancellationToken,
) {
    // Without it the first words of a stream wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    // Also of a client that answers and takes nothing, since Linux 4.
    let unread = u32::try_from(limits.unread.as_millis()).unwrap_or(u32::MAX);
    let _ = set_tcp_user_timeout(&stream, unread);
    let follows = Arc::new(AtomicBool::new(false));
    let is_followed = follows.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(from));
        let is_refused = may == ConnectionScope::AskForHealth && !HEALTH.contains(&request.uri().path());
        let asked = (!is_refused).then(|| router.call(request));
        let follows = follows.clone();
        async move {
            let Some(asked) = asked else { return Ok(no_place()) };
            let response: Response = asked.await?;
            let kind = response.headers().get(header::CONTENT_TYPE);
            let is_stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
            follows.fetch_or(is_stream, Ordering::Relaxed);
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_header_size(MAX_HEAD_BYTES);
    let connection = http.serve_connection(TokioIo::new(Taking::new(stream, limits.unread)), service);
    tokio::pin!(connection);
    let done = tokio::select! {
        done = connection.as_mut() => done,
        () = end.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = tokio::time::sleep(limits.age) => {
            connection.as_mut().graceful_shutdown();
            let last = async {
                tokio::time::sleep(limits.unread).await;
                while is_followed.load(Ordering::Relaxed) {
                    tokio::time::sleep(limits.age).await;
                }
            };
            tokio::select! {
                done = connection.as_mut() => done,
                () = last => return debug!(%from, "a client that took its last answer too slowly was let go"),
            }
        }
    };
    if let Err(error) = done {
        debug!(%from, "a connection ended: {error}");
    }
}

fn no_place() -> Response {
    let detail = "every place is taken, and those that are left are for this machine and for /healthz; ask again in a moment";
    let mut response = Problem::new(ProblemCode::TooManyConnections, detail).into_response();
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response
}

/// A connection whose other end must take what it gets: one that is behind for longer than it may ends.
struct Taking<T> {
    stream: T,
    most: Duration,
    behind_since: Option<Instant>,
}

impl<T> Taking<T> {
    fn new(stream: T, most: Duration) -> Self {
        Self { stream, most, behind_since: None }
    }

    /// Not all that there was could be written, or all of it.
    fn is_behind(&mut self, is: bool) -> io::Result<()> {
        if !is {
            self.behind_since = None;
            return Ok(());
        }
        let since = *self.behind_since.get_or_insert_with(Instant::now);
        if since.elapsed() < self.most {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "it takes its answers too slowly"))
    }

    fn wrote(&mut self, done: Poll<io::Result<usize>>, all: usize) -> Poll<io::Result<usize>> {
        let is_behind = !matches!(done, Poll::Ready(Ok(count)) if count == all);
        match self.is_behind(is_behind) {
            Ok(()) => done,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Taking<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Taking<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(done, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = slices.iter().map(|slice| slice.len()).sum();
        let done = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(done, all)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, a thousand open pages would leave no file for a session to a Spark.
    #[test]
    fn connections_leave_files_for_everything_else() {
        for (files, expected) in
            [(0, 1), (64, 16), (256, 64), (1024, 512), (2000, 1488), (4608, 4096), (1 << 40, 4096)]
        {
            assert_eq!(connections(files), expected, "{files}");
        }
    }

    /// If this failed, one client could take every place, or nobody could ask whether we are well.
    #[test]
    fn places_are_shared_and_some_are_kept() {
        let limits = ConnectionLimits {
            connections: 4,
            from_one: 2,
            reserve: 2,
            ..ConnectionLimits::of_this_process()
        };
        let places = Arc::new(ConnectionLimiter { limits, taken: Mutex::default(), freed: Notify::new() });
        let [a, b, c, here] =
            ["192.0.2.1", "192.0.2.2", "192.0.2.3", "127.0.0.1"].map(|text| text.parse().unwrap());
        let take = |from: IpAddr| places.take(from);
        let of_a: Vec<_> = [a, a].map(|from| take(from).unwrap().unwrap()).into_iter().collect();
        assert!(take(a).is_err(), "half of them are enough for one");
        let of_b: Vec<_> = [b, b].map(|from| take(from).unwrap().unwrap()).into_iter().collect();
        assert!(of_a.iter().chain(&of_b).all(|place| place.may == ConnectionScope::AskAnything));
        let (health, own) = (take(c).unwrap().unwrap(), take(here).unwrap().unwrap());
        assert_eq!((health.may, own.may), (ConnectionScope::AskForHealth, ConnectionScope::AskAnything));
        assert!(take(c).unwrap().is_none() && take(here).unwrap().is_none(), "none are left");
        drop(of_a);
        assert_eq!(take(c).unwrap().map(|place| place.may), Some(ConnectionScope::AskAnything));
        drop((of_b, health, own));
        let taken = places.taken.lock();
        assert_eq!((taken.open, taken.reserve, taken.by_address.len()), (0, 0, 0));
    }

    /// If this failed, a client that takes a byte now and then would keep its place for ever.
    #[test]
    fn who_is_behind_for_too_long_is_let_go_and_who_catches_up_is_not() {
        let mut taking = Taking::new((), Duration::from_millis(20));
        assert!(matches!(taking.wrote(Poll::Ready(Ok(5)), 10), Poll::Ready(Ok(5))));
        assert!(taking.wrote(Poll::Pending, 5).is_pending());
        std::thread::sleep(Duration::from_millis(30));
        assert!(matches!(taking.wrote(Poll::Ready(Ok(5)), 5), Poll::Ready(Ok(5))), "it has caught up");
        assert!(taking.wrote(Poll::Pending, 5).is_pending());
        std::thread::sleep(Duration::from_millis(30));
        assert!(matches!(taking.wrote(Poll::Ready(Ok(1)), 5), Poll::Ready(Err(_))));
    }
}
