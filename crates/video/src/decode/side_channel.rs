//! The side channel: ffmpeg's `metadata` filter prints a line for each frame that the decoder
//! produces, before the `select` filters drop any. Replaying the selection on these lines gives the
//! timestamp of each frame in the main channel. Every line also counts as progress, even while no
//! frame is selected.

/// A decoded frame, as the `metadata` filter reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnnouncedFrame {
    /// Counts from 0, and restarts when ffmpeg rebuilds its filters because the frame size changed.
    count: u64,
    /// In ticks of the stream's time base.
    pub(crate) pts: Option<i64>,
}

impl AnnouncedFrame {
    /// Parses `frame:12   pts:3456   pts_time:1.2`. Returns `None` for other lines.
    pub(crate) fn parse(line: &str) -> Option<AnnouncedFrame> {
        let mut words = line.strip_prefix("frame:")?.split_whitespace();
        let count = words.next()?.parse().ok()?;
        let pts = words.next()?.strip_prefix("pts:")?;
        Some(AnnouncedFrame { count, pts: pts.parse().ok() })
    }
}

/// Which decoded frames ffmpeg writes: every n-th frame from a timestamp on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selection {
    /// Frames with an earlier timestamp, or none, are dropped.
    pub(crate) from_pts: Option<i64>,
    /// Distance between the frames that are kept, at least 1.
    pub(crate) every: u64,
}

impl Selection {
    /// The selection as ffmpeg filters, each followed by a comma.
    pub(crate) fn filters(&self) -> String {
        let from = self.from_pts.map(|pts| format!("select='gte(pts\\,{pts})',"));
        let every = (self.every > 1).then(|| format!("select='not(mod(n\\,{}))',", self.every));
        from.unwrap_or_default() + &every.unwrap_or_default()
    }
}

/// Applies a [`Selection`] to announced frames, as ffmpeg does.
#[derive(Debug)]
pub(crate) struct SelectionReplay {
    selection: Selection,
    /// Frames that passed the first filter.
    passed: u64,
}

impl SelectionReplay {
    pub(crate) fn new(selection: Selection) -> SelectionReplay {
        SelectionReplay { selection, passed: 0 }
    }

    /// Whether ffmpeg writes this frame. Call it exactly once for each frame, in order.
    pub(crate) fn selects(&mut self, frame: AnnouncedFrame) -> bool {
        if frame.count == 0 {
            self.passed = 0;
        }
        let Selection { from_pts, every } = self.selection;
        if from_pts.is_some_and(|from| frame.pts.is_none_or(|pts| pts < from)) {
            return false;
        }
        let selected = self.passed.is_multiple_of(every);
        self.passed += 1;
        selected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_metadata_lines() {
        let parse = AnnouncedFrame::parse;
        assert_eq!(
            parse("frame:12   pts:3456    pts_time:1.2"),
            Some(AnnouncedFrame { count: 12, pts: Some(3456) })
        );
        assert_eq!(
            parse("frame:0    pts:-512    pts_time:-0.03"),
            Some(AnnouncedFrame { count: 0, pts: Some(-512) })
        );
        assert_eq!(
            parse("frame:1    pts:NOPTS   pts_time:NOPTS"),
            Some(AnnouncedFrame { count: 1, pts: None })
        );
        assert_eq!(parse("f=1"), None);
        assert_eq!(parse("frame:"), None);
    }

    #[test]
    fn replay_restarts_when_the_filters_are_rebuilt() {
        let mut replay = SelectionReplay::new(Selection { from_pts: Some(20), every: 3 });
        let frames = (0..10).map(|count| AnnouncedFrame { count, pts: Some(10 * count as i64) });
        let selected: Vec<_> =
            frames.filter(|&frame| replay.selects(frame)).map(|frame| frame.count).collect();
        assert_eq!(selected, [2, 5, 8]);
        assert!(replay.selects(AnnouncedFrame { count: 0, pts: Some(100) }));
        assert!(!replay.selects(AnnouncedFrame { count: 1, pts: None }));
        assert!(!replay.selects(AnnouncedFrame { count: 2, pts: Some(110) }));
    }
}
