//! The shapes of answers. Older clients rely on the names; fields may be added, never renamed.

use ::jobs::manifest::Timestamp;
use serde::Serialize;
use serde_json::Value;
use store::{DetectionRow, DetectionStats, ProcessingStatus, TrackSummary, Video};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// A video.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VideoBody {
    /// Its number.
    id: i64,
    /// The game it shows.
    game_id: i64,
    /// The file.
    file_path: String,
    /// Its key in the bucket, where it was uploaded.
    #[schema(required)]
    r2_key: Option<String>,
    /// A picture of it.
    #[schema(required)]
    thumbnail_path: Option<String>,
    /// Length in seconds.
    #[schema(required)]
    duration_seconds: Option<f64>,
    /// Frames per second.
    #[schema(required)]
    fps: Option<f64>,
    /// `1920x1080`.
    #[schema(required)]
    resolution: Option<String>,
    /// When it came into the library, RFC 3339.
    #[schema(required)]
    upload_date: Option<String>,
    /// Whether detections of it were ever completed.
    processed: bool,
    processing_status: VideoState,
    /// When it was filmed, RFC 3339.
    #[schema(required)]
    recorded_at: Option<String>,
    /// Its place among the videos of its game.
    #[schema(required)]
    sequence_order: Option<i64>,
    /// Where it begins within its game, in seconds.
    #[schema(required)]
    game_time_offset: Option<f64>,
    /// Number of frames.
    #[schema(required)]
    n_frames: Option<i64>,
    /// Size of the file in bytes.
    #[schema(required)]
    size_bytes: Option<i64>,
    /// SHA-256 of the file, in hexadecimal.
    #[schema(required)]
    sha256: Option<String>,
}

/// How far a video is.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum VideoState {
    Pending,
    Processing,
    Completed,
    Failed,
}

impl From<Video> for VideoBody {
    fn from(video: Video) -> Self {
        Self {
            id: video.id,
            game_id: video.game_id,
            file_path: video.file_path,
            r2_key: video.r2_key,
            thumbnail_path: video.thumbnail_path,
            duration_seconds: video.duration_seconds,
            fps: video.fps,
            resolution: video.resolution,
            upload_date: video.upload_date.map(rfc3339),
            processed: video.processed,
            processing_status: match video.processing_status {
                ProcessingStatus::Pending => VideoState::Pending,
                ProcessingStatus::Processing => VideoState::Processing,
                ProcessingStatus::Completed => VideoState::Completed,
                ProcessingStatus::Failed => VideoState::Failed,
            },
            recorded_at: video.recorded_at.map(rfc3339),
            sequence_order: video.sequence_order,
            game_time_offset: video.game_time_offset,
            n_frames: video.n_frames,
            size_bytes: video.file.size_bytes,
            sha256: video.file.sha256,
        }
    }
}

/// A page of the videos, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VideosBody {
    /// The videos of this page.
    pub(super) videos: Vec<VideoBody>,
    /// Videos in all.
    pub(super) total: i64,
    /// This page, from 1.
    pub(super) page: i64,
    /// Videos to a page.
    pub(super) page_size: i64,
    /// Number of pages.
    pub(super) total_pages: i64,
}

/// Detections of a video, by frame, then track.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DetectionsBody {
    /// The video.
    pub(super) video_id: i64,
    /// Detections that match, the limit aside.
    pub(super) total_detections: i64,
    /// Frames with at least one of them.
    pub(super) frames_with_detections: i64,
    /// At most `limit` of them.
    pub(super) detections: Vec<DetectionBody>,
}

/// One box of one track on one frame.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DetectionBody {
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
}

