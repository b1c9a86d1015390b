//! The state of submissions: stored apart from the app's tables, and migrated from older databases.

use rusqlite::types::Value;
use store::{JobRow, JobStatus, JobUpdate, NewJob, StoredTarget, SubmissionState};

use crate::app;
use crate::support::{TestDb, add, rows};

fn uploading(id: &str, video_id: i64) -> NewJob {
    NewJob {
        target: Some(StoredTarget::Cloud),
        progress_message: "uploading".into(),
        submission: Some(SubmissionState::Uploading),
        ..NewJob::new(id, video_id)
    }
}

fn job(db: &TestDb, id: &str) -> JobRow {
    db.library().job(id).unwrap().unwrap()
}

#[test]
fn a_submission_changes_its_state_with_its_job() {
    for (db, video) in [(TestDb::new(), 1), (app::database(""), app::VIDEO)] {
        let mut library = db.library();
        if video == 1 {
            add(&mut library, "a.mp4");
        }
        library.insert_job(&uploading("job", video)).unwrap();
        library.insert_job(&NewJob::new("other", video)).unwrap();
        assert!(job(&db, "job").is_uploading() && !job(&db, "other").is_uploading());
        assert_eq!(job(&db, "other").submission, None);

        let failed = JobUpdate {
            status: Some(JobStatus::Failed),
            submission: Some(SubmissionState::UploadFailed),
            ..JobUpdate::default()
        };
        assert!(library.update_job_if("job", JobStatus::OPEN, &failed).unwrap());
        assert!(job(&db, "job").has_failed_upload() && !job(&db, "job").is_uploading());
        // An update that does not apply leaves the state as it is.
        let submitted = JobUpdate { submission: Some(SubmissionState::Submitted), ..JobUpdate::default() };
        assert!(!library.update_job_if("job", JobStatus::OPEN, &submitted).unwrap());
        assert_eq!(job(&db, "job").submission, Some(SubmissionState::UploadFailed));
        library.update_job("job", &submitted).unwrap();
        assert_eq!(job(&db, "job").submission, Some(SubmissionState::Submitted));
        // Without a state in the update, it stays.
        library.update_job("job", &JobUpdate { progress_current: Some(1), ..JobUpdate::default() }).unwrap();
        assert_eq!(job(&db, "job").submission, Some(SubmissionState::Submitted));
    }
}

#[test]
fn the_state_of_a_removed_job_is_removed() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    for id in ["one", "two"] {
        library.insert_job(&uploading(id, video)).unwrap();
    }
    library.remove_job("one", true).unwrap();
    let left = || rows(&db.plain(), "SELECT id FROM courtside_jobs");
    assert_eq!(left(), [[Value::Text("two".into())]]);
    library.remove_video(video, true).unwrap();
    assert!(left().is_empty());
}

#[test]
fn unknown_states_are_kept() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    library.insert_job(&uploading("job", video)).unwrap();
    db.plain().execute("UPDATE courtside_jobs SET submission = 'paused'", []).unwrap();
    let paused = job(&db, "job").submission.unwrap();
    assert_eq!(paused, SubmissionState::Other("paused".into()));
    library.update_job("job", &JobUpdate { submission: Some(paused), ..JobUpdate::default() }).unwrap();
    let stored = rows(&db.plain(), "SELECT submission FROM courtside_jobs");
    assert_eq!(stored, [[Value::Text("paused".into())]]);
}
