//! Reading a row of a job, which the app may have written.

use rusqlite::Row;
use rusqlite::types::Value;

use super::JobRow;
use crate::enums::{JobStatus, JobType, StoredTarget, SubmissionState};
use crate::values::Reader;

/// A row as it was read.
pub(super) enum Read {
    Job(Box<JobRow>),
    /// The id, the type or the status is not known, without which a job cannot be shown. The text says why.
    Skipped(String),
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Read> {
    let values = Reader::new(row);
    let id = values.get::<String>("id");
    let kind = values.parsed("job_type", JobType::from_name);
    let status = values.parsed("status", JobStatus::from_name);
    let (Some(id), Some(job_type), Some(status)) = (id, kind, status) else {
        return Ok(Read::Skipped(format!("job {}: {}", name(row), reason(values))));
    };
    Ok(Read::Job(Box::new(JobRow {
        id,
        job_type,
        status,
        video_id: values.get("video_id"),
        parameters: values.json("parameters"),
        progress_current: values.get("progress_current").unwrap_or(0),
        progress_total: values.get("progress_total").unwrap_or(0),
        progress_message: values.get("progress_message"),
        result: values.json("result"),
        error: values.get("error_message"),
        created_at: values.time("created_at"),
        started_at: values.time("started_at"),
        completed_at: values.time("completed_at"),
        worker_id: values.get("worker_id"),
        target: values.parsed("target", StoredTarget::from_name),
        r2_video_key: values.get("r2_video_key"),
        imported: row.get("imported")?,
        submission: values.get::<String>("submission").map(|name| SubmissionState::from_name(&name)),
        unreadable: values.unreadable(),
    })))
}

fn name(row: &Row<'_>) -> String {
    match row.get("id") {
        Ok(Value::Text(id)) => id,
        Ok(Value::Integer(id)) => id.to_string(),
        _ => "without an id".to_owned(),
    }
}

fn reason(values: Reader<'_, '_>) -> String {
    match values.unreadable() {
        unreadable if unreadable.is_empty() => "its id, type or status is null".to_owned(),
        unreadable => format!("{}, which is not known", unreadable.join(", ")),
    }
}