/// A box in source pixels, from the top left corner.
#[derive(Debug, Serialize, ToSchema)]
struct BoxBody {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl From<&DetectionRow> for DetectionBody {
    fn from(row: &DetectionRow) -> Self {
        let [x, y, width, height] = row.detection.bbox;
        Self {
            id: row.id,
            video_id: row.video_id,
            frame_number: row.detection.frame,
            player_id: row.player_id,
            bbox: BoxBody { x, y, width, height },
            tracking_id: row.detection.track_id,
            confidence_score: row.detection.confidence,
        }
    }
}

/// Figures about the detections of a video.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StatsBody {
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
    pub(super) fn of(video_id: i64, stats: &DetectionStats) -> Self {
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
pub(super) struct TracksBody {
    /// The video.
    pub(super) video_id: i64,
    /// By import, then track.
    pub(super) tracks: Vec<TrackBody>,
}

/// Figures about one track.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrackBody {
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

/// A job that was taken on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DetectBody {
    /// The job.
    pub(super) job_id: String,
    /// The video.
    pub(super) video_id: i64,
    /// What happens next.
    pub(super) message: String,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum JobState {
    /// Its video is uploaded, or it waits for a worker.
    Pending,
    /// A worker has it, or its results are being imported.
    Processing,
    /// Its results are in the library; without automatic import, in the bucket.
    Completed,
    /// It was given up, or its results cannot be imported.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

impl JobState {
    /// Every state and its word.
    pub(super) const WORDS: [(&str, Self); 5] = [
        ("pending", Self::Pending),
        ("processing", Self::Processing),
        ("completed", Self::Completed),
        ("failed", Self::Failed),
        ("cancelled", Self::Cancelled),
    ];

    /// Whether it ends unless somebody retries it.
    pub(super) fn is_over(self) -> bool {
        !matches!(self, Self::Pending | Self::Processing)
    }
}

/// A job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct JobBody {
    /// Its id.
    pub(super) id: String,
    /// `video_detection`.
    pub(super) job_type: String,
    /// How far it is.
    pub(super) status: JobState,
    /// The same in numbers and words.
    pub(super) progress: ProgressBody,
    /// What came of it, once its results are in the library.
    #[schema(required, value_type = Option<Object>)]
    pub(super) result: Option<Value>,
    /// Why it failed, or why its last attempt did.
    #[schema(required)]
    pub(super) error: Option<String>,
    /// When it was submitted, RFC 3339.
    #[schema(required)]
    pub(super) created_at: Option<String>,
    /// When the present or last attempt began.
    #[schema(required)]
    pub(super) started_at: Option<String>,
    /// When it ended.
    #[schema(required)]
    pub(super) completed_at: Option<String>,
    /// More about it.
    pub(super) metadata: MetadataBody,
}

/// Progress of a job, in frames.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(super) struct ProgressBody {
    /// Frames done.
    pub(super) current: i64,
    /// Of so many; 0 when unknown.
    pub(super) total: i64,
    /// 0 to 100.
    pub(super) percentage: f64,
    /// What it is doing.
    pub(super) message: String,
}

/// More about a job.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(super) struct MetadataBody {
    /// The video.
    #[schema(required)]
    pub(super) video_id: Option<i64>,
    /// Where it runs: `local` or `cloud`.
    #[schema(required)]
    pub(super) target: Option<String>,
    /// Attempts so far.
    #[schema(required)]
    pub(super) attempt: Option<u32>,
    /// Who has or had it.
    #[schema(required)]
    pub(super) worker_id: Option<String>,
    /// What it is doing, in one word: `uploading`, `waiting`, `downloading`, `tracking`, `publishing`, `stalled`,
    /// `ready_to_import`, `importing`, `imported`, `failed`, `cancelled`.
    pub(super) state: String,
    /// Frames per second, while it is tracked.
    #[schema(required)]
    pub(super) fps: Option<f64>,
    /// What was asked for.
    #[schema(required, value_type = Option<Object>)]
    pub(super) parameters: Option<Value>,
    /// The upload, while this server does it.
    #[schema(required)]
    pub(super) upload: Option<UploadBody>,
    /// Why this may be out of date.
    #[schema(required)]
    pub(super) warning: Option<String>,
}

/// An upload under way.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct UploadBody {
    /// Bytes in the bucket.
    pub(super) sent_bytes: u64,
    /// Of so many; 0 before it has begun.
    pub(super) total_bytes: u64,
}

/// An event, as `EventSource` has it.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only described: events are written as they come")]
pub(super) struct EventBody {
    /// `message`; `error` when the job cannot be looked at any more, and then the data are `{"detail": …}`.
    event: Option<String>,
    /// The job, as `GET /api/jobs/{job_id}` has it: JSON.
    data: String,
    /// `end` on the last event.
    id: Option<String>,
}

/// Jobs, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobsBody {
    /// At most `limit` of them.
    pub(super) jobs: Vec<JobBody>,
    /// Jobs that match.
    pub(super) total: usize,
    /// Registers that cannot be understood.
    pub(super) unreadable: Vec<String>,
    /// Why this may be out of date.
    #[schema(required)]
    pub(super) warning: Option<String>,
}

/// That the server is there.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HealthBody {
    /// `ok`.
    pub(super) status: &'static str,
    /// Of courtside.
    pub(super) version: &'static str,
}

/// A moment, RFC 3339 to the millisecond.
pub(super) fn rfc3339(at: OffsetDateTime) -> String {
    Timestamp::of(at).as_str().to_owned()
}
