//! Settings: plain data from the environment, checked once at start.
//!
//! Each setting is one row of the [table of variables](VARIABLES), which `docs/configuration.md` documents. The
//! program reads an [`EnvFile`] into the environment before it calls [`Settings::from_env`]; flags override the result.

mod env_file;
mod home;
mod misspelt;
mod parse;
mod variables;

use std::path::PathBuf;
use std::time::Duration;

use jobs::bucket::endpoint::{Endpoint, InvalidValue};
use jobs::bucket::{BucketLocation, S3Settings, Secret, Timeouts};
use jobs::manifest::Target;

use crate::atomic_file::folder_of;
use crate::failure::{Failure, Kind, Outcome};
use parse::invalid;
use variables::Setting;

pub use env_file::EnvFile;
pub use home::Home;
pub use misspelt::Misspelt;
pub use variables::{DefaultValue, Lookup, Part, Sources, VARIABLES, Variable, untidy};

/// The variables that select the S3 server. A bucket name alone does not: it also names the local folder.
const SERVER: [Variable; 4] = [
    variables::R2_ACCOUNT_ID.variable,
    variables::R2_ENDPOINT_URL.variable,
    variables::R2_ACCESS_KEY_ID.variable,
    variables::R2_SECRET_ACCESS_KEY.variable,
];

/// The settings of the program. The table of variables describes each.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `COURTSIDE_HOME`: the folder of the library; `None` for the working folder.
    pub home: Option<PathBuf>,
    /// `DATABASE_URL`: the library, as a `sqlite:///` URL.
    pub database_url: String,
    /// `VIDEO_STORAGE_PATH`. Uploads are stored here, and only videos in here can be added over HTTP.
    pub video_folder: PathBuf,
    /// The bucket of cloud jobs: the S3 server of the `R2_…` settings; without one, the same as [`Self::local`].
    pub cloud: BucketLocation,
    /// The bucket of local jobs: a folder next to the database.
    pub local: BucketLocation,
    /// `CLOUD_WORKER_POLL_INTERVAL`: time between a worker's polls of an active bucket, at least 0.1 s.
    pub poll: Duration,
    /// `WORKER_IDLE_SHUTDOWN`: how long a worker is idle before it exits; `None` for never.
    pub idle_exit: Option<Duration>,
    /// `SINGLE_JOB`: whether a worker exits after one job.
    pub single_job: bool,
    /// `WORKER_MODE`: the jobs that a worker processes; `None` for cloud jobs if an S3 server is configured.
    pub worker_mode: Option<Target>,
    /// `WORKER_ID`: name of the worker; `None` for the host name and a random suffix.
    pub worker_id: Option<String>,
    /// `SAM3_PROMPT`: prompt of jobs that are submitted without one; `None` for the protocol's default.
    pub prompt: Option<String>,
    /// `SAM3_CONFIDENCE_THRESHOLD`: lowest confidence in results, 0 to 1; `None` for the default.
    pub confidence_threshold: Option<f64>,
    /// `COURTSIDE_TOKEN`, which HTTP clients must send.
    pub token: Option<Secret>,
}

impl Settings {
    /// Reads the settings from the environment.
    ///
    /// # Errors
    /// Of kind [`Kind::Config`], naming the variable.
    pub fn from_env() -> Outcome<Self> {
        let not_text = VARIABLES
            .iter()
            .filter(|variable| variable.is_parsed_here())
            .find(|variable| std::env::var_os(variable.name).is_some_and(|value| value.to_str().is_none()));
        if let Some(variable) = not_text {
            return Err(invalid(variable.name, InvalidValue::new("is not UTF-8")));
        }
        Self::from(&|name| std::env::var(name).ok())
    }

