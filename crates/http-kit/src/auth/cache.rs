use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, header};
use timing::SharedClock;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tracing::Instrument;

use super::static_token::bearer;
use super::{Authenticator, Grant, TokenSource};
use crate::error::{Error, ErrorKind};

/// A token is renewed this long before its end, or a tenth of its life before if that is shorter.
const AHEAD: Duration = Duration::from_secs(300);

/// After a failed renewal the valid token is used this long before the next try.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

/// After a failed fetch without a valid token this long nobody is asked again: callers get the same failure.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

/// A token younger than this that no server ever accepted is thrown away after a 401 once; if its successor is refused as well, the
/// reason is not the token, and fetching one more for each call would only add load at the identity provider.
const YOUNG: Duration = Duration::from_secs(30);

/// Keeps one token per identity: fetched once for all that wait, renewed ahead of its end, used until
/// its end if the renewal fails, fetched anew after a 401.
///
/// A renewal ahead runs as a task of its own, which ends with the cache, so that no call waits for it.
#[derive(Debug)]
pub struct TokenCache {
    shared: Arc<Shared>,
    renewal: Mutex<Option<AbortHandle>>,
}

#[derive(Debug)]
struct Shared {
    source: Arc<dyn TokenSource>,
    clock: SharedClock,
    state: Mutex<State>,
    /// The newest grant that a server accepted; 0 before the first.
    accepted: AtomicU64,
    /// Held during a fetch, so that there is one at a time. Freed also when the one who fetches is dropped.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Held>,
    fetches: u64,
    /// Why the last fetch failed, and until when nobody asks again.
    failure: Option<(Error, Duration)>,
    /// Whether the last token that was thrown away was a young one that nobody had accepted.
    young_refused: bool,
}

struct Held {
    value: HeaderValue,
    grant: Grant,
    asked_at: Duration,
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

/// What there is at a moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Supply {
    Fresh,
    Due,
    None,
}

impl TokenCache {
    /// An empty cache over `source`.
    #[must_use]
    pub fn new(source: Arc<dyn TokenSource>, clock: SharedClock) -> Self {
        let shared =
            Shared { source, clock, state: Mutex::default(), accepted: AtomicU64::new(0), fetching: Arc::default() };
        Self { shared: Arc::new(shared), renewal: Mutex::default() }
    }

    /// How many tokens were asked for.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        self.shared.state().fetches
    }

    /// Renews a token that is still valid. Waits for nobody where there is a runtime.
    async fn renew_ahead(&self) {
        // Somebody renews already: the old token serves meanwhile.
        let Ok(turn) = Arc::clone(&self.shared.fetching).try_lock_owned() else { return };
        if self.shared.supply() != Supply::Due {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let renewal = async move {
            let _turn = turn;
            if let Err(error) = shared.fetch().await {
                tracing::debug!(kind = ?error.kind(), "http.renewal_failed");
            }
        };
        match Handle::try_current() {
            Ok(runtime) => {
                let task = runtime.spawn(renewal.in_current_span()).abort_handle();
                *self.renewal.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
            }
            Err(_no_runtime) => renewal.await,
        }
    }
}

impl Drop for TokenCache {
    fn drop(&mut self) {
        if let Some(task) = self.renewal.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn supply(&self) -> Supply {
        let now = self.clock.monotonic();
        match &self.state().token {
            Some(held) if now < held.renew_at.min(held.ends_at) => Supply::Fresh,
            Some(held) if now < held.ends_at => Supply::Due,
            _ => Supply::None,
        }
    }

    async fn fetch(&self) -> Result<(), Error> {
        let asked_at = self.clock.monotonic();
        let fetched = self.source.fetch().await.and_then(|token| match token.expires_in {
            Some(life) if life.is_zero() => {
                Err(Error::new(ErrorKind::Auth, "the identity provider gave a token that has ended already"))
            }
            life => Ok((bearer(&token.secret)?, life)),
        });
        let mut state = self.state();
        state.fetches += 1;
        let grant = Grant(state.fetches);
        match fetched {
            Ok((value, life)) => {
                // Counted from the question, not from the answer: never used beyond its end.
                let ends_at = life.map_or(Duration::MAX, |life| asked_at.saturating_add(life));
                let renew_at = life.map_or(Duration::MAX, |life| ends_at.saturating_sub(AHEAD.min(life / 10)));
                state.token = Some(Held { value, grant, asked_at, renew_at, ends_at });
                state.failure = None;
                Ok(())
            }
            Err(error) => {
                let now = self.clock.monotonic();
                if let Some(held) = &mut state.token {
                    held.renew_at = now.saturating_add(RENEWAL_PAUSE);
                }
                state.failure = Some((error.clone(), now.saturating_add(FAILURE_PAUSE)));
                Err(error)
            }
        }
    }

    /// The last failure, while it is too early to ask again.
    fn recent_failure(&self) -> Option<Error> {
        let now = self.clock.monotonic();
        self.state().failure.as_ref().filter(|(_, until)| now < *until).map(|(error, _)| error.clone())
    }
}

#[async_trait]
impl Authenticator for TokenCache {
    fn authorize(&self, headers: &mut HeaderMap) -> Option<Grant> {
        let now = self.shared.clock.monotonic();
        let state = self.shared.state();
        let held = state.token.as_ref().filter(|held| now < held.ends_at)?;
        headers.insert(header::AUTHORIZATION, held.value.clone());
        Some(held.grant)
    }

    fn is_due(&self) -> bool {
        self.shared.supply() != Supply::Fresh
    }

    async fn refresh(&self) -> Result<(), Error> {
        if self.shared.supply() != Supply::None {
            self.renew_ahead().await;
            return Ok(());
        }
        let _turn = self.shared.fetching.lock().await;
        // Whoever waited for a fetch of somebody else has its token, or its failure: asking again would hammer.
        if self.shared.supply() != Supply::None {
            return Ok(());
        }
        match self.shared.recent_failure() {
            Some(error) => Err(error),
            None => self.shared.fetch().await,
        }
    }

    fn invalidate(&self, grant: Grant) -> bool {
        let now = self.shared.clock.monotonic();
        let mut state = self.shared.state();
        let Some(held) = state.token.as_ref().filter(|held| held.grant == grant) else { return true };
        let accepted = self.shared.accepted.load(Ordering::Relaxed) == grant.0;
        let young = now.saturating_sub(held.asked_at) < YOUNG && !accepted;
        if young && state.young_refused {
            return false;
        }
        state.young_refused = young;
        state.token = None;
        true
    }

    fn accepted(&self, grant: Grant) {
        // Almost always it is known already, and then nothing is written.
        if self.shared.accepted.load(Ordering::Relaxed) < grant.0 {
            self.shared.accepted.fetch_max(grant.0, Ordering::Relaxed);
        }
    }

    fn age(&self) -> Option<Duration> {
        let asked_at = self.shared.state().token.as_ref()?.asked_at;
        Some(self.shared.clock.monotonic().saturating_sub(asked_at))
    }
}
