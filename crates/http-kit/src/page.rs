use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use futures::stream::{self, Stream};

use crate::error::{Error, ErrorKind};
use crate::origin::SameOriginUrl;

/// Remembers which links were followed, 8 bytes each, so that a server's mistake cannot loop forever.
#[derive(Debug, Default)]
pub struct LinkTrail {
    hasher: RandomState,
    seen: HashSet<u64>,
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
        if self.seen.insert(self.hasher.hash_one(link.as_str())) {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::RepeatedLink, "a continuation link came for the second time"))
        }
    }
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
