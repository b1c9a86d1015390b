//! The side channel: ffmpeg's `metadata` filter names each frame that comes out of the decoder,
//! before any is left out. Repeating ffmpeg's choice on those names tells which timestamp each
//! picture in the main channel has, and every line is a sign of life, pictures or not.

/// One decoded frame, as the filter announces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    /// Counts from 0, and again from 0 when ffmpeg rebuilds its filters (the picture size changed).
    count: u64,
    /// In ticks of the stream's time base.
    pub(crate) pts: Option<i64>,
}

impl Announced {
    /// Reads `frame:12   pts:3456   pts_time:1.2`; other lines are `None`.
    pub(crate) fn parse(line: &str) -> Option<Announced> {
        let mut words = line.strip_prefix("frame:")?.split_whitespace();
        let count = words.next()?.parse().ok()?;
        let pts = words.next()?.strip_prefix("pts:")?;
        Some(Announced { count, pts: pts.parse().ok() })
    }
}

/// Which decoded frames become pictures: those from a timestamp on, and of these every n-th.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selection {
    /// Frames before this timestamp, or without one, are left out.
    pub(crate) from_pts: Option<i64>,
    /// Every how many frames one is kept.
    pub(crate) every: u64,
}

impl Selection {
    /// As filters for ffmpeg, each followed by a comma.
    pub(crate) fn filters(&self) -> String {
        let from = self.from_pts.map(|pts| format!("select='gte(pts\\,{pts})',"));
        let every = (self.every > 1).then(|| format!("select='not(mod(n\\,{}))',", self.every));
        from.unwrap_or_default() + &every.unwrap_or_default()
    }
}

/// Repeats a [`Selection`] on announced frames.
#[derive(Debug)]
pub(crate) struct Mirror {
    selection: Selection,
    /// Frames that passed the first filter.
    passed: u64,
}

impl Mirror {
    pub(crate) fn new(selection: Selection) -> Mirror {
        Mirror { selection, passed: 0 }
    }

    /// Whether this frame becomes a picture. To be asked once for each, in order.
    pub(crate) fn selects(&mut self, frame: Announced) -> bool {
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
    fn lines_are_read() {
        let parse = Announced::parse;
        assert_eq!(
            parse("frame:12   pts:3456    pts_time:1.2"),
            Some(Announced { count: 12, pts: Some(3456) })
        );
        assert_eq!(
            parse("frame:0    pts:-512    pts_time:-0.03"),
            Some(Announced { count: 0, pts: Some(-512) })
        );
        assert_eq!(parse("frame:1    pts:NOPTS   pts_time:NOPTS"), Some(Announced { count: 1, pts: None }));
        assert_eq!(parse("f=1"), None);
        assert_eq!(parse("frame:"), None);
    }

    #[test]
    fn the_choice_is_repeated_and_restarts_with_the_filters() {
        let mut mirror = Mirror::new(Selection { from_pts: Some(20), every: 3 });
        let frames = (0..10).map(|count| Announced { count, pts: Some(10 * count as i64) });
        let chosen: Vec<_> = frames.filter(|&frame| mirror.selects(frame)).map(|frame| frame.count).collect();
        assert_eq!(chosen, [2, 5, 8]);
        assert!(mirror.selects(Announced { count: 0, pts: Some(100) }));
        assert!(!mirror.selects(Announced { count: 1, pts: None }));
        assert!(!mirror.selects(Announced { count: 2, pts: Some(110) }));
    }
}
