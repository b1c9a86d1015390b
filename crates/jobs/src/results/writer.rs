//! Writes results as plain JSON with one detection per line, readable for users and line-based tools. Hashes
//! and counts the bytes along the way.

use std::io::Write;

use sha2::{Digest, Sha256};

use super::codec::hex;
use super::decimal::{write_decimal, write_integer};
use super::{Detection, ResultsHead, ResultsSummary, WriteError};

/// Number of bytes that are buffered before they are written.
const BUFFER: usize = 1 << 16;

/// Fields that [`ResultsHead::extra`] must not contain.
const STANDARD_FIELDS: [&str; 5] = ["job_id", "video_id", "completed_at", "frames_processed", "detections"];

/// Writes a results file. The file is incomplete until [`finish`](Self::finish) is called, so it should not
/// be visible to readers before. The output need not be buffered.
#[must_use = "the file is incomplete without `finish`"]
pub struct ResultsWriter<W: Write> {
    output: W,
    buffer: Vec<u8>,
    hash: Sha256,
    size_bytes: u64,
    n_detections: u64,
}

impl<W: Write> ResultsWriter<W> {
    /// Starts the file with its head, in which `None` is written as `null`.
    ///
    /// # Errors
    /// If `extra` contains a standard field.
    pub fn new(output: W, head: &ResultsHead) -> Result<Self, WriteError> {
        if let Some(field) = head.extra.keys().find(|key| STANDARD_FIELDS.contains(&key.as_str())) {
            return Err(WriteError::Field(field.clone()));
        }
        let mut buffer = Vec::with_capacity(BUFFER + 1024);
        write_head(&mut buffer, head).map_err(std::io::Error::from)?;
        Ok(Self { output, buffer, hash: Sha256::new(), size_bytes: 0, n_detections: 0 })
    }

    /// Writes a detection. The caller orders them by frame, then by track, as the contract requires.
    ///
    /// # Errors
    /// If a reader would reject the detection (a number that is not finite, a negative size, a confidence
    /// outside 0..=1), or the output cannot be written.
    #[inline]
    pub fn push(&mut self, detection: &Detection) -> Result<(), WriteError> {
        self.write(detection, None)
    }

    /// Writes a detection together with the index of the prompt that it belongs to.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    #[inline]
    pub fn push_with_prompt(&mut self, detection: &Detection, prompt: u32) -> Result<(), WriteError> {
        self.write(detection, Some(prompt))
    }

