//! What the program says and returns when it fails: a sentence, its causes, a way out, an exit code.

use std::fmt;
use std::process::ExitCode;

/// Whose move it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The user can fix it (exit code 1).
    Failed,
    /// Settings or a checkpoint are wrong (exit code 3).
    Config,
    /// Something remote did not answer or refused (exit code 4).
    Remote,
    /// The video or the tracking of it failed (exit code 5).
    Job,
    /// The user stopped it (exit code 130).
    Interrupted,
}

/// An error ready to be shown.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub kind: Kind,
    error: anyhow::Error,
    hint: Option<String>,
}

/// Result of a command.
pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// An error of a kind.
    pub fn new(kind: Kind, error: impl Into<anyhow::Error>) -> Self {
        Self { kind, error: error.into(), hint: None }
    }

    /// An error of a kind, in words.
    pub fn msg(kind: Kind, text: impl fmt::Display) -> Self {
        Self { kind, error: anyhow::anyhow!("{text}"), hint: None }
    }

    /// Adds the command or setting that helps.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Adds what was being done.
    pub fn context(self, what: impl fmt::Display + Send + Sync + 'static) -> Self {
        Self { error: self.error.context(what), ..self }
    }

    /// The command or setting that helps.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The error and its causes in one line, for registers and logs.
    pub fn message(&self) -> String {
        format!("{:#}", self.error)
    }

    /// The error of a type among the error and its causes.
    pub fn cause<E: std::error::Error + Send + Sync + 'static>(&self) -> Option<&E> {
        self.error.chain().find_map(|cause| cause.downcast_ref())
    }

    /// Whether a file or the disk of this machine is to blame, and not what was asked.
    pub fn is_local_io(&self) -> bool {
        self.cause::<std::io::Error>().is_some()
    }

    /// Whether the same may succeed later, with nobody doing anything else.
    pub fn is_transient(&self) -> bool {
        use store::StoreError as S;
        let unanswered = matches!(self.cause(), Some(jobs::Error::Unavailable { .. }));
        unanswered || matches!(self.cause(), Some(S::Busy { .. } | S::Full { .. })) || self.is_local_io()
    }

    /// The documented exit code.
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
        let mark = if self.kind == Kind::Interrupted { "stopped" } else { "error" };
        write!(f, "{mark}: {}", self.error)?;
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
            E::Unavailable { .. } => (Kind::Remote, Some("what was done so far is kept; try again later")),
            E::Denied { .. } => (
                Kind::Remote,
                Some("check R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY and the rights of that key"),
            ),
            E::NoBucket { .. } => (Kind::Remote, Some("create the bucket, or correct R2_BUCKET_NAME")),
            E::ConditionsIgnored { .. } => (
                Kind::Config,
                Some("use Cloudflare R2, or another server that honours If-Match and If-None-Match"),
            ),
            E::UnlistableKey { .. } => (
                Kind::Failed,
                Some("remove that object with the console of the bucket: no program of ours wrote it"),
            ),
            E::Settings(_) => (Kind::Config, None),
            E::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                (Kind::Failed, Some("free some space; what was done so far is kept"))
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
