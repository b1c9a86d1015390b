//! Adding, listing and updating jobs.

use serde_json::json;
use store::{
    JobFilter, JobRow, JobStatus, JobType, JobUpdate, NewJob, StoreError, StoredTarget, SubmissionState,
};
use time::{Duration, OffsetDateTime};

use crate::support::{TestDb, add, import, two_tracks};

fn start() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_714_588_205).unwrap() + Duration::microseconds(123_456)
}

fn ids(jobs: Vec<JobRow>) -> Vec<String> {
    jobs.into_iter().map(|job| job.id).collect()
}

#[test]
fn a_job_is_read_back_as_added() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    let new = NewJob {
        job_type: JobType::TrackReprocess,
        parameters: json!({ "prompt": "player \"7\"", "sample_interval": 2 }),
        created_at: start(),
        progress_total: 900,
        target: Some(StoredTarget::Cloud),
        r2_video_key: Some("videos/job.mp4".into()),
        submission: Some(SubmissionState::Uploading),
        ..NewJob::new("job", video)
    };
    library.insert_job(&new).unwrap();
    let job = library.job("job").unwrap().unwrap();
    let expected = JobRow {
        id: "job".into(),
        job_type: JobType::TrackReprocess,
        status: JobStatus::Pending,
        video_id: Some(video),
        parameters: Some(new.parameters.clone()),
        progress_current: 0,
        progress_total: 900,
        progress_message: Some(String::new()),
        result: None,
        error: None,
        created_at: Some(start()),
        started_at: None,
        completed_at: None,
        worker_id: None,
        target: Some(StoredTarget::Cloud),
        r2_video_key: Some("videos/job.mp4".into()),
        imported: false,
        submission: Some(SubmissionState::Uploading),
        unreadable: Vec::new(),
    };
    assert_eq!(job, expected);
    assert_eq!(library.job("none").unwrap(), None);
}

#[test]
fn invalid_jobs_are_rejected() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    library.insert_job(&NewJob::new("job", video)).unwrap();
    assert!(matches!(library.insert_job(&NewJob::new("job", video)), Err(StoreError::Conflict(_))));
    assert!(matches!(library.insert_job(&NewJob::new("other", 9)), Err(StoreError::UnknownVideo(9))));
    for id in ["", &"x".repeat(37)] {
        assert!(matches!(library.insert_job(&NewJob::new(id, video)), Err(StoreError::BadInput(_))));
    }
    assert_eq!(ids(library.jobs(&JobFilter::default()).unwrap()), ["job"]);
}

#[test]
fn jobs_are_listed_newest_first_and_filtered() {
    let db = TestDb::new();
    let mut library = db.library();
    let (a, b) = (add(&mut library, "a.mp4"), add(&mut library, "b.mp4"));
    for (id, video, minutes) in [("oldest", a, 0), ("newest", a, 9), ("middle", b, 5), ("twin", b, 5)] {
        let created_at = start() + Duration::minutes(minutes);
        library.insert_job(&NewJob { created_at, ..NewJob::new(id, video) }).unwrap();
    }
    // Times in the format of other programs are ordered correctly.
    db.plain()
        .execute("UPDATE processing_jobs SET created_at = '2024-05-01T18:31:05Z' WHERE id = 'oldest'", [])
        .unwrap();
    let status = |status| JobUpdate { status: Some(status), ..JobUpdate::default() };
    library.update_job("newest", &status(JobStatus::Processing)).unwrap();
    library.update_job("middle", &status(JobStatus::Cancelled)).unwrap();
    import(&mut library, "oldest", a, "a", &two_tracks(1)).unwrap();

    let list = |filter: JobFilter<'_>| ids(library.jobs(&filter).unwrap());
    let all = JobFilter::default();
    assert_eq!(list(all), ["newest", "twin", "middle", "oldest"]);
    assert_eq!(list(JobFilter { limit: Some(2), ..all }), ["newest", "twin"]);
    assert_eq!(list(JobFilter { video_id: Some(b), ..all }), ["twin", "middle"]);
    assert_eq!(
        list(JobFilter { statuses: &[JobStatus::Cancelled, JobStatus::Completed], ..all }),
        ["middle", "oldest"]
    );
    assert_eq!(list(JobFilter { imported: Some(true), ..all }), ["oldest"]);
    assert_eq!(list(JobFilter { imported: Some(false), video_id: Some(a), ..all }), ["newest"]);
    assert_eq!(ids(library.open_jobs().unwrap()), ["newest", "twin"]);
}

