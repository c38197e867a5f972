//! The client against the sandbox, in both positions of what the public pages leave open.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking, like the test")]

use campaign_client::{
    CampaignClient, CampaignConfig, CustomRecord, Deleted, Delivery, Error, ErrorKind, RecordApi, RecordKey, Resource,
    Updated,
};
use http_kit::{Bytes, SecretString};
use sandbox::scenario::Scenario;
use sandbox::{Sandbox, SandboxConfig};

struct Stage {
    sandbox: Sandbox,
    client: CampaignClient,
}

impl Stage {
    async fn with(switches: &str) -> Self {
        let scenario = Scenario::parse(&format!("[campaign.switches]\n{switches}")).unwrap();
        let sandbox =
            Sandbox::start(SandboxConfig { contacts: 0, scenario, ..SandboxConfig::default() }).await.unwrap();
        let client = CampaignClient::new(config(&sandbox)).unwrap();
        Self { sandbox, client }
    }

    fn profiles(&self) -> RecordApi {
        self.client.records(Resource::profile())
    }

    fn requests(&self) -> u64 {
        let counters = self.sandbox.shared().counters.snapshot();
        counters["campaign"]["requests"].as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum()
    }
}

fn config(sandbox: &Sandbox) -> CampaignConfig {
    let info = &sandbox.info().campaign;
    let secret = SecretString::from(info.client_secret.clone());
    let mut config = CampaignConfig::new(info.url.clone(), info.client_id.clone(), secret);
    config.ims_url.clone_from(&info.ims_url);
    config
}

fn key(text: &str) -> RecordKey {
    RecordKey::new(text).unwrap()
}

fn body(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[track_caller]
fn refused(outcome: Result<impl Sized, Error>, kind: ErrorKind) {
    let error = outcome.err().unwrap();
    assert_eq!((error.kind(), error.delivery()), (kind, Delivery::Refused), "{error}");
    assert!(!error.is_transient(), "{error}");
}

/// Words without a code: they may be about the service as well.
#[track_caller]
fn unclear(outcome: Result<impl Sized, Error>) {
    let error = outcome.err().unwrap();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Server, Delivery::MaybeApplied), "{error}");
}

const SHAPES: [&str; 5] = [
    "",
    "error_head_line = false",
    "error_head_line = false\nerror_body = \"json_string\"",
    "error_body = \"mislabelled_text\"",
    "error_head_line = false\nemail_refusal_text = \"The email address is not valid.\"",
];

#[tokio::test]
async fn refusals_are_refusals_in_every_shape() {
    for switches in SHAPES {
        let stage = Stage::with(switches).await;
        let profiles = stage.profiles();
        profiles.create(body(r#"{"externalId":"k1"}"#)).await.unwrap();
        let before = stage.requests();
        refused(profiles.create(body(r#"{"externalId":"k1"}"#)).await, ErrorKind::Exists);
        let address = profiles.create(body(r#"{"externalId":"k2","email":"ida"}"#)).await;
        if switches.contains("error_head_line = false") {
            unclear(address);
        } else {
            refused(address, ErrorKind::Validation);
        }
        refused(profiles.update(&key("k1"), body(r#"{"gender":"x"}"#)).await, ErrorKind::InvalidEnum);
        refused(profiles.update(&key("k1"), body(r#"{"shoeSize":1}"#)).await, ErrorKind::UnknownField);
        refused(profiles.update(&key("k1"), body(r#"{"externalId":"k3"}"#)).await, ErrorKind::KeyChange);
        refused(profiles.update(&key("k1"), body(r#"{"birthDate":"x"}"#)).await, ErrorKind::WrongType);
        assert_eq!(profiles.update(&key("none"), body("{}")).await.unwrap(), Updated::NotFound);
        assert_eq!(profiles.delete(&key("none")).await.unwrap(), Deleted::AlreadyGone);
        assert_eq!(profiles.get::<CustomRecord>(&key("none")).await.unwrap(), None);
        assert_eq!(stage.requests() - before, 9, "nothing is asked twice: {switches}");
    }
}

#[tokio::test]
async fn a_refused_address_with_another_status_is_refused_too() {
    let stage = Stage::with("email_refusal_status = 400").await;
    refused(stage.profiles().create(body(r#"{"externalId":"k","email":"ida"}"#)).await, ErrorKind::Validation);
}

#[tokio::test]
async fn a_record_is_deleted_whether_its_key_may_stand_there_or_not() {
    for (switches, requests) in [("delete_by_key = true", 1), ("delete_by_key = false", 3)] {
        let stage = Stage::with(switches).await;
        stage.profiles().create(body(r#"{"externalId":"k"}"#)).await.unwrap();
        let before = stage.requests();
        assert_eq!(stage.profiles().delete(&key("k")).await.unwrap(), Deleted::Deleted);
        assert_eq!(stage.requests() - before, requests);
        assert_eq!(stage.profiles().delete(&key("k")).await.unwrap(), Deleted::AlreadyGone);
        assert_eq!(stage.profiles().get::<CustomRecord>(&key("k")).await.unwrap(), None);
    }
}

#[tokio::test]
async fn metadata_is_read_in_every_shape() {
    let read = async |switches: &str| {
        let stage = Stage::with(switches).await;
        let meta = stage.client.resource_metadata(&Resource::profile()).await.unwrap();
        let names: Vec<String> = meta.field("gender").unwrap().values.iter().map(|v| v.name.clone()).collect();
        (names, meta.field("location.city").unwrap().length)
    };
    let mut names: Vec<String> = ["unknown", "male", "female"].map(str::to_owned).to_vec();
    names.sort();
    for switches in ["", "metadata_values = \"list\"\nmetadata_item_content = \"list\"", "metadata_values = \"names\""]
    {
        let (mut found, length) = read(switches).await;
        found.sort();
        assert_eq!((&found, length), (&names, Some(255)), "{switches}");
    }
}

#[tokio::test]
async fn the_identity_service_may_refuse_and_renew_in_either_way() {
    for switches in ["", "ims_error_status = 401\nims_client_error = \"unauthorized_client\""] {
        let stage = Stage::with(switches).await;
        let mut wrong = config(&stage.sandbox);
        wrong.client_secret = SecretString::from("wrong");
        let error = CampaignClient::new(wrong).unwrap().resources(campaign_client::Family::ProfileAndServicesExt).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Credentials, "{switches}");
    }
    for switches in ["new_token_ends_earlier = false", "new_token_ends_earlier = true"] {
        let stage = Stage::with(switches).await;
        let other = CampaignClient::new(config(&stage.sandbox)).unwrap();
        stage.profiles().create(body(r#"{"externalId":"k"}"#)).await.unwrap();
        // Each asks for a token of its own, which may end the other's.
        other.records(Resource::profile()).get::<CustomRecord>(&key("k")).await.unwrap().unwrap();
        stage.profiles().get::<CustomRecord>(&key("k")).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn scopes_without_the_product_context_are_told_apart() {
    let stage = Stage::with("").await;
    let mut config = config(&stage.sandbox);
    config.scopes.retain(|scope| scope != "additional_info.projectedProductContext");
    let client = CampaignClient::new(config).unwrap();
    let error = client.records(Resource::profile()).get::<CustomRecord>(&key("k")).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::ProfileNotValid, Some("403023")));
}
