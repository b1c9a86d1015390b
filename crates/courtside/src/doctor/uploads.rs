//! Uploads that were interrupted and neither resumed nor cancelled.

use super::{Check, OnCheck};
use client::settings::Settings;

const NAME: &str = "uploads";

pub(super) fn check(settings: &Settings, on_check: OnCheck<'_>) {
    let folder = settings.scratch().join("uploads");
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut jobs: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok()?.strip_suffix(".json").map(str::to_owned))
        .collect();
    jobs.sort();
    on_check(match jobs.is_empty() {
        true => Check::ok(NAME, "none unfinished"),
        false => Check::warn(
            NAME,
            format!("unfinished: {}", jobs.join(", ")),
            "resume with `courtside retry JOB`, or discard with `courtside cancel JOB`",
        ),
    });
}
