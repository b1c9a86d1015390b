//! Random documents: valid ones in unusual forms, which must be read as by a JSON library, and corrupt ones.

use jobs::results::Detection;
use serde_json::Value;

use super::{Everything, expected, gzip, read, read_all, written, zstd};

/// A small random number generator with a fixed sequence (xorshift64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }
}

/// Makes a document in an unusual but valid form, and its detections.
fn unusual(random: &mut Random) -> (String, Vec<Detection>) {
    let mut detections = Vec::new();
    let records =
        (0..random.below(6)).map(|_| unusual_detection(random, &mut detections)).collect::<Vec<_>>();
    let comma = format!("{},{}", space(random), space(random));
    let mut fields = vec![
        ("\"detections\"", format!("[{}{}]", space(random), records.join(&comma))),
        (random.pick(&["\"job_id\"", "\"job_i\\u0064\""]), "\"job-1\"".to_owned()),
        ("\"video_id\"", random.pick(&["4", "4.0", "0.4e1", "40E-1"]).to_owned()),
    ];
    if random.below(2) == 0 {
        fields.push(("\"note\"", unknown_value(random).to_owned()));
    }
    (object(random, fields), detections)
}

fn unusual_detection(random: &mut Random, detections: &mut Vec<Detection>) -> String {
    let integers = ["0", "7", "123", "12.0", "1e3", "9007199254740993", "-0"];
    let numbers = ["0", "12.5", "-3.25", "1e2", "0.1", "412.36170196533203", "5E-1", "17.000000000000000001"];
    let sizes = ["0", "61", "60.99999237060547", "1.5e2", "-0.0"];
    let integer = |text: &str| text.parse().unwrap_or_else(|_| text.parse::<f64>().unwrap() as u64);
    let is_used = |frame: &str, track: &str| {
        detections.iter().any(|d| (d.frame, d.track_id) == (integer(frame), integer(track)))
    };
    let (frame, track_id) = loop {
        let (frame, track_id) = (random.pick(&integers), random.pick(&integers));
        if !is_used(frame, track_id) {
            break (frame, track_id);
        }
    };
    let bbox = [random.pick(&numbers), random.pick(&numbers), random.pick(&sizes), random.pick(&sizes)];
    let confidence = random.pick(&["0", "1", "1.0", "0.97", "0.9700000286102295", "9e-1"]);
    detections.push(Detection {
        frame: integer(frame),
        track_id: integer(track_id),
        bbox: bbox.map(|x| x.parse().unwrap()),
        confidence: confidence.parse().unwrap(),
    });
    let comma = format!("{},{}", space(random), space(random));
    let mut fields = vec![
        (random.pick(&["\"frame\"", "\"frame\"", "\"fr\\u0061me\""]), frame.to_owned()),
        ("\"track_id\"", track_id.to_owned()),
        ("\"bbox\"", format!("[{}{}]", space(random), bbox.join(&comma))),
        ("\"confidence\"", confidence.to_owned()),
    ];
    for name in ["\"prompt\"", "\"Größe \\\" \u{1F3C0}\"", "\"\""] {
        if random.below(4) == 0 {
            fields.push((name, unknown_value(random).to_owned()));
        }
    }
    object(random, fields)
}

fn object(random: &mut Random, mut fields: Vec<(&str, String)>) -> String {
    let mut text = format!("{}{{", space(random));
    let mut comma = "";
    while !fields.is_empty() {
        let (name, value) = fields.swap_remove(random.below(fields.len() as u64) as usize);
        let spaces: [&str; 4] = std::array::from_fn(|_| space(random));
        text += &format!("{comma}{}{name}{}:{}{value}{}", spaces[0], spaces[1], spaces[2], spaces[3]);
        comma = ",";
    }
    text + "}"
}

fn space(random: &mut Random) -> &'static str {
    random.pick(&["", "", "", " ", "\n", "\t ", "\r\n  "])
}

fn unknown_value(random: &mut Random) -> &'static str {
    random.pick(&[
        "1",
        "-1.5e3",
        "\"text\"",
        "\"a \\\"b\\\\ \\ud83c\\udfc0 \u{1F3C0}\"",
        "null",
        "true",
        "[]",
        "{ }",
        "[1, [2, {\"a\": \"]}\"}], false]",
        "{\"frame\": 5, \"bbox\": [1]}",
    ])
}

/// Parses the document with a JSON library.
fn naive(text: &str) -> Vec<Detection> {
    let document: Value = serde_json::from_str(text).unwrap();
    let number = |value: &Value| value.as_f64().unwrap();
    let integer = |value: &Value| value.as_u64().unwrap_or_else(|| number(value) as u64);
    let detection = |d: &Value| Detection {
        frame: integer(&d["frame"]),
        track_id: integer(&d["track_id"]),
        bbox: std::array::from_fn(|i| number(&d["bbox"][i])),
        confidence: number(&d["confidence"]),
    };
    document["detections"].as_array().unwrap().iter().map(detection).collect()
}

/// Equal except for the last bits, which the JSON library may round differently.
fn is_close(a: &Detection, b: &Detection) -> bool {
    let is_close = |a: f64, b: f64| (a - b).abs() <= 4.0 * f64::EPSILON * b.abs();
    (a.frame, a.track_id) == (b.frame, b.track_id)
        && a.bbox.iter().zip(b.bbox).all(|(a, b)| is_close(*a, b))
        && is_close(a.confidence, b.confidence.clamp(0.0, 1.0))
}

#[test]
fn valid_documents_are_read_as_by_a_json_library() {
    let mut random = Random(42);
    for _ in 0..4000 {
        let (text, want) = unusual(&mut random);
        let (_, _, got) = read(text.as_bytes());
        assert_eq!(got, want, "{text}");
        let naive = naive(&text);
        assert_eq!(naive.len(), got.len());
        assert!(got.iter().zip(&naive).all(|(a, b)| is_close(a, b)), "{text}");
    }
}

#[test]
fn corrupt_documents_are_rejected_or_read_as_by_a_json_library() {
    let mut random = Random(1234);
    let (_, ours, _) = written(12);
    for round in 0..30_000 {
        let mut text = if round % 2 == 0 { ours.clone() } else { unusual(&mut random).0.into_bytes() };
        for _ in 0..=random.below(3) {
            let at = random.below(text.len() as u64) as usize;
            match random.below(4) {
                0 => text[at] = random.below(256) as u8,
                1 => text[at] = random.pick(b"{}[]\",:0-.eEN\\ "),
                2 => drop(text.remove(at)),
                _ => text.insert(at, random.pick(b"{}[]\",:0-.eEN\\ ")),
            }
        }
        // A document that is accepted is JSON with the same detections.
        if let Ok((_, _, detections)) = read_all(text.as_slice(), &expected()) {
            let text = String::from_utf8(text).unwrap();
            let naive = naive(&text);
            assert_eq!(naive.len(), detections.len(), "{text}");
            assert!(detections.iter().zip(&naive).all(|(a, b)| is_close(a, b)), "{text}");
        }
    }
    for stored in [gzip(&ours), zstd(&ours)] {
        for _ in 0..5000 {
            let mut stored = stored.clone();
            let at = random.below(stored.len() as u64) as usize;
            stored[at] ^= 1 << random.below(8);
            let _: Result<Everything, _> = read_all(stored.as_slice(), &expected());
        }
    }
}
