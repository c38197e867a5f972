//! The tokens that the sandbox issued, for both services.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::SandboxClock;
use crate::service::Side;

/// What a bearer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    /// Issued by this sandbox for this service, and good.
    Valid,
    /// Issued by this sandbox for this service, and too old.
    Expired,
    /// Not issued by this sandbox for this service.
    Unknown,
}

#[derive(Debug)]
struct Issued {
    side: Side,
    expires_millis: i64,
    product_context: bool,
}

/// Issued tokens. At most 10,000 are remembered; the one that expires first is forgotten first.
pub struct TokenBook {
    clock: Arc<SandboxClock>,
    issued: Mutex<HashMap<String, Issued>>,
    lifetimes: [AtomicU64; 2],
}

impl std::fmt::Debug for TokenBook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenBook").finish_non_exhaustive()
    }
}

impl TokenBook {
    const MOST: usize = 10_000;

    /// An empty book with the documented lifetimes: an hour for Dataverse (learn.microsoft.com, "OAuth 2.0 client credentials
    /// flow"), a day for Campaign (developer.adobe.com, "Server to Server authentication").
    pub fn new(clock: Arc<SandboxClock>) -> Self {
        Self { clock, issued: Mutex::default(), lifetimes: [AtomicU64::new(3599), AtomicU64::new(86_399)] }
    }

    fn place(side: Side) -> usize {
        match side {
            Side::Dataverse => 0,
            // The journal takes the tokens of IMS, as Campaign does.
            Side::Campaign | Side::Journal => 1,
        }
    }

    /// Lifetime in seconds of the tokens issued from now on.
    pub fn set_lifetime(&self, side: Side, seconds: u64) {
        self.lifetimes[Self::place(side)].store(seconds, Ordering::Relaxed);
    }

    /// Issues a token that opens everything; with its lifetime in seconds.
    pub fn issue(&self, side: Side) -> (String, u64) {
        self.issue_with(side, true)
    }

    /// Issues a token; with its lifetime in seconds. `product_context` says whether it names the organizations that its account
    /// may enter: the scope `additional_info.projectedProductContext` of IMS.
    pub fn issue_with(&self, side: Side, product_context: bool) -> (String, u64) {
        let lifetime = self.lifetimes[Self::place(side)].load(Ordering::Relaxed);
        let now = self.clock.now_millis();
        let random = || uuid::Uuid::new_v4().simple().to_string();
        // The outline of a JWT, so that nothing takes it for a short opaque word.
        let token = format!("eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.{}{}.{}", random(), random(), random());
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        if issued.len() >= Self::MOST
            && let Some(oldest) = issued.iter().min_by_key(|(_, i)| i.expires_millis).map(|(t, _)| t.clone())
        {
            issued.remove(&oldest);
        }
        let expires_millis = now.saturating_add(i64::try_from(lifetime).unwrap_or(i64::MAX).saturating_mul(1000));
        issued.insert(token.clone(), Issued { side, expires_millis, product_context });
        (token, lifetime)
    }

    /// What a bearer is worth at a service now. `bearer` is the token alone, without the word `Bearer`.
    pub fn check(&self, side: Side, bearer: &str) -> TokenState {
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        match issued.get(bearer) {
            Some(token) if token.side == side && self.clock.now_millis() < token.expires_millis => TokenState::Valid,
            Some(token) if token.side == side => TokenState::Expired,
            _ => TokenState::Unknown,
        }
    }

    /// Whether a token names the organizations that its account may enter.
    pub fn has_product_context(&self, bearer: &str) -> bool {
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.get(bearer).is_some_and(|token| token.product_context)
    }

    /// Lets every token of a side expire now but this one.
    pub fn expire_others(&self, side: Side, bearer: &str) {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        for (text, token) in issued.iter_mut().filter(|(_, token)| token.side == side) {
            if text != bearer {
                token.expires_millis = i64::MIN;
            }
        }
    }

    /// Lets a token expire now. `false` when it was not issued here.
    pub fn expire(&self, bearer: &str) -> bool {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        match issued.get_mut(bearer) {
            Some(token) => {
                token.expires_millis = i64::MIN;
                true
            }
            None => false,
        }
    }
}

/// The token of an `Authorization` header; the scheme's letter case does not matter (RFC 9110, section 11.1).
pub fn bearer(headers: &http::HeaderMap) -> Option<&str> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Client id and secret of an `Authorization: Basic` header, each form-encoded before it was put there (RFC 6749, section 2.3.1).
pub(crate) fn basic(headers: &http::HeaderMap) -> Option<(String, String)> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let pair = String::from_utf8(base64(encoded.trim()).filter(|_| scheme.eq_ignore_ascii_case("basic"))?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    let plain = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    };
    Some((plain(id)?, plain(secret)?))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = ALPHABET.iter().position(|a| *a == byte)?;
        bits = (bits << 6) | u32::try_from(digit).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_side_and_its_time() {
        let clock = Arc::new(SandboxClock::new());
        let book = TokenBook::new(clock.clone());
        book.set_lifetime(Side::Campaign, 60);
        let (token, lifetime) = book.issue(Side::Campaign);
        assert_eq!(lifetime, 60);
        assert_eq!(book.check(Side::Campaign, &token), TokenState::Valid);
        assert_eq!(book.check(Side::Dataverse, &token), TokenState::Unknown);
        assert_eq!(book.check(Side::Campaign, "made up"), TokenState::Unknown);
        clock.advance(61);
        assert_eq!(book.check(Side::Campaign, &token), TokenState::Expired);
    }

    #[test]
    fn basic_credentials_are_read() {
        let mut headers = http::HeaderMap::new();
        headers.insert("authorization", http::HeaderValue::from_static("Basic YTpiJTNBYw=="));
        assert_eq!(basic(&headers), Some(("a".to_owned(), "b:c".to_owned())));
        headers.insert("authorization", http::HeaderValue::from_static("Bearer YTpi"));
        assert_eq!(basic(&headers), None);
    }

    #[test]
    fn a_token_can_be_made_to_expire() {
        let book = TokenBook::new(Arc::new(SandboxClock::new()));
        let (token, _) = book.issue(Side::Dataverse);
        assert!(book.expire(&token));
        assert_eq!(book.check(Side::Dataverse, &token), TokenState::Expired);
        assert!(!book.expire("made up"));
    }
}
