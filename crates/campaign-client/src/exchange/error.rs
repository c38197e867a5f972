use std::borrow::Cow;
use std::fmt;
use std::io;

/// What went wrong in the file exchange, as far as the reaction depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExchangeErrorKind {
    /// A setting is missing or impossible; nothing was sent.
    Configuration,
    /// The private key cannot be read, is encrypted, or others may read its file; nothing was sent.
    PrivateKey,
    /// The server shows another host key than the configured one, or none that is accepted. Nothing secret was sent.
    HostKey,
    /// The server does not take the user with this key.
    Authentication,
    /// The connection failed, or the other side does not speak the protocol.
    Transport,
    /// The server did not answer in time.
    Timeout,
    /// The server refused the operation without a reason that this crate knows.
    Refused,
    /// The user may not do this.
    Permission,
    /// No file or folder has this name.
    NotFound,
    /// A file of this name is there already.
    Exists,
    /// A name that is not taken from the server nor sent to it: path parts, control characters, too long.
    HostileName,
    /// A link, a folder or a device where a file is wanted; it is not followed.
    NotAFile,
    /// The file is not the one that was listed any more, or changed while it was read.
    Changed,
    /// The file is larger, or expands to more, than the limits allow.
    Limit(Limit),
    /// The compressed data are damaged or cut off.
    Damaged,
    /// The table's header does not hold what is needed, or is not UTF-8.
    Layout,
    /// A value that the chosen form of the table cannot hold.
    Unrepresentable,
    /// The reader that was to be uploaded failed; the upload is undone.
    Input,
}

/// The limit that a file exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// Entries of a folder.
    Entries,
    /// Bytes of the file as it lies on the server.
    FileSize,
    /// Bytes after decompression.
    Decompressed,
    /// Decompressed bytes in proportion to compressed ones.
    Ratio,
    /// Rows of a table.
    Rows,
    /// Columns of the header.
    Columns,
    /// Bytes of the header line.
    Line,
    /// Bytes that were read again after lines whose quotes do not end.
    Rescan,
}

impl ExchangeErrorKind {
    /// Whether the same call may succeed later with nothing changed by a person.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Transport | Self::Timeout | Self::Refused | Self::Changed)
    }

    fn message(self) -> &'static str {
        match self {
            Self::Configuration => "the settings of the file exchange cannot be used",
            Self::PrivateKey => "the private key cannot be used",
            Self::HostKey => "the server's host key is not the configured one",
            Self::Authentication => "the server does not accept the user and key",
            Self::Transport => "the connection to the file server failed",
            Self::Timeout => "the file server did not answer in time",
            Self::Refused => "the file server refused the operation",
            Self::Permission => "the user has no permission for this",
            Self::NotFound => "no such file or folder",
            Self::Exists => "a file of this name is there already",
            Self::HostileName => "the name cannot be used",
            Self::NotAFile => "this is a link or a folder, and no plain file",
            Self::Changed => "the file changed since it was listed",
            Self::Limit(Limit::Entries) => "the folder has too many entries",
            Self::Limit(Limit::FileSize) => "the file is too large",
            Self::Limit(Limit::Decompressed) => "the file expands to too much data",
            Self::Limit(Limit::Ratio) => "the file expands too much in proportion to its size",
            Self::Limit(Limit::Rows) => "the table has too many rows",
            Self::Limit(Limit::Columns) => "the table has too many columns",
            Self::Limit(Limit::Line) => "the header line is too long",
            Self::Limit(Limit::Rescan) => "too many lines have quotes that do not end",
            Self::Damaged => "the compressed data are damaged or cut off",
            Self::Layout => "the header does not fit",
            Self::Unrepresentable => "a value does not fit into the form of the table",
            Self::Input => "the data to be uploaded could not be read",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Configuration => "correct the sftp settings",
            Self::PrivateKey => {
                "give an unencrypted OpenSSH private key (ssh-keygen -t ed25519) in a file that only its owner can read: chmod 600"
            }
            Self::HostKey => {
                "ask the operator of the server whether its key changed, and only then put the new line (ssh-keyscan) into host_key"
            }
            Self::Authentication => {
                "check the user, and that its public key is registered in the Control Panel and has not expired"
            }
            Self::Transport | Self::Timeout => {
                "try again later; check host and port, and that this machine's address is on the server's allow list"
            }
            Self::Refused => "try again later; ask the operator of the server if it lasts",
            Self::Permission => "give the user access to the folder",
            Self::NotFound => "create the folder on the server, or correct its name",
            Self::Exists => "choose another name",
            Self::HostileName => {
                "use 1 to 200 letters, digits, dots, hyphens and underlines, without a dot at the front"
            }
            Self::NotAFile => "put the file itself into the folder",
            Self::Changed => "list again, and read the file when it is complete",
            Self::Limit(_) => "have the export split into smaller files, or raise the limit",
            Self::Damaged => "have the file exported again",
            Self::Layout => "compare the header of the file with the configured columns and separator",
            Self::Unrepresentable => "choose a form with quotes",
            Self::Input => "see the source of this error",
        }
    }
}

/// Why a call of the file exchange failed. Carries no secret and no content of a file.
pub struct ExchangeError {
    kind: ExchangeErrorKind,
    message: Option<Cow<'static, str>>,
    operation: Option<Cow<'static, str>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ExchangeError {
    pub(crate) fn new(kind: ExchangeErrorKind) -> Self {
        Self { kind, message: None, operation: None, source: None }
    }

    pub(crate) fn because(kind: ExchangeErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: Some(message.into()), ..Self::new(kind) }
    }

    pub(crate) fn during(mut self, operation: impl Into<Cow<'static, str>>) -> Self {
        self.operation.get_or_insert(operation.into());
        self
    }

    pub(crate) fn from_source(
        kind: ExchangeErrorKind,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { source: Some(source.into()), ..Self::new(kind) }
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ExchangeErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later with nothing changed by a person.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.kind.is_transient()
    }

    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        self.kind.remedy()
    }

    /// The error inside an [`io::Error`] of a reader of this module; any other one becomes [`ExchangeErrorKind::Transport`].
    #[must_use]
    pub fn from_io(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(other) => Self::from_source(ExchangeErrorKind::Transport, other),
        }
    }
}

impl From<ExchangeError> for io::Error {
    fn from(error: ExchangeError) -> Self {
        let kind = match error.kind {
            ExchangeErrorKind::Timeout => io::ErrorKind::TimedOut,
            ExchangeErrorKind::NotFound => io::ErrorKind::NotFound,
            ExchangeErrorKind::Permission => io::ErrorKind::PermissionDenied,
            ExchangeErrorKind::Damaged => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(operation) = &self.operation {
            write!(formatter, "{operation}: ")?;
        }
        formatter.write_str(self.message.as_deref().unwrap_or(self.kind.message()))
    }
}

impl fmt::Debug for ExchangeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ExchangeError")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for ExchangeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
