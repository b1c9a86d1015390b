//! The run itself: decode, track, spool, checkpoint. What becomes of the detections is up to the caller: the
//! command writes files, the worker results.

use crate::failure::EngineResult;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use jobs::results::ResultsHead;
use sam3::{Frame, FrameOutput, MemoryFallback, Mode, Model, Prepared, Session, SessionOptions};
use video::{Damage, Frame as Picture};

use super::checkpoint::{self, Head, Labels, Position};
use super::dump::Dump;
use super::frame_source::FrameSource;
use super::outputs::{extra_fields, write_results};
use super::request::{Request, Source};
use super::spool::{Detection, Spool};
use super::summary::{Summary, tracks_of};
use super::watch::{Progressed, Saved, Watch};
use client::atomic_file::cannot;
use client::export::{Annotation, write_mot};
use client::failure::{Failure, Kind, Outcome};
use client::progress::Progress;
use client::stop::Stop;
use client::terminal::notify;

/// Tracks a video and writes the files that the request names.
///
/// # Errors
/// A run that was stopped while tracking returns its summary with `interrupted` set, its files holding what
/// there is; one that failed on the way also leaves files with what there is. One that was stopped while
/// drawing is a [`Failure`] of kind [`Kind::Interrupted`]: all files but
/// the annotated video are written.
pub fn run(request: &Request, source: Source, model: Arc<Model>, stop: &Stop) -> Outcome<Summary> {
    let mut tracking = Tracking::start(request, source, model, &())?;
    match tracking.track(stop) {
        Ok(damage) => tracking.finish(&damage, stop),
        Err(failure) => Err(tracking.abandon(failure, stop)),
    }
}

/// Detections of a run that reached the end of its video.
pub struct Tracked {
    /// The detections, in order of frame, then track.
    pub spool: Spool,
    /// Frames tracked.
    pub n_frames: u64,
    /// What was wrong.
    pub warnings: Vec<String>,
    /// What was given up for lack of GPU memory.
    pub concessions: Vec<MemoryFallback>,
}

/// Tracks a video and hands the detections out; writes nothing but the checkpoint that the request names. With
/// `None`, the run was stopped, and the checkpoint says where.
pub fn detect(
    request: &Request,
    source: Source,
    model: Arc<Model>,
    stop: &Stop,
    watch: &dyn Watch,
) -> Outcome<Option<Tracked>> {
    let mut tracking = Tracking::start(request, source, model, watch)?;
    let damage = tracking.track(stop)?;
    tracking.save()?;
    if tracking.interrupted {
        return Ok(None);
    }
    let rest = tracking.session.finish();
    tracking.record(rest)?;
    tracking.progress.finish();
    let warnings = tracking.warnings(&damage);
    let concessions = tracking.session.memory_fallbacks().to_vec();
    Ok(Some(Tracked { spool: tracking.spool, n_frames: tracking.position.n_frames, warnings, concessions }))
}

/// A run in progress.
struct Tracking<'a> {
    request: &'a Request,
    watch: &'a dyn Watch,
    source: Source,
    session: Session,
    spool: Spool,
    dump: Option<Dump>,
    labels: Labels,
    position: Position,
    interrupted: bool,
    progress: Progress,
    started: Instant,
}

