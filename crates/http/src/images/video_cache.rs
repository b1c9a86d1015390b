//! The indexes of a few videos, in memory: reading one means reading the complete file.

use std::sync::{Arc, Mutex, PoisonError};

use client::videos;
use tokio::sync::{OnceCell, Semaphore};
use video::{Limits, Video};

use super::error::video_error;
use super::file_identity::VideoFile;
use crate::api_error::{ApiError, ApiResult};

/// Videos that are kept. The index of an hour takes about 3 MB.
const MAX_VIDEOS: usize = 16;
/// Files that are read at the same time.
const MAX_READERS: usize = 2;

/// Videos that were used recently.
pub(super) struct VideoCache {
    /// The one used last is at the end.
    videos: Mutex<Vec<Entry>>,
    readers: Arc<Semaphore>,
}

type Entry = (VideoFile, Arc<OnceCell<Video>>);

impl Default for VideoCache {
    fn default() -> Self {
        Self { videos: Mutex::default(), readers: Arc::new(Semaphore::new(MAX_READERS)) }
    }
}

impl VideoCache {
    /// The index of a video. Requests for the same file wait for one reader, which continues if they disconnect: when
    /// they ask again, it is ready.
    pub(super) async fn open(&self, file: &VideoFile) -> ApiResult<Video> {
        let cell = self.entry(file);
        if let Some(video) = cell.get() {
            return Ok(video.clone());
        }
        let (file, readers) = (file.clone(), self.readers.clone());
        let opened = tokio::spawn(async move { cell.get_or_try_init(|| read(readers, file)).await.cloned() });
        opened.await?
    }

    /// The entry of a file, which becomes the one used last.
    fn entry(&self, file: &VideoFile) -> Arc<OnceCell<Video>> {
        let mut videos = self.videos.lock().unwrap_or_else(PoisonError::into_inner);
        let known = videos.iter().position(|(known, _)| known == file);
        let entry = known.map(|at| videos.remove(at)).unwrap_or_else(|| (file.clone(), Arc::default()));
        if videos.len() >= MAX_VIDEOS {
            videos.remove(0);
        }
        let cell = entry.1.clone();
        videos.push(entry);
        cell
    }
}

async fn read(readers: Arc<Semaphore>, file: VideoFile) -> ApiResult<Video> {
    let permit = readers.acquire_owned().await.map_err(ApiError::internal)?;
    let opened = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let (tools, limits) = (videos::tools()?, Limits::default());
        let opened = Video::open_with(tools, &file.path, file.stream, &limits, &mut |_, _| ());
        opened.map_err(|error| video_error(error, &file))
    });
    opened.await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_video_used_least_recently_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let file = |i: usize| {
            let path = folder.path().join(format!("{i}.mp4"));
            std::fs::write(&path, "x").unwrap();
            VideoFile::at(&path, None).unwrap()
        };
        let cache = VideoCache::default();
        let files: Vec<_> = (0..=MAX_VIDEOS).map(file).collect();
        let cells: Vec<_> = files[..MAX_VIDEOS].iter().map(|file| cache.entry(file)).collect();
        let is_kept = |i: usize| Arc::ptr_eq(&cells[i], &cache.entry(&files[i]));
        assert!(is_kept(0));
        cache.entry(&files[MAX_VIDEOS]);
        assert!(is_kept(0) && is_kept(2) && !is_kept(1));
        assert_eq!(cache.videos.lock().unwrap().len(), MAX_VIDEOS);
    }
}
