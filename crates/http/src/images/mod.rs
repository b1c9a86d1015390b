//! Pictures of videos: single frames, thumbnails, and the times of frames, for the handlers in `videos/`.
//!
//! Frames have the numbers of the detections, because both come from [`video::Video`]. [`video_cache`] keeps the indexes
//! of a few videos in memory, [`disk_cache`] keeps what took long to make, [`decode`] limits the decoders.

mod decode;
mod disk_cache;
mod error;
pub(crate) mod file_identity;
pub(crate) mod jpeg;
mod representative;
mod video_cache;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::Semaphore;
use video::Video;

use self::disk_cache::DiskCache;
use self::file_identity::VideoFile;
use self::jpeg::Shape;
use self::video_cache::VideoCache;
use crate::api_error::ApiResult;

/// Decoders at the same time, if there are as many cores. Each has two threads.
const MAX_DECODERS: usize = 4;
/// Size of the files that are kept in the scratch folder.
const MAX_DISK_BYTES: u64 = 256 << 20;

/// What handlers need to make pictures.
pub(crate) struct Images {
    videos: VideoCache,
    files: Arc<DiskCache>,
    decoders: Arc<Semaphore>,
}

impl Images {
    /// `scratch`: the folder for temporary files of the library.
    pub(crate) fn new(scratch: &Path) -> Self {
        let n_cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        Self {
            videos: VideoCache::default(),
            files: Arc::new(DiskCache::new(scratch.join("images"), MAX_DISK_BYTES)),
            decoders: Arc::new(Semaphore::new(n_cores.min(MAX_DECODERS))),
        }
    }

    /// The index of a video. Reads the complete file unless it was used recently.
    pub(crate) async fn open(&self, file: &VideoFile) -> ApiResult<Video> {
        self.videos.open(file).await
    }

    /// Exactly this frame, which must exist, as a JPEG.
    pub(crate) async fn frame(
        &self,
        file: &VideoFile,
        video: &Video,
        frame_idx: u64,
        shape: Shape,
    ) -> ApiResult<Vec<u8>> {
        self.decode(file, video, frame_idx, move |frame| jpeg::encode(&frame, &shape)).await?
    }

    /// A JPEG of a frame that shows what the video is about, at most this wide, with the shape that a player shows.
    pub(crate) async fn thumbnail(&self, file: &VideoFile, width: u32) -> ApiResult<Vec<u8>> {
        let key = file.key(&format!("thumbnail {width}"));
        self.cached(key, async || {
            let video = self.open(file).await?;
            self.representative(file, &video, Shape::thumbnail(width, video.pixel_aspect())).await
        })
        .await
    }

    /// The time of every frame in microseconds since the start of the file, as little-endian `f64`, which are exact.
    pub(crate) async fn times_us(&self, file: &VideoFile) -> ApiResult<Vec<u8>> {
        self.cached(file.key("times"), async || {
            let video = self.open(file).await?;
            Ok(video.times_us().flat_map(|us| (us as f64).to_le_bytes()).collect())
        })
        .await
    }

    /// The file with this key in the disk cache, which is made if it is missing.
    async fn cached(
        &self,
        key: String,
        make: impl AsyncFnOnce() -> ApiResult<Vec<u8>>,
    ) -> ApiResult<Vec<u8>> {
        let (files, wanted) = (self.files.clone(), key.clone());
        if let Some(bytes) = tokio::task::spawn_blocking(move || files.get(&wanted)).await? {
            return Ok(bytes);
        }
        let bytes = make().await?;
        let (files, kept) = (self.files.clone(), bytes.clone());
        tokio::task::spawn_blocking(move || files.put(&key, &kept)).await?;
        Ok(bytes)
    }
}
