//! One thing to do on one Spark, as data: made in `slot` and `service`, printed here, performed in `apply`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    bot_update::BotCheckout,
    id::{ContainerId, ImageId, JobId, SeenContainerName, StepKey},
    launch_spec::{LaunchSpec, OwnStop},
    name::{PlainPath, SparkName},
    object::Object,
    spec_hash::SpecHash,
    transfer::ModelFiles,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum Step {
    /// Take what already runs and matches as ours: one container for each Spark of the group, in its order. Changes
    /// nothing on the Sparks.
    Adopt {
        object: Object,
        group: LaunchSpec,
        containers: Vec<ContainerId>,
        /// It does not answer yet.
        #[serde(default)]
        is_loading: bool,
    },
    /// Save the logs, stop a container and, when `remove`, free its name. Its first process gets `grace_secs` to end by
    /// itself; `pids` are the host's numbers of what runs in it.
    Stop {
        object: Object,
        spark: SparkName,
        container: ContainerId,
        name: SeenContainerName,
        remove: bool,
        grace_secs: u32,
        pids: Vec<u32>,
        /// The owner's own program goes first.
        #[serde(default)]
        own: Option<OwnStop>,
        /// Where its words are, when not in its output.
        #[serde(default)]
        log: Option<PlainPath>,
    },
    /// Ask the engine itself, on the head, whether it takes the model's arguments.
    Check { object: Object, group: LaunchSpec, image_id: ImageId },
    /// Start a container that is there but not running.
    Start {
        object: Object,
        spark: SparkName,
        container: ContainerId,
        name: SeenContainerName,
        /// For the restart that was asked for at that time.
        #[serde(default)]
        asked: Option<Timestamp>,
    },
    /// End a job and everything it started that is still in its process group.
    EndJob { object: Object, spark: SparkName, job: JobId },
    /// Download a model's files into the cache of a Spark, as a job.
    Fetch { object: Object, spark: SparkName, files: ModelFiles },
    /// Copy them from there to others, as a job.
    Copy { object: Object, spark: SparkName, to: Vec<SparkName>, files: ModelFiles },
    /// Bring a bot to its branch, as a job in its user's own session.
    Update { object: Object, spark: SparkName, checkout: BotCheckout, asked: Timestamp },
    /// Delete them.
    Delete { object: Object, spark: SparkName, files: ModelFiles },
    /// Before a launch on several Sparks, on each: make every older message worthless, and bring what the group's
    /// containers are to have in their environment.
    #[serde(rename = "advance")]
    ReserveSpark {
        object: Object,
        spark: SparkName,
        group: LaunchSpec,
        /// So much memory must be free, or it is refused: the gate was passed a moment ago, on another look.
        #[serde(default)]
        needs_bytes: u64,
    },
    /// Start the launcher as a job on the head.
    Launch {
        object: Object,
        group: LaunchSpec,
        /// The wanted model that this one takes over for, because it failed.
        #[serde(default)]
        instead_of: Option<FallbackFor>,
        /// The same on the head.
        #[serde(default)]
        needs_bytes: u64,
    },
}

impl Step {
    pub fn object(&self) -> &Object {
        match self {
            Self::Adopt { object, .. }
            | Self::Check { object, .. }
            | Self::Stop { object, .. }
            | Self::Start { object, .. }
            | Self::EndJob { object, .. }
            | Self::Fetch { object, .. }
            | Self::Copy { object, .. }
            | Self::Update { object, .. }
            | Self::Delete { object, .. }
            | Self::ReserveSpark { object, .. }
            | Self::Launch { object, .. } => object,
        }
    }

    /// The Spark on which it acts; `None` when it acts on none.
    pub fn spark(&self) -> Option<&SparkName> {
        match self {
            Self::Adopt { .. } => None,
            Self::Stop { spark, .. }
            | Self::Start { spark, .. }
            | Self::EndJob { spark, .. }
            | Self::Fetch { spark, .. }
            | Self::Copy { spark, .. }
            | Self::Update { spark, .. }
            | Self::Delete { spark, .. }
            | Self::ReserveSpark { spark, .. } => Some(spark),
            Self::Launch { group, .. } | Self::Check { group, .. } => Some(group.head()),
        }
    }

    /// It asks and changes nothing: nobody who acts waits for its answer.
    pub fn is_question(&self) -> bool {
        matches!(self, Self::Check { .. })
    }

