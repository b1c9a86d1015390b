//! Errors as the user sees them: a message, its causes, a hint, and an exit code.
//!
//! The libraries below return their own error enums. Here each gets a [`Kind`], which decides the exit code, and
//! where possible a hint. Everything above this crate returns [`Outcome`].

use std::fmt;
use std::process::ExitCode;

use crate::terminal::typeable;

/// Who can do something about a failure. Decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The user can fix it (exit code 1).
    Failed,
    /// The command line is invalid (exit code 2).
    Usage,
    /// The settings or the model folder are wrong, or a server refuses the settings (exit code 3).
    Config,
    /// A remote server did not respond (exit code 4).
    Remote,
    /// The video could not be decoded or tracked (exit code 5).
    Job,
    /// A mistake in the program (exit code 70).
    Internal,
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

    /// Sets the hint, if there is one.
    pub fn hint_if(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
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
        self.texts().join(": ")
    }

    /// Returns the message and its causes. A cause whose text is in the text before it is left out: many libraries
    /// repeat theirs.
    fn texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        for text in self.error.chain().map(|error| error.to_string()) {
            if !texts.iter().any(|earlier| earlier.contains(&text)) {
                texts.push(text);
            }
        }
        texts
    }

    /// Returns what the program prints with `--json`: `{"error": {"message", "causes", "hint", "exit_code"}}`.
    pub fn to_json(&self) -> serde_json::Value {
        let texts = self.texts();
        serde_json::json!({ "error": {
            "message": texts[0],
            "causes": texts[1..],
            "hint": self.hint.as_deref().map(typeable),
            "exit_code": self.code(),
        }})
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
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self.kind {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Config => 3,
            Kind::Remote => 4,
            Kind::Job => 5,
            Kind::Internal => 70,
            Kind::Interrupted => 130,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = if self.kind == Kind::Interrupted { "stopped" } else { "error" };
        write!(f, "{label}: {}", self.texts().join("\n  because: "))?;
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
            E::Tools(_) | E::Sandbox(_) => Kind::Config,
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
        let kind = match &error {
            E::Unavailable { .. } => Kind::Remote,
            E::ConditionsIgnored { .. } | E::Endless { .. } => Kind::Config,
            refused if refused.is_misconfiguration() => Kind::Config,
            _ => Kind::Failed,
        };
        let hint = bucket_hint(&error);
        let failure = Self::new(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// What to do about an error of a bucket.
fn bucket_hint(error: &jobs::Error) -> Option<String> {
    use jobs::Error as E;
    let hint = match error {
        unreachable if unreachable.is_unreachable() => match uses_proxy() {
            true => {
                "check the proxy (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY) and R2_ENDPOINT_URL, or try again later"
            }
            false => {
                "check the address (R2_ENDPOINT_URL or R2_ACCOUNT_ID) and the network connection; finished work is kept"
            }
        },
        E::Unavailable { .. } => {
            "try again later; finished work is kept. If this persists, check R2_ENDPOINT_URL and the network connection"
        }
        E::Denied { .. } => "check R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY and the permissions of that key",
        E::NoBucket { .. } => "create it with `courtside doctor --create-bucket`, or correct R2_BUCKET_NAME",
        E::Unusable { remedy, .. } => return Some(remedy_hint(remedy)),
        E::ConditionsIgnored { .. } => {
            "use Cloudflare R2 or another server that supports If-Match and If-None-Match"
        }
        E::UnlistableKey { .. } => {
            "remove that object with the bucket's own console; courtside does not write such keys"
        }
        E::Endless { .. } => {
            "check R2_ENDPOINT_URL and R2_BUCKET_NAME; with a bucket of your own, remove objects that are not needed"
        }
        E::Settings(_) => "correct that setting; docs/configuration.md describes it",
        E::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            "free some disk space and try again; finished work is kept"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Whether requests to a server go through a proxy.
fn uses_proxy() -> bool {
    let set = [
        std::env::var_os("HTTPS_PROXY").or_else(|| std::env::var_os("https_proxy")),
        std::env::var_os("HTTP_PROXY").or_else(|| std::env::var_os("http_proxy")),
        std::env::var_os("ALL_PROXY").or_else(|| std::env::var_os("all_proxy")),
    ];
    set.into_iter().flatten().any(|address| !address.is_empty())
}

fn remedy_hint(remedy: &jobs::Remedy) -> String {
    use jobs::Remedy as R;
    match remedy {
        R::Endpoint => "set R2_ENDPOINT_URL to the address of an S3 server, and reach it without a web proxy",
        R::Region(Some(region)) => {
            return format!("set R2_REGION={region}, and R2_ENDPOINT_URL to the server of that region");
        }
        R::Region(None) => "set R2_REGION to the region of the bucket (auto for Cloudflare R2)",
        R::Keys => "copy R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY again from the provider",
        R::BucketName => "correct R2_BUCKET_NAME",
        R::Clock => "set the clock of this machine (`timedatectl set-ntp true`)",
        R::Tls => {
            "check R2_ENDPOINT_URL (http:// for a server without TLS) and R2_ACCOUNT_ID; SSL_CERT_FILE adds certificates"
        }
        R::Server => "use Cloudflare R2 or another server that supports all S3 operations",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use jobs::Remedy;

    use super::*;

    #[test]
    fn a_cause_that_the_message_contains_is_said_once() {
        let io = || std::io::Error::other("disk on fire");
        let file = jobs::Error::File { action: "read", path: "a.json".into(), source: io() };
        let failure = Failure::from(file).context("cannot import job j").hint("use another disk");
        let expected = "error: cannot import job j\n  because: cannot read a.json: disk on fire\n  hint: use another disk";
        assert_eq!(failure.to_string(), expected);
        assert_eq!(failure.message(), "cannot import job j: cannot read a.json: disk on fire");
        let causes = serde_json::json!(["cannot read a.json: disk on fire"]);
        assert_eq!(failure.to_json()["error"]["causes"], causes);
        assert_eq!(failure.to_json()["error"]["exit_code"], 1);
    }

    #[test]
    fn what_the_settings_can_change_is_a_configuration_error_with_the_setting_in_the_hint() {
        let location = || "bucket games at https://h".to_owned();
        let unusable =
            |remedy| jobs::Error::Unusable { location: location(), detail: "it answered 400".into(), remedy };
        for (error, setting) in [
            (
                jobs::Error::Denied { location: location(), action: "list".into(), detail: "403".into() },
                "R2_SECRET_ACCESS_KEY",
            ),
            (jobs::Error::NoBucket { location: location() }, "R2_BUCKET_NAME"),
            (unusable(Remedy::Endpoint), "R2_ENDPOINT_URL"),
            (unusable(Remedy::Region(None)), "R2_REGION"),
            (unusable(Remedy::Region(Some("eu-west-1".into()))), "R2_REGION=eu-west-1"),
            (unusable(Remedy::Keys), "R2_ACCESS_KEY_ID"),
            (unusable(Remedy::BucketName), "R2_BUCKET_NAME"),
            (unusable(Remedy::Tls), "R2_ENDPOINT_URL"),
        ] {
            let failure = Failure::from(error);
            assert_eq!(failure.kind, Kind::Config, "{failure}");
            assert!(!failure.is_transient());
            assert!(failure.hint_text().unwrap().contains(setting), "{failure}");
        }
        let failure = Failure::from(jobs::Error::Unavailable { location: location(), detail: "503".into() });
        assert_eq!(failure.kind, Kind::Remote);
        assert!(failure.is_transient());
        assert!(failure.hint_text().unwrap().starts_with("try again later"));
        let detail = "no connection: it was refused".to_owned();
        let failure = Failure::from(jobs::Error::Unavailable { location: location(), detail });
        assert_eq!(failure.kind, Kind::Remote);
        assert!(failure.hint_text().unwrap().contains("R2_ENDPOINT_URL"), "{failure}");
    }
}
