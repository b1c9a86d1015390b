//! Decoding one frame: by a limited number of decoders, each of which is killed when its client has gone or when it
//! takes too long.

use std::time::Duration;

use axum::http::StatusCode;
use video::{Canceller, DecodeOptions, Frame, Frames, Video};

use super::Images;
use super::error::video_error;
use super::file_identity::VideoFile;
use crate::api_error::{ApiError, ApiResult};

/// How long a request may wait for a decoder and a frame.
const TIMEOUT: Duration = Duration::from_secs(60);

impl Images {
    /// Decodes exactly this frame, and calls `then` with it on a thread that may block.
    pub(super) async fn decode<T: Send + 'static>(
        &self,
        file: &VideoFile,
        video: &Video,
        frame_idx: u64,
        then: impl FnOnce(Frame) -> T + Send + 'static,
    ) -> ApiResult<T> {
        let work = async {
            let permit = self.decoders.clone().acquire_owned().await.map_err(ApiError::internal)?;
            let range = frame_idx..frame_idx.saturating_add(1);
            let options = DecodeOptions { range, read_ahead: 1, ..DecodeOptions::default() };
            let frames = video.frames(&options).map_err(|error| video_error(error, file))?;
            let guard = CancelOnDrop(Some(frames.canceller()));
            let file = file.clone();
            let decoded = tokio::task::spawn_blocking(move || {
                // Released when the decoder has ended.
                let _permit = permit;
                first(frames, &file, frame_idx).map(then)
            })
            .await;
            guard.disarm();
            decoded?
        };
        tokio::time::timeout(TIMEOUT, work).await.unwrap_or_else(|_| {
            let detail = format!("Frame {frame_idx} could not be decoded within {} s", TIMEOUT.as_secs());
            Err(ApiError::unavailable(detail))
        })
    }
}

fn first(mut frames: Frames, file: &VideoFile, frame_idx: u64) -> ApiResult<Frame> {
    match frames.next() {
        Some(Ok(frame)) => Ok(frame),
        Some(Err(error)) => Err(video_error(error, file)),
        None => {
            let detail = format!("Frame {frame_idx} cannot be decoded: {} is damaged there", file.name());
            Err(ApiError::new(StatusCode::CONFLICT, detail))
        }
    }
}

/// Kills a decoder that nothing waits for.
struct CancelOnDrop(Option<Canceller>);

impl CancelOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(canceller) = self.0.take() {
            // Waits for the process to exit, so not on a thread of the async runtime.
            std::thread::spawn(move || canceller.cancel());
        }
    }
}
