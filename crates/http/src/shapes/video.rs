//! Bodies about videos.

use serde::Serialize;
use store::{ProcessingStatus, Video};
use utoipa::ToSchema;

use super::time::rfc3339;

/// A video in the library.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VideoBody {
    /// Id of the video in the library.
    id: i64,
    /// The id of its game.
    game_id: i64,
    /// Path of the file on the server's machine.
    file_path: String,
    /// Its key in the bucket, once it was uploaded.
    #[schema(required)]
    r2_key: Option<String>,
    /// Path of a thumbnail that the analyzer app made.
    #[schema(required)]
    thumbnail_path: Option<String>,
    /// Address of a thumbnail on this server, which an `<img>` can load: it needs no token for six hours.
    thumbnail_url: String,
    /// Duration of the video in seconds.
    #[schema(required)]
    duration_seconds: Option<f64>,
    /// Frames per second of the video.
    #[schema(required)]
    fps: Option<f64>,
    /// Width and height in pixels, such as `1920x1080`.
    #[schema(required)]
    resolution: Option<String>,
    /// When it was added to the library, RFC 3339.
    #[schema(required)]
    upload_date: Option<String>,
    /// Whether detections of it were ever imported.
    processed: bool,
    processing_status: VideoState,
    /// When it was recorded, RFC 3339.
    #[schema(required)]
    recorded_at: Option<String>,
    /// Its position among the videos of its game.
    #[schema(required)]
    sequence_order: Option<i64>,
    /// When it starts within its game, in seconds.
    #[schema(required)]
    game_time_offset: Option<f64>,
    /// Number of frames in the file.
    #[schema(required)]
    n_frames: Option<i64>,
    /// Number of the video stream that was chosen, of a file with several; null for the one that players show.
    #[schema(required)]
    stream: Option<u32>,
    /// Size of the file in bytes.
    #[schema(required)]
    size_bytes: Option<i64>,
    /// SHA-256 of the file in hexadecimal.
    #[schema(required)]
    sha256: Option<String>,
}

/// The state of a video, taken from its latest job.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VideoState {
    Pending,
    Processing,
    Completed,
    Failed,
}

impl VideoState {
    /// All states, as they are written.
    pub(crate) const WORDS: [(&str, Self); 4] = [
        ("pending", Self::Pending),
        ("processing", Self::Processing),
        ("completed", Self::Completed),
        ("failed", Self::Failed),
    ];

    pub(crate) fn of_store(self) -> ProcessingStatus {
        match self {
            Self::Pending => ProcessingStatus::Pending,
            Self::Processing => ProcessingStatus::Processing,
            Self::Completed => ProcessingStatus::Completed,
            Self::Failed => ProcessingStatus::Failed,
        }
    }
}

impl VideoBody {
    /// `thumbnail_url`: see [`crate::app::App::video_body`].
    pub(crate) fn new(video: Video, thumbnail_url: String) -> Self {
        Self {
            thumbnail_url,
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
            stream: video.stream,
            size_bytes: video.file.size_bytes,
            sha256: video.file.sha256,
        }
    }
}

/// A page of the videos, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VideosBody {
    /// The videos of this page.
    pub(crate) videos: Vec<VideoBody>,
    /// Number of videos in the library.
    pub(crate) total: i64,
    /// The number of this page, from 1.
    pub(crate) page: i64,
    /// Maximum number of videos per page.
    pub(crate) page_size: i64,
    /// Number of pages of this size.
    pub(crate) total_pages: i64,
}

/// A video, and whether it was in the library before.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddedVideoBody {
    #[serde(flatten)]
    pub(crate) video: VideoBody,
    /// Whether the library had it already: then nothing was stored or added.
    pub(crate) already: bool,
}

/// The presentation time of every frame.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TimestampsBody {
    /// Id of the video in the library.
    pub(crate) video_id: i64,
    /// Number of frames in the file.
    pub(crate) n_frames: usize,
    /// Numerator and denominator of the seconds per tick.
    pub(crate) time_base: [u32; 2],
    /// Time of each frame, in ticks since the start of the file.
    pub(crate) ticks: Vec<i64>,
}
