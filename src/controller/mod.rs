//! The loop of `lib.rs`, and the handle that others hold.
//!
//! `round` is one turn: read the file, look, notice, plan, take the open steps. `run` takes turns until it is told to
//! end. Every wake-up means "look again" and nothing else.

pub mod access;
pub mod act;
pub mod authenticator;
pub mod busy;
pub mod connectivity;
pub mod edit;
pub mod epoch;
pub mod export;
pub mod figures;
pub mod file;
pub mod logs;
pub mod outbox;
pub mod paths;
pub mod publish;
pub mod pulse;
pub mod refusal;
pub mod round;
pub mod run;
pub mod snapshot;
pub mod state;
pub mod tag;
pub mod transports;
pub mod world;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};

use self::{
    authenticator::{Authenticator, TokensMarker},
    busy::BusyObjects,
    state::{ControllerState, FileInForce},
};
pub use self::{
    paths::ControllerPaths,
    refusal::RequestRefusal,
    snapshot::{RecalledPlan, Snapshot},
    world::{ConnectSpark, OutsideWorld, random_hex, random_name, real_world},
};
use crate::{
    core::{
        decide::{planner, view::View},
        model::{
            approval::Approval, desired::Desired, event_kind::EventKind, id::ControllerId, name::SparkName,
            object::Object, observed::FrontDoor, plan::Plan,
        },
    },
    probe::{
        audit::{self, AuditEntry},
        pending_checks::PendingChecks,
    },
    store::{self, Store, StoreError},
};

/// A round with a silent Spark in it takes its whole deadline, and the one after it as long.
const ROUND: Duration = Duration::from_secs(45);

pub struct Controller {
    pub places: ControllerPaths,
    world: OutsideWorld,
    /// Names this controller in tokens: its name, made once and kept in the store, and this start of it. A copy of the store
    /// is another actor, and so is a store from before.
    pub id: ControllerId,
    state: Mutex<ControllerState>,
    /// One look and decision at a time.
    round_lock: tokio::sync::Mutex<()>,
    /// One message to a Spark at a time, so that they arrive in the order of their tokens.
    spark_locks: Mutex<BTreeMap<SparkName, Arc<tokio::sync::Mutex<()>>>>,
    busy: BusyObjects,
    proofs: PendingChecks,
    /// Rounds that have begun.
    begun: AtomicU64,
    /// One edit at a time.
    edits: Mutex<()>,
    /// One text of the file at a time is read, or written, and taken in: an older one never comes after a newer one.
    texts: Mutex<()>,
    pub wake: Arc<Notify>,
    /// Something was put into the outbox.
    posted: Notify,
    front_doors: Mutex<BTreeMap<Object, FrontDoor>>,
    published: watch::Sender<Arc<Snapshot>>,
    /// Who may ask over HTTP.
    auth: Authenticator,
}

impl Controller {
    /// # Errors
    /// When the store cannot be opened.
    pub fn new(places: ControllerPaths, world: OutsideWorld) -> Result<Self, StoreError> {
        let store = Store::open(&places.data)?;
        let id = match store.value("controller")? {
            Some(id) => id,
            None => {
                let id = world.name.clone();
                store.set_value("controller", &id)?;
                id
            }
        };
        let now = (world.now)();
        let marker = TokensMarker::of(&places.data);
        let auth = Authenticator::new(store.tokens()?, store.sessions()?, marker)?;
        let id = format!("{id}-{}", world.start);
        for step in store.take_interrupted(now)? {
            let message =
                format!("{step}: the controller ended before its outcome was known; the next look tells");
            store.add_event(EventKind::Unknown, step.object().as_str(), &message, now)?;
        }
        let mut ledger = store.ledger()?;
        // Whoever starts it anew wants it to act: it claims a higher epoch.
        ledger.fenced = None;
        let current = match store.last_revision()? {
            Some((revision, text)) => crate::manifest::load::load(&text).ok().map(|loaded| FileInForce {
                revision,
                text: text.into(),
                desired: Arc::new(loaded.desired),
                value: OnceLock::new(),
            }),
            None => None,
        };
        let state = ControllerState {
            store,
            ledger,
            current,
            last_text: None,
            file_error: None,
            pending: None,
            kept_plan: None,
            warnings: Vec::new(),
            transports: BTreeMap::new(),
            sessions: BTreeMap::new(),
            observed: None,
            looks: 0,
            said: BTreeMap::new(),
            spells: BTreeMap::new(),
            trails: BTreeMap::new(),
            epoch: None,
            sequence: 0,
        };
        Ok(Self {
            places,
            world,
            id: id.into(),
            state: Mutex::new(state),
            round_lock: tokio::sync::Mutex::new(()),
            spark_locks: Mutex::default(),
            busy: BusyObjects::default(),
            proofs: PendingChecks::default(),
            begun: AtomicU64::new(0),
            edits: Mutex::new(()),
            texts: Mutex::new(()),
            wake: Arc::new(Notify::new()),
            front_doors: Mutex::default(),
            posted: Notify::new(),
            published: watch::Sender::new(Arc::new(Snapshot::default())),
            auth,
        })
    }

