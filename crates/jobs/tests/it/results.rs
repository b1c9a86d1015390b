//! The results file: written files can be read, all valid files are read as by a JSON library, and invalid
//! ones are rejected with the reason and the position, without panics.

mod random;

use std::convert::Infallible;
use std::io::{self, Read, Write};

use jobs::results::{
    BATCH, Codec, Detection, Expected, Problem, ReadError, ResultsHead, ResultsSummary, ResultsWriter,
    read_results,
};
use serde_json::{Value, json};

use self::random::Random;

type Everything = (ResultsHead, ResultsSummary, Vec<Detection>);

const D0: &str = r#"{"frame":0,"track_id":3,"bbox":[412,208,61,143],"confidence":0.97}"#;
const D1: &str = r#"{"frame":2,"track_id":1,"bbox":[7.5,0,60.25,140],"confidence":0.5}"#;

fn expected() -> Expected {
    Expected::of_job("job-1")
}

fn read_all(input: impl Read, expected: &Expected) -> Result<Everything, ReadError<Infallible>> {
    let mut detections = Vec::new();
    let (head, summary) = read_results(input, expected, |batch| {
        detections.extend_from_slice(batch);
        Ok(())
    })?;
    Ok((head, summary, detections))
}

fn read(bytes: &[u8]) -> Everything {
    read_all(bytes, &expected()).unwrap_or_else(|e| panic!("{e} in {}", String::from_utf8_lossy(bytes)))
}

/// The reason why a file is rejected, the index of the detection, and the byte offset.
fn refusal(bytes: &[u8], expected: &Expected) -> (Problem, Option<u64>, u64) {
    match read_all(bytes, expected) {
        Err(ReadError::Invalid { problem, position }) => {
            (problem, position.detection_idx, position.offset_bytes)
        }
        other => panic!("{other:?} of {}", String::from_utf8_lossy(bytes)),
    }
}

fn problem(text: &str) -> Problem {
    refusal(text.as_bytes(), &expected()).0
}

fn document(detections: &[&str]) -> String {
    let detections = detections.join(",\n");
    format!("{{\"job_id\":\"job-1\",\"video_id\":4,\"detections\":[\n{detections}\n]}}\n")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Returns a few bytes at a time, with occasional interruptions.
struct Dribble<'a>(&'a [u8], Random);

impl Read for Dribble<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.1.below(8) as usize;
        if n == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let n = n.min(buf.len());
        self.0.read(&mut buf[..n])
    }
}

fn sample(n: u64) -> impl Iterator<Item = Detection> {
    (0..n).map(|i| Detection {
        frame: i / 3,
        track_id: i % 3,
        bbox: [i as f64 / 4.0, -1.25, (6000 + i) as f64 / 100.0, 140.0],
        confidence: (i % 10_001) as f64 / 10_000.0,
    })
}

fn written(n: u64) -> (ResultsHead, Vec<u8>, ResultsSummary) {
    let head = ResultsHead {
        job_id: "job-1".to_owned(),
        video_id: -4,
        completed_at: Some("2026-01-02T03:04:05Z".to_owned()),
        frames_processed: Some(n),
        extra: [("prompts".to_owned(), json!(["player", "\u{1F3C0} \"ball\""]))].into_iter().collect(),
    };
    let mut writer = ResultsWriter::new(Vec::new(), &head).unwrap();
    sample(n).for_each(|d| writer.push(&d).unwrap());
    let (bytes, summary) = writer.finish().unwrap();
    (head, bytes, summary)
}

