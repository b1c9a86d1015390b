//! `courtside bench --layers`: single layers of the real model, and a clip.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sam3::bench::real_layers;
use sam3::{Frame, Mode, Session, SessionOptions};
use serde::Serialize;

use super::Args;
use client::failure::{Failure, Kind, Outcome};
use worker::engine::Engine;
use worker::failure::EngineResult;

/// Milliseconds of each layer, by name.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Layers(BTreeMap<String, f64>);

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, ms)| writeln!(f, "{name:<22} {ms:>10.1} ms"))
    }
}

pub(super) fn run(args: &Args, json: bool) -> Outcome<()> {
    let engine = Engine::open(args.engine.into())?;
    engine.choose_kernels()?;
    // One more run than requested, to warm up.
    let n_runs = args.repeat + 1;
    let stages = real_layers(&engine.device, engine.precision, n_runs).or_failure()?;
    let mut times = Layers(stages.into_iter().map(|s| (s.name.to_owned(), s.ms)).collect());
    if let Some(folder) = &args.clip {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        times.0.insert(format!("clip_{name}"), clip_ms(folder, &engine, n_runs)?);
    }
    crate::cli::print(&times, json)
}

/// Milliseconds to track the clip of a fixture in streaming mode, from frames to masks: the best of `n_runs`.
fn clip_ms(folder: &Path, engine: &Engine, n_runs: usize) -> Outcome<f64> {
    let clip = sam3::bench::read_clip(folder).map_err(|_| {
        let message = format!("{} has no reference clip", folder.display());
        Failure::msg(Kind::Failed, message).hint("name a folder of fixtures/, such as fixtures/wide")
    })?;
    let model = Arc::new(engine.load(folder)?);
    let prompts: Vec<&str> = clip.prompts.iter().map(String::as_str).collect();
    let mut best = f64::INFINITY;
    for _ in 0..n_runs {
        let started = Instant::now();
        let options = SessionOptions::new(Mode::Streaming, clip.frame_size);
        let mut session = Session::new(model.clone(), &prompts, options).or_failure()?;
        for frame in &clip.frames {
            session.push(Frame::Rgb(frame)).or_failure()?;
        }
        best = best.min(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(best)
}
