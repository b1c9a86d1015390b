//! The output files of `courtside track`, and its summary on standard output.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::fixture::wide;
use crate::sandbox::Sandbox;

/// The keys of a JSON object, in alphabetical order.
fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Whether the value is a number with at most `n` decimals.
fn has_at_most_decimals(n: usize, value: &Value) -> bool {
    value.is_number() && value.to_string().split_once('.').is_none_or(|(_, after)| after.len() <= n)
}

fn n_frames(video: &Path) -> String {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-count_frames", "-select_streams", "v:0", "-of", "csv=p=0"]);
    let output = ffprobe.args(["-show_entries", "stream=nb_read_frames"]).arg(video).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().trim_end_matches(',').to_owned()
}

#[test]
fn results_have_the_documented_format() {
    let sandbox = Sandbox::new();
    let fixture = wide();
    fixture.video(&sandbox, 14, "game.mkv");
    let model = fixture.model();
    let args = ["track", "game.mkv", "--model", &model, "--prompt", "ball", "--mot", "mot.txt"];
    sandbox.run(&args).expect(0, &[]);
    let tracks = sandbox.json("tracks.json");
    let fields = ["completed_at", "detections", "frames_processed", "job_id", "prompts", "video_id"];
    assert_eq!(keys(&tracks), fields);
    assert_eq!(tracks["job_id"], "track-game");
    assert_eq!(tracks["completed_at"], "2026-01-02T03:04:05Z");
    assert_eq!(tracks["frames_processed"], 14);
    let detections = tracks["detections"].as_array().unwrap();
    assert!(detections.len() > 14, "{} detections", detections.len());
    let mut before = None;
    for d in detections {
        assert_eq!(keys(d), ["bbox", "confidence", "frame", "track_id"]);
        let position = (d["frame"].as_u64().unwrap(), d["track_id"].as_u64().unwrap());
        assert!(before < Some(position), "{d} is out of order");
        before = Some(position);
        let bbox = d["bbox"].as_array().unwrap();
        assert!(bbox.len() == 4 && bbox.iter().all(|x| has_at_most_decimals(2, x)), "{d}");
        assert!(has_at_most_decimals(4, &d["confidence"]), "{d}");
        assert!((0.0..=1.0).contains(&d["confidence"].as_f64().unwrap()), "{d}");
    }
    let line = |d: &Value| {
        let number = |v: &Value| v.as_f64().unwrap();
        let b: Vec<f64> = d["bbox"].as_array().unwrap().iter().map(number).collect();
        let confidence = number(&d["confidence"]);
        let round = |v: f64| (v * 100.0).round() / 100.0;
        let (left, top) = (round(b[0] + 1.0), round(b[1] + 1.0));
        [
            number(&d["frame"]) + 1.0,
            number(&d["track_id"]),
            left,
            top,
            b[2],
            b[3],
            confidence,
            -1.0,
            -1.0,
            -1.0,
        ]
    };
    let numbers = |line: &str| line.split(',').map(|n| n.parse().unwrap()).collect::<Vec<f64>>();
    let mot = String::from_utf8(sandbox.read("mot.txt")).unwrap();
    let mot: Vec<Vec<f64>> = mot.lines().map(numbers).collect();
    assert_eq!(mot, detections.iter().map(line).collect::<Vec<_>>());
    assert_eq!(sandbox.names(), ["game.mkv", "mot.txt", "tracks.json"]);
}

#[test]
fn with_several_prompts_each_detection_has_its_prompt() {
    let sandbox = Sandbox::new();
    let fixture = wide();
    fixture.video(&sandbox, 6, "game.mkv");
    let model = fixture.model();
    sandbox
        .run(&["track", "game.mkv", "--model", &model, "--prompt", "ball", "--prompt", "box"])
        .expect(0, &[]);
    let tracks = sandbox.json("tracks.json");
    assert_eq!(tracks["prompts"], serde_json::json!(["ball", "box"]));
    let prompts: Vec<&Value> =
        tracks["detections"].as_array().unwrap().iter().map(|d| &d["prompt"]).collect();
    assert!(prompts.iter().all(|p| **p == 0 || **p == 1), "{prompts:?}");
    assert!(prompts.iter().any(|p| **p == 0) && prompts.iter().any(|p| **p == 1), "{prompts:?}");
}

#[test]
fn an_annotated_video_has_all_frames_of_the_range() {
    let sandbox = Sandbox::new();
    let fixture = wide();
    fixture.video(&sandbox, 9, "game.mkv");
    let model = fixture.model();
    let track = ["track", "game.mkv", "--model", &model, "--prompt", "ball", "--every", "2"];
    sandbox.run(&[&track[..], &["--annotated", "drawn.mp4"]].concat()).expect(0, &[]);
    assert_eq!(n_frames(&sandbox.path("drawn.mp4")), "9");
    let part = ["--annotated", "part.mp4", "--from", "3", "--to", "6"];
    sandbox.run(&[&track[..], &part].concat()).expect(0, &[]);
    assert_eq!(n_frames(&sandbox.path("part.mp4")), "4");
    assert_eq!(sandbox.names(), ["drawn.mp4", "game.mkv", "part.mp4", "tracks.json"]);
}

#[test]
fn with_json_standard_output_is_one_json_value() {
    let sandbox = Sandbox::new();
    let fixture = wide();
    fixture.video(&sandbox, 5, "game.mkv");
    let model = fixture.model();
    let args = ["track", "game.mkv", "--model", &model, "--prompt", "ball", "--json", "--out", "here.json"];
    let summary = sandbox.run(&args).expect(0, &[]).json();
    assert_eq!(summary["frames_processed"], 5);
    assert_eq!(summary["frames_missing"], 0);
    assert_eq!(summary["interrupted"], false);
    assert_eq!(summary["outputs"], serde_json::json!(["here.json"]));
    let detections = sandbox.json("here.json")["detections"].as_array().unwrap().clone();
    assert_eq!(summary["detections"], detections.len());
    for track in summary["tracks"].as_array().unwrap() {
        let of_track = detections.iter().filter(|d| d["track_id"] == track["track_id"]);
        let frames: Vec<&Value> = of_track.map(|d| &d["frame"]).collect();
        assert_eq!(track["n_frames"], frames.len());
        assert_eq!(Some(&&track["first_frame"]), frames.first());
        assert_eq!(Some(&&track["last_frame"]), frames.last());
    }
}

#[test]
fn without_json_standard_output_is_a_table_and_the_file_names() {
    let sandbox = Sandbox::new();
    let fixture = wide();
    fixture.video(&sandbox, 3, "game.mkv");
    let output =
        sandbox.run(&["track", "game.mkv", "--model", &fixture.model(), "--prompt", "ball"]).expect(0, &[]);
    assert!(
        output
            .stdout
            .starts_with(" TRACK    FIRST     LAST     START       END DETECTIONS CONFIDENCE PROMPT\n"),
        "{}",
        output.stdout
    );
    assert!(
        output.stdout.contains("\n3 frames, ") && output.stdout.ends_with("wrote tracks.json\n"),
        "{}",
        output.stdout
    );
    assert_eq!(output.stderr, "");
}
