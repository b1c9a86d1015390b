//! Child processes: killed when their output is no longer used, killed when they hang, and sandboxed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use video::{DecodeOptions, Limits, Tools, Video, VideoError};

use crate::clips::{make, open, tools};

const H264: &str = "-pix_fmt yuv420p -c:v libx264 -preset veryfast -g 30";

/// Whether a process runs that has this file in its arguments.
#[cfg(target_os = "linux")]
fn is_running_for(path: &Path) -> bool {
    let name = path.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    // A process that has exited since it was listed has no command line.
    processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok()).any(|line| {
        let words: Vec<&str> =
            line.split(|&byte| byte == 0).filter_map(|word| std::str::from_utf8(word).ok()).collect();
        words.contains(&name)
    })
}

#[cfg(target_os = "linux")]
#[test]
fn dropping_the_frames_kills_the_child() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), 150, H264, "dropped.mp4");
    // With this timeout, the test hangs if the drop waits for a stall instead of killing the child.
    let limits = Limits { stall_timeout: Duration::from_secs(86_400), ..Limits::default() };
    let video = Video::open(tools(), &path, &limits).unwrap();
    for taken in [0, 1, 20] {
        let options = DecodeOptions { read_ahead: 2, ..DecodeOptions::default() };
        let mut frames = video.frames(&options).unwrap();
        for _ in 0..taken {
            frames.next().unwrap().unwrap();
        }
        if taken > 0 {
            assert!(is_running_for(video.path()), "the child runs while most frames are still to come");
        }
        drop(frames);
        assert!(!is_running_for(video.path()), "after {taken} frames");
    }
}

/// The thread that waits for a frame cannot drop the iterator.
#[test]
fn a_decoder_is_cancelled_from_another_thread() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), 20, H264, "a.mp4");
    let hangs = Tools::at(&fake_ffmpeg(folder.path(), "exec sleep 1000"), tools().ffprobe()).unwrap();
    let limits = Limits { stall_timeout: Duration::from_secs(86_400), ..Limits::default() };
    let video = Video::open(&hangs, &path, &limits).unwrap();
    for frame in [0, 15] {
        let options = DecodeOptions { range: frame..frame + 1, ..DecodeOptions::default() };
        let mut frames = video.frames(&options).unwrap();
        let canceller = frames.canceller();
        let waiting = std::thread::spawn(move || frames.next().is_none());
        canceller.cancel();
        assert!(waiting.join().unwrap(), "the iterator ends");
    }
}

#[test]
fn decoding_starts_at_a_keyframe() {
    let folder = tempfile::tempdir().unwrap();
    let options = format!("{H264} -keyint_min 30 -sc_threshold 0");
    let video = open(&make(folder.path(), 90, &options, "a.mp4"));
    let starts = [0, 29, 30, 59, 60, 89, 90].map(|frame| video.decoding_start(frame));
    assert_eq!(starts, [0, 0, 30, 30, 60, 60, 0]);
    let times: Vec<i64> = video.times_us().collect();
    assert_eq!((times.len(), times[0], times[89]), (90, 0, 3_560_000));
}

#[test]
fn read_ahead_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let video = open(&make(folder.path(), 150, H264, "a.mp4"));
    for read_ahead in [0, 1, 5] {
        let options = DecodeOptions { read_ahead, ..DecodeOptions::default() };
        let mut frames = video.frames(&options).unwrap();
        for taken in 1..=50 {
            assert_eq!(frames.next().unwrap().unwrap().frame_idx, taken - 1);
            let decoded = frames.damage().decoded;
            assert!(decoded <= taken + read_ahead as u64 + 1, "{decoded} decoded, {taken} taken");
        }
    }
}

#[test]
fn ranges_are_clamped_and_may_be_empty() {
    let folder = tempfile::tempdir().unwrap();
    let video = open(&make(folder.path(), 20, H264, "a.mp4"));
    for (range, every, expected) in
        [(18..99, 1, 2), (20..99, 1, 0), (7..7, 1, 0), (0..20, 0, 20), (3..20, 1000, 1)]
    {
        let options = DecodeOptions { range: range.clone(), every, threads: 0, read_ahead: 0 };
        let mut frames = video.frames(&options).unwrap();
        assert_eq!((&mut frames).map(Result::unwrap).count(), expected, "{range:?} by {every}");
        assert_eq!(frames.damage().expected, expected as u64);
    }
}

