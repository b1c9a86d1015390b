//! `courtside doctor`: whether everything that work needs is there, asked before it is needed.
//!
//! Each check stands for itself: one that fails ends none of the others, save those that need what is missing.
//! Nothing of the user's is changed; the bucket is written to under `probe/` alone. No secret is ever part of a
//! message.

mod bucket;
#[cfg(feature = "worker")]
mod checkpoint;
mod clock;
mod disk;
mod library;
mod programs;
mod uploads;

use serde::Serialize;

use client::Client;
use client::failure::{Failure, Kind, Outcome};
use client::settings::Settings;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Something will not work, or not well, and perhaps is not needed.
    Warn,
    /// Work as configured is impossible.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Check {
    /// What it is about.
    pub(crate) name: &'static str,
    /// How it ended.
    pub(crate) status: Level,
    /// What was found.
    pub(crate) message: String,
    /// What to do.
    pub(crate) hint: Option<String>,
    #[serde(skip)]
    kind: Kind,
}

impl Check {
    fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, status: Level::Ok, message: message.into(), hint: None, kind: Kind::Failed }
    }

    fn warn(name: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let hint = Some(hint.into());
        Self { name, status: Level::Warn, message: message.into(), hint, kind: Kind::Failed }
    }

    fn fail(name: &'static str, failure: &Failure) -> Self {
        let hint = failure.hint_text().map(str::to_owned);
        Self { name, status: Level::Fail, message: failure.message(), hint, kind: failure.kind }
    }

    /// The same as a warning: it matters only to some.
    #[cfg(feature = "worker")]
    fn only_a_warning(self) -> Self {
        Self { status: Level::Warn, ..self }
    }
}

/// Takes each check as it is done.
pub(crate) type OnCheck<'a> = &'a mut dyn FnMut(Check);

/// Runs all checks.
pub(crate) async fn examine(settings: Outcome<Settings>, each: OnCheck<'_>) {
    programs::ffmpeg(each);
    #[cfg(feature = "worker")]
    checkpoint::check(each);
    programs::gpu(each);
    let settings = match settings {
        Ok(settings) => settings,
        // Without settings there is no library and no bucket to look at.
        Err(failure) => return each(Check::fail("settings", &failure)),
    };
    each(describe(&settings));
    library::check(&settings, each);
    disk::check(&settings, each);
    let client = Client::new(settings);
    bucket::check(&client, each).await;
    uploads::check(&client.settings, each);
}

/// The exit code's kind: of failures that need different hands, the one to mend first.
pub(crate) fn gravest(checks: &[Check]) -> Option<Kind> {
    let failed = || checks.iter().filter(|check| check.status == Level::Fail).map(|check| check.kind);
    [Kind::Config, Kind::Remote].into_iter().find(|kind| failed().any(|k| k == *kind)).or(failed().next())
}

fn describe(settings: &Settings) -> Check {
    use jobs::bucket::BucketLocation;
    let place = |place: &BucketLocation| match place {
        BucketLocation::Folder(folder) => format!("the folder {}", folder.display()),
        BucketLocation::S3(s3) => format!("bucket {} at {}", s3.bucket, s3.endpoint),
    };
    let message = match settings.cloud.is_remote() {
        true => format!("cloud jobs: {}; local jobs: {}", place(&settings.cloud), place(&settings.local)),
        false => format!("no R2_ settings: jobs are in {}", place(&settings.local)),
    };
    Check::ok("settings", message)
}
