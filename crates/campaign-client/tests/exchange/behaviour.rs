//! What holds at every server: each case runs against the sandbox and against OpenSSH.

use std::io::Write;
use std::time::Duration;

use campaign_client::exchange::{
    CompleteWhen, Completeness, Exchange, ExchangeConfig, ExchangeErrorKind, FileEntry, FileName, Folder,
    PrivateKeySource,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use sha2::{Digest, Sha256};
use timing::ManualClock;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A server under test. Its user lands in a folder of its own that holds `d365_loads/exports`.
pub(crate) trait Server {
    fn config(&self) -> ExchangeConfig;
    /// Puts a file past the protocol.
    fn put(&self, path: &str, content: &[u8]);
    /// Puts a link to a file past the protocol.
    fn link(&self, path: &str, target: &str);
    /// All file names of a folder, past the protocol.
    fn names(&self, folder: &str) -> Vec<String>;
    /// Cuts the connections, at once or at the next read or write.
    fn cut(&self);
}

pub(crate) fn exports() -> Folder {
    Folder::new("d365_loads/exports").unwrap()
}

pub(crate) fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

pub(crate) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

pub(crate) fn as_text(key: &PrivateKey) -> String {
    key.to_openssh(LineEnding::LF).unwrap().to_string()
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that do not repeat with the size of a chunk, and hardly compress.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 42_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u8::try_from(state >> 56).unwrap()
    };
    (0..length).map(|_| next()).collect()
}

pub(crate) async fn entry(exchange: &Exchange, file: &str) -> FileEntry {
    let listing = exchange.list(&exports()).await.unwrap();
    listing.files.into_iter().find(|entry| entry.name.as_str() == file).expect("the file is listed")
}

async fn content(exchange: &Exchange, file: &str) -> Vec<u8> {
    let entry = entry(exchange, file).await;
    let mut reader = exchange.open(&exports(), &entry).await.unwrap();
    let mut all = Vec::new();
    reader.read_to_end(&mut all).await.unwrap();
    all
}

pub(crate) async fn a_file_goes_up_down_and_away(server: &impl Server) {
    let exchange = Exchange::connect(server.config()).await.unwrap();
    for size in [0, 1, 32 * 1024, 3 * 1024 * 1024 + 17] {
        let sent = noise(size);
        let file = format!("data_{size}.bin");
        assert_eq!(exchange.upload(&exports(), &name(&file), sent.as_slice()).await.unwrap(), size as u64);
        assert_eq!(entry(&exchange, &file).await.size, size as u64);
        assert!(content(&exchange, &file).await == sent, "{size}");
    }
    let file = name("data_1.bin");
    let again = exchange.upload(&exports(), &file, &b"other"[..]).await.unwrap_err();
    assert_eq!(again.kind(), ExchangeErrorKind::Exists);
    assert_eq!(content(&exchange, "data_1.bin").await, noise(1), "what is there is never overwritten");

    let processed = Folder::new("d365_loads/exports/processed").unwrap();
    assert_eq!(exchange.move_to(&exports(), &file, &processed).await.unwrap(), file);
    assert_eq!(exchange.move_to(&exports(), &file, &processed).await.unwrap(), file, "asked again after a lost answer");
    exchange.upload(&exports(), &file, &b"new"[..]).await.unwrap();
    assert_eq!(exchange.move_to(&exports(), &file, &processed).await.unwrap().as_str(), "data_1.bin.1");
    let absent = exchange.move_to(&exports(), &name("absent"), &processed).await.unwrap_err();
    assert_eq!(absent.kind(), ExchangeErrorKind::NotFound);
    let listing = exchange.list(&processed).await.unwrap();
    let names: Vec<&str> = listing.files.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["data_1.bin", "data_1.bin.1"]);
    assert_eq!(exchange.list(&exports()).await.unwrap().folders, 1);
    exchange.close().await;
}

