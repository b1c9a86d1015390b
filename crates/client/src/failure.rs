//! Errors as the user sees them: a message, its causes, a hint, and an exit code.
//!
//! The libraries below return their own error enums. Here each gets a [`Kind`], which decides the exit code, and
//! where possible a hint. Everything above this crate returns [`Outcome`].

use std::fmt;
use std::process::ExitCode;

/// Who can do something about a failure. Decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The user can fix it (exit code 1).
    Failed,
    /// The settings or the model folder are wrong (exit code 3).
    Config,
    /// A remote server did not respond or refused the request (exit code 4).
    Remote,
    /// The video could not be decoded or tracked (exit code 5).
    Job,
    /// The user stopped the program (exit code 130).
    Interrupted,
}

/// An error with a kind and an optional hint, ready to be shown.
#[derive(Debug)]
pub struct Failure {
    /// Who can do something about it.
    pub kind: Kind,
    error: anyhow::Error,
    hint: Option<String>,
}

/// The result of an operation whose error can be shown to the user.
pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// Wraps an error and keeps its chain of causes.
    pub fn new(kind: Kind, error: impl Into<anyhow::Error>) -> Self {
        Self { kind, error: error.into(), hint: None }
    }

    /// Creates a failure from a message, without an underlying error.
    pub fn msg(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, error: anyhow::anyhow!("{message}"), hint: None }
    }

    /// Sets the hint: an instruction or a command that fixes the problem. Replaces an earlier hint.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Adds a message in front; the present one becomes its cause.
    pub fn context(self, message: impl fmt::Display + Send + Sync + 'static) -> Self {
        Self { error: self.error.context(message), ..self }
    }

    /// Returns the hint, if one was set.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the message and its causes on one line, for manifests and logs.
    pub fn message(&self) -> String {
        format!("{:#}", self.error)
    }

    /// Returns the first error of type `E` in the chain of causes.
    pub fn cause<E: std::error::Error + Send + Sync + 'static>(&self) -> Option<&E> {
        self.error.chain().find_map(|cause| cause.downcast_ref())
    }

    /// Whether an I/O error on this machine caused it, as opposed to an invalid request.
    pub fn is_local_io(&self) -> bool {
        self.cause::<std::io::Error>().is_some()
    }

    /// Whether retrying the same operation later may succeed: the bucket did not respond, the database was locked
    /// or full, or a local file could not be read or written.
    pub fn is_transient(&self) -> bool {
        use store::StoreError as S;
        let is_unavailable = matches!(self.cause(), Some(jobs::Error::Unavailable { .. }));
        let is_database_busy = matches!(self.cause(), Some(S::Busy { .. } | S::Full { .. }));
        is_unavailable || is_database_busy || self.is_local_io()
    }

    /// Returns the exit code documented for the kind.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Failed => 1,
            Kind::Config => 3,
            Kind::Remote => 4,
            Kind::Job => 5,
            Kind::Interrupted => 130,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = if self.kind == Kind::Interrupted { "stopped" } else { "error" };
        write!(f, "{label}: {}", self.error)?;
        for cause in self.error.chain().skip(1) {
            write!(f, "\n  because: {cause}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Kind::Failed, error)
    }
}

impl From<video::VideoError> for Failure {
    fn from(error: video::VideoError) -> Self {
        use video::VideoError as E;
        let kind = match &error {
            E::Tools(_) => Kind::Config,
            E::Cancelled => Kind::Interrupted,
            E::Stalled { .. } | E::Decode { .. } => Kind::Job,
            _ => Kind::Failed,
        };
        Self::new(kind, error)
    }
}

impl From<store::StoreError> for Failure {
    fn from(error: store::StoreError) -> Self {
        use store::StoreError as E;
        let kind = match &error {
            E::Url(_) | E::NotALibrary { .. } | E::Newer { .. } => Kind::Config,
            _ => Kind::Failed,
        };
        Self::new(kind, error)
    }
}

impl From<jobs::Error> for Failure {
    fn from(error: jobs::Error) -> Self {
        use jobs::Error as E;
        let (kind, hint) = match &error {
            E::Unavailable { .. } => (Kind::Remote, Some("try again later; finished work is kept")),
            E::Denied { .. } => (
                Kind::Remote,
                Some("check R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY and the permissions of that key"),
            ),
            E::NoBucket { .. } => (Kind::Remote, Some("create the bucket, or correct R2_BUCKET_NAME")),
            E::ConditionsIgnored { .. } => (
                Kind::Config,
                Some("use Cloudflare R2 or another server that supports If-Match and If-None-Match"),
            ),
            E::UnlistableKey { .. } => (
                Kind::Failed,
                Some("remove that object with the bucket's own console; courtside does not write such keys"),
            ),
            E::Settings(_) => (Kind::Config, Some("correct that setting; docs/configuration.md describes it")),
            E::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                (Kind::Failed, Some("free some disk space and try again; finished work is kept"))
            }
            _ => (Kind::Failed, None),
        };
        let failure = Self::new(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
