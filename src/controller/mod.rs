//! The loop of `lib.rs`, and the handle that others hold.
//!
//! `round` is one turn: read the file, look, notice, plan, take the open steps. `run` takes turns until it is told to
//! end. Every wake-up means "look again" and nothing else.

pub mod access;
pub mod connectivity;
pub mod edit;
pub mod export;
pub mod figures;
pub mod file;
pub mod logs;
pub mod outbox;
pub mod pulse;
pub mod round;
pub mod run;
pub mod tag;
pub mod transports;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore, watch};

use crate::{
    core::{
        decide::{planner, serving::Backend},
        model::{
            approval::Approval,
            desired::{Desired, ReachMethod, Secret},
            event_kind::EventKind,
            id::{ControllerId, PlanId},
            ledger::Ledger,
            name::{ModelName, ServiceName, SparkName, nearest},
            object::Object,
            observed::{FrontDoor, Observed},
            plan::Plan,
            reason::Reason,
        },
        tell::{concern::Headline, slot_summary::SlotSummary},
    },
    host::{SharedTransport, Unreachable, local::LocalTransport, ssh},
    probe::{
        audit::{self, AuditEntry},
        http::Http,
        pending_checks::PendingChecks,
    },
    store::{self, Store, StoreError},
};

/// A round with a silent Spark in it takes its whole deadline, and the one after it as long.
const ROUND: Duration = Duration::from_secs(45);

/// What somebody follows over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    Events,
    /// Each asks a Spark every other second.
    Log,
}

impl StreamKind {
    /// At once: more pages than there are people to look at them.
    pub const fn most(self) -> usize {
        match self {
            Self::Events => 2048,
            Self::Log => 64,
        }
    }
}

/// Makes the way to a Spark. The simulated world has its own.
pub type Connect = dyn Fn(&SparkName, &crate::core::model::desired::Spark) -> SharedTransport + Send + Sync;

/// What a controller stands on.
pub struct OutsideWorld {
    pub connect: Box<Connect>,
    pub http: Arc<dyn Http>,
    pub now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    /// Names a controller that has no name yet.
    pub name: String,
    /// Names this start of it.
    pub start: String,
    /// A file that was written this short a time ago may still be being written.
    pub quiet: Duration,
}

/// Where things are.
#[derive(Debug, Clone)]
pub struct ControllerPaths {
    pub file: PathBuf,
    /// Somebody named it, rather than its being the default.
    pub is_file_told: bool,
    /// Store, key, known hosts, saved logs.
    pub data: PathBuf,
    /// Places of secrets that whoever may edit may name, beside the data directory's `secrets`. A folder stands for its files.
    pub allowed_secrets: Vec<Secret>,
}

impl ControllerPaths {
    /// May somebody who may only edit name this place?
    pub fn allows(&self, secret: &Secret) -> bool {
        let is_in = |path: &std::path::Path, folder: &std::path::Path| {
            let is_plain = |part: std::path::Component<'_>| !matches!(part, std::path::Component::ParentDir);
            path.starts_with(folder) && path.components().all(is_plain)
        };
        match secret {
            Secret::Env(_) => self.allowed_secrets.contains(secret),
            Secret::File(path) => {
                let path = std::path::Path::new(path.as_str());
                let own =
                    std::path::absolute(&self.data).unwrap_or_else(|_| self.data.clone()).join("secrets");
                let told = self.allowed_secrets.iter().filter_map(|allowed| match allowed {
                    Secret::File(folder) => Some(PathBuf::from(folder.as_str())),
                    Secret::Env(_) => None,
                });
                told.chain([own]).any(|folder| is_in(path, folder.as_path()))
            }
        }
    }
}

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
    busy: round::BusyObjects,
    proofs: PendingChecks,
    /// Rounds that have begun.
    begun: AtomicU64,
    /// One edit at a time.
    edits: Mutex<()>,
    /// One text of the file at a time is read, or written, and taken in: an older one never comes after a newer one.
    texts: Mutex<()>,
    pub wake: Arc<Notify>,
    /// Places for who follows what happens, and what containers say.
    events_followers: Arc<Semaphore>,
    log_followers: Arc<Semaphore>,
    /// Something was put into the outbox.
    posted: Notify,
    front_doors: Mutex<BTreeMap<Object, FrontDoor>>,
    published: watch::Sender<Arc<Snapshot>>,
    /// Who may ask over HTTP.
    auth: access::Authenticator,
}

