//! COCO detection JSON (<https://cocodataset.org/#format-data>) with the fields that trackers add.
//!
//! An image is a frame: every tracked one where the library knows which they were, so that frames without anybody
//! count too; else every one with a detection. Its `id` is the frame's number from 1, because evaluators take 0
//! for "none"; `frame_id` is the number from 0, and `file_name` is what CVAT calls that frame. An annotation has
//! `track_id` and `score` beside the format's own fields; its `attributes` make CVAT see a track. Annotations come
//! before images, for they are written as they come and the frames are known at the end.

use std::io::Write;

use serde_json::{Value, json};

use super::{Detection, Subject};
use crate::failure::Outcome;

/// Number of the one video of a file.
const VIDEO: u32 = 1;

pub(super) fn write(
    out: &mut (dyn Write + Send),
    subject: &Subject,
    detections: impl Iterator<Item = Outcome<Detection>>,
) -> Outcome<()> {
    writeln!(out, "{{\"info\":{},", info(subject))?;
    writeln!(out, "\"licenses\":[],\n\"categories\":{},", categories(subject))?;
    writeln!(out, "\"videos\":[{}],", video(subject))?;
    write!(out, "\"annotations\":[")?;
    let mut frames: Vec<i64> = Vec::new();
    for (before, detection) in detections.enumerate() {
        let detection = detection?;
        if frames.last() != Some(&detection.frame) {
            frames.push(detection.frame);
        }
        out.write_all(if before == 0 { b"\n" } else { b",\n" })?;
        annotation(out, before + 1, &detection)?;
    }
    write!(out, "],\n\"images\":[")?;
    for (before, frame) in images(subject, frames).into_iter().enumerate() {
        out.write_all(if before == 0 { b"\n" } else { b",\n" })?;
        image(out, subject, frame)?;
    }
    writeln!(out, "]}}")?;
    Ok(())
}

fn info(subject: &Subject) -> Value {
    let job = subject.job_id.as_ref().map(|id| format!(", job {id}")).unwrap_or_default();
    json!({"description": format!("{}{job}: tracks by Courtside", subject.video_name), "version": "1.0"})
}

fn categories(subject: &Subject) -> Value {
    let category = |(i, name): (usize, &String)| json!({"id": i + 1, "name": name, "supercategory": ""});
    subject.prompts.iter().enumerate().map(category).collect()
}

fn video(subject: &Subject) -> Value {
    let mut video = json!({"id": VIDEO, "name": subject.video_name});
    let facts = [
        ("width", subject.size.map(|(width, _)| json!(width))),
        ("height", subject.size.map(|(_, height)| json!(height))),
        ("fps", subject.fps.map(|fps| json!(fps))),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            video[name] = value;
        }
    }
    video
}

fn annotation(out: &mut (dyn Write + Send), id: usize, d: &Detection) -> std::io::Result<()> {
    let Detection { frame, track_id, prompt, bbox: [x, y, w, h], confidence } = d;
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

fn image(out: &mut (dyn Write + Send), subject: &Subject, frame: i64) -> std::io::Result<()> {
    let id = frame.saturating_add(1);
    write!(
        out,
        "{{\"id\":{id},\"video_id\":{VIDEO},\"frame_id\":{frame},\"file_name\":\"frame_{frame:06}.jpg\""
    )?;
    if let Some((width, height)) = subject.size {
        write!(out, ",\"width\":{width},\"height\":{height}")?;
    }
    out.write_all(b"}")
}

/// The frames that are images, in order.
fn images(subject: &Subject, with_detections: Vec<i64>) -> Vec<i64> {
    let Some(end) = subject.tracked_until else { return with_detections };
    let mut frames = with_detections;
    frames.extend((0..end).step_by(subject.every.max(1)).map(|frame| frame as i64));
    frames.sort_unstable();
    frames.dedup();
    frames
}
