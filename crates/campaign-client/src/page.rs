use http_kit::{Client, SameOriginUrl};
use serde::Deserialize;

use crate::error::Error;

/// One page of a list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Page<T> {
    /// The rows.
    pub content: Vec<T>,
    /// Where the next page is; `None` on the last.
    pub next: Option<SameOriginUrl>,
    /// Where the number of all rows is, for [`CampaignClient::count`](crate::CampaignClient::count).
    pub count_link: Option<SameOriginUrl>,
    /// The number of all rows, where the service gives it with the page: not for large tables.
    pub count: Option<u64>,
    /// Whether the service cuts the list into pages.
    pub server_side_pagination: bool,
}

#[derive(Deserialize)]
pub(crate) struct WirePage<T> {
    content: Vec<T>,
    #[serde(default)]
    next: Option<WireLink>,
    #[serde(default)]
    count: Option<WireLink>,
    #[serde(default, rename = "serverSidePagination")]
    server_side_pagination: bool,
}

#[derive(Deserialize)]
struct WireLink {
    #[serde(default)]
    href: Option<String>,
    #[serde(default)]
    value: Option<u64>,
}

#[derive(Deserialize)]
pub(crate) struct WireCount {
    pub(crate) count: u64,
}

impl<T> WirePage<T> {
    /// Links come from the network: they stay within the organisation, or the page is refused.
    pub(crate) fn checked(self, http: &Client) -> Result<Page<T>, Error> {
        let check = |link: Option<String>| link.map(|href| http.link(&href)).transpose();
        let count = self.count.as_ref().and_then(|count| count.value);
        Ok(Page {
            content: self.content,
            next: check(self.next.and_then(|next| next.href))?,
            count_link: check(self.count.and_then(|count| count.href))?,
            count,
            server_side_pagination: self.server_side_pagination,
        })
    }
}
