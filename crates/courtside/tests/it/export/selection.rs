//! Which detections are exported, and to which file.

use std::io::Read;
use std::process::Stdio;

use rusqlite::Connection;
use store::StoredDetection;

use super::{JOB, a_job, a_video, import, library, rows, sandbox_with_import, stored};
use crate::sandbox::Sandbox;

#[test]
fn a_video_with_several_jobs_exports_the_latest_import() {
    let sandbox = Sandbox::new();
    let mut library = library(&sandbox);
    let video = library.add_video(&a_video("final.mp4")).unwrap();
    let (old, new) = (rows()[..5].to_vec(), rows()[3..].to_vec());
    // job-1 is imported last, although its ID sorts first.
    import(&mut library, &a_job("job-2", video.id), 60, &old);
    import(&mut library, &a_job("job-1", video.id), 60, &new);
    let export = |args: &[&str]| sandbox.run(&[&["export", "1", "--format", "csv", "--json"], args].concat());
    let output = export(&[]).expect(0, &["video 1 has 2 imported jobs", "the latest, job-1", "--job"]);
    assert_eq!(
        (output.json()["job_id"].as_str(), output.json()["detections"].as_u64()),
        (Some("job-1"), Some(32 - 5))
    );
    let output = export(&["--job", "job-2"]).expect(0, &[]);
    assert_eq!(output.json()["detections"], 5);
    assert!(!output.stderr.contains("imported jobs"), "{}", output.stderr);
    let ids = String::from_utf8(sandbox.read("final.csv")).unwrap();
    assert!(ids.lines().skip(1).all(|line| line.starts_with("job-2,")), "{ids}");
    export(&["--job", "job-3"]).expect(1, &["job-3 is not one of the 2 imported jobs of video 1"]);
    let args = ["export", "job-1", "--format", "csv", "--job", "job-2"];
    sandbox.run(&args).expect(1, &["job-1 is already a job", "omit --job"]);
    assert_eq!(stored(&sandbox, "job-1"), new);
}

#[test]
fn missing_things_are_errors_with_hints() {
    let sandbox = Sandbox::new();
    let mut library = library(&sandbox);
    let video = library.add_video(&a_video("final.mp4")).unwrap();
    library.insert_job(&store::NewJob::new("waiting", video.id)).unwrap();
    let export = |what: &str| sandbox.run(&["export", what, "--format", "csv"]);
    export("1").expect(1, &["video 1 has no detections", "courtside import --all"]);
    export("2").expect(1, &["the library has no video 2", "courtside videos list"]);
    export("waiting")
        .expect(1, &["job waiting is not imported yet", "there is no job waiting", "courtside status"]);
    export("unknown").expect(1, &["the library has no job unknown", "courtside status"]);
    sandbox.run(&["export", "1"]).expect(2, &["--format"]);
    sandbox.run(&["export", "1", "--format", "doc"]).expect(2, &["parquet"]);
    sandbox.run(&["export", "1", "--format", "csv", "--min-confidence", "2"]).expect(2, &["from 0 to 1"]);
    assert!(!sandbox.path("final.csv").exists());
}

#[test]
fn detections_without_a_job_are_exported_by_video() {
    let sandbox = Sandbox::new();
    let mut library = library(&sandbox);
    library.add_video(&a_video("final.mp4")).unwrap();
    let conn = Connection::open(sandbox.path("basketball_analyzer.db")).unwrap();
    let insert =
        "INSERT INTO player_detections (video_id, frame_number, bbox_x, bbox_y, bbox_width, bbox_height,
        tracking_id, confidence_score) VALUES (1, ?1, 1.5, 2, 3, ?2, -1, 0.25)";
    conn.execute(insert, (7, 4.0)).unwrap();
    sandbox.run(&["export", "1", "--format", "csv"]).expect(0, &[]);
    let csv = String::from_utf8(sandbox.read("final.csv")).unwrap();
    assert_eq!(csv.lines().nth(1), Some(",7,0.233567,-1,1.5,2,3,4,0.25"));
    // No format can represent infinity. The existing file is kept.
    conn.execute(insert, (8, f64::INFINITY)).unwrap();
    for format in super::FORMATS {
        let args = ["export", "1", "--format", format, "--out", "final.csv"];
        sandbox
            .run(&args)
            .expect(1, &["cannot write final.csv", "detection 2 of the library (frame 8, track -1)"]);
    }
    assert_eq!(sandbox.read("final.csv"), csv.as_bytes());
    assert!(sandbox.names().iter().all(|name| !name.contains("partial")), "{:?}", sandbox.names());
}

#[test]
fn only_text_formats_go_to_standard_output() {
    let sandbox = sandbox_with_import();
    for format in ["mot", "coco", "csv", "jsonl", "cvat"] {
        sandbox.run(&["export", "1", "--format", format, "--out", "file"]).expect(0, &[]);
        let output =
            sandbox.run(&["export", "1", "--format", format, "--out", "-"]).expect(0, &["30 detections"]);
        assert_eq!(output.stdout.as_bytes(), sandbox.read("file"), "{format}");
    }
    for format in ["parquet", "video"] {
        let output = sandbox
            .run(&["export", "1", "--format", format, "--out", "-"])
            .expect(1, &["cannot be written to standard output", "--out"]);
        assert_eq!(output.stdout, "");
    }
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let sandbox = Sandbox::new();
    let mut library = library(&sandbox);
    let video = library.add_video(&a_video("final.mp4")).unwrap();
    let row = |frame| StoredDetection { frame, track_id: 1, bbox: [0.5; 4], confidence: 0.5 };
    let rows: Vec<StoredDetection> = (0..20_000).map(row).collect();
    import(&mut library, &a_job(JOB, video.id), 60, &rows);
    let mut command = sandbox.command(&["export", "1", "--format", "csv", "--out", "-"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 6];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!((&first, output.status.code()), (b"job_id", Some(0)));
}

#[test]
fn important_files_are_not_overwritten() {
    let sandbox = Sandbox::new();
    sandbox.write("final.mp4", "a video");
    std::fs::create_dir(sandbox.path("folder")).unwrap();
    let mut library = library(&sandbox);
    let new = store::NewVideo::at(sandbox.path("final.mp4").canonicalize().unwrap());
    let video = library.add_video(&new).unwrap();
    import(&mut library, &a_job(JOB, video.id), 60, &rows());
    for (out, word) in [
        ("final.mp4", "is the video itself"),
        ("folder/../final.mp4", "is the video itself"),
        ("basketball_analyzer.db", "is the library itself"),
        ("folder", "is a folder"),
        ("nowhere/file", "its folder does not exist"),
        ("/dev/null", "is not a regular file"),
    ] {
        for format in ["csv", "video"] {
            sandbox.run(&["export", "1", "--format", format, "--out", out]).expect(1, &[word]);
        }
    }
    assert_eq!(sandbox.read("final.mp4"), b"a video");
    assert_eq!(stored(&sandbox, JOB).len(), rows().len());
}
