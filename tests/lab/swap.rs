//! The main job: an edit of the file swaps the model.

use std::{fs, time::Duration};

use crate::lab::{CONTAINER, Controller, Lab, save, text, wait_until};

const MODELS: &str = "
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
const SWAP: Duration = Duration::from_secs(90);

fn serving(lab: &Lab, name: &str) -> bool {
    lab.spark("spark1").served(8888).is_some_and(|body| body.contains(&format!("\"id\":\"{name}\"")))
}

fn in_sync(controller: &Controller) -> bool {
    controller.command(&["plan"]).status.code() == Some(0)
}

/// If this failed, the program would not do its job.
#[test]
fn an_edit_of_the_file_swaps_the_model_on_one_spark() {
    let lab = Lab::up(1);
    let file = lab.directory.join("cluster.yaml");
    fs::write(&file, lab.manifest(&format!("model: alpha\n{MODELS}").replace(", spark2", ""))).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    wait_until("alpha", SWAP, || serving(&lab, "alpha"));
    wait_until("a plan with nothing in it", SWAP, || in_sync(&controller));
    let spark = lab.spark("spark1");
    let first = spark.running(CONTAINER).expect("it serves from there");

    save(&file, &lab.manifest(&format!("model: beta\n{MODELS}").replace(", spark2", "")));
    wait_until("beta", SWAP, || serving(&lab, "chat"));
    wait_until("a plan with nothing in it", SWAP, || in_sync(&controller));
    let second = spark.running(CONTAINER).expect("it serves from there");
    assert_ne!(first, second);
    assert_eq!(spark.starts(CONTAINER), 2, "one start for each model");
    let words = spark.engine_words(CONTAINER).expect("the engine wrote its words");
    assert_eq!(words[..2], ["serve", "lab/beta"]);
    let history = text(&controller.command(&["history"]));
    assert!(history.contains("stop and remove `vllm_node`"), "{history}");
}
