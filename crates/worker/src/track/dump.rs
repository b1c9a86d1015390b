//! Raw outputs of every frame, for comparison with another implementation: a safetensors file with `{t}.ids` `[n]` i64,
//! `{t}.low_res_masks` `[n, h, h]` f32 and `{t}.scores` `[n]` f32 for each source frame t. The data is collected in a
//! temporary file, since the header, which lists all tensors, comes first.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sam3::LowResMask;
use serde_json::{Map, Value, json};

use client::atomic_file::{AtomicFile, cannot, folder_of};
use client::failure::Outcome;

/// A dump being collected.
pub(super) struct Dump {
    target: PathBuf,
    data: BufWriter<File>,
    header: Map<String, Value>,
    size_bytes: usize,
    /// Height and width of a mask in pixels.
    side: usize,
}

impl Dump {
    pub(super) fn create(target: &Path, side: usize) -> Outcome<Self> {
        let folder = folder_of(target);
        let data = tempfile::tempfile_in(folder).map_err(|e| cannot("write in", folder, e))?;
        Ok(Self {
            target: target.to_owned(),
            data: BufWriter::new(data),
            header: Map::new(),
            size_bytes: 0,
            side,
        })
    }

    /// Adds the masks of a source frame.
    pub(super) fn push(&mut self, frame: u64, masks: &[LowResMask]) -> Outcome<()> {
        let n = masks.len();
        let ids: Vec<u8> = masks.iter().flat_map(|m| (m.id as i64).to_le_bytes()).collect();
        let logits: Vec<u8> = masks.iter().flat_map(|m| &m.logits).flat_map(|x| x.to_le_bytes()).collect();
        let scores: Vec<u8> = masks.iter().flat_map(|m| m.score.to_le_bytes()).collect();
        let added = [
            self.tensor(format!("{frame}.ids"), "I64", &[n], &ids),
            self.tensor(format!("{frame}.low_res_masks"), "F32", &[n, self.side, self.side], &logits),
            self.tensor(format!("{frame}.scores"), "F32", &[n], &scores),
        ];
        let result: std::io::Result<()> = added.into_iter().collect();
        result.map_err(|e| cannot("write", &self.target, e))
    }

    fn tensor(&mut self, name: String, dtype: &str, shape: &[usize], data: &[u8]) -> std::io::Result<()> {
        let end = self.size_bytes + data.len();
        self.header
            .insert(name, json!({"dtype": dtype, "shape": shape, "data_offsets": [self.size_bytes, end]}));
        self.size_bytes = end;
        self.data.write_all(data)
    }

    /// Writes the file atomically.
    pub(super) fn keep(self) -> Outcome<()> {
        let failed = |e| cannot("write", &self.target, e);
        let mut header = Value::Object(self.header).to_string();
        // The format requires the data to be aligned to eight bytes.
        while !header.len().is_multiple_of(8) {
            header.push(' ');
        }
        let mut file = AtomicFile::create(&self.target)?;
        file.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
        file.write_all(header.as_bytes()).map_err(failed)?;
        let mut data = self.data.into_inner().map_err(|e| failed(e.into_error()))?;
        data.seek(SeekFrom::Start(0)).map_err(failed)?;
        std::io::copy(&mut data, &mut file).map_err(failed)?;
        file.commit()
    }
}