struct ControllerState {
    store: Store,
    ledger: Ledger,
    /// The last good file.
    current: Option<FileInForce>,
    /// The bytes that were read last, good or bad.
    last_text: Option<Vec<u8>>,
    file_error: Option<String>,
    pending: Option<file::PendingFile>,
    /// The plan that was stored last, and when.
    kept_plan: Option<(PlanId, Timestamp)>,
    warnings: Vec<String>,
    transports: transports::TransportsByKey<SparkName>,
    /// The sessions of bots' users.
    sessions: transports::TransportsByKey<Object>,
    observed: Option<Observed>,
    /// Rounds that have put what they saw there.
    looks: u64,
    /// Why nothing is done about an object, as it was said last.
    said: BTreeMap<Object, Reason>,
    /// How each endpoint was at the last look.
    spells: BTreeMap<Object, connectivity::EndpointUptime>,
    /// Free memory over the last hours.
    trails: BTreeMap<SparkName, figures::MemoryHistory>,
    epoch: Option<u64>,
    sequence: u64,
}

impl ControllerState {
    /// How the Spark of that name is reached.
    fn way_to(&self, spark: &str) -> Result<(SparkName, SharedTransport), RequestRefusal> {
        let known = self.transports.iter().find(|(name, _)| name.as_str() == spark);
        let (name, (_, way)) = known.ok_or_else(|| {
            let names = self.transports.keys().map(SparkName::as_str);
            let hint =
                nearest(spark, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            RequestRefusal::NoSuchSpark(spark.to_owned(), hint)
        })?;
        Ok((name.clone(), way.clone()))
    }

    fn keep_ledger(&mut self) -> Result<(), StoreError> {
        self.store.set_ledger(&self.ledger)
    }
}

#[derive(Clone)]
struct FileInForce {
    revision: u64,
    text: Arc<str>,
    desired: Arc<Desired>,
    /// The text as a value, once somebody asked for it.
    value: OnceLock<Arc<serde_json::Value>>,
}

impl FileInForce {
    /// The slot or service of that name.
    fn known(&self, object: &str) -> Result<(), RequestRefusal> {
        let slots = self.desired.slots.keys().map(Object::as_str);
        let weights = self.desired.models.iter().filter(|(_, model)| model.weights.is_some());
        let weights: Vec<Object> = weights.map(|(name, _)| Object::weights(name)).collect();
        let services = self.desired.services.keys().map(ServiceName::as_str);
        let names: Vec<&str> = slots.chain(services).chain(weights.iter().map(Object::as_str)).collect();
        if names.contains(&object) {
            return Ok(());
        }
        let hint = nearest(object, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        Err(RequestRefusal::NoSuchObject(object.to_owned(), hint))
    }
}

/// What is known after a round; what every face shows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// The number of the round that saw this, since the start.
    pub round: u64,
    pub at: Option<Timestamp>,
    /// How long the look at the Sparks and endpoints took.
    pub looked_ms: u64,
    /// The revision in force.
    pub revision: Option<u64>,
    /// Why the file is not the revision in force.
    pub file_error: Option<String>,
    /// What to approve for the file to come into force, when that is all that is missing.
    pub pending_approval: Option<String>,
    /// Where it is.
    pub file: PathBuf,
    pub warnings: Vec<String>,
    pub fenced: Option<String>,
    pub plan: Option<Plan>,
    pub observed: Option<Observed>,
    pub status: Vec<crate::core::model::status_line::StatusLine>,
    pub drift: Vec<crate::core::decide::drift::Drift>,
    /// Whom all of that concerns.
    #[serde(default)]
    pub headline: Headline,
    /// What answers over HTTP, where, and whether it is to be sent anything.
    #[serde(default)]
    pub backends: Vec<Backend>,
    #[serde(default)]
    pub outlook: Vec<SlotSummary>,
    /// Seconds that loads of each model took, newest last; not told to commands.
    #[serde(skip)]
    pub load_secs: BTreeMap<ModelName, Vec<u64>>,
    /// What all of this is measured against; not told to commands.
    #[serde(skip)]
    pub desired: Option<Arc<Desired>>,
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
        let marker = access::TokensMarker::of(&places.data);
        let auth = access::Authenticator::new(store.tokens()?, store.sessions()?, marker)?;
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
            busy: round::BusyObjects::default(),
            proofs: PendingChecks::default(),
            begun: AtomicU64::new(0),
            edits: Mutex::new(()),
            texts: Mutex::new(()),
            wake: Arc::new(Notify::new()),
            events_followers: Arc::new(Semaphore::new(StreamKind::Events.most())),
            log_followers: Arc::new(Semaphore::new(StreamKind::Log.most())),
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

