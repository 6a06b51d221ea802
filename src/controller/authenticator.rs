//! Everybody who may ask over HTTP, in memory, and how their secrets are made and compared.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::world::random_hex;
use crate::{
    core::model::{access::Role, event_kind::EventKind, spec_hash::hex},
    store::{
        Store, StoreError,
        tokens::{AccessToken, BrowserSession},
    },
};

pub const PREFIX: &str = "sc";

pub const ID_BYTES: usize = 4;

pub const SECRET_BYTES: usize = 32;

/// Nobody lends more.
const MOST_TOKENS: usize = 100;

/// Everybody who may ask, in memory: no request waits for the store.
pub struct Authenticator {
    known: RwLock<TokenTable>,
    pub marker: TokensMarker,
}

/// A file beside the store which says that there are tokens: a store that was lost, or put back from before, must not open the
/// door. It is part of a backup; who has the machine may take it away.
pub struct TokensMarker(PathBuf);

/// There were tokens in this data directory, whatever its store says.
pub fn are_needed(data: &Path) -> bool {
    TokensMarker::of(data).is_set()
}

impl TokensMarker {
    pub fn of(data: &Path) -> Self {
        Self(data.join("tokens-are-needed"))
    }

    pub fn is_set(&self) -> bool {
        // What cannot be told is no reason to let anybody in.
        self.0.try_exists().unwrap_or(true)
    }

    /// Set while there are tokens.
    pub fn keep(&self, are_tokens: bool) -> Result<(), StoreError> {
        let said = "Whoever asks this controller needs a token. Written with the first token, taken away with the last.\n";
        let done = match (are_tokens, self.is_set()) {
            (true, false) => std::fs::write(&self.0, said),
            (false, true) => std::fs::remove_file(&self.0),
            _ => Ok(()),
        };
        done.map_err(|error| StoreError::Io(self.0.display().to_string(), error))
    }
}

pub struct TokenTable {
    pub tokens: Vec<AccessToken>,
    /// Oldest first.
    pub sessions: Vec<BrowserSession>,
    /// Raised when somebody who might ask may not any more, or nobody may without a token: streams end then.
    pub turn: u64,
    /// Sign-ins that were refused since the history told of one, and when it did.
    pub failed: u64,
    pub failed_told: Option<Timestamp>,
}

/// A token as it is listed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenSummary {
    pub name: String,
    pub role: Role,
    pub made: String,
    pub used: Option<String>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Of the token; `None`: there are no tokens.
    pub name: Option<String>,
    pub role: Role,
    /// Of a browser that signed in.
    pub session: Option<SignedIn>,
}

impl Caller {
    /// Whoever is not asked for a token.
    pub const EVERYBODY: Self = Self { name: None, role: Role::Approve, session: None };
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    pub id: String,
    pub until: Timestamp,
}

/// Why a token is not made or taken away.
#[derive(Debug, thiserror::Error)]
pub enum NoToken {
    #[error("a token's name is up to 64 letters, figures, dots, dashes and underscores; `{0}` is not")]
    Name(String),
    #[error("there is a token `{0}` already; revoke it first, or take another name")]
    Taken(String),
    #[error("there are {MOST_TOKENS} tokens, and no more are kept; revoke one")]
    TooMany,
    #[error("no token is named `{0}`; `spark-control token list` tells which there are")]
    Unknown(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TokenTable {
    /// A token, and every browser that signed in with it.
    pub fn forget(&mut self, id: &str) {
        self.tokens.retain(|token| token.id != id);
        self.sessions.retain(|session| session.token != id);
        self.turn += 1;
    }
}

impl Authenticator {
    pub fn new(
        tokens: Vec<AccessToken>,
        sessions: Vec<BrowserSession>,
        marker: TokensMarker,
    ) -> Result<Self, StoreError> {
        // One that is there without tokens stays: they are lost.
        if !tokens.is_empty() {
            marker.keep(true)?;
        }
        let known = RwLock::new(TokenTable { tokens, sessions, turn: 0, failed: 0, failed_told: None });
        Ok(Self { known, marker })
    }

    pub fn read(&self) -> RwLockReadGuard<'_, TokenTable> {
        self.known.read()
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, TokenTable> {
        self.known.write()
    }
}

/// Make a token in a store that nobody else uses, and tell it: this once.
///
/// # Errors
/// [`NoToken`].
pub fn make(store: &Store, name: &str, role: Role, now: Timestamp) -> Result<(AccessToken, String), NoToken> {
    let is_plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
    if name.is_empty() || name.len() > 64 || !is_plain {
        return Err(NoToken::Name(name.to_owned()));
    }
    let known = store.tokens()?;
    if known.iter().any(|token| token.name == name) {
        return Err(NoToken::Taken(name.to_owned()));
    }
    if known.len() >= MOST_TOKENS {
        return Err(NoToken::TooMany);
    }
    let (token, written) = mint(name, role, now);
    store.add_token(&token)?;
    store.add_event(
        EventKind::Token,
        "",
        &format!("token `{name}` was made; it may {}", role.name()),
        now,
    )?;
    Ok((token, written))
}

/// A new one, and what is written in it.
pub fn mint(name: &str, role: Role, now: Timestamp) -> (AccessToken, String) {
    let (id, secret) = (random_hex(ID_BYTES), random_hex(SECRET_BYTES));
    let token = AccessToken {
        id: id.clone(),
        name: name.to_owned(),
        role,
        hash: hash_secret(&secret),
        made: format!("{now:.0}"),
        used: None,
    };
    (token, format!("{PREFIX}_{id}_{secret}"))
}

/// Take one away, by its name.
///
/// # Errors
/// [`NoToken`].
pub fn revoke(store: &mut Store, name: &str, now: Timestamp) -> Result<AccessToken, NoToken> {
    let token = store.tokens()?.into_iter().find(|token| token.name == name);
    let token = token.ok_or_else(|| NoToken::Unknown(name.to_owned()))?;
    store.remove_token(&token.id)?;
    store.add_event(EventKind::Token, "", &format!("token `{name}` was revoked"), now)?;
    Ok(token)
}

impl From<AccessToken> for TokenSummary {
    fn from(token: AccessToken) -> Self {
        Self { name: token.name, role: token.role, made: token.made, used: token.used }
    }
}

pub fn hash_secret(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

pub fn is_secret(secret: &str, kept: &str) -> bool {
    hash_secret(secret).as_bytes().ct_eq(kept.as_bytes()).into()
}

/// `sc_ID_SECRET`
pub fn split_secret(written: &str) -> Option<(&str, &str)> {
    let mut parts = written.splitn(3, '_');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(PREFIX), Some(id), Some(secret)) => Some((id, secret)),
        _ => None,
    }
}
