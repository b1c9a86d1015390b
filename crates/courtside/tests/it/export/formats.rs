//! Every export format, compared with the library row by row.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::Value;
use store::StoredDetection;

use super::{FORMATS, JOB, a_job, a_video, import, library, rows, sandbox_with_import, stored};
use crate::sandbox::Sandbox;

/// The time of a frame in a video of 29.97 fps.
fn seconds(frame: i64) -> f64 {
    frame as f64 / 29.97
}

fn export(sandbox: &Sandbox, args: &[&str]) -> Value {
    let args = [&["export"], args, &["--json"]].concat();
    let output = sandbox.run(&args).expect(0, &[]);
    // Only formats with times need the video, which most of these tests do not have.
    let has_times = ["csv", "jsonl", "parquet"].iter().any(|format| args.contains(format));
    if has_times {
        assert!(output.stderr.contains("computed from the average frame rate"), "{}", output.stderr);
    } else {
        assert_eq!(output.stderr, "");
    }
    output.json()
}

/// CSV had the times of the average frame rate although the video has its own.
#[test]
fn times_are_those_of_the_video() {
    let sandbox = Sandbox::new();
    let made = Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=64x64:r=25:d=1",
            "-c:v",
            "libx264",
            "-bf",
            "0",
        ])
        .args(["-vf", "settb=1/1000,setpts=N*40+gt(N\\,9)*1000", "-fps_mode", "passthrough"])
        .args(["-enc_time_base", "1:1000"])
        .arg(sandbox.path("game.mkv"))
        .status();
    assert!(made.unwrap().success());
    sandbox.run(&["videos", "add", "game.mkv"]).expect(0, &[]);
    let detection = |frame| StoredDetection { frame, track_id: 1, bbox: [1.0; 4], confidence: 0.5 };
    import(&mut library(&sandbox), &a_job(JOB, 1), 25, &[detection(5), detection(15)]);
    let output = sandbox.run(&["export", "1", "--format", "csv", "--out", "-"]).expect(0, &[]);
    let times: Vec<&str> =
        output.stdout.lines().skip(1).map(|line| line.split(',').nth(2).unwrap()).collect();
    assert_eq!(times, ["0.2", "1.6"], "{}", output.stdout);
    assert!(!output.stderr.contains("warning"), "{}", output.stderr);
}

#[test]
fn mot_has_ten_columns_and_frames_from_1() {
    let sandbox = sandbox_with_import();
    let summary = export(&sandbox, &["1", "--format", "mot"]);
    let want = serde_json::json!(
        {"format": "mot", "file": "final.mot.txt", "video_id": 1, "job_id": JOB, "detections": rows().len()}
    );
    assert_eq!(summary, want);
    let text = String::from_utf8(sandbox.read("final.mot.txt")).unwrap();
    let round = |x: f64, by: f64| (x * by).round() / by;
    let numbers = |line: &str| line.split(',').map(|n| n.parse().unwrap()).collect::<Vec<f64>>();
    let got: Vec<Vec<f64>> = text.lines().map(numbers).collect();
    let line = |d: &StoredDetection| {
        let [x, y, w, h] = d.bbox;
        let [x, y, w, h] = [x + 1.0, y + 1.0, w, h].map(|v| round(v, 100.0));
        let c = round(d.confidence, 10_000.0);
        vec![(d.frame + 1) as f64, d.track_id as f64, x, y, w, h, c, -1.0, -1.0, -1.0]
    };
    assert_eq!(got, stored(&sandbox, JOB).iter().map(line).collect::<Vec<_>>());
}

