//! Imports: atomic, repeated, with other results, with invalid data.

use serde_json::json;
use store::{
    DetectionQuery, DetectionScope, ImportJob, ImportOutcome, JobStatus, JobUpdate, NewJob, ProcessingStatus,
    ResultsSummary, StoreError, StoredDetection, StoredTarget,
};
use time::OffsetDateTime;

use crate::support::{TestDb, add, detection, import, rows, text, two_tracks};

#[test]
fn imported_detections_are_read_back() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    // Numbers of rows around the batch size.
    for (n, n_frames) in [0, 1, 31, 32, 33, 64, 500].into_iter().enumerate() {
        let job = format!("job-{n}");
        let detections = two_tracks(n_frames);
        let report = import(&mut library, &job, video, "a", &detections).unwrap();
        assert_eq!((report.outcome, report.n_detections), (ImportOutcome::Imported, 2 * n_frames));
        let found = library.detections(DetectionScope::Job(&job), &DetectionQuery::default()).unwrap();
        let there: Vec<StoredDetection> = found.iter().map(|row| row.detection).collect();
        assert_eq!(there, detections);
    }
}

#[test]
fn an_import_completes_its_job_and_video() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    library.insert_job(&NewJob { target: Some(StoredTarget::Cloud), ..NewJob::new("job", video) }).unwrap();
    let error =
        JobUpdate { status: Some(JobStatus::Failed), error: Some("lost".into()), ..JobUpdate::default() };
    library.update_job("job", &error).unwrap();
    let completed_at = OffsetDateTime::from_unix_timestamp(1_714_588_205).unwrap();
    let import = ImportJob {
        started_at: Some(completed_at),
        worker_id: Some("w1".into()),
        target: Some(StoredTarget::Local),
        ..ImportJob::new("job", video, "a")
    };
    let report = library.import(&import, |writer| {
        writer.push(&two_tracks(3))?;
        Ok::<_, StoreError>(ResultsSummary { frames_processed: Some(500), completed_at: Some(completed_at) })
    });
    assert_eq!(report.unwrap().frames_processed, Some(500));

    let job = library.job("job").unwrap().unwrap();
    assert_eq!((job.status, job.imported, job.error), (JobStatus::Completed, true, None));
    assert_eq!((job.progress_current, job.progress_total), (500, 500));
    assert_eq!((job.started_at, job.completed_at), (Some(completed_at), Some(completed_at)));
    // Known values stay, and missing ones are filled in.
    assert_eq!((job.target, job.worker_id.as_deref()), (Some(StoredTarget::Cloud), Some("w1")));
    let result = job.result.unwrap();
    assert_eq!((&result["detections"], &result["frames_processed"]), (&json!(6), &json!(500)));
    let video = library.video(video).unwrap().unwrap();
    assert_eq!((video.processed, video.processing_status), (true, ProcessingStatus::Completed));
}

#[test]
fn a_job_from_another_machine_is_added() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    let created_at = OffsetDateTime::from_unix_timestamp(1_714_588_205).unwrap();
    let job = ImportJob {
        parameters: json!({ "sample_interval": 5 }),
        created_at: Some(created_at),
        r2_video_key: Some("videos/far.mp4".into()),
        ..ImportJob::new("far", video, "a")
    };
    // An older worker does not report the number of processed frames.
    library.import(&job, |_| Ok::<_, StoreError>(ResultsSummary::default())).unwrap();
    let job = library.job("far").unwrap().unwrap();
    assert_eq!(
        (job.status, job.created_at, job.video_id),
        (JobStatus::Completed, Some(created_at), Some(video))
    );
    assert_eq!(job.parameters, Some(json!({ "sample_interval": 5 })));
    assert_eq!((job.progress_current, job.r2_video_key.as_deref()), (0, Some("videos/far.mp4")));
}

#[test]
fn importing_the_same_results_twice_changes_nothing() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    import(&mut library, "job", video, "a", &two_tracks(100)).unwrap();
    let before = db.dump();
    let report = library
        .import(&ImportJob::new("job", video, "a"), |_| -> Result<ResultsSummary, StoreError> {
            panic!("the results are not read again")
        });
    let report = report.unwrap();
    assert_eq!((report.outcome, report.n_detections), (ImportOutcome::AlreadyImported, 200));
    assert_eq!(report.frames_processed, Some(1000));
    assert_eq!(db.dump(), before);
}

