//! Turns until told to end, and what wakes them.

use std::{
    collections::{BTreeMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    Controller,
    round::{RoundMode, RoundOutcome},
};
use crate::{
    core::model::name::SparkName, docker, host::SharedTransport, manifest::watch, probe, store::StoreError,
};

/// While something is under way.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// While nothing serves and the memory gate wants its samples: two seconds of them are enough where much is free.
const LOOK_AT_GATE: Duration = Duration::from_millis(700);
/// What is under way when the end is asked for gets this long; service managers kill after 90 s.
const LAST_ROUND: Duration = Duration::from_secs(30);
/// Events come in bursts; one look serves them all.
const SETTLE: Duration = Duration::from_millis(50);
/// A container that somebody restarts all the time must not keep this program looking all the time: after this many
/// rounds within the window, wake-ups are served less eagerly.
const BURST: usize = 10;
const BURST_WINDOW: Duration = Duration::from_secs(10);
const EVENTS_DEADLINE: Duration = Duration::from_secs(10);
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// Keep the Sparks in the desired state until `end`. A round under way is finished first, when it does not take long.
///
/// # Errors
/// When the store cannot be used any more.
pub async fn run(controller: Arc<Controller>, end: CancellationToken) -> Result<(), StoreError> {
    // Without a watch the interval still finds edits.
    let _watcher = watch::watch(&controller.places.file, controller.wake.clone())
        .map_err(|error| error!("watching {}: {error}", controller.places.file.display()));
    let mut listeners: BTreeMap<SparkName, (SharedTransport, JoinHandle<()>)> = BTreeMap::new();
    let delivering = {
        let controller = controller.clone();
        tokio::spawn(async move { controller.deliver().await })
    };
    let asking = {
        let controller = controller.clone();
        tokio::spawn(async move { controller.keep_asking().await })
    };
    let mut began: VecDeque<Instant> = VecDeque::new();
    // What is being done while the next turn looks.
    let mut acting: JoinSet<Result<bool, StoreError>> = JoinSet::new();
    'turns: while !end.is_cancelled() {
        let deciding = AssertUnwindSafe(controller.decide(RoundMode::Act)).catch_unwind();
        let decided = tokio::select! {
            decided = deciding => decided,
            () = async { end.cancelled().await; tokio::time::sleep(LAST_ROUND).await } => break,
        };
        let (turn, acts) = match decided {
            Ok(decided) => decided?,
            // A mistake of ours, which the hook has logged: nothing was decided, and the next look may meet something else.
            Err(_) => (RoundOutcome::default(), None),
        };
        if let Some(acts) = acts {
            let controller = controller.clone();
            acting.spawn(async move { controller.perform_all(acts).await });
        }
        began.push_back(Instant::now());
        if began.len() > BURST {
            began.pop_front();
        }
        listen(&controller, &mut listeners);
        let interval = controller.interval();
        let soon = turn.acted || turn.waiting;
        let mut pause = match turn {
            RoundOutcome { at_gate: true, .. } => LOOK_AT_GATE.min(interval),
            _ if soon => LOOK_AGAIN.min(interval),
            _ => interval,
        };
        let looked = Instant::now();
        loop {
            tokio::select! {
                () = end.cancelled() => break 'turns,
                Some(done) = acting.join_next() => {
                    // One that panicked was not done, as far as anybody knows.
                    let all_done = done.unwrap_or(Ok(false))?;
                    // Trying again at once would be no better.
                    if !all_done {
                        pause = interval;
                        continue;
                    }
                }
                () = tokio::time::sleep_until(looked + pause) => {}
                () = controller.wake.notified() => {
                    let burst = began.len() >= BURST && began[0].elapsed() < BURST_WINDOW;
                    tokio::time::sleep(if burst { LOOK_AGAIN } else { SETTLE }).await;
                }
            }
            break;
        }
    }
    // What was sent goes on by itself on its Spark, and is found by the next controller.
    let _ = tokio::time::timeout(LAST_ROUND, async { while acting.join_next().await.is_some() {} }).await;
    delivering.abort();
    asking.abort();
    for (_, listener) in listeners.into_values() {
        listener.abort();
    }
    // Whoever locks the data directory next must not meet a store that is still being written.
    controller.flush()
}

/// One listener per Spark, for as long as the way to it is the same.
fn listen(
    controller: &Arc<Controller>,
    listeners: &mut BTreeMap<SparkName, (SharedTransport, JoinHandle<()>)>,
) {
    let transports = controller.known_transports();
    listeners.retain(|name, (transport, listener)| {
        let kept = transports.get(name).is_some_and(|now| Arc::ptr_eq(now, transport));
        if !kept {
            listener.abort();
        }
        kept
    });
    for (name, transport) in transports {
        let controller = controller.clone();
        listeners.entry(name.clone()).or_insert_with(|| {
            let way = transport.clone();
            let listener = tokio::spawn(async move {
                let events = async {
                    loop {
                        let _ = AssertUnwindSafe(controller.listen_to_events(&way)).catch_unwind().await;
                        tokio::time::sleep(LISTEN_AGAIN).await;
                    }
                };
                let floor = async {
                    loop {
                        let _ = AssertUnwindSafe(controller.watch_floor(&name, &way)).catch_unwind().await;
                        tokio::time::sleep(LISTEN_AGAIN).await;
                    }
                };
                let ((), ()) = tokio::join!(events, floor);
            });
            (transport, listener)
        });
    }
}

impl Controller {
    /// Every event of the Docker Engine there means "look again".
    async fn listen_to_events(&self, way: &SharedTransport) {
        let Ok(mut stream) = docker::events(way.as_ref(), EVENTS_DEADLINE).await else { return };
        while let Some(Ok(_)) = stream.next().await {
            self.wake.notify_one();
        }
        self.wake.notify_one();
    }

    /// Let the ledger know how much memory is free there, until the machine does not answer any more.
    pub async fn watch_floor(&self, spark: &SparkName, way: &SharedTransport) {
        let Ok(mut samples) = probe::floor::samples(way.as_ref()).await else { return };
        while let Some(available_bytes) = samples.next().await {
            let now = (self.world.now)();
            let mut state = self.state();
            let state = &mut *state;
            let Some(current) = &state.current else { continue };
            let Some(noticed) = state.ledger.watch_floor(spark, available_bytes, &current.desired, now)
            else {
                continue;
            };
            warn!(object = %noticed.object, "{}", noticed.message);
            let object = noticed.object.as_str();
            let kept = state.store.add_event(noticed.kind, object, &noticed.message, now);
            if let Err(error) = kept.and_then(|()| state.keep_ledger()) {
                error!("remembering what was given up: {error}");
            }
            self.wake.notify_one();
        }
    }

    fn interval(&self) -> Duration {
        let state = self.state();
        // Without a usable file there is nothing to look at but the file.
        state.current.as_ref().map_or(Duration::from_secs(5), |current| current.desired.policy.interval)
    }
}