#[test]
fn csv_has_the_exact_values_of_the_library() {
    let sandbox = sandbox_with_import();
    export(&sandbox, &[JOB, "--format", "csv", "--out", "here.csv"]);
    let text = String::from_utf8(sandbox.read("here.csv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("job_id,frame,time_seconds,track_id,x,y,width,height,confidence"));
    let stored = stored(&sandbox, JOB);
    assert_eq!(lines.clone().count(), stored.len());
    for (line, d) in lines.zip(&stored) {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields[0], JOB);
        let n: Vec<f64> = fields[1..].iter().map(|field| field.parse().unwrap()).collect();
        assert_eq!([n[0], n[2]], [d.frame as f64, d.track_id as f64]);
        assert!((n[1] - seconds(d.frame)).abs() < 1e-6, "{line}");
        assert_eq!((&n[3..7], n[7]), (&d.bbox[..], d.confidence));
    }
}

#[test]
fn json_lines_have_the_fields_of_results() {
    let sandbox = sandbox_with_import();
    export(&sandbox, &["1", "--format", "jsonl"]);
    let text = String::from_utf8(sandbox.read("final.jsonl")).unwrap();
    let stored = stored(&sandbox, JOB);
    assert_eq!(text.lines().count(), stored.len());
    for (line, d) in text.lines().zip(&stored) {
        let json: Value = serde_json::from_str(line).unwrap();
        assert_eq!(json["job_id"], JOB);
        assert_eq!((json["frame"].as_i64(), json["track_id"].as_i64()), (Some(d.frame), Some(d.track_id)));
        let bbox: [f64; 4] = serde_json::from_value(json["bbox"].clone()).unwrap();
        assert_eq!((bbox, json["confidence"].as_f64()), (d.bbox, Some(d.confidence)));
        assert!((json["time_seconds"].as_f64().unwrap() - seconds(d.frame)).abs() < 1e-6);
    }
}

#[test]
fn parquet_has_typed_columns() {
    let sandbox = sandbox_with_import();
    export(&sandbox, &["1", "--format", "parquet"]);
    let file =
        SerializedFileReader::new(std::fs::File::open(sandbox.path("final.parquet")).unwrap()).unwrap();
    let schema = file.metadata().file_metadata().schema_descr();
    let names: Vec<&str> = schema.columns().iter().map(|column| column.name()).collect();
    let want = ["job_id", "frame", "time_seconds", "track_id", "x", "y", "width", "height", "confidence"];
    assert_eq!(names, want);
    let stored = stored(&sandbox, JOB);
    let read: Vec<_> = file.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(read.len(), stored.len());
    for (row, d) in read.iter().zip(&stored) {
        assert_eq!(row.get_string(0).unwrap(), JOB);
        assert_eq!((row.get_long(1).unwrap(), row.get_long(3).unwrap()), (d.frame, d.track_id));
        assert!((row.get_double(2).unwrap() - seconds(d.frame)).abs() < 1e-6);
        let bbox: [f64; 4] = std::array::from_fn(|i| row.get_double(4 + i).unwrap());
        assert_eq!((bbox, row.get_double(8).unwrap()), (d.bbox, d.confidence));
    }
}

#[test]
fn coco_has_the_fields_that_readers_require() {
    let sandbox = sandbox_with_import();
    export(&sandbox, &["1", "--format", "coco"]);
    let json = sandbox.json("final.coco.json");
    assert_eq!(json["categories"], serde_json::json!([{"id": 1, "name": "referee", "supercategory": ""}]));
    assert_eq!(json["videos"][0]["name"], "final.mp4");
    // Every tracked frame is an image, with or without detections.
    let images = json["images"].as_array().unwrap();
    assert_eq!(images.len(), 60);
    for (frame, image) in images.iter().enumerate() {
        let want = serde_json::json!({
            "id": frame + 1, "video_id": 1, "frame_id": frame, "file_name": format!("frame_{frame:06}.jpg"),
            "width": 1280, "height": 720,
        });
        assert_eq!(*image, want);
    }
    let annotations = json["annotations"].as_array().unwrap();
    let stored = stored(&sandbox, JOB);
    assert_eq!(annotations.len(), stored.len());
    for (i, (annotation, d)) in annotations.iter().zip(&stored).enumerate() {
        assert_eq!(annotation["id"], i + 1);
        assert_eq!(annotation["image_id"], d.frame + 1);
        assert_eq!((&annotation["category_id"], &annotation["iscrowd"]), (&1.into(), &0.into()));
        assert_eq!(annotation["track_id"], d.track_id);
        assert_eq!(annotation["attributes"]["track_id"], d.track_id);
        let bbox: [f64; 4] = serde_json::from_value(annotation["bbox"].clone()).unwrap();
        assert_eq!((bbox, annotation["score"].as_f64()), (d.bbox, Some(d.confidence)));
        assert_eq!(annotation["area"].as_f64(), Some(d.bbox[2] * d.bbox[3]));
    }
}

#[test]
fn coco_lists_only_frames_with_detections_if_tracked_frames_are_unknown() {
    let sandbox = Sandbox::new();
    let mut library = library(&sandbox);
    let video = library.add_video(&a_video("final.mp4")).unwrap();
    // Only 58 of 60 frames were processed, and it is not known which.
    import(&mut library, &a_job(JOB, video.id), 58, &rows());
    export(&sandbox, &["1", "--format", "coco"]);
    let json = sandbox.json("final.coco.json");
    let frames: Vec<i64> =
        json["images"].as_array().unwrap().iter().map(|i| i["frame_id"].as_i64().unwrap()).collect();
    let want: BTreeSet<i64> = rows().iter().map(|d| d.frame).collect();
    assert_eq!(frames, want.into_iter().collect::<Vec<_>>());
}

/// The attributes of an XML element, unescaped.
fn attributes(element: &BytesStart<'_>) -> BTreeMap<String, String> {
    let pair = |a: quick_xml::events::attributes::Attribute<'_>| {
        let name = String::from_utf8(a.key.as_ref().to_vec()).unwrap();
        (name, quick_xml::escape::unescape(std::str::from_utf8(&a.value).unwrap()).unwrap().into_owned())
    };
    element.attributes().map(|a| pair(a.unwrap())).collect()
}