    /// The same step in two plans has the same key: approvals are kept by it.
    pub fn key(&self) -> StepKey {
        StepKey::new(self.key_text())
    }

    fn key_text(&self) -> String {
        match self {
            Self::Adopt { object, group, containers, .. } => {
                let ids: Vec<_> = containers.iter().map(ContainerId::short).collect();
                format!("adopt {object} {} {}", group.spec, ids.join(","))
            }
            Self::Check { object, group, .. } => format!("check {object} {} {}", group.spec, group.head()),
            Self::Stop { object, spark, container, .. } => {
                format!("stop {object} {spark} {}", container.short())
            }
            Self::Start { object, spark, container, .. } => {
                format!("start {object} {spark} {}", container.short())
            }
            Self::EndJob { object, spark, job } => format!("end-job {object} {spark} {job}"),
            Self::Fetch { object, spark, files } => format!("fetch {object} {spark} {files}"),
            Self::Copy { object, spark, to, files } => {
                let to: Vec<_> = to.iter().map(SparkName::as_str).collect();
                format!("copy {object} {spark} {} {files}", to.join(","))
            }
            Self::Update { object, spark, checkout, asked } => {
                format!("update {object} {spark} {} {asked:.0}", checkout.branch)
            }
            Self::Delete { object, spark, files } => format!("delete {object} {spark} {files}"),
            Self::ReserveSpark { object, spark, .. } => format!("advance {object} {spark}"),
            Self::Launch { object, group, .. } => {
                let sparks: Vec<_> = group.sparks.iter().map(SparkName::as_str).collect();
                format!("launch {object} {} {}", group.spec, sparks.join(","))
            }
        }
    }
}

/// The wanted model that another one takes over for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallbackFor {
    pub spec: SpecHash,
    pub why: String,
}

/// What a process gets to end by itself; Docker's own default.
pub const GRACE_SECS: u32 = 10;

/// The step of this key is about `object`.
pub fn is_about(key: &StepKey, object: &Object) -> bool {
    key.as_str().split(' ').nth(1) == Some(object.as_str())
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Adopt { group, containers, is_loading, .. } => {
                let places: Vec<_> = containers
                    .iter()
                    .zip(&group.sparks)
                    .map(|(id, spark)| format!("{} on {spark}", id.short()))
                    .collect();
                let does = if *is_loading { "loads" } else { "runs" };
                write!(f, "adopt {} as `{}`: it {does} and matches", places.join(" and "), group.model)
            }
            Self::Check { group, .. } => {
                write!(
                    f,
                    "ask the engine on {} whether it takes the arguments of `{}`",
                    group.head(),
                    group.model
                )
            }
            Self::Stop { spark, container, name, remove, own, .. } => {
                let what = if *remove { "stop and remove" } else { "stop" };
                write!(f, "{what} `{name}` ({}) on {spark}, its logs saved first", container.short())?;
                match own {
                    Some(own) => write!(f, ", with `{}`", own.program),
                    None => Ok(()),
                }
            }
            Self::Start { spark, container, name, .. } => {
                write!(f, "start `{name}` ({}) on {spark}", container.short())
            }
            Self::EndJob { spark, job, .. } => write!(f, "end the job {job} on {spark}"),
            Self::Fetch { spark, files, .. } => write!(f, "download `{files}` to {spark}, and verify it"),
            Self::Copy { spark, to, files, .. } => {
                let to: Vec<_> = to.iter().map(SparkName::as_str).collect();
                write!(f, "copy `{files}` from {spark} to {}, and verify it there", to.join(" and "))
            }
            Self::Update { spark, checkout, .. } => {
                let BotCheckout { user, dir, branch, container } = checkout;
                write!(
                    f,
                    "as {user} on {spark}: bring `{dir}` to `{branch}`, build it, and recreate `{container}`"
                )
            }
            Self::Delete { spark, files, .. } => {
                write!(f, "delete `{}`, every revision of it, from the cache of {spark}", files.repo)
            }
            Self::ReserveSpark { spark, .. } => {
                write!(f, "reserve {spark} for this start: older commands are refused from here")
            }
            Self::Launch { group, .. } => {
                let sparks: Vec<_> = group.sparks.iter().map(SparkName::as_str).collect();
                write!(f, "launch `{}` as `{}` on {}", group.model, group.container, sparks.join(" and "))
            }
        }
    }
}
