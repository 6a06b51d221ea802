//! Who may ask over HTTP. Without a token, whoever reaches us may do everything; with the first, nobody may without one.
//!
//! A token is `sc_ID_SECRET`; its secret is 256 random bits, and only their SHA-256 is kept. A browser that signs in gets a
//! secret of its own, which ends with the token or by itself.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Controller, random_hex};
use crate::{
    core::model::{access::Role, event_kind::EventKind, spec_hash::hex},
    store::{
        Store, StoreError,
        tokens::{AccessToken, BrowserSession},
    },
};

const PREFIX: &str = "sc";
const ID_BYTES: usize = 4;
const SECRET_BYTES: usize = 32;
/// Nobody lends more.
const MOST_TOKENS: usize = 100;
/// Of one token; the oldest goes first.
const MOST_SESSIONS: usize = 50;
/// A browser that is used once a month stays signed in for a month.
const SESSION_LASTS: SignedDuration = SignedDuration::from_hours(30 * 24);
/// When a token was used last is known to the minute.
const USED_EVERY: SignedDuration = SignedDuration::from_mins(1);
const FAILED_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// Everybody who may ask, in memory: no request waits for the store.
pub(super) struct Authenticator {
    known: RwLock<TokenTable>,
    marker: TokensMarker,
}

/// A file beside the store which says that there are tokens: a store that was lost, or put back from before, must not open the
/// door. It is part of a backup; who has the machine may take it away.
pub(super) struct TokensMarker(PathBuf);

/// There were tokens in this data directory, whatever its store says.
pub fn are_needed(data: &Path) -> bool {
    TokensMarker::of(data).is_set()
}

impl TokensMarker {
    pub(super) fn of(data: &Path) -> Self {
        Self(data.join("tokens-are-needed"))
    }

    fn is_set(&self) -> bool {
        // What cannot be told is no reason to let anybody in.
        self.0.try_exists().unwrap_or(true)
    }

    /// Set while there are tokens.
    fn keep(&self, are_tokens: bool) -> Result<(), StoreError> {
        let said = "Whoever asks this controller needs a token. Written with the first token, taken away with the last.\n";
        let done = match (are_tokens, self.is_set()) {
            (true, false) => std::fs::write(&self.0, said),
            (false, true) => std::fs::remove_file(&self.0),
            _ => Ok(()),
        };
        done.map_err(|error| StoreError::Io(self.0.display().to_string(), error))
    }
}

struct TokenTable {
    tokens: Vec<AccessToken>,
    /// Oldest first.
    sessions: Vec<BrowserSession>,
    /// Raised when somebody who might ask may not any more, or nobody may without a token: streams end then.
    turn: u64,
    /// Sign-ins that were refused since the history told of one, and when it did.
    failed: u64,
    failed_told: Option<Timestamp>,
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
    fn forget(&mut self, id: &str) {
        self.tokens.retain(|token| token.id != id);
        self.sessions.retain(|session| session.token != id);
        self.turn += 1;
    }
}

impl Authenticator {
    pub(super) fn new(
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

    fn read(&self) -> RwLockReadGuard<'_, TokenTable> {
        self.known.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, TokenTable> {
        self.known.write()
    }
}

/// Make a token in a store that nobody else uses, and tell it: this once.
///
/// # Errors
/// [`NoToken`].
pub fn make(store: &Store, name: &str, role: Role, now: Timestamp) -> Result<(AccessToken, String), NoToken> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_letter) {
        return Err(NoToken::Name(name.to_owned()));
    }
    let known = store.tokens()?;
    if known.iter().any(|token| token.name == name) {
        return Err(NoToken::Taken(name.to_owned()));
    }
    if known.len() >= MOST_TOKENS {
        return Err(NoToken::TooMany);
    }
    let (token, written) = minted(name, role, now);
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
fn minted(name: &str, role: Role, now: Timestamp) -> (AccessToken, String) {
    let (id, secret) = (random_hex(ID_BYTES), random_hex(SECRET_BYTES));
    let token = AccessToken {
        id: id.clone(),
        name: name.to_owned(),
        role,
        hash: hash(&secret),
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

fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

fn is(secret: &str, kept: &str) -> bool {
    hash(secret).as_bytes().ct_eq(kept.as_bytes()).into()
}

/// `sc_ID_SECRET`
fn parts(written: &str) -> Option<(&str, &str)> {
    let mut parts = written.splitn(3, '_');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(PREFIX), Some(id), Some(secret)) => Some((id, secret)),
        _ => None,
    }
}

impl Controller {
    /// Nobody may ask without a token.
    pub fn needs_token(&self) -> bool {
        !self.auth.read().tokens.is_empty() || self.auth.marker.is_set()
    }

    /// There were tokens, and the store has none: it was lost, or is from before.
    pub fn tokens_are_lost(&self) -> bool {
        self.auth.read().tokens.is_empty() && self.auth.marker.is_set()
    }

    /// What was let in at an earlier turn is to ask again.
    pub fn auth_generation(&self) -> u64 {
        self.auth.read().turn
    }

    /// Whose token this is; `None`: nobody's.
    pub fn asker_of(&self, token: &str) -> Option<Caller> {
        let (id, secret) = parts(token)?;
        let found = self.auth.read().tokens.iter().find(|known| known.id == id).cloned()?;
        is(secret, &found.hash).then(|| {
            self.was_used(&found);
            Caller { name: Some(found.name), role: found.role, session: None }
        })
    }

