//! The table of tracks that `courtside tracks` and `courtside track` print.

use std::fmt;

use crate::terminal::{printable, width};

/// Width of the columns before the prompt.
const PROMPT_COLUMN: usize = 67;
/// Shortest width that a prompt is cut to.
const MIN_PROMPT: usize = 8;

/// One track.
#[derive(Debug, Clone)]
pub struct TrackRow<'a> {
    /// Number of the track.
    pub track_id: i64,
    /// First frame on which it was detected.
    pub first_frame: i64,
    /// Last frame on which it was detected.
    pub last_frame: i64,
    /// Time of the first frame in seconds, if known.
    pub first_seconds: Option<f64>,
    /// Time of the last frame in seconds, if known.
    pub last_seconds: Option<f64>,
    /// Number of detections.
    pub n_detections: i64,
    /// Mean confidence of the detections, 0 to 1.
    pub confidence: f64,
    /// The phrase that names what was tracked, if known.
    pub prompt: Option<&'a str>,
    /// The name that the user gave it; shown before the prompt.
    pub name: Option<&'a str>,
}

/// Writes the header and a line for each track. On a terminal, the lines fit its width.
pub fn write_tracks<'a>(
    f: &mut fmt::Formatter<'_>,
    tracks: impl Iterator<Item = TrackRow<'a>>,
) -> fmt::Result {
    let widths = [6, 8, 8, 9, 9, 10, 10];
    let titles = ["TRACK", "FIRST", "LAST", "START", "END", "DETECTIONS", "CONFIDENCE"];
    for (title, width) in titles.iter().zip(widths) {
        write!(f, "{title:>width$} ")?;
    }
    writeln!(f, "PROMPT")?;
    let prompt_width = width().map(|width| width.saturating_sub(PROMPT_COLUMN).max(MIN_PROMPT));
    for track in tracks {
        let seconds = |time: Option<f64>| time.map_or("?".to_owned(), |time| format!("{time:.2}s"));
        let TrackRow { track_id, first_frame, last_frame, n_detections, confidence, .. } = track;
        let (start, end) = (seconds(track.first_seconds), seconds(track.last_seconds));
        write!(f, "{track_id:>6} {first_frame:>8} {last_frame:>8} {start:>9} {end:>9} ")?;
        let prompt = track.prompt.unwrap_or("?");
        let prompt = printable(&track.name.map_or(prompt.to_owned(), |name| format!("{name} ({prompt})")));
        let prompt = prompt_width.map_or(prompt.clone(), |width| shortened(&prompt, width));
        writeln!(f, "{n_detections:>10} {confidence:>10.3} {prompt}")?;
    }
    Ok(())
}

/// A text of at most `width` characters; what is longer ends with an ellipsis.
pub fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Table(usize);

    impl fmt::Display for Table {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let track = TrackRow {
                track_id: 7,
                first_frame: 0,
                last_frame: 107_999,
                first_seconds: Some(0.0),
                last_seconds: Some(3603.5667),
                n_detections: 108_000,
                confidence: 0.93141,
                prompt: Some("basketball player in a white shirt"),
                name: None,
            };
            write_tracks(f, std::iter::repeat_n(track, self.0))
        }
    }

    #[test]
    fn a_pipe_gets_every_track_with_seconds_and_the_whole_phrase() {
        let table = Table(45).to_string();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 46);
        let expected = "     7        0   107999     0.00s  3603.57s     108000      0.931 basketball player in a white shirt";
        assert_eq!(lines[45], expected);
        assert_eq!(lines[0].find("PROMPT"), expected.find("basketball"));
        assert_eq!(lines[0].find("PROMPT"), Some(PROMPT_COLUMN));
    }

    #[test]
    fn a_long_text_ends_with_an_ellipsis() {
        assert_eq!((shortened("player", 6), shortened("players", 6)), ("player".into(), "playe…".into()));
    }
}
