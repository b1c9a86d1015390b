//! Random sequences of imports and removals, compared with a model of the rows of each job.

use std::collections::BTreeMap;

use store::{DetectionScope, ImportOutcome, StoreError};

use crate::app;
use crate::support::{TestDb, add, import, rows, two_tracks};

/// A SplitMix64 random number generator.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// The expected content: for each job its video, the version of its results and its number of rows.
type Model = BTreeMap<String, (i64, u64, i64)>;

fn step(random: &mut Random, library: &mut store::Library, model: &mut Model) {
    let job = random.below(6);
    let video = 1 + (job % 3) as i64;
    let id = format!("job-{job}");
    match random.below(10) {
        0 => match library.remove_job(&id, false) {
            Ok(removed) => assert_eq!(removed.n_detections, model.remove(&id).unwrap().2),
            Err(error) => {
                assert!(matches!(error, StoreError::UnknownJob(_)) && !model.contains_key(&id), "{error}")
            }
        },
        1 => {
            // An invalid detection at the end rolls back the import.
            let mut detections = two_tracks(random.below(60) as i64 + 1);
            detections.last_mut().unwrap().frame = -1;
            let error = import(library, &id, video, "bad", &detections).unwrap_err();
            assert!(matches!(error, StoreError::BadInput(_)), "{error}");
        }
        _ => {
            // The version determines the results, like a checksum.
            let version = random.below(3);
            let n_frames = (version * 40 + job) as i64;
            let report = import(library, &id, video, &version.to_string(), &two_tracks(n_frames)).unwrap();
            let expected = match model.get(&id) {
                None => ImportOutcome::Imported,
                Some((_, before, _)) if *before == version => ImportOutcome::AlreadyImported,
                Some((_, _, n_removed)) => ImportOutcome::Replaced { n_removed: *n_removed },
            };
            assert_eq!(report.outcome, expected);
            model.insert(id, (video, version, 2 * n_frames));
        }
    }
}

#[test]
fn every_job_has_the_rows_of_its_last_import() {
    for (seed, db) in [(1, TestDb::new()), (2, TestDb::new()), (3, app::database(""))] {
        let mut random = Random(seed);
        let mut library = db.library();
        // The app's database has a video 4 with two rows of its own; videos 1 to 3 are added to both.
        for id in 1..=3 {
            add_as(&db, &mut library, id);
        }
        let own = library.detection_stats(DetectionScope::Video(app::VIDEO)).unwrap().total_detections;
        let mut model = Model::new();
        for n in 0..150 {
            step(&mut random, &mut library, &mut model);
            let jobs = (0..6).map(|job| format!("job-{job}"));
            for job in jobs {
                let there = library.detection_stats(DetectionScope::Job(&job)).unwrap().total_detections;
                assert_eq!(there, model.get(&job).map_or(0, |job| job.2), "seed {seed}, step {n}, {job}");
            }
            for video in 1..=3 {
                let sql = format!("SELECT count(*) FROM player_detections WHERE video_id = {video}");
                let expected: i64 = model.values().filter(|job| job.0 == video).map(|job| job.2).sum();
                assert_eq!(
                    rows(&db.plain(), &sql),
                    [[expected.into()]],
                    "seed {seed}, step {n}, video {video}"
                );
            }
        }
        assert_eq!(library.detection_stats(DetectionScope::Video(app::VIDEO)).unwrap().total_detections, own);
        assert!(rows(&db.plain(), "PRAGMA foreign_key_check").is_empty());
        assert_eq!(crate::support::text(&rows(&db.plain(), "PRAGMA integrity_check")[0][0]), "ok");
    }
}

/// Adds a video and ensures that it gets this id.
fn add_as(db: &TestDb, library: &mut store::Library, id: i64) {
    let conn = db.plain();
    if rows(&conn, "SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version'").is_empty() {
        assert_eq!(add(library, &format!("{id}.mp4")), id);
    } else {
        conn.execute(
            "INSERT INTO videos (id, game_id, file_path, duration_seconds, fps, resolution, upload_date, processed,
                processing_status) VALUES (?1, 1, 'x.mp4', 1, 1, '1x1', '2024-06-01 00:00:00.000000', 0, 'PENDING')",
            [id],
        )
        .unwrap();
    }
}
