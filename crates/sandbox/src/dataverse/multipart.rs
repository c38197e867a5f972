//! `multipart/mixed` bodies of batches, taken apart and put together (RFC 2046, 5.1; OData 4.01 JSON batch is not served).

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::error::Refusal;
use super::path::decode;

/// Headers that a part may have.
const MOST_HEADERS: usize = 64;

/// One request inside a batch.
#[derive(Debug)]
pub(super) struct PartRequest {
    pub(super) method: Method,
    /// As it stands in the request line.
    pub(super) url: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) content_id: Option<String>,
}

/// A member of a batch.
#[derive(Debug)]
pub(super) enum Item {
    Single(PartRequest),
    ChangeSet(Vec<PartRequest>),
}

/// The boundary in the content type of a batch or change set.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (kind, rest) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/mixed") {
        return None;
    }
    let value = rest.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    })?;
    (!value.is_empty() && value.len() <= 70).then_some(value)
}

/// The members of a batch.
pub(super) fn items(body: &[u8], boundary: &str) -> Result<Vec<Item>, Refusal> {
    let mut items = Vec::new();
    for part in split(body, boundary)? {
        let (headers, content) = head(part)?;
        let kind = text(&headers, "content-type");
        if kind.to_ascii_lowercase().starts_with("multipart/mixed") {
            let inner = self::boundary(kind).ok_or_else(no_boundary)?;
            let members = split(content, &inner)?.into_iter().map(member).collect::<Result<_, _>>()?;
            items.push(Item::ChangeSet(members));
        } else {
            items.push(Item::Single(request(&headers, content)?));
        }
    }
    Ok(items)
}

pub(super) fn no_boundary() -> Refusal {
    Refusal::request("The content type of a batch must be multipart/mixed with a boundary of 1 to 70 characters.")
}

fn member(part: &[u8]) -> Result<PartRequest, Refusal> {
    let (headers, content) = head(part)?;
    let request = request(&headers, content)?;
    if request.method == Method::GET {
        return Err(Refusal::request("A change set cannot hold GET requests."));
    }
    if request.content_id.is_none() {
        return Err(Refusal::request("Content-ID header not present. Each request of a change set needs one."));
    }
    Ok(request)
}

/// What lies between the delimiters. Lines end with CR and LF.
fn split<'b>(body: &'b [u8], boundary: &str) -> Result<Vec<&'b [u8]>, Refusal> {
    let delimiter = format!("--{boundary}");
    let (mut parts, mut start, mut at) = (Vec::new(), None, 0);
    while at <= body.len() {
        let rest = body.get(at..).unwrap_or_default();
        let end = rest.windows(2).position(|pair| pair == b"\r\n");
        let line = end.map_or(rest, |end| &rest[..end]);
        if let Some(after) = line.strip_prefix(delimiter.as_bytes()) {
            let last = match after.trim_ascii_end() {
                b"" => false,
                b"--" => true,
                // Another boundary that begins like this one.
                _ => {
                    at += line.len() + 2;
                    continue;
                }
            };
            if let Some(from) = start {
                // The line end before a delimiter belongs to it.
                parts.push(body.get(from..at.saturating_sub(2)).unwrap_or_default());
            }
            if last {
                return Ok(parts);
            }
            start = Some(at + line.len() + 2);
        }
        at += line.len() + 2;
    }
    Err(Refusal::request("The batch ends without its closing delimiter, or its boundary is not the one of the header."))
}

/// The headers of a part, and what follows the empty line.
fn head(part: &[u8]) -> Result<(HeaderMap, &[u8]), Refusal> {
    let mut room = [httparse::EMPTY_HEADER; MOST_HEADERS];
    match httparse::parse_headers(part, &mut room) {
        Ok(httparse::Status::Complete((end, headers))) => {
            Ok((headers_of(headers)?, part.get(end..).unwrap_or_default()))
        }
        _ => Err(Refusal::request("The headers of a part of the batch cannot be read.")),
    }
}

fn headers_of(parsed: &[httparse::Header<'_>]) -> Result<HeaderMap, Refusal> {
    let unreadable = || Refusal::request("A header of a part of the batch cannot be read.");
    let mut headers = HeaderMap::new();
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| unreadable())?;
        headers.append(name, HeaderValue::from_bytes(header.value).map_err(|_| unreadable())?);
    }
    Ok(headers)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn request(outer: &HeaderMap, content: &[u8]) -> Result<PartRequest, Refusal> {
    if !text(outer, "content-type").eq_ignore_ascii_case("application/http") {
        return Err(Refusal::request("The content type of a part of the batch must be application/http."));
    }
    let unreadable = || Refusal::request("The request line or a header of a part of the batch cannot be read.");
    let mut room = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut room);
    let end = match parsed.parse(content) {
        Ok(httparse::Status::Complete(end)) => end,
        _ => return Err(unreadable()),
    };
    let method = parsed.method.and_then(|method| Method::from_bytes(method.as_bytes()).ok()).ok_or_else(unreadable)?;
    let content_id = Some(text(outer, "content-id").to_owned()).filter(|id| !id.is_empty());
    Ok(PartRequest {
        method,
        url: parsed.path.unwrap_or_default().to_owned(),
        headers: headers_of(parsed.headers)?,
        body: content.get(end..).unwrap_or_default().to_vec(),
        content_id,
    })
}

impl PartRequest {
    /// Path and query below the host, whether the URL is absolute, rooted or relative to `base`, which begins with a slash.
    pub(super) fn path_and_query(&self, base: &str) -> Result<String, Refusal> {
        let path = match self.url.split_once("://") {
            Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/").to_owned(),
            None if self.url.starts_with('/') => self.url.clone(),
            None => format!("{base}{}", self.url),
        };
        if path.len() > 65_536 {
            return Err(Refusal::request("The URL of a part of the batch is too long."));
        }
        if decode(path.split('?').next().unwrap_or_default())?.ends_with("/$batch") {
            return Err(Refusal::request("A batch cannot hold another batch."));
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_read_quoted_or_not() {
        assert_eq!(boundary("multipart/mixed; boundary=\"b 1\"").as_deref(), Some("b 1"));
        assert_eq!(boundary("Multipart/Mixed;charset=utf-8;Boundary=b1").as_deref(), Some("b1"));
        for wrong in
            ["application/json", "multipart/mixed", "multipart/mixed; boundary=", "multipart/form-data; boundary=b"]
        {
            assert_eq!(boundary(wrong), None, "{wrong}");
        }
        assert_eq!(boundary(&format!("multipart/mixed; boundary={}", "b".repeat(71))), None);
    }

    #[test]
    fn parts_are_what_lies_between_whole_delimiters() {
        let body = b"preamble\r\n--b\r\none\r\n--bc\r\n --b\r\n--b  \r\n\r\n--b--\r\nepilogue";
        let parts = split(body, "b").unwrap();
        assert_eq!(parts, [&b"one\r\n--bc\r\n --b"[..], b""]);
        assert!(split(b"--b\r\none\r\n", "b").is_err());
        assert!(split(b"--b\none\n--b--\n", "b").is_err(), "lines end with CR and LF");
        assert!(split(b"", "b").is_err());
    }
}
