//! The program: its one line, its end, its refusals, https.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

struct Program {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sandbox"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn info(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Sends a signal; gives the exit code and what else stood on standard output.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let (sender, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let status = self.child.wait().unwrap();
            let mut rest = String::new();
            self.lines.read_to_string(&mut rest).unwrap();
            sender.send((status.code(), rest)).unwrap();
        });
        ended.recv_timeout(Duration::from_secs(5)).expect("it ends within five seconds")
    }
}

#[tokio::test]
async fn it_prints_one_line_and_ends_on_a_signal() {
    for signal in ["-TERM", "-INT"] {
        let mut program = Program::start(&["--contacts", "5", "--latency-ms", "1:2", "--limits", "real"]);
        let info = program.info();
        let control = info["control"].as_str().unwrap().to_owned();
        for (side, names) in [
            ("dataverse", ["url", "tenant", "authority", "client_id", "client_secret"]),
            ("campaign", ["url", "ims_url", "client_id", "client_secret", "org_id"]),
        ] {
            for name in names {
                assert!(info[side][name].is_string(), "{side}.{name}");
            }
        }
        assert!(info["journal"]["url"].is_string());
        let key = std::path::PathBuf::from(info["sftp"]["private_key_file"].as_str().unwrap());
        assert!(std::fs::read_to_string(&key).unwrap().starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
        assert!(info["sftp"]["host_key"].as_str().unwrap().starts_with("ssh-ed25519 "));
        let again: Value = reqwest::get(&control).await.unwrap().json().await.unwrap();
        assert_eq!(again, info);
        let rows = reqwest::get(format!("{control}/records/dataverse/contact")).await.unwrap().text().await.unwrap();
        assert_eq!(rows.lines().count(), 5);
        assert_eq!(program.end(signal), (Some(0), String::new()));
        assert!(!key.exists(), "the key goes with the program");
    }
}

#[tokio::test]
async fn a_hanging_request_does_not_hold_up_the_end() {
    let mut program = Program::start(&["--contacts", "1"]);
    let info = program.info();
    let rule = serde_json::json!([{"route": "POST /oauth2/v2.0/token", "fault": "hang"}]);
    let http = reqwest::Client::new();
    let faults = format!("{}/faults", info["control"].as_str().unwrap());
    http.post(&faults).json(&rule).send().await.unwrap().error_for_status().unwrap();
    let url = format!("{}/contoso.example/oauth2/v2.0/token", info["dataverse"]["authority"].as_str().unwrap());
    let hanging = tokio::spawn(http.post(url).send());
    let mut fired = 0;
    for _ in 0..10_000 {
        let list: Value = reqwest::get(&faults).await.unwrap().json().await.unwrap();
        fired = list[0]["fired"].as_u64().unwrap();
        if fired == 1 {
            break;
        }
    }
    assert_eq!(fired, 1);
    assert_eq!(program.end("-TERM").0, Some(0));
    assert!(hanging.await.unwrap().is_err());
}

impl Program {
    async fn token(http: &reqwest::Client, info: &Value) -> String {
        let dataverse = &info["dataverse"];
        let text = |name: &str| dataverse[name].as_str().unwrap();
        let scope = format!("{}/.default", text("url"));
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials").append_pair("client_id", text("client_id"));
        form.append_pair("client_secret", text("client_secret")).append_pair("scope", &scope);
        let url = format!("{}/{}/oauth2/v2.0/token", text("authority"), text("tenant"));
        let request = http.post(url).header("content-type", "application/x-www-form-urlencoded").body(form.finish());
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn limits_are_figures_of_the_command_line() {
    let mut program = Program::start(&["--contacts", "1", "--limits", "2/60"]);
    let info = program.info();
    let http = reqwest::Client::new();
    let token = Program::token(&http, &info).await;
    let url = format!("{}/api/data/v9.2/contacts", info["dataverse"]["url"].as_str().unwrap());
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(http.get(&url).bearer_auth(&token).send().await.unwrap());
    }
    assert_eq!(seen.iter().map(|r| r.status().as_u16()).collect::<Vec<_>>(), [200, 200, 429]);
    let wait: u64 = seen[2].headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let text = seen.pop().unwrap().text().await.unwrap();
    assert!(text.contains("exceeded the limit of 2 over time window of 60 seconds"), "{text}");
    assert_eq!(program.end("-TERM").0, Some(0));
}

#[tokio::test]
async fn each_service_has_its_own_delay() {
    let mut program = Program::start(&["--contacts", "1", "--latency-ms", "60:0"]);
    let info = program.info();
    let http = reqwest::Client::new();
    let began = tokio::time::Instant::now();
    let token = Program::token(&http, &info).await;
    assert!(began.elapsed() >= Duration::from_millis(60), "the token endpoint belongs to Dataverse");
    let url = format!("{}/api/data/v9.2/WhoAmI", info["dataverse"]["url"].as_str().unwrap());
    let began = tokio::time::Instant::now();
    assert_eq!(http.get(&url).bearer_auth(&token).send().await.unwrap().status().as_u16(), 200);
    assert!(began.elapsed() >= Duration::from_millis(60));
    assert_eq!(program.end("-TERM").0, Some(0));
    let mut program = Program::start(&["--contacts", "1", "--latency-ms", "0:60"]);
    let info = program.info();
    let began = tokio::time::Instant::now();
    let url = format!("{}/ims/token/v3", info["campaign"]["ims_url"].as_str().unwrap());
    assert_eq!(http.post(url).send().await.unwrap().status().as_u16(), 400);
    assert!(began.elapsed() >= Duration::from_millis(60));
    assert_eq!(program.end("-TERM").0, Some(0));
}

#[test]
fn a_stalled_thread_does_not_hold_up_the_end() {
    use std::io::Write;
    // Standard output that nobody empties: the program's own thread is stuck at its one line, signals or not.
    let (output, mut input) = std::io::pipe().unwrap();
    let mut filler = input.try_clone().unwrap();
    let (progress, filled) = mpsc::channel();
    std::thread::spawn(move || while filler.write_all(&[b' '; 4096]).is_ok() && progress.send(()).is_ok() {});
    while filled.recv_timeout(Duration::from_millis(300)).is_ok() {}
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut child = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(["--contacts", "1", "--control", &free])
        .stdout(input.try_clone().unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while std::net::TcpStream::connect(&free).is_err() {
        std::thread::yield_now();
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait().unwrap().code()));
    assert_eq!(ended.recv_timeout(Duration::from_secs(5)).expect("it ends within five seconds"), Some(0));
    let _ = input.flush();
    drop(output);
}

#[test]
fn what_does_not_exist_yet_is_said() {
    let scenario = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(scenario.path(), "[dataverse]\nunknown = 1\n").unwrap();
    let cases: [(&[&str], &str); 5] = [
        (&["--dataverse", "192.0.2.1:1"], "loopback"),
        (&["--limits", "some"], "real, off or REQUESTS/SECONDS"),
        (&["--latency-ms", "1:x"], "D or D:C in milliseconds"),
        (&["--scenario", "/nonexistent.toml"], "cannot read the scenario file"),
        (&["--scenario", scenario.path().to_str().unwrap()], "unknown field `unknown`"),
    ];
    for (arguments, message) in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_sandbox")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(message), "{arguments:?}: {text}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn https_has_an_authority_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(&["--contacts", "1", "--tls", dir.path().to_str().unwrap()]);
    let info = program.info();
    let authority = info["dataverse"]["authority"].as_str().unwrap();
    let url = format!("{authority}/contoso.example/v2.0/.well-known/openid-configuration");
    assert!(url.starts_with("https://"));
    assert!(reqwest::get(&url).await.is_err(), "nobody trusts it unasked");
    let ca = reqwest::Certificate::from_pem(&std::fs::read(dir.path().join("ca.pem")).unwrap()).unwrap();
    let http = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
    let response = http.get(&url).send().await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_11);
    let document: Value = response.json().await.unwrap();
    assert!(document["token_endpoint"].as_str().unwrap().starts_with(authority));
    let ims =
        http.post(format!("{}/ims/token/v3", info["campaign"]["ims_url"].as_str().unwrap())).send().await.unwrap();
    assert_eq!(ims.status().as_u16(), 400);
    assert_eq!(program.end("-TERM").0, Some(0));
}
