//! What only a server under control can do: answers byte by byte, lost answers, refusals, bombs, a key that changes.

use std::time::Duration;

use campaign_client::exchange::{Exchange, ExchangeErrorKind, Folder, Limit, PrivateKeySource};
use sandbox::sftp::SftpFaultKind;
use tokio::io::AsyncReadExt;

use crate::behaviour::{Server, as_text, entry, exports, failure, gzip, key, name, noise};
use crate::sandboxed::Stage;

#[tokio::test]
async fn short_answers_are_put_together() {
    let stage = Stage::open().await;
    let zipped = gzip(&noise(3000));
    stage.put("d365_loads/exports/a.gz", &zipped);
    stage.fault("READ", SftpFaultKind::Drip, |rule| rule.times = Some(1500));
    let exchange = Exchange::connect(stage.config()).await.unwrap();
    let file = entry(&exchange, "a.gz").await;
    let mut read = Vec::new();
    exchange.open(&exports(), &file).await.unwrap().read_to_end(&mut read).await.unwrap();
    assert_eq!(read, noise(3000));
}

#[tokio::test]
async fn a_changed_host_key_is_refused_and_the_old_one_still_works() {
    let stage = Stage::open().await;
    stage.fault("CONNECT", SftpFaultKind::HostKey, |_| {});
    let error = Exchange::connect(stage.config()).await.unwrap_err();
    assert_eq!(error.kind(), ExchangeErrorKind::HostKey);
    Exchange::connect(stage.config()).await.unwrap();
}

#[tokio::test]
async fn a_refused_rename_leaves_nothing() {
    let stage = Stage::open().await;
    stage.fault("RENAME", SftpFaultKind::Status, |_| {});
    let exchange = Exchange::connect(stage.config()).await.unwrap();
    let error = exchange.upload(&exports(), &name("a.csv"), &b"1"[..]).await.unwrap_err();
    assert_eq!(error.kind(), ExchangeErrorKind::Refused);
    assert_eq!(stage.names("d365_loads/exports"), Vec::<String>::new());
    exchange.upload(&exports(), &name("a.csv"), &b"1"[..]).await.unwrap();
}

#[tokio::test]
async fn a_move_whose_answer_is_lost_is_done_once() {
    let stage = Stage::open().await;
    stage.put("d365_loads/exports/a.csv", b"1");
    stage.fault("RENAME", SftpFaultKind::ResetAfterCommit, |_| {});
    let processed = Folder::new("d365_loads/exports/processed").unwrap();
    let exchange = Exchange::connect(stage.config()).await.unwrap();
    let error = exchange.move_to(&exports(), &name("a.csv"), &processed).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let exchange = Exchange::connect(stage.config()).await.unwrap();
    exchange.move_to(&exports(), &name("a.csv"), &processed).await.unwrap();
    assert_eq!(stage.names("d365_loads/exports"), ["processed/a.csv"]);
}

#[tokio::test]
async fn a_bomb_stops_at_its_limit() {
    let stage = Stage::open().await;
    stage.put("d365_loads/exports/bomb.gz", &gzip(&vec![b' '; 64 << 20]));
    let exchange = Exchange::connect(stage.config()).await.unwrap();
    let file = entry(&exchange, "bomb.gz").await;
    let mut reader = exchange.open(&exports(), &file).await.unwrap();
    let mut taken = 0;
    let error = loop {
        match reader.read(&mut [0; 16 * 1024]).await {
            Ok(0) => panic!("the bomb went off"),
            Ok(more) => taken += more as u64,
            Err(error) => break campaign_client::exchange::ExchangeError::from_io(error),
        }
    };
    assert_eq!(error.kind(), ExchangeErrorKind::Limit(Limit::Ratio));
    assert!(taken <= (1 << 20) + 100 * file.size, "{taken}");
    assert_eq!(reader.ledger_key(), None);

    let mut config = stage.config();
    (config.limits.decompressed, config.limits.ratio) = (1 << 20, 1 << 20);
    let exchange = Exchange::connect(config.clone()).await.unwrap();
    let mut reader = exchange.open(&exports(), &file).await.unwrap();
    assert_eq!(failure(&mut reader).await, ExchangeErrorKind::Limit(Limit::Decompressed));

    config.limits.file_size = 1000;
    config.limits.entries = 0;
    let exchange = Exchange::connect(config).await.unwrap();
    let error = exchange.open(&exports(), &file).await.unwrap_err();
    assert_eq!(error.kind(), ExchangeErrorKind::Limit(Limit::FileSize));
    let error = exchange.list(&exports()).await.unwrap_err();
    assert_eq!(error.kind(), ExchangeErrorKind::Limit(Limit::Entries));
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let stage = Stage::open().await;
    stage.fault("LIST", SftpFaultKind::Hang, |_| {});
    let mut config = stage.config();
    config.request_timeout = Duration::from_secs(1);
    let exchange = Exchange::connect(config).await.unwrap();
    let error = exchange.list(&exports()).await.unwrap_err();
    assert_eq!(error.kind(), ExchangeErrorKind::Timeout);
}

#[cfg(unix)]
#[tokio::test]
async fn a_private_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, as_text(&key(5))).unwrap();
    let stage = Stage::open().await;
    let mut config = stage.config();
    config.private_key = PrivateKeySource::File(path.clone());
    for mode in [0o644, 0o640, 0o604, 0o700] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = Exchange::connect(config.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ExchangeErrorKind::PrivateKey, "{mode:o}");
        assert!(error.remedy().contains("chmod 600"));
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let error = Exchange::connect(config).await.unwrap_err();
    assert_eq!(error.kind(), ExchangeErrorKind::Authentication, "the key is read, and is not the user's");
}

#[tokio::test]
async fn settings_that_cannot_work_are_told_before_anything_is_sent() {
    let stage = Stage::open().await;
    let good = stage.config();
    let listened = || stage.sandbox.sftp().counters();
    for (host_key, user) in [
        ("", "campaign"),
        ("ssh-ed25519", "campaign"),
        ("ssh-ed25519 !!!!", "campaign"),
        ("ssh-dss AAAAB3NzaC1kc3MAAAAA", "campaign"),
        (good.host_key.as_str(), ""),
    ] {
        let mut config = good.clone();
        config.host_key = host_key.to_owned();
        config.user = user.to_owned();
        let error = Exchange::connect(config).await.unwrap_err();
        assert_eq!(error.kind(), ExchangeErrorKind::Configuration, "{host_key}");
    }
    let mut config = good.clone();
    config.private_key =
        PrivateKeySource::Text("-----BEGIN OPENSSH PRIVATE KEY-----\nsecret-canary\n".to_owned().into());
    let error = Exchange::connect(config).await.unwrap_err();
    assert_eq!(error.kind(), ExchangeErrorKind::PrivateKey);
    assert!(!format!("{error} {error:?}").contains("canary"));
    assert_eq!(listened()["requests"], serde_json::json!({}));
}
