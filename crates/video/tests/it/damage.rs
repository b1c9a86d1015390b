//! Damaged files: intact frames keep their numbers, and lost frames are counted.

use std::path::{Path, PathBuf};

use video::{Damage, DecodeOptions, Frame, Limits, Video, VideoError};

use crate::barcode::{self, Turn};
use crate::clips::{make, open, tools};

const N: u64 = 150;
const H264: &str =
    "-pix_fmt yuv420p -c:v libx264 -preset veryfast -bf 3 -g 30 -keyint_min 30 -sc_threshold 0";

fn decode(path: &Path, from: u64, every: u64) -> (Vec<Frame>, Damage) {
    let options = DecodeOptions { range: from..N, every, ..DecodeOptions::default() };
    let mut frames = open(path).frames(&options).unwrap();
    let decoded: Vec<Frame> = (&mut frames).map(Result::unwrap).collect();
    (decoded, frames.damage())
}

/// Creates a clip of `N` frames and overwrites bytes in the middle of it.
fn corrupt(folder: &Path, name: &str, options: &str, with: &dyn Fn(usize) -> u8) -> PathBuf {
    let path = make(folder, N as usize, options, name);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    let length = bytes.len() / 50;
    for (i, byte) in bytes[at..at + length].iter_mut().enumerate() {
        *byte = with(i);
    }
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Asserts that frame numbers increase in steps of `every`, and that frames far from the damage are correct.
fn check(frames: &[Frame], damage: &Damage, from: u64, every: u64, what: &str) {
    assert!(frames.windows(2).all(|pair| pair[0].frame_idx < pair[1].frame_idx), "{what}");
    assert!(
        frames.iter().all(|frame| frame.frame_idx >= from && (frame.frame_idx - from).is_multiple_of(every)),
        "{what}"
    );
    assert_eq!(damage.decoded, frames.len() as u64, "{what}");
    assert_eq!(damage.expected, (N - from).div_ceil(every), "{what}");
    let intact = |frame: &&Frame| frame.frame_idx < 30 || frame.frame_idx >= 120;
    let mut n_intact = 0;
    for frame in frames.iter().filter(intact) {
        assert_eq!(barcode::read(frame, Turn::No), Ok(frame.frame_idx as usize), "{what}");
        n_intact += 1;
    }
    let expected = (from..N).step_by(every as usize).filter(|i| !(30..120).contains(i)).count();
    assert_eq!(n_intact, expected, "{what}: frames away from the damage");
}

fn noise(i: usize) -> u8 {
    (i * i * 31 + i * 7) as u8
}

/// An MP4 stores its tables separately from its packets, so every frame keeps its number.
#[test]
fn lost_frames_in_the_middle_are_counted_and_the_rest_is_correct() {
    let folder = tempfile::tempdir().unwrap();
    let kinds: [(&str, &dyn Fn(usize) -> u8); 2] = [("noise", &noise), ("zeros", &|_| 0)];
    for (kind, with) in kinds {
        let path = corrupt(folder.path(), "a.mp4", H264, with);
        for (from, every) in [(0, 1), (0, 4), (3, 7), (65, 1)] {
            let what = format!("{kind}, from {from} by {every}");
            let (frames, damage) = decode(&path, from, every);
            check(&frames, &damage, from, every, &what);
            assert!(damage.is_damaged() || from == 65, "{what}");
            assert!(damage.messages.len() as u64 <= damage.n_messages);
        }
    }
}

/// A lost frame cannot be decoded, so decoding begins with the first one after it.
#[test]
fn resuming_at_a_lost_frame_continues_with_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = corrupt(folder.path(), "a.mp4", H264, &|_| 0);
    let (frames, _) = decode(&path, 0, 1);
    let decoded: Vec<u64> = frames.iter().map(|frame| frame.frame_idx).collect();
    let lost = (31..N).rfind(|frame_idx| !decoded.contains(frame_idx)).unwrap();
    for every in [1, 3] {
        let (frames, damage) = decode(&path, lost, every);
        let expected: Vec<u64> = (lost..N).step_by(every as usize).filter(|i| decoded.contains(i)).collect();
        assert_eq!(
            frames.iter().map(|frame| frame.frame_idx).collect::<Vec<_>>(),
            expected,
            "from {lost} by {every}"
        );
        assert_eq!(damage.missing(), (N - lost).div_ceil(every) - expected.len() as u64);
    }
}

/// Other containers store each timestamp with its packet and lose both: the remaining frames are
/// numbered without the lost ones, but keep their times.
#[test]
fn frames_after_damage_in_a_stream_keep_their_times() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.mkv", "a.ts"] {
        let path = corrupt(folder.path(), name, H264, &noise);
        let video = open(&path);
        assert!(video.n_frames() <= N, "{name}: {}", video.n_frames());
        let (frames, damage) = decode(&path, 0, 1);
        assert!(damage.is_damaged() || !video.warnings().is_empty(), "{name}: the damage was not detected");
        let numbers: Vec<u64> =
            frames.iter().map(|frame| ((frame.time_s - video.time_s(0)) * 25.0).round() as u64).collect();
        for intact in (0..30).chain(130..N) {
            let at = numbers.iter().position(|&number| number == intact);
            let frame = &frames[at.unwrap_or_else(|| panic!("{name}: frame {intact} is lost"))];
            assert_eq!(barcode::read(frame, Turn::No), Ok(intact as usize), "{name}: frame {intact}");
        }
    }
}

#[test]
fn decodes_the_frames_of_a_truncated_file() {
    let folder = tempfile::tempdir().unwrap();
    for (name, options) in [("a.mp4", format!("{H264} -movflags +faststart")), ("a.mkv", H264.to_owned())] {
        let path = make(folder.path(), N as usize, &options, name);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() * 6 / 10]).unwrap();
        let video = open(&path);
        assert!(video.n_frames() > 60 && video.n_frames() < 120, "{name}: {}", video.n_frames());
        let mut frames = video.frames(&DecodeOptions::default()).unwrap();
        let decoded: Vec<Frame> = (&mut frames).map(Result::unwrap).collect();
        assert!(decoded.len() as u64 + 3 >= video.n_frames(), "{name}: {} frames", decoded.len());
        for frame in &decoded[..60] {
            assert_eq!(barcode::read(frame, Turn::No), Ok(frame.frame_idx as usize));
        }
        if name == "a.mp4" {
            let warning = format!("declares 150 frames, but the file contains {}", video.n_frames());
            assert!(video.warnings()[0].contains(&warning), "{:?}", video.warnings());
        }
    }
}

/// If no frame can be decoded, the result is an error and not an empty success.
#[test]
fn packets_of_noise_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), N as usize, H264, "a.mp4");
    let mut bytes = std::fs::read(&path).unwrap();
    let (start, end) = (
        bytes.windows(4).position(|b| b == b"mdat").unwrap(),
        bytes.windows(4).position(|b| b == b"moov").unwrap(),
    );
    bytes[start + 4..end - 4].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let error = Video::open(tools(), &path, &Limits::default()).unwrap_err();
    assert!(matches!(error, VideoError::NotVideo { .. }), "{error}");
    assert!(error.to_string().contains("a.mp4"), "{error}");
}
