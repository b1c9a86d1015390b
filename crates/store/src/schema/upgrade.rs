//! Moves what version 1 stored in columns that it had added to the app's tables into courtside's own tables. The columns
//! stay: the app may have copied them into new tables since, and it does not mind them.

use rusqlite::Connection;

use crate::error::Result;
use crate::schema::columns::Columns;

const FINGERPRINTS: &str = "INSERT OR IGNORE INTO courtside_videos
        (video_id, added, n_frames, size_bytes, modified_ns, sha256)
    SELECT id, upload_date, n_frames, size_bytes, modified_ns, sha256 FROM videos";

/// Version 1 inserted the rows of an import in one transaction, so their ids are consecutive.
const RANGES: &str = "
    INSERT INTO courtside_writes (id, job_id, video_id, alive_at) SELECT id, job_id, video_id, 0 FROM courtside_imports;
    UPDATE courtside_imports SET write_id = id;
    INSERT INTO courtside_ranges (write_id, first_id, last_id, first_frame, first_x, first_y)
    SELECT i.id, i.first_detection_id, i.last_detection_id, d.frame_number, d.bbox_x, d.bbox_y
    FROM courtside_imports AS i JOIN player_detections AS d ON d.id = i.first_detection_id AND d.import_id = i.id;";

/// The jobs that courtside wrote into the app's table. Those that are not over are taken out of it, because the app's
/// worker runs them. Older versions recognized an unfinished submission by its message.
const JOBS: &str = "
    INSERT INTO courtside_jobs (id, job_type, status, video_id, parameters, progress_current, progress_total,
        progress_message, result, error_message, created_at, started_at, completed_at, worker_id, target, r2_video_key,
        published, submission)
    SELECT id, job_type, status, video_id, parameters, progress_current, progress_total, progress_message, result,
        error_message, created_at, started_at, completed_at, worker_id, target, r2_video_key,
        CASE WHEN status IN ('PENDING', 'PROCESSING') THEN NULL ELSE status END,
        CASE WHEN status = 'PENDING' AND progress_message = 'uploading' THEN 'uploading'
            WHEN status = 'FAILED' AND progress_message = 'the upload failed' THEN 'upload_failed' END
    FROM processing_jobs
    WHERE target IS NOT NULL OR id IN (SELECT id FROM courtside_jobs) OR id IN (SELECT job_id FROM courtside_imports)
    ON CONFLICT (id) DO UPDATE SET job_type = excluded.job_type, status = excluded.status, video_id = excluded.video_id,
        parameters = excluded.parameters, progress_current = excluded.progress_current,
        progress_total = excluded.progress_total, progress_message = excluded.progress_message,
        result = excluded.result, error_message = excluded.error_message, created_at = excluded.created_at,
        started_at = excluded.started_at, completed_at = excluded.completed_at, worker_id = excluded.worker_id,
        target = excluded.target, r2_video_key = excluded.r2_video_key, published = excluded.published,
        submission = coalesce(submission, excluded.submission);
    DELETE FROM courtside_jobs WHERE status IS NULL;
    DELETE FROM processing_jobs
        WHERE status IN ('PENDING', 'PROCESSING') AND id IN (SELECT id FROM courtside_jobs);";

/// Version 1 stored a time with the date of a game in files that it created.
const DATES: &str = "UPDATE games SET date = substr(date, 1, 10) WHERE length(date) > 10";

/// Version 2 stored the tracks of imports by the import, without what shows whether they are current. They are computed
/// again; see `tracks::complete_older_imports`.
pub(super) const TRACKS: &str = "DROP TABLE IF EXISTS courtside_tracks;
    UPDATE courtside_imports SET n_frames_with_detections = NULL;";

/// The statements that bring a file of version 1 to version 2. They run after the missing tables and columns were added.
/// `is_own`: courtside created the file.
pub(super) fn from_1(conn: &Connection, is_own: bool) -> Result<Vec<String>> {
    let has = |table: &str, column: &str| Ok(Columns::of(conn, table)?.has(column));
    let mut statements = Vec::new();
    if has("videos", "n_frames")? {
        statements.push(FINGERPRINTS.to_owned());
    }
    if has("player_detections", "import_id")? {
        statements.push(RANGES.to_owned());
    }
    if has("processing_jobs", "target")? {
        statements.push(JOBS.to_owned());
    }
    if is_own {
        statements.push(DATES.to_owned());
    }
    Ok(statements)
}
