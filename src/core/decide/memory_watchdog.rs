//! The watch of the floor: memory that stays free on a Spark, whatever runs. When less is free for a while, the newest model
//! of ours there is given up before the machine goes silent; it is not started again until a person says so.

use jiff::Timestamp;

use crate::core::model::{
    desired::{Desired, WantedModel},
    event_kind::EventKind,
    launch::{FailureKind, LaunchState},
    ledger::{Ledger, LedgerEvent},
    memory_dip::MemoryWatchdog,
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
        let launch = self.launch_mut(&object)?;
        launch.state = LaunchState::Failed { at: now, in_load: false };
        launch.before = None;
        let group = launch.group.clone();
        let what = format!("only {} were free on `{spark}`, and {} are to stay free", gib(least), gib(floor));
        let message = format!("`{}` is stopped: {what}", group.model);
        self.give_up(&object, &group.spec, what, FailureKind::BelowFloor, now);
        // It is short on each of them for the same reason.
        for spark in &group.sparks {
            self.floors.insert(spark.clone(), MemoryWatchdog::settling(now));
        }
        Some(LedgerEvent { object, kind: EventKind::Floor, message })
    }

    /// The slot whose model was started last of those that load or serve on this Spark and may be acted on.
    fn newest_on(&self, spark: &SparkName, desired: &Desired) -> Option<Object> {
        let here = self.launches().filter(|(object, launch)| {
            let runs = matches!(launch.state, LaunchState::Loading | LaunchState::Serving { .. });
            runs && launch.group.sparks.contains(spark) && may_act(object, desired)
        });
        here.max_by_key(|(_, launch)| launch.at).map(|(object, _)| object.clone())
    }

    /// It was given up for the floor's sake.
    pub(super) fn is_below_floor(&self, object: &Object) -> bool {
        self.launch(object).is_some_and(|launch| {
            let attempts = self.attempts(object, &launch.group.spec);
            matches!(launch.state, LaunchState::Failed { .. })
                && attempts.is_some_and(|attempts| attempts.last.kind == FailureKind::BelowFloor)
        })
    }
}

/// The slot is neither only watched nor suspended.
fn may_act(object: &Object, desired: &Desired) -> bool {
    let slot = desired.slots.get(object).filter(|slot| slot.wanted != WantedModel::Watch);
    slot.is_some_and(|slot| !slot.suspend && !desired.policy.suspend)
}