impl<'a> Tracking<'a> {
    fn start(request: &'a Request, source: Source, model: Arc<Model>, watch: &'a dyn Watch) -> Outcome<Self> {
        let n_frames = source.n_frames();
        let options = session_options(request, &source);
        let prompts: Vec<&str> = request.prompts.iter().map(String::as_str).collect();
        let fresh =
            Position { waiting: Vec::new(), next_frame: source.run.from, n_frames: 0, n_detections: 0 };
        let saved = match &request.checkpoint {
            Some(path) => checkpoint::read(path, &source.run)?.map(|saved| (path, saved)),
            None => None,
        };
        let side = model.config().low_res_mask_size;
        let (session, labels, position) = match saved {
            Some((path, (head, bytes))) => {
                let next = head.position.next_frame;
                notify(format!("continuing at frame {next} of {}", request.video.display()));
                let session = Session::from_bytes(model, &prompts, options, &bytes, path).or_failure()?;
                (session, head.labels, head.position)
            }
            None => {
                // A file that is still arriving does not have its own name yet.
                let named = if source.is_arriving() { source.video.path() } else { &request.video };
                (Session::new(model, &prompts, options).or_failure()?, labels_of(named)?, fresh)
            }
        };
        let spool = match &request.checkpoint {
            Some(path) => Spool::named(&checkpoint::spool_path(path), position.n_detections)?,
            None => Spool::unnamed(&request.out)?,
        };
        let dump = request.dump.as_deref().map(|path| Dump::create(path, side)).transpose()?;
        let progress = Progress::start("tracking", position.n_frames, n_frames);
        let started = Instant::now();
        Ok(Self {
            request,
            watch,
            source,
            session,
            spool,
            dump,
            labels,
            position,
            interrupted: false,
            progress,
            started,
        })
    }

    /// Tracks until the video ends or the user stops it; returns how much of the video was readable.
    fn track(&mut self, stop: &Stop) -> Outcome<Damage> {
        let source = self.source.clone();
        let mut frames = FrameSource::new(&source, self.position.next_frame, stop);
        let mut last_checkpoint = Instant::now();
        let mut coming = frames.next().transpose()?;
        let mut prepared = None;
        while let Some(frame) = coming.take() {
            // The decoder is ahead; the GPU looks at the next frame while the host decides about this one.
            let next = if stop.requested() { None } else { frames.next() };
            let outputs = self.push(&frame, next.as_ref(), &mut prepared)?;
            self.position.waiting.push(frame.frame_idx);
            self.position.n_frames += 1;
            self.position.next_frame = frame.frame_idx + self.source.run.every;
            self.record(outputs)?;
            self.report();
            // A run that is stopped on its last frame is finished.
            if stop.requested() && self.position.next_frame < self.source.run.to {
                self.interrupted = true;
                break;
            }
            if last_checkpoint.elapsed() >= self.request.checkpoint_interval {
                self.save()?;
                last_checkpoint = Instant::now();
            }
            coming = next.transpose()?;
        }
        if frames.is_cut_short() {
            self.interrupted = true;
        }
        self.source.video = frames.video().clone();
        if !self.interrupted {
            // Frames lost at the end of a damaged video are not looked for again.
            self.position.next_frame = self.source.run.to;
        }
        Ok(frames.damage())
    }

    /// Tracks a frame, and has the next one prepared meanwhile.
    fn push(
        &mut self,
        frame: &Picture,
        next: Option<&Outcome<Picture>>,
        prepared: &mut Option<Prepared>,
    ) -> Outcome<Vec<FrameOutput>> {
        let now = match prepared.take() {
            Some(prepared) => prepared,
            None => self.session.prepare(&Frame::Rgb(&frame.rgb)).or_failure()?,
        };
        // One that cannot be decoded is reported when its turn comes.
        let next = next.and_then(|next| next.as_ref().ok()).map(|next| Frame::Rgb(&next.rgb));
        let (outputs, ahead) = self.session.push_prepared(&now, next.as_ref()).or_failure()?;
        *prepared = ahead;
        Ok(outputs)
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
        self.watch.progressed(&Progressed {
            n_frames: self.position.n_frames,
            total: self.source.n_frames(),
            fps: self.progress.fps(),
        });
    }

    /// Writes a checkpoint, if the request names one.
    fn save(&mut self) -> Outcome<()> {
        let Some(path) = &self.request.checkpoint else { return Ok(()) };
        self.spool.sync()?;
        self.position.n_detections = self.spool.n_records();
        let (run, labels, position) = (&self.source.run, &self.labels, &self.position);
        let head = Head {
            run: run.clone(),
            labels: labels.clone(),
            position: position.clone(),
            max_objects: self.request.max_objects,
        };
        checkpoint::write(path, &head, &self.session.to_bytes().or_failure()?)?;
        self.watch.saved(&Saved {
            checkpoint: path,
            spool: &checkpoint::spool_path(path),
            spool_bytes: Spool::size_bytes(position.n_detections),
            next_frame: position.next_frame,
            n_frames: position.n_frames,
        })
    }

