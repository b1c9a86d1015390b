//! The frames of a run in order, from a file that is complete or still being downloaded.

use std::ops::Range;
use std::sync::Arc;

use video::{Damage, DecodeOptions, Frame, Frames, GrowingFile, Limits, Tools, Video};

use super::checkpoint::UnusableCheckpoint;
use super::incoming::{IncomingVideo, WaitOutcome};
use super::request::Source;
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;

/// Frames that must be on disk before the next decoder is started: a start takes a third of a second.
const MIN_FRAMES: u64 = 256;

/// Iterator over the frames of a run. Ends early if a stop is requested or the download is abandoned.
pub(super) struct FrameSource<'a> {
    tools: &'a Tools,
    stop: &'a Stop,
    video: Video,
    /// The stream of the file that was asked for.
    stream: Option<u32>,
    incoming: Option<(Arc<GrowingFile>, Arc<IncomingVideo>)>,
    options: DecodeOptions,
    /// Source frames that no decoder was started for yet.
    left: Range<u64>,
    decoder: Option<Frames>,
    damage: Damage,
    is_cut_short: bool,
}

impl<'a> FrameSource<'a> {
    /// Frames from `first` on, which must be one of the run's frames.
    pub(super) fn new(source: &'a Source, first: u64, stop: &'a Stop) -> Self {
        let threads = std::thread::available_parallelism().map_or(2, |n| n.get().min(8));
        let options = DecodeOptions { every: source.run.every, threads, ..DecodeOptions::default() };
        Self {
            tools: &source.tools,
            stop,
            video: source.video.clone(),
            stream: source.run.stream,
            incoming: source.incoming.clone(),
            options,
            left: first..source.run.to,
            decoder: None,
            damage: Damage::default(),
            is_cut_short: false,
        }
    }

    /// Whether the file is still being downloaded, as far as was seen.
    pub(super) fn is_incoming(&self) -> bool {
        self.incoming.is_some()
    }

    /// Whether the frames ended early: the download was abandoned, or a stop was requested.
    pub(super) fn is_cut_short(&self) -> bool {
        self.is_cut_short
    }

    /// The video. After the last frame, it is the complete file.
    pub(super) fn video(&self) -> &Video {
        &self.video
    }

    /// How many of the requested frames were decoded, and the decoder's messages.
    pub(super) fn damage(&self) -> Damage {
        let mut damage = self.damage.clone();
        if let Some(decoder) = &self.decoder {
            damage.append(decoder.damage());
        }
        damage
    }

    /// Waits for more of the file and starts a decoder for it. Returns whether there are more frames.
    fn start_decoder(&mut self) -> Outcome<bool> {
        let end = match &self.incoming {
            None => self.left.end,
            Some((file, incoming)) => {
                let needed = self.left.end.min(self.left.start.saturating_add(MIN_FRAMES));
                let is_enough = |prefix| !self.left.is_empty() && file.n_frames_within(prefix) >= needed;
                match incoming.wait_for_prefix(self.stop, is_enough) {
                    WaitOutcome::Enough(prefix) => file.n_frames_within(prefix).min(self.left.end),
                    WaitOutcome::Complete => {
                        self.verify()?;
                        self.left.end
                    }
                    WaitOutcome::Ended => {
                        self.is_cut_short = true;
                        return Ok(false);
                    }
                }
            }
        };
        if self.left.is_empty() {
            return Ok(false);
        }
        let range = self.left.start..end;
        let n_requested = (range.end - range.start).div_ceil(self.options.every);
        self.left.start += n_requested * self.options.every;
        self.decoder = Some(self.video.frames(&DecodeOptions { range, ..self.options.clone() })?);
        Ok(true)
    }

    /// Checks that the complete file has the frames that were decoded while it was downloaded.
    fn verify(&mut self) -> Outcome<()> {
        let Some((file, incoming)) = self.incoming.take() else { return Ok(()) };
        let (path, limits) = (self.video.path(), Limits::default());
        let complete = Video::open_with(self.tools, path, self.stream, &limits, &mut |_, _| ())?;
        if incoming.restarted() || !file.matches(&complete) {
            return Err(Failure::new(Kind::Failed, UnusableCheckpoint::of_another_video(self.video.path())));
        }
        incoming.set_verified();
        self.video = complete;
        Ok(())
    }

    /// Adds the damage of a decoder that has ended.
    fn retire_decoder(&mut self, decoder: &Frames) {
        let damage = decoder.damage();
        match self.incoming {
            None => self.damage.append(damage),
            // Messages about bytes that are not downloaded yet do not mean that the file is damaged.
            Some(_) => self.damage.append(Damage {
                decoded: damage.decoded,
                expected: damage.expected,
                ..Damage::default()
            }),
        }
    }
}

impl Iterator for FrameSource<'_> {
    type Item = Outcome<Frame>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.incoming.as_ref().is_some_and(|(_, incoming)| incoming.is_abandoned()) {
                self.is_cut_short = true;
                return None;
            }
            if let Some(frame) = self.decoder.as_mut().and_then(Iterator::next) {
                return Some(frame.map_err(Failure::from));
            }
            if let Some(decoder) = self.decoder.take() {
                self.retire_decoder(&decoder);
            }
            match self.start_decoder() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(failure) => return Some(Err(failure)),
            }
        }
    }
}
