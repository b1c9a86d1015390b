//! The frames of a run in order, from a file that is whole or still arriving.

use std::ops::Range;
use std::sync::Arc;

use video::{Damage, DecodeOptions, Frame, Frames, GrowingFile, Limits, Tools, Video};

use super::checkpoint::UnusableCheckpoint;
use super::incoming::{IncomingVideo, Waited};
use super::request::Source;
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;

/// Frames that must be there before decoding goes on: to begin anew costs a third of a second.
const AT_LEAST: u64 = 256;

/// The frames of a run, while they can be had.
pub(super) struct FrameSource<'a> {
    tools: &'a Tools,
    stop: &'a Stop,
    video: Video,
    arriving: Option<(Arc<GrowingFile>, Arc<IncomingVideo>)>,
    options: DecodeOptions,
    /// Frames that were not asked for yet.
    left: Range<u64>,
    current: Option<Frames>,
    damage: Damage,
    is_over: bool,
}

impl<'a> FrameSource<'a> {
    /// From `first` on, which is one of the run's frames.
    pub(super) fn new(source: &'a Source, first: u64, stop: &'a Stop) -> Self {
        let threads = std::thread::available_parallelism().map_or(2, |n| n.get().min(8));
        let options = DecodeOptions { every: source.run.every, threads, ..DecodeOptions::default() };
        Self {
            tools: &source.tools,
            stop,
            video: source.video.clone(),
            arriving: source.arriving.clone(),
            options,
            left: first..source.run.to,
            current: None,
            damage: Damage::default(),
            is_over: false,
        }
    }

    /// Whether the frames ended because no more of the file will come, or nobody wants them.
    pub(super) fn is_cut_short(&self) -> bool {
        self.is_over
    }

    /// The video, which is the whole one once all frames were had.
    pub(super) fn video(&self) -> &Video {
        &self.video
    }

    /// How much of what was asked for came out.
    pub(super) fn damage(&self) -> Damage {
        let mut damage = self.damage.clone();
        if let Some(frames) = &self.current {
            add(&mut damage, frames.damage());
        }
        damage
    }

    /// Begins to decode what is there; tells whether there is anything.
    fn go_on(&mut self) -> Outcome<bool> {
        let end = match &self.arriving {
            None => self.left.end,
            Some((arriving, arrival)) => {
                let wanted = self.left.end.min(self.left.start.saturating_add(AT_LEAST));
                let is_enough = |prefix| !self.left.is_empty() && arriving.n_frames_within(prefix) >= wanted;
                match arrival.wait_for(self.stop, is_enough) {
                    Waited::Enough(prefix) => arriving.n_frames_within(prefix).min(self.left.end),
                    Waited::Whole => {
                        self.verify()?;
                        self.left.end
                    }
                    Waited::Over => {
                        self.is_over = true;
                        return Ok(false);
                    }
                }
            }
        };
        if self.left.is_empty() {
            return Ok(false);
        }
        let range = self.left.start..end;
        let n_wanted = (range.end - range.start).div_ceil(self.options.every);
        self.left.start += n_wanted * self.options.every;
        self.current = Some(self.video.frames(&DecodeOptions { range, ..self.options.clone() })?);
        Ok(true)
    }

    /// The file is whole: were its frames what they were taken to be?
    fn verify(&mut self) -> Outcome<()> {
        let Some((arriving, arrival)) = self.arriving.take() else { return Ok(()) };
        let whole = Video::open(self.tools, self.video.path(), &Limits::default())?;
        if arrival.began_anew() || !arriving.matches(&whole) {
            return Err(Failure::new(Kind::Failed, UnusableCheckpoint::of_another_video(self.video.path())));
        }
        arrival.verify();
        self.video = whole;
        Ok(())
    }
}

impl Iterator for FrameSource<'_> {
    type Item = Outcome<Frame>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.arriving.as_ref().is_some_and(|(_, arrival)| arrival.is_given_up()) {
                self.is_over = true;
                return None;
            }
            if let Some(frame) = self.current.as_mut().and_then(Iterator::next) {
                return Some(frame.map_err(Failure::from));
            }
            if let Some(frames) = self.current.take() {
                let damage = frames.damage();
                match self.arriving {
                    None => add(&mut self.damage, damage),
                    // What the decoder says of bytes that are not there yet is no damage.
                    Some(_) => {
                        add(&mut self.damage, Damage { n_messages: 0, messages: Vec::new(), ..damage })
                    }
                }
            }
            match self.go_on() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(failure) => return Some(Err(failure)),
            }
        }
    }
}

fn add(sum: &mut Damage, more: Damage) {
    sum.expected += more.expected;
    sum.decoded += more.decoded;
    sum.n_messages += more.n_messages;
    if sum.messages.is_empty() {
        sum.messages = more.messages;
    }
}
