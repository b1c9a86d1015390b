//! Estimates the time and the cost of a job from its frames, a speed, and a price. The speed is the user's, that of an
//! earlier job of the same kind, or what others have published.

use std::fmt;
use std::time::Duration;

use jobs::manifest::{Parameters, Target};
use serde::Serialize;
use store::{JobFilter, JobRow, JobStatus, Library, Video};

use crate::failure::{Failure, Kind, Outcome};
use crate::progress::clock;
use crate::{target, videos};

/// Key of the last price in the settings of the library.
const PRICE_KEY: &str = "price_per_hour";
/// Seconds of rented time besides tracking: boot, model loading, transfers. An allowance, not a measurement.
const OVERHEAD_SECONDS: f64 = 300.0;
/// Frames per second of SAM 3 in PyTorch with about 16 objects, as published: 5 to 6 on one H200, 9.8 on one H100
/// (docs/costs.md has the sources).
const PUBLISHED_FPS: [f64; 2] = [5.0, 10.0];

/// The price and the speed that the user gave.
#[derive(Debug, Clone, Copy, Default)]
pub struct EstimateInputs {
    /// Dollars per hour. `None`: the price that was given last.
    pub price_per_hour: Option<f64>,
    /// Frames per second. `None`: the speed of the latest completed job.
    pub fps: Option<f64>,
}

/// The video of an estimate, which need not be in the library.
#[derive(Debug, Clone)]
pub struct EstimatedVideo {
    /// Id in the library, if it is there.
    pub video_id: Option<i64>,
    /// The file.
    pub file: String,
    /// Size of the file in bytes, if known.
    pub size_bytes: Option<u64>,
    /// Number of frames.
    pub n_frames: u64,
    /// Frames per second.
    pub fps: f64,
}

impl EstimatedVideo {
    /// The video of a row whose file is only in a bucket: what the library knows of it.
    pub fn of_row(row: &Video) -> Self {
        let n_frames = row.n_frames.and_then(|n| u64::try_from(n).ok());
        Self {
            video_id: Some(row.id),
            file: videos::file_name(row).unwrap_or_default(),
            size_bytes: row.file.size_bytes.and_then(|size| u64::try_from(size).ok()),
            n_frames: n_frames.unwrap_or_else(|| videos::estimated_frames(row)),
            fps: row.fps.unwrap_or(0.0),
        }
    }
}

/// Where the speed of an estimate is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
enum SpeedSource {
    /// The user gave it.
    Given,
    /// An earlier job with the same target, from its start to its end, waiting included.
    Job { job_id: String, finished_on: Option<String> },
    /// Published figures of others, not measured with Courtside.
    Published,
}

/// The slowest and the fastest that is expected; equal for one figure.
type Range = [f64; 2];

/// The size, time and cost of a job that was not submitted. `None` where a speed or a price is missing. Speed, time and
/// cost are ranges; as single figures they are `None` unless both ends are the same.
#[derive(Debug, Serialize)]
pub struct Estimate {
    video_id: Option<i64>,
    file: String,
    target: Target,
    size_bytes: Option<u64>,
    n_frames: u64,
    speed_source: Option<SpeedSource>,
    gpu_fps: Option<f64>,
    gpu_fps_range: Option<Range>,
    gpu_seconds: Option<f64>,
    gpu_seconds_range: Option<Range>,
    price_per_hour: Option<f64>,
    cost_dollars: Option<f64>,
    cost_dollars_range: Option<Range>,
}

impl Estimate {
    /// Estimates a job of a video. Stores the price in the library, and nothing else.
    ///
    /// # Errors
    /// If a parameter is out of range.
    pub fn new(
        library: &mut Library,
        video: EstimatedVideo,
        target: Target,
        parameters: &Parameters,
        inputs: EstimateInputs,
    ) -> Outcome<Self> {
        parameters.validate().map_err(|e| Failure::new(Kind::Usage, e))?;
        if let Some(price) = inputs.price_per_hour {
            library.set_setting(PRICE_KEY, &price.to_string())?;
        }
        let price_per_hour = inputs.price_per_hour.or(remembered_price(library)?);
        // No one rents this machine: only a price that the user gives now counts.
        let counted_price =
            price_per_hour.filter(|_| target == Target::Cloud || inputs.price_per_hour.is_some());
        let speed = speed(library, target, inputs.fps)?;
        let n_frames = parameters.n_tracked_frames(video.n_frames, video.fps);
        let overhead = if target == Target::Cloud { OVERHEAD_SECONDS } else { 0.0 };
        let seconds = speed.as_ref().map(|(_, [slow, fast])| {
            // The lower speed takes the longer time.
            [n_frames as f64 / fast + overhead, n_frames as f64 / slow + overhead]
        });
        let cost = seconds.zip(counted_price).map(|(seconds, price)| seconds.map(|s| s / 3600.0 * price));
        let fps = speed.as_ref().map(|(_, fps)| *fps);
        Ok(Self {
            video_id: video.video_id,
            file: video.file,
            target,
            size_bytes: video.size_bytes,
            n_frames,
            speed_source: speed.map(|(source, _)| source),
            gpu_fps: single(fps),
            gpu_fps_range: fps,
            gpu_seconds: single(seconds),
            gpu_seconds_range: seconds,
            price_per_hour,
            cost_dollars: single(cost),
            cost_dollars_range: cost,
        })
    }
}

