//! What a person is told about a file: `tests/it/manifest/*.yaml`, and the answer beside each.

use std::fs;

use spark_control::manifest::{load::load, render};

use crate::golden::{assert_golden, here, stems};

/// If this failed, a message would have changed without anybody reading it.
#[test]
fn every_bad_file_gets_its_reviewed_answer() {
    for stem in stems("tests/it/manifest", "yaml") {
        let path = format!("tests/it/manifest/{stem}.yaml");
        let text = fs::read_to_string(here(&path)).unwrap();
        let name = format!("{stem}.yaml");
        let answer = match load(&text) {
            Err(problems) => render(&problems, &name, &text),
            Ok(loaded) => {
                format!("valid, with warnings:\n{}", render(&loaded.warnings, &name, &text))
            }
        };
        assert_golden(&format!("tests/it/manifest/{stem}.txt"), &format!("{answer}\n"));
    }
}

/// If this failed, a secret that was written where its place belongs would be printed.
#[test]
fn a_secret_in_the_wrong_place_is_not_printed_back() {
    let good = "version: 1\nsparks: { a: { address: 192.0.2.1, user: alice } }\n";
    for slip in [
        "vllm: { api_key: hunter2-sesame }\n",
        "vllm: { api_key: { env: \"hunter2 sesame\" } }\n",
        "vllm: { api_key: { value: hunter2-sesame } }\n",
        "vllm: { apikey: hunter2-sesame }\n",
        "vllm: { env: { HF_TOKEN: { secret: hunter2-sesame } } }\n",
        "notify: { ops: { url: \"https://<your-hook>\", secret: hunter2-sesame } }\n",
        "api_key: [hunter2-sesame\n",
    ] {
        let text = format!("{good}{slip}");
        let problems = load(&text).unwrap_err();
        let shown = render(&problems, "cluster.yaml", &text);
        assert!(shown.contains("cluster.yaml:3") && !shown.contains("sesame"), "{shown}");
    }
}
