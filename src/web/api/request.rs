//! What a handler is given: the controller, and parts of the request with our errors.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, FromRequest, FromRequestParts},
    http::{HeaderMap, header, request::Parts},
};

use super::problem::Problem;
use crate::{
    controller::{Controller, authenticator::Caller},
    core::model::{access::Role, visible},
};

/// The controller that every handler asks.
pub type Shared = Arc<Controller>;

/// JSON in, with our errors.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
pub struct JsonBody<T>(pub T);

/// Parts of the address, with our errors.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct PathParam<T>(pub T);

/// What follows the question mark, with our errors.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub struct QueryParams<T>(pub T);

/// Who asks and from where, for the history, and what they may.
pub struct RequestCaller {
    pub by: String,
    pub role: Role,
    /// Whose holds it is about: the token's name, when nobody says another.
    pub owner: Option<String>,
}

impl RequestCaller {
    /// The same, who says whose holds it is about.
    pub(super) fn of(self, owner: Option<String>) -> Self {
        let owner = owner.or(self.owner);
        Self { owner, ..self }
    }
}

/// Marks what came over the control socket: whoever can open that may do everything, and nobody asks for a token.
#[derive(Clone, Copy)]
pub struct OnThisMachine;

impl<S: Sync> FromRequestParts<S> for RequestCaller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let from = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip());
        let from = from.map_or(String::new(), |address| format!(" from {address}"));
        let asker = parts.extensions.get::<Caller>();
        let role = asker.map_or(Role::Nobody, |asker| asker.role);
        if let Some(token) = asker.and_then(|asker| asker.name.clone()) {
            return Ok(Self { by: format!("token `{token}`{from}"), role, owner: Some(token) });
        }
        let is_here = parts.extensions.get::<OnThisMachine>().is_some();
        // Nobody is authenticated by this.
        let named = parts.headers.get("x-spark-control-user");
        let named = named.and_then(|name| std::str::from_utf8(name.as_bytes()).ok());
        let plain = named.filter(|name| name.len() <= 64 && visible::visible_line(name) == **name);
        let name = plain.unwrap_or("somebody");
        if is_here {
            return Ok(Self { by: name.to_owned(), role: Role::Approve, owner: None });
        }
        Ok(Self { by: format!("{name} over HTTP{from}"), role, owner: None })
    }
}

/// Whoever asks takes an answer of this kind, by its name.
pub(super) fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let written = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    written.is_some_and(|written| written.contains(kind))
}
