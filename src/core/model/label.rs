//! Labels that make a container ours: written by launchers, read by `docker`.

/// The cluster's id.
pub const CLUSTER: &str = "spark-control.cluster";
/// The slot or service.
pub const OBJECT: &str = "spark-control.object";
/// The spec hash.
pub const SPEC: &str = "spark-control.spec";
/// The token of the launch.
pub const TOKEN: &str = "spark-control.token";
