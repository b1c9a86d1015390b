//! Parses one detection in any valid form: fields in any order, any spacing, unknown fields of any kind. Also
//! reports errors. The `record` module parses the common forms faster.

use std::io::Read;

use super::problem::{Fault, Problem};
use super::source::Source;
use super::tokens::Kept;
use super::{Detection, number};

/// The fields of a detection that were read so far.
#[derive(Default)]
struct Fields {
    frame: Option<u64>,
    track_id: Option<u64>,
    bbox: Option<[f64; 4]>,
    confidence: Option<f64>,
}

impl<R: Read> Source<R> {
    /// Parses the next detection. The caller checks the values.
    pub(super) fn detection(&mut self) -> Result<Detection, Fault> {
        let position = self.position();
        if self.next_byte()? != b'{' {
            return Err(self.unexpected("a detection's `{`"));
        }
        self.consume(1);
        let mut fields = Fields::default();
        let mut has_more = !self.is_empty(b'}')?;
        while has_more {
            self.detection_field(&mut fields)?;
            has_more = self.more(b'}')?;
        }
        let missing = |field| Fault::Invalid(Problem::Missing(field), position);
        Ok(Detection {
            frame: fields.frame.ok_or_else(|| missing("frame"))?,
            track_id: fields.track_id.ok_or_else(|| missing("track_id"))?,
            bbox: fields.bbox.ok_or_else(|| missing("bbox"))?,
            confidence: fields.confidence.ok_or_else(|| missing("confidence"))?,
        })
    }

    fn detection_field(&mut self, fields: &mut Fields) -> Result<(), Fault> {
        match self.key()?.as_str() {
            "frame" => {
                let frame = self.frame()?;
                self.set(&mut fields.frame, frame, "frame")
            }
            "track_id" => {
                let read = |text: &[u8]| number::whole_integer(text).and_then(|n| u64::try_from(n).ok());
                let track_id = self.number(read, "track_id", "a non-negative integer")?;
                self.set(&mut fields.track_id, track_id, "track_id")
            }
            "bbox" => {
                let bbox = self.bbox()?;
                self.set(&mut fields.bbox, bbox, "bbox")
            }
            "confidence" => {
                let confidence = self.number(number::whole_float, "confidence", "a number")?;
                self.set(&mut fields.confidence, confidence, "confidence")
            }
            _ => self.skip(&mut Kept::up_to(0)),
        }
    }

    fn set<T>(&self, field: &mut Option<T>, value: T, name: &'static str) -> Result<(), Fault> {
        match field.replace(value) {
            None => Ok(()),
            Some(_) => Err(self.invalid(Problem::Repeated(name))),
        }
    }

    fn frame(&mut self) -> Result<u64, Fault> {
        self.next_byte()?;
        let position = self.position();
        let frame = self.number(number::whole_integer, "frame", "a non-negative integer")?;
        let unknown = Problem::UnknownFrame { frame, n_frames: None };
        u64::try_from(frame).map_err(|_| Fault::Invalid(unknown, position))
    }

    fn bbox(&mut self) -> Result<[f64; 4], Fault> {
        let position = self.position();
        if self.next_byte()? != b'[' {
            return Err(self.invalid(Problem::WrongType { field: "bbox", want: "an array of 4 numbers" }));
        }
        self.consume(1);
        let mut bbox = [0.0; 4];
        let mut n = 0;
        let mut has_more = !self.is_empty(b']')?;
        while has_more {
            let x = self.number(number::whole_float, "bbox", "an array of 4 numbers")?;
            if let Some(slot) = bbox.get_mut(n) {
                *slot = x;
            }
            n += 1;
            has_more = self.more(b']')?;
        }
        if n == bbox.len() { Ok(bbox) } else { Err(Fault::Invalid(Problem::BoxNumbers(n as u64), position)) }
    }
}