    /// Reads the settings from any source. An empty value means unset.
    ///
    /// # Errors
    /// Of kind [`Kind::Config`], naming the variable.
    pub fn from(lookup: Lookup<'_>) -> Outcome<Self> {
        use variables as v;
        let home = v::COURTSIDE_HOME.read(lookup)?;
        let database_url = match &home {
            Some(home) if !v::DATABASE_URL.variable.is_set(lookup) => {
                home::url_in(&required(&v::DATABASE_URL, lookup)?, home)
            }
            _ => required(&v::DATABASE_URL, lookup)?,
        };
        let video_folder = match &home {
            Some(home) if !v::VIDEO_STORAGE_PATH.variable.is_set(lookup) => home.join("videos"),
            _ => required(&v::VIDEO_STORAGE_PATH, lookup)?,
        };
        let database = store::database_path(&database_url).map_err(Failure::from)?;
        let bucket = required(&v::R2_BUCKET_NAME, lookup)?;
        let local = BucketLocation::Folder(folder_of(&database).join(&bucket));
        let remote = remote(lookup, bucket)?;
        Ok(Self {
            home,
            database_url,
            video_folder,
            cloud: remote.map_or_else(|| local.clone(), BucketLocation::S3),
            local,
            poll: required(&v::CLOUD_WORKER_POLL_INTERVAL, lookup)?,
            idle_exit: v::WORKER_IDLE_SHUTDOWN.read(lookup)?.filter(|s| !s.is_zero()),
            single_job: required(&v::SINGLE_JOB, lookup)?,
            worker_mode: v::WORKER_MODE.read(lookup)?,
            worker_id: v::WORKER_ID.read(lookup)?,
            prompt: v::SAM3_PROMPT.read(lookup)?,
            confidence_threshold: v::SAM3_CONFIDENCE_THRESHOLD.read(lookup)?,
            token: v::COURTSIDE_TOKEN.read(lookup)?,
        })
    }

    /// The folder for files that are being transferred or tracked.
    pub fn scratch(&self) -> PathBuf {
        self.video_folder.join(".courtside")
    }
}

/// Reads a setting whose row has a default value.
fn required<T>(setting: &Setting<T>, lookup: Lookup<'_>) -> Outcome<T> {
    setting.read(lookup)?.ok_or_else(|| invalid(setting.variable.name, InvalidValue::new("is not set")))
}

