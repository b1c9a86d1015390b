//! Imports: whole or not at all, the same twice, other results, bad data.

use serde_json::json;
use store::{
    Detection, DetectionQuery, ImportJob, ImportOutcome, JobStatus, JobUpdate, NewJob, ProcessingStatus,
    Produced, Select, StoreError, Target,
};
use time::OffsetDateTime;

use crate::support::{Place, add, detection, import, rows, text, two_tracks};

#[test]
fn what_was_imported_is_read_back() {
    let place = Place::new();
    let mut library = place.library();
    let video = add(&mut library, "a.mp4");
    // Sizes around the number of rows to a statement.
    for (n, n_frames) in [0, 1, 31, 32, 33, 64, 500].into_iter().enumerate() {
        let job = format!("job-{n}");
        let detections = two_tracks(n_frames);
        let report = import(&mut library, &job, video, "a", &detections).unwrap();
        assert_eq!((report.outcome, report.n_detections), (ImportOutcome::Imported, 2 * n_frames));
        let query = DetectionQuery { job_id: Some(job), ..DetectionQuery::default() };
        let there: Vec<Detection> =
            library.detections(video, &query).unwrap().iter().map(|row| row.detection).collect();
        assert_eq!(there, detections);
    }
}

#[test]
fn an_import_completes_its_job_and_its_video() {
    let place = Place::new();
    let mut library = place.library();
    let video = add(&mut library, "a.mp4");
    library.insert_job(&NewJob { target: Some(Target::Cloud), ..NewJob::new("job", video) }).unwrap();
    let error =
        JobUpdate { status: Some(JobStatus::Failed), error: Some("lost".into()), ..JobUpdate::default() };
    library.update_job("job", &error).unwrap();
    let completed_at = OffsetDateTime::from_unix_timestamp(1_714_588_205).unwrap();
    let import = ImportJob {
        started_at: Some(completed_at),
        worker_id: Some("w1".into()),
        target: Some(Target::Local),
        ..ImportJob::new("job", video, "a")
    };
    let report = library.import(&import, |sink| {
        sink.push(&two_tracks(3))?;
        Ok::<_, StoreError>(Produced { frames_processed: Some(500), completed_at: Some(completed_at) })
    });
    assert_eq!(report.unwrap().frames_processed, Some(500));

    let job = library.job("job").unwrap().unwrap();
    assert_eq!((job.status, job.imported, job.error), (JobStatus::Completed, true, None));
    assert_eq!((job.progress_current, job.progress_total), (500, 500));
    assert_eq!((job.started_at, job.completed_at), (Some(completed_at), Some(completed_at)));
    // What the library knew stays; what it did not know is filled.
    assert_eq!((job.target, job.worker_id.as_deref()), (Some(Target::Cloud), Some("w1")));
    let result = job.result.unwrap();
    assert_eq!((&result["detections"], &result["frames_processed"]), (&json!(6), &json!(500)));
    let video = library.video(video).unwrap().unwrap();
    assert_eq!((video.processed, video.processing_status), (true, ProcessingStatus::Completed));
}

#[test]
fn a_job_from_another_machine_is_added() {
    let place = Place::new();
    let mut library = place.library();
    let video = add(&mut library, "a.mp4");
    let created_at = OffsetDateTime::from_unix_timestamp(1_714_588_205).unwrap();
    let job = ImportJob {
        parameters: json!({ "sample_interval": 5 }),
        created_at: Some(created_at),
        r2_video_key: Some("videos/far.mp4".into()),
        ..ImportJob::new("far", video, "a")
    };
    // An older worker does not say how many frames it looked at.
    library.import(&job, |_| Ok::<_, StoreError>(Produced::default())).unwrap();
    let job = library.job("far").unwrap().unwrap();
    assert_eq!(
        (job.status, job.created_at, job.video_id),
        (JobStatus::Completed, Some(created_at), Some(video))
    );
    assert_eq!(job.parameters, Some(json!({ "sample_interval": 5 })));
    assert_eq!((job.progress_current, job.r2_video_key.as_deref()), (0, Some("videos/far.mp4")));
}

