//! Why nothing is done about an object: a closed list, one row for each reason. What the page, the API's description and
//! `docs/operating.md` say of a reason is generated from here; a new one is a row, and whoever gives it.

use serde::{Deserialize, Serialize};

/// What is said of each reason: whom it `concern`s; what it `means`, for the operator's page and the API; what `helps`, empty where
/// it goes on by itself or nothing does; and both in one `short` line, for the page.
macro_rules! reasons {
    ($($name:ident { concern: $concern:ident, means: $means:literal, helps: $helps:literal, short: $short:literal, })*) => {
        /// Why nothing is done now.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
        )]
        pub enum Reason {
            $(#[doc = $means] $name,)*
        }

        impl Reason {
            /// In the order in which they are explained.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As it is written wherever a reason is named.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// Whom it concerns.
            pub fn concern(self) -> Concern {
                match self {
                    $(Self::$name => Concern::$concern,)*
                }
            }

            /// In a sentence without its end.
            pub fn means(self) -> &'static str {
                match self {
                    $(Self::$name => $means,)*
                }
            }

            /// What an owner does about it; empty where there is nothing to do.
            pub fn helps(self) -> &'static str {
                match self {
                    $(Self::$name => $helps,)*
                }
            }

            /// What it means and what helps, in a line.
            pub fn short(self) -> &'static str {
                match self {
                    $(Self::$name => $short,)*
                }
            }
        }
    };
}

