//! Filters and orders of Dataverse beyond the plain comparison: aliases, the service's own functions, composites, lookups.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use client::Client;
use reqwest::Method;
use serde_json::{Value, json};

fn id(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn numbers(rows: &[Value]) -> String {
    rows.iter().map(|row| row["contactid"].as_str().unwrap().chars().last().unwrap()).collect()
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Three contacts, two accounts and two vehicles, with moments around a day's ends.
async fn some() -> Client {
    let client = Client::start(0).await;
    for (number, name) in [(1, "Zeta"), (2, "Alpha")] {
        client.write(Method::POST, "accounts", &[], json!({"accountid": id(number), "name": name})).await.expect(204);
    }
    let bind = "parentcustomerid_account@odata.bind";
    let rows = [
        json!({"contactid": id(1), "firstname": "Ada", "lastname": "Byron", "gendercode": 2, "birthdate": "1815-12-10",
            "address1_line1": "High Street 1", "address1_city": "Leeds", bind: format!("/accounts({})", id(1))}),
        json!({"contactid": id(2), "firstname": "Alan", "lastname": "Turing", "gendercode": 1, "birthdate": "1912-06-23",
            bind: format!("/accounts({})", id(2))}),
        json!({"contactid": id(3), "lastname": "Only"}),
    ];
    for row in rows {
        client.write(Method::POST, "contacts", &[], row).await.expect(204);
    }
    for (number, moment) in [(1, "2026-01-05T00:00:00Z"), (2, "2026-01-05T23:59:59Z"), (3, "2026-01-06T00:00:00Z")] {
        let row = json!({"new_vehicleid": id(number), "new_name": "v", "new_lastservice": moment, "new_registeredon": &moment[..10]});
        client.write(Method::POST, "new_vehicles", &[], row).await.expect(204);
    }
    client
}

#[tokio::test]
async fn an_alias_stands_for_any_operand() {
    let client = some().await;
    let own = "Microsoft.Dynamics.CRM.";
    let cases = [
        ("lastname eq @p1".to_owned(), vec![("@p1", "'Byron'")], "1"),
        ("@p1 eq lastname".to_owned(), vec![("@p1", "'Byron'")], "1"),
        ("@p1 eq @p2".to_owned(), vec![("@p1", "lastname"), ("@p2", "'Byron'")], "1"),
        ("contains(lastname,@p1)".to_owned(), vec![("@p1", "'r'")], "12"),
        ("startswith(@p1,@p2)".to_owned(), vec![("@p1", "firstname"), ("@p2", "'A'")], "12"),
        (
            format!("{own}In(PropertyName=@p1,PropertyValues=@p2)"),
            vec![("@p1", "'gendercode'"), ("@p2", r#"["1","2"]"#)],
            "12",
        ),
        (
            format!("{own}In(PropertyName=@p1,PropertyValues=@p2)"),
            vec![("@p1", "'lastname'"), ("@p2", "['Byron','O''Neill']")],
            "1",
        ),
        (format!("{own}In(PropertyName='gendercode',PropertyValues=[1])"), vec![], "2"),
        (format!("{own}In(PropertyName='lastname',PropertyValues=['Only'])"), vec![], "3"),
        (format!("{own}EqualUserId(PropertyName='ownerid')"), vec![], "123"),
        (format!("{own}LastXDays(PropertyName='modifiedon',PropertyValue=7)"), vec![], "123"),
        (format!("{own}LastXDays(PropertyName='modifiedon',PropertyValue=@d)"), vec![("@d", "7")], "123"),
        (format!("{own}LastXDays(PropertyName='birthdate',PropertyValue=7)"), vec![], ""),
        (format!("{own}OnOrAfter(PropertyName='birthdate',PropertyValue=1912-06-23)"), vec![], "2"),
        (format!("{own}NotBetween(PropertyName='gendercode',PropertyValues=[2,9])"), vec![], "23"),
    ];
    for (filter, aliases, expected) in cases {
        let mut path = format!("contacts?$select=contactid&$filter={}", encoded(&filter));
        for (name, value) in &aliases {
            path.push_str(&format!("&{name}={}", encoded(value)));
        }
        let reply = client.get(&path).await.expect(200);
        assert_eq!(numbers(&reply.rows()), expected, "{filter} {aliases:?}");
    }
    let order = client.get("contacts?$select=contactid&$orderby=@p1%20desc&@p1=lastname").await.expect(200);
    assert_eq!(numbers(&order.rows()), "231");
    for (filter, rest) in [
        ("lastname eq @p1", ""),
        ("lastname eq @p1", "&@p1='a'%20or%20true"),
        ("Microsoft.Dynamics.CRM.LastXDays(PropertyName='modifiedon',PropertyValue=many)", ""),
        ("Microsoft.Dynamics.CRM.LastXDays(PropertyName='lastname',PropertyValue=1)", ""),
        ("Microsoft.Dynamics.CRM.Between(PropertyName='gendercode',PropertyValues=[1])", ""),
    ] {
        client.get(&format!("contacts?$filter={}{rest}", encoded(filter))).await.expect(400);
    }
    client.get("contacts?$orderby=@p9").await.expect(400);
    // Time passes, and the last days with it.
    client.sandbox.shared().clock.advance(9 * 86_400);
    let client = Client { token: client.new_token().await, ..client };
    let late = encoded(&format!("{own}LastXDays(PropertyName='modifiedon',PropertyValue=7)"));
    assert_eq!(client.get(&format!("contacts?$filter={late}")).await.expect(200).rows().len(), 0);
}

#[tokio::test]
async fn functions_on_dates_go_by_the_day() {
    let client = some().await;
    let cases = [
        ("On", "2026-01-05", "12"),
        ("On", "'2026-01-05T15:00:00Z'", "12"),
        ("OnOrBefore", "2026-01-05", "12"),
        ("OnOrBefore", "'2026-01-04'", ""),
        ("OnOrAfter", "2026-01-05T12:00:00Z", "123"),
        ("OnOrAfter", "'2026-01-06'", "3"),
    ];
    for property in ["new_lastservice", "new_registeredon"] {
        for (function, value, expected) in cases {
            let filter = format!("Microsoft.Dynamics.CRM.{function}(PropertyName='{property}',PropertyValue={value})");
            let reply = client.get(&format!("new_vehicles?$filter={}", encoded(&filter))).await.expect(200);
            let found: String =
                reply.rows().iter().map(|r| r["new_vehicleid"].as_str().unwrap().chars().last().unwrap()).collect();
            assert_eq!(found, expected, "{filter}");
        }
    }
}

#[tokio::test]
async fn a_part_brings_its_composite() {
    let client = some().await;
    let path = format!("contacts({})", id(1));
    let row = client.get(&format!("{path}?$select=firstname,address1_city")).await.expect(200).json();
    assert_eq!((&row["fullname"], &row["address1_composite"]), (&json!("Ada Byron"), &json!("High Street 1\r\nLeeds")));
    let row = client.get(&format!("{path}?$select=jobtitle")).await.expect(200).json();
    assert!(row.get("fullname").is_none() && row.get("address1_composite").is_none());
    for (filter, expected) in [
        ("contains(address1_composite,'leeds')", "1"),
        ("address1_composite eq null", "23"),
        ("startswith(address1_composite,'High')", "1"),
    ] {
        let reply = client.get(&format!("contacts?$select=contactid&$filter={}", encoded(filter))).await.expect(200);
        assert_eq!(numbers(&reply.rows()), expected, "{filter}");
    }
}

#[tokio::test]
async fn lookups_sort_by_the_name_they_show() {
    let client = some().await;
    let order = |by: &str| format!("contacts?$select=contactid&$orderby={}", encoded(by));
    assert_eq!(numbers(&client.get(&order("_parentcustomerid_value")).await.expect(200).rows()), "321");
    assert_eq!(numbers(&client.get(&order("_parentcustomerid_value desc")).await.expect(200).rows()), "123");
    let mut page = client.prefer("odata.maxpagesize=1", &order("_parentcustomerid_value")).await.expect(200);
    let mut seen = numbers(&page.rows());
    while let Some(link) = page.next_link() {
        page = client.prefer("odata.maxpagesize=1", &link).await.expect(200);
        seen.push_str(&numbers(&page.rows()));
    }
    assert_eq!(seen, "321");
}

#[tokio::test]
async fn a_sorted_walk_covers_every_row_once() {
    let client = Client::start(103).await;
    let by = "contacts?$select=contactid&$orderby=address1_city,lastname%20desc";
    let whole: Vec<Value> = client.get(by).await.expect(200).rows();
    let mut page = client.prefer("odata.maxpagesize=10", by).await.expect(200);
    let mut walked = page.rows();
    while let Some(link) = page.next_link() {
        page = client.prefer("odata.maxpagesize=10", &link).await.expect(200);
        walked.extend(page.rows());
    }
    assert_eq!(walked, whole);
    assert_eq!(whole.len(), 103);
}
