//! The watch of the floor: memory that stays free on a Spark, whatever runs. When less is free for a while, the newest model
//! of ours there is given up before the machine goes silent; it is not started again until a person says so.

use jiff::Timestamp;

use crate::core::model::{
    desired::{Desired, WantedModel},
    launch::{FailureKind, LaunchState},
    ledger::{Ledger, LedgerEvent},
    memory_dip::{self, MemoryWatchdog},
    memory_table::gib,
    name::SparkName,
    object::Object,
};

impl Ledger {
    /// Take in how much is free on a Spark. Tells what was given up for it: the next round stops that.
    pub fn watch_floor(
        &mut self,
        spark: &SparkName,
        available_bytes: u64,
        desired: &Desired,
        now: Timestamp,
    ) -> Option<LedgerEvent> {
        let floor = desired.sparks.get(spark)?.floor_bytes;
        let least = self.floors.entry(spark.clone()).or_default().take(available_bytes, floor, now)?;
        let object = self.newest_on(spark, desired)?;
        let launch = self.launches.get_mut(&object)?;
        launch.state = LaunchState::Failed { at: now, in_load: false };
        launch.before = None;
        let group = launch.group.clone();
        let what = format!("only {} were free on `{spark}`, and {} are to stay free", gib(least), gib(floor));
        let message = format!("`{}` is stopped: {what}", group.model);
        self.give_up(&object, &group.spec, what, FailureKind::BelowFloor, now);
        let not_before = now.saturating_add(memory_dip::SETTLE).expect("a duration, not a calendar span");
        // It is short on each of them for the same reason.
        for spark in &group.sparks {
            self.floors.insert(
                spark.clone(),
                MemoryWatchdog { not_before: Some(not_before), ..MemoryWatchdog::default() },
            );
        }
        Some(LedgerEvent { object, kind: "floor", message })
    }

    /// The slot whose model was started last of those that load or serve on this Spark and may be acted on.
    fn newest_on(&self, spark: &SparkName, desired: &Desired) -> Option<Object> {
        let may_act = |object: &Object| {
            let slot = desired.slots.get(object).filter(|slot| slot.wanted != WantedModel::Watch);
            slot.is_some_and(|slot| !slot.suspend && !desired.policy.suspend)
        };
        let here = self.launches.iter().filter(|(object, launch)| {
            let runs = matches!(launch.state, LaunchState::Loading | LaunchState::Serving { .. });
            runs && launch.group.sparks.contains(spark) && may_act(object)
        });
        here.max_by_key(|(_, launch)| launch.at).map(|(object, _)| object.clone())
    }

    /// It was given up for the floor's sake.
    pub(super) fn is_below_floor(&self, object: &Object) -> bool {
        self.launches.get(object).is_some_and(|launch| {
            let attempts = self.attempts(object, &launch.group.spec);
            matches!(launch.state, LaunchState::Failed { .. })
                && attempts.is_some_and(|attempts| attempts.last.kind == FailureKind::BelowFloor)
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    /// If this failed, one allocation would cost a model, or a shortage would never be seen.
    #[test]
    fn three_samples_in_a_row_are_a_shortage_and_a_dip_is_none() {
        let start: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let at = |seconds: i64| start.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        let mut watch = MemoryWatchdog::default();
        for (seconds, available, expected) in [
            (0, 5, None),
            (2, 4, None),
            (4, 7, None),
            (6, 5, None),
            (8, 3, None),
            (10, 5, Some(3)),
            (12, 6, None),
        ] {
            assert_eq!(watch.take(available, 6, at(seconds)), expected, "{seconds}");
        }
        watch.not_before = Some(at(100));
        for seconds in [20, 22, 24, 26] {
            assert_eq!(watch.take(1, 6, at(seconds)), None, "its memory is on its way back");
        }
        assert_eq!([100, 102, 104].map(|seconds| watch.take(1, 6, at(seconds))), [None, None, Some(1)]);
    }
}
