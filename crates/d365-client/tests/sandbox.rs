//! The client against the sandbox: what the scripted answers of the other tests only claim of the service.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic, also in what it shares")]

use std::collections::BTreeMap;
use std::sync::Arc;

use d365_client::{
    Changed, D365Client, D365Config, DynamicEntity, EntityBody, EntityDef, ErrorKind, Expect, Link, TableScan,
};
use http_kit::SecretString;
use sandbox::dataverse::DataverseMutationPlan;
use sandbox::faults::{FaultKind, FaultRule};
use sandbox::scenario::Scenario;
use sandbox::service::Side;
use sandbox::{Sandbox, SandboxConfig};
use uuid::Uuid;

struct Stage {
    sandbox: Sandbox,
    client: D365Client,
}

impl Stage {
    async fn new(contacts: u64, switches: &str) -> Self {
        let scenario = Scenario::parse(&format!("[dataverse.switches]\n{switches}")).unwrap();
        let sandbox = Sandbox::start(SandboxConfig { contacts, scenario, ..SandboxConfig::default() }).await.unwrap();
        let info = &sandbox.info().dataverse;
        let secret = SecretString::from(info.client_secret.clone());
        let config = D365Config::new(info.url.clone(), info.tenant.clone(), info.client_id.clone(), secret);
        let client = D365Client::new(config.authority(info.authority.clone())).unwrap();
        Self { sandbox, client }
    }

    fn contact() -> Arc<EntityDef> {
        EntityDef::new("contact", "contacts", "contactid").unwrap().shared()
    }

