//! Queries of Dataverse: filters, order, pages, counts, options that are not served.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use client::Client;
use serde_json::{Value, json};

/// Four contacts with known values; ids in this order.
async fn four() -> Client {
    let client = Client::start(0).await;
    let rows = [
        json!({"contactid": "00000000-0000-4000-8000-000000000001", "firstname": "Ada", "lastname": "Byron", "gendercode": 2, "birthdate": "1815-12-10", "annualincome": 10.5}),
        json!({"contactid": "00000000-0000-4000-8000-000000000002", "firstname": "Grace", "lastname": "Hopper", "gendercode": 2, "donotemail": true}),
        json!({"contactid": "00000000-0000-4000-8000-000000000003", "firstname": "Alan", "lastname": "O'Neill", "gendercode": 1, "birthdate": "1912-06-23", "annualincome": 9}),
        json!({"contactid": "00000000-0000-4000-8000-000000000004", "lastname": "100% sure", "emailaddress1": "Sure@Example.org"}),
    ];
    for row in rows {
        client.write(reqwest::Method::POST, "contacts", &[], row).await.expect(204);
    }
    client
}

fn numbers(rows: &[Value]) -> String {
    rows.iter().map(|row| row["contactid"].as_str().unwrap().chars().last().unwrap()).collect()
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[tokio::test]
async fn filters_find_what_they_say() {
    let client = four().await;
    let cases = [
        ("firstname eq 'ada'", "1"),
        ("firstname ne 'Ada'", "234"),
        ("firstname eq null", "4"),
        ("firstname ne null", "123"),
        ("gendercode eq 2 and not (firstname eq 'Ada')", "2"),
        ("gendercode eq 1 or lastname eq 'Byron'", "13"),
        ("gendercode eq 2 and firstname eq 'Ada' or gendercode eq 1", "13"),
        ("contains(lastname,'O''n')", "3"),
        ("startswith(firstname,'A')", "13"),
        ("endswith(lastname,'er')", "2"),
        ("contains(lastname,'0[%]')", "4"),
        ("contains(lastname,'%')", "1234"),
        ("not contains(lastname,'o')", "4"),
        ("annualincome gt 9", "1"),
        ("annualincome ge 9.00", "13"),
        ("birthdate lt 1900-01-01", "1"),
        ("birthdate ge 1815-12-10", "13"),
        ("createdon gt 2020-01-01T00:00:00Z", "1234"),
        ("donotemail eq true", "2"),
        ("contactid eq 00000000-0000-4000-8000-000000000003", "3"),
        ("statecode eq 0", "1234"),
        ("emailaddress1 eq 'sure@example.org'", "4"),
        ("firstname eq lastname", ""),
        ("_parentcustomerid_value eq 00000000-0000-4000-8000-000000000003", ""),
        (r#"Microsoft.Dynamics.CRM.In(PropertyName='gendercode',PropertyValues=["1","2"])"#, "123"),
        (r#"Microsoft.Dynamics.CRM.In(PropertyName='lastname',PropertyValues=["byron","Hopper"])"#, "12"),
        (r#"Microsoft.Dynamics.CRM.Between(PropertyName='annualincome',PropertyValues=["9","10"])"#, "3"),
    ];
    for (filter, expected) in cases {
        let reply = client.get(&format!("contacts?$select=contactid&$filter={}", encoded(filter))).await.expect(200);
        assert_eq!(numbers(&reply.rows()), expected, "{filter}");
    }
    let alias = format!("contacts?$filter={}&@p1={}", encoded("lastname eq @p1"), encoded("'Byron'"));
    assert_eq!(numbers(&client.get(&alias).await.expect(200).rows()), "1");
}

#[tokio::test]
async fn filters_that_make_no_sense_are_refused() {
    let client = four().await;
    let cases = [
        ("firstname eq 'Ada", "unterminated literal"),
        ("frstname eq 'Ada'", "Could not find a property named 'frstname'"),
        ("FirstName eq 'Ada'", "Could not find a property named 'FirstName'"),
        ("gendercode eq 'one'", "incompatible types"),
        ("contactid eq guid'00000000-0000-4000-8000-000000000003'", "Unrecognized"),
        ("tolower(firstname) eq 'ada'", "unknown function"),
        ("firstname eq", "Syntax error"),
        ("(firstname eq 'Ada'", "Syntax error"),
    ];
    for (filter, message) in cases {
        let reply = client.get(&format!("contacts?$filter={}", encoded(filter))).await.expect(400);
        assert_eq!(reply.code(), "0x80060888", "{filter}");
        assert!(reply.text.contains(message), "{filter}: {}", reply.text);
    }
    let deep = format!("{}firstname eq 'a'{}", "(".repeat(2000), ")".repeat(2000));
    client.get(&format!("contacts?$filter={}", encoded(&deep))).await.expect(400);
}

#[tokio::test]
async fn options_are_known_by_their_exact_names() {
    let client = four().await;
    for option in ["$skip=1", "$search=x", "$format=json", "$Select=firstname", "$SELECT=firstname", "top=1"] {
        let reply = client.get(&format!("contacts?{option}")).await.expect(400);
        let name = option.split('=').next().unwrap();
        assert_eq!(reply.json()["error"]["message"], format!("The query parameter {name} is not supported"));
    }
    client.get("contacts?$select=parentcustomerid").await.expect(400);
    client.get("contacts?$top=0").await.expect(400);
    client.get("Contacts").await.expect(404);
    client.get("contacts?tag=loop&$select=firstname").await.expect(200);
}

#[tokio::test]
async fn rows_are_sorted_and_cut() {
    let client = four().await;
    let order = |by: &str| format!("contacts?$select=contactid&$orderby={}", encoded(by));
    assert_eq!(numbers(&client.get(&order("lastname desc")).await.rows()), "3214");
    assert_eq!(numbers(&client.get(&order("gendercode,annualincome desc")).await.rows()), "4312");
    assert_eq!(numbers(&client.get(&order("birthdate")).await.rows()), "2413");
    let top = client.get("contacts?$top=2&$count=true").await.expect(200);
    assert_eq!((numbers(&top.rows()).as_str(), top.next_link(), &top.json()["@odata.count"]), ("12", None, &json!(4)));
    let paged = client.prefer("odata.maxpagesize=3", &order("lastname desc")).await;
    assert_eq!(numbers(&paged.rows()), "321");
    let rest = client.prefer("odata.maxpagesize=3", &paged.next_link().unwrap()).await.expect(200);
    assert_eq!((numbers(&rest.rows()).as_str(), rest.next_link()), ("4", None));
}

#[tokio::test]
async fn pages_cover_every_row_once() {
    let client = Client::start(23).await;
    let first = client
        .prefer("odata.maxpagesize=5", "contacts?$select=lastname&$filter=contains(lastname,%27%25%27)&$count=true")
        .await
        .expect(200);
    assert_eq!(first.header("preference-applied"), "odata.maxpagesize=5");
    assert_eq!(first.json()["@odata.count"], 23);
    let link = first.next_link().unwrap();
    assert!(
        link.contains("$skiptoken=%3Ccookie%20pagenumber=%222%22%20pagingcookie=%22%253ccookie%2520page%253d"),
        "{link}"
    );
    assert!(link.contains("istracking=%22False%22"));
    let mut ids: Vec<String> = Vec::new();
    let mut page = first;
    loop {
        ids.extend(page.rows().iter().map(|row| row["contactid"].as_str().unwrap().to_owned()));
        let Some(link) = page.next_link() else { break };
        page = client.prefer("odata.maxpagesize=5", &link).await.expect(200);
        assert!(page.json().get("@odata.count").is_none() || ids.len() < 23);
    }
    assert_eq!(ids.len(), 23);
    assert!(ids.is_sorted());
    let tampered = link.replace("pagenumber=%222%22", "pagenumber=%223%22");
    assert_eq!(client.get(&tampered).await.expect(400).code(), "0x80060888");
    assert_eq!(client.counters().await["dataverse"]["requests"]["GET /contacts"], 6);
    assert_eq!(client.counters().await["dataverse"]["rows"], 23);
}

#[tokio::test]
async fn counts_are_plain_and_capped() {
    let client = Client::start(5010).await;
    assert_eq!(client.get("contacts/$count").await.expect(200).text, "\u{feff}5000");
    assert_eq!(client.get("contacts?$count=true&$top=1").await.json()["@odata.count"], 5000);
    let limited = client.prefer("odata.include-annotations=\"*\"", "contacts?$count=true&$top=1").await.json();
    assert_eq!(limited["@Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded"], true);
    let all = client.get("RetrieveTotalRecordCount(EntityNames=['contact'])").await.expect(200).json();
    assert_eq!(all["EntityRecordCountCollection"]["Values"], json!([5010]));
    let page = client.prefer("odata.maxpagesize=100000", "contacts?$select=contactid").await;
    assert_eq!(page.rows().len(), 5000, "larger requests are reduced silently");
    assert!(page.next_link().is_some());
}
