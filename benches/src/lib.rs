//! What the measurements share: processes of their own for sandbox, bare loop and connector, and how they report.

pub mod bare;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A process of this same program in another role, ended when dropped.
#[derive(Debug)]
pub struct Role {
    child: Child,
    first_line: Value,
}

impl Role {
    /// Starts the role and waits for its first line of JSON.
    ///
    /// # Errors
    /// When the process cannot be started or says something else.
    pub fn start(arguments: &[&str]) -> Result<Self, Box<dyn std::error::Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("the process has no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(Self { child, first_line: serde_json::from_str(&line)? })
    }

    /// What the process said.
    pub fn said(&self) -> &Value {
        &self.first_line
    }

    /// The largest resident size of the process so far, in MiB; `None` where the system does not tell.
    pub fn peak_memory_mib(&self) -> Option<f64> {
        peak_of(&self.child.id().to_string())
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The largest resident size of this process so far, in MiB; `None` where the system does not tell.
pub fn peak_memory_mib() -> Option<f64> {
    peak_of("self")
}

fn peak_of(process: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}
