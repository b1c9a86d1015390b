//! Settings: plain data from the environment (and `.env`, read before), checked once. Flags win over them where
//! a command has one.

use std::path::PathBuf;
use std::time::Duration;

use jobs::bucket::{BucketLocation, S3Settings, Secret};

use crate::atomic_file::folder_of;
use crate::failure::{Failure, Kind, Outcome};

const DEFAULT_BUCKET: &str = "basketball-analyzer";
const DEFAULT_DATABASE: &str = "sqlite:///./basketball_analyzer.db";
/// Every variable that is read here.
const NAMES: [&str; 17] = [
    "R2_ACCOUNT_ID",
    "R2_ENDPOINT_URL",
    "R2_ACCESS_KEY_ID",
    "R2_SECRET_ACCESS_KEY",
    "R2_BUCKET_NAME",
    "R2_REGION",
    "DATABASE_URL",
    "VIDEO_STORAGE_PATH",
    "CLOUD_WORKER_POLL_INTERVAL",
    "WORKER_IDLE_SHUTDOWN",
    "SINGLE_JOB",
    "WORKER_MODE",
    "WORKER_ID",
    "SAM3_PROMPT",
    "SAM3_CONFIDENCE_THRESHOLD",
    "COURTSIDE_TOKEN",
    "CLOUD_MODEL_PATH",
];
/// Those of the server.
const SERVER: [&str; 5] =
    ["R2_ACCOUNT_ID", "R2_ENDPOINT_URL", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET_NAME"];

/// Everything that the environment decides.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `DATABASE_URL`.
    pub database_url: String,
    /// `VIDEO_STORAGE_PATH`: uploads arrive here, and only videos in here can be registered over HTTP.
    pub video_folder: PathBuf,
    /// The bucket of cloud jobs: a server if `R2_…` says so, else [`Self::local`].
    pub cloud: BucketLocation,
    /// The folder of local jobs, beside the database.
    pub local: BucketLocation,
    /// `CLOUD_WORKER_POLL_INTERVAL`.
    pub poll: Duration,
    /// `WORKER_IDLE_SHUTDOWN`; `None` for never.
    pub idle_exit: Option<Duration>,
    /// `SINGLE_JOB`.
    pub single_job: bool,
    /// `WORKER_MODE=cloud` or `local`.
    pub worker_mode: Option<jobs::manifest::Target>,
    /// `WORKER_ID`.
    pub worker_id: Option<String>,
    /// `SAM3_PROMPT`.
    pub prompt: Option<String>,
    /// `SAM3_CONFIDENCE_THRESHOLD`.
    pub confidence_threshold: Option<f64>,
    /// `COURTSIDE_TOKEN`, which HTTP clients must show.
    pub token: Option<Secret>,
}

/// Where settings come from: the environment, or a table in tests.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// Of kind [`Kind::Config`], naming the variable.
    pub fn from_env() -> Outcome<Self> {
        let not_text =
            std::env::vars_os().find_map(|(name, value)| match (name.into_string(), value.to_str()) {
                (Ok(name), None) if NAMES.contains(&name.as_str()) => Some(name),
                _ => None,
            });
        if let Some(name) = not_text {
            return Err(wrong(&name, "is not UTF-8"));
        }
        Self::from(&|name| std::env::var(name).ok())
    }

    /// Reads any source of settings. An empty value counts as none.
    pub fn from(lookup: Lookup<'_>) -> Outcome<Self> {
        let get = |name: &str| lookup(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let database_url = get("DATABASE_URL").unwrap_or_else(|| DEFAULT_DATABASE.to_owned());
        let database = store::database_path(&database_url).map_err(Failure::from)?;
        let bucket = get("R2_BUCKET_NAME").unwrap_or_else(|| DEFAULT_BUCKET.to_owned());
        check_bucket_name(&bucket)?;
        let local = BucketLocation::Folder(folder_of(&database).join(&bucket));
        let remote = remote(&get, bucket)?;
        Ok(Self {
            database_url,
            video_folder: get("VIDEO_STORAGE_PATH").unwrap_or_else(|| "./videos".to_owned()).into(),
            cloud: remote.map_or_else(|| local.clone(), BucketLocation::S3),
            local,
            poll: poll(&get)?,
            idle_exit: seconds(&get, "WORKER_IDLE_SHUTDOWN")?.filter(|s| !s.is_zero()),
            single_job: flag(&get, "SINGLE_JOB")?,
            worker_mode: worker_mode(&get)?,
            worker_id: get("WORKER_ID"),
            prompt: get("SAM3_PROMPT"),
            confidence_threshold: confidence(&get)?,
            token: get("COURTSIDE_TOKEN").map(Secret::new),
        })
    }

    /// Folder for what is being received: results, parts of uploads.
    pub fn scratch(&self) -> PathBuf {
        self.video_folder.join(".courtside")
    }
}

