//! Pages of a walk, read ahead: while one is decoded, the next is on its way, and the reader has the one before.

use std::sync::Arc;

use d365_client::{ChangePage, ChangeTracker, Error, FetchedChanges, Link};
use record::Change;
use sync_core::EndpointError;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::columns::Columns;

/// A page, with what it leads to.
pub(super) struct Page {
    pub(super) link: Link,
    pub(super) changes: Vec<Change>,
}

/// Why a page could not be read.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client's reason.
    Client(Error),
    /// A row that is no row of this table.
    Row(EndpointError),
    /// The work was broken off.
    Broken,
}

type Read = Result<Page, Failure>;

/// A walk from one link on. It holds one page that nobody has taken yet, one that is decoded and one that is fetched; dropping
/// it ends it.
#[derive(Debug)]
pub(super) struct ReadAhead {
    /// The link behind the page that comes next; `None` for the beginning of the table.
    wanted: Option<Link>,
    pages: mpsc::Receiver<Read>,
    _task: AbortOnDropHandle<()>,
}

impl ReadAhead {
    /// Begins at a link. With `further`, the pages behind it are read too.
    pub(super) fn from(tracker: &ChangeTracker, columns: &Arc<Columns>, link: Option<&Link>, further: bool) -> Self {
        let (sender, pages) = mpsc::channel(1);
        let (tracker, columns, first) = (tracker.clone(), columns.clone(), link.cloned());
        let task = tokio::spawn(async move {
            let mut fetched = tracker.fetch(first.as_ref()).await;
            loop {
                let page = match fetched {
                    Ok(page) => page,
                    Err(error) => {
                        // Nobody may be waiting any more.
                        let _ = sender.send(Err(Failure::Client(error))).await;
                        return;
                    }
                };
                let next = page.hint().filter(|_| further);
                let decoding = decode(page, columns.clone());
                let (read, ahead) = match &next {
                    Some(next) => {
                        let (read, ahead) = tokio::join!(decoding, tracker.fetch(Some(next)));
                        (read, Some(ahead))
                    }
                    None => (decoding.await, None),
                };
                // The hint is only that: where the page really leads elsewhere, the reader will say so.
                let goes_on = matches!((&read, &next), (Ok(page), Some(next)) if page.link == *next);
                let gone = sender.send(read).await.is_err();
                match ahead.filter(|_| goes_on && !gone) {
                    Some(ahead) => fetched = ahead,
                    None => return,
                }
            }
        });
        Self { wanted: link.cloned(), pages, _task: AbortOnDropHandle::new(task) }
    }

    /// Whether the next page is the one behind this link.
    pub(super) fn leads_to(&self, link: Option<&Link>) -> bool {
        self.wanted.as_ref() == link
    }

    /// The next page; `None` when the walk goes no further. Cancel safe: a page that was not answered is still the next one.
    pub(super) async fn next(&mut self) -> Option<Read> {
        let read = self.pages.recv().await?;
        self.wanted = read.as_ref().ok().map(|page| page.link.clone());
        Some(read)
    }
}

/// Decoding takes milliseconds of work, which is done beside the runtime.
async fn decode(page: FetchedChanges, columns: Arc<Columns>) -> Read {
    let work = move || {
        let ChangePage { changes, link, .. } = page.decode().map_err(Failure::Client)?;
        let changes = changes.into_iter().map(|changed| columns.change(changed));
        Ok(Page { link, changes: changes.collect::<Result<Vec<_>, _>>().map_err(Failure::Row)? })
    };
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Failure::Broken))
}