    fn scan(&self, columns: &[&'static str]) -> TableScan {
        self.client.scan(Self::contact(), columns.iter().copied()).unwrap().page_size(40)
    }

    fn mutate(&self, create: usize, update: usize, delete: usize) {
        let plan = DataverseMutationPlan { table: "contact".into(), create, update, delete, ..Default::default() };
        self.sandbox.dataverse().mutate(&plan).unwrap();
    }

    fn fault(&self, fault: FaultKind) {
        self.sandbox.shared().faults.add(vec![FaultRule::new(Side::Dataverse, fault)]);
    }

    fn fired(&self) -> u64 {
        self.sandbox.shared().faults.list().iter().map(|rule| rule.fired).sum()
    }

    /// Versions by key, from the control interface's side of the sandbox.
    fn truth(&self) -> BTreeMap<Uuid, i64> {
        let lines: Vec<u8> = self.sandbox.dataverse().records("contact").unwrap().flatten().collect();
        let rows = serde_json::Deserializer::from_slice(&lines).into_iter::<serde_json::Value>();
        rows.map(|row| row.unwrap())
            .map(|row| (row["contactid"].as_str().unwrap().parse().unwrap(), row["versionnumber"].as_i64().unwrap()))
            .collect()
    }
}

/// The versions that a whole scan sees, and its pages.
async fn seen(scan: &TableScan) -> (BTreeMap<Uuid, i64>, usize) {
    let (mut rows, mut pages, mut link) = (BTreeMap::new(), 0, None::<Link>);
    loop {
        let page = scan.fetch(link.as_ref()).await.unwrap();
        let hint = page.hint();
        let page = page.decode().unwrap();
        assert_eq!(hint, page.next);
        pages += 1;
        rows.extend(page.rows.iter().map(|row| (row.id, row.version)));
        match page.next {
            Some(next) => link = Some(next),
            None => return (rows, pages),
        }
    }
}

#[tokio::test]
async fn a_scan_sees_every_row_in_its_version() {
    let stage = Stage::new(100, "").await;
    stage.mutate(10, 30, 5);
    assert_eq!(seen(&stage.scan(&[])).await, (stage.truth(), 3));
    assert_eq!(seen(&stage.scan(&["lastname", "birthdate"])).await, (stage.truth(), 3));
}

#[tokio::test]
async fn a_scan_finds_what_a_tracked_walk_lost() {
    // In this mode the token at the end of the walk covers nothing of what changes while it pages.
    let stage = Stage::new(100, "token_covers_paging = false").await;
    let tracker = stage.client.changes(Stage::contact(), ["lastname", "versionnumber"]).unwrap().page_size(20);
    let mut known = BTreeMap::new();
    let mut page = tracker.start().await.unwrap();
    loop {
        for change in &page.changes {
            let Changed::Upserted(row) = change else { panic!("a deletion in a first walk") };
            known.insert(row.id().unwrap(), row.integer("versionnumber").unwrap().unwrap());
        }
        if page.link.is_delta() {
            break;
        }
        stage.mutate(2, 20, 5);
        page = tracker.follow(&page.link).await.unwrap();
    }
    assert!(tracker.follow(&page.link).await.unwrap().changes.is_empty());
    let truth = stage.truth();
    assert_ne!(known, truth);
    let scan = stage.scan(&["lastname"]);
    let (versions, _) = seen(&scan).await;
    let newer: Vec<Uuid> =
        versions.iter().filter(|(id, version)| known.get(*id) != Some(*version)).map(|(id, _)| *id).collect();
    assert!(!newer.is_empty() && newer.iter().all(|id| known.get(id).is_none_or(|old| *old < versions[id])));
    let fetched = scan.rows_by_id(&newer).await.unwrap();
    assert_eq!(fetched.len(), newer.len());
    for row in fetched {
        assert_eq!(row.row.unwrap().id(), Some(row.id));
        known.insert(row.id, row.version);
    }
    let api = stage.client.entity_with::<DynamicEntity>(Stage::contact());
    let gone: Vec<Uuid> = known.keys().filter(|id| !versions.contains_key(*id)).copied().collect();
    assert!(!gone.is_empty());
    for id in gone {
        assert_eq!(api.retrieve(id, &[]).await.unwrap_err().kind(), ErrorKind::NotFound);
        known.remove(&id);
    }
    assert_eq!(known, truth);
}

#[tokio::test]
async fn a_scan_goes_on_from_a_stored_link() {
    let stage = Stage::new(100, "").await;
    let page = stage.scan(&[]).start().await.unwrap();
    let stored = serde_json::to_string(&page.next).unwrap();
    stage.mutate(0, 20, 0);
    let link: Option<Link> = serde_json::from_str(&stored).unwrap();
    let scan = stage.scan(&[]);
    assert!(scan.fits(link.as_ref().unwrap()) && !stage.scan(&["lastname"]).fits(link.as_ref().unwrap()));
    let rest = scan.follow(link.as_ref().unwrap()).await.unwrap();
    assert_eq!(rest.rows.len(), 40);
    assert!(rest.rows.iter().all(|row| stage.truth()[&row.id] == row.version && row.id > page.rows[39].id));
}

#[tokio::test]
async fn faults_of_pages_are_seen_for_what_they_are() {
    let stage = Stage::new(100, "").await;
    let scan = stage.scan(&[]);
    let first = scan.start().await.unwrap().next.unwrap();
    for (fault, kind) in [
        (FaultKind::RepeatPage, ErrorKind::Decode),
        (FaultKind::ForeignNextLink, ErrorKind::ForeignLink),
        (FaultKind::StaleNextLink, ErrorKind::LinkRefused),
    ] {
        stage.fault(fault);
        assert_eq!(scan.follow(&first).await.unwrap_err().kind(), kind, "{fault:?}");
    }
    assert_eq!(stage.fired(), 3);
    // These do no harm.
    for fault in [FaultKind::EmptyPage, FaultKind::ResendRows] {
        stage.fault(fault);
        assert_eq!(seen(&scan).await.0, stage.truth(), "{fault:?}");
    }
    assert_eq!(stage.fired(), 5);
}

#[tokio::test]
async fn tokens_of_changes_end_with_the_definition_and_with_time() {
    let stage = Stage::new(3, "").await;
    let tracker = stage.client.changes(Stage::contact(), ["lastname"]).unwrap();
    let link = tracker.start().await.unwrap().link;
    stage.sandbox.dataverse().change_definition("contact").unwrap();
    assert_eq!(tracker.follow(&link).await.unwrap_err().kind(), ErrorKind::TokenExpired);
    let link = tracker.start().await.unwrap().link;
    stage.fault(FaultKind::UnseenDelete);
    assert!(matches!(tracker.follow(&link).await.unwrap().changes.as_slice(), [Changed::Deleted { .. }]));
    stage.fault(FaultKind::NoLink);
    let polled = tracker.follow(&link).await.unwrap();
    assert_eq!(polled.link, link, "a poll without a link keeps the old one");
    stage.fault(FaultKind::NoLink);
    assert_eq!(tracker.start().await.unwrap_err().kind(), ErrorKind::MissingLink);
    // The client reads the real clock, the sandbox its own: the access token ends too, and is asked for anew.
    let days = i64::from(stage.client.change_tracking_days().await.unwrap().unwrap());
    stage.sandbox.shared().clock.advance(days * 86_400 + 1);
    assert_eq!(tracker.follow(&link).await.unwrap_err().kind(), ErrorKind::TokenExpired);
}

#[tokio::test]
async fn the_days_of_change_tracking_are_told_or_refused() {
    assert_eq!(Stage::new(0, "").await.client.change_tracking_days().await.unwrap(), Some(7));
    let longer = Stage::new(0, "expire_change_tracking_days = 30").await;
    assert_eq!(longer.client.change_tracking_days().await.unwrap(), Some(30));
    let closed = Stage::new(0, "organization_readable = false").await;
    let error = closed.client.change_tracking_days().await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Forbidden, Some(0x8004_0220)));
}

