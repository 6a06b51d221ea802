//! What a launch is made from.

use crate::core::model::{
    desired::Desired,
    object::Object,
    observed::{FencingToken, LauncherCheckout},
    resolved_model::ResolvedModel,
};

/// What a launch is made from.
#[derive(Clone, Copy)]
pub struct LaunchOrder<'a> {
    pub object: &'a Object,
    pub effective: &'a ResolvedModel<'a>,
    pub desired: &'a Desired,
    pub token: &'a FencingToken,
    /// What the container gets in its environment, at that path on every Spark of the model.
    pub environment_file: Option<&'a str>,
    /// What the launcher on the head knows: its checkout, or sparkrun.
    pub checkout: &'a LauncherCheckout,
}
