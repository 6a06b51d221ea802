//! `token`: who may ask over HTTP.

use serde_json::json;

use super::{
    Exit,
    arguments::{Format, TokenAction, TokenRole},
    print, print_json,
    reach::{self, segment},
    say,
};
use crate::{
    controller::{
        ControllerPaths,
        authenticator::{TokenSummary, are_needed},
    },
    core::model::access::Role,
    web::control::{CreatedToken, NewToken, RenewedToken},
};

/// # Errors
/// When there is such a token already, or none, or the store cannot be used.
pub async fn token(places: &ControllerPaths, action: TokenAction, output: Format) -> anyhow::Result<Exit> {
    let way = reach::reach(places).await?;
    match action {
        TokenAction::New { words } => {
            let words: String = words.iter().map(|word| format!(" {word}")).collect();
            anyhow::bail!("`token new` is called `token create` now: `spark-control token create{words}`")
        }
        TokenAction::Create { name, role } => {
            let role = Role::from(role);
            let wish = NewToken { name: name.clone(), role };
            let CreatedToken { token } = serde_json::from_slice(&way.post("/tokens", &wish).await?)?;
            match output {
                Format::Json => print_json(&json!({ "name": name, "role": role, "token": token }))?,
                Format::Text => print(&format!("{token}\n"))?,
            }
            talk!("`{name}` may {}; this is shown once, and is not kept here", role.name());
            Ok(Exit::Done)
        }
        TokenAction::Renew { name, role } => {
            let role = role.map(Role::from);
            let path = format!("/tokens/{}/renew", segment(&name));
            let CreatedToken { token } =
                serde_json::from_slice(&way.post(&path, &RenewedToken { role }).await?)?;
            match output {
                Format::Json => print_json(&json!({ "name": name, "token": token }))?,
                Format::Text => print(&format!("{token}\n"))?,
            }
            talk!("the one before is worth nothing now; this is shown once, and is not kept here");
            Ok(Exit::Done)
        }
        TokenAction::List => {
            let tokens: Vec<TokenSummary> = way.get("/tokens").await?;
            match output {
                Format::Json => print_json(&json!({ "tokens": tokens }))?,
                Format::Text if tokens.is_empty() && are_needed(&places.data) => {
                    talk!(
                        "there are none, and there were: nobody is let in over HTTP until one is made, or the store is put back"
                    );
                }
                Format::Text if tokens.is_empty() => {
                    talk!("there are none: whoever reaches the controller may edit, and agree to plans");
                }
                Format::Text => print(&format!("{}\n", listed(&tokens).trim_fmt()))?,
            }
            Ok(Exit::Done)
        }
        TokenAction::Revoke { name } => {
            way.post(&format!("/tokens/{}/revoke", segment(&name)), &json!({})).await?;
            let left: Vec<TokenSummary> = way.get("/tokens").await?;
            if left.is_empty() {
                talk!("that was the last one: from now on nobody is asked for a token");
            }
            say(output, &json!({ "revoked": name }), &format!("`{name}` is revoked"))
        }
    }
}

fn listed(tokens: &[TokenSummary]) -> comfy_table::Table {
    let mut table = super::look::table(["NAME", "MAY", "MADE", "LAST USED"]);
    for token in tokens {
        let used = token.used.as_deref().unwrap_or("never");
        table.add_row([token.name.as_str(), token.role.name(), token.made.as_str(), used]);
    }
    table
}

impl From<TokenRole> for Role {
    fn from(role: TokenRole) -> Self {
        match role {
            TokenRole::Read => Self::Read,
            TokenRole::Edit => Self::Edit,
            TokenRole::Approve => Self::Approve,
        }
    }
}