#[test]
fn the_same_twice_changes_nothing() {
    let place = Place::new();
    let mut library = place.library();
    let video = add(&mut library, "a.mp4");
    import(&mut library, "job", video, "a", &two_tracks(100)).unwrap();
    let before = place.dump();
    let report = library.import(&ImportJob::new("job", video, "a"), |_| -> Result<Produced, StoreError> {
        panic!("what is there is not read again")
    });
    let report = report.unwrap();
    assert_eq!((report.outcome, report.n_detections), (ImportOutcome::AlreadyImported, 200));
    assert_eq!(report.frames_processed, Some(1000));
    assert_eq!(place.dump(), before);
}

#[test]
fn the_same_again_mends_a_job_that_lags_behind() {
    let place = Place::new();
    let mut library = place.library();
    let video = add(&mut library, "a.mp4");
    import(&mut library, "job", video, "a", &two_tracks(10)).unwrap();
    library
        .update_job("job", &JobUpdate { status: Some(JobStatus::Processing), ..JobUpdate::default() })
        .unwrap();
    library.set_processing(video, ProcessingStatus::Processing).unwrap();
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
fn the_same_again_restores_what_was_removed() {
    let place = Place::new();
    let mut library = place.library();
    let video = add(&mut library, "a.mp4");
    import(&mut library, "job", video, "a", &two_tracks(10)).unwrap();
    place.plain().execute("DELETE FROM player_detections WHERE tracking_id = 2", []).unwrap();
    let report = import(&mut library, "job", video, "a", &two_tracks(10)).unwrap();
    assert_eq!(report.outcome, ImportOutcome::Replaced { n_removed: 10 });
    assert_eq!(library.detection_stats(Select::Job("job")).unwrap().total_detections, 20);
}

#[test]
fn other_results_replace_this_jobs_rows_and_no_others() {
    let place = Place::new();
    let mut library = place.library();
    let (video, other) = (add(&mut library, "a.mp4"), add(&mut library, "b.mp4"));
    import(&mut library, "one", video, "a", &two_tracks(100)).unwrap();
    import(&mut library, "two", video, "a", &two_tracks(7)).unwrap();
    import(&mut library, "three", other, "a", &two_tracks(5)).unwrap();
    // A row of the app, as its own INSERT makes it.
    let own = "INSERT INTO player_detections (video_id, frame_number, bbox_x, bbox_y, bbox_width, bbox_height, tracking_id,
        confidence_score) VALUES (1, 0, 1, 2, 3, 4, 9, 0.5)";
    place.plain().execute(own, []).unwrap();

    let report = import(&mut library, "one", video, "b", &two_tracks(30)).unwrap();
    assert_eq!(report.outcome, ImportOutcome::Replaced { n_removed: 200 });
    let count = |of| library.detection_stats(of).unwrap().total_detections;
    assert_eq!((count(Select::Job("one")), count(Select::Job("two"))), (60, 14));
    assert_eq!((count(Select::Job("three")), count(Select::Video(video))), (10, 60 + 14 + 1));
    let imports: Vec<String> =
        library.imports(video).unwrap().into_iter().map(|import| import.job_id).collect();
    assert_eq!(imports, ["one", "two"]);
}

#[test]
fn rows_that_reuse_the_ids_of_removed_ones_are_nobody_elses() {
    let place = Place::new();
    let mut library = place.library();
    let video = add(&mut library, "a.mp4");
    import(&mut library, "job", video, "a", &two_tracks(10)).unwrap();
    place
        .plain()
        .execute_batch(
            "DELETE FROM player_detections;
             INSERT INTO player_detections (video_id, frame_number, bbox_x, bbox_y, bbox_width, bbox_height, tracking_id,
                confidence_score) VALUES (1, 0, 1, 2, 3, 4, 9, 0.5)",
        )
        .unwrap();
    import(&mut library, "job", video, "b", &two_tracks(2)).unwrap();
    assert_eq!(library.remove_job("job", false).unwrap().n_detections, 4);
    assert_eq!(rows(&place.plain(), "SELECT tracking_id FROM player_detections").len(), 1);
}

#[test]
fn an_unknown_video_or_anothers_job_is_refused() {
    let place = Place::new();
    let mut library = place.library();
    let unknown = import(&mut library, "job", 5, "a", &two_tracks(1)).unwrap_err();
    assert!(matches!(unknown, StoreError::UnknownVideo(5)), "{unknown}");
    let (a, b) = (add(&mut library, "a.mp4"), add(&mut library, "b.mp4"));
    library.insert_job(&NewJob::new("known", a)).unwrap();
    import(&mut library, "imported", a, "a", &two_tracks(1)).unwrap();
    let before = place.dump();
    for job in ["known", "imported"] {
        let error = import(&mut library, job, b, "a", &two_tracks(1)).unwrap_err();
        assert!(matches!(&error, StoreError::Conflict(text) if text.contains("video 1")), "{error}");
    }
    assert_eq!(place.dump(), before);
}

