//! The behaviour against the sandbox's server.

use campaign_client::exchange::{ExchangeConfig, PrivateKeySource};
use sandbox::sftp::{SftpFaultKind, SftpFaultRule};
use sandbox::{Sandbox, SandboxConfig};

use crate::behaviour::{self, Server};

pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
}

impl Stage {
    pub(crate) async fn open() -> Self {
        let config = SandboxConfig { contacts: 0, ..SandboxConfig::default() };
        Self { sandbox: Sandbox::start(config).await.unwrap() }
    }

    pub(crate) fn fault(&self, method: &str, fault: SftpFaultKind, change: impl FnOnce(&mut SftpFaultRule)) {
        let mut rule = SftpFaultRule::new(method, fault);
        change(&mut rule);
        self.sandbox.sftp().faults().add([rule]);
    }
}

impl Server for Stage {
    fn config(&self) -> ExchangeConfig {
        let info = self.sandbox.sftp().info();
        let key = PrivateKeySource::File(info.private_key_file.clone());
        ExchangeConfig::new(info.host.clone(), info.port, info.user.clone(), key, info.host_key.clone())
    }

    fn put(&self, path: &str, content: &[u8]) {
        let now = self.sandbox.shared().clock.now_seconds();
        self.sandbox.sftp().files().put(path, content.to_vec(), now).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        self.sandbox.sftp().files().link(path, target);
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let prefix = format!("/{folder}/");
        let files = self.sandbox.sftp().files().list();
        files.iter().filter_map(|file| file.path.strip_prefix(&prefix).map(str::to_owned)).collect()
    }

    fn cut(&self) {
        self.fault("READ", SftpFaultKind::ResetBefore, |_| {});
        self.fault("WRITE", SftpFaultKind::ResetBefore, |_| {});
    }
}

macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $case() {
                behaviour::$case(&Stage::open().await).await;
            }
        )*
    };
}

cases!(
    a_file_goes_up_down_and_away,
    gzip_is_read_through_and_hashed_as_it_lies,
    only_the_pinned_host_key_is_accepted,
    links_are_seen_and_not_followed,
    a_file_that_grows_is_not_complete_and_not_read,
    a_killed_download_is_an_error_and_never_an_end,
    a_killed_upload_shows_no_file,
    an_upload_that_is_given_up_is_tidied_away,
);