reasons! {
    LaunchInProgress {
        concern: Passing,
        means: "the launcher runs on the head Spark",
        helps: "",
        short: "the launcher is running",
    }
    LoadInProgress {
        concern: Passing,
        means: "the model loads; a newer edit comes after it",
        helps: "",
        short: "the model is loading; a newer change comes after it",
    }
    MemorySettling {
        concern: Passing,
        means: "enough memory is free, and it is watched whether that lasts: two samples in 2 s, or three in 10 s when it is close",
        helps: "",
        short: "enough memory is free, and it is watched whether that lasts",
    }
    MemoryNotReleased {
        concern: Passing,
        means: "what was stopped gives its memory back; after five minutes it is MemoryStuck",
        helps: "",
        short: "what was stopped gives its memory back",
    }
    MemoryStuck {
        concern: NeedsYou,
        means: "what was stopped has not given its memory back",
        helps: "reboot that Spark",
        short: "what was stopped has not given its memory back: reboot that Spark",
    }
    MemoryUnknown {
        concern: NeedsYou,
        means: "nothing says how much memory the model takes of a Spark",
        helps: "set its `memory_gib`",
        short: "nothing says how much memory it takes: set `memory_gib`",
    }
    Backoff {
        concern: Passing,
        means: "after a failed load, or a service that ended again, before the next start",
        helps: "",
        short: "it failed, and is tried again after a pause",
    }
    StopOwed {
        concern: OutOfSight,
        means: "a rank of ours on a silent Spark is stopped when the Spark is back",
        helps: "",
        short: "something is stopped when its Spark is back",
    }
    CannotFit {
        concern: NeedsYou,
        means: "the model asks for more memory than can be free there, beside what stays and the floor; nothing was stopped",
        helps: "set what the message names, or lower the floor",
        short: "it asks for more memory than can be free: set what the message names",
    }
    GpuUnusable {
        concern: NeedsYou,
        means: "`nvidia-smi` says why not, or does not answer: a container would not get the GPU",
        helps: "reboot that Spark",
        short: "the GPU of that Spark cannot be used: reboot it",
    }
    SparkUnfit {
        concern: NeedsYou,
        means: "a kernel or a setting of the machine on which models over several Sparks hang",
        helps: "what the message names",
        short: "that Spark is set up so that a model over several hangs: mend what the message names",
    }
    Stalled {
        concern: NeedsYou,
        means: "a load failed twice, or a service ended five times, each soon after its start",
        helps: "read `logs`, edit the entry or `retry`",
        short: "it failed too often: read its log, correct the file, then try again",
    }
    EngineStalled {
        concern: NeedsYou,
        means: "containers and engines run, but it does not answer",
        helps: "look at it; stop the container to have it restarted",
        short: "it runs but does not answer: look at it, or stop its container to have it restarted",
    }
    Unreachable {
        concern: OutOfSight,
        means: "a Spark that is needed does not answer",
        helps: "",
        short: "a Spark that is needed does not answer",
    }
    Unknown {
        concern: OutOfSight,
        means: "something that must be known could not be read",
        helps: "",
        short: "something that must be known could not be read",
    }
    ApprovalNeeded {
        concern: AsksForApproval,
        means: "a person must agree",
        helps: "`spark-control approve <plan>`",
        short: "somebody must approve it",
    }
    ReportOnly {
        concern: AsWished,
        means: "`reconcile.on_drift: report`",
        helps: "",
        short: "the file says that differences are only reported",
    }
    Held {
        concern: AsWished,
        means: "a hold in the file",
        helps: "wait, or take it out",
        short: "a hold keeps it as it is: wait, or release the hold",
    }
    Suspended {
        concern: AsWished,
        means: "`suspend: true` in the file",
        helps: "take it out",
        short: "it is suspended: resume it",
    }
    Fenced {
        concern: NeedsYou,
        means: "another controller acts with a newer epoch",
        helps: "end one of them; restart the other",
        short: "another controller acts: end one of the two",
    }
    ImageMissing {
        concern: NeedsYou,
        means: "the image is not on that Spark",
        helps: "build or copy it there",
        short: "the image is not on that Spark: build or copy it",
    }
    ImageDiffers {
        concern: NeedsYou,
        means: "the image is not the same on every Spark",
        helps: "copy it from one to the other",
        short: "the image is not the same on every Spark: copy it",
    }
    FilesMissing {
        concern: NeedsYou,
        means: "`local_path`, the repository in the Hugging Face cache, a launch script, a mod or the source of a volume is not there, or only a part of it",
        helps: "copy or download it there",
        short: "files are missing: copy or download them",
    }
    FabricMissing {
        concern: NeedsYou,
        means: "a model on several Sparks, and neither the file nor the launcher's `.env` says how just these reach each other",
        helps: "give each Spark its `fabric`",
        short: "the file does not say how the Sparks reach each other: give each its `fabric`",
    }
    LauncherMissing {
        concern: NeedsYou,
        means: "the launcher's programs are not where the file says, are too old, or its recipe cannot be read",
        helps: "clone or update it there, or correct `launcher`",
        short: "the launcher is not there, or too old: clone or update it",
    }
    ArgumentsInvalid {
        concern: NeedsYou,
        means: "the engine itself refuses the model's `args`; nothing was stopped",
        helps: "correct them; `retry` asks again",
        short: "the engine refuses the arguments: correct them, then try again",
    }
    PortTaken {
        concern: NeedsYou,
        means: "something that is not the slot's listens where the model is to listen",
        helps: "stop it, or change `port`",
        short: "something else listens on its port: stop that, or change the port",
    }
    MemoryFloor {
        concern: NeedsYou,
        means: "less memory was free than is to stay free, for three samples; the newest model there was stopped",
        helps: "lower what it takes, stop what else runs there, then `retry`",
        short: "too little memory was free, so the newest model was stopped: lower what it needs, then try again",
    }
    WindowCloses {
        concern: AsWished,
        means: "the window that wants this model closes before it could be loaded",
        helps: "nothing; or make the window longer",
        short: "the window closes before the model could be loaded",
    }
    Updating {
        concern: Passing,
        means: "a bot is being brought to its branch, as its own user",
        helps: "`logs BOT` shows what it says",
        short: "it is being updated",
    }
    Staging {
        concern: Passing,
        means: "a model's files are being brought to its Sparks",
        helps: "",
        short: "files are being brought",
    }
    FilesInUse {
        concern: NeedsYou,
        means: "the files that `weights: absent` would delete are of a model that serves, is wanted, or is what a slot goes back to",
        helps: "change what uses them first",
        short: "the files are in use: change what uses them first",
    }
    NameTaken {
        concern: NeedsYou,
        means: "the launcher would go into another container, because its name or image has the slot's name in it",
        helps: "give the slot another `container`",
        short: "another container would be taken for it: give it another name",
    }
    SecretMissing {
        concern: NeedsYou,
        means: "an environment variable or a file that the model's environment names cannot be read",
        helps: "set it where the controller runs",
        short: "a secret cannot be read: set it where Spark Control runs",
    }
    Draining {
        concern: Passing,
        means: "requests run at what is to be stopped; they get the slot's `drain` to end, 30 s when absent",
        helps: "",
        short: "requests that run get time to end",
    }
    SparkBusy {
        concern: Passing,
        means: "another slot starts a model on the same Spark",
        helps: "",
        short: "another model starts on the same Spark first",
    }
    NoContainer {
        concern: NeedsYou,
        means: "a service's container does not exist",
        helps: "create it",
        short: "its container does not exist: create it",
    }
    LargeRemoval {
        concern: AsksForApproval,
        means: "the edit takes a Spark, or most models or services, out",
        helps: "`spark-control approve <id>` as it says",
        short: "the file takes much out, and may be half of one: agree to it, or mend the file",
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// In the order in which a person wants to read of them.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Concern {
    /// It is as the file says.
    Fine,
    /// It goes on by itself.
    Passing,
    /// It is otherwise because somebody wished it so.
    AsWished,
    /// It goes on when somebody agrees.
    AsksForApproval,
    /// What is there cannot be seen: it may be fine. So is everything before the first look.
    #[default]
    OutOfSight,
    /// It stays so until somebody does something.
    NeedsYou,
}
