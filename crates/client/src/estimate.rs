//! Estimates the time and the cost of a job from its frames, the speed of earlier jobs, and a price.

use std::fmt;

use jobs::manifest::Parameters;
use serde::Serialize;
use store::{JobFilter, JobStatus, Library};

use crate::failure::{Failure, Kind, Outcome};
use crate::progress::clock;
use crate::settings::Settings;
use crate::videos;

/// Key of the last price in the settings of the library.
const PRICE_KEY: &str = "price_per_hour";
/// Seconds of rented time besides tracking: boot, model loading, transfers. An allowance, not a measurement.
const OVERHEAD_SECONDS: f64 = 300.0;

/// The price and the speed that the user gave.
#[derive(Debug, Clone, Copy, Default)]
pub struct EstimateInputs {
    /// Dollars per hour. `None`: the price that was given last.
    pub price_per_hour: Option<f64>,
    /// Frames per second. `None`: the speed of the latest completed job.
    pub fps: Option<f64>,
}

/// The size, time and cost of a job that was not submitted. `None` where a speed or a price is missing.
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
    /// Estimates a job of a video. Stores the price in the library.
    ///
    /// # Errors
    /// If a parameter, the price or the speed is out of range, or the video cannot be opened.
    pub fn new(
        settings: &Settings,
        library: &mut Library,
        video_id: i64,
        parameters: &Parameters,
        inputs: EstimateInputs,
    ) -> Outcome<Self> {
        parameters.validate().map_err(|e| Failure::new(Kind::Failed, e))?;
        check_positive("--price-per-hour", inputs.price_per_hour)?;
        check_positive("--fps", inputs.fps)?;
        let row = videos::find(library, video_id)?;
        let (row, video) = videos::open_unchanged(settings, library, &row)?;
        if let Some(price) = inputs.price_per_hour {
            library.set_setting(PRICE_KEY, &price.to_string())?;
        }
        let remembered = library.setting(PRICE_KEY)?.and_then(|text| text.parse().ok());
        let price_per_hour = inputs.price_per_hour.or(remembered);
        let gpu_fps = match inputs.fps {
            Some(fps) => Some(fps),
            None => last_speed(library)?,
        };
        let n_frames = parameters.n_tracked_frames(video.n_frames(), video.fps());
        let gpu_seconds = gpu_fps.map(|fps| n_frames as f64 / fps + OVERHEAD_SECONDS);
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

fn check_positive(flag: &str, value: Option<f64>) -> Outcome<()> {
    match value {
        Some(x) if !(x.is_finite() && x > 0.0) => {
            Err(Failure::msg(Kind::Failed, format!("{flag} must be more than 0")))
        }
        _ => Ok(()),
    }
}

/// Frames per second of the latest completed job, measured from start to completion, waiting included.
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
                    "GPU time: {time} at {fps:.2} frames per second, including {OVERHEAD_SECONDS} s of overhead"
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
