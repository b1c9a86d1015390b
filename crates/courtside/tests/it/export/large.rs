//! More detections than any format buffers in memory.

use parquet::file::reader::{FileReader, SerializedFileReader};
use store::StoredDetection;

use super::{JOB, a_job, a_video, import, library};
use crate::sandbox::Sandbox;

#[test]
fn exports_larger_than_the_buffers_are_complete() {
    const N_FRAMES: i64 = 30_000;
    let sandbox = Sandbox::new();
    let mut library = library(&sandbox);
    let video = library.add_video(&a_video("final.mp4")).unwrap();
    let row = |i: i64| {
        let bbox = [(i % 997) as f64 / 4.0, 1.0, 2.0, 3.0];
        StoredDetection { frame: i / 10, track_id: i % 10, bbox, confidence: 0.5 }
    };
    let rows: Vec<StoredDetection> = (0..10 * N_FRAMES).map(row).collect();
    import(&mut library, &a_job(JOB, video.id), N_FRAMES, &rows);
    sandbox.run(&["export", "1", "--format", "parquet"]).expect(0, &[]);
    let file =
        SerializedFileReader::new(std::fs::File::open(sandbox.path("final.parquet")).unwrap()).unwrap();
    let metadata = file.metadata();
    let sizes: Vec<i64> = metadata.row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(sizes, [100_000, 100_000, 100_000]);
    sandbox.run(&["export", "1", "--format", "cvat"]).expect(0, &[]);
    let xml = String::from_utf8(sandbox.read("final.cvat.xml")).unwrap();
    let mut boxes = xml.lines().map(str::trim).filter(|line| line.starts_with("<box"));
    for track_id in 0..10 {
        for d in rows.iter().filter(|d| d.track_id == track_id) {
            let want = format!("frame=\"{}\" keyframe=\"1\" outside=\"0\"", d.frame);
            let line = boxes.next().unwrap();
            assert!(line.contains(&want) && line.contains(&format!("xtl=\"{:.2}\"", d.bbox[0])), "{line}");
        }
        // The library says that the video has 60 frames, so no track is closed with an `outside` box.
    }
    assert_eq!(boxes.next(), None);
}
