//! COCO detection JSON (<https://cocodataset.org/#format-data>) with the fields that trackers add.
//!
//! An image is a frame: every tracked frame if the library records which those are, so that frames without
//! detections are evaluated too; otherwise every frame with a detection. An image's `id` is the frame number from 1,
//! because evaluators treat 0 as "none"; `frame_id` is the number from 0, and `file_name` is CVAT's name for the
//! frame. An annotation has `track_id` and `score` in addition to the format's own fields; its `attributes` make
//! CVAT import a track. Annotations precede images: they are streamed, and the frames are known only at the end.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::spec::{Content, Spec};
use crate::export::detection::{Detections, ExportDetection};
use crate::export::info::ExportInfo;
use crate::failure::Outcome;

pub(super) const SPEC: Spec = Spec {
    name: "coco",
    extension: "coco.json",
    media_type: "application/json",
    content: Content::Text(write),
    has_times: false,
};

/// Id of the only video in a file.
const VIDEO_ID: u32 = 1;

fn write(
    out: &mut (dyn Write + Send),
    info: &ExportInfo,
    detections: &mut Detections<'_>,
    _scratch: &Path,
) -> Outcome<()> {
    writeln!(out, "{{\"info\":{},", file_info(info))?;
    writeln!(out, "\"licenses\":[],\n\"categories\":{},", categories(info))?;
    writeln!(out, "\"videos\":[{}],", video(info))?;
    write!(out, "\"annotations\":[")?;
    let mut frames: Vec<i64> = Vec::new();
    for (n_before, detection) in detections.enumerate() {
        let detection = detection?;
        if frames.last() != Some(&detection.frame) {
            frames.push(detection.frame);
        }
        out.write_all(if n_before == 0 { b"\n" } else { b",\n" })?;
        annotation(out, n_before + 1, &detection)?;
    }
    write!(out, "],\n\"images\":[")?;
    for (n_before, frame) in image_frames(info, frames).into_iter().enumerate() {
        out.write_all(if n_before == 0 { b"\n" } else { b",\n" })?;
        image(out, info, frame)?;
    }
    writeln!(out, "]}}")?;
    Ok(())
}

fn file_info(info: &ExportInfo) -> Value {
    let job = info.job_id.as_ref().map(|id| format!(", job {id}")).unwrap_or_default();
    json!({"description": format!("{}{job}: tracks by Courtside", info.video_name), "version": "1.0"})
}

fn categories(info: &ExportInfo) -> Value {
    let category = |(i, name): (usize, &String)| json!({"id": i + 1, "name": name, "supercategory": ""});
    info.prompts.iter().enumerate().map(category).collect()
}

fn video(info: &ExportInfo) -> Value {
    let mut video = json!({"id": VIDEO_ID, "name": info.video_name});
    let facts = [
        ("width", info.size.map(|(width, _)| json!(width))),
        ("height", info.size.map(|(_, height)| json!(height))),
        ("fps", info.fps.map(|fps| json!(fps))),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            video[name] = value;
        }
    }
    video
}

fn annotation(out: &mut (dyn Write + Send), id: usize, d: &ExportDetection) -> std::io::Result<()> {
    let ExportDetection { frame, track_id, prompt, bbox: [x, y, w, h], confidence } = d;
    write!(
        out,
        "{{\"id\":{id},\"image_id\":{},\"category_id\":{},\"bbox\":[{x},{y},{w},{h}],\"area\":{},\
         \"segmentation\":[],\"iscrowd\":0,\"track_id\":{track_id},\"score\":{confidence},\
         \"attributes\":{{\"track_id\":{track_id},\"keyframe\":true,\"occluded\":false}}}}",
        frame.saturating_add(1),
        prompt + 1,
        w * h
    )
}

fn image(out: &mut (dyn Write + Send), info: &ExportInfo, frame: i64) -> std::io::Result<()> {
    let id = frame.saturating_add(1);
    write!(
        out,
        "{{\"id\":{id},\"video_id\":{VIDEO_ID},\"frame_id\":{frame},\"file_name\":\"frame_{frame:06}.jpg\""
    )?;
    if let Some((width, height)) = info.size {
        write!(out, ",\"width\":{width},\"height\":{height}")?;
    }
    out.write_all(b"}")
}

/// The frames that are listed as images, ascending.
fn image_frames(info: &ExportInfo, with_detections: Vec<i64>) -> Vec<i64> {
    let Some(end) = info.tracked_until else { return with_detections };
    let mut frames = with_detections;
    frames.extend((0..end).step_by(info.sample_interval.max(1)).map(|frame| frame as i64));
    frames.sort_unstable();
    frames.dedup();
    frames
}
