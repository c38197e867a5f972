//! The behaviour against OpenSSH's server, one process for each connection, as inetd would start it: the test holds the port.
//! Where `sshd` is not installed the cases are reported as skipped by name.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use campaign_client::exchange::{ExchangeConfig, PrivateKeySource};
use tempfile::TempDir;

use crate::behaviour::{self, Server};

const PLACES: [&str; 3] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];

struct OpenSsh {
    folder: TempDir,
    at: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
    user: String,
}

fn secret_file(path: PathBuf, text: &str) -> PathBuf {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    path
}

fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl OpenSsh {
    /// `Err` says why the server cannot be started here.
    fn open() -> Result<Self, String> {
        let program =
            PLACES.iter().find(|place| std::path::Path::new(place).exists()).ok_or("sshd is not installed")?;
        let user = said("id", &["-un"]).ok_or("the name of the user is not known")?;
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        std::fs::create_dir_all(home.join("d365_loads/exports")).unwrap();
        let host_key = secret_file(folder.path().join("host"), &behaviour::as_text(&behaviour::key(1)));
        secret_file(folder.path().join("user"), &behaviour::as_text(&behaviour::key(2)));
        let known = behaviour::key(2).public_key().to_openssh().unwrap();
        let known = secret_file(folder.path().join("authorized"), &known);
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp -d {}\n",
            host_key.display(),
            known.display(),
            home.display()
        );
        let config = secret_file(folder.path().join("config"), &config);
        let check = Command::new(program).arg("-t").arg("-f").arg(&config).output().unwrap();
        if !check.status.success() {
            return Err(format!("sshd does not start: {}", String::from_utf8_lossy(&check.stderr).trim()));
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let cuttable = open.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                cuttable.lock().unwrap().push(stream.try_clone().unwrap());
                let input = stream.try_clone().unwrap();
                let server = Command::new(program)
                    .args(["-i", "-e", "-f"])
                    .arg(&config)
                    .stdin(Stdio::from(OwnedFd::from(input)))
                    .stdout(Stdio::from(OwnedFd::from(stream)))
                    .stderr(Stdio::null())
                    .spawn();
                // Ends with its connection; waited for, so that none stays behind as a zombie.
                if let Ok(mut server) = server {
                    std::thread::spawn(move || server.wait());
                }
            }
        });
        Ok(Self { folder, at, open, user })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("home").join(path)
    }
}

impl Drop for OpenSsh {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Server for OpenSsh {
    fn config(&self) -> ExchangeConfig {
        let key = PrivateKeySource::File(self.folder.path().join("user"));
        let host_key = behaviour::key(1).public_key().to_openssh().unwrap();
        ExchangeConfig::new(self.at.ip().to_string(), self.at.port(), self.user.clone(), key, host_key)
    }

    fn put(&self, path: &str, content: &[u8]) {
        std::fs::write(self.path(path), content).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        std::os::unix::fs::symlink(self.path(target), self.path(path)).unwrap();
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                match OpenSsh::open() {
                    Ok(server) => behaviour::$case(&server).await,
                    Err(why) => println!("skipped: {}::{}: {why}", module_path!(), stringify!($case)),
                }
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
