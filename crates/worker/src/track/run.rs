//! A run: decode, track, spool, checkpoint. The caller decides what happens with the detections: `courtside track`
//! writes [files](super::output_files), the worker publishes results.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use jobs::manifest::MissingFrames;
use sam3::{Frame, FrameOutput, MemoryFallback, Mode, Model, Prepared, Session, SessionOptions};
use video::{Damage, Frame as VideoFrame};

use super::checkpoint::{self, CheckpointHeader, RunPosition, UnusableCheckpoint};
use super::dump::Dump;
use super::frame_source::FrameSource;
use super::labels::ResultLabels;
use super::limits::RecordCheck;
use super::observer::{RunObserver, RunProgress, SavedCheckpoint};
use super::request::{Source, TrackRequest};
use super::spool::{DamagedSpool, Spool, SpoolRecord};
use crate::failure::EngineResult;
use client::failure::{Failure, Kind, Outcome};
use client::progress::Progress;
use client::stop::Stop;
use client::terminal::{counted, notify};

/// How often a run whose detections on disk are damaged goes back to a checkpoint before the disk is considered faulty.
pub(crate) const MAX_LOSSES: u32 = 3;

/// Frames of the video after which a run that has found nothing says so.
const FRAMES_WITHOUT_TRACKS: u64 = 300;
/// Frames that must have been tracked by then.
const MIN_TRACKED: u64 = 30;

/// Detections of a run that reached the end of its video.
pub struct TrackedVideo {
    /// The detections, ordered by frame, then track.
    pub spool: Spool,
    /// Number of frames tracked.
    pub n_frames: u64,
    /// Problems of the video and limits that were reached, as messages.
    pub warnings: Vec<String>,
    /// Frames that could not be decoded; `None` if all were decoded.
    pub missing_frames: Option<MissingFrames>,
    /// Width of a stored pixel relative to its height.
    pub pixel_aspect: (u32, u32),
    /// What was reduced because the GPU's memory did not suffice.
    pub memory_fallbacks: Vec<MemoryFallback>,
}

/// Tracks a video and returns the detections. Writes no file but the request's checkpoint. `None` if the run was
/// stopped: the checkpoint has its state.
///
/// # Errors
/// If the video, the device or the disk fails; [`DamagedSpool`] if the detections on disk are not those that were
/// written; or the checkpoint cannot be resumed (see [`is_about_checkpoint`](crate::failure::is_about_checkpoint)).
pub fn detect(
    request: &TrackRequest,
    source: Source,
    model: Arc<Model>,
    stop: &Stop,
    observer: &dyn RunObserver,
) -> Outcome<Option<TrackedVideo>> {
    let mut run = Run::start(request, source, model, observer)?;
    let damage = run.track(stop)?;
    run.save()?;
    if run.interrupted {
        return Ok(None);
    }
    run.flush()?;
    let warnings = run.warnings(&damage);
    Ok(Some(TrackedVideo {
        n_frames: run.position.n_frames,
        missing_frames: run.missing_frames(),
        pixel_aspect: run.source.video.pixel_aspect(),
        memory_fallbacks: run.session.memory_fallbacks().to_vec(),
        spool: run.spool,
        warnings,
    }))
}

/// A run in progress.
pub(super) struct Run<'a> {
    pub(super) request: &'a TrackRequest,
    observer: &'a dyn RunObserver,
    pub(super) source: Source,
    pub(super) session: Session,
    pub(super) spool: Spool,
    pub(super) dump: Option<Dump>,
    pub(super) labels: ResultLabels,
    pub(super) position: RunPosition,
    /// Whether it was stopped before its last frame.
    pub(super) interrupted: bool,
    pub(super) progress: Progress,
    pub(super) started: Instant,
    /// Whether anything was found, or the user was told that nothing was.
    is_find_settled: bool,
}

impl<'a> Run<'a> {
    /// Starts a run, from the request's checkpoint if the file exists.
    pub(super) fn start(
        request: &'a TrackRequest,
        source: Source,
        model: Arc<Model>,
        observer: &'a dyn RunObserver,
    ) -> Outcome<Self> {
        let side = model.config().low_res_mask_size;
        let saved = match &request.checkpoint {
            Some(path) => checkpoint::read(path, &source.run)?.map(|saved| (path, saved)),
            None => None,
        };
        let State { session, labels, position, spool } = match saved {
            Some((path, (header, bytes))) => State::saved(request, &source, model, path, header, &bytes)?,
            None => State::new(request, &source, model)?,
        };
        let dump = request.dump.as_deref().map(|path| Dump::create(path, side)).transpose()?;
        let what = observer.subject().map_or("tracking".to_owned(), |subject| format!("{subject}: tracking"));
        let progress = Progress::start(what, position.n_frames, source.n_frames());
        Ok(Self {
            request,
            observer,
            source,
            session,
            spool,
            dump,
            labels,
            position,
            interrupted: false,
            progress,
            started: Instant::now(),
            is_find_settled: false,
        })
    }