/// The boxes that CVAT shows on each frame, by track. A box is shown from its keyframe to the next.
type Shown = BTreeMap<i64, BTreeMap<i64, [String; 4]>>;

/// Interprets CVAT XML: the boxes shown on the frames of the video, and all labels.
fn cvat(xml: &str, n_frames: i64) -> (Shown, BTreeSet<String>) {
    let mut reader = Reader::from_str(xml);
    let (mut shown, mut labels) = (Shown::new(), BTreeSet::new());
    let (mut track, mut at, mut current) = (None, 0, None::<[String; 4]>);
    let mut show = |track: Option<i64>, frames: std::ops::Range<i64>, bounds: &Option<[String; 4]>| {
        for (frame, bounds) in frames.filter_map(|f| Some((f, bounds.clone()?))) {
            shown.entry(frame).or_default().insert(track.unwrap(), bounds);
        }
    };
    loop {
        match reader.read_event().unwrap() {
            Event::Start(element) if element.name().as_ref() == b"track" => {
                let attributes = attributes(&element);
                track = Some(attributes["id"].parse().unwrap());
                (at, current) = (0, None);
                labels.insert(attributes["label"].clone());
            }
            Event::Start(element) if element.name().as_ref() == b"box" => {
                let a = attributes(&element);
                assert_eq!((a["keyframe"].as_str(), a["occluded"].as_str()), ("1", "0"));
                let frame: i64 = a["frame"].parse().unwrap();
                assert!(frame >= at && frame < n_frames, "frame {frame}");
                show(track, at..frame, &current);
                let bounds = ["xtl", "ytl", "xbr", "ybr"].map(|name| a[name].clone());
                (at, current) = (frame, (a["outside"] == "0").then_some(bounds));
            }
            Event::End(element) if element.name().as_ref() == b"track" => show(track, at..n_frames, &current),
            Event::Eof => return (shown, labels),
            _ => {}
        }
    }
}

/// The boxes that CVAT should show for these detections.
fn expected_boxes(rows: &[StoredDetection]) -> Shown {
    let mut shown = Shown::new();
    for d in rows {
        let [x, y, w, h] = d.bbox;
        let bounds = [x, y, x + w, y + h].map(|v| format!("{v:.2}"));
        shown.entry(d.frame).or_default().insert(d.track_id, bounds);
    }
    shown
}

#[test]
fn cvat_shows_boxes_on_exactly_their_frames() {
    let sandbox = sandbox_with_import();
    export(&sandbox, &["1", "--format", "cvat"]);
    let xml = String::from_utf8(sandbox.read("final.cvat.xml")).unwrap();
    let (shown, labels) = cvat(&xml, 60);
    assert_eq!(shown, expected_boxes(&stored(&sandbox, JOB)));
    assert_eq!(labels, BTreeSet::from(["referee".to_owned()]));
    for part in
        ["<version>1.1</version>", "<size>60</size>", "<width>1280</width>", "<stop_frame>59</stop_frame>"]
    {
        assert!(xml.contains(part), "{part}");
    }
}

#[test]
fn cvat_shows_boxes_until_the_next_sampled_frame() {
    let sandbox = Sandbox::new();
    let mut library = library(&sandbox);
    let video = library.add_video(&a_video("final.mp4")).unwrap();
    let mut job = a_job(JOB, video.id);
    job.parameters["sample_interval"] = 5.into();
    let row =
        |frame| StoredDetection { frame, track_id: 1, bbox: [frame as f64, 2.0, 3.0, 4.0], confidence: 0.5 };
    import(&mut library, &job, 12, &[row(0), row(5), row(20), row(55)]);
    export(&sandbox, &["1", "--format", "cvat"]);
    let (shown, _) = cvat(&String::from_utf8(sandbox.read("final.cvat.xml")).unwrap(), 60);
    let frames: Vec<i64> = shown.into_keys().collect();
    assert_eq!(frames, (0..10).chain(20..25).chain(55..60).collect::<Vec<_>>());
}

