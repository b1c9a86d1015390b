//! Detections, and figures about them.

use serde::Serialize;
use store::{DetectionRow, DetectionStats, TrackSummary};
use utoipa::ToSchema;

/// Detections of a video, by frame, then track.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DetectionsBody {
    /// The video.
    pub(crate) video_id: i64,
    /// Detections that match, the limit aside.
    pub(crate) total_detections: i64,
    /// Frames with at least one of them.
    pub(crate) frames_with_detections: i64,
    /// At most `limit` of them.
    pub(crate) detections: Vec<DetectionBody<'static>>,
}

/// One box of one track on one frame.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DetectionBody<'a> {
    /// Its number.
    id: i64,
    /// The video.
    video_id: i64,
    /// Frame in the source video, from 0.
    frame_number: i64,
    /// The player, where somebody named one.
    #[schema(required)]
    player_id: Option<i64>,
    /// Where it is.
    bbox: BoxBody,
    /// The track.
    tracking_id: i64,
    /// How sure the model is, 0 to 1.
    confidence_score: f64,
    /// The job that brought it; null for those of other programs.
    #[schema(required)]
    job_id: Option<&'a str>,
}

/// A box in source pixels, from the top left corner.
#[derive(Debug, Serialize, ToSchema)]
struct BoxBody {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl<'a> DetectionBody<'a> {
    pub(crate) fn of(row: &DetectionRow, job_id: Option<&'a str>) -> Self {
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

/// Figures about the detections of a video.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatsBody {
    /// The video.
    video_id: i64,
    /// Frames that were looked at.
    total_frames_processed: i64,
    /// Detections.
    total_detections: i64,
    /// Frames with at least one.
    frames_with_detections: i64,
    /// Detections to a processed frame.
    avg_detections_per_frame: f64,
    /// Tracks.
    n_tracks: i64,
    /// First frame with a detection.
    #[schema(required)]
    first_frame: Option<i64>,
    /// Last frame with a detection.
    #[schema(required)]
    last_frame: Option<i64>,
    /// Mean of the confidence.
    #[schema(required)]
    mean_confidence: Option<f64>,
}

impl StatsBody {
    pub(crate) fn of(video_id: i64, stats: &DetectionStats) -> Self {
        Self {
            video_id,
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
    /// The video.
    pub(crate) video_id: i64,
    /// By import, then track.
    pub(crate) tracks: Vec<TrackBody>,
}

/// Figures about one track.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrackBody {
    /// The track.
    tracking_id: i64,
    /// The import that brought it; tracks of different imports are different tracks, whatever their numbers.
    #[schema(required)]
    import_id: Option<i64>,
    /// Detections.
    n_detections: i64,
    /// First frame with it.
    first_frame: i64,
    /// Last frame with it.
    last_frame: i64,
    /// Mean of the confidence.
    mean_confidence: f64,
}

impl From<TrackSummary> for TrackBody {
    fn from(track: TrackSummary) -> Self {
        Self {
            tracking_id: track.track_id,
            import_id: track.import_id,
            n_detections: track.n_detections,
            first_frame: track.first_frame,
            last_frame: track.last_frame,
            mean_confidence: track.mean_confidence,
        }
    }
}