    /// Keeps what there is of a run that failed, as if it had been stopped, and says how to go on.
    fn abandon(mut self, failure: Failure, stop: &Stop) -> Failure {
        self.interrupted = true;
        let n_frames = self.position.n_frames;
        let has_checkpoint = self.request.checkpoint.is_some();
        let failure = failure.context(format!("tracking failed after {n_frames} frames"));
        match self.finish(&Damage::default(), stop) {
            Ok(_) if has_checkpoint => failure.hint("run the same command again to go on from there"),
            Ok(_) => failure.hint("the files hold what there is; with --checkpoint the next run could go on"),
            Err(also) => failure.hint(format!("what there was could not be written either: {also}")),
        }
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
        warnings.iter().for_each(|w| notify(format!("warning: {w}")));
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
        let turned_away = self.session.n_rejected();
        if turned_away > 0 {
            warnings.push(format!(
                "the limit of objects was reached: {turned_away} detections were not followed; see --max-objects"
            ));
        }
        if let Some(last) = self.session.memory_fallbacks().last() {
            warnings.push(format!("the GPU's memory did not suffice: {}", message(last)));
        }
        if damage.n_messages > 0 && !self.interrupted {
            let first = damage.messages.first().map(String::as_str).unwrap_or_default();
            warnings.push(format!("the decoder complained {} times, first: {first}", damage.n_messages));
        }
        warnings
    }

    fn write_files(&mut self, stop: &Stop) -> Outcome<Vec<PathBuf>> {
        let request = self.request;
        let prompts = self.session.prompts().to_vec();
        let head = ResultsHead {
            job_id: self.labels.job_id.clone(),
            video_id: 0,
            completed_at: Some(self.labels.completed_at.clone()),
            frames_processed: Some(self.position.n_frames),
            extra: extra_fields(&prompts, self.session.memory_fallbacks()),
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
            let drawn = annotation.write(path, self.spool.exported()?, stop);
            let what = format!("{} is not written; the other files are", path.display());
            drawn.map_err(|failure| failure.context(what))?;
            outputs.push(path.clone());
        }
        Ok(outputs)
    }
}

fn message(concession: &MemoryFallback) -> String {
    match concession {
        MemoryFallback::ObjectsAtOnce { frame_idx, n } => {
            format!("from tracked frame {frame_idx} on, {n} objects at a time (slower, nothing is lost)")
        }
        MemoryFallback::MaxObjects { frame_idx, n } => {
            format!("from tracked frame {frame_idx} on, at most {n} objects; see --max-objects")
        }
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

/// What the results are called. `completed_at` is when the video file was last changed, so that the same
/// video gives the same bytes; `SOURCE_DATE_EPOCH` overrides it.
fn labels_of(video: &Path) -> Outcome<Labels> {
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;
    let wrong = |what: String| Failure::msg(Kind::Config, what);
    let changed = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => {
            let seconds = text.parse().ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
            seconds.ok_or_else(|| {
                wrong(format!("SOURCE_DATE_EPOCH is {text:?}, not a number of seconds since 1970"))
            })?
        }
        Err(_) => {
            let modified = std::fs::metadata(video).and_then(|m| m.modified());
            let modified = modified.map_err(|e| cannot("read", video, e))?;
            let seconds = modified.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
            let in_range = OffsetDateTime::from_unix_timestamp(seconds.min(i64::MAX as u64) as i64);
            in_range.map_err(|_| wrong(format!("{} has an impossible date", video.display())))?
        }
    };
    let completed_at = changed.format(&Rfc3339).map_err(|e| wrong(e.to_string()))?;
    let stem = video.file_stem().unwrap_or_default().to_string_lossy();
    Ok(Labels { job_id: format!("track-{stem}"), completed_at })
}
