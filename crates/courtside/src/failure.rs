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
    pub fn message(kind: Kind, text: impl fmt::Display) -> Self {
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

impl From<sam3::Error> for Failure {
    fn from(error: sam3::Error) -> Self {
        use sam3::Error as E;
        let kind = match &error {
            E::Checkpoint { .. } | E::Config { .. } | E::Tensors { .. } => Kind::Config,
            E::Prompt { .. } | E::SavedSession { .. } | E::Io { .. } => Kind::Failed,
            E::Frame { .. } | E::Tensor(_) => Kind::Job,
        };
        let hint = match &error {
            E::Checkpoint { .. } | E::Config { .. } | E::Tensors { .. } => {
                Some("`courtside model check DIR` verifies a checkpoint folder".to_owned())
            }
            _ => None,
        };
        Self { hint, ..Self::new(kind, error) }
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
