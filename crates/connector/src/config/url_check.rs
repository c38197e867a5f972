use url::{Host, Url};

/// Parses a service URL: https, or plain http to loopback only; no credentials, query or fragment in it.
pub(super) fn service_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "This is not a URL.")?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err("This URL names no host."),
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => return Err("Plain http is allowed to loopback addresses only, because tokens travel on it."),
        _ => return Err("This must be an https URL."),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("A URL must not hold credentials.");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("This URL must have no query and no fragment.");
    }
    Ok(url)
}
