//! Creating clips with ffmpeg, and checking their decoded frames one by one.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use video::{DecodeOptions, Limits, Tools, Video};

use crate::barcode::{self, HEIGHT, Turn, WIDTH};

pub(crate) fn tools() -> &'static Tools {
    static TOOLS: OnceLock<Tools> = OnceLock::new();
    TOOLS.get_or_init(|| Tools::find().unwrap())
}

pub(crate) fn open(path: &Path) -> Video {
    Video::open(tools(), path, &Limits::default()).unwrap()
}

/// Runs ffmpeg in `folder` with the bar codes `0..n_frames` at 25 frames per second as its first
/// input. `options` are separated by spaces.
pub(crate) fn make(folder: &Path, n_frames: usize, options: &str, name: &str) -> PathBuf {
    make_from(folder, 0..n_frames, "", options, name)
}

/// Like [`make`], with the given numbers and additional inputs.
pub(crate) fn make_from(
    folder: &Path,
    numbers: std::ops::Range<usize>,
    inputs: &str,
    options: &str,
    name: &str,
) -> PathBuf {
    let mut child = Command::new(tools().ffmpeg())
        .current_dir(folder)
        .args(["-hide_banner", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "gray", "-r", "25"])
        .args(["-s", &format!("{WIDTH}x{HEIGHT}"), "-i", "pipe:0"])
        .args(inputs.split_whitespace())
        .args(options.split_whitespace())
        .arg(name)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for number in numbers {
        // Fails if ffmpeg has exited; its exit status is checked below.
        if stdin.write_all(&barcode::paint(number)).is_err() {
            break;
        }
    }
    drop(stdin);
    assert!(child.wait().unwrap().success(), "ffmpeg cannot create {name} with {options}");
    folder.join(name)
}

/// Runs ffmpeg in `folder` with arguments separated by spaces.
pub(crate) fn ffmpeg(folder: &Path, args: &str) {
    let mut command = Command::new(tools().ffmpeg());
    command.current_dir(folder).args(["-nostdin", "-hide_banner", "-v", "error", "-y"]);
    assert!(command.args(args.split_whitespace()).status().unwrap().success(), "ffmpeg {args}");
}

/// Renames a table of an MP4 file, so that readers do not find it.
pub(crate) fn hide_box(path: &Path, name: &[u8; 4]) {
    let mut bytes = std::fs::read(path).unwrap();
    let positions: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, window)| window == name).map(|(at, _)| at).collect();
    assert!(!positions.is_empty());
    for at in positions {
        bytes[at..at + 4].copy_from_slice(b"free");
    }
    std::fs::write(path, bytes).unwrap();
}

/// Sets the rotation of an MP4: the matrix in its track header (ISO/IEC 14496-12).
pub(crate) fn set_rotation(path: &Path, [a, b, c, d]: [i32; 4]) {
    let mut bytes = std::fs::read(path).unwrap();
    let header = bytes.windows(4).position(|name| name == b"tkhd").unwrap();
    let one = 1 << 16;
    let matrix = [a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30];
    let matrix: Vec<u8> = matrix.iter().flat_map(|value: &i32| value.to_be_bytes()).collect();
    bytes[header + 44..header + 80].copy_from_slice(&matrix);
    std::fs::write(path, bytes).unwrap();
}

/// The output of ffprobe for a file, with arguments separated by spaces.
pub(crate) fn ffprobe(path: &Path, args: &str) -> String {
    let mut command = Command::new(tools().ffprobe());
    let output = command.args(["-v", "error"]).args(args.split_whitespace()).arg(path).output().unwrap();
    assert!(output.status.success(), "ffprobe {args}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The expected frames of a clip.
pub(crate) struct Expected<'a> {
    pub(crate) n_frames: u64,
    /// Maps a frame index to the number painted into that frame.
    pub(crate) number: &'a dyn Fn(u64) -> usize,
    pub(crate) turn: Turn,
    /// Frames to start decoding at.
    pub(crate) resume: &'a [u64],
    /// Whether the decoder may report errors although every frame is correct.
    pub(crate) may_report_errors: bool,
}

impl Expected<'_> {
    /// Decodes all frames, every n-th frame, and from several starting points, and checks each frame.
    pub(crate) fn check(&self, video: &Video) {
        assert_eq!(video.n_frames(), self.n_frames);
        let n = self.n_frames;
        self.check_range(video, 0..u64::MAX, 1);
        self.check_range(video, 0..n, 2);
        self.check_range(video, 5..n, 7);
        for (i, &from) in self.resume.iter().enumerate() {
            self.check_range(video, from..from + 12, 1);
            if i % 4 == 1 {
                self.check_range(video, from..from + 40, 5);
            }
        }
        self.check_range(video, n - 1..n, 1);
    }

    pub(crate) fn check_range(&self, video: &Video, range: std::ops::Range<u64>, every: u64) {
        let requested: Vec<u64> =
            (range.start..range.end.min(self.n_frames)).step_by(every as usize).collect();
        let options = DecodeOptions { range: range.clone(), every, ..DecodeOptions::default() };
        let mut frames = video.frames(&options).unwrap();
        let mut found = Vec::new();
        for frame in &mut frames {
            let frame = frame.unwrap();
            let number = barcode::read(&frame, self.turn);
            let expected = (self.number)(frame.frame_idx);
            assert_eq!(number, Ok(expected), "frame {} of {range:?} by {every}", frame.frame_idx);
            assert_eq!((frame.width, frame.height), (video.width(), video.height()));
            assert_eq!(frame.time_s, video.time_s(frame.frame_idx));
            found.push(frame.frame_idx);
        }
        assert_eq!(found, requested, "{range:?} by {every}");
        let damage = frames.damage();
        assert_eq!((damage.expected, damage.decoded), (requested.len() as u64, requested.len() as u64));
        assert!(
            self.may_report_errors || !damage.is_damaged(),
            "{range:?} by {every}: {:?}",
            damage.messages
        );
    }
}

/// Frames to start at in a clip with a keyframe every 30 frames: on, before and after keyframes.
pub(crate) const RESUME: [u64; 7] = [1, 29, 30, 31, 57, 60, 118];
