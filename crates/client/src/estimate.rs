//! What a job will take: from its frames, the speed that workers showed, and a price.

use std::fmt;

use jobs::manifest::Parameters;
use serde::Serialize;
use store::{JobFilter, JobStatus, Library};

use super::videos;
use crate::failure::{Failure, Kind, Outcome};
use crate::progress::clock;

const PRICE: &str = "price_per_hour";
/// Seconds that a machine is paid for around the tracking: start, model, transfers. An allowance, not measured.
const AROUND_SECONDS: f64 = 300.0;

/// What the user said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given {
    /// Dollars per hour; what was given last if `None`.
    pub price_per_hour: Option<f64>,
    /// Frames per second; what the last completed job did if `None`.
    pub fps: Option<f64>,
}

/// A job that was not submitted.
#[derive(Debug, Serialize)]
pub struct Estimate {
    video_id: i64,
    file: String,
    size_bytes: Option<i64>,
    n_frames: u64,
    gpu_fps: Option<f64>,
    gpu_seconds: Option<f64>,
    price_per_hour: Option<f64>,
    cost_dollars: Option<f64>,
}

impl Estimate {
    /// Of a video.
    pub fn of(library: &mut Library, video_id: i64, parameters: &Parameters, given: Given) -> Outcome<Self> {
        super::submit::check(parameters)?;
        let wrong = |what: &str| Failure::msg(Kind::Failed, format!("{what} must be more than 0"));
        let positive = |x: &f64| x.is_finite() && *x > 0.0;
        if given.price_per_hour.is_some_and(|p| !positive(&p)) {
            return Err(wrong("--price-per-hour"));
        }
        if given.fps.is_some_and(|p| !positive(&p)) {
            return Err(wrong("--fps"));
        }
        let row = videos::known(library, video_id)?;
        let (row, video) = videos::open_unchanged(library, &row)?;
        if let Some(price) = given.price_per_hour {
            library.remember(PRICE, &price.to_string())?;
        }
        let remembered = library.recall(PRICE)?.and_then(|text| text.parse().ok());
        let price_per_hour = given.price_per_hour.or(remembered);
        let gpu_fps = match given.fps {
            Some(fps) => Some(fps),
            None => last_speed(library)?,
        };
        let n_frames = parameters.n_tracked_frames(video.n_frames(), video.fps());
        let gpu_seconds = gpu_fps.map(|fps| n_frames as f64 / fps + AROUND_SECONDS);
        Ok(Self {
            video_id,
            file: row.file_path,
            size_bytes: row.file.size_bytes,
            n_frames,
            gpu_fps,
            gpu_seconds,
            price_per_hour,
            cost_dollars: gpu_seconds.zip(price_per_hour).map(|(s, price)| s / 3600.0 * price),
        })
    }
}

/// Frames per second of the latest completed job, with all that it waited for.
fn last_speed(library: &Library) -> Outcome<Option<f64>> {
    let filter = JobFilter { statuses: &[JobStatus::Completed], limit: Some(20), ..JobFilter::default() };
    let speed = |job: store::JobRow| {
        let seconds = (job.completed_at? - job.started_at?).as_seconds_f64();
        let frames = job.progress_current as f64;
        (seconds > 0.0 && frames > 0.0).then_some(frames / seconds)
    };
    Ok(library.jobs(&filter)?.into_iter().find_map(speed))
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.size_bytes.map_or("?".to_owned(), |b| format!("{:.2} GB", b as f64 / 1e9));
        writeln!(f, "video {}: {}", self.video_id, self.file)?;
        writeln!(f, "upload: {size}")?;
        writeln!(f, "frames to track: {}", self.n_frames)?;
        match (self.gpu_seconds, self.gpu_fps) {
            (Some(seconds), Some(fps)) => {
                let time = clock(std::time::Duration::from_secs_f64(seconds));
                writeln!(
                    f,
                    "GPU time: {time} at {fps:.2} frames per second, {AROUND_SECONDS} s around it included"
                )?;
            }
            _ => writeln!(f, "GPU time: unknown; no job was completed yet. Give a speed with --fps")?,
        }
        match (self.cost_dollars, self.price_per_hour) {
            (Some(cost), Some(price)) => writeln!(f, "cost: ${cost:.2} at ${price} per hour"),
            (None, Some(_)) => writeln!(f, "cost: unknown without a speed"),
            _ => writeln!(f, "cost: unknown; give a price with --price-per-hour"),
        }
    }
}