    /// Places for those who follow this.
    pub fn followers(&self, what: StreamKind) -> &Arc<Semaphore> {
        match what {
            StreamKind::Events => &self.events_followers,
            StreamKind::Log => &self.log_followers,
        }
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
            state.ledger.accepted_removals.insert(id.to_owned());
            state.keep_ledger()?;
            let message = format!("the removals of {id} were approved by {by}");
            state.store.add_event(EventKind::Approved, "", &message, (self.world.now)())?;
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
        drop(state);
        self.wake.notify_one();
        Ok(())
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
            let now = planner::plan(desired, *revision, observed, &state.ledger, (self.world.now)());
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
        Ok(Some(planner::plan(desired, *revision, observed, &ledger, (self.world.now)())))
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

/// A plan of before, as it is now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecalledPlan {
    pub plan: Plan,
    /// Empty while it could still be agreed to.
    pub changed: Vec<String>,
}

/// Why something that a person asked for was not done.
#[derive(Debug, thiserror::Error)]
pub enum RequestRefusal {
    #[error("no plan `{0}` was shown here")]
    NoSuchPlan(String),
    #[error("no slot or service is named `{0}`{1}")]
    NoSuchObject(String, String),
    #[error("no Spark is named `{0}`{1}")]
    NoSuchSpark(String, String),
    #[error("`{0}` has no container named `{1}`{2}")]
    NoSuchContainer(SparkName, String, String),
    #[error("`{0}` did not tell: {1}")]
    Unreachable(SparkName, Unreachable),
    #[error("the plan is stale: {}", .0.join("; "))]
    Stale(Vec<String>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The real world.
pub fn real_world(data: &std::path::Path) -> std::io::Result<OutsideWorld> {
    let data = data.to_owned();
    let directory = control_directory(&std::path::absolute(&data)?)?;
    ssh::prepare(&directory)?;
    let connect = move |name: &SparkName, spark: &crate::core::model::desired::Spark| -> SharedTransport {
        match &spark.reach {
            ReachMethod::Local => {
                Arc::new(LocalTransport::new(std::path::Path::new(spark.docker_socket.as_str())))
            }
            ReachMethod::Ssh { user, port, key } => Arc::new(ssh::SshTransport::new(ssh::SshTarget {
                name: name.to_string(),
                address: spark.address.to_string(),
                user: user.to_string(),
                port: *port,
                key: key.as_ref().map_or_else(|| data.join("id_ed25519"), |key| PathBuf::from(key.as_str())),
                known_hosts: data.join("known_hosts"),
                docker_socket: PathBuf::from(spark.docker_socket.as_str()),
                directory: directory.clone(),
            })),
        }
    };
    Ok(OutsideWorld {
        connect: Box::new(connect),
        http: Arc::new(crate::probe::http::HttpClient::new(crate::apply::secret)),
        now: Box::new(Timestamp::now),
        name: random_name(),
        start: random_hex(2),
        quiet: crate::manifest::watch::QUIET,
    })
}

/// Of the 108 bytes that a Unix socket's path may have, 24 are the connection's and 24 those of a name that ssh lengthens while it
/// makes the socket.
const LONGEST_DIRECTORY: usize = 59;

/// Where SSH's sockets are: in the user's runtime directory, else in the data directory. Where both are too long, below `/tmp`, by a
/// name that nobody can guess, and make before; a link in the data directory remembers it.
fn control_directory(data: &std::path::Path) -> std::io::Result<PathBuf> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let fits = |directory: &PathBuf| directory.as_os_str().len() <= LONGEST_DIRECTORY;
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    let of_user = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let of_user = of_user.filter(|base| base.is_absolute() && base.is_dir());
    let of_user =
        of_user.map(|base| base.join(format!("spark-control-{:08x}", hasher.finish() & 0xffff_ffff)));
    if let Some(directory) = of_user.into_iter().chain([data.join("ssh")]).find(fits) {
        return Ok(directory);
    }
    let link = data.join("ssh-is-in");
    if let Some(known) = std::fs::read_link(&link).ok().filter(|known| ssh::is_of_this_user(known)) {
        return Ok(known);
    }
    let directory = PathBuf::from("/tmp").join(format!("spark-control-{}", random_hex(4)));
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(&directory, &link)?;
    Ok(directory)
}

/// No two controllers may have the same.
pub fn random_name() -> String {
    format!("c{}", random_hex(6))
}

/// That many random bytes.
pub fn random_hex(bytes: usize) -> String {
    let mut bytes = vec![0_u8; bytes];
    let read = std::fs::File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes));
    read.expect("every Linux has /dev/urandom; without it two controllers could have one name");
    crate::core::model::spec_hash::hex(&bytes)
}
