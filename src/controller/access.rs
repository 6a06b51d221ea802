//! Who may ask over HTTP. Without a token, whoever reaches us may do everything; with the first, nobody may without one.
//!
//! A token is `sc_ID_SECRET`; its secret is 256 random bits, and only their SHA-256 is kept. A browser that signs in gets a
//! secret of its own, which ends with the token or by itself.

use jiff::{SignedDuration, Timestamp};

use super::{
    Controller,
    authenticator::{
        self, Caller, ID_BYTES, NoToken, PREFIX, SECRET_BYTES, SignedIn, TokenSummary, hash_secret,
        is_secret, mint, split_secret,
    },
    world::random_hex,
};
use crate::{
    core::model::{access::Role, event_kind::EventKind},
    store::{
        StoreError,
        tokens::{AccessToken, BrowserSession},
    },
};

/// Of one token; the oldest goes first.
const MOST_SESSIONS: usize = 50;
/// A browser that is used once a month stays signed in for a month.
const SESSION_LASTS: SignedDuration = SignedDuration::from_hours(30 * 24);
/// When a token was used last is known to the minute.
const USED_EVERY: SignedDuration = SignedDuration::from_mins(1);
const FAILED_EVERY: SignedDuration = SignedDuration::from_mins(1);

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
        let (id, secret) = split_secret(token)?;
        let found = self.auth.read().tokens.iter().find(|known| known.id == id).cloned()?;
        is_secret(secret, &found.hash).then(|| {
            self.was_used(&found);
            Caller { name: Some(found.name), role: found.role, session: None }
        })
    }

    /// Whose browser this is, by its cookie.
    pub fn asker_of_browser(&self, cookie: &str) -> Option<Caller> {
        let (id, secret) = split_secret(cookie)?;
        let known = self.auth.read();
        let session = known.sessions.iter().find(|known| known.id == id)?.clone();
        let token = known.tokens.iter().find(|token| token.id == session.token)?.clone();
        drop(known);
        (is_secret(secret, &session.hash) && session.until > self.now()).then(|| {
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
            token: split_secret(token).map_or_else(String::new, |(id, _)| id.to_owned()),
            hash: hash_secret(&secret),
            until: now.saturating_add(SESSION_LASTS).unwrap_or(Timestamp::MAX),
        };
        let mut known = self.auth.write();
        known.sessions.retain(|session| session.until > now);
        let mut of_this_token = known.sessions.iter().filter(|other| other.token == session.token);
        let oldest = of_this_token.next().map(|oldest| oldest.id.clone());
        if let Some(oldest) = oldest.filter(|_| of_this_token.count() + 1 >= MOST_SESSIONS) {
            self.state().store.remove_session(&oldest)?;
            known.sessions.retain(|other| other.id != oldest);
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
        let (token, written) = authenticator::make(&self.state().store, name, role, self.now())?;
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
        let (token, written) = mint(name, role.unwrap_or(old.role), now);
        let state = self.state();
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
        let token = authenticator::revoke(&mut self.state().store, name, self.now())?;
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