#[test]
fn an_export_without_detections_is_a_valid_file() {
    let sandbox = Sandbox::new();
    let mut library = library(&sandbox);
    let video = library.add_video(&a_video("final.mp4")).unwrap();
    import(&mut library, &a_job(JOB, video.id), 60, &[]);
    for format in FORMATS {
        assert_eq!(export(&sandbox, &["1", "--format", format])["detections"], 0);
    }
    assert_eq!(sandbox.read("final.mot.txt"), b"");
    assert_eq!(sandbox.read("final.jsonl"), b"");
    assert_eq!(String::from_utf8(sandbox.read("final.csv")).unwrap().lines().count(), 1);
    let coco = sandbox.json("final.coco.json");
    assert_eq!(
        (coco["annotations"].as_array().unwrap().len(), coco["images"].as_array().unwrap().len()),
        (0, 60)
    );
    let parquet =
        SerializedFileReader::new(std::fs::File::open(sandbox.path("final.parquet")).unwrap()).unwrap();
    assert_eq!(parquet.metadata().file_metadata().num_rows(), 0);
    let (shown, labels) = cvat(&String::from_utf8(sandbox.read("final.cvat.xml")).unwrap(), 60);
    assert!(shown.is_empty() && labels.is_empty());
}

#[test]
fn special_characters_in_names_are_kept() {
    let sandbox = Sandbox::new();
    let mut library = library(&sandbox);
    let name = "a \"b\", 'c' <&> é.mp4";
    let video = library.add_video(&a_video(name)).unwrap();
    let job = r#"job "1", <&>"#;
    let mut odd = a_job(job, video.id);
    odd.parameters["prompt"] = "</name> & \"player\", 'x'".into();
    import(&mut library, &odd, 60, &rows());
    for format in FORMATS {
        let file = export(&sandbox, &[job, "--format", format])["file"].as_str().unwrap().to_owned();
        assert!(file.starts_with("a \"b\", 'c' <&> é."), "{file}");
        assert!(sandbox.path(&file).is_file());
    }
    let stem = "a \"b\", 'c' <&> é";
    let coco = sandbox.json(&format!("{stem}.coco.json"));
    assert_eq!(coco["categories"][0]["name"], odd.parameters["prompt"]);
    assert_eq!(coco["videos"][0]["name"], name);
    let (shown, labels) = cvat(&String::from_utf8(sandbox.read(&format!("{stem}.cvat.xml"))).unwrap(), 60);
    assert_eq!(shown, expected_boxes(&rows()));
    assert_eq!(labels, BTreeSet::from(["</name> & \"player\", 'x'".to_owned()]));
    let csv = String::from_utf8(sandbox.read(&format!("{stem}.csv"))).unwrap();
    assert!(csv.lines().nth(1).unwrap().starts_with(r#""job ""1"", <&>",0,0,0,"#), "{csv}");
    let first = String::from_utf8(sandbox.read(&format!("{stem}.jsonl"))).unwrap();
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!(first["job_id"], job);
}

#[test]
fn min_confidence_leaves_detections_out() {
    let sandbox = sandbox_with_import();
    let summary = export(&sandbox, &["1", "--format", "jsonl", "--min-confidence", "0.6203"]);
    let text = String::from_utf8(sandbox.read("final.jsonl")).unwrap();
    let kept: Vec<f64> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["confidence"].as_f64().unwrap())
        .collect();
    let want: Vec<f64> = rows().iter().map(|d| d.confidence).filter(|c| *c >= 0.6203).collect();
    assert!(kept.len() < rows().len() && kept.contains(&0.6203));
    assert_eq!((kept.len(), kept), (summary["detections"].as_u64().unwrap() as usize, want));
}

#[test]
fn a_video_without_metadata_can_be_exported() {
    let sandbox = Sandbox::new();
    let mut library = library(&sandbox);
    let video = library.add_video(&store::NewVideo::at("/games/final.mp4")).unwrap();
    let job = store::ImportJob::new(JOB, video.id, "sha");
    let bbox = [1.0, 2.0, 3.0, 4.0];
    import(&mut library, &job, 1, &[StoredDetection { frame: 0, track_id: 1, bbox, confidence: 1.0 }]);
    for format in FORMATS {
        export(&sandbox, &["1", "--format", format]);
    }
    let csv = String::from_utf8(sandbox.read("final.csv")).unwrap();
    assert_eq!(csv.lines().nth(1), Some(format!("{JOB},0,,1,1,2,3,4,1").as_str()));
    assert_eq!(sandbox.json("final.jsonl")["time_seconds"], Value::Null);
    let coco = sandbox.json("final.coco.json");
    assert_eq!(coco["categories"][0]["name"], "basketball player");
    assert_eq!(coco["images"][0].get("width"), None);
    let parquet =
        SerializedFileReader::new(std::fs::File::open(sandbox.path("final.parquet")).unwrap()).unwrap();
    let row = parquet.get_row_iter(None).unwrap().next().unwrap().unwrap();
    assert!(row.get_double(2).is_err() && row.get_double(8).is_ok_and(|c| c == 1.0));
    // The length of the video is unknown. The box must still end.
    let (shown, _) = cvat(&String::from_utf8(sandbox.read("final.cvat.xml")).unwrap(), 60);
    assert_eq!(shown.into_keys().collect::<Vec<_>>(), [0]);
}
