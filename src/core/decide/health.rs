//! Is an engine well? Judged by what one that hangs cannot do: move tokens while requests run, answer while none do.
//! `/health` and the list of models say nothing of it: both are answered by a process that only waits for the engine.

use jiff::{SignedDuration, Timestamp};

use crate::core::model::observed::{CheckResult, EngineAnswer};

/// A prefill of a long prompt moves no token for half a minute on this hardware; two are not a prefill.
const STALL_GRACE: SignedDuration = SignedDuration::from_secs(120);
/// With the GPU at rest there is no prefill either.
const STALL_GRACE_AT_REST: SignedDuration = SignedDuration::from_secs(45);
/// Requests that wait while none runs.
const QUEUE_GRACE: SignedDuration = SignedDuration::from_secs(30);
/// A GB10 that works draws 45 W and more, one that hangs 11 to 20 W; whatever its utilisation says.
const AT_REST_W: f64 = 30.0;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineJudgement {
    /// It says so itself.
    Dead,
    /// Requests, and no tokens.
    Stalled { why: String },
    /// Requests, and tokens that move.
    Busy,
    /// No requests, and it answers one.
    Ready,
    /// It is there, and does not answer.
    Degraded { why: String },
    /// Nothing has been asked of it yet.
    Unproven { why: &'static str },
}

/// Judge an answer that was seen at `at`, with the power that the head's GPU draws.
pub fn judge_engine(engine: &EngineAnswer, power_w: Option<f64>, at: Timestamp) -> EngineJudgement {
    if !engine.healthy {
        return EngineJudgement::Dead;
    }
    let load = engine.load.as_ref();
    let (running, waiting) = load.map_or((0.0, 0.0), |load| (load.running, load.waiting));
    if let Some(since) = engine.still_since {
        let still = at.duration_since(since);
        let at_rest = power_w.filter(|power| *power < AT_REST_W);
        let grace = match at_rest {
            _ if running <= 0.0 => QUEUE_GRACE,
            Some(_) => STALL_GRACE_AT_REST,
            None => STALL_GRACE,
        };
        if still >= grace {
            let what = match running > 0.0 {
                true => format!("{running} requests run"),
                false => format!("{waiting} requests wait and none runs"),
            };
            let power = at_rest.map_or(String::new(), |power| format!(", at {power:.0} W"));
            let why = format!("{what}, and no token has moved for {} s{power}", still.as_secs());
            return EngineJudgement::Stalled { why };
        }
    }
    // What was asked of it waits behind the others; their tokens tell.
    let lately = SignedDuration::ZERO..STALL_GRACE;
    let moves = engine.moved_at.is_some_and(|moved| lately.contains(&at.duration_since(moved)));
    if running > 0.0 && moves {
        return EngineJudgement::Busy;
    }
    match &engine.completion {
        CheckResult::Proven { .. } if running > 0.0 => EngineJudgement::Busy,
        CheckResult::Proven { .. } => EngineJudgement::Ready,
        CheckResult::Failed { why, .. } => {
            EngineJudgement::Degraded { why: format!("a completion failed: {why}") }
        }
        CheckResult::Asked => EngineJudgement::Unproven { why: "a completion is under way" },
        CheckResult::NotTried => EngineJudgement::Unproven { why: "no completion has been tried yet" },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::model::observed::EngineLoad;

    const NOW: &str = "2026-11-24T12:10:00Z";

    fn engine(running: f64, waiting: f64, still_secs: Option<i64>) -> EngineAnswer {
        let now: Timestamp = NOW.parse().unwrap();
        EngineAnswer {
            healthy: true,
            load: Some(EngineLoad { running, waiting, progress: 7.0 }),
            still_since: still_secs.map(|secs| now.checked_sub(SignedDuration::from_secs(secs)).unwrap()),
            completion: CheckResult::Proven { at: now },
            ..EngineAnswer::default()
        }
    }

    fn judged(engine: &EngineAnswer, power_w: Option<f64>) -> EngineJudgement {
        judge_engine(engine, power_w, NOW.parse().unwrap())
    }

    /// If this failed, an engine that hangs for hours would look healthy because it lists its models; or a long prompt
    /// would be taken for a hang.
    #[test]
    fn frozen_tokens_are_a_stall_only_after_a_prefill_would_be_over() {
        assert_eq!(judged(&engine(1.0, 0.0, Some(119)), None), EngineJudgement::Busy);
        assert!(matches!(judged(&engine(1.0, 0.0, Some(120)), None), EngineJudgement::Stalled { .. }));
        assert_eq!(judged(&engine(1.0, 0.0, Some(60)), Some(46.0)), EngineJudgement::Busy, "it works");
        assert_eq!(judged(&engine(1.0, 0.0, Some(60)), Some(AT_REST_W)), EngineJudgement::Busy);
        let EngineJudgement::Stalled { why } = judged(&engine(1.0, 0.0, Some(60)), Some(14.2)) else {
            panic!("requests run while the GPU rests")
        };
        assert_eq!(why, "1 requests run, and no token has moved for 60 s, at 14 W");
        assert!(matches!(judged(&engine(0.0, 3.0, Some(31)), Some(46.0)), EngineJudgement::Stalled { .. }));
    }

    /// If this failed, an engine that is busy when this program starts would count as broken until it rests.
    #[test]
    fn an_engine_that_moves_tokens_needs_no_completion_of_ours() {
        let now: Timestamp = NOW.parse().unwrap();
        let failed = CheckResult::Failed { at: now, why: "no answer within 30 s".into() };
        let unproven = EngineAnswer { completion: failed, ..engine(3.0, 0.0, Some(1)) };
        assert!(matches!(judged(&unproven, None), EngineJudgement::Degraded { .. }));
        let moving = EngineAnswer { moved_at: Some(now), ..unproven.clone() };
        assert_eq!(judged(&moving, None), EngineJudgement::Busy);
        let idle = EngineAnswer { load: engine(0.0, 0.0, None).load, still_since: None, ..moving };
        assert!(matches!(judged(&idle, None), EngineJudgement::Degraded { .. }));
    }

    #[test]
    fn what_it_says_of_itself_counts_when_it_is_bad() {
        let dead = EngineAnswer { healthy: false, ..engine(0.0, 0.0, None) };
        assert_eq!(judged(&dead, None), EngineJudgement::Dead);
        assert_eq!(judged(&engine(0.0, 0.0, None), None), EngineJudgement::Ready);
    }
}
