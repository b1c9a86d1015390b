//! Random sequences of imports and removals against a model of what each job has.

use std::collections::BTreeMap;

use store::{ImportOutcome, Select, StoreError};

use crate::app;
use crate::support::{Place, add, import, rows, two_tracks};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// What the library should hold: for each job its video, its results' mark and its number of rows.
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
            // Garbage at the end: nothing of it stays.
            let mut detections = two_tracks(random.below(60) as i64 + 1);
            detections.last_mut().unwrap().frame = -1;
            let error = import(library, &id, video, "bad", &detections).unwrap_err();
            assert!(matches!(error, StoreError::BadInput(_)), "{error}");
        }
        _ => {
            // The mark decides the results, as a checksum does.
            let mark = random.below(3);
            let n_frames = (mark * 40 + job) as i64;
            let report = import(library, &id, video, &mark.to_string(), &two_tracks(n_frames)).unwrap();
            let expected = match model.get(&id) {
                None => ImportOutcome::Imported,
                Some((_, before, _)) if *before == mark => ImportOutcome::AlreadyImported,
                Some((_, _, n_removed)) => ImportOutcome::Replaced { n_removed: *n_removed },
            };
            assert_eq!(report.outcome, expected);
            model.insert(id, (video, mark, 2 * n_frames));
        }
    }
}

#[test]
fn every_job_has_what_its_last_import_brought() {
    for (seed, place) in [(1, Place::new()), (2, Place::new()), (3, app::database(""))] {
        let mut random = Random(seed);
        let mut library = place.library();
        // The app's database has a video 4 with two rows of its own; videos 1 to 3 are added to both.
        for id in 1..=3 {
            add_as(&place, &mut library, id);
        }
        let own = library.detection_stats(Select::Video(app::VIDEO)).unwrap().total_detections;
        let mut model = Model::new();
        for n in 0..150 {
            step(&mut random, &mut library, &mut model);
            let jobs = (0..6).map(|job| format!("job-{job}"));
            for job in jobs {
                let there = library.detection_stats(Select::Job(&job)).unwrap().total_detections;
                assert_eq!(there, model.get(&job).map_or(0, |job| job.2), "seed {seed}, step {n}, {job}");
            }
            for video in 1..=3 {
                let there = library.detection_stats(Select::Video(video)).unwrap().total_detections;
                let expected: i64 = model.values().filter(|job| job.0 == video).map(|job| job.2).sum();
                assert_eq!(there, expected, "seed {seed}, step {n}, video {video}");
            }
        }
        assert_eq!(library.detection_stats(Select::Video(app::VIDEO)).unwrap().total_detections, own);
        assert!(rows(&place.plain(), "PRAGMA foreign_key_check").is_empty());
        assert_eq!(crate::support::text(&rows(&place.plain(), "PRAGMA integrity_check")[0][0]), "ok");
    }
}

/// Adds a video and sees to its number.
fn add_as(place: &Place, library: &mut store::Library, id: i64) {
    let conn = place.plain();
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