#[test]
fn an_update_changes_only_its_fields() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    library.insert_job(&NewJob::new("job", video)).unwrap();
    let update = JobUpdate {
        status: Some(JobStatus::Processing),
        progress_current: Some(10),
        progress_total: Some(100),
        progress_message: Some("tracking".into()),
        started_at: Some(start()),
        worker_id: Some("w1".into()),
        r2_video_key: Some("videos/job.mp4".into()),
        ..JobUpdate::default()
    };
    library.update_job("job", &update).unwrap();
    library.update_job("job", &JobUpdate { progress_current: Some(20), ..JobUpdate::default() }).unwrap();
    let job = library.job("job").unwrap().unwrap();
    assert_eq!((job.status, job.progress_current, job.progress_total), (JobStatus::Processing, 20, 100));
    assert_eq!((job.progress_message.as_deref(), job.started_at), (Some("tracking"), Some(start())));
    assert_eq!((job.worker_id.as_deref(), job.r2_video_key.as_deref()), (Some("w1"), Some("videos/job.mp4")));
    assert!(matches!(library.update_job("none", &update), Err(StoreError::UnknownJob(_))));
}

#[test]
fn reopening_a_job_clears_its_result() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    library.insert_job(&NewJob::new("job", video)).unwrap();
    let failed = JobUpdate {
        status: Some(JobStatus::Failed),
        error: Some("no frames".into()),
        started_at: Some(start()),
        completed_at: Some(start()),
        worker_id: Some("w1".into()),
        result: Some(json!({ "frames": 0 })),
        ..JobUpdate::default()
    };
    library.update_job("job", &failed).unwrap();
    assert_eq!(library.job("job").unwrap().unwrap().error.as_deref(), Some("no frames"));

    let reopened = JobUpdate { status: Some(JobStatus::Processing), ..JobUpdate::default() };
    library.update_job("job", &reopened).unwrap();
    let job = library.job("job").unwrap().unwrap();
    assert_eq!((job.error, job.completed_at, job.result), (None, None, None));
    assert_eq!((job.started_at, job.worker_id.as_deref()), (Some(start()), Some("w1")));

    library.update_job("job", &failed).unwrap();
    library
        .update_job("job", &JobUpdate { status: Some(JobStatus::Pending), ..JobUpdate::default() })
        .unwrap();
    let job = library.job("job").unwrap().unwrap();
    assert_eq!((job.error, job.completed_at, job.result), (None, None, None));
    assert_eq!((job.started_at, job.worker_id), (None, None));
}

#[test]
fn a_conditional_update_checks_the_status() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    library.insert_job(&NewJob::new("job", video)).unwrap();
    let cancel = JobUpdate { status: Some(JobStatus::Cancelled), ..JobUpdate::default() };
    assert!(library.update_job_if("job", JobStatus::OPEN, &cancel).unwrap());
    let late = JobUpdate { status: Some(JobStatus::Processing), ..JobUpdate::default() };
    assert!(!library.update_job_if("job", JobStatus::OPEN, &late).unwrap());
    assert!(!library.update_job_if("none", JobStatus::OPEN, &late).unwrap());
    assert!(!library.update_job_if("job", &[], &late).unwrap());
    assert_eq!(library.job("job").unwrap().unwrap().status, JobStatus::Cancelled);
}
