//! Bodies about detections, tracks and their statistics.

use serde::Serialize;
use store::{DetectionRow, DetectionStats, TrackLabel, TrackSummary};
use utoipa::ToSchema;

/// Detections of a video, ordered by frame, then track.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DetectionsBody {
    /// Id of the video in the library.
    pub(crate) video_id: i64,
    /// The job that produced the detections; null if another program did.
    #[schema(required)]
    pub(crate) job_id: Option<String>,
    /// Number of all detections of the job, regardless of the range, the confidence and the limit.
    pub(crate) total_detections: i64,
    /// Number of frames of the job with at least one detection.
    pub(crate) frames_with_detections: i64,
    /// The first matching frame that is not in this list because of the limit: continue with `frame_start` at it. Null
    /// if the list is complete. Of a frame with more detections than the limit, the rest is left out.
    #[schema(required)]
    pub(crate) next_frame: Option<i64>,
    /// The matching detections of complete frames, at most `limit`.
    pub(crate) detections: Vec<DetectionBody<'static>>,
}

/// The box of one track on one frame.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DetectionBody<'a> {
    /// Id of the detection in the library.
    id: i64,
    /// Id of the video in the library.
    video_id: i64,
    /// Index of the frame in the source video, from 0.
    frame_number: i64,
    /// The player's id, if one is assigned.
    #[schema(required)]
    player_id: Option<i64>,
    /// The box around the player.
    bbox: BoxBody,
    /// The track's id, unique within a job.
    tracking_id: i64,
    /// Confidence of the model, 0 to 1.
    confidence_score: f64,
    /// The job that produced it; null if another program did.
    #[schema(required)]
    job_id: Option<&'a str>,
}

/// A box in source pixels; `x` and `y` are its top left corner.
#[derive(Debug, Serialize, ToSchema)]
struct BoxBody {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl<'a> DetectionBody<'a> {
    pub(crate) fn new(row: &DetectionRow, job_id: Option<&'a str>) -> Self {
        let [x, y, width, height] = row.detection.bbox;
        Self {
            id: row.id,
            video_id: row.video_id,
            frame_number: row.detection.frame,
            player_id: row.player_id,
            bbox: BoxBody { x, y, width, height },
            tracking_id: row.detection.track_id,
            confidence_score: row.detection.confidence,
            job_id,
        }
    }
}

/// Detections of a video as columns of equal length, ordered by frame, then track: a tenth of the size of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ColumnsBody {
    /// Id of the video in the library.
    pub(crate) video_id: i64,
    /// The job that produced the detections; null if another program did.
    #[schema(required)]
    pub(crate) job_id: Option<String>,
    /// Number of all detections of the job, regardless of the range, the confidence and the limit.
    pub(crate) total_detections: i64,
    /// Number of frames of the job with at least one detection.
    pub(crate) frames_with_detections: i64,
    /// The first matching frame that is not included because of the limit; null if there is none.
    #[schema(required)]
    pub(crate) next_frame: Option<i64>,
    /// Indexes of frames in the source video, from 0.
    pub(crate) frame_number: Vec<i64>,
    /// Ids of tracks.
    pub(crate) tracking_id: Vec<i64>,
    /// Left edges of the boxes, in source pixels.
    pub(crate) x: Vec<f64>,
    /// Top edges of the boxes, in source pixels.
    pub(crate) y: Vec<f64>,
    /// Widths of the boxes, in source pixels.
    pub(crate) width: Vec<f64>,
    /// Heights of the boxes, in source pixels.
    pub(crate) height: Vec<f64>,
    /// Confidences of the model, 0 to 1.
    pub(crate) confidence_score: Vec<f64>,
}

/// Statistics of the detections of a video.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatsBody {
    /// Id of the video in the library.
    video_id: i64,
    /// The job that produced the detections; null if another program did.
    #[schema(required)]
    job_id: Option<String>,
    /// Number of frames that were tracked.
    total_frames_processed: i64,
    /// Number of its detections.
    total_detections: i64,
    /// Number of frames with at least one detection.
    frames_with_detections: i64,
    /// Mean number of detections per tracked frame.
    avg_detections_per_frame: f64,
    /// Number of detections of persons: all of them, unless the job tracks balls.
    persons_detected: i64,
    /// Number of detections of balls.
    balls_detected: i64,
    /// Number of different tracks.
    n_tracks: i64,
    /// Index of the first frame with a detection.
    #[schema(required)]
    first_frame: Option<i64>,
    /// Index of the last frame with a detection.
    #[schema(required)]
    last_frame: Option<i64>,
    /// Mean confidence of the detections.
    #[schema(required)]
    mean_confidence: Option<f64>,
}

impl StatsBody {
    /// `counts`: the detections of persons and of balls.
    pub(crate) fn new(
        video_id: i64,
        job_id: Option<String>,
        stats: &DetectionStats,
        counts: (i64, i64),
    ) -> Self {
        Self {
            video_id,
            job_id,
            persons_detected: counts.0,
            balls_detected: counts.1,
            total_frames_processed: stats.total_frames_processed,
            total_detections: stats.total_detections,
            frames_with_detections: stats.frames_with_detections,
            avg_detections_per_frame: stats.avg_detections_per_frame,
            n_tracks: stats.n_tracks,
            first_frame: stats.first_frame,
            last_frame: stats.last_frame,
            mean_confidence: stats.mean_confidence,
        }
    }
}

/// The tracks of a video.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TracksBody {
    /// Id of the video in the library.
    pub(crate) video_id: i64,
    /// The job that produced the tracks; null if another program did.
    #[schema(required)]
    pub(crate) job_id: Option<String>,
    /// The tracks, ordered by id.
    pub(crate) tracks: Vec<TrackBody>,
}

/// Statistics of one track.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrackBody {
    /// The track's id, unique within a job.
    tracking_id: i64,
    /// Number of its detections.
    n_detections: i64,
    /// Index of its first frame.
    first_frame: i64,
    /// Index of its last frame.
    last_frame: i64,
    /// Mean confidence of the detections.
    mean_confidence: f64,
    /// The name that was given to the track.
    #[schema(required)]
    name: Option<String>,
    /// The team that it was put into.
    #[schema(required)]
    team: Option<String>,
}

impl TrackBody {
    pub(crate) fn new(track: TrackSummary, label: TrackLabel) -> Self {
        Self {
            name: label.name,
            team: label.team,
            tracking_id: track.track_id,
            n_detections: track.n_detections,
            first_frame: track.first_frame,
            last_frame: track.last_frame,
            mean_confidence: track.mean_confidence,
        }
    }
}
