//! Files that are no video, and videos that are not whole.

use crate::fixture::wide;
use crate::program::Place;

#[test]
fn files_that_are_no_video() {
    let place = Place::new();
    place.write("notes.mp4", "Quarter 1\nQuarter 2\n".repeat(100));
    place.write("empty.mp4", "");
    place.write("playlist.mp4", "#EXTM3U\n#EXTINF:10,\n/etc/passwd\n#EXT-X-ENDLIST\n");
    std::fs::create_dir(place.path("folder.mp4")).unwrap();
    let names = place.names();
    let model = wide().model();
    for (name, word) in [
        ("notes.mp4", "is not a readable video"),
        ("empty.mp4", "it is empty"),
        ("playlist.mp4", "is not a readable video"),
        ("folder.mp4", "not a regular file"),
        ("missing.mp4", "cannot open"),
    ] {
        let ran = place.run(&["track", name, "--model", &model]).expect(1, &[name, word]);
        assert_eq!(ran.stdout, "");
        assert!(!ran.stderr.contains("root:"), "{}", ran.stderr);
    }
    assert_eq!(place.names(), names);
}

/// A video is opened before a checkpoint is looked for, let alone downloaded.
#[test]
fn a_missing_video_is_told_before_a_missing_checkpoint() {
    Place::new().run(&["track", "missing.mp4", "--model", "nowhere"]).expect(1, &["missing.mp4"]);
}

#[test]
fn a_video_that_was_cut_short_is_tracked_and_told() {
    let place = Place::new();
    let fixture = wide();
    let model = fixture.model();
    let whole = std::fs::read(fixture.video(&place, 14, "whole.mkv")).unwrap();
    place.write("cut.mkv", &whole[..whole.len() * 2 / 3]);
    let mut args = vec!["track", "cut.mkv", "--model", &model, "--prompt", "ball", "--json"];
    args.extend(["--checkpoint", "run.checkpoint", "--checkpoint-interval", "0"]);
    let ran = place.run(&args).expect(0, &["warning: "]);
    let summary = ran.json();
    let n = summary["frames_processed"].as_u64().unwrap();
    assert!((3..14).contains(&n), "{summary}");
    assert!(!summary["warnings"].as_array().unwrap().is_empty(), "{summary}");
    assert_eq!(place.json("tracks.json")["frames_processed"], n);
    assert!(!place.path("run.checkpoint").exists());
}