    /// What stands in front of slots and services tells what it lets through, whenever that changes. The snapshot says, with the state
    /// of each backend, which doors are to be closed; a round follows at once, because a stop may wait for just that.
    pub fn report_front_doors(&self, doors: BTreeMap<Object, FrontDoor>) {
        let before = std::mem::replace(&mut *self.front_doors.lock(), doors.clone());
        if before != doors {
            self.wake.notify_one();
        }
    }

    fn front_doors(&self) -> BTreeMap<Object, FrontDoor> {
        self.front_doors.lock().clone()
    }

    /// Rounds that have begun: what the next one sees was seen after this call.
    pub fn rounds_begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// What is known now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.borrow().clone()
    }

    /// Follows every round.
    pub fn follow(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.published.subscribe()
    }

    /// What is known of a look that begins now. In the middle of a long step the last look is what there is; it says when it was.
    pub async fn look_now(&self) -> Arc<Snapshot> {
        let mut following = self.follow();
        // The round that is under way may have looked before the request; the one after it has not.
        let begun = self.rounds_begun();
        self.wake.notify_one();
        let newer = async {
            while following.borrow_and_update().round <= begun {
                if following.changed().await.is_err() {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(ROUND, newer).await;
        self.snapshot()
    }

    /// Wait for the first look, where there was none yet: who agrees to a plan in the moment after a start is not told to come again.
    pub async fn looked_once(&self) {
        let has_looked = self.state().observed.is_some();
        if !has_looked {
            self.look_now().await;
        }
    }

    /// The desired state in force.
    pub fn in_force(&self) -> Option<Arc<Desired>> {
        self.state().current.as_ref().map(|current| current.desired.clone())
    }

    /// Revisions that are kept and when they came into force, newest first.
    pub fn revisions(&self, count: usize) -> Vec<(u64, String)> {
        self.state().store.revisions(count)
    }

    /// The text of one of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn revision_text(&self, revision: u64) -> Result<Option<String>, StoreError> {
        self.state().store.revision(revision)
    }

    /// By this controller's clock.
    pub fn now(&self) -> Timestamp {
        (self.world.now)()
    }

    /// A person agrees to the steps of a plan that was shown, or to a file that takes much out.
    ///
    /// # Errors
    /// Why not: no such plan, or the facts it relied on that changed.
    pub fn approve(&self, id: &str, by: &str) -> Result<(), RequestRefusal> {
        let mut state = self.state();
        if state.pending.as_ref().is_some_and(|pending| pending.id == id) {
            state.ledger.accepted_removals.insert(id.into());
            state.keep_ledger()?;
            let message = format!("the removals of {id} were approved by {by}");
            state.store.add_event(EventKind::Approved, "", &message, (self.world.now)())?;
            state.store.sync()?;
            state.last_text = None;
            drop(state);
            self.wake.notify_one();
            return Ok(());
        }
        let plan = state.store.plan(id)?.ok_or_else(|| RequestRefusal::NoSuchPlan(id.to_owned()))?;
        let changed = self.changed_since(&state, &plan)?;
        if !changed.is_empty() {
            return Err(RequestRefusal::Stale(changed));
        }
        let now = (self.world.now)();
        state.ledger.approve(Approval::of(&plan, by, now));
        state.keep_ledger()?;
        state.store.add_event(EventKind::Approved, "", &format!("plan {id} was approved by {by}"), now)?;
        state.store.sync()?;
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Wait until everything that was told is written down.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.state().store.sync()
    }

    /// It was shown to somebody.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn keep_plan(&self, plan: &Plan) -> Result<(), StoreError> {
        self.state().store.keep_plan(plan)
    }

    /// A plan that was shown, and what it relied on and is not so any more.
    ///
    /// # Errors
    /// When there is no such plan.
    pub fn shown(&self, id: &str) -> Result<RecalledPlan, RequestRefusal> {
        let state = self.state();
        let plan = state.store.plan(id)?.ok_or_else(|| RequestRefusal::NoSuchPlan(id.to_owned()))?;
        let changed = self.changed_since(&state, &plan)?;
        Ok(RecalledPlan { plan, changed })
    }

    fn changed_since(&self, state: &ControllerState, plan: &Plan) -> Result<Vec<String>, StoreError> {
        let Some(observed) = &state.observed else {
            return Ok(vec!["nothing has been looked at since this controller started; ask again".into()]);
        };
        let done = state.store.done_since(plan.at)?;
        let mut changed = plan.still_holds(observed, &done, (self.world.now)()).err().unwrap_or_default();
        // What would be done now, also when the file was changed a moment ago and nobody has looked since.
        if let Some(FileInForce { revision, desired, .. }) = &state.current {
            let now = planner::plan(
                View { desired, observed, ledger: &state.ledger, now: (self.world.now)() },
                *revision,
            );
            changed.extend(plan.overtaken_by(&now));
        }
        Ok(changed)
    }

    /// Clear the failed attempts of an object, so that it is tried again. Tells whether there were any.
    ///
    /// # Errors
    /// When there is no such object, or the store cannot be written.
    pub fn retry(&self, object: &str, by: &str) -> Result<bool, RequestRefusal> {
        self.knows(object)?;
        let mut state = self.state();
        let cleared = state.ledger.forget_failures(object);
        state.keep_ledger()?;
        let now = (self.world.now)();
        state.store.add_event(EventKind::Retry, object, &format!("a retry was asked for by {by}"), now)?;
        state.store.sync()?;
        drop(state);
        self.wake.notify_one();
        Ok(cleared)
    }

    /// What would be done if the failed attempts of an object were forgotten; `None` before anything was looked at.
    ///
    /// # Errors
    /// When there is no such object.
    pub fn plan_of_retry(&self, object: &str) -> Result<Option<Plan>, RequestRefusal> {
        self.knows(object)?;
        let state = self.state();
        let (Some(FileInForce { revision, desired, .. }), Some(observed)) = (&state.current, &state.observed)
        else {
            return Ok(None);
        };
        let mut ledger = state.ledger.clone();
        ledger.forget_failures(object);
        Ok(Some(planner::plan(
            View { desired, observed, ledger: &ledger, now: (self.world.now)() },
            *revision,
        )))
    }

    /// # Errors
    /// When no slot, service or files have that name.
    pub fn knows(&self, object: &str) -> Result<(), RequestRefusal> {
        match &self.state().current {
            Some(current) => current.known(object),
            None => Err(RequestRefusal::NoSuchObject(object.to_owned(), "; no file is in force".into())),
        }
    }

    /// What was answered to a request that comes again.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn answer(&self, key: &str) -> Result<Option<crate::store::answers::StoredResponse>, StoreError> {
        self.state().store.answer(key, self.now())
    }

    /// # Errors
    /// When the store cannot be written.
    pub fn keep_answer(
        &self,
        key: &str,
        answer: &crate::store::answers::StoredResponse,
    ) -> Result<(), StoreError> {
        self.state().store.keep_answer(key, answer, self.now())
    }

    /// # Errors
    /// When the store cannot be read.
    pub fn events(&self, count: u32) -> Result<Vec<Arc<store::Event>>, StoreError> {
        self.state().store.events(count)
    }

    /// The number of the newest line of the history.
    pub fn last_event(&self) -> i64 {
        self.state().store.last_event()
    }

    /// Those after the one of that number, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn events_after(&self, number: i64, count: u32) -> Result<Vec<Arc<store::Event>>, StoreError> {
        self.state().store.events_after(number, count)
    }

    /// What a Spark wrote down of the messages that reached it.
    ///
    /// # Errors
    /// When there is no such Spark, or it does not answer.
    pub async fn audit(&self, spark: &str, last: u32) -> Result<Vec<AuditEntry>, RequestRefusal> {
        let (name, way) = self.state().way_to(spark)?;
        let cluster = self.in_force().map(|desired| desired.cluster.to_string()).unwrap_or_default();
        let read = audit::read(way.as_ref(), &cluster, last).await;
        read.map_err(|error| RequestRefusal::Unreachable(name, error))
    }

    /// # Errors
    /// When the store cannot be read.
    pub fn stored_plan(&self, id: &str) -> Result<Option<Plan>, StoreError> {
        self.state().store.plan(id)
    }

    fn state(&self) -> MutexGuard<'_, ControllerState> {
        self.state.lock()
    }
}