#[test]
fn importing_again_completes_a_job_with_another_status() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    import(&mut library, "job", video, "a", &two_tracks(10)).unwrap();
    library
        .update_job("job", &JobUpdate { status: Some(JobStatus::Processing), ..JobUpdate::default() })
        .unwrap();
    library.set_processing_status(video, ProcessingStatus::Processing).unwrap();
    let report = import(&mut library, "job", video, "a", &two_tracks(10)).unwrap();
    assert_eq!(report.outcome, ImportOutcome::AlreadyImported);
    let job = library.job("job").unwrap().unwrap();
    assert_eq!(
        (job.status, job.completed_at.is_some(), job.result.is_some()),
        (JobStatus::Completed, true, true)
    );
    assert_eq!(library.video(video).unwrap().unwrap().processing_status, ProcessingStatus::Completed);
}

#[test]
fn importing_again_restores_deleted_rows() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    import(&mut library, "job", video, "a", &two_tracks(10)).unwrap();
    db.plain().execute("DELETE FROM player_detections WHERE tracking_id = 2", []).unwrap();
    let report = import(&mut library, "job", video, "a", &two_tracks(10)).unwrap();
    assert_eq!(report.outcome, ImportOutcome::Replaced { n_removed: 10 });
    assert_eq!(library.detection_stats(DetectionScope::Job("job")).unwrap().total_detections, 20);
}

#[test]
fn other_results_replace_only_the_rows_of_their_job() {
    let db = TestDb::new();
    let mut library = db.library();
    let (video, other) = (add(&mut library, "a.mp4"), add(&mut library, "b.mp4"));
    import(&mut library, "one", video, "a", &two_tracks(100)).unwrap();
    import(&mut library, "two", video, "a", &two_tracks(7)).unwrap();
    import(&mut library, "three", other, "a", &two_tracks(5)).unwrap();
    // A row that the app inserted.
    let own = "INSERT INTO player_detections (video_id, frame_number, bbox_x, bbox_y, bbox_width, bbox_height, tracking_id,
        confidence_score) VALUES (1, 0, 1, 2, 3, 4, 9, 0.5)";
    db.plain().execute(own, []).unwrap();

    let report = import(&mut library, "one", video, "b", &two_tracks(30)).unwrap();
    assert_eq!(report.outcome, ImportOutcome::Replaced { n_removed: 200 });
    let count = |of| library.detection_stats(of).unwrap().total_detections;
    assert_eq!((count(DetectionScope::Job("one")), count(DetectionScope::Job("two"))), (60, 14));
    let all = rows(&db.plain(), "SELECT count(*) FROM player_detections WHERE video_id = 1");
    assert_eq!((count(DetectionScope::Job("three")), text(&all[0][0])), (10, (60 + 14 + 1).to_string()));
    let imports: Vec<String> =
        library.imports(video).unwrap().into_iter().map(|import| import.job_id).collect();
    assert_eq!(imports, ["one", "two"]);
}

#[test]
fn rows_with_reused_ids_are_not_removed() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    import(&mut library, "job", video, "a", &two_tracks(10)).unwrap();
    db
        .plain()
        .execute_batch(
            "DELETE FROM player_detections;
             INSERT INTO player_detections (video_id, frame_number, bbox_x, bbox_y, bbox_width, bbox_height, tracking_id,
                confidence_score) VALUES (1, 0, 1, 2, 3, 4, 9, 0.5)",
        )
        .unwrap();
    import(&mut library, "job", video, "b", &two_tracks(2)).unwrap();
    assert_eq!(library.remove_job("job", false).unwrap().n_detections, 4);
    assert_eq!(rows(&db.plain(), "SELECT tracking_id FROM player_detections").len(), 1);
}

#[test]
fn unknown_videos_and_jobs_of_other_videos_are_rejected() {
    let db = TestDb::new();
    let mut library = db.library();
    let unknown = import(&mut library, "job", 5, "a", &two_tracks(1)).unwrap_err();
    assert!(matches!(unknown, StoreError::UnknownVideo(5)), "{unknown}");
    let (a, b) = (add(&mut library, "a.mp4"), add(&mut library, "b.mp4"));
    library.insert_job(&NewJob::new("known", a)).unwrap();
    import(&mut library, "imported", a, "a", &two_tracks(1)).unwrap();
    let before = db.dump();
    for job in ["known", "imported"] {
        let error = import(&mut library, job, b, "a", &two_tracks(1)).unwrap_err();
        assert!(matches!(&error, StoreError::Conflict(text) if text.contains("video 1")), "{error}");
    }
    assert_eq!(db.dump(), before);
}