#[test]
fn written_files_can_be_read() {
    for n in [0, 1, BATCH as u64 - 1, BATCH as u64, BATCH as u64 + 1, 20_000] {
        let (head, bytes, summary) = written(n);
        assert_eq!(
            serde_json::from_slice::<Value>(&bytes).unwrap()["detections"].as_array().unwrap().len() as u64,
            n
        );
        let expected = Expected {
            video_id: Some(-4),
            n_frames: Some(n.div_ceil(3)),
            size_bytes: Some(summary.size_bytes),
            sha256: Some(summary.sha256.to_uppercase()),
            n_detections: Some(n),
            ..expected()
        };
        let mut sizes = Vec::new();
        let mut detections = Vec::new();
        let read = read_results(bytes.as_slice(), &expected, |batch| {
            sizes.push(batch.len());
            detections.extend_from_slice(batch);
            Ok::<(), Infallible>(())
        });
        assert_eq!(read.unwrap(), (head, summary));
        assert!(detections.into_iter().eq(sample(n)));
        let rest = n as usize % BATCH;
        assert_eq!(sizes.iter().filter(|&&size| size == BATCH).count(), n as usize / BATCH);
        assert_eq!(sizes.last().copied().unwrap_or(0), if n > 0 && rest == 0 { BATCH } else { rest });
    }
}

#[test]
fn compressed_files_are_read_and_hashed_as_stored() {
    let (head, plain, summary) = written(5000);
    let (a, b) = plain.split_at(plain.len() / 3);
    let skippable = [&[0x50, 0x2A, 0x4D, 0x18, 2, 0, 0, 0, 9, 9], zstd(&plain).as_slice()].concat();
    for (codec, stored) in [
        (Codec::Gzip, gzip(&plain)),
        (Codec::Gzip, [gzip(a), gzip(b"")].concat().into_iter().chain(gzip(b)).collect()),
        (Codec::Zstd, zstd(&plain)),
        (Codec::Zstd, [zstd(a), zstd(b"")].concat().into_iter().chain(zstd(b)).collect()),
        (Codec::Zstd, skippable),
    ] {
        assert_eq!(Codec::of(&stored), codec);
        let (read_head, read_summary, detections) = read(&stored);
        assert_eq!(read_head, head);
        assert!(detections.into_iter().eq(sample(5000)));
        assert_eq!(read_summary.size_bytes, stored.len() as u64);
        assert_ne!(read_summary.sha256, summary.sha256);
        let exact = Expected {
            size_bytes: Some(stored.len() as u64),
            sha256: Some(read_summary.sha256),
            ..expected()
        };
        read_all(stored.as_slice(), &exact).unwrap();
    }
}

#[test]
fn short_reads_give_the_same_result() {
    let (_, plain, _) = written(900);
    for stored in [gzip(&plain), zstd(&plain), plain] {
        let got = read_all(Dribble(&stored, Random(7)), &expected()).unwrap();
        assert_eq!(got, read(&stored));
    }
}

#[test]
fn an_older_workers_output_is_read() {
    let text = concat!(
        r#"{"job_id": "job-1", "video_id": 1, "completed_at": "2024-11-05T18:22:07.123456+00:00", "#,
        r#""frames_processed": 2, "detections": [{"frame": 0, "track_id": 3, "bbox": [412.0, 208.0, 61.0, 143.0], "#,
        r#""confidence": 0.97}, {"frame": 1, "track_id": 3, "bbox": [412.36170196533203, 207.99871826171875, "#,
        r#"60.99999237060547, 1e-05], "confidence": 0.9700000286102295}]}"#
    );
    let (head, summary, detections) = read(text.as_bytes());
    assert_eq!((head.video_id, head.frames_processed), (1, Some(2)));
    assert_eq!(head.completed_at.as_deref(), Some("2024-11-05T18:22:07.123456+00:00"));
    assert_eq!(summary.size_bytes, text.len() as u64);
    let bbox = [412.361_701_965_332_03, 207.998_718_261_718_75, 60.999_992_370_605_47, 1e-5];
    let second = Detection { frame: 1, track_id: 3, bbox, confidence: 0.970_000_028_610_229_5 };
    assert_eq!(detections[1], second);
}

