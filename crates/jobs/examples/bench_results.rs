//! Measures writing and reading the results file of a one-hour game: `bench_results [DETECTIONS]`. Each
//! measurement runs in a separate process, so that it has its own peak memory. Times are the best of five,
//! and CPU time where the system reports it, so that other programs affect them less.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use jobs::results::{Detection, Expected, ResultsHead, ResultsWriter, read_results};

const JOB: &str = "bench";
const PER_FRAME: u64 = 9;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [task, path, n] => measure(task, Path::new(path), n.parse()?),
        [n] => all(n.parse()?),
        _ => all(1_012_000),
    }
}

/// Creates the files, then measures each task in a separate process.
fn all(n: u64) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    write(&at("plain.json"), n)?;
    write_as_python(&at("python.json"), n)?;
    for name in ["plain", "python"] {
        let from = at(&format!("{name}.json"));
        let gzip = File::create(at(&format!("{name}.json.gz")))?;
        let mut gzip = flate2::write::GzEncoder::new(gzip, flate2::Compression::new(1));
        io::copy(&mut File::open(&from)?, &mut gzip)?;
        gzip.finish()?;
        zstd::stream::copy_encode(File::open(&from)?, File::create(at(&format!("{name}.json.zst")))?, 1)?;
    }
    println!("{n} detections");
    let program = std::env::current_exe()?;
    let reads =
        ["plain.json", "plain.json.gz", "plain.json.zst", "python.json", "python.json.gz", "python.json.zst"];
    for (task, name) in [("write", "again.json")].into_iter().chain(reads.map(|name| ("read", name))) {
        Command::new(&program).arg(task).arg(at(name)).arg(n.to_string()).status()?;
    }
    Ok(())
}

fn measure(task: &str, path: &Path, n: u64) -> Result<(), Box<dyn Error>> {
    let mut seconds = Vec::new();
    let began = Instant::now();
    for _ in 0..5 {
        let start = cpu_seconds(began);
        if task == "write" {
            write(path, n)?
        } else {
            read(path, n)?
        }
        seconds.push(cpu_seconds(began) - start);
    }
    let best = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let mut head = [0; 4];
    File::open(path)?.read_exact(&mut head)?;
    let megabytes = File::open(path)?.metadata()?.len() as f64 / 1e6;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let peak = peak_memory().unwrap_or_else(|| "?".to_owned());
    println!(
        "{task:5} {name:16} {megabytes:6.1} MB stored  {best:.3} s  {:5.0} MB/s  {:4.0} ns each  peak {peak}",
        megabytes / best,
        best / n as f64 * 1e9
    );
    Ok(())
}

/// CPU time of this thread, where the system reports it; otherwise the time since `began`.
fn cpu_seconds(began: Instant) -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse::<f64>().ok());
    nanoseconds.map_or_else(|| began.elapsed().as_secs_f64(), |ns| ns / 1e9)
}

/// Peak memory of this process, where the system reports it.
fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.trim_start_matches("VmHWM:").trim().to_owned())
}

fn read(path: &Path, n: u64) -> Result<(), Box<dyn Error>> {
    let mut n_seen = 0;
    let expected = Expected { n_frames: Some(n), n_detections: Some(n), ..Expected::of_job(JOB) };
    read_results(File::open(path)?, &expected, |batch| {
        n_seen += batch.len() as u64;
        Ok::<(), io::Error>(())
    })?;
    assert_eq!(n_seen, n);
    Ok(())
}

fn write(path: &Path, n: u64) -> Result<(), Box<dyn Error>> {
    let head = ResultsHead { job_id: JOB.to_owned(), ..ResultsHead::default() };
    let mut writer = ResultsWriter::new(File::create(path)?, &head)?;
    detections(n).try_for_each(|d| writer.push(&d))?;
    writer.finish()?;
    Ok(())
}

/// Writes the file as Python's `json.dump` does: all digits, with spaces, on one line.
fn write_as_python(path: &Path, n: u64) -> Result<(), Box<dyn Error>> {
    let mut out = io::BufWriter::new(File::create(path)?);
    write!(out, "{{\"job_id\": \"{JOB}\", \"video_id\": 0, \"detections\": [")?;
    for (i, d) in detections(n).enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        let [x, y, w, h] = d.bbox;
        write!(out, "{comma}{{\"frame\": {}, \"track_id\": {}, ", d.frame, d.track_id)?;
        write!(out, "\"bbox\": [{x:?}, {y:?}, {w:?}, {h:?}], \"confidence\": {:?}}}", d.confidence)?;
    }
    write!(out, "]}}")?;
    out.flush()?;
    Ok(())
}

/// Boxes of players that drift across the frame.
fn detections(n: u64) -> impl Iterator<Item = Detection> {
    let mut seed = 88_172_645_463_325_252u64;
    let mut unit = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut boxes = [[0.0; 4]; PER_FRAME as usize];
    boxes.iter_mut().for_each(|b| *b = [unit() * 1800.0, unit() * 900.0, 60.0, 140.0]);
    (0..n).map(move |i| {
        let bbox = &mut boxes[(i % PER_FRAME) as usize];
        bbox.iter_mut().for_each(|x| *x = (*x + unit() * 4.0 - 2.0).abs());
        Detection {
            frame: i / PER_FRAME,
            track_id: i % PER_FRAME + 1,
            bbox: *bbox,
            confidence: 0.7 + 0.3 * unit(),
        }
    })
}
