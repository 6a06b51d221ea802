//! What happened to the Sparks themselves between two looks: one fell silent, came back, or was started anew.

use jiff::Timestamp;

use crate::core::model::{
    event_kind::EventKind,
    name::SparkName,
    observed::{Observed, SparkView},
};

/// A line for the history, which names the Spark before the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReachabilityChange {
    pub spark: SparkName,
    pub kind: EventKind,
    pub message: String,
}

/// What differs in how each Spark was reached, `previous` being the look before.
pub fn changes(previous: &Observed, observed: &Observed) -> Vec<ReachabilityChange> {
    let mut changes = Vec::new();
    for (spark, view) in &observed.sparks {
        let Some(before) = previous.sparks.get(spark) else { continue };
        let mut say =
            |kind, message| changes.push(ReachabilityChange { spark: spark.clone(), kind, message });
        match (before, view) {
            (SparkView::Reachable(_), SparkView::Unreachable { why, .. }) => {
                say(EventKind::Silent, format!("cannot be looked at any more: {why}"));
            }
            (SparkView::Unreachable { since, .. }, SparkView::Reachable(facts)) => {
                let away = length(*since, facts.at);
                say(EventKind::Back, format!("answers again, after {away}"));
            }
            _ => {}
        }
        if let (Some(old), Some(new)) = (before.last_known(), view.facts())
            && old.boot_id != new.boot_id
        {
            let up = new.uptime_secs;
            say(EventKind::Rebooted, format!("rebooted {} ago", seconds(up)));
        }
    }
    changes
}

fn length(since: Timestamp, until: Timestamp) -> String {
    seconds(u64::try_from(until.duration_since(since).as_secs()).unwrap_or(0))
}

fn seconds(secs: u64) -> String {
    match secs {
        0..120 => format!("{secs} s"),
        120..7200 => format!("{} min", secs / 60),
        _ => format!("{} h", secs / 3600),
    }
}
