//! Uploads that were begun and not finished.

use super::{Check, OnCheck};
use client::settings::Settings;

const NAME: &str = "uploads";

pub(super) fn check(settings: &Settings, each: OnCheck<'_>) {
    let folder = settings.scratch().join("uploads");
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut jobs: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok()?.strip_suffix(".json").map(str::to_owned))
        .collect();
    jobs.sort();
    each(match jobs.is_empty() {
        true => Check::ok(NAME, "none is unfinished"),
        false => Check::warn(
            NAME,
            format!("unfinished: {}", jobs.join(", ")),
            format!(
                "the same `courtside submit` goes on with them; to give them up, remove their files in {}",
                folder.display()
            ),
        ),
    });
}