#[test]
fn fields_may_be_missing_or_unknown() {
    let text = format!(
        "\r\n {{\"masks\":[[],{{}},[{{\"a\\u00e9\":[1e5,null]}}]],\"detections\":[{D1},{D0}],\"completed_at\":null,\
         \"video_id\":4.0,\"fps\":29.97,\"job\\u005fid\":\"j\\u006Fb-1\",\"frames_processed\":null}}\t"
    );
    let (head, _, detections) = read(text.as_bytes());
    assert_eq!((head.job_id.as_str(), head.video_id), ("job-1", 4));
    assert_eq!((head.completed_at, head.frames_processed), (None, None));
    assert_eq!(Value::from(head.extra), json!({"masks": [[], {}, [{"aé": [1e5, null]}]], "fps": 29.97}));
    assert_eq!(detections.iter().map(|d| d.frame).collect::<Vec<_>>(), [2, 0]);
}

#[test]
fn long_unknown_fields_are_skipped() {
    let long = format!("[{}0]", "{\"m\": [1, 2.5, \"x\"]},\n".repeat(100_000));
    let with_long = D0.replacen('{', &format!("{{\"mask\":{long},"), 1);
    let text = format!("{{\"masks\":{long},{}", &document(&[&with_long, D1])[1..]);
    let (head, _, detections) = read(text.as_bytes());
    assert!(head.extra.is_empty());
    assert_eq!(detections.len(), 2);
    assert!(matches!(problem(&text.replacen(",\n0]", ",\n,0]", 1)), Problem::NotJson(_)));
}

#[test]
fn a_file_truncated_at_any_byte_is_rejected() {
    let text = document(&[D0, &D1.replacen('{', "{\"é\\n\": [true, {\"a\": 1.5e3}], ", 1)]);
    let text = text.trim_end().as_bytes();
    for len in 0..text.len() {
        assert_eq!(refusal(&text[..len], &expected()).0, Problem::Truncated, "{len}");
        let compressed = (gzip(&text[..len]), zstd(&text[..len]));
        assert_eq!(refusal(&compressed.0, &expected()).0, Problem::Truncated, "{len}");
        assert_eq!(refusal(&compressed.1, &expected()).0, Problem::Truncated, "{len}");
    }
    for stored in [gzip(text), zstd(text), [zstd(&text[..50]), zstd(&text[50..])].concat()] {
        assert_eq!(read(&stored).2.len(), 2);
        // The shortest prefixes are not recognised as compressed.
        (0..4).for_each(|len| drop(refusal(&stored[..len], &expected())));
        for len in 4..stored.len() {
            assert_eq!(
                refusal(&stored[..len], &expected()).0,
                Problem::Truncated,
                "{len} of {}",
                stored.len()
            );
        }
    }
}

