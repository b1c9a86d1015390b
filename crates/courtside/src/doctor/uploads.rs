//! Uploads that were interrupted, and neither resumed nor cancelled.

use std::collections::BTreeSet;

use store::Library;

use super::{Check, OnCheck};
use client::failure::Outcome;
use client::settings::Settings;

const NAME: &str = "uploads";

pub(super) fn check(settings: &Settings, on_check: OnCheck<'_>) {
    // The check of the database reports its errors.
    inspect(settings).into_iter().for_each(on_check);
}

fn inspect(settings: &Settings) -> Outcome<Check> {
    let mut unfinished: BTreeSet<String> = journals(settings).collect();
    if let Some(library) = Library::open_existing(&settings.database_url)? {
        unfinished
            .extend(library.open_jobs()?.into_iter().filter(|job| job.is_uploading()).map(|job| job.id));
    }
    Ok(match unfinished.first() {
        None => Check::ok(NAME, "none unfinished"),
        Some(id) => {
            let jobs: Vec<&str> = unfinished.iter().map(String::as_str).collect();
            let hint = format!(
                "resume with `courtside submit --resume {id}`, or discard with `courtside cancel {id}`"
            );
            Check::warn(NAME, format!("unfinished: {}", jobs.join(", ")), hint)
        }
    })
}

/// The jobs of which parts were sent to a server.
fn journals(settings: &Settings) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(settings.scratch().join("uploads")).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.file_name().into_string().ok()?.strip_suffix(".json")?.to_owned()))
}
