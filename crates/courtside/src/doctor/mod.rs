//! The checks of `courtside doctor`: ffmpeg, model, GPU, settings, database, disks, buckets, clock, unfinished uploads
//! and rented machines.
//!
//! A failed check does not stop the others, except those that need its subject: without valid settings, everything after
//! them is skipped. The checks change no data of the user. They write temporary objects under `probe/` in the bucket and
//! unnamed temporary files, and opening a database may update its courtside tables, as with any command. Messages never
//! contain secrets.

mod bucket;
mod clock;
mod disk;
mod library;
mod machine;
#[cfg(feature = "worker")]
mod model;
mod programs;
mod uploads;

use jobs::bucket::BucketLocation;
use serde::Serialize;

use client::Client;
use client::failure::{Failure, Kind, Outcome};
use client::settings::Settings;
use client::terminal::typeable;

/// The severity of a check's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Ok,
    /// Some commands are limited; the configured work is possible.
    Warn,
    /// The configured work is not possible.
    Fail,
}

/// The outcome of one check. Its fields are those of `courtside doctor --json`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Check {
    /// The subject, such as `ffmpeg` or `bucket`. A subject may have several checks.
    pub(crate) name: &'static str,
    pub(crate) status: Level,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    #[serde(skip)]
    kind: Kind,
}

impl Check {
    fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, status: Level::Ok, message: message.into(), hint: None, kind: Kind::Failed }
    }

    fn warn(name: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let hint = Some(typeable(&hint.into()).into_owned());
        Self { name, status: Level::Warn, message: message.into(), hint, kind: Kind::Failed }
    }

    fn fail(name: &'static str, failure: &Failure) -> Self {
        let hint = failure.hint_text().map(|hint| typeable(hint).into_owned());
        Self { name, status: Level::Fail, message: failure.message(), hint, kind: failure.kind }
    }
}

/// Called with each check as soon as it is done.
pub(crate) type OnCheck<'a> = &'a mut dyn FnMut(Check);

/// Runs all checks, in the order of the module documentation. Creates a missing bucket on request.
pub(crate) async fn run_checks(settings: Outcome<Settings>, creates_bucket: bool, on_check: OnCheck<'_>) {
    programs::check_ffmpeg(on_check);
    #[cfg(feature = "worker")]
    model::check(on_check);
    programs::check_gpu(on_check);
    let settings = match settings {
        Ok(settings) => settings,
        Err(failure) => return on_check(Check::fail("settings", &failure)),
    };
    on_check(library::describe_home(&settings));
    on_check(describe(&settings));
    library::check(&settings, on_check);
    disk::check(&settings, on_check);
    let client = Client::new(settings);
    if creates_bucket {
        bucket::create(&client, on_check).await;
    }
    bucket::check(&client, on_check).await;
    uploads::check(&client.settings, on_check);
    machine::check(&client, on_check).await;
}

/// The kind that determines the exit code: invalid configuration before unavailable services before the rest. `None` if
/// no check failed.
pub(crate) fn exit_kind(checks: &[Check]) -> Option<Kind> {
    let failed = || checks.iter().filter(|check| check.status == Level::Fail).map(|check| check.kind);
    [Kind::Config, Kind::Remote].into_iter().find(|kind| failed().any(|k| k == *kind)).or(failed().next())
}

/// Where jobs are stored, according to the settings.
fn describe(settings: &Settings) -> Check {
    let location = |place: &BucketLocation| match place {
        BucketLocation::Folder(folder) => format!("folder {}", folder.display()),
        BucketLocation::S3(s3) => format!("bucket {} at {}", s3.bucket, s3.endpoint),
    };
    let message = match settings.cloud.is_remote() {
        true => format!(
            "cloud jobs in {}, local jobs in {}",
            location(&settings.cloud),
            location(&settings.local)
        ),
        false => format!("no R2 settings; jobs in {}", location(&settings.local)),
    };
    Check::ok("settings", message)
}
