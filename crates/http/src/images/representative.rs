//! Choosing the frame of a thumbnail. Recordings begin with a black frame, a title or a fade; so a few frames from all
//! over the video are looked at, until one shows something.

use video::{Frame, Video};

use super::Images;
use super::file_identity::VideoFile;
use super::jpeg::{self, Shape};
use crate::api_error::{ApiError, ApiResult};

/// Where to look, in percent of the frames. The first frame that shows something is taken.
const PLACES_PERCENT: [u64; 5] = [10, 30, 50, 70, 90];
/// How far to decode from the start where there is no later keyframe.
const MAX_FROM_START: u64 = 250;
/// Standard deviation of the brightness, of 255, from which on a picture shows something.
const ENOUGH_CONTRAST: f64 = 20.0;
/// Distance between the pixels that are looked at, in bytes: a prime number of pixels.
const STRIDE: usize = 31 * 3;

impl Images {
    /// A picture of a frame that shows something, or of the one that shows most.
    pub(super) async fn representative(
        &self,
        file: &VideoFile,
        video: &Video,
        shape: Shape,
    ) -> ApiResult<Vec<u8>> {
        let asked = video.clone();
        let candidates = tokio::task::spawn_blocking(move || candidates(&asked)).await?;
        let mut best: Option<(f64, Vec<u8>)> = None;
        let mut failed = None;
        for frame_idx in candidates {
            let picture = move |frame: Frame| (contrast(&frame), jpeg::encode(&frame, &shape));
            let (contrast, picture) = match self.decode(file, video, frame_idx, picture).await {
                Ok(decoded) => decoded,
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            };
            if best.as_ref().is_none_or(|(most, _)| contrast > *most) {
                best = Some((contrast, picture?));
            }
            if contrast >= ENOUGH_CONTRAST {
                break;
            }
        }
        let missing = || failed.unwrap_or_else(|| ApiError::internal("the video has no frames"));
        best.map(|(_, picture)| picture).ok_or_else(missing)
    }
}

/// The frames to look at: keyframes where there are any, because they are decoded at once.
fn candidates(video: &Video) -> Vec<u64> {
    let frame_at = |percent| {
        let wanted = video.n_frames() * percent / 100;
        match video.decoding_start(wanted) {
            0 => wanted.min(MAX_FROM_START),
            keyframe => keyframe,
        }
    };
    let mut frames: Vec<u64> = PLACES_PERCENT.into_iter().map(frame_at).collect();
    frames.dedup();
    frames
}

/// Standard deviation of the brightness, 0 to 127.5.
fn contrast(frame: &Frame) -> f64 {
    let brightness = frame.rgb.chunks(STRIDE).filter_map(|chunk| match chunk {
        [red, green, blue, ..] => {
            Some(0.299 * f64::from(*red) + 0.587 * f64::from(*green) + 0.114 * f64::from(*blue))
        }
        _ => None,
    });
    let (n, sum, squares) =
        brightness.fold((0.0, 0.0, 0.0), |(n, sum, squares), y| (n + 1.0, sum + y, squares + y * y));
    if n == 0.0 { 0.0 } else { (squares / n - (sum / n) * (sum / n)).max(0.0).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrast_is_the_deviation_of_the_brightness() {
        let frame = |pixel: &dyn Fn(usize) -> [u8; 3]| Frame {
            frame_idx: 0,
            time_s: 0.0,
            width: 620,
            height: 10,
            rgb: (0..6200).flat_map(pixel).collect(),
        };
        assert!(contrast(&frame(&|_| [9, 9, 9])) < 1e-6);
        let half = contrast(&frame(&|i| if i < 3100 { [0; 3] } else { [255; 3] }));
        assert!((half - 127.5).abs() < 0.01, "{half}");
    }
}
