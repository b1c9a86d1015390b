//! Progress of a long operation: a bar on a terminal, otherwise a line every ten seconds.

use std::io::IsTerminal;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::terminal::notify;

/// Time between lines when standard error is not a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The bars on the terminal, each on a line of its own.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Runs `write`, which writes lines to standard error, with the bars out of its way.
pub(crate) fn above_bars(write: impl FnOnce()) {
    BARS.suspend(write);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Frames,
    Bytes,
}

impl Unit {
    /// The bar takes what the rest leaves of the line.
    fn template(self) -> &'static str {
        match self {
            Self::Frames => "{prefix} {pos}/{len} [{wide_bar}] {msg}",
            Self::Bytes => {
                "{prefix} {decimal_bytes}/{decimal_total_bytes} [{wide_bar}] {decimal_bytes_per_sec} {eta} left"
            }
        }
    }
}

/// Progress of one operation, counted in frames or bytes.
pub struct Progress {
    what: String,
    unit: Unit,
    total: u64,
    done: u64,
    /// Frames done before this process started; excluded from its speed.
    done_before: u64,
    started: Instant,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Progress {
    /// Starts a bar labelled `what` at `done` of `total` frames.
    pub fn start(what: impl Into<String>, done: u64, total: u64) -> Self {
        Self::new(what.into(), Unit::Frames, done, total)
    }

    /// Starts a transfer. Its size is unknown until the first [`Self::transferred`].
    pub fn transfer(what: impl Into<String>) -> Self {
        Self::new(what.into(), Unit::Bytes, 0, 0)
    }

    fn new(what: String, unit: Unit, done: u64, total: u64) -> Self {
        let now = Instant::now();
        let mut progress =
            Self { what, unit, total, done, done_before: done, started: now, bar: None, last_line: now };
        progress.show_bar();
        progress
    }

    /// Shows the bar on a terminal once the total is known: a bar of nothing would be full.
    fn show_bar(&mut self) {
        if self.bar.is_some() || self.total == 0 || !std::io::stderr().is_terminal() {
            return;
        }
        let style = ProgressStyle::with_template(self.unit.template());
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = BARS.add(ProgressBar::new(self.total)).with_style(style.progress_chars("=> "));
        let bar = bar.with_prefix(self.what.clone());
        bar.set_position(self.done);
        self.bar = Some(bar);
    }

    /// Reports `done` frames. `detail` is shown after the speed.
    pub fn update(&mut self, done: u64, detail: &str) {
        debug_assert_eq!(self.unit, Unit::Frames);
        self.done = done;
        let text = format!("{}{}{detail}", self.speed(), if detail.is_empty() { "" } else { "  " });
        match &self.bar {
            Some(bar) => {
                bar.set_position(done);
                bar.set_message(text);
            }
            None if self.last_line.elapsed() >= LINE_INTERVAL => {
                self.last_line = Instant::now();
                notify(format!("{}: {done}/{} frames  {text}", self.what, self.total));
            }
            None => {}
        }
    }

    /// Reports `done` of `total` bytes.
    pub fn transferred(&mut self, done: u64, total: u64) {
        (self.done, self.total) = (done, total);
        self.show_bar();
        match &self.bar {
            Some(bar) => {
                bar.set_length(total);
                bar.set_position(done);
            }
            None if self.last_line.elapsed() >= LINE_INTERVAL => {
                self.last_line = Instant::now();
                notify(format!("{}: {} of {} MB", self.what, done / 1_000_000, total / 1_000_000));
            }
            None => {}
        }
    }

    /// Average frames per second since this process started.
    pub fn fps(&self) -> f64 {
        (self.done - self.done_before) as f64 / self.started.elapsed().as_secs_f64().max(1e-9)
    }

    /// Removes the bar from the terminal.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn speed(&self) -> String {
        let fps = self.fps();
        if fps == 0.0 {
            return String::new();
        }
        let left = Duration::from_secs_f64(self.total.saturating_sub(self.done) as f64 / fps);
        format!("{fps:.2} fps  {} left", clock(left))
    }
}

/// Formats a duration as `h:mm:ss`, or `m:ss` below an hour.
pub fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if h > 0 { format!("{h}:{m:02}:{s:02}") } else { format!("{m}:{s:02}") }
}
