use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use futures::stream::{self, Stream};

use crate::error::{Error, ErrorKind};
use crate::origin::SameOriginUrl;

/// Remembers which links were followed, 16 bytes each, so that a server's mistake cannot loop forever.
#[derive(Debug, Default)]
pub struct LinkTrail {
    hasher: RandomState,
    /// By link, the number of links before it.
    seen: HashMap<u64, u64>,
}

impl LinkTrail {
    /// An empty trail.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that `link` is followed now.
    ///
    /// # Errors
    /// `RepeatedLink` if it was followed before.
    pub fn follow(&mut self, link: &SameOriginUrl) -> Result<(), Error> {
        let place = self.seen.len() as u64;
        match self.seen.insert(self.hasher.hash_one(link.as_str()), place) {
            None => Ok(()),
            Some(_) => Err(repeated()),
        }
    }

    /// Notes that the page behind `from` leads to `to`, for a reader that may read a page twice: the same step again is
    /// no mistake, only a step back is.
    ///
    /// # Errors
    /// `RepeatedLink` if `to` is `from` or a link that led to it.
    pub fn lead(&mut self, from: &str, to: &str) -> Result<(), Error> {
        let place = *self.seen.entry(self.hasher.hash_one(from)).or_insert(0);
        let next = self.hasher.hash_one(to);
        if self.seen.get(&next).is_some_and(|known| *known <= place) {
            return Err(repeated());
        }
        self.seen.insert(next, place + 1);
        Ok(())
    }

    /// Forgets everything: the walk is over, or a new one begins.
    pub fn clear(&mut self) {
        self.seen.clear();
    }
}

fn repeated() -> Error {
    Error::new(ErrorKind::RepeatedLink, "a continuation link came for the second time")
}

/// Follows continuation links from `first`: a stream of what `fetch` makes of each page.
///
/// `fetch` gets a link and answers with the page and the link of the next one. The stream ends after
/// the first error or the page without a next link. Nothing is fetched ahead; dropping the stream
/// drops at most one request in flight.
pub fn pages<T, E, F, Fut>(first: SameOriginUrl, fetch: F) -> impl Stream<Item = Result<T, E>>
where
    F: FnMut(SameOriginUrl) -> Fut,
    Fut: Future<Output = Result<(T, Option<SameOriginUrl>), E>>,
    E: From<Error>,
{
    stream::unfold((Some(first), LinkTrail::new(), fetch), async |(next, mut trail, mut fetch)| {
        let link = next?;
        if let Err(error) = trail.follow(&link) {
            return Some((Err(error.into()), (None, trail, fetch)));
        }
        match fetch(link).await {
            Ok((page, next)) => Some((Ok(page), (next, trail, fetch))),
            Err(error) => Some((Err(error), (None, trail, fetch))),
        }
    })
}
