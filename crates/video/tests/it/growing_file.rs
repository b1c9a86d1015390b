//! Partly downloaded files: the frames that can be decoded early equal those of the complete file.

use std::path::Path;

use video::{DecodeOptions, Frame, GrowingFile, Limits, Video};

use crate::clips::{hide_box, make, open, tools};

const N: usize = 400;
/// Larger than the tables of `N` frames, and smaller than half of any file here.
const TABLES: usize = 12 << 10;
const H264: &str =
    "-pix_fmt yuv420p -c:v libx264 -preset veryfast -bf 3 -g 30 -keyint_min 30 -sc_threshold 0";

fn frames(video: &Video, n_frames: u64) -> Vec<Frame> {
    let options = DecodeOptions { range: 0..n_frames, ..DecodeOptions::default() };
    video.frames(&options).unwrap().map(Result::unwrap).collect()
}

/// A copy of the file in which only the given numbers of bytes at the beginning and the end are present.
fn partial(complete: &Path, n_beginning: usize, n_end: usize) -> std::path::PathBuf {
    let bytes = std::fs::read(complete).unwrap();
    let mut partial = vec![0; bytes.len()];
    partial[..n_beginning].copy_from_slice(&bytes[..n_beginning]);
    let end = bytes.len() - n_end;
    partial[end..].copy_from_slice(&bytes[end..]);
    let path = complete.with_file_name("partial.mp4");
    std::fs::write(&path, partial).unwrap();
    path
}

fn growing(path: &Path) -> Option<GrowingFile> {
    GrowingFile::open(tools(), path, None, &Limits::default())
}

/// Checks a file whose tables are within its last `n_tables` bytes, or at its beginning if that is 0.
fn check(options: &str, n_tables: usize) {
    let folder = tempfile::tempdir().unwrap();
    check_file(&make(folder.path(), N, options, "complete.mp4"), n_tables);
}

fn check_file(path: &Path, n_tables: usize) {
    let size = path.metadata().unwrap().len() as usize;
    let complete = open(path);
    let truth = frames(&complete, N as u64);
    let mut before = 0;
    for tenth in 2..=10 {
        let n_bytes = size * tenth / 10;
        let path = partial(path, n_bytes, n_tables.min(size - n_bytes));
        let growing_file = growing(&path).unwrap();
        assert!(growing_file.matches(&complete), "{tenth}");
        let n_frames = growing_file.n_frames_within(n_bytes as u64);
        assert!(before <= n_frames && n_frames <= N as u64);
        before = n_frames;
        let got = frames(growing_file.video(), n_frames);
        assert!(got == truth[..n_frames as usize], "{tenth}: {n_frames} frames");
        // Also when starting in the middle.
        let options = DecodeOptions { range: n_frames / 2..n_frames, every: 3, ..DecodeOptions::default() };
        for frame in growing_file.video().frames(&options).unwrap() {
            let frame = frame.unwrap();
            assert!(frame == truth[frame.frame_idx as usize], "{tenth}: frame {}", frame.frame_idx);
        }
    }
    assert_eq!(before, N as u64);
    let growing_file = growing(&partial(path, size / 2, n_tables)).unwrap();
    let half = growing_file.n_frames_within(size as u64 / 2);
    assert!((50..N as u64 - 100).contains(&half), "{half} frames in half of {size} bytes");
    assert_eq!(growing_file.n_frames_within(0), 0);
}

#[test]
fn with_tables_at_the_end() {
    check(H264, TABLES);
}

#[test]
fn with_tables_at_the_beginning() {
    check(&format!("{H264} -movflags +faststart"), 0);
}

#[test]
fn with_open_gops() {
    let options = H264.replace("-g 30", "-g 30 -x264-params open-gop=1");
    check(&options, TABLES);
}

/// A job that was tracked while its MP4 arrived seeks for every piece, and differed from a local run.
#[test]
fn with_wrong_keyframe_flags() {
    let folder = tempfile::tempdir().unwrap();
    let options = "-pix_fmt yuv420p -c:v libx265 -preset ultrafast -x265-params \
         log-level=error:keyint=120:min-keyint=120:bframes=0:scenecut=0:pools=2 -tag:v hvc1";
    let path = make(folder.path(), N, options, "complete.mp4");
    hide_box(&path, b"stss");
    check_file(&path, TABLES);
}

#[test]
fn with_a_beginning_hidden_by_an_edit_list() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), N + 40, H264, "long.mp4");
    // An edit list hides the first second.
    crate::clips::ffmpeg(folder.path(), "-ss 1 -i long.mp4 -c copy cut.mp4");
    let path = folder.path().join("cut.mp4");
    let complete = open(&path);
    let size = path.metadata().unwrap().len() as usize;
    let growing_file = growing(&partial(&path, size / 2, TABLES)).unwrap();
    assert!(growing_file.matches(&complete));
    let n_frames = growing_file.n_frames_within(size as u64 / 2);
    assert!(n_frames > 50);
    assert!(frames(growing_file.video(), n_frames) == frames(&complete, n_frames));
}

#[test]
fn formats_without_tables_are_not_read_early() {
    let folder = tempfile::tempdir().unwrap();
    for (name, more) in [("a.mkv", ""), ("fragments.mp4", "-movflags +frag_keyframe+empty_moov")] {
        let path = make(folder.path(), N, &format!("{H264} {more}"), name);
        let size = path.metadata().unwrap().len() as usize;
        // Either it is rejected, or it appears to have fewer frames.
        let growing_file = growing(&partial(&path, size / 2, 4 << 10));
        assert!(growing_file.is_none_or(|growing_file| growing_file.video().n_frames() < N as u64), "{name}");
    }
    let tables_missing = make(folder.path(), N, H264, "late.mp4");
    assert!(growing(&partial(&tables_missing, 1 << 12, 0)).is_none());
}

#[test]
fn does_not_match_a_different_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), 60, H264, "a.mp4");
    let growing_file = growing(&path).unwrap();
    assert!(growing_file.matches(&open(&path)));
    assert!(!growing_file.matches(&open(&make(folder.path(), 61, H264, "b.mp4"))));
    assert!(!growing_file.matches(&open(&make(
        folder.path(),
        60,
        &format!("{H264} -vf scale=160:120"),
        "c.mp4"
    ))));
}
