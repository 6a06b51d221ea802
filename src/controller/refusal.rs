//! Why something that a person asked for was not done.

use crate::{core::model::name::SparkName, host::Unreachable, store::StoreError};

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
