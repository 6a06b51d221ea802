//! Sparks that are not alike.

use std::collections::BTreeMap;

use crate::core::model::{
    desired::Desired,
    image::ImageSeen,
    name::SparkName,
    observed::{LauncherCheckout, LauncherSeen, Observed},
};

/// A way in which a Spark is not like the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformDifference {
    pub spark: SparkName,
    /// What the first has.
    pub expected: String,
    pub found: String,
}

/// What differs between the Sparks that answered: driver, kernel, the images of one reference, what launchers are at, the fabric's
/// MTU and speed.
/// A model on several of them meets each of these as a hang or a wrong number, never as a message.
pub fn differences(desired: &Desired, observed: &Observed) -> Vec<PlatformDifference> {
    let mut traits: BTreeMap<String, Vec<(&SparkName, String)>> = BTreeMap::new();
    for (name, view) in &observed.sparks {
        let Some(facts) = view.facts() else { continue };
        let mut add = |what: &str, is: String| {
            if !is.is_empty() {
                traits.entry(what.to_owned()).or_default().push((name, is));
            }
        };
        add("driver", facts.gpu().map(|gpu| gpu.driver.to_string()).unwrap_or_default());
        add("kernel", facts.platform.kernel.to_string());
        for (dir, seen) in &facts.launchers {
            if let LauncherSeen::Present(LauncherCheckout { commit: Some(commit), .. }) = seen {
                add(&format!("launcher {dir} at"), commit.to_string());
            }
        }
        let fabric = desired.sparks.get(name).and_then(|spark| spark.fabric.as_ref());
        let fabric = fabric.and_then(|fabric| facts.platform.interfaces.get(fabric.eth_if.as_str()));
        if let Some(fabric) = fabric {
            add("fabric MTU", fabric.mtu.to_string());
            add("fabric speed", fabric.speed_mbps.map(|speed| format!("{speed} Mb/s")).unwrap_or_default());
        }
    }
    let mut found = images(observed);
    for (what, seen) in traits {
        let Some(((first, expected), rest)) = seen.split_first() else { continue };
        for (spark, is) in rest.iter().filter(|(_, is)| is != expected) {
            found.push(PlatformDifference {
                spark: (*spark).clone(),
                expected: format!("{what} {expected}, as `{first}`"),
                found: format!("{what} {is}"),
            });
        }
    }
    found.sort_by(|a, b| (&a.spark, &a.expected).cmp(&(&b.spark, &b.expected)));
    found
}

/// Images of one reference that are not the first Spark's. Stores of two kinds name one image by two ids.
fn images(observed: &Observed) -> Vec<PlatformDifference> {
    let mut first: BTreeMap<&str, (&SparkName, &ImageSeen)> = BTreeMap::new();
    let mut found = Vec::new();
    for (spark, view) in &observed.sparks {
        let images = view.facts().into_iter().flat_map(|facts| &facts.images);
        for (reference, seen) in images.filter_map(|(reference, seen)| Some((reference, seen.as_ref()?))) {
            let (on, before) = *first.entry(reference).or_insert((spark, seen));
            if !before.is_like(seen) {
                found.push(PlatformDifference {
                    spark: spark.clone(),
                    expected: format!("image {reference} {}, as `{on}`", before.id),
                    found: format!("image {reference} {}", seen.id),
                });
            }
        }
    }
    found
}
