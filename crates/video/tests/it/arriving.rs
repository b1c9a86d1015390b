//! Files of which only a part is there: frames that can be decoded already are exactly those of the whole file.

use std::path::Path;

use video::{Arriving, DecodeOptions, Frame, Limits, Video};

use crate::clips::{make, open, tools};

const N: usize = 400;
/// More than the tables of so many frames need, and less than half of any file here.
const TABLES: usize = 12 << 10;
const H264: &str =
    "-pix_fmt yuv420p -c:v libx264 -preset veryfast -bf 3 -g 30 -keyint_min 30 -sc_threshold 0";

fn frames(video: &Video, n_frames: u64) -> Vec<Frame> {
    let options = DecodeOptions { range: 0..n_frames, ..DecodeOptions::default() };
    video.frames(&options).unwrap().map(Result::unwrap).collect()
}

/// The file as it is on disk when so many bytes of its beginning and of its end have arrived.
fn partial(whole: &Path, n_beginning: usize, n_end: usize) -> std::path::PathBuf {
    let bytes = std::fs::read(whole).unwrap();
    let mut partial = vec![0; bytes.len()];
    partial[..n_beginning].copy_from_slice(&bytes[..n_beginning]);
    let end = bytes.len() - n_end;
    partial[end..].copy_from_slice(&bytes[end..]);
    let path = whole.with_file_name("partial.mp4");
    std::fs::write(&path, partial).unwrap();
    path
}

fn arriving(path: &Path) -> Option<Arriving> {
    Arriving::open(tools(), path, &Limits::default())
}

/// Checks a file whose tables are in its first or last `n_tables` bytes.
fn check(options: &str, n_tables: usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), N, options, "whole.mp4");
    let size = path.metadata().unwrap().len() as usize;
    let whole = open(&path);
    let truth = frames(&whole, N as u64);
    let mut before = 0;
    for tenth in 2..=10 {
        let n_bytes = size * tenth / 10;
        let path = partial(&path, n_bytes, n_tables.min(size - n_bytes));
        let seen = arriving(&path).unwrap();
        assert!(seen.is(&whole), "{tenth}");
        let n_frames = seen.n_frames_within(n_bytes as u64);
        assert!(before <= n_frames && n_frames <= N as u64);
        before = n_frames;
        let got = frames(seen.video(), n_frames);
        assert!(got == truth[..n_frames as usize], "{tenth}: {n_frames} frames");
        // From the middle of it on, too.
        let options = DecodeOptions { range: n_frames / 2..n_frames, every: 3, ..DecodeOptions::default() };
        for frame in seen.video().frames(&options).unwrap() {
            let frame = frame.unwrap();
            assert!(frame == truth[frame.frame_idx as usize], "{tenth}: frame {}", frame.frame_idx);
        }
    }
    assert_eq!(before, N as u64);
    let seen = arriving(&partial(&path, size / 2, n_tables)).unwrap();
    let half = seen.n_frames_within(size as u64 / 2);
    assert!((50..N as u64 - 100).contains(&half), "{half} frames in half of {size} bytes");
    assert_eq!(seen.n_frames_within(0), 0);
}

#[test]
fn tables_at_the_end() {
    check(H264, TABLES);
}

#[test]
fn tables_at_the_beginning() {
    check(&format!("{H264} -movflags +faststart"), 0);
}

#[test]
fn open_groups() {
    let options = H264.replace("-g 30", "-g 30 -x264-params open-gop=1");
    check(&options, TABLES);
}

#[test]
fn a_hidden_beginning() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), N + 40, H264, "long.mp4");
    // An edit list hides what comes before second 1.
    crate::clips::ffmpeg(folder.path(), "-ss 1 -i long.mp4 -c copy cut.mp4");
    let path = folder.path().join("cut.mp4");
    let whole = open(&path);
    let size = path.metadata().unwrap().len() as usize;
    let seen = arriving(&partial(&path, size / 2, TABLES)).unwrap();
    assert!(seen.is(&whole));
    let n_frames = seen.n_frames_within(size as u64 / 2);
    assert!(n_frames > 50);
    assert!(frames(seen.video(), n_frames) == frames(&whole, n_frames));
}

#[test]
fn what_tells_of_its_frames_where_they_lie_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    for (name, more) in [("a.mkv", ""), ("fragments.mp4", "-movflags +frag_keyframe+empty_moov")] {
        let path = make(folder.path(), N, &format!("{H264} {more}"), name);
        let size = path.metadata().unwrap().len() as usize;
        // Either it says so, or it is seen to be shorter than it must be.
        let seen = arriving(&partial(&path, size / 2, 4 << 10));
        assert!(seen.is_none_or(|seen| seen.video().n_frames() < N as u64), "{name}");
    }
    let tables_missing = make(folder.path(), N, H264, "late.mp4");
    assert!(arriving(&partial(&tables_missing, 1 << 12, 0)).is_none());
}

#[test]
fn another_file_is_not_the_one_that_arrived() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), 60, H264, "a.mp4");
    let seen = arriving(&path).unwrap();
    assert!(seen.is(&open(&path)));
    assert!(!seen.is(&open(&make(folder.path(), 61, H264, "b.mp4"))));
    assert!(!seen.is(&open(&make(folder.path(), 60, &format!("{H264} -vf scale=160:120"), "c.mp4"))));
}
