//! Files that are not videos, and incomplete videos.

use crate::fixture::wide;
use crate::sandbox::Sandbox;

#[test]
fn files_that_are_not_videos_are_rejected() {
    let sandbox = Sandbox::new();
    sandbox.write("notes.mp4", "Quarter 1\nQuarter 2\n".repeat(100));
    sandbox.write("empty.mp4", "");
    sandbox.write("playlist.mp4", "#EXTM3U\n#EXTINF:10,\n/etc/passwd\n#EXT-X-ENDLIST\n");
    std::fs::create_dir(sandbox.path("folder.mp4")).unwrap();
    let names = sandbox.names();
    let model = wide().model();
    for (name, word) in [
        ("notes.mp4", "is not a readable video"),
        ("empty.mp4", "it is empty"),
        ("playlist.mp4", "is not a readable video"),
        ("folder.mp4", "not a regular file"),
        ("missing.mp4", "cannot open"),
    ] {
        let output = sandbox.run(&["track", name, "--model", &model]).expect(1, &[name, word]);
        assert_eq!(output.stdout, "");
        assert!(!output.stderr.contains("root:"), "{}", output.stderr);
    }
    assert_eq!(sandbox.names(), names);
}

/// The video is opened before the model is looked for or downloaded.
#[test]
fn a_missing_video_is_reported_before_a_missing_model() {
    Sandbox::new().run(&["track", "missing.mp4", "--model", "nowhere"]).expect(1, &["missing.mp4"]);
}

#[test]
fn a_truncated_video_is_tracked_with_a_warning() {
    let sandbox = Sandbox::new();
    let fixture = wide();
    let model = fixture.model();
    let complete = std::fs::read(fixture.video(&sandbox, 14, "complete.mkv")).unwrap();
    sandbox.write("cut.mkv", &complete[..complete.len() * 2 / 3]);
    let mut args = vec!["track", "cut.mkv", "--model", &model, "--prompt", "ball", "--json"];
    args.extend(["--checkpoint", "run.checkpoint", "--checkpoint-interval", "0"]);
    let output = sandbox.run(&args).expect(0, &["warning: "]);
    let summary = output.json();
    let n = summary["frames_processed"].as_u64().unwrap();
    assert!((3..14).contains(&n), "{summary}");
    assert!(!summary["warnings"].as_array().unwrap().is_empty(), "{summary}");
    assert_eq!(sandbox.json("tracks.json")["frames_processed"], n);
    assert!(!sandbox.path("run.checkpoint").exists());
}
