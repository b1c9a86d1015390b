//! `courtside export`: every format, read back by other means and compared with the library.

mod formats;
mod large;
mod selection;
mod video;

use std::ops::ControlFlow;

use serde_json::json;
use store::{DetectionScope, ImportJob, Library, NewVideo, ResultsSummary, StoreError, StoredDetection};

use crate::sandbox::Sandbox;

pub(crate) const JOB: &str = "0b8e6c5a-4a5b-9c1d";
pub(crate) const FORMATS: [&str; 6] = ["mot", "coco", "csv", "jsonl", "parquet", "cvat"];

/// Opens the library that the program uses by default in this sandbox.
pub(crate) fn library(sandbox: &Sandbox) -> Library {
    Library::open(sandbox.path("basketball_analyzer.db").to_str().unwrap()).unwrap()
}

/// A video of 60 frames, 29.97 fps, 1280x720; the file does not exist.
pub(crate) fn a_video(name: &str) -> NewVideo {
    NewVideo {
        fps: Some(29.97),
        resolution: Some((1280, 720)),
        n_frames: Some(60),
        ..NewVideo::at(format!("/games/{name}"))
    }
}

/// A job that tracked all 60 frames.
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

/// Detections with edge cases: boxes with fractions, outside the image, and of width 0; tracks with gaps, a track that
/// starts late, and one that reaches the last of the 60 frames.
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

/// A sandbox whose library has one video and one imported job with the detections [`rows`].
pub(crate) fn sandbox_with_import() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut library = library(&sandbox);
    let video = library.add_video(&a_video("final.mp4")).unwrap();
    import(&mut library, &a_job(JOB, video.id), 60, &rows());
    sandbox
}

/// The detections of a job in the library.
pub(crate) fn stored(sandbox: &Sandbox, job: &str) -> Vec<StoredDetection> {
    let mut rows = Vec::new();
    library(sandbox)
        .for_each_detection(DetectionScope::Job(job), |row| {
            rows.push(row.detection);
            ControlFlow::Continue(())
        })
        .unwrap();
    rows
}