#[test]
fn garbage_is_refused_by_name_and_nothing_is_kept() {
    let place = Place::new();
    let mut library = place.library();
    let video = add(&mut library, "a.mp4");
    import(&mut library, "job", video, "a", &two_tracks(3)).unwrap();
    let before = place.dump();
    let good = detection(8, 3);
    for (bad, what) in [
        (Detection { frame: -1, ..good }, "frame is negative"),
        (Detection { bbox: [f64::NAN, 0.0, 1.0, 1.0], ..good }, "finite"),
        (Detection { bbox: [0.0, f64::INFINITY, 1.0, 1.0], ..good }, "finite"),
        (Detection { bbox: [0.0, 0.0, -0.5, 1.0], ..good }, "-0.5 x 1"),
        (Detection { bbox: [0.0, 0.0, 1.0, f64::NEG_INFINITY], ..good }, "finite"),
        (Detection { confidence: f64::NAN, ..good }, "confidence"),
        (Detection { confidence: 1.01, ..good }, "confidence"),
        (Detection { confidence: -0.1, ..good }, "confidence"),
    ] {
        let mut detections = two_tracks(300);
        detections[517] = bad;
        for sha256 in ["a new one", "b"] {
            let error = import(&mut library, "job", video, sha256, &detections).unwrap_err();
            let message = error.to_string();
            assert!(matches!(error, StoreError::BadInput(_)), "{message}");
            assert!(message.starts_with("detection 517 (frame ") && message.contains(what), "{message}");
        }
        assert_eq!(place.dump(), before, "{what}");
    }
    // A box outside of the picture, or of no size, is somebody else's to judge.
    let odd = [Detection { bbox: [-5.0, -7.5, 0.0, 0.0], confidence: 1.0, ..good }];
    import(&mut library, "odd", video, "a", &odd).unwrap();
}

#[test]
fn an_error_of_the_reader_is_handed_back_and_nothing_is_kept() {
    #[derive(Debug)]
    enum Mine {
        Store(StoreError),
        Torn,
    }
    impl From<StoreError> for Mine {
        fn from(error: StoreError) -> Self {
            Self::Store(error)
        }
    }
    let place = Place::new();
    let mut library = place.library();
    let video = add(&mut library, "a.mp4");
    let before = place.dump();
    let torn = library.import(&ImportJob::new("job", video, "a"), |sink| {
        sink.push(&two_tracks(1000))?;
        Err(Mine::Torn)
    });
    assert!(matches!(torn, Err(Mine::Torn)), "{torn:?}");
    assert_eq!(place.dump(), before);
    let unknown = library.import(&ImportJob::new("job", 99, "a"), |_| Ok::<_, Mine>(Produced::default()));
    assert!(matches!(unknown, Err(Mine::Store(StoreError::UnknownVideo(99)))), "{unknown:?}");
}

#[test]
fn a_reader_that_ignores_an_error_imports_nothing() {
    let place = Place::new();
    let mut library = place.library();
    let video = add(&mut library, "a.mp4");
    let before = place.dump();
    let report = library.import(&ImportJob::new("job", video, "a"), |sink| {
        let _ = sink.push(&[Detection { frame: -1, ..detection(0, 0) }]);
        let after = sink.push(&two_tracks(2));
        assert!(after.is_err());
        Ok::<_, StoreError>(Produced::default())
    });
    assert!(matches!(report, Err(StoreError::Conflict(_))), "{report:?}");
    assert_eq!(place.dump(), before);
}

#[test]
fn rows_hold_no_more_than_the_app_expects() {
    let place = Place::new();
    let mut library = place.library();
    let video = add(&mut library, "a.mp4");
    import(&mut library, "job", video, "a", &[detection(4, 2)]).unwrap();
    let row = rows(
        &place.plain(),
        "SELECT video_id, frame_number, player_id, bbox_x, bbox_y, bbox_width, bbox_height, tracking_id, confidence_score
         FROM player_detections",
    );
    let row: Vec<String> = row[0].iter().map(text).collect();
    assert_eq!(row, ["1", "4", "null", "4.25", "2.5", "10", "20.75", "2", "0.5"]);
}
