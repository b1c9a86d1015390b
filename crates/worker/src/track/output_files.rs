//! `courtside track`: a run whose results become files, also when it is stopped or fails.

use std::path::PathBuf;
use std::sync::Arc;

use jobs::results::ResultsHead;
use sam3::Model;
use video::Damage;

use super::checkpoint::{self, VideoChanged};
use super::request::{Source, TrackRequest};
use super::results::{ResultFacts, write_results};
use super::run::{MAX_LOSSES, Run};
use super::summary::{RunSummary, tracks_of};
use crate::failure::is_about_detections;
use client::export::{Annotation, write_mot};
use client::failure::{Failure, Outcome};
use client::stop::Stop;
use client::terminal::{counted, notify};

/// Tracks a video and writes the files that the request names. A run that was stopped while tracking returns its summary
/// with `interrupted` set; its files have the frames tracked so far. A run whose detections on disk turn out to be
/// damaged resumes from its checkpoint.
///
/// # Errors
/// If tracking fails; the files then have the frames tracked before. If the detections on disk are damaged and there is
/// no checkpoint, or the video was changed; no file is then written. If the run is stopped while the annotated video is
/// drawn: a failure of kind [`Kind::Interrupted`](client::failure::Kind), with all other files written.
pub fn track_to_files(
    request: &TrackRequest,
    source: Source,
    model: Arc<Model>,
    stop: &Stop,
) -> Outcome<RunSummary> {
    for _ in 0..MAX_LOSSES {
        match track_once(request, source.clone(), model.clone(), stop) {
            Err(failure) if is_about_detections(&failure) && request.checkpoint.is_some() => {
                notify(format!("warning: {}; going back to the last checkpoint", failure.message()));
            }
            done => return done,
        }
    }
    track_once(request, source, model, stop)
}

fn track_once(request: &TrackRequest, source: Source, model: Arc<Model>, stop: &Stop) -> Outcome<RunSummary> {
    let mut run = Run::start(request, source, model, &())?;
    match run.track(stop) {
        Ok(damage) => run.finish(&damage, stop),
        // What was tracked so far may be wrong.
        Err(failure) if is_about_detections(&failure) || failure.cause::<VideoChanged>().is_some() => {
            Err(failure)
        }
        Err(failure) => Err(run.abandon(failure, stop)),
    }
}

impl Run<'_> {
    /// Writes what a failed run has tracked, as if it had been stopped. Returns the failure with a hint about how to
    /// resume.
    fn abandon(mut self, failure: Failure, stop: &Stop) -> Failure {
        self.interrupted = true;
        let n_frames = self.position.n_frames;
        let has_checkpoint = self.request.checkpoint.is_some();
        let failure = failure.context(format!("tracking failed after {}", counted(n_frames, "frame")));
        match self.finish(&Damage::default(), stop) {
            Ok(_) if has_checkpoint => failure.hint("run the same command again to resume from there"),
            Ok(_) => failure.hint(
                "the files have the frames tracked so far; with --checkpoint FILE, the next run could be resumed",
            ),
            Err(also) => failure.hint(format!("the frames tracked so far could not be written either: {also}")),
        }
    }

    /// Writes the files. The checkpoint comes first, from before the last frames are flushed: if the run was stopped, is
    /// stopped while drawing, or cannot write a file, it resumes from there.
    fn finish(mut self, damage: &Damage, stop: &Stop) -> Outcome<RunSummary> {
        self.save()?;
        self.flush()?;
        let seconds = self.started.elapsed().as_secs_f64();
        let mut warnings = self.warnings(damage);
        warnings.iter().for_each(|w| notify(format!("warning: {w}")));
        let outputs = self.write_files(stop, &mut warnings)?;
        let summary = RunSummary {
            frames_processed: self.position.n_frames,
            frames_missing: self.position.missing.count,
            missing_frames: self.missing_frames(),
            detections: self.spool.n_records(),
            seconds,
            fps: self.progress.fps(),
            interrupted: self.interrupted,
            checkpoint: self.request.checkpoint.clone().filter(|_| self.interrupted),
            outputs,
            warnings,
            prompts: self.session.prompts().to_vec(),
            tracks: tracks_of(&mut self.spool, |frame| self.source.video.time_s(frame))?,
        };
        if !summary.interrupted {
            if let Some(path) = &self.request.checkpoint {
                checkpoint::remove(path)?;
            }
            self.spool.remove()?;
        }
        Ok(summary)
    }

    /// Writes the files and returns their paths. Adds what the annotated video lacks to `warnings`.
    fn write_files(&mut self, stop: &Stop, warnings: &mut Vec<String>) -> Outcome<Vec<PathBuf>> {
        let request = self.request;
        let prompts = self.session.prompts().to_vec();
        let facts = ResultFacts {
            prompts: &prompts,
            memory_fallbacks: self.session.memory_fallbacks(),
            missing_frames: self.missing_frames(),
            pixel_aspect: self.source.video.pixel_aspect(),
        };
        let head = ResultsHead {
            job_id: self.labels.job_id.clone(),
            video_id: 0,
            completed_at: Some(self.labels.completed_at.clone()),
            frames_processed: Some(self.position.n_frames),
            extra: facts.fields(),
        };
        write_results(&request.out, &head, prompts.len() > 1, 0.0, &mut self.spool)?;
        let mut outputs = vec![request.out.clone()];
        if let Some(path) = &request.mot {
            write_mot(path, self.spool.exported()?)?;
            outputs.push(path.clone());
        }
        if let Some(dump) = self.dump.take() {
            dump.keep()?;
            outputs.extend(request.dump.clone());
        }
        // Drawing takes as long as decoding: a run that was stopped skips it.
        if let Some(path) = request.annotated.as_ref().filter(|_| !self.interrupted) {
            let run = &self.source.run;
            let annotation = Annotation {
                tools: &self.source.tools,
                video: &self.source.video,
                range: run.from..run.to,
                every: run.every,
                prompts: &prompts,
            };
            let drawn = annotation.write(path, self.spool.exported()?, stop);
            let what = format!("{} is not written; the other files are", path.display());
            for warning in drawn.map_err(|failure| failure.context(what))? {
                notify(format!("warning: {}: {warning}", path.display()));
                warnings.push(format!("{}: {warning}", path.display()));
            }
            outputs.push(path.clone());
        }
        Ok(outputs)
    }
}
