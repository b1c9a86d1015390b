//! Damaged files: what is left comes out with its right numbers, and what is lost is counted.

use std::path::{Path, PathBuf};

use video::{Damage, DecodeOptions, Frame, VideoError};

use crate::barcode::{self, Turn};
use crate::clips::{make, open};

const N: u64 = 150;
const H264: &str =
    "-pix_fmt yuv420p -c:v libx264 -preset veryfast -bf 3 -g 30 -keyint_min 30 -sc_threshold 0";

fn decode(path: &Path, from: u64, every: u64) -> (Vec<Frame>, Damage) {
    let options = DecodeOptions { range: from..N, every, ..DecodeOptions::default() };
    let mut frames = open(path).frames(&options).unwrap();
    let decoded: Vec<Frame> = (&mut frames).map(Result::unwrap).collect();
    (decoded, frames.damage())
}

/// Overwrites bytes inside the pictures of a clip of `N` frames, which is about a third into it.
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

/// Numbers rise, are on the grid, and at the far ends, away from the damage, the pictures are right.
fn check(frames: &[Frame], damage: &Damage, from: u64, every: u64, what: &str) {
    assert!(frames.windows(2).all(|pair| pair[0].frame_idx < pair[1].frame_idx), "{what}");
    assert!(
        frames.iter().all(|frame| frame.frame_idx >= from && (frame.frame_idx - from).is_multiple_of(every)),
        "{what}"
    );
    assert_eq!(damage.decoded, frames.len() as u64, "{what}");
    assert_eq!(damage.expected, (N - from).div_ceil(every), "{what}");
    let sound = |frame: &&Frame| frame.frame_idx < 30 || frame.frame_idx >= 120;
    let mut n_sound = 0;
    for frame in frames.iter().filter(sound) {
        assert_eq!(barcode::read(frame, Turn::No), Ok(frame.frame_idx as usize), "{what}");
        n_sound += 1;
    }
    let expected = (from..N).step_by(every as usize).filter(|i| !(30..120).contains(i)).count();
    assert_eq!(n_sound, expected, "{what}: frames away from the damage");
}

fn noise(i: usize) -> u8 {
    (i * i * 31 + i * 7) as u8
}

/// The tables of an mp4 are apart from its pictures: every frame keeps its number.
#[test]
fn a_corrupt_middle_is_counted_and_the_rest_is_right() {
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

/// Nothing can land on a frame that is lost: reading goes on with the first one after it.
#[test]
fn resuming_at_a_lost_frame_goes_on_with_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = corrupt(folder.path(), "a.mp4", H264, &|_| 0);
    let (frames, _) = decode(&path, 0, 1);
    let decoded: Vec<u64> = frames.iter().map(|frame| frame.frame_idx).collect();
    let lost = (31..N).rfind(|frame_idx| !decoded.contains(frame_idx)).unwrap();
    for every in [1, 3] {
        let (frames, damage) = decode(&path, lost, every);
        let wanted: Vec<u64> = (lost..N).step_by(every as usize).filter(|i| decoded.contains(i)).collect();
        assert_eq!(
            frames.iter().map(|frame| frame.frame_idx).collect::<Vec<_>>(),
            wanted,
            "from {lost} by {every}"
        );
        assert_eq!(damage.missing(), (N - lost).div_ceil(every) - wanted.len() as u64);
    }
}

/// Other containers mix packets and pictures, and lose both: the frames that are left are numbered
/// without those, but keep their times.
#[test]
fn a_corrupt_middle_of_a_stream_keeps_the_times() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.mkv", "a.ts"] {
        let path = corrupt(folder.path(), name, H264, &noise);
        let video = open(&path);
        assert!(video.n_frames() <= N, "{name}: {}", video.n_frames());
        let (frames, damage) = decode(&path, 0, 1);
        assert!(damage.is_damaged() || !video.warnings().is_empty(), "{name}: nobody noticed");
        let numbers: Vec<u64> =
            frames.iter().map(|frame| ((frame.time_s - video.time_s(0)) * 25.0).round() as u64).collect();
        for sound in (0..30).chain(130..N) {
            let at = numbers.iter().position(|&number| number == sound);
            let frame = &frames[at.unwrap_or_else(|| panic!("{name}: frame {sound} is lost"))];
            assert_eq!(barcode::read(frame, Turn::No), Ok(sound as usize), "{name}: frame {sound}");
        }
    }
}

#[test]
fn a_file_cut_short_yields_what_it_has() {
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
            let warning = format!("announces 150 frames, the file holds {}", video.n_frames());
            assert!(video.warnings()[0].contains(&warning), "{:?}", video.warnings());
        }
    }
}

/// Nothing at all can be decoded: an error, not an empty success.
#[test]
fn pictures_of_pure_noise_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), N as usize, H264, "a.mp4");
    let mut bytes = std::fs::read(&path).unwrap();
    let (start, end) = (
        bytes.windows(4).position(|b| b == b"mdat").unwrap(),
        bytes.windows(4).position(|b| b == b"moov").unwrap(),
    );
    bytes[start + 4..end - 4].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let mut frames = open(&path).frames(&DecodeOptions::default()).unwrap();
    let error = frames.next().unwrap().unwrap_err();
    assert!(matches!(error, VideoError::Decode { .. }), "{error}");
    assert!(error.to_string().contains("a.mp4"), "{error}");
    assert!(frames.next().is_none());
    assert_eq!(frames.damage().missing(), N);
}
