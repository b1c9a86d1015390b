//! The results file: JSON that other programs read. [`client::export`] has the other formats.

use std::path::Path;

use jobs::manifest::MissingFrames;
use jobs::results::{ResultsHead, ResultsSummary, ResultsWriter, WriteError};

use sam3::MemoryFallback;

use super::spool::Spool;
use client::atomic_file::AtomicFile;
use client::failure::{Failure, Kind, Outcome};

/// What a results file says besides the contract's fields.
#[derive(Debug, Default)]
pub struct ResultFacts<'a> {
    /// The phrases that name what was tracked.
    pub prompts: &'a [String],
    /// What was reduced to fit into the GPU's memory.
    pub memory_fallbacks: &'a [MemoryFallback],
    /// Frames that could not be decoded; `None` if all were decoded.
    pub missing_frames: Option<MissingFrames>,
    /// Width of a stored pixel relative to its height; (0, 0) and (1, 1) are not written.
    pub pixel_aspect: (u32, u32),
}

impl ResultFacts<'_> {
    /// The fields of the results file.
    pub fn fields(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut fields = serde_json::Map::from_iter([("prompts".to_owned(), self.prompts.into())]);
        if !self.memory_fallbacks.is_empty() {
            fields.insert("memory_concessions".to_owned(), serde_json::json!(self.memory_fallbacks));
        }
        if let Some(missing) = &self.missing_frames {
            fields.insert("missing_frames".to_owned(), serde_json::json!(missing));
        }
        let (width, height) = self.pixel_aspect;
        if width != height {
            fields.insert("pixel_aspect".to_owned(), serde_json::json!([width, height]));
        }
        fields
    }
}

/// Writes a results file atomically. Omits detections below `min_confidence`. `with_prompt`: whether each detection names
/// its prompt, as it does where there are several.
///
/// # Errors
/// If the spool or the disk fails.
pub fn write_results(
    path: &Path,
    head: &ResultsHead,
    with_prompt: bool,
    min_confidence: f64,
    spool: &mut Spool,
) -> Outcome<ResultsSummary> {
    let failed =
        |e: WriteError| Failure::new(Kind::Failed, e).context(format!("cannot write {}", path.display()));
    let mut writer = ResultsWriter::new(AtomicFile::create(path)?, head).map_err(failed)?;
    for detection in spool.read()? {
        let d = detection?;
        let confidence = f64::from(d.confidence);
        if confidence < min_confidence {
            continue;
        }
        let bbox = d.bbox.map(f64::from);
        let record = jobs::results::Detection { frame: d.frame, track_id: d.track_id, bbox, confidence };
        match with_prompt {
            true => writer.push_with_prompt(&record, d.prompt),
            false => writer.push(&record),
        }
        .map_err(failed)?;
    }
    let (file, summary) = writer.finish().map_err(failed)?;
    file.commit()?;
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::super::spool::SpoolRecord;
    use super::*;

    #[test]
    fn results_have_the_fields_of_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tracks.json");
        let mut spool = Spool::unnamed(&path).unwrap();
        for frame in [3, 4] {
            let bbox = [1.0, 2.5, 30.0, 40.125];
            spool.push(SpoolRecord { frame, track_id: 2, prompt: 0, bbox, confidence: 0.91234 }).unwrap();
        }
        let mut missing = MissingFrames { expected: 100, ..MissingFrames::default() };
        missing.add(5, 6, 2);
        let facts = ResultFacts {
            prompts: &["player".to_owned()],
            memory_fallbacks: &[MemoryFallback::MaxObjects { frame_idx: 7, n: 3 }],
            missing_frames: Some(missing),
            pixel_aspect: (64, 45),
        };
        let head = ResultsHead {
            job_id: "track-game".into(),
            video_id: 0,
            completed_at: Some("2026-01-02T03:04:05Z".into()),
            frames_processed: Some(5),
            extra: facts.fields(),
        };
        write_results(&path, &head, false, 0.0, &mut spool).unwrap();
        let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(json["frames_processed"], 5);
        let want =
            serde_json::json!({"frame": 3, "track_id": 2, "bbox": [1, 2.5, 30, 40.12], "confidence": 0.9123});
        assert_eq!(json["detections"][0], want);
        let fallbacks = serde_json::json!([{"max_objects": {"frame_idx": 7, "n": 3}}]);
        assert_eq!(json["memory_concessions"], fallbacks);
        let missing = serde_json::json!({"count": 2, "expected": 100, "ranges": [[5, 6]]});
        assert_eq!(
            (&json["missing_frames"], &json["pixel_aspect"]),
            (&missing, &serde_json::json!([64, 45]))
        );
        assert_eq!(json["detections"].as_array().unwrap().len(), 2);
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["tracks.json"]);
    }
}
