//! The history tells what happened to a Spark itself.

use spark_control::core::decide::reachability::changes;

use crate::look::{Look, spark};

/// If this failed, an owner would look for the cause of an outage in the history, and not find that a Spark was away.
#[test]
fn a_spark_that_falls_silent_comes_back_or_reboots_is_told() {
    let mut look = Look::new("model: alpha");
    let before = look.observed();
    let told = |look: &Look, before: &_| {
        let changes = changes(before, &look.observed()).into_iter();
        changes.map(|change| format!("{}: {}", change.kind, change.message)).collect::<Vec<_>>()
    };
    assert_eq!(told(&look, &before), [""; 0]);
    look.silent.insert(spark("spark1"));
    assert_eq!(told(&look, &before), ["silent: cannot be looked at any more: no answer"]);
    let silent = look.observed();
    assert_eq!(told(&look, &silent), [""; 0], "once");
    look.silent.clear();
    look.later(300);
    look.facts("spark1").at = look.now;
    let back = told(&look, &silent);
    assert!(back[0].starts_with("back: answers again, after "), "{back:?}");
    assert_eq!(back.len(), 1);
    look.facts("spark1").boot_id = "another".into();
    look.facts("spark1").uptime_secs = 90;
    assert_eq!(told(&look, &before), ["rebooted: rebooted 90 s ago"]);
}
