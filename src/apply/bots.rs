//! A bot's update as a job in its user's session: fixed text and quoted parameters, like everything that runs there.

use crate::{
    core::{
        decide::bot::{UPDATE_LIMIT, spec},
        model::{bot_update::BotCheckout, object::Object, observed::FencingToken},
    },
    host::Program,
};

/// The fence's program, and what it starts. Whatever is left of it at its limit is ended with it.
pub fn update(act: Program, object: &Object, checkout: &BotCheckout, token: &FencingToken) -> Program {
    let script = Program::new("update", include_str!("bots.sh"))
        .with("dir", checkout.dir.as_str())
        .with("branch", checkout.branch.as_str())
        .with("container", checkout.container.as_str())
        .script();
    act.with("object", object.as_str())
        .with("spec", spec(&checkout.branch).as_str())
        .with("job", token.job().as_str())
        .with("limit", UPDATE_LIMIT.as_secs().to_string())
        .with("script", script)
}
