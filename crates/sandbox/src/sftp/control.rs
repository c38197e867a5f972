//! The calls of the control interface that concern files.

use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use chrono::TimeDelta;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::files::locked;
use super::service::{EXPORTS, SftpService};
use crate::campaign::CampaignService;
use crate::campaign::exports::{Export, ExportBook, ExportForm, file_name};
use crate::clock::SandboxClock;
use crate::service::plain;

/// The mail events made so far by their numbers, oldest first; what lies behind the last one is left out.
pub type MailEvents = Arc<dyn Fn(Range<usize>) -> Vec<Value> + Send + Sync>;

/// What the calls reach.
pub(crate) struct FileControl {
    pub(crate) sftp: Arc<SftpService>,
    pub(crate) campaign: Arc<CampaignService>,
    pub(crate) clock: Arc<SandboxClock>,
    pub(crate) events: MailEvents,
    book: ExportBook,
    /// Path and rest of a file that is still being written.
    held: Mutex<Vec<(String, Vec<u8>)>>,
}

impl FileControl {
    pub(crate) fn new(
        sftp: Arc<SftpService>,
        campaign: Arc<CampaignService>,
        clock: Arc<SandboxClock>,
        events: MailEvents,
    ) -> Self {
        Self { sftp, campaign, clock, events, book: ExportBook::default(), held: Mutex::default() }
    }
}

/// What the daily workflow does when it runs: the incremental file of opt-outs in its usual form.
pub(crate) fn daily(control: &FileControl) {
    let form = ExportForm::default();
    let export = control.book.opt_out(profiles(&control.campaign), &form);
    place(control, "optout", export, &form);
}

/// All calls.
pub(crate) fn router(control: Arc<FileControl>) -> Router {
    Router::new()
        .route("/exports/opt-out", post(opt_out))
        .route("/exports/logs", post(logs))
        .route("/exports/finish", post(finish))
        .route("/files", get(list))
        .route("/files/{*path}", get(content).put(put))
        .with_state(control)
}

fn answer(status: StatusCode, body: &Value) -> Response {
    plain(status, "application/json", body.to_string())
}

fn refusal(status: StatusCode, message: &str) -> Response {
    answer(status, &json!({"error": message}))
}

fn form(body: &Bytes) -> Result<ExportForm, String> {
    if body.trim_ascii().is_empty() {
        return Ok(ExportForm::default());
    }
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// The rows of profiles as the control interface shows them.
fn profiles(campaign: &Arc<CampaignService>) -> impl Iterator<Item = Map<String, Value>> {
    campaign.records("profile").into_iter().flatten().flat_map(|block| {
        let row = |line: &[u8]| serde_json::from_slice::<Map<String, Value>>(line).ok();
        block.split(|byte| *byte == b'\n').filter_map(row).collect::<Vec<_>>()
    })
}

async fn opt_out(State(control): State<Arc<FileControl>>, body: Bytes) -> Response {
    let form = match form(&body) {
        Ok(form) => form,
        Err(problem) => return refusal(StatusCode::BAD_REQUEST, &problem),
    };
    // Reading many rows takes a while: not on a thread that serves connections.
    let work = tokio::task::spawn_blocking(move || {
        let export = control.book.opt_out(profiles(&control.campaign), &form);
        place(&control, "optout", export, &form)
    });
    match work.await {
        Ok(response) => response,
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "the export failed"),
    }
}

async fn logs(State(control): State<Arc<FileControl>>, body: Bytes) -> Response {
    let form = match form(&body) {
        Ok(form) => form,
        Err(problem) => return refusal(StatusCode::BAD_REQUEST, &problem),
    };
    let work = tokio::task::spawn_blocking(move || {
        let export = control.book.logs(&*control.events, &form);
        place(&control, "logs", export, &form)
    });
    work.await.unwrap_or_else(|_| refusal(StatusCode::INTERNAL_SERVER_ERROR, "the export failed"))
}

/// Puts an export into its folder under a name of its own.
fn place(control: &FileControl, kind: &str, export: Export, form: &ExportForm) -> Response {
    let Export { mut content, rows } = export;
    if rows == 0 && form.skip_empty {
        return answer(StatusCode::OK, &json!({"file": null, "rows": 0}));
    }
    let mut at = control.clock.now();
    let mut name = file_name(kind, at, form);
    // Two exports in one second: the activity would overwrite, which no test wants.
    while control.sftp.files().exists(&format!("{EXPORTS}/{name}")) {
        at += TimeDelta::seconds(1);
        name = file_name(kind, at, form);
    }
    let path = format!("{EXPORTS}/{name}");
    if form.hold {
        let rest = content.split_off(content.len() / 2);
        locked(&control.held).push((path.clone(), rest));
    }
    match control.sftp.files().put(&path, content, control.clock.now_seconds()) {
        Ok(()) => answer(StatusCode::OK, &json!({"folder": EXPORTS, "file": name, "rows": rows})),
        Err(problem) => refusal(StatusCode::CONFLICT, &problem),
    }
}

async fn finish(State(control): State<Arc<FileControl>>) -> Response {
    let held = std::mem::take(&mut *locked(&control.held));
    let files = control.sftp.files();
    let finished = held.len();
    for (path, rest) in held {
        let mut content = files.content(&path).unwrap_or_default();
        content.extend_from_slice(&rest);
        if let Err(problem) = files.put(&path, content, control.clock.now_seconds()) {
            return refusal(StatusCode::CONFLICT, &problem);
        }
    }
    answer(StatusCode::OK, &json!({"finished": finished}))
}

async fn list(State(control): State<Arc<FileControl>>) -> Response {
    answer(StatusCode::OK, &json!(control.sftp.files().list()))
}

async fn content(State(control): State<Arc<FileControl>>, Path(path): Path<String>) -> Response {
    match control.sftp.files().content(&path) {
        Some(content) => plain(StatusCode::OK, "application/octet-stream", content),
        None => refusal(StatusCode::NOT_FOUND, &format!("no file {path}")),
    }
}

async fn put(State(control): State<Arc<FileControl>>, Path(path): Path<String>, body: Bytes) -> Response {
    match control.sftp.files().put(&path, body.to_vec(), control.clock.now_seconds()) {
        Ok(()) => answer(StatusCode::OK, &json!({})),
        Err(problem) => refusal(StatusCode::BAD_REQUEST, &problem),
    }
}