#[test]
fn invalid_detections_are_rejected_with_field_and_index() {
    use Problem::{
        BoxNumbers, BoxOutside, Confidence, Duplicate, HugeBox, Missing, NegativeSize, NotFinite, Repeated,
        UnknownFrame, WrongType,
    };
    let wrong = |field, want| WrongType { field, want };
    let (integer, four) = ("a non-negative integer", "an array of 4 numbers");
    for (from, to, want) in [
        ("0.97", "NaN", NotFinite),
        ("0.97", "-Infinity", NotFinite),
        ("412", "Infinity", NotFinite),
        ("412", "1e400", NotFinite),
        ("0.97", "0.97,\"extra\":[NaN]", NotFinite),
        ("61", "-61.5", NegativeSize { width: -61.5, height: 143.0 }),
        ("143", "-1e-9", NegativeSize { width: 61.0, height: -1e-9 }),
        ("0.97", "1.0011", Confidence(1.0011)),
        ("0.97", "-0.1", Confidence(-0.1)),
        ("143", "1e308", HugeBox { bbox: [412.0, 208.0, 61.0, 1e308] }),
        ("412", "-1000001", HugeBox { bbox: [-1_000_001.0, 208.0, 61.0, 143.0] }),
        ("412", "8000", BoxOutside { bbox: [8000.0, 208.0, 61.0, 143.0], width: 1920, height: 1080 }),
        ("208", "-2000", BoxOutside { bbox: [412.0, -2000.0, 61.0, 143.0], width: 1920, height: 1080 }),
        ("frame\":0,\"track_id\":3", "frame\":2,\"track_id\":1", Duplicate { frame: 2, track_id: 1 }),
        (",143", "", BoxNumbers(3)),
        ("412,208,61,143", "", BoxNumbers(0)),
        ("143", "143,1", BoxNumbers(5)),
        ("143", "\"143\"", wrong("bbox", four)),
        ("143", "[143]", wrong("bbox", four)),
        ("[412,208,61,143]", "null", wrong("bbox", four)),
        ("0.97", "null", wrong("confidence", "a number")),
        ("0.97", "true", wrong("confidence", "a number")),
        ("frame\":0", "frame\":-1", UnknownFrame { frame: -1, n_frames: None }),
        ("frame\":0", "frame\":10", UnknownFrame { frame: 10, n_frames: Some(10) }),
        ("frame\":0", "frame\":0.5", wrong("frame", integer)),
        ("frame\":0", "frame\":\"0\"", wrong("frame", integer)),
        ("frame\":0", "frame\":9223372036854775808", wrong("frame", integer)),
        ("track_id\":3", "track_id\":-3", wrong("track_id", integer)),
        ("track_id\":3", "track_id\":null", wrong("track_id", integer)),
        ("\"frame\":0,", "", Missing("frame")),
        ("\"track_id\"", "\"Track_id\"", Missing("track_id")),
        ("bbox", "box", Missing("bbox")),
        (",\"confidence\":0.97", "", Missing("confidence")),
        ("\"frame\":0,", "\"frame\":0,\"frame\":0,", Repeated("frame")),
    ] {
        let text = document(&[D1, &D0.replacen(from, to, 1)]);
        let (problem, detection_idx, offset) = refusal(
            text.as_bytes(),
            &Expected { n_frames: Some(10), frame_size: Some([1920, 1080]), ..expected() },
        );
        assert_eq!((&problem, detection_idx), (&want, Some(1)), "{from} -> {to}");
        let second = text.rfind("\n{").unwrap() as u64 + 1;
        assert!((second..text.len() as u64).contains(&offset), "{from} -> {to}: {offset}");
    }
}

#[test]
fn confidences_that_rounding_put_outside_0_to_1_are_clamped() {
    let with = |confidence: &str| D0.replace("0.97", confidence);
    let text = document(&[&with("1.0000001"), D1, &with("-0.0009").replace(":3", ":4")]);
    let (_, summary, detections) = read(text.as_bytes());
    assert_eq!(summary.n_clamped, 2);
    assert_eq!(detections.iter().map(|d| d.confidence).collect::<Vec<_>>(), [1.0, 0.5, 0.0]);
}

#[test]
fn a_video_that_was_not_rotated_keeps_its_boxes() {
    let portrait = Expected { frame_size: Some([1080, 1920]), ..expected() };
    let text = document(&[&D0.replace("[412,208,61,143]", "[1820,900,100,180]")]);
    assert_eq!(read_all(text.as_bytes(), &portrait).unwrap().2.len(), 1);
}

