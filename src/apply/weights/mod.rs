//! Jobs that bring a model's files to a Spark, as scripts: fixed text and quoted parameters, like everything that runs there.

use crate::{
    core::model::{
        desired::{Desired, ReachMethod},
        name::SparkName,
        transfer::ModelFiles,
    },
    host::{Program, calls},
};

/// A repository of half a terabyte over a slow line.
pub const LIMIT_SECS: u64 = 24 * 3600;
/// What stays free on a disk: room for logs, images and the next compilation.
const MARGIN_KIB: u64 = 10 << 20;

fn hf_home(desired: &Desired, spark: &SparkName) -> String {
    let spark = desired.sparks.get(spark).and_then(|spark| spark.hf_home.as_ref());
    spark.map_or_else(String::new, ToString::to_string)
}

/// Download them. `environment_file` is where the token is brought to.
pub fn fetch(
    desired: &Desired,
    spark: &SparkName,
    files: &ModelFiles,
    environment_file: Option<&str>,
) -> String {
    let body = concat!(
        include_str!("../../host/files.sh"),
        include_str!("../../host/cached.sh"),
        include_str!("verify.sh"),
        include_str!("fetch.sh")
    );
    Program::new("fetch", body)
        .with("repo", files.repo.as_str())
        .with("revision", files.revision.clone().unwrap_or_default().as_str())
        .with("folder", files.folder())
        .with("hf_home", hf_home(desired, spark))
        .with("margin_kib", MARGIN_KIB.to_string())
        .with("environment_file", environment_file.unwrap_or_default())
        .script()
}

/// Copy them to other Sparks, over the fabric where there is one.
pub fn copy(desired: &Desired, spark: &SparkName, to: &[SparkName], files: &ModelFiles) -> String {
    let places: Vec<[String; 4]> = to
        .iter()
        .filter_map(|name| {
            let there = desired.sparks.get(name)?;
            let address = there
                .fabric
                .as_ref()
                .map_or_else(|| there.address.to_string(), |fabric| fabric.ip.to_string());
            let user = match &there.reach {
                ReachMethod::Ssh { user, .. } => user.to_string(),
                ReachMethod::Local => String::new(),
            };
            Some([name.to_string(), address, user, hf_home(desired, name)])
        })
        .collect();
    let targets = calls("to", places.iter().map(|words| words.iter().map(String::as_str).collect()));
    let targets: String = targets.lines().map(|line| format!("{line} || return 1\n")).collect();
    Program::new("copy", include_str!("copy.sh"))
        .with("folder", files.folder())
        .with("hf_home", hf_home(desired, spark))
        .with("margin_kib", MARGIN_KIB.to_string())
        .with("verifying", include_str!("verify.sh"))
        .with("targets", targets)
        .script()
}
