//! Turns until told to end, and what wakes them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{Controller, round::Mode};
use crate::{core::name::SparkName, docker, host::SharedTransport, manifest::watch, store::StoreError};

/// While something is under way: the memory gate wants several samples in 10 s.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// A round that is under way when the end is asked for gets this long; service managers kill after 90 s.
const LAST_ROUND: Duration = Duration::from_secs(30);
/// Events come in bursts; one look serves them all.
const SETTLE: Duration = Duration::from_millis(50);
/// A container that somebody restarts all the time must not keep this program looking all the time: after this many
/// rounds within the window, wake-ups are served less eagerly.
const BURST: usize = 10;
const BURST_WINDOW: Duration = Duration::from_secs(10);
const EVENTS_DEADLINE: Duration = Duration::from_secs(10);
const EVENTS_AGAIN: Duration = Duration::from_secs(5);

/// Keep the Sparks in the desired state until `end`. A round under way is finished first, when it does not take long.
///
/// # Errors
/// When the store cannot be used any more.
pub async fn run(controller: Arc<Controller>, end: CancellationToken) -> Result<(), StoreError> {
    // Without a watch the interval still finds edits.
    let _watcher = watch::watch(&controller.places.file, controller.wake.clone())
        .map_err(|error| error!("watching {}: {error}", controller.places.file.display()));
    let mut listeners: BTreeMap<SparkName, (SharedTransport, JoinHandle<()>)> = BTreeMap::new();
    let mut began: VecDeque<Instant> = VecDeque::new();
    while !end.is_cancelled() {
        let turn = tokio::select! {
            turn = controller.round(Mode::Act) => turn?,
            // What was sent goes on by itself on its Spark, and is found by the next controller.
            () = async { end.cancelled().await; tokio::time::sleep(LAST_ROUND).await } => break,
        };
        began.push_back(Instant::now());
        if began.len() > BURST {
            began.pop_front();
        }
        listen(&controller, &mut listeners);
        let interval = controller.interval();
        let soon = (turn.acted || turn.waiting) && !turn.failed;
        let pause = if soon { LOOK_AGAIN.min(interval) } else { interval };
        tokio::select! {
            () = end.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
            () = controller.until_health_changes() => {}
            () = controller.wake.notified() => {
                let burst = began.len() >= BURST && began[0].elapsed() < BURST_WINDOW;
                tokio::time::sleep(if burst { LOOK_AGAIN } else { SETTLE }).await;
            }
        }
    }
    for (_, listener) in listeners.into_values() {
        listener.abort();
    }
    Ok(())
}

/// One listener per Spark, for as long as the way to it is the same.
fn listen(
    controller: &Arc<Controller>,
    listeners: &mut BTreeMap<SparkName, (SharedTransport, JoinHandle<()>)>,
) {
    let transports: BTreeMap<_, _> = super::round::shared(controller).into_iter().collect();
    listeners.retain(|name, (transport, listener)| {
        let kept = transports.get(name).is_some_and(|now| Arc::ptr_eq(now, transport));
        if !kept {
            listener.abort();
        }
        kept
    });
    for (name, transport) in transports {
        let wake = controller.wake.clone();
        listeners.entry(name).or_insert_with(|| {
            let events = transport.clone();
            let listener = tokio::spawn(async move {
                loop {
                    if let Ok(mut stream) = docker::events(events.as_ref(), EVENTS_DEADLINE).await {
                        while let Some(Ok(_)) = stream.next().await {
                            wake.notify_one();
                        }
                        wake.notify_one();
                    }
                    tokio::time::sleep(EVENTS_AGAIN).await;
                }
            });
            (transport, listener)
        });
    }
}

impl Controller {
    fn interval(&self) -> Duration {
        let state = self.state();
        // Without a usable file there is nothing to look at but the file.
        state.current.as_ref().map_or(Duration::from_secs(5), |current| current.desired.policy.interval)
    }
}
