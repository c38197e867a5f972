//! Many rows and many requests at once, against the sandbox.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic, also in what it shares")]

use std::sync::Arc;

use d365_client::odata::EntityKey;
use d365_client::{
    Batch, BatchRequest, BulkMessage, ChangeSet, D365Client, D365Config, DynamicEntity, ETag, EntityApi, EntityBody,
    EntityDef, ErrorKind, Expect, Outcome, PartOutcome, Precondition, SetOutcome, Trouble,
};
use http_kit::SecretString;
use sandbox::dataverse::Limits;
use sandbox::faults::{FaultKind, FaultRule};
use sandbox::scenario::Scenario;
use sandbox::service::Side;
use sandbox::{Sandbox, SandboxConfig};
use uuid::Uuid;

const SEND: &str = "adobe_campaignemailsend";

async fn stage(switches: &str) -> (Sandbox, D365Client) {
    let scenario = Scenario::parse(&format!("[dataverse.switches]\n{switches}")).unwrap();
    let sandbox = Sandbox::start(SandboxConfig { scenario, contacts: 0, ..SandboxConfig::default() }).await.unwrap();
    let info = &sandbox.info().dataverse;
    let secret = SecretString::from(info.client_secret.clone());
    let config = D365Config::new(info.url.clone(), info.tenant.clone(), info.client_id.clone(), secret);
    let client = D365Client::new(config.authority(info.authority.clone())).unwrap();
    (sandbox, client)
}

fn api(client: &D365Client, table: &str, key: &str) -> EntityApi<DynamicEntity> {
    client.entity_with(Arc::new(EntityDef::new(table, &format!("{table}s"), key).unwrap()))
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0xaaaa_0000_0000_4000_8000_0000_0000_0000 + number)
}

fn named(name: &str) -> EntityBody {
    EntityBody::new().set("lastname", name).unwrap()
}

#[tokio::test]
async fn activities_are_written_together_and_bad_rows_found() {
    for switches in ["", "multiple_answers_200 = true"] {
        let (sandbox, client) = stage(switches).await;
        let contacts = api(&client, "contact", "contactid");
        assert_eq!(contacts.create_multiple(&[named("A").set("contactid", id(1)).unwrap()]).await.unwrap(), [id(1)]);
        let navigation =
            client.metadata().navigation_property(SEND, "regardingobjectid", "contact").await.unwrap().unwrap();
        assert_eq!(navigation.as_str(), format!("regardingobjectid_contact_{SEND}"));
        assert_eq!(client.metadata().navigation_property(SEND, "regardingobjectid", "team").await.unwrap(), None);
        assert!(client.metadata().relationships(SEND).await.unwrap().len() > 2);
        let sends = api(&client, SEND, "activityid");
        assert!(sends.takes(BulkMessage::Upsert).await.unwrap());
        let owner = client.who_am_i().await.unwrap().user_id;
        let event = |number: u128, contact: u128| {
            let body = EntityBody::new().set("subject", "s").unwrap();
            let body = body.bind(navigation.clone(), "contacts", &EntityKey::id(id(contact))).unwrap();
            (EntityKey::id(id(number)), body.bind("ownerid", "systemusers", &EntityKey::id(owner)).unwrap())
        };
        sends.upsert_multiple(&[event(1, 1), event(2, 1)]).await.unwrap();
        let refused = sends.upsert_multiple(&[event(2, 1), event(3, 9)]).await.unwrap_err();
        assert_eq!((refused.kind(), refused.trouble()), (ErrorKind::NotFound, Trouble::Rows));
        sends.upsert_multiple(&[event(2, 1), event(3, 1)]).await.unwrap();
        sends.update_multiple(&[(id(3), EntityBody::new().set("subject", "t").unwrap())]).await.unwrap();
        assert_eq!(sends.retrieve_many(&[id(1), id(2), id(3)], &[]).await.unwrap().len(), 3);
        let twice = sends.upsert_multiple(&[event(1, 1), event(1, 1)]).await.unwrap_err();
        assert_eq!(twice.kind(), ErrorKind::Validation);
        // A lost answer is made up for by sending the same rows again.
        sandbox.shared().faults.add(vec![FaultRule::new(Side::Dataverse, FaultKind::ResetAfterCommit)]);
        sends.upsert_multiple(&[event(4, 1)]).await.unwrap();
        let lines: Vec<u8> = sandbox.dataverse().records(SEND).unwrap().flatten().collect();
        assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 4);
    }
}

