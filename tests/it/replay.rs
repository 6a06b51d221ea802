//! What somebody reported, played: `tests/it/reports/*.json` are what `spark-control export` wrote, and the answer beside each is
//! what the controller does from there on simulated Sparks.

use std::{fs, time::Duration};

use spark_control::{
    controller::export::Export,
    core::{model::ledger::Ledger, tell::render::render},
    sim::report,
    store::Store,
};

use crate::{
    cluster::{Cluster, paused},
    golden::{assert_golden, here, stems},
};

/// Long enough for two loads that fail and one that does not.
const PLAYED: Duration = Duration::from_secs(1200);

/// If this failed, something that went wrong for an owner would go wrong again.
#[test]
fn what_was_reported_plays_as_reviewed() {
    let reports = stems("tests/it/reports", "json");
    assert!(!reports.is_empty(), "the reports were not found");
    for report in reports {
        let text = fs::read_to_string(here(&format!("tests/it/reports/{report}.json"))).unwrap();
        let export: Export = serde_json::from_str(&text).unwrap();
        assert!(export.replay().unwrap().decides_like(&export.plan), "{report}: it is decided as it was");
        assert_golden(&format!("tests/it/reports/{report}.txt"), &paused(play(&export)));
    }
}

async fn play(export: &Export) -> String {
    let cluster = Cluster::at(export.at);
    report::fill(&cluster.sim, &export.desired().unwrap(), &export.observed);
    cluster.edit(&export.file);
    let data = cluster.folder().join("a");
    fs::create_dir_all(&data).unwrap();
    {
        let store = Store::open(&data).unwrap();
        for _ in 0..export.revision {
            store.add_revision(&export.file, export.at).unwrap();
        }
        store.set_ledger(&Ledger { samples: export.samples.clone(), ..export.ledger.clone() }).unwrap();
    }
    let controller = cluster.controller("a");
    let plan = cluster.settle(&controller, PLAYED).await;
    let events = controller.events(1000).unwrap();
    let folder = format!("{}/", cluster.folder().display());
    let mut told = format!("decided then:\n\n{}\nand from there:\n\n", render(&export.plan));
    for event in events {
        told += &format!("{:<9} {}: {}\n", event.kind, event.object, event.message.replace(&folder, ""));
    }
    told + &format!("\nin the end:\n\n{}", render(&plan))
}
