use chrono::{DateTime, Utc};
use http::HeaderMap;
use http_kit::Bytes;

use super::*;

const HEAD: &str = "RST-360011 An error has occurred - please contact your administrator.\n";
const OOPS: &str = r#"{"code":500,"message":"Oops. Something went wrong. Check your URI and try again."}"#;

fn read(method: &Method, status: u16, body: &str, worked: bool) -> Refusal {
    Refusal::read(method, StatusCode::from_u16(status).unwrap(), body.as_bytes(), worked)
}

#[test]
fn gateway_answers() {
    use ErrorKind as K;
    let cases: &[(u16, &str, bool, K, Option<&str>)] = &[
        (401, r#"{"error_code":"401013","message":"Oauth token is not valid"}"#, true, K::Unauthorized, Some("401013")),
        (403, r#"{"error_code":"403023","message":"Profile is not valid"}"#, true, K::ProfileNotValid, Some("403023")),
        (403, r#"{"error_code":"403025","message":"x"}"#, true, K::ProfileNotValid, Some("403025")),
        (403, r#"{"error_code":"403000","message":"Api Key is invalid"}"#, true, K::ApiKey, Some("403000")),
        (403, r#"{"message":"Api Key is invalid"}"#, true, K::ApiKey, None),
        (403, "", true, K::Forbidden, None),
        (400, "Bad Request", false, K::UnknownOrganisation, None),
        (400, "Bad Request", true, K::Validation, None),
        (500, OOPS, false, K::UnknownOrganisation, Some("500")),
        (500, OOPS, true, K::Gateway, Some("500")),
        (
            502,
            r#"{"code":502,"message":"Oops. Something went wrong. Check your URI and try again."}"#,
            false,
            K::Gateway,
            Some("502"),
        ),
        (503, "", true, K::Gateway, None),
        (504, "GatewayTimeout", true, K::Gateway, None),
        (429, r#"{"error_code":"429050","message":"Too many requests"}"#, true, K::Throttled, Some("429050")),
        (404, "<html>nothing</html>", true, K::UnknownResource, None),
        (500, "", true, K::Server, None),
        (302, "", true, K::Decode, None),
    ];
    for (status, body, worked, kind, code) in cases {
        let refusal = read(&Method::GET, *status, body, *worked);
        assert_eq!((refusal.kind, refusal.code.as_deref()), (*kind, *code), "{status} {body}");
    }
}

#[test]
fn application_answers_in_every_envelope() {
    use ErrorKind as K;
    let cases: &[(Method, u16, String, K, Option<&str>)] = &[
        (Method::GET, 500, "'abc' attribute unknown (see definition of 'Profiles (nms:recipient)' schema). XTK-170036 Unable to parse expression '@id = @abc'.".into(), K::InvalidPKey, Some("XTK-170036")),
        (Method::GET, 500, "'@gibberish' is not a valid constant".into(), K::InvalidPKey, None),
        (Method::GET, 404, format!("{HEAD}Unable to find document with path 'Service' from key 'k:0' (document with schema 'service' and name 'k')"), K::NotFound, Some("RST-360011")),
        (Method::DELETE, 404, format!("{HEAD}Unable to find document with path 'Service' from key 'k' (document with schema 'service' and name 'k')"), K::NotFound, Some("RST-360011")),
        (Method::PATCH, 404, format!("{HEAD}Unable to find document with path 'Service' from key 'k:0' (document with schema 'service' and name 'k')"), K::NotFound, Some("RST-360011")),
        (Method::PATCH, 404, format!("{HEAD}Unable to find document with path 'Service' from key 'k' (document with schema 'service' and name 'k')"), K::LinkNotFound, Some("RST-360011")),
        (Method::POST, 404, format!("{HEAD}Unable to find document with path 'Service' from key 'k' (document with schema 'service' and name 'k')"), K::LinkNotFound, Some("RST-360011")),
        (Method::PATCH, 500, format!("{HEAD}RST-360012 Inconsistent operation on resource 'service' - Cannot update key 'SVC3' to 'SVC4'."), K::KeyChange, Some("RST-360012")),
        (Method::POST, 500, "A 'Service' with the same key 'SVC4' already exists. PGS-220000 PostgreSQL error: ERROR: duplicate key value violates unique constraint \"nmsservice_name\" DETAIL: Key (sname)=(SVC4) already exists.".into(), K::Exists, Some("PGS-220000")),
        (Method::POST, 500, "PGS-220000".into(), K::Exists, Some("PGS-220000")),
        (Method::POST, 500, "A 'Service' with the same key 'SVC4' already exists.".into(), K::Exists, None),
        (Method::POST, 500, "PGS-220000 PostgreSQL error: ERROR: deadlock detected".into(), K::Deadlock, Some("PGS-220000")),
        (Method::POST, 500, "PGS-220000 PostgreSQL error: ERROR: value too long for type character varying(30)".into(), K::Validation, Some("PGS-220000")),
        (Method::POST, 500, format!("{HEAD}The value 'invalid' is not valid for the 'nms:recipient:gender' enumeration of the '@gender' field"), K::InvalidEnum, Some("RST-360011")),
        (Method::PATCH, 500, "Cannot update the 'age' property that is read-only".into(), K::ReadOnly, None),
        (Method::POST, 500, "'shoeSize' property is not valid for the 'profile' resource.".into(), K::UnknownField, None),
        (Method::POST, 500, "BAS-010040 Cannot convert 'a' (type text) to integer (8 bit) type (BAS-010011 Invalid value).".into(), K::WrongType, Some("BAS-010040")),
        (Method::POST, 404, format!("{HEAD}Error rc=-2003"), K::UnknownResource, Some("RST-360011")),
        (Method::POST, 500, format!("{HEAD}'x' parameter isn't defined in signal activity.\nXTK-170006 Unable to parse expression."), K::Validation, Some("XTK-170006")),
    ];
    let headers = HeaderMap::new();
    for (method, status, text, kind, code) in cases {
        for body in [text.clone(), serde_json::to_string(text).unwrap()] {
            let refusal = read(method, *status, &body, false);
            assert_eq!((refusal.kind, refusal.code.as_deref()), (*kind, *code), "{method} {status} {body}");
            assert_eq!(refusal.delivery, Delivery::Refused, "{body}");
            let body = Bytes::from(body);
            let answer =
                Answer::new(method, StatusCode::from_u16(*status).unwrap(), &headers, &body, DateTime::<Utc>::MIN_UTC);
            assert_eq!(EngineClassifier::default().classify(&answer), Verdict::Refused, "final: {text}");
        }
    }
}

#[test]
fn ims_envelope_gives_its_code() {
    let refusal = read(&Method::POST, 400, r#"{"error":"invalid_scope","error_description":"no"}"#, true);
    assert_eq!(refusal.code.as_deref(), Some("invalid_scope"));
    assert_eq!(refusal.message.as_deref(), Some("no"));
}

#[test]
fn gateway_trouble_is_unclear_and_oops_depends_on_the_past() {
    assert_eq!(read(&Method::POST, 502, "", true).delivery, Delivery::MaybeApplied);
    let (headers, body) = (HeaderMap::new(), Bytes::from_static(OOPS.as_bytes()));
    let answer =
        Answer::new(&Method::GET, StatusCode::INTERNAL_SERVER_ERROR, &headers, &body, DateTime::<Utc>::MIN_UTC);
    let classifier = EngineClassifier::default();
    assert_eq!(classifier.classify(&answer), Verdict::Refused);
    classifier.worked.store(true, Ordering::Relaxed);
    assert_eq!(classifier.classify(&answer), Verdict::RetryTransient { after: None });
}

#[test]
fn long_texts_are_cut_at_a_letter_and_debug_hides_them() {
    let refusal = read(&Method::GET, 500, &"ä".repeat(5000), true);
    assert_eq!(refusal.message.as_ref().map(String::len), Some(MAX_MESSAGE));
    assert!(!format!("{refusal:?}").contains('ä'));
}

/// Kind, delivery and whether the answer would be asked for again.
fn outcome(status: u16, body: &str) -> (ErrorKind, Delivery, Verdict) {
    let refusal = read(&Method::POST, status, body, true);
    let (headers, body) = (HeaderMap::new(), Bytes::from(body.to_owned()));
    let method = Method::POST;
    let answer = Answer::new(&method, StatusCode::from_u16(status).unwrap(), &headers, &body, DateTime::<Utc>::MIN_UTC);
    (refusal.kind, refusal.delivery, EngineClassifier::default().classify(&answer))
}

#[test]
fn a_reason_has_a_code_and_words_and_everything_else_is_trouble() {
    let reason = (ErrorKind::Validation, Delivery::Refused, Verdict::Refused);
    for text in [format!("{HEAD}The email address is not valid."), "XTK-170006 メールアドレスが無効です。".to_owned()]
    {
        assert_eq!(outcome(500, &text), reason, "{text}");
        assert_eq!(outcome(500, &serde_json::to_string(&text).unwrap()), reason, "{text}");
    }
    let trouble = (ErrorKind::Server, Delivery::MaybeApplied, Verdict::RetryTransient { after: None });
    for body in [
        "",
        " \n",
        "\"\"",
        "<html><body>Internal error</body></html>",
        "<?xml version=\"1.0\"?><fault/>",
        "Internal Server Error",
        // Whether such words are about the record or the service, nobody can tell.
        "The service is temporarily unavailable, please try again later.",
        "L'adresse n'est pas valide.",
        HEAD,
        "{}",
        "null",
        "[]",
        r#"{"code":500,"message":"Something failed."}"#,
        r#"{"status":"down","cause":"unheard of"}"#,
        r#"{"code":500,"mess"#,
    ] {
        assert_eq!(outcome(500, body), trouble, "{body}");
    }
}

#[test]
fn the_database_speaks_with_one_code_of_many_things() {
    use ErrorKind as K;
    let cases = [
        ("PGS-220000", K::Exists),
        ("PGS-220000.", K::Exists),
        (
            "RST-360011 An error has occurred - please contact your administrator.\nPGS-220000 PostgreSQL error: ERROR",
            K::Exists,
        ),
        ("PGS-220000 PostgreSQL error: ERROR: duplicate key value violates unique constraint \"x\"", K::Exists),
        ("PGS-220000 PostgreSQL error: ERROR: deadlock detected", K::Deadlock),
        ("PGS-220000 PostgreSQL error: ERROR: canceling statement due to statement timeout", K::Deadlock),
        ("PGS-220000 PostgreSQL error: FATAL: terminating connection due to administrator command", K::Server),
        ("PGS-220000 PostgreSQL error: server closed the connection unexpectedly", K::Server),
        ("PGS-220000 PostgreSQL error: could not receive data: timeout expired", K::Server),
        ("PGS-220000 PostgreSQL error: FATAL: the database system is shutting down", K::Server),
        ("PGS-220000 PostgreSQL error: ERROR: value out of range", K::Validation),
        ("PGS-220000 Something that nobody wrote down.", K::Validation),
        // Values look like anything; where they stand says that they are values.
        ("PGS-220000 PostgreSQL error: ERROR: invalid input syntax for type date: \"FATAL connection\"", K::Validation),
        (
            "PGS-220000 PostgreSQL error: ERROR: null value in column \"a\" DETAIL: Failing row contains (1, timeout).",
            K::Validation,
        ),
        (
            "The value 'PGS-220000' is not valid for the 'nms:recipient:gender' enumeration of the '@gender' field",
            K::InvalidEnum,
        ),
        ("Cannot update the 'BAS-010040 O'Neill' property that is read-only", K::ReadOnly),
    ];
    for (text, kind) in cases {
        assert_eq!(read(&Method::POST, 500, text, true).kind, kind, "{text}");
    }
    assert_eq!(outcome(500, cases[4].0), (K::Deadlock, Delivery::Refused, Verdict::Refused));
    assert_eq!(outcome(500, cases[6].0), (K::Server, Delivery::MaybeApplied, Verdict::RetryTransient { after: None }));
    assert_eq!(read(&Method::POST, 500, "The value 'XTK-170036' is bad", true).code, None);
}

#[test]
fn messages_are_found_wherever_an_envelope_has_them() {
    let duplicate = "PGS-220000 PostgreSQL error: ERROR: duplicate key";
    for body in [
        serde_json::json!({"error": {"message": duplicate}}),
        serde_json::json!({"detail": duplicate}),
        serde_json::json!({"title": "Error", "errors": [{"detail": duplicate}]}),
        serde_json::json!([{"message": duplicate}]),
    ] {
        let refusal = read(&Method::POST, 500, &body.to_string(), true);
        assert_eq!((refusal.kind, refusal.code.as_deref()), (ErrorKind::Exists, Some("PGS-220000")), "{body}");
        assert!(refusal.message.unwrap().contains("duplicate key"));
    }
    // A record that is sent back is not a message.
    let echo = serde_json::json!({"code": 500, "record": {"lastName": duplicate}}).to_string();
    assert_eq!(read(&Method::POST, 500, &echo, true).kind, ErrorKind::Server);
}

#[test]
fn a_code_is_a_code_or_nothing() {
    for (body, code) in [
        (r#"{"error_code":"403023"}"#, Some("403023")),
        (r#"{"code":-2003}"#, Some("-2003")),
        (r#"{"code":"ida.holm@example.org"}"#, None),
        (r#"{"code":"Ida Holm"}"#, None),
        (r#"{"code":"8c1f0c52-0000-4000-8000-000000000001"}"#, None),
        (r#"{"code":""}"#, None),
        (r#"{"error":"invalid_client"}"#, Some("invalid_client")),
        (r#"{"error":"Holm"}"#, None),
        (r#"{"error":"Ida is not valid"}"#, None),
        (r#"{"error":{"code":"E1","message":"x"}}"#, Some("E1")),
    ] {
        assert_eq!(read(&Method::GET, 400, body, true).code.as_deref(), code, "{body}");
    }
}
