use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::error::Problem;

/// Where a secret is found; the configuration never holds the secret itself, unless it says so in so many words.
#[derive(Clone)]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file, whose trailing line break is not part of the secret.
    File(PathBuf),
    /// The secret itself, written as `{ plain = "..." }`: for sandboxes.
    Plain(SecretString),
}

/// No secret is larger; a larger file is some other file.
const LARGEST_SECRET: u64 = 64 * 1024;

impl SecretRef {
    /// Reads the secret. A file that other users may read is accepted with a warning in the log.
    ///
    /// # Errors
    /// A [`Problem`] at `place` when the variable is not set, or the file cannot be read, is empty or is not text.
    pub fn read(&self, place: &str) -> Result<SecretString, Problem> {
        if let Self::File(path) = self
            && is_open(path)
        {
            tracing::warn!(
                "{place}: the secret file {0} can be read by other users; chmod 600 {0} closes it",
                path.display()
            );
        }
        self.resolve(place)
    }

    /// Whether it can be read.
    pub(super) fn check(&self, place: &str) -> Result<(), Problem> {
        self.resolve(place).map(drop)
    }

    pub(super) fn resolve(&self, place: &str) -> Result<SecretString, Problem> {
        match self {
            Self::Plain(secret) => Ok(secret.clone()),
            Self::Env(name) => match std::env::var(name) {
                Ok(secret) if !secret.is_empty() => Ok(SecretString::from(secret)),
                _ => Err(Problem::new(
                    place,
                    format!("The environment variable {name} is not set, is empty or is not text."),
                    format!("Set {name} to the secret before starting."),
                )),
            },
            Self::File(path) => read_file(path, place),
        }
    }
}

/// Whether users other than the owner have any right to the file.
fn is_open(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

fn read_file(path: &Path, place: &str) -> Result<SecretString, Problem> {
    let shown = path.display();
    let unreadable =
        |what: String| Problem::new(place, what, format!("Put the secret alone into {shown}, readable by this user."));
    let metadata = std::fs::metadata(path)
        .map_err(|error| unreadable(format!("The secret file {shown} cannot be read: {}.", error.kind())))?;
    if !metadata.is_file() || metadata.len() > LARGEST_SECRET {
        return Err(unreadable(format!("The secret file {shown} is not a file of a secret's size.")));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| unreadable(format!("The secret file {shown} cannot be read: {}.", error.kind())))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(unreadable(format!("The secret file {shown} is empty.")));
    }
    Ok(SecretString::from(secret.to_owned()))
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "SecretRef(env {name})"),
            Self::File(path) => write!(f, "SecretRef(file {})", path.display()),
            Self::Plain(_) => f.write_str("SecretRef(plain)"),
        }
    }
}
