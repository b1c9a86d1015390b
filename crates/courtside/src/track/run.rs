//! The run itself: decode, track, spool, checkpoint, write.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use sam3::{Frame, FrameOutput, Mode, Model, Session, SessionOptions};
use video::{Damage, DecodeOptions};

use super::checkpoint::{self, Position};
use super::dump::Dump;
use super::outputs::{Annotation, ResultsHead, write_mot, write_results};
use super::request::{Request, Source};
use super::spool::{Detection, Spool};
use super::summary::{Summary, tracks_of};
use crate::failure::{Failure, Kind, Outcome};
use crate::progress::Progress;
use crate::say::say;
use crate::stop::Stop;

/// Tracks a video and writes the files that the request names.
///
/// # Errors
/// A run that was stopped while tracking returns its summary with `interrupted` set, its files holding what
/// there is. One that was stopped while drawing is a [`Failure`] of kind [`Kind::Interrupted`]: all files but
/// the annotated video are written.
pub fn run(request: &Request, source: Source, model: Arc<Model>, stop: &Stop) -> Outcome<Summary> {
    let mut tracking = Tracking::start(request, source, model)?;
    let damage = tracking.track(stop)?;
    tracking.finish(&damage, stop)
}

/// A run in progress.
struct Tracking<'a> {
    request: &'a Request,
    source: Source,
    session: Session,
    spool: Spool,
    dump: Option<Dump>,
    position: Position,
    interrupted: bool,
    progress: Progress,
    started: Instant,
}

impl<'a> Tracking<'a> {
    fn start(request: &'a Request, source: Source, model: Arc<Model>) -> Outcome<Self> {
        let n_frames = source.n_frames();
        let options = session_options(request, &source);
        let prompts: Vec<&str> = request.prompts.iter().map(String::as_str).collect();
        let fresh =
            Position { waiting: Vec::new(), next_frame: source.run.from, n_frames: 0, n_detections: 0 };
        let saved = match &request.checkpoint {
            Some(path) => checkpoint::read(path, &source.run)?.map(|saved| (path, saved)),
            None => None,
        };
        let (session, position) = match saved {
            Some((path, (position, bytes))) => {
                say(format!("continuing at frame {} of {}", position.next_frame, request.video.display()));
                (Session::from_bytes(model, &prompts, options, &bytes, path)?, position)
            }
            None => (Session::new(model, &prompts, options)?, fresh),
        };
        let spool = match &request.checkpoint {
            Some(path) => Spool::named(&checkpoint::spool_path(path), position.n_detections)?,
            None => Spool::unnamed(&request.out)?,
        };
        let dump = request.dump.as_deref().map(Dump::create).transpose()?;
        let progress = Progress::start("tracking", position.n_frames, n_frames);
        let started = Instant::now();
        Ok(Self { request, source, session, spool, dump, position, interrupted: false, progress, started })
    }

    /// Tracks until the video ends or the user stops it; returns how much of the video was readable.
    fn track(&mut self, stop: &Stop) -> Outcome<Damage> {
        let run = &self.source.run;
        let range = self.position.next_frame..run.to;
        if range.is_empty() {
            return Ok(Damage::default());
        }
        let threads = std::thread::available_parallelism().map_or(2, |n| n.get().min(8));
        let options = DecodeOptions { range, every: run.every, threads, ..DecodeOptions::default() };
        let mut frames = self.source.video.frames(&options)?;
        let mut last_checkpoint = Instant::now();
        for frame in frames.by_ref() {
            let frame = frame?;
            self.position.waiting.push(frame.frame_idx);
            let outputs = self.session.push(Frame::Rgb(&frame.rgb))?;
            self.position.n_frames += 1;
            self.position.next_frame = frame.frame_idx + self.source.run.every;
            self.record(outputs)?;
            self.report();
            if stop.requested() {
                self.interrupted = true;
                break;
            }
            if last_checkpoint.elapsed() >= self.request.checkpoint_interval {
                self.save()?;
                last_checkpoint = Instant::now();
            }
        }
        if !self.interrupted {
            // Frames lost at the end of a damaged video are not looked for again.
            self.position.next_frame = self.source.run.to;
        }
        Ok(frames.damage())
    }

    /// Spools what is certain now.
    fn record(&mut self, outputs: Vec<FrameOutput>) -> Outcome<()> {
        let mut waiting: VecDeque<u64> = std::mem::take(&mut self.position.waiting).into();
        for output in outputs {
            let Some(frame) = waiting.pop_front() else { break };
            for object in &output.objects {
                let [left, top, right, bottom] = object.bbox;
                self.spool.push(Detection {
                    frame,
                    track_id: object.id,
                    prompt: object.prompt as u32,
                    bbox: [left, top, right - left, bottom - top],
                    confidence: object.score,
                })?;
            }
            if let Some(dump) = &mut self.dump {
                dump.push(frame, &output.low_res)?;
            }
        }
        self.position.waiting = waiting.into();
        Ok(())
    }

    fn report(&mut self) {
        let n = self.session.n_tracked();
        let plural = if n == 1 { "" } else { "s" };
        self.progress.update(self.position.n_frames, &format!("{n} object{plural}"));
    }