#[test]
fn invalid_json_is_rejected() {
    for (from, to) in [
        ("[\n", "[,"),
        ("\n]", ",]"),
        ("{\"job_id\"", "{,\"job_id\""),
        ("{\"job_id\"", "{job_id"),
        ("\"video_id\":4", "\"video_id\":4,\"x\":'y'"),
        ("\"video_id\":4", "\"video_id\" 4"),
        ("\"video_id\":4", "\"video_id\":04"),
        ("\"video_id\":4", "\"video_id\":+4"),
        ("\"video_id\":4", "\"video_id\":4,"),
        ("\"video_id\":4", "\"video_id\":4,\"x\":nul"),
        ("\"video_id\":4", "\"video_id\":4,\"x\":\"\\x\""),
        ("\"video_id\":4", "\"video_id\":4,\"x\":\"\n\""),
        ("\"video_id\":4", "\"video_id\":4,\"x\":\"\\ud800\""),
        ("\"video_id\":4", "\"video_id\":4,\"x\":[1}"),
        ("\"video_id\":4", "\"video_id\":4,\"x\":{1:2}"),
        ("412", "0412"),
        ("412", "4_12"),
        ("412", "412."),
        ("0.97}", "0.97,}"),
        (D0, "7"),
        (D0, "null"),
    ] {
        let text = document(&[D0]).replacen(from, to, 1);
        assert!(matches!(problem(&text), Problem::NotJson(_)), "{text}: {}", problem(&text));
    }
    for text in ["[]", "null", "\u{FEFF}{}", "<html>", "results", "\"\"", "\0"] {
        assert!(matches!(problem(text), Problem::NotJson(_)), "{text}");
    }
    let not_utf8 = document(&[D0]).replacen("\"video_id\"", "\"?\":1,\"video_id\"", 1).replace('?', "\u{80}");
    let not_utf8: Vec<u8> = not_utf8.chars().map(|c| c as u8).collect();
    assert!(matches!(refusal(&not_utf8, &expected()).0, Problem::NotJson(_)));
}

#[test]
fn invalid_documents_are_rejected_with_the_field() {
    let of = |job: &str| Problem::OtherJob { found: job.to_owned(), expected: "job-1".to_owned() };
    let wrong = |field, want| Problem::WrongType { field, want };
    let text = document(&[D0]);
    for (from, to, want) in [
        ("job-1", "job-2", of("job-2")),
        ("job-1", &"é".repeat(500), of(&"é".repeat(50))),
        ("\"job-1\"", "null", wrong("job_id", "a string")),
        ("\"job_id\":\"job-1\",", "", Problem::Missing("job_id")),
        ("\"video_id\":4,", "", Problem::Missing("video_id")),
        ("detections", "detection", Problem::Missing("detections")),
        ("\"video_id\":4", "\"video_id\":5", Problem::OtherVideo { found: 5, expected: 4 }),
        ("\"video_id\":4", "\"video_id\":\"4\"", wrong("video_id", "an integer")),
        ("\"video_id\":4", "\"video_id\":4,\"video_id\":4", Problem::Repeated("video_id")),
        ("\"job_id\"", "\"job_id\":\"job-1\",\"job_id\"", Problem::Repeated("job_id")),
        ("\"detections\"", "\"detections\":[],\"detections\"", Problem::Repeated("detections")),
        ("\"detections\":[", "\"detections\":null,\"x\":[", wrong("detections", "an array")),
        ("\"detections\":[", "\"detections\":{},\"x\":[", wrong("detections", "an array")),
        (
            "\"video_id\"",
            "\"frames_processed\":-1,\"video_id\"",
            wrong("frames_processed", "a non-negative integer"),
        ),
        ("\"video_id\"", "\"completed_at\":7,\"video_id\"", wrong("completed_at", "a string")),
        ("]}\n", "]}\n{}", Problem::TrailingBytes),
        ("]}\n", "]}\n\0", Problem::TrailingBytes),
        ("]}\n", "]}]", Problem::TrailingBytes),
    ] {
        let text = text.replacen(from, to, 1);
        let (problem, detection_idx, _) =
            refusal(text.as_bytes(), &Expected { video_id: Some(4), ..expected() });
        assert_eq!((problem, detection_idx), (want, None), "{text}");
    }
    // The job's id may come last.
    let last = format!("{{\"video_id\":4,\"detections\":[{D0}],\"job_id\":\"job-2\"}}");
    assert_eq!(problem(&last), of("job-2"));
}