#[test]
fn invalid_detections_are_named_and_roll_back_the_import() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    import(&mut library, "job", video, "a", &two_tracks(3)).unwrap();
    let before = db.dump();
    let good = detection(8, 3);
    for (bad, what) in [
        (StoredDetection { frame: -1, ..good }, "frame is negative"),
        (StoredDetection { bbox: [f64::NAN, 0.0, 1.0, 1.0], ..good }, "finite"),
        (StoredDetection { bbox: [0.0, f64::INFINITY, 1.0, 1.0], ..good }, "finite"),
        (StoredDetection { bbox: [0.0, 0.0, -0.5, 1.0], ..good }, "-0.5 x 1"),
        (StoredDetection { bbox: [0.0, 0.0, 1.0, f64::NEG_INFINITY], ..good }, "finite"),
        (StoredDetection { confidence: f64::NAN, ..good }, "confidence"),
        (StoredDetection { confidence: 1.01, ..good }, "confidence"),
        (StoredDetection { confidence: -0.1, ..good }, "confidence"),
    ] {
        let mut detections = two_tracks(300);
        detections[517] = bad;
        for sha256 in ["a new one", "b"] {
            let error = import(&mut library, "job", video, sha256, &detections).unwrap_err();
            let message = error.to_string();
            assert!(matches!(error, StoreError::BadInput(_)), "{message}");
            assert!(message.starts_with("detection 517 (frame ") && message.contains(what), "{message}");
        }
        assert_eq!(db.dump(), before, "{what}");
    }
    // A box outside the frame, or without size, is accepted.
    let odd = [StoredDetection { bbox: [-5.0, -7.5, 0.0, 0.0], confidence: 1.0, ..good }];
    import(&mut library, "odd", video, "a", &odd).unwrap();
}

#[test]
fn an_error_of_the_caller_is_returned_and_rolls_back_the_import() {
    #[derive(Debug)]
    enum CallerError {
        Store(StoreError),
        Truncated,
    }
    impl From<StoreError> for CallerError {
        fn from(error: StoreError) -> Self {
            Self::Store(error)
        }
    }
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    let before = db.dump();
    let truncated = library.import(&ImportJob::new("job", video, "a"), |writer| {
        writer.push(&two_tracks(1000))?;
        Err(CallerError::Truncated)
    });
    assert!(matches!(truncated, Err(CallerError::Truncated)), "{truncated:?}");
    assert_eq!(db.dump(), before);
    let unknown =
        library.import(&ImportJob::new("job", 99, "a"), |_| Ok::<_, CallerError>(ResultsSummary::default()));
    assert!(matches!(unknown, Err(CallerError::Store(StoreError::UnknownVideo(99)))), "{unknown:?}");
}

#[test]
fn a_caller_that_ignores_an_error_imports_nothing() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    let before = db.dump();
    let report = library.import(&ImportJob::new("job", video, "a"), |writer| {
        let _ = writer.push(&[StoredDetection { frame: -1, ..detection(0, 0) }]);
        let after = writer.push(&two_tracks(2));
        assert!(after.is_err());
        Ok::<_, StoreError>(ResultsSummary::default())
    });
    assert!(matches!(report, Err(StoreError::Conflict(_))), "{report:?}");
    assert_eq!(db.dump(), before);
}

#[test]
fn rows_have_the_values_that_the_app_expects() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    import(&mut library, "job", video, "a", &[detection(4, 2)]).unwrap();
    let row = rows(
        &db.plain(),
        "SELECT video_id, frame_number, player_id, bbox_x, bbox_y, bbox_width, bbox_height, tracking_id, confidence_score
         FROM player_detections",
    );
    let row: Vec<String> = row[0].iter().map(text).collect();
    assert_eq!(row, ["1", "4", "null", "4.25", "2.5", "10", "20.75", "2", "0.5"]);
}

#[test]
fn a_track_that_is_twice_on_a_frame_rolls_the_import_back() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    let before = db.dump();
    let far_apart = |repeated: StoredDetection| {
        let mut detections = two_tracks(100);
        detections.push(repeated);
        detections
    };
    for (what, detections) in [
        ("next to each other", vec![detection(3, 1), detection(3, 1)]),
        ("on a frame that is ordered otherwise", vec![detection(3, 2), detection(3, 1), detection(3, 2)]),
        ("far apart", far_apart(detection(3, 1))),
    ] {
        let error = import(&mut library, "job", video, "a", &detections).unwrap_err();
        let StoreError::BadInput(why) = &error else { panic!("{what}: {error}") };
        assert!(why.contains("is twice on frame 3"), "{what}: {why}");
        assert_eq!(db.dump(), before, "{what}");
    }
    // In any other order, they are imported.
    import(&mut library, "job", video, "a", &far_apart(detection(3, 7))).unwrap();
}