/// The time that jobs take on a rented GPU.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CloudTime {
    /// Seconds of tracking, from the fastest to the slowest that is expected.
    pub tracking_seconds: [f64; 2],
    /// Seconds besides tracking, on each machine: boot, model loading, transfers.
    pub overhead_seconds: f64,
    /// Where the speed is from.
    pub source: String,
}

/// Estimates the time of cloud jobs with this many frames in total. `fps` is the user's figure, if any.
pub fn cloud_time(library: &Library, n_frames: u64, fps: Option<f64>) -> Outcome<CloudTime> {
    let (source, [slow, fast]) =
        speed(library, Target::Cloud, fps)?.unwrap_or((SpeedSource::Published, PUBLISHED_FPS));
    let source = match source {
        SpeedSource::Given => "as given with --fps".to_owned(),
        SpeedSource::Job { job_id, .. } => format!("that of the cloud job {job_id}"),
        SpeedSource::Published => {
            "as published for SAM 3 on H100 and H200, not measured with Courtside".to_owned()
        }
    };
    let tracking_seconds = [n_frames as f64 / fast, n_frames as f64 / slow];
    Ok(CloudTime { tracking_seconds, overhead_seconds: OVERHEAD_SECONDS, source })
}

/// The price in dollars per hour that the user gave last.
pub fn remembered_price(library: &Library) -> Outcome<Option<f64>> {
    Ok(library.setting(PRICE_KEY)?.and_then(|text| text.parse().ok()))
}

/// The figure that both ends of a range are.
fn single(range: Option<Range>) -> Option<f64> {
    range.filter(|[low, high]| low == high).map(|[low, _]| low)
}

/// The speed to expect of a job. `None` for a local one if this machine has not completed any.
fn speed(library: &Library, target: Target, given: Option<f64>) -> Outcome<Option<(SpeedSource, Range)>> {
    if let Some(fps) = given {
        return Ok(Some((SpeedSource::Given, [fps; 2])));
    }
    if let Some((job, fps)) = last_speed(library, target)? {
        let finished_on = job.completed_at.map(|at| at.date().to_string());
        return Ok(Some((SpeedSource::Job { job_id: job.id, finished_on }, [fps; 2])));
    }
    Ok((target == Target::Cloud).then_some((SpeedSource::Published, PUBLISHED_FPS)))
}

/// The latest completed job with this target, and its frames per second.
fn last_speed(library: &Library, target: Target) -> Outcome<Option<(JobRow, f64)>> {
    let filter = JobFilter { statuses: &[JobStatus::Completed], limit: Some(100), ..JobFilter::default() };
    let speed = |job: JobRow| {
        let seconds = (job.completed_at? - job.started_at?).as_seconds_f64();
        let frames = job.progress_current as f64;
        let is_same_kind = job.target == Some(target::to_store(target));
        (is_same_kind && seconds > 0.0 && frames > 0.0).then_some((job, frames / seconds))
    };
    Ok(library.jobs(&filter)?.into_iter().find_map(speed))
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.size_bytes.map_or("?".to_owned(), |bytes| format!("{:.2} GB", bytes as f64 / 1e9));
        match self.video_id {
            Some(id) => writeln!(f, "video {id}: {}", self.file)?,
            None => writeln!(f, "{} (not in the library)", self.file)?,
        }
        writeln!(f, "upload: {size}")?;
        writeln!(f, "frames to track: {}", self.n_frames)?;
        self.write_time(f)?;
        match (self.cost_dollars_range, self.price_per_hour) {
            (Some(cost), Some(price)) => {
                writeln!(f, "cost: {} at ${price} per hour", range(cost, |dollars| format!("${dollars:.2}")))
            }
            _ if self.target == Target::Local => writeln!(f, "cost: none, on this machine"),
            (None, Some(_)) => writeln!(f, "cost: unknown without a speed"),
            _ => writeln!(f, "cost: unknown; give a price with --price-per-hour"),
        }
    }
}