    /// Writes a checkpoint, if the request names one.
    fn save(&mut self) -> Outcome<()> {
        let Some(path) = &self.request.checkpoint else { return Ok(()) };
        self.spool.sync()?;
        self.position.n_detections = self.spool.n_records();
        checkpoint::write(path, &self.source.run, &self.position, &self.session.to_bytes()?)
    }

    /// Writes the files. The run is checkpointed first, as it was before its last frames were forced out: if
    /// it was stopped, or is stopped while drawing, or a file cannot be written, it goes on from here.
    fn finish(mut self, damage: &Damage, stop: &Stop) -> Outcome<Summary> {
        self.save()?;
        let rest = self.session.finish();
        self.record(rest)?;
        self.progress.finish();
        let seconds = self.started.elapsed().as_secs_f64();
        let warnings = self.warnings(damage);
        warnings.iter().for_each(|w| say(format!("warning: {w}")));
        let outputs = self.write_files(stop)?;
        let summary = Summary {
            frames_processed: self.position.n_frames,
            frames_missing: self.n_missing(),
            detections: self.spool.n_records(),
            seconds,
            fps: self.progress.fps(),
            interrupted: self.interrupted,
            checkpoint: self.request.checkpoint.clone().filter(|_| self.interrupted),
            outputs,
            warnings,
            tracks: tracks_of(&mut self.spool)?,
        };
        if !summary.interrupted {
            if let Some(path) = &self.request.checkpoint {
                checkpoint::remove(path)?;
            }
            self.spool.remove()?;
        }
        Ok(summary)
    }

    /// Frames that could not be decoded, also by the processes that this one goes on from.
    fn n_missing(&self) -> u64 {
        if self.interrupted { 0 } else { self.source.n_frames().saturating_sub(self.position.n_frames) }
    }

    fn warnings(&self, damage: &Damage) -> Vec<String> {
        let mut warnings = self.source.video.warnings().to_vec();
        let (missing, expected) = (self.n_missing(), self.source.n_frames());
        if missing > 0 {
            warnings
                .push(format!("the video is damaged: {missing} of {expected} frames could not be decoded"));
        }
        if damage.n_messages > 0 && !self.interrupted {
            let first = damage.messages.first().map(String::as_str).unwrap_or_default();
            warnings.push(format!("the decoder complained {} times, first: {first}", damage.n_messages));
        }
        warnings
    }

    fn write_files(&mut self, stop: &Stop) -> Outcome<Vec<PathBuf>> {
        let request = self.request;
        let job_id = job_id(&request.video);
        let completed_at = stamp(&request.video)?;
        let prompts = self.session.prompts().to_vec();
        let head = ResultsHead {
            job_id: &job_id,
            video_id: 0,
            completed_at: &completed_at,
            frames_processed: self.position.n_frames,
            prompts: &prompts,
        };
        write_results(&request.out, &head, &mut self.spool)?;
        let mut outputs = vec![request.out.clone()];
        if let Some(path) = &request.mot {
            write_mot(path, &mut self.spool)?;
            outputs.push(path.clone());
        }
        if let Some(dump) = self.dump.take() {
            dump.keep()?;
            outputs.extend(request.dump.clone());
        }
        // Drawing takes as long as decoding: a run that was stopped does not begin it.
        if let Some(path) = request.annotated.as_ref().filter(|_| !self.interrupted) {
            let run = &self.source.run;
            let annotation = Annotation {
                tools: &self.source.tools,
                video: &self.source.video,
                range: run.from..run.to,
                every: run.every,
                prompts: &prompts,
            };
            let drawn = annotation.write(path, &mut self.spool, stop);
            let what = format!("{} is not written; the other files are", path.display());
            drawn.map_err(|failure| failure.context(what))?;
            outputs.push(path.clone());
        }
        Ok(outputs)
    }
}

fn session_options(request: &Request, source: &Source) -> SessionOptions {
    let mode = if request.streaming {
        Mode::Streaming
    } else {
        Mode::Offline { n_frames: source.n_frames() as usize }
    };
    let frame_size = (source.video.height() as usize, source.video.width() as usize);
    SessionOptions {
        compat: request.compat,
        max_objects: request.max_objects,
        retire_after: request.retire_after,
        ..SessionOptions::new(mode, frame_size)
    }
}

fn job_id(video: &Path) -> String {
    format!("track-{}", video.file_stem().unwrap_or_default().to_string_lossy())
}

/// The `completed_at` of a results file: when the video file was last changed. The same video so gives the
/// same bytes, however often the run was stopped and continued. `SOURCE_DATE_EPOCH` overrides it.
fn stamp(video: &Path) -> Outcome<String> {
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|s| s.parse::<i64>().ok());
    let modified = std::fs::metadata(video).and_then(|m| m.modified());
    let seconds = given
        .or_else(|| {
            let since = modified.ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
            i64::try_from(since.as_secs()).ok()
        })
        .unwrap_or(0);
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|e| Failure::new(Kind::Failed, e))?
        .format(&Rfc3339)
        .map_err(|e| Failure::new(Kind::Failed, e))
}