/// The name is a folder's, too.
fn check_bucket_name(name: &str) -> Outcome<()> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !name.starts_with('.') && name.len() <= 63 && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(wrong("R2_BUCKET_NAME", "is not a bucket's name: letters, digits, '-', '_' and '.', at most 63"))
}

/// The server's settings; `None` if there are none at all. Half of them are an error, never a folder.
fn remote(get: &dyn Fn(&str) -> Option<String>, bucket: String) -> Outcome<Option<S3Settings>> {
    let Some(given) = SERVER.into_iter().find(|name| get(name).is_some()) else { return Ok(None) };
    let need = |name: &'static str| {
        get(name).ok_or_else(|| {
            let message = format!("{given} is set, but {name} is not");
            Failure::msg(Kind::Config, message)
                .hint("set it, or none of the R2_ settings: then the bucket is a folder beside the database")
        })
    };
    let endpoint = match get("R2_ENDPOINT_URL") {
        Some(url) => url,
        None => format!("https://{}.r2.cloudflarestorage.com", need("R2_ACCOUNT_ID")?),
    };
    if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
        return Err(wrong("R2_ENDPOINT_URL", "does not begin with https:// or http://"));
    }
    if endpoint.contains('@') {
        return Err(wrong("R2_ENDPOINT_URL", "has a name or password in it; use R2_ACCESS_KEY_ID"));
    }
    Ok(Some(S3Settings {
        endpoint,
        bucket,
        region: get("R2_REGION").unwrap_or_else(|| "auto".to_owned()),
        access_key_id: need("R2_ACCESS_KEY_ID")?,
        secret_access_key: Secret::new(need("R2_SECRET_ACCESS_KEY")?),
        timeouts: jobs::bucket::Timeouts::default(),
    }))
}

fn wrong(name: &str, why: &str) -> Failure {
    Failure::msg(Kind::Config, format!("{name} {why}"))
}

fn seconds(get: &dyn Fn(&str) -> Option<String>, name: &str) -> Outcome<Option<Duration>> {
    let Some(text) = get(name) else { return Ok(None) };
    let number = text.parse::<f64>().ok().filter(|s| (0.0..=31_536_000.0).contains(s));
    let number = number.ok_or_else(|| wrong(name, &format!("is {text:?}, not a number of seconds")))?;
    Ok(Some(Duration::from_secs_f64(number)))
}

/// Each look at a bucket costs: there is no looking without a pause.
fn poll(get: &dyn Fn(&str) -> Option<String>) -> Outcome<Duration> {
    const NAME: &str = "CLOUD_WORKER_POLL_INTERVAL";
    match seconds(get, NAME)? {
        Some(pause) if pause < Duration::from_secs(1) => Err(wrong(NAME, "must be at least 1 second")),
        pause => Ok(pause.unwrap_or(jobs::Timing::default().poll)),
    }
}

