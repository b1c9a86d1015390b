//! `courtside export`: what is in the library, in the formats of others, read back by other means.

mod choosing;
mod formats;
mod large;
mod video;

use std::ops::ControlFlow;

use serde_json::json;
use store::{DetectionScope, ImportJob, Library, NewVideo, ResultsSummary, StoreError, StoredDetection};

use crate::program::Place;

pub(crate) const JOB: &str = "0b8e6c5a-4a5b-9c1d";
pub(crate) const FORMATS: [&str; 6] = ["mot", "coco", "csv", "jsonl", "parquet", "cvat"];

/// The library that a program in this place finds without being told.
pub(crate) fn library(place: &Place) -> Library {
    Library::open(place.path("basketball_analyzer.db").to_str().unwrap()).unwrap()
}

/// A video of 60 frames that need not be there, 29.97 fps, 1280x720.
pub(crate) fn a_video(name: &str) -> NewVideo {
    NewVideo {
        fps: Some(29.97),
        resolution: Some((1280, 720)),
        n_frames: Some(60),
        ..NewVideo::at(format!("/games/{name}"))
    }
}

/// A job that tracked every frame of 60.
pub(crate) fn a_job(id: &str, video_id: i64) -> ImportJob {
    ImportJob {
        parameters: json!({"sample_interval": 1, "prompt": "referee"}),
        ..ImportJob::new(id, video_id, format!("sha of {id}"))
    }
}

pub(crate) fn import(
    library: &mut Library,
    job: &ImportJob,
    frames_processed: i64,
    rows: &[StoredDetection],
) {
    let report = library.import(job, |writer| {
        writer.push(rows)?;
        Ok::<_, StoreError>(ResultsSummary { frames_processed: Some(frames_processed), completed_at: None })
    });
    assert_eq!(report.unwrap().n_detections, rows.len() as i64);
}

/// Boxes with fractions, off the picture, of no width; tracks with gaps, one that begins late and one that reaches
/// the last frame of 60.
pub(crate) fn rows() -> Vec<StoredDetection> {
    let row = |frame: i64, track_id: i64| {
        let (f, t) = (frame as f64, track_id as f64);
        let bbox = [f / 4.0 - 3.25, 100.0 - t * 0.01, 40.13 + t, if track_id == 7 { 0.0 } else { 80.5 }];
        StoredDetection { frame, track_id, bbox, confidence: 0.5 + (frame % 10) as f64 * 0.0401 }
    };
    let frames_of = [(0, vec![0, 1, 2, 3, 10, 11, 20]), (7, vec![3, 4, 5]), (12, (40..60).collect())];
    let mut rows: Vec<StoredDetection> =
        frames_of.into_iter().flat_map(|(id, frames)| frames.into_iter().map(move |f| row(f, id))).collect();
    rows.sort_by_key(|row| (row.frame, row.track_id));
    rows
}

/// A place with a library of one video and one job with [`rows`].
pub(crate) fn a_place() -> Place {
    let place = Place::new();
    let mut library = library(&place);
    let video = library.add_video(&a_video("final.mp4")).unwrap();
    import(&mut library, &a_job(JOB, video.id), 60, &rows());
    place
}

/// What the library has of a job.
pub(crate) fn stored(place: &Place, job: &str) -> Vec<StoredDetection> {
    let mut rows = Vec::new();
    library(place)
        .for_each_detection(DetectionScope::Job(job), |row| {
            rows.push(row.detection);
            ControlFlow::Continue(())
        })
        .unwrap();
    rows
}