pub(crate) async fn gzip_is_read_through_and_hashed_as_it_lies(server: &impl Server) {
    let plain = "externalId\tblackListEmail\n".repeat(5000).into_bytes();
    // Two members one after the other are one file, as `cat a.gz b.gz` makes them.
    let mut zipped = gzip(&plain);
    zipped.extend(gzip(b"the end"));
    server.put("d365_loads/exports/a.csv.gz", &zipped);
    let exchange = Exchange::connect(server.config()).await.unwrap();
    let file = entry(&exchange, "a.csv.gz").await;
    let mut reader = exchange.open(&exports(), &file).await.unwrap();
    assert_eq!(reader.ledger_key(), None, "nothing is known before the end");
    let mut read = Vec::new();
    reader.read_to_end(&mut read).await.unwrap();
    assert!(read == [plain.as_slice(), b"the end"].concat());
    let key = reader.ledger_key().unwrap();
    let expected: [u8; 32] = Sha256::digest(&zipped).into();
    assert_eq!((key.name.as_str(), key.sha256), ("a.csv.gz", expected));
    assert_eq!(exchange.fingerprint(&exports(), &file).await.unwrap(), key);

    server.put("d365_loads/exports/cut.csv.gz", &zipped[..zipped.len() / 3]);
    let cut = entry(&exchange, "cut.csv.gz").await;
    let mut reader = exchange.open(&exports(), &cut).await.unwrap();
    assert_eq!(failure(&mut reader).await, ExchangeErrorKind::Damaged);
    assert_eq!(reader.ledger_key(), None);
}

/// Reads until the error.
pub(crate) async fn failure(reader: &mut (impl AsyncRead + Unpin)) -> ExchangeErrorKind {
    let error = tokio::io::copy(reader, &mut tokio::io::sink()).await.expect_err("the reader fails");
    campaign_client::exchange::ExchangeError::from_io(error).kind()
}

pub(crate) async fn only_the_pinned_host_key_is_accepted(server: &impl Server) {
    let mut changed = server.config();
    changed.host_key = key(99).public_key().to_openssh().unwrap();
    let error = Exchange::connect(changed).await.unwrap_err();
    assert_eq!(error.kind(), ExchangeErrorKind::HostKey, "{error:?}");
    assert!(!error.is_transient());

    // Of another kind than the server has: refused as well, and not learnt.
    let mut other_kind = server.config();
    other_kind.host_key = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBOrN3npoG2AaeBCp+PWuOAWAJ4uuHjdCYGmlw9vjFZx8bcEjIaXKeWmFbWtZ9Hbj8wRnhuDxpp6kPDcVrrYmPhs=".to_owned();
    let error = Exchange::connect(other_kind).await.unwrap_err();
    assert!(matches!(error.kind(), ExchangeErrorKind::HostKey | ExchangeErrorKind::Configuration), "{error:?}");

    let mut stranger = server.config();
    stranger.private_key = PrivateKeySource::Text(as_text(&key(98)).into());
    let error = Exchange::connect(stranger).await.unwrap_err();
    assert_eq!(error.kind(), ExchangeErrorKind::Authentication, "{error:?}");
    Exchange::connect(server.config()).await.unwrap();
}

pub(crate) async fn links_are_seen_and_not_followed(server: &impl Server) {
    server.put("d365_loads/secret", b"secret");
    server.link("d365_loads/exports/link.csv", "d365_loads/secret");
    let exchange = Exchange::connect(server.config()).await.unwrap();
    let listing = exchange.list(&exports()).await.unwrap();
    assert_eq!((listing.files.len(), listing.refused), (0, 1));
    // A file that became a link after it was listed.
    let listed = FileEntry { name: name("link.csv"), size: 6, modified: 0 };
    let error = exchange.open(&exports(), &listed).await.unwrap_err();
    assert_eq!(error.kind(), ExchangeErrorKind::NotAFile);
    let error = exchange.move_to(&exports(), &listed.name, &exports()).await.unwrap_err();
    assert_eq!(error.kind(), ExchangeErrorKind::NotAFile);
    let error = exchange.list(&Folder::new("d365_loads/nowhere").unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ExchangeErrorKind::NotFound);
}

