//! What a person is told about a file: `tests/it/manifest/*.yaml`, and the answer beside each.

use std::fs;

use spark_control::manifest::{
    load::load,
    render,
    report::{LineIndex, told},
};

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
    // Below the key, in a list, as an option, in an address, or with the marks of a known service.
    for slip in [
        "vllm:\n  api_key:\n    hunter2-sesame\n",
        "vllm:\n  api_key:\n  - hunter2-sesame\n",
        "vllm:\n  env:\n    - HF_TOKEN=hunter2-sesame\n",
        "vllm:\n  env:\n    HF_TOKEN:\n      [hunter2-sesame]\n",
        "vllm: { env: { 'HF_TOKEN=hunter2-sesame': 1 } }\n",
        "x: { key: |\n  -----BEGIN KEY-----\n  hunter2-sesame\n  -----END KEY-----\n",
        "models: { m: { repo: a/b, sparks: [a], args: '--api-key hunter2-sesame' } }\nmodel: m\n",
        "models: { m: { repo: 'https://u:sesame@192.0.2.9/a', sparks: [a] } }\nmodel: m\n",
        "notify: { ops: { url: ['https://192.0.2.9/sk-sesame'] } }\n",
        "vllm: { DATABASE_URL: hunter2-sesame }\n",
        "vllm: { containr: ghp_sesame }\n",
    ] {
        let text = format!("{good}{slip}");
        let problems = load(&text).unwrap_err();
        let lines = LineIndex::of(&text);
        let words: Vec<String> =
            problems.iter().map(|problem| format!("{:?}", told(problem, &text, &lines))).collect();
        let shown = format!("{}{words:?}", render(&problems, "cluster.yaml", &text));
        assert!(!shown.contains("sesame"), "{slip}: {shown}");
    }
    // What is no secret has its line and caret.
    for slip in ["vllm: { max_tokens: 5 }\n", "model: Qwen3-Coder-30B-A3B-Instruct-FP8\n"] {
        let text = format!("{good}{slip}");
        let shown = render(&load(&text).unwrap_err(), "cluster.yaml", &text);
        assert!(shown.contains("^^^"), "{shown}");
    }
}

/// If this failed, a file full of mistakes would take minutes to be told of, or pages to be read.
#[test]
fn many_problems_are_counted_and_the_first_are_shown() {
    let good = "version: 1\nsparks: { a: { address: 192.0.2.1, user: alice } }\n";
    let text: String =
        std::iter::once(good.to_owned()).chain((0..20_000).map(|n| format!("k{n}: 1\n"))).collect();
    let problems = load(&text).unwrap_err();
    assert_eq!(problems.len(), 20_000);
    let shown = render(&problems, "cluster.yaml", &text);
    assert!(shown.ends_with("and 19950 more"), "{}", &shown[shown.len() - 100..]);
    let long = format!("{good}model: {}\n", "m".repeat(100_000));
    let shown = render(&load(&long).unwrap_err(), "cluster.yaml", &long);
    assert!(shown.len() < 1000, "{} bytes", shown.len());
}