#[tokio::test]
async fn bodies_that_are_too_big_are_not_read_to_their_end() {
    let stage = Stage::new(3, "").await;
    let scan = stage.scan(&[]);
    for fault in [FaultKind::GzipBomb, FaultKind::Endless] {
        stage.fault(fault);
        let error = scan.start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{fault:?}: {error}");
        assert!(error.to_string().contains("larger than the limit"), "{fault:?}: {error}");
    }
    assert_eq!((stage.fired(), scan.start().await.unwrap().rows.len()), (2, 3));
}

#[tokio::test]
async fn what_the_user_may_do_is_told_and_enforced() {
    let stage = Stage::new(2, "missing_privileges = [\"prvCreateContact\"]").await;
    let client = &stage.client;
    let user = client.who_am_i().await.unwrap().user_id;
    let all = client.table_privileges("contact").await.unwrap();
    let name = |allows: &str| all.iter().find(|privilege| privilege.allows == allows).unwrap().name.clone();
    assert_eq!((name("Create"), name("AppendTo")), ("prvCreateContact".to_owned(), "prvAppendToContact".to_owned()));
    assert!(!client.holds(user, &name("Create")).await.unwrap());
    assert!(client.holds(user, &name("Write")).await.unwrap());
    assert_eq!(client.holds(user, "prvCreateNothing").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(client.holds(Uuid::nil(), "prvWriteContact").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(client.holds(user, "prv') or (1").await.is_err(), "only names stand in a path");
    assert_eq!(client.table_privileges("nope").await.unwrap_err().kind(), ErrorKind::UnknownTable);
    let contacts = client.entity_with::<DynamicEntity>(Stage::contact());
    let body = EntityBody::new().set("lastname", "Ada").unwrap();
    let refused = contacts.create(&body).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Forbidden, Some(0x8004_0220)));
    let row = &stage.scan(&["lastname"]).start().await.unwrap().rows[0];
    contacts.update(row.id, &body, &Expect::Any).await.unwrap();
}