/// The settings of the S3 server; `None` if none is set. Setting only some of them is an error, so that a typing
/// error never selects the folder.
fn remote(lookup: Lookup<'_>, bucket: String) -> Outcome<Option<S3Settings>> {
    use variables as v;
    let Some(given) = SERVER.iter().find(|variable| variable.is_set(lookup)) else { return Ok(None) };
    let missing = |name: &str| {
        Failure::msg(Kind::Config, format!("{} is set, but {name} is not", given.name))
            .hint("set it, or unset all R2_ settings to use a folder next to the database")
    };
    let (name, endpoint) = match v::R2_ENDPOINT_URL.read(lookup)? {
        Some(endpoint) => (v::R2_ENDPOINT_URL.variable.name, Ok(endpoint)),
        None => {
            let account = v::R2_ACCOUNT_ID.read(lookup)?;
            let account = account.ok_or_else(|| missing("R2_ACCOUNT_ID (or R2_ENDPOINT_URL)"))?;
            let address = format!("https://{account}.r2.cloudflarestorage.com");
            (v::R2_ACCOUNT_ID.variable.name, Endpoint::parse(&address))
        }
    };
    let endpoint =
        endpoint.and_then(|endpoint| endpoint.for_bucket(&bucket)).map_err(|e| invalid(name, e))?;
    let access_key_id = v::R2_ACCESS_KEY_ID.read(lookup)?;
    let secret_access_key = v::R2_SECRET_ACCESS_KEY.read(lookup)?;
    Ok(Some(S3Settings {
        endpoint,
        bucket,
        region: required(&v::R2_REGION, lookup)?,
        access_key_id: access_key_id.ok_or_else(|| missing(v::R2_ACCESS_KEY_ID.variable.name))?,
        secret_access_key: secret_access_key.ok_or_else(|| missing(v::R2_SECRET_ACCESS_KEY.variable.name))?,
        timeouts: Timeouts::default(),
    }))
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
    fn default_bucket_is_a_folder_next_to_the_database() {
        let settings = settings(&[("DATABASE_URL", "sqlite:////games/library.db")]).unwrap();
        let BucketLocation::Folder(folder) = &settings.cloud else { panic!("{settings:?}") };
        assert_eq!(folder, Path::new("/games/basketball-analyzer"));
        assert!(!settings.local.is_remote());
    }

    #[test]
    fn unset_and_empty_variables_have_the_documented_defaults() {
        for table in [&[][..], &[("CLOUD_WORKER_POLL_INTERVAL", " "), ("SINGLE_JOB", "")]] {
            let settings = settings(table).unwrap();
            assert_eq!(settings.poll, jobs::Timing::default().poll);
            assert_eq!(settings.idle_exit, None);
            assert!(!settings.single_job);
            assert_eq!(settings.video_folder, Path::new("./videos"));
        }
        let described = format!("`{}`", jobs::manifest::DEFAULT_CONFIDENCE);
        let variable = &variables::SAM3_CONFIDENCE_THRESHOLD.variable;
        assert_eq!(variable.default.to_string(), described);
    }

    #[test]
    fn account_id_determines_the_endpoint() {
        let keys = [("R2_ACCOUNT_ID", "abc"), ("R2_ACCESS_KEY_ID", "id"), ("R2_SECRET_ACCESS_KEY", "hush")];
        let settings = settings(&keys).unwrap();
        let BucketLocation::S3(s3) = &settings.cloud else { panic!("{settings:?}") };
        assert_eq!(s3.endpoint, "https://abc.r2.cloudflarestorage.com");
        assert_eq!((s3.bucket.as_str(), s3.region.as_str()), ("basketball-analyzer", "auto"));
        assert!(!format!("{settings:?}").contains("hush"));
    }

    #[test]
    fn incomplete_and_invalid_settings_are_errors() {
        let keys = [("R2_ACCESS_KEY_ID", "id"), ("R2_SECRET_ACCESS_KEY", "hush")];
        for (table, expected) in [
            (&[("R2_ACCESS_KEY_ID", "id")][..], "R2_ACCOUNT_ID"),
            (&[("R2_SECRET_ACCESS_KEY", "hush")], "R2_ACCOUNT_ID"),
            (&[("R2_ENDPOINT_URL", "http://h"), ("R2_ACCESS_KEY_ID", "id")], "R2_SECRET_ACCESS_KEY"),
            (&[("R2_ENDPOINT_URL", "h"), ("R2_ACCESS_KEY_ID", "i")], "R2_ENDPOINT_URL"),
            (&[("R2_ENDPOINT_URL", "https://me@h")], "R2_ENDPOINT_URL"),
            (&[("R2_ENDPOINT_URL", "https://<ACCOUNT_ID>.r2.cloudflarestorage.com")], "R2_ENDPOINT_URL"),
            (&[("R2_ENDPOINT_URL", "https://"), keys[0], keys[1]], "R2_ENDPOINT_URL"),
            (&[("R2_ENDPOINT_URL", "https://a b"), keys[0], keys[1]], "R2_ENDPOINT_URL"),
            (&[("R2_ENDPOINT_URL", "https://ä"), keys[0], keys[1]], "R2_ENDPOINT_URL"),
            (&[("R2_ENDPOINT_URL", "https://h/other"), keys[0], keys[1]], "R2_ENDPOINT_URL"),
            (&[("R2_ACCOUNT_ID", "a\"b"), keys[0], keys[1]], "R2_ACCOUNT_ID"),
            (&[("R2_ACCOUNT_ID", "https://abc"), keys[0], keys[1]], "R2_ACCOUNT_ID"),
            (&[("R2_ACCOUNT_ID", "abc"), ("R2_ACCESS_KEY_ID", "i\nd"), keys[1]], "R2_ACCESS_KEY_ID"),
            (&[("R2_ACCOUNT_ID", "abc"), keys[0], ("R2_SECRET_ACCESS_KEY", "hü")], "R2_SECRET_ACCESS_KEY"),
            (&[("R2_ACCOUNT_ID", "abc"), ("R2_REGION", "a b"), keys[0], keys[1]], "R2_REGION"),
            (&[("COURTSIDE_TOKEN", "hush\nhush")], "COURTSIDE_TOKEN"),
            (&[("SINGLE_JOB", "perhaps")], "SINGLE_JOB"),
            (&[("WORKER_MODE", "moon")], "WORKER_MODE"),
            (&[("WORKER_IDLE_SHUTDOWN", "soon")], "WORKER_IDLE_SHUTDOWN"),
            (&[("SAM3_CONFIDENCE_THRESHOLD", "2")], "SAM3_CONFIDENCE_THRESHOLD"),
            (&[("R2_BUCKET_NAME", "../up")], "R2_BUCKET_NAME"),
            (&[("CLOUD_WORKER_POLL_INTERVAL", "0")], "CLOUD_WORKER_POLL_INTERVAL"),
        ] {
            let failure = settings(table).unwrap_err();
            assert_eq!(failure.kind, Kind::Config);
            assert!(failure.to_string().contains(expected), "{failure}");
            assert!(failure.hint_text().is_some(), "{failure}");
            assert!(!failure.to_string().contains("hush"), "{failure}");
        }
    }

    #[test]
    fn blanks_and_quotes_around_a_value_are_removed() {
        let quoted = [
            ("R2_ACCOUNT_ID", "\"abc\""),
            ("R2_ACCESS_KEY_ID", "'id'"),
            ("R2_SECRET_ACCESS_KEY", " hush\n"),
            ("R2_BUCKET_NAME", "\" games \""),
        ];
        let settings = settings(&quoted).unwrap();
        let BucketLocation::S3(s3) = &settings.cloud else { panic!("{settings:?}") };
        assert_eq!(s3.endpoint, "https://abc.r2.cloudflarestorage.com");
        assert_eq!((s3.bucket.as_str(), s3.access_key_id.as_str()), ("games", "id"));
        assert_eq!(s3.secret_access_key.reveal(), "hush");
    }

    #[test]
    fn a_bucket_name_without_account_names_the_folder() {
        let table = [
            ("R2_BUCKET_NAME", "games"),
            ("R2_ACCOUNT_ID", ""),
            ("R2_ACCESS_KEY_ID", " "),
            ("R2_REGION", "auto"),
        ];
        let settings = settings(&table).unwrap();
        let BucketLocation::Folder(folder) = &settings.cloud else { panic!("{settings:?}") };
        assert!(folder.ends_with("games"), "{folder:?}");
    }

    #[test]
    fn the_bucket_may_be_in_the_endpoint() {
        let table = [
            ("R2_ENDPOINT_URL", "https://abc.r2.cloudflarestorage.com/games"),
            ("R2_BUCKET_NAME", "games"),
            ("R2_ACCESS_KEY_ID", "id"),
            ("R2_SECRET_ACCESS_KEY", "hush"),
        ];
        let given = settings(&table).unwrap();
        let BucketLocation::S3(s3) = &given.cloud else { panic!("{given:?}") };
        assert_eq!(s3.endpoint, "https://abc.r2.cloudflarestorage.com");
        let failure = settings(&[table[0], table[2], table[3]]).unwrap_err();
        assert!(failure.hint_text().unwrap().contains("R2_BUCKET_NAME=games"), "{failure}");
    }

    #[test]
    fn the_poll_interval_may_be_less_than_a_second() {
        let settings = settings(&[("CLOUD_WORKER_POLL_INTERVAL", "0.5")]).unwrap();
        assert_eq!(settings.poll, Duration::from_millis(500));
    }
}
