use std::fmt;

use url::{Host, Url};

use crate::error::{Error, ErrorKind};

/// Longest link that is looked at. Continuation links carry long tokens, but not this long.
const MAX_LINK: usize = 64 * 1024;

/// Where a client may send its credentials: scheme, host, port and optionally a path prefix.
///
/// Plain `http` is allowed to loopback addresses only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    base: Url,
}

impl Origin {
    /// Reads a base URL. A path, if there is one, becomes a prefix that every link must have.
    ///
    /// # Errors
    /// `Configuration` for a URL that is not absolute, has user information, query or fragment, or
    /// is plain `http` to another machine.
    pub fn parse(base: &str) -> Result<Self, Error> {
        let refuse = |why: &'static str| {
            Err(Error::new(ErrorKind::Configuration, why)
                .with_remedy("give the base URL as https://host or https://host/path; http is for loopback only"))
        };
        if !is_plain(base) {
            return refuse("the base URL has blanks, control characters or is too long");
        }
        let Ok(mut url) = Url::parse(base) else { return refuse("the base URL is not an absolute URL") };
        if has_user_information(base, &url) {
            return refuse("the base URL has user information");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refuse("the base URL has a query or a fragment");
        }
        match url.host() {
            None => return refuse("the base URL has no host"),
            Some(Host::Domain(name)) if name.is_empty() || name.ends_with('.') => {
                return refuse("the host of the base URL is empty or ends with a dot");
            }
            Some(_) => {}
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => return refuse("the base URL is plain http to another machine"),
            _ => return refuse("the base URL is neither https nor http"),
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self { base: url })
    }

    /// The base URL, without a trailing slash in its path unless the path is `/` alone.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// The URL of `path` under this origin. `path` must be percent-encoded; a query may follow `?`.
    ///
    /// # Errors
    /// `ForeignLink` if the result leaves the origin or its prefix, as with `..` segments.
    pub fn join(&self, path: &str) -> Result<Url, Error> {
        let base = self.base.as_str().trim_end_matches('/');
        let joined = format!("{base}/{}", path.trim_start_matches('/'));
        self.link(&joined).map(SameOriginUrl::into_url)
    }

    /// Accepts an absolute link of a server if it stays within this origin.
    ///
    /// # Errors
    /// `ForeignLink` for another scheme, host or port, a path outside the prefix, user information,
    /// a relative or protocol-relative link, a host with a trailing dot, blanks or control characters.
    pub fn link(&self, link: &str) -> Result<SameOriginUrl, Error> {
        if !is_plain(link) {
            return Err(foreign("a link has blanks, control characters or is too long"));
        }
        let Ok(url) = Url::parse(link) else { return Err(foreign("a link is not an absolute URL")) };
        if has_user_information(link, &url) {
            return Err(foreign("a link has user information"));
        }
        if !self.contains(&url) {
            return Err(foreign("a link leads away from the configured origin"));
        }
        Ok(SameOriginUrl { url })
    }

    /// Whether `url` lies within this origin and its prefix. Allocates nothing.
    #[must_use]
    pub fn contains(&self, url: &Url) -> bool {
        let base = &self.base;
        let prefix = base.path().trim_end_matches('/');
        url.scheme() == base.scheme()
            && url.host() == base.host()
            && url.port_or_known_default() == base.port_or_known_default()
            && url.username().is_empty()
            && url.password().is_none()
            && url.path().strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether this origin is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.base)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Origin({})", self.base)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.base, formatter)
    }
}

fn foreign(why: &'static str) -> Error {
    Error::new(ErrorKind::ForeignLink, why)
}

/// The URL parser drops blanks and control characters silently; a link that holds them is not honest.
fn is_plain(text: &str) -> bool {
    text.len() <= MAX_LINK && !text.chars().any(|letter| letter.is_control() || letter.is_whitespace())
}

/// Also sees `https://@host`, whose empty user information the parser drops.
fn has_user_information(text: &str, url: &Url) -> bool {
    let authority = text.split_once(':').map_or("", |(_, rest)| rest).trim_start_matches(['/', '\\']);
    let authority = authority.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    authority.contains('@') || !url.username().is_empty() || url.password().is_some()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// An absolute URL that an [`Origin`] has accepted: the only kind of link that is followed.
///
/// It has no `Deserialize`: a link from a store goes through [`Origin::link`] again. `Debug` hides
/// path and query, which hold continuation tokens and values.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SameOriginUrl {
    url: Url,
}

impl SameOriginUrl {
    /// The URL.
    #[must_use]
    pub fn as_url(&self) -> &Url {
        &self.url
    }

    /// The URL as text, for a store. Check it again with [`Origin::link`] when it comes back.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The URL, owned.
    #[must_use]
    pub fn into_url(self) -> Url {
        self.url
    }
}

impl fmt::Debug for SameOriginUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        write!(formatter, "SameOriginUrl({}://{host}/…)", self.url.scheme())
    }
}
