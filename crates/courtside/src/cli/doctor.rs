//! `courtside doctor`.

use std::fmt;
use std::io::Write;

use serde::Serialize;

use crate::doctor::{Check, Level, exit_kind, run_checks};
use client::failure::{Failure, Kind, Outcome};
use client::settings::Settings;
use client::terminal::{Wrapped, printable, width};

/// Check that everything Courtside needs is available
///
/// Checks ffmpeg, the model, the GPU, the settings, the database, free disk space, the bucket, the clock,
/// unfinished uploads and rented machines. The bucket check writes temporary objects under probe/ and deletes
/// them again. Courtside's tables in the database may be updated, as by any other command. Warnings do not affect
/// the exit code.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Create the bucket that the settings name, if it does not exist
    #[arg(long)]
    create_bucket: bool,
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Failure::new(Kind::Failed, e).context("cannot start threads"))?;
        let mut checks = Vec::new();
        let mut on_check = |check: Check| {
            // Shown immediately: the next check may wait for a server.
            if !json {
                show(&check);
            }
            checks.push(check);
        };
        runtime.block_on(run_checks(Settings::from_env(), self.create_bucket, &mut on_check));
        let n_failed = checks.iter().filter(|check| check.status == Level::Fail).count();
        if json {
            super::print(&Report { ok: n_failed == 0, checks: &checks }, json)?;
        }
        match exit_kind(&checks) {
            None => Ok(()),
            Some(kind) => Err(Failure::msg(kind, format!("{n_failed} of {} checks failed", checks.len()))),
        }
    }
}

fn show(check: &Check) {
    let mark = match check.status {
        Level::Ok => "ok",
        Level::Warn => "warn",
        Level::Fail => "FAIL",
    };
    let text = format!("{} {}", check.name, printable(&check.message));
    let mut lines = format!("{mark:<5} {:<12} {}\n", check.name, printable(&check.message));
    if width().is_some_and(|width| lines.chars().count() > width) {
        lines = format!("{mark:<5} {}", Wrapped::new(&text, 6).to_string().trim_start());
    }
    if let Some(hint) = &check.hint {
        lines += &Wrapped::new(&format!("hint: {}", printable(hint)), 19).to_string();
    }
    // A closed pipe is not an error.
    let _ = std::io::stdout().write_all(lines.as_bytes());
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    ok: bool,
    checks: &'a [Check],
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} checks", self.checks.len())
    }
}
