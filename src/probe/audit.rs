//! What a Spark remembers of those who acted on it: the lines that `fence.sh` leaves, read by `audit.sh`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::host::{Program, Transport, Unreachable};

const DEADLINE: Duration = Duration::from_secs(15);
/// A line of the log has the words of one error in it.
const MAX_LINE: usize = 1000;

/// One message that reached the fence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// By the Spark's clock.
    pub at: String,
    /// The token: `EPOCH.SEQUENCE.CONTROLLER`.
    pub by: String,
    pub act: String,
    /// A container's id or a job's; empty for acts on neither.
    pub on: String,
    pub outcome: String,
}

/// The last `last` of them, oldest first.
///
/// # Errors
/// When the Spark does not tell.
pub async fn read(
    transport: &dyn Transport,
    cluster: &str,
    last: u32,
) -> Result<Vec<AuditEntry>, Unreachable> {
    let program = Program::new("audit", concat!(include_str!("../host/place.sh"), include_str!("audit.sh")))
        .with("cluster", cluster)
        .with("last", last.to_string());
    let output = transport.run(&program, DEADLINE).await?;
    let lines = output.stdout.strip_suffix("end\n");
    let lines = lines.ok_or_else(|| Unreachable::Connection("its answer was cut short".into()))?;
    Ok(lines.lines().filter_map(parse).collect())
}

/// `TIME TOKEN ACT [ON] -> OUTCOME`; a line that was cut by a full disk is none.
fn parse(line: &str) -> Option<AuditEntry> {
    let (head, outcome) = line.split_once(" -> ")?;
    let mut words = head.split(' ');
    let (at, by, act) = (words.next()?, words.next()?, words.next()?);
    let outcome = outcome.chars().filter(|letter| !letter.is_control()).take(MAX_LINE).collect();
    let on = words.next().unwrap_or_default().to_owned();
    Some(AuditEntry { at: at.into(), by: by.into(), act: act.into(), on, outcome })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_and_without_what_it_was_about() {
        let told = |line: &str| parse(line).map(|act| (act.act, act.on, act.outcome));
        let stop = "2026-11-24T12:00:00Z 2.7.c1 stop 4f5e -> failed a -> b";
        assert_eq!(told(stop), Some(("stop".into(), "4f5e".into(), "failed a -> b".into())));
        let advance = "2026-11-24T12:00:00Z 2.8.c1 advance  -> done";
        assert_eq!(told(advance), Some(("advance".into(), String::new(), "done".into())));
        for cut in ["", "2026-11-24T12:00:00Z", "2026-11-24T12:00:00Z 2.8.c1 -> done", "\u{1b}[2J"] {
            assert_eq!(told(cut), None, "{cut:?}");
        }
    }
}