#[test]
fn files_with_unexpected_size_hash_or_count_are_rejected() {
    let text = document(&[D0, D1]);
    let (_, summary, _) = read(text.as_bytes());
    let size = summary.size_bytes;
    for other in [size - 1, size + 1, u64::MAX] {
        let expected = Expected { size_bytes: Some(other), ..expected() };
        let want = Problem::WrongSize { found: size, expected: other };
        assert_eq!(refusal(text.as_bytes(), &expected).0, want);
    }
    let other = summary.sha256.replace(['0', '1', '2', '3'], "f");
    let want = Problem::WrongSha256 { found: summary.sha256, expected: other.clone() };
    let one = Expected { sha256: Some(other), ..expected() };
    assert_eq!(refusal(text.as_bytes(), &one).0, want);
    let one = Expected { n_detections: Some(3), ..expected() };
    assert_eq!(refusal(text.as_bytes(), &one).0, Problem::WrongCount { found: 2, expected: 3 });
    // Reading stops soon after the expected size, even if the input is endless.
    let one = Expected { size_bytes: Some(1 << 20), ..expected() };
    let endless = read_all(io::repeat(b' '), &one);
    assert!(matches!(endless, Err(ReadError::Invalid { problem: Problem::WrongSize { .. }, .. })));
}

#[test]
fn memory_is_bounded_for_hostile_inputs() {
    let in_extra =
        |value: &str| document(&[D0]).replacen("\"video_id\"", &format!("\"x\":{value},\"video_id\""), 1);
    let is_too_large = |problem| matches!(problem, Problem::TooLarge(_));
    assert!(is_too_large(problem(&in_extra(&format!("\"{}\"", "x".repeat(3 << 20))))));
    assert!(is_too_large(problem(&in_extra(&"1".repeat(3 << 20)))));
    assert!(is_too_large(problem(&in_extra(&"[".repeat(1_000_000)))));
    assert!(is_too_large(problem(&document(&[&D0.replacen("frame", &"f".repeat(3 << 20), 1)]))));
    // A decompression bomb: 256 MiB of spaces.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    io::copy(&mut io::repeat(b' ').take(1 << 28), &mut encoder).unwrap();
    assert!(is_too_large(refusal(&encoder.finish().unwrap(), &expected()).0));
    // A frame with a window of 128 MiB.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(document(&[D0]).as_bytes()).unwrap();
    let (problem, ..) = refusal(&encoder.finish().unwrap(), &expected());
    assert!(matches!(problem, Problem::Damaged { codec: Codec::Zstd, .. }), "{problem}");
}

#[test]
fn corrupt_compressed_data_is_rejected() {
    let (_, plain, _) = written(50);
    let mut bad_sum = gzip(&plain);
    let at = bad_sum.len() - 6;
    bad_sum[at] ^= 1;
    for (codec, stored) in [
        (Codec::Gzip, bad_sum),
        (Codec::Gzip, [gzip(&plain), b"garbage after".to_vec()].concat()),
        (Codec::Zstd, [zstd(&plain), b"garbage after".to_vec()].concat()),
    ] {
        let (problem, ..) = refusal(&stored, &expected());
        assert!(matches!(problem, Problem::Damaged { codec: c, .. } if c == codec), "{problem}");
    }
}

#[test]
fn errors_of_input_and_callback_are_returned() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let (_, plain, _) = written(5000);
    for stored in [gzip(&plain), zstd(&plain), plain.clone()] {
        for cut in [0, 2, 5000] {
            let error = read_all(stored[..cut].chain(Broken), &expected()).unwrap_err();
            let ReadError::Io(error) = error else { panic!("{error}") };
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }
    let mut n_batches = 0;
    let result = read_results(plain.as_slice(), &expected(), |_| {
        n_batches += 1;
        if n_batches == 2 { Err("the disk is full") } else { Ok(()) }
    });
    assert!(matches!(result, Err(ReadError::Batch("the disk is full"))));
    assert_eq!(n_batches, 2);
}

#[test]
fn the_error_message_shows_position_and_reason() {
    let text = document(&[D0, &D1.replace("60.25", "-60.25")]);
    let error = read_all(text.as_bytes(), &expected()).unwrap_err().to_string();
    let offset = text.rfind("\n{").unwrap() + 1;
    let want =
        format!("invalid results at detections[1], byte {offset}: a box has the negative size -60.25 by 140");
    assert_eq!(error, want);
}
