//! `courtside doctor`.

use std::io::Write;

use serde::Serialize;

use crate::doctor::{Check, Level, examine, gravest};
use client::failure::{Failure, Kind, Outcome};
use client::settings::Settings;
use client::terminal::printable;

/// Checks whether everything that work needs is there: ffmpeg, checkpoint, database, disk, bucket, clock.
///
/// Nothing is left behind: throw-away objects under probe/ in the bucket are removed again. A database is opened as
/// every command opens it, which adds what is missing. The exit code is that of the gravest
/// failure; warnings leave it at 0.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Runs the command.
pub(super) fn run(_args: &Args, json: bool) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::new(Kind::Failed, e).context("cannot start threads"))?;
    let mut checks = Vec::new();
    let mut each = |check: Check| {
        // As it comes: a server that does not answer takes its time.
        if !json {
            show(&check);
        }
        checks.push(check);
    };
    runtime.block_on(examine(Settings::from_env(), &mut each));
    let n_failed = checks.iter().filter(|check| check.status == Level::Fail).count();
    if json {
        super::print(&Report { ok: n_failed == 0, checks: &checks }, json)?;
    }
    match gravest(&checks) {
        None => Ok(()),
        Some(kind) => Err(Failure::msg(kind, format!("{n_failed} of {} checks failed", checks.len()))),
    }
}

fn show(check: &Check) {
    let mark = match check.status {
        Level::Ok => "ok",
        Level::Warn => "warn",
        Level::Fail => "FAIL",
    };
    let mut lines = format!("{mark:<5} {:<11} {}\n", check.name, printable(&check.message));
    if let Some(hint) = &check.hint {
        lines += &format!("{:<18}-> {}\n", "", printable(hint));
    }
    // A reader that has seen enough is no error.
    let _ = std::io::stdout().write_all(lines.as_bytes());
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    ok: bool,
    checks: &'a [Check],
}

impl std::fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} checks", self.checks.len())
    }
}