pub(crate) async fn a_file_that_grows_is_not_complete_and_not_read(server: &impl Server) {
    server.put("d365_loads/exports/a.csv", b"half");
    let clock = ManualClock::new();
    let mut rule = Completeness::new(CompleteWhen::Stable(Duration::from_secs(60)), clock.shared());
    let exchange = Exchange::connect(server.config()).await.unwrap();
    let first = exchange.list(&exports()).await.unwrap();
    assert_eq!(rule.complete(&first), []);
    server.put("d365_loads/exports/a.csv", b"half and half");
    let error = exchange.open(&exports(), &first.files[0]).await.unwrap_err();
    assert_eq!(error.kind(), ExchangeErrorKind::Changed);
    clock.advance(Duration::from_secs(60));
    assert_eq!(rule.complete(&exchange.list(&exports()).await.unwrap()), []);
    clock.advance(Duration::from_secs(60));
    let complete = rule.complete(&exchange.list(&exports()).await.unwrap());
    assert_eq!(complete.iter().map(|file| file.size).collect::<Vec<_>>(), [13]);
}

pub(crate) async fn a_killed_download_is_an_error_and_never_an_end(server: &impl Server) {
    server.put("d365_loads/exports/big.csv", &noise(4 << 20));
    let exchange = Exchange::connect(server.config()).await.unwrap();
    let file = entry(&exchange, "big.csv").await;
    let mut reader = exchange.open(&exports(), &file).await.unwrap();
    reader.read_exact(&mut [0; 1000]).await.unwrap();
    server.cut();
    assert!(matches!(failure(&mut reader).await, ExchangeErrorKind::Transport | ExchangeErrorKind::Refused));
    assert_eq!(reader.ledger_key(), None);
    // A new connection reads it from the start.
    let exchange = Exchange::connect(server.config()).await.unwrap();
    assert!(content(&exchange, "big.csv").await == noise(4 << 20));
}

pub(crate) async fn a_killed_upload_shows_no_file(server: &impl Server) {
    let exchange = Exchange::connect(server.config()).await.unwrap();
    let (mut feed, reader) = tokio::io::duplex(1 << 20);
    let feeding = async {
        // More than one request's worth, so that the server has begun to write.
        tokio::io::AsyncWriteExt::write_all(&mut feed, &noise(200 * 1024)).await.unwrap();
        while !server.names("d365_loads/exports").iter().any(|name| name.starts_with(".up.csv.")) {
            tokio::task::yield_now().await;
        }
        server.cut();
        let _ = tokio::io::AsyncWriteExt::write_all(&mut feed, &noise(900 * 1024)).await;
        drop(feed);
    };
    let up = name("up.csv");
    let folder = exports();
    let (uploaded, ()) = tokio::join!(exchange.upload(&folder, &up, reader), feeding);
    uploaded.expect_err("the connection is gone");
    let exchange = Exchange::connect(server.config()).await.unwrap();
    let listing = exchange.list(&exports()).await.unwrap();
    assert_eq!((listing.files.len(), listing.partial), (0, 1), "{:?}", server.names("d365_loads/exports"));
}

pub(crate) async fn an_upload_that_is_given_up_is_tidied_away(server: &impl Server) {
    let exchange = Exchange::connect(server.config()).await.unwrap();
    let (mut feed, reader) = tokio::io::duplex(1 << 20);
    let up = name("up.csv");
    let folder = exports();
    {
        let upload = exchange.upload(&folder, &up, reader);
        let feeding = async {
            tokio::io::AsyncWriteExt::write_all(&mut feed, &noise(100 * 1024)).await.unwrap();
            while server.names("d365_loads/exports").is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = upload => panic!("the reader has not ended"),
            () = feeding => {}
        }
    }
    let listing = exchange.list(&exports()).await.unwrap();
    assert_eq!((listing.files.len(), listing.partial), (0, 0));
    // A reader that fails undoes the upload at once.
    let failing = tokio_util::io::StreamReader::new(futures::stream::iter([
        Ok(bytes::Bytes::from(noise(100 * 1024))),
        Err(std::io::Error::other("the disk is gone")),
    ]));
    let error = exchange.upload(&folder, &up, failing).await.unwrap_err();
    assert_eq!(error.kind(), ExchangeErrorKind::Input);
    assert_eq!(server.names("d365_loads/exports"), Vec::<String>::new());
}
