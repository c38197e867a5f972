use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, header};
use timing::SharedClock;

use super::static_token::bearer;
use super::{Authenticator, Grant, TokenSource};
use crate::error::{Error, ErrorKind};

/// A token is renewed this long before its end, or a tenth of its life before if that is shorter.
const AHEAD: Duration = Duration::from_secs(300);

/// After a failed renewal the valid token is used this long before the next try.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

/// Keeps one token per identity: fetched once for all that wait, renewed ahead of its end, used until
/// its end if the renewal fails, fetched anew after a 401.
#[derive(Debug)]
pub struct TokenCache {
    source: Arc<dyn TokenSource>,
    clock: SharedClock,
    state: Mutex<State>,
    /// Held during a fetch, so that there is one at a time.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Held>,
    fetches: u64,
    /// The result of the last fetch, shared with those who waited for it.
    failure: Option<Error>,
}

struct Held {
    value: HeaderValue,
    grant: Grant,
    renew_at: Duration,
    ends_at: Duration,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Held")
            .field("grant", &self.grant)
            .field("ends_at", &self.ends_at)
            .finish_non_exhaustive()
    }
}

impl TokenCache {
    /// An empty cache over `source`.
    #[must_use]
    pub fn new(source: Arc<dyn TokenSource>, clock: SharedClock) -> Self {
        Self { source, clock, state: Mutex::default(), fetching: tokio::sync::Mutex::new(()) }
    }

    /// How many tokens were asked for.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        self.state().fetches
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a valid token, and whether it should be renewed.
    fn look(&self) -> (bool, bool) {
        let now = self.clock.monotonic();
        match &self.state().token {
            Some(held) if now < held.ends_at => (true, now >= held.renew_at),
            _ => (false, true),
        }
    }

    async fn fetch(&self) -> Result<(), Error> {
        let asked_at = self.clock.monotonic();
        let fetched = self.source.fetch().await.and_then(|token| Ok((bearer(&token.secret)?, token.expires_in)));
        let mut state = self.state();
        state.fetches += 1;
        let grant = Grant(state.fetches);
        match fetched {
            Ok((_, Some(life))) if life.is_zero() => {
                let error = Error::new(ErrorKind::Auth, "the identity provider gave a token that has ended already");
                state.failure = Some(error.clone());
                Err(error)
            }
            Ok((value, life)) => {
                // Counted from the question, not from the answer: never used beyond its end.
                let ends_at = life.map_or(Duration::MAX, |life| asked_at.saturating_add(life));
                let renew_at = life.map_or(Duration::MAX, |life| ends_at.saturating_sub(AHEAD.min(life / 10)));
                state.token = Some(Held { value, grant, renew_at, ends_at });
                state.failure = None;
                Ok(())
            }
            Err(error) => {
                let now = self.clock.monotonic();
                state.failure = Some(error.clone());
                match &mut state.token {
                    Some(held) if now < held.ends_at => {
                        held.renew_at = now.saturating_add(RENEWAL_PAUSE);
                        Ok(())
                    }
                    _ => Err(error),
                }
            }
        }
    }
}

#[async_trait]
impl Authenticator for TokenCache {
    fn authorize(&self, headers: &mut HeaderMap) -> Option<Grant> {
        let now = self.clock.monotonic();
        let state = self.state();
        let held = state.token.as_ref().filter(|held| now < held.ends_at)?;
        headers.insert(header::AUTHORIZATION, held.value.clone());
        Some(held.grant)
    }

    fn is_due(&self) -> bool {
        self.look().1
    }

    async fn refresh(&self) -> Result<(), Error> {
        let fetches = self.state().fetches;
        let _turn = if self.look().0 {
            // Somebody renews already: the old token serves meanwhile.
            let Ok(turn) = self.fetching.try_lock() else { return Ok(()) };
            turn
        } else {
            self.fetching.lock().await
        };
        if !self.look().1 {
            return Ok(());
        }
        let shared_failure = {
            let state = self.state();
            if state.fetches == fetches { None } else { state.failure.clone() }
        };
        match shared_failure {
            // The fetch that this caller waited for failed: asking again at once would hammer.
            Some(error) => Err(error),
            None => self.fetch().await,
        }
    }

    fn invalidate(&self, grant: Grant) {
        let mut state = self.state();
        if state.token.as_ref().is_some_and(|held| held.grant == grant) {
            state.token = None;
        }
    }
}
