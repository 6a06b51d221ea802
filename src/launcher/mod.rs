//! How a model is started: an [`Effective`](crate::core::desired::Effective) to a script for the head Spark.
//!
//! A launcher's exit code proves nothing, so nothing here looks at it; probes do.

pub mod launch_cluster;