    fn write(&mut self, detection: &Detection, prompt: Option<u32>) -> Result<(), WriteError> {
        if let Some(problem) = detection.problem() {
            return Err(WriteError::Detection { problem, detection_idx: self.n_detections });
        }
        self.buffer.extend_from_slice(if self.n_detections == 0 { b"\n" } else { b",\n" });
        write_detection(&mut self.buffer, detection, prompt);
        self.n_detections += 1;
        if self.buffer.len() >= BUFFER { Ok(self.flush()?) } else { Ok(()) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.output.write_all(&self.buffer)?;
        self.hash.update(&self.buffer);
        self.size_bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Completes the file. Returns the flushed output and a summary of the file.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn finish(mut self) -> Result<(W, ResultsSummary), WriteError> {
        self.buffer.extend_from_slice(b"\n]}\n");
        self.flush()?;
        self.output.flush()?;
        let (size_bytes, n_detections) = (self.size_bytes, self.n_detections);
        Ok((self.output, ResultsSummary { size_bytes, sha256: hex(self.hash), n_detections, n_clamped: 0 }))
    }
}

fn write_head(out: &mut Vec<u8>, head: &ResultsHead) -> serde_json::Result<()> {
    out.extend_from_slice(b"{\"job_id\":");
    serde_json::to_writer(&mut *out, &head.job_id)?;
    out.extend_from_slice(b",\"video_id\":");
    serde_json::to_writer(&mut *out, &head.video_id)?;
    out.extend_from_slice(b",\"completed_at\":");
    serde_json::to_writer(&mut *out, &head.completed_at)?;
    out.extend_from_slice(b",\"frames_processed\":");
    serde_json::to_writer(&mut *out, &head.frames_processed)?;
    for (key, value) in &head.extra {
        out.push(b',');
        serde_json::to_writer(&mut *out, key)?;
        out.push(b':');
        serde_json::to_writer(&mut *out, value)?;
    }
    out.extend_from_slice(b",\"detections\":[");
    Ok(())
}

fn write_detection(out: &mut Vec<u8>, detection: &Detection, prompt: Option<u32>) {
    out.extend_from_slice(b"{\"frame\":");
    write_integer(out, detection.frame);
    out.extend_from_slice(b",\"track_id\":");
    write_integer(out, detection.track_id);
    out.extend_from_slice(b",\"bbox\":");
    for (i, x) in detection.bbox.iter().enumerate() {
        out.push(if i == 0 { b'[' } else { b',' });
        write_decimal::<2>(out, *x);
    }
    out.extend_from_slice(b"],\"confidence\":");
    write_decimal::<4>(out, detection.confidence);
    if let Some(prompt) = prompt {
        out.extend_from_slice(b",\"prompt\":");
        write_integer(out, u64::from(prompt));
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Problem;

    fn head() -> ResultsHead {
        ResultsHead {
            job_id: "track-game".to_owned(),
            video_id: 7,
            completed_at: Some("2026-01-02T03:04:05Z".to_owned()),
            frames_processed: Some(5),
            extra: serde_json::Map::new(),
        }
    }

    const DETECTION: Detection =
        Detection { frame: 3, track_id: 2, bbox: [1.0, 2.5, 30.0, 40.125], confidence: 0.91234 };

    #[test]
    fn writes_one_detection_per_line() {
        let mut head = head();
        head.extra.insert("prompts".to_owned(), serde_json::json!(["player", "the \"ball\""]));
        let mut writer = ResultsWriter::new(Vec::new(), &head).unwrap();
        writer.push(&DETECTION).unwrap();
        writer.push_with_prompt(&Detection { frame: 4, ..DETECTION }, 1).unwrap();
        let (bytes, summary) = writer.finish().unwrap();
        let want = concat!(
            r#"{"job_id":"track-game","video_id":7,"completed_at":"2026-01-02T03:04:05Z","frames_processed":5,"#,
            r#""prompts":["player","the \"ball\""],"detections":["#,
            "\n",
            r#"{"frame":3,"track_id":2,"bbox":[1,2.5,30,40.12],"confidence":0.9123},"#,
            "\n",
            r#"{"frame":4,"track_id":2,"bbox":[1,2.5,30,40.12],"confidence":0.9123,"prompt":1}"#,
            "\n]}\n"
        );
        assert_eq!(String::from_utf8(bytes).unwrap(), want);
        assert_eq!((summary.size_bytes, summary.n_detections), (want.len() as u64, 2));
        assert_eq!(summary.sha256, hex(Sha256::new_with_prefix(want)));
    }

    #[test]
    fn writes_no_detections_as_an_empty_array() {
        let (bytes, summary) = ResultsWriter::new(Vec::new(), &head()).unwrap().finish().unwrap();
        assert!(String::from_utf8(bytes).unwrap().ends_with(",\"detections\":[\n]}\n"));
        assert_eq!(summary.n_detections, 0);
    }

    #[test]
    fn rejects_detections_that_a_reader_would_reject() {
        let [x, y, w, h] = DETECTION.bbox;
        let nan = f64::NAN;
        for (detection, want) in [
            (Detection { bbox: [nan, y, w, h], ..DETECTION }, Problem::NotFinite),
            (Detection { bbox: [x, f64::INFINITY, w, h], ..DETECTION }, Problem::NotFinite),
            (Detection { bbox: [x, y, w, nan], ..DETECTION }, Problem::NotFinite),
            (Detection { confidence: nan, ..DETECTION }, Problem::NotFinite),
            (
                Detection { bbox: [x, y, -1.0, h], ..DETECTION },
                Problem::NegativeSize { width: -1.0, height: h },
            ),
            (Detection { confidence: 1.01, ..DETECTION }, Problem::Confidence(1.01)),
            (
                Detection { track_id: u64::MAX, ..DETECTION },
                Problem::WrongType { field: "track_id", want: "a non-negative integer" },
            ),
        ] {
            let mut writer = ResultsWriter::new(Vec::new(), &head()).unwrap();
            writer.push(&DETECTION).unwrap();
            match writer.push(&detection) {
                Err(WriteError::Detection { problem, detection_idx: 1 }) => assert_eq!(problem, want),
                other => panic!("{detection:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn rejects_extra_fields_with_standard_names() {
        for field in STANDARD_FIELDS {
            let mut head = head();
            head.extra.insert(field.to_owned(), serde_json::Value::Null);
            let error = ResultsWriter::new(Vec::new(), &head).err();
            assert!(matches!(error, Some(WriteError::Field(name)) if name == field));
        }
    }
}