fn flag(get: &dyn Fn(&str) -> Option<String>, name: &str) -> Outcome<bool> {
    match get(name).map(|v| v.to_ascii_lowercase()).as_deref() {
        None | Some("false" | "0" | "no" | "off") => Ok(false),
        Some("true" | "1" | "yes" | "on") => Ok(true),
        Some(other) => Err(wrong(name, &format!("is {other:?}, neither true nor false"))),
    }
}

fn worker_mode(get: &dyn Fn(&str) -> Option<String>) -> Outcome<Option<jobs::manifest::Target>> {
    use jobs::manifest::Target;
    let parse = |text: String| text.parse::<Target>().map_err(|e| wrong("WORKER_MODE", &e.to_string()));
    get("WORKER_MODE").map(parse).transpose()
}

fn confidence(get: &dyn Fn(&str) -> Option<String>) -> Outcome<Option<f64>> {
    const NAME: &str = "SAM3_CONFIDENCE_THRESHOLD";
    let Some(text) = get(NAME) else { return Ok(None) };
    let number = text.parse().ok().filter(|c| (0.0..=1.0).contains(c));
    Ok(Some(number.ok_or_else(|| wrong(NAME, &format!("is {text:?}, not a number from 0 to 1")))?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn settings(table: &[(&str, &str)]) -> Outcome<Settings> {
        let find = |name: &str| table.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Settings::from(&find)
    }

    #[test]
    fn with_nothing_set_everything_is_beside_the_database() {
        let settings = settings(&[("DATABASE_URL", "sqlite:////games/library.db")]).unwrap();
        let BucketLocation::Folder(folder) = &settings.cloud else { panic!("{settings:?}") };
        assert_eq!(folder, Path::new("/games/basketball-analyzer"));
        assert!(!settings.local.is_remote());
    }

    #[test]
    fn an_account_id_is_an_address() {
        let keys = [("R2_ACCOUNT_ID", "abc"), ("R2_ACCESS_KEY_ID", "id"), ("R2_SECRET_ACCESS_KEY", "hush")];
        let settings = settings(&keys).unwrap();
        let BucketLocation::S3(s3) = &settings.cloud else { panic!("{settings:?}") };
        assert_eq!(s3.endpoint, "https://abc.r2.cloudflarestorage.com");
        assert_eq!((s3.bucket.as_str(), s3.region.as_str()), ("basketball-analyzer", "auto"));
        assert!(!format!("{settings:?}").contains("hush"));
    }

    #[test]
    fn half_of_the_settings_are_none_of_them() {
        for (table, want) in [
            (&[("R2_ACCESS_KEY_ID", "id")][..], "R2_ACCOUNT_ID"),
            (&[("R2_BUCKET_NAME", "games")], "R2_ACCOUNT_ID"),
            (&[("R2_ENDPOINT_URL", "http://h"), ("R2_ACCESS_KEY_ID", "id")], "R2_SECRET_ACCESS_KEY"),
            (&[("R2_ENDPOINT_URL", "h"), ("R2_ACCESS_KEY_ID", "i")], "R2_ENDPOINT_URL"),
            (&[("SINGLE_JOB", "perhaps")], "SINGLE_JOB"),
            (&[("WORKER_IDLE_SHUTDOWN", "soon")], "WORKER_IDLE_SHUTDOWN"),
            (&[("SAM3_CONFIDENCE_THRESHOLD", "2")], "SAM3_CONFIDENCE_THRESHOLD"),
            (&[("R2_BUCKET_NAME", "../up")], "R2_BUCKET_NAME"),
            (&[("CLOUD_WORKER_POLL_INTERVAL", "0")], "CLOUD_WORKER_POLL_INTERVAL"),
        ] {
            let failure = settings(table).unwrap_err();
            assert_eq!(failure.kind, Kind::Config);
            assert!(failure.to_string().contains(want), "{failure}");
        }
    }
}
