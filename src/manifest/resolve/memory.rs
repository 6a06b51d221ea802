//! Memory that cannot fit on any Spark, seen without asking one. What fits on a Spark as it is, `core::preflight` says.

use std::collections::BTreeMap;

use super::{GIB, Resolver};
use crate::core::{
    decide::need,
    model::{
        desired::{Desired, WantedModel},
        name::{ModelName, SparkName},
        object::Object,
        resolved_model::ResolvedModel,
    },
};

/// What the system sees of 128 GB on a DGX Spark.
const SPARK_GIB: f64 = 121.7;

impl Resolver {
    pub(super) fn memory(&mut self, desired: &Desired) {
        // What a further slot holds is there whatever the main slot holds.
        let mut beside: BTreeMap<&SparkName, (f64, String)> = BTreeMap::new();
        for (object, slot) in desired.slots.iter().filter(|(object, _)| **object != Object::main()) {
            let WantedModel::Model(name) = &slot.wanted else { continue };
            let Some(effective) = desired.resolved_model(slot, name) else { continue };
            self.alone(&effective, desired);
            for spark in &effective.model.sparks {
                let (sum, others) = beside.entry(spark).or_default();
                *sum += need_gib(&effective);
                *others += &format!(", {:.0} GiB for `{name}` in `{object}`", need_gib(&effective));
                if *sum + floor_gib(desired, spark) > SPARK_GIB {
                    self.too_much(&format!("services/{object}/model"), spark, others, desired);
                }
            }
        }
        let Some(main) = desired.slots.get(&Object::main()) else { return };
        let held = match &main.wanted {
            WantedModel::Model(name) => Some(("model".to_owned(), name)),
            WantedModel::Nothing | WantedModel::Watch => None,
        };
        let windows = desired.schedule.iter();
        let windows = windows.map(|(name, window)| (format!("schedule/{name}/model"), &window.model));
        let wanted: Vec<(String, &ModelName)> = held.into_iter().chain(windows).collect();
        for (path, name) in wanted {
            let Some(effective) = desired.resolved_model(main, name) else { continue };
            self.alone(&effective, desired);
            for spark in &effective.model.sparks {
                let Some((sum, others)) = beside.get(spark) else { continue };
                if need_gib(&effective) + sum + floor_gib(desired, spark) > SPARK_GIB {
                    let told = format!(", {:.0} GiB for `{name}`{others}", need_gib(&effective));
                    self.too_much(&path, spark, &told, desired);
                }
            }
        }
    }

    /// One model that no Spark can hold.
    fn alone(&mut self, effective: &ResolvedModel<'_>, desired: &Desired) {
        let need = need_gib(effective);
        for spark in &effective.model.sparks {
            if need + floor_gib(desired, spark) > SPARK_GIB {
                let told = format!(", {need:.0} GiB for `{}`", effective.name);
                self.too_much(&format!("models/{}", effective.name), spark, &told, desired);
                return;
            }
        }
    }

    /// A warning: the machine may not be a DGX Spark, and the plan says what it really has.
    fn too_much(&mut self, path: &str, spark: &SparkName, told: &str, desired: &Desired) {
        let told = told.trim_start_matches(", ");
        let floor = floor_gib(desired, spark);
        let message = format!(
            "more than a DGX Spark has ({SPARK_GIB} GiB) on `{spark}`: {told}, {floor:.0} GiB kept free"
        );
        let hint = "lower `gpu-memory-utilization` or `memory_gib`, or use another Spark".to_owned();
        self.warning(path, message, Some(hint));
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bytes of a machine
fn need_gib(effective: &ResolvedModel<'_>) -> f64 {
    let told = need::NeedInputs {
        total_bytes: (SPARK_GIB * GIB) as u64,
        weights_bytes: None,
        of_recipe: &BTreeMap::new(),
    };
    need::need(effective, told, &[]).at_least_bytes() as f64 / GIB
}

#[allow(clippy::cast_precision_loss)]
fn floor_gib(desired: &Desired, spark: &SparkName) -> f64 {
    desired.sparks.get(spark).map_or(0.0, |spark| spark.floor_bytes as f64 / GIB)
}