/// Creates a fake ffmpeg, a shell script that prints a version for `-version` and runs `body` otherwise.
fn fake_ffmpeg(folder: &Path, body: &str) -> PathBuf {
    let path = folder.join("fake-ffmpeg");
    let script =
        format!("#!/bin/sh\nif [ \"$1\" = -version ]; then echo 'ffmpeg version 7.0'; exit 0; fi\n{body}\n");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The error of decoding an intact video with a fake ffmpeg. A `stall_timeout` of zero means 60 s.
fn decode_with(body: &str, stall_timeout: Duration) -> VideoError {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), 20, H264, "a.mp4");
    let tools = Tools::at(&fake_ffmpeg(folder.path(), body), tools().ffprobe()).unwrap();
    let default_limits = Limits { stall_timeout: Duration::from_secs(60), ..Limits::default() };
    // The real ffprobe does the probing.
    let video = Video::open(
        &tools,
        &path,
        &if stall_timeout.is_zero() { default_limits } else { Limits { stall_timeout, ..default_limits } },
    );
    let mut frames = video.unwrap().frames(&DecodeOptions::default()).unwrap();
    let error = frames.next().unwrap().unwrap_err();
    assert!(frames.next().is_none(), "the iterator ends after an error");
    error
}

#[test]
fn a_child_that_hangs_is_killed() {
    let error = decode_with("exec sleep 1000", Duration::from_secs(5));
    assert!(matches!(error, VideoError::Stalled { .. }), "{error}");
    assert!(error.to_string().contains("a.mp4"), "{error}");
}

#[test]
fn errors_quote_the_messages_of_a_failed_child() {
    let error = decode_with("echo first >&2; echo 'the last message' >&2; exit 3", Duration::ZERO);
    assert!(matches!(error, VideoError::Decode { .. }), "{error}");
    assert!(error.to_string().contains("the last message"), "{error}");
}

/// A compromised decoder can read neither other files nor this process's environment, and cannot
/// write files. Needs a kernel with Landlock.
#[cfg(target_os = "linux")]
#[test]
fn a_child_cannot_access_other_files_or_the_environment() {
    let secrets = tempfile::tempdir().unwrap();
    let secret = secrets.path().join("secret");
    fs::write(&secret, "a secret").unwrap();
    let new = secrets.path().join("new");
    let body = format!(
        "read line < {0} && echo \"read $line\" >&2; echo x > {1} && echo 'wrote' >&2; \
         [ -n \"$HOME$PATH_TO_SECRETS$CARGO\" ] && echo 'knows' >&2; echo 'tried' >&2; exit 1",
        secret.display(),
        new.display()
    );
    assert!(std::env::var_os("HOME").is_some() || std::env::var_os("CARGO").is_some());
    let error = decode_with(&body, Duration::ZERO).to_string();
    assert!(error.contains("tried"), "{error}");
    assert!(!new.exists());
    // The same without the last line, so that the error quotes any earlier ones.
    let log = decode_with(&body.replace("echo 'tried' >&2; ", ""), Duration::ZERO).to_string();
    for word in ["read a secret", "wrote", "knows"] {
        assert!(!log.contains(word), "{log}");
    }
}

/// A first, sandboxed call that failed was followed by one without the sandbox, which could read any file.
#[cfg(target_os = "linux")]
#[test]
fn a_program_that_fails_in_the_sandbox_is_not_run_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let (secret, stolen) = (folder.path().join("secret"), folder.path().join("stolen"));
    fs::write(&secret, "a secret").unwrap();
    let path = folder.path().join("greedy");
    let script = format!(
        "#!/bin/sh\ncat {} > {} || exit 1\necho 'ffmpeg version 7.0'\n",
        secret.display(),
        stolen.display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let error = Tools::at(&path, tools().ffprobe()).unwrap_err();
    assert!(matches!(error, VideoError::Sandbox(_)), "{error}");
    assert!(!stolen.exists());
}

#[test]
fn old_and_broken_programs_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old");
    for (script, reason, advice) in [
        (
            "#!/bin/sh\necho 'ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright'\n",
            "too old",
            "apt-get install ffmpeg",
        ),
        ("#!/bin/sh\necho broken >&2; exit 1\n", "broken", "--no-sandbox"),
    ] {
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let error = Tools::at(&path, tools().ffprobe()).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains(advice), "{error}");
    }
    assert!(Tools::at(Path::new("/nonexistent/ffmpeg"), tools().ffprobe()).is_err());
}
