//! A plan as people read it.

use std::fmt::Write;

use crate::core::model::{
    memory_table,
    name::SparkName,
    plan::{Gate, Objection, Plan, Verdict, WorkItem},
    reason::Reason,
};

/// The plan as a person reads it.
pub fn render(plan: &Plan) -> String {
    let mut text = String::new();
    if plan.is_empty() {
        let unseen: Vec<String> = plan.unseen.iter().map(|name| format!("`{name}`")).collect();
        return match &unseen[..] {
            [] => "Nothing to do: what is serving is what the file says.\n".into(),
            [name] => format!("Nothing to do as far as was seen; {name} does not answer.\n"),
            names => format!("Nothing to do as far as was seen; {} do not answer.\n", names.join(" and ")),
        };
    }
    let _ = if plan.has_steps() {
        writeln!(text, "Plan {} for revision {}", plan.id, plan.revision)
    } else {
        writeln!(text, "No steps now, for revision {}", plan.revision)
    };
    for work in &plan.work {
        let _ = writeln!(text, "\n{}: {}", work.object, work.goal);
        let mut number = 0;
        for item in &work.items {
            match item {
                WorkItem::Steps(steps) => {
                    for step in steps {
                        number += 1;
                        let _ = writeln!(text, "  {number}. {}", step.step);
                    }
                }
                WorkItem::Gate(Gate::Checked { model }) => {
                    let _ = writeln!(text, "     go on unless the engine refuses the arguments of `{model}`");
                }
                WorkItem::Gate(Gate::Drained { at_most_secs }) => {
                    let _ =
                        writeln!(text, "     wait until its requests have ended, at most {at_most_secs} s");
                }
                WorkItem::Gate(Gate::Staged { sparks }) => {
                    let sparks: Vec<_> = sparks.iter().map(SparkName::as_str).collect();
                    let _ = writeln!(text, "     wait until they are there, on {}", sparks.join(" and "));
                }
                WorkItem::Gate(Gate::Released { sparks }) => {
                    let sparks: Vec<_> = sparks.iter().map(SparkName::as_str).collect();
                    let _ = writeln!(text, "     wait until the memory is back on {}", sparks.join(" and "));
                }
                WorkItem::Gate(Gate::Ready { model, deadline_secs }) => {
                    let minutes = deadline_secs / 60;
                    let _ = writeln!(
                        text,
                        "     wait until `{model}` answers a completion, at most {minutes} min"
                    );
                }
            }
        }
        for row in &work.memory {
            let _ = writeln!(
                text,
                "     memory on {}: {} ({} in all, {} free now, {}{} kept free)",
                row.spark,
                row.verdict,
                memory_table::gib(row.total_bytes),
                memory_table::gib(row.available_bytes),
                row.needed_bytes.map_or(String::new(), |needed| {
                    format!("{} for the model by {}, ", memory_table::gib(needed), row.basis)
                }),
                memory_table::gib(row.floor_bytes)
            );
            for holder in &row.holders {
                let _ = writeln!(text, "       on the GPU now: {holder}");
            }
        }
        if let Some(arguments) = &work.arguments {
            let _ = writeln!(text, "     arguments: {arguments}");
        }
        for note in &work.notes {
            let _ = writeln!(text, "     note: {note}");
        }
        if let Some(outage) = &work.outage {
            let length = match outage.expected_secs {
                Some(secs) => format!("about {secs} s ({})", outage.basis),
                None => outage.basis.clone(),
            };
            let requests = match outage.requests {
                None => "how many requests run is not known".to_owned(),
                Some(0) => "no requests run now".to_owned(),
                Some(running) => format!("{running} requests run now and get {} s to end", outage.drain_secs),
            };
            let _ = writeln!(text, "     outage: {length}; {requests}");
        }
        match &work.verdict {
            Verdict::Open => {}
            Verdict::Waiting { reason, message } => {
                let _ = writeln!(text, "     waiting ({reason}): {message}");
            }
            Verdict::Blocked { reason, message } => {
                let _ = writeln!(text, "     blocked ({reason}): {message}");
                for Objection { reason, message } in work.objections.iter().skip(1) {
                    let _ = writeln!(text, "     and ({reason}): {message}");
                }
                if *reason == Reason::ApprovalNeeded {
                    let _ = writeln!(text, "     to agree: spark-control approve {}", plan.id);
                }
            }
        }
    }
    text
}