    /// Whose browser this is, by its cookie.
    pub fn asker_of_browser(&self, cookie: &str) -> Option<Caller> {
        let (id, secret) = parts(cookie)?;
        let known = self.auth.read();
        let session = known.sessions.iter().find(|known| known.id == id)?.clone();
        let token = known.tokens.iter().find(|token| token.id == session.token)?.clone();
        drop(known);
        (is(secret, &session.hash) && session.until > self.now()).then(|| {
            self.was_used(&token);
            let signed = SignedIn { id: session.id, until: session.until };
            Caller { name: Some(token.name), role: token.role, session: Some(signed) }
        })
    }

    /// A browser signs in with a token; the secret that it keeps. `None`: it is nobody's.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn sign_in(&self, token: &str) -> Result<Option<(Caller, String)>, StoreError> {
        let Some(asker) = self.asker_of(token) else { return Ok(None) };
        let now = self.now();
        let (id, secret) = (random_hex(ID_BYTES * 2), random_hex(SECRET_BYTES));
        let session = BrowserSession {
            id: id.clone(),
            token: parts(token).map_or_else(String::new, |(id, _)| id.to_owned()),
            hash: hash(&secret),
            until: now.saturating_add(SESSION_LASTS).unwrap_or(Timestamp::MAX),
        };
        let mut known = self.auth.write();
        known.sessions.retain(|session| session.until > now);
        let same = |other: &&BrowserSession| other.token == session.token;
        if known.sessions.iter().filter(same).count() >= MOST_SESSIONS
            && let Some(oldest) = known.sessions.iter().find(same).map(|oldest| oldest.id.clone())
        {
            known.sessions.retain(|other| other.id != oldest);
            self.state().store.remove_session(&oldest)?;
        }
        let state = self.state();
        state.store.add_session(&session, now)?;
        let name = asker.name.as_deref().unwrap_or_default();
        state.store.add_event(
            EventKind::Token,
            "",
            &format!("a browser signed in with token `{name}`"),
            now,
        )?;
        let signed = SignedIn { id: id.clone(), until: session.until };
        known.sessions.push(session);
        Ok(Some((Caller { session: Some(signed), ..asker }, format!("{PREFIX}_{id}_{secret}"))))
    }

    /// Somebody tried with what is nobody's token. Told once a minute, so that guessing does not wash the history away.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn sign_in_failed(&self, by: &str) -> Result<(), StoreError> {
        let now = self.now();
        let mut known = self.auth.write();
        known.failed += 1;
        if known.failed_told.is_some_and(|told| now.duration_since(told).abs() < FAILED_EVERY) {
            return Ok(());
        }
        let times = std::mem::take(&mut known.failed);
        known.failed_told = Some(now);
        drop(known);
        let more = if times > 1 {
            format!(", and {} times more since the last line", times - 1)
        } else {
            String::new()
        };
        let message = format!("{by} tried to sign in with a token that is not known here{more}");
        self.state().store.add_event(EventKind::Token, "", &message, now)
    }

    /// # Errors
    /// When the store cannot be written.
    pub fn sign_out(&self, session: &str) -> Result<(), StoreError> {
        let mut known = self.auth.write();
        known.sessions.retain(|known| known.id != session);
        known.turn += 1;
        self.state().store.remove_session(session)
    }

    /// # Errors
    /// [`NoToken`].
    pub fn make_token(&self, name: &str, role: Role) -> Result<String, NoToken> {
        let mut known = self.auth.write();
        // First the marker: at no moment is there a token without it.
        self.auth.marker.keep(true)?;
        let (token, written) = make(&self.state().store, name, role, self.now())?;
        known.tokens.push(token);
        known.turn += 1;
        Ok(written)
    }

    /// Make one in the place of the one of this name: at no moment is there none, which would let everybody in.
    ///
    /// # Errors
    /// [`NoToken`].
    pub fn renew_token(&self, name: &str, role: Option<Role>) -> Result<String, NoToken> {
        let mut known = self.auth.write();
        let Some(old) = known.tokens.iter().find(|token| token.name == name).cloned() else {
            drop(known);
            return self.make_token(name, role.unwrap_or(Role::Edit));
        };
        let now = self.now();
        let (token, written) = minted(name, role.unwrap_or(old.role), now);
        let mut state = self.state();
        state.store.replace_token(&old.id, &token)?;
        state.store.add_event(
            EventKind::Token,
            "",
            &format!("token `{name}` was renewed; it may {}", token.role.name()),
            now,
        )?;
        drop(state);
        known.forget(&old.id);
        known.tokens.push(token);
        Ok(written)
    }

    /// # Errors
    /// [`NoToken`].
    pub fn revoke_token(&self, name: &str) -> Result<(), NoToken> {
        let mut known = self.auth.write();
        let token = revoke(&mut self.state().store, name, self.now())?;
        known.forget(&token.id);
        self.auth.marker.keep(!known.tokens.is_empty())?;
        Ok(())
    }

    pub fn tokens(&self) -> Vec<TokenSummary> {
        self.auth.read().tokens.iter().cloned().map(TokenSummary::from).collect()
    }

    fn was_used(&self, token: &AccessToken) {
        let now = self.now();
        let last = token.used.as_deref().and_then(|used| used.parse::<Timestamp>().ok());
        if last.is_some_and(|last| now.duration_since(last) < USED_EVERY) {
            return;
        }
        if let Some(known) = self.auth.write().tokens.iter_mut().find(|known| known.id == token.id) {
            known.used = Some(format!("{now:.0}"));
        }
        // Not known to the minute is no reason to refuse.
        if let Err(error) = self.state().store.token_was_used(&token.id, now) {
            tracing::error!("remembering that a token was used: {error}");
        }
    }
}