#[tokio::test]
async fn tables_without_messages_say_so() {
    let (_sandbox, client) = stage("tables_without_multiple = [\"account\"]").await;
    let accounts = api(&client, "account", "accountid");
    assert!(!accounts.takes(BulkMessage::Update).await.unwrap());
    let body = EntityBody::new().set("name", "A").unwrap();
    let refused = accounts.create_multiple(&[body]).await.unwrap_err();
    assert_eq!((refused.kind(), refused.trouble()), (ErrorKind::UnknownTable, Trouble::Service));
}

#[tokio::test]
async fn a_batch_tells_what_became_of_each_part() {
    let (_sandbox, client) = stage("").await;
    let upsert = |number: u128, precondition| {
        BatchRequest::upsert("contacts", &EntityKey::id(id(number)), &named("A"), &precondition).unwrap()
    };
    let mut batch = Batch::new().continue_on_error();
    batch.push(upsert(1, Precondition::IfNoneMatch)).unwrap();
    batch.push(upsert(1, Precondition::IfNoneMatch)).unwrap();
    batch.push(upsert(2, Precondition::IfMatchAny)).unwrap();
    let stale = Expect::Version(ETag::of_version(1));
    batch.push(BatchRequest::update("contacts", &EntityKey::id(id(1)), &named("B"), &stale).unwrap()).unwrap();
    let get = BatchRequest::get("contacts", &EntityKey::id(id(1)), ["lastname"]).unwrap();
    batch.push(get).unwrap();
    let outcomes = client.batch(&batch).await.unwrap();
    let kinds: Vec<Option<ErrorKind>> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Single(PartOutcome::Refused(error)) => Some(error.kind()),
            Outcome::Single(PartOutcome::Done(_)) => None,
            other => panic!("{other:?}"),
        })
        .collect();
    let failed = Some(ErrorKind::PreconditionFailed);
    assert_eq!(kinds, [None, failed, Some(ErrorKind::NotFound), failed, None]);
    let Outcome::Single(PartOutcome::Done(read)) = &outcomes[4] else { panic!() };
    let def = Arc::new(EntityDef::new("contact", "contacts", "contactid").unwrap());
    assert_eq!(read.row::<DynamicEntity>(&def).unwrap().text("lastname").unwrap().as_deref(), Some("A"));
}

#[tokio::test]
async fn a_batch_that_stops_keeps_what_was_done() {
    let (sandbox, client) = stage("").await;
    let update =
        |number: u128| BatchRequest::update("contacts", &EntityKey::id(id(number)), &named("B"), &Expect::Any).unwrap();
    let create = || BatchRequest::create("contacts", &named("A")).unwrap();
    let mut batch = Batch::new();
    batch.push(create()).unwrap();
    let mut set = ChangeSet::new();
    set.push(create()).unwrap();
    set.push(update(9)).unwrap();
    batch.push_set(set).unwrap();
    batch.push(update(9)).unwrap();
    let outcomes = client.batch(&batch).await.unwrap();
    let [
        Outcome::Single(PartOutcome::Done(made)),
        Outcome::Set(SetOutcome::Refused(error)),
        Outcome::Single(PartOutcome::NotExecuted),
    ] = outcomes.as_slice()
    else {
        panic!("{outcomes:?}")
    };
    assert!(made.id().is_some());
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let count = || sandbox.dataverse().records("contact").unwrap().flatten().filter(|byte| *byte == b'\n').count();
    assert_eq!(count(), 1);
    // The status of the whole is that of a throttled part: the batch must not be repeated, for its first create is done.
    sandbox.dataverse().set_limits(Some(Limits::requests_in(2, 300)));
    let mut batch = Batch::new();
    for _ in 0..3 {
        batch.push(create()).unwrap();
    }
    let outcomes = client.batch(&batch).await.unwrap();
    let Outcome::Single(PartOutcome::Refused(slow)) = &outcomes[2] else { panic!("{outcomes:?}") };
    assert_eq!(slow.kind(), ErrorKind::Throttled);
    assert!(slow.retry_after().is_some());
    assert_eq!(count(), 3);
}
