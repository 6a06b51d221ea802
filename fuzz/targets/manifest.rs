//! Whatever is in the file: it is read or refused, the refusal can be told, and what is in force can be planned for.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use spark_control::{
    core::{ledger::Ledger, observed::Observed, planner},
    manifest::{load::load, read, render, report},
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = read::text(bytes.to_vec()) else { return };
    match load(&text) {
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(!render(&problems, "cluster.yaml", &text).is_empty());
        }
        Ok(loaded) => {
            let _ = report::messages(&loaded.warnings, &text);
            let now = "2026-11-24T12:00:00Z".parse().expect("a time");
            let nothing = Observed {
                at: now,
                sparks: BTreeMap::new(),
                endpoints: BTreeMap::new(),
                loads: BTreeMap::new(),
                unreadable_secrets: BTreeMap::new(),
            };
            let plan = planner::plan(&loaded.desired, 1, &nothing, &Ledger::default(), now);
            assert!(!plan.has_steps(), "nothing was seen, so nothing is done");
        }
    }
});