impl Estimate {
    fn write_time(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(seconds), Some(fps), Some(source)) =
            (self.gpu_seconds_range, self.gpu_fps_range, &self.speed_source)
        else {
            return writeln!(
                f,
                "time: unknown; this machine has completed no job yet. Give its speed with --fps"
            );
        };
        let time =
            range(seconds, |seconds| clock(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)));
        match self.target {
            Target::Cloud => writeln!(f, "GPU time: {time}, {OVERHEAD_SECONDS} s of overhead included")?,
            Target::Local => writeln!(f, "time: {time}")?,
        }
        write!(f, "speed: {} frames per second, ", range(fps, |fps| format!("{fps:.2}")))?;
        match source {
            SpeedSource::Given => writeln!(f, "as given with --fps"),
            SpeedSource::Job { job_id, finished_on } => {
                let on = finished_on.as_ref().map(|date| format!(" of {date}")).unwrap_or_default();
                writeln!(f, "that of the {} job{on}:\n{job_id}", self.target)
            }
            SpeedSource::Published => writeln!(
                f,
                "as published for SAM 3\non an H100 or H200 with about 16 objects; not measured with Courtside. After the\n\
                 first cloud job, its own speed is used"
            ),
        }
    }
}

/// A range as text; one figure if both ends are the same.
fn range(range: Range, show: impl Fn(f64) -> String) -> String {
    let [low, high] = range.map(show);
    if low == high { low } else { format!("{low} to {high}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::{JobUpdate, NewJob, NewVideo, StoredTarget};
    use time::OffsetDateTime;

    fn estimate(library: &mut Library, target: Target, inputs: EstimateInputs) -> Estimate {
        let video = EstimatedVideo {
            video_id: None,
            file: "game.mp4".to_owned(),
            size_bytes: Some(4_000_000_000),
            n_frames: 108_000,
            fps: 30.0,
        };
        Estimate::new(library, video, target, &Parameters::default(), inputs).unwrap()
    }

    /// Adds a completed job that tracked 1,000 frames in `seconds`.
    fn complete(library: &mut Library, id: &str, target: StoredTarget, seconds: i64) {
        let video = library.add_video(&NewVideo::at(format!("/{id}.mp4"))).unwrap().id;
        library.insert_job(&NewJob { target: Some(target), ..NewJob::new(id, video) }).unwrap();
        let started = OffsetDateTime::UNIX_EPOCH;
        let done = JobUpdate {
            status: Some(JobStatus::Completed),
            progress_current: Some(1000),
            started_at: Some(started),
            completed_at: Some(started + time::Duration::seconds(seconds)),
            ..JobUpdate::default()
        };
        library.update_job(id, &done).unwrap();
    }

    #[test]
    fn a_rented_gpu_is_not_priced_at_the_speed_of_a_local_job() {
        let mut library = Library::absent("x.db").unwrap();
        let price = EstimateInputs { price_per_hour: Some(3.6), fps: None };
        complete(&mut library, "slow-cpu", StoredTarget::Local, 10_000);
        let first = estimate(&mut library, Target::Cloud, price);
        // The first time, a range of published figures, and the text says so.
        assert_eq!((first.gpu_fps_range, first.gpu_fps), (Some(PUBLISHED_FPS), None));
        assert_eq!(first.cost_dollars_range.map(|cost| cost.map(|c| c.round())), Some([11.0, 22.0]));
        let text = first.to_string();
        assert!(text.contains("5.00 to 10.00") && text.contains("as published for SAM 3"), "{text}");
        assert!(text.contains("$11.10 to $21.90 at $3.6 per hour"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        // Then that of the last cloud job, which is named. The price is remembered.
        complete(&mut library, "on-a-gpu", StoredTarget::Cloud, 50);
        let second = estimate(&mut library, Target::Cloud, EstimateInputs::default());
        assert_eq!((second.gpu_fps, second.cost_dollars.map(f64::round)), (Some(20.0), Some(6.0)));
        assert!(second.to_string().contains("that of the cloud job of 1970-01-01:\non-a-gpu\n"), "{second}");
        let local = estimate(&mut library, Target::Local, EstimateInputs::default());
        assert_eq!((local.gpu_fps, local.cost_dollars), (Some(0.1), None));
        let given = estimate(&mut library, Target::Cloud, EstimateInputs { fps: Some(30.0), ..price });
        assert!(given.to_string().contains("as given with --fps"), "{given}");
    }
}