    /// Tracks until the video ends or a stop is requested. Returns what could not be decoded.
    pub(super) fn track(&mut self, stop: &Stop) -> Outcome<Damage> {
        let source = self.source.clone();
        let mut frames = FrameSource::new(&source, self.position.next_frame, stop);
        let mut last_checkpoint = Instant::now();
        let mut coming = frames.next().transpose()?;
        let mut prepared = None;
        while let Some(frame) = coming.take() {
            // The next frame is decoded already: the GPU works on it while the CPU finishes this one.
            let next = if stop.requested() { None } else { frames.next() };
            self.count_missing_before(frame.frame_idx)?;
            let outputs = self.push(&frame, next.as_ref(), &mut prepared)?;
            self.position.waiting.push(frame.frame_idx);
            self.position.n_frames += 1;
            self.position.next_frame = frame.frame_idx + self.source.run.every;
            self.record(outputs)?;
            self.report();
            // A run that is stopped on its last frame is complete.
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
        if !frames.is_incoming() {
            self.source.incoming = None;
        }
        if !self.interrupted {
            // Frames that are missing at the end of a damaged video are not tried again.
            self.count_missing_before(self.source.run.to)?;
            self.position.next_frame = self.source.run.to;
        }
        Ok(frames.damage())
    }

    /// Counts the frames before `frame_idx` that the decoder did not deliver.
    ///
    /// # Errors
    /// If more are missing than the request allows.
    fn count_missing_before(&mut self, frame_idx: u64) -> Outcome<()> {
        let (first, every) = (self.position.next_frame, self.source.run.every);
        if frame_idx <= first {
            return Ok(());
        }
        let count = (frame_idx - first).div_ceil(every);
        let missing = &mut self.position.missing;
        missing.expected = self.source.n_frames();
        missing.add(first, first + (count - 1) * every, count);
        if missing.share() <= self.request.max_missing {
            return Ok(());
        }
        let allowed = self.request.max_missing * 100.0;
        let message = format!("the video is damaged: {missing}; --max-missing allows {allowed:.0}%");
        Err(Failure::msg(Kind::Failed, message)
            .hint("copy the video again, or allow more with --max-missing 1"))
    }

    /// Frames that could not be decoded so far; `None` if all were decoded.
    pub(super) fn missing_frames(&self) -> Option<MissingFrames> {
        Some(&self.position.missing).filter(|missing| missing.count > 0).cloned()
    }

    /// Tracks a frame, and prepares the next one in parallel.
    fn push(
        &mut self,
        frame: &VideoFrame,
        next: Option<&Outcome<VideoFrame>>,
        prepared: &mut Option<Prepared>,
    ) -> Outcome<Vec<FrameOutput>> {
        let now = match prepared.take() {
            Some(prepared) => prepared,
            None => self.session.prepare(&Frame::Rgb(&frame.rgb)).or_failure()?,
        };
        // If the next frame cannot be decoded, its own turn reports the error.
        let next = next.and_then(|next| next.as_ref().ok()).map(|next| Frame::Rgb(&next.rgb));
        let (outputs, ahead) = self.session.push_prepared(&now, next.as_ref()).or_failure()?;
        *prepared = ahead;
        Ok(outputs)
    }

    /// Spools the frames that the tracker has decided about.
    fn record(&mut self, outputs: Vec<FrameOutput>) -> Outcome<()> {
        let mut waiting: VecDeque<u64> = std::mem::take(&mut self.position.waiting).into();
        for output in outputs {
            let Some(frame) = waiting.pop_front() else { break };
            for object in &output.objects {
                let [left, top, right, bottom] = object.bbox;
                self.spool.push(SpoolRecord {
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

    /// Spools the last frames, which the tracker has held back. The run cannot be resumed after that: [`Self::save`]
    /// must come first.
    pub(super) fn flush(&mut self) -> Outcome<()> {
        let rest = self.session.finish();
        self.record(rest)?;
        self.progress.finish();
        Ok(())
    }

    /// Says so once if nothing was found for a while: with a wrong prompt, the rest of the video is in vain too.
    fn check_find(&mut self) {
        // Objects that the session follows may still turn out to be wrong.
        let is_found = self.spool.n_records() > 0;
        let n_frames = self.position.next_frame - self.source.run.from;
        let is_long_enough = n_frames >= FRAMES_WITHOUT_TRACKS && self.position.n_frames >= MIN_TRACKED;
        if self.is_find_settled || !(is_found || is_long_enough) {
            return;
        }
        self.is_find_settled = true;
        if !is_found {
            let prompts: Vec<String> = prompts(self.request).iter().map(|p| format!("{p:?}")).collect();
            let prompts = prompts.join(", ");
            self.observer.on_notice(&format!(
                "nothing was found in the first {n_frames} frames: is the prompt right? ({prompts})"
            ));
        }
    }

    fn report(&mut self) {
        let tracks = counted(self.session.n_tracked() as i64, "track");
        self.check_find();
        self.progress.update(self.position.n_frames, &tracks);
        self.observer.on_progress(&RunProgress {
            n_frames: self.position.n_frames,
            total: self.source.n_frames(),
            fps: self.progress.fps(),
        });
    }

    /// Checks the video and the detections on disk, and writes a checkpoint, if the request names one.
    pub(super) fn save(&mut self) -> Outcome<()> {
        if !self.source.is_incoming() {
            self.source.run.video.check(self.source.video.path())?;
        }
        let Some(path) = &self.request.checkpoint else { return Ok(()) };
        self.spool.sync()?;
        self.position.n_detections = self.spool.n_records();
        let header = CheckpointHeader {
            run: self.source.run.clone(),
            labels: self.labels.clone(),
            position: self.position.clone(),
            max_objects: self.request.max_objects,
            detections: Some(self.spool.digests()),
        };
        checkpoint::write(path, &header, &self.session.to_bytes().or_failure()?)?;
        self.observer.on_checkpoint(&SavedCheckpoint {
            checkpoint: path,
            spool: &checkpoint::spool_path(path),
            spool_bytes: Spool::size_bytes(self.position.n_detections),
            next_frame: self.position.next_frame,
            n_frames: self.position.n_frames,
        })
    }

    /// Problems of the video and limits that were reached.
    pub(super) fn warnings(&self, damage: &Damage) -> Vec<String> {
        let mut warnings = self.source.video.warnings().to_vec();
        if let Some(missing) = self.missing_frames() {
            warnings.push(format!("the video is damaged: {missing}"));
        }
        if !self.source.tools.is_sandboxed() {
            warnings.push("the video was decoded without a sandbox (--no-sandbox)".to_owned());
        }
        let rejected = self.session.n_rejected();
        if rejected > 0 {
            warnings.push(format!(
                "the limit of tracks was reached: {rejected} detections were not tracked; see --max-tracks"
            ));
        }
        if let Some(last) = self.session.memory_fallbacks().last() {
            warnings.push(format!("the GPU's memory did not suffice: {}", message(last)));
        }
        if damage.n_messages > 0 && !self.interrupted {
            let first = damage.messages.first().map(String::as_str).unwrap_or_default();
            warnings.push(format!("the decoder reported {} problems, first: {first}", damage.n_messages));
        }
        if damage.n_unnumbered > 0 {
            let n = damage.n_unnumbered;
            warnings.push(format!(
                "{n} frames that the decoder delivered have no place in the file and were skipped"
            ));
        }
        warnings
    }
}

/// What a run starts with.
struct State {
    session: Session,
    labels: ResultLabels,
    position: RunPosition,
    spool: Spool,
}

impl State {
    /// The state of a run that has not tracked a frame.
    fn new(request: &TrackRequest, source: &Source, model: Arc<Model>) -> Outcome<Self> {
        // The request's path does not exist while the file is being downloaded.
        let path = if source.is_incoming() { source.video.path() } else { &request.video };
        let options = session_options(request, source);
        let session = Session::new(model, &prompts(request), options).or_failure()?;
        let spool = match &request.checkpoint {
            Some(path) => Spool::named(&checkpoint::spool_path(path))?,
            None => Spool::unnamed(&request.out)?,
        };
        Ok(Self {
            session,
            labels: ResultLabels::of(path, source.run.stream)?,
            position: RunPosition::start_of(&source.run),
            spool,
        })
    }

    /// The state in a checkpoint. Nothing on disk is changed if it cannot be resumed.
    fn saved(
        request: &TrackRequest,
        source: &Source,
        model: Arc<Model>,
        path: &Path,
        header: CheckpointHeader,
        session: &[u8],
    ) -> Outcome<Self> {
        let CheckpointHeader { labels, position, detections, .. } = header;
        let options = session_options(request, source);
        let session = Session::from_bytes(model, &prompts(request), options, session, path).or_failure()?;
        let contradicted = |why: String| UnusableCheckpoint::contradicted(path, why);
        position.check(&source.run, &session).map_err(contradicted)?;
        let size = [source.video.width(), source.video.height()];
        let mut check = RecordCheck::new(&position, &source.run, &session, size);
        let (file, n) = (checkpoint::spool_path(path), position.n_detections);
        let spool = Spool::resumed(&file, n, detections.as_ref(), |record| check.accept(record));
        let spool = spool.map_err(|failure| match failure.cause::<DamagedSpool>() {
            Some(damage) => contradicted(damage.to_string()),
            None => failure,
        })?;
        notify(format!("resuming at frame {} of {}", position.next_frame, request.video.display()));
        Ok(Self { session, labels, position, spool })
    }
}

fn prompts(request: &TrackRequest) -> Vec<&str> {
    request.prompts.iter().map(String::as_str).collect()
}

fn message(fallback: &MemoryFallback) -> String {
    match fallback {
        MemoryFallback::ObjectsAtOnce { frame_idx, n } => {
            format!("from tracked frame {frame_idx} on, {n} tracks at a time (slower, with the same results)")
        }
        MemoryFallback::MaxObjects { frame_idx, n } => {
            format!("from tracked frame {frame_idx} on, at most {n} tracks; see --max-tracks")
        }
    }
}

fn session_options(request: &TrackRequest, source: &Source) -> SessionOptions {
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
