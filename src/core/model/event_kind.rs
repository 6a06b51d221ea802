//! Kinds of history: one row for each line that can be written. What `docs/operating.md` says of them is made from here.

/// How a kind is written (into the store, which has older lines by these words too: they are never changed), and what it `means`.
macro_rules! event_kinds {
    ($($name:ident $written:literal: $means:literal,)*) => {
        /// What a line of the history tells of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum EventKind {
            $(#[doc = $means] $name,)*
        }

        impl EventKind {
            /// In the order of a start's life, then what people do, then what happens to Sparks and to the controller.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $written,)*
                }
            }

            /// In a sentence without its end.
            pub fn means(self) -> &'static str {
                match self {
                    $(Self::$name => $means,)*
                }
            }
        }
    };
}

event_kinds! {
    Done "done": "a step was taken",
    Refused "refused": "a Spark refused a step: what it found there was not what the step was decided on",
    Fenced "fenced": "another controller acts on that Spark; this one stops acting",
    Unknown "unknown": "whether a step was taken is not known; the next look tells",
    Failed "failed": "a step, a load or an update failed, and why",
    Ready "ready": "a model serves",
    Died "died": "an engine ended that had served, and when it is started again",
    Unseen "unseen": "a load took too long and could not be looked at; it is left alone",
    Lost "lost": "a launch never began",
    Floor "floor": "a model is stopped before its Spark runs out of memory",
    Staged "staged": "a model's files were brought and verified",
    Updated "updated": "a bot was brought to its branch",
    Log "log": "where the last words of a container are kept",
    Blocked "blocked": "something is wanted and cannot be done, and why",
    Revision "revision": "an edit of the file is in force",
    File "file": "the file is not in force, and why",
    Edit "edit": "somebody edited the file through the API or a command",
    Approved "approved": "somebody agreed to a plan or an edit",
    Retry "retry": "somebody asked for another try",
    Token "token": "a token was made, renewed, revoked or used to sign in",
    Notify "notify": "a message could not be delivered, and is given up",
    Silent "silent": "a Spark cannot be looked at any more",
    Back "back": "a Spark answers again",
    Rebooted "rebooted": "a Spark was started anew",
}

impl std::fmt::Display for EventKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl serde::Serialize for EventKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
