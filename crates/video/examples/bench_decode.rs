//! Times opening, decoding and seeking next to `ffmpeg -f null` on the same file:
//! `cargo run --release -p video --example bench_decode -- FILE [ROUNDS]`

#![expect(clippy::print_stdout, reason = "the program prints its measurements")]

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use video::{DecodeOptions, Limits, Tools, Video};

/// Seeks that are timed in each round.
const SEEKS: u64 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: bench_decode FILE [ROUNDS]")?;
    let rounds: u32 = args.next().map_or(Ok(3), |rounds| rounds.parse())?;
    let tools = Tools::find()?;
    for _ in 0..rounds {
        let (video, opening) = timed(|| Video::open(&tools, Path::new(&path), &Limits::default()))?;
        let ffmpeg = time_ffmpeg(&tools, Path::new(&path))?;
        let (n_frames, decoding) = timed(|| count(&video, 0, u64::MAX))?;
        let (_, seeking) = timed(|| seek(&video))?;
        let fps = |time: Duration| n_frames as f64 / time.as_secs_f64();
        println!(
            "open {:.2} s; {n_frames} frames: {:.0} fps, ffmpeg -f null {:.0} fps, ratio {:.2}; seek {:.2} s",
            opening.as_secs_f64(),
            fps(decoding),
            fps(ffmpeg),
            fps(decoding) / fps(ffmpeg),
            seeking.as_secs_f64() / SEEKS as f64,
        );
    }
    Ok(())
}

fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(T, Duration), E> {
    let start = Instant::now();
    work().map(|done| (done, start.elapsed()))
}

/// Decodes up to `n` frames from `first` and returns their number.
fn count(video: &Video, first: u64, n: u64) -> Result<u64, Box<dyn Error>> {
    let range = first..first.saturating_add(n);
    let mut n_frames = 0;
    for frame in video.frames(&DecodeOptions { range, ..DecodeOptions::default() })? {
        frame?;
        n_frames += 1;
    }
    Ok(n_frames)
}

/// Decodes one frame at each of several places.
fn seek(video: &Video) -> Result<(), Box<dyn Error>> {
    for i in 0..SEEKS {
        count(video, video.n_frames() * (2 * i + 1) / (2 * SEEKS), 1)?;
    }
    Ok(())
}

/// The time in which ffmpeg decodes the file with as many threads and drops the frames.
fn time_ffmpeg(tools: &Tools, path: &Path) -> Result<Duration, Box<dyn Error>> {
    let threads = DecodeOptions::default().threads.to_string();
    let mut command = Command::new(tools.ffmpeg());
    command.args(["-nostdin", "-v", "error", "-threads", &threads, "-i"]).arg(path);
    let start = Instant::now();
    let status = command.args(["-map", "0:v:0", "-f", "null", "-"]).status()?;
    if status.success() { Ok(start.elapsed()) } else { Err(format!("ffmpeg failed: {status}").into()) }
}
