//! Credentials never leave the configured origin, and links never go round in circles.
#![expect(clippy::unwrap_used, reason = "a test without its set-up has failed")]

use std::sync::Arc;

use futures::StreamExt;
use http_kit::testing::ScriptedTransport;
use http_kit::{Client, Error, ErrorKind, LinkTrail, Origin, Request, SameOriginUrl, Url, pages};
use proptest::prelude::*;
use timing::ManualClock;

const BASE: &str = "https://org.example.com/api";

#[test]
fn links_within_the_origin_are_accepted() {
    let origin = Origin::parse("https://org.example.com/api/").unwrap();
    for link in [
        "https://org.example.com/api/things?$skiptoken=a%20b",
        "HTTPS://ORG.Example.COM/api/things",
        "https://org.example.com:443/api",
        "https://org.example.com/api?x=1",
    ] {
        assert!(origin.link(link).is_ok(), "{link}");
    }
    assert_eq!(origin.join("things?a=1").unwrap().as_str(), "https://org.example.com/api/things?a=1");
}

#[test]
fn links_that_lead_away_are_refused() {
    let origin = Origin::parse("https://org.example.com/api").unwrap();
    for link in [
        "https://attacker.example/api/x",
        "https://org.example.com.attacker.example/api/x",
        "https://org.example.com:8443/api/x",
        "http://org.example.com/api/x",
        "https://good@org.example.com/api/x",
        "https://@org.example.com/api/x",
        "https://org.example.com@evil.example/api/x",
        "//org.example.com/api/x",
        "//evil/api/x",
        "/api/x",
        "https:api/x",
        "https://org.example.com./api/x",
        "https://org.ex\u{430}mple.com/api/x",
        "https://169.254.169.254/api/x",
        "https://2852039166/api/x",
        "https://[::1]/api/x",
        "https://org.example.com/apix",
        "https://org.example.com/other",
        "https://org.example.com/api/../other",
        "https://org.example.com/api/%2e%2e/other",
        "https:\\\\evil.example\\api\\x",
        "https://org.example.com\n.evil.example/api",
        " https://org.example.com/api",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "",
    ] {
        let error = origin.link(link).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ForeignLink, "{link}");
        assert!(!error.remedy().is_empty());
        if link.len() > 9 {
            assert!(!error.to_string().contains(link));
        }
    }
    assert_eq!(origin.join("../../x").unwrap_err().kind(), ErrorKind::ForeignLink);
}

#[test]
fn base_urls_that_cannot_be_trusted_are_refused() {
    for base in [
        "http://org.example.com",
        "ftp://org.example.com",
        "org.example.com",
        "https://user:pw@org.example.com",
        "https://org.example.com/?x=1",
        "https://org.example.com/#x",
        "https://org.example.com.",
        "https://",
        "",
    ] {
        assert_eq!(Origin::parse(base).unwrap_err().kind(), ErrorKind::Configuration, "{base}");
    }
    for base in ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:9", "https://org.example.com/a/b"] {
        assert!(Origin::parse(base).is_ok(), "{base}");
    }
}

#[tokio::test]
async fn a_foreign_url_opens_no_connection() {
    let (transport, clock) = (ScriptedTransport::new(), ManualClock::new());
    let origin = Origin::parse(BASE).unwrap();
    let client = Client::builder(origin).transport(Arc::new(transport.clone())).clock(clock.shared()).build().unwrap();
    let url = Url::parse("https://attacker.example/steal").unwrap();
    let error = client.send(Request::get(url, "GET /things")).await.unwrap_err();
    assert_eq!((error.kind(), transport.count()), (ErrorKind::ForeignLink, 0));
    assert_eq!(client.link("https://attacker.example/").unwrap_err().kind(), ErrorKind::ForeignLink);
}

fn link(page: usize) -> SameOriginUrl {
    Origin::parse(BASE).unwrap().link(&format!("{BASE}/things?page={page}")).unwrap()
}

#[tokio::test]
async fn pages_follow_each_other_to_the_end() {
    let read = pages(link(0), async |url: SameOriginUrl| {
        let page: usize = url.as_url().query().unwrap().trim_start_matches("page=").parse().unwrap();
        Ok::<_, Error>((page, (page < 4).then(|| link(page + 1))))
    });
    let read: Vec<usize> = read.map(Result::unwrap).collect().await;
    assert_eq!(read, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_link_that_comes_again_ends_the_stream_with_an_error() {
    let read = pages(link(0), async |url: SameOriginUrl| {
        let page: usize = url.as_url().query().unwrap().trim_start_matches("page=").parse().unwrap();
        Ok::<_, Error>((page, Some(link((page + 1) % 3))))
    });
    let read: Vec<Result<usize, Error>> = read.take(10).collect().await;
    assert_eq!(read.len(), 4);
    assert_eq!(read[3].as_ref().unwrap_err().kind(), ErrorKind::RepeatedLink);
}

#[test]
fn a_step_may_be_repeated_and_a_step_back_may_not() {
    let mut trail = LinkTrail::new();
    for _ in 0..2 {
        trail.lead("a", "b").unwrap();
        trail.lead("b", "c").unwrap();
        trail.lead("b", "c").unwrap();
    }
    for (from, to) in [("c", "a"), ("c", "b"), ("c", "c"), ("b", "a")] {
        assert_eq!(trail.lead(from, to).unwrap_err().kind(), ErrorKind::RepeatedLink, "{from} {to}");
    }
    trail.clear();
    trail.lead("c", "a").unwrap();
}

proptest! {
    #[test]
    fn whatever_is_accepted_goes_to_the_origin(text in ".{0,60}", mid in "[a-z@:/\\\\.]{0,12}") {
        let origin = Origin::parse("https://org.example.com/api").unwrap();
        for candidate in [text.clone(), format!("https://{mid}org.example.com{text}"), format!("https://org.example.com{mid}{text}")] {
            if let Ok(link) = origin.link(&candidate) {
                prop_assert_eq!(link.as_url().host_str(), Some("org.example.com"));
                prop_assert_eq!(link.as_url().scheme(), "https");
                prop_assert_eq!(link.as_url().port(), None);
                prop_assert!(link.as_url().path() == "/api" || link.as_url().path().starts_with("/api/"));
            }
        }
    }

    #[test]
    fn a_trail_refuses_exactly_the_second_time(order in proptest::collection::vec(0_usize..20, 0..40)) {
        let mut trail = LinkTrail::new();
        let mut seen = std::collections::HashSet::new();
        for page in order {
            prop_assert_eq!(trail.follow(&link(page)).is_ok(), seen.insert(page));
        }
    }
}
