//! The fast path for one detection: parses it from the buffered bytes if it is formatted as by this crate's
//! writer or Python's `json.dump`, with fields in any order. `None` does not mean that the detection is
//! invalid, only that the general path must parse it: it is truncated, unusual or wrong.

use super::{Detection, number};

/// A length that is enough for any detection in a common form.
pub(super) const USUAL_BYTES: usize = 512;

/// Bit mask of the fields read so far.
const FRAME: u8 = 1;
const TRACK_ID: u8 = 2;
const BBOX: u8 = 4;
const CONFIDENCE: u8 = 8;

/// A position in the buffered bytes.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Parses the detection at the start of `bytes`; returns it and its length. Does not check the values.
#[inline]
pub(super) fn parse(bytes: &[u8]) -> Option<(Detection, usize)> {
    let mut cursor = Cursor { bytes, at: 0 };
    let mut detection = Detection { frame: 0, track_id: 0, bbox: [0.0; 4], confidence: 0.0 };
    let mut seen = 0;
    cursor.take(b'{')?;
    loop {
        cursor.skip_space();
        let field = cursor.field(&mut detection)?;
        if seen & field != 0 {
            return None;
        }
        seen |= field;
        cursor.skip_space();
        match cursor.bytes.get(cursor.at)? {
            b',' => cursor.at += 1,
            b'}' if seen == FRAME | TRACK_ID | BBOX | CONFIDENCE => return Some((detection, cursor.at + 1)),
            _ => return None,
        }
    }
}

impl Cursor<'_> {
    /// Parses one name and its value; returns the field's bit, or 0 for an unknown field.
    #[inline(always)]
    fn field(&mut self, detection: &mut Detection) -> Option<u8> {
        if self.take_name(b"\"frame\"") {
            detection.frame = self.integer()?;
            Some(FRAME)
        } else if self.take_name(b"\"track_id\"") {
            detection.track_id = self.integer()?;
            Some(TRACK_ID)
        } else if self.take_name(b"\"bbox\"") {
            detection.bbox = self.bbox()?;
            Some(BBOX)
        } else if self.take_name(b"\"confidence\"") {
            detection.confidence = self.float()?;
            Some(CONFIDENCE)
        } else {
            self.skip_unknown()?;
            Some(0)
        }
    }

    #[inline(always)]
    fn take_name(&mut self, name: &[u8]) -> bool {
        let is_next = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(name));
        self.at += if is_next { name.len() } else { 0 };
        is_next
    }

    #[inline(always)]
    fn bbox(&mut self) -> Option<[f64; 4]> {
        let mut bbox = [0.0; 4];
        self.colon()?;
        self.take(b'[')?;
        for (i, x) in bbox.iter_mut().enumerate() {
            if i > 0 {
                self.skip_space();
                self.take(b',')?;
            }
            self.skip_space();
            (*x, self.at) = number::float(self.bytes, self.at)?;
        }
        self.skip_space();
        self.take(b']')?;
        Some(bbox)
    }

    #[inline(always)]
    fn integer(&mut self) -> Option<u64> {
        self.colon()?;
        let (value, end) = number::integer(self.bytes, self.at)?;
        self.at = end;
        Some(value)
    }

    #[inline(always)]
    fn float(&mut self) -> Option<f64> {
        self.colon()?;
        let (value, end) = number::float(self.bytes, self.at)?;
        self.at = end;
        Some(value)
    }

    #[inline(always)]
    fn colon(&mut self) -> Option<()> {
        self.skip_space();
        self.take(b':')?;
        self.skip_space();
        Some(())
    }

    #[inline(always)]
    fn take(&mut self, byte: u8) -> Option<()> {
        let is_next = self.bytes.get(self.at) == Some(&byte);
        self.at += 1;
        is_next.then_some(())
    }

    #[inline(always)]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// Skips a name without escapes whose value is a finite number or a string without escapes.
    #[inline(never)]
    fn skip_unknown(&mut self) -> Option<()> {
        let name = self.plain_text()?;
        if matches!(name, b"frame" | b"track_id" | b"bbox" | b"confidence") {
            return None;
        }
        self.colon()?;
        if self.bytes.get(self.at) == Some(&b'"') {
            self.plain_text()?;
        } else {
            let (value, end) = number::float(self.bytes, self.at)?;
            self.at = end;
            value.is_finite().then_some(())?;
        }
        Some(())
    }

    fn plain_text(&mut self) -> Option<&[u8]> {
        self.take(b'"')?;
        let rest = self.bytes.get(self.at..)?;
        let len = rest.iter().position(|&b| !(b' '..=b'~').contains(&b) || b == b'"' || b == b'\\')?;
        self.at += len;
        self.take(b'"')?;
        Some(&rest[..len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANT: Detection =
        Detection { frame: 12, track_id: 3, bbox: [412.5, -8.0, 61.25, 143.0], confidence: 0.97 };

    #[test]
    fn parses_common_layouts() {
        for text in [
            r#"{"frame":12,"track_id":3,"bbox":[412.5,-8,61.25,143],"confidence":0.97}"#,
            r#"{"frame": 12, "track_id": 3, "bbox": [412.5, -8.0, 61.25, 143.0], "confidence": 0.97}"#,
            "{\n\"bbox\" : [ 412.5 , -8.0 , 61.25 , 143.0 ] ,\"confidence\":9.7e-1,\"track_id\":3,\"frame\":12\t}",
            r#"{"frame":12,"track_id":3,"bbox":[412.5,-8,61.25,143],"confidence":0.97,"prompt":1,"is":"a b"}"#,
        ] {
            let (detection, len) = parse(format!("{text}, tail").as_bytes()).unwrap();
            assert_eq!((detection, len), (WANT, text.len()));
        }
    }

    #[test]
    fn leaves_truncated_and_unusual_detections_to_the_general_path() {
        let text = r#"{"frame":12,"track_id":3,"bbox":[412.5,-8,61.25,143],"confidence":0.97}"#;
        for len in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..len]), None, "{len}");
        }
        for (from, to) in [
            ("12", "12.0"),
            ("12", "012"),
            ("frame", "fram\\u0065"),
            ("track_id", "frame"),
            ("frame", "x"),
            ("-8", "NaN"),
            (",143", ""),
            ("143", "143,5"),
            ("}", ",}"),
            ("}", ",\"mask\":[1]}"),
            ("}", ",\"frame\":12}"),
            ("}", ",\"é\":1}"),
        ] {
            assert_eq!(parse(text.replacen(from, to, 1).as_bytes()), None, "{from} -> {to}");
        }
    }
}
