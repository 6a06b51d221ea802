//! The models that the tests swap, and what is asked of a cluster.

use std::time::Duration;

use crate::{controller::Controller, lab::Lab, shell::wait_until};

/// `alpha` and `beta` on the first Spark, `wide` on both.
pub const MODELS: &str = "
vllm: { launcher: { kind: launch-cluster, dir: spark-vllm-docker, image: vllm-node } }
models:
  alpha:
    repo: lab/alpha
    sparks: [spark1]
    args: { gpu-memory-utilization: 0.02, max-model-len: 4096 }
  beta:
    repo: lab/beta
    sparks: [spark1]
    served_as: [beta, chat]
    args: { gpu-memory-utilization: 0.02 }
  wide:
    repo: lab/wide
    sparks: [spark1, spark2]
    args: { gpu-memory-utilization: 0.02, tensor-parallel-size: 2 }
";
/// Longer than any swap here, on a slow machine.
pub const SWAP: Duration = Duration::from_secs(90);

pub fn serving(lab: &Lab, name: &str) -> bool {
    lab.spark("spark1").served(8888).is_some_and(|body| body.contains(&format!("\"id\":\"{name}\"")))
}

pub fn in_sync(controller: &Controller) -> bool {
    controller.command(&["plan", "--now"]).status.code() == Some(0)
}

/// That model serves, and there is nothing left to do.
pub fn settles_on(lab: &Lab, controller: &Controller, model: &str) {
    wait_until(model, SWAP, || serving(lab, model));
    wait_until("a plan with nothing in it", SWAP, || in_sync(controller));
}

/// For labs with one Spark: the models without the second.
pub fn on_one_spark(text: &str) -> String {
    text.replace(", spark2]", "]")
}
