//! An update of a bot: what is to be there, and what became of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    id::{GitBranch, JobId},
    name::{ContainerName, PlainPath, UserName},
};

/// What is brought to which branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BotCheckout {
    pub user: UserName,
    pub dir: PlainPath,
    pub branch: GitBranch,
    pub container: ContainerName,
}

/// An update that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BotUpdate {
    /// For which it is done: another time is another update.
    pub asked: Timestamp,
    pub job: JobId,
    pub at: Timestamp,
    pub state: UpdateState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum UpdateState {
    Running,
    Done { at: Timestamp },
    Failed { at: Timestamp, what: String },
}
